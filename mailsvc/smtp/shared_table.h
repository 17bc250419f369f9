/*
 * A table of fixed size in a file that all smtp processes map, so that they share it and it outlives them: from a key
 * (any bytes, of which a hash is kept) to a number.  When a part of the table is full, the smallest number makes room:
 * numbers begin with a time, in most tables that of their end.
 *
 * Every change is one compare-and-exchange, so a process that is killed leaves nothing behind.  The kernel writes the
 * pages back; a power loss may take the last changes.  Two keys are taken for one with a probability of 2^-24 or less.
 */
#ifndef MAILSVC_SMTP_SHARED_TABLE_H
#define MAILSVC_SMTP_SHARED_TABLE_H

#include "lib/buf.h"

#define SHARED_TABLE_EPOCH 1735689600 /* 2025-01-01: what times in tables count from */

/* Sizes of the files, which monitor makes. */
#define SHARED_REPLIED_BYTES (1u << 20)  /* STATE/auto-replied */
#define SHARED_GREYLIST_BYTES (8u << 20) /* STATE/greylist */
#define SHARED_RATES_BYTES (1u << 20)    /* STATE/send-rates: accounts and domains */
#define SHARED_SOURCES_BYTES (2u << 20)  /* STATE/source-rates: addresses of peers */
#define SHARED_VERIFIED_BYTES (1u << 20) /* STATE/verified: recipients that other hosts know */

struct shared_table;
/*
 * Maps fd, which it closes.  -1, or a file that is not of this size: memory that lasts as long as the process, with a
 * warning that names the file.  Numbers have value_bits (1..40) and the rest of 64 tells keys apart.  Before a sandbox.
 */
struct shared_table *shared_table_open(int fd, size_t bytes, unsigned value_bits, const char *name);
void shared_table_close(struct shared_table *); /* NULL is fine */

uint64_t shared_table_get(const struct shared_table *, struct view key); /* 0: not there */
/*
 * Calls fn with the number that is there (0: none), which sets *value (0 takes the entry away) and returns true, or
 * returns false to leave all as it is.  Called again when another process was faster.  Returns what fn returned last.
 */
typedef bool (*shared_table_fn)(void *arg, uint64_t old, uint64_t *value);
bool shared_table_update(struct shared_table *, struct view key, shared_table_fn, void *arg);

/*
 * `limit` units at once, which are there again one after the other within `seconds`: over a long time limit each
 * `seconds`, and in one such stretch, after a quiet one, up to twice that.  Takes n units (at least 1) at now_ms (wall
 * clock): 0, or nothing is taken and in so many seconds n units will be there.  More than limit at once never would be:
 * limit counts then as n.  The table needs 40 value bits; keys of rates and of other
 * things must differ.
 */
unsigned shared_table_rate(
    struct shared_table *, struct view key, unsigned limit, unsigned seconds, unsigned n, int64_t now_ms);

#endif
