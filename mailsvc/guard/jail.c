/*
 * jail.h: one hash table of sources (keyed, so that nobody chooses a bucket), each on one of three lists by what it
 * is now: watched, known, banned.
 */
#include "mailsvc/guard/jail.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#define BUCKETS 65536
#define ESCALATION 4

enum list { WATCHED, KNOWN, BANNED, LISTS };

struct entry {
	struct entry *next; /* of its bucket */
	TAILQ_ENTRY(entry) link;
	enum list list;
	struct guard_source who;
	uint32_t offences, times;
	int64_t window;       /* began then */
	int64_t known;        /* logged in: until then */
	int64_t since, until; /* of the last ban; 0: none */
	char *why;
};
TAILQ_HEAD(entries, entry);

struct family {
	int64_t minute;
	unsigned in_minute;
	size_t banned;
};

struct jail {
	uint64_t seed;
	struct entry *buckets[BUCKETS];
	struct entries lists[LISTS];
	size_t counts[LISTS];
	struct family families[2];
	unsigned after;
	uint64_t time, max;
};

const char *offence_text(enum offence o)
{
	static const char *const texts[OFFENCE_COUNT] = { "failed logins", "relay attempts", "too many errors",
		"spoke before the greeting" };

	return texts[o];
}

bool jail_why_good(const char *s)
{
	bool good = *s != '\0';

	for (; *s != '\0'; s++)
		good = good && (unsigned char)*s >= ' ' && *s != 0x7f;
	return good;
}

struct jail *jail_new(void)
{
	struct jail *j = xcalloc(1, sizeof(*j));

	if (getrandom(&j->seed, sizeof(j->seed), 0) != sizeof(j->seed))
		fatal("getrandom");
	for (int i = 0; i < LISTS; i++)
		TAILQ_INIT(&j->lists[i]);
	jail_rules(j, 10, 600, 7 * 86400);
	return j;
}

void jail_rules(struct jail *j, unsigned after, uint64_t time, uint64_t max)
{
	j->after = after > 0 ? after : 1;
	j->time = time;
	j->max = max;
}

static struct family *family_of(struct jail *j, const struct guard_source *s)
{
	return &j->families[s->family == 6];
}

static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
	return h ^ h >> 33;
}

static struct entry **bucket_of(const struct jail *j, const struct guard_source *s)
{
	uint64_t key;

	memcpy(&key, s->address, sizeof(key)); /* what is behind it is zero */
	return (struct entry **)(uintptr_t)&j->buckets[mix(mix(key ^ j->seed) + s->family + j->seed) % BUCKETS];
}

static struct entry *find(const struct jail *j, const struct guard_source *s)
{
	for (struct entry *e = *bucket_of(j, s); e != NULL; e = e->next) {
		if (guard_source_eq(&e->who, s))
			return e;
	}
	return NULL;
}

static void leave_list(struct jail *j, struct entry *e)
{
	TAILQ_REMOVE(&j->lists[e->list], e, link);
	j->counts[e->list]--;
	if (e->list == BANNED)
		family_of(j, &e->who)->banned--;
}

static void drop(struct jail *j, struct entry *e)
{
	struct entry **at = bucket_of(j, &e->who);

	leave_list(j, e);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	free(e->why);
	free(e);
}

static void enter_list(struct jail *j, struct entry *e, enum list list)
{
	e->list = list;
	TAILQ_INSERT_TAIL(&j->lists[list], e, link);
	j->counts[list]++;
	if (list == BANNED)
		family_of(j, &e->who)->banned++;
	else if (j->counts[list] > JAIL_WATCHED)
		drop(j, TAILQ_FIRST(&j->lists[list]));
}

/* To the list where it belongs now, as the one that was used last. */
static void place(struct jail *j, struct entry *e, int64_t now)
{
	leave_list(j, e);
	enter_list(j, e, e->until > now ? BANNED : e->known > now ? KNOWN : WATCHED);
}

static struct entry *make(struct jail *j, const struct guard_source *s)
{
	struct entry *e = find(j, s), **bucket;

	if (e != NULL)
		return e;
	e = xcalloc(1, sizeof(*e));
	e->who = *s;
	bucket = bucket_of(j, s);
	e->next = *bucket;
	*bucket = e;
	enter_list(j, e, WATCHED);
	return e;
}

void jail_free(struct jail *j)
{
	if (j == NULL)
		return;
	for (int i = 0; i < LISTS; i++) {
		while (!TAILQ_EMPTY(&j->lists[i]))
			drop(j, TAILQ_FIRST(&j->lists[i]));
	}
	free(j);
}

/* The bans in a row that still count. */
static uint32_t remembered(const struct entry *e, int64_t now)
{
	int64_t step = e->until - e->since > JAIL_FORGET ? e->until - e->since : JAIL_FORGET;
	int64_t gone = now > e->until ? (now - e->until) / step : 0;

	return gone >= (int64_t)e->times ? 0 : e->times - (uint32_t)gone;
}

static uint64_t length_of(const struct jail *j, uint32_t times)
{
	uint64_t seconds = j->time;

	while (--times > 0 && seconds < j->max)
		seconds *= ESCALATION;
	return seconds < j->max ? seconds : j->max;
}

static void describe(const struct entry *e, struct jail_ban *out)
{
	*out = (struct jail_ban){ .who = e->who, .since = e->since, .until = e->until, .times = e->times };
	view_copy(view_of(e->why), out->why, sizeof(out->why));
}

static void set_why(struct entry *e, const char *why)
{
	free(e->why);
	e->why = xstrdup(why);
}

static void ban(struct jail *j, struct entry *e, uint64_t seconds, const char *why, int64_t now, struct jail_ban *out)
{
	e->times = remembered(e, now) + 1;
	if (e->times > JAIL_TIMES_MAX)
		e->times = JAIL_TIMES_MAX;
	if (seconds == 0)
		seconds = length_of(j, e->times);
	if (seconds > JAIL_LONGEST)
		seconds = JAIL_LONGEST;
	e->since = now;
	e->until = now + (int64_t)seconds;
	e->offences = 0;
	set_why(e, why);
	place(j, e, now);
	describe(e, out);
}

/* Counts a ban that offences bring, if there may be one. */
static bool within_caps(struct family *f, int64_t now)
{
	if (f->minute != now / 60) {
		f->minute = now / 60;
		f->in_minute = 0;
	}
	if (f->banned >= JAIL_AUTOMATIC || f->in_minute >= JAIL_RATE)
		return false;
	f->in_minute++;
	return true;
}

enum jail_answer jail_offence(
    struct jail *j, const struct guard_source *who, enum offence what, int64_t now, struct jail_ban *out)
{
	struct entry *e;

	if (who->family == 0)
		return JAIL_SPARED;
	e = make(j, who);
	if (e->until > now)
		return JAIL_ALREADY;
	if (e->offences == 0 || now - e->window >= JAIL_WINDOW || now < e->window) {
		e->window = now;
		e->offences = 0;
	}
	if (e->offences < j->after)
		e->offences++;
	place(j, e, now);
	if (e->offences < j->after)
		return JAIL_COUNTED;
	if (e->known > now)
		return JAIL_SPARED;
	if (!within_caps(family_of(j, who), now))
		return JAIL_CAPPED;
	ban(j, e, 0, offence_text(what), now, out);
	return JAIL_BANNED;
}

void jail_login(struct jail *j, const struct guard_source *who, int64_t now)
{
	struct entry *e;

	if (who->family == 0)
		return;
	e = make(j, who);
	e->known = now + JAIL_KNOWN;
	place(j, e, now);
}

int jail_ban(struct jail *j, const struct guard_source *who, uint64_t seconds, const char *why, int64_t now,
    struct jail_ban *out, struct error *e)
{
	struct entry *entry = find(j, who);

	if (who->family == 0)
		return error_set(e, "this machine itself cannot be banned");
	if ((entry == NULL || entry->list != BANNED) && family_of(j, who)->banned >= FW_BANS_MAX)
		return error_set(
		    e, "there are %d bans already, which is all that the firewall's set holds", FW_BANS_MAX);
	ban(j, make(j, who), seconds, why, now, out);
	return 0;
}

int jail_put(struct jail *j, const struct jail_ban *b, int64_t now)
{
	struct entry *e = find(j, &b->who);

	if (b->who.family == 0 || (e != NULL && e->times > 0) || family_of(j, &b->who)->banned >= FW_BANS_MAX)
		return -1;
	e = make(j, &b->who);
	e->until = b->until > now + JAIL_LONGEST ? now + JAIL_LONGEST : b->until;
	e->since = b->since < e->until ? b->since : e->until;
	e->times = b->times;
	set_why(e, b->why);
	place(j, e, now);
	return 0;
}

int jail_resume(struct jail *j, const struct jail_ban *b, int64_t now)
{
	struct jail_ban found = *b;
	struct entry *e = find(j, &b->who);

	if (e != NULL && e->until > now)
		return -1;
	if (e != NULL) {
		found.times = remembered(e, now) + 1;
		if (found.times > JAIL_TIMES_MAX)
			found.times = JAIL_TIMES_MAX;
		e->times = 0;
	}
	return jail_put(j, &found, now);
}

bool jail_unban(struct jail *j, const struct guard_source *who, int64_t now)
{
	struct entry *e = find(j, who);
	bool was = e != NULL && e->until > now;

	if (e == NULL)
		return false;
	if (e->known <= now) {
		drop(j, e);
		return was;
	}
	e->offences = e->times = 0; /* that somebody logged in from there is no past to forget */
	e->since = e->until = 0;
	place(j, e, now);
	return was;
}

bool jail_find(const struct jail *j, const struct guard_source *who, int64_t now, struct jail_ban *out)
{
	const struct entry *e = find(j, who);

	if (e == NULL || e->until <= now)
		return false;
	describe(e, out);
	return true;
}

size_t jail_expire(struct jail *j, int64_t now)
{
	struct entry *e, *next;
	size_t n = 0;

	for (e = TAILQ_FIRST(&j->lists[BANNED]); e != NULL; e = next) {
		next = TAILQ_NEXT(e, link);
		if (e->until > now)
			continue;
		place(j, e, now);
		n++;
	}
	return n;
}

void jail_each(const struct jail *j, bool past, int64_t now, void (*fn)(const struct jail_ban *, void *), void *arg)
{
	for (int i = 0; i < LISTS; i++) {
		const struct entry *e;

		TAILQ_FOREACH(e, &j->lists[i], link)
		{
			struct jail_ban b;

			if (e->times == 0 || (e->until <= now && (!past || remembered(e, now) == 0)))
				continue;
			describe(e, &b);
			fn(&b, arg);
		}
	}
}

size_t jail_count(const struct jail *j)
{
	return j->counts[BANNED];
}

size_t jail_watched(const struct jail *j)
{
	return j->counts[WATCHED] + j->counts[KNOWN];
}
