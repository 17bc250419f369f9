/* SMTP replies: whole and byte by byte agree; what they make of themselves stays within its limits. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/send/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum reply_status feed(struct reply *r, const uint8_t *data, size_t size, size_t step, size_t *used)
{
	enum reply_status status = REPLY_MORE;

	for (*used = 0; *used < size && status == REPLY_MORE;) {
		size_t n;
		status = reply_feed(r, (const char *)data + *used, size - *used < step ? size - *used : step, &n);
		*used += n;
	}
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply a, b;
	size_t used_a, used_b;
	char text_a[REPLY_TEXT_MAX + 1], text_b[REPLY_TEXT_MAX + 1], status[16];
	struct ehlo e;

	reply_init(&a);
	reply_init(&b);
	enum reply_status whole = feed(&a, data, size, size + 1, &used_a), bytes = feed(&b, data, size, 1, &used_b);
	if (whole != bytes || used_a != used_b)
		abort();
	if (whole == REPLY_DONE) {
		reply_text(&a, text_a);
		reply_text(&b, text_b);
		if (strcmp(text_a, text_b) != 0 || a.code < 200 || a.code > 599)
			abort();
		reply_enhanced(text_a, (char)('0' + a.code / 100), status);
		reply_ehlo(&a, &e);
	}
	reply_free(&a);
	reply_free(&b);
	return 0;
}
