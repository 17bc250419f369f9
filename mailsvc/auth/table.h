/*
 * A bounded memory of digests with an expiry: when it is full the entry that was touched longest ago makes room, so
 * that strangers can fill it but never make it grow.
 */
#ifndef MAILSVC_AUTH_TABLE_H
#define MAILSVC_AUTH_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define DIGEST_LEN 32

struct digest {
	uint8_t bytes[DIGEST_LEN];
};
/* HMAC-SHA256 of the label and the parts, each with its length. */
struct digest digest_of(const uint8_t key[DIGEST_LEN], const char *label, const struct view *parts, size_t count);

struct table_entry {
	struct digest key;
	uint32_t count;  /* the caller's */
	int64_t expires; /* seconds, on the caller's clock */
};

struct table;
struct table *table_new(size_t max);
void table_free(struct table *);
struct table_entry *table_get(struct table *, const struct digest *, int64_t now); /* NULL: none, or expired */
/* The live entry, touched, or a new one with count 0 that expires at `expires`. Valid until the next put. */
struct table_entry *table_put(struct table *, const struct digest *, int64_t now, int64_t expires);
size_t table_count(const struct table *);

#endif
