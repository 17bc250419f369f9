/* The messages between keys and those who ask it for signatures. */
#ifndef MAILSVC_KEYS_PROTO_H
#define MAILSVC_KEYS_PROTO_H

#include "lib/buf.h"
#include "mailsvc/keys/dkim.h"

enum keys_message {
	KEYS_MESSAGE_SIGN = 1,      /* u8 algorithm, blob domain, blob selector, 32 bytes: SHA-256 of the header hash
	                               input */
	KEYS_MESSAGE_SIGNATURE = 2, /* blob signature; empty: no such key */
};

#define KEYS_DOMAIN_MAX 255
#define KEYS_SELECTOR_MAX 63
#define KEYS_HASH_LEN 32
#define KEYS_SIGNATURE_MAX 1024 /* RSA-8192 */

struct keys_request {
	enum dkim_algorithm algorithm;
	char domain[KEYS_DOMAIN_MAX + 1], selector[KEYS_SELECTOR_MAX + 1];
	uint8_t hash[KEYS_HASH_LEN];
};

int keys_request_put(struct buf *out, const struct keys_request *);
int keys_request_get(struct view in, struct keys_request *); /* -1: malformed */
int keys_signature_put(struct buf *out, struct view signature);
int keys_signature_get(struct view in, struct view *signature); /* borrows from in; -1: malformed */

#endif
