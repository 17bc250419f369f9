/*
 * Crash safety of the index without syncing it at each commit.
 *
 * LMDB runs with MDB_NOSYNC: its commits only reach the page cache.  When only the process dies, that is enough: the
 * page cache survives, LMDB writes its meta page last, and a page of the newest whole snapshot is never overwritten.
 * When the machine dies, data.mdb may hold any mixture of old and new pages.  So, about once a second:
 *
 *   1. the log is synced; a read transaction pins the newest snapshot S, and both meta pages are copied (nothing
 *      commits meanwhile: it is the committing thread that does it);
 *   2. data.mdb is synced (by the helper thread): all pages of S are on the disk;
 *   3. the metas, the boot id, data.mdb's inode and the log position go into one of two slots of `checkpoint`, each
 * with its CRC, which is synced;
 *   4. only then the pin of the checkpoint before is let go.
 *
 * LMDB reuses a page only when no reader's snapshot holds it.  While S is pinned nothing overwrites a page of S, so
 * whatever else a crash did to data.mdb, putting S's meta pages back gives exactly S, and the log from S's position
 * gives the rest.  A torn slot fails its CRC; the other slot's snapshot is still pinned at that moment (step 4).
 * At start: same boot and file: data.mdb is whole as it is.  Another boot: the newest slot's metas are put back.
 * Neither slot good, another inode (a copy made while pages moved), or LMDB refuses: the index is made anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "lib/clock.h"
#include "lib/crc32c.h"

#define CHECKPOINT_MAGIC 0x31544b4d4c49414dull /* "MAILMKT1" */
#define SLOT_LEN (CHECKPOINT_LEN / 2)

static size_t meta_page_size(struct engine *e)
{
	MDB_stat st;

	mdb_env_stat(e->index.env, &st);
	return st.ms_psize;
}

bool checkpoint_due(const struct engine *e)
{
	if (e->checkpoint_pending || e->dirty_since == 0 || e->pin_count == PINS_MAX)
		return false;
	return e->checkpoint_log >= CHECKPOINT_LOG || e->index_pages > e->checkpoint_pages + CHECKPOINT_PAGES ||
	       clock_mono_ms() - e->dirty_since >= CHECKPOINT_MS;
}

static void pin_newest(struct engine *e, uint64_t epoch)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(e->index.env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		fatalx("event=store.pin error=\"%s\"", mdb_strerror(rc));
	e->pins[e->pin_count++] = (struct pin){ txn, epoch };
}

void checkpoint_begin(struct engine *e)
{
	struct checkpoint *c = &e->checkpoint;
	size_t page = meta_page_size(e);
	struct tx tx;

	engine_publish(e);
	if (e->log.dirty && segments_sync(&e->log) == -1)
		fatal("event=store.fdatasync segment=%u", e->log.number);
	c->epoch = atomic_load(&e->shared->epoch) + 1;
	pin_newest(e, c->epoch);
	if (e->readers)
		readers_epoch_begins(e->readers, c->epoch, clock_mono_ms());
	atomic_store(&e->shared->epoch, c->epoch);
	for (size_t i = 0; i < 2; i++)
		if (pread(e->data_fd, c->metas[i], sizeof c->metas[i], (off_t)(i * page)) !=
		    (ssize_t)sizeof c->metas[i])
			fatal("event=store.checkpoint");
	if (tx_begin(&tx, &e->index, false) == -1)
		fatalx("event=store.checkpoint error=\"%s\"", mdb_strerror(tx.error));
	c->meta = tx.meta;
	tx_abort(&tx);
	e->checkpoint_pending = true;
	e->checkpoint_log = 0;
	e->checkpoint_pages = e->index_pages;
	e->dirty_since = 0;
}

static void slot_put(struct engine *e, struct buf *b)
{
	const struct checkpoint *c = &e->checkpoint;
	struct stat st;

	buf_put_u64(b, CHECKPOINT_MAGIC);
	buf_put_u64(b, e->checkpoint_serial + 1);
	buf_put_u64(b, fstat(e->data_fd, &st) == 0 ? (uint64_t)st.st_ino : 0);
	buf_put_u32(b, (uint32_t)meta_page_size(e));
	buf_put_u32(b, c->meta.segment);
	buf_put_u64(b, c->meta.offset);
	buf_put_u64(b, c->meta.sequence);
	buf_put_str(b, e->options.boot_id);
	buf_add(b, c->metas, sizeof c->metas);
	buf_put_u32(b, crc32c(0, b->data, b->len));
}

int checkpoint_write(struct engine *e)
{
	struct buf b = BUF_INIT(SLOT_LEN);
	off_t at = (off_t)((e->checkpoint_serial + 1) % 2 * SLOT_LEN);
	int rc = -1;

	/* Pages whose write failed look written, until the kernel drops them. */
	if (fdatasync(e->data_fd) == -1)
		index_lost(e, strerror(errno));
	slot_put(e, &b);
	if (pwrite(e->checkpoint_fd, b.data, b.len, at) == (ssize_t)b.len && fdatasync(e->checkpoint_fd) == 0)
		rc = 0;
	buf_free(&b);
	return rc;
}

void checkpoint_end(struct engine *e)
{
	e->checkpoint_serial++;
	e->durable_epoch = e->checkpoint.epoch;
	e->durable_sequence = e->checkpoint.meta.sequence;
	e->durable_segment = e->checkpoint.meta.segment;
	e->checkpoint_pending = false;
	pins_release(e);
}

void pins_release(struct engine *e)
{
	uint64_t keep = e->readers ? readers_oldest(e->readers) : UINT64_MAX;
	size_t n = 0;

	if (keep > e->durable_epoch)
		keep = e->durable_epoch;
	for (size_t i = 0; i < e->pin_count; i++) {
		if (e->pins[i].epoch < keep)
			mdb_txn_abort(e->pins[i].txn);
		else
			e->pins[n++] = e->pins[i];
	}
	e->pin_count = n;
}

void pins_drop(struct engine *e)
{
	for (size_t i = 0; i < e->pin_count; i++)
		mdb_txn_abort(e->pins[i].txn);
	e->pin_count = 0;
}

struct slot {
	bool good;
	uint64_t serial, inode, sequence, offset;
	uint32_t page, segment;
	char boot_id[BOOT_ID_LEN];
	struct view metas;
};

static struct slot slot_get(const char data[SLOT_LEN], ssize_t len)
{
	struct cursor c = cursor_of(data, len > 0 ? (size_t)len : 0);
	struct slot s = { 0 };
	uint64_t magic = cursor_u64(&c);
	size_t covered;
	uint32_t crc;

	s.serial = cursor_u64(&c);
	s.inode = cursor_u64(&c);
	s.page = cursor_u32(&c);
	s.segment = cursor_u32(&c);
	s.offset = cursor_u64(&c);
	s.sequence = cursor_u64(&c);
	cursor_str(&c, s.boot_id, sizeof s.boot_id);
	s.metas = cursor_bytes(&c, 1024);
	covered = c.bad ? 0 : (size_t)(c.p - data);
	crc = cursor_u32(&c);
	s.good =
	    !c.bad && magic == CHECKPOINT_MAGIC && s.page >= 512 && s.page <= 65536 && crc == crc32c(0, data, covered);
	return s;
}

static int metas_restore(struct engine *e, const struct slot *s)
{
	for (size_t i = 0; i < 2; i++)
		if (pwrite(e->data_fd, s->metas.ptr + i * 512, 512, (off_t)(i * s->page)) != 512)
			return -1;
	return fdatasync(e->data_fd);
}

/* The newest good slot, if it is of this very data.mdb. */
static bool slot_newest(int checkpoint_fd, int data_fd, char data[2][SLOT_LEN], struct slot *out)
{
	struct slot slots[2];
	struct stat st;

	if (data_fd == -1 || checkpoint_fd == -1 || fstat(data_fd, &st) == -1)
		return false;
	for (int i = 0; i < 2; i++)
		slots[i] = slot_get(data[i], pread(checkpoint_fd, data[i], SLOT_LEN, i * SLOT_LEN));
	*out = slots[1].good && (!slots[0].good || slots[1].serial > slots[0].serial) ? slots[1] : slots[0];
	return out->good && out->inode == (uint64_t)st.st_ino;
}

enum checkpoint_found checkpoint_peek(int checkpoint_fd, int data_fd, const char *boot_id)
{
	char data[2][SLOT_LEN];
	struct slot newest;

	if (!slot_newest(checkpoint_fd, data_fd, data, &newest))
		return CHECKPOINT_NONE;
	return boot_id[0] && strcmp(newest.boot_id, boot_id) == 0 ? CHECKPOINT_SAME_BOOT : CHECKPOINT_RESTORED;
}

enum checkpoint_found checkpoint_restore(struct engine *e)
{
	char data[2][SLOT_LEN];
	struct slot newest;

	if (!slot_newest(e->checkpoint_fd, e->data_fd, data, &newest))
		return CHECKPOINT_NONE;
	e->checkpoint_serial = newest.serial;
	e->checkpoint_segment = newest.segment;
	e->checkpoint_offset = newest.offset;
	if (e->options.boot_id[0] && strcmp(newest.boot_id, e->options.boot_id) == 0)
		return CHECKPOINT_SAME_BOOT;
	log_info("event=store.index-restored sequence=%llu reason=\"the machine was restarted\"",
	    (unsigned long long)newest.sequence);
	return metas_restore(e, &newest) == 0 ? CHECKPOINT_RESTORED : CHECKPOINT_NONE;
}
