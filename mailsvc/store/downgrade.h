/*
 * The way back: makes of the log what the mailadm before this one reads (format 2: issue 4), if that can be done without
 * losing anything: format 2 knows none of the records that are newer than RECORD_END, and no state file of this index.
 */
#ifndef MAILSVC_STORE_DOWNGRADE_H
#define MAILSVC_STORE_DOWNGRADE_H

#include "segment.h"

struct downgrade {
	/* What stands in the way, one call a kind: file is its first place, count how many there are. */
	void (*prevents)(void *arg, const char *file, uint64_t offset, uint64_t count, const char *what);
	void *arg;
	uint64_t segments; /* out: that were written anew */
};
/*
 * For a stopped host.  0: done, and the index, which the other makes anew, is gone; 1: something is in the way, and
 * nothing was changed; -1.  Cut short, it is finished by another call.
 */
int store_downgrade(int store_dir, struct downgrade *, struct error *);

#endif
