/* throttle.h: six bounded tables of digests. */
#include "mailsvc/auth/throttle.h"

#include <stdlib.h>
#include <string.h>

#define COUNTS_MAX 65536
#define KNOWN_MAX 131072

struct throttle {
	uint8_t key[DIGEST_LEN];
	struct table *sources, *accounts, *pairs; /* count: failures in the window that ends at expires */
	struct table *known;                      /* pairs that logged in */
	struct table *wrong;                      /* passwords that were wrong */
	struct table *offences;                   /* passwords that a source tried in vain */
};

struct throttle *throttle_new(const uint8_t key[DIGEST_LEN])
{
	struct throttle *t = xcalloc(1, sizeof(*t));

	memcpy(t->key, key, DIGEST_LEN);
	t->sources = table_new(COUNTS_MAX);
	t->accounts = table_new(COUNTS_MAX);
	t->pairs = table_new(COUNTS_MAX);
	t->known = table_new(KNOWN_MAX);
	t->wrong = table_new(COUNTS_MAX);
	t->offences = table_new(COUNTS_MAX);
	return t;
}

void throttle_free(struct throttle *t)
{
	if (t == NULL)
		return;
	table_free(t->sources);
	table_free(t->accounts);
	table_free(t->pairs);
	table_free(t->known);
	table_free(t->wrong);
	table_free(t->offences);
	free(t);
}

struct names {
	struct digest source, account, pair;
};

static struct names names_of(const struct throttle *t, const struct source *source, const char *account)
{
	struct view parts[2] = { { (const char *)source->key, source->length }, view_of(account) };

	return (struct names){ .source = digest_of(t->key, "source", parts, 1),
		.account = digest_of(t->key, "account", parts + 1, 1),
		.pair = digest_of(t->key, "pair", parts, 2) };
}

static uint32_t failures(struct table *table, const struct digest *key, int64_t now)
{
	const struct table_entry *entry = table_get(table, key, now);

	return entry != NULL ? entry->count : 0;
}

enum throttle_answer throttle_ask(
    struct throttle *t, const struct source *source, const char *account, unsigned limit, int64_t now)
{
	struct names n = names_of(t, source, account);

	if (table_get(t->known, &n.pair, now) != NULL)
		return failures(t->pairs, &n.pair, now) < limit ? THROTTLE_GO_KNOWN : THROTTLE_STOP;
	if (failures(t->accounts, &n.account, now) >= limit)
		return THROTTLE_STOP;
	if (!source->loopback && failures(t->sources, &n.source, now) >= limit)
		return THROTTLE_STOP;
	return THROTTLE_GO;
}

static void count(struct table *table, const struct digest *key, int64_t now)
{
	table_put(table, key, now, now + THROTTLE_WINDOW)->count++;
}

void throttle_failed(
    struct throttle *t, const struct source *source, const char *account, const struct digest *wrong, int64_t now)
{
	struct names n = names_of(t, source, account);
	bool again = table_get(t->wrong, wrong, now) != NULL;

	table_put(t->wrong, wrong, now, now)->expires =
	    now + THROTTLE_WINDOW; /* as long as it is tried, and a window more */
	if (again)
		return;
	count(t->sources, &n.source, now);
	count(t->accounts, &n.account, now);
	count(t->pairs, &n.pair, now);
}

bool throttle_offends(struct throttle *t, const struct source *source, const struct digest *wrong, int64_t now)
{
	struct view parts[2] = { { (const char *)source->key, source->length },
		{ (const char *)wrong->bytes, DIGEST_LEN } };
	struct digest offence = digest_of(t->key, "offence", parts, 2);
	bool again = table_get(t->offences, &offence, now) != NULL;

	table_put(t->offences, &offence, now, now)->expires = now + THROTTLE_WINDOW;
	return !again;
}

void throttle_succeeded(struct throttle *t, const struct source *source, const char *account, int64_t now)
{
	struct names n = names_of(t, source, account);

	table_put(t->known, &n.pair, now, now)->expires = now + THROTTLE_KNOWN;
}

bool throttle_was_wrong(struct throttle *t, const struct digest *wrong, int64_t now)
{
	return table_get(t->wrong, wrong, now) != NULL;
}
