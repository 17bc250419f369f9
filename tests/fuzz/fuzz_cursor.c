/* The reader of packed bytes: each byte of the first half chooses what to read from the second. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t half = size / 2;
	const char *from = (const char *)data + half, *end = (const char *)data + size;
	struct cursor c = cursor_of(from, size - half);
	char text[16];

	for (size_t i = 0; i < half; i++) {
		bool was_bad = c.bad;
		uint64_t n = 0;
		struct view v = VIEW_NONE;

		switch (data[i] % 8) {
		case 0:
			n = cursor_u8(&c);
			break;
		case 1:
			n = cursor_u16(&c);
			break;
		case 2:
			n = cursor_u32(&c);
			break;
		case 3:
			n = cursor_u64(&c);
			break;
		case 4:
			v = cursor_blob(&c, data[i]);
			check(v.len <= data[i]);
			break;
		case 5:
			cursor_str(&c, text, sizeof(text));
			check(memchr(text, '\0', sizeof(text)) != NULL);
			break;
		case 6:
			v = cursor_bytes(&c, data[i]);
			check(v.len == (c.bad ? 0 : data[i]));
			break;
		default:
			v = cursor_blob(&c, SIZE_MAX);
			break;
		}
		check(!was_bad || (c.bad && n == 0 && v.len == 0));
		check(v.len == 0 || (v.ptr >= from && v.len <= (size_t)(end - v.ptr)));
		check(c.left <= size - half && c.p == end - c.left);
	}
	check(!cursor_done(&c) || (!c.bad && c.left == 0));
	return 0;
}
