/*
 * The log's files: segments of frames.  A frame is one commit: a 40-byte header {magic u32, salt u64, sequence u64,
 * payload length u64, record count u32, version u16, flags u16, CRC32C u32} and its records.  A segment starts with 64
 * bytes {magic, version, number, salt, ..., CRC32C}.  A state file (state.h) is made in the same way.
 *
 * The salt is random for each segment: a message that carries the bytes of a frame cannot be taken for one when the
 * scan looks for the next whole frame behind damage.  A zero where a frame's magic would be is the end of the log:
 * space is written ahead with zeros, because overwriting costs fdatasync no metadata.
 */
#ifndef MAILSVC_STORE_SEGMENT_H
#define MAILSVC_STORE_SEGMENT_H

#include <sys/uio.h>

#include "record.h"

#define SEGMENT_HEADER_LEN 64
/* Of what is written; older ones are read, newer ones refused.  1: issues 2 and 3; 2: issue 4. */
#define SEGMENT_VERSION 3
#define FRAME_VERSION 2   /* 1: without flags */
#define FRAME_UNSYNCED 1  /* a flag: frames before this one were not on the disk when it was written */
#define SEGMENT_MAX (64ull << 20)
#define SEGMENT_STEP (4ull << 20) /* written ahead at a time */
#define FRAME_HEADER_LEN 40
#define FRAME_MAGIC 0x4d52464du /* "MFRM" */
#define SEGMENT_NAME_LEN 15     /* "0000000001.log" and NUL */
#define STATE_NAME_LEN 17       /* "0000000001.state" and NUL */

struct segments { /* the appending end */
	int dir;  /* STATE/store/log; not owned */
	int fd;
	uint32_t number, version;
	uint64_t salt;
	uint64_t offset;            /* where the next frame goes */
	_Atomic uint64_t allocated; /* zero from offset up to here */
	uint64_t sequence;          /* of the last frame */
	bool dirty;                 /* written since the last fdatasync */
};

void segment_name(uint32_t number, char name[SEGMENT_NAME_LEN]);
void state_name(uint32_t number, char name[STATE_NAME_LEN]);
/* Numbers of the segments there are, ascending; malloc'd. The same of the state files. */
int segments_list(int dir, uint32_t **numbers, size_t *count, struct error *);
int states_list(int dir, uint32_t **numbers, size_t *count, struct error *);
bool segment_there(int dir, uint32_t number);
/* Opens one and finds its salt, from its first frame if need be. -1 with errno (EIO: damaged, or no frame at all). */
int segment_open(int dir, uint32_t number, int flags, uint64_t *salt);
int state_open(int dir, const char *name, uint32_t number, int flags, uint64_t *salt);
/* False also for what a newer program made. */
bool segment_header_ok(int fd, uint32_t number, uint64_t *salt);
struct log_header {
	bool state; /* of a state file */
	uint32_t version, number;
	uint64_t salt;
	uint32_t index_version, order; /* of a state file: what its rows are */
};
void log_header_put(const struct log_header *, char out[SEGMENT_HEADER_LEN]);
/* -1: damaged. */
int log_header_get(int fd, struct log_header *);
/* -1: a file of the log was made by a program newer than this one (err says which and what to do), or cannot be listed.
 */
int log_versions_check(int dir, struct error *);
/* Makes a new segment, synced with its folder, and appends to it from now on. */
int segments_start(struct segments *, uint32_t number);
/* Cuts the active segment to its length, syncs it, and starts the next one. */
int segments_rotate(struct segments *);
/* Fills in a frame's header for the next sequence number. */
void segments_frame_header(const struct segments *, uint64_t payload, uint32_t records, char out[FRAME_HEADER_LEN]);
/* Appends a whole frame.  -1 with errno: what stays of it is segments_cut's to remove. iov is used up. */
int segments_write(struct segments *, struct iovec *iov, size_t count, uint64_t length);
void segments_cut(struct segments *);
int segments_sync(struct segments *); /* fdatasync; after -1 the only way is out */
/* Writes zeros ahead. -1: no room, which is no error yet. */
int segment_extend(int fd, uint64_t from, uint64_t to);

/* Files made before the ids were dropped are given to the folder's owner. */
void adopt(int dir, int fd);

/* Reading ------------------------------------------------------------------------------------------------- */
struct frame {
	uint32_t segment;
	uint64_t offset, end; /* in the segment */
	uint64_t sequence;
	bool unsynced; /* FRAME_UNSYNCED */
	const struct record *records;
	size_t record_count;
};
enum scan_end {
	SCAN_CLEAN,   /* zeros or the end of the file */
	SCAN_TORN,    /* bytes that are no whole frame, and none follows */
	SCAN_STOPPED, /* by the callback */
	SCAN_FAILED,  /* the file cannot be opened or read; errno */
};
struct scan {
	int dir;
	const char *name;                              /* of a state file that has not its own yet; else NULL */
	bool bodies;                                   /* check the bodies' CRCs too; else only where they are */
	int (*frame)(void *arg, const struct frame *); /* -1 stops */
	/* A stretch that is no whole frame, with one behind it. */
	void (*damage)(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what);
	void *arg;
	/* Out: */
	uint64_t end;  /* behind the last whole frame */
	uint64_t torn; /* bytes from end to the last that is not zero (SCAN_TORN) */
	uint64_t file_len;
	const char *what; /* what was wrong at end (SCAN_TORN) */
	bool header_bad;
	/*
	 * Bytes that are no whole frame, before one that was written while they were not synced: the power took them
	 * before anybody could rely on them.  No damage: what was synced later was synced with them.
	 */
	uint64_t unsynced;
};
enum scan_end scan_segment(struct scan *, uint32_t number, uint64_t from);
enum scan_end scan_state(struct scan *, uint32_t number, uint64_t from);

#endif
