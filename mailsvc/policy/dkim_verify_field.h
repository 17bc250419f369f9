/*
 * One signature field, of DKIM (RFC 6376 3.5) or ARC (RFC 8617 4.1): reading it, and judging it once its hashes and its
 * key are there.  And the header of the message, indexed to pick the signed fields out of it.
 */
#ifndef MAILSVC_POLICY_DKIM_VERIFY_FIELD_H
#define MAILSVC_POLICY_DKIM_VERIFY_FIELD_H

#include "mailsvc/mime/mime.h"
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/dkim_verify_key.h"
#include "mailsvc/policy/sigtags.h"

enum dkim_field_kind { DKIM_FIELD_SIGNATURE, DKIM_FIELD_ARC_MESSAGE, DKIM_FIELD_ARC_SEAL };

struct dkim_field {
	struct dkim_result result; /* its verdict is DKIM_NONE while nothing speaks against it */
	enum dkim_field_kind kind;
	enum dkim_algorithm algorithm;
	enum dkim_canon header_canon, body_canon;
	uint64_t limit; /* l=, DKIM_BODY_ALL without it */
	int64_t now;
	bool expired, own_identity; /* own_identity: the domain of i= is d=, not below it */
	struct view field;          /* as it stands in the message, with its line end */
	struct view names;          /* h= */
	struct view hole;           /* the value of b=, with the white space around it: not signed */
	struct buf signature;
	uint8_t body_hash[DKIM_HASH_LEN]; /* bh= */
	uint8_t hash[DKIM_HASH_LEN];      /* what is signed: the caller's to fill */
	uint64_t unsigned_bytes;          /* of the body, behind l= */
	size_t key;                       /* its number among the look-ups */
};

/* Never fails: what is wrong is its result.  Views point into the message.  Ends with dkim_field_free. */
void dkim_field_read(struct dkim_field *, enum dkim_field_kind, const struct mime_header *, int64_t now);
void dkim_field_free(struct dkim_field *);
bool dkim_field_open(const struct dkim_field *); /* still to be verified? */
__attribute__((format(printf, 3, 4))) void dkim_field_fail(
    struct dkim_field *, enum dkim_verdict, const char *fmt, ...);
/* Asks for its key, when it is open. */
void dkim_field_want(struct dkim_field *, struct dkim_lookups *);
/* Appends the field itself as it is signed: without its signature and its last line end (3.7). */
void dkim_field_put(const struct dkim_field *, struct buf *canonical);
/* The verdict of one that is still open, by its hash and the answer to its look-up. */
void dkim_field_judge(struct dkim_field *, const struct dkim_answer *);

/*
 * Compares the body with what all these fields say of it: one pass over it for each canonicalisation.  Those that do
 * not match fail.
 */
void dkim_fields_body(struct dkim_field *const *, size_t count, struct view body);

/* The header of one message. */
struct dkim_header;
struct dkim_header *dkim_header_new(struct view header); /* header must outlive it */
void dkim_header_free(struct dkim_header *);
/* NULL, or why no signature over it can be verified: too large, or bytes in it that are no line ends but look like
 * some. */
const char *dkim_header_problem(const struct dkim_header *);
/* In order, from the top: false behind the last. */
bool dkim_header_at(const struct dkim_header *, size_t n, struct mime_header *out);
/* Fills hash of an open field with a h= (3.7); one that does not cover all of From fails. */
void dkim_header_hash(struct dkim_header *, struct dkim_field *);

#endif
