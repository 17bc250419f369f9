/*
 * caller.h: up the parents through /proc/PID/stat.  The sshd of a connection is the topmost sshd that holds an
 * established TCP socket (above it stands only the listener); where its descriptors cannot be read, the topmost that
 * does not call itself a listener.
 */
#include "apply/caller.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "apply/sockets.h"
#include "lib/buf.h"
#include "lib/proc.h"

#define ANCESTORS_MAX 64
#define STAT_MAX 4096
#define ENVIRON_MAX (1u << 20)

struct process {
	pid_t pid, parent, session;
	uint64_t start;
	dev_t tty;
	char state;
	char name[32];
};

uint64_t clock_boot_ms(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int read_file(const char *proc, pid_t pid, const char *name, struct buf *out)
{
	char *path = xasprintf("%s/%d/%s", proc, (int)pid, name);
	struct error e;
	int r = file_read(path, out->max, out, &e);

	free(path);
	return r;
}

/* proc_pid_stat(5): the name stands in parentheses and may hold some itself. */
static int read_process(const char *proc, pid_t pid, struct process *p)
{
	struct buf text = BUF_INIT(STAT_MAX);
	const char *s, *open, *close;
	int parent, session, tty, r = -1;

	*p = (struct process){ .pid = pid };
	if (read_file(proc, pid, "stat", &text) < 0)
		goto out;
	s = buf_str(&text);
	open = strchr(s, '(');
	close = strrchr(s, ')');
	if (open == NULL || close == NULL || close < open)
		goto out;
	view_copy((struct view){ open + 1, (size_t)(close - open - 1) }, p->name, sizeof(p->name));
	if (sscanf(close + 1, " %c %d %*d %d %d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
		&p->state, &parent, &session, &tty, &p->start) != 5)
		goto out;
	p->parent = parent;
	p->session = session;
	p->tty = (dev_t)(unsigned)tty;
	r = 0;
out:
	buf_free(&text);
	return r;
}

uint64_t process_start(const char *proc, pid_t pid)
{
	struct process p;

	return pid > 0 && read_process(proc, pid, &p) == 0 && p.state != 'Z' && p.state != 'X' ? p.start : 0;
}

/* "sshd: alice [priv]", "sshd-session: ..."; the listener is "sshd: /usr/sbin/sshd -D [listener] 0 of ..." or has a
 * path. */
static bool serves_connection(const char *proc, pid_t pid)
{
	struct buf text = BUF_INIT(ENVIRON_MAX);
	bool yes = read_file(proc, pid, "cmdline", &text) == 0 && strncmp(buf_str(&text), "sshd", 4) == 0 &&
	           strstr(buf_str(&text), "[listener]") == NULL;

	buf_free(&text);
	return yes;
}

static void take_socket(struct caller *c, const struct tcp_socket *s)
{
	c->addressed = true;
	c->ipv6 = s->ipv6;
	memcpy(c->from, s->remote, sizeof(c->from));
	memcpy(c->to, s->local, sizeof(c->to));
	c->from_port = s->remote_port;
	c->to_port = s->local_port;
}

static void look_at_sshd(const char *proc, const struct process *p, struct caller *c)
{
	struct tcp_socket s;
	int r = socket_established(proc, p->pid, &s); /* 1, 0, -1: may not look */

	if (r == 0 || (r < 0 && !serves_connection(proc, p->pid)))
		return;
	c->ssh = true;
	c->sshd = p->pid;
	c->sshd_start = p->start;
	if (r > 0)
		take_socket(c, &s);
}

/* SSH_CONNECTION=FROM PORT TO PORT in an environment. */
static bool find_connection(const char *proc, pid_t pid, struct caller *c)
{
	static const char name[] = "SSH_CONNECTION=";
	struct buf text = BUF_INIT(ENVIRON_MAX);
	bool found = false;

	if (read_file(proc, pid, "environ", &text) == 0) {
		const char *s = buf_str(&text), *end = s + text.len;

		for (; s < end && !found; s += strlen(s) + 1)
			if (strncmp(s, name, sizeof(name) - 1) == 0) {
				struct tcp_socket sock;

				found = true;
				if (!c->addressed && socket_parse_ssh(s + sizeof(name) - 1, &sock) == 0)
					take_socket(c, &sock);
			}
	}
	buf_free(&text);
	return found;
}

static void name_tty(dev_t tty, char *out, size_t size)
{
	unsigned n = minor(tty);

	out[0] = '\0';
	if (major(tty) >= 136 && major(tty) <= 143) /* Unix98 pseudo-terminals */
		snprintf(out, size, "pts/%u", (major(tty) - 136) * 256 + n);
	else if (major(tty) == 4)
		snprintf(out, size, n < 64 ? "tty%u" : "ttyS%u", n < 64 ? n : n - 64);
}

void caller_find(const char *proc, pid_t pid, struct caller *c)
{
	struct process p;
	bool named = false;

	*c = (struct caller){ .session = 0 };
	for (int i = 0; i < ANCESTORS_MAX && pid > 0 && read_process(proc, pid, &p) == 0; i++, pid = p.parent) {
		if (i == 0 ||
		    p.tty != 0) { /* the login's: sudo with use_pty makes a session of its own for each call */
			c->session = p.session;
			c->session_start = process_start(proc, p.session);
			name_tty(p.tty, c->tty, sizeof(c->tty));
		}
		if (strncmp(p.name, "sshd", 4) == 0)
			look_at_sshd(proc, &p, c); /* the topmost stays */
		else if (!named && !c->ssh)
			named = find_connection(proc, p.pid, c);
	}
	c->multiplex = named && !c->ssh;
}

static void name_user(char *out, size_t size)
{
	const char *sudo = geteuid() == 0 ? getenv("SUDO_USER") : NULL;
	struct passwd *pw = getpwuid(getuid());
	char user[24];

	if (pw != NULL)
		snprintf(user, sizeof(user), "%.23s", pw->pw_name);
	else
		snprintf(user, sizeof(user), "uid %d", (int)getuid());
	if (sudo != NULL)
		snprintf(out, size, "%.31s (as %s)", sudo, user);
	else
		snprintf(out, size, "%s", user);
}

void caller_self(struct caller *c)
{
	caller_find("/proc", getpid(), c);
	name_user(c->user, sizeof(c->user));
}

void caller_from(const struct caller *c, char *out, size_t size)
{
	out[0] = '\0';
	if (c->addressed)
		inet_ntop(c->ipv6 ? AF_INET6 : AF_INET, c->from, out, (socklen_t)size);
}

void caller_text(const struct caller *c, char *out, size_t size)
{
	char from[INET6_ADDRSTRLEN];

	caller_from(c, from, sizeof(from));
	snprintf(out, size, "%s%s%s%s%s", c->user, from[0] != '\0' ? " from " : "", from,
	    c->tty[0] != '\0' ? " on " : "", c->tty);
}

bool caller_is_remote(const struct caller *c)
{
	return c->addressed && (c->ipv6 ? memcmp(c->from, &in6addr_loopback, 16) != 0 : c->from[0] != 127);
}

int caller_may_confirm(
    const struct caller *then, uint64_t since_ms, const struct caller *now, bool console, struct error *e)
{
	static const char advice[] = "open a new connection, to show that the host can be reached";
	uint64_t tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);

	if (now->ssh) {
		if (then->ssh && then->sshd == now->sshd && then->sshd_start == now->sshd_start)
			return error_set(e, "this is the ssh connection that applied the change; %s", advice);
		if ((now->sshd_start + 1) * tick_ms < since_ms)
			return error_set(e,
			    "this ssh connection is older than the change, and would live on even if new "
			    "ones were refused; %s",
			    advice);
		if (now->addressed && !caller_is_remote(now) && !console)
			return error_set(e,
			    "this ssh connection comes from the host itself, which shows nothing; %s (mailadm confirm "
			    "--console does without)",
			    advice);
		return 0;
	}
	if (console)
		return 0;
	if (now->multiplex)
		return error_set(e,
		    "this is tmux or screen, whose connection cannot be told; %s (mailadm confirm --console "
		    "does without)",
		    advice);
	if (then->ssh || then->multiplex)
		return error_set(e,
		    "the change came over ssh and this session does not; %s (mailadm confirm --console does "
		    "without)",
		    advice);
	if (then->session == now->session && then->session_start == now->session_start)
		return error_set(e, "this is the session that applied the change; confirm from another login (mailadm "
				    "confirm --console does without)");
	return 0;
}

json_t *caller_json(const struct caller *c)
{
	char from[INET6_ADDRSTRLEN];

	caller_from(c, from, sizeof(from));
	return json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I}", "user", c->user, "from", from, "tty", c->tty,
	    "ssh", c->ssh, "multiplex", c->multiplex, "sshd", (json_int_t)c->sshd, "sshd_start",
	    (json_int_t)c->sshd_start, "session", (json_int_t)c->session, "session_start",
	    (json_int_t)c->session_start);
}

int caller_from_json(const json_t *j, struct caller *c)
{
	const char *user, *from, *tty;
	int ssh, multiplex;
	json_int_t sshd, sshd_start, session, session_start;

	*c = (struct caller){ .session = 0 };
	if (json_unpack((json_t *)(uintptr_t)j, "{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I}", "user", &user, "from",
		&from, "tty", &tty, "ssh", &ssh, "multiplex", &multiplex, "sshd", &sshd, "sshd_start", &sshd_start,
		"session", &session, "session_start", &session_start) < 0)
		return -1;
	snprintf(c->user, sizeof(c->user), "%s", user);
	snprintf(c->tty, sizeof(c->tty), "%s", tty);
	c->ipv6 = strchr(from, ':') != NULL;
	c->addressed = inet_pton(c->ipv6 ? AF_INET6 : AF_INET, from, c->from) == 1;
	c->ssh = ssh;
	c->multiplex = multiplex;
	c->sshd = (pid_t)sshd;
	c->sshd_start = (uint64_t)sshd_start;
	c->session = (pid_t)session;
	c->session_start = (uint64_t)session_start;
	return 0;
}
