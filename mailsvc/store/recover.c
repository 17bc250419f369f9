/*
 * Opening the store: which index to trust, replay of what the log holds beyond it, and the log's torn tail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "recover.h"
#include "state.h"

#define REPLAY_BATCH 2000 /* records to one index transaction */

struct replay {
	struct engine *e;
	struct tx tx;
	size_t records;
	uint64_t salt;
	bool failed;
	bool loaded;  /* the index comes from a state file */
	bool removed; /* the last segment, which was never used: its number is free again */
};

static int replay_frame(void *arg, const struct frame *f)
{
	struct replay *r = arg;
	struct tx *tx = &r->tx;

	if (f->sequence <= tx->meta.sequence)
		return 0;
	if (tx->meta.sequence && f->sequence != tx->meta.sequence + 1 && !f->unsynced)
		log_warnx("event=store.gap segment=%u offset=%llu missing=%llu", f->segment,
		    (unsigned long long)f->offset, (unsigned long long)(f->sequence - tx->meta.sequence - 1));
	for (size_t i = 0; i < f->record_count; i++)
		if (!apply(tx, &f->records[i]))
			log_warnx("event=store.record-skipped segment=%u offset=%llu type=%s", f->segment,
			    (unsigned long long)f->offset, record_type_name(f->records[i].type));
	tx->meta.sequence = f->sequence;
	tx->meta.segment = f->segment;
	tx->meta.offset = f->end;
	tx->meta.salt = r->salt;
	r->e->replayed++;
	r->records += f->record_count;
	if (r->records >= REPLAY_BATCH) {
		r->records = 0;
		if (tx_commit(tx) == -1 || tx_begin(tx, &r->e->index, true) == -1) {
			r->failed = true;
			return -1;
		}
	}
	return tx->error ? -1 : 0;
}

static void replay_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	struct replay *r = arg;

	r->e->damage_count++;
	log_warnx("event=store.damage segment=%u offset=%llu length=%llu reason=\"%s\"", segment,
	    (unsigned long long)offset, (unsigned long long)length, what);
}

/* A segment that a crash interrupted while it was being made: nothing but zeros behind its header. */
static bool never_used(struct engine *e, uint32_t number)
{
	char name[SEGMENT_NAME_LEN], block[4096];
	off_t at = SEGMENT_HEADER_LEN;
	ssize_t n;
	int fd;

	segment_name(number, name);
	if ((fd = openat(e->log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return false;
	while ((n = pread(fd, block, sizeof block, at)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (block[i] != 0)
				n = -1;
		if (n == -1)
			break;
		at += n;
	}
	close(fd);
	return n == 0 && unlinkat(e->log_dir, name, 0) == 0;
}

/* Replays one segment; sets the log's end when it is the last. */
static int replay_segment(struct replay *r, uint32_t number, uint64_t from, bool last)
{
	struct scan s = {
		.dir = r->e->log_dir, .bodies = last, .frame = replay_frame, .damage = replay_damage, .arg = r
	};
	struct segments *log = &r->e->log;
	int fd = segment_open(r->e->log_dir, number, last ? O_RDWR : O_RDONLY, &r->salt);
	enum scan_end end;

	if (fd == -1) {
		r->removed = last && never_used(r->e, number);
		if (!r->removed)
			replay_damage(r, number, 0, 0, "segment cannot be opened");
		return 0;
	}
	end = scan_segment(&s, number, from);
	if (end == SCAN_TORN && !last)
		replay_damage(r, number, s.end, s.torn, s.what);
	if (s.unsynced)
		log_info(
		    "event=store.unsynced segment=%u bytes=%llu reason=\"the power went before they were on the disk\"",
		    number, (unsigned long long)s.unsynced);
	if (last) {
		struct log_header h;
		log->fd = fd;
		log->number = number;
		log->version = log_header_get(fd, &h) == 0 ? h.version : 0;
		log->salt = r->salt;
		log->offset = s.end;
		log->allocated = s.file_len;
		if (end == SCAN_TORN) {
			log_warnx("event=store.torn-tail segment=%u offset=%llu bytes=%llu reason=\"%s\"", number,
			    (unsigned long long)s.end, (unsigned long long)s.torn, s.what);
			segments_cut(log);
		}
	} else
		close(fd);
	return end == SCAN_STOPPED || end == SCAN_FAILED || r->failed || r->tx.error ? -1 : 0;
}

/* What was written after the checkpoint may have been lost by a failed fdatasync, of which the page cache does not
 * tell: writing the same bytes again makes the next fdatasync mean what it says. */
static int rewrite_tail(struct segments *log, uint64_t from)
{
	char *block = xmalloc(1 << 20);
	int rc = 0;

	while (rc == 0 && from < log->offset) {
		size_t n = log->offset - from < 1 << 20 ? (size_t)(log->offset - from) : 1 << 20;
		if (pread(log->fd, block, n, (off_t)from) != (ssize_t)n ||
		    pwrite(log->fd, block, n, (off_t)from) != (ssize_t)n)
			rc = -1;
		from += n;
	}
	free(block);
	return rc == 0 ? segments_sync(log) : -1;
}

/* Does the index belong to this log?  Its position must be in a segment that is there, with the same salt. */
static bool position_ok(struct engine *e, const struct meta_value *m)
{
	uint64_t salt;
	struct stat st;
	int fd;
	bool ok;

	if (m->sequence == 0)
		return true;
	if ((fd = segment_open(e->log_dir, m->segment, O_RDONLY, &salt)) == -1)
		return false;
	ok = salt == m->salt && fstat(fd, &st) == 0 && m->offset <= (uint64_t)st.st_size;
	close(fd);
	return ok;
}

/* What a new index starts from: the newest state file, or the log's beginning. */
static int replay_start(struct replay *r, const uint32_t *numbers, size_t count, struct error *err)
{
	struct tx *tx = &r->tx;
	int rc;

	if (tx->meta.sequence)
		return 0;
	if ((rc = state_load(r->e, tx, err)) != 0) {
		r->loaded = rc == 1;
		return rc == 1 ? 0 : -1;
	}
	if (count && numbers[0] != 1)
		replay_damage(r, 1, 0, 0, "the log's beginning is missing, and there is no state file in its place");
	return 0;
}

/*
 * Where replay starts.  What a state file holds is used whatever became of the segment behind it: nothing of a segment
 * that it stands at the beginning of is in it, which may be still to come (a backup), or be another one of that number
 * (the backup went on).  Else what is missing is told, and of another segment all frames are tried.
 */
static int position_find(struct replay *r, struct meta_value *start, uint32_t newest)
{
	bool at_head = start->offset == SEGMENT_HEADER_LEN;

	if (position_ok(r->e, start))
		return 0;
	if (!r->loaded)
		return -1;
	if (!at_head || (start->segment < newest && !segment_there(r->e->log_dir, start->segment)))
		replay_damage(r, start->segment, start->offset, 0,
		    "the segment that the state file stands in is missing, or is another one");
	start->offset = 0;
	return 0;
}

/* New frames go into a segment of this program's version, and the index stands in one that is there. */
static int append_ready(struct replay *r, uint32_t next, struct error *err)
{
	struct segments *log = &r->e->log;
	struct meta_value *m = &r->tx.meta;

	if (log->fd == -1 && segments_start(log, next > m->segment ? next : m->segment) == -1)
		return error_errno(err, "cannot start a segment of the log");
	if (log->version != SEGMENT_VERSION && segments_rotate(log) == -1)
		return error_errno(err, "cannot start a segment of the log");
	if (m->sequence) { /* one place for one state, however it was come to */
		m->segment = log->number;
		m->offset = log->offset;
		m->salt = log->salt;
	}
	return 0;
}

static int replay_all(struct replay *r, const uint32_t *numbers, size_t count, struct error *err)
{
	struct meta_value start;
	uint32_t newest = count ? numbers[count - 1] : 0;
	size_t i = 0;

	if (r->tx.meta.version > INDEX_VERSION) {
		r->e->newer = true;
		return error_set(err,
		    "index/data.mdb has format %u; this mailadm reads formats up to %d: install the newer mailadm "
		    "again, or "
		    "let this one make it anew (mailadm store rebuild)",
		    r->tx.meta.version, INDEX_VERSION);
	}
	if (r->tx.meta.version != INDEX_VERSION)
		return error_set(
		    err, "the index has format %u, this mailadm makes %d", r->tx.meta.version, INDEX_VERSION);
	if (replay_start(r, numbers, count, err) == -1)
		return -1;
	start = r->tx.meta;
	if (position_find(r, &start, newest) == -1)
		return -1;
	while (start.sequence && i < count && numbers[i] < start.segment)
		i++;
	for (; i < count; i++)
		if (replay_segment(r, numbers[i], numbers[i] == start.segment ? start.offset : 0, i + 1 == count) == -1)
			return -1;
	r->e->log.sequence = r->tx.meta.sequence;
	return append_ready(r, newest + !r->removed, err);
}

int recover_replay(struct engine *e, bool writable, struct error *err)
{
	struct replay r = { .e = e };
	uint32_t *numbers;
	size_t count;
	int rc;

	if (segments_list(e->log_dir, &numbers, &count, err) == -1)
		return -1;
	if (tx_begin(&r.tx, &e->index, true) == -1) {
		free(numbers);
		return error_set(err, "cannot read the index: %s", mdb_strerror(r.tx.error));
	}
	rc = replay_all(&r, numbers, count, err);
	if (rc == 0 && tx_commit(&r.tx) == -1)
		rc = -1;
	if (rc == 0 && writable && e->rewrite &&
	    rewrite_tail(&e->log, e->checkpoint_segment == e->log.number ? e->checkpoint_offset : SEGMENT_HEADER_LEN) ==
		-1)
		rc = error_errno(err, "cannot write the log");
	if (rc == -1) {
		e->no_room = no_room(r.tx.error);
		if (e->no_room)
			error_set(err, "there is no room on the disk for the index");
		tx_abort(&r.tx);
		if (e->log.fd != -1)
			close(e->log.fd);
		e->log.fd = -1;
		if (!err->text[0])
			error_set(err, "the index does not fit the log");
	}
	free(numbers);
	return rc;
}

int recover_catch_up(struct engine *e)
{
	struct replay r = { .e = e };
	struct scan s = {
		.dir = e->log_dir, .bodies = false, .frame = replay_frame, .damage = replay_damage, .arg = &r
	};
	uint32_t number;
	uint64_t from;

	if (tx_begin(&r.tx, &e->index, true) == -1)
		return -1;
	number = r.tx.meta.segment ? r.tx.meta.segment : 1;
	from = r.tx.meta.offset;
	r.tx.queued.full = true;
	for (; number <= e->log.number; number++, from = 0) {
		int fd = segment_open(e->log_dir, number, O_RDONLY, &r.salt);
		if (fd != -1)
			close(fd);
		scan_segment(&s, number, from);
	}
	if (r.failed || r.tx.error || r.tx.meta.sequence != e->log.sequence) {
		tx_abort(&r.tx);
		return -1;
	}
	e->tx = r.tx;
	e->tx_open = e->unpublished = true;
	return 0;
}

void boot_id_read(char out[BOOT_ID_LEN])
{
	struct buf boot = BUF_INIT(256);
	struct error ignored;

	out[0] = '\0';
	if (file_read("/proc/sys/kernel/random/boot_id", 128, &boot, &ignored) == 0 && boot.len > 1)
		view_copy((struct view){ boot.data, boot.len - 1 }, out, BOOT_ID_LEN);
	buf_free(&boot);
}
