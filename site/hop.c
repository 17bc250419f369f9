/* Where mail leaves to.  A few routes and domains are looked through for each message; nothing here does I/O. */
#include "hop.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "route.h"

#define RELAY_ROUTE "relay"
#define LMTP_PORT 24

static int port_parse(struct view v, uint16_t *port)
{
	uint64_t n;

	if (view_u64(v, 65535, &n) == -1 || n == 0)
		return -1;
	*port = (uint16_t)n;
	return 0;
}

static bool is_address(const char *s)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

/* "[address]" or "[address]:port" */
static int bracketed(struct view v, struct hop_host *out)
{
	const char *end = memchr(v.ptr, ']', v.len);

	if (end == NULL)
		return -1;
	size_t len = (size_t)(end - v.ptr);
	struct view rest = { end + 1, v.len - len - 1 };
	if (view_copy((struct view){ v.ptr + 1, len - 1 }, out->name, sizeof(out->name)) == -1 ||
	    !is_address(out->name))
		return -1;
	if (rest.len == 0)
		return 0;
	return rest.ptr[0] == ':' ? port_parse((struct view){ rest.ptr + 1, rest.len - 1 }, &out->port) : -1;
}

int hop_host_parse(const char *text, struct hop_host *out)
{
	char written[256];

	*out = (struct hop_host){ .lmtp = strncmp(text, "lmtp:", 5) == 0 };
	if (out->lmtp || strncmp(text, "smtp:", 5) == 0)
		text += 5;
	if (text[0] == '[')
		return bracketed(view_of(text), out);
	const char *colon = strchr(text, ':');
	if (colon != NULL && strchr(colon + 1, ':') != NULL) /* a bare IPv6 address */
		return view_copy(view_of(text), out->name, sizeof(out->name)) == 0 && is_address(out->name) ? 0 : -1;
	struct view name = { text, colon != NULL ? (size_t)(colon - text) : strlen(text) };
	if (view_copy(name, written, sizeof(written)) == -1 ||
	    (colon != NULL && port_parse(view_of(colon + 1), &out->port) == -1))
		return -1;
	if (is_address(written))
		return view_copy(name, out->name, sizeof(out->name));
	return domain_normalise(name, out->name, sizeof(out->name));
}

const char *hop_tls_words(enum hop_tls tls)
{
	static const char *const words[] = { [HOP_TLS_POLICY] = "as the domain says",
		[HOP_TLS_MAY] = "where offered",
		[HOP_TLS_ENCRYPT] = "encrypt",
		[HOP_TLS_REQUIRED] = "required",
		[HOP_TLS_NONE] = "none" };

	return words[tls];
}

/* Does the domain, the address, or ".domain" (what is below it) name this normalised address? */
static bool named(const char *match, const char *address)
{
	const char *domain = strrchr(address, '@');

	if (domain == NULL)
		return false;
	domain++;
	if (match[0] == '.') {
		size_t m = strlen(match), d = strlen(domain);
		return d > m && strcmp(domain + d - m, match) == 0;
	}
	return strcmp(match, strchr(match, '@') != NULL ? address : domain) == 0;
}

static bool names(const struct strings *list, const char *address)
{
	for (size_t i = 0; i < list->count; i++)
		if (named(list->at[i], address))
			return true;
	return false;
}

bool site_routes_address(const struct site *site, const char *normalised)
{
	for (size_t i = 0; i < site->route_count; i++)
		for (size_t j = 0; j < site->routes[i].to.count; j++)
			if (strcmp(site->routes[i].to.at[j], normalised) == 0)
				return true;
	return false;
}

/* port: where none is named, but for LMTP, which has its own. */
static void add_host(struct next_hop *out, const char *text, uint16_t port)
{
	struct hop_host *h = &out->hosts[out->host_count];

	if (out->host_count == HOP_HOSTS_MAX || hop_host_parse(text, h) == -1)
		return;
	if (h->port == 0)
		h->port = h->lmtp ? LMTP_PORT : port;
	out->lmtp |= h->lmtp;
	out->host_count++;
}

static void by_route(const struct site *site, const struct site_route *r, struct next_hop *out)
{
	bool lmtp = strcmp(r->protocol, "lmtp") == 0;
	uint16_t port = lmtp ? LMTP_PORT : r->user[0] != '\0' ? 587 : (uint16_t)site->relay.port_out;

	out->route = r->name;
	for (size_t i = 0; i < r->hosts.count; i++)
		add_host(out, r->hosts.at[i], port);
	out->lmtp |= lmtp;
	out->user = r->user;
	if (strcmp(r->tls, "encrypt") == 0)
		out->tls = HOP_TLS_ENCRYPT;
	else if (r->user[0] != '\0' || strcmp(r->tls, "required") == 0)
		out->tls = HOP_TLS_REQUIRED;
	else if (strcmp(r->tls, "none") == 0)
		out->tls = HOP_TLS_NONE;
	else
		out->tls = out->host_count > 0 ? HOP_TLS_MAY : HOP_TLS_POLICY;
	if (r->ipv4[0] != '\0')
		out->ipv4 = r->ipv4;
	if (r->ipv6[0] != '\0')
		out->ipv6 = r->ipv6;
	out->no_ipv4 |= strcmp(r->family, "ipv6") == 0;
	out->no_ipv6 |= strcmp(r->family, "ipv4") == 0;
	if (r->connections > 0)
		out->connections = r->connections;
	if (r->rate > 0)
		out->rate = r->rate;
}

static const struct site_route *find(
    const struct site *site, const char *sender, const char *recipient, bool by_recipient)
{
	for (size_t i = 0; i < site->route_count; i++) {
		const struct site_route *r = &site->routes[i];
		if ((r->to.count > 0) == by_recipient && (!by_recipient || names(&r->to, recipient)) &&
		    (r->from.count == 0 || (sender[0] != '\0' && names(&r->from, sender))))
			return r;
	}
	return NULL;
}

/* A domain's deliver or elsewhere. */
static void inside(const struct site *site, const char *host, struct next_hop *out)
{
	add_host(out, host, (uint16_t)site->relay.port_out);
	out->tls = HOP_TLS_MAY;
}

static void by_smarthost(const struct site *site, struct next_hop *out)
{
	struct hop_host *h = &out->hosts[out->host_count++];

	*h = (struct hop_host){ .port = (uint16_t)site->relay.port };
	view_copy(view_of(site->relay.smarthost), h->name, sizeof(h->name));
	out->route = RELAY_ROUTE;
	out->user = site->relay.user;
	out->tls = site->relay.tls_required      ? HOP_TLS_REQUIRED
	           : site->relay.user[0] != '\0' ? HOP_TLS_ENCRYPT
	                                         : HOP_TLS_MAY;
}

void site_next_hop(const struct site *site, const char *sender, const char *recipient, struct next_hop *out)
{
	char from[ADDRESS_MAX], to[ADDRESS_MAX];

	*out = (struct next_hop){
		.route = "",
		.port = (uint16_t)site->relay.port_out,
		.tls = HOP_TLS_POLICY,
		.user = "",
		.ipv4 = site->relay.ipv4,
		.ipv6 = site->relay.ipv6,
		.no_ipv4 = strcmp(site->relay.family, "ipv6") == 0,
		.no_ipv6 = strcmp(site->relay.family, "ipv4") == 0,
		.connections = site->relay.connections_each,
		.rate = site->relay.rate,
	};
	if (address_normalise(view_of(recipient), to, sizeof(to)) == -1)
		view_copy(VIEW_NONE, to, sizeof(to));
	if (address_normalise(view_of(sender), from, sizeof(from)) == -1)
		view_copy(VIEW_NONE, from, sizeof(from));
	const char *at = strrchr(to, '@');
	const struct site_route *r = find(site, from, to, true);
	const struct site_domain *d = r == NULL && at != NULL ? site_find_domain(site, at + 1) : NULL;
	if (r == NULL && d != NULL && d->deliver[0] != '\0') {
		inside(site, d->deliver, out);
	} else if (r == NULL && d != NULL && d->elsewhere[0] != '\0') {
		inside(site, d->elsewhere, out);
	} else if (r != NULL || (r = find(site, from, to, false)) != NULL) {
		by_route(site, r, out);
	} else if (site->relay.smarthost[0] != '\0') {
		by_smarthost(site, out);
	}
}

bool site_verifies(const struct site *site, const char *sender, const char *recipient, struct next_hop *out)
{
	char to[ADDRESS_MAX];
	const struct site_domain *d;

	if (address_normalise(view_of(recipient), to, sizeof(to)) == -1)
		return false;
	d = site_find_domain(site, strrchr(to, '@') + 1);
	if (d == NULL || !d->verify)
		return false;
	site_next_hop(site, sender, to, out);
	return out->host_count > 0 && strcmp(out->route, RELAY_ROUTE) != 0;
}

static void add_port(uint16_t port, uint16_t *ports, size_t max, size_t *count)
{
	for (size_t i = 0; i < *count && i < max; i++)
		if (ports[i] == port)
			return;
	if (*count < max)
		ports[*count] = port;
	++*count;
}

static void add_ports(const struct next_hop *hop, uint16_t *ports, size_t max, size_t *count)
{
	for (size_t i = 0; i < hop->host_count; i++)
		add_port(hop->hosts[i].port, ports, max, count);
}

size_t site_ports_out(const struct site *site, uint16_t *ports, size_t max)
{
	size_t count = 0;

	add_port((uint16_t)site->relay.port_out, ports, max, &count);
	if (site->relay.smarthost[0] != '\0')
		add_port((uint16_t)site->relay.port, ports, max, &count);
	for (size_t i = 0; i < site->route_count; i++) {
		struct next_hop hop = { 0 };
		by_route(site, &site->routes[i], &hop);
		add_ports(&hop, ports, max, &count);
	}
	for (size_t i = 0; i < site->domain_count; i++) {
		struct next_hop hop = { 0 };
		if (site->domains[i].deliver[0] != '\0')
			inside(site, site->domains[i].deliver, &hop);
		if (site->domains[i].elsewhere[0] != '\0')
			inside(site, site->domains[i].elsewhere, &hop);
		add_ports(&hop, ports, max, &count);
	}
	return count;
}
