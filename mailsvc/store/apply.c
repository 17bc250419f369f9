/*
 * apply(): what each record does to the index.  The commit thread calls it for what it writes to the log, replay and
 * rebuild for what they read there, and nothing else writes tables: so the index is a function of the log.
 * It must therefore depend on nothing but the record and the index, and must bear any record: one that refers to
 * what is not there (its frame was damaged) changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "apply.h"

void apply_changed(struct tx *tx, uint32_t mailbox)
{
	if (tx->changed_count && tx->changed[tx->changed_count - 1] == mailbox)
		return;
	if (tx->changed_count == tx->changed_size) {
		tx->changed_size = tx->changed_size ? tx->changed_size * 2 : 16;
		tx->changed = xreallocarray(tx->changed, tx->changed_size, sizeof *tx->changed);
	}
	tx->changed[tx->changed_count++] = mailbox;
}

bool mailbox_load(struct tx *tx, uint32_t id, struct open_mailbox *m)
{
	struct view name;

	if (!get_mailbox(tx, id, &m->row, &name) || name.len > sizeof m->name)
		return false;
	memcpy(m->name, name.ptr, name.len);
	m->name_len = name.len;
	m->bytes = m->row.bytes;
	m->messages = m->row.messages;
	return true;
}

void mailbox_save(struct tx *tx, uint32_t id, struct open_mailbox *m)
{
	struct key k = key_u32(id);

	tx_put2(tx, T_MAILBOX, &k, &m->row, sizeof m->row, (struct view){ m->name, m->name_len });
	if (m->row.messages != m->messages || m->row.bytes != m->bytes)
		account_add(
		    tx, m->row.account, m->row.bytes - m->bytes, (uint64_t)m->row.messages - (uint64_t)m->messages, 0);
	apply_changed(tx, id);
}

static void count_row(struct mailbox_value *m, uint32_t uid, const struct message_value *row, bool add)
{
	uint32_t one = add ? 1 : UINT32_MAX;

	m->messages += one;
	m->bytes += add ? row->size : (uint64_t)0 - row->size;
	if (!(row->flags & FLAG_SEEN))
		m->unseen += one;
	if (row->flags & FLAG_DELETED)
		m->deleted += one;
	if (uid >= m->recent_uid)
		m->recent += one;
}

static void change_put(struct tx *tx, uint32_t mailbox, uint64_t modseq, uint32_t uid, enum table t, char kind)
{
	struct key k = change_key(mailbox, modseq, uid);

	tx_put(tx, t, &k, (struct view){ &kind, 1 });
}

void change_del(struct tx *tx, uint32_t mailbox, uint64_t modseq, uint32_t uid)
{
	struct key k = change_key(mailbox, modseq, uid);

	tx_del(tx, T_CHANGE, &k);
}

static void segment_add(struct tx *tx, uint32_t segment, uint64_t live, uint64_t bytes)
{
	struct key k = key_u32(segment);
	struct segment_value s = { 0 };

	tx_get_fixed(tx, T_SEGMENT, &k, &s, sizeof s, NULL);
	s.live += live;
	s.bytes += bytes;
	tx_put(tx, T_SEGMENT, &k, (struct view){ (const char *)&s, sizeof s });
}

/* A body with no shared row has one reference. */
static void body_refer(struct tx *tx, uint64_t body)
{
	struct key k = key_u64(body);
	uint32_t n = body_references(tx, body);

	if (n == 0 || n == UINT32_MAX)
		return;
	n++;
	tx_put(tx, T_SHARED, &k, (struct view){ (const char *)&n, sizeof n });
}

void body_release(struct tx *tx, uint64_t body)
{
	struct key k = key_u64(body);
	struct body_value b;
	uint32_t n;

	if (tx_get_fixed(tx, T_SHARED, &k, &n, sizeof n, NULL)) {
		n--;
		if (n <= 1)
			tx_del(tx, T_SHARED, &k);
		else
			tx_put(tx, T_SHARED, &k, (struct view){ (const char *)&n, sizeof n });
	} else if (get_body(tx, body, &b, NULL)) {
		tx_del(tx, T_BODY, &k);
		segment_add(tx, b.segment, (uint64_t)0 - b.length, 0);
	}
}

static bool apply_body(struct tx *tx, const struct record *r)
{
	struct key k = key_u64(r->body);
	struct body_value b = { r->body_offset, r->body_length, r->body_segment, 0 }, old;

	if (r->references == 0)
		return false;
	if (get_body(tx, r->body, &old, NULL)) { /* compaction moves it; its references stay */
		if (old.length != r->body_length)
			return false;
		segment_add(tx, old.segment, (uint64_t)0 - old.length, 0);
		segment_add(tx, r->body_segment, r->body_length, r->body_length);
		tx_put2(tx, T_BODY, &k, &b, sizeof b, r->mime);
		return true;
	}
	tx_put2(tx, T_BODY, &k, &b, sizeof b, r->mime);
	if (r->references > 1)
		tx_put(tx, T_SHARED, &k, (struct view){ (const char *)&r->references, sizeof r->references });
	segment_add(tx, r->body_segment, r->body_length, r->body_length);
	if (tx->meta.next_body <= r->body)
		tx->meta.next_body = r->body + 1;
	return true;
}

/* A new row, with its change and counts; the caller sets uid_next and modseq. */
void message_new(struct tx *tx, uint32_t mailbox, struct mailbox_value *m, uint32_t uid,
    const struct message_value *row, struct view prefix)
{
	struct key k = message_key(mailbox, uid);

	tx_put2(tx, T_MESSAGE, &k, row, sizeof *row, prefix);
	change_put(tx, mailbox, row->modseq, uid, T_CHANGE, CHANGE_NEW);
	count_row(m, uid, row, true);
}

static bool apply_message(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct message_value row = { .keywords = r->keywords,
		.modseq = r->modseq,
		.body = r->body,
		.size = r->size,
		.date = r->date,
		.saved = r->when,
		.flags = r->flags & FLAGS_SETTABLE };

	if (!mailbox_load(tx, r->mailbox, &m) || r->uid < m.row.uid_next || r->uid == UINT32_MAX ||
	    r->modseq <= m.row.modseq)
		return false;
	message_new(tx, r->mailbox, &m.row, r->uid, &row, r->text);
	m.row.uid_next = r->uid + 1;
	m.row.modseq = r->modseq;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

static bool apply_flags(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct message_value row, old;
	struct rows rows;
	struct view prefix;
	uint32_t uid, flags = r->flags & FLAGS_SETTABLE;

	if (!mailbox_load(tx, r->mailbox, &m) || r->modseq <= m.row.modseq)
		return false;
	rows_start(&rows, tx, r->mailbox, r->ranges);
	while (rows_next(&rows, &uid, &row, &prefix)) {
		struct key k = message_key(r->mailbox, uid);
		old = row;
		row.flags = r->mode == FLAGS_SET   ? flags
		            : r->mode == FLAGS_ADD ? row.flags | flags
		                                   : row.flags & ~flags;
		row.keywords = r->mode == FLAGS_SET   ? r->keywords
		               : r->mode == FLAGS_ADD ? row.keywords | r->keywords
		                                      : row.keywords & ~r->keywords;
		row.modseq = r->modseq;
		count_row(&m.row, uid, &old, false);
		count_row(&m.row, uid, &row, true);
		tx_put2(tx, T_MESSAGE, &k, &row, sizeof row, prefix);
		change_del(tx, r->mailbox, old.modseq, uid);
		change_put(tx, r->mailbox, r->modseq, uid, T_CHANGE, CHANGE_FLAGS);
	}
	rows_end(&rows);
	m.row.modseq = r->modseq;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

/* The keyword bits of one mailbox in the numbers of another; names that are not there are left out. */
uint64_t keywords_map(const struct view from[KEYWORDS_MAX], const struct view to[KEYWORDS_MAX], uint64_t bits)
{
	uint64_t out = 0;

	for (int i = 0; bits != 0 && i < KEYWORDS_MAX; i++)
		if (bits >> i & 1 && from[i].ptr) {
			int n = find_keyword(to, from[i]);
			if (n >= 0)
				out |= 1ull << n;
		}
	return out;
}

void keyword_names_load(struct tx *tx, uint32_t mailbox, struct keyword_names *n)
{
	get_keywords(tx, mailbox, n->at);
	for (int i = 0; i < KEYWORDS_MAX; i++)
		if (n->at[i].ptr && n->at[i].len <= KEYWORD_NAME_MAX) {
			memcpy(n->text[i], n->at[i].ptr, n->at[i].len);
			n->at[i].ptr = n->text[i];
		} else
			n->at[i] = VIEW_NONE;
}

static bool apply_copy(struct tx *tx, const struct record *r)
{
	struct open_mailbox from, to;
	struct keyword_names names_from, names_to;
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid, next = r->uid;

	if (!mailbox_load(tx, r->source, &from) || !mailbox_load(tx, r->mailbox, &to) || r->modseq <= to.row.modseq ||
	    r->uid < to.row.uid_next)
		return false;
	keyword_names_load(tx, r->source, &names_from);
	keyword_names_load(tx, r->mailbox, &names_to);
	rows_start(&rows, tx, r->source, r->ranges);
	while (next < UINT32_MAX && rows_next(&rows, &uid, &row, &prefix) && uid < from.row.uid_next) {
		row.keywords = keywords_map(names_from.at, names_to.at, row.keywords);
		row.modseq = r->modseq;
		row.saved = r->when;
		message_new(tx, r->mailbox, &to.row, next, &row, prefix);
		body_refer(tx, row.body);
		next++;
	}
	rows_end(&rows);
	to.row.uid_next = next;
	to.row.modseq = r->modseq;
	mailbox_save(tx, r->mailbox, &to);
	return true;
}

/* Only the newest tombstones are kept: a client that was away longer asks for all. */
static void tombstones_prune(struct tx *tx, uint32_t mailbox, struct mailbox_value *m)
{
	struct key k = change_key(mailbox, 0, 0);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (m->tombstones > TOMBSTONES_MAX && tx_seek(tx, T_GONE, &c, &k, 4, &found, &value)) {
		struct key old = { 0 };
		key_add(&old, found);
		tx_del(tx, T_GONE, &old);
		m->tombstones--;
	}
	if (c)
		mdb_cursor_close(c);
}

static bool apply_expunge(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid;
	bool any = false;

	if (!mailbox_load(tx, r->mailbox, &m) || r->modseq <= m.row.modseq)
		return false;
	rows_start(&rows, tx, r->mailbox, r->ranges);
	while (rows_next(&rows, &uid, &row, &prefix)) {
		struct key k = message_key(r->mailbox, uid);
		if (r->mode == 1)
			body_release(tx, row.body);
		else
			expunged_put(tx, r->when, r->mailbox, uid, &row, prefix);
		tx_del(tx, T_MESSAGE, &k);
		change_del(tx, r->mailbox, row.modseq, uid);
		change_put(tx, r->mailbox, r->modseq, uid, T_GONE, CHANGE_EXPUNGED);
		m.row.tombstones++;
		count_row(&m.row, uid, &row, false);
		any = true;
	}
	rows_end(&rows);
	if (any && r->mode != 1)
		expunged_due(tx, r->when, r->mailbox);
	tombstones_prune(tx, r->mailbox, &m.row);
	m.row.modseq = r->modseq;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

static bool apply_recent(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;

	if (!mailbox_load(tx, r->mailbox, &m) || r->uid > m.row.uid_next || r->uid <= m.row.recent_uid)
		return false;
	m.row.recent_uid = r->uid;
	m.row.recent = 0;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

bool apply(struct tx *tx, const struct record *r)
{
	static bool (*const fn[RECORD_TYPES])(struct tx *, const struct record *) = {
		[RECORD_ACCOUNT] = apply_account,
		[RECORD_MAILBOX] = apply_mailbox,
		[RECORD_DELETE] = apply_delete,
		[RECORD_RENAME] = apply_rename,
		[RECORD_SUBSCRIBE] = apply_subscribe,
		[RECORD_KEYWORD] = apply_keyword,
		[RECORD_BODY] = apply_body,
		[RECORD_MESSAGE] = apply_message,
		[RECORD_FLAGS] = apply_flags,
		[RECORD_COPY] = apply_copy,
		[RECORD_EXPUNGE] = apply_expunge,
		[RECORD_RECENT] = apply_recent,
		[RECORD_QUEUE_ADD] = apply_queue_add,
		[RECORD_QUEUE_ENTRY] = apply_queue_add,
		[RECORD_QUEUE_STATE] = apply_queue_state,
		[RECORD_QUEUE_RESULT] = apply_queue_result,
		[RECORD_QUEUE_DUE] = apply_queue_due,
		[RECORD_QUEUE_DROP] = apply_queue_drop,
		[RECORD_PURGE] = apply_purge,
		[RECORD_SWEEP] = apply_sweep,
		[RECORD_ACL] = apply_acl,
		[RECORD_METADATA] = apply_metadata,
		[RECORD_IMPORTED] = apply_imported,
		[RECORD_VALIDITY] = apply_validity,
		[RECORD_RESTORE] = apply_restore,
		[RECORD_OWNER] = apply_owner,
		[RECORD_ADDRESS] = apply_address,
		[RECORD_ERASE] = apply_erase,
		[RECORD_WIPE] = apply_wipe,
		[RECORD_WARNED] = apply_warned,
	};

	return fn[r->type] && fn[r->type](tx, r); /* the others are of state files */
}
