/*
 * DKIM (RFC 6376) without keys: relaxed canonicalisation and the text of a signature field.  Pure functions.
 */
#ifndef MAILSVC_KEYS_DKIM_H
#define MAILSVC_KEYS_DKIM_H

#include "lib/buf.h"

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

/*
 * Chooses the fields to sign (5.4.1, From once more than it is there), and computes the header hash (3.7).
 * field gets the whole signature field with an empty b=, folded, without CRLF: dkim_finish completes it.
 */
void dkim_prepare(
    const char *domain, const char *selector, int64_t now, struct view message, struct buf *field, uint8_t hash[32]);
/* Appends the signature in base64, folded, and the CRLF. */
void dkim_finish(struct buf *field, struct view signature);

#endif
