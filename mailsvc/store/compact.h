/*
 * Compaction: room on the disk that dead mail holds is given back while the store runs.
 *
 *   1. bodies that live in segments which are mostly dead are written again, at the log's end (RECORD_BODY moves them);
 *   2. the log is rotated, and the index as it then stands is written to a state file (state.h);
 *   3. when that is on the disk, a checkpoint stands behind it, no reader can want a body where it was, and nobody
 * holds the files (a backup), segments before it without a live body are removed, and older state files.
 *
 * A crash at any point leaves what was there before, and perhaps more: nothing is removed that an index which could be
 * found at the next start would need.
 *
 * One run is steps of two kinds, never two at once: those that read and write files (compact_help, by any thread) and
 * those that make records (compact_run, by the committing thread: engine.h).
 */
#ifndef MAILSVC_STORE_COMPACT_H
#define MAILSVC_STORE_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

#define COMPACT_MIN (256ull << 20) /* dead bytes that start one by itself, if they are more than half of the log */
#define COMPACT_GRACE_MS 70000     /* a snapshot lives 10 s, and what was found in it (body_ref) a minute more */
#define COMPACT_BATCH (4u << 20)   /* bytes of bodies moved at once */

enum compact_turn {
	COMPACT_IDLE,
	COMPACT_HELP,   /* compact_help is next */
	COMPACT_COMMIT, /* compact_run is next (ENGINE_COMPACT through engine_run), then engine_commit and
	                   engine_publish */
	COMPACT_WAIT,   /* ask again later */
};

struct compact_status {
	bool running;
	const char *phase;              /* "idle", "plan", "move", "state", "check", "wait", "remove" */
	uint64_t runs;                  /* ended */
	uint64_t log_bytes, dead_bytes; /* before */
	uint64_t moved, moved_bytes, state_bytes;
	uint64_t freed_segments, freed_bytes;     /* state files count, too */
	uint64_t pending_segments, pending_bytes; /* what goes when the wait is over */
	uint64_t kept_segments;                   /* damaged, or not known to the index as a whole */
	uint64_t unreadable;                      /* bodies that could not be moved: they stay where they are */
	int error;
};

enum compact_how {
	COMPACT_GENTLE, /* only when it is worth it, and slowly: segments of which more than half is dead */
	COMPACT_NOW,    /* more than a quarter */
	COMPACT_ALL,    /* anything: no byte of a dead message stays, whatever has to be written again for it */
};
/* false: one runs already (and does more than wait for readers). */
bool compact_start(struct engine *, enum compact_how);
enum compact_turn compact_next(struct engine *, uint64_t now_ms);
void compact_help(struct engine *);
uint64_t compact_weight(const struct engine *); /* of the ENGINE_COMPACT request that is next */
/* Ends the run with an error, when what compact_run made could not be committed. */
void compact_fail(struct engine *, int error);
/* From any thread. */
void compact_status(struct engine *, struct compact_status *);
struct buf;
void compact_json(const struct compact_status *, struct buf *);
/* Ends a run wherever it is; before the index is closed. */
void compact_end(struct engine *);

/* Who reads the log's files by name keeps them from being removed between these; any thread. */
void compact_hold(struct engine *);
void compact_unhold(struct engine *);

/* Both, to their end, without a commit thread: for a stopped host. -1: errno in status->error. */
int compact_whole(struct engine *, enum compact_how, struct compact_status *);

#endif
