/*
 * ARC (RFC 8617): what the hosts that a message came by say of it.  Verifying a chain; the fields of the next set
 * (sealing is arc_seal in mailsvc/keys/client.h).
 *
 * The whole chain is verified: each ARC-Seal, and each ARC-Message-Signature from the newest down to the first that no
 * longer matches (5.2).  A chain without structure, with cv=fail, over 50 sets, or with a key that cannot be had fails.
 */
#ifndef MAILSVC_POLICY_ARC_H
#define MAILSVC_POLICY_ARC_H

#include "lib/buf.h"
#include "mailsvc/policy/dns.h"

#define ARC_INSTANCES_MAX 50

enum arc_result { ARC_NONE, ARC_PASS, ARC_FAIL };

struct arc_verdict {
	enum arc_result result;
	bool temporary;       /* ARC_FAIL since DNS had no answer now: later it may be another */
	bool closed;          /* the newest seal says cv=fail, or there are 50: no set may be added (5.1.2) */
	unsigned instance;    /* the highest there is, 0 none */
	unsigned oldest_pass; /* the lowest instance from which on all message signatures match; 0: from the first
	                         (5.2). Of a large header not all are looked at, which ends it too. */
	char sealer[256];     /* d= of the newest seal: lower case, A-labels */
	char selector[256];   /* its s= */
	char sealers[1024]; /* d= of each seal, newest first, with ':' between; from the first that does not fit on they
	                       are left out */
	uint64_t dmarc_said, dmarc_passed; /* by instance, 1 << (i - 1): its results name DMARC; it passed there */
	struct view authres; /* the newest ARC-Authentication-Results behind "i=N;": during the callback only */
	char reason[160];    /* one line of printable ASCII, never "" */
};

/* "none", "pass", "fail". */
const char *arc_result_name(enum arc_result);

/*
 * Does the chain pass, and did the message pass DMARC when it came to a sealer that is trusted?  Newest first: one that
 * says nothing of DMARC is taken at its seal; one that says that it did not pass leaves it to an older one, since a
 * list before it may have changed the message; the first that is not trusted ends it.
 */
bool arc_vouches(const struct arc_verdict *, bool (*trusted)(void *arg, struct view sealer), void *arg);

/* As dkim_verify_start: message need not outlive the call, but for authres, which points into it. */
typedef void (*arc_verify_fn)(void *arg, const struct arc_verdict *);
struct arc_verify;
struct arc_verify *arc_verify_start(
    const struct policy_dns *, struct view message, int64_t now, arc_verify_fn, void *arg);
void arc_verify_cancel(struct arc_verify *); /* NULL is fine */

#endif
