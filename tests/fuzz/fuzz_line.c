/*
 * The line scanner: the first byte gives the maximum, the second the size of the pieces that the rest arrives in.
 * However it is cut, the lines must be those of a plain reference that sees everything at once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rule, written as plainly as possible. */
static enum line_status reference(const uint8_t *p, size_t size, size_t max, size_t *len)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] == '\r' && i + 1 == size)
			return LINE_MORE;
		if (p[i] == '\r') {
			*len = i;
			return p[i + 1] == '\n' ? LINE_OK : LINE_BAD;
		}
		if (p[i] == '\n' || p[i] == '\0')
			return LINE_BAD;
		if (i >= max)
			return LINE_TOO_LONG;
	}
	return LINE_MORE;
}

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t max = data[0], piece = data[1] % 64 + 1, scanned = 0;
	bool apart = data[1] >= 128; /* each piece a chain of its own */
	struct evbuffer *in = evbuffer_new();
	const uint8_t *front = data + 2; /* what `in` begins with */

	for (size_t at = 2; at < size;) {
		size_t n = size - at < piece ? size - at : piece;
		if (apart)
			evbuffer_add_reference(in, data + at, n, NULL, NULL);
		else
			evbuffer_add(in, data + at, n);
		at += n;
		for (;;) {
			size_t got = 0, want = 0, have = evbuffer_get_length(in);
			enum line_status r = line_scan(in, max, &scanned, &got);
			check(r == reference(front, have, max, &want));
			check(scanned <= have);
			if (r == LINE_MORE)
				break;
			if (r != LINE_OK)
				goto out;
			check(got == want && got <= max);
			evbuffer_drain(in, got + 2);
			front += got + 2;
			scanned = 0;
		}
	}
out:
	evbuffer_free(in);
	return 0;
}
