/*
 * Each destination stands in one of two heaps: `later`, by the time of its first entry, or `ready`, by rank.  The rank
 * is the due time and an allowance for what may wait: bulk mail lets 5 minutes of people's mail pass, and notifications
 * 15, and then it is their turn: nothing starves.
 *
 * A destination that is away (send said so) is looked at again when that is over; before, only entries whose time ran
 * out, or whose sender is to be told of the delay, are ready.  They are found by age (T_QUEUE_OF), each looked at once.
 */
#include "queue_order.h"

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "site/site.h"

#define SCAN_SLICE 1000  /* destinations found in one turn */
#define PLACE_SLICE 5000 /* destinations placed in one turn */
#define AGED_SLICE 20000 /* entries looked at in one turn */

static const int64_t allowance[QUEUE_LANES] = { 0, 300, 900 };

/* Heaps ------------------------------------------------------------------------------------------------------- */

static void heap_set(struct heap *h, size_t i, struct destination *d)
{
	h->at[i] = d;
	d->at = i;
}

static void heap_up(struct heap *h, size_t i)
{
	struct destination *d = h->at[i];

	for (; i > 0 && h->at[(i - 1) / 2]->key > d->key; i = (i - 1) / 2)
		heap_set(h, i, h->at[(i - 1) / 2]);
	heap_set(h, i, d);
}

static void heap_down(struct heap *h, size_t i)
{
	struct destination *d = h->at[i];

	for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
		if (child + 1 < h->count && h->at[child + 1]->key < h->at[child]->key)
			child++;
		if (h->at[child]->key >= d->key)
			break;
		heap_set(h, i, h->at[child]);
	}
	heap_set(h, i, d);
}

static void heap_add(struct heap *h, struct destination *d)
{
	if (h->count == h->size) {
		h->size = h->size ? h->size * 2 : 64;
		h->at = xreallocarray(h->at, h->size, sizeof(struct destination *));
	}
	h->at[h->count++] = d;
	heap_up(h, h->count - 1);
}

static void heap_remove(struct heap *h, struct destination *d)
{
	size_t i = d->at;
	struct destination *last = h->at[--h->count];

	if (last == d)
		return;
	heap_set(h, i, last);
	heap_up(h, i);
	heap_down(h, last->at);
}

/* Destinations ------------------------------------------------------------------------------------------------ */

static size_t hash_of(struct view name)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (uint8_t)name.ptr[i]) * 1099511628211u;
	return (size_t)(h ^ h >> 32);
}

static void grow(struct queue_order *o)
{
	size_t count = o->bucket_count ? o->bucket_count * 2 : 256;
	struct destination **buckets = xcalloc(count, sizeof *buckets), *d, *next;

	for (size_t i = 0; i < o->bucket_count; i++)
		for (d = o->buckets[i]; d; d = next) {
			size_t h = hash_of((struct view){ d->name, d->len }) & (count - 1);
			next = d->bucket;
			d->bucket = buckets[h];
			buckets[h] = d;
		}
	free(o->buckets);
	o->buckets = buckets;
	o->bucket_count = count;
}

void queue_order_init(struct queue_order *o)
{
	TAILQ_INIT(&o->unplaced);
	grow(o);
	queue_order_rescan(o);
}

static void leave(struct queue_order *o, struct destination *d)
{
	if (d->where == DEST_UNPLACED)
		TAILQ_REMOVE(&o->unplaced, d, link);
	else if (d->where == DEST_LATER)
		heap_remove(&o->later, d);
	else if (d->where == DEST_READY)
		heap_remove(&o->ready, d);
	d->where = DEST_IDLE;
}

static void unplace(struct queue_order *o, struct destination *d)
{
	if (d->where == DEST_UNPLACED)
		return;
	leave(o, d);
	d->where = DEST_UNPLACED;
	TAILQ_INSERT_TAIL(&o->unplaced, d, link);
}

struct destination *queue_order_find(struct queue_order *o, struct view name, bool make)
{
	size_t h = hash_of(name) & (o->bucket_count - 1);
	struct destination *d;

	for (d = o->buckets[h]; d; d = d->bucket)
		if (d->len == name.len && memcmp(d->name, name.ptr, name.len) == 0)
			return d;
	if (!make)
		return NULL;
	if (o->count >= o->bucket_count) {
		grow(o);
		h = hash_of(name) & (o->bucket_count - 1);
	}
	d = xcalloc(1, sizeof *d);
	d->name = view_dup(name);
	d->len = name.len;
	d->where = DEST_IDLE;
	d->bucket = o->buckets[h];
	o->buckets[h] = d;
	o->count++;
	for (int i = 0; i < QUEUE_LANES; i++)
		d->lanes[i].stale = true;
	unplace(o, d);
	return d;
}

static void destination_free(struct queue_order *o, struct destination *d)
{
	struct destination **at = &o->buckets[hash_of((struct view){ d->name, d->len }) & (o->bucket_count - 1)];

	leave(o, d);
	while (*at != d)
		at = &(*at)->bucket;
	*at = d->bucket;
	o->count--;
	free(d->name);
	free(d->reason);
	free(d);
}

void queue_order_free(struct queue_order *o)
{
	for (size_t i = 0; i < o->bucket_count; i++)
		while (o->buckets[i])
			destination_free(o, o->buckets[i]);
	free(o->buckets);
	free(o->later.at);
	free(o->ready.at);
	free(o->all_reason);
	memset(o, 0, sizeof *o);
}

/* What is next in a lane ---------------------------------------------------------------------------------------- */

static bool before(struct place a, struct place b)
{
	return a.due != b.due ? a.due < b.due : a.id < b.id;
}

void queue_order_rescan(struct queue_order *o)
{
	o->scanning = true;
	o->scanned = (struct key){ 0 };
}

static void reset(struct queue_order *o, struct destination *d)
{
	for (int i = 0; i < QUEUE_LANES; i++) {
		d->lanes[i].from = (struct place){ 0, 0 };
		d->lanes[i].stale = true;
	}
	d->expired = d->warned = 0;
	unplace(o, d);
}

void queue_order_news(struct queue_order *o, const struct buf *queued)
{
	struct cursor c = cursor_of(queued->data, queued->len);

	if (queued->full)
		queue_order_rescan(o);
	while (c.left > 0 && !c.bad) {
		struct view name = cursor_blob(&c, ADDRESS_MAX);
		unsigned lane = cursor_u8(&c);
		struct place p = { .due = (int64_t)cursor_u64(&c) };
		p.id = cursor_u64(&c);
		if (c.bad || lane >= QUEUE_LANES)
			break;
		struct destination *d = queue_order_find(o, name, true);
		struct lane *l = &d->lanes[lane];
		if (before(p, l->from))
			l->from = p;
		if (!l->stale && (!l->any || l->far || before(p, l->head))) {
			l->stale = true;
			unplace(o, d);
		}
	}
}

/* The first from there on that is not taken. */
static bool seek(struct queue_order *o, struct tx *tx, const struct destination *d, int lane, struct place *at)
{
	struct view name = { d->name, d->len }, found, value;
	struct key k = queue_next_key(name, (enum queue_priority)lane, at->due, at->id);
	size_t prefix = k.len - 16;
	MDB_cursor *c = NULL;
	bool more = tx_seek(tx, T_QUEUE_NEXT, &c, &k, prefix, &found, &value);

	for (; more; more = tx_next(tx, c, &k, prefix, &found, &value)) {
		if (found.len != prefix + 16)
			continue;
		at->due = (int64_t)get_be64(found.ptr + prefix);
		at->id = get_be64(found.ptr + prefix + 8);
		if (!o->taken(o->arg, at->id))
			break;
	}
	if (c)
		mdb_cursor_close(c);
	return more;
}

static void look(struct queue_order *o, struct tx *tx, int64_t now, struct destination *d, int lane)
{
	struct lane *l = &d->lanes[lane];

	l->stale = l->far = false;
	l->head = l->from;
	l->any = seek(o, tx, d, lane, &l->head);
	if (l->any && l->head.due > now) { /* what was put off while the clock was far ahead would wait as long */
		struct place far = { now + DUE_FAR + 1, 0 };
		if (seek(o, tx, d, lane, &far)) {
			l->head = far;
			l->far = true;
		}
	}
}

static int64_t lane_time(const struct lane *l, int64_t now)
{
	return !l->any ? INT64_MAX : l->far ? now : l->head.due;
}

/* Away -------------------------------------------------------------------------------------------------------- */

static bool wants_word(const struct queue_entry *q)
{
	if (q->fixed.state & QUEUE_TOLD || q->fixed.flags & QUEUE_BOUNCE || q->sender.len == 0)
		return false;
	for (uint32_t i = 0; i < q->fixed.recipients; i++)
		if (q->recipients[i].state == RECIPIENT_WAITING &&
		    (!q->recipients[i].notify || q->recipients[i].notify & DSN_DELAY))
			return true;
	return false;
}

/*
 * The oldest entry behind *mark that is not held or taken (and wants a word), if it is as old as `age`: then d->aged.
 * Returns when the next one will be.
 */
static int64_t look_aged(
    struct queue_order *o, struct tx *tx, int64_t now, struct destination *d, uint64_t *mark, int64_t age, bool word)
{
	struct view name = { d->name, d->len }, found, value;
	struct key k = queue_of_key(name, *mark);
	size_t prefix = k.len - 8, looked = 0;
	struct queue_entry q;
	MDB_cursor *c = NULL;
	int64_t at = INT64_MAX;
	bool more = age > 0 && tx_seek(tx, T_QUEUE_OF, &c, &k, prefix, &found, &value);

	for (; more; more = tx_next(tx, c, &k, prefix, &found, &value)) {
		uint64_t id = get_be64(found.ptr + prefix);
		if (looked++ == AGED_SLICE) {
			o->unfinished = true;
			at = now + 1;
			break;
		}
		*mark = id;
		if (found.len != prefix + 8 || o->taken(o->arg, id) || !get_queue(tx, id, &q) ||
		    q.fixed.state & QUEUE_HELD || (word && !wants_word(&q)))
			continue;
		at = q.fixed.created + age;
		if (at <= now && !d->aged.id)
			d->aged = (struct place){ at, id };
		break;
	}
	if (c)
		mdb_cursor_close(c);
	return at;
}

int64_t queue_order_away_until(const struct queue_order *o, const struct destination *d, int64_t now)
{
	int64_t until = d && d->away_until > o->all_away ? d->away_until : o->all_away;

	return until > now ? until : 0;
}

void queue_order_away(struct queue_order *o, struct view name, int64_t until, struct view reason)
{
	bool all = view_eq(name, "*");
	struct destination *d = all ? NULL : queue_order_find(o, name, until != 0);
	char **text = all ? &o->all_reason : d ? &d->reason : NULL;

	if (!text)
		return;
	free(*text);
	*text = until ? view_dup(reason) : NULL;
	if (d) {
		d->away_until = until;
		unplace(o, d);
		return;
	}
	o->all_away = until;
	for (size_t i = 0; i < o->bucket_count; i++)
		for (d = o->buckets[i]; d; d = d->bucket)
			unplace(o, d);
}

/* Places ------------------------------------------------------------------------------------------------------ */

static void put(struct queue_order *o, struct destination *d, bool ready, int64_t key)
{
	leave(o, d);
	d->key = key;
	d->where = ready ? DEST_READY : DEST_LATER;
	heap_add(ready ? &o->ready : &o->later, d);
}

static void put_away(struct queue_order *o, struct tx *tx, int64_t now, struct destination *d, int64_t until)
{
	const struct site *site = o->site(o->arg);
	int64_t expires, warned;

	d->aged.id = 0;
	expires = look_aged(o, tx, now, d, &d->expired, (int64_t)site->relay.expire, false);
	d->aged_expired = d->aged.id != 0;
	warned = look_aged(o, tx, now, d, &d->warned, (int64_t)site->relay.delay_warning, true);
	if (warned < expires)
		expires = warned;
	if (d->aged.id)
		put(o, d, true, d->aged.due);
	else
		put(o, d, false, expires < until ? expires : until);
}

/* May free it. */
static void place(struct queue_order *o, struct tx *tx, int64_t now, struct destination *d)
{
	int64_t rank = INT64_MAX, next = INT64_MAX, until;

	d->aged.id = 0;
	if ((until = queue_order_away_until(o, d, now))) {
		put_away(o, tx, now, d, until);
		return;
	}
	if (d->away_until) {
		d->away_until = 0;
		d->expired = d->warned = 0;
		free(d->reason);
		d->reason = NULL;
	}
	for (int i = 0; i < QUEUE_LANES; i++) {
		int64_t time;
		if (d->lanes[i].stale)
			look(o, tx, now, d, i);
		time = lane_time(&d->lanes[i], now);
		if (time <= now && time + allowance[i] < rank)
			rank = time + allowance[i];
		if (time < next)
			next = time;
	}
	if (rank != INT64_MAX)
		put(o, d, true, rank);
	else if (next != INT64_MAX)
		put(o, d, false, next);
	else if (d->in_flight)
		leave(o, d);
	else
		destination_free(o, d);
}

static void scan(struct queue_order *o, struct tx *tx)
{
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t n = 0;
	bool more = tx_seek(tx, T_QUEUE_NEXT, &c, &o->scanned, 0, &found, &value);

	for (; more && n < SCAN_SLICE; n++) {
		struct view name = { found.ptr, found.len > QUEUE_NEXT_TAIL ? found.len - QUEUE_NEXT_TAIL : 0 };
		reset(o, queue_order_find(o, name, true));
		o->scanned = (struct key){ 0 };
		key_add(&o->scanned, name);
		o->scanned.bytes[o->scanned.len++] = 1; /* behind all keys that have a 0 there */
		more = tx_seek(tx, T_QUEUE_NEXT, &c, &o->scanned, 0, &found, &value);
	}
	if (c)
		mdb_cursor_close(c);
	o->scanning = more;
}

void queue_order_update(struct queue_order *o, struct tx *tx, int64_t now)
{
	struct destination *d, *last;
	size_t n = 0;

	o->unfinished = false;
	if (o->scanning)
		scan(o, tx);
	last = TAILQ_LAST(&o->unplaced, unplaced_list);
	while (n < PLACE_SLICE && (d = TAILQ_FIRST(&o->unplaced))) {
		bool end = d == last;
		place(o, tx, now, d);
		n++;
		if (end)
			break;
	}
	for (; n < PLACE_SLICE && o->later.count && o->later.at[0]->key <= now; n++)
		place(o, tx, now, o->later.at[0]);
	o->unfinished |= o->scanning || n == PLACE_SLICE;
}

bool queue_order_next(const struct queue_order *o, int64_t now, struct offer *out)
{
	struct destination *d;
	int64_t best = INT64_MAX;

	if (o->ready.count == 0)
		return false;
	d = o->ready.at[0];
	*out = (struct offer){ .destination = d, .lane = -1, .place = d->aged };
	if (d->aged.id)
		return true;
	for (int i = 0; i < QUEUE_LANES; i++) {
		int64_t time = lane_time(&d->lanes[i], now);
		if (time <= now && time + allowance[i] < best) {
			best = time + allowance[i];
			out->lane = i;
			out->place = d->lanes[i].head;
		}
	}
	return true;
}

void queue_order_done(struct queue_order *o, struct tx *tx, int64_t now, const struct offer *f)
{
	struct destination *d = f->destination;
	struct lane *l;

	if (f->lane == -1) { /* once while it is away, whatever becomes of it */
		if (d->aged_expired)
			d->expired = f->place.id + 1;
		else
			d->warned = f->place.id + 1;
	} else {
		l = &d->lanes[f->lane];
		if (!l->far)
			l->from = (struct place){ f->place.due, f->place.id + 1 };
		l->stale = true;
	}
	place(o, tx, now, d);
}

void queue_order_blocked(struct queue_order *o, struct destination *d)
{
	unplace(o, d);
}

void queue_order_back(struct queue_order *o, struct destination *d, bool again)
{
	d->in_flight--;
	if (again)
		reset(o, d);
	else if (d->where == DEST_IDLE)
		unplace(o, d);
}

int64_t queue_order_later(const struct queue_order *o)
{
	return o->later.count ? o->later.at[0]->key : INT64_MAX;
}
