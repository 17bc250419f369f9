/*
 * Counting TLS sessions by day (UTC), next hop and kind of policy.  What a line of the log says of each session is what
 * reports of more than a day are made from; the table is for a look at today.
 *
 * As bytes: u64 day, the sums as u32, and for each next hop its name, u8 kind, u32 for each result.
 */
#include "tls_count.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>

#include "lib/log.h"
#include "lib/text.h"

#define BUCKETS 1024
#define DAY 86400
#define SHOWN 5 /* next hops in `status` */
#define SHOWN_NAME_MAX 64
#define PACKED_NAME_MAX 255
#define PACKED_HOP_MAX (4 + PACKED_NAME_MAX + 1 + 4 * TLS_RESULT_COUNT)

struct tally {
	uint32_t ok, failed[TLS_RESULT_COUNT]; /* [TLS_RESULT_OK] is not used */
};

struct hop_count {
	LIST_ENTRY(hop_count) bucket;
	char *domain;
	enum tls_kind kind;
	struct tally tally;
};

struct tls_count {
	int64_t day;
	struct tally sums[TLS_KIND_COUNT];
	LIST_HEAD(, hop_count) buckets[BUCKETS];
	size_t hops;
};

const char *tls_kind_name(enum tls_kind kind)
{
	static const char *const names[TLS_KIND_COUNT] = { "no-policy-found", "tlsa", "sts", "route" };

	return (unsigned)kind < TLS_KIND_COUNT ? names[kind] : "?";
}

const char *tls_result_name(enum tls_result result)
{
	static const char *const names[TLS_RESULT_COUNT] = { "ok", "starttls-not-supported",
		"certificate-host-mismatch", "certificate-expired", "certificate-not-trusted", "validation-failure",
		"tlsa-invalid", "dnssec-invalid", "sts-policy-fetch-error", "sts-policy-invalid",
		"sts-webpki-invalid" };

	return (unsigned)result < TLS_RESULT_COUNT ? names[result] : "?";
}

static unsigned failures(const struct tally *t)
{
	unsigned sum = 0;

	for (int i = TLS_RESULT_OK + 1; i < TLS_RESULT_COUNT; i++)
		sum += t->failed[i];
	return sum;
}

static enum tls_result most(const struct tally *t)
{
	int best = TLS_RESULT_OK + 1;

	for (int i = best; i < TLS_RESULT_COUNT; i++) {
		if (t->failed[i] > t->failed[best])
			best = i;
	}
	return (enum tls_result)best;
}

struct tls_count *tls_count_new(void)
{
	struct tls_count *c = xcalloc(1, sizeof(*c));

	for (size_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&c->buckets[i]);
	return c;
}

static void log_day(const struct hop_count *h)
{
	struct buf domain = BUF_INIT(2048);

	text_escape(&domain, view_of(h->domain), 255);
	log_info("event=tls-day domain=%s policy=%s ok=%u failed=%u mostly=%s", buf_str(&domain),
	    tls_kind_name(h->kind), h->tally.ok, failures(&h->tally), tls_result_name(most(&h->tally)));
	buf_free(&domain);
}

/* All begins anew; at the end of a day (told) with a line for each next hop that had failures. */
static void clear(struct tls_count *c, bool told)
{
	struct hop_count *h;

	for (size_t i = 0; i < BUCKETS; i++) {
		while ((h = LIST_FIRST(&c->buckets[i])) != NULL) {
			if (told && failures(&h->tally) > 0)
				log_day(h);
			LIST_REMOVE(h, bucket);
			free(h->domain);
			free(h);
		}
	}
	memset(c->sums, 0, sizeof(c->sums));
	c->hops = 0;
}

void tls_count_free(struct tls_count *c)
{
	clear(c, false);
	free(c);
}

static void turn_day(struct tls_count *c, int64_t now)
{
	if (now / DAY == c->day)
		return;
	clear(c, true);
	c->day = now / DAY;
}

static struct hop_count *find(struct tls_count *c, const char *domain, enum tls_kind kind)
{
	uint32_t hash = 2166136261u;
	struct hop_count *h;

	for (const char *p = domain; *p != '\0'; p++)
		hash = (hash ^ (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p)) * 16777619u;
	LIST_FOREACH(h, &c->buckets[hash % BUCKETS], bucket)
	{
		if (h->kind == kind && strcasecmp(h->domain, domain) == 0)
			return h;
	}
	if (c->hops >= COUNT_DOMAINS_MAX)
		return NULL;
	h = xcalloc(1, sizeof(*h));
	h->domain = xstrdup(domain);
	h->kind = kind;
	LIST_INSERT_HEAD(&c->buckets[hash % BUCKETS], h, bucket);
	c->hops++;
	return h;
}

static void count(struct tally *t, enum tls_result result)
{
	if (result == TLS_RESULT_OK)
		t->ok++;
	else
		t->failed[result]++;
}

void tls_count_add(struct tls_count *c, const struct tls_session *s, int64_t now)
{
	struct buf domain = BUF_INIT(2048), reason = BUF_INIT(2048);

	turn_day(c, now);
	struct hop_count *h = find(c, s->domain, s->kind);
	if (h != NULL)
		count(&h->tally, s->result);
	count(&c->sums[s->kind], s->result);
	if (s->kind == TLS_KIND_NONE) /* nobody asked for anything; event=sent says what was */
		return;
	text_escape(&domain, view_of(s->domain), 255);
	text_escape(&reason, view_of(s->reason), 200);
	log_info("event=tls domain=%s mx=%s ip=%s policy=%s result=%s%s tls=%s reason=%s", buf_str(&domain), s->host,
	    s->address, tls_kind_name(s->kind), tls_result_name(s->result), s->ignored ? " enforced=no" : "", s->tls,
	    reason.len > 0 ? buf_str(&reason) : "\"\"");
	buf_free(&domain);
	buf_free(&reason);
}

/* Short enough, and plain in JSON. */
static bool shows(const char *domain)
{
	size_t len = strlen(domain);

	for (const char *p = domain; *p != '\0'; p++) {
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
			return false;
	}
	return len <= SHOWN_NAME_MAX;
}

/* The next hops with most failures, worst first. */
static size_t worst(const struct tls_count *c, const struct hop_count *out[SHOWN])
{
	const struct hop_count *h;
	size_t n = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		LIST_FOREACH(h, &c->buckets[i], bucket)
		{
			size_t at = n;
			if (failures(&h->tally) == 0 || !shows(h->domain))
				continue;
			while (at > 0 && failures(&out[at - 1]->tally) < failures(&h->tally))
				at--;
			if (at == SHOWN)
				continue;
			n += n < SHOWN;
			memmove(out + at + 1, out + at, (n - at - 1) * sizeof(out[0]));
			out[at] = h;
		}
	}
	return n;
}

void tls_count_status(struct tls_count *c, int64_t now, struct buf *json)
{
	const struct hop_count *shown[SHOWN];

	turn_day(c, now);
	buf_puts(json, "\"tls\": {");
	for (int k = 0; k < TLS_KIND_COUNT; k++)
		buf_printf(json, "\"%s\": {\"ok\": %u, \"failed\": %u}, ", tls_kind_name((enum tls_kind)k),
		    c->sums[k].ok, failures(&c->sums[k]));
	buf_puts(json, "\"failing\": [");
	size_t n = worst(c, shown);
	for (size_t i = 0; i < n; i++)
		buf_printf(json,
		    "%s{\"domain\": \"%s\", \"policy\": \"%s\", \"ok\": %u, \"failed\": %u, \"mostly\": \"%s\"}",
		    i > 0 ? ", " : "", shown[i]->domain, tls_kind_name(shown[i]->kind), shown[i]->tally.ok,
		    failures(&shown[i]->tally), tls_result_name(most(&shown[i]->tally)));
	buf_puts(json, "]}");
}

/* Keeping ----------------------------------------------------------------------------------------------------- */

static void tally_put(struct buf *b, const struct tally *t)
{
	buf_put_u32(b, t->ok);
	for (int i = TLS_RESULT_OK + 1; i < TLS_RESULT_COUNT; i++)
		buf_put_u32(b, t->failed[i]);
}

static void tally_get(struct cursor *c, struct tally *t)
{
	t->ok = cursor_u32(c);
	for (int i = TLS_RESULT_OK + 1; i < TLS_RESULT_COUNT; i++)
		t->failed[i] = cursor_u32(c);
}

/* Those with failures, or the others. */
static void hops_put(const struct tls_count *c, bool failing, struct buf *b)
{
	const struct hop_count *h;

	for (size_t i = 0; i < BUCKETS; i++) {
		LIST_FOREACH(h, &c->buckets[i], bucket)
		{
			if ((failures(&h->tally) > 0) != failing || strlen(h->domain) > PACKED_NAME_MAX)
				continue;
			if (b->len + PACKED_HOP_MAX > b->max)
				return;
			buf_put_str(b, h->domain);
			buf_put_u8(b, (uint8_t)h->kind);
			tally_put(b, &h->tally);
		}
	}
}

void tls_count_pack(const struct tls_count *c, struct buf *b)
{
	buf_put_u64(b, (uint64_t)c->day);
	for (int k = 0; k < TLS_KIND_COUNT; k++)
		tally_put(b, &c->sums[k]);
	hops_put(c, true, b);
	hops_put(c, false, b);
}

bool tls_count_unpack(struct tls_count *c, struct view bytes)
{
	struct cursor in = cursor_of(bytes.ptr, bytes.len);
	char domain[PACKED_NAME_MAX + 1];
	bool good = true;

	clear(c, false);
	c->day = (int64_t)cursor_u64(&in);
	for (int k = 0; k < TLS_KIND_COUNT; k++)
		tally_get(&in, &c->sums[k]);
	while (good && in.left > 0 && !in.bad) {
		struct tally t = { 0 };
		cursor_str(&in, domain, sizeof(domain));
		uint8_t kind = cursor_u8(&in);
		tally_get(&in, &t);
		good = !in.bad && kind < TLS_KIND_COUNT;
		struct hop_count *h = good ? find(c, domain, (enum tls_kind)kind) : NULL;
		if (h != NULL)
			h->tally = t;
	}
	if (good && cursor_done(&in))
		return true;
	clear(c, false);
	c->day = 0;
	return false;
}
