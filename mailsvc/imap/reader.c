/*
 * The command reader.  A command is lines joined by literals: a line that ends in "{n}" or "{n+}" announces n bytes and
 * more of the same command behind them (RFC 3501 4.3, RFC 7888).
 *
 * What ends a line is CR LF and nothing else; a bare CR, a bare LF or a NUL makes the command wrong.  A wrong command
 * is skipped to its end, literals included, so that its bytes are never taken for commands; that is bounded by
 * limits->discard.
 */
#include "reader.h"

#include <string.h>

enum {
	STATE_LINE,
	STATE_ANNOUNCED,
	STATE_LITERAL,
	STATE_DISCARD_LINE,
	STATE_DISCARD_LITERAL,
	STATE_FAILED,
	STATE_DONE
};

#define HEAD_KEPT 80 /* bytes of a wrong command that are kept, for its tag */

void imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits)
{
	*r = (struct imap_reader){ .limits = limits, .text = BUF_INIT(limits->total) };
}

void imap_reader_next(struct imap_reader *r)
{
	buf_free(&r->text);
	r->error = NULL;
	r->literal = r->left = 0;
	r->line = r->discarded = 0;
	r->tail_len = 0;
	r->state = STATE_LINE;
	r->cr = r->sync = false;
}

/* Looks for an announcement at the end of a line. */
static bool announcement(struct imap_reader *r, const char *end, size_t len)
{
	size_t digits = 0, i = len;
	uint64_t n = 0, scale = 1;

	if (len < 3 || end[i - 1] != '}' || r->limits->literal == 0)
		return false;
	i--;
	r->sync = true;
	if (end[i - 1] == '+') {
		r->sync = false;
		i--;
	}
	for (; i > 0 && end[i - 1] >= '0' && end[i - 1] <= '9'; i--) {
		if (++digits > 18)
			n = UINT64_MAX; /* nobody's number, but bytes may follow: never take them for commands */
		else
			n += scale * (uint64_t)(end[i - 1] - '0');
		scale *= 10;
	}
	if (digits == 0 || i == 0 || end[i - 1] != '{')
		return false;
	r->literal = n;
	return true;
}

static void keep_tail(struct imap_reader *r, const char *data, size_t len)
{
	size_t keep;

	if (len >= sizeof(r->tail)) {
		memcpy(r->tail, data + len - sizeof(r->tail), sizeof(r->tail));
		r->tail_len = sizeof(r->tail);
		return;
	}
	keep = sizeof(r->tail) - len < r->tail_len ? sizeof(r->tail) - len : r->tail_len;
	memmove(r->tail, r->tail + r->tail_len - keep, keep);
	memcpy(r->tail + keep, data, len);
	r->tail_len = (uint8_t)(keep + len);
}

/* From here on the command is only skipped; more: bytes that belong to its head. */
static void discard(struct imap_reader *r, const char *error, const char *more, size_t len)
{
	size_t seen = r->line < r->text.len ? r->line : r->text.len, room;

	if (seen > sizeof(r->tail))
		seen = sizeof(r->tail);
	r->tail_len = 0;
	if (seen > 0)
		keep_tail(r, r->text.data + r->text.len - seen, seen);
	r->text.full = false;
	room = r->text.len < HEAD_KEPT ? HEAD_KEPT - r->text.len : 0;
	if (room > 0 && len > 0)
		buf_add(&r->text, more, room < len ? room : len);
	r->cr = false;
	if (r->error == NULL)
		r->error = error;
	if (r->text.len > HEAD_KEPT)
		r->text.len = HEAD_KEPT;
	r->state = STATE_DISCARD_LINE;
}

bool imap_reader_take(struct imap_reader *r)
{
	if (r->literal > r->limits->literal || r->literal > r->limits->total ||
	    r->text.len + 2 > r->limits->total - r->literal) {
		imap_reader_refuse(r, "Literal is too long.");
		return false;
	}
	buf_add(&r->text, "\r\n", 2);
	r->left = r->literal;
	r->state = r->left > 0 ? STATE_LITERAL : STATE_LINE;
	r->line = 0;
	return r->sync;
}

void imap_reader_refuse(struct imap_reader *r, const char *error)
{
	discard(r, error, NULL, 0);
	if (r->sync) {
		r->state = STATE_FAILED;
		return;
	}
	r->left = r->literal;
	r->tail_len = 0;
	r->state = r->left > 0 ? STATE_DISCARD_LITERAL : STATE_DISCARD_LINE;
}

void imap_reader_external(struct imap_reader *r)
{
	r->line = 0;
	r->state = STATE_LINE;
}

/* One line's bytes up to LF.  Sets *status when something is complete. */
static size_t feed_line(struct imap_reader *r, const char *data, size_t len, enum reader_status *status)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf != NULL ? (size_t)(lf - data) + 1 : len;
	size_t body = lf != NULL ? n - 1 : n, room; /* body: without LF, maybe with CR */
	bool cr = body > 0 ? data[body - 1] == '\r' : r->cr;
	const char *bare;
	bool wrong = false;

	/* Every CR but one right before the LF is bare; one at the end of the data is judged with the next byte. */
	if (r->cr && body > 0)
		wrong = true;
	bare = memchr(data, '\r', body);
	if (bare != NULL && bare != data + body - 1)
		wrong = true;
	if (lf != NULL && !cr)
		wrong = true;
	if (wrong || memchr(data, '\0', body) != NULL) {
		discard(r, "A line must end in CRLF and hold no NUL.", data, body);
		return 0; /* the same bytes again, now to be thrown away */
	}
	room = r->line <= r->limits->line ? r->limits->line + 1 - r->line : 0; /* the CR may come on top */
	if (body > room || buf_add(&r->text, data, body) < 0) {
		discard(r, "Command line is too long.", data, body);
		return 0;
	}
	r->line += (uint32_t)body;
	r->cr = lf == NULL && cr;
	if (lf == NULL)
		return n;
	r->text.len--;                                                                  /* the CR */
	if (announcement(r, r->text.data + r->text.len - (r->line - 1), r->line - 1)) { /* this line, without its CR */
		r->state = STATE_ANNOUNCED;
		*status = READER_LITERAL;
	} else {
		r->state = STATE_DONE;
		*status = READER_COMMAND;
	}
	return n;
}

static size_t feed_literal(struct imap_reader *r, const char *data, size_t len)
{
	size_t n = r->left < len ? (size_t)r->left : len;

	r->left -= n;
	if (memchr(data, '\0', n) != NULL) {
		discard(r, "A literal must not hold a NUL.", NULL, 0);
		r->state = r->left > 0 ? STATE_DISCARD_LITERAL : STATE_DISCARD_LINE;
		r->tail_len = 0;
		return n;
	}
	buf_add(&r->text, data, n); /* room was checked when it was taken */
	if (r->left == 0)
		r->state = STATE_LINE;
	return n;
}

static size_t feed_discard(struct imap_reader *r, const char *data, size_t len)
{
	const char *lf;
	size_t n;

	if (r->state == STATE_DISCARD_LITERAL) {
		n = r->left < len ? (size_t)r->left : len;
		r->left -= n;
		if (r->left == 0)
			r->state = STATE_DISCARD_LINE;
		return n;
	}
	lf = memchr(data, '\n', len);
	n = lf != NULL ? (size_t)(lf - data) + 1 : len;
	keep_tail(r, data, lf != NULL ? n - 1 : n);
	if (lf == NULL)
		return n;
	if (r->tail_len > 0 && r->tail[r->tail_len - 1] == '\r')
		r->tail_len--;
	if (!announcement(r, r->tail, r->tail_len) || r->sync)
		r->state = STATE_FAILED;
	else if (r->literal > 0) {
		r->left = r->literal;
		r->state = STATE_DISCARD_LITERAL;
	}
	r->tail_len = 0;
	return n;
}

enum reader_status imap_reader_feed(struct imap_reader *r, const char *data, size_t len, size_t *used)
{
	enum reader_status status = READER_MORE;
	size_t pos = 0, n;

	*used = 0;
	if (r->state == STATE_DISCARD_LITERAL && r->left > r->limits->discard)
		return READER_FATAL;
	while (status == READER_MORE && r->state != STATE_FAILED && pos < len) {
		if (r->state == STATE_LINE) {
			n = feed_line(r, data + pos, len - pos, &status);
		} else if (r->state == STATE_LITERAL) {
			n = feed_literal(r, data + pos, len - pos);
		} else if (r->state == STATE_DISCARD_LINE || r->state == STATE_DISCARD_LITERAL) {
			n = feed_discard(r, data + pos, len - pos);
			r->discarded += (uint32_t)n;
		} else {
			break; /* ANNOUNCED or DONE: the caller has to answer first */
		}
		pos += n;
		if (r->discarded > r->limits->discard ||
		    (r->state == STATE_DISCARD_LITERAL && r->left > r->limits->discard)) {
			*used = pos;
			return READER_FATAL;
		}
	}
	*used = pos;
	return r->state == STATE_FAILED ? READER_ERROR : status;
}

enum reader_status imap_reader_pull(struct imap_reader *r, struct evbuffer *in, uint64_t *taken)
{
	struct evbuffer_iovec chunk = { NULL, 0 };
	enum reader_status status;
	size_t used = 0;

	evbuffer_peek(in, -1, NULL, &chunk, 1);
	status = imap_reader_feed(r, chunk.iov_base, chunk.iov_len, &used);
	evbuffer_drain(in, used);
	*taken += used;
	return status;
}
