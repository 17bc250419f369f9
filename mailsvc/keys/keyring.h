/* The DKIM keys in memory, and signing with them. */
#ifndef MAILSVC_KEYS_KEYRING_H
#define MAILSVC_KEYS_KEYRING_H

#include "lib/log.h"
#include "proto.h"

struct keyring;

#define KEYRING_MAX 40000

/* packed: {blob domain, blob selector, blob PEM}*.  A key that cannot be read is left out with a warning. NULL:
 * malformed. */
struct keyring *keyring_load(struct view packed, struct error *);
void keyring_free(struct keyring *); /* NULL is fine */
size_t keyring_count(const struct keyring *);
/* RSA PKCS#1 v1.5 over the hash, or Ed25519 over its 32 bytes, into out. 0: signed, -1: no such key of this
 * algorithm, or it cannot sign. */
int keyring_sign(const struct keyring *, const struct keys_request *, struct buf *out);

#endif
