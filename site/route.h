/*
 * Where an address leads on this host: accounts, aliases, distribution lists, plus-addresses, catch-all, and the
 * addresses every domain answers (postmaster, abuse, and on host.name also root and mailer-daemon).
 */
#ifndef SITE_ROUTE_H
#define SITE_ROUTE_H

#include "site.h"

enum route_status {
	ROUTE_OK,
	ROUTE_UNKNOWN, /* our domain, nobody there: 550 5.1.1 */
	ROUTE_FOREIGN, /* not our domain: relayed only for the authenticated */
	ROUTE_INVALID, /* not an address */
	ROUTE_CLOSED,  /* an account that takes no mail any more: 550 5.2.1 */
};

struct route_target {
	const struct site_account *account; /* local delivery when set */
	char *address;                      /* else: remote recipient (normalised domain, local part as written) */
	char *tag;                          /* "x" of user+x@, or NULL */
	char *sender;                       /* the envelope sender when a list replaced it, or NULL: as it was */
	bool forwarded;                     /* from an address of ours to one that is not */
};

struct route {
	enum route_status status;
	struct route_target *targets; /* each account and remote address once, at most ROUTE_MAX */
	size_t count;
	bool truncated; /* more targets than ROUTE_MAX, or too deep: load refuses such sites */
};
#define ROUTE_MAX 1000     /* targets of one recipient */
#define ROUTE_DEPTH_MAX 10 /* alias in alias */

/* ROUTE_FOREIGN yields one remote target. Loops were refused at load. */
void route_resolve(const struct site *, struct view address, struct route *out);
void route_free(struct route *);

bool site_is_local_domain(const struct site *, const char *normalised_domain); /* host.name included */
const struct site_account *site_find_account(const struct site *, const char *normalised);
const struct site_domain *site_find_domain(const struct site *, const char *normalised);
/* The domain that name is, or the nearest one that it is below; NULL: it is in none of ours. */
const struct site_domain *site_zone_of(const struct site *, const char *name);
/* May account send as this address?  Its own (with plus-tags), aliases that lead to it alone, and accounts that name
 * it among their senders. */
bool site_may_send_as(const struct site *, const struct site_account *, struct view address);

#endif
