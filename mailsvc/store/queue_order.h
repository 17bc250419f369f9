/*
 * What of the queue is next: for each destination that has entries, the first of each priority, and when.  In memory
 * there is a few hundred bytes for a destination and nothing for an entry; the entries' order is the index's
 * (T_QUEUE_NEXT), which is read from where it was read to.
 */
#ifndef MAILSVC_STORE_QUEUE_ORDER_H
#define MAILSVC_STORE_QUEUE_ORDER_H

#include <sys/queue.h>

#include "index.h"

struct site;

struct place { /* in a lane */
	int64_t due;
	uint64_t id;
};

struct lane {
	struct place from; /* nothing before it is to be handed out */
	struct place head; /* the next one */
	bool any;          /* there is one */
	bool stale;        /* head is to be looked up */
	bool far;          /* its time was by a wrong clock: it is due */
};

struct destination {
	struct destination *bucket;
	TAILQ_ENTRY(destination) link; /* of the unplaced */
	char *name;
	size_t len;
	struct lane lanes[QUEUE_LANES];
	unsigned in_flight;
	bool wanted;        /* tried at once: its next entry says so */
	int64_t away_until; /* 0: not known to be away */
	char *reason;
	struct place aged;        /* of one that is away: this one is too old to wait, since then; id 0: none */
	bool aged_expired;        /* its time ran out; else its sender is to be told */
	uint64_t expired, warned; /* entries before these were looked at for that */
	enum { DEST_UNPLACED, DEST_LATER, DEST_READY, DEST_IDLE } where;
	int64_t key; /* of its heap: when it is to be looked at; or its rank */
	size_t at;   /* in its heap */
};

struct heap {
	struct destination **at;
	size_t count, size;
};

struct queue_order {
	const struct site *(*site)(void *arg);
	bool (*taken)(void *arg, uint64_t id); /* handed out, or not to be */
	void *arg;
	struct destination **buckets;
	size_t bucket_count, count;
	TAILQ_HEAD(unplaced_list, destination) unplaced;
	struct heap later, ready;
	int64_t all_away; /* every destination */
	char *all_reason;
	bool scanning; /* the index is walked for destinations, from here on */
	struct key scanned;
	bool unfinished; /* there is more to look at, at once */
};

void queue_order_init(struct queue_order *);
void queue_order_free(struct queue_order *);
void queue_order_news(
    struct queue_order *, const struct buf *queued); /* as queue_news_put packed them; full: queue_order_rescan */
void queue_order_rescan(struct queue_order *);
struct destination *queue_order_find(struct queue_order *, struct view name, bool make);
/* An entry of it is no longer handed out; again: without a result, so that it stands where it stood. */
void queue_order_back(struct queue_order *, struct destination *, bool again);
void queue_order_away(struct queue_order *, struct view name, int64_t until, struct view reason);
/* A part of the walk, and everything that changed finds its place. */
void queue_order_update(struct queue_order *, struct tx *, int64_t now);
struct offer {
	struct destination *destination;
	int lane; /* -1: it is away, but this one is too old to wait */
	struct place place;
};
/* What is next among all that is due; false: nothing. */
bool queue_order_next(const struct queue_order *, int64_t now, struct offer *);
/* It was handed out, or cannot be: its destination's next one is looked for. */
void queue_order_done(struct queue_order *, struct tx *, int64_t now, const struct offer *);
void queue_order_blocked(
    struct queue_order *, struct destination *);       /* it has its share: until the next queue_order_update */
int64_t queue_order_later(const struct queue_order *); /* when something becomes due; INT64_MAX: never */
/* Until when this one is passed over; 0: it is not. */
int64_t queue_order_away_until(const struct queue_order *, const struct destination *, int64_t now);

#endif
