/*
 * Routing: exact account or alias, then without the plus-tag, then the addresses every domain answers, then the host
 * that keeps the domain's other addresses (hop.h), then the domain's catch-all.  Aliases and lists are expanded here, each once, so that even an unchecked loop would end.
 */
#include <stdlib.h>
#include <string.h>

#include "hop.h"
#include "index.h"

static const char *const every_domain[] = { "postmaster", "abuse", NULL };
static const char *const every_host[] = { "postmaster", "abuse", "root", "mailer-daemon", NULL };

static bool in_words(const char *const *words, struct view v)
{
	for (; *words; words++)
		if (view_eq(v, *words))
			return true;
	return false;
}

/* An account or alias that stands in the site under exactly this address. */
static bool find_exact(const struct site *site, const char *address, struct hop *hop)
{
	if ((hop->account = site_find_account(site, address)))
		hop->kind = HOP_ACCOUNT;
	else if ((hop->alias = index_alias(site, address)))
		hop->kind = HOP_ALIAS;
	return hop->kind != HOP_UNKNOWN;
}

/* Splits user+tag@domain; base gets user@domain. False when there is no tag. */
static bool split_tag(const char *address, char base[ADDRESS_MAX], char tag[ADDRESS_MAX])
{
	const char *at = strrchr(address, '@');
	const char *plus = strchr(address, '+');
	if (!plus || plus > at || plus == address || address[0] == '"')
		return false;
	struct buf b = BUF_INIT(ADDRESS_MAX - 1);
	buf_add(&b, address, (size_t)(plus - address));
	buf_puts(&b, at);
	bool ok = view_copy(buf_view(&b), base, ADDRESS_MAX) == 0 &&
	          view_copy((struct view){ plus + 1, (size_t)(at - plus - 1) }, tag, ADDRESS_MAX) == 0;
	buf_free(&b);
	return ok;
}

/* Nobody here, but mail for it goes on to another host. */
static bool sent_on(const struct site *site, const char *address, const struct site_domain *d)
{
	return (d && (d->deliver[0] || d->elsewhere[0])) || site_routes_address(site, address);
}

/* Direct: account, alias, tagged account or alias, or another host. */
static bool find_direct(const struct site *site, const char *address, struct hop *hop)
{
	char base[ADDRESS_MAX];
	const char *at = strrchr(address, '@');
	if (!site_is_local_domain(site, at + 1)) {
		hop->kind = HOP_REMOTE;
		return view_copy(view_of(address), hop->address, sizeof(hop->address)) == 0;
	}
	if (find_exact(site, address, hop))
		return true;
	if (!split_tag(address, base, hop->tag))
		return false;
	if (find_exact(site, base, hop))
		return true;
	hop->tag[0] = 0;
	return false;
}

static bool is_implied(const struct site *site, const char *address)
{
	const char *at = strrchr(address, '@');
	struct view local = { address, strcspn(address, "+@") };
	return in_words(every_domain, local) ||
	       (site->host.name && strcmp(at + 1, site->host.name) == 0 && in_words(every_host, local));
}

void route_hop(const struct site *site, const char *normalised, struct hop *hop)
{
	const struct site_domain *domain = site_find_domain(site, strrchr(normalised, '@') + 1);
	*hop = (struct hop){ 0 };
	if (find_direct(site, normalised, hop))
		return;
	const char *onward = NULL;
	if (is_implied(site, normalised)) {
		onward = site->admin.contact;
		hop->implied = true;
	} else if (sent_on(site, normalised, domain)) {
		hop->kind = HOP_REMOTE;
		view_copy(view_of(normalised), hop->address, sizeof(hop->address));
		return;
	} else {
		onward = domain ? domain->catch_all : NULL;
		hop->caught = onward != NULL;
	}
	if (!onward || find_direct(site, onward, hop))
		return;
	if (hop->caught && is_implied(site, onward) && site->admin.contact)
		find_direct(site, site->admin.contact, hop);
}

/* ---- expansion */

struct expansion {
	const struct site *site;
	struct route *out;
	size_t cap;
	const void **seen; /* aliases, and accounts that forward, expanded so far */
	size_t seen_count;
	bool forwards; /* follow them */
	bool closed;   /* met one */
};

static bool target_known(const struct route *out, const struct site_account *account, const char *address)
{
	for (size_t i = 0; i < out->count; i++) {
		const struct route_target *t = &out->targets[i];
		if (account ? t->account == account : t->address && strcmp(t->address, address) == 0)
			return true;
	}
	return false;
}

static void add_target(struct expansion *e, const struct hop *hop, const char *address, const char *sender)
{
	struct route *out = e->out;
	if (target_known(out, hop->account, address))
		return;
	if (out->count == ROUTE_MAX) {
		out->truncated = true;
		return;
	}
	if (out->count == e->cap) {
		e->cap = e->cap ? e->cap * 2 : 1;
		out->targets = xreallocarray(out->targets, e->cap, sizeof(*out->targets));
	}
	out->targets[out->count++] = (struct route_target){
		.account = hop->account,
		.address = hop->account ? NULL : xstrdup(address),
		.tag = hop->tag[0] && hop->account ? xstrdup(hop->tag) : NULL,
		.sender = sender ? xstrdup(sender) : NULL,
		.forwarded = hop->kind == HOP_REMOTE && !site_is_local_domain(e->site, strrchr(address, '@') + 1),
	};
}

static bool first_visit(struct expansion *e, const void *what)
{
	for (size_t i = 0; i < e->seen_count; i++)
		if (e->seen[i] == what)
			return false;
	if ((e->seen_count & (e->seen_count - 1)) == 0)
		e->seen = xreallocarray(e->seen, e->seen_count ? e->seen_count * 2 : 1, sizeof(*e->seen));
	e->seen[e->seen_count++] = what;
	return true;
}

static void expand(struct expansion *e, const struct hop *hop, const char *sender, int depth);

/*
 * What arrives for an account: for itself, for those that it forwards to, or for both.  Where forwarding comes round to
 * an account again, it keeps the mail, so that a circle never loses any.
 */
static void expand_account(struct expansion *e, const struct hop *hop, const char *sender, int depth)
{
	const struct site_account *a = hop->account;
	bool closed = a->state && strcmp(a->state, "closed") == 0;
	bool onward = e->forwards && a->forward.count > 0 && depth < ROUTE_DEPTH_MAX && e->seen_count < ROUTE_MAX && first_visit(e, a);

	e->closed |= closed;
	if (!closed && (!onward || a->forward_copy))
		add_target(e, hop, hop->address, sender);
	for (size_t i = 0; onward && i < a->forward.count; i++) {
		struct hop next;
		route_hop(e->site, a->forward.at[i], &next);
		expand(e, &next, sender, depth + 1);
	}
}

static void expand(struct expansion *e, const struct hop *hop, const char *sender, int depth)
{
	if (hop->kind == HOP_ACCOUNT)
		expand_account(e, hop, sender, depth);
	if (hop->kind == HOP_REMOTE)
		add_target(e, hop, hop->address, sender);
	if (hop->kind != HOP_ALIAS)
		return;
	if (depth >= ROUTE_DEPTH_MAX || e->seen_count >= ROUTE_MAX) {
		e->out->truncated = true;
		return;
	}
	if (!first_visit(e, hop->alias))
		return;
	const struct site_alias *alias = hop->alias;
	for (size_t i = 0; i < alias->targets.count; i++) {
		struct hop next;
		route_hop(e->site, alias->targets.at[i], &next);
		if (hop->tag[0] && !next.tag[0]) /* alias+tag keeps its tag */
			view_copy(view_of(hop->tag), next.tag, sizeof(next.tag));
		expand(e, &next, alias->list ? alias->owner : sender, depth + 1);
	}
}

/* "local-part as written@normalised domain": what a remote host gets to see. */
static char *remote_address(const struct address *a, const char *domain)
{
	return xasprintf("%.*s@%s", (int)a->local.len, a->local.ptr, domain);
}

/* An address literal that is this host's own counts as host.name. */
static bool own_literal(const struct site *site, const char *literal)
{
	const char *own[] = { site->host.ipv4, site->host.public_ipv4, site->host.ipv6, site->host.public_ipv6 };
	size_t prefix = strncmp(literal, "[IPv6:", 6) == 0 ? 6 : 1;
	size_t len = strlen(literal) - prefix - 1;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i] && strlen(own[i]) == len && strncmp(own[i], literal + prefix, len) == 0)
			return true;
	return false;
}

static void resolve(const struct site *site, struct view address, bool forwards, struct route *out)
{
	struct expansion e = { .site = site, .out = out, .forwards = forwards };
	struct address a;
	struct hop hop = { 0 };
	char *whole =
	    view_caseeq(address, "postmaster") ? xasprintf("postmaster@%s", site->host.name) : view_dup(address);
	char normal[ADDRESS_MAX];
	*out = (struct route){ .status = ROUTE_INVALID };
	if (address_parse(view_of(whole), &a) < 0 || address_normalise(view_of(whole), normal, sizeof(normal)) < 0)
		goto out;
	if (a.literal && own_literal(site, strrchr(normal, '@') + 1)) {
		char *here = xasprintf("%.*s@%s", (int)(strrchr(normal, '@') - normal), normal, site->host.name);
		bool fits = view_copy(view_of(here), normal, sizeof(normal)) == 0;
		free(here);
		if (!fits)
			goto out;
	}
	const char *domain = strrchr(normal, '@') + 1;
	if (!site_is_local_domain(site, domain)) {
		char *remote = remote_address(&a, domain);
		out->status = ROUTE_FOREIGN;
		add_target(&e, &hop, remote, NULL);
		free(remote);
		goto out;
	}
	route_hop(site, normal, &hop);
	if (hop.kind == HOP_REMOTE && strcmp(hop.address, normal) == 0) { /* as it was written */
		char *remote = remote_address(&a, domain);
		view_copy(view_of(remote), hop.address, sizeof(hop.address));
		free(remote);
	}
	expand(&e, &hop, NULL, 0);
	out->status = out->count ? ROUTE_OK : e.closed ? ROUTE_CLOSED : ROUTE_UNKNOWN;
out:
	free(e.seen);
	free(whole);
}

void route_resolve(const struct site *site, struct view address, struct route *out)
{
	resolve(site, address, true, out);
}

void route_free(struct route *route)
{
	for (size_t i = 0; i < route->count; i++) {
		free(route->targets[i].address);
		free(route->targets[i].tag);
		free(route->targets[i].sender);
	}
	free(route->targets);
	*route = (struct route){ 0 };
}

bool site_may_send_as(const struct site *site, const struct site_account *account, struct view address)
{
	char normal[ADDRESS_MAX];
	struct hop hop;
	if (address_normalise(address, normal, sizeof(normal)) < 0)
		return false;
	route_hop(site, normal, &hop);
	if (hop.caught || hop.kind == HOP_UNKNOWN || hop.kind == HOP_REMOTE)
		return false;
	if (hop.kind == HOP_ACCOUNT) {
		bool may = hop.account == account;
		for (size_t i = 0; i < hop.account->senders.count && !may; i++)
			may = strcmp(hop.account->senders.at[i], account->address) == 0;
		return may;
	}
	if (hop.alias->list)
		return false;
	struct route route;
	resolve(site, address, false, &route);
	bool alone = route.status == ROUTE_OK && route.count == 1 && route.targets[0].account == account &&
	             !route.truncated && !route.targets[0].sender;
	route_free(&route);
	return alone;
}
