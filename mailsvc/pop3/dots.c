/*
 * Dot-stuffing in pieces.  A dot is doubled at the start of every line, and a bare LF (which APPEND lets in) ends a
 * line here too: a client that splits at LF must never see a lone dot in a message.
 */
#include "dots.h"

#include <string.h>

void dots_init(struct dots *d, uint64_t body_lines)
{
	*d = (struct dots){ .line_start = true, .blank = true, .lines = body_lines };
}

static void put(struct dots *d, struct evbuffer *out, const char *p, size_t len)
{
	if (len == 0)
		return;
	evbuffer_add(out, p, len);
	d->second = len > 1 ? p[len - 2] : d->last;
	d->last = p[len - 1];
}

void dots_add(struct dots *d, struct evbuffer *out, struct view piece)
{
	while (piece.len > 0 && !d->done) {
		const char *lf = memchr(piece.ptr, '\n', piece.len);
		size_t n = lf != NULL ? (size_t)(lf - piece.ptr) + 1 : piece.len;

		if (d->body && d->lines == 0) {
			d->done = true;
			return;
		}
		if (d->line_start && piece.ptr[0] == '.')
			put(d, out, ".", 1);
		put(d, out, piece.ptr, n);
		if (lf == NULL) {
			d->line_start = false;
			d->blank = d->blank && n == 1 && piece.ptr[0] == '\r';
			return;
		}
		d->blank = d->blank && (n == 1 || (n == 2 && piece.ptr[0] == '\r'));
		if (d->body && d->lines != DOTS_ALL)
			d->lines--;
		if (d->blank)
			d->body = true;
		d->line_start = d->blank = true;
		piece.ptr += n;
		piece.len -= n;
	}
}

bool dots_pass(struct dots *d, struct view piece)
{
	const char *end = piece.ptr + piece.len;

	if (d->lines != DOTS_ALL || piece.len == 0)
		return false;
	for (const char *p = piece.ptr; (p = memchr(p, '.', (size_t)(end - p))) != NULL; p++)
		if (p > piece.ptr ? p[-1] == '\n' : d->line_start)
			return false;
	d->second = piece.len > 1 ? end[-2] : d->last;
	d->last = end[-1];
	d->line_start = d->last == '\n';
	return true;
}

void dots_end(struct dots *d, struct evbuffer *out)
{
	if (d->last != '\0' && (d->last != '\n' || d->second != '\r'))
		evbuffer_add(out, "\r\n", 2);
	evbuffer_add(out, ".\r\n", 3);
}
