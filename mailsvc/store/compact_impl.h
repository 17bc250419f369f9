/* Shared by compact*.c. */
#ifndef MAILSVC_STORE_COMPACT_IMPL_H
#define MAILSVC_STORE_COMPACT_IMPL_H

#include "body.h"
#include "engine.h"
#include "state.h"

struct moving { /* a body on its way */
	uint64_t body, offset;
	uint32_t segment;
	char *bytes, *mime;
	size_t len, mime_len;
};

struct place { /* a segment */
	uint32_t number;
	uint64_t size, bytes; /* bytes: of all bodies that the index was told of */
};

struct compact {
	enum { PLAN, SCAN, MOVE, ROTATE, PIN, STATE, COLLECT, PROVE, WAITING, REMOVE, ENDED } phase;
	enum compact_how how;
	uint64_t wake;    /* ms */
	uint64_t free_at; /* ms: when no reader can want what is dead any more */
	uint32_t active;  /* segments before it are looked at */
	struct place *victims;
	size_t victim_count, victim;
	uint64_t offset; /* in that one, scanned so far */
	uint64_t sliced; /* bytes, by this step */
	struct moving *batch;
	size_t batch_count, batch_bytes;
	struct tx tx; /* of a scanning step */
	struct body_reader bodies;
	struct state_writer *writer;
	uint32_t rotated;  /* the segment that this run began */
	uint32_t state;    /* the number of the newest state file; 0: there is none */
	uint64_t sequence; /* that it stands behind, when this run made it */
	struct place *dead;
	size_t dead_count, proved;
	struct compact_status s;
};

/* Ends the run with that error (0: EIO). */
void compact_failed(struct compact *, int error, const char *what);

/* compact_remove.c: steps of the run. */
void compact_collect(struct engine *, struct compact *); /* by the committing thread */
void compact_prove(struct engine *, struct compact *);   /* one segment */
void compact_remove(struct engine *, struct compact *);
struct segment_value compact_counts(struct tx *, uint32_t number);
uint64_t compact_segment_size(struct engine *, uint32_t number);
void compact_place_add(struct place **, size_t *count, uint32_t number, uint64_t size, uint64_t bytes);

#endif
