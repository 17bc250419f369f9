/*
 * What a compaction removes, and when: segments in which nothing lives, and state files before its own.
 *
 * Nothing comes alive again: new bodies go to the log's end, and a body without a reference has no row.  So what is
 * found dead once stays so, and is only held back by what may still look at the files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compact_impl.h"
#include "lib/clock.h"

static uint64_t file_size(struct engine *e, const char *name)
{
	struct stat st;

	return fstatat(e->log_dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

uint64_t compact_segment_size(struct engine *e, uint32_t number)
{
	char name[SEGMENT_NAME_LEN];

	segment_name(number, name);
	return file_size(e, name);
}

void compact_place_add(struct place **list, size_t *count, uint32_t number, uint64_t size, uint64_t bytes)
{
	*list = xreallocarray(*list, *count + 1, sizeof **list);
	(*list)[(*count)++] = (struct place){ number, size, bytes };
}

struct segment_value compact_counts(struct tx *tx, uint32_t number)
{
	struct segment_value v = { 0 };
	struct key k = key_u32(number);

	tx_get_fixed(tx, T_SEGMENT, &k, &v, sizeof v, NULL);
	return v;
}

/* What is dead for good: as the index says whose frames are on the disk. */
void compact_collect(struct engine *e, struct compact *c)
{
	struct tx tx;
	uint32_t *numbers;
	struct error err;
	size_t count;

	if (e->unpublished)
		return;
	if (e->log.dirty && segments_sync(&e->log) == -1)
		fatal("event=store.fdatasync segment=%u", e->log.number);
	if (segments_list(e->log_dir, &numbers, &count, &err) == -1) {
		compact_failed(c, errno, "remove");
		return;
	}
	if (tx_begin(&tx, &e->index, false) == -1) {
		compact_failed(c, tx.error, "remove");
		free(numbers);
		return;
	}
	if (!c->sequence) /* of an older run: any checkpoint since then will do */
		c->sequence = tx.meta.sequence;
	for (size_t i = 0; i < count && numbers[i] < c->state; i++) {
		struct segment_value v = compact_counts(&tx, numbers[i]);
		if (v.live == 0 && !tx.error)
			compact_place_add(
			    &c->dead, &c->dead_count, numbers[i], compact_segment_size(e, numbers[i]), v.bytes);
	}
	if (tx.error)
		compact_failed(c, EIO, "remove");
	else
		c->phase = PROVE;
	tx_abort(&tx);
	free(numbers);
	c->free_at = clock_mono_ms() + (e->readers && readers_any(e->readers) ? COMPACT_GRACE_MS : 0);
}

struct proof {
	uint64_t bytes;
	bool damaged;
};

static int count_bodies(void *arg, const struct frame *f)
{
	struct proof *p = arg;

	for (size_t i = 0; i < f->record_count; i++)
		if (f->records[i].type == RECORD_BODY)
			p->bytes += f->records[i].body_length;
	return 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	struct proof *p = arg;

	(void)segment;
	(void)offset;
	(void)length;
	(void)what;
	p->damaged = true;
}

/*
 * An index that was made anew from a log that could not be read whole (a bad cable, a flipped bit) knows nothing of the
 * mail in that stretch, which must not be the reason to remove it: a segment goes only when it can be read from end to
 * end and the index was told of every body in it.
 */
void compact_prove(struct engine *e, struct compact *c)
{
	struct proof proof = { 0 };
	struct scan s = { .dir = e->log_dir, .frame = count_bodies, .damage = on_damage, .arg = &proof };
	struct place *p = &c->dead[c->proved];

	if (c->proved == c->dead_count) {
		c->wake = c->free_at;
		c->phase = WAITING;
		return;
	}
	if (scan_segment(&s, p->number, 0) != SCAN_CLEAN || proof.damaged || proof.bytes > p->bytes) {
		log_warnx(
		    "event=store.segment-kept segment=%u reason=\"it is damaged, or holds mail that the index does not "
		    "know: see mailadm store verify and rebuild\"",
		    p->number);
		c->s.kept_segments++;
		*p = c->dead[--c->dead_count];
		return;
	}
	c->s.pending_segments++;
	c->s.pending_bytes += p->size;
	c->proved++;
}

static void remove_states(struct engine *e, struct compact *c)
{
	char name[STATE_NAME_LEN];
	uint32_t *numbers;
	struct error err;
	size_t count;

	if (states_list(e->log_dir, &numbers, &count, &err) == -1)
		return;
	for (size_t i = 0; i < count && numbers[i] < c->state; i++) {
		uint64_t size;
		state_name(numbers[i], name);
		size = file_size(e, name);
		if (unlinkat(e->log_dir, name, 0) == 0)
			c->s.freed_bytes += size;
	}
	free(numbers);
}

void compact_remove(struct engine *e, struct compact *c)
{
	char name[SEGMENT_NAME_LEN];

	pthread_mutex_lock(&e->compact_lock);
	if (e->compact_holds) {
		pthread_mutex_unlock(&e->compact_lock);
		c->phase = WAITING;
		c->wake = clock_mono_ms() + 1000;
		return;
	}
	remove_states(e, c);
	for (size_t i = 0; i < c->dead_count; i++) {
		segment_name(c->dead[i].number, name);
		if (unlinkat(e->log_dir, name, 0) == 0) {
			c->s.freed_segments++;
			c->s.freed_bytes += c->dead[i].size;
		} else
			c->s.error = errno;
	}
	pthread_mutex_unlock(&e->compact_lock);
	if (fsync(e->log_dir) == -1)
		log_warn("event=store.compact");
	c->s.pending_segments = c->s.pending_bytes = 0;
	c->phase = ENDED;
}
