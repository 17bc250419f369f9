/* The ARC sets of a header (RFC 8617 4.2), found and put in order.  Pure; fields are views into the header. */
#ifndef MAILSVC_POLICY_ARC_SETS_H
#define MAILSVC_POLICY_ARC_SETS_H

#include <openssl/types.h>

#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/arc.h"

struct arc_set { /* fields that are not there have a field.ptr of NULL */
	struct mime_header results, message_signature, seal;
	struct view cv;      /* of the seal */
	struct view authres; /* of results, behind "i=N;" */
};
struct arc_sets {
	struct arc_set sets[ARC_INSTANCES_MAX]; /* set i is sets[i - 1] */
	unsigned count;      /* the highest instance there is; 0 with a problem: fields that have none */
	bool any;            /* is there any field of ARC? */
	const char *problem; /* NULL: each of 1..count is whole, there once, and has the right cv= */
};

void arc_sets_read(struct arc_sets *, struct view header);

/*
 * Adds a set to the hash that seals cover (5.1.1), without its seal: in order, from the first.  canonical is scratch.
 */
void arc_set_hash(const struct arc_set *, EVP_MD_CTX *, struct buf *canonical);

#endif
