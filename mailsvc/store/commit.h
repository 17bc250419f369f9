/* The commit thread and its helper: group commit, and what time asks for. */
#ifndef MAILSVC_STORE_COMMIT_H
#define MAILSVC_STORE_COMMIT_H

#include <event2/event.h>

#include "engine.h"

/* Called in the event loop. */
struct commit_ops {
	void (*done)(void *arg, struct request *); /* the caller frees it */
	void (*published)(void *arg, const uint32_t *mailboxes, size_t count, struct buf *queued); /* queued: engine.h */
	void (*trouble)(void *arg, int error); /* a frame could not be written */
};
struct commit;
struct commit *commit_start(struct event_base *, struct engine *, const struct commit_ops *, void *arg);
void commit_submit(struct commit *, struct request *);
/* Begins a compaction, when none is under way; compact_status tells of it. */
void commit_compact(struct commit *, enum compact_how);
void commit_stop(struct commit *); /* finishes what was submitted, calls back for it, and closes the engine */

/* Sorts numbers and drops what repeats; how many are left. */
size_t ids_unique(uint32_t *ids, size_t count);

#endif
