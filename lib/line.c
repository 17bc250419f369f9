/*
 * conn.h: the scanner that decides what ends a line.  It looks at each byte once, across the chains of an evbuffer
 * without joining them; only a trailing CR, whose neighbour has not arrived, is looked at again.
 */
#include "conn.h"

#define SPANS 8 /* chains looked at in one go */

struct scan {
	size_t pos, max;
	bool cr; /* the byte before pos is a CR */
};

/* One more span; LINE_MORE to go on. */
static enum line_status scan_span(struct scan *s, const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++, s->pos++) {
		unsigned char c = p[i];

		if (s->cr)
			return c == '\n' ? LINE_OK : LINE_BAD;
		if (c == '\r') {
			s->cr = true;
			continue;
		}
		if (c == '\n' || c == '\0')
			return LINE_BAD;
		if (s->pos >= s->max)
			return LINE_TOO_LONG;
	}
	return LINE_MORE;
}

enum line_status line_scan(struct evbuffer *in, size_t max, size_t *scanned, size_t *len)
{
	struct scan s = { .pos = *scanned, .max = max };
	size_t total = evbuffer_get_length(in);
	enum line_status r = LINE_MORE;

	while (s.pos < total && r == LINE_MORE) {
		struct evbuffer_iovec spans[SPANS];
		struct evbuffer_ptr at;

		if (evbuffer_ptr_set(in, &at, s.pos, EVBUFFER_PTR_SET) == -1)
			break;
		int n = evbuffer_peek(in, -1, &at, spans, SPANS);
		for (int i = 0; i < n && i < SPANS && r == LINE_MORE; i++)
			r = scan_span(&s, spans[i].iov_base, spans[i].iov_len);
		if (n <= 0)
			break;
	}
	if (r == LINE_OK) {
		*len = s.pos - 1; /* pos is at the LF */
		return *len <= max ? LINE_OK : LINE_TOO_LONG;
	}
	*scanned = s.cr ? s.pos - 1 : s.pos;
	return r;
}
