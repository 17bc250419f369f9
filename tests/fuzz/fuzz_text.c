/* Base64 (what decodes must encode to the same text), sizes, durations and log escaping. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };
	struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
	char out[24], *text = view_dup(in);
	uint64_t n, again;

	if (text_base64_decode(&a, in) == 0) {
		check(text_base64_encode(&b, buf_view(&a)) == 0);
		check(b.len == size && (size == 0 || memcmp(b.data, data, size) == 0));
	} else {
		check(a.len == 0);
	}
	buf_reset(&a);
	buf_reset(&b);
	if (text_base64_encode(&a, in) == 0) {
		check(text_base64_decode(&b, buf_view(&a)) == 0);
		check(b.len == size && (size == 0 || memcmp(b.data, data, size) == 0));
	}
	buf_reset(&a);
	text_escape(&a, in, 256);
	for (size_t i = 0; i < a.len; i++)
		check(a.data[i] >= 0x20 && a.data[i] < 0x7f);
	if (text_parse_duration(text, &n) == 0) {
		text_format_duration(n, out);
		check(text_parse_duration(out, &again) == 0 && again == n);
	}
	text_parse_size(text, &n);
	text_distance(text, "account", 3);
	free(text);
	buf_free(&a);
	buf_free(&b);
	return 0;
}
