/*
 * The commit path: requests become records, records are applied to the open index transaction as they are made, the
 * batch becomes one frame of the log with one fdatasync, and the index transaction is committed when somebody is to
 * see it.  An index transaction may span many frames: the index may always lag behind the log, which is replayed.
 * When a frame cannot be written the transaction is thrown away and made again from the log.
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/crc32c.h"
#include "recover.h"
#include "state.h"

static int open_dir(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0750) == -1 && errno != EEXIST)
		return -1;
	if ((fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) != -1)
		adopt(at, fd);
	return fd;
}

static void index_shut(struct engine *e)
{
	pins_drop(e);
	index_close(&e->index);
	if (e->data_fd != -1)
		close(e->data_fd);
	e->data_fd = -1;
}

/* Opens data.mdb; fresh: what is there is moved aside first. */
static int index_start(struct engine *e, bool fresh, struct error *err)
{
	static const char *const files[] = { "data.mdb", "lock.mdb" };
	char path[64];

	if (fresh) {
		e->checkpoint_segment = 0;
		if (renameat(e->index_dir, "data.mdb", e->index_dir, "data.mdb.old") == -1 && errno != ENOENT)
			return error_errno(err, "cannot move the index aside");
		if (ftruncate(e->checkpoint_fd, 0) == -1)
			return error_errno(err, "cannot empty the checkpoint");
	}
	snprintf(path, sizeof path, "/proc/self/fd/%d", e->index_dir);
	if (index_open(&e->index, path, false, err) == -1)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		int fd = openat(e->index_dir, files[i], O_RDWR | O_CLOEXEC);
		if (fd == -1)
			return error_errno(err, "cannot open index/%s", files[i]);
		adopt(e->index_dir, fd);
		if (i == 0 && e->data_fd == -1)
			e->data_fd = fd;
		else
			close(fd);
	}
	return 0;
}

static int open_folders(struct engine *e, struct error *err)
{
	if ((e->log_dir = e->log.dir = open_dir(e->dir, "log")) == -1 ||
	    (e->index_dir = open_dir(e->dir, "index")) == -1)
		return error_errno(err, "cannot make the store's folders");
	e->checkpoint_fd = openat(e->index_dir, "checkpoint", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (e->checkpoint_fd == -1)
		return error_errno(err, "cannot open index/checkpoint");
	adopt(e->index_dir, e->checkpoint_fd);
	if (fallocate(e->checkpoint_fd, FALLOC_FL_KEEP_SIZE, 0, CHECKPOINT_LEN) == -1 && errno != EOPNOTSUPP)
		log_warn("event=store.checkpoint");
	e->data_fd = openat(e->index_dir, "data.mdb", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return 0;
}

static int open_trusted(struct engine *e, struct error *err)
{
	enum checkpoint_found found = checkpoint_restore(e);

	if (found == CHECKPOINT_NONE || index_start(e, false, err) == -1)
		return -1;
	e->rewrite = found != CHECKPOINT_RESTORED || !e->options.boot_id[0];
	return recover_replay(e, true, err);
}

static int open_index(struct engine *e, bool fresh, struct error *err)
{
	e->rewrite = true;
	if (!fresh && open_trusted(e, err) == 0)
		return 0;
	if (err->text[0])
		log_warnx("event=store.index-refused reason=\"%s\"", err->text);
	if (e->no_room || e->newer)
		return -1;
	err->text[0] = '\0';
	index_shut(e);
	if (!fresh && faccessat(e->index_dir, "data.mdb", F_OK, 0) == 0)
		log_warnx("event=store.rebuild reason=\"the index is made anew from the log\"");
	e->replayed = e->damage_count = 0;
	return index_start(e, true, err) == 0 ? recover_replay(e, true, err) : -1;
}

static void engine_init(struct engine *e, const struct engine_options *o)
{
	memset(e, 0, sizeof *e);
	e->options = *o;
	if (!e->options.segment_max)
		e->options.segment_max = SEGMENT_MAX;
	e->dir = o->store_dir;
	e->log_dir = e->index_dir = e->data_fd = e->checkpoint_fd = e->log.fd = e->log.dir = -1;
	atomic_store(&e->undelete, o->undelete);
	pthread_mutex_init(&e->extend_lock, NULL);
	pthread_mutex_init(&e->compact_lock, NULL);
	e->heads = BUF_INIT(1u << 30);
}

void aliases_free(struct engine *e)
{
	for (size_t i = 0; i < e->alias_count; i++)
		free(e->aliases[i].from);
	free(e->aliases);
	e->aliases = NULL;
	e->alias_count = 0;
}

static void engine_shut(struct engine *e)
{
	int fds[] = { e->log_dir, e->index_dir, e->checkpoint_fd, e->log.fd };

	compact_end(e);
	index_shut(e);
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] != -1)
			close(fds[i]);
	pthread_mutex_destroy(&e->extend_lock);
	pthread_mutex_destroy(&e->compact_lock);
	buf_free(&e->heads);
	free(e->pieces);
	free(e->changed);
	buf_free(&e->queued);
	engine_accounts_free(&e->accounts);
	aliases_free(e);
}

static void publish_txn(struct engine *e)
{
	MDB_envinfo info;
	MDB_stat st;

	mdb_env_info(e->index.env, &info);
	atomic_store(&e->shared->txn, info.me_last_txnid);
	e->index_pages = info.me_last_pgno;
	mdb_env_stat(e->index.env, &st);
	e->index_len = (info.me_last_pgno + 1) * st.ms_psize;
}

static int start_engine(struct engine *e, bool fresh, struct error *err)
{
	err->text[0] = '\0';
	if (open_folders(e, err) == -1 || log_versions_check(e->log_dir, err) == -1)
		return -1;
	state_discard(e->log_dir);
	if (epoch_claim(e->index_dir, e->shared, VIEW_SNAPSHOT_MAX_MS) == -1)
		return error_errno(err, "cannot write index/readers");
	if (open_index(e, fresh, err) == -1)
		return -1;
	publish_txn(e);
	checkpoint_begin(e);
	if (checkpoint_write(e) == -1)
		return error_errno(err, "cannot write the checkpoint");
	checkpoint_end(e);
	/* Moved aside in case making the index anew failed; it has not. */
	if (unlinkat(e->index_dir, "data.mdb.old", 0) == -1 && errno != ENOENT)
		log_warn("event=store.unlink name=data.mdb.old");
	return 0;
}

int engine_open(struct engine *e, const struct engine_options *o, struct epoch_shared *shared, struct readers *readers,
    struct error *err)
{
	engine_init(e, o);
	e->shared = shared;
	e->readers = readers;
	if (start_engine(e, false, err) == 0)
		return 0;
	engine_shut(e);
	return -1;
}

void engine_close(struct engine *e)
{
	if (engine_commit(e) == -1)
		log_warn("event=store.commit");
	if (engine_publish(e) == -1) /* the next start replays it */
		log_warnx("event=store.index error=\"no room\"");
	if (!e->checkpoint_pending && e->dirty_since && e->pin_count < PINS_MAX) {
		checkpoint_begin(e);
		if (checkpoint_write(e) == -1)
			log_warn("event=store.checkpoint");
	}
	tx_abort(&e->tx);
	engine_shut(e);
}

int engine_rebuild(const struct engine_options *o, uint64_t *messages, uint64_t *damaged, struct error *err)
{
	struct epoch_shared shared = { .epoch = 1 };
	struct engine e;
	struct tx tx;
	MDB_stat st = { 0 };
	int rc;

	engine_init(&e, o);
	e.shared = &shared;
	rc = start_engine(&e, true, err);
	if (rc == 0 && tx_begin(&tx, &e.index, false) == 0) {
		mdb_stat(tx.txn, e.index.dbi[T_MESSAGE], &st);
		tx_abort(&tx);
	}
	*messages = st.ms_entries;
	*damaged = e.damage_count;
	engine_shut(&e);
	return rc;
}

void request_free(struct request *r)
{
	proto_request_free(&r->p);
	if (r->mapped.ptr)
		munmap((void *)(uintptr_t)r->mapped.ptr, r->mapped.len);
	free(r->copy);
	engine_accounts_free(&r->accounts);
	buf_free(&r->source);
	buf_free(&r->destination);
	buf_free(&r->modseqs);
	free(r->destinations.at);
	free(r);
}

/* Making a frame ------------------------------------------------------------------------------------------ */

static void piece_add(struct engine *e, const char *body, size_t at, size_t len)
{
	if (len == 0)
		return;
	if (e->piece_count == e->piece_size) {
		e->piece_size = e->piece_size ? e->piece_size * 2 : 64;
		e->pieces = xreallocarray(e->pieces, e->piece_size, sizeof *e->pieces);
	}
	/* Neighbours in heads are one piece. */
	if (!body && e->piece_count && !e->pieces[e->piece_count - 1].body &&
	    e->pieces[e->piece_count - 1].at + e->pieces[e->piece_count - 1].len == at)
		e->pieces[e->piece_count - 1].len += len;
	else
		e->pieces[e->piece_count++] = (struct piece){ body, at, len };
	e->frame_len += len;
}

static void put(struct engine *e, struct record *r, struct view body, bool copy)
{
	size_t at = e->heads.len, tail;
	struct record again;

	r->body_length = body.len;
	record_put(&e->heads, r);
	/* What replay will read is what is applied now. */
	if (e->heads.full || record_get(e->heads.data + at, e->heads.len - at, &again) == -1) {
		e->refused = true;
		return;
	}
	piece_add(e, NULL, at, e->heads.len - at);
	again.body_segment = e->log.number;
	again.body_offset = e->log.offset + FRAME_HEADER_LEN + e->frame_len;
	if (!apply(&e->tx, &again))
		e->refused = true;
	e->record_count++;
	tail = e->heads.len;
	if (copy) {
		buf_addv(&e->heads, body);
		piece_add(e, NULL, tail, body.len);
		tail = e->heads.len;
	} else
		piece_add(e, body.ptr, 0, body.len);
	for (size_t i = 0; i < body.len; i += CHUNK_LEN)
		buf_put_u32(&e->heads, crc32c(0, body.ptr + i, body.len - i < CHUNK_LEN ? body.len - i : CHUNK_LEN));
	piece_add(e, NULL, tail, e->heads.len - tail);
}

void engine_put(struct engine *e, struct record *r, struct view body)
{
	put(e, r, body, false);
}

void engine_put_copy(struct engine *e, struct record *r, struct view body)
{
	put(e, r, body, true);
}

bool engine_pending(const struct engine *e)
{
	return e->record_count > 0;
}

static void frame_reset(struct engine *e)
{
	buf_reset(&e->heads);
	e->piece_count = 0;
	e->frame_len = 0;
	e->record_count = 0;
	e->sync_needed = e->refused = false;
}

static int frame_write(struct engine *e)
{
	struct iovec *iov = xreallocarray(NULL, e->piece_count + 1, sizeof *iov);
	char header[FRAME_HEADER_LEN];
	uint64_t len = FRAME_HEADER_LEN + e->frame_len;
	bool beyond = e->log.offset + len > atomic_load(&e->log.allocated);
	int rc;

	segments_frame_header(&e->log, e->frame_len, e->record_count, header);
	iov[0] = (struct iovec){ header, sizeof header };
	for (size_t i = 0; i < e->piece_count; i++) {
		const struct piece *p = &e->pieces[i];
		iov[i + 1] = (struct iovec){ (void *)(uintptr_t)(p->body ? p->body : e->heads.data + p->at), p->len };
	}
	if (beyond)
		pthread_mutex_lock(&e->extend_lock);
	rc = segments_write(&e->log, iov, e->piece_count + 1, len);
	if (beyond)
		pthread_mutex_unlock(&e->extend_lock);
	if (rc == -1) {
		int error = errno;
		pthread_mutex_lock(&e->extend_lock);
		segments_cut(&e->log);
		pthread_mutex_unlock(&e->extend_lock);
		errno = error;
	}
	free(iov);
	return rc;
}

void index_lost(struct engine *e, const char *error)
{
	if (unlinkat(e->index_dir, "checkpoint", 0) == -1)
		log_warn("event=store.checkpoint");
	fatalx("event=store.index error=\"%s\"", error);
}

/* Throws the open transaction away and makes it again from the log. */
static void tx_again(struct engine *e)
{
	tx_abort(&e->tx);
	e->tx_open = false;
	if (recover_catch_up(e) == -1)
		fatalx("event=store.catch-up error=\"the index cannot be brought up to the log\"");
}

static int batch_undo(struct engine *e, int error)
{
	frame_reset(e);
	tx_again(e);
	errno = error;
	return -1;
}

int engine_commit(struct engine *e)
{
	if (e->record_count == 0 && !e->refused)
		return 0;
	if (no_room(e->tx.error))
		return batch_undo(e, e->tx.error);
	if (e->tx.error)
		index_lost(e, mdb_strerror(e->tx.error));
	if (e->refused) {
		log_warnx("event=store.refused error=\"a record did not fit the index\"");
		return batch_undo(e, EINVAL);
	}
	if (frame_write(e) == -1)
		return batch_undo(e, errno);
	/* After a failed fdatasync nobody knows what is on the disk: the next start reads it. */
	if (e->sync_needed && segments_sync(&e->log) == -1)
		fatal("event=store.fdatasync segment=%u", e->log.number);
	e->tx.meta.segment = e->log.number;
	e->tx.meta.offset = e->log.offset;
	e->tx.meta.sequence = e->log.sequence;
	e->tx.meta.salt = e->log.salt;
	e->unpublished = true;
	e->checkpoint_log += FRAME_HEADER_LEN + e->frame_len;
	if (!e->dirty_since)
		e->dirty_since = clock_mono_ms();
	frame_reset(e);
	return 0;
}

bool engine_unpublished(const struct engine *e)
{
	return e->tx_open && e->unpublished && e->record_count == 0;
}

int engine_publish(struct engine *e)
{
	free(e->changed);
	e->changed = NULL;
	e->changed_count = 0;
	buf_free(&e->queued);
	if (!e->tx_open)
		return 0;
	if (!e->unpublished) { /* begun, but nothing came of it: an idle store writes nothing */
		tx_abort(&e->tx);
		e->tx_open = false;
		return 0;
	}
	e->changed = e->tx.changed;
	e->changed_count = e->tx.changed_count;
	e->queued = e->tx.queued;
	e->tx.changed = NULL;
	e->tx.queued = BUF_INIT(QUEUE_NEWS_MAX);
	if (tx_commit(&e->tx) == -1) {
		if (!no_room(e->tx.error))
			index_lost(e, mdb_strerror(e->tx.error));
		e->changed_count = 0;
		buf_free(&e->queued);
		tx_again(e);
		return -1;
	}
	e->tx_open = e->unpublished = false;
	publish_txn(e);
	if (!e->dirty_since)
		e->dirty_since = clock_mono_ms();
	return 0;
}

/* Running requests ---------------------------------------------------------------------------------------- */

int engine_rotate(struct engine *e)
{
	int rc;

	pthread_mutex_lock(&e->extend_lock);
	rc = segments_rotate(&e->log);
	pthread_mutex_unlock(&e->extend_lock);
	return rc;
}

/* Room for a request in this frame and segment: 0; 1 when the frame must be committed first; -1 errno. */
static int make_room(struct engine *e, const struct request *r)
{
	uint64_t need = r->weight + 64 * 1024;

	if (e->record_count &&
	    (e->frame_len + need > FRAME_SOFT_MAX || e->log.offset + e->frame_len + need > e->options.segment_max))
		return 1;
	if (e->log.offset + need > e->options.segment_max && e->log.offset > SEGMENT_HEADER_LEN && e->record_count == 0)
		return engine_rotate(e);
	return 0;
}

/* A state file that comes into its place later may stand behind segments that the snapshot does not have: so the one
 * that belongs to it is named here, by the thread that pins them. */
static enum run run_snapshot(struct engine *e, struct request *r)
{
	uint32_t *states;
	size_t count;
	struct error err;

	if (e->record_count)
		return RUN_AGAIN;
	if ((e->log.offset > SEGMENT_HEADER_LEN && engine_rotate(e) == -1) ||
	    states_list(e->log_dir, &states, &count, &err) == -1) {
		r->reply.status = STORE_IO;
		return RUN_DONE;
	}
	r->resume = count ? states[count - 1] : 0;
	free(states);
	r->reply.status = STORE_OK;
	r->reply.modseq = e->log.sequence;
	r->reply.mailbox = e->log.number;
	return RUN_DONE;
}

static enum run dispatch(struct engine *e, struct request *r)
{
	static enum store_status (*const simple[STORE_REQUESTS])(struct engine *, struct request *) = {
		[STORE_DELIVER] = run_deliver,
		[STORE_APPEND] = run_append,
		[STORE_COPY] = run_copy,
		[STORE_CLAIM_RECENT] = run_recent,
		[STORE_CREATE] = run_create,
		[STORE_DELETE] = run_delete,
		[STORE_RENAME] = run_rename,
		[STORE_SUBSCRIBE] = run_subscribe,
		[STORE_OPEN_ACCOUNT] = run_open_account,
		[STORE_QUEUE_RESULT] = run_queue_result,
		[STORE_APPEND_MANY] = run_append_many,
		[STORE_SET_ACL] = run_set_acl,
		[STORE_SET_METADATA] = run_set_metadata,
		[STORE_IMPORT] = run_import,
		[STORE_RENAME_ACCOUNT] = run_rename_account,
		[STORE_HAND_OVER] = run_hand_over,
	};

	switch (r->p.type) {
	case STORE_FLAGS:
	case STORE_FLAGS_UNCHANGED:
		return run_flags(e, r);
	case STORE_UNDELETE:
		return run_undelete(e, r);
	case STORE_ERASE_ACCOUNT:
		return run_erase_account(e, r);
	case STORE_EXPUNGE:
		return run_expunge(e, r);
	case STORE_ADMIN_QUEUE_CHANGE:
		return run_queue_change(e, r);
	case STORE_ADMIN_SNAPSHOT:
		return run_snapshot(e, r);
	case ENGINE_COMPACT:
		return compact_run(e, r);
	case ENGINE_RELOAD:
		run_reload(e, r);
		return RUN_DONE;
	default:
		r->reply.status =
		    r->p.type < STORE_REQUESTS && simple[r->p.type] ? simple[r->p.type](e, r) : STORE_INVALID;
		return RUN_DONE;
	}
}

void engine_need_tx(struct engine *e)
{
	if (e->tx_open)
		return;
	if (tx_begin(&e->tx, &e->index, true) == -1)
		fatalx("event=store.index error=\"%s\"", mdb_strerror(e->tx.error));
	e->tx_open = true;
}

enum run engine_run(struct engine *e, struct request *r)
{
	uint32_t before;
	enum run run;

	if (r->looks) {
		r->reply.status = STORE_OK;
		return RUN_DONE;
	}
	engine_need_tx(e);
	switch (make_room(e, r)) {
	case 1:
		return RUN_AGAIN;
	case -1:
		r->reply.status = no_room(errno) ? STORE_FULL : STORE_IO;
		return RUN_DONE;
	}
	e->now = clock_wall();
	if (!r->source.max) {
		r->source.max = r->destination.max = r->modseqs.max = 64u << 20;
	}
	before = e->record_count;
	run = dispatch(e, r);
	/* A flag change is only due within a second, and so are an expunge (lost, it loses no mail), a subscription and
	 * a session's claim of what is recent.
	 */
	if (e->record_count != before && r->p.type != STORE_FLAGS && r->p.type != STORE_FLAGS_UNCHANGED &&
	    r->p.type != STORE_SUBSCRIBE && r->p.type != STORE_CLAIM_RECENT && r->p.type != STORE_EXPUNGE)
		e->sync_needed = true;
	r->reply.source = buf_view(&r->source);
	r->reply.destination = buf_view(&r->destination);
	r->reply.modseqs = buf_view(&r->modseqs);
	return run;
}
