/*
 * MTA-STS discovery (RFC 8461 3, 5.1).  One search for a domain at a time, whoever waits for it: the TXT record, and
 * when it has an id that the copy has not, or the copy is REFRESH_S old, the policy over HTTPS.
 *
 *   no record, or no answer    the copy holds until it expires; without one there is no policy
 *   the copy's id              the copy; a fetch in the background when it is old
 *   another id, or no copy     fetch; when that fails the copy, if any.  It is not tried again for FAILED_S
 *
 * Bounds: SEARCHES_MAX at once (beyond, the copy alone is looked at), FAILED_MAX domains whose fetch failed.
 */
#include "sts.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define SEARCHES_MAX 500
#define RECORD_S 10 /* for the record; then the copy alone counts */
#define FETCH_S (STS_WAIT_S - RECORD_S)
#define REFRESH_S 86400 /* a copy of this age, or half its max_age, is fetched anew */
#define FAILED_S 300    /* RFC 8461 3.3: not more often than every five minutes */
#define FAILED_MAX 1000
#define DOMAIN_MAX 255

struct failure { /* a fetch that failed a while ago */
	TAILQ_ENTRY(failure) entry;
	char domain[DOMAIN_MAX + 1];
	uint64_t until; /* monotonic ms */
	enum tls_result result;
	char reason[160];
};

struct search {
	LIST_ENTRY(search) entry;
	struct sts *sts;
	char domain[DOMAIN_MAX + 1];
	char id[STS_ID_MAX + 1];
	bool known;      /* copy is one */
	bool refreshing; /* nobody waits for it */
	struct sts_policy copy;
	uint32_t query, fetch; /* that run */
	struct event *late;
	LIST_HEAD(, sts_wait) waiting;
};

struct sts_wait {
	LIST_ENTRY(sts_wait) entry;
	void (*fn)(void *arg, const struct sts_verdict *);
	void *arg;
};

struct sts {
	struct event_base *base;
	struct dns_client *dns;
	struct fetch_client *fetcher;
	struct sts_cache *cache;
	int port;
	LIST_HEAD(, search) searches;
	size_t search_count, failure_count;
	TAILQ_HEAD(failures, failure) failures; /* oldest first */
};

struct sts *sts_new(
    struct event_base *base, struct dns_client *dns, struct fetch_client *fetcher, struct sts_cache *cache, int port)
{
	struct sts *s = xcalloc(1, sizeof(*s));

	s->base = base;
	s->dns = dns;
	s->fetcher = fetcher;
	s->cache = cache;
	s->port = port;
	LIST_INIT(&s->searches);
	TAILQ_INIT(&s->failures);
	return s;
}

void sts_set_port(struct sts *s, int port)
{
	s->port = port;
}

/* Failures ----------------------------------------------------------------------------------------------------- */

static void forget(struct sts *s, struct failure *f)
{
	TAILQ_REMOVE(&s->failures, f, entry);
	s->failure_count--;
	free(f);
}

static struct failure *failure_of(struct sts *s, const char *domain)
{
	uint64_t now = clock_mono_ms();
	struct failure *f;

	while ((f = TAILQ_FIRST(&s->failures)) != NULL && f->until <= now)
		forget(s, f);
	TAILQ_FOREACH(f, &s->failures, entry)
	{
		if (strcasecmp(f->domain, domain) == 0)
			return f;
	}
	return NULL;
}

static void remember_failure(struct search *q, enum tls_result result, const char *reason)
{
	struct sts *s = q->sts;
	struct failure *f = failure_of(s, q->domain);

	if (f != NULL)
		forget(s, f);
	if (s->failure_count >= FAILED_MAX)
		forget(s, TAILQ_FIRST(&s->failures));
	f = xcalloc(1, sizeof(*f));
	snprintf(f->domain, sizeof(f->domain), "%s", q->domain);
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	f->result = result;
	f->until = clock_mono_ms() + FAILED_S * 1000;
	TAILQ_INSERT_TAIL(&s->failures, f, entry);
	s->failure_count++;
}

/* Searches ----------------------------------------------------------------------------------------------------- */

/* Tells all that wait; those that come meanwhile begin another search. */
static void tell(struct search *q, const struct sts_policy *policy, enum tls_result result, const char *reason)
{
	struct sts_verdict v = { .policy = policy, .result = result };
	struct sts_wait *w;

	snprintf(v.reason, sizeof(v.reason), "%s", reason);
	while ((w = LIST_FIRST(&q->waiting)) != NULL) {
		LIST_REMOVE(w, entry);
		w->fn(w->arg, &v);
		free(w);
	}
}

static void search_free(struct search *q)
{
	LIST_REMOVE(q, entry);
	q->sts->search_count--;
	if (q->query != 0)
		dns_cancel(q->sts->dns, q->query);
	fetch_cancel(q->sts->fetcher, q->fetch);
	event_free(q->late);
	free(q);
}

/* With the copy, or without a policy. */
static void search_end(struct search *q, enum tls_result result, const char *reason)
{
	tell(q, q->known ? &q->copy : NULL, result, reason);
	search_free(q);
}

/* lasting: it is no use to try again at once. */
static void fetch_failed(struct search *q, enum tls_result result, const char *reason, bool lasting)
{
	log_info("event=mta-sts domain=%s result=%s copy=%s reason=\"%s\"", q->domain, tls_result_name(result),
	    q->known ? "kept" : "none", reason);
	if (lasting)
		remember_failure(q, result, reason);
	search_end(q, result, reason);
}

static bool plain_text(const char *type)
{
	size_t len = strcspn(type, "; \t");

	return len == 10 && strncasecmp(type, "text/plain", len) == 0;
}

static void on_policy(void *arg, const struct fetch_answer *a)
{
	struct search *q = arg;
	struct sts_policy policy;
	char reason[160], why[120];

	q->fetch = 0;
	if (a->status != FETCH_OK) {
		fetch_failed(q, a->status == FETCH_TLS ? TLS_RESULT_WEBPKI : TLS_RESULT_FETCH, a->reason,
		    a->status != FETCH_UNAVAILABLE);
	} else if (a->code != 200) {
		snprintf(reason, sizeof(reason), "the policy's server answers %d", a->code);
		fetch_failed(q, TLS_RESULT_FETCH, reason, true);
	} else if (!plain_text(a->type)) {
		fetch_failed(q, TLS_RESULT_POLICY, "the policy is not text/plain", true);
	} else if (sts_policy_parse(a->body, &policy, why) == -1) {
		snprintf(reason, sizeof(reason), "the policy is not valid: %s", why);
		fetch_failed(q, TLS_RESULT_POLICY, reason, true);
	} else {
		static const char *const modes[] = { "none", "testing", "enforce" };
		snprintf(policy.id, sizeof(policy.id), "%s", q->id);
		sts_cache_put(q->sts->cache, q->domain, &policy, clock_wall());
		log_info("event=mta-sts domain=%s result=ok mode=%s max_age=%u id=%s", q->domain, modes[policy.mode],
		    policy.max_age, policy.id);
		tell(q, &policy, TLS_RESULT_OK, "");
		search_free(q);
	}
}

static void fetch(struct search *q)
{
	static const struct fetch_limits limits = { .bytes = FETCH_BODY_MAX, .seconds = FETCH_S };
	char url[FETCH_URL_MAX], port[12] = "";

	if (q->sts->port != 443)
		snprintf(port, sizeof(port), ":%d", q->sts->port);
	snprintf(url, sizeof(url), "https://mta-sts.%s%s/.well-known/mta-sts.txt", q->domain, port);
	struct timeval limit = { FETCH_S + 1, 0 };
	event_add(q->late, &limit);
	q->fetch = fetch_get(q->sts->fetcher, url, &limits, on_policy, q);
}

static bool is_refreshed(const struct sts *s, const char *domain)
{
	const struct search *q;

	LIST_FOREACH(q, &s->searches, entry)
	{
		if (q->refreshing && strcmp(q->domain, domain) == 0)
			return true;
	}
	return false;
}

static void on_record(void *arg, const struct dns_answer *a)
{
	struct search *q = arg;
	int64_t fetched = 0, now = clock_wall();

	q->query = 0;
	q->known = sts_cache_get(q->sts->cache, q->domain, now, &q->copy, &fetched);
	if (sts_record(a, q->id) == -1) {
		search_end(q, TLS_RESULT_OK, "");
		return;
	}
	bool same = q->known && strcmp(q->copy.id, q->id) == 0;
	bool refreshed = is_refreshed(q->sts, q->domain);
	if (same) {
		q->refreshing = true;
		tell(q, &q->copy, TLS_RESULT_OK, "");
	}
	int64_t old = q->copy.max_age / 2 < REFRESH_S ? q->copy.max_age / 2 : REFRESH_S;
	struct failure *f = failure_of(q->sts, q->domain);
	if (same && (now - fetched < old || refreshed))
		search_free(q);
	else if (f != NULL)
		search_end(q, f->result, f->reason);
	else
		fetch(q);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct search *q = arg;
	int64_t fetched;

	(void)fd, (void)what;
	if (q->fetch == 0) /* for the record, or without a question; a fetch has a limit of its own, below this one */
		q->known = sts_cache_get(q->sts->cache, q->domain, clock_wall(), &q->copy, &fetched);
	search_end(q, TLS_RESULT_OK, "");
}

static struct search *search_new(struct sts *s, const char *domain)
{
	struct search *q = xcalloc(1, sizeof(*q));
	struct timeval limit = { RECORD_S, 0 };
	char name[DOMAIN_MAX + 16];

	q->sts = s;
	snprintf(q->domain, sizeof(q->domain), "%s", domain);
	text_lower(q->domain);
	LIST_INIT(&q->waiting);
	q->late = evtimer_new(s->base, on_late, q);
	if (q->late == NULL)
		fatalx("cannot make a timer");
	event_add(q->late, &limit);
	LIST_INSERT_HEAD(&s->searches, q, entry);
	s->search_count++;
	snprintf(name, sizeof(name), "_mta-sts.%s", q->domain);
	if (s->search_count > SEARCHES_MAX || strlen(name) > DOMAIN_MAX)
		event_active(q->late, EV_TIMEOUT, 0);
	else
		q->query = dns_query(s->dns, name, DNS_TXT, on_record, q);
	return q;
}

struct sts_wait *sts_lookup(
    struct sts *s, const char *domain, void (*fn)(void *arg, const struct sts_verdict *), void *arg)
{
	struct sts_wait *w = xcalloc(1, sizeof(*w));
	struct search *q;

	w->fn = fn;
	w->arg = arg;
	LIST_FOREACH(q, &s->searches, entry)
	{
		if (!q->refreshing && strcasecmp(q->domain, domain) == 0)
			break;
	}
	if (q == NULL)
		q = search_new(s, domain);
	LIST_INSERT_HEAD(&q->waiting, w, entry);
	return w;
}

void sts_cancel(struct sts_wait *w)
{
	if (w == NULL)
		return;
	LIST_REMOVE(w, entry);
	free(w);
}
