/*
 * verify.h: builds what the site wants published, asks for all of it at once, and then checks domain by domain from the
 * answers that are there; only what depends on an answer (servers of a zone, SPF includes) is asked one by one.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/verify_internal.h"
#include "site/route.h"

void verify_addresses(const struct site *s, const char *out[VERIFY_ADDRESSES])
{
	out[0] = s->host.public_ipv4[0] ? s->host.public_ipv4 : s->host.ipv4;
	out[1] = s->host.public_ipv6[0] ? s->host.public_ipv6 : s->host.ipv6;
}

bool verify_is_ours(const struct site *s, const char *address)
{
	const char *ours[VERIFY_ADDRESSES];
	unsigned char a[16], b[16];
	verify_addresses(s, ours);
	for (int i = 0; i < VERIFY_ADDRESSES; i++) {
		int family = i ? AF_INET6 : AF_INET;
		if (inet_pton(family, ours[i], a) == 1 && inet_pton(family, address, b) == 1 &&
		    memcmp(a, b, i ? 16 : 4) == 0)
			return true;
	}
	return false;
}

char *verify_reverse(const char *address, const char *under)
{
	unsigned char a[16];
	struct buf name = BUF_INIT(512);
	if (inet_pton(AF_INET, address, a) == 1)
		buf_printf(&name, "%u.%u.%u.%u.", a[3], a[2], a[1], a[0]);
	else if (inet_pton(AF_INET6, address, a) == 1)
		for (int i = 15; i >= 0; i--)
			buf_printf(&name, "%x.%x.", a[i] & 15u, a[i] >> 4);
	else
		return NULL;
	buf_puts(&name, under);
	char *result = xstrdup(buf_str(&name));
	buf_free(&name);
	return result;
}

char *verify_text(const ldns_rr *rr)
{
	char *line = ldns_rr2str(rr);
	struct buf out = BUF_INIT(65536 * 2);
	int field = 0;
	for (const char *p = line ? line : ""; *p && *p != '\n'; p++) {
		if (*p == '\t')
			field++;
		if (field != 1) /* the TTL */
			buf_addc(&out, *p == '\t' ? ' ' : *p);
	}
	char *text = xstrdup(buf_str(&out));
	free(line);
	buf_free(&out);
	return text;
}

bool verify_same(const ldns_rr *a, const ldns_rr *b)
{
	ldns_rr *x = ldns_rr_clone(a), *y = ldns_rr_clone(b);
	ldns_rr2canonical(x);
	ldns_rr2canonical(y);
	bool same = ldns_rr_compare(x, y) == 0;
	ldns_rr_free(x);
	ldns_rr_free(y);
	return same;
}

char *verify_remedy(const struct verify_domain *vd, const char *record)
{
	if (vd->d->dns)
		return xasprintf("publish it: mailadm dns push; it should be: %s", record);
	return xasprintf("enter it where the zone is kept: %s", record);
}

/* Questions, gathered before they are asked together. */
struct questions {
	struct lookup_question *at;
	size_t count;
};

static void ask_later(struct questions *q, char *name, ldns_rr_type type)
{
	if ((q->count & (q->count - 1)) == 0) /* grows by doubling */
		q->at = xreallocarray(q->at, q->count ? q->count * 2 : 1, sizeof(*q->at));
	q->at[q->count++] = (struct lookup_question){ NULL, name, type };
}

static void ask_all(struct lookup *l, struct questions *q)
{
	lookup_prefetch(l, q->at, q->count);
	for (size_t i = 0; i < q->count; i++)
		free((char *)(uintptr_t)q->at[i].name);
	free(q->at);
	*q = (struct questions){ 0 };
}

static void gather_zone(struct questions *q, const struct zone *z)
{
	static const ldns_rr_type types[] = { LDNS_RR_TYPE_SOA, LDNS_RR_TYPE_NS, LDNS_RR_TYPE_DS };
	const ldns_rr *last = NULL;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		ask_later(q, xstrdup(z->name), types[i]);
	for (size_t i = 0; i < ldns_rr_list_rr_count(z->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, i);
		if (last == NULL || ldns_rr_get_type(last) != ldns_rr_get_type(rr) ||
		    ldns_dname_compare(ldns_rr_owner(last), ldns_rr_owner(rr)) != 0)
			ask_later(q, lookup_name(ldns_rr_owner(rr)), ldns_rr_get_type(rr));
		last = rr;
	}
}

static void gather_host(struct questions *q, const struct site *s)
{
	const char *addresses[VERIFY_ADDRESSES];
	verify_addresses(s, addresses);
	ask_later(q, xstrdup(s->host.name), LDNS_RR_TYPE_A);
	ask_later(q, xstrdup(s->host.name), LDNS_RR_TYPE_AAAA);
	ask_later(q, xstrdup("."), LDNS_RR_TYPE_DNSKEY);
	for (size_t k = 0; k < s->dns.block_lists.count; k++) {
		ask_later(q, verify_reverse(VERIFY_LISTED, s->dns.block_lists.at[k]), LDNS_RR_TYPE_A);
		ask_later(q, verify_reverse(VERIFY_CLEAN, s->dns.block_lists.at[k]), LDNS_RR_TYPE_A);
	}
	for (int i = 0; i < VERIFY_ADDRESSES; i++) {
		char *name = verify_reverse(addresses[i], i ? "ip6.arpa" : "in-addr.arpa");
		if (name)
			ask_later(q, name, LDNS_RR_TYPE_PTR);
		for (size_t k = 0; name && k < s->dns.block_lists.count; k++)
			ask_later(q, verify_reverse(addresses[i], s->dns.block_lists.at[k]), LDNS_RR_TYPE_A);
	}
}

/* The zones as they are, or, for a domain that is kept elsewhere, as its zone would be if it were ours. */
static int wanted_zones(const struct site *s, const struct site_domain *elsewhere, struct zones *out, struct error *e)
{
	struct findings f = { 0 };
	struct site copy = *s;
	copy.domains = xcalloc(s->domain_count + 1, sizeof(*copy.domains));
	for (size_t i = 0; i < s->domain_count; i++) {
		copy.domains[i] = s->domains[i];
		if (elsewhere)
			copy.domains[i].dns = &s->domains[i] == elsewhere;
	}
	int r = dnsgen_zones(&copy, 1, out, &f);
	if (r == -1)
		error_set(e, "%s", f.count ? f.at[f.count - 1].text : "the zones cannot be made");
	free(copy.domains);
	findings_free(&f);
	return r;
}

static const struct zone *find_zone(const struct zones *zones, const char *name)
{
	for (size_t i = 0; i < zones->count; i++)
		if (strcmp(zones->at[i].name, name) == 0)
			return &zones->at[i];
	return NULL;
}

static void verify_domain(struct verify *v, const struct site_domain *d, const struct zone *wanted)
{
	struct verify_domain vd = { .d = d, .wanted = wanted };
	struct buf why = BUF_INIT(1024);
	vd.zone = d->dns ? xstrdup(d->name) : lookup_zone_of(v->lookup, d->name, &why);
	if (vd.zone == NULL) {
		check_results_add(v->out, CHECK_UNKNOWN, "delegation", d->name,
		    "check that the domain is registered, and that the resolver works", "%s", buf_str(&why));
	} else {
		delegation_find(v->lookup, vd.zone, &vd.delegation);
		verify_delegation(v, &vd);
		if (vd.delegation.delegated || vd.delegation.count > 0) {
			verify_serial(v, &vd);
			verify_dnssec(v, &vd);
		}
	}
	/* What nobody delegates has no records: one row says so. */
	if (vd.zone == NULL || vd.delegation.delegated || vd.delegation.why[0]) {
		verify_records(v, &vd);
		verify_sts_policy(v, &vd);
		verify_certificate(v, &vd);
	}
	delegation_free(&vd.delegation);
	free(vd.zone);
	buf_free(&why);
}

static int verify_elsewhere(struct verify *v, const struct site_domain *d, struct error *e)
{
	struct zones wanted;
	struct questions q = { 0 };
	int r = wanted_zones(v->site, d, &wanted, e);
	const struct zone *z = r == 0 ? find_zone(&wanted, d->name) : NULL;
	if (z) {
		gather_zone(&q, z);
		ask_all(v->lookup, &q);
		verify_domain(v, d, z);
	}
	zones_free(&wanted);
	return r;
}

static bool is_chosen(const char *name, const char *const *domains, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(domains[i], name) == 0)
			return true;
	return count == 0;
}

static void prefetch_delegations(struct verify *v, const struct zones *wanted, const char *const *domains, size_t count)
{
	char **names = xcalloc(wanted->count + 1, sizeof(*names));
	size_t n = 0;
	for (size_t i = 0; i < wanted->count; i++)
		if (is_chosen(wanted->at[i].name, domains, count) && site_find_domain(v->site, wanted->at[i].name))
			names[n++] = wanted->at[i].name;
	delegations_prefetch(v->lookup, names, n);
	free(names);
}

static int verify_domains(struct verify *v, const char *const *domains, size_t count, struct error *e)
{
	struct zones wanted;
	struct questions q = { 0 };
	int r = wanted_zones(v->site, NULL, &wanted, e);
	for (size_t i = 0; r == 0 && i < wanted.count; i++)
		if (is_chosen(wanted.at[i].name, domains, count) && site_find_domain(v->site, wanted.at[i].name))
			gather_zone(&q, &wanted.at[i]);
	gather_host(&q, v->site);
	ask_all(v->lookup, &q);
	prefetch_delegations(v, &wanted, domains, count);
	if (r == 0) {
		verify_host(v);
		verify_block_lists(v);
	}
	for (size_t i = 0; r == 0 && i < v->site->domain_count; i++) {
		const struct site_domain *d = &v->site->domains[i];
		const struct zone *z = find_zone(&wanted, d->name);
		if (!is_chosen(d->name, domains, count))
			continue;
		if (d->dns && z)
			verify_domain(v, d, z);
		else
			r = verify_elsewhere(v, d, e);
	}
	zones_free(&wanted);
	return r;
}

int dns_verify(const struct site *s, const char *const *domains, size_t count, unsigned timeout_s,
    struct check_results *out, struct error *e)
{
	struct verify v = { .site = s, .out = out };
	for (size_t i = 0; i < count; i++)
		if (site_find_domain(s, domains[i]) == NULL)
			return error_set(e, "%s is no domain of the site", domains[i]);
	if ((v.lookup = lookup_new(s, timeout_s, e)) == NULL)
		return -1;
	int r = verify_domains(&v, domains, count, e);
	lookup_free(v.lookup);
	return r;
}

int dns_verify_host(const struct site *s, unsigned timeout_s, struct check_results *out, struct error *e)
{
	struct verify v = { .site = s, .lookup = lookup_new(s, timeout_s, e), .out = out };
	struct questions q = { 0 };
	if (v.lookup == NULL)
		return -1;
	gather_host(&q, s);
	ask_all(v.lookup, &q);
	verify_host(&v);
	verify_block_lists(&v);
	lookup_free(v.lookup);
	return 0;
}
