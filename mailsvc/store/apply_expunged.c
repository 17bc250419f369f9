/*
 * apply() for what was expunged: rows kept until undelete is over, deleted mailboxes whose rows are swept there (their
 * names and keywords stay as graves as long as there is something to bring back), purging, and bringing back.
 */
#include <string.h>

#include "apply.h"

void expunged_put(
    struct tx *tx, int64_t when, uint32_t mailbox, uint32_t uid, const struct message_value *row, struct view prefix)
{
	struct key k = expunged_key(mailbox, when, uid);

	tx_put2(tx, T_EXPUNGED, &k, row, sizeof *row, prefix);
}

static struct key due_key(int64_t when, uint32_t mailbox)
{
	struct key k = key_u64((uint64_t)when);

	key_add_u32(&k, mailbox);
	return k;
}

void expunged_due(struct tx *tx, int64_t when, uint32_t mailbox)
{
	struct key k = due_key(when, mailbox);

	tx_put(tx, T_EXPUNGED_DUE, &k, VIEW_LIT(""));
}

/* Is there an entry of t that begins with the first `prefix` bytes of k? */
static bool any(struct tx *tx, enum table t, const struct key *k, size_t prefix)
{
	MDB_cursor *c = NULL;
	struct view found, value;
	bool is = tx_seek(tx, t, &c, k, prefix, &found, &value);

	if (c)
		mdb_cursor_close(c);
	return is;
}

void keywords_drop(struct tx *tx, uint32_t mailbox)
{
	for (uint8_t i = 0; i < KEYWORDS_MAX; i++) {
		struct key k = key_u32(mailbox);
		k.bytes[k.len++] = i;
		tx_del(tx, T_KEYWORD, &k);
	}
}

/* A mailbox is deleted: its name and keywords stay while it has rows, of either kind. */
void grave_dig(struct tx *tx, uint32_t mailbox, const struct open_mailbox *m, int64_t when)
{
	struct grave_value g = { .when = when, .account = m->row.account };
	struct key k = key_u32(mailbox);

	if (m->row.messages == 0 && !any(tx, T_EXPUNGED, &k, 4))
		keywords_drop(tx, mailbox);
	else
		tx_put2(tx, T_GRAVE, &k, &g, sizeof g, (struct view){ m->name, m->name_len });
}

static void grave_check(struct tx *tx, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);
	struct grave_value g;
	struct view v;

	if (!get_grave(tx, mailbox, &g, NULL) || tx_get(tx, T_DEAD, &k, &v) || any(tx, T_EXPUNGED, &k, 4))
		return;
	tx_del(tx, T_GRAVE, &k);
	keywords_drop(tx, mailbox);
}

/* Forgets the rows of one mailbox and time up to uid. True: none is left of that time. */
static bool expunged_drop(struct tx *tx, uint32_t mailbox, int64_t when, uint32_t uid)
{
	struct key k = expunged_key(mailbox, when, 0), due = due_key(when, mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	bool more;

	while ((more = tx_seek(tx, T_EXPUNGED, &c, &k, 12, &found, &value)) && found.len == 16 &&
	       get_be32(found.ptr + 12) <= uid) {
		struct key row_key = { 0 };
		struct message_value row = { 0 };
		if (value.len >= sizeof row)
			memcpy(&row, value.ptr, sizeof row);
		key_add(&row_key, found);
		tx_del(tx, T_EXPUNGED, &row_key);
		body_release(tx, row.body);
	}
	if (c)
		mdb_cursor_close(c);
	if (more)
		return false;
	tx_del(tx, T_EXPUNGED_DUE, &due);
	return true;
}

bool apply_purge(struct tx *tx, const struct record *r)
{
	struct key first = { 0 }, last = due_key(r->when, r->mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	bool gone = true;

	while (gone && tx_seek(tx, T_EXPUNGED_DUE, &c, &first, 0, &found, &value)) {
		int order = found.len == last.len ? memcmp(found.ptr, last.bytes, last.len) : 1;
		uint32_t mailbox;
		if (order > 0)
			break;
		mailbox = get_be32(found.ptr + 8);
		gone = expunged_drop(tx, mailbox, (int64_t)get_be64(found.ptr), order == 0 ? r->uid : UINT32_MAX);
		if (gone)
			grave_check(tx, mailbox);
	}
	if (c)
		mdb_cursor_close(c);
	return true;
}

static void drop_prefix(struct tx *tx, enum table t, uint32_t mailbox, size_t most)
{
	struct key prefix = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (most-- > 0 && tx_seek(tx, t, &c, &prefix, 4, &found, &value)) {
		struct key k = { 0 };
		key_add(&k, found);
		tx_del(tx, t, &k);
	}
	if (c)
		mdb_cursor_close(c);
}

/* Takes rows of a deleted mailbox up to uid; UINT32_MAX says that these are the last. */
static bool dead_rows(struct tx *tx, const struct record *r, bool keep)
{
	struct key dead = key_u32(r->mailbox);
	struct buf range = BUF_INIT(8);
	struct message_value row;
	struct rows rows;
	struct view v;
	uint32_t uid;
	bool any_row = false;

	if (!tx_get(tx, T_DEAD, &dead, &v) || r->uid == 0)
		return false;
	ranges_put(&range, (struct uid_range){ 1, r->uid });
	rows_start(&rows, tx, r->mailbox, buf_view(&range));
	while (rows_next(&rows, &uid, &row, &v)) {
		struct key k = message_key(r->mailbox, uid);
		any_row = true;
		if (keep)
			expunged_put(tx, r->when, r->mailbox, uid, &row, v);
		else
			body_release(tx, row.body);
		tx_del(tx, T_MESSAGE, &k);
		change_del(tx, r->mailbox, row.modseq, uid);
	}
	rows_end(&rows);
	buf_free(&range);
	if (keep && any_row)
		expunged_due(tx, r->when, r->mailbox);
	drop_prefix(tx, T_IMPORT, r->mailbox, r->uid == UINT32_MAX ? SIZE_MAX : SWEPT_IMPORTS);
	if (r->uid == UINT32_MAX) {
		drop_prefix(tx, T_CHANGE, r->mailbox, SIZE_MAX);
		drop_prefix(tx, T_GONE, r->mailbox, SIZE_MAX);
		tx_del(tx, T_DEAD, &dead);
		grave_check(tx, r->mailbox);
	}
	return true;
}

bool apply_sweep(struct tx *tx, const struct record *r)
{
	return dead_rows(tx, r, true);
}

/* Expunged rows of one mailbox up to a time and uid. */
static bool wipe_expunged(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (tx_seek(tx, T_EXPUNGED, &c, &k, 4, &found, &value) && found.len == 16) {
		int64_t when = (int64_t)get_be64(found.ptr + 4);
		if ((uint64_t)when > (uint64_t)r->when ||
		    !expunged_drop(tx, r->mailbox, when, when == r->when ? r->uid : UINT32_MAX))
			break;
	}
	if (c)
		mdb_cursor_close(c);
	grave_check(tx, r->mailbox);
	return true;
}

bool apply_wipe(struct tx *tx, const struct record *r)
{
	return r->mode == 0 ? dead_rows(tx, r, false) : wipe_expunged(tx, r);
}

/* Walks the expunged rows of one mailbox and time in a list of ranges. */
static bool expunged_next(struct tx *tx, const struct record *r, size_t *range, uint64_t *next, uint32_t *uid,
    struct message_value *row, struct buf *prefix)
{
	MDB_cursor *c = NULL;
	struct view found, value;
	bool got = false;

	while (!got && *range < ranges_count(r->ranges)) {
		struct uid_range at = ranges_at(r->ranges, *range);
		struct key k = expunged_key(r->source, r->due, *next > at.first ? (uint32_t)*next : at.first);
		if (*next > at.last) {
			++*range;
			continue;
		}
		if (!tx_seek(tx, T_EXPUNGED, &c, &k, 12, &found, &value) || found.len != 16)
			break;
		*uid = get_be32(found.ptr + 12);
		if (*uid > at.last) {
			++*range;
			continue;
		}
		*next = (uint64_t)*uid + 1;
		if (value.len < sizeof *row)
			continue;
		memcpy(row, value.ptr, sizeof *row);
		buf_reset(prefix);
		buf_add(prefix, value.ptr + sizeof *row, value.len - sizeof *row);
		got = true;
	}
	if (c)
		mdb_cursor_close(c);
	return got;
}

bool apply_restore(struct tx *tx, const struct record *r)
{
	struct open_mailbox to;
	struct keyword_names names_from, names_to;
	struct message_value row;
	struct buf prefix = BUF_INIT(1u << 20);
	struct key k = expunged_key(r->source, r->due, 0), due = due_key(r->due, r->source);
	uint64_t from = 0;
	size_t range = 0;
	uint32_t uid, next = r->uid;

	if (!mailbox_load(tx, r->mailbox, &to) || r->modseq <= to.row.modseq || r->uid < to.row.uid_next)
		return false;
	keyword_names_load(tx, r->source, &names_from);
	keyword_names_load(tx, r->mailbox, &names_to);
	while (next < UINT32_MAX && expunged_next(tx, r, &range, &from, &uid, &row, &prefix)) {
		struct key old = expunged_key(r->source, r->due, uid);
		tx_del(tx, T_EXPUNGED, &old);
		row.flags &= ~(uint32_t)FLAG_DELETED;
		row.keywords = keywords_map(names_from.at, names_to.at, row.keywords);
		row.modseq = r->modseq;
		row.saved = r->when;
		message_new(tx, r->mailbox, &to.row, next, &row, buf_view(&prefix));
		next++;
	}
	buf_free(&prefix);
	to.row.uid_next = next;
	to.row.modseq = r->modseq;
	mailbox_save(tx, r->mailbox, &to);
	if (!any(tx, T_EXPUNGED, &k, 12))
		tx_del(tx, T_EXPUNGED_DUE, &due);
	grave_check(tx, r->source);
	return true;
}
