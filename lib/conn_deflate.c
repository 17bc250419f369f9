/*
 * conn.h, COMPRESS=DEFLATE (RFC 4978): a raw deflate stream in each direction of a plain connection.
 *
 * Inflated bytes count against conn_set_max_input, and what has been read but not inflated is at most one slice, so a
 * peer that sends a thousand to one gets no more memory than any other.  Output is deflated when it is written, at most
 * WIRE_MAX ahead.  A stream costs about 64 KiB for writing (a window of 8 KiB) and 40 KiB for reading.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zlib.h>

#include "clock.h"
#include "conn_impl.h"
#include "log.h"

#define SLICE 16384 /* bytes deflated or inflated at a time */
#define ROUND_IN (64 * 1024)     /* inflated, or read, before others get their turn */
#define ROUND_OUT (256 * 1024)   /* taken from the output likewise */
#define WIRE_MAX (64 * 1024)     /* deflated bytes that wait to be written */
#define LEVEL 3                  /* a third of the default's time for a tenth more bytes of mail */
#define WRITE_WINDOW_BITS (-13)
#define WRITE_MEMORY 6
#define READ_WINDOW_BITS (-15) /* whatever the peer uses */

struct conn_deflate {
	z_stream in, out;
	struct evbuffer *wire;
	size_t plain;        /* of c->out, queued before deflating began: leaves as it is */
	bool in_ended;       /* the peer ended its stream */
	size_t raw_at, raw_len;
	unsigned char raw[SLICE];
};

static unsigned char slice[SLICE];

int conn_start_deflate(struct conn *c)
{
	struct conn_deflate *d;

	if (c->state != CONN_OPEN || c->ssl != NULL || c->deflate != NULL)
		return -1;
	d = xcalloc(1, sizeof(*d));
	d->wire = evbuffer_new();
	if (d->wire == NULL || inflateInit2(&d->in, READ_WINDOW_BITS) != Z_OK ||
	    deflateInit2(&d->out, LEVEL, Z_DEFLATED, WRITE_WINDOW_BITS, WRITE_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		fatalx("out of memory: compression");
	d->plain = evbuffer_get_length(c->out);
	c->deflate = d;
	return 0;
}

void conn_deflate_free(struct conn *c)
{
	struct conn_deflate *d = c->deflate;

	if (d == NULL)
		return;
	inflateEnd(&d->in);
	deflateEnd(&d->out);
	evbuffer_free(d->wire);
	free(d);
	c->deflate = NULL;
}

size_t conn_deflate_waiting(const struct conn *c)
{
	return c->deflate != NULL ? evbuffer_get_length(c->deflate->wire) : 0;
}

/* Inflates what is in raw, at most room bytes; -1: the stream is broken. */
static ssize_t inflate_some(struct conn *c, size_t room)
{
	struct conn_deflate *d = c->deflate;
	size_t n = room < SLICE ? room : SLICE;
	int status;

	d->in.next_in = d->raw + d->raw_at;
	d->in.avail_in = (unsigned)(d->raw_len - d->raw_at);
	d->in.next_out = slice;
	d->in.avail_out = (unsigned)n;
	status = inflate(&d->in, Z_SYNC_FLUSH);
	d->raw_at = d->raw_len - d->in.avail_in;
	if (status != Z_OK && status != Z_BUF_ERROR && status != Z_STREAM_END)
		return -1;
	d->in_ended = status == Z_STREAM_END;
	n -= d->in.avail_out;
	if (n > 0) {
		evbuffer_add(c->in, slice, n);
		c->readable_due = true;
		c->read_at = clock_mono_ms();
	}
	return (ssize_t)n;
}

void conn_deflate_fill(struct conn *c)
{
	struct conn_deflate *d = c->deflate;
	size_t read = 0, begun = evbuffer_get_length(c->in), have;
	ssize_t n;

	c->more = false;
	while ((have = evbuffer_get_length(c->in)) < c->max_input && have - begun < ROUND_IN && read < ROUND_IN) {
		/* Bytes may be left in zlib when it filled the slice, even with nothing in raw. */
		n = d->in_ended ? 0 : inflate_some(c, c->max_input - have);
		if (n < 0) {
			conn_fail(c, CONN_ERROR, EPROTO);
			return;
		}
		if (n > 0)
			continue;
		if (d->in_ended) {
			conn_end_input(c, CONN_EOF, 0);
			return;
		}
		n = recv(c->fd, d->raw, sizeof(d->raw), 0);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			conn_end_input(c, n == 0 ? CONN_EOF : CONN_ERROR, n == 0 ? 0 : errno);
			return;
		}
		d->raw_at = 0;
		d->raw_len = (size_t)n;
		read += (size_t)n;
	}
	c->more = true;
}

/* Takes up to a slice from the output; the end of what is there is marked, so that the peer can read all of it. */
static size_t deflate_some(struct conn *c)
{
	struct conn_deflate *d = c->deflate;
	struct evbuffer_iovec vec = { NULL, 0 };
	size_t taken;
	int flush;

	if (evbuffer_peek(c->out, SLICE, NULL, &vec, 1) < 1)
		vec.iov_len = 0;
	if (vec.iov_len > SLICE)
		vec.iov_len = SLICE;
	d->out.next_in = vec.iov_base;
	d->out.avail_in = (unsigned)vec.iov_len;
	flush = vec.iov_len == evbuffer_get_length(c->out) ? Z_SYNC_FLUSH : Z_NO_FLUSH;
	do {
		d->out.next_out = slice;
		d->out.avail_out = sizeof(slice);
		(void)deflate(&d->out, flush);
		evbuffer_add(d->wire, slice, sizeof(slice) - d->out.avail_out);
	} while (d->out.avail_out == 0);
	taken = vec.iov_len;
	evbuffer_drain(c->out, taken);
	return taken;
}

/* What precedes deflating. 1: it is out, 0: it waits, -1: it failed. */
static int write_before(struct conn *c)
{
	struct conn_deflate *d = c->deflate;

	while (d->plain > 0) {
		int n = evbuffer_write_atmost(c->out, c->fd, (ev_ssize_t)d->plain);
		if (n <= 0)
			return n == 0 || errno == EAGAIN || errno == EINTR ? 0 : -1;
		d->plain -= (size_t)n;
	}
	return 1;
}

static int write_deflated(struct conn *c)
{
	struct conn_deflate *d = c->deflate;
	size_t budget = ROUND_OUT;
	int n = write_before(c);

	while (n > 0) {
		while (evbuffer_get_length(c->out) > 0 && evbuffer_get_length(d->wire) < WIRE_MAX && budget > 0) {
			size_t taken = deflate_some(c);
			budget -= taken < budget ? taken : budget;
		}
		if (evbuffer_get_length(d->wire) == 0)
			return 0;
		n = evbuffer_write(d->wire, c->fd);
		if (n < 0)
			n = errno == EAGAIN || errno == EINTR ? 0 : -1;
	}
	return n;
}

int conn_deflate_flush(struct conn *c)
{
	if (write_deflated(c) == 0)
		return 0;
	conn_fail(c, CONN_ERROR, errno);
	return -1;
}
