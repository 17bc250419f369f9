/* DKIM keys as a struct rollover_kind: next and current are selectors, the subject is a domain of the site. */
#ifndef DNSGEN_ROLLOVER_DKIM_H
#define DNSGEN_ROLLOVER_DKIM_H

#include "dnsgen/lookup.h"
#include "dnsgen/rollover.h"

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
 * Brings the table in line with the site: adds an idle item for each domain that has a key, drops those that the site
 * or the administrator has overtaken (told as ROLLOVER_FAILED).  How many were dropped, -1 on error.
 */
int rollover_dkim_sync(const struct site *, struct rollover *, rollover_tell *, void *arg, struct error *);
/* A new selector for the item, from the site's and the day of `now`; malloc'd. */
char *rollover_dkim_next(const struct site *, const struct rollover_item *, int64_t now);
/* What to enter where the zone is kept elsewhere: a line of a zone, or nothing. */
void rollover_dkim_record(const struct site *, const struct rollover_item *, struct buf *out);

#endif
