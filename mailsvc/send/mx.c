/*
 * MX lookup.  One query for the exchangers, then all address queries at once, then the addresses in the order of their
 * hosts.  Only families that the host has are asked for.  An address that is our own ends the list there, as our own
 * name among the exchangers does: delivering to it, or to what is less preferred, would be a loop (RFC 5321 5.1).
 *
 * Limits: MX_HOSTS_MAX hosts, MX_ADDRESSES_MAX addresses.  A resolver that cannot say is a reason to try later, never a
 * reason to bounce.
 */
#include "mx.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROUTE_TTL_MAX 300

struct mx_lookup {
	struct dns_client *dns;
	struct site *site;
	char *name;
	bool direct;
	uint16_t port;
	mx_fn fn;
	void *arg;
	uint32_t ttl;
	bool secure; /* of the MX answer */
	struct mx_hosts hosts;
	struct host_query { /* two a host: AAAA, A */
		struct mx_lookup *lookup;
		enum dns_status status;
		uint8_t addresses[MX_ADDRESSES_MAX][16];
		size_t count;
	} queries[MX_HOSTS_MAX][2];
	size_t outstanding;
};

static void shuffle(struct mx_host *hosts, size_t count, uint32_t random)
{
	for (size_t i = count; i > 1; i--) {
		random = random * 1664525u + 1013904223u;
		size_t j = (random >> 8) % i;
		struct mx_host swap = hosts[i - 1];
		hosts[i - 1] = hosts[j];
		hosts[j] = swap;
	}
}

/* Insertion sort: equals stay as they were shuffled. */
static void sort_by_preference(struct mx_host *hosts, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		for (size_t j = i; j > 0 && hosts[j].preference < hosts[j - 1].preference; j--) {
			struct mx_host swap = hosts[j];
			hosts[j] = hosts[j - 1];
			hosts[j - 1] = swap;
		}
	}
}

static enum mx_status __attribute__((format(printf, 3, 4)))
give_up(char reason[160], enum mx_status status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, 160, fmt, ap);
	va_end(ap);
	return status;
}

static enum mx_status loops(char reason[160], const char *domain)
{
	return give_up(reason, MX_PERMANENT, "5.4.6 mail for %.100s loops back to this host", domain);
}

enum mx_status mx_select(const struct dns_answer *a, const char *domain, const char *own_name, uint32_t random,
    struct mx_hosts *out, char reason[160])
{
	struct mx_host all[DNS_RECORDS_MAX];
	size_t count = 0, keep;

	out->count = 0;
	reason[0] = '\0';
	switch (a->status) {
	case DNS_TEMPFAIL:
		return give_up(reason, MX_TEMPORARY, "4.4.3 the MX lookup of %.100s failed for now", domain);
	case DNS_NXDOMAIN:
		return give_up(reason, MX_PERMANENT, "5.1.2 there is no domain %.100s", domain);
	case DNS_NODATA: /* the implicit MX */
		snprintf(out->at[0].name, sizeof(out->at[0].name), "%s", domain);
		out->at[0].preference = 0;
		out->count = 1;
		if (strcasecmp(domain, own_name) == 0)
			return loops(reason, domain);
		return MX_OK;
	case DNS_OK:
		break;
	}
	if (a->count == 1 && a->records[0].data.len == 0)
		return give_up(reason, MX_PERMANENT, "5.1.10 %.100s does not accept mail (null MX)", domain);
	for (size_t i = 0; i < a->count && count < DNS_RECORDS_MAX; i++) {
		all[count].preference = a->records[i].preference;
		if (a->records[i].data.len > 0 &&
		    view_copy(a->records[i].data, all[count].name, sizeof(all[count].name)) == 0)
			count++;
	}
	shuffle(all, count, random);
	sort_by_preference(all, count);
	keep = count;
	for (size_t i = 0; i < count; i++) {
		if (strcasecmp(all[i].name, own_name) != 0)
			continue;
		for (keep = i; keep > 0 && all[keep - 1].preference == all[i].preference; keep--)
			;
		break;
	}
	if (keep == 0)
		return count > 0 ? loops(reason, domain)
		                 : give_up(reason, MX_PERMANENT, "5.4.4 %.100s has no usable mail exchanger", domain);
	out->count = keep < MX_HOSTS_MAX ? keep : MX_HOSTS_MAX;
	memcpy(out->at, all, out->count * sizeof(all[0]));
	return MX_OK;
}

/* Addresses --------------------------------------------------------------------------------------------------- */

static void set_address(struct mx_address *out, const char *host, int family, const uint8_t *bytes, uint16_t port)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->host, sizeof(out->host), "%s", host);
	if (family == AF_INET6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out->to;
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		memcpy(&sin6->sin6_addr, bytes, 16);
		out->len = sizeof(*sin6);
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)&out->to;
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, bytes, 4);
		out->len = sizeof(*sin);
	}
	inet_ntop(family, bytes, out->text, sizeof(out->text));
}

bool mx_is_name(const char *host)
{
	uint8_t bytes[16];

	return host[0] != '\0' && host[0] != '[' && inet_pton(AF_INET, host, bytes) != 1 &&
	       inet_pton(AF_INET6, host, bytes) != 1;
}

static bool is_own(const struct site *site, const struct mx_address *a)
{
	const char *own[] = { site->host.ipv4, site->host.ipv6, site->host.public_ipv4, site->host.public_ipv6 };
	const void *theirs = a->to.ss_family == AF_INET6
	                         ? (const void *)&((const struct sockaddr_in6 *)&a->to)->sin6_addr
	                         : (const void *)&((const struct sockaddr_in *)&a->to)->sin_addr;
	size_t len = a->to.ss_family == AF_INET6 ? 16 : 4;
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (own[i] != NULL && inet_pton(a->to.ss_family, own[i], bytes) == 1 && memcmp(bytes, theirs, len) == 0)
			return true;
	}
	return false;
}

static void lookup_end(struct mx_lookup *l, struct mx_route *route)
{
	route->ttl = l->ttl < ROUTE_TTL_MAX ? l->ttl : ROUTE_TTL_MAX;
	route->secure = l->secure;
	l->fn(l->arg, route);
	site_unref(l->site);
	free(l->name);
	free(l);
	free(route);
}

static struct mx_route *route_new(enum mx_status status)
{
	struct mx_route *route = xcalloc(1, sizeof(*route));

	route->status = status;
	return route;
}

/* Adds one host's addresses; false when one of them is ours. */
static bool add_host(struct mx_lookup *l, size_t h, struct mx_route *route)
{
	for (int f = 0; f < 2; f++) {
		const struct host_query *q = &l->queries[h][f];
		for (size_t i = 0; i < q->count && route->count < MX_ADDRESSES_MAX; i++) {
			struct mx_address *a = &route->at[route->count];
			set_address(a, l->hosts.at[h].name, f == 0 ? AF_INET6 : AF_INET, q->addresses[i], l->port);
			if (!l->direct && is_own(l->site, a))
				return false;
			route->count++;
		}
	}
	return true;
}

static void all_answered(struct mx_lookup *l)
{
	struct mx_route *route = route_new(MX_OK);
	bool own = false, tempfail = false;

	for (size_t h = 0; h < l->hosts.count && !own; h++) {
		size_t before = route->count;
		tempfail |= l->queries[h][0].status == DNS_TEMPFAIL || l->queries[h][1].status == DNS_TEMPFAIL;
		if (add_host(l, h, route))
			continue;
		own = true;
		route->count = before;
		/* Hosts of the same preference as ours are out too. */
		while (route->count > 0 && h > 0 && l->hosts.at[h - 1].preference == l->hosts.at[h].preference) {
			h--;
			while (route->count > 0 && strcmp(route->at[route->count - 1].host, l->hosts.at[h].name) == 0)
				route->count--;
		}
	}
	if (route->count == 0 && own)
		route->status = loops(route->reason, l->name);
	else if (route->count == 0 && tempfail)
		route->status =
		    give_up(route->reason, MX_TEMPORARY, "4.4.3 the address lookup for %.100s failed for now", l->name);
	else if (route->count == 0)
		route->status =
		    give_up(route->reason, MX_PERMANENT, "5.4.4 no mail exchanger of %.100s has an address", l->name);
	lookup_end(l, route);
}

static void host_answered(void *arg, const struct dns_answer *a)
{
	struct host_query *q = arg;
	struct mx_lookup *l = q->lookup;

	q->status = a->status;
	for (size_t i = 0; a->status == DNS_OK && i < a->count && q->count < MX_ADDRESSES_MAX; i++) {
		size_t len = a->records[i].data.len;
		if (len == 4 || len == 16)
			memcpy(q->addresses[q->count++], a->records[i].data.ptr, len);
	}
	if (a->status == DNS_OK && a->ttl < l->ttl)
		l->ttl = a->ttl;
	if (--l->outstanding == 0)
		all_answered(l);
}

static void ask_hosts(struct mx_lookup *l)
{
	bool v6 = l->site->host.ipv6[0] != '\0', v4 = l->site->host.ipv4[0] != '\0' || !v6;

	if (!v6 && l->site->host.ipv4[0] == '\0')
		v6 = true;
	l->outstanding = l->hosts.count * ((size_t)v4 + v6);
	for (size_t h = 0; h < l->hosts.count; h++) {
		for (int f = 0; f < 2; f++) {
			struct host_query *q = &l->queries[h][f];
			q->lookup = l;
			q->status = DNS_NODATA;
			if (f == 0 ? v6 : v4)
				dns_query(l->dns, l->hosts.at[h].name, f == 0 ? DNS_AAAA : DNS_A, host_answered, q);
		}
	}
}

static void mx_answered(void *arg, const struct dns_answer *a)
{
	struct mx_lookup *l = arg;
	struct mx_route *route = route_new(MX_OK);
	uint32_t random = 0;

	if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
		random = 0;
	route->status = mx_select(a, l->name, l->site->host.name, random, &l->hosts, route->reason);
	l->secure = a->secure;
	if (a->status == DNS_OK)
		l->ttl = a->ttl;
	if (route->status != MX_OK) {
		lookup_end(l, route);
		return;
	}
	free(route);
	ask_hosts(l);
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" and, for a smarthost, the bare address. */
static int parse_literal(const char *name, int *family, uint8_t bytes[16])
{
	char text[64];
	size_t len = strlen(name);

	if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
		name++;
		len -= 2;
	}
	if (len > 5 && strncasecmp(name, "IPv6:", 5) == 0) {
		name += 5;
		len -= 5;
	}
	if (len >= sizeof(text))
		return -1;
	memcpy(text, name, len);
	text[len] = '\0';
	for (int i = 0; i < 2; i++) {
		*family = i == 0 ? AF_INET : AF_INET6;
		if (inet_pton(*family, text, bytes) == 1)
			return 0;
	}
	return -1;
}

static void literal_route(struct mx_lookup *l, int family, const uint8_t *bytes)
{
	struct mx_route *route = route_new(MX_OK);

	l->ttl = ROUTE_TTL_MAX;
	set_address(&route->at[0], l->name, family, bytes, l->port);
	route->count = 1;
	if (!l->direct && is_own(l->site, &route->at[0])) {
		route->count = 0;
		route->status = loops(route->reason, l->name);
	}
	lookup_end(l, route);
}

void mx_lookup(
    struct dns_client *dns, const struct site *site, const char *name, bool direct, uint16_t port, mx_fn fn, void *arg)
{
	struct mx_lookup *l = xcalloc(1, sizeof(*l));
	uint8_t bytes[16];
	int family;

	l->dns = dns;
	l->site = site_ref((struct site *)site);
	l->name = xstrdup(name);
	l->direct = direct;
	l->port = port;
	l->fn = fn;
	l->arg = arg;
	l->ttl = ROUTE_TTL_MAX;
	if ((direct || name[0] == '[') && parse_literal(name, &family, bytes) == 0) {
		literal_route(l, family, bytes);
	} else if (name[0] == '[' || strlen(name) > MX_NAME_MAX) {
		struct mx_route *route = route_new(MX_PERMANENT);
		give_up(route->reason, MX_PERMANENT, "5.1.2 %.100s is not a domain", name);
		lookup_end(l, route);
	} else if (direct) {
		snprintf(l->hosts.at[0].name, sizeof(l->hosts.at[0].name), "%s", name);
		l->hosts.count = 1;
		ask_hosts(l);
	} else {
		dns_query(dns, name, DNS_MX, mx_answered, l);
	}
}
