/*
 * conn.h, the moving of bytes.  Reading goes through one buffer of the process and is then copied, so an idle
 * connection holds no buffer; a TLS write takes up to one record from the front of the output, so small replies
 * that were queued together leave as one record and one packet.
 */
#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "conn_impl.h"

#define SLICE 65536              /* bytes read from one connection before others get their turn */
#define WRITE_SLICE (4u * 65536) /* bytes written likewise */
#define RECORD 16384             /* plaintext of a TLS record */
#define CROWD 16                 /* handshakes at one time that leave holes worth closing */
#define CROWD_DONE 64            /* and how many may end before they are closed */
#define LINGER_BYTES (16u << 20) /* what a peer may still send after we closed */

static unsigned char slice[SLICE];

/*
 * A handshake takes 50 KiB for a moment.  When many come together the holes they leave are larger than what the
 * connections keep, so the allocator is told to return them (seen: 45 KiB a connection becomes 15).
 */
static void trim_after_handshakes(unsigned under_way, unsigned *peak)
{
	static unsigned done;

	if (*peak < CROWD || (under_way > 0 && ++done < CROWD_DONE))
		return;
	done = 0;
	*peak = under_way;
	malloc_trim(0);
}

void conn_enter(struct conn *c, enum conn_state next)
{
	static unsigned under_way, peak; /* handshakes of all connections */
	bool before = c->state == CONN_HANDSHAKE, after = next == CONN_HANDSHAKE;

	c->state = next;
	if (after && !before && ++under_way > peak)
		peak = under_way;
	if (before && !after)
		trim_after_handshakes(--under_way, &peak);
}

void conn_arm(struct event *ev, bool *armed, bool wanted)
{
	if (wanted == *armed)
		return;
	if (wanted)
		event_add(ev, NULL);
	else
		event_del(ev);
	*armed = wanted;
}

bool conn_wants_read(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->paused && !c->eof && evbuffer_get_length(c->in) < c->max_input;
}

/* For good, and told at once whether reading is on or not. */
void conn_fail(struct conn *c, enum conn_end end, int error)
{
	conn_arm(&c->ev_read, &c->read_armed, false);
	conn_arm(&c->ev_write, &c->write_armed, false);
	if (c->state >= CONN_FLUSHING) {
		conn_enter(c, CONN_CLOSED);
		return;
	}
	conn_enter(c, CONN_FAILED);
	c->end = end;
	c->error = error;
	c->ended_due = true;
}

/* Told when reading is on and the rest was taken. */
void conn_end_input(struct conn *c, enum conn_end end, int error)
{
	c->eof = true;
	c->end = end;
	c->error = error;
	conn_arm(&c->ev_read, &c->read_armed, false);
}

static void keep_tls_error(struct conn *c)
{
	unsigned long code = ERR_peek_last_error();
	long verify = SSL_get_verify_result(c->ssl);
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (verify != X509_V_OK && (SSL_get_verify_mode(c->ssl) & SSL_VERIFY_PEER) != 0)
		text = X509_verify_cert_error_string(verify);
	free(c->tls_error);
	c->tls_error = xstrdup(text != NULL ? text : "TLS error");
	ERR_clear_error();
}

/* What an SSL call that did not succeed means: true if it merely waits; the events for that are set. */
static bool tls_waits(struct conn *c, int ret)
{
	int err = errno;

	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		conn_arm(&c->ev_read, &c->read_armed, true);
		return true;
	case SSL_ERROR_WANT_WRITE:
		conn_arm(&c->ev_write, &c->write_armed, true);
		return true;
	case SSL_ERROR_ZERO_RETURN:
		conn_end_input(c, CONN_EOF, 0);
		return false;
	case SSL_ERROR_SYSCALL:
		ERR_clear_error();
		conn_end_input(c, err == 0 ? CONN_EOF : CONN_ERROR, err);
		return false;
	default:
		keep_tls_error(c);
		conn_fail(c, CONN_TLS, 0);
		return false;
	}
}

void conn_io_connect_done(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1)
		err = errno;
	conn_arm(&c->ev_write, &c->write_armed, false);
	if (err != 0) {
		conn_fail(c, CONN_ERROR, err);
		return;
	}
	conn_enter(c, CONN_OPEN);
	c->secured_due = true;
	c->read_at = clock_mono_ms();
}

void conn_io_handshake(struct conn *c)
{
	ERR_clear_error();
	errno = 0;
	conn_arm(&c->ev_write, &c->write_armed, false);
	int r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		conn_enter(c, CONN_OPEN);
		c->secured_due = true;
		c->more = true; /* the peer's first bytes may have come with its Finished */
		c->read_at = clock_mono_ms();
		return;
	}
	if (!tls_waits(c, r) && c->state == CONN_HANDSHAKE)
		conn_fail(c, c->end, c->error);
}

static void fill_plain(struct conn *c, size_t room)
{
	ssize_t n = recv(c->fd, slice, room < SLICE ? room : SLICE, 0);

	if (n > 0) {
		evbuffer_add(c->in, slice, (size_t)n);
		c->readable_due = true;
		c->read_at = clock_mono_ms();
	} else if (n == 0) {
		conn_end_input(c, CONN_EOF, 0);
	} else if (errno != EAGAIN && errno != EINTR) {
		conn_end_input(c, CONN_ERROR, errno);
	}
}

static void fill_tls(struct conn *c, size_t room)
{
	size_t left = room < SLICE ? room : SLICE;

	c->more = false;
	while (left > 0) {
		ERR_clear_error();
		errno = 0;
		int n = SSL_read(c->ssl, slice, (int)left);
		if (n <= 0) {
			tls_waits(c, n);
			return;
		}
		evbuffer_add(c->in, slice, (size_t)n);
		left -= (size_t)n;
		c->readable_due = true;
		c->read_at = clock_mono_ms();
	}
	c->more = true;
}

void conn_io_fill(struct conn *c)
{
	size_t have = evbuffer_get_length(c->in);

	if (c->deflate != NULL)
		conn_deflate_fill(c);
	else if (c->ssl != NULL)
		fill_tls(c, c->max_input - have);
	else
		fill_plain(c, c->max_input - have);
}

/* Bytes written, 0 when it must wait, -1 when it failed (conn_fail was called). */
static ssize_t write_plain(struct conn *c, size_t budget)
{
	int n = evbuffer_write_atmost(c->out, c->fd, (ev_ssize_t)budget);

	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	conn_fail(c, CONN_ERROR, errno);
	return -1;
}

static ssize_t write_tls(struct conn *c)
{
	size_t len = evbuffer_get_length(c->out);
	size_t want = c->retry > 0 ? c->retry : len < RECORD ? len : RECORD;
	unsigned char *p = evbuffer_pullup(c->out, (ev_ssize_t)want);

	if (p == NULL) { /* a file segment, which only plain connections may have */
		conn_fail(c, CONN_ERROR, EINVAL);
		return -1;
	}
	ERR_clear_error();
	errno = 0;
	int n = SSL_write(c->ssl, p, (int)want);
	if (n > 0) {
		c->retry = 0;
		evbuffer_drain(c->out, (size_t)n);
		return n;
	}
	c->retry = want;
	if (tls_waits(c, n))
		return 0;
	if (c->state != CONN_FAILED && c->state != CONN_CLOSED)
		conn_fail(c, c->end, c->error);
	return -1;
}

/* -1: it failed. */
static int write_some(struct conn *c, bool starting)
{
	size_t budget = WRITE_SLICE;

	if (starting && c->plain < budget)
		budget = c->plain;
	while (budget > 0 && evbuffer_get_length(c->out) > 0) {
		ssize_t n = c->ssl != NULL && !starting ? write_tls(c) : write_plain(c, budget);
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		budget -= (size_t)n < budget ? (size_t)n : budget;
		c->plain -= starting ? (size_t)n : 0;
	}
	return 0;
}

void conn_io_flush(struct conn *c)
{
	size_t before = conn_output_len(c), after;
	bool starting = c->state == CONN_STARTTLS;

	if (c->deflate != NULL ? conn_deflate_flush(c) : write_some(c, starting))
		return;
	after = conn_output_len(c);
	conn_arm(&c->ev_write, &c->write_armed, starting ? c->plain > 0 : after > 0);
	if (starting)
		c->flush_due = true; /* the rest, when it may be encrypted */
	if (after < before)
		c->write_at = clock_mono_ms();
	if (before > c->low_water && after <= c->low_water)
		c->drained_due = true;
}

void conn_io_shut(struct conn *c)
{
	if (c->ssl != NULL) {
		ERR_clear_error();
		SSL_shutdown(c->ssl); /* close_notify, as far as the socket takes it */
		ERR_clear_error();
		SSL_free(c->ssl);
		c->ssl = NULL;
	}
	conn_deflate_free(c);
	evbuffer_drain(c->in, evbuffer_get_length(c->in));
	evbuffer_drain(c->out, evbuffer_get_length(c->out));
	conn_arm(&c->ev_write, &c->write_armed, false);
	if (shutdown(c->fd, SHUT_WR) == -1 || c->eof) {
		conn_enter(c, CONN_CLOSED);
		return;
	}
	conn_enter(c, CONN_LINGERING);
	c->scanned = 0; /* counts the discarded bytes from here on */
	conn_arm(&c->ev_read, &c->read_armed, true);
}

void conn_io_linger(struct conn *c)
{
	ssize_t n = recv(c->fd, slice, SLICE, 0);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	c->scanned += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->scanned > LINGER_BYTES)
		conn_enter(c, CONN_CLOSED);
}
