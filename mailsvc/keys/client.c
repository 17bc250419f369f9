/*
 * The DKIM signer of smtp and send: canonicalises and hashes in the caller's process, asks keys for each signature over
 * 32 bytes, and puts the fields together.
 */
#include "client_impl.h"

#include <stdlib.h>
#include <string.h>

#include "dkim.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "mailsvc/mime/mime.h"

#define FIELD_MAX 16384

/* One signature of a message. */
struct part {
	struct pending *pending;
	uint32_t request; /* 0: answered, or never asked */
	enum dkim_status status;
	struct buf field;
};

struct pending {
	struct keys_pending head;
	dkim_fn fn;
	void *arg;
	struct part parts[DKIM_ALGORITHMS];
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

uint32_t keys_ask(struct keys_client *k, const struct keys_request *request, rpc_reply_fn fn, void *arg)
{
	struct buf msg = BUF_INIT(IMSG_MAX);

	keys_request_put(&msg, request);
	uint32_t id = rpc_call(k->rpc, KEYS_MESSAGE_SIGN, buf_view(&msg), -1, fn, arg);
	buf_free(&msg);
	return id;
}

enum dkim_status keys_answer(enum rpc_status status, const struct imsg *reply, struct view *signature)
{
	*signature = VIEW_NONE;
	if (status != RPC_OK)
		return DKIM_AWAY;
	if (reply->type != KEYS_MESSAGE_SIGNATURE || keys_signature_get(reply->data, signature) == -1) {
		log_warnx("event=dkim error=\"malformed answer from keys\"");
		return DKIM_AWAY;
	}
	return signature->len > 0 ? DKIM_SIGNED : DKIM_NO_KEY;
}

static void pending_free(struct keys_pending *head)
{
	struct pending *p = (struct pending *)head;

	for (size_t i = 0; i < DKIM_ALGORITHMS; i++) {
		rpc_cancel(head->client->rpc, p->parts[i].request);
		buf_free(&p->parts[i].field);
	}
	LIST_REMOVE(head, entry);
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
	pending_free(&p->head); /* before: dkim_cancel in the callback finds nothing */
	fn(arg, result, result == DKIM_SIGNED ? buf_view(&fields) : VIEW_NONE);
	buf_free(&fields);
}

static void answered(void *arg, enum rpc_status status, struct imsg *reply)
{
	struct part *part = arg;
	struct pending *p = part->pending;
	struct view signature;

	part->request = 0;
	part->status = keys_answer(status, reply, &signature);
	if (part->status == DKIM_SIGNED) {
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

	/* A name that does not fit stays "": there is no key for it, and the callback says so. */
	if (view_copy(view_of(signer->domain), request.domain, sizeof(request.domain)) == 0 &&
	    view_copy(view_of(signer->selector), request.selector, sizeof(request.selector)) == 0)
		dkim_prepare(signer, message, body_hash, &part->field, request.hash);
	part->request = keys_ask(part->pending->head.client, &request, answered, part);
}

uint32_t dkim_sign(struct keys_client *k, const struct site_domain *d, struct view message, dkim_fn fn, void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	size_t header_len = mime_header_len(message);
	struct dkim_body_hash body = { .limit = DKIM_BODY_ALL };

	p->head = (struct keys_pending){ .client = k, .free = pending_free };
	p->fn = fn;
	p->arg = arg;
	dkim_body_hashes(DKIM_RELAXED, dkim_body_of(message, header_len), &body, 1);
	for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS; a++) {
		const struct dkim_signer signer = { a, d->name, dkim_selector_of(d, a), clock_wall(), 0 };

		p->parts[a] = (struct part){ .pending = p, .status = DKIM_NO_KEY, .field = BUF_INIT(FIELD_MAX) };
		if (a == DKIM_RSA || signer.selector[0] != '\0')
			ask(&p->parts[a], &signer, message, body.hash);
	}
	p->head.id = p->parts[DKIM_RSA].request;
	LIST_INSERT_HEAD(&k->pending, &p->head, entry);
	return p->head.id;
}

void dkim_cancel(struct keys_client *k, uint32_t id)
{
	struct keys_pending *p;

	LIST_FOREACH(p, &k->pending, entry)
	{
		if (p->id == id) {
			p->free(p);
			return;
		}
	}
}
