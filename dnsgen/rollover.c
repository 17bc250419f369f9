/*
 * rollover.h, the machine: a table of what ends each stage.  Time is the caller's, so that tests have a fast clock; one
 * that runs backwards makes stages longer, never shorter.
 */
#include "dnsgen/rollover.h"

#include <stdlib.h>
#include <string.h>

const char *rollover_stage_name(enum rollover_stage stage)
{
	static const char *const names[ROLLOVER_STAGES] = { "idle", "published", "visible", "active", "revoked",
		"removed" };
	return names[stage];
}

static void item_free(struct rollover_item *i)
{
	free(i->kind);
	free(i->subject);
	free(i->current);
	free(i->next);
}

void rollover_free(struct rollover *r)
{
	for (size_t i = 0; i < r->count; i++)
		item_free(&r->at[i]);
	free(r->at);
	*r = (struct rollover){ 0 };
}

static int compare(const struct rollover_item *i, const char *kind, const char *subject)
{
	int c = strcmp(i->kind, kind);
	return c ? c : strcmp(i->subject, subject);
}

/* Where the item stands or would stand. */
static size_t place_of(const struct rollover *r, const char *kind, const char *subject)
{
	size_t low = 0, high = r->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&r->at[middle], kind, subject) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct rollover_item *rollover_find(struct rollover *r, const char *kind, const char *subject)
{
	size_t at = place_of(r, kind, subject);
	return at < r->count && compare(&r->at[at], kind, subject) == 0 ? &r->at[at] : NULL;
}

struct rollover_item *rollover_add(
    struct rollover *r, const char *kind, const char *subject, const char *current, int64_t since)
{
	size_t at = place_of(r, kind, subject);
	if (r->count >= ROLLOVER_ITEMS_MAX)
		return NULL;
	r->at = xreallocarray(r->at, r->count + 1, sizeof(*r->at));
	memmove(&r->at[at + 1], &r->at[at], (r->count - at) * sizeof(*r->at));
	r->count++;
	r->at[at] = (struct rollover_item){ .kind = xstrdup(kind),
		.subject = xstrdup(subject),
		.current = xstrdup(current),
		.next = xstrdup(""),
		.stage = ROLLOVER_IDLE,
		.done = true,
		.since = since };
	return &r->at[at];
}

void rollover_drop(struct rollover *r, struct rollover_item *i)
{
	size_t at = (size_t)(i - r->at);
	item_free(i);
	memmove(&r->at[at], &r->at[at + 1], (r->count - at - 1) * sizeof(*r->at));
	r->count--;
}

static void enter(struct rollover_item *i, enum rollover_stage stage, bool done, int64_t now)
{
	i->stage = stage;
	i->done = done;
	i->since = done ? now : 0;
}

void rollover_start(struct rollover_item *i, const char *next)
{
	free(i->next);
	i->next = xstrdup(next);
	enter(i, ROLLOVER_PUBLISHED, false, 0);
}

/* About so long, for people; rounded up. */
static void put_duration(uint64_t seconds, struct buf *out)
{
	static const struct {
		uint64_t unit;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' } };
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (seconds >= 2 * units[i].unit) {
			buf_printf(out, "%llu%c", (unsigned long long)((seconds + units[i].unit - 1) / units[i].unit),
			    units[i].letter);
			return;
		}
	}
	buf_printf(out, "%llus", (unsigned long long)seconds);
}

/* Is `limit` over since the stage was entered?  Else says how long it still takes. */
static bool is_over(const struct rollover_item *i, uint64_t limit, int64_t now, const char *what, struct buf *why)
{
	uint64_t passed = now > i->since ? (uint64_t)(now - i->since) : 0;
	if (passed >= limit)
		return true;
	buf_printf(why, "%s: another ", what);
	put_duration(limit - passed, why);
	return false;
}

/* The stage that follows, or the same while it lasts. */
static enum rollover_stage following(
    const struct rollover_kind *k, struct rollover_item *i, int64_t now, struct buf *why)
{
	switch (i->stage) {
	case ROLLOVER_PUBLISHED:
		return k->visible(k->arg, i, why) == 1 ? ROLLOVER_VISIBLE : i->stage;
	case ROLLOVER_VISIBLE: {
		int seen = k->visible(k->arg, i, why);
		if (seen == 0)
			return ROLLOVER_PUBLISHED; /* a server has lost it: begin to wait anew */
		return seen == 1 && is_over(i, k->ttl, now, "until caches have it", why) ? ROLLOVER_ACTIVE : i->stage;
	}
	case ROLLOVER_ACTIVE:
		return is_over(i, k->retention, now, "until mail with the old key has arrived", why) ? ROLLOVER_REVOKED
		                                                                                     : i->stage;
	case ROLLOVER_REVOKED:
		return is_over(i, k->revoked, now, "the old key stays revoked", why) ? ROLLOVER_REMOVED : i->stage;
	default:
		return i->stage;
	}
}

/* There is no old one, or it is gone: what was next is what there is. */
static void finish(struct rollover_item *i, int64_t now)
{
	free(i->current);
	i->current = i->next;
	i->next = xstrdup("");
	enter(i, ROLLOVER_IDLE, true, now);
}

struct run {
	const struct rollover_kind *kind;
	struct rollover *all;
	int64_t now;
	rollover_tell *tell;
	void *arg;
	bool *failed, *told; /* by item: failed in this run; waits, and that was told */
	int failures;
};

static bool is_ours(const struct run *r, size_t at)
{
	const char *const *name = r->kind->names;
	while (*name && strcmp(*name, r->all->at[at].kind) != 0)
		name++;
	return *name && !r->failed[at];
}

static void fail(struct run *r, size_t at, const char *why)
{
	r->failed[at] = true;
	r->failures++;
	r->tell(r->arg, &r->all->at[at], ROLLOVER_FAILED, why);
}

/* Moves what is due. How many are in another stage now, or have an action to carry out. */
static size_t advance(struct run *r)
{
	size_t moved = 0;
	for (size_t i = 0; i < r->all->count; i++) {
		struct rollover_item *item = &r->all->at[i];
		if (!is_ours(r, i) || r->told[i] || (item->done && item->stage == ROLLOVER_IDLE))
			continue;
		if (!item->done) {
			moved++;
			continue;
		}
		struct buf why = BUF_INIT(4096);
		enum rollover_stage next = following(r->kind, item, r->now, &why);
		if (next == item->stage) {
			r->told[i] = true;
			r->tell(r->arg, item, ROLLOVER_WAITS, buf_str(&why));
		} else {
			/* VISIBLE has no action, nor has the way back from it. */
			enter(item, next, next == ROLLOVER_VISIBLE || next == ROLLOVER_PUBLISHED, r->now);
			if (item->done)
				r->tell(r->arg, item, ROLLOVER_WENT, buf_str(&why));
			moved++;
		}
		buf_free(&why);
	}
	return moved;
}

/* Carries out the actions and commits them together. */
static void act(struct run *r)
{
	struct error e = { "" };
	size_t entered = 0;
	for (size_t i = 0; i < r->all->count; i++) {
		if (!is_ours(r, i) || r->all->at[i].done)
			continue;
		if (r->kind->enter(r->kind->arg, &r->all->at[i], &e) == -1)
			fail(r, i, e.text);
		else
			entered++;
	}
	bool committed = entered == 0 || r->kind->commit(r->kind->arg, &e) == 0;
	for (size_t i = 0; i < r->all->count; i++) {
		struct rollover_item *item = &r->all->at[i];
		if (!is_ours(r, i) || item->done)
			continue;
		if (!committed) {
			fail(r, i, e.text);
			continue;
		}
		if (item->stage == ROLLOVER_REMOVED || (item->stage == ROLLOVER_ACTIVE && item->current[0] == '\0'))
			finish(item, r->now);
		else
			enter(item, item->stage, true, r->now);
		r->tell(r->arg, item, ROLLOVER_WENT, "");
	}
}

int rollover_run(const struct rollover_kind *k, struct rollover *all, const char *path, int64_t now,
    rollover_tell *tell, void *arg, struct error *e)
{
	struct run r = { .kind = k,
		.all = all,
		.now = now,
		.tell = tell,
		.arg = arg,
		.failed = xcalloc(all->count + 1, sizeof(bool)),
		.told = xcalloc(all->count + 1, sizeof(bool)) };
	int result = 0;
	for (int round = 0; result == 0 && round < 2 * ROLLOVER_STAGES && advance(&r) > 0; round++) {
		result = rollover_save(path, all, e);
		if (result == -1)
			break;
		act(&r);
		result = rollover_save(path, all, e);
	}
	free(r.failed);
	free(r.told);
	return result == -1 ? -1 : r.failures;
}
