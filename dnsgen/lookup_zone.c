/*
 * lookup.h, the delegation part: the zone above is found by asking the resolver for NS, label by label; one of its
 * servers is then asked without recursion what it delegates, and one of the servers so named what the zone itself says.
 */
#include <stdlib.h>
#include <string.h>

#include "dnsgen/lookup.h"

static void strings_add(struct strings *s, char *text)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->at[i], text) == 0) {
			free(text);
			return;
		}
	}
	s->at = xreallocarray(s->at, s->count + 1, sizeof(*s->at));
	s->at[s->count++] = text;
}

static void strings_drop(struct strings *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->at[i]);
	free(s->at);
	*s = (struct strings){ 0 };
}

char *lookup_zone_of(struct lookup *l, const char *name, struct buf *why)
{
	const struct lookup_answer *a = lookup(l, NULL, name, LDNS_RR_TYPE_SOA);
	for (int part = 0; a->packet && lookup_answered(a) && part < 2; part++) {
		const ldns_rr_list *list = part ? ldns_pkt_authority(a->packet) : ldns_pkt_answer(a->packet);
		for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++)
			if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) == LDNS_RR_TYPE_SOA)
				return lookup_name(ldns_rr_owner(ldns_rr_list_rr(list, i)));
	}
	buf_printf(why, "the resolver does not say in which zone %s is%s%s", name, a->why[0] ? ": " : "", a->why);
	return NULL;
}

/* The addresses of a server by the resolver, IPv4 first. */
static void add_addresses(struct lookup *l, const char *name, struct strings *out)
{
	static const ldns_rr_type types[] = { LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA };
	for (int t = 0; t < 2; t++) {
		const struct lookup_answer *a = lookup(l, NULL, name, types[t]);
		ldns_rr_list *records = lookup_records(a, name, types[t], NULL);
		for (size_t i = 0; i < ldns_rr_list_rr_count(records) && i < DELEGATION_MAX; i++)
			strings_add(out, lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 0)));
		ldns_rr_list_free(records);
	}
}

static void prefetch_addresses(struct lookup *l, char *const *names, size_t count)
{
	struct lookup_question *q = xcalloc(count ? count * 2 : 1, sizeof(*q));
	for (size_t i = 0; i < count; i++) {
		q[2 * i] = (struct lookup_question){ NULL, names[i], LDNS_RR_TYPE_A };
		q[2 * i + 1] = (struct lookup_question){ NULL, names[i], LDNS_RR_TYPE_AAAA };
	}
	lookup_prefetch(l, q, count * 2);
	free(q);
}

/* The NS names of zone in an answer, or, when it is a referral, in its authority section. */
static void ns_names(const struct lookup_answer *a, const char *zone, bool referral, struct strings *out)
{
	ldns_rdf *name = ldns_dname_new_frm_str(zone);
	for (int part = 0; a->packet && name && part < (referral ? 2 : 1); part++) {
		const ldns_rr_list *list = part ? ldns_pkt_authority(a->packet) : ldns_pkt_answer(a->packet);
		for (size_t i = 0; i < ldns_rr_list_rr_count(list) && out->count < DELEGATION_MAX; i++) {
			const ldns_rr *rr = ldns_rr_list_rr(list, i);
			if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_NS && ldns_rr_rd_count(rr) == 1 &&
			    ldns_dname_compare(ldns_rr_owner(rr), name) == 0)
				strings_add(out, lookup_name(ldns_rr_rdf(rr, 0)));
		}
	}
	ldns_rdf_deep_free(name);
}

/* The zone above: its name, and its servers' names. */
static char *find_parent(struct lookup *l, const char *zone, struct strings *servers, char **why)
{
	const char *dot = strchr(zone, '.');
	for (int labels = 0; labels < 128; labels++) {
		const char *name = dot && dot[1] ? dot + 1 : ".";
		const struct lookup_answer *a = lookup(l, NULL, name, LDNS_RR_TYPE_NS);
		ns_names(a, name, false, servers);
		if (servers->count > 0)
			return xstrdup(name);
		if (!lookup_answered(a)) {
			*why = xasprintf("the resolver does not say who serves %s: %s", name, a->why);
			return NULL;
		}
		if (strcmp(name, ".") == 0)
			break;
		dot = strchr(name, '.');
	}
	*why = xstrdup("the resolver knows no zone above it");
	return NULL;
}

static struct authority *authority_of(struct delegation *d, const char *name)
{
	for (size_t i = 0; i < d->count; i++)
		if (strcmp(d->at[i].name, name) == 0)
			return &d->at[i];
	if (d->count >= DELEGATION_MAX)
		return NULL;
	d->at = xreallocarray(d->at, d->count + 1, sizeof(*d->at));
	d->at[d->count] = (struct authority){ .name = xstrdup(name) };
	return &d->at[d->count++];
}

static void take_glue(const struct lookup_answer *a, struct authority *at)
{
	const ldns_rr_list *list = ldns_pkt_additional(a->packet);
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);
		ldns_rr_type type = ldns_rr_get_type(rr);
		char *owner = lookup_name(ldns_rr_owner(rr));
		if ((type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA) && ldns_rr_rd_count(rr) == 1 &&
		    strcmp(owner, at->name) == 0 && at->glue.count < DELEGATION_MAX)
			strings_add(&at->glue, lookup_name(ldns_rr_rdf(rr, 0)));
		free(owner);
	}
}

/* What a server of the zone above delegates. */
static void ask_parent(struct lookup *l, const char *zone, const struct strings *servers, struct delegation *d)
{
	const struct lookup_answer *a = NULL;
	struct strings addresses = { 0 }, names = { 0 };
	prefetch_addresses(l, servers->at, servers->count);
	for (size_t i = 0; i < servers->count; i++)
		add_addresses(l, servers->at[i], &addresses);
	for (size_t i = 0; i < addresses.count && d->parent_server == NULL; i++) {
		a = lookup(l, addresses.at[i], zone, LDNS_RR_TYPE_NS);
		if (lookup_answered(a))
			d->parent_server = xstrdup(addresses.at[i]);
	}
	if (d->parent_server == NULL) {
		free(d->why);
		d->why = xasprintf("no server of %s answers%s%s", d->parent, a ? ": " : "", a ? a->why : "");
	} else {
		ns_names(a, zone, true, &names);
		d->delegated = names.count > 0;
		for (size_t i = 0; i < names.count; i++) {
			struct authority *at = authority_of(d, names.at[i]);
			at->at_parent = true;
			take_glue(a, at);
		}
	}
	strings_drop(&names);
	strings_drop(&addresses);
}

/* What the zone says: by one of its servers that answers with authority, else by the resolver. */
static void ask_zone(struct lookup *l, const char *zone, struct delegation *d)
{
	const struct lookup_answer *a = NULL;
	struct strings names = { 0 };
	bool found = false;
	for (size_t i = 0; i < d->count && !found; i++) {
		for (size_t k = 0; k < d->at[i].addresses.count && !found; k++) {
			a = lookup(l, d->at[i].addresses.at[k], zone, LDNS_RR_TYPE_NS);
			found = a->status == LOOKUP_OK && a->authoritative;
		}
	}
	ns_names(found ? a : lookup(l, NULL, zone, LDNS_RR_TYPE_NS), zone, false, &names);
	for (size_t i = 0; i < names.count; i++) {
		struct authority *at = authority_of(d, names.at[i]);
		if (at != NULL)
			at->in_zone = true;
	}
	strings_drop(&names);
}

static void resolve_servers(struct lookup *l, struct delegation *d)
{
	char **names = xcalloc(d->count + 1, sizeof(*names));
	for (size_t i = 0; i < d->count; i++)
		names[i] = d->at[i].name;
	prefetch_addresses(l, names, d->count);
	free(names);
	for (size_t i = 0; i < d->count; i++) {
		struct authority *at = &d->at[i];
		if (at->addresses.count == 0)
			add_addresses(l, at->name, &at->addresses);
		for (size_t k = 0; at->addresses.count == 0 && k < at->glue.count; k++)
			strings_add(&at->addresses, xstrdup(at->glue.at[k]));
	}
}

static int compare_authorities(const void *a, const void *b)
{
	return strcmp(((const struct authority *)a)->name, ((const struct authority *)b)->name);
}

void delegation_find(struct lookup *l, const char *zone, struct delegation *out)
{
	struct strings servers = { 0 };
	*out = (struct delegation){ 0 };
	out->parent = find_parent(l, zone, &servers, &out->why);
	if (out->parent != NULL)
		ask_parent(l, zone, &servers, out);
	resolve_servers(l, out);
	ask_zone(l, zone, out);
	resolve_servers(l, out);
	if (out->count > 0)
		qsort(out->at, out->count, sizeof(*out->at), compare_authorities);
	if (out->why == NULL)
		out->why = xstrdup("");
	strings_drop(&servers);
}

/* Many questions that are asked together. */
struct batch {
	struct lookup_question *at;
	size_t count;
	struct strings owned; /* servers' addresses */
};

static void batch_add(struct batch *b, const char *server, const char *name, ldns_rr_type type)
{
	if ((b->count & (b->count - 1)) == 0) /* grows by doubling */
		b->at = xreallocarray(b->at, b->count ? b->count * 2 : 1, sizeof(*b->at));
	b->at[b->count++] = (struct lookup_question){ server, name, type };
}

static void batch_ask(struct lookup *l, struct batch *b)
{
	lookup_prefetch(l, b->at, b->count);
	free(b->at);
	strings_drop(&b->owned);
	*b = (struct batch){ 0 };
}

/* The servers that the resolver names for a zone, or, above, for what is above it. */
static void add_servers(struct lookup *l, const char *zone, bool above, struct strings *names)
{
	char *why = NULL;
	if (above)
		free(find_parent(l, zone, names, &why));
	else
		ns_names(lookup(l, NULL, zone, LDNS_RR_TYPE_NS), zone, false, names);
	free(why);
}

/* The addresses of all servers that the resolver names for the zones, or, above, for what is above them. */
static void prefetch_servers(struct lookup *l, char *const *zones, size_t count, bool above)
{
	struct strings names = { 0 };
	for (size_t i = 0; i < count; i++) {
		add_servers(l, zones[i], above, &names);
		if (names.count >= DELEGATION_MAX || i + 1 == count) {
			prefetch_addresses(l, names.at, names.count);
			strings_drop(&names);
		}
	}
}

/* What delegation_find and its callers will ask of the servers themselves. */
static void prefetch_zones(struct lookup *l, char *const *zones, size_t count, bool above)
{
	struct batch b = { 0 };
	for (size_t i = 0; i < count; i++) {
		struct strings names = { 0 }, addresses = { 0 };
		add_servers(l, zones[i], above, &names);
		for (size_t k = 0; k < (above && names.count > 1 ? 1 : names.count); k++)
			add_addresses(l, names.at[k], &addresses);
		for (size_t k = 0; k < (above && addresses.count > 1 ? 1 : addresses.count); k++) {
			char *server = xstrdup(addresses.at[k]);
			b.owned.at = xreallocarray(b.owned.at, b.owned.count + 1, sizeof(*b.owned.at));
			b.owned.at[b.owned.count++] = server;
			batch_add(&b, server, zones[i], LDNS_RR_TYPE_NS);
			if (!above)
				batch_add(&b, server, zones[i], LDNS_RR_TYPE_SOA);
			if (!above)
				batch_add(&b, server, zones[i], LDNS_RR_TYPE_DNSKEY);
		}
		strings_drop(&names);
		strings_drop(&addresses);
	}
	batch_ask(l, &b);
}

void delegations_prefetch(struct lookup *l, char *const *zones, size_t count)
{
	struct batch b = { 0 };
	for (size_t i = 0; i < count; i++) {
		batch_add(&b, NULL, zones[i], LDNS_RR_TYPE_NS);
		for (const char *dot = strchr(zones[i], '.'); dot && dot[1]; dot = strchr(dot + 1, '.'))
			batch_add(&b, NULL, dot + 1, LDNS_RR_TYPE_NS);
	}
	batch_ask(l, &b);
	for (int round = 0; round < 2; round++) {
		prefetch_servers(l, zones, count, round == 0);
		prefetch_zones(l, zones, count, round == 0);
	}
}

void delegation_free(struct delegation *d)
{
	for (size_t i = 0; i < d->count; i++) {
		free(d->at[i].name);
		strings_drop(&d->at[i].addresses);
		strings_drop(&d->at[i].glue);
	}
	free(d->at);
	free(d->parent);
	free(d->parent_server);
	free(d->why);
	*d = (struct delegation){ 0 };
}
