/*
 * Ways out.  A destination is what has the same hosts, the same demands and the same limits: the key is all of them as
 * one text, so that a reload that changes any of them makes a new destination, and the old one is forgotten when idle.
 */
#include "route.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void next_hop(const struct site *site, const struct item *it, size_t i, struct next_hop *out)
{
	site_next_hop(site, it->sender, it->recipients[i].address, out);
	if (out->ipv4[0] == '\0')
		out->ipv4 = site->host.ipv4;
	if (out->ipv6[0] == '\0')
		out->ipv6 = site->host.ipv6;
	if (it->route[0] == '\0' || hop_host_parse(it->route, &out->hosts[0]) == -1)
		return;
	out->host_count = 1;
	if (out->hosts[0].port == 0)
		out->hosts[0].port = out->port;
	out->route = "";
	out->lmtp = out->hosts[0].lmtp;
	out->tls = HOP_TLS_MAY;
	out->user = "";
}

void hop_key(const struct site *site, const struct item *it, size_t i, char key[ROUTE_KEY_MAX])
{
	struct next_hop h;
	struct buf b = BUF_INIT(ROUTE_KEY_MAX - 1);

	next_hop(site, it, i, &h);
	if (h.host_count == 0)
		buf_printf(&b, "mx %s %u", it->domain, h.port);
	for (size_t n = 0; n < h.host_count; n++)
		buf_printf(&b, "%s %s %u ", h.lmtp ? "lmtp" : "smtp", h.hosts[n].name, h.hosts[n].port);
	buf_printf(&b, " %s %d %s %s %s %d%d %d %d", h.route, (int)h.tls, h.user, h.ipv4, h.ipv6, h.no_ipv4, h.no_ipv6,
	    h.connections, h.rate);
	view_copy(buf_view(&b), key, ROUTE_KEY_MAX);
	buf_free(&b);
}

/* An address that this machine does not have cannot be sent from: then the kernel chooses. */
static socklen_t usable(const struct sockaddr_storage *from, socklen_t len)
{
	int fd = socket(from->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd != -1 && bind(fd, (const struct sockaddr *)from, len) == 0;

	if (fd != -1)
		close(fd);
	return ok ? len : 0;
}

static void set_sources(struct hop *h, const char *ipv4, const char *ipv6)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)&h->from[0];
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&h->from[1];

	sin->sin_family = AF_INET;
	sin6->sin6_family = AF_INET6;
	if (inet_pton(AF_INET, ipv4, &sin->sin_addr) == 1)
		h->from_len[0] = usable(&h->from[0], sizeof(*sin));
	if (inet_pton(AF_INET6, ipv6, &sin6->sin6_addr) == 1)
		h->from_len[1] = usable(&h->from[1], sizeof(*sin6));
}

void hop_init(struct hop *h, const struct site *site, const struct item *it, size_t i)
{
	struct next_hop n;

	next_hop(site, it, i, &n);
	*h = (struct hop){
		.route = xstrdup(n.route),
		.domain = xstrdup(n.host_count > 0 ? n.hosts[0].name : it->domain),
		.host_count = n.host_count,
		.lmtp = n.lmtp,
		.tls = n.tls,
		.user = xstrdup(n.user),
		.port = n.port,
		.no_family = { n.no_ipv4, n.no_ipv6 },
		.connections = n.connections > 0 ? (unsigned)n.connections : 1,
		.rate = n.rate > 0 ? (unsigned)n.rate : 0,
	};
	h->hosts = xcalloc(n.host_count + 1, sizeof(*h->hosts));
	memcpy(h->hosts, n.hosts, n.host_count * sizeof(*h->hosts));
	set_sources(h, n.ipv4, n.ipv6);
}

void hop_free(struct hop *h)
{
	free(h->route);
	free(h->domain);
	free(h->user);
	free(h->hosts);
}

const struct sockaddr *hop_source(const struct hop *h, const struct mx_address *to, socklen_t *len)
{
	int f = to->to.ss_family == AF_INET6;
	const struct sockaddr_in *from = (const struct sockaddr_in *)&h->from[0],
				 *sin = (const struct sockaddr_in *)&to->to;

	*len = h->from_len[f];
	/* From 127.0.0.1 nothing but loopback is reached. */
	if (*len > 0 && f == 0 && ntohl(from->sin_addr.s_addr) >> 24 == 127 && ntohl(sin->sin_addr.s_addr) >> 24 != 127)
		*len = 0;
	return *len > 0 ? (const struct sockaddr *)&h->from[f] : NULL;
}

uint16_t mx_address_port(const struct mx_address *a)
{
	return ntohs(a->to.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&a->to)->sin6_port
						 : ((const struct sockaddr_in *)&a->to)->sin_port);
}

bool hop_implicit_tls(const struct hop *h, const struct mx_address *to)
{
	return !hop_by_mx(h) && h->tls != HOP_TLS_NONE && mx_address_port(to) == 465;
}

/* Looking up ------------------------------------------------------------------------------------------------- */

struct hop_lookup {
	struct dns_client *dns;
	struct site *site;
	struct hop_host hosts[HOP_HOSTS_MAX];
	size_t host_count, at;
	bool no_family[2];
	mx_fn fn;
	void *arg;
	struct mx_route all; /* of the hosts so far */
};

static void drop_families(struct mx_route *r, const bool no_family[2])
{
	size_t kept = 0, had = r->count;

	for (size_t i = 0; i < r->count; i++)
		if (!no_family[r->at[i].to.ss_family == AF_INET6])
			r->at[kept++] = r->at[i];
	r->count = kept;
	if (r->status != MX_OK || had == 0 || kept > 0)
		return;
	r->status = MX_TEMPORARY;
	snprintf(
	    r->reason, sizeof(r->reason), "4.4.4 no address of %.80s is in a family that may be used", r->at[0].host);
}

static void lookup_end(struct hop_lookup *l)
{
	drop_families(&l->all, l->no_family);
	l->fn(l->arg, &l->all);
	site_unref(l->site);
	free(l);
}

static void on_mx(void *arg, const struct mx_route *route)
{
	struct hop_lookup *l = arg;

	l->all = *route;
	lookup_end(l);
}

static void look_up_next(struct hop_lookup *l);

/* A host that has no address is passed over; with none at all the last one's reason counts. */
static void on_host(void *arg, const struct mx_route *route)
{
	struct hop_lookup *l = arg;

	if (route->status == MX_OK) {
		if (l->all.count == 0 || route->ttl < l->all.ttl)
			l->all.ttl = route->ttl;
		l->all.status = MX_OK;
		for (size_t i = 0; i < route->count && l->all.count < MX_ADDRESSES_MAX; i++)
			l->all.at[l->all.count++] = route->at[i];
	} else if (l->all.count == 0) {
		l->all = *route;
		l->all.count = 0;
	}
	l->at++;
	look_up_next(l);
}

static void look_up_next(struct hop_lookup *l)
{
	if (l->at == l->host_count)
		lookup_end(l);
	else
		mx_lookup(l->dns, l->site, l->hosts[l->at].name, true, l->hosts[l->at].port, on_host, l);
}

void hop_lookup(struct dns_client *dns, const struct site *site, const struct hop *h, mx_fn fn, void *arg)
{
	struct hop_lookup *l = xcalloc(1, sizeof(*l));

	l->dns = dns;
	l->site = site_ref((struct site *)site);
	l->host_count = h->host_count;
	memcpy(l->hosts, h->hosts, h->host_count * sizeof(*h->hosts));
	memcpy(l->no_family, h->no_family, sizeof(l->no_family));
	l->fn = fn;
	l->arg = arg;
	if (h->host_count == 0)
		mx_lookup(dns, site, h->domain, false, h->port, on_mx, l);
	else
		look_up_next(l);
}
