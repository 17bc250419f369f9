/*
 * Starting a role: the process, its channel, and the setup messages.  Then pairs of channels with every live peer, on
 * both sides, then START.  Because a later peer brings its own pairs to all, the order of starts does not matter.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/monitor/internal.h"

void child_tell(struct child *c, enum role_message type, uint32_t id, struct view data, int fd)
{
	if (c->chan != NULL)
		chan_send(c->chan, type, id, data, fd);
	else if (fd >= 0)
		close(fd);
}

static void tell2(struct child *c, enum role_message type, uint32_t id, uint32_t a, uint32_t b, int fd)
{
	struct buf out = BUF_INIT(IMSG_MAX);

	buf_put_u32(&out, a);
	buf_put_u32(&out, b);
	child_tell(c, type, id, buf_view(&out), fd);
	buf_free(&out);
}

static void tell1(struct child *c, enum role_message type, uint32_t a, int fd)
{
	struct buf out = BUF_INIT(IMSG_MAX);

	buf_put_u32(&out, a);
	child_tell(c, type, 0, buf_view(&out), fd);
	buf_free(&out);
}

static void send_instance(struct child *c)
{
	struct buf out = BUF_INIT(IMSG_MAX);

	buf_put_u32(&out, c->instance);
	for (size_t i = 0; i < ROLE_COUNT; i++)
		buf_put_u32(&out, c->monitor->counts[i]);
	child_tell(c, ROLE_MSG_INSTANCE, 0, buf_view(&out), -1);
	buf_free(&out);
}

static void send_site(struct child *c)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	int fd = memfd_sealed("site", buf_view(&c->monitor->view));

	if (fd < 0)
		fatal("event=site reason=\"memfd\"");
	buf_put_str(&out, c->monitor->path);
	child_tell(c, ROLE_MSG_SITE, 0, buf_view(&out), fd);
	buf_free(&out);
}

static bool sent_on_reload(int which)
{
	return which == ROLE_FD_CREDENTIALS || which == ROLE_FD_SECRETS || which == ROLE_FD_DKIM_KEYS || which == ROLE_FD_TLS;
}

static void send_fds(struct child *c, bool reload)
{
	for (int which = 0; which < ROLE_FD_COUNT; which++) {
		int fd;

		if (!(role_policy(c->role)->fds >> which & 1) || (reload && !sent_on_reload(which)))
			continue;
		fd = handout_fd(c->monitor->site, &c->monitor->handout, (enum role_fd)which);
		if (fd >= 0)
			tell1(c, ROLE_MSG_FD, (uint32_t)which, fd);
	}
}

static bool has_tickets(const struct child *c)
{
	return (role_policy(c->role)->fds >> ROLE_FD_TLS & 1) != 0;
}

static void send_ticket_key(struct child *c)
{
	struct view key = { (const char *)c->monitor->ticket_keys[c->role], ROLE_TICKET_KEY_LEN };

	if (has_tickets(c))
		child_tell(c, ROLE_MSG_TICKET_KEY, 0, key, -1);
}

static int duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		fatal("event=listener reason=\"dup\"");
	return copy;
}

static void send_listeners(struct child *c, unsigned which)
{
	const struct listeners *all = &c->monitor->listeners;

	which &= role_policy(c->role)->services;
	for (size_t i = 0; i < all->count; i++) {
		if (which >> all->at[i].service & 1)
			tell2(c, ROLE_MSG_LISTENER, 0, all->at[i].service, 0, duplicate(all->at[i].fd));
	}
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct child *c = arg;

	(void)chan;
	if (child_message(c, m) < 0)
		child_kill(c, "malformed message");
}

static void on_closed(struct chan *chan, void *arg)
{
	struct child *c = arg;

	(void)chan;
	child_kill(c, NULL); /* it is dead already, or broke the framing; SIGCHLD does the rest */
}

int child_spawn(struct child *c)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct monitor *m = c->monitor;
	char number[12], *argv[] = { "mailsvc", "-i", number, "-R", (char *)(uintptr_t)role_name(c->role), NULL };
	struct error e = { "" };
	int fds[2];

	c->started = clock_mono_ms(); /* of a start that fails as well: it must count as one soon after the last */
	if (c->role == ROLE_STORE && folders_store_owner(m->site, &e) < 0)
		log_warnx("event=start role=store reason=\"%s\"", e.text);
	if (imsg_pair(fds) < 0) {
		log_warn("event=start role=%s", role_name(c->role));
		return -1;
	}
	snprintf(number, sizeof(number), "%u", c->instance);
	c->pid = proc_spawn_self(argv, fds[1], STDERR_FILENO, &e);
	close(fds[1]);
	if (c->pid <= 0) {
		c->pid = 0;
		close(fds[0]);
		log_warnx("event=start role=%s reason=\"%s\"", role_name(c->role), e.text);
		return -1;
	}
	c->chan = chan_new(m->base, fds[0], &ops, c);
	c->state = CHILD_STARTING;
	c->sandbox[0] = '\0';
	send_instance(c);
	send_site(c);
	send_ticket_key(c);
	send_fds(c, false);
	send_listeners(c, ~0u);
	if (role_policy(c->role)->local_submission)
		tell2(c, ROLE_MSG_LISTENER, 0, SERVICE_SUBMISSION, 1, duplicate(m->submit_fd));
	for (size_t i = 0; i < m->child_count; i++)
		child_connect(c, &m->children[i]);
	return 0;
}

void child_connect(struct child *a, struct child *b)
{
	int fds[2];

	if (a == b || a->chan == NULL || b->chan == NULL || !role_may_talk(a->role, b->role))
		return;
	if (imsg_pair(fds) < 0)
		fatal("event=pair");
	tell2(a, ROLE_MSG_PEER, b->restarts, b->role, b->instance, fds[0]);
	tell2(b, ROLE_MSG_PEER, a->restarts, a->role, a->instance, fds[1]);
}

void child_begin(struct child *c)
{
	struct timeval limit = { .tv_sec = role_policy(c->role)->start_s };

	child_tell(c, ROLE_MSG_START, 0, VIEW_NONE, -1);
	event_add(c->timer, &limit);
}

void child_reload(struct child *c, uint32_t id, unsigned changed)
{
	if (c->chan == NULL)
		return;
	changed &= role_policy(c->role)->services;
	for (int s = 0; s < SERVICE_COUNT; s++) {
		if (changed >> s & 1)
			tell1(c, ROLE_MSG_UNLISTEN, (uint32_t)s, -1);
	}
	send_listeners(c, changed);
	send_site(c);
	send_fds(c, true);
	child_tell(c, ROLE_MSG_RELOAD, id, VIEW_NONE, -1);
	c->reloading = id;
}

void child_new_ticket_key(struct child *c)
{
	if (c->chan == NULL || !has_tickets(c))
		return;
	send_ticket_key(c);
	send_fds(c, true);
	child_tell(c, ROLE_MSG_RELOAD, 0, VIEW_NONE, -1);
}
