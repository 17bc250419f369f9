/* verify.h, what is asked of a zone as a whole: its delegation and servers, their serials, DNSSEC. */
#include <stdlib.h>
#include <string.h>

#include "dnsgen/verify_internal.h"

static bool in_list(const struct strings *s, const char *text)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->at[i], text) == 0)
			return true;
	return false;
}

static void put_name(struct buf *out, const char *name)
{
	buf_printf(out, "%s%s", out->len ? ", " : "", name);
}

/* Parent and zone name the same servers; the zone names those of the site. */
static bool check_names(struct verify *v, const struct verify_domain *vd)
{
	struct buf parent = BUF_INIT(8192), zone = BUF_INIT(8192), site = BUF_INIT(65536);
	bool differ = false, missing = false;
	for (size_t i = 0; i < vd->delegation.count; i++) {
		const struct authority *at = &vd->delegation.at[i];
		if (at->at_parent)
			put_name(&parent, at->name);
		if (at->in_zone)
			put_name(&zone, at->name);
		differ = differ || at->at_parent != at->in_zone;
	}
	for (size_t i = 0; vd->d->dns && i < ldns_rr_list_rr_count(vd->wanted->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(vd->wanted->records, i);
		bool there = false;
		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_NS ||
		    ldns_dname_compare(ldns_rr_owner(rr), vd->wanted->origin) != 0)
			continue;
		char *name = lookup_name(ldns_rr_rdf(rr, 0));
		for (size_t k = 0; k < vd->delegation.count; k++)
			there = there || (vd->delegation.at[k].in_zone && strcmp(vd->delegation.at[k].name, name) == 0);
		missing = missing || !there;
		put_name(&site, name);
		free(name);
	}
	bool right = false;
	if (zone.len == 0)
		check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name,
		    "let the servers serve the zone: mailadm dns push, and named must run",
		    "no server answers with its NS records");
	else if (missing)
		check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name, "publish the zone: mailadm dns push",
		    "the zone names %s; the site %s", buf_str(&zone), buf_str(&site));
	else if (differ)
		check_results_add(v->out, CHECK_WARNING, "delegation", vd->d->name,
		    "make the registrar's list and the zone's (dns.nameservers) the same", "%s names %s; the zone %s",
		    vd->delegation.parent, buf_str(&parent), buf_str(&zone));
	else
		right = true;
	buf_free(&parent);
	buf_free(&zone);
	buf_free(&site);
	return right;
}

/* The addresses that the parent gives are those that the server's name has. */
static bool check_glue(struct verify *v, const struct verify_domain *vd, const struct authority *at)
{
	struct buf wrong = BUF_INIT(8192);
	size_t len = strlen(at->name), zone = strlen(vd->zone);
	bool inside = len > zone && at->name[len - zone - 1] == '.' && strcmp(at->name + len - zone, vd->zone) == 0;
	bool right = true;
	for (size_t i = 0; i < at->glue.count; i++)
		if (!in_list(&at->addresses, at->glue.at[i]))
			put_name(&wrong, at->glue.at[i]);
	if (at->at_parent && inside && at->glue.count == 0) {
		check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name,
		    "enter the server's addresses (glue) where the domain is registered", "%s gives no address of %s",
		    vd->delegation.parent, at->name);
		right = false;
	} else if (wrong.len > 0) {
		check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name,
		    "correct the server's addresses (glue) where the domain is registered",
		    "%s says %s is %s, which it is not", vd->delegation.parent, at->name, buf_str(&wrong));
		right = false;
	}
	buf_free(&wrong);
	return right;
}

/* Each server answers for the zone, with authority, by at least one address. */
static bool check_server(struct verify *v, const struct verify_domain *vd, const struct authority *at)
{
	const char *reason = "it has no address";
	bool lame = false;
	for (size_t i = 0; i < at->addresses.count; i++) {
		const struct lookup_answer *a = lookup(v->lookup, at->addresses.at[i], vd->zone, LDNS_RR_TYPE_SOA);
		if (a->status == LOOKUP_OK && a->authoritative)
			return true;
		lame = lame || a->status != LOOKUP_TIMEOUT;
		reason = a->why[0] ? a->why : "it answers without authority";
	}
	check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name,
	    lame ? "let the server serve the zone (a secondary: allow-transfer, notify, TSIG), or take it out of the "
		   "NS records"
		 : "start the server and open port 53 (UDP and TCP), or take it out of the NS records",
	    "%s does not serve the zone: %s", at->name, reason);
	return false;
}

static void prefetch_servers(struct verify *v, const struct verify_domain *vd)
{
	struct lookup_question q[DELEGATION_MAX * 4];
	size_t count = 0;
	for (size_t i = 0; i < vd->delegation.count; i++)
		for (size_t k = 0; k < vd->delegation.at[i].addresses.count && count + 2 <= sizeof(q) / sizeof(q[0]);
		     k++) {
			const char *server = vd->delegation.at[i].addresses.at[k];
			q[count++] = (struct lookup_question){ server, vd->zone, LDNS_RR_TYPE_SOA };
			q[count++] = (struct lookup_question){ server, vd->zone, LDNS_RR_TYPE_DNSKEY };
		}
	lookup_prefetch(v->lookup, q, count);
}

void verify_delegation(struct verify *v, struct verify_domain *vd)
{
	const struct delegation *d = &vd->delegation;
	prefetch_servers(v, vd);
	if (!d->delegated && d->why[0]) {
		check_results_add(
		    v->out, CHECK_UNKNOWN, "delegation", vd->d->name, "ask again; check the resolver", "%s", d->why);
		return;
	}
	if (!d->delegated) {
		check_results_add(v->out, CHECK_WRONG, "delegation", vd->d->name,
		    "enter the name servers where the domain is registered", "%s does not delegate it", d->parent);
		return;
	}
	bool right = check_names(v, vd);
	for (size_t i = 0; i < d->count; i++) {
		bool glue = check_glue(v, vd, &d->at[i]), serves = check_server(v, vd, &d->at[i]);
		right = right && glue && serves;
	}
	if (right)
		check_results_add(v->out, CHECK_OK, "delegation", vd->d->name, "", "%zu server%s, as at %s", d->count,
		    d->count == 1 ? "" : "s", d->parent);
}

void verify_serial(struct verify *v, struct verify_domain *vd)
{
	struct buf seen = BUF_INIT(8192);
	uint32_t first = 0;
	size_t count = 0;
	bool differ = false;
	for (size_t i = 0; i < vd->delegation.count; i++) {
		const struct authority *at = &vd->delegation.at[i];
		for (size_t k = 0; k < at->addresses.count; k++) {
			const struct lookup_answer *a =
			    lookup(v->lookup, at->addresses.at[k], vd->zone, LDNS_RR_TYPE_SOA);
			ldns_rr_list *soa = lookup_records(a, vd->zone, LDNS_RR_TYPE_SOA, NULL);
			if (a->authoritative && ldns_rr_list_rr_count(soa) > 0 &&
			    ldns_rr_rd_count(ldns_rr_list_rr(soa, 0)) == 7) {
				uint32_t serial = ldns_rdf2native_int32(ldns_rr_rdf(ldns_rr_list_rr(soa, 0), 2));
				differ = differ || (count > 0 && serial != first);
				first = count++ == 0 ? serial : first;
				buf_printf(&seen, "%s%s (%s): %u", seen.len ? ", " : "", at->name, at->addresses.at[k],
				    serial);
			}
			ldns_rr_list_free(soa);
		}
	}
	if (count == 0)
		check_results_add(
		    v->out, CHECK_UNKNOWN, "serial", vd->d->name, "see the row delegation", "no server says");
	else if (differ)
		check_results_add(v->out, CHECK_WRONG, "serial", vd->d->name,
		    "wait a minute and ask again; if it stays so: the secondary must get notify and may transfer "
		    "(dns.secondaries, "
		    "dns.tsig_key)",
		    "the servers differ: %s", buf_str(&seen));
	else
		check_results_add(v->out, CHECK_OK, "serial", vd->d->name, "", "%u on %zu address%s", first, count,
		    count == 1 ? "" : "es");
	buf_free(&seen);
}

/* The DNSKEY records of the zone, by one of its own servers; NULL when none answers with authority. */
static ldns_rr_list *zone_keys(struct verify *v, const struct verify_domain *vd)
{
	for (size_t i = 0; i < vd->delegation.count; i++) {
		for (size_t k = 0; k < vd->delegation.at[i].addresses.count; k++) {
			const struct lookup_answer *a =
			    lookup(v->lookup, vd->delegation.at[i].addresses.at[k], vd->zone, LDNS_RR_TYPE_DNSKEY);
			if (lookup_answered(a) && a->authoritative)
				return lookup_records(a, vd->zone, LDNS_RR_TYPE_DNSKEY, NULL);
		}
	}
	return NULL;
}

static bool pair(const ldns_rr_list *ds, const ldns_rr_list *keys)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(ds); i++)
		for (size_t k = 0; k < ldns_rr_list_rr_count(keys); k++)
			if (ldns_rr_compare_ds(ldns_rr_list_rr(ds, i), ldns_rr_list_rr(keys, k)))
				return true;
	return false;
}

/* DS and DNSKEY fit: does the resolver agree? */
static void check_validation(struct verify *v, struct verify_domain *vd)
{
	const struct lookup_answer *soa = lookup(v->lookup, NULL, vd->zone, LDNS_RR_TYPE_SOA);
	vd->secure = soa->status == LOOKUP_OK && soa->validated;
	if (vd->secure)
		check_results_add(v->out, CHECK_OK, "dnssec", vd->d->name, "", "signed, and validated by the resolver");
	else if (!lookup(v->lookup, NULL, ".", LDNS_RR_TYPE_DNSKEY)->validated)
		check_results_add(v->out, CHECK_UNKNOWN, "dnssec", vd->d->name,
		    "ask a resolver that validates: dns.local_resolver, or dns.forward",
		    "the DS fits, but the resolver does not validate");
	else
		check_results_add(v->out, CHECK_WRONG, "dnssec", vd->d->name,
		    "look at the signatures: delv, or dnssec-verify; is the server's clock right?",
		    "the resolver does not validate the zone%s%s", soa->why[0] ? ": " : "", soa->why);
}

void verify_dnssec(struct verify *v, struct verify_domain *vd)
{
	const struct lookup_answer *a = lookup(v->lookup, NULL, vd->zone, LDNS_RR_TYPE_DS);
	ldns_rr_list *ds = lookup_records(a, vd->zone, LDNS_RR_TYPE_DS, NULL), *keys = zone_keys(v, vd);
	bool has_ds = ldns_rr_list_rr_count(ds) > 0, has_keys = ldns_rr_list_rr_count(keys) > 0;
	bool signs = vd->d->dns && v->site->dns.sign;
	const char *parent = vd->delegation.parent ? vd->delegation.parent : "the parent";
	if (!lookup_answered(a))
		check_results_add(
		    v->out, CHECK_UNKNOWN, "dnssec", vd->d->name, "ask again; check the resolver", "DS: %s", a->why);
	else if (keys == NULL && (has_ds || signs))
		check_results_add(v->out, CHECK_UNKNOWN, "dnssec", vd->d->name, "see the row delegation",
		    "no server of the zone answers for its keys");
	else if (has_ds && !has_keys)
		check_results_add(v->out, CHECK_WRONG, "dnssec", vd->d->name,
		    "sign the zone (dns.sign), or have the DS removed where the domain is registered",
		    "%s has a DS, but the zone is not signed: validating resolvers refuse all of it", parent);
	else if (has_ds && !pair(ds, keys))
		check_results_add(v->out, CHECK_WRONG, "dnssec", vd->d->name,
		    "enter the right DS where the domain is registered; mailadm dns ds prints it",
		    "no DS at %s fits a key of the zone: validating resolvers refuse all of it", parent);
	else if (has_ds)
		check_validation(v, vd);
	else if (signs && !has_keys)
		check_results_add(v->out, CHECK_WRONG, "dnssec", vd->d->name, "mailadm dns push; then see named's log",
		    "the site says dns.sign, but the servers answer without keys");
	else if (signs || has_keys)
		check_results_add(v->out, signs ? CHECK_WRONG : CHECK_WARNING, "dnssec", vd->d->name,
		    "enter the DS where the domain is registered; mailadm dns ds prints it",
		    "the zone is signed, but %s has no DS: nobody validates it", parent);
	else
		check_results_add(v->out, CHECK_OK, "dnssec", vd->d->name, "", "not signed");
	ldns_rr_list_free(ds);
	ldns_rr_list_free(keys);
}
