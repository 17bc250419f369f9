/*
 * Destinations: what waits for each, its route, how many connections it may have, and how long it is left alone after
 * nobody there could be reached.  While it is, new messages for it are deferred without an attempt, so that a dead host
 * is not hammered and what waits for it does not take the places of others.  A message that comes for a second or later
 * time may be the administrator's `queue retry`, so it is tried, but one at a time and not sooner than PROBE_S after
 * the last failure.
 *
 * How many connections it gets follows from how it takes them: one more after each round of successes, half as many
 * when one breaks (as TCP does), and not more than it let stand while it refuses more.  With a rate, messages begin at
 * even distances.
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
#define TURN_MAX_S 3600
#define PASSED_OVER_S 5
#define STALLED_MS 5000
#define STALLED_WAITING 8 /* may wait for a destination where nothing moves */
#define PROBE_S 30
#define PUT_BACK_MAX 20
#define CEILING_MS (10 * 60 * 1000)

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

static void on_pace(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	destination_run(arg);
}

static struct destination *destination_new(struct send *s, const struct item *it, size_t i, const char *key, unsigned h)
{
	struct destination *d = xcalloc(1, sizeof(*d));

	d->send = s;
	d->key = xstrdup(key);
	hop_init(&d->hop, s->ctx->site, it, i);
	d->domain = xstrdup(it->route[0] != '\0' ? it->route : it->domain);
	d->window = d->hop.connections < DESTINATION_WORKERS ? d->hop.connections : DESTINATION_WORKERS;
	d->pace = evtimer_new(s->base, on_pace, d);
	if (d->pace == NULL)
		fatalx("cannot make a timer");
	TAILQ_INIT(&d->waiting);
	LIST_INIT(&d->workers);
	LIST_INSERT_HEAD(&s->buckets[h], d, bucket);
	TAILQ_INSERT_TAIL(&s->destinations, d, entry);
	s->destination_count++;
	return d;
}

/* That of the first recipient in hand; those that go another way are left for later. */
static struct destination *find(struct send *s, struct item *it)
{
	char key[ROUTE_KEY_MAX], other[ROUTE_KEY_MAX];
	struct destination *d;
	size_t first = 0;

	while (first + 1 < it->count && !item_open(it, first))
		first++;
	hop_key(s->ctx->site, it, first, key);
	for (size_t i = first + 1; s->ctx->site->route_count > 0 && i < it->count; i++) {
		hop_key(s->ctx->site, it, i, other);
		it->recipients[i].later = item_open(it, i) && strcmp(key, other) != 0;
	}
	unsigned h = hash_of(key);
	LIST_FOREACH(d, &s->buckets[h], bucket)
	{
		if (strcmp(d->key, key) == 0)
			return d;
	}
	if (s->destination_count >= DESTINATIONS_MAX)
		destination_sweep(s);
	return destination_new(s, it, first, key, h);
}

static void forget_told(struct destination *d)
{
	while (d->told_count > 0)
		free(d->told[--d->told_count]);
}

static void destination_free(struct destination *d)
{
	LIST_REMOVE(d, bucket);
	TAILQ_REMOVE(&d->send->destinations, d, entry);
	d->send->destination_count--;
	route_unref(d->route);
	forget_told(d);
	event_free(d->pace);
	hop_free(&d->hop);
	free(d->domain);
	free(d->key);
	free(d);
}

void destination_sweep(struct send *s)
{
	bool crowded = s->destination_count >= DESTINATIONS_MAX;
	int64_t now = clock_wall();
	uint64_t mono = clock_mono_ms();
	struct destination *d, *next;

	for (d = TAILQ_FIRST(&s->destinations); d != NULL; d = next) {
		next = TAILQ_NEXT(d, entry);
		if (mono < d->next_at || d->turn > now * 1000 || (mono < d->ceiling_until && !crowded))
			continue; /* its rate, and what it bears, are not to be forgotten */
		/* How long it was away is remembered for as long again, so that the back-off can double. */
		int64_t memory = d->dead_until + (int64_t)s->ctx->site->relay.retry_max;
		if (d->waiting_count == 0 && d->worker_count == 0 && !d->looking_up &&
		    (crowded || d->failures == 0 || memory < now))
			destination_free(d);
	}
}

static struct item *pop(struct destination *d)
{
	struct item *it = TAILQ_FIRST(&d->waiting);

	if (it != NULL) {
		TAILQ_REMOVE(&d->waiting, it, waiting);
		d->waiting_count--;
	}
	return it;
}

/* May a message begin, as far as the rate goes?  If not, the timer says when. */
static bool in_pace(struct destination *d)
{
	uint64_t now = clock_mono_ms();

	if (d->hop.rate == 0 || now >= d->next_at)
		return true;
	struct timeval tv = { (time_t)((d->next_at - now) / 1000), (suseconds_t)((d->next_at - now) % 1000 * 1000) };
	event_add(d->pace, &tv);
	return false;
}

static struct item *pop_to_begin(struct destination *d)
{
	if (d->hop.rate > 0)
		d->next_at = clock_mono_ms() + 60000 / d->hop.rate;
	return pop(d);
}

struct item *destination_next(struct destination *d)
{
	return d->waiting_count > 0 && in_pace(d) ? pop_to_begin(d) : NULL;
}

static unsigned allowed(const struct destination *d)
{
	return d->failures > 0 ? 1 : d->window;
}

bool destination_crowded(const struct destination *d)
{
	return d->worker_count > allowed(d);
}

/* One more once all that there may be have succeeded. */
void destination_taken(struct destination *d)
{
	unsigned most = d->hop.connections;

	if (clock_mono_ms() < d->ceiling_until && d->ceiling < most)
		most = d->ceiling;
	if (++d->taken < d->window || d->window >= most)
		return;
	d->window++;
	d->taken = 0;
	if (d->waiting_count > 0)
		event_active(d->send->kick, EV_TIMEOUT, 0);
}

void destination_troubled(struct destination *d)
{
	d->window = d->window > 1 ? d->window / 2 : 1;
	d->taken = 0;
}

bool destination_put_back(struct destination *d, const struct worker *failed)
{
	struct item *it = failed->item;
	struct worker *w;
	unsigned others = 0;

	LIST_FOREACH(w, &d->workers, entry)
	others += w != failed && (w->item != NULL || w->ready);
	if (others == 0 || it->put_back == PUT_BACK_MAX || d->send->draining)
		return false;
	it->put_back++;
	d->ceiling = others;
	d->ceiling_until = clock_mono_ms() + CEILING_MS;
	if (d->window > others)
		d->window = others;
	d->taken = 0;
	TAILQ_INSERT_HEAD(&d->waiting, it, waiting);
	d->waiting_count++;
	event_active(d->send->kick, EV_TIMEOUT, 0);
	return true;
}

/*
 * What store knows mail to this domain (or with this route of the administrator) by; "*" where all mail of the host
 * goes one way; NULL where mail to the domain may go several ways.
 */
static const char *name_in_store(const struct destination *d, const char *domain)
{
	const struct site *site = d->send->ctx->site;
	bool one_way = strcmp(d->hop.route, "relay") == 0 && site->route_count == 0;

	for (size_t i = 0; i < site->route_count; i++) {
		const struct site_route *r = &site->routes[i];
		if (r->from.count > 0)
			return NULL;
		for (size_t n = 0; n < r->to.count; n++) {
			const char *at = strchr(r->to.at[n], '@');
			if (at != NULL && strcmp(at + 1, domain) == 0)
				return NULL;
		}
	}
	for (size_t i = 0; one_way && i < site->domain_count; i++)
		one_way = site->domains[i].deliver[0] == '\0' && site->domains[i].elsewhere[0] == '\0';
	return one_way ? "*" : domain;
}

/* Store need not hand out what would only come back. */
static void tell_store(struct destination *d, const char *domain)
{
	const char *name = name_in_store(d, domain);

	if (d->told_until != d->dead_until)
		forget_told(d);
	d->told_until = d->dead_until;
	for (size_t i = 0; name != NULL && i < d->told_count; i++) {
		if (strcmp(d->told[i], name) == 0)
			return;
	}
	if (name == NULL || d->told_count == DESTINATION_TOLD_MAX)
		return;
	d->told[d->told_count++] = xstrdup(name);
	store_queue_defer(d->send->store, name, d->dead_until, d->reason);
}

static void tell_store_back(struct destination *d)
{
	for (size_t i = 0; i < d->told_count; i++)
		store_queue_defer(d->send->store, d->told[i], 0, "");
	forget_told(d);
}

void destination_store_forgot(struct send *s)
{
	struct destination *d;

	TAILQ_FOREACH(d, &s->destinations, entry)
	forget_told(d);
}

void destination_reached(struct destination *d)
{
	if (d->failures > 0)
		event_active(d->send->kick, EV_TIMEOUT, 0); /* more connections may be made again */
	d->failures = 0;
	d->dead_until = 0;
	tell_store_back(d);
}

static void defer_waiting(struct destination *d, enum queue_outcome outcome)
{
	struct item *it;

	while ((it = pop(d)) != NULL) {
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
	tell_store(d, d->domain);
	defer_waiting(d, QUEUE_RETRY);
}

static void on_route(void *arg, const struct mx_route *route)
{
	struct destination *d = arg;

	if (route->status != MX_OK) {
		snprintf(d->reason, sizeof(d->reason), "%s", route->reason);
		/* A host of the site file whose name does not resolve is our mistake, or a passing one: no reason to
		 * bounce. */
		bool permanent = route->status == MX_PERMANENT && hop_by_mx(&d->hop);
		if (!permanent && !hop_by_mx(&d->hop) && d->reason[0] == '5')
			d->reason[0] = '4';
		defer_waiting(d, permanent ? QUEUE_FAILED : QUEUE_RETRY);
		d->looking_up = false; /* not sooner: one that is idle may be swept when an item goes on to another */
		return;
	}
	d->looking_up = false;
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
		if (!in_pace(d))
			return;
		if (worker_take(d, first)) {
			pop_to_begin(d);
			continue;
		}
		if (d->worker_count >= allowed(d) || s->connections >= limit)
			return;
		if (d->route == NULL || clock_mono_ms() >= d->route_until) {
			if (!d->looking_up) {
				d->looking_up = true;
				hop_lookup(s->dns, s->ctx->site, &d->hop, on_route, d);
			}
			return;
		}
		pop_to_begin(d);
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

/* With a rate: what would wait for more than ten seconds can wait in the queue. */
static bool paced_out(const struct destination *d)
{
	return d->hop.rate > 0 && d->waiting_count >= STALLED_WAITING + d->hop.rate / 6;
}

/* Nothing has come to an end there for a while; what waits for it only takes the place of others. */
static bool stalled(const struct destination *d)
{
	return hop_by_mx(&d->hop) && d->waiting_count > 0 && clock_mono_ms() - d->progress_at > STALLED_MS;
}

/* With a rate: about when its turn will be, so that each comes once and not every POSTPONE_S. */
static int64_t turn(struct destination *d, int64_t now)
{
	int64_t each = 60000 / d->hop.rate, first = now * 1000 + (int64_t)d->waiting_count * each;

	if (d->turn < first)
		d->turn = first;
	if (d->turn < (now + TURN_MAX_S) * 1000)
		d->turn += each;
	return d->turn / 1000;
}

static void postpone(struct destination *d, struct item *it, int64_t now)
{
	const char *name = name_in_store(d, it->route[0] != '\0' ? it->route : it->domain);

	item_settle_rest(it, QUEUE_RETRY, "4.3.2 other messages for this destination come first");
	/* Else store would hand out the next ones, however many there are, to get them all back like this. */
	if (d->hop.rate == 0 && name != NULL && d->dead_until <= now) /* else it knows, and for longer */
		store_queue_defer(d->send->store, name, now + PASSED_OVER_S, "other messages for it come first");
	it->postponed = true;
	it->not_before = d->hop.rate > 0 ? turn(d, now) : now + POSTPONE_S;
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
	struct destination *d = find(s, it);
	int64_t now = clock_wall();

	if (it->wanted) /* who asks for it may know that they are back */
		d->dead_until = 0;
	if (left_alone(d, it, now)) {
		tell_store(d, it->route[0] != '\0' ? it->route : it->domain);
		item_settle_rest(it, QUEUE_RETRY, d->reason);
		it->not_before = d->dead_until;
		send_finish(s, it);
		return;
	}
	if (paced_out(d) || (stalled(d) && d->waiting_count >= STALLED_WAITING)) {
		postpone(d, it, now);
		return;
	}
	if (d->waiting_count == 0)
		d->progress_at = clock_mono_ms();
	TAILQ_INSERT_TAIL(&d->waiting, it, waiting);
	d->waiting_count++;
	destination_run(d);
}
