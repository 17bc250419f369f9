/*
 * What other hosts have said of recipients (verify_client.h), in STATE/verified: shared by all smtp processes, and kept
 * over a restart.  An entry is of a recipient and the hosts that were asked, so that a site with others asks anew.
 */
#ifndef MAILSVC_SMTP_VERIFIED_H
#define MAILSVC_SMTP_VERIFIED_H

#include "mailsvc/send/verify_client.h"
#include "site/hop.h"

#define VERIFIED_BITS 40               /* of struct shared_table: SHARED_VERIFIED_BYTES */
#define VERIFIED_FRESH (4 * 3600)      /* seconds in which who was taken is not asked for again, */
#define VERIFIED_KEPT (7 * 86400)      /* and in which that still counts when nobody can be asked */
#define VERIFIED_REFUSED_FOR (10 * 60) /* who was refused is so, without asking */
#define VERIFIED_UNKNOWN_FOR 30        /* nobody asks again */

enum verified_state {
	VERIFIED_NOT,   /* to be asked */
	VERIFIED_TAKEN, /* lately */
	VERIFIED_ONCE,  /* taken some time ago: to be asked again, and taken if nobody answers */
	VERIFIED_REFUSED,
	VERIFIED_UNKNOWN,
};
struct verified {
	enum verified_state state;
	char enhanced[VERIFY_ENHANCED_MAX + 1]; /* VERIFIED_REFUSED: the host's, or "5.0.0" for an unusual one */
};

struct shared_table;
/* recipient: as its host is asked about it; now: wall clock, seconds. */
struct verified verified_get(const struct shared_table *, const struct next_hop *, const char *recipient, int64_t now);
/* That nobody knows does not take the place of having been taken. */
void verified_put(
    struct shared_table *, const struct next_hop *, const char *recipient, const struct verify_answer *, int64_t now);

#endif
