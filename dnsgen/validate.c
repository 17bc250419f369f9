/*
 * What named-checkzone does not find, or not across zones: MX, NS and SRV targets that are a CNAME or have no address
 * in our zones, aliases that lead nowhere in them, names with two SPF records, SPF records that forget this host,
 * larger record sets than named takes, TTLs that differ in a set (RFC 2181 5.2), are 0 or above a week, and DMARC
 * reports that another domain has to allow (RFC 7489 7.1).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/content.h"
#include "dnsgen/record.h"
#include "mailsvc/policy/spf_record.h"
#include "site/route.h"

#define SET_MAX 100 /* named's max-records-per-type */
#define TTL_MAX 604800

struct check {
	const struct site *site;
	const struct zone **zones; /* by origin */
	size_t zone_count;
	const struct zone *zone;
	struct findings *f;
	struct site_origin at;
};

static int by_origin(const void *a, const void *b)
{
	const struct zone *const *x = a, *const *y = b;
	return ldns_dname_compare((*x)->origin, (*y)->origin);
}

/* The innermost zone that holds name. */
static const struct zone *zone_by_name(const struct check *c, const ldns_rdf *name)
{
	unsigned char *data = ldns_rdf_data(name);
	size_t size = ldns_rdf_size(name);
	for (size_t at = 0; at < size; at += data[at] + 1u) {
		ldns_rdf up = { ._size = size - at, ._type = LDNS_RDF_TYPE_DNAME, ._data = data + at };
		const struct zone probe = { .origin = &up }, *key = &probe;
		const struct zone **found = bsearch(&key, c->zones, c->zone_count, sizeof(*c->zones), by_origin);
		if (found != NULL)
			return *found;
	}
	return NULL;
}

static bool has(const struct zone *z, const ldns_rdf *name, ldns_rr_type type)
{
	size_t first, count = zone_find(z, name, &first);
	for (size_t i = 0; i < count; i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(z->records, first + i)) == type)
			return true;
	return false;
}

/* A wildcard or a delegation above it may answer: then it is not ours to judge. */
static bool answered_above(const struct zone *z, const ldns_rdf *name)
{
	ldns_rdf *at = ldns_rdf_clone(name);
	bool found = false;
	while (!found && at && ldns_rdf_size(at) > ldns_rdf_size(z->origin)) {
		ldns_rdf *up = ldns_dname_left_chop(at), *star = up ? ldns_dname_new_frm_str("*") : NULL;
		found = has(z, at, LDNS_RR_TYPE_NS);
		if (star && ldns_dname_cat(star, up) == LDNS_STATUS_OK)
			found = found || has(z, star, LDNS_RR_TYPE_A) || has(z, star, LDNS_RR_TYPE_AAAA) ||
			        has(z, star, LDNS_RR_TYPE_CNAME);
		ldns_rdf_deep_free(star);
		ldns_rdf_deep_free(at);
		at = up;
	}
	ldns_rdf_deep_free(at);
	return found;
}

static void check_target(struct check *c, const ldns_rr *rr, const ldns_rdf *target)
{
	const struct zone *z = ldns_rdf_size(target) > 1 ? zone_by_name(c, target) : NULL;
	if (z == NULL || has(z, target, LDNS_RR_TYPE_A) || has(z, target, LDNS_RR_TYPE_AAAA))
		return;
	bool alias = has(z, target, LDNS_RR_TYPE_CNAME);
	if (!alias && answered_above(z, target))
		return;
	char *name = ldns_rdf2str(target), *type = ldns_rr_type2str(ldns_rr_get_type(rr));
	if (alias)
		findings_add(c->f, false, &c->at,
		    "zone %s: the target %s of an %s record is a CNAME (RFC 2181 10.3); name where it leads",
		    c->zone->name, name, type);
	else
		findings_add(c->f, false, &c->at,
		    "zone %s: the target %s of an %s record has no address in zone %s; add one to its records",
		    c->zone->name, name, type, z->name);
	free(name);
	free(type);
}

/* An alias into our zones has to lead to a name that is there. */
static void check_alias(struct check *c, const ldns_rr *rr)
{
	const ldns_rdf *target = ldns_rr_rdf(rr, 0);
	const struct zone *z = ldns_rdf_size(target) > 1 ? zone_by_name(c, target) : NULL;
	size_t first;
	if (z == NULL || zone_find(z, target, &first) > 0 || answered_above(z, target))
		return;
	char *owner = ldns_rdf2str(ldns_rr_owner(rr)), *name = ldns_rdf2str(target);
	findings_add(c->f, false, &c->at,
	    "zone %s: the CNAME %s leads to %s, which is not in zone %s; add it to its records", c->zone->name, owner,
	    name, z->name);
	free(owner);
	free(name);
}

/* The strings of a TXT record as one; malloc'd. */
static char *txt_text(const ldns_rr *rr)
{
	struct buf text = BUF_INIT(65536);
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++)
		buf_add(&text, ldns_rdf_data(ldns_rr_rdf(rr, i)) + 1, ldns_rdf_size(ldns_rr_rdf(rr, i)) - 1);
	char *copy = xstrdup(buf_str(&text));
	buf_free(&text);
	return copy;
}

static bool is_spf(const ldns_rr *rr)
{
	if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_TXT)
		return false;
	char *text = txt_text(rr);
	bool is = spf_record_is(view_of(text));
	free(text);
	return is;
}

/* RFC 7208 4.6.4: terms that need a look-up; what an include needs in turn is not known here. */
static unsigned spf_lookups(const struct spf_record *r)
{
	unsigned count = r->redirect.ptr != NULL;
	for (size_t i = 0; i < r->count; i++)
		count += spf_term_looks_up(&r->terms[i]);
	return count;
}

/* Does the record of its own literal addresses leave out one that sends?  What needs a look-up is not judged. */
static bool spf_leaves_out(const struct spf_record *r, const char *address)
{
	struct policy_address sends = { .family = strchr(address, ':') ? AF_INET6 : AF_INET };
	if (spf_lookups(r) > 0 || inet_pton(sends.family, address, sends.bytes) != 1)
		return false;
	for (size_t i = 0; i < r->count; i++) {
		const struct spf_term *t = &r->terms[i];
		if (t->kind == SPF_ALL && t->qualifier == SPF_PASS)
			return false;
		if (t->qualifier == SPF_PASS && t->network.family == sends.family &&
		    policy_address_in(&sends, t->network.bytes, t->kind == SPF_IP4 ? t->bits4 : t->bits6))
			return false;
	}
	return true;
}

/* At the name of a domain that sends from here. */
static bool spf_forgets_us(const struct check *c, const ldns_rr *rr, const struct spf_record *r)
{
	const struct site_domain *d = site_find_domain(c->site, c->zone->name);
	return d != NULL && d->mail && c->site->relay.smarthost[0] == '\0' &&
	       name_equal(ldns_rr_owner(rr), c->zone->origin) &&
	       (spf_leaves_out(r, public4(c->site)) || spf_leaves_out(r, public6(c->site)));
}

/* What is wrong with an SPF record (the text says it, written to out when it is more than a phrase), or NULL. */
static const char *spf_fault(const struct check *c, const ldns_rr *rr, bool *warning, char out[256])
{
	struct spf_record r;
	char problem[160], *text = txt_text(rr);
	const char *what = NULL;
	if (spf_record_parse(view_of(text), &r, problem) == -1) {
		snprintf(out, 256, "has an SPF record that is an error to receivers (%s); correct it", problem);
		what = out;
	} else if (spf_lookups(&r) > SPF_LOOKUPS_MAX) {
		what =
		    "has an SPF record with more than 10 look-ups, which receivers refuse (RFC 7208 4.6.4); shorten it";
	} else if (spf_forgets_us(c, rr, &r)) {
		*warning = true;
		what = "has an SPF record without an address that this host sends from, so that its mail is refused; "
		       "add it, or take the record out of the domain's records";
	}
	spf_record_free(&r);
	free(text);
	return what;
}

/* RFC 7505 3: "MX 0 ." is alone or not at all. */
static bool is_null_mx(const ldns_rr *rr)
{
	return ldns_rr_get_type(rr) == LDNS_RR_TYPE_MX && ldns_rdf_size(ldns_rr_rdf(rr, 1)) == 1;
}

/*
 * What is wrong with a record beside the one before it of the same name and type (NULL: it is the first), the same-th
 * of them and the spf-th SPF record; text is room for the answer.
 */
static const char *set_fault(const struct check *c, const ldns_rr *rr, const ldns_rr *last, size_t same, size_t spf,
    bool *warning, char text[256])
{
	const char *what;
	*warning = false;
	if (same == SET_MAX + 1)
		return "has more than 100 records of one type, which named refuses; split them";
	if (is_spf(rr) && spf == 2)
		return "has two SPF records, which is an error to receivers (RFC 7208 4.5); remove one";
	if (is_spf(rr) && (what = spf_fault(c, rr, warning, text)) != NULL)
		return what;
	if (last && (is_null_mx(rr) || is_null_mx(last)))
		return "has a null MX (\"MX 0 .\") beside another MX (RFC 7505 3); remove one of them";
	*warning = true;
	if (last && ldns_rr_ttl(rr) != ldns_rr_ttl(last))
		return "has records of one type with different TTLs (RFC 2181 5.2); give them one";
	if (same == 1 && ldns_rr_ttl(rr) == 0)
		return "has a TTL of 0, so that nobody may keep the answer; give it at least 60";
	if (same == 1 && ldns_rr_ttl(rr) > TTL_MAX)
		return "has a TTL of more than a week, for which a mistake would last; shorten it";
	return NULL;
}

static void check_sets(struct check *c)
{
	size_t same = 0, spf = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(c->zone->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(c->zone->records, i),
			      *last = i ? ldns_rr_list_rr(c->zone->records, i - 1) : NULL;
		bool together = last && ldns_rr_get_type(rr) == ldns_rr_get_type(last) &&
		                name_equal(ldns_rr_owner(rr), ldns_rr_owner(last));
		char text[256];
		bool warning;
		same = together ? same + 1 : 1;
		spf = (together ? spf : 0) + is_spf(rr);
		const char *what = set_fault(c, rr, together ? last : NULL, same, spf, &warning, text);
		if (what == NULL)
			continue;
		char *owner = ldns_rdf2str(ldns_rr_owner(rr));
		findings_add(c->f, warning, &c->at, "zone %s: %s %s", c->zone->name, owner, what);
		free(owner);
	}
}

static void check_zone(struct check *c)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(c->zone->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(c->zone->records, i);
		ldns_rr_type type = ldns_rr_get_type(rr);
		if (type == LDNS_RR_TYPE_CNAME)
			check_alias(c, rr);
		if (type == LDNS_RR_TYPE_NS && name_equal(ldns_rr_owner(rr), c->zone->origin))
			check_target(c, rr, ldns_rr_rdf(rr, 0));
		else if (type == LDNS_RR_TYPE_MX)
			check_target(c, rr, ldns_rr_rdf(rr, 1));
		else if (type == LDNS_RR_TYPE_SRV)
			check_target(c, rr, ldns_rr_rdf(rr, 3));
	}
	check_sets(c);
}

static void check_reports(const struct site *s, struct findings *f)
{
	for (size_t i = 0; i < s->domain_count; i++) {
		const struct site_domain *d = &s->domains[i];
		const char *to = reports_domain(d);
		if (to[0] && !domain_of(s, to, NULL) && !name_in(to, d->name) && !name_in(d->name, to))
			findings_add(f, true, &d->origin,
			    "%s: reports go to %s, which has to allow it (RFC 7489 7.1); enter in its zone: "
			    "%s._report._dmarc.%s. TXT \"v=DMARC1\"",
			    d->name, d->reports, d->name, to);
	}
}

int zones_validate(const struct site *s, const struct zones *zones, const struct zones *elsewhere, struct findings *f)
{
	const struct zones *lists[] = { zones, elsewhere };
	const struct zone **sorted = xcalloc(zones->count + 1, sizeof(*sorted));
	size_t errors = f->errors;
	for (size_t i = 0; i < zones->count; i++)
		sorted[i] = &zones->at[i];
	qsort(sorted, zones->count, sizeof(*sorted), by_origin);
	for (int l = 0; l < 2; l++) {
		for (size_t i = 0; lists[l] && i < lists[l]->count; i++) {
			const struct site_domain *d = site_find_domain(s, lists[l]->at[i].name);
			struct check c = { s, sorted, zones->count, &lists[l]->at[i], f,
				d ? d->origin : (struct site_origin){ s->path, 0 } };
			check_zone(&c);
		}
	}
	free(sorted);
	check_reports(s, f);
	return f->errors == errors ? 0 : -1;
}
