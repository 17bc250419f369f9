/*
 * DKIM (RFC 6376) without keys: canonicalisation, hashes, and the text of a signature field; the same for the message
 * signatures of ARC (RFC 8617).  Pure functions.
 */
#ifndef MAILSVC_KEYS_DKIM_H
#define MAILSVC_KEYS_DKIM_H

#include <openssl/types.h>

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

enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

#define DKIM_HASH_LEN 32 /* SHA-256: the only hash there is left (RFC 8301 3.1) */

/* What is behind the header of a message, which may be nothing. */
static inline struct view dkim_body_of(struct view message, size_t header_len)
{
	return message.len > header_len ? (struct view){ message.ptr + header_len, message.len - header_len }
	                                : VIEW_NONE;
}

/* The canonical body (3.4.3, 3.4.4), in pieces. */
typedef void (*dkim_emit_fn)(void *arg, const char *data, size_t len);
void dkim_body(enum dkim_canon, struct view body, dkim_emit_fn, void *arg);

/* Its hash, or that of its first bytes (l=). */
struct dkim_body_hash {
	uint64_t limit; /* bytes of the canonical body; UINT64_MAX: all.  A body that is shorter is hashed whole */
	uint8_t hash[DKIM_HASH_LEN];
};
#define DKIM_BODY_ALL UINT64_MAX
/* All that are wanted, in order of their limits, in one go.  Returns the length of the canonical body. */
uint64_t dkim_body_hashes(enum dkim_canon, struct view body, struct dkim_body_hash *wanted, size_t count);

/* Canonicalisation (3.4.1, 3.4.2) of one whole field, which is not empty; appended with its CRLF. */
void dkim_header(enum dkim_canon, struct view field, struct buf *out);

/* SHA-256 of one piece, or of many; EVP_MD_CTX_free ends it. */
void dkim_hash(struct view, uint8_t hash[DKIM_HASH_LEN]);
EVP_MD_CTX *dkim_hash_new(void);
void dkim_hash_add(EVP_MD_CTX *, struct view);
/* Of what was added and of last; more may be added after it, as if last had not been. */
void dkim_hash_so_far(const EVP_MD_CTX *, struct view last, uint8_t hash[DKIM_HASH_LEN]);

struct dkim_signer {
	enum dkim_algorithm algorithm;
	const char *domain, *selector;
	int64_t now;
	unsigned arc_instance; /* 0: a DKIM-Signature; else the ARC-Message-Signature of this set (RFC 8617 4.1.2) */
};

/*
 * Chooses the fields to sign (5.4.1, From once more than it is there; for ARC DKIM-Signature too), and computes the
 * header hash (3.7), which is what is signed: as it is with RSA, as a message with Ed25519 (RFC 8463 3).  message needs
 * its header only. field gets the whole signature field with an empty b=, folded, without CRLF: dkim_finish completes
 * it.
 */
void dkim_prepare(const struct dkim_signer *, struct view message, const uint8_t body_hash[DKIM_HASH_LEN],
    struct buf *field, uint8_t hash[DKIM_HASH_LEN]);
/* The same for a seal (RFC 8617 4.1.3): the field with an empty b=.  What it covers is the caller's to hash. */
void dkim_prepare_seal(const struct dkim_signer *, const char *cv, struct buf *field);
/* Appends the signature in base64, folded, and the CRLF. */
void dkim_finish(struct buf *field, struct view signature);

#endif
