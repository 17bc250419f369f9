/* Inside site/: IP addresses and prefixes as numbers, for the cross-checks. */
#ifndef SITE_PREFIX_H
#define SITE_PREFIX_H

#include <stdbool.h>
#include <sys/socket.h>

#include "site.h"

struct prefix {
	int family; /* AF_INET, AF_INET6 */
	unsigned char bytes[16];
	unsigned length; /* bits; of a single address 32 or 128 */
};

/* A text as TYPE_PREFIXES holds it, or an address. -1: it is neither. */
int prefix_parse(const char *text, struct prefix *out);
bool prefix_holds(const struct prefix *outer, const struct prefix *inner);
bool prefix_in(const struct strings *prefixes, const char *address); /* does one of them hold it? */
/* The same for a peer's address; that of an IPv4 peer on an IPv6 socket counts as IPv4. Other families: false. */
bool prefix_in_peer(const struct strings *prefixes, const struct sockaddr *);
/* Loopback, private, link-local, shared or unique-local: what other hosts on the Internet cannot reach. */
bool prefix_private(const char *address);

#endif
