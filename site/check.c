/*
 * Cross-checks of addresses: what no single option sees.  Declared domains, aliases that lead nowhere, in circles, too
 * deep or too wide, catch-alls, the administrator's address, and what accounts may use against what listens.
 *
 * Members may be NULL where reading them failed: that was reported already.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "index.h"
#include "lib/text.h"
#include "schema.h"

#define WALK_MAX 200 /* alias in alias, before the search gives up */

struct site_origin check_origin(const struct site *site, const char *path)
{
	for (size_t row = 0; row < schema_count; row++)
		if (strcmp(schema[row].path, path) == 0 && site->origins[row].line)
			return site->origins[row];
	return (struct site_origin){ site->files.at[0], 0 };
}

bool check_said(const struct findings *f, const struct site_origin *at)
{
	for (size_t i = 0; at->line && i < f->count; i++)
		if (!f->at[i].warning && f->at[i].line == at->line && strcmp(f->at[i].file, at->file) == 0)
			return true;
	return false;
}

static const char *domain_of(const char *address)
{
	return strrchr(address, '@') + 1;
}

static const char *nearest_domain(const struct site *site, const char *name)
{
	const char *best = NULL;
	unsigned least = 3;
	for (size_t i = 0; i < site->domain_count; i++) {
		unsigned d = site->domains[i].name ? text_distance(site->domains[i].name, name, 3) : 3;
		if (d < least) {
			least = d;
			best = site->domains[i].name;
		}
	}
	return best;
}

static void undeclared(const struct site *site, const char *what, const char *address, const struct site_origin *origin,
    struct findings *f)
{
	const char *near = nearest_domain(site, domain_of(address));
	if (!site->domain_count)
		return; /* said once, and enough */
	if (near)
		findings_add(f, false, origin, "%s %s is in a domain that is not declared; did you mean '%s'?", what,
		    address, near);
	else
		findings_add(f, false, origin,
		    "%s %s is in a domain that is not declared; add { name = \"%s\"; } to domains", what, address,
		    domain_of(address));
}

static void check_presence(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "domains");
	if (!site->domain_count && !check_said(f, &at))
		findings_add(f, false, &at, "there is no domain; add domains = ( { name = \"example.org\"; } );");
	at = check_origin(site, "accounts");
	if (!site->account_count && !site->admin.contact && !check_said(f, &at))
		findings_add(
		    f, false, &at, "there is no account; add accounts = ( { address = \"alice@example.org\"; } );");
}

static bool served(const struct site *site, unsigned protocols)
{
	const bool *on = site->listen.on;
	return ((protocols & PROTOCOL_IMAP) && (on[SERVICE_IMAP] || on[SERVICE_IMAPS])) ||
	       ((protocols & PROTOCOL_POP3) && (on[SERVICE_POP3] || on[SERVICE_POP3S])) ||
	       ((protocols & PROTOCOL_SUBMISSION) && (on[SERVICE_SUBMISSION] || on[SERVICE_SUBMISSIONS]));
}

static void check_accounts(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->account_count; i++) {
		const struct site_account *a = &site->accounts[i];
		if (!a->address)
			continue;
		if (!site_find_domain(site, domain_of(a->address)))
			undeclared(site, "account", a->address, &a->origin, f);
		if (a->shared || (a->state && strcmp(a->state, "active") != 0))
			; /* nobody logs in */
		else if (!a->protocols)
			findings_add(f, true, &a->origin,
			    "account %s may use no protocol; name one in protocols, or make it an alias", a->address);
		else if (!served(site, a->protocols))
			findings_add(f, true, &a->origin,
			    "account %s may only use protocols that listen has switched off; switch one on, or add to "
			    "protocols",
			    a->address);
		if (a->quota && a->quota < site->limits.message_size)
			findings_add(f, true, &a->origin,
			    "the quota of %s is below limits.message_size, so that the largest mail never fits; raise "
			    "it",
			    a->address);
		for (size_t j = 0; j < a->senders.count; j++)
			if (!site_find_account(site, a->senders.at[j]))
				findings_add(f, false, &a->origin, "account %s has a sender %s who is no account; correct the address",
				    a->address, a->senders.at[j]);
	}
}

static bool somebody(const struct site *site, const char *address);

static void check_forwards(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->account_count; i++) {
		const struct site_account *a = &site->accounts[i];
		const char *from = a->auto_reply.from, *until = a->auto_reply.until;
		if (!a->address)
			continue;
		for (size_t j = 0; j < a->forward.count; j++) {
			if (strcmp(a->forward.at[j], a->address) == 0)
				findings_add(f, false, &a->origin, "account %s forwards to itself; remove that, and use forward_copy",
				    a->address);
			else if (!somebody(site, a->forward.at[j]))
				findings_add(f, false, &a->origin,
				    "account %s forwards to %s, who is nobody here; correct the address", a->address, a->forward.at[j]);
		}
		if (from && until && from[0] && until[0] && strcmp(from, until) > 0)
			findings_add(f, true, &a->origin, "the auto_reply of %s ends before it begins", a->address);
	}
}

/* A target of an alias, an owner, a catch-all: is somebody there? */
static bool somebody(const struct site *site, const char *address)
{
	struct hop hop;
	route_hop(site, address, &hop);
	return hop.kind != HOP_UNKNOWN;
}

static void check_alias(const struct site *site, const struct site_alias *a, struct findings *f)
{
	const char *what = a->list ? "list" : "alias";
	if (!site_is_local_domain(site, domain_of(a->address)))
		undeclared(site, what, a->address, &a->origin, f);
	for (size_t i = 0; i < a->targets.count; i++)
		if (!somebody(site, a->targets.at[i]))
			findings_add(f, false, &a->origin,
			    "%s %s leads to %s, who is nobody here; add the account, or correct the address", what,
			    a->address, a->targets.at[i]);
	if (a->list && a->owner && strcmp(a->owner, a->address) == 0)
		findings_add(f, false, &a->origin,
		    "list %s is its own owner, so that bounces would go round; name a person as owner", a->address);
	else if (a->list && a->owner && !somebody(site, a->owner))
		findings_add(f, false, &a->origin,
		    "the owner of list %s is %s, who is nobody here; correct the address", a->address, a->owner);
}

/* ---- aliases in aliases: circles, depth, width */

struct walk {
	const struct site *site;
	struct findings *findings;
	unsigned char *colour; /* 0 new, 1 on the path, 2 done */
	unsigned *height;      /* aliases on the longest way, itself included */
	size_t *width;         /* at most this many targets */
	const struct site_alias *path[WALK_MAX];
};

static void report_loop(struct walk *w, const struct site_alias *again, size_t depth)
{
	struct buf way = BUF_INIT(8000);
	size_t start = depth;
	while (start > 0 && w->path[start - 1] != again)
		start--;
	for (size_t i = start ? start - 1 : 0; i < depth; i++)
		buf_printf(&way, "%s -> ", w->path[i]->address);
	buf_puts(&way, again->address);
	findings_add(
	    w->findings, false, &again->origin, "aliases lead in a circle: %s; remove one of the steps", buf_str(&way));
	buf_free(&way);
}

static void visit(struct walk *w, size_t at, size_t depth)
{
	const struct site_alias *alias = &w->site->aliases[at];
	if (w->colour[at] == 2)
		return;
	if (w->colour[at] == 1 || depth == WALK_MAX) {
		if (w->colour[at] == 1)
			report_loop(w, alias, depth);
		return;
	}
	w->colour[at] = 1;
	w->path[depth] = alias;
	w->height[at] = 1;
	for (size_t i = 0; i < alias->targets.count; i++) {
		struct hop hop;
		route_hop(w->site, alias->targets.at[i], &hop);
		size_t width = 1;
		if (hop.kind == HOP_ALIAS) {
			size_t next = (size_t)(hop.alias - w->site->aliases);
			visit(w, next, depth + 1);
			width = w->width[next];
			if (w->height[next] >= w->height[at])
				w->height[at] = w->height[next] + 1;
		}
		w->width[at] += width;
		if (w->width[at] > 10 * ROUTE_MAX)
			w->width[at] = 10 * ROUTE_MAX;
	}
	w->colour[at] = 2;
}

static bool too_wide(const struct site *site, const char *address)
{
	struct route route;
	route_resolve(site, view_of(address), &route);
	bool wide = route.truncated;
	route_free(&route);
	return wide;
}

static void check_aliases(const struct site *site, struct findings *f)
{
	struct walk w = { .site = site, .findings = f };
	w.colour = xcalloc(site->alias_count + 1, 1);
	w.height = xcalloc(site->alias_count + 1, sizeof(*w.height));
	w.width = xcalloc(site->alias_count + 1, sizeof(*w.width));
	for (size_t i = 0; i < site->alias_count; i++) {
		const struct site_alias *a = &site->aliases[i];
		if (!a->address)
			continue;
		check_alias(site, a, f);
		visit(&w, i, 0);
		if (w.height[i] == ROUTE_DEPTH_MAX + 1)
			findings_add(f, false, &a->origin,
			    "%s leads through more than %d aliases; let it lead to the addresses themselves",
			    a->address, ROUTE_DEPTH_MAX);
		else if (w.width[i] > ROUTE_MAX && too_wide(site, a->address))
			findings_add(f, false, &a->origin, "%s leads to more than %d addresses; split it", a->address,
			    ROUTE_MAX);
	}
	free(w.colour);
	free(w.height);
	free(w.width);
}

/* After the aliases' own members: lists and aliases without any. */
static void check_members(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->alias_count; i++) {
		const struct site_alias *a = &site->aliases[i];
		if (a->address && a->targets.at && a->targets.count == 0 && a->list)
			findings_add(
			    f, false, &a->origin, "list %s has no members; add some, or remove it", a->address);
		else if (a->address && a->targets.at && a->targets.count == 0)
			findings_add(f, false, &a->origin, "alias %s leads nowhere; add addresses to it, or remove it",
			    a->address);
	}
}

static bool mailless(const struct site *site, const char *address)
{
	const struct site_domain *d = site_find_domain(site, domain_of(address));
	return d && !d->mail;
}

static void check_mailless(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->account_count; i++)
		if (site->accounts[i].address && mailless(site, site->accounts[i].address))
			findings_add(f, false, &site->accounts[i].origin,
			    "account %s is in a domain with mail = false; remove it, or mail = false",
			    site->accounts[i].address);
	for (size_t i = 0; i < site->alias_count; i++)
		if (site->aliases[i].address && mailless(site, site->aliases[i].address))
			findings_add(f, false, &site->aliases[i].origin,
			    "%s is in a domain with mail = false; remove it, or mail = false",
			    site->aliases[i].address);
}

static void check_sent_on(const struct site_domain *d, struct findings *f)
{
	bool elsewhere = d->elsewhere && d->elsewhere[0], deliver = d->deliver && d->deliver[0];
	if (!d->name || (!elsewhere && !deliver))
		return;
	if (elsewhere && deliver)
		findings_add(f, false, &d->origin, "%s has both deliver and elsewhere; keep one of them", d->name);
	if (!d->mail)
		findings_add(f, false, &d->origin, "%s has %s and mail = false; remove one of them", d->name, deliver ? "deliver" : "elsewhere");
	if (d->catch_all)
		findings_add(f, false, &d->origin, "the catch-all of %s never gets anything, since %s does; remove one of them", d->name,
		    deliver ? "deliver" : "elsewhere");
}

static void check_domains(const struct site *site, struct findings *f)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		struct hop hop;
		check_sent_on(d, f);
		if (d->name && d->catch_all && !d->mail)
			findings_add(
			    f, false, &d->origin, "%s has a catch-all and mail = false; remove one of them", d->name);
		if (!d->name || !d->catch_all)
			continue;
		route_hop(site, d->catch_all, &hop);
		if (hop.kind == HOP_UNKNOWN || hop.caught)
			findings_add(f, false, &d->origin,
			    "the catch-all of %s is %s, who is nobody here; name an account or an alias", d->name,
			    d->catch_all);
	}
}

static void check_admin(const struct site *site, struct findings *f)
{
	struct site_origin at = check_origin(site, "admin.contact");
	struct hop hop;
	if (!site->admin.contact || !at.line)
		return; /* the first account, which is checked as such */
	route_hop(site, site->admin.contact, &hop);
	if (hop.implied)
		findings_add(f, false, &at, "admin.contact is %s, which leads to admin.contact itself; name an account",
		    site->admin.contact);
	else if (hop.kind == HOP_UNKNOWN || hop.caught)
		findings_add(f, false, &at,
		    "admin.contact is %s, who is nobody here; name an account, an alias or an address elsewhere",
		    site->admin.contact);
}

void check_routes(const struct site *site, struct findings *f)
{
	check_presence(site, f);
	check_accounts(site, f);
	check_forwards(site, f);
	check_aliases(site, f);
	check_members(site, f);
	check_mailless(site, f);
	check_domains(site, f);
	check_admin(site, f);
}
