/*
 * Sequence numbers <-> UIDs of a selected mailbox, as sorted runs of consecutive UIDs: a mailbox without gaps is one
 * run whatever its size.  Look-ups are binary searches; sequence numbers start at 1, and 0 means "none".
 */
#ifndef MAILSVC_IMAP_UIDMAP_H
#define MAILSVC_IMAP_UIDMAP_H

#include "mailsvc/store/client.h"

struct uid_run {
	uint32_t first, count;
	uint32_t before; /* messages in the runs in front of this one */
};

struct uidmap {
	struct uid_run *run; /* NULL while empty */
	uint32_t runs, cap;
	uint32_t count; /* messages */
};

void uidmap_free(struct uidmap *); /* empty and usable afterwards */
/* Adds a UID above every other; lower ones are ignored (false). */
bool uidmap_append(struct uidmap *, uint32_t uid);
/* Adds first .. first + count - 1, all above every other. */
void uidmap_append_run(struct uidmap *, uint32_t first, uint32_t count);
void uidmap_shrink(struct uidmap *); /* gives back room that appending kept in reserve */

uint32_t uidmap_seq(const struct uidmap *, uint32_t uid); /* 0: not in the map */
uint32_t uidmap_uid(const struct uidmap *, uint32_t seq); /* 0: beyond the map */
uint32_t uidmap_last(const struct uidmap *);              /* highest UID, 0 when empty */
/* How many messages have a UID below uid. */
uint32_t uidmap_below(const struct uidmap *, uint32_t uid);
/* The lowest UID that is >= uid, or 0. */
uint32_t uidmap_next(const struct uidmap *, uint32_t uid);
/* Removes what lies in the ranges (sorted, disjoint) in one pass; returns how many messages went. */
uint32_t uidmap_remove(struct uidmap *, const struct uid_range *, size_t count);
int uid_range_order(const void *, const void *); /* of two struct uid_range by first, for qsort */
/* Is uid in one of the ranges (sorted, disjoint)? */
bool uid_ranges_have(const struct uid_range *, size_t count, uint32_t uid);

#endif
