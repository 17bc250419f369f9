/*
 * The DKIM signer of smtp and send: canonicalises and hashes in the caller's process, asks keys for each signature over
 * 32 bytes, and puts the fields together.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "dkim.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "mailsvc/mime/mime.h"
#include "proto.h"

#define FIELD_MAX 16384

/* One signature of a message. */
struct part {
	struct pending *pending;
	uint32_t request; /* 0: answered, or never asked */
	enum dkim_status status;
	struct buf field;
};

struct pending {
	LIST_ENTRY(pending) entry;
	struct keys_client *client;
	uint32_t id;
	dkim_fn fn;
	void *arg;
	struct part parts[DKIM_ALGORITHMS];
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
	for (size_t i = 0; i < DKIM_ALGORITHMS; i++) {
		rpc_cancel(p->client->rpc, p->parts[i].request);
		buf_free(&p->parts[i].field);
	}
	free(p);
}

/* The last answer is there.  That one could not be had leaves open which signatures the mail should have. */
static void finish(struct pending *p)
{
	enum dkim_status result = DKIM_NO_KEY;
	struct buf fields = BUF_INIT(DKIM_ALGORITHMS * FIELD_MAX);
	dkim_fn fn = p->fn;
	void *arg = p->arg;

	for (size_t i = 0; i < DKIM_ALGORITHMS; i++) {
		if (p->parts[i].status == DKIM_SIGNED)
			buf_add(&fields, p->parts[i].field.data, p->parts[i].field.len);
		if (p->parts[i].status == DKIM_AWAY || (p->parts[i].status == DKIM_SIGNED && result == DKIM_NO_KEY))
			result = p->parts[i].status;
	}
	pending_free(p); /* before: dkim_cancel in the callback finds nothing */
	fn(arg, result, result == DKIM_SIGNED ? buf_view(&fields) : VIEW_NONE);
	buf_free(&fields);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct part *part = arg;
	struct pending *p = part->pending;
	struct view signature = VIEW_NONE;

	part->request = 0;
	part->status = status == RPC_OK ? DKIM_NO_KEY : DKIM_AWAY;
	if (status == RPC_OK &&
	    (reply->type != KEYS_MESSAGE_SIGNATURE || keys_signature_get(reply->data, &signature) == -1)) {
		log_warnx("event=dkim error=\"malformed answer from keys\"");
		part->status = DKIM_AWAY;
	} else if (signature.len > 0) {
		dkim_finish(&part->field, signature);
		part->status = part->field.full ? DKIM_NO_KEY : DKIM_SIGNED;
	}
	for (size_t i = 0; i < DKIM_ALGORITHMS; i++)
		if (p->parts[i].request != 0)
			return;
	finish(p);
}

static void ask(
    struct part *part, const struct dkim_signer *signer, struct view message, const uint8_t body_hash[KEYS_HASH_LEN])
{
	struct keys_request request = { .algorithm = signer->algorithm };
	struct buf msg = BUF_INIT(IMSG_MAX);

	/* A name that does not fit stays "": there is no key for it, and the callback says so. */
	if (view_copy(view_of(signer->domain), request.domain, sizeof(request.domain)) == 0 &&
	    view_copy(view_of(signer->selector), request.selector, sizeof(request.selector)) == 0)
		dkim_prepare(signer, message, body_hash, &part->field, request.hash);
	keys_request_put(&msg, &request);
	part->request = rpc_call(part->pending->client->rpc, KEYS_MESSAGE_SIGN, buf_view(&msg), -1, answered, part);
	buf_free(&msg);
}

uint32_t dkim_sign(struct keys_client *k, const struct site_domain *d, struct view message, dkim_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	size_t header_len = mime_header_len(message);
	uint8_t body_hash[KEYS_HASH_LEN];

	p->client = k;
	p->fn = fn;
	p->arg = arg;
	dkim_body_hash((struct view){ message.ptr + header_len, message.len - header_len }, body_hash);
	for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS; a++) {
		const struct dkim_signer signer = { a, d->name, dkim_selector_of(d, a), clock_wall() };

		p->parts[a] = (struct part){ .pending = p, .status = DKIM_NO_KEY, .field = BUF_INIT(FIELD_MAX) };
		if (a == DKIM_RSA || signer.selector[0] != '\0')
			ask(&p->parts[a], &signer, message, body_hash);
	}
	p->id = p->parts[DKIM_RSA].request;
	LIST_INSERT_HEAD(&k->pending, p, entry);
	return p->id;
}

void dkim_cancel(struct keys_client *k, uint32_t id)
{
	struct pending *p;

	LIST_FOREACH(p, &k->pending, entry)
	{
		if (p->id == id) {
			pending_free(p);
			return;
		}
	}
}
