/*
 * DKIM (RFC 6376) without keys: relaxed canonicalisation and the text of a signature field.  Pure functions.
 */
#ifndef MAILSVC_KEYS_DKIM_H
#define MAILSVC_KEYS_DKIM_H

#include "lib/buf.h"
#include "site/site.h"

/* A domain signs with both: receivers that do not know Ed25519 (RFC 8463) have the other (RFC 8463 3). */
enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };
#define DKIM_ALGORITHMS 2

/* The selector that a site has for it, "" none: in the site of a role, of the key that signs. */
static inline const char *dkim_selector_of(const struct site_domain *d, enum dkim_algorithm a)
{
	return a == DKIM_RSA ? d->dkim_selector : d->dkim_ed25519;
}

/* Relaxed body canonicalisation (3.4.4), streaming: any split of the body gives the same output. */
typedef void (*dkim_emit_fn)(void *arg, const char *data, size_t len);
struct dkim_body {
	dkim_emit_fn emit;
	void *arg;
	uint64_t line_ends; /* CRLFs held back: they count only when something follows */
	bool space;         /* a run of white space held back */
	bool cr;            /* a CR whose LF has not been seen yet */
	bool text;          /* something was emitted */
};
void dkim_body_init(struct dkim_body *, dkim_emit_fn, void *arg);
void dkim_body_add(struct dkim_body *, struct view);
void dkim_body_end(struct dkim_body *); /* adds the CRLF that a last line without one gets */
void dkim_body_hash(struct view body, uint8_t hash[32]);

/* Relaxed header canonicalisation (3.4.2) of one whole field, appended with its CRLF. */
void dkim_header(struct view field, struct buf *out);

struct dkim_signer {
	enum dkim_algorithm algorithm;
	const char *domain, *selector;
	int64_t now;
};

/*
 * Chooses the fields to sign (5.4.1, From once more than it is there), and computes the header hash (3.7), which is
 * what is signed: as it is with RSA, as a message with Ed25519 (RFC 8463 3).  message needs its header only.
 * field gets the whole signature field with an empty b=, folded, without CRLF: dkim_finish completes it.
 */
void dkim_prepare(const struct dkim_signer *, struct view message, const uint8_t body_hash[32], struct buf *field,
    uint8_t hash[32]);
/* Appends the signature in base64, folded, and the CRLF. */
void dkim_finish(struct buf *field, struct view signature);

#endif
