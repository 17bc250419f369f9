/*
 * Messages between processes over SOCK_SEQPACKET socketpairs: a 12-byte header {type, id, length} and at
 * most IMSG_MAX bytes, with at most one file descriptor.  One datagram is one message, so a torn one does
 * not exist; a malformed one (short, long, a second descriptor) closes the channel.
 */
#ifndef LIB_IMSG_H
#define LIB_IMSG_H

#include <event2/event.h>

#include "buf.h"

#define IMSG_MAX 65536 /* payload bytes */

struct imsg {
	uint32_t type;
	uint32_t id;      /* chosen by the caller of a request, repeated in its reply; 0 when unused */
	struct view data; /* valid during the callback */
	int fd;           /* -1, or owned by the receiver once it sets imsg.fd = -1; else closed after the callback */
};

struct chan;

struct chan_ops {
	void (*message)(struct chan *, struct imsg *, void *arg);
	/* The peer is gone or broke the framing (chan_broken).  The channel is freed by the callee or later with
	 * chan_free. */
	void (*closed)(struct chan *, void *arg);
};

/* Takes over fd (made non-blocking).  chan_free may be called from inside either callback. */
struct chan *chan_new(struct event_base *, int fd, const struct chan_ops *, void *arg);
void chan_free(struct chan *);
/*
 * Queues a message; never blocks.  fd, when not -1, is taken over and closed once sent.  Messages queue in
 * memory while the peer is slow: callers that can be fast bound themselves by chan_queued.
 * -1: longer than IMSG_MAX, or the channel is already closed (fd is closed then too).
 */
int chan_send(struct chan *, uint32_t type, uint32_t id, struct view data, int fd);
size_t chan_queued(const struct chan *); /* payload bytes not yet handed to the kernel */
bool chan_broken(const struct chan *);   /* closed since a message was malformed: the peer may well live */

/*
 * Blocking forms for the command line; timeout in milliseconds, -1 for none (errno is then ETIMEDOUT).  passfd
 * stays the caller's.  recv fills storage (its max at least IMSG_MAX), and out->fd is the caller's to close.
 */
int imsg_send(int fd, uint32_t type, uint32_t id, struct view data, int passfd);
int imsg_recv(int fd, int timeout_ms, struct imsg *out, struct buf *storage); /* 1, 0 end, -1 error */

int imsg_pair(int fds[2]); /* SOCK_SEQPACKET, close-on-exec */

/*
 * A data file in memory: written, then sealed against every change.  memfd_sealed copies v; memfd_map_sealed
 * maps a received fd read-only after checking that it is sealed (F_SEAL_WRITE|SHRINK|GROW) and not larger
 * than max; unmap with munmap (an empty file is an empty view and no mapping); fd stays the caller's.
 * -1 on failure.
 */
int memfd_sealed(const char *name, struct view v);
int memfd_seal(int fd);
int memfd_map_sealed(int fd, size_t max, struct view *out);

#endif
