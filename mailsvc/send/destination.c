/*
 * Destinations: what waits for each, its route, how many connections it may have, and how long it is left alone after
 * nobody there could be reached.  While it is, new messages for it are deferred without an attempt, so that a dead host
 * is not hammered and what waits for it does not take the places of others.  A message that comes for a second or later
 * time may be the administrator's `queue retry`, so it is tried, but one at a time and not sooner than PROBE_S after
 * the last failure.
 *
 * A destination that is slow rather than away keeps STALLED_WAITING messages in hand; more go back to the queue for
 * POSTPONE_S, so that it does not hold all of send's credit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "lib/clock.h"
#include "retry.h"

#define POSTPONE_S 20
#define STALLED_MS 5000
#define STALLED_WAITING 8 /* may wait for a destination where nothing moves */
#define PROBE_S 30

void route_unref(struct route_ref *r)
{
	if (r != NULL && --r->references == 0)
		free(r);
}

static unsigned hash_of(const char *key)
{
	uint32_t h = 2166136261u;

	for (; *key != '\0'; key++)
		h = (h ^ (uint8_t)*key) * 16777619u;
	return h % DESTINATION_BUCKETS;
}

static struct destination *find(struct send *s, const char *domain)
{
	const struct site *site = s->ctx->site;
	bool relay = site->relay.smarthost[0] != '\0';
	char key[600];
	struct destination *d;

	if (relay)
		snprintf(key, sizeof(key), "relay %s %d", site->relay.smarthost, site->relay.port);
	else
		snprintf(key, sizeof(key), "%s", domain);
	unsigned h = hash_of(key);
	LIST_FOREACH(d, &s->buckets[h], bucket)
	{
		if (strcmp(d->key, key) == 0)
			return d;
	}
	if (s->destination_count >= DESTINATIONS_MAX)
		destination_sweep(s);
	d = xcalloc(1, sizeof(*d));
	d->send = s;
	d->key = xstrdup(key);
	d->name = xstrdup(relay ? site->relay.smarthost : domain);
	d->relay = relay;
	d->port = (uint16_t)(relay ? site->relay.port : site->relay.port_out);
	TAILQ_INIT(&d->waiting);
	LIST_INIT(&d->workers);
	LIST_INSERT_HEAD(&s->buckets[h], d, bucket);
	TAILQ_INSERT_TAIL(&s->destinations, d, entry);
	s->destination_count++;
	return d;
}

static void destination_free(struct destination *d)
{
	LIST_REMOVE(d, bucket);
	TAILQ_REMOVE(&d->send->destinations, d, entry);
	d->send->destination_count--;
	route_unref(d->route);
	free(d->key);
	free(d->name);
	free(d);
}

void destination_sweep(struct send *s)
{
	bool crowded = s->destination_count >= DESTINATIONS_MAX;
	int64_t now = clock_wall();
	struct destination *d, *next;

	for (d = TAILQ_FIRST(&s->destinations); d != NULL; d = next) {
		next = TAILQ_NEXT(d, entry);
		/* How long it was away is remembered for as long again, so that the back-off can double. */
		int64_t memory = d->dead_until + (int64_t)s->ctx->site->relay.retry_max;
		if (d->waiting_count == 0 && d->worker_count == 0 && !d->looking_up &&
		    (crowded || d->failures == 0 || memory < now))
			destination_free(d);
	}
}

struct item *destination_next(struct destination *d)
{
	struct item *it = TAILQ_FIRST(&d->waiting);

	if (it != NULL) {
		TAILQ_REMOVE(&d->waiting, it, waiting);
		d->waiting_count--;
	}
	return it;
}

void destination_reached(struct destination *d)
{
	if (d->failures > 0)
		event_active(d->send->kick, EV_TIMEOUT, 0); /* more connections may be made again */
	d->failures = 0;
	d->dead_until = 0;
}

static void defer_waiting(struct destination *d, enum queue_outcome outcome)
{
	struct item *it;

	while ((it = destination_next(d)) != NULL) {
		item_settle_rest(it, outcome, d->reason);
		it->not_before = d->dead_until;
		send_finish(d->send, it);
	}
}

void destination_unreached(struct destination *d, const char *reason)
{
	const struct site *site = d->send->ctx->site;
	struct worker *w;

	snprintf(d->reason, sizeof(d->reason), "%s", reason);
	LIST_FOREACH(w, &d->workers, entry)
	{
		if (w->ready || w->carried > 0)
			return; /* another connection works */
	}
	if (d->dead_until <= clock_wall()) /* those that fail together count once */
		d->failures++;
	d->failed_at = clock_wall();
	d->dead_until =
	    d->failed_at + (int64_t)retry_backoff(d->failures, site->relay.retry_min, site->relay.retry_max);
	route_unref(d->route);
	d->route = NULL;
	defer_waiting(d, QUEUE_RETRY);
}

static void on_route(void *arg, const struct mx_route *route)
{
	struct destination *d = arg;

	d->looking_up = false;
	if (route->status != MX_OK) {
		snprintf(d->reason, sizeof(d->reason), "%s", route->reason);
		/* A smarthost whose name does not resolve is our mistake, or a passing one: no reason to bounce. */
		bool permanent = route->status == MX_PERMANENT && !d->relay;
		if (!permanent && d->relay && d->reason[0] == '5')
			d->reason[0] = '4';
		defer_waiting(d, permanent ? QUEUE_FAILED : QUEUE_RETRY);
		return;
	}
	route_unref(d->route);
	d->route = xcalloc(1, sizeof(*d->route));
	d->route->references = 1;
	d->route->route = *route;
	d->route_until = clock_mono_ms() + (uint64_t)(route->ttl > 1 ? route->ttl : 1) * 1000;
	destination_run(d);
}

void destination_run(struct destination *d)
{
	struct send *s = d->send;
	unsigned limit = (unsigned)s->ctx->site->relay.connections;

	while (d->waiting_count > 0 && !s->draining) {
		struct item *first = TAILQ_FIRST(&d->waiting);
		if (worker_take(d, first)) {
			destination_next(d);
			continue;
		}
		if (d->worker_count >= (d->failures > 0 ? 1 : DESTINATION_WORKERS) || s->connections >= limit)
			return;
		if (d->route == NULL || clock_mono_ms() >= d->route_until) {
			if (!d->looking_up) {
				d->looking_up = true;
				mx_lookup(s->dns, s->ctx->site, d->name, d->relay, d->port, on_route, d);
			}
			return;
		}
		destination_next(d);
		worker_start(d, first);
	}
}

void destination_run_all(struct send *s)
{
	struct destination *d, *next;

	for (d = TAILQ_FIRST(&s->destinations); d != NULL; d = next) {
		next = TAILQ_NEXT(d, entry);
		if (d->waiting_count > 0)
			destination_run(d);
	}
}

void destination_retire(struct send *s)
{
	struct destination *d;
	struct worker *w, *next;

	TAILQ_FOREACH(d, &s->destinations, entry)
	{
		for (w = LIST_FIRST(&d->workers); w != NULL; w = next) {
			next = LIST_NEXT(w, entry);
			w->stale = true;
			if (w->item == NULL)
				worker_free(w);
		}
	}
}

/* Known to be away, and this item is no reason to look again. */
static bool left_alone(const struct destination *d, const struct item *it, int64_t now)
{
	int64_t retry_min = (int64_t)d->send->ctx->site->relay.retry_min;

	if (d->dead_until <= now)
		return false;
	return it->attempts == 0 ||
	       (d->worker_count == 0 && now < d->failed_at + (retry_min < PROBE_S ? retry_min : PROBE_S));
}

/* Nothing has come to an end there for a while; what waits for it only takes the place of others. */
static bool stalled(const struct destination *d)
{
	return !d->relay && d->waiting_count > 0 && clock_mono_ms() - d->progress_at > STALLED_MS;
}

static void postpone(struct destination *d, struct item *it, int64_t now)
{
	item_settle_rest(it, QUEUE_RETRY, "4.3.2 other messages for this destination come first");
	it->postponed = true;
	it->not_before = now + POSTPONE_S;
	send_finish(d->send, it);
}

void destination_relieve(struct send *s)
{
	int64_t now = clock_wall();
	struct destination *d;

	TAILQ_FOREACH(d, &s->destinations, entry)
	{
		while (stalled(d) && d->waiting_count > STALLED_WAITING) {
			struct item *last = TAILQ_LAST(&d->waiting, item_queue);
			TAILQ_REMOVE(&d->waiting, last, waiting);
			d->waiting_count--;
			postpone(d, last, now);
		}
	}
}

void destination_submit(struct send *s, struct item *it)
{
	struct destination *d = find(s, it->domain);
	int64_t now = clock_wall();

	if (left_alone(d, it, now)) {
		item_settle_rest(it, QUEUE_RETRY, d->reason);
		it->not_before = d->dead_until;
		send_finish(s, it);
		return;
	}
	if (stalled(d) && d->waiting_count >= STALLED_WAITING) {
		postpone(d, it, now);
		return;
	}
	if (d->waiting_count == 0)
		d->progress_at = clock_mono_ms();
	TAILQ_INSERT_TAIL(&d->waiting, it, waiting);
	d->waiting_count++;
	destination_run(d);
}
