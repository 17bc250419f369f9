/* The asking side of verification.  A lost or absent send role and a malformed answer come back as VERIFY_UNKNOWN. */
#include "verify_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "verify_proto.h"

struct pending {
	LIST_ENTRY(pending) entry;
	uint32_t id;
	verify_fn fn;
	void *arg;
};

struct verify_client {
	struct rpc *rpc;
	LIST_HEAD(, pending) pending;
};

struct verify_client *verify_client_new(struct event_base *base)
{
	struct verify_client *v = xcalloc(1, sizeof(*v));

	v->rpc = rpc_new(base, NULL, NULL);
	LIST_INIT(&v->pending);
	return v;
}

void verify_client_free(struct verify_client *v)
{
	struct pending *p;

	rpc_free(v->rpc);
	while ((p = LIST_FIRST(&v->pending)) != NULL) {
		LIST_REMOVE(p, entry);
		free(p);
	}
	free(v);
}

void verify_client_attach(struct verify_client *v, int fd)
{
	rpc_attach(v->rpc, fd);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct pending *p = arg;
	struct verify_answer answer;

	if (status != RPC_OK || reply->type != VERIFY_MESSAGE_ANSWER || verify_answer_get(reply->data, &answer) == -1) {
		if (status == RPC_OK)
			log_warnx("event=verify error=\"malformed answer\"");
		answer = (struct verify_answer){ .status = VERIFY_UNKNOWN };
		snprintf(answer.text, sizeof(answer.text), "the send process is away");
	}
	LIST_REMOVE(p, entry);
	p->fn(p->arg, &answer);
	free(p);
}

uint32_t verify_ask(struct verify_client *v, const char *sender, const char *recipient, verify_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct buf msg = BUF_INIT(IMSG_MAX);

	p->fn = fn;
	p->arg = arg;
	verify_ask_put(&msg, sender, recipient);
	p->id = rpc_call(v->rpc, VERIFY_MESSAGE_ASK, buf_view(&msg), -1, answered, p);
	LIST_INSERT_HEAD(&v->pending, p, entry);
	buf_free(&msg);
	return p->id;
}

void verify_cancel(struct verify_client *v, uint32_t id)
{
	struct pending *p;
	struct buf msg = BUF_INIT(IMSG_MAX);

	LIST_FOREACH(p, &v->pending, entry)
	{
		if (p->id == id)
			break;
	}
	if (id == 0 || p == NULL)
		return;
	rpc_cancel(v->rpc, id);
	buf_put_u32(&msg, id);
	rpc_notify(v->rpc, VERIFY_MESSAGE_CANCEL, buf_view(&msg), -1);
	buf_free(&msg);
	LIST_REMOVE(p, entry);
	free(p);
}
