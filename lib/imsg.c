/*
 * imsg.h: messages over SOCK_SEQPACKET.  A channel sends at once while its queue is empty and falls back to a queue
 * with EV_WRITE.  When sending fails for good the socket is shut down, so that the end is always reported by the
 * reading side, from the loop, after what the peer had still sent.
 */
#include "imsg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define HEADER 12                 /* type, id, length: u32 each, little-endian */
#define READ_BURST 32             /* messages before others get their turn */
#define SEND_BUFFER (1024 * 1024) /* bytes asked of the kernel */
#define RETRY_US 10000            /* after a passing shortage in the kernel */

struct out {
	TAILQ_ENTRY(out) link;
	int fd;
	uint32_t type, id;
	size_t len;
	char data[];
};

struct chan {
	const struct chan_ops *ops;
	void *arg;
	struct event *ev_read, *ev_write, *ev_retry;
	TAILQ_HEAD(, out) queue;
	size_t queued;
	int fd;
	bool closed; /* sends are refused */
	bool broken; /* by a malformed message */
	bool busy;   /* inside a callback */
	bool freed;  /* chan_free was called while busy */
};

enum sent { SENT, SENT_LATER, SENT_RETRY, SENT_NEVER };

static void store_u32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static enum sent send_one(int fd, uint32_t type, uint32_t id, struct view data, int passfd)
{
	unsigned char header[HEADER];
	struct iovec iov[2] = { { header, HEADER }, { (void *)(uintptr_t)data.ptr, data.len } };
	union {
		char raw[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = data.len > 0 ? 2 : 1 };

	store_u32(header, type);
	store_u32(header + 4, id);
	store_u32(header + 8, (uint32_t)data.len);
	if (passfd != -1) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.raw);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &passfd, sizeof(int));
	}
	while (sendmsg(fd, &msg, MSG_NOSIGNAL) == -1) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return SENT_LATER;
		return errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS ? SENT_RETRY : SENT_NEVER;
	}
	return SENT;
}

/* The one descriptor of a message, or -1; *bad when there are more (all are closed then). */
static int take_fd(struct msghdr *msg, bool *bad)
{
	int kept = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (kept != -1) {
				*bad = true;
				close(fd);
			} else {
				kept = fd;
			}
		}
	}
	if (*bad && kept != -1) {
		close(kept);
		kept = -1;
	}
	return kept;
}

/* 1: a message in *m; 0: the end; -1: errno (EBADMSG for broken framing).  data has room for IMSG_MAX bytes. */
static int recv_one(int fd, struct imsg *m, char *data)
{
	unsigned char header[HEADER];
	struct iovec iov[2] = { { header, HEADER }, { data, IMSG_MAX } };
	union {
		char raw[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control };
	bool bad = false;
	ssize_t n;

	do {
		msg.msg_controllen = sizeof(control.raw);
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n == -1 && errno == EINTR);
	if (n < 0)
		return -1;
	m->fd = take_fd(&msg, &bad); /* an empty message may carry one too, and is the end all the same */
	if (n == 0) {
		if (m->fd != -1)
			close(m->fd);
		m->fd = -1;
		return 0;
	}
	if (!bad && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && n >= HEADER) {
		struct cursor c = cursor_of(header, HEADER);
		m->type = cursor_u32(&c);
		m->id = cursor_u32(&c);
		m->data = (struct view){ data, (size_t)n - HEADER };
		if (cursor_u32(&c) == m->data.len)
			return 1;
	}
	if (m->fd != -1)
		close(m->fd);
	m->fd = -1;
	errno = EBADMSG;
	return -1;
}

static void drop_out(struct chan *c, struct out *o)
{
	TAILQ_REMOVE(&c->queue, o, link);
	c->queued -= o->len;
	if (o->fd != -1)
		close(o->fd);
	free(o);
}

static void shut(struct chan *c)
{
	if (c->closed)
		return;
	c->closed = true;
	shutdown(c->fd, SHUT_RDWR);
	while (!TAILQ_EMPTY(&c->queue))
		drop_out(c, TAILQ_FIRST(&c->queue));
	event_del(c->ev_write);
	event_del(c->ev_retry);
}

static void wait_for_room(struct chan *c, enum sent why)
{
	static const struct timeval retry = { 0, RETRY_US };

	if (why == SENT_LATER) {
		event_add(c->ev_write, NULL);
	} else {
		event_del(c->ev_write);
		event_add(c->ev_retry, &retry);
	}
}

static void on_writable(int fd, short what, void *arg)
{
	struct chan *c = arg;
	struct out *o;

	(void)what;
	while ((o = TAILQ_FIRST(&c->queue)) != NULL) {
		enum sent r = send_one(c->fd, o->type, o->id, (struct view){ o->data, o->len }, o->fd);
		if (r == SENT_NEVER) {
			shut(c);
			return;
		}
		if (r != SENT) {
			wait_for_room(c, r);
			return;
		}
		drop_out(c, o);
	}
	event_del(c->ev_write);
	(void)fd;
}

static void destroy(struct chan *c)
{
	event_free(c->ev_read);
	event_free(c->ev_write);
	event_free(c->ev_retry);
	free(c);
}

/* What can go at once: everything but the memory that a callback on the stack still looks at. */
static void release(struct chan *c)
{
	shut(c);
	event_del(c->ev_read);
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
}

static void on_readable(int fd, short what, void *arg)
{
	static char data[IMSG_MAX]; /* shared: the loop has one thread, and a view lives only as long as its callback */
	struct chan *c = arg;
	bool reset_seen = false;
	int r = 1;

	(void)what;
	c->busy = true;
	for (int i = 0; i < READ_BURST && r == 1 && !c->freed; i++) {
		struct imsg m = { .fd = -1 };
		r = recv_one(fd, &m, data);
		if (r == 1) {
			c->ops->message(c, &m, c->arg);
			if (m.fd != -1)
				close(m.fd);
		} else if (r == -1 && errno == ECONNRESET && !reset_seen) {
			reset_seen = true; /* reported once, ahead of messages that are still there */
			r = 1;
		}
	}
	if (!c->freed && r != 1 && !(r == -1 && errno == EAGAIN)) {
		c->broken = r == -1 && errno == EBADMSG;
		shut(c);
		event_del(c->ev_read);
		c->ops->closed(c, c->arg);
	}
	c->busy = false;
	if (c->freed)
		destroy(c);
}

static void set_nonblocking(int fd)
{
	int size = SEND_BUFFER;
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		fatal("chan_new: fcntl");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

struct chan *chan_new(struct event_base *base, int fd, const struct chan_ops *ops, void *arg)
{
	struct chan *c = xcalloc(1, sizeof(*c));

	set_nonblocking(fd);
	*c = (struct chan){ .ops = ops, .arg = arg, .fd = fd };
	TAILQ_INIT(&c->queue);
	c->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->ev_retry = event_new(base, -1, 0, on_writable, c);
	if (c->ev_read == NULL || c->ev_write == NULL || c->ev_retry == NULL || event_add(c->ev_read, NULL) == -1)
		fatalx("chan_new: cannot watch descriptor %d", fd);
	return c;
}

void chan_free(struct chan *c)
{
	if (c == NULL || c->freed)
		return;
	release(c);
	if (c->busy)
		c->freed = true;
	else
		destroy(c);
}

int chan_send(struct chan *c, uint32_t type, uint32_t id, struct view data, int fd)
{
	enum sent r = SENT_LATER;

	if (data.len > IMSG_MAX || c->closed)
		r = SENT_NEVER;
	else if (TAILQ_EMPTY(&c->queue) && (r = send_one(c->fd, type, id, data, fd)) == SENT_NEVER)
		shut(c);
	if (r == SENT || r == SENT_NEVER) {
		if (fd != -1)
			close(fd);
		return r == SENT ? 0 : -1;
	}

	struct out *o = xmalloc(sizeof(*o) + data.len);
	o->fd = fd;
	o->type = type;
	o->id = id;
	o->len = data.len;
	if (data.len > 0)
		memcpy(o->data, data.ptr, data.len);
	if (TAILQ_EMPTY(&c->queue))
		wait_for_room(c, r);
	TAILQ_INSERT_TAIL(&c->queue, o, link);
	c->queued += data.len;
	return 0;
}

size_t chan_queued(const struct chan *c)
{
	return c->queued;
}

bool chan_broken(const struct chan *c)
{
	return c->broken;
}

/* Waits until fd is ready; `until` is a monotonic time, or UINT64_MAX. */
static int wait_fd(int fd, short events, uint64_t until)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now = clock_mono_ms();
		uint64_t left = until == UINT64_MAX ? 0 : now < until ? until - now : 0;
		int r = poll(&p, 1, until == UINT64_MAX ? -1 : left > 60000 ? 60000 : (int)left);

		if (r > 0)
			return 0;
		if (r == -1 && errno != EINTR)
			return -1;
		if (until != UINT64_MAX && clock_mono_ms() >= until) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
}

int imsg_send(int fd, uint32_t type, uint32_t id, struct view data, int passfd)
{
	if (data.len > IMSG_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	for (;;) {
		switch (send_one(fd, type, id, data, passfd)) {
		case SENT:
			return 0;
		case SENT_NEVER:
			return -1;
		case SENT_LATER:
			if (wait_fd(fd, POLLOUT, UINT64_MAX) == -1)
				return -1;
			break;
		case SENT_RETRY:
			usleep(RETRY_US);
			break;
		}
	}
}

int imsg_recv(int fd, int timeout_ms, struct imsg *out, struct buf *storage)
{
	uint64_t until = timeout_ms < 0 ? UINT64_MAX : clock_mono_ms() + (uint64_t)timeout_ms;

	*out = (struct imsg){ .fd = -1 };
	buf_reset(storage);
	char *data = buf_reserve(storage, IMSG_MAX);
	if (data == NULL) {
		errno = ENOBUFS;
		return -1;
	}
	for (;;) {
		if (wait_fd(fd, POLLIN, until) == -1)
			return -1;
		int r = recv_one(fd, out, data);
		if (r == -1 && errno == EAGAIN)
			continue;
		storage->len = r == 1 ? out->data.len : 0;
		return r;
	}
}

int imsg_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}
