/*
 * The readers' side: a read-only map of the index, snapshots announced on this reader's epoch page (epoch.h), bodies
 * by pread.  The index is opened when store sends the pages, since only then it is sure to be there; another file of
 * that name (store made the index anew) is opened instead when its pages come.
 */
#include "view.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "epoch.h"
#include "follow.h"
#include "lib/clock.h"
#include "view_impl.h"

#define TRIM_MS 10000
#define PREFETCH 4096               /* bytes of a record */
#define IN_ORDER 4                  /* bodies this close to the last one are asked for in order */
#define CHECKED_BODIES (128 * 1024) /* remembered, the newest with each remainder */
#define RENEW_MS 2000 /* store tells of a commit microseconds after it, unless it died or the machine is very busy */

struct store_view *store_view_open(int store_dir, struct error *e)
{
	struct store_view *v = xcalloc(1, sizeof *v);

	v->log_dir = v->readers = v->pending[0] = v->pending[1] = -1;
	if ((v->dir = fcntl(store_dir, F_DUPFD_CLOEXEC, 3)) == -1) {
		free(v);
		error_errno(e, "cannot keep the store's folder");
		return NULL;
	}
	body_reader_init(&v->bodies, -1);
	return v;
}

static void drop_index(struct store_view *v)
{
	if (v->tx.txn)
		mdb_txn_abort(v->tx.txn);
	memset(&v->tx, 0, sizeof v->tx);
	if (v->open)
		index_close(&v->index);
	v->open = false;
}

static void drop_pages(struct store_view *v)
{
	free(v->checked); /* another store may be behind the next ones */
	v->checked = NULL;
	if (v->shared)
		munmap((void *)(uintptr_t)v->shared, EPOCH_PAGE);
	if (v->page)
		munmap(v->page, EPOCH_PAGE);
	v->shared = NULL;
	v->page = NULL;
}

static void drop_pending(struct store_view *v)
{
	for (int i = 0; i < 2; i++) {
		if (v->pending[i] != -1)
			close(v->pending[i]);
		v->pending[i] = -1;
	}
}

void store_view_close(struct store_view *v)
{
	if (!v)
		return;
	if (v->client)
		store_client_follow(v->client, NULL, NULL);
	view_end(v);
	drop_index(v);
	drop_pages(v);
	drop_pending(v);
	body_reader_close(&v->bodies);
	if (v->log_dir != -1)
		close(v->log_dir);
	if (v->readers != -1)
		close(v->readers);
	close(v->dir);
	free(v);
}

static int open_index(struct store_view *v)
{
	struct error e;
	struct stat st;
	char path[64];
	int rc;

	if (v->log_dir == -1) {
		if ((v->log_dir = openat(v->dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) == -1)
			return -1;
		body_reader_init(&v->bodies, v->log_dir);
	}
	if (v->readers == -1 && (v->readers = openat(v->dir, "index/readers", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return -1;
	if (fstatat(v->dir, "index/data.mdb", &st, 0) == -1)
		return -1;
	if (v->open && st.st_ino == v->inode)
		return 0;
	drop_index(v);
	snprintf(path, sizeof path, "/proc/self/fd/%d/index", v->dir);
	if (index_open(&v->index, path, true, &e) == -1) {
		log_warnx("event=view.open error=\"%s\"", e.text);
		return -1;
	}
	v->open = true;
	v->inode = st.st_ino;
	v->tx.index = &v->index;
	if ((rc = mdb_txn_begin(v->index.env, NULL, MDB_RDONLY, &v->tx.txn)) == 0) {
		mdb_txn_reset(v->tx.txn);
		return 0;
	}
	log_warnx("event=view.open error=\"%s\"", mdb_strerror(rc));
	v->tx.txn = NULL;
	drop_index(v);
	return -1;
}

static void *map_page(int fd, int prot)
{
	struct stat st;
	void *p = MAP_FAILED;

	if (fstat(fd, &st) == 0 && st.st_size == EPOCH_PAGE)
		p = mmap(NULL, EPOCH_PAGE, prot, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* Both pages are here and no snapshot is open: they take the place of the old ones. */
static void adopt_pages(struct store_view *v)
{
	if (v->active || v->pending[0] == -1 || v->pending[1] == -1)
		return;
	drop_pages(v);
	v->shared = map_page(v->pending[0], PROT_READ);
	v->page = map_page(v->pending[1], PROT_READ | PROT_WRITE);
	drop_pending(v);
	if (!v->shared || !v->page || open_index(v) == -1) {
		log_warn("event=view.pages");
		drop_pages(v);
	}
}

static void on_page(void *arg, bool shared, int fd)
{
	struct store_view *v = arg;
	int *slot = &v->pending[shared ? 0 : 1];

	if (*slot != -1)
		close(*slot);
	*slot = fd;
	adopt_pages(v);
}

static void on_reset(void *arg)
{
	struct store_view *v = arg;

	v->stale = v->active;
	drop_pending(v);
	if (!v->active)
		drop_pages(v);
}

void store_view_follow(struct store_view *v, struct store_client *client)
{
	static const struct follow_ops ops = { on_reset, on_page };

	v->client = client;
	store_client_follow(client, &ops, v);
}

bool store_view_ready(const struct store_view *v)
{
	return v->open && v->shared && v->page && v->client && store_client_attached(v->client);
}

int view_begin(struct store_view *v)
{
	uint64_t epoch, txn, until, began = clock_mono_ms();
	int rc = -1;

	if (v->active || !store_view_ready(v) || !epoch_hold(v->readers, v->shared))
		return -1;
	do {
		epoch = atomic_load(&v->shared->epoch);
		atomic_store(&v->page->epoch, epoch);
	} while (atomic_load(&v->shared->epoch) != epoch);
	/* The snapshot must be one that store has told of: then its meta page is not being written. */
	until = clock_mono_ms() + RENEW_MS;
	do {
		txn = atomic_load(&v->shared->txn);
		if (mdb_txn_renew(v->tx.txn) != 0)
			break;
		if (mdb_txn_id(v->tx.txn) == txn && atomic_load(&v->shared->txn) == txn) {
			rc = 0;
		} else {
			mdb_txn_reset(v->tx.txn);
			sched_yield();
		}
	} while (rc != 0 && clock_mono_ms() < until);
	if (rc != 0) {
		atomic_store(&v->page->epoch, 0);
		epoch_release(v->readers);
		return -1;
	}
	v->tx.error = 0;
	v->active = true;
	v->stale = false;
	v->until = store_client_reads_too(v->client) ? began + VIEW_COMMAND_MAX_MS : UINT64_MAX;
	return 0;
}

int view_end(struct store_view *v)
{
	int rc = view_usable(v) && v->tx.error == 0 ? 0 : -1;

	if (!v->active)
		return -1;
	if (v->body_cursor)
		mdb_cursor_close(v->body_cursor);
	v->body_cursor = NULL;
	v->last_body = v->ahead_at = v->ahead_count = 0;
	mdb_txn_reset(v->tx.txn);
	atomic_store(&v->page->epoch, 0);
	epoch_release(v->readers);
	v->active = false;
	if (clock_mono_ms() >= v->trim_at) {
		body_reader_trim(&v->bodies);
		v->trim_at = clock_mono_ms() + TRIM_MS;
	}
	if (v->stale)
		drop_pages(v);
	v->stale = false;
	adopt_pages(v);
	return rc;
}

bool view_usable(struct store_view *v)
{
	return v->active && !v->stale && store_client_attached(v->client) &&
	       (v->until == UINT64_MAX || clock_mono_ms() < v->until);
}

int view_account(struct store_view *v, const char *address, struct account_row *row)
{
	struct account_value a;

	memset(row, 0, sizeof *row);
	if (!view_usable(v) || !(row->id = find_account(&v->tx, view_of(address))) ||
	    !get_account(&v->tx, row->id, &a, NULL))
		return 0;
	row->bytes = a.bytes;
	row->messages = a.messages;
	return 1;
}

int view_address(struct store_view *v, uint32_t account, char address[ADDRESS_MAX], bool *orphaned)
{
	struct account_value a;
	struct view name;

	address[0] = '\0';
	if (!view_usable(v) || !get_account(&v->tx, account, &a, &name) || view_copy(name, address, ADDRESS_MAX) == -1)
		return 0;
	if (orphaned)
		*orphaned = a.orphaned;
	return 1;
}

int view_domain(struct store_view *v, const char *domain, struct account_row *row)
{
	struct key k = { 0 };
	struct domain_value d;

	memset(row, 0, sizeof *row);
	key_add(&k, view_of(domain));
	if (!view_usable(v) || k.len == 0 || !tx_get_fixed(&v->tx, T_DOMAIN, &k, &d, sizeof d, NULL))
		return 0;
	*row = (struct account_row){ .id = d.accounts, .bytes = d.bytes, .messages = d.messages };
	return 1;
}

int view_mailbox(struct store_view *v, uint32_t mailbox, struct mailbox_row *row)
{
	struct mailbox_value m;
	struct view name;

	if (!view_usable(v) || !get_mailbox(&v->tx, mailbox, &m, &name) ||
	    view_copy(name, row->name, sizeof row->name) == -1)
		return 0;
	row->id = mailbox;
	row->account = m.account;
	row->uid_validity = m.uid_validity;
	row->uid_next = m.uid_next;
	row->messages = m.messages;
	row->unseen = m.unseen;
	row->deleted = m.deleted;
	row->recent = m.recent;
	row->bytes = m.bytes;
	row->modseq = m.modseq;
	row->special = m.special <= SPECIAL_ARCHIVE ? (enum special_use)m.special : SPECIAL_NONE;
	row->keyword_count = 0;
	memset(row->keywords, 0, sizeof row->keywords);
	if (m.keywords == 0)
		return 1;
	get_keywords(&v->tx, mailbox, row->keywords);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		if (row->keywords[i].ptr)
			row->keyword_count = i + 1;
	return 1;
}

int view_mailbox_by_name(struct store_view *v, uint32_t account, const char *name, struct mailbox_row *row)
{
	uint32_t id;

	if (!view_usable(v) ||
	    !(id = find_mailbox(&v->tx, account, strcasecmp(name, "INBOX") == 0 ? VIEW_LIT("INBOX") : view_of(name))))
		return 0;
	return view_mailbox(v, id, row);
}

void view_mailboxes(struct store_view *v, uint32_t account, bool (*fn)(void *, const struct mailbox_row *), void *arg)
{
	struct key k = key_u32(account);
	struct mailbox_row *row = xmalloc(sizeof *row);
	MDB_cursor *c = NULL;
	struct view found, value;
	uint32_t id;
	bool more = view_usable(v) && tx_seek(&v->tx, T_MAILBOX_NAME, &c, &k, 4, &found, &value);

	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, 4, &found, &value)) {
		if (value.len != sizeof id)
			continue;
		memcpy(&id, value.ptr, sizeof id);
		if (view_mailbox(v, id, row) && !fn(arg, row))
			break;
	}
	if (c)
		mdb_cursor_close(c);
	free(row);
}

void view_subscriptions(struct store_view *v, uint32_t account, bool (*fn)(void *, const char *), void *arg)
{
	struct key k = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;
	char name[MAILBOX_NAME_MAX + 1];
	bool more = view_usable(v) && tx_seek(&v->tx, T_SUBSCRIPTION, &c, &k, 4, &found, &value);

	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, 4, &found, &value))
		if (view_copy((struct view){ found.ptr + 4, found.len - 4 }, name, sizeof name) == 0 && !fn(arg, name))
			break;
	if (c)
		mdb_cursor_close(c);
}

bool view_fill(struct message_row *row, uint32_t uid, struct view value, uint32_t recent_uid)
{
	struct message_value m;

	if (value.len < sizeof m)
		return false;
	memcpy(&m, value.ptr, sizeof m);
	*row = (struct message_row){ .uid = uid,
		.flags = m.flags | (uid >= recent_uid ? FLAG_RECENT : 0),
		.keywords = m.keywords,
		.modseq = m.modseq,
		.internal_date = m.date,
		.save_date = m.saved,
		.body = m.body,
		.size = m.size,
		.prefix = { value.ptr + sizeof m, value.len - sizeof m } };
	return true;
}

int view_message(struct store_view *v, uint32_t mailbox, uint32_t uid, struct message_row *row)
{
	struct key k = message_key(mailbox, uid);
	struct mailbox_value m;
	struct view value;

	return view_usable(v) && get_mailbox(&v->tx, mailbox, &m, NULL) && tx_get(&v->tx, T_MESSAGE, &k, &value) &&
	       view_fill(row, uid, value, m.recent_uid);
}

size_t view_messages(struct store_view *v, uint32_t mailbox, uint32_t first, uint32_t last,
    bool (*fn)(void *, const struct message_row *), void *arg)
{
	struct key k = message_key(mailbox, first);
	MDB_cursor *c = NULL;
	struct mailbox_value m;
	struct message_row row;
	struct view found, value;
	size_t given = 0;
	bool more = view_usable(v) && get_mailbox(&v->tx, mailbox, &m, NULL) &&
	            tx_seek(&v->tx, T_MESSAGE, &c, &k, 4, &found, &value);

	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, 4, &found, &value)) {
		uint32_t uid = found.len == 8 ? get_be32(found.ptr + 4) : UINT32_MAX;
		if (uid > last)
			break;
		if (!view_fill(&row, uid, value, m.recent_uid))
			continue;
		given++;
		if (!fn(arg, &row))
			break;
	}
	if (c)
		mdb_cursor_close(c);
	return given;
}

struct change_walk {
	MDB_cursor *cursor;
	struct view found, value;
	bool more;
};

void view_changes(struct store_view *v, uint32_t mailbox, uint64_t after,
    bool (*fn)(void *, uint64_t, uint32_t, enum change_kind), void *arg)
{
	static const enum table tables[2] = { T_CHANGE, T_GONE };
	struct key k = change_key(mailbox, after == UINT64_MAX ? after : after + 1, 0);
	struct change_walk w[2] = { { 0 } };

	/* Both tables are in modseq and uid order: merge them. */
	for (int i = 0; i < 2; i++)
		w[i].more = view_usable(v) && tx_seek(&v->tx, tables[i], &w[i].cursor, &k, 4, &w[i].found, &w[i].value);
	while ((w[0].more || w[1].more) && view_usable(v)) {
		int i = !w[0].more || (w[1].more && memcmp(w[1].found.ptr, w[0].found.ptr, 16) < 0);
		unsigned kind = w[i].value.len == 1 ? (unsigned char)w[i].value.ptr[0] : CHANGE_FLAGS;
		if (w[i].found.len != 16 ||
		    !fn(arg, get_be64(w[i].found.ptr + 4), get_be32(w[i].found.ptr + 12), (enum change_kind)kind))
			break;
		w[i].more = tx_next(&v->tx, w[i].cursor, &k, 4, &w[i].found, &w[i].value);
	}
	for (int i = 0; i < 2; i++)
		if (w[i].cursor)
			mdb_cursor_close(w[i].cursor);
}

bool view_changes_whole(struct store_view *v, uint32_t mailbox, uint64_t after)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct mailbox_value m;
	struct view found, value;
	bool whole = true;

	if (!view_usable(v) || !get_mailbox(&v->tx, mailbox, &m, NULL) || m.tombstones < TOMBSTONES_MAX)
		return true;
	if (tx_seek(&v->tx, T_GONE, &c, &k, 4, &found, &value) && found.len == 16)
		whole = after >= get_be64(found.ptr + 4);
	if (c)
		mdb_cursor_close(c);
	return whole;
}

static void prefetch(const MDB_val *value)
{
	for (size_t i = 0; i < value->mv_size && i < PREFETCH; i += 64)
		__builtin_prefetch((const char *)value->mv_data + i);
}

/*
 * The cursor is at a body: what is behind it?  Each step waits for memory, a few steps in a row wait together, and what
 * they find comes while the caller works on the one before.
 */
static void look_ahead(struct store_view *v)
{
	MDB_val key, value;

	v->ahead_at = v->ahead_count = 0;
	while (v->ahead_count < BODIES_AHEAD && mdb_cursor_get(v->body_cursor, &key, &value, MDB_NEXT) == 0 &&
	       key.mv_size == 8) {
		v->ahead[v->ahead_count].body = get_be64(key.mv_data);
		v->ahead[v->ahead_count++].value = value;
	}
	for (unsigned i = 0; i < v->ahead_count; i++)
		prefetch(&v->ahead[i].value);
}

/* Among those that were found ahead. */
static bool is_ahead(struct store_view *v, uint64_t body, MDB_val *value)
{
	while (v->ahead_at < v->ahead_count && v->ahead[v->ahead_at].body < body)
		v->ahead_at++;
	if (v->ahead_at == v->ahead_count || v->ahead[v->ahead_at].body != body)
		return false;
	*value = v->ahead[v->ahead_at++].value;
	if (v->ahead_at == v->ahead_count)
		look_ahead(v);
	return true;
}

static bool find_body(struct store_view *v, uint64_t body, MDB_val *value)
{
	struct key k = key_u64(body);
	MDB_val key = { k.len, k.bytes };
	bool in_order = v->last_body && body > v->last_body && body - v->last_body <= IN_ORDER;
	int rc = 0;

	if (v->tx.error)
		return false;
	if (is_ahead(v, body, value)) {
		v->last_body = body;
		return true;
	}
	if (!v->body_cursor)
		rc = mdb_cursor_open(v->tx.txn, v->index.dbi[T_BODY], &v->body_cursor);
	if (rc == 0)
		rc = mdb_cursor_get(v->body_cursor, &key, value, MDB_SET_KEY);
	if (rc != 0 && rc != MDB_NOTFOUND)
		v->tx.error = rc;
	v->ahead_at = v->ahead_count = 0;
	v->last_body = rc == 0 ? body : 0;
	if (rc == 0 && in_order)
		look_ahead(v);
	return rc == 0;
}

int view_body(struct store_view *v, uint64_t body, struct body_ref *ref)
{
	struct body_value b;
	MDB_val value;

	memset(ref, 0, sizeof *ref);
	if (!view_usable(v) || !find_body(v, body, &value) || value.mv_size < sizeof b)
		return 0;
	memcpy(&b, value.mv_data, sizeof b);
	ref->mime = (struct view){ (char *)value.mv_data + sizeof b, value.mv_size - sizeof b };
	ref->segment = b.segment;
	ref->offset = b.offset;
	ref->length = b.length;
	return 1;
}

bool view_body_checked(const struct store_view *v, uint64_t body)
{
	return v->checked && v->checked[body % CHECKED_BODIES] == body;
}

void view_body_set_checked(struct store_view *v, uint64_t body)
{
	if (!v->checked)
		v->checked = xcalloc(CHECKED_BODIES, sizeof *v->checked);
	v->checked[body % CHECKED_BODIES] = body;
}

int view_body_read(struct store_view *v, const struct body_ref *ref, uint64_t offset, void *dst, size_t length)
{
	int rc;

	if (v->log_dir == -1) {
		errno = ENOENT;
		return -1;
	}
	rc = body_read(&v->bodies, (uint32_t)ref->segment, ref->offset, ref->length, offset, dst, length);
	if (rc == -1 && errno == EIO)
		log_warnx("event=store.damage segment=%u offset=%llu reason=\"body cannot be read as it was written\"",
		    (unsigned)ref->segment, (unsigned long long)ref->offset);
	return rc;
}
