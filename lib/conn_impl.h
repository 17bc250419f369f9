/* What conn.c (life, events, callbacks) and conn_io.c (moving bytes) share; nobody else includes this. */
#ifndef LIB_CONN_IMPL_H
#define LIB_CONN_IMPL_H

#include <event2/event_struct.h>

#include "conn.h"

enum conn_state {
	CONN_CONNECTING,
	CONN_OPEN,     /* plain, or TLS with its handshake behind it */
	CONN_STARTTLS, /* plain, no longer reading, writing out what precedes the handshake */
	CONN_HANDSHAKE,
	CONN_FAILED,    /* `ended` was or will be told; nothing moves any more */
	CONN_FLUSHING,  /* conn_close: writing what is queued */
	CONN_LINGERING, /* our side is shut; reading until the peer's is */
	CONN_CLOSED,    /* to be freed */
};

struct conn {
	const struct conn_ops *ops;
	void *arg;
	struct evbuffer *in, *out;
	SSL *ssl;
	struct event ev_read, ev_write, ev_kick, ev_timer;
	int fd;
	enum conn_state state;
	enum conn_end end; /* why FAILED, or what eof is */
	int error;         /* errno of CONN_ERROR */
	char *tls_error;
	struct conn_deflate *deflate; /* NULL: off */
	size_t low_water, max_input;
	size_t scanned, line; /* conn_line: bytes seen to be clean; bytes of the line that was handed out */
	size_t plain; /* STARTTLS: bytes of output that precede the handshake; what is queued later is for TLS */
	size_t retry; /* bytes of an SSL_write that must be repeated */
	unsigned read_s, write_s;
	uint64_t read_at, write_at; /* monotonic ms of the last progress */
	uint64_t timer_at;          /* when ev_timer is set to fire; 0: it is not */
	bool busy;                  /* inside a handler; callbacks may be on the stack */
	bool paused;
	bool eof;  /* the peer's last byte has been read; `end` says how it ended */
	bool more; /* reading stopped early: TLS may hold bytes that no event will announce */
	bool server;
	bool read_armed, write_armed;
	bool flush_due;
	bool secured_due, readable_due, drained_due, ended_due;
};

/* conn_close: time for all that is queued, however slowly the peer takes it; its owner no longer counts it. */
extern unsigned conn_close_total_s;

/* Moving bytes.  None of these makes a callback; they set the *_due flags and state. */
void conn_io_connect_done(struct conn *);
void conn_io_handshake(struct conn *);
void conn_io_fill(struct conn *);
void conn_io_flush(struct conn *);
void conn_io_shut(struct conn *);   /* FLUSHING is over: close_notify and SHUT_WR, then LINGERING */
void conn_io_linger(struct conn *); /* reads and discards; CLOSED at the end */

/* conn_deflate.c; these stand in for reading and writing where it is on. */
void conn_deflate_fill(struct conn *);
int conn_deflate_flush(struct conn *); /* -1: conn_fail was called */
void conn_deflate_free(struct conn *);
size_t conn_deflate_waiting(const struct conn *); /* deflated bytes that have not been written */

void conn_enter(struct conn *, enum conn_state); /* the one place that changes state */
void conn_fail(struct conn *, enum conn_end, int error);
void conn_end_input(struct conn *, enum conn_end, int error); /* the peer's side is over */
void conn_arm(struct event *, bool *armed, bool wanted);
bool conn_wants_read(const struct conn *);

#endif
