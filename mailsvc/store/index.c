/* Opening the index, transactions with sticky errors, keys, and the lookups that writers and readers share. */
#include "index.h"

#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAP_SIZE (1ull << 40)
#define MAP_SIZE_SMALL (64ull << 30)

static const char *const table_names[TABLES] = { "meta", "account", "account_name", "mailbox", "mailbox_name",
	"keyword", "message", "change", "gone", "body", "shared", "subscription", "queue", "queue_next", "queue_of",
	"expunged", "dead", "segment", "expunged_due", "grave", "acl", "acl_by", "metadata", "metadata_of", "import",
	"domain" };

const char *table_name(enum table t)
{
	return table_names[t];
}

static int open_env(struct index *x, const char *path, size_t map, bool read_only)
{
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (read_only ? MDB_RDONLY | MDB_NOLOCK : MDB_NOSYNC);
	int rc = mdb_env_create(&x->env);

	if (rc == 0 && (rc = mdb_env_set_maxdbs(x->env, TABLES)) == 0 &&
	    (rc = mdb_env_set_maxreaders(x->env, 126)) == 0 &&
	    (read_only || (rc = mdb_env_set_mapsize(x->env, map)) == 0))
		rc = mdb_env_open(x->env, path, flags, 0640);
	if (rc != 0 && x->env) {
		mdb_env_close(x->env);
		x->env = NULL;
	}
	return rc;
}

int index_open(struct index *x, const char *path, bool read_only, struct error *e)
{
	MDB_txn *txn = NULL;
	int rc;

	memset(x, 0, sizeof *x);
	if ((rc = open_env(x, path, MAP_SIZE, read_only)) != 0 && !read_only && rc == ENOMEM)
		rc = open_env(x, path, MAP_SIZE_SMALL, read_only);
	if (rc == 0)
		rc = mdb_txn_begin(x->env, NULL, read_only ? MDB_RDONLY : 0, &txn);
	for (int t = 0; rc == 0 && t < TABLES; t++)
		rc = mdb_dbi_open(txn, table_names[t], read_only ? 0 : MDB_CREATE, &x->dbi[t]);
	if (rc == 0) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	if (txn)
		mdb_txn_abort(txn);
	if (rc == 0)
		return 0;
	index_close(x);
	if (rc == MDB_NOTFOUND) /* a table is missing */
		return error_set(e, "the index is of an older version: store makes it anew when it starts");
	return error_set(e, "cannot open the index: %s", mdb_strerror(rc));
}

void index_close(struct index *x)
{
	if (x->env)
		mdb_env_close(x->env);
	x->env = NULL;
}

int tx_begin(struct tx *tx, struct index *x, bool write)
{
	struct key k = { 0 };

	memset(tx, 0, sizeof *tx);
	tx->index = x;
	tx->writes = write;
	tx->queued.max = QUEUE_NEWS_MAX;
	if ((tx->error = mdb_txn_begin(x->env, NULL, write ? 0 : MDB_RDONLY, &tx->txn)) != 0)
		return -1;
	key_add(&k, VIEW_LIT("meta"));
	if (!tx_get_fixed(tx, T_META, &k, &tx->meta, sizeof tx->meta, NULL))
		tx->meta = (struct meta_value){
			.version = INDEX_VERSION, .next_account = 1, .next_mailbox = 1, .next_body = 1, .next_queue = 1
		};
	return 0;
}

int tx_commit(struct tx *tx)
{
	struct key k = { 0 };
	int rc;

	key_add(&k, VIEW_LIT("meta"));
	tx_put(tx, T_META, &k, (struct view){ (const char *)&tx->meta, sizeof tx->meta });
	if (tx->error) {
		rc = tx->error;
		tx_abort(tx);
		tx->error = rc;
		return -1;
	}
	rc = mdb_txn_commit(tx->txn); /* closes the cursors */
	tx->txn = NULL;
	memset(tx->at, 0, sizeof tx->at);
	free(tx->changed);
	tx->changed = NULL;
	tx->changed_count = tx->changed_size = 0;
	buf_free(&tx->queued);
	tx->error = rc;
	return rc == 0 ? 0 : -1;
}

void tx_abort(struct tx *tx)
{
	if (tx->txn)
		mdb_txn_abort(tx->txn);
	free(tx->changed);
	buf_free(&tx->queued);
	memset(tx, 0, sizeof *tx);
}

struct key key_u32(uint32_t v)
{
	struct key k;

	k.len = 0;
	key_add_u32(&k, v);
	return k;
}

struct key key_u64(uint64_t v)
{
	struct key k;

	k.len = 0;
	key_add_u64(&k, v);
	return k;
}

void key_add_u32(struct key *k, uint32_t v)
{
	uint32_t be = htobe32(v);

	memcpy(k->bytes + k->len, &be, sizeof be);
	k->len += sizeof be;
}

void key_add_u64(struct key *k, uint64_t v)
{
	uint64_t be = htobe64(v);

	memcpy(k->bytes + k->len, &be, sizeof be);
	k->len += sizeof be;
}

/* Callers bound v; what would not fit is cut, so that no input can overflow. */
void key_add(struct key *k, struct view v)
{
	size_t room = sizeof k->bytes - k->len, n = v.len < room ? v.len : room;

	if (n)
		memcpy(k->bytes + k->len, v.ptr, n);
	k->len += n;
}

uint32_t get_be32(const void *at)
{
	const uint8_t *p = at;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t get_be64(const void *at)
{
	return (uint64_t)get_be32(at) << 32 | get_be32((const char *)at + 4);
}

static MDB_val val_of(const struct key *k)
{
	return (MDB_val){ k->len, (void *)(uintptr_t)k->bytes };
}

static bool tx_fail(struct tx *tx, int rc)
{
	if (rc != MDB_NOTFOUND && !tx->error)
		tx->error = rc;
	return false;
}

/* The writer's cursor of a table. */
static int cursor_of_table(struct tx *tx, enum table t, MDB_cursor **c)
{
	int rc = tx->at[t] ? 0 : mdb_cursor_open(tx->txn, tx->index->dbi[t], &tx->at[t]);

	*c = tx->at[t];
	return rc;
}

bool tx_get(struct tx *tx, enum table t, const struct key *k, struct view *out)
{
	MDB_val key = val_of(k), v;
	MDB_cursor *c;
	int rc;

	*out = VIEW_NONE;
	if (tx->error)
		return false;
	if (!tx->writes)
		rc = mdb_get(tx->txn, tx->index->dbi[t], &key, &v);
	else if ((rc = cursor_of_table(tx, t, &c)) == 0)
		rc = mdb_cursor_get(c, &key, &v, MDB_SET_KEY);
	if (rc != 0)
		return tx_fail(tx, rc);
	*out = (struct view){ v.mv_data, v.mv_size };
	return true;
}

bool tx_get_fixed(struct tx *tx, enum table t, const struct key *k, void *fixed, size_t len, struct view *rest)
{
	struct view v;

	if (!tx_get(tx, t, k, &v) || v.len < len)
		return false;
	memcpy(fixed, v.ptr, len);
	if (rest)
		*rest = (struct view){ v.ptr + len, v.len - len };
	return true;
}

void tx_put(struct tx *tx, enum table t, const struct key *k, struct view value)
{
	MDB_val key = val_of(k), v = { value.len, (void *)(uintptr_t)value.ptr };
	MDB_cursor *c;
	int rc;

	if (tx->error)
		return;
	rc = cursor_of_table(tx, t, &c);
	if (rc == 0) {
		/* Numbers of bodies rise: told so, LMDB leaves full pages behind; else a third of each is empty. */
		rc = mdb_cursor_put(c, &key, &v, t == T_BODY ? MDB_APPEND : 0);
		if (rc == MDB_KEYEXIST) /* compaction moves one */
			rc = mdb_cursor_put(c, &key, &v, 0);
	}
	if (rc != 0)
		tx_fail(tx, rc);
}

void tx_put2(struct tx *tx, enum table t, const struct key *k, const void *fixed, size_t len, struct view rest)
{
	char small[1024], *both = small;

	/* rest may point into the database, which a reservation could move: build the value aside. */
	if (len + rest.len > sizeof small)
		both = xmalloc(len + rest.len);
	memcpy(both, fixed, len);
	if (rest.len)
		memcpy(both + len, rest.ptr, rest.len);
	tx_put(tx, t, k, (struct view){ both, len + rest.len });
	if (both != small)
		free(both);
}

bool tx_del(struct tx *tx, enum table t, const struct key *k)
{
	MDB_val key = val_of(k), v;
	MDB_cursor *c;
	int rc;

	if (tx->error)
		return false;
	if ((rc = cursor_of_table(tx, t, &c)) != 0 || (rc = mdb_cursor_get(c, &key, &v, MDB_SET)) != 0 ||
	    (rc = mdb_cursor_del(c, 0)) != 0)
		return tx_fail(tx, rc);
	return true;
}

static bool cursor_get(struct tx *tx, MDB_cursor *c, MDB_cursor_op op, const struct key *k, size_t prefix,
    struct view *found, struct view *value)
{
	MDB_val key = val_of(k), v;
	int rc = mdb_cursor_get(c, &key, &v, op);

	if (rc != 0)
		return tx_fail(tx, rc);
	if (key.mv_size < prefix || memcmp(key.mv_data, k->bytes, prefix) != 0)
		return false;
	*found = (struct view){ key.mv_data, key.mv_size };
	*value = (struct view){ v.mv_data, v.mv_size };
	return true;
}

bool tx_seek(struct tx *tx, enum table t, MDB_cursor **c, const struct key *k, size_t prefix, struct view *found,
    struct view *value)
{
	int rc;

	if (tx->error)
		return false;
	if (!*c && (rc = mdb_cursor_open(tx->txn, tx->index->dbi[t], c)) != 0)
		return tx_fail(tx, rc);
	return cursor_get(tx, *c, k->len ? MDB_SET_RANGE : MDB_FIRST, k, prefix, found, value);
}

bool tx_next(struct tx *tx, MDB_cursor *c, const struct key *k, size_t prefix, struct view *found, struct view *value)
{
	return !tx->error && cursor_get(tx, c, MDB_NEXT, k, prefix, found, value);
}

uint32_t find_account(struct tx *tx, struct view address)
{
	struct key k = { 0 };
	uint32_t id = 0;

	if (address.len == 0 || address.len > ADDRESS_MAX)
		return 0;
	key_add(&k, address);
	return tx_get_fixed(tx, T_ACCOUNT_NAME, &k, &id, sizeof id, NULL) ? id : 0;
}

struct key mailbox_name_key(uint32_t account, struct view name)
{
	struct key k = key_u32(account);

	key_add(
	    &k, view_eq(name, "INBOX") ? (struct view){ "\0", 1 } : (struct view){ "\1", 1 }); /* INBOX sorts first */
	key_add(&k, name);
	return k;
}

uint32_t find_mailbox(struct tx *tx, uint32_t account, struct view name)
{
	struct key k = mailbox_name_key(account, name);
	uint32_t id = 0;

	return name.len <= NAME_MAX_BYTES && tx_get_fixed(tx, T_MAILBOX_NAME, &k, &id, sizeof id, NULL) ? id : 0;
}

bool get_mailbox(struct tx *tx, uint32_t mailbox, struct mailbox_value *m, struct view *name)
{
	struct key k = key_u32(mailbox);

	return tx_get_fixed(tx, T_MAILBOX, &k, m, sizeof *m, name);
}

bool get_account(struct tx *tx, uint32_t account, struct account_value *a, struct view *address)
{
	struct key k = key_u32(account);

	return tx_get_fixed(tx, T_ACCOUNT, &k, a, sizeof *a, address);
}

bool get_body(struct tx *tx, uint64_t body, struct body_value *b, struct view *mime)
{
	struct key k = key_u64(body);

	return tx_get_fixed(tx, T_BODY, &k, b, sizeof *b, mime);
}

uint32_t body_references(struct tx *tx, uint64_t body)
{
	struct key k = key_u64(body);
	struct body_value b;
	uint32_t n;

	if (tx_get_fixed(tx, T_SHARED, &k, &n, sizeof n, NULL))
		return n;
	return get_body(tx, body, &b, NULL) ? 1 : 0;
}

struct key message_key(uint32_t mailbox, uint32_t uid)
{
	struct key k = key_u32(mailbox);

	key_add_u32(&k, uid);
	return k;
}

struct key change_key(uint32_t mailbox, uint64_t modseq, uint32_t uid)
{
	struct key k = key_u32(mailbox);

	key_add_u64(&k, modseq);
	key_add_u32(&k, uid);
	return k;
}

void get_keywords(struct tx *tx, uint32_t mailbox, struct view names[KEYWORDS_MAX])
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;

	for (int i = 0; i < KEYWORDS_MAX; i++)
		names[i] = VIEW_NONE;
	for (bool more = tx_seek(tx, T_KEYWORD, &c, &k, 4, &found, &value); more;
	     more = tx_next(tx, c, &k, 4, &found, &value))
		if (found.len == 5 && (uint8_t)found.ptr[4] < KEYWORDS_MAX)
			names[(uint8_t)found.ptr[4]] = value;
	if (c)
		mdb_cursor_close(c);
}

int find_keyword(const struct view names[KEYWORDS_MAX], struct view name)
{
	for (int i = 0; i < KEYWORDS_MAX; i++)
		if (names[i].ptr && names[i].len == name.len && strncasecmp(names[i].ptr, name.ptr, name.len) == 0)
			return i;
	return -1;
}

struct key expunged_key(uint32_t mailbox, int64_t when, uint32_t uid)
{
	return change_key(mailbox, (uint64_t)when, uid);
}

struct key acl_key(uint32_t mailbox, struct view identifier)
{
	struct key k = key_u32(mailbox);

	key_add(&k, identifier);
	return k;
}

struct key acl_by_key(struct view identifier, uint32_t mailbox)
{
	struct key k = { 0 };

	key_add(&k, identifier);
	k.bytes[k.len++] = 0;
	key_add_u32(&k, mailbox);
	return k;
}

struct key metadata_key(uint32_t mailbox, uint32_t account, struct view entry)
{
	struct key k = pair_key(mailbox, account);

	key_add(&k, entry);
	return k;
}

struct key pair_key(uint32_t a, uint32_t b)
{
	return message_key(a, b);
}

struct view domain_of_address(struct view address)
{
	size_t at = address.len;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	return (struct view){ address.ptr + at, address.len - at };
}

bool get_grave(struct tx *tx, uint32_t mailbox, struct grave_value *g, struct view *name)
{
	struct key k = key_u32(mailbox);

	return tx_get_fixed(tx, T_GRAVE, &k, g, sizeof *g, name);
}

uint32_t find_import(struct tx *tx, uint32_t mailbox, struct view key)
{
	struct key k = key_u32(mailbox);
	uint32_t uid = 0;

	key_add(&k, key);
	return tx_get_fixed(tx, T_IMPORT, &k, &uid, sizeof uid, NULL) ? uid : 0;
}

void rows_start(struct rows *r, struct tx *tx, uint32_t mailbox, struct view ranges)
{
	*r = (struct rows){ .tx = tx, .mailbox = mailbox, .ranges = ranges };
}

bool rows_next(struct rows *r, uint32_t *uid, struct message_value *m, struct view *prefix)
{
	struct view found, value;

	for (; r->at < ranges_count(r->ranges); r->at++) {
		struct uid_range range = ranges_at(r->ranges, r->at);
		uint64_t from = r->next > range.first ? r->next : range.first;
		struct key k = message_key(r->mailbox, (uint32_t)from);
		if (from > range.last)
			continue;
		if (!tx_seek(r->tx, T_MESSAGE, &r->cursor, &k, 4, &found, &value) || found.len != 8)
			return false;
		*uid = get_be32(found.ptr + 4);
		r->next = *uid; /* ranges without rows are passed over by one seek */
		if (*uid > range.last)
			continue;
		r->next = (uint64_t)*uid + 1;
		if (value.len < sizeof *m)
			continue;
		memcpy(m, value.ptr, sizeof *m);
		*prefix = (struct view){ value.ptr + sizeof *m, value.len - sizeof *m };
		return true;
	}
	return false;
}

void rows_end(struct rows *r)
{
	if (r->cursor)
		mdb_cursor_close(r->cursor);
	r->cursor = NULL;
}

bool queue_entry_get(struct view value, struct queue_entry *q)
{
	struct cursor c;

	if (value.len < sizeof q->fixed)
		return false;
	memcpy(&q->fixed, value.ptr, sizeof q->fixed);
	c = cursor_of(value.ptr + sizeof q->fixed, value.len - sizeof q->fixed);
	q->sender = cursor_blob(&c, 1024);
	q->domain = cursor_blob(&c, 1024);
	if (q->fixed.recipients > 100)
		return false;
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		q->recipients[i].address = cursor_blob(&c, 1024);
		q->recipients[i].state = cursor_u8(&c);
		q->recipients[i].reply = cursor_blob(&c, 4096);
		q->recipients[i].orcpt = VIEW_NONE;
		q->recipients[i].notify = 0;
	}
	q->envid = q->route = VIEW_NONE;
	if (c.left == 0)
		return cursor_done(&c);
	q->envid = cursor_blob(&c, DSN_ENVID_MAX);
	q->route = cursor_blob(&c, 1024);
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		q->recipients[i].notify = cursor_u8(&c);
		q->recipients[i].orcpt = cursor_blob(&c, DSN_ORCPT_MAX);
	}
	return cursor_done(&c);
}

struct view queue_destination(const struct queue_entry *q)
{
	return q->route.len ? q->route : q->domain;
}

enum queue_priority queue_lane(const struct queue_entry *q)
{
	if (q->fixed.flags & QUEUE_BOUNCE)
		return QUEUE_LAST;
	return q->fixed.priority < QUEUE_LAST ? (enum queue_priority)q->fixed.priority : QUEUE_LAST;
}

/* A destination is at most a domain or "host:port"; the rest of one that came from elsewhere tells nothing. */
static struct key destination_key(struct view destination)
{
	struct key k = { 0 };

	if (destination.len > ADDRESS_MAX)
		destination.len = ADDRESS_MAX;
	key_add(&k, destination);
	k.bytes[k.len++] = 0;
	return k;
}

struct key queue_next_key(struct view destination, enum queue_priority lane, int64_t due, uint64_t id)
{
	struct key k = destination_key(destination);

	k.bytes[k.len++] = (uint8_t)lane;
	key_add_u64(&k, (uint64_t)due);
	key_add_u64(&k, id);
	return k;
}

struct key queue_of_key(struct view destination, uint64_t id)
{
	struct key k = destination_key(destination);

	key_add_u64(&k, id);
	return k;
}

void queue_news_put(struct buf *b, struct view destination, enum queue_priority lane, int64_t due, uint64_t id)
{
	buf_put_blob(b, destination.len > ADDRESS_MAX ? (struct view){ destination.ptr, ADDRESS_MAX } : destination);
	buf_put_u8(b, (uint8_t)lane);
	buf_put_u64(b, (uint64_t)due);
	buf_put_u64(b, id);
}

bool get_queue(struct tx *tx, uint64_t id, struct queue_entry *q)
{
	struct key k = key_u64(id);
	struct view v;

	return tx_get(tx, T_QUEUE, &k, &v) && queue_entry_get(v, q);
}
