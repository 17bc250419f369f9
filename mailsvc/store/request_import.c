/*
 * Migration: one message of another server, with its UID, flags and date, at most once however often it is sent.  The
 * key that says who it is at its source is logged in the same commit.
 */
#include <string.h>

#include "engine.h"

#define UIDS_KEPT (UINT32_MAX - (1u << 24)) /* a higher one would leave the mailbox no room */
#define VALIDITY_AHEAD (10u * 366 * 86400) /* s beyond now that an imported UIDVALIDITY may lie: later ones count on   \
	                                    */

/* Only what a mailbox that never held a message may still get, and what leaves room for greater ones. */
static uint32_t validity_of(const struct engine *e, uint32_t wanted)
{
	return wanted <= (uint64_t)e->now + VALIDITY_AHEAD ? wanted : 0;
}

static uint32_t import_mailbox(struct engine *e, uint32_t account, const char *name, uint32_t validity)
{
	uint32_t mailbox = find_mailbox(&e->tx, account, view_of(name));
	struct record r = { .type = RECORD_VALIDITY, .mailbox = mailbox, .uid_validity = validity };
	struct mailbox_value m;

	if (!mailbox) {
		if (!open_mailbox_as(e, account, name, validity))
			return 0;
		return find_mailbox(&e->tx, account, view_of(name));
	}
	if (validity && get_mailbox(&e->tx, mailbox, &m, NULL) && m.uid_next == 1 && m.uid_validity != validity)
		engine_put(e, &r, VIEW_NONE);
	return mailbox;
}

/* As many of the names as there is room for. */
static uint64_t import_keywords(struct engine *e, uint32_t mailbox, const struct proto_request *p)
{
	uint64_t bits = 0, one;

	for (size_t i = 0; i < p->keyword_count; i++)
		if (keywords_need(e, mailbox, &p->keywords[i], 1, &one))
			bits |= one;
	return bits;
}

static bool keyed(struct view key)
{
	for (size_t i = 0; i < key.len; i++)
		if (key.ptr[i])
			return true;
	return false;
}

static void import_message(struct engine *e, struct request *req, uint32_t mailbox)
{
	const struct proto_request *p = &req->p;
	struct record body = { .type = RECORD_BODY, .body = e->tx.meta.next_body, .references = 1, .mime = p->mime };
	struct record r = { .flags = p->flags & FLAGS_SETTABLE, .date = p->date, .body = body.body, .uid = p->uid };
	struct record key = { .type = RECORD_IMPORTED, .mailbox = mailbox, .text = p->key };

	engine_put(e, &body, p->body);
	r.keywords = import_keywords(e, mailbox, p);
	if (r.uid > UIDS_KEPT)
		r.uid = 0;
	key.uid = put_message(e, mailbox, &r, VIEW_NONE, p->body.len);
	if (keyed(p->key))
		engine_put(e, &key, VIEW_NONE);
	ranges_add(&req->destination, key.uid);
}

enum store_status run_import(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	char name[MAILBOX_NAME_MAX + 1];
	uint32_t account, mailbox, uid;

	if (!mailbox_name_normalise(p->other, name))
		return STORE_INVALID;
	if (!find_account(&e->tx, p->name) && !account_known(e, p->name))
		return STORE_NO_ACCOUNT;
	if (atomic_load(&e->full))
		return STORE_FULL;
	if (!(account = open_account(e, p->name)))
		return STORE_NO_ACCOUNT;
	if (!(mailbox = import_mailbox(e, account, name, validity_of(e, p->uid_validity))))
		return STORE_INVALID;
	reply_mailbox(e, req, mailbox);
	if (keyed(p->key) && (uid = find_import(&e->tx, mailbox, p->key))) {
		ranges_add(&req->destination, uid);
		return STORE_EXISTS;
	}
	if (p->mode == 0)
		return STORE_OK;
	if (!uids_left(e, mailbox, 1))
		return STORE_INVALID;
	import_message(e, req, mailbox);
	reply_mailbox(e, req, mailbox);
	return STORE_OK;
}
