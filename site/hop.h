/*
 * Where mail leaves to: routes, whole domains that other software keeps, the old host of a staged move, the smarthost,
 * and else the recipient domain's mail exchangers.
 */
#ifndef SITE_HOP_H
#define SITE_HOP_H

#include "site.h"

#define HOP_HOSTS_MAX 10

struct hop_host {
	char name[256]; /* a host name or an address without brackets */
	uint16_t port;  /* 0: none was named */
	bool lmtp;      /* "lmtp:" stood before it */
};
/* "host", "host:port", "192.0.2.1:port", "[2001:db8::1]:port", each with "lmtp:" or "smtp:" before it or not. -1: none.
 */
int hop_host_parse(const char *text, struct hop_host *out);

enum hop_tls {
	HOP_TLS_POLICY,   /* as the recipient domain says (DANE, MTA-STS), else where it is offered; by MX only */
	HOP_TLS_MAY,      /* where it is offered, any certificate */
	HOP_TLS_ENCRYPT,  /* or not at all, any certificate */
	HOP_TLS_REQUIRED, /* or not at all, with a certificate that is valid for the host */
	HOP_TLS_NONE,
};
const char *hop_tls_words(enum hop_tls); /* for people: "where offered" */

struct next_hop {
	const char *route;                    /* the route's name; "" none; "relay": relay.smarthost */
	struct hop_host hosts[HOP_HOSTS_MAX]; /* in order, each with its port; none: by MX */
	size_t host_count;
	bool lmtp;
	uint16_t port; /* by MX */
	enum hop_tls tls;
	const char *user;        /* "" : no AUTH */
	const char *ipv4, *ipv6; /* addresses to send from, "" : as the host */
	bool no_ipv4, no_ipv6;   /* families that are not used */
	int connections, rate;   /* to one destination; messages a minute, 0: any number */
};

/*
 * The order: the first route whose `to` names the recipient and whose `from`, if any, the sender; the recipient
 * domain's deliver, then its elsewhere; the first route without `to`; relay.smarthost; MX.  Pointers are the site's.
 * sender "":
 * <>, which only routes without `from` match.
 */
void site_next_hop(const struct site *, const char *sender, const char *recipient, struct next_hop *out);
/*
 * May only a host that the site names know the recipient, an address of ours, and is it to be asked (domains[].verify)?
 * out: the way to it, filled when true.
 */
bool site_verifies(const struct site *, const char *sender, const char *recipient, struct next_hop *out);
/* Does a route's `to` name exactly this normalised address?  It is somebody then, though no account. */
bool site_routes_address(const struct site *, const char *normalised);
/* Every port that mail may leave to: at most max of them; returns how many there are. */
size_t site_ports_out(const struct site *, uint16_t *ports, size_t max);

#endif
