/*
 * DKIM keys as a struct rollover_kind: next and current are selectors, the subject is a domain of the site, the kind
 * "dkim" for RSA (as it was before there were two) or "dkim-ed25519".
 */
#ifndef DNSGEN_ROLLOVER_DKIM_H
#define DNSGEN_ROLLOVER_DKIM_H

#include "dnsgen/lookup.h"
#include "dnsgen/rollover.h"
#include "mailsvc/monitor/dkimkeys.h"

struct rollover_dkim {
	const struct site *site;
	struct lookup *lookup;
	/* What commit does: the zones where this host serves them, and the running host. */
	int (*push)(void *arg, struct error *);
	int (*reload)(void *arg, struct error *);
	void *arg;
};

#define ROLLOVER_REVOKED_S (14 * 86400)

/* arg of the result is the struct, which has to outlive it. */
struct rollover_kind rollover_dkim_kind(struct rollover_dkim *);
/*
 * Asks at once what the items that wait will ask one by one, so that servers that do not answer take their time together
 * and not all of the lookup's.
 */
void rollover_dkim_prefetch(const struct rollover_dkim *, const struct rollover *);

bool rollover_dkim_is(const struct rollover_item *); /* one of them? */
enum dkim_algorithm rollover_dkim_algorithm(const struct rollover_item *);
/*
 * Brings the table in line with the site: adds an idle item for each key that signs, begins one for each Ed25519 key
 * that none signs yet, drops those that the site or the administrator has overtaken (told as ROLLOVER_FAILED).  How many
 * were dropped, -1 on error.
 */
int rollover_dkim_sync(const struct site *, struct rollover *, rollover_tell *, void *arg, struct error *);
/* A new selector for the item, from the site's and the day of `now`; malloc'd. */
char *rollover_dkim_next(const struct site *, struct rollover *, const struct rollover_item *, int64_t now);
/* What to enter where the zone is kept elsewhere: a line of a zone, or nothing. */
void rollover_dkim_record(const struct site *, const struct rollover_item *, struct buf *out);

#endif
