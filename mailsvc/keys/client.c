/*
 * The DKIM signer of smtp and send: canonicalises and hashes in the caller's process, asks keys for the signature over
 * 32 bytes, and puts the field together.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "dkim.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "proto.h"

#define FIELD_MAX 16384

struct pending {
	LIST_ENTRY(pending) entry;
	uint32_t id;
	dkim_fn fn;
	void *arg;
	struct buf field;
};

struct keys_client {
	struct rpc *rpc;
	LIST_HEAD(, pending) pending; /* to find one again by its id */
};

struct keys_client *keys_client_new(struct event_base *base)
{
	struct keys_client *k = xcalloc(1, sizeof(*k));

	k->rpc = rpc_new(base, NULL, NULL);
	LIST_INIT(&k->pending);
	return k;
}

void keys_client_attach(struct keys_client *k, int fd)
{
	rpc_attach(k->rpc, fd);
}

static void pending_free(struct pending *p)
{
	LIST_REMOVE(p, entry);
	buf_free(&p->field);
	free(p);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct pending *p = arg;
	struct view signature = VIEW_NONE, field = VIEW_NONE;
	enum dkim_status result = status == RPC_OK ? DKIM_NO_KEY : DKIM_AWAY;

	if (status == RPC_OK &&
	    (reply->type != KEYS_MESSAGE_SIGNATURE || keys_signature_get(reply->data, &signature) == -1)) {
		log_warnx("event=dkim error=\"malformed answer from keys\"");
		result = DKIM_AWAY;
	} else if (signature.len > 0) {
		dkim_finish(&p->field, signature);
		result = p->field.full ? DKIM_NO_KEY : DKIM_SIGNED;
	}
	if (result == DKIM_SIGNED)
		field = buf_view(&p->field);
	LIST_REMOVE(p, entry); /* dkim_cancel in the callback finds nothing */
	p->fn(p->arg, result, field);
	buf_free(&p->field);
	free(p);
}

uint32_t dkim_sign(
    struct keys_client *k, const char *domain, const char *selector, struct view message, dkim_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct keys_request request = { .domain = "" };
	struct buf msg = BUF_INIT(IMSG_MAX);

	p->fn = fn;
	p->arg = arg;
	p->field = BUF_INIT(FIELD_MAX);
	/* A name that does not fit stays "": there is no key for it, and the callback says so. */
	if (view_copy(view_of(domain), request.domain, sizeof(request.domain)) == 0 &&
	    view_copy(view_of(selector), request.selector, sizeof(request.selector)) == 0)
		dkim_prepare(domain, selector, clock_wall(), message, &p->field, request.hash);
	keys_request_put(&msg, &request);
	p->id = rpc_call(k->rpc, KEYS_MESSAGE_SIGN, buf_view(&msg), -1, answered, p);
	LIST_INSERT_HEAD(&k->pending, p, entry);
	buf_free(&msg);
	return p->id;
}

void dkim_cancel(struct keys_client *k, uint32_t id)
{
	struct pending *p;

	LIST_FOREACH(p, &k->pending, entry)
	{
		if (p->id == id)
			break;
	}
	if (p == NULL)
		return;
	rpc_cancel(k->rpc, id);
	pending_free(p);
}
