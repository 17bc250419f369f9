/*
 * Writing and reading state files.
 *
 * Rows are copied as they lie in the index, table by table under the tables' names: a new table needs nothing here.
 * The price is that their layout is that of one INDEX_VERSION and one byte order, which the header names; another one
 * is refused, but for those from INDEX_LOADABLE on.  What version 2 has is version 3, with other lists of the queue,
 * which are made from its entries.
 *
 * The file grows under a name of its own, is read back from beginning to end, and takes its name when it is on the
 * disk: whatever has the name NUMBER.state was whole.  All of it is written at a few MiB at a time, each synced, so
 * that the last fsync keeps nobody waiting.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "apply.h"

#define BYTE_ORDER_MARK 0x01020304u
#define LOAD_BATCH (32ull << 20) /* bytes of rows to one index transaction */

struct load { /* of a state file that is read */
	struct scan scan;
	struct tx *tx;
	struct meta_value meta;
	bool meta_known, whole, failed;
	uint64_t frames, rows, sequence;
	uint32_t index_version;  /* of its rows */
	size_t batch;            /* bytes put since the last commit */
	size_t slice, slice_max; /* bytes read, and when to stop; 0: not at all */
	void (*damage)(void *, uint32_t, uint64_t, uint64_t, const char *);
	void *damage_arg;
};

struct state_writer {
	struct tx tx;
	uint32_t number;
	struct segments out;
	enum { WRITE_META, WRITE_TABLES, WRITE_END, READ_BACK } phase;
	enum table table;
	MDB_cursor *cursor; /* NULL: the table's first row is next */
	uint64_t rows;
	struct load back;
	bool placed; /* under its own name */
};

void state_discard(int log_dir)
{
	if (unlinkat(log_dir, STATE_TEMPORARY, 0) == -1 && errno != ENOENT)
		log_warn("event=store.unlink name=%s", STATE_TEMPORARY);
}

struct state_writer *state_write_begin(struct engine *e, struct tx *tx, uint32_t number)
{
	struct log_header h = { .state = true,
		.version = SEGMENT_VERSION,
		.number = number,
		.index_version = INDEX_VERSION,
		.order = BYTE_ORDER_MARK };
	struct state_writer *w;
	char header[SEGMENT_HEADER_LEN];
	int fd, error;

	if (unlinkat(e->log_dir, STATE_TEMPORARY, 0) == -1 && errno != ENOENT)
		goto fail;
	if (getrandom(&h.salt, sizeof h.salt, 0) != (ssize_t)sizeof h.salt ||
	    (fd = openat(e->log_dir, STATE_TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640)) == -1)
		goto fail;
	adopt(e->log_dir, fd);
	log_header_put(&h, header);
	w = xcalloc(1, sizeof *w);
	w->tx = *tx;
	w->number = number;
	w->out = (struct segments){ .dir = e->log_dir, .fd = fd, .salt = h.salt, .offset = SEGMENT_HEADER_LEN };
	memset(tx, 0, sizeof *tx);
	if (pwrite(fd, header, sizeof header, 0) == (ssize_t)sizeof header)
		return w;
	error = errno ? errno : ENOSPC;
	state_write_end(w);
	errno = error;
	return NULL;
fail:
	error = errno;
	tx_abort(tx);
	errno = error;
	return NULL;
}

uint64_t state_written(const struct state_writer *w)
{
	return w->out.offset;
}

static int write_frame(struct state_writer *w, struct buf *records, uint32_t count)
{
	char header[FRAME_HEADER_LEN];
	struct iovec iov[2] = { { header, sizeof header }, { records->data, records->len } };

	if (records->full) {
		errno = EFBIG;
		return -1;
	}
	w->out.dirty = false;
	segments_frame_header(&w->out, records->len, count, header);
	return segments_write(&w->out, iov, 2, sizeof header + records->len) == -1 || segments_sync(&w->out) == -1 ? -1
	                                                                                                           : 0;
}

static void put_rows(struct buf *records, enum table t, struct buf *rows)
{
	struct record r = { .type = RECORD_ROWS, .name = view_of(table_name(t)), .text = buf_view(rows) };

	record_put(records, &r);
	buf_reset(rows);
}

static int write_meta(struct state_writer *w, bool end)
{
	struct buf records = BUF_INIT(1u << 16), rows = BUF_INIT(4096);
	struct record r = { .type = RECORD_END, .size = w->rows };
	int rc;

	buf_put_blob(&rows, VIEW_LIT("meta"));
	buf_put_blob(&rows, (struct view){ (const char *)&w->tx.meta, sizeof w->tx.meta });
	put_rows(&records, T_META, &rows);
	if (end)
		record_put(&records, &r);
	rc = write_frame(w, &records, 1 + end);
	buf_free(&records);
	buf_free(&rows);
	return rc;
}

/* The next row of the snapshot, table after table. */
static bool next_row(struct state_writer *w, struct view *key, struct view *value)
{
	struct key first = { 0 };
	bool found;

	for (; w->table < TABLES; w->table++) {
		if (w->table == T_META)
			continue;
		found = w->cursor ? tx_next(&w->tx, w->cursor, &first, 0, key, value)
		                  : tx_seek(&w->tx, w->table, &w->cursor, &first, 0, key, value);
		if (found)
			return true;
		if (w->cursor)
			mdb_cursor_close(w->cursor);
		w->cursor = NULL;
	}
	return false;
}

/* One frame of rows: some of one table, or all of several. 0: there are more; 1: none. */
static int write_rows(struct state_writer *w)
{
	struct buf records = BUF_INIT(64u << 20), rows = BUF_INIT(RECORD_HEAD_MAX - 2048);
	uint32_t count = 0;
	enum table at = w->table;
	struct view key, value;
	size_t total = 0;
	int rc = 0;
	bool more;

	while ((more = next_row(w, &key, &value))) {
		if (rows.len && (w->table != at || rows.len + key.len + value.len > 1u << 20)) {
			put_rows(&records, at, &rows);
			count++;
		}
		at = w->table;
		buf_put_blob(&rows, key);
		buf_put_blob(&rows, value);
		w->rows++;
		if ((total += key.len + value.len + 8) >= STATE_SLICE)
			break;
	}
	if (rows.len) {
		put_rows(&records, at, &rows);
		count++;
	}
	if (w->tx.error || rows.full) {
		errno = EIO;
		rc = -1;
	} else if (count)
		rc = write_frame(w, &records, count);
	buf_free(&records);
	buf_free(&rows);
	return rc == -1 ? -1 : !more;
}

/* Reading ----------------------------------------------------------------------------------------------------- */

static void put_row(struct load *l, enum table t, struct view key, struct view value)
{
	MDB_val k = { key.len, (void *)(uintptr_t)key.ptr }, v = { value.len, (void *)(uintptr_t)value.ptr };
	MDB_dbi dbi = l->tx->index->dbi[t];
	struct queue_entry q;
	int rc;

	if (key.len == 0 || key.len > 511)
		return;
	if ((rc = mdb_put(l->tx->txn, dbi, &k, &v, MDB_APPEND)) == MDB_KEYEXIST)
		rc = mdb_put(l->tx->txn, dbi, &k, &v, 0);
	if (rc != 0 && !l->tx->error)
		l->tx->error = rc;
	if (t == T_QUEUE && l->index_version < 3 && key.len == 8 && queue_entry_get(value, &q))
		queue_list(l->tx, get_be64(key.ptr), &q); /* it has these lists in another form */
}

static void load_rows(struct load *l, const struct record *r)
{
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	enum table t = 0;

	while (t < TABLES && !view_eq(r->name, table_name(t)))
		t++;
	while (c.left > 0 && !c.bad) {
		struct view key = cursor_blob(&c, 511), value = cursor_blob(&c, RECORD_HEAD_MAX);
		if (c.bad)
			break;
		if (t == T_META && value.len == sizeof l->meta) {
			memcpy(&l->meta, value.ptr, sizeof l->meta);
			l->meta_known = true;
			continue;
		}
		l->rows++;
		if (l->tx && t < TABLES)
			put_row(l, t, key, value);
	}
	l->batch += r->text.len;
	l->slice += r->text.len;
}

static int load_frame(void *arg, const struct frame *f)
{
	struct load *l = arg;

	l->frames++;
	if (f->sequence != l->sequence + 1)
		l->whole = false;
	l->sequence = f->sequence;
	for (size_t i = 0; i < f->record_count; i++)
		if (f->records[i].type == RECORD_ROWS)
			load_rows(l, &f->records[i]);
		else if (f->records[i].type == RECORD_END)
			l->whole = l->meta_known && f->records[i].size == l->rows && f->sequence == l->frames;
	if (l->tx && l->batch >= LOAD_BATCH) {
		struct index *x = l->tx->index;
		l->batch = 0;
		if (tx_commit(l->tx) == -1 || tx_begin(l->tx, x, true) == -1)
			l->failed = true;
	}
	if (l->slice_max && l->slice >= l->slice_max)
		return -1;
	return l->failed || (l->tx && l->tx->error) ? -1 : 0;
}

static void load_damage(void *arg, uint32_t number, uint64_t offset, uint64_t length, const char *what)
{
	struct load *l = arg;

	l->whole = false;
	if (l->damage)
		l->damage(l->damage_arg, number, offset, length, what);
}

static void load_init(struct load *l, int log_dir, const char *name)
{
	l->scan = (struct scan){ .dir = log_dir, .name = name, .frame = load_frame, .damage = load_damage, .arg = l };
}

/* From where it stopped. */
static enum scan_end load_scan(struct load *l, uint32_t number)
{
	enum scan_end end;

	l->slice = 0;
	end = scan_state(&l->scan, number, l->scan.end);
	if (end == SCAN_TORN)
		load_damage(l, number, l->scan.end, l->scan.torn, l->scan.what);
	if (end == SCAN_FAILED)
		load_damage(l, number, 0, 0, "the state file cannot be opened");
	return end;
}

void state_check(int log_dir, uint32_t number, struct state_check *out,
    void (*damage)(void *, uint32_t, uint64_t, uint64_t, const char *), void *arg)
{
	struct load l = { .damage = damage, .damage_arg = arg };

	load_init(&l, log_dir, NULL);
	load_scan(&l, number);
	*out = (struct state_check){ l.frames, l.rows, l.meta.sequence, l.whole };
}

/* Are all segments there from one number up to another? Then the older state file and they make the same index. */
static bool segments_between(int log_dir, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		if (!segment_there(log_dir, from))
			return false;
	return true;
}

/* The one to load: the newest that is whole, if nothing is missing behind it; else the newest as far as it goes. */
static uint32_t state_choose(int log_dir, const uint32_t *numbers, size_t count)
{
	struct state_check check;

	for (size_t i = count; i-- > 0;) {
		state_check(log_dir, numbers[i], &check, NULL, NULL);
		if (check.whole && segments_between(log_dir, numbers[i], numbers[count - 1]))
			return numbers[i];
	}
	return numbers[count - 1];
}

static int header_usable(int log_dir, uint32_t number, uint32_t *index_version, struct error *err)
{
	struct log_header h;
	uint64_t salt;
	char name[STATE_NAME_LEN];
	int fd, rc = 0;

	state_name(number, name);
	if ((fd = state_open(log_dir, name, number, O_RDONLY, &salt)) == -1)
		return 0; /* damage, which loading tells */
	if (log_header_get(fd, &h) == -1)
		h = (struct log_header){ .index_version = INDEX_VERSION, .order = BYTE_ORDER_MARK };
	*index_version = h.index_version;
	if (h.index_version < INDEX_LOADABLE || h.index_version > INDEX_VERSION || h.order != BYTE_ORDER_MARK)
		rc = error_set(err,
		    h.order == BYTE_ORDER_MARK
			? "log/%s holds an index of format %u, this mailadm reads %d: install the mailadm that made it"
			: "log/%s holds an index of format %u (this mailadm: %d) that was made on a machine of another "
			  "byte order",
		    name, h.index_version, INDEX_VERSION);
	close(fd);
	return rc;
}

static void on_damage(void *arg, uint32_t number, uint64_t offset, uint64_t length, const char *what)
{
	struct engine *e = arg;

	e->damage_count++;
	log_warnx("event=store.damage state=%u offset=%llu length=%llu reason=\"%s\"", number,
	    (unsigned long long)offset, (unsigned long long)length, what);
}

int state_load(struct engine *e, struct tx *tx, struct error *err)
{
	struct load l = { .tx = tx, .damage = on_damage, .damage_arg = e };
	uint32_t *numbers, number;
	size_t count;

	if (states_list(e->log_dir, &numbers, &count, err) == -1)
		return -1;
	number = count ? state_choose(e->log_dir, numbers, count) : 0;
	free(numbers);
	if (!number)
		return 0;
	if (header_usable(e->log_dir, number, &l.index_version, err) == -1) {
		e->newer = true;
		return -1;
	}
	load_init(&l, e->log_dir, NULL);
	load_scan(&l, number);
	if (l.failed || tx->error)
		return -1;
	if (!l.whole && !e->damage_count)
		on_damage(e, number, 0, 0, "the state file is not whole");
	if (!l.meta_known)
		return error_set(err,
		    "log/%010u.state is damaged where it begins and where it ends: restore it from a backup", number);
	tx->meta = l.meta;
	tx->meta.version = INDEX_VERSION;
	log_info("event=store.state-loaded state=%u rows=%llu sequence=%llu", number, (unsigned long long)l.rows,
	    (unsigned long long)l.meta.sequence);
	return 1;
}

/* A slice of what was written, read again. 0: there is more; 1: it is whole. */
static int read_back(struct state_writer *w)
{
	if (!w->back.scan.dir)
		load_init(&w->back, w->out.dir, STATE_TEMPORARY);
	w->back.slice_max = 4 * STATE_SLICE;
	if (load_scan(&w->back, w->number) == SCAN_STOPPED)
		return 0;
	if (w->back.whole && w->back.rows == w->rows)
		return 1;
	errno = EIO;
	return -1;
}

static int put_in_place(struct state_writer *w)
{
	char name[STATE_NAME_LEN];

	state_name(w->number, name);
	if (fsync(w->out.fd) == -1 || renameat(w->out.dir, STATE_TEMPORARY, w->out.dir, name) == -1)
		return -1;
	w->placed = true;
	return fsync(w->out.dir);
}

int state_write_slice(struct state_writer *w)
{
	int rc = 0;

	switch (w->phase) {
	case WRITE_META:
		rc = write_meta(w, false);
		w->phase = WRITE_TABLES;
		break;
	case WRITE_TABLES:
		if ((rc = write_rows(w)) == 1) {
			w->phase = WRITE_END;
			rc = 0;
		}
		break;
	case WRITE_END:
		rc = write_meta(w, true);
		w->phase = READ_BACK;
		break;
	case READ_BACK:
		if ((rc = read_back(w)) == 1 && put_in_place(w) == -1)
			rc = -1;
		break;
	}
	return rc;
}

void state_write_end(struct state_writer *w)
{
	if (!w)
		return;
	if (w->cursor)
		mdb_cursor_close(w->cursor);
	tx_abort(&w->tx);
	close(w->out.fd);
	if (!w->placed)
		state_discard(w->out.dir);
	free(w);
}
