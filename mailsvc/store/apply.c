/*
 * apply(): what each record does to the index.  The commit thread calls it for what it writes to the log, replay and
 * rebuild for what they read there, and nothing else writes tables: so the index is a function of the log.
 * It must therefore depend on nothing but the record and the index, and must bear any record: one that refers to
 * what is not there (its frame was damaged) changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "index.h"

static void changed(struct tx *tx, uint32_t mailbox)
{
	if (tx->changed_count && tx->changed[tx->changed_count - 1] == mailbox)
		return;
	if (tx->changed_count == tx->changed_size) {
		tx->changed_size = tx->changed_size ? tx->changed_size * 2 : 16;
		tx->changed = xreallocarray(tx->changed, tx->changed_size, sizeof *tx->changed);
	}
	tx->changed[tx->changed_count++] = mailbox;
}

/* A mailbox row while a record changes it. */
struct open_mailbox {
	struct mailbox_value row;
	char name[NAME_MAX_BYTES];
	size_t name_len;
	uint64_t bytes; /* before, for the account */
	uint32_t messages;
};

static bool mailbox_load(struct tx *tx, uint32_t id, struct open_mailbox *m)
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

/* Adds (modulo 2^64, so that differences work) to what an account holds. */
static void account_add(struct tx *tx, uint32_t account, uint64_t bytes, uint64_t messages, uint32_t mailboxes)
{
	struct key k = key_u32(account);
	struct account_value a;
	struct view address;

	if (!get_account(tx, account, &a, &address))
		return;
	a.bytes += bytes;
	a.messages += messages;
	a.mailboxes += mailboxes;
	tx_put2(tx, T_ACCOUNT, &k, &a, sizeof a, address);
}

static void mailbox_save(struct tx *tx, uint32_t id, struct open_mailbox *m)
{
	struct key k = key_u32(id);

	tx_put2(tx, T_MAILBOX, &k, &m->row, sizeof m->row, (struct view){ m->name, m->name_len });
	if (m->row.messages != m->messages || m->row.bytes != m->bytes)
		account_add(tx, m->row.account, m->row.bytes - m->bytes,
		    (uint64_t)m->row.messages - (uint64_t)m->messages, 0);
	changed(tx, id);
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

static void change_del(struct tx *tx, uint32_t mailbox, uint64_t modseq, uint32_t uid)
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

static void body_release(struct tx *tx, uint64_t body)
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

static bool apply_account(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->account), name = { 0 };
	struct account_value a = { 0 };
	struct view address;

	if (r->name.len == 0) { /* its name is given back, its mail stays */
		char copy[ADDRESS_MAX];
		if (!get_account(tx, r->account, &a, &address) || a.orphaned || address.len > sizeof copy)
			return false;
		memcpy(copy, address.ptr, address.len);
		key_add(&name, address);
		tx_del(tx, T_ACCOUNT_NAME, &name);
		a.orphaned = 1;
		tx_put2(tx, T_ACCOUNT, &k, &a, sizeof a, (struct view){ copy, address.len });
		return true;
	}
	if (r->account == 0 || r->name.len >= ADDRESS_MAX || get_account(tx, r->account, &a, &address) ||
	    find_account(tx, r->name))
		return false;
	key_add(&name, r->name);
	tx_put(tx, T_ACCOUNT_NAME, &name, (struct view){ (const char *)&r->account, sizeof r->account });
	tx_put2(tx, T_ACCOUNT, &k, &a, sizeof a, r->name);
	if (tx->meta.next_account <= r->account)
		tx->meta.next_account = r->account + 1;
	return true;
}

static bool apply_mailbox(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct account_value a;
	struct key k = mailbox_name_key(r->account, r->name);

	if (r->mailbox == 0 || r->name.len == 0 || r->name.len > NAME_MAX_BYTES ||
	    !get_account(tx, r->account, &a, NULL) || mailbox_load(tx, r->mailbox, &m) ||
	    find_mailbox(tx, r->account, r->name))
		return false;
	memset(&m, 0, sizeof m);
	m.row = (struct mailbox_value){ .account = r->account, .uid_validity = r->uid_validity, .special = r->special,
		.uid_next = 1, .recent_uid = 1, .modseq = 1 };
	memcpy(m.name, r->name.ptr, r->name.len);
	m.name_len = r->name.len;
	tx_put(tx, T_MAILBOX_NAME, &k, (struct view){ (const char *)&r->mailbox, sizeof r->mailbox });
	mailbox_save(tx, r->mailbox, &m);
	account_add(tx, r->account, 0, 0, 1);
	if (tx->meta.next_mailbox <= r->mailbox)
		tx->meta.next_mailbox = r->mailbox + 1;
	if (tx->meta.uid_validity < r->uid_validity)
		tx->meta.uid_validity = r->uid_validity;
	return true;
}

static void keywords_drop(struct tx *tx, uint32_t mailbox)
{
	for (uint8_t i = 0; i < KEYWORDS_MAX; i++) {
		struct key k = key_u32(mailbox);
		k.bytes[k.len++] = i;
		tx_del(tx, T_KEYWORD, &k);
	}
}

static bool apply_delete(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key id = key_u32(r->mailbox), name;

	if (!mailbox_load(tx, r->mailbox, &m))
		return false;
	name = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &name);
	tx_del(tx, T_MAILBOX, &id);
	keywords_drop(tx, r->mailbox);
	tx_put(tx, T_DEAD, &id, (struct view){ (const char *)&m.row.account, sizeof m.row.account });
	account_add(tx, m.row.account, (uint64_t)0 - m.row.bytes, (uint64_t)0 - m.row.messages, UINT32_MAX);
	changed(tx, r->mailbox);
	return true;
}

static bool apply_rename(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key k;

	if (r->name.len == 0 || r->name.len > NAME_MAX_BYTES || !mailbox_load(tx, r->mailbox, &m) ||
	    find_mailbox(tx, m.row.account, r->name))
		return false;
	k = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &k);
	k = mailbox_name_key(m.row.account, r->name);
	tx_put(tx, T_MAILBOX_NAME, &k, (struct view){ (const char *)&r->mailbox, sizeof r->mailbox });
	memcpy(m.name, r->name.ptr, r->name.len);
	m.name_len = r->name.len;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

static bool apply_subscribe(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->account);

	if (r->name.len == 0 || r->name.len > NAME_MAX_BYTES)
		return false;
	key_add(&k, r->name);
	if (r->flags & 1)
		tx_put(tx, T_SUBSCRIPTION, &k, VIEW_LIT(""));
	else
		tx_del(tx, T_SUBSCRIPTION, &k);
	return true;
}

static bool apply_keyword(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key k = key_u32(r->mailbox);
	struct view old;

	if (r->number >= KEYWORDS_MAX || r->name.len == 0 || r->name.len > KEYWORD_NAME_MAX ||
	    !mailbox_load(tx, r->mailbox, &m))
		return false;
	k.bytes[k.len++] = (uint8_t)r->number;
	if (tx_get(tx, T_KEYWORD, &k, &old))
		return false;
	tx_put(tx, T_KEYWORD, &k, r->name);
	m.row.keywords++;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

static bool apply_body(struct tx *tx, const struct record *r)
{
	struct key k = key_u64(r->body);
	struct body_value b = { r->body_offset, r->body_length, r->body_segment, 0 }, old;

	if (r->references == 0 || get_body(tx, r->body, &old, NULL))
		return false;
	tx_put2(tx, T_BODY, &k, &b, sizeof b, r->mime);
	if (r->references > 1)
		tx_put(tx, T_SHARED, &k, (struct view){ (const char *)&r->references, sizeof r->references });
	segment_add(tx, r->body_segment, r->body_length, r->body_length);
	if (tx->meta.next_body <= r->body)
		tx->meta.next_body = r->body + 1;
	return true;
}

static bool apply_message(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key k = message_key(r->mailbox, r->uid);
	struct message_value row = { .keywords = r->keywords, .modseq = r->modseq, .body = r->body, .size = r->size,
		.date = r->date, .saved = r->when, .flags = r->flags & FLAGS_SETTABLE };

	if (!mailbox_load(tx, r->mailbox, &m) || r->uid < m.row.uid_next || r->uid == UINT32_MAX ||
	    r->modseq <= m.row.modseq)
		return false;
	tx_put2(tx, T_MESSAGE, &k, &row, sizeof row, r->text);
	change_put(tx, r->mailbox, r->modseq, r->uid, T_CHANGE, CHANGE_NEW);
	count_row(&m.row, r->uid, &row, true);
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
		row.flags = r->mode == FLAGS_SET ? flags : r->mode == FLAGS_ADD ? row.flags | flags : row.flags & ~flags;
		row.keywords = r->mode == FLAGS_SET ? r->keywords :
		    r->mode == FLAGS_ADD	    ? row.keywords | r->keywords :
						      row.keywords & ~r->keywords;
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
static uint64_t keywords_map(const struct view from[KEYWORDS_MAX], const struct view to[KEYWORDS_MAX], uint64_t bits)
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

/* Names copied out of the database, where the next write may move them. */
struct keyword_names {
	struct view at[KEYWORDS_MAX];
	char text[KEYWORDS_MAX][KEYWORD_NAME_MAX];
};

static void keyword_names_load(struct tx *tx, uint32_t mailbox, struct keyword_names *n)
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
		struct key k = message_key(r->mailbox, next);
		row.keywords = keywords_map(names_from.at, names_to.at, row.keywords);
		row.modseq = r->modseq;
		row.saved = r->when;
		tx_put2(tx, T_MESSAGE, &k, &row, sizeof row, prefix);
		change_put(tx, r->mailbox, r->modseq, next, T_CHANGE, CHANGE_NEW);
		count_row(&to.row, next, &row, true);
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

static void expunged_put(struct tx *tx, int64_t when, uint32_t mailbox, uint32_t uid, const struct message_value *row,
    struct view prefix)
{
	struct key k = key_u64((uint64_t)when);

	key_add_u32(&k, mailbox);
	key_add_u32(&k, uid);
	tx_put2(tx, T_EXPUNGED, &k, row, sizeof *row, prefix);
}

static bool apply_expunge(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid;

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
	}
	rows_end(&rows);
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

static void queue_due(struct tx *tx, int64_t due, uint64_t queue, bool on)
{
	struct key k = key_u64((uint64_t)due);

	key_add_u64(&k, queue);
	if (on)
		tx_put(tx, T_QUEUE_DUE, &k, VIEW_LIT(""));
	else
		tx_del(tx, T_QUEUE_DUE, &k);
	tx->queue_changed = true;
}

static void queue_put(struct tx *tx, uint64_t id, const struct queue_entry *q)
{
	struct key k = key_u64(id);
	struct buf b = BUF_INIT(1u << 20);

	buf_add(&b, &q->fixed, sizeof q->fixed);
	buf_put_blob(&b, q->sender);
	buf_put_blob(&b, q->domain);
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		buf_put_blob(&b, q->recipients[i].address);
		buf_put_u8(&b, q->recipients[i].state);
		buf_put_blob(&b, q->recipients[i].reply);
	}
	tx_put(tx, T_QUEUE, &k, buf_view(&b));
	buf_free(&b);
}

static bool apply_queue_add(struct tx *tx, const struct record *r)
{
	struct queue_entry q = { .fixed = { .body = r->body, .created = r->when, .due = r->due, .flags = r->flags },
		.sender = r->sender, .domain = r->name };
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	struct key k = key_u64(r->queue);
	struct view old;

	if (tx_get(tx, T_QUEUE, &k, &old) || r->due < 0)
		return false;
	while (c.left > 0 && !c.bad && q.fixed.recipients < 100)
		q.recipients[q.fixed.recipients++].address = cursor_blob(&c, ADDRESS_MAX);
	if (!cursor_done(&c) || q.fixed.recipients == 0)
		return false;
	queue_put(tx, r->queue, &q);
	queue_due(tx, r->due, r->queue, true);
	if (tx->meta.next_queue <= r->queue)
		tx->meta.next_queue = r->queue + 1;
	return true;
}

static void queue_remove(struct tx *tx, uint64_t id, const struct queue_value *q)
{
	struct key k = key_u64(id);
	uint64_t body = q->body;

	queue_due(tx, q->due, id, false);
	tx_del(tx, T_QUEUE, &k);
	body_release(tx, body);
}

/* The entry first: its strings point into the database, where any write may move them. */
static void queue_move(struct tx *tx, uint64_t id, struct queue_entry *q, int64_t due)
{
	int64_t old = q->fixed.due;

	q->fixed.due = due;
	queue_put(tx, id, q);
	queue_due(tx, old, id, false);
	queue_due(tx, due, id, true);
}

static bool apply_queue_result(struct tx *tx, const struct record *r)
{
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	struct queue_entry q;
	uint32_t waiting = 0;

	if (r->due < 0 || !get_queue(tx, r->queue, &q))
		return false;
	while (c.left > 0 && !c.bad) {
		uint32_t i = cursor_u32(&c);
		uint8_t state = cursor_u8(&c);
		struct view reply = cursor_blob(&c, 4096);
		if (c.bad || i >= q.fixed.recipients)
			return false;
		q.recipients[i].state = state;
		q.recipients[i].reply = reply;
	}
	for (uint32_t i = 0; i < q.fixed.recipients; i++)
		waiting += q.recipients[i].state == RECIPIENT_WAITING;
	if (waiting == 0) {
		queue_remove(tx, r->queue, &q.fixed);
		return true;
	}
	q.fixed.attempts++;
	queue_move(tx, r->queue, &q, r->due);
	return true;
}

static bool apply_queue_due(struct tx *tx, const struct record *r)
{
	struct queue_entry q;

	if (r->due < 0 || !get_queue(tx, r->queue, &q))
		return false;
	queue_move(tx, r->queue, &q, r->due);
	return true;
}

static bool apply_queue_drop(struct tx *tx, const struct record *r)
{
	struct queue_entry q;

	if (!get_queue(tx, r->queue, &q))
		return false;
	queue_remove(tx, r->queue, &q.fixed);
	return true;
}

static bool apply_purge(struct tx *tx, const struct record *r)
{
	struct key first = { 0 }, last = key_u64((uint64_t)r->when);
	MDB_cursor *c = NULL;
	struct view found, value;

	key_add_u32(&last, r->mailbox);
	key_add_u32(&last, r->uid);
	while (tx_seek(tx, T_EXPUNGED, &c, &first, 0, &found, &value)) {
		struct message_value row;
		struct key k = { 0 };
		if (found.len != last.len || memcmp(found.ptr, last.bytes, last.len) > 0 || value.len < sizeof row)
			break;
		memcpy(&row, value.ptr, sizeof row);
		key_add(&k, found);
		tx_del(tx, T_EXPUNGED, &k);
		body_release(tx, row.body);
	}
	if (c)
		mdb_cursor_close(c);
	return true;
}

static void drop_prefix(struct tx *tx, enum table t, uint32_t mailbox)
{
	struct key prefix = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (tx_seek(tx, t, &c, &prefix, 4, &found, &value)) {
		struct key k = { 0 };
		key_add(&k, found);
		tx_del(tx, t, &k);
	}
	if (c)
		mdb_cursor_close(c);
}

/* uid UINT32_MAX says that these are the last rows. */
static bool apply_sweep(struct tx *tx, const struct record *r)
{
	struct key dead = key_u32(r->mailbox);
	struct buf range = BUF_INIT(8);
	struct message_value row;
	struct rows rows;
	struct view v;
	uint32_t uid;

	if (!tx_get(tx, T_DEAD, &dead, &v) || r->uid == 0)
		return false;
	ranges_put(&range, (struct uid_range){ 1, r->uid });
	rows_start(&rows, tx, r->mailbox, buf_view(&range));
	while (rows_next(&rows, &uid, &row, &v)) {
		struct key k = message_key(r->mailbox, uid);
		expunged_put(tx, r->when, r->mailbox, uid, &row, v);
		tx_del(tx, T_MESSAGE, &k);
		change_del(tx, r->mailbox, row.modseq, uid);
	}
	rows_end(&rows);
	buf_free(&range);
	if (r->uid == UINT32_MAX) {
		drop_prefix(tx, T_CHANGE, r->mailbox);
		drop_prefix(tx, T_GONE, r->mailbox);
		tx_del(tx, T_DEAD, &dead);
	}
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
		[RECORD_QUEUE_RESULT] = apply_queue_result,
		[RECORD_QUEUE_DUE] = apply_queue_due,
		[RECORD_QUEUE_DROP] = apply_queue_drop,
		[RECORD_PURGE] = apply_purge,
		[RECORD_SWEEP] = apply_sweep,
	};

	return fn[r->type](tx, r);
}
