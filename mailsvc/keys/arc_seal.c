/*
 * Sealing (RFC 8617 5.1): the results as they were found, a signature over the message, and a seal over the whole
 * chain, which covers that signature: so keys is asked twice, one after the other.  A chain that has failed is not
 * covered, only the new set is (5.1.2).
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "client_impl.h"
#include "dkim.h"
#include "lib/clock.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/arc_sets.h"

#define FIELD_MAX 16384
#define RESULTS_MAX 65536
#define CANONICAL_MAX (4u << 20)
#define COLUMNS 78

struct sealing {
	struct keys_pending head;
	dkim_fn fn;
	void *arg;
	uint32_t request;
	char domain[KEYS_DOMAIN_MAX + 1], selector[KEYS_SELECTOR_MAX + 1];
	struct dkim_signer signer;
	const char *cv;
	EVP_MD_CTX *chain; /* the sets there are */
	struct buf results, message_signature, seal;
};

static void sealing_free(struct keys_pending *head)
{
	struct sealing *s = (struct sealing *)head;

	rpc_cancel(head->client->rpc, s->request);
	EVP_MD_CTX_free(s->chain);
	buf_free(&s->results);
	buf_free(&s->message_signature);
	buf_free(&s->seal);
	LIST_REMOVE(head, entry);
	free(s);
}

static void finish(struct sealing *s, enum dkim_status status)
{
	struct buf fields = BUF_INIT(2 * FIELD_MAX + RESULTS_MAX);
	dkim_fn fn = s->fn;
	void *arg = s->arg;

	buf_addv(&fields, buf_view(&s->seal));
	buf_addv(&fields, buf_view(&s->message_signature));
	buf_addv(&fields, buf_view(&s->results));
	if (fields.full || s->seal.full || s->message_signature.full || s->results.full)
		status = DKIM_NO_KEY;
	sealing_free(&s->head); /* before: dkim_cancel in the callback finds nothing */
	fn(arg, status, status == DKIM_SIGNED ? buf_view(&fields) : VIEW_NONE);
	buf_free(&fields);
}

static void sign(struct sealing *s, const uint8_t hash[DKIM_HASH_LEN], rpc_reply_fn answered)
{
	struct keys_request request = { .algorithm = DKIM_RSA };

	view_copy(view_of(s->domain), request.domain, sizeof(request.domain));
	view_copy(view_of(s->selector), request.selector, sizeof(request.selector));
	memcpy(request.hash, hash, DKIM_HASH_LEN);
	s->request = keys_ask(s->head.client, &request, answered, s);
}

static void sealed(void *arg, enum rpc_status rpc, struct imsg *reply)
{
	struct sealing *s = arg;
	struct view signature;
	enum dkim_status status = keys_answer(rpc, reply, &signature);

	s->request = 0;
	if (status == DKIM_SIGNED)
		dkim_finish(&s->seal, signature);
	finish(s, status);
}

static void message_signed(void *arg, enum rpc_status rpc, struct imsg *reply)
{
	struct sealing *s = arg;
	struct buf canonical = BUF_INIT(CANONICAL_MAX);
	uint8_t hash[DKIM_HASH_LEN];
	struct view signature;
	enum dkim_status status = keys_answer(rpc, reply, &signature);

	s->request = 0;
	if (status != DKIM_SIGNED) {
		finish(s, status);
		return;
	}
	dkim_finish(&s->message_signature, signature);
	dkim_prepare_seal(&s->signer, s->cv, &s->seal);
	dkim_header(DKIM_RELAXED, buf_view(&s->results), &canonical);
	dkim_header(DKIM_RELAXED, buf_view(&s->message_signature), &canonical);
	dkim_header(DKIM_RELAXED, buf_view(&s->seal), &canonical);
	canonical.len -= 2;
	dkim_hash_so_far(s->chain, buf_view(&canonical), hash);
	buf_free(&canonical);
	sign(s, hash, sealed);
}

/* The words of the results, folded anew: whatever line ends stand in them. */
static void put_results(struct buf *out, unsigned instance, const char *authserv_id, struct view authres)
{
	size_t column, i = 0, start = out->len;
	bool any = false;

	buf_printf(out, "ARC-Authentication-Results: i=%u; %s;", instance, authserv_id);
	column = out->len - start;
	while (i < authres.len) {
		size_t from;
		while (i < authres.len && (unsigned char)authres.ptr[i] <= ' ')
			i++;
		for (from = i; i < authres.len && (unsigned char)authres.ptr[i] > ' ';)
			i++;
		if (i == from)
			break;
		bool fold = column + 1 + (i - from) > COLUMNS;
		buf_puts(out, fold ? "\r\n\t" : " ");
		column = (fold ? 8 : column + 1) + (i - from);
		buf_add(out, authres.ptr + from, i - from);
		any = true;
	}
	buf_puts(out, any ? "\r\n" : " none\r\n");
}

static void hash_chain(struct sealing *s, struct view header)
{
	struct arc_sets *sets = xcalloc(1, sizeof(*sets));
	struct buf canonical = BUF_INIT(CANONICAL_MAX);

	arc_sets_read(sets, header);
	for (unsigned i = 0; sets->problem == NULL && i < sets->count; i++) {
		arc_set_hash(&sets->sets[i], s->chain, &canonical);
		buf_reset(&canonical);
		dkim_header(DKIM_RELAXED, sets->sets[i].seal.field, &canonical);
		dkim_hash_add(s->chain, buf_view(&canonical));
	}
	buf_free(&canonical);
	free(sets);
}

static void sign_message(struct sealing *s, struct view message)
{
	size_t header_len = mime_header_len(message);
	struct dkim_body_hash body = { .limit = DKIM_BODY_ALL };
	uint8_t hash[DKIM_HASH_LEN];

	dkim_body_hashes(DKIM_RELAXED, dkim_body_of(message, header_len), &body, 1);
	dkim_prepare(&s->signer, message, body.hash, &s->message_signature, hash);
	sign(s, hash, message_signed);
}

uint32_t arc_seal(struct keys_client *k, const struct site_domain *d, struct view message,
    const struct arc_verdict *verdict, const char *authserv_id, struct view authres, dkim_fn fn, void *arg)
{
	static const uint8_t no_hash[DKIM_HASH_LEN];
	struct sealing *s = xcalloc(1, sizeof(*s));

	s->head = (struct keys_pending){ .client = k, .free = sealing_free };
	s->fn = fn;
	s->arg = arg;
	s->chain = dkim_hash_new();
	s->results = BUF_INIT(RESULTS_MAX);
	s->message_signature = BUF_INIT(FIELD_MAX);
	s->seal = BUF_INIT(FIELD_MAX);
	/* A name that does not fit stays "": there is no key for it, and the answer says so.  So where nothing is to be
	 * added. */
	bool add = !verdict->closed && !verdict->temporary && verdict->instance < ARC_INSTANCES_MAX &&
	           view_copy(view_of(d->name), s->domain, sizeof(s->domain)) == 0 &&
	           view_copy(view_of(dkim_selector_of(d, DKIM_RSA)), s->selector, sizeof(s->selector)) == 0;
	s->signer = (struct dkim_signer){ DKIM_RSA, s->domain, s->selector, clock_wall(), verdict->instance + 1 };
	if (add) {
		s->cv = verdict->result == ARC_NONE ? "none" : arc_result_name(verdict->result);
		if (verdict->result == ARC_PASS)
			hash_chain(s, (struct view){ message.ptr, mime_header_len(message) });
		put_results(&s->results, verdict->instance + 1, authserv_id, authres);
		sign_message(s, message);
	} else {
		s->domain[0] = '\0';
		sign(s, no_hash, message_signed);
	}
	s->head.id = s->request;
	LIST_INSERT_HEAD(&k->pending, &s->head, entry);
	return s->head.id;
}
