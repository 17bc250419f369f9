/* What becomes of recipients that failed: a notification to the sender, delivered or queued in the result's own commit.
 */
#ifndef MAILSVC_SEND_BOUNCE_H
#define MAILSVC_SEND_BOUNCE_H

#include "item.h"
#include "site/route.h"

/* A delivery that owns everything it points to. */
struct bounce {
	struct store_delivery delivery;
	struct buf message, mime;
	struct route route;
	struct store_local *local;
	struct store_remote *remote;
	char **prefixes, **domains;
	size_t prefix_count, domain_count;
};

struct bounce_ask {
	bool expired; /* some failed because their time ran out */
	bool delay;   /* those that are QUEUE_RETRY are told of, too */
	int64_t now;
};
/*
 * Makes the notification of what became of the item's recipients, as far as the sender wants to know it.  0: made; 1:
 * there is nothing to tell, or nobody (the one to tell is who cannot be reached: no loop).
 */
int bounce_make(const struct site *, const struct item *, const struct bounce_ask *, struct bounce *out);
/* Puts a DKIM-Signature in front. */
void bounce_sign(struct bounce *, struct view field);
void bounce_free(struct bounce *);

#endif
