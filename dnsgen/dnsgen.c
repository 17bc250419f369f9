/*
 * The zones of a site: for each domain its SOA, NS, delegations, own records and what content.c publishes; for each
 * public address its reverse name.
 */
#include "dnsgen/dnsgen.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/content.h"

/*
 * The NS records of a zone: the site's name servers, or ns1 in it.  A name server whose address should stand in `home`
 * (the domain that z publishes; NULL: none) and does not is this host.
 */
static int add_name_servers(
    const struct gen *g, struct zone *z, const char *zone, const struct site_domain *home, struct error *e)
{
	const struct strings *given = &g->site->dns.nameservers;
	const struct site_domain *at = home;
	char *own = xasprintf("ns1.%s", zone);
	char *const *names = given->count ? given->at : &own;
	size_t count = given->count ? given->count : 1;
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = zone_add(z, g->ttl, e, "%s. NS %s.", zone, names[i]);
		if (given->count)
			at = domain_of(g->site, names[i], NULL);
		if (result == 0 && home != NULL && at == home && !zone_has_address(z, names[i]))
			result = add_addresses(g, z, names[i], e);
	}
	free(own);
	return result;
}

/* Each domain answers postmaster@; the mail of an address's reverse zone goes to the host's. */
static int add_authority(
    const struct gen *g, struct zone *z, uint32_t serial, const struct site_domain *d, struct error *e)
{
	const struct site *s = g->site;
	char *own = d == NULL ? xstrdup(s->host.name) : xasprintf("ns1.%s", d->name);
	int result = zone_add(z, g->ttl, e, "@ SOA %s. postmaster.%s. %u 14400 3600 1209600 3600",
	    s->dns.nameservers.count ? s->dns.nameservers.at[0] : own, d == NULL ? s->host.name : d->name, serial);
	if (result == 0 && (d != NULL || s->dns.nameservers.count))
		result = add_name_servers(g, z, z->name, d, e);
	else if (result == 0)
		result = zone_add(z, g->ttl, e, "@ NS %s.", own);
	free(own);
	return result;
}

/* Domains of the site below this one are zones of their own, which it has to delegate. */
static int add_delegations(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	for (size_t i = 0; i < g->site->domain_count; i++)
		if (g->parent[i] == d && g->site->domains[i].dns &&
		    add_name_servers(g, z, g->site->domains[i].name, d, e) == -1)
			return -1;
	return 0;
}

static int build_domain(
    const struct gen *g, struct zone *z, const struct site_domain *d, uint32_t serial, struct error *e)
{
	for (size_t i = 0; i < d->records.count; i++) /* first: some of ours look at what is there */
		if (zone_add_line(z, g->ttl, e, d->records.at[i]) == -1)
			return -1;
	if (d->dns && (add_authority(g, z, serial, d, e) == -1 || add_delegations(g, z, d, e) == -1))
		return -1;
	if (add_mail(g, z, d, e) == -1)
		return -1;
	if (g->site->dns.caa[0] && zone_add(z, g->ttl, e, "@ CAA 0 issue \"%s\"", g->site->dns.caa) == -1)
		return -1;
	return zone_finish(z, e);
}

/* The reverse name of one address is a zone of its own, which the provider can delegate. */
static int build_reverse(const struct gen *g, struct zone *z, uint32_t serial, struct error *e)
{
	if (add_authority(g, z, serial, NULL, e) == -1 || zone_add(z, g->ttl, e, "@ PTR %s.", g->site->host.name) == -1)
		return -1;
	return zone_finish(z, e);
}

static char *reverse_name(const char *address)
{
	unsigned char a[16];
	if (inet_pton(AF_INET, address, a) == 1)
		return xasprintf("%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
	if (inet_pton(AF_INET6, address, a) != 1)
		return NULL;
	struct buf name = BUF_INIT(80);
	for (int i = 15; i >= 0; i--)
		buf_printf(&name, "%x.%x.", a[i] & 15u, a[i] >> 4);
	buf_puts(&name, "ip6.arpa");
	char *result = xstrdup(buf_str(&name));
	buf_free(&name);
	return result;
}

static void gen_init(struct gen *g, const struct site *s, char *tlsa[2])
{
	*g = (struct gen){ .site = s, .ttl = (uint32_t)s->dns.ttl, .tlsa = tlsa, .tlsa_count = tlsa_digests(s, tlsa) };
	dkim_folder_read(s, &g->dkim);
	g->parent = xcalloc(s->domain_count + 1, sizeof(struct site_domain *));
	g->reports = xcalloc(s->domain_count + 1, sizeof(struct site_domain *));
	for (size_t i = 0; i < s->domain_count; i++) {
		const char *to = reports_domain(&s->domains[i]);
		g->parent[i] = domain_of(s, s->domains[i].name, &s->domains[i]);
		g->reports[i] = to[0] ? domain_of(s, to, NULL) : NULL;
	}
}

static void gen_clear(struct gen *g, char *tlsa[2])
{
	for (size_t i = 0; i < g->tlsa_count; i++)
		free(tlsa[i]);
	dkim_folder_free(&g->dkim);
	free(g->parent);
	free(g->reports);
}

/* All domains whose dns is as asked for. */
static int build_domains(const struct gen *g, bool dns, uint32_t serial, struct zones *out, struct findings *f)
{
	struct error e = { "" };
	for (size_t i = 0; i < g->site->domain_count; i++) {
		const struct site_domain *d = &g->site->domains[i];
		if (d->dns != dns)
			continue;
		struct zone *z = &out->at[out->count++];
		if (zone_init(z, d->name) == -1)
			error_set(&e, "%s is no domain name", d->name);
		z->sign = dns && g->site->dns.sign;
		if (z->origin && build_domain(g, z, d, serial, &e) == 0)
			continue;
		findings_add(f, false, &d->origin, "%s", e.text);
		return -1;
	}
	return 0;
}

static int build_reverses(const struct gen *g, uint32_t serial, struct zones *out, struct findings *f)
{
	const char *addresses[2] = { public4(g->site), public6(g->site) };
	struct error e = { "" };
	for (int i = 0; i < 2; i++) {
		char *name = addresses[i][0] ? reverse_name(addresses[i]) : NULL;
		if (name == NULL)
			continue;
		struct zone *z = &out->at[out->count++];
		int result =
		    zone_init(z, name) == -1 ? error_set(&e, "%s is no name", name) : build_reverse(g, z, serial, &e);
		z->sign = g->site->dns.sign;
		free(name);
		if (result == -1) {
			findings_add(f, false, &(struct site_origin){ g->site->path, 0 }, "%s", e.text);
			return -1;
		}
	}
	return 0;
}

int dnsgen_zones(const struct site *s, uint32_t serial, struct zones *out, struct findings *f)
{
	struct gen g;
	char *tlsa[2];
	*out = (struct zones){ xcalloc(s->domain_count + 2, sizeof(*out->at)), 0 };
	gen_init(&g, s, tlsa);
	int result = build_domains(&g, true, serial, out, f);
	if (result == 0)
		result = build_reverses(&g, serial, out, f);
	gen_clear(&g, tlsa);
	return result;
}

int dnsgen_elsewhere(const struct site *s, struct zones *out, struct findings *f)
{
	struct gen g;
	char *tlsa[2];
	*out = (struct zones){ xcalloc(s->domain_count + 1, sizeof(*out->at)), 0 };
	gen_init(&g, s, tlsa);
	size_t count = g.tlsa_count;
	g.tlsa_count = 0; /* whether that zone is signed is not ours to know */
	int result = build_domains(&g, false, 0, out, f);
	g.tlsa_count = count;
	gen_clear(&g, tlsa);
	return result;
}
