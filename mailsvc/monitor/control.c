/*
 * The control socket's server.  Only root and the user monitor runs as are heard (SO_PEERCRED).  A client that sends
 * what control.h does not have, or a second request before its answer, is closed.
 */
#include "mailsvc/control.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailsvc/monitor/internal.h"

#define CLIENTS_MAX 64

static void client_free(struct client *client)
{
	TAILQ_REMOVE(&client->monitor->clients, client, entry);
	client->monitor->client_count--;
	chan_free(client->chan);
	free(client);
}

/* A pair of which the role gets one end as an administrator's channel. */
static void give_channel(struct client *client, uint32_t id, enum role_id role)
{
	struct child *child = child_find(client->monitor, role, 0);
	char text[64];
	struct buf out = BUF_INIT(IMSG_MAX);
	int fds[2];

	if (child == NULL || child->state != CHILD_UP || imsg_pair(fds) < 0) {
		snprintf(text, sizeof(text), "%s is not up; see mailadm status", role_name(role));
		control_reply(client->chan, CONTROL_FAILED, id, view_of(text));
		return;
	}
	buf_put_u32(&out, ROLE_MONITOR);
	buf_put_u32(&out, 0);
	child_tell(child, ROLE_MSG_PEER, 0, buf_view(&out), fds[0]);
	chan_send(client->chan, CONTROL_CHANNEL, id, VIEW_NONE, fds[1]);
	buf_free(&out);
}

static void wait_for(struct client *client, uint32_t id, enum client_wants wants)
{
	client->wants = wants;
	client->request = id;
	client->waiting = 0;
	if (wants == CLIENT_RELOAD)
		reload_begin(client->monitor);
	else
		status_begin(client->monitor);
}

/* A site to serve, whatever the file says: the next reload loads it (a second one meanwhile replaces it). */
static void take_site(struct client *client, struct imsg *m)
{
	struct buf *given = &client->monitor->given;
	struct view v;

	if (memfd_map_sealed(m->fd, ROLE_SITE_MAX, &v) < 0 || v.len == 0) {
		client_free(client);
		return;
	}
	buf_reset(given);
	buf_addv(given, v);
	munmap((void *)(uintptr_t)v.ptr, v.len);
	wait_for(client, m->id, CLIENT_RELOAD);
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct client *client = arg;

	if (m->data.len != 0 || (m->fd >= 0) != (m->type == CONTROL_RELOAD_SITE) || client->wants != CLIENT_IDLE) {
		client_free(client);
		return;
	}
	switch (m->type) {
	case CONTROL_STATUS:
		wait_for(client, m->id, CLIENT_STATUS);
		break;
	case CONTROL_RELOAD:
		wait_for(client, m->id, CLIENT_RELOAD);
		break;
	case CONTROL_REOPEN:
		logfile_reopen(client->monitor);
		control_reply(chan, CONTROL_TEXT, m->id, VIEW_NONE);
		break;
	case CONTROL_STORE:
		give_channel(client, m->id, ROLE_STORE);
		break;
	case CONTROL_GUARD:
		give_channel(client, m->id, ROLE_GUARD);
		break;
	case CONTROL_SITE:
		control_reply(chan, CONTROL_TEXT, m->id, buf_view(&client->monitor->flat));
		break;
	case CONTROL_RELOAD_SITE:
		take_site(client, m);
		break;
	default:
		client_free(client);
	}
}

static void on_closed(struct chan *chan, void *arg)
{
	(void)chan;
	client_free(arg);
}

static bool may_control(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == geteuid());
}

static void on_connect(evutil_socket_t listener, short what, void *arg)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct monitor *m = arg;
	struct client *client;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (m->client_count >= CLIENTS_MAX || !may_control(fd)) {
		close(fd);
		return;
	}
	client = xcalloc(1, sizeof(*client));
	client->monitor = m;
	client->chan = chan_new(m->base, fd, &ops, client);
	TAILQ_INSERT_TAIL(&m->clients, client, entry);
	m->client_count++;
}

void control_answer(struct monitor *m, enum client_wants wants, uint32_t waiting, bool failed, struct view text)
{
	struct client *client;

	TAILQ_FOREACH(client, &m->clients, entry)
	{
		if (client->wants != wants || (waiting != 0 && client->waiting != waiting))
			continue;
		client->wants = CLIENT_IDLE;
		control_reply(client->chan, failed ? CONTROL_FAILED : CONTROL_TEXT, client->request, text);
	}
}

int control_open(struct monitor *m, struct error *e)
{
	m->control_fd = listeners_local(m->site, CONTROL_SOCKET, SOCK_SEQPACKET, 0600, e);
	if (m->control_fd < 0)
		return -1;
	m->control_event = event_new(m->base, m->control_fd, EV_READ | EV_PERSIST, on_connect, m);
	if (m->control_event == NULL || event_add(m->control_event, NULL) < 0)
		return error_set(e, "no event for the control socket");
	return 0;
}
