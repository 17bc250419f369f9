/*
 * What a role reports goes to the administrator: by mail through smtp, and by admin.command, since mail may be what is
 * down.  Each key is told once an hour.  One command runs at a time, for SHELL_LIMIT_S at most; a few texts wait for
 * it, and what comes beyond them is only in the log.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/shell.h"
#include "mailsvc/monitor/internal.h"

#define ALERT_INTERVAL_MS (3600u * 1000)

/* It may speak (again). */
static bool due(uint64_t told, uint64_t now)
{
	return told == 0 || now - told >= ALERT_INTERVAL_MS;
}

static uint64_t last_told(const struct alert *a)
{
	return a->mailed > a->commanded ? a->mailed : a->commanded;
}

/* The place for key: its own, a free one, or the oldest if that may speak again; NULL: not now. */
static struct alert *place_of(struct alerts *all, const char *key, uint64_t now)
{
	struct alert *oldest = NULL;

	for (size_t i = 0; i < all->count; i++) {
		struct alert *a = &all->at[i];

		if (strcmp(a->key, key) == 0)
			return a;
		if (oldest == NULL || last_told(a) < last_told(oldest))
			oldest = a;
	}
	if (all->count < ALERT_KEYS_MAX)
		oldest = &all->at[all->count++];
	else if (!due(last_told(oldest), now))
		return NULL;
	*oldest = (struct alert){ 0 };
	view_copy(view_of(key), oldest->key, sizeof(oldest->key));
	return oldest;
}

static bool mail(struct monitor *m, const char *key, const char *text)
{
	struct child *smtp = child_find(m, ROLE_SMTP, 0);
	struct buf out = BUF_INIT(IMSG_MAX);

	if (smtp == NULL || smtp->state != CHILD_UP)
		return false; /* the role logged it, and its next alert of this key comes through */
	buf_put_str(&out, key);
	buf_put_str(&out, text);
	child_tell(smtp, ROLE_MSG_ALERT_MAIL, 0, buf_view(&out), -1);
	buf_free(&out);
	return true;
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;

	(void)fd;
	(void)what;
	if (m->alerts.command <= 0)
		return;
	log_warnx("event=alert-command reason=\"it did not end within %d seconds\"", SHELL_LIMIT_S);
	shell_kill(m->alerts.command); /* alert_reap follows */
}

static void command_begin(struct monitor *m, const char *text)
{
	struct timeval limit = { .tv_sec = SHELL_LIMIT_S };
	struct error e;
	pid_t pid = shell_start(m->site->admin.command, view_of(text), -1, &e);

	if (pid == -1) {
		log_warnx("event=alert-command reason=\"%s\"", e.text);
		return;
	}
	m->alerts.command = pid;
	if (m->alerts.limit == NULL)
		m->alerts.limit = evtimer_new(m->base, on_limit, m);
	if (m->alerts.limit != NULL)
		event_add(m->alerts.limit, &limit);
}

static void command_next(struct monitor *m)
{
	struct alerts *all = &m->alerts;

	while (all->waiting_count > 0 && all->command == 0) {
		char *text = all->waiting[0];

		memmove(all->waiting, all->waiting + 1, --all->waiting_count * sizeof(text));
		if (m->site->admin.command[0] != '\0' && !m->stopping)
			command_begin(m, text);
		free(text);
	}
}

void alert_reap(struct monitor *m)
{
	int status;

	if (m->alerts.command <= 0 || waitpid(m->alerts.command, &status, WNOHANG) != m->alerts.command)
		return;
	if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
		log_warnx("event=alert-command %s=%d", WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	m->alerts.command = 0;
	if (m->alerts.limit != NULL)
		event_del(m->alerts.limit);
	command_next(m);
}

void alert_stop(struct monitor *m)
{
	if (m->alerts.command > 0)
		shell_kill(m->alerts.command);
}

static bool command(struct monitor *m, const char *key, const char *text)
{
	struct alerts *all = &m->alerts;

	if (m->site->admin.command[0] == '\0' || all->waiting_count == ALERT_COMMANDS_MAX)
		return false;
	all->waiting[all->waiting_count++] = xasprintf("[%s] %s\n\n%s\n", m->site->host.name, key, text);
	command_next(m);
	return true;
}

void alert_receive(struct child *c, const char *key, const char *text)
{
	struct monitor *m = c->monitor;
	uint64_t now = clock_mono_ms();
	struct alert *a = place_of(&m->alerts, key, now);
	bool mailed = false, commanded = false;

	if (a == NULL || m->stopping)
		return;
	if (due(a->mailed, now) && (mailed = mail(m, key, text)))
		a->mailed = now;
	if (due(a->commanded, now) && (commanded = command(m, key, text)))
		a->commanded = now;
	if (mailed || commanded)
		log_warnx("event=alert role=%s key=\"%s\" mailed=%s command=%s", role_name(c->role), key,
		    mailed ? "yes" : "no", commanded ? "yes" : "no");
}
