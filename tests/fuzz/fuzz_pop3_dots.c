/* Dot-stuffing in pieces: no line of the result is a lone dot but the last, and undoing it gives the message back. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/pop3/dots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evbuffer *out = evbuffer_new();
	struct buf undone = BUF_INIT(1 << 20);
	size_t step, len;
	const char *p, *end;
	struct dots d;

	if (size < 1 || size > 65536) {
		evbuffer_free(out);
		return 0;
	}
	step = data[0] % 32 + 1u;
	data++;
	size--;
	dots_init(&d, DOTS_ALL);
	for (size_t at = 0; at < size; at += step) {
		struct view piece = { (const char *)data + at, size - at < step ? size - at : step };

		if (dots_pass(&d, piece))
			evbuffer_add(out, piece.ptr, piece.len);
		else
			dots_add(&d, out, piece);
	}
	dots_end(&d, out);
	len = evbuffer_get_length(out);
	p = (const char *)evbuffer_pullup(out, -1);
	if (len < 3 || memcmp(p + len - 3, ".\r\n", 3) != 0)
		abort();
	for (end = p + len - 3; p < end;) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = lf != NULL ? (size_t)(lf - p) + 1 : (size_t)(end - p);

		if (p[0] == '.') {
			if (n < 2 || p[1] != '.')
				abort();
			buf_add(&undone, p + 1, n - 1);
		} else {
			buf_add(&undone, p, n);
		}
		p += n;
	}
	if (undone.len < size || (size > 0 && memcmp(undone.data, data, size) != 0) || undone.len > size + 2)
		abort();
	buf_free(&undone);
	evbuffer_free(out);
	return 0;
}
