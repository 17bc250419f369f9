/*
 * The scratch network of try.c: namespaces of this process alone, joined by veth pairs.  OUTSIDE is the world: every
 * address there is is its own.  HERE is the machine whose rules are tried.  BEHIND is the mail host where HERE is the
 * gateway, and there every address of gateway.network is its own; else it is not there.
 */
#ifndef FWGEN_TRY_NET_H
#define FWGEN_TRY_NET_H

#include <stdbool.h>

#include "lib/log.h"
#include "site/site.h"

struct ip { /* an address, or a prefix */
	bool ipv6;
	unsigned char bytes[16];
	unsigned char length; /* bits */
};

int ip_parse(const char *text, struct ip *); /* "192.0.2.0/24", "2001:db8::1": 0 or -1 */
bool ip_within(const struct ip *, const struct ip *prefix);

enum try_place { TRY_OUTSIDE, TRY_HERE, TRY_BEHIND, TRY_PLACES };

struct try_net {
	int ns[TRY_PLACES];                   /* -1 where it is not there */
	int index_of[TRY_PLACES][TRY_PLACES]; /* index, in the first, of its interface to the second */
};

/* Leaves the caller's network namespace for good (and its user namespace, unless it is root). */
int try_net_make(struct try_net *, const struct site *, struct error *);
int try_net_enter(const struct try_net *, enum try_place, struct error *);
/* What OUTSIDE sends to this address goes to HERE. */
int try_net_route(const struct try_net *, const struct ip *, struct error *);

#endif
