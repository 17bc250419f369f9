/*
 * Bringing back what was expunged, in slices: each takes up to SLICE_ROWS rows of one mailbox and time, which are no
 * longer there for the next.  What is expunged after the request began is left alone, so that it ends.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define RESTORED "Restored/"

/* The next mailbox from `from` on that has rows of the account to bring back; 0: none. */
static uint32_t next_source(struct engine *e, struct request *req, uint32_t from)
{
	static const enum table tables[2] = { T_MAILBOX, T_GRAVE };
	uint32_t best = 0;

	for (int i = 0; i < 2; i++) {
		struct key first = key_u32(from);
		MDB_cursor *c = NULL;
		struct view found, value;
		bool more = tx_seek(&e->tx, tables[i], &c, &first, 0, &found, &value);
		for (; more; more = tx_next(&e->tx, c, &first, 0, &found, &value)) {
			uint32_t mailbox = get_be32(found.ptr);
			struct mailbox_value m;
			struct grave_value g;
			if (best && mailbox >= best)
				break;
			if (i == 0 ? get_mailbox(&e->tx, mailbox, &m, NULL) && m.account == req->p.account
				   : get_grave(&e->tx, mailbox, &g, NULL) && g.account == req->p.account) {
				best = mailbox;
				break;
			}
		}
		if (c)
			mdb_cursor_close(c);
	}
	return best;
}

/* Uids of the oldest time in question, at most a slice of them. */
static bool next_rows(struct engine *e, const struct request *req, uint32_t source, int64_t *when, struct buf *ranges,
    size_t *count, uint64_t *keywords)
{
	struct key k = expunged_key(source, req->p.date, 0);
	MDB_cursor *c = NULL;
	struct view found, value;

	*count = 0;
	*keywords = 0;
	for (bool more = tx_seek(&e->tx, T_EXPUNGED, &c, &k, 4, &found, &value); more && *count < SLICE_ROWS;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value)) {
		int64_t at = (int64_t)get_be64(found.ptr + 4);
		struct message_value row;
		if (found.len != 16 || at > req->until || (*count && at != *when))
			break;
		if (value.len < sizeof row)
			continue;
		memcpy(&row, value.ptr, sizeof row);
		*when = at;
		*keywords |= row.keywords;
		ranges_add(ranges, get_be32(found.ptr + 12));
		++*count;
	}
	if (c)
		mdb_cursor_close(c);
	return *count > 0;
}

/* Where the rows of a mailbox go: itself, or, where it is gone, below "Restored". 0: no room for that. */
static uint32_t destination_of(struct engine *e, uint32_t source)
{
	char name[sizeof RESTORED + NAME_MAX_BYTES] = RESTORED, plain[MAILBOX_NAME_MAX + 1];
	struct mailbox_value m;
	struct grave_value g;
	struct view v;

	if (get_mailbox(&e->tx, source, &m, NULL))
		return source;
	if (!get_grave(&e->tx, source, &g, &v) || v.len > NAME_MAX_BYTES)
		return 0;
	memcpy(name + sizeof RESTORED - 1, v.ptr, v.len);
	name[sizeof RESTORED - 1 + v.len] = '\0';
	if (!mailbox_name_normalise(view_of(name), plain)) /* too long or too deep below */
		view_copy(VIEW_LIT("Restored"), plain, sizeof plain);
	return open_mailbox(e, g.account, plain, SPECIAL_NONE, true);
}

/* false: its uids are used up. */
static bool put_restore(
    struct engine *e, struct request *req, uint32_t source, uint32_t to, int64_t when, struct view ranges, size_t count)
{
	struct record r = {
		.type = RECORD_RESTORE, .source = source, .mailbox = to, .when = e->now, .due = when, .ranges = ranges
	};
	struct mailbox_value m;

	if (!get_mailbox(&e->tx, to, &m, NULL) || m.uid_next >= UINT32_MAX - SLICE_ROWS)
		return false;
	r.uid = m.uid_next;
	r.modseq = m.modseq + 1;
	engine_put(e, &r, VIEW_NONE);
	req->reply.count += count;
	if (req->p.mailbox && count)
		ranges_put(&req->destination, (struct uid_range){ r.uid, r.uid + (uint32_t)count - 1 });
	reply_mailbox(e, req, to);
	return true;
}

enum run run_undelete(struct engine *e, struct request *req)
{
	struct buf ranges = BUF_INIT(SLICE_ROWS * 8);
	struct account_value a;
	uint32_t source, to;
	uint64_t keywords;
	int64_t when;
	size_t count;

	if (!req->until)
		req->until = e->now;
	req->reply.status = STORE_NO_ACCOUNT;
	if (!get_account(&e->tx, req->p.account, &a, NULL))
		return RUN_DONE;
	req->reply.status = STORE_FULL;
	if (atomic_load(&e->full))
		return RUN_DONE;
	req->reply.status = STORE_OK;
	if (sweep_slice(e)) /* rows of mailboxes that were deleted just now */
		return RUN_MORE;
	source = next_source(e, req, req->p.mailbox ? req->p.mailbox : (uint32_t)req->resume);
	while (source && !req->p.mailbox && !next_rows(e, req, source, &when, &ranges, &count, &keywords))
		source = next_source(e, req, source + 1);
	if (!source || (req->p.mailbox && (source != req->p.mailbox ||
					      !next_rows(e, req, source, &when, &ranges, &count, &keywords)))) {
		buf_free(&ranges);
		return RUN_DONE;
	}
	to = destination_of(e, source);
	if (to && to != source)
		copy_keywords(e, source, to, keywords);
	if (!to || !put_restore(e, req, source, to, when, buf_view(&ranges), count))
		req->reply.status = STORE_INVALID;
	buf_free(&ranges);
	req->resume = source;
	return req->reply.status == STORE_OK ? RUN_MORE : RUN_DONE;
}
