/* DKIM public keys: the key records of one message's signatures, looked up together (RFC 6376 3.6, RFC 8463 4). */
#ifndef MAILSVC_POLICY_DKIM_VERIFY_KEY_H
#define MAILSVC_POLICY_DKIM_VERIFY_KEY_H

#include <openssl/types.h>

#include "mailsvc/keys/dkim.h"
#include "mailsvc/policy/dns.h"

struct dkim_key {
	const char *problem; /* NULL: it can be used */
	enum dkim_algorithm algorithm;
	unsigned bits;
	bool testing; /* t=y */
	bool strict;  /* t=s: i= must be of d= itself */
	EVP_PKEY *pkey;
};

/* Of a usable key: is it the signature over this hash? */
bool dkim_key_verify(const struct dkim_key *, const uint8_t hash[DKIM_HASH_LEN], struct view signature);

#define DKIM_KEYS_MAX 4       /* records of a name that are read (RFC 6376 6.1.2 leaves it open) */
#define DKIM_KEYS_TRIED 2     /* of them, with a key: a chain of ARC has 100 names, and a large key takes 1 ms */
#define DKIM_KEY_NAME_MAX 256 /* with the NUL */

struct dkim_answer {
	enum dns_status status;
	struct dkim_key keys[DKIM_KEYS_MAX];
	size_t count; /* 0 unless status is DNS_OK */
};

struct dkim_lookups;
/* done comes once, from the event loop, when all names have an answer; not after dkim_lookups_free. */
struct dkim_lookups *dkim_lookups_new(const struct policy_dns *, void (*done)(void *arg), void *arg);
void dkim_lookups_free(struct dkim_lookups *);                     /* may be called by done */
size_t dkim_lookups_want(struct dkim_lookups *, const char *name); /* its number: the same for the same name */
void dkim_lookups_start(struct dkim_lookups *);                    /* once; done comes even when nothing is wanted */
const struct dkim_answer *dkim_lookups_get(const struct dkim_lookups *, size_t number);

#endif
