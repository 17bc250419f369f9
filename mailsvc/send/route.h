/* The way that a message takes from here: site/hop.h, kept by a destination beyond a reload of the site. */
#ifndef MAILSVC_SEND_ROUTE_H
#define MAILSVC_SEND_ROUTE_H

#include "item.h"
#include "mx.h"
#include "site/hop.h"

#define ROUTE_KEY_MAX 4096

struct hop {
	char *route;            /* the site's name for it, "" none */
	char *domain;           /* by MX: of the recipients; else the first host's name */
	struct hop_host *hosts; /* none: by MX of domain */
	size_t host_count;
	bool lmtp;
	enum hop_tls tls;
	char *user;                      /* "" : no AUTH */
	uint16_t port;                   /* by MX */
	bool no_family[2];               /* IPv4, IPv6 */
	struct sockaddr_storage from[2]; /* likewise */
	socklen_t from_len[2];           /* 0: let the kernel choose */
	unsigned connections, rate;      /* at most; messages a minute, 0: any number */
};

/*
 * The way of the item's recipient i, as a text: equal texts are one destination.  `queue reroute` (item->route) comes
 * before what the site says.
 */
void hop_key(const struct site *, const struct item *, size_t i, char key[ROUTE_KEY_MAX]);
void hop_init(struct hop *, const struct site *, const struct item *, size_t i);
void hop_free(struct hop *);
/* Our own address to connect to that one from, or NULL: any. */
const struct sockaddr *hop_source(const struct hop *, const struct mx_address *to, socklen_t *len);
uint16_t mx_address_port(const struct mx_address *);
/* Hosts by MX of its domain; else those that the site, or `queue reroute`, names. */
static inline bool hop_by_mx(const struct hop *h)
{
	return h->host_count == 0;
}
/* TLS from the first byte, and nothing without: port 465 of a host that was named. */
bool hop_implicit_tls(const struct hop *, const struct mx_address *);

/*
 * The addresses of all its hosts in order, or by MX; without those of families that are not used.  fn is called once;
 * the route is valid during the call only.
 */
void hop_lookup(struct dns_client *, const struct site *, const struct hop *, mx_fn fn, void *arg);

#endif
