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

/*
 * Makes the notification of all recipients of item that are QUEUE_FAILED.  0: made; 1: there is nobody to tell (none
 * failed, or the one to tell is who cannot be reached: no loop).
 */
int bounce_make(const struct site *, const struct item *, bool expired, int64_t now, struct bounce *out);
/* Puts a DKIM-Signature in front. */
void bounce_sign(struct bounce *, struct view field);
void bounce_free(struct bounce *);

#endif
