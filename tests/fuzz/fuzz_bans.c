/* Any bytes as STATE/bans/list: refused with a line, or read so that printing and reading again gives the same. */
#include <stdint.h>
#include <stdlib.h>

#include "mailsvc/guard/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *put(const struct jail_ban *b, void *arg)
{
	return jail_put(arg, b, 0) < 0 ? "twice" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jail *one = jail_new(), *other = jail_new();
	struct buf a = BUF_INIT(1 << 22), b = BUF_INIT(1 << 22);
	struct error e;

	if (state_parse((struct view){ (const char *)data, size }, put, one, &e) == 0) {
		state_print(one, true, 0, &a);
		if (state_parse(buf_view(&a), put, other, &e) < 0)
			abort();
		state_print(other, true, 0, &b);
		if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
			abort();
	} else if (e.text[0] < '1' || e.text[0] > '9') {
		abort();
	}
	buf_free(&a);
	buf_free(&b);
	jail_free(one);
	jail_free(other);
	return 0;
}
