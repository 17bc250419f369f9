/*
 * rollover_dkim.h.  The public halves in SITE_DIR/dkim are what dnsgen publishes (DOMAIN.SELECTOR.pub, and .revoked
 * with an empty p=: RFC 6376 3.6.1); STATE/keys/active says which one signs and which other one keys has at hand.  Only
 * what is idempotent happens here: see rollover.h.
 */
#include "dnsgen/rollover_dkim.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dnsgen/dnsgen.h"
#include "dnsgen/txttags.h"
#include "lib/proc.h"
#include "site/route.h"

#define PEM_MAX 65536

static const char *const kinds[DKIM_ALGORITHMS + 1] = { "dkim", "dkim-ed25519", NULL };

bool rollover_dkim_is(const struct rollover_item *i)
{
	return strcmp(i->kind, kinds[DKIM_RSA]) == 0 || strcmp(i->kind, kinds[DKIM_ED25519]) == 0;
}

enum dkim_algorithm rollover_dkim_algorithm(const struct rollover_item *i)
{
	return strcmp(i->kind, kinds[DKIM_ED25519]) == 0 ? DKIM_ED25519 : DKIM_RSA;
}

static char *revoked_path(const struct site *s, const char *domain, const char *selector)
{
	return xasprintf("%s/dkim/%s.%s.revoked", s->dir, domain, selector);
}

/* Takes the path. Gone already is fine. */
static int remove_file(char *path, struct error *e)
{
	int r = unlink(path) == -1 && errno != ENOENT ? error_errno(e, "%s: cannot be removed", path) : 0;
	free(path);
	return r;
}

/* What a killed process left beside a file that it was about to replace: PATH.XXXXXX. */
static int remove_leftovers(const char *path, struct error *e)
{
	glob_t found = { 0 };
	char *pattern = xasprintf("%s.??????", path);
	int r = 0;
	if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc && r == 0; i++)
			r = remove_file(xstrdup(found.gl_pathv[i]), e);
	globfree(&found);
	free(pattern);
	return r;
}

/* All that is left of a selector. */
static int remove_selector(const struct site *s, const char *domain, const char *selector, struct error *e)
{
	char *files[] = { dkim_private_file(s, domain, selector), dkim_public_file(s, domain, selector),
		revoked_path(s, domain, selector) };
	int r = 0;
	for (size_t i = 0; i < 3; i++) {
		if (r == 0 && (r = remove_leftovers(files[i], e)) == 0)
			r = remove_file(xstrdup(files[i]), e);
		free(files[i]);
	}
	return r;
}

static int revoke_current(
    const struct site *s, const struct site_domain *d, const struct rollover_item *i, struct error *e)
{
	char *path = revoked_path(s, d->name, i->current);
	int r = file_write_atomic(path, VIEW_LIT("revoked\n"), 0644, e);
	free(path);
	if (r == -1 || remove_file(dkim_public_file(s, d->name, i->current), e) == -1 ||
	    dkim_active_set(s, d, rollover_dkim_algorithm(i), i->next, "", e) == -1)
		return -1;
	return remove_file(dkim_private_file(s, d->name, i->current), e);
}

static int dkim_enter(void *arg, const struct rollover_item *i, struct error *e)
{
	const struct rollover_dkim *k = arg;
	const struct site_domain *d = site_find_domain(k->site, i->subject);
	enum dkim_algorithm a = rollover_dkim_algorithm(i);
	if (d == NULL)
		return error_set(e, "%s is no domain of the site any more", i->subject);
	switch (i->stage) {
	case ROLLOVER_PUBLISHED:
		if (dkim_key_ensure(k->site, d->name, a, i->next, e) == -1)
			return -1;
		return dkim_active_set(k->site, d, a, i->current, i->next, e);
	case ROLLOVER_ACTIVE:
		return dkim_active_set(k->site, d, a, i->next, i->current, e);
	case ROLLOVER_REVOKED:
		return revoke_current(k->site, d, i, e);
	case ROLLOVER_REMOVED:
		return remove_selector(k->site, d->name, i->current, e);
	default:
		return 0;
	}
}

static int dkim_commit(void *arg, struct error *e)
{
	const struct rollover_dkim *k = arg;
	return k->push(k->arg, e) == -1 ? -1 : k->reload(k->arg, e);
}

/* The TXT value of a selector whose public half is there. */
static int wanted_value(
    const struct site *s, const char *domain, const char *selector, struct buf *out, struct error *e)
{
	char *path = dkim_public_file(s, domain, selector);
	struct buf pem = BUF_INIT(PEM_MAX);
	int r = file_read(path, pem.max, &pem, e) == -1 ? -1 : dkim_txt(buf_view(&pem), out, e);
	buf_free(&pem);
	free(path);
	return r;
}

static bool answer_has(const struct lookup_answer *a, const char *name, struct view want)
{
	ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_TXT, NULL);
	struct buf text = BUF_INIT(65536);
	bool found = false;
	for (size_t i = 0; i < ldns_rr_list_rr_count(records) && !found; i++) {
		buf_reset(&text);
		lookup_txt(ldns_rr_list_rr(records, i), &text);
		found = txt_same_key(buf_view(&text), want);
	}
	ldns_rr_list_free(records);
	buf_free(&text);
	return found;
}

/* 1: has it; 0: answers without it; -1: none of its addresses answers. */
static int server_has(struct lookup *l, const struct authority *at, const char *name, struct view want, struct buf *why)
{
	int result = -1;
	const char *reason = "has no address";
	for (size_t i = 0; i < at->addresses.count; i++) {
		const struct lookup_answer *a = lookup(l, at->addresses.at[i], name, LDNS_RR_TYPE_TXT);
		if (!lookup_answered(a)) {
			reason = a->why;
		} else if (!answer_has(a, name, want)) {
			buf_printf(why, "%s (%s) does not answer with %s yet", at->name, at->addresses.at[i], name);
			return 0;
		} else {
			result = 1; /* that another address, perhaps IPv6, cannot be reached from here is no matter */
		}
	}
	if (result == -1)
		buf_printf(why, "%s cannot be asked for %s: %s", at->name, name, reason);
	return result;
}

/* The name of the record that item waits for. */
static char *record_name(const struct rollover_item *i)
{
	return xasprintf("%s._domainkey.%s", i->next, i->subject);
}

static int dkim_visible(void *arg, const struct rollover_item *i, struct buf *why)
{
	const struct rollover_dkim *k = arg;
	struct buf want = BUF_INIT(PEM_MAX);
	struct delegation d;
	struct error e;
	int result = 1;
	if (wanted_value(k->site, i->subject, i->next, &want, &e) == -1) {
		buf_puts(why, e.text);
		buf_free(&want);
		return -1;
	}
	char *name = record_name(i);
	char *zone = lookup_zone_of(k->lookup, i->subject, why);
	if (zone != NULL) {
		delegation_find(k->lookup, zone, &d);
		for (size_t n = 0; n < d.count && result == 1; n++)
			result = server_has(k->lookup, &d.at[n], name, buf_view(&want), why);
		if (d.count == 0)
			buf_printf(why, "no name servers of %s were found", zone);
		result = d.count == 0 ? -1 : result;
		delegation_free(&d);
	} else {
		result = -1;
	}
	free(zone);
	free(name);
	buf_free(&want);
	return result;
}

static bool waits_for_servers(const struct rollover_item *i)
{
	return rollover_dkim_is(i) && (i->stage == ROLLOVER_PUBLISHED || i->stage == ROLLOVER_VISIBLE);
}

/* The zones of all domains whose items wait, each once; malloc'd. */
static char **waiting_zones(struct lookup *l, const struct rollover *r, size_t *count)
{
	struct lookup_question *q = xcalloc(r->count + 1, sizeof(*q));
	char **zones = xcalloc(r->count + 1, sizeof(*zones));
	size_t n = 0;
	for (size_t i = 0; i < r->count; i++)
		if (waits_for_servers(&r->at[i]))
			q[n++] = (struct lookup_question){ NULL, r->at[i].subject, LDNS_RR_TYPE_SOA };
	lookup_prefetch(l, q, n);
	*count = 0;
	for (size_t i = 0; i < n; i++) {
		struct buf why = BUF_INIT(1024);
		char *zone = lookup_zone_of(l, q[i].name, &why);
		if (zone != NULL)
			zones[(*count)++] = zone;
		buf_free(&why);
	}
	free(q);
	return zones;
}

/* The record at every server of its zone.  What is only about to be published is not asked for yet: answers are kept. */
static void prefetch_record(struct lookup *l, const struct rollover_item *i, struct lookup_question **q, size_t *count,
    struct delegation *d)
{
	struct buf why = BUF_INIT(1024);
	char *zone = i->done ? lookup_zone_of(l, i->subject, &why) : NULL;
	*d = (struct delegation){ 0 };
	if (zone != NULL)
		delegation_find(l, zone, d);
	for (size_t n = 0; n < d->count; n++) {
		const struct strings *addresses = &d->at[n].addresses;
		*q = xreallocarray(*q, *count + addresses->count + 1, sizeof(**q));
		for (size_t k = 0; k < addresses->count; k++)
			(*q)[(*count)++] = (struct lookup_question){ addresses->at[k], record_name(i), LDNS_RR_TYPE_TXT };
	}
	free(zone);
	buf_free(&why);
}

void rollover_dkim_prefetch(const struct rollover_dkim *k, const struct rollover *r)
{
	size_t zone_count, count = 0;
	char **zones = waiting_zones(k->lookup, r, &zone_count);
	struct delegation *delegations = xcalloc(r->count + 1, sizeof(*delegations));
	struct lookup_question *q = NULL;
	delegations_prefetch(k->lookup, zones, zone_count);
	for (size_t i = 0; i < r->count; i++)
		if (waits_for_servers(&r->at[i]))
			prefetch_record(k->lookup, &r->at[i], &q, &count, &delegations[i]);
	lookup_prefetch(k->lookup, q, count);
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)q[i].name);
	for (size_t i = 0; i < r->count; i++)
		delegation_free(&delegations[i]);
	for (size_t i = 0; i < zone_count; i++)
		free(zones[i]);
	free(zones);
	free(delegations);
	free(q);
}

struct rollover_kind rollover_dkim_kind(struct rollover_dkim *k)
{
	/* A signature has to verify until its mail is delivered, or bounces. */
	return (struct rollover_kind){ .names = kinds,
		.arg = k,
		.enter = dkim_enter,
		.commit = dkim_commit,
		.visible = dkim_visible,
		.ttl = k->site->dns.ttl,
		.retention = k->site->relay.expire + k->site->dns.ttl,
		.revoked = ROLLOVER_REVOKED_S };
}

/* Is the table's idea of what signs still true? */
static bool is_current(const struct rollover_item *i, const char *active)
{
	bool old = strcmp(active, i->current) == 0, new = strcmp(active, i->next) == 0;
	if (i->stage == ROLLOVER_ACTIVE && !i->done)
		return old || new;
	return i->stage < ROLLOVER_ACTIVE ? old : new;
}

static int drop_overtaken(
    const struct site *s, const struct dkim_active *active, struct rollover *r, rollover_tell *tell, void *arg)
{
	int dropped = 0;
	for (size_t n = r->count; n > 0; n--) {
		struct rollover_item *i = &r->at[n - 1];
		const struct site_domain *d = site_find_domain(s, i->subject);
		enum dkim_algorithm a = rollover_dkim_algorithm(i);
		const char *why = NULL;
		if (!rollover_dkim_is(i))
			continue;
		if (d == NULL)
			why = "given up: it is no domain of the site any more";
		else if (dkim_selector_of(d, a)[0] == '\0')
			why = "given up: the site wants no such key any more; its files stay in dkim/ until you remove "
			      "them";
		else if (!is_current(i, dkim_active_selector(active, d, a)))
			why = "given up: the site names another selector, which signs now; the files of the "
			      "others stay in dkim/ until you remove them";
		if (why == NULL)
			continue;
		tell(arg, i, ROLLOVER_FAILED, why);
		rollover_drop(r, i);
		dropped++;
	}
	return dropped;
}

/* An item for the key that signs; for an Ed25519 key that none signs yet one that takes it so far. */
static int add_item(const struct site *s, const struct dkim_active *active, const struct site_domain *d,
    enum dkim_algorithm a, struct rollover *r)
{
	const char *selector = dkim_active_selector(active, d, a);
	char *key = dkim_private_file(s, d->name, selector);
	struct rollover_item *i = NULL;
	struct stat st;
	bool first = selector[0] == '\0' && dkim_selector_of(d, a)[0] != '\0', there = stat(key, &st) == 0;
	free(key);
	if (!first && !there)
		return 0;
	if ((i = rollover_add(r, kinds[a], d->name, selector, first ? 0 : (int64_t)st.st_mtim.tv_sec)) == NULL)
		return -1;
	if (first)
		rollover_start(i, dkim_selector_of(d, a));
	return 0;
}

int rollover_dkim_sync(const struct site *s, struct rollover *r, rollover_tell *tell, void *arg, struct error *e)
{
	struct dkim_active active;
	if (dkim_active_load(s, &active, e) == -1)
		return -1;
	int result = drop_overtaken(s, &active, r, tell, arg);
	for (size_t n = 0; n < s->domain_count; n++) {
		const struct site_domain *d = &s->domains[n];
		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS && d->mail && result >= 0; a++)
			if (rollover_find(r, kinds[a], d->name) == NULL && add_item(s, &active, d, a, r) == -1)
				result = error_set(e, "there are more than %d rollovers", ROLLOVER_ITEMS_MAX);
	}
	dkim_active_free(&active);
	return result;
}

/* By files, or by what the other algorithm's key of the domain will be. */
static bool is_taken(const struct site *s, struct rollover *r, const char *domain, const char *selector)
{
	char *files[] = { dkim_private_file(s, domain, selector), dkim_public_file(s, domain, selector),
		revoked_path(s, domain, selector) };
	bool taken = false;
	for (size_t a = 0; a < DKIM_ALGORITHMS; a++) {
		const struct rollover_item *i = rollover_find(r, kinds[a], domain);
		taken = taken || (i && strcmp(i->next, selector) == 0);
	}
	for (size_t i = 0; i < 3; i++) {
		taken = taken || access(files[i], F_OK) == 0;
		free(files[i]);
	}
	return taken;
}

char *rollover_dkim_next(const struct site *s, struct rollover *r, const struct rollover_item *i, int64_t now)
{
	const struct site_domain *d = site_find_domain(s, i->subject);
	const char *base = d ? dkim_selector_of(d, rollover_dkim_algorithm(i)) : NULL;
	time_t when = (time_t)now;
	struct tm day;
	char date[16];
	char *name;
	if (d == NULL || gmtime_r(&when, &day) == NULL || strftime(date, sizeof(date), "%Y%m%d", &day) == 0)
		return NULL;
	/* A label has 63 bytes: room for "-20261124-99". */
	name = xasprintf("%.*s-%s", DKIM_SELECTOR_MAX - 12, base, date);
	for (int more = 2; more < 100 && is_taken(s, r, d->name, name); more++) {
		free(name);
		name = xasprintf("%.*s-%s-%d", DKIM_SELECTOR_MAX - 12, base, date, more);
	}
	return name;
}

void rollover_dkim_record(const struct site *s, const struct rollover_item *i, struct buf *out)
{
	struct buf value = BUF_INIT(PEM_MAX);
	struct error e;
	const char *selector = i->stage == ROLLOVER_REVOKED ? i->current : i->next;
	if (i->stage == ROLLOVER_REVOKED)
		buf_puts(&value, "v=DKIM1; p=");
	else if ((i->stage != ROLLOVER_PUBLISHED && i->stage != ROLLOVER_VISIBLE) ||
		 wanted_value(s, i->subject, i->next, &value, &e) == -1)
		buf_reset(&value);
	if (value.len > 0) {
		buf_printf(out, "%s._domainkey.%s. %llu IN TXT ", selector, i->subject, (unsigned long long)s->dns.ttl);
		txt_quoted(buf_view(&value), out);
	}
	buf_free(&value);
}
