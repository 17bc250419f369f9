/*
 * The asking side of fetch.  A lost or absent fetch role and a malformed answer come back as FETCH_UNAVAILABLE.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "proto.h"

struct pending {
	LIST_ENTRY(pending) entry;
	uint32_t id;
	fetch_fn fn;
	void *arg;
};

struct fetch_client {
	struct rpc *rpc;
	LIST_HEAD(, pending) pending;
};

struct fetch_client *fetch_client_new(struct event_base *base)
{
	struct fetch_client *f = xcalloc(1, sizeof(*f));

	f->rpc = rpc_new(base, NULL, NULL);
	LIST_INIT(&f->pending);
	return f;
}

void fetch_client_free(struct fetch_client *f)
{
	struct pending *p;

	rpc_free(f->rpc);
	while ((p = LIST_FIRST(&f->pending)) != NULL) {
		LIST_REMOVE(p, entry);
		free(p);
	}
	free(f);
}

void fetch_client_attach(struct fetch_client *f, int fd)
{
	rpc_attach(f->rpc, fd);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct pending *p = arg;
	struct fetch_answer answer;

	if (status != RPC_OK || reply->type != FETCH_MESSAGE_ANSWER || fetch_answer_get(reply->data, &answer) == -1) {
		if (status == RPC_OK)
			log_warnx("event=fetch error=\"malformed answer\"");
		answer = (struct fetch_answer){ .status = FETCH_UNAVAILABLE };
		snprintf(answer.reason, sizeof(answer.reason), "the fetch process is away");
	}
	LIST_REMOVE(p, entry);
	p->fn(p->arg, &answer);
	free(p);
}

uint32_t fetch_get(struct fetch_client *f, const char *url, const struct fetch_limits *limits, fetch_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct buf msg = BUF_INIT(IMSG_MAX);

	p->fn = fn;
	p->arg = arg;
	/* The empty URL stands for one over FETCH_URL_MAX: it is refused. */
	fetch_get_put(&msg, strlen(url) <= FETCH_URL_MAX ? url : "", limits);
	p->id = rpc_call(f->rpc, FETCH_MESSAGE_GET, buf_view(&msg), -1, answered, p);
	LIST_INSERT_HEAD(&f->pending, p, entry);
	buf_free(&msg);
	return p->id;
}

void fetch_cancel(struct fetch_client *f, uint32_t id)
{
	struct pending *p;
	struct buf msg = BUF_INIT(IMSG_MAX);

	if (id == 0)
		return;
	LIST_FOREACH(p, &f->pending, entry)
	{
		if (p->id == id)
			break;
	}
	if (p == NULL)
		return;
	rpc_cancel(f->rpc, id);
	buf_put_u32(&msg, id);
	rpc_notify(f->rpc, FETCH_MESSAGE_CANCEL, buf_view(&msg), -1);
	buf_free(&msg);
	LIST_REMOVE(p, entry);
	free(p);
}
