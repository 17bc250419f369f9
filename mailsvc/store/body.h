/* Reading bodies from the log, checked: for readers, for the queue and for verify. One thread at a time. */
#ifndef MAILSVC_STORE_BODY_H
#define MAILSVC_STORE_BODY_H

#include <stddef.h>
#include <stdint.h>

#define BODY_SEGMENTS_OPEN 16

struct body_reader {
	int log_dir; /* not owned */
	struct {
		uint32_t number; /* 0: free */
		int fd;
		uint64_t used;
	} open[BODY_SEGMENTS_OPEN];
	uint64_t clock;
};
void body_reader_init(struct body_reader *, int log_dir);
/* Closes segments that compaction removed: until then they take room on the disk. */
void body_reader_trim(struct body_reader *);
void body_reader_close(struct body_reader *);
/*
 * Reads len bytes from `from` of the body of `length` bytes at segment and offset.  Every 64 KiB chunk that it touches
 * is checked.  -1 with errno; EIO: the bytes are not what was written.
 */
int body_read(
    struct body_reader *, uint32_t segment, uint64_t offset, uint64_t length, uint64_t from, void *dst, size_t len);

#endif
