/*
 * Cross-checks of names: who serves the zones, secondaries, signing, rollover, and what a domain publishes.  Nothing
 * here opens a file.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "index.h"
#include "lib/text.h"
#include "prefix.h"

/* ---- who serves the zones */

static void check_server(const struct site *site, struct findings *f)
{
	const struct {
		const char *path, *what;
		bool on;
	} needs[] = { { "dns.sign", "nobody would sign the zones", site->dns.sign },
		{ "dns.secondaries", "nobody would notify them", site->dns.secondaries.count > 0 },
		{ "dns.local_resolver", "there would be no resolver", site->dns.local_resolver } };
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		struct site_origin at = check_origin(site, needs[i].path);
		if (needs[i].on && strcmp(site->dns.server, "none") == 0)
			findings_add(f, false, &at, "%s with dns.server = \"none\": %s; use \"bind\", or remove it",
			    needs[i].path, needs[i].what);
	}
}

static void check_zone_dir(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "dns.zone_dir");
	const char *dir = site->dns.zone_dir;
	if (!at.line)
		return;
	if (check_inside("/", dir))
		findings_add(f, false, &at, "dns.zone_dir must not be /; give the zones a folder of their own");
	else if (check_inside(site->dir, dir))
		findings_add(f, false, &at,
		    "dns.zone_dir is the site's own folder, or above it; give the zones a folder of their own");
	else if (check_inside(site->state_dir, dir))
		findings_add(f, false, &at,
		    "dns.zone_dir is state_dir, or above it, which named must not read; give the zones a folder of "
		    "their "
		    "own");
}

static void check_secondaries(const struct site *site, struct findings *f)
{
	const struct strings *list = &site->dns.secondaries;
	struct site_origin at = check_origin(site, "dns.secondaries");
	check_twice(list, "dns.secondaries", &at, f);
	for (size_t i = 0; i < list->count; i++) {
		const char *a = list->at[i];
		if (strchr(a, '/'))
			findings_add(f, false, &at,
			    "dns.secondaries holds the prefix %s, which cannot be notified; name single addresses "
			    "(dns.transfer takes prefixes)",
			    a);
		else if (strcmp(a, site->host.ipv4) == 0 || strcmp(a, site->host.ipv6) == 0 ||
			 strcmp(a, site->host.public_ipv4) == 0 || strcmp(a, site->host.public_ipv6) == 0)
			findings_add(f, false, &at,
			    "dns.secondaries holds %s, which is this host; name the other name servers", a);
	}
	if (list->count && site->dns.nameservers.count < 2)
		findings_add(f, true, &at,
		    "dns.secondaries are notified, but the zones name no server beside this host; add them to "
		    "dns.nameservers");
}

static void check_transfer(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "dns.transfer"), key = check_origin(site, "dns.tsig_key");
	unsigned char bytes[16];
	struct prefix p;
	check_twice(&site->dns.transfer, "dns.transfer", &at, f);
	for (size_t i = 0; i < site->dns.transfer.count; i++)
		if (!site->dns.tsig_key[0] && prefix_parse(site->dns.transfer.at[i], &p) == 0 && p.length == 0)
			findings_add(f, true, &at,
			    "dns.transfer lets everyone copy the zones; name the secondaries' addresses, or a "
			    "dns.tsig_key");
	if (site->dns.tsig_key[0] && !site->dns.transfer.count && !site->dns.secondaries.count)
		findings_add(f, true, &key,
		    "dns.tsig_key has no use, since nobody transfers the zones; add dns.secondaries, or remove it");
	const char *names[] = { "dns.tsig_key", site->dns.tsig_key, "dns.caa", site->dns.caa };
	for (size_t i = 0; i < 4; i += 2) {
		at = check_origin(site, names[i]);
		if (inet_pton(AF_INET, names[i + 1], bytes) == 1 || inet_pton(AF_INET6, names[i + 1], bytes) == 1)
			findings_add(f, false, &at, "%s = \"%s\" is an address; use a name", names[i], names[i + 1]);
	}
}

/* Does a record of the domain begin with this name, relative or whole? */
static bool has_record(const struct site_domain *d, const char *name)
{
	size_t whole = strlen(name), zone = strlen(d->name), relative = whole > zone ? whole - zone - 1 : 0;
	for (size_t i = 0; i < d->records.count; i++) {
		const char *line = d->records.at[i];
		struct view owner = { line, strcspn(line, " \t") };
		if (owner.len > 1 && owner.ptr[owner.len - 1] == '.')
			owner.len--;
		if (view_caseeq(owner, name) || (!relative && view_eq(owner, "@")) ||
		    (relative && owner.len == relative && strncasecmp(owner.ptr, name, relative) == 0))
			return true;
	}
	return false;
}

static bool is_this_host(const struct site *site, const char *name)
{
	const struct site_domain *d = site_zone_of(site, name);
	return strcmp(name, site->host.name) == 0 || (d && d->dns && !has_record(d, name));
}

static void check_nameservers(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "dns.nameservers");
	check_twice(&site->dns.nameservers, "dns.nameservers", &at, f);
	at = check_origin(site, "dns.forward");
	check_twice(&site->dns.forward, "dns.forward", &at, f);
	at = check_origin(site, "dns.block_lists");
	check_twice(&site->dns.block_lists, "dns.block_lists", &at, f);
}

/* A message may wait for relay.expire after it was signed, and its key's record is cached for a TTL, on both ends. */
static void check_rollover(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "dns.rollover");
	uint64_t least = site->relay.expire + 2 * site->dns.ttl;
	char text[24];
	text_format_duration(least, text);
	if (site->dns.rollover && site->dns.rollover < least)
		findings_add(f, false, &at,
		    "dns.rollover is shorter than relay.expire and twice dns.ttl, so that mail could arrive after its "
		    "key is gone; use at least \"%s\"",
		    text);
}

/* ---- what a domain publishes */

static void check_reports(const struct site *site, const struct site_domain *d, struct findings *f)
{
	const char *domain = d->reports ? strrchr(d->reports, '@') + 1 : NULL;
	struct hop hop;
	if (!domain)
		return;
	if (!site_is_local_domain(site, domain)) {
		findings_add(f, true, &d->origin,
		    "reports about %s go to %s, which counts only when %s publishes the TXT record "
		    "%s._report._dmarc.%s \"v=DMARC1\"; see that it does",
		    d->name, d->reports, domain, d->name, domain);
		return;
	}
	const struct site_domain *local = site_find_domain(site, domain);
	route_hop(site, d->reports, &hop);
	if (hop.kind == HOP_UNKNOWN || (local && !local->mail))
		findings_add(f, false, &d->origin,
		    "reports about %s go to %s, who is nobody here; name an account or an alias", d->name, d->reports);
}

static void check_sts(const struct site *site, const struct site_domain *d, struct findings *f)
{
	if (!d->mta_sts || strcmp(d->mta_sts, "none") == 0)
		return;
	if (!d->mail)
		findings_add(f, false, &d->origin,
		    "%s has mta_sts = \"%s\" and mail = false, but the policy is about receiving mail; remove one of "
		    "them",
		    d->name, d->mta_sts);
	else if (strcmp(d->mta_sts, "enforce") == 0 && !site->tls.certificate[0])
		findings_add(f, true, &d->origin,
		    "%s has mta_sts = \"enforce\", but the certificate is self-signed, so that others would not send; "
		    "name tls.certificate, or use \"testing\"",
		    d->name);
}

/* The two keys are two records and two files. */
static void check_selectors(const struct site_domain *d, struct findings *f)
{
	if (d->dkim_selector && d->dkim_ed25519 && strcmp(d->dkim_selector, d->dkim_ed25519) == 0)
		findings_add(f, false, &d->origin,
		    "domain %s has one DKIM selector for two keys; let dkim_selector and dkim_ed25519 differ", d->name);
}

static void check_published(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		if (!d->name)
			continue;
		check_reports(site, d, f);
		check_sts(site, d, f);
		check_selectors(d, f);
	}
}

void check_dns(const struct site *site, struct findings *f)
{
	check_server(site, f);
	check_zone_dir(site, f);
	check_secondaries(site, f);
	check_transfer(site, f);
	check_nameservers(site, f);
	check_rollover(site, f);
	check_published(site, f);
}

void check_dns_advice(const struct site *site, struct findings *f)
{
	const struct strings *list = &site->dns.nameservers;
	struct site_origin at = check_origin(site, "dns.nameservers");
	size_t here = 0, mail = 0;
	for (size_t i = 0; i < list->count; i++)
		here += is_this_host(site, list->at[i]);
	if (list->count == 1)
		findings_add(f, true, &at, "dns.nameservers names one server; most registries want two: add another");
	else if (list->count && here == list->count)
		findings_add(f, true, &at,
		    "dns.nameservers are all this host, so that no name is found while it is down; name one elsewhere, "
		    "or give its address in the domain's records");
	for (size_t i = 0; i < site->domain_count; i++)
		mail += site->domains[i].mail;
	at = check_origin(site, mail ? "listen.smtp" : "domains");
	if (!mail)
		findings_add(f, true, &at, "no domain has mail, so that the host receives none; remove a mail = false");
	else if (!site->listen.on[SERVICE_SMTP])
		findings_add(f, true, &at,
		    "listen.smtp is off, so that the MX records lead to nobody; switch it on, or set mail = false");
}
