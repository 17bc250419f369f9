/*
 * rpc.h: requests with one reply each.  Every call is in a hash table by id, and on one of three lists: sent, lost
 * (to be answered RPC_LOST when the loop comes round) or, while that happens, ending.
 */
#include "rpc.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "log.h"

#define QUEUED_MAX (16u << 20) /* payload bytes that may wait for a slow peer before calls are refused */
#define BUCKETS_FIRST 16

TAILQ_HEAD(call_list, call);

struct call {
	TAILQ_ENTRY(call) link;
	struct call *next; /* in its bucket */
	struct call_list *list;
	rpc_reply_fn fn;
	void *arg;
	uint32_t id;
};

struct rpc {
	struct event_base *base;
	void (*unsolicited)(struct imsg *, void *);
	void *arg;
	void (*broken)(void *); /* may be NULL */
	void *broken_arg;
	struct chan *chan; /* NULL without a peer */
	struct event *ev_lost;
	struct call **buckets;
	size_t nbuckets, ncalls;
	struct call_list sent, lost, ending;
	uint32_t last_id;
	unsigned busy; /* callbacks on the stack */
	bool freed;
};

static struct call **slot(struct rpc *r, uint32_t id)
{
	struct call **p = &r->buckets[id & (r->nbuckets - 1)];

	while (*p != NULL && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void grow(struct rpc *r)
{
	struct call **old = r->buckets;
	size_t n = r->nbuckets;

	r->nbuckets = n > 0 ? n * 2 : BUCKETS_FIRST;
	r->buckets = xcalloc(r->nbuckets, sizeof(*r->buckets));
	for (size_t i = 0; i < n; i++) {
		for (struct call *c = old[i], *next; c != NULL; c = next) {
			next = c->next;
			c->next = NULL;
			*slot(r, c->id) = c;
		}
	}
	free(old);
}

static void enlist(struct call *c, struct call_list *list)
{
	if (c->list != NULL)
		TAILQ_REMOVE(c->list, c, link);
	c->list = list;
	TAILQ_INSERT_TAIL(list, c, link);
}

static struct call *add(struct rpc *r, rpc_reply_fn fn, void *arg)
{
	struct call *c = xcalloc(1, sizeof(*c));
	struct call **where;

	if (r->ncalls >= r->nbuckets)
		grow(r);
	do {
		c->id = ++r->last_id;
		where = slot(r, c->id);
	} while (c->id == 0 || *where != NULL);
	c->fn = fn;
	c->arg = arg;
	*where = c;
	r->ncalls++;
	return c;
}

/* Takes a call out of everything; it is the caller's to free. */
static struct call *take(struct rpc *r, uint32_t id)
{
	struct call **where = slot(r, id);
	struct call *c = *where;

	if (c == NULL)
		return NULL;
	*where = c->next;
	TAILQ_REMOVE(c->list, c, link);
	r->ncalls--;
	return c;
}

static void lose(struct rpc *r, struct call *c)
{
	static const struct timeval now = { 0, 0 };

	enlist(c, &r->lost);
	if (!event_pending(r->ev_lost, EV_TIMEOUT, NULL))
		event_add(r->ev_lost, &now);
}

static void detach(struct rpc *r)
{
	chan_free(r->chan);
	r->chan = NULL;
	while (!TAILQ_EMPTY(&r->sent))
		lose(r, TAILQ_FIRST(&r->sent));
}

static void destroy(struct rpc *r)
{
	while (!TAILQ_EMPTY(&r->sent))
		free(take(r, TAILQ_FIRST(&r->sent)->id));
	while (!TAILQ_EMPTY(&r->lost))
		free(take(r, TAILQ_FIRST(&r->lost)->id));
	while (!TAILQ_EMPTY(&r->ending))
		free(take(r, TAILQ_FIRST(&r->ending)->id));
	chan_free(r->chan);
	event_free(r->ev_lost);
	free(r->buckets);
	free(r);
}

static void leave(struct rpc *r)
{
	if (--r->busy == 0 && r->freed)
		destroy(r);
}

static void finish(struct call *c, enum rpc_status status, struct imsg *reply)
{
	rpc_reply_fn fn = c->fn;
	void *arg = c->arg;

	free(c);
	fn(arg, status, reply);
}

static void on_lost(int fd, short what, void *arg)
{
	struct rpc *r = arg;

	(void)fd;
	(void)what;
	r->busy++;
	/* What callbacks lose anew waits for the next round, or a caller that tries again at once would hold the loop.
	 */
	while (!TAILQ_EMPTY(&r->lost))
		enlist(TAILQ_FIRST(&r->lost), &r->ending);
	while (!r->freed && !TAILQ_EMPTY(&r->ending))
		finish(take(r, TAILQ_FIRST(&r->ending)->id), RPC_LOST, NULL);
	leave(r);
}

static void misbehaved(struct rpc *r)
{
	detach(r);
	if (r->broken != NULL)
		r->broken(r->broken_arg);
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct rpc *r = arg;

	(void)chan;
	if (m->id == 0 && r->unsolicited == NULL) {
		log_warnx("peer sent message type=%u without a request; its channel is closed", m->type);
		misbehaved(r);
		return;
	}
	r->busy++;
	if (m->id == 0) {
		r->unsolicited(m, r->arg);
	} else {
		struct call *c = *slot(r, m->id);
		if (c != NULL && c->list == &r->sent) /* else cancelled meanwhile */
			finish(take(r, m->id), RPC_OK, m);
	}
	leave(r);
}

static void on_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		misbehaved(arg);
	else
		detach(arg);
}

static const struct chan_ops chan_callbacks = { on_message, on_closed };

struct rpc *rpc_new(struct event_base *base, void (*unsolicited)(struct imsg *, void *arg), void *arg)
{
	struct rpc *r = xcalloc(1, sizeof(*r));

	r->base = base;
	r->unsolicited = unsolicited;
	r->arg = arg;
	TAILQ_INIT(&r->sent);
	TAILQ_INIT(&r->lost);
	TAILQ_INIT(&r->ending);
	grow(r);
	r->ev_lost = event_new(base, -1, 0, on_lost, r);
	if (r->ev_lost == NULL)
		fatalx("rpc_new: no event");
	return r;
}

void rpc_free(struct rpc *r)
{
	if (r == NULL || r->freed)
		return;
	event_del(r->ev_lost);
	chan_free(r->chan);
	r->chan = NULL;
	r->freed = true;
	if (r->busy == 0)
		destroy(r);
}

void rpc_on_broken(struct rpc *r, void (*broken)(void *), void *arg)
{
	r->broken = broken;
	r->broken_arg = arg;
}

void rpc_attach(struct rpc *r, int fd)
{
	detach(r);
	r->chan = chan_new(r->base, fd, &chan_callbacks, r);
}

bool rpc_attached(const struct rpc *r)
{
	return r->chan != NULL;
}

static int send_to_peer(struct rpc *r, uint32_t type, uint32_t id, struct view data, int fd)
{
	if (r->chan == NULL || chan_queued(r->chan) > QUEUED_MAX) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	return chan_send(r->chan, type, id, data, fd);
}

uint32_t rpc_call(struct rpc *r, uint32_t type, struct view data, int fd, rpc_reply_fn fn, void *arg)
{
	struct call *c = add(r, fn, arg);

	if (send_to_peer(r, type, c->id, data, fd) == 0)
		enlist(c, &r->sent);
	else
		lose(r, c);
	return c->id;
}

int rpc_notify(struct rpc *r, uint32_t type, struct view data, int fd)
{
	return send_to_peer(r, type, 0, data, fd);
}

void rpc_cancel(struct rpc *r, uint32_t id)
{
	if (id != 0)
		free(take(r, id));
}

size_t rpc_pending(const struct rpc *r)
{
	return r->ncalls;
}
