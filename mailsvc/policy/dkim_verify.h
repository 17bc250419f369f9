/*
 * Verifying the DKIM signatures of a message (RFC 6376, RFC 8301, Ed25519 of RFC 8463).
 *
 * What this verifier decides where the RFCs leave it open:
 *  - at most DKIM_SIGNATURES_MAX signatures are looked at, from the top; those below have no result;
 *  - rsa-sha1, and RSA keys outside of 1024..8192 bits (RFC 8301 3): "policy", whether they match or not;
 *  - l= that leaves bytes of the body unsigned: "policy", since anybody can append: DMARC does not count it;
 *  - an expired signature (x=) that matches is "policy"; t= in the future is taken, clocks differ;
 *  - From must be signed, and every From that is there: else "permerror" (RFC 6376 5.4, 8.15);
 *  - a header of more than 1 MiB or 10,000 fields, with a CR or LF alone or with a line that is no field: "permerror", since others
 * would see other fields than were signed;
 *  - of several key records of one name the first that verifies counts.
 */
#ifndef MAILSVC_POLICY_DKIM_VERIFY_H
#define MAILSVC_POLICY_DKIM_VERIFY_H

#include "lib/buf.h"
#include "mailsvc/policy/dns.h"

#define DKIM_SIGNATURES_MAX 10

/* RFC 8601 2.7.1. */
enum dkim_verdict {
	DKIM_NONE, /* not signed: never the verdict of a signature */
	DKIM_PASS,
	DKIM_FAIL,      /* the body or the signature does not match */
	DKIM_POLICY,    /* not to be relied on: l=, weak key or algorithm, expired */
	DKIM_NEUTRAL,   /* the field is no list of tags */
	DKIM_TEMPERROR, /* the key could not be had now */
	DKIM_PERMERROR, /* can never be verified: a tag missing, no key, revoked, not allowed by the key */
};

struct dkim_result {
	enum dkim_verdict verdict;
	char domain[256], selector[256]; /* d=, s=: lower case, A-labels; "" when the field has none that is valid */
	char identity[384];              /* i=, '?' for what is not ASCII; "@d" without one */
	char algorithm[16];              /* a= */
	char b[9];                       /* header.b: the first 8 characters of b= (RFC 6008) */
	bool testing;                    /* t=y of the key */
	unsigned key_bits;               /* 0: no key seen */
	char reason[160];                /* one line of printable ASCII, never "": "ok" or what is wrong */
};

/* "none", "pass", ...: the words of Authentication-Results. */
const char *dkim_verdict_name(enum dkim_verdict);

/*
 * Verifies message (header and body, CRLF), which need not outlive the call: it is hashed inside.  now: seconds since
 * 1970.  The results are in the order of the fields and valid during the callback only; count 0: not signed.
 * Time without an answer is the caller's to limit, with dkim_verify_cancel or dkim_verify_expire; then there is no
 * callback.
 */
typedef void (*dkim_verify_fn)(void *arg, const struct dkim_result *, size_t count);
struct dkim_verify;
struct dkim_verify *dkim_verify_start(
    const struct policy_dns *, struct view message, int64_t now, dkim_verify_fn, void *arg);
void dkim_verify_cancel(struct dkim_verify *); /* NULL is fine */
/* Ends it now, and calls fn with what is known: what has no answer is DKIM_TEMPERROR.  NULL: fn is not called. */
void dkim_verify_expire(struct dkim_verify *, dkim_verify_fn, void *arg);

#endif
