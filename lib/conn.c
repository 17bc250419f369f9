/*
 * conn.h: life, events and callbacks of a connection.
 *
 * This is not built on bufferevents because a small loop of our own costs less and says more: replies leave by a direct
 * write when the handler returns instead of by two epoll_ctl and a further loop; pausing costs no system call; an idle
 * connection holds no buffer; small TLS replies become one record; close_notify, lingering and the end of input
 * while paused are under our control.
 *
 * run() is the only place that makes callbacks.  Everything else sets *_due flags, and a call from outside schedules
 * run() by ev_kick, a timer of zero, so that the loop serves others in between.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "conn_impl.h"
#include "log.h"

#define INPUT_DEFAULT 65536
#define CLOSE_S 10 /* conn_close: time without progress for what is queued */
#define LINGER_S 2 /* and for the peer to close */
#define ROUNDS 8   /* callbacks of one connection before others get their turn */

unsigned conn_close_total_s = 60;

static void run(struct conn *c);

static void kick(struct conn *c)
{
	static const struct timeval now = { 0, 0 };

	if (!c->busy && !event_pending(&c->ev_kick, EV_TIMEOUT, NULL))
		event_add(&c->ev_kick, &now);
}

static void destroy(struct conn *c)
{
	event_del(&c->ev_read);
	event_del(&c->ev_write);
	event_del(&c->ev_kick);
	event_del(&c->ev_timer);
	if (c->ssl != NULL) {
		ERR_clear_error();
		if (c->state == CONN_OPEN)
			SSL_shutdown(c->ssl);
		ERR_clear_error();
		SSL_free(c->ssl);
	}
	conn_enter(c, CONN_CLOSED);
	if (c->fd != -1)
		close(c->fd);
	conn_deflate_free(c);
	evbuffer_free(c->in);
	evbuffer_free(c->out);
	free(c->tls_error);
	free(c);
}

/* The earliest moment at which something will have taken too long; 0: never. */
static uint64_t deadline(const struct conn *c)
{
	uint64_t r = 0, w = 0;

	switch (c->state) {
	case CONN_FLUSHING:
		r = c->write_at + (uint64_t)CLOSE_S * 1000;
		w = c->read_at + (uint64_t)conn_close_total_s * 1000;
		return w < r ? w : r;
	case CONN_LINGERING:
		return c->write_at + (uint64_t)LINGER_S * 1000;
	case CONN_CONNECTING:
	case CONN_HANDSHAKE:
		return c->read_s > 0 ? c->read_at + (uint64_t)c->read_s * 1000 : 0;
	case CONN_OPEN:
	case CONN_STARTTLS:
		if (c->read_s > 0 && conn_wants_read(c))
			r = c->read_at + (uint64_t)c->read_s * 1000;
		if (c->write_s > 0 && conn_output_len(c) > 0)
			w = c->write_at + (uint64_t)c->write_s * 1000;
		return r == 0 || (w != 0 && w < r) ? w : r;
	default:
		return 0;
	}
}

/* Lazily: progress moves the deadline but not the timer, which looks again when it fires. */
static void set_timer(struct conn *c)
{
	uint64_t at = deadline(c);

	if (at == 0 || (c->timer_at != 0 && c->timer_at <= at))
		return;
	uint64_t now = clock_mono_ms();
	uint64_t left = at > now ? at - now : 0;
	struct timeval tv = { (time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000) };
	c->timer_at = at;
	event_add(&c->ev_timer, &tv);
}

/* Makes the next callback that is due; false when none is. */
static bool call_next(struct conn *c)
{
	if (c->state >= CONN_FLUSHING)
		return false;
	if (c->secured_due) {
		c->secured_due = false;
		if (c->ops->secured != NULL)
			c->ops->secured(c, c->arg);
		return true;
	}
	if (c->ended_due) {
		c->ended_due = false;
		c->ops->ended(c, c->arg, c->end);
		return true;
	}
	if (c->state != CONN_OPEN)
		return false;
	if (c->readable_due && !c->paused) {
		c->readable_due = false;
		if (evbuffer_get_length(c->in) > 0)
			c->ops->readable(c, c->arg);
		return true;
	}
	if (c->drained_due) {
		c->drained_due = false;
		if (c->ops->drained != NULL)
			c->ops->drained(c, c->arg);
		return true;
	}
	if (c->eof && !c->paused) {
		conn_enter(c, CONN_FAILED);
		conn_arm(&c->ev_write, &c->write_armed, false);
		c->ops->ended(c, c->arg, c->end);
		return true;
	}
	return false;
}

/* Output and the state changes that wait for it. */
static void push(struct conn *c)
{
	if (c->flush_due && (c->state == CONN_OPEN || c->state == CONN_STARTTLS || c->state == CONN_FLUSHING)) {
		c->flush_due = false;
		conn_io_flush(c);
	}
	if (c->state == CONN_STARTTLS && c->plain == 0) {
		conn_enter(c, CONN_HANDSHAKE);
		c->read_at = clock_mono_ms();
		conn_io_handshake(c);
	}
	if (c->state == CONN_FLUSHING && conn_output_len(c) == 0) {
		conn_io_shut(c);
		c->write_at = clock_mono_ms();
		c->timer_at = 0;
	}
}

static void run(struct conn *c)
{
	bool again = true;

	c->busy = true;
	if (c->more && conn_wants_read(c))
		conn_io_fill(c);
	for (int i = 0; i < ROUNDS && again; i++) {
		push(c);
		again = call_next(c);
	}
	c->busy = false;
	if (c->state == CONN_CLOSED) {
		destroy(c);
		return;
	}
	if (again || (c->more && conn_wants_read(c)))
		kick(c);
	if (conn_wants_read(c))
		conn_arm(&c->ev_read, &c->read_armed, true);
	set_timer(c);
}

static void on_read(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->busy = true;
	if (c->state == CONN_HANDSHAKE)
		conn_io_handshake(c);
	else if (c->state == CONN_LINGERING)
		conn_io_linger(c);
	else if (conn_wants_read(c))
		conn_io_fill(c);
	else /* paused since the event was set, which is cheaper than to unset it each time */
		conn_arm(&c->ev_read, &c->read_armed, false);
	run(c);
}

static void on_write(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->busy = true;
	if (c->state == CONN_CONNECTING) {
		conn_io_connect_done(c);
	} else if (c->state == CONN_HANDSHAKE) {
		conn_io_handshake(c);
	} else {
		c->flush_due = true;
		c->more = c->ssl != NULL; /* SSL_read may have been the one that waited */
	}
	run(c);
}

static void on_kick(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run(arg);
}

static void on_timer(int fd, short what, void *arg)
{
	struct conn *c = arg;
	uint64_t at = deadline(c);

	(void)fd;
	(void)what;
	c->timer_at = 0;
	if (at != 0 && at <= clock_mono_ms())
		conn_fail(c, CONN_TIMEOUT, ETIMEDOUT);
	run(c);
}

static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;

	(void)out;
	if (info->n_added == 0)
		return;
	if (info->orig_size == 0)
		c->write_at = clock_mono_ms();
	if (!c->write_armed) {
		c->flush_due = true;
		kick(c);
	}
}

static void on_input(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *c = arg;

	(void)in;
	if (info->n_deleted == 0)
		return;
	c->scanned = 0;
	if (!c->read_armed || c->more) /* it may have stopped for being full */
		kick(c);
}

static struct conn *new_conn(struct event_base *base, int fd, const struct conn_ops *ops, void *arg)
{
	static bool once;
	struct conn *c = xcalloc(1, sizeof(*c));
	int one = 1;

	if (!once)
		signal(SIGPIPE, SIG_IGN);
	once = true;
	c->ops = ops;
	c->arg = arg;
	c->fd = fd;
	c->paused = true;
	c->max_input = INPUT_DEFAULT;
	c->in = evbuffer_new();
	c->out = evbuffer_new();
	if (c->in == NULL || c->out == NULL || evbuffer_add_cb(c->in, on_input, c) == NULL ||
	    evbuffer_add_cb(c->out, on_output, c) == NULL)
		fatalx("out of memory: connection buffers");
	if (fd != -1) {
		evutil_make_socket_nonblocking(fd);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails for AF_UNIX, which has no delay */
	}
	event_assign(&c->ev_read, base, fd, EV_READ | EV_PERSIST, on_read, c);
	event_assign(&c->ev_write, base, fd, EV_WRITE | EV_PERSIST, on_write, c);
	event_assign(&c->ev_kick, base, -1, 0, on_kick, c);
	event_assign(&c->ev_timer, base, -1, 0, on_timer, c);
	c->read_at = c->write_at = clock_mono_ms();
	return c;
}

static SSL *new_ssl(struct conn *c, SSL_CTX *ctx, bool server, const char *sni)
{
	SSL *ssl = SSL_new(ctx);

	if (ssl == NULL || SSL_set_fd(ssl, c->fd) != 1)
		fatalx("out of memory: TLS connection");
	if (server) {
		SSL_set_accept_state(ssl);
		return ssl;
	}
	SSL_set_connect_state(ssl);
	if (sni == NULL)
		return ssl;
	SSL_set_tlsext_host_name(ssl, sni);
	if ((SSL_CTX_get_verify_mode(ctx) & SSL_VERIFY_PEER) != 0) {
		SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		if (SSL_set1_host(ssl, sni) != 1)
			fatalx("out of memory: TLS host name");
	}
	return ssl;
}

struct conn *conn_accept(struct event_base *base, int fd, SSL_CTX *tls, const struct conn_ops *ops, void *arg)
{
	struct conn *c = new_conn(base, fd, ops, arg);

	c->server = true;
	conn_enter(c, CONN_OPEN);
	if (tls != NULL) {
		c->ssl = new_ssl(c, tls, true, NULL);
		conn_enter(c, CONN_HANDSHAKE);
		conn_arm(&c->ev_read, &c->read_armed, true);
	}
	return c;
}

struct conn *conn_connect(struct event_base *base, const struct sockaddr *to, socklen_t tolen,
    const struct sockaddr *from, socklen_t fromlen, const struct conn_ops *ops, void *arg)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = fd == -1 ? errno : 0;
	struct conn *c = new_conn(base, fd, ops, arg);

	conn_enter(c, CONN_CONNECTING);
	if (err == 0 && from != NULL && bind(fd, from, fromlen) == -1)
		err = errno;
	if (err == 0 && connect(fd, to, tolen) == -1 && errno != EINPROGRESS)
		err = errno;
	if (err != 0) {
		conn_fail(c, CONN_ERROR, err);
		kick(c);
	} else {
		conn_arm(&c->ev_write, &c->write_armed, true);
	}
	return c;
}

void conn_start_tls(struct conn *c, SSL_CTX *ctx, bool server, const char *sni)
{
	if (c->state != CONN_OPEN || c->ssl != NULL)
		return;
	c->server = server;
	c->ssl = new_ssl(c, ctx, server, sni);
	conn_enter(c, CONN_STARTTLS);
	c->plain = evbuffer_get_length(c->out);
	c->line = 0;
	c->readable_due = false;
	evbuffer_drain(c->in, evbuffer_get_length(c->in));
	if (c->eof)
		conn_fail(c, c->end, c->error);
	kick(c);
}

void conn_free(struct conn *c)
{
	if (c == NULL)
		return;
	if (!c->busy) {
		destroy(c);
		return;
	}
	/* The descriptor goes now, the memory when the handler returns. */
	conn_arm(&c->ev_read, &c->read_armed, false);
	conn_arm(&c->ev_write, &c->write_armed, false);
	if (c->ssl != NULL && c->state == CONN_OPEN) {
		ERR_clear_error();
		SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	conn_enter(c, CONN_CLOSED);
}

void conn_close(struct conn *c)
{
	if (c->state >= CONN_FLUSHING)
		return;
	bool can_write = c->state == CONN_OPEN || (c->state == CONN_FAILED && c->eof);
	if (!can_write || c->fd == -1) {
		conn_free(c);
		return;
	}
	conn_enter(c, CONN_FLUSHING);
	c->read_at = c->write_at = clock_mono_ms(); /* nothing is read any more: it is the time of the close */
	c->timer_at = 0;
	c->flush_due = true;
	kick(c);
}

struct evbuffer *conn_input(struct conn *c)
{
	return c->in;
}

struct evbuffer *conn_output(struct conn *c)
{
	return c->out;
}

void conn_write(struct conn *c, const void *data, size_t len)
{
	if (c->state < CONN_FAILED && evbuffer_add(c->out, data, len) == -1)
		fatalx("out of memory: connection output");
}

void conn_writev(struct conn *c, struct view v)
{
	conn_write(c, v.ptr, v.len);
}

static void free_given(const void *data, size_t len, void *memory)
{
	(void)data;
	(void)len;
	free(memory);
}

void conn_give(struct conn *c, struct buf *b)
{
	if (b->len == 0 || c->state >= CONN_FAILED) {
		buf_free(b);
		return;
	}
	if (evbuffer_add_reference(c->out, b->data, b->len, free_given, b->data) == -1)
		fatalx("out of memory: connection output");
	*b = BUF_INIT(b->max);
}

void conn_printf(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	if (c->state >= CONN_FAILED)
		return;
	va_start(ap, fmt);
	if (evbuffer_add_vprintf(c->out, fmt, ap) == -1)
		fatalx("out of memory: connection output");
	va_end(ap);
}

size_t conn_output_len(const struct conn *c)
{
	return evbuffer_get_length(c->out) + conn_deflate_waiting(c);
}

void conn_set_low_water(struct conn *c, size_t bytes)
{
	c->low_water = bytes;
}

void conn_pause(struct conn *c)
{
	c->paused = true;
}

void conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	c->read_at = clock_mono_ms();
	c->readable_due = evbuffer_get_length(c->in) > 0;
	if (c->readable_due || c->more || c->eof)
		kick(c);
	if (c->busy)
		return; /* run() sees to the rest */
	if (conn_wants_read(c))
		conn_arm(&c->ev_read, &c->read_armed, true);
	set_timer(c);
}

void conn_set_max_input(struct conn *c, size_t bytes)
{
	c->max_input = bytes;
	kick(c);
}

void conn_set_timeout(struct conn *c, unsigned read_s, unsigned write_s)
{
	c->read_s = read_s;
	c->write_s = write_s;
	if (!c->busy)
		set_timer(c);
}

bool conn_is_tls(const struct conn *c)
{
	return c->ssl != NULL && c->state != CONN_STARTTLS;
}

SSL *conn_ssl(struct conn *c)
{
	return c->ssl;
}

const char *conn_tls_error(const struct conn *c)
{
	if (c->tls_error != NULL)
		return c->tls_error;
	return c->error != 0 ? strerror(c->error) : "";
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

int conn_detach(struct conn *c, struct buf *rest)
{
	int fd = c->fd;

	if (c->ssl != NULL || c->deflate != NULL || c->state != CONN_OPEN || fd == -1)
		return -1;
	bool was_busy = c->busy;
	c->busy = true;
	conn_io_flush(c);
	c->busy = was_busy;
	kick(c); /* for what this may have made due */
	if (c->state != CONN_OPEN || evbuffer_get_length(c->out) > 0)
		return -1;
	conn_line_done(c);
	size_t len = evbuffer_get_length(c->in);
	char *to = buf_reserve(rest, len);
	if (to == NULL)
		return -1;
	evbuffer_copyout(c->in, to, len);
	rest->len += len;
	conn_arm(&c->ev_read, &c->read_armed, false);
	conn_arm(&c->ev_write, &c->write_armed, false);
	c->fd = -1;
	conn_free(c);
	return fd;
}

void conn_line_done(struct conn *c)
{
	size_t len = c->line;

	c->line = 0;
	if (len > 0)
		evbuffer_drain(c->in, len);
}

enum line_status conn_line(struct conn *c, size_t max, struct view *line)
{
	size_t len = 0;

	conn_line_done(c);
	enum line_status r = line_scan(c->in, max, &c->scanned, &len);
	if (r == LINE_MORE && evbuffer_get_length(c->in) >= c->max_input)
		return LINE_TOO_LONG; /* it could never end */
	if (r != LINE_OK)
		return r;
	c->line = len + 2;
	*line = (struct view){ (const char *)evbuffer_pullup(c->in, (ev_ssize_t)c->line), len };
	return LINE_OK;
}
