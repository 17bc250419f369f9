/* client.h. */
#include "mailsvc/guard/client.h"

#include "lib/imsg.h"
#include "mailsvc/guard/proto.h"

#define QUEUE_MAX 65536 /* bytes that wait for a guard that does not read: more is dropped */

struct guard_client {
	struct event_base *base;
	struct chan *chan; /* NULL: it is away */
};

struct guard_client *guard_client_new(struct event_base *base)
{
	struct guard_client *c = xcalloc(1, sizeof(*c));

	c->base = base;
	return c;
}

static void on_closed(struct chan *chan, void *arg)
{
	struct guard_client *c = arg;

	chan_free(chan);
	c->chan = NULL;
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	log_warnx("event=protocol peer=guard type=%u result=closed", m->type);
	on_closed(chan, arg);
}

void guard_client_attach(struct guard_client *c, int fd)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };

	chan_free(c->chan);
	c->chan = chan_new(c->base, fd, &ops, c);
}

static void tell(struct guard_client *c, uint32_t type, int kind, const struct guard_source *who)
{
	struct buf out = BUF_INIT(64);

	if (c->chan == NULL || who->family == 0 || chan_queued(c->chan) > QUEUE_MAX)
		return;
	if (kind >= 0)
		buf_put_u8(&out, (uint8_t)kind);
	guard_source_put(&out, who);
	chan_send(c->chan, type, 0, buf_view(&out), -1);
	buf_free(&out);
}

void guard_offence(struct guard_client *c, enum offence what, const struct sockaddr *peer)
{
	struct guard_source who;

	guard_source_of(peer, &who);
	guard_offence_of(c, what, &who);
}

void guard_offence_of(struct guard_client *c, enum offence what, const struct guard_source *who)
{
	tell(c, GUARD_MSG_OFFENCE, what, who);
}

void guard_login(struct guard_client *c, const struct guard_source *who)
{
	tell(c, GUARD_MSG_LOGIN, -1, who);
}
