/*
 * The steps of a compaction (compact.h).
 *
 * Which segments give up their bodies is decided by T_SEGMENT, by the share of what they got that is alive.  A body is
 * found by scanning its segment, and is moved only if the index still says that it is there when the record is made: so
 * expunging goes on meanwhile.  What is removed, and when, is in compact_remove.c.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compact_impl.h"
#include "lib/clock.h"

#define SCAN_SLICE (16u << 20) /* of a segment, looked through at once */

static void tell(struct engine *e, const struct compact *c)
{
	static const char *const names[] = { "plan", "move", "move", "state", "state", "state", "check", "check",
		"wait", "remove", "idle" };

	pthread_mutex_lock(&e->compact_lock);
	e->compact_told = c->s;
	e->compact_told.running = c->phase != ENDED;
	e->compact_told.phase = names[c->phase];
	pthread_mutex_unlock(&e->compact_lock);
}

void compact_status(struct engine *e, struct compact_status *s)
{
	pthread_mutex_lock(&e->compact_lock);
	*s = e->compact_told;
	pthread_mutex_unlock(&e->compact_lock);
	if (!s->phase)
		s->phase = "idle";
}

void compact_json(const struct compact_status *s, struct buf *b)
{
	buf_printf(b,
	    "{\"running\":%s,\"phase\":\"%s\",\"runs\":%" PRIu64 ",\"log_bytes\":%" PRIu64 ",\"dead_bytes\":%" PRIu64
	    ",\"bodies_moved\":%" PRIu64 ",\"bytes_moved\":%" PRIu64 ",\"state_bytes\":%" PRIu64
	    ",\"segments_freed\":%" PRIu64 ",\"bytes_freed\":%" PRIu64 ",\"segments_pending\":%" PRIu64
	    ",\"bytes_pending\":%" PRIu64 ",\"segments_kept\":%" PRIu64 ",\"unreadable\":%" PRIu64 ",\"error\":\"%s\"}",
	    s->running ? "true" : "false", s->phase, s->runs, s->log_bytes, s->dead_bytes, s->moved, s->moved_bytes,
	    s->state_bytes, s->freed_segments, s->freed_bytes, s->pending_segments, s->pending_bytes, s->kept_segments,
	    s->unreadable, s->error ? strerror(s->error) : "");
}

void compact_hold(struct engine *e)
{
	pthread_mutex_lock(&e->compact_lock);
	e->compact_holds++;
	pthread_mutex_unlock(&e->compact_lock);
}

void compact_unhold(struct engine *e)
{
	pthread_mutex_lock(&e->compact_lock);
	e->compact_holds--;
	pthread_mutex_unlock(&e->compact_lock);
}

static void batch_free(struct compact *c)
{
	for (size_t i = 0; i < c->batch_count; i++) {
		free(c->batch[i].bytes);
		free(c->batch[i].mime);
	}
	free(c->batch);
	c->batch = NULL;
	c->batch_count = c->batch_bytes = 0;
}

bool compact_start(struct engine *e, enum compact_how how)
{
	struct compact *c;

	if (e->compact && e->compact->phase == WAITING && how != COMPACT_GENTLE)
		compact_end(e); /* what it would remove is found again */
	if (e->compact) {
		if (e->compact->how == COMPACT_GENTLE) /* somebody waits for its end */
			e->compact->how = how;
		return false;
	}
	c = e->compact = xcalloc(1, sizeof *c);
	c->how = how;
	c->active = e->log.number;
	c->s.runs = e->compact_told.runs;
	body_reader_init(&c->bodies, e->log_dir);
	tell(e, c);
	return true;
}

void compact_end(struct engine *e)
{
	struct compact *c = e->compact;

	if (!c)
		return;
	batch_free(c);
	tx_abort(&c->tx);
	state_write_end(c->writer);
	body_reader_close(&c->bodies);
	c->phase = ENDED;
	c->s.runs++;
	tell(e, c);
	free(c->victims);
	free(c->dead);
	free(c);
	e->compact = NULL;
}

void compact_failed(struct compact *c, int error, const char *what)
{
	c->s.error = error ? error : EIO;
	log_warnx("event=store.compact error=\"%s\" at=%s", strerror(c->s.error), what);
	c->phase = ENDED;
}

/* Choosing ---------------------------------------------------------------------------------------------------- */

static bool gives_up(const struct compact *c, const struct segment_value *v)
{
	switch (c->how) {
	case COMPACT_GENTLE:
		return v->live < v->bytes / 2;
	case COMPACT_NOW:
		return v->live / 3 < v->bytes / 4;
	case COMPACT_ALL:
		break;
	}
	return v->live < v->bytes;
}

static void look_at_segment(struct engine *e, struct compact *c, uint32_t number)
{
	struct segment_value v = compact_counts(&c->tx, number);
	uint64_t size = compact_segment_size(e, number);

	c->s.log_bytes += size;
	if (number == c->active) /* zeros ahead of its end, and what is being written */
		return;
	c->s.dead_bytes += v.live == 0 ? size : (uint64_t)((double)size * (1.0 - (double)v.live / (double)v.bytes));
	if (v.live != 0 && !atomic_load(&e->full) && gives_up(c, &v))
		compact_place_add(&c->victims, &c->victim_count, number, size, v.bytes);
}

/* About what a state file will take. */
static uint64_t index_bytes(struct tx *tx)
{
	uint64_t pages = 0;
	MDB_stat st = { 0 };

	for (int t = 0; t < TABLES; t++)
		if (mdb_stat(tx->txn, tx->index->dbi[t], &st) == 0)
			pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
	return pages * st.ms_psize;
}

static void plan(struct engine *e, struct compact *c)
{
	uint64_t min = e->options.compact_min ? e->options.compact_min : COMPACT_MIN, needed;
	uint32_t *numbers, *states;
	size_t count, state_count;
	struct error err;
	bool worth;

	if (segments_list(e->log_dir, &numbers, &count, &err) == -1 ||
	    states_list(e->log_dir, &states, &state_count, &err) == -1 || tx_begin(&c->tx, &e->index, false) == -1) {
		compact_failed(c, errno, "plan");
		return;
	}
	if (state_count)
		c->state = states[state_count - 1];
	for (size_t i = 0; i < count && numbers[i] <= c->active; i++)
		look_at_segment(e, c, numbers[i]);
	needed = index_bytes(&c->tx);
	tx_abort(&c->tx);
	free(numbers);
	free(states);
	worth = c->s.dead_bytes >= min && c->s.dead_bytes > needed && c->s.dead_bytes > c->s.log_bytes / 2;
	if (c->how != COMPACT_GENTLE || worth)
		c->phase = SCAN;
	else
		c->phase = c->state ? COLLECT : ENDED; /* what died since may have left whole segments empty */
}

/* Moving ------------------------------------------------------------------------------------------------------ */

static void take_body(struct compact *c, const struct record *r)
{
	struct body_value b;
	struct view mime;
	struct moving *m;

	if (!get_body(&c->tx, r->body, &b, &mime) || b.segment != r->body_segment || b.offset != r->body_offset)
		return;
	c->batch = xreallocarray(c->batch, c->batch_count + 1, sizeof *c->batch);
	m = &c->batch[c->batch_count];
	*m = (struct moving){ .body = r->body, .offset = b.offset, .segment = b.segment, .len = b.length };
	m->bytes = xmalloc(m->len + 1);
	if (body_read(&c->bodies, b.segment, b.offset, b.length, 0, m->bytes, m->len) == -1) {
		log_warnx(
		    "event=store.damage segment=%u offset=%llu reason=\"a body cannot be read; it stays where it is\"",
		    b.segment, (unsigned long long)b.offset);
		free(m->bytes);
		c->s.unreadable++;
		return;
	}
	m->mime_len = mime.len;
	m->mime = xmalloc(mime.len + 1);
	if (mime.len)
		memcpy(m->mime, mime.ptr, mime.len);
	c->batch_count++;
	c->batch_bytes += m->len + m->mime_len + 256;
}

static int on_frame(void *arg, const struct frame *f)
{
	struct compact *c = arg;

	for (size_t i = 0; i < f->record_count; i++)
		if (f->records[i].type == RECORD_BODY)
			take_body(c, &f->records[i]);
	c->sliced += f->end - f->offset;
	return c->batch_bytes >= COMPACT_BATCH || c->sliced >= SCAN_SLICE ? -1 : 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	(void)arg;
	log_warnx("event=store.damage segment=%u offset=%llu length=%llu reason=\"%s\"", segment,
	    (unsigned long long)offset, (unsigned long long)length, what);
}

/* Gathers what lives in the segment at hand. */
static void scan(struct engine *e, struct compact *c)
{
	struct scan s = { .dir = e->log_dir, .frame = on_frame, .damage = on_damage, .arg = c };

	batch_free(c);
	if (c->victim == c->victim_count) {
		c->phase = ROTATE;
		return;
	}
	if (tx_begin(&c->tx, &e->index, false) == -1) {
		compact_failed(c, c->tx.error, "move");
		return;
	}
	c->sliced = 0;
	if (scan_segment(&s, c->victims[c->victim].number, c->offset) == SCAN_STOPPED)
		c->offset = s.end;
	else {
		c->victim++;
		c->offset = 0;
	}
	tx_abort(&c->tx);
	if (c->batch_count)
		c->phase = MOVE;
}

static void move(struct engine *e, struct compact *c)
{
	for (size_t i = 0; i < c->batch_count; i++) {
		struct moving *m = &c->batch[i];
		struct record r = { .type = RECORD_BODY, .body = m->body, .mime = { m->mime, m->mime_len } };
		struct body_value b;
		if (!get_body(&e->tx, m->body, &b, NULL) || b.segment != m->segment || b.offset != m->offset)
			continue;
		r.references = body_references(&e->tx, m->body);
		engine_put(e, &r, (struct view){ m->bytes, m->len });
		c->s.moved++;
		c->s.moved_bytes += m->len;
	}
	c->phase = SCAN;
}

/* The state file ---------------------------------------------------------------------------------------------- */

/* The snapshot: of what is published, in a segment behind all that were looked at. */
static void pin(struct engine *e, struct compact *c)
{
	struct tx tx;

	if (e->unpublished)
		return;
	if (tx_begin(&tx, &e->index, false) == -1) {
		compact_failed(c, tx.error, "state");
		return;
	}
	/* All that the state file will stand for: were it there and frames of it lost, those made after a power loss
	 * would have numbers that it says it holds. */
	if (e->log.dirty && segments_sync(&e->log) == -1)
		fatal("event=store.fdatasync segment=%u", e->log.number);
	c->sequence = tx.meta.sequence;
	c->state = tx.meta.segment;
	if (c->state < c->rotated) { /* the index had no room, and was made again from before the rotation */
		tx_abort(&tx);
		compact_failed(c, ENOSPC, "state");
		return;
	}
	if (!(c->writer = state_write_begin(e, &tx, c->state)))
		compact_failed(c, errno, "state");
	else
		c->phase = STATE;
}

static void write_state(struct compact *c)
{
	int rc = state_write_slice(c->writer);

	if (rc == -1)
		compact_failed(c, errno, "state");
	c->s.state_bytes = state_written(c->writer);
	if (rc == 0)
		return;
	state_write_end(c->writer);
	c->writer = NULL;
	if (rc == 1)
		c->phase = COLLECT;
}

/* Turns ------------------------------------------------------------------------------------------------------- */

enum compact_turn compact_next(struct engine *e, uint64_t now_ms)
{
	struct compact *c = e->compact;

	if (!c)
		return COMPACT_IDLE;
	if (c->phase == WAITING && now_ms >= c->wake && e->durable_sequence >= c->sequence &&
	    e->durable_segment >= c->state)
		c->phase = REMOVE;
	switch (c->phase) {
	case PLAN:
	case SCAN:
	case STATE:
	case PROVE:
	case REMOVE:
		return now_ms >= c->wake ? COMPACT_HELP : COMPACT_WAIT;
	case MOVE:
	case ROTATE:
		return COMPACT_COMMIT;
	case PIN:
	case COLLECT:
		return engine_unpublished(e) ? COMPACT_WAIT : COMPACT_COMMIT;
	case WAITING:
		return COMPACT_WAIT;
	case ENDED:
		break;
	}
	if (c->s.moved || c->s.freed_bytes || c->s.state_bytes)
		log_info("event=store.compacted moved=%llu moved-bytes=%llu state-bytes=%llu freed-segments=%llu "
			 "freed-bytes=%llu error=%d",
		    (unsigned long long)c->s.moved, (unsigned long long)c->s.moved_bytes,
		    (unsigned long long)c->s.state_bytes, (unsigned long long)c->s.freed_segments,
		    (unsigned long long)c->s.freed_bytes, c->s.error);
	compact_end(e);
	return COMPACT_IDLE;
}

void compact_help(struct engine *e)
{
	struct compact *c = e->compact;
	uint64_t begun = clock_mono_ms(), now;

	switch (c->phase) {
	case PLAN:
		plan(e, c);
		break;
	case SCAN:
		scan(e, c);
		break;
	case STATE:
		write_state(c);
		break;
	case PROVE:
		compact_prove(e, c);
		break;
	case REMOVE:
		compact_remove(e, c);
		break;
	default:
		break;
	}
	now = clock_mono_ms();
	if (c->how == COMPACT_GENTLE && c->phase < WAITING) /* a quarter of the time at most */
		c->wake = now + 3 * (now - begun) + 5;
	tell(e, c);
}

enum run compact_run(struct engine *e, struct request *r)
{
	struct compact *c = e->compact;

	r->reply.status = STORE_OK;
	if (!c)
		return RUN_DONE;
	if (c->phase == MOVE)
		move(e, c);
	else if (e->record_count)
		return RUN_AGAIN;
	else if (c->phase == ROTATE) {
		/* Also where nothing is in it: a state file's number is never used again, for a backup may be at it. */
		if (engine_rotate(e) == -1)
			compact_failed(c, errno, "rotate");
		else {
			/* The index stands in the new segment, so that none before it is needed. */
			e->tx.meta.segment = e->log.number;
			e->tx.meta.offset = e->log.offset;
			e->tx.meta.salt = e->log.salt;
			e->unpublished = true;
			c->rotated = e->log.number;
			c->phase = PIN;
		}
	} else if (c->phase == PIN)
		pin(e, c);
	else if (c->phase == COLLECT)
		compact_collect(e, c);
	tell(e, c);
	return RUN_DONE;
}

uint64_t compact_weight(const struct engine *e)
{
	return e->compact && e->compact->phase == MOVE ? e->compact->batch_bytes : 0;
}

void compact_fail(struct engine *e, int error)
{
	if (e->compact)
		compact_failed(e->compact, error, "commit");
}

/* Without a commit thread ------------------------------------------------------------------------------------- */

static int commit_step(struct engine *e)
{
	struct request *r = xcalloc(1, sizeof *r);
	int rc = 0;

	r->p.type = ENGINE_COMPACT;
	r->weight = compact_weight(e);
	while (rc == 0 && engine_run(e, r) == RUN_AGAIN)
		rc = engine_commit(e);
	if (rc == 0 && r->reply.status != STORE_OK) {
		errno = r->reply.status == STORE_FULL ? ENOSPC : EIO;
		rc = -1;
	}
	if (rc == 0)
		rc = engine_commit(e);
	if (rc == 0)
		rc = engine_publish(e);
	request_free(r);
	return rc;
}

static int checkpoint_now(struct engine *e)
{
	static const struct timespec soon = { 0, 10000000 };

	nanosleep(&soon, NULL);
	if (e->pin_count == PINS_MAX || e->dirty_since == 0)
		return 0;
	checkpoint_begin(e);
	if (checkpoint_write(e) == -1)
		return -1;
	checkpoint_end(e);
	return 0;
}

int compact_whole(struct engine *e, enum compact_how how, struct compact_status *status)
{
	enum compact_turn turn;
	int rc = 0;

	if (!compact_start(e, how))
		return -1;
	while ((turn = compact_next(e, clock_mono_ms())) != COMPACT_IDLE) {
		if (turn == COMPACT_HELP)
			compact_help(e);
		else if (turn == COMPACT_COMMIT)
			rc = commit_step(e);
		else if (engine_unpublished(e))
			rc = engine_publish(e);
		else
			rc = checkpoint_now(e);
		if (rc == -1)
			compact_fail(e, errno);
	}
	compact_status(e, status);
	return status->error ? -1 : 0;
}
