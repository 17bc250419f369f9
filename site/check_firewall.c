/*
 * Cross-checks of the firewall: who is let in and out, bans, and tests that contradict the rest of the site.  Nothing
 * here opens a file.
 *
 * What a packet meets is decided by fwgen; here only what the site says plainly is compared, and where further rules
 * (include) or block lists may decide, nothing is said.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "prefix.h"

#define HOUSEHOLD 20 /* connections of a few people's mail programs behind one address */
#define FEW 10       /* that one mail program opens within a minute */

static bool is_tcp(const char *protocol)
{
	return strcmp(protocol, "tcp") == 0;
}

static bool same_strings(const struct strings *a, const struct strings *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->at[i], b->at[i]) != 0)
			return false;
	return true;
}

/* Does firewall.family let this IP family in and out at all? */
static bool family_open(const struct site *site, int family)
{
	const char *only = site->firewall.family;
	return strcmp(only, "both") == 0 || strcmp(only, family == AF_INET6 ? "ipv6" : "ipv4") == 0;
}

/* Are there prefixes, and all of a family that is shut? */
static bool all_shut(const struct site *site, const struct strings *prefixes)
{
	struct prefix p;
	for (size_t i = 0; i < prefixes->count; i++)
		if (prefix_parse(prefixes->at[i], &p) == 0 && family_open(site, p.family))
			return false;
	return prefixes->count > 0;
}

static bool holds_everything(const struct strings *prefixes)
{
	struct prefix p;
	for (size_t i = 0; i < prefixes->count; i++)
		if (prefix_parse(prefixes->at[i], &p) == 0 && p.length == 0)
			return true;
	return false;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void check_twice(const struct strings *list, const char *path, const struct site_origin *at, struct findings *f)
{
	char **sorted = xreallocarray(NULL, list->count + 1, sizeof(*sorted)); /* such lists can be long */
	for (size_t i = 0; i < list->count; i++)
		sorted[i] = list->at[i];
	qsort(sorted, list->count, sizeof(*sorted), by_text);
	for (size_t i = 1; i < list->count; i++)
		if (strcmp(sorted[i - 1], sorted[i]) == 0)
			findings_add(f, false, at, "%s names %s twice; remove one", path, sorted[i]);
	free(sorted);
}

/* ---- who may come in */

static void check_families(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "firewall.family");
	bool shut4 = site->host.ipv4[0] && !family_open(site, AF_INET);
	bool shut6 = site->host.ipv6[0] && !family_open(site, AF_INET6);
	const char *shut = shut4 ? site->host.ipv4 : site->host.ipv6, *other = shut4 ? "ipv6" : "ipv4";
	if (!shut4 && !shut6)
		return;
	if (!(shut4 ? site->host.ipv6 : site->host.ipv4)[0])
		findings_add(f, false, &at,
		    "firewall.family = \"%s\" shuts out %s, the host's only address; use \"both\", or add host.%s",
		    site->firewall.family, shut, other);
	else
		findings_add(f, true, &at,
		    "firewall.family = \"%s\" shuts out %s, which the zones still publish; use \"both\", or remove "
		    "that address from host",
		    site->firewall.family, shut);
}

static void check_admins(const struct site *site, struct findings *f)
{
	const struct strings *from = &site->firewall.admin_from;
	struct site_origin at = check_origin(site, "firewall.admin_from");
	check_twice(from, "firewall.admin_from", &at, f);
	if (holds_everything(from))
		findings_add(f, true, &at,
		    "firewall.admin_from holds every address, so that ssh is open to everyone; name where you "
		    "administer from");
	if (all_shut(site, from))
		findings_add(f, false, &at,
		    "firewall.admin_from names only addresses that firewall.family = \"%s\" shuts out, so that nobody "
		    "could administer; add one of that family",
		    site->firewall.family);
}

static void check_extra(const struct site *site, const struct site_port *p, struct findings *f)
{
	if (is_tcp(p->protocol) && p->port == site->firewall.ssh_port)
		findings_add(f, false, &p->origin,
		    "firewall port %s is %u, the port of ssh, which firewall.admin_from decides of; remove it", p->name,
		    p->port);
	if (p->port == 53 && strcmp(site->dns.server, "bind") == 0)
		findings_add(f, false, &p->origin,
		    "firewall port %s is 53, which dns.server = \"bind\" opens already; remove it", p->name);
	if (p->admin && p->from.count)
		findings_add(f, false, &p->origin,
		    "firewall port %s has admin = true and from, and only one can decide; remove one of them", p->name);
	if (p->admin && !p->from.count && !site->firewall.admin_from.count)
		findings_add(f, true, &p->origin,
		    "firewall port %s is for management, but firewall.admin_from is empty, so that it is open to "
		    "everyone; name where you administer from",
		    p->name);
	if (all_shut(site, &p->from))
		findings_add(f, false, &p->origin,
		    "firewall port %s is only for addresses that firewall.family = \"%s\" shuts out; add others, or "
		    "remove it",
		    p->name, site->firewall.family);
	if (is_tcp(p->protocol) && p->rate > site->firewall.syn_rate * 60)
		findings_add(f, true, &p->origin,
		    "firewall port %s allows %d connections a minute, but firewall.syn_rate only %d; lower rate, or "
		    "raise syn_rate",
		    p->name, p->rate, site->firewall.syn_rate * 60);
	check_twice(&p->from, "firewall.extra[].from", &p->origin, f);
}

static void few(const struct site *site, const char *path, int value, int least, const char *why, struct findings *f)
{
	struct site_origin at = check_origin(site, path);
	if (value < least)
		findings_add(f, true, &at, "%s = %d is less than %s; use at least %d", path, value, why, least);
}

static void check_rates(const struct site *site, struct findings *f)
{
	const struct {
		const char *path;
		int rate;
	} rates[] = { { "firewall.smtp_rate", site->firewall.smtp_rate },
		{ "firewall.login_rate", site->firewall.login_rate } };
	few(site, "firewall.connections", site->firewall.connections, HOUSEHOLD,
	    "the mail programs of one household open", f);
	few(site, "firewall.login_rate", site->firewall.login_rate, FEW, "one mail program opens when it starts", f);
	few(site, "firewall.smtp_rate", site->firewall.smtp_rate, FEW, "a large provider sends from one address", f);
	few(site, "firewall.syn_rate", site->firewall.syn_rate, FEW, "one mail program opens when it starts", f);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct site_origin at = check_origin(site, rates[i].path);
		if (at.line && rates[i].rate > site->firewall.syn_rate * 60)
			findings_add(f, true, &at,
			    "%s = %d a minute is never reached, since firewall.syn_rate allows only %d; lower it, or "
			    "raise syn_rate",
			    rates[i].path, rates[i].rate, site->firewall.syn_rate * 60);
	}
}

/* ---- bans */

static void check_bans(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "firewall.ban_time"), max = check_origin(site, "firewall.ban_max");
	if (site->firewall.ban_time > site->firewall.ban_max)
		findings_add(f, false, at.line ? &at : &max,
		    "firewall.ban_time is above firewall.ban_max; swap them, or raise ban_max");
	at = check_origin(site, "firewall.ban_after");
	if (site->firewall.ban && site->firewall.ban_after < 3)
		findings_add(f, true, &at, "firewall.ban_after = %d bans whoever mistypes a password; use at least 3",
		    site->firewall.ban_after);
	at = check_origin(site, "firewall.never_ban");
	check_twice(&site->firewall.never_ban, "firewall.never_ban", &at, f);
	if (site->firewall.ban && holds_everything(&site->firewall.never_ban))
		findings_add(f, true, &at,
		    "firewall.never_ban holds every address, so that nobody is ever banned; name fewer, or set ban = "
		    "false");
	at = check_origin(site, "firewall.include");
	check_twice(&site->firewall.include, "firewall.include", &at, f);
	at = check_origin(site, "firewall.block_lists");
	check_twice(&site->firewall.block_lists, "firewall.block_lists", &at, f);
}

/* ---- ways out */

static void check_way_out(const struct site *site, size_t i, struct findings *f)
{
	const struct site_egress *w = &site->firewall.out[i];
	if (is_tcp(w->protocol) && w->port == site->relay.port_out && !w->user[0])
		findings_add(f, true, &w->origin,
		    "way out %s opens port %u to every program, while only the sending process may use it; name a user",
		    w->name, w->port);
	if (all_shut(site, &w->to))
		findings_add(f, false, &w->origin,
		    "way out %s leads only to addresses that firewall.family = \"%s\" shuts out; add others, or remove "
		    "it",
		    w->name, site->firewall.family);
	check_twice(&w->to, "firewall.out[].to", &w->origin, f);
	for (size_t j = 0; j < i; j++) {
		const struct site_egress *o = &site->firewall.out[j];
		if (o->name && o->protocol &&
		    (strcmp(w->name, o->name) == 0 ||
			(w->port == o->port && strcmp(w->protocol, o->protocol) == 0 && strcmp(w->user, o->user) == 0 &&
			    same_strings(&w->to, &o->to))))
			findings_add(f, false, &w->origin,
			    "way out %s (%s %u) is already the one of %s:%u; remove one of the two", w->name,
			    w->protocol, w->port, o->origin.file, o->origin.line);
	}
}

static void check_ways_out(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "firewall.out");
	if (site->firewall.out_count && !site->firewall.egress)
		findings_add(f, true, &at,
		    "firewall.out has no effect, since everything may go out; set firewall.egress = true, or remove "
		    "it");
	for (size_t i = 0; i < site->firewall.out_count; i++) {
		const struct site_egress *w = &site->firewall.out[i];
		if (w->name && w->protocol && !check_said(f, &w->origin))
			check_way_out(site, i, f);
	}
}

/* ---- tests */

static bool is_own(const struct site *site, const char *address)
{
	char *own[] = { site->host.ipv4, site->host.ipv6, site->host.public_ipv4, site->host.public_ipv6 };
	return prefix_in(&(struct strings){ own, sizeof(own) / sizeof(own[0]) }, address);
}

/* Who opens a TCP port to this source, or NULL: nobody. */
static const char *opener(const struct site *site, unsigned port, const char *from)
{
	const struct strings *admins = &site->firewall.admin_from;
	for (int s = 0; s < SERVICE_COUNT; s++)
		if (site->listen.on[s] && site_port(site, (enum service)s) == port)
			return services[s].name;
	if (port == site->firewall.ssh_port && (!admins->count || prefix_in(admins, from)))
		return "ssh";
	for (size_t i = 0; i < site->firewall.extra_count; i++) {
		const struct site_port *p = &site->firewall.extra[i];
		const struct strings *who = p->admin ? admins : &p->from;
		if (p->name && p->protocol && is_tcp(p->protocol) && p->port == port &&
		    (!who->count || prefix_in(who, from)))
			return p->name;
	}
	return NULL;
}

/* A TCP packet that comes to the host, against what the site opens. */
static void check_verdict(
    const struct site *site, const struct site_fwtest *t, const struct prefix *from, struct findings *f)
{
	bool drop = strcmp(t->expect, "drop") == 0;
	const char *who = opener(site, t->to_port, t->from);
	if (site->firewall.include.count)
		return;
	if (!family_open(site, from->family)) {
		if (!drop)
			findings_add(f, false, &t->origin,
			    "the firewall test from %s expects accept, but firewall.family = \"%s\" shuts it out; "
			    "expect "
			    "drop",
			    t->from, site->firewall.family);
	} else if (drop && who && !site->firewall.block_lists.count && !prefix_private(t->from)) {
		findings_add(f, false, &t->origin,
		    "the firewall test from %s expects drop, but %s opens port %u to it; expect accept, or close the "
		    "port",
		    t->from, who, t->to_port);
	} else if (!drop && !who && t->to_port != 53) {
		findings_add(f, false, &t->origin,
		    "the firewall test from %s expects accept, but nothing opens port %u to it; add it to "
		    "firewall.extra, or expect drop",
		    t->from, t->to_port);
	}
}

static void check_test(const struct site *site, const struct site_fwtest *t, struct findings *f)
{
	struct prefix from = { 0 }, to = { 0 };
	if ((t->from[0] && prefix_parse(t->from, &from) < 0) || (t->to[0] && prefix_parse(t->to, &to) < 0))
		return;
	int family = from.family ? from.family : to.family;
	if (!family)
		findings_add(f, false, &t->origin,
		    "a firewall test has neither from nor to; say where the packet comes from, or where it goes");
	else if (from.family && to.family && from.family != to.family)
		findings_add(f, false, &t->origin,
		    "the firewall test from %s to %s mixes IPv4 and IPv6; use addresses of one family", t->from, t->to);
	else if (from.family && t->user[0])
		findings_add(f, false, &t->origin,
		    "the firewall test from %s has a user, but it comes from elsewhere; remove user, or from", t->from);
	else if (from.family && is_own(site, t->from))
		findings_add(f, false, &t->origin,
		    "the firewall test from %s comes from the host itself; remove from, so that the packet goes out",
		    t->from);
	else if (!(family == AF_INET6 ? site->host.ipv6 : site->host.ipv4)[0])
		findings_add(f, false, &t->origin,
		    "the firewall test with %s needs an address of the host of that family; add host.%s, or test with "
		    "another",
		    from.family ? t->from : t->to, family == AF_INET6 ? "ipv6" : "ipv4");
	else if (from.family && (!t->to[0] || is_own(site, t->to)) && is_tcp(t->protocol))
		check_verdict(site, t, &from, f);
}

static void check_tests(const struct site *site, struct findings *f)
{
	const struct site_fwtest *tests = site->firewall.tests;
	for (size_t i = 0; i < site->firewall.test_count; i++) {
		const struct site_fwtest *t = &tests[i];
		if (!t->expect || !t->protocol || check_said(f, &t->origin))
			continue;
		check_test(site, t, f);
		for (size_t j = 0; j < i; j++) {
			const struct site_fwtest *o = &tests[j];
			if (!o->expect || strcmp(t->from, o->from) != 0 || strcmp(t->to, o->to) != 0 ||
			    t->to_port != o->to_port || strcmp(t->protocol, o->protocol) != 0 ||
			    strcmp(t->user, o->user) != 0)
				continue;
			bool differ = strcmp(t->expect, o->expect) != 0;
			findings_add(f, !differ, &t->origin,
			    differ ? "this firewall test expects %s where %s:%u expects %s; remove one of the two"
				   : "this firewall test (%s) is already the one of %s:%u (%s); remove one of the two",
			    t->expect, o->origin.file, o->origin.line, o->expect);
			break;
		}
	}
}

void check_firewall(const struct site *site, struct findings *f)
{
	check_families(site, f);
	check_admins(site, f);
	for (size_t i = 0; i < site->firewall.extra_count; i++) {
		const struct site_port *p = &site->firewall.extra[i];
		if (p->name && p->protocol && !check_said(f, &p->origin))
			check_extra(site, p, f);
	}
	check_rates(site, f);
	check_bans(site, f);
	check_ways_out(site, f);
	check_tests(site, f);
}
