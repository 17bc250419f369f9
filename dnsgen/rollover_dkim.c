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
#include "mailsvc/monitor/dkimkeys.h"
#include "site/route.h"

#define PEM_MAX 65536

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
	    dkim_active_set(s, d, i->next, "", e) == -1)
		return -1;
	return remove_file(dkim_private_file(s, d->name, i->current), e);
}

static int dkim_enter(void *arg, const struct rollover_item *i, struct error *e)
{
	const struct rollover_dkim *k = arg;
	const struct site_domain *d = site_find_domain(k->site, i->subject);
	if (d == NULL)
		return error_set(e, "%s is no domain of the site any more", i->subject);
	switch (i->stage) {
	case ROLLOVER_PUBLISHED:
		if (dkim_key_ensure(k->site, d->name, i->next, e) == -1)
			return -1;
		return dkim_active_set(k->site, d, i->current, i->next, e);
	case ROLLOVER_ACTIVE:
		return dkim_active_set(k->site, d, i->next, i->current, e);
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
	char *name = xasprintf("%s._domainkey.%s", i->next, i->subject);
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

struct rollover_kind rollover_dkim_kind(struct rollover_dkim *k)
{
	/* A signature has to verify until its mail is delivered, or bounces. */
	return (struct rollover_kind){ .name = "dkim",
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
		const struct dkim_selectors *now = d ? dkim_active_find(active, d) : NULL;
		if (strcmp(i->kind, "dkim") != 0)
			continue;
		if (d == NULL) {
			tell(arg, i, ROLLOVER_FAILED, "given up: it is no domain of the site any more");
			rollover_drop(r, i);
			dropped++;
		} else if (!is_current(i, now ? now->active : d->dkim_selector)) {
			tell(arg, i, ROLLOVER_FAILED,
			    "given up: the site names another selector, which signs now; the files of the "
			    "others stay in dkim/ until you remove them");
			rollover_drop(r, i);
			dropped++;
		}
	}
	return dropped;
}

int rollover_dkim_sync(const struct site *s, struct rollover *r, rollover_tell *tell, void *arg, struct error *e)
{
	struct dkim_active active;
	if (dkim_active_load(s, &active, e) == -1)
		return -1;
	int result = drop_overtaken(s, &active, r, tell, arg);
	for (size_t n = 0; n < s->domain_count && result >= 0; n++) {
		const struct site_domain *d = &s->domains[n];
		const struct dkim_selectors *now = dkim_active_find(&active, d);
		const char *selector = now ? now->active : d->dkim_selector;
		char *key = dkim_private_file(s, d->name, selector);
		struct stat st;
		if (d->mail && rollover_find(r, "dkim", d->name) == NULL && stat(key, &st) == 0 &&
		    rollover_add(r, "dkim", d->name, selector, (int64_t)st.st_mtim.tv_sec) == NULL)
			result = error_set(e, "there are more than %d rollovers", ROLLOVER_ITEMS_MAX);
		free(key);
	}
	dkim_active_free(&active);
	return result;
}

static bool is_taken(const struct site *s, const char *domain, const char *selector)
{
	char *files[] = { dkim_private_file(s, domain, selector), dkim_public_file(s, domain, selector),
		revoked_path(s, domain, selector) };
	bool taken = false;
	for (size_t i = 0; i < 3; i++) {
		taken = taken || access(files[i], F_OK) == 0;
		free(files[i]);
	}
	return taken;
}

char *rollover_dkim_next(const struct site *s, const struct rollover_item *i, int64_t now)
{
	const struct site_domain *d = site_find_domain(s, i->subject);
	time_t when = (time_t)now;
	struct tm day;
	char date[16];
	char *name;
	if (d == NULL || gmtime_r(&when, &day) == NULL || strftime(date, sizeof(date), "%Y%m%d", &day) == 0)
		return NULL;
	/* A label has 63 bytes: room for "-20261124-99". */
	name = xasprintf("%.*s-%s", DKIM_SELECTOR_MAX - 12, d->dkim_selector, date);
	for (int more = 2; more < 100 && is_taken(s, d->name, name); more++) {
		free(name);
		name = xasprintf("%.*s-%s-%d", DKIM_SELECTOR_MAX - 12, d->dkim_selector, date, more);
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
