/* The asking side of fts. */
#include "mailsvc/fts/client.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "mailsvc/fts/proto.h"
#include "mailsvc/store/proto.h"

struct pending {
	LIST_ENTRY(pending) entry;
	struct fts_client *client;
	struct event *timeout;
	uint32_t id;
	fts_fn fn;
	void *arg;
};

struct fts_client {
	struct event_base *base;
	struct rpc *rpc;
	LIST_HEAD(, pending) pending;
};

struct fts_client *fts_client_new(struct event_base *base)
{
	struct fts_client *c = xcalloc(1, sizeof(*c));

	c->base = base;
	c->rpc = rpc_new(base, NULL, NULL);
	LIST_INIT(&c->pending);
	return c;
}

void fts_client_attach(struct fts_client *c, int fd)
{
	rpc_attach(c->rpc, fd);
}

bool fts_client_ready(const struct fts_client *c)
{
	return rpc_attached(c->rpc);
}

static void end(struct pending *p)
{
	LIST_REMOVE(p, entry);
	event_free(p->timeout);
	free(p);
}

static void answer(struct pending *p, const struct fts_answer *a)
{
	fts_fn fn = p->fn;
	void *arg = p->arg;

	end(p);
	fn(arg, a);
}

static void on_reply(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct fts_answer a = { 0 };
	struct view payload, mapped = VIEW_NONE;
	uint64_t *bodies = NULL;

	if (status == RPC_OK &&
	    (reply->type != FTS_MESSAGE_ANSWER || proto_unwrap(reply, FTS_ANSWER_MAX, &payload, &mapped) != 0 ||
		fts_answer_get(payload, &a, &bodies) != 0)) {
		log_warnx("event=fts error=\"malformed answer\"");
		a = (struct fts_answer){ 0 };
	}
	answer(arg, &a);
	free(bodies);
	if (mapped.ptr != NULL)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct pending *p = arg;
	const struct fts_answer a = { 0 };

	(void)fd, (void)what;
	rpc_cancel(p->client->rpc, p->id);
	answer(p, &a);
}

uint32_t fts_query(struct fts_client *c, uint32_t account, uint32_t mailbox, const struct view *needles, size_t count,
    fts_fn fn, void *arg)
{
	static const struct timeval limit = { FTS_TIMEOUT_MS / 1000, FTS_TIMEOUT_MS % 1000 * 1000 };
	struct fts_request r = { .account = account, .mailbox = mailbox };
	struct pending *p = xcalloc(1, sizeof(*p));
	struct buf msg = BUF_INIT(IMSG_MAX);

	for (; r.count < count && r.count < FTS_NEEDLES_MAX; r.count++) {
		r.needles[r.count] = needles[r.count];
		if (r.needles[r.count].len > FTS_NEEDLE_MAX)
			r.needles[r.count].len = FTS_NEEDLE_MAX;
	}
	fts_request_put(&msg, &r);
	*p = (struct pending){ .client = c, .fn = fn, .arg = arg };
	p->timeout = evtimer_new(c->base, on_timeout, p);
	if (p->timeout == NULL)
		fatalx("event_new failed");
	event_add(p->timeout, &limit);
	p->id = rpc_call(c->rpc, FTS_MESSAGE_QUERY, buf_view(&msg), -1, on_reply, p);
	LIST_INSERT_HEAD(&c->pending, p, entry);
	buf_free(&msg);
	return p->id;
}

void fts_cancel(struct fts_client *c, uint32_t id)
{
	struct pending *p;

	LIST_FOREACH(p, &c->pending, entry)
	if (p->id == id)
		break;
	if (p == NULL)
		return;
	rpc_cancel(c->rpc, id);
	end(p);
}
