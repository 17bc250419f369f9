/*
 * State files: the whole index as it stood behind one frame, so that the segments before that frame need not be read
 * again, and those without live bodies need not be kept.
 *
 * STATE/store/log/NUMBER.state is a header as a segment's, with the index's version and byte order, and frames with
 * RECORD_ROWS records: rows of one table, in order.  The first and the last frame hold the row of T_META; the last
 * record is a RECORD_END with the number of rows.  NUMBER is the segment whose frames come behind it: an index is made
 * from the newest whole state file and the segments from its number on; older segments only give bodies.
 */
#ifndef MAILSVC_STORE_STATE_H
#define MAILSVC_STORE_STATE_H

#include "engine.h"

#define STATE_TEMPORARY ".state.new"
#define STATE_SLICE (2u << 20) /* bytes of rows written or read at a time */

/* Writing: begin, slices until 1 or -1, end. By any one thread at a time; others may commit meanwhile. */
struct state_writer;
/* tx: a snapshot, taken over, whose position is the start of the segment number. NULL: errno. */
struct state_writer *state_write_begin(struct engine *, struct tx *, uint32_t number);
/* 0: there is more; 1: written, proved by reading, in its place and on the disk; -1: errno. */
int state_write_slice(struct state_writer *);
uint64_t state_written(const struct state_writer *); /* bytes */
void state_write_end(struct state_writer *); /* what has not its name yet is removed */
/* Removes what a writer left that was killed. */
void state_discard(int log_dir);

/*
 * Puts the rows of the newest state file that is whole into an empty index; where none is, what can be read of the
 * newest, which counts as damage.  1: done, 0: there is none, -1.
 */
int state_load(struct engine *, struct tx *, struct error *);

struct state_check {
	uint64_t frames, rows;
	uint64_t sequence; /* of the log, that it stands behind */
	bool whole;
};
/* Proves one. damage as scan.h has it; may be NULL. */
void state_check(int log_dir, uint32_t number, struct state_check *,
    void (*damage)(void *, uint32_t segment, uint64_t offset, uint64_t length, const char *what), void *arg);

#endif
