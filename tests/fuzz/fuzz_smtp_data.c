/*
 * Message content: read whole and cut as the first bytes say must be the same, and what is called clean must hold no
 * bare CR, bare LF or NUL.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/smtp/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	struct buf content;
	struct smtp_data_reader reader;
	size_t used;
	bool ended;
};

static void feed(struct view in, bool dots, size_t step, struct result *out)
{
	*out = (struct result){ .content = BUF_INIT(1 << 24) };
	smtp_data_init(&out->reader, dots);
	while (out->used < in.len && !out->ended) {
		size_t n = in.len - out->used < step ? in.len - out->used : step;
		struct view left = { in.ptr + out->used, n }, piece;
		enum smtp_data_status status;

		while ((status = smtp_data_read(&out->reader, &left, &piece)) == SMTP_DATA_PIECE)
			buf_addv(&out->content, piece);
		out->ended = status == SMTP_DATA_END;
		out->used += n - left.len;
	}
}

static void check_clean(struct view v, bool whole)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] == '\0' || (v.ptr[i] == '\n' && (i == 0 || v.ptr[i - 1] != '\r')))
			abort();
		if (v.ptr[i] == '\r' && i + 1 < v.len && v.ptr[i + 1] != '\n')
			abort();
	}
	if (whole && v.len > 0 && (v.len < 2 || memcmp(v.ptr + v.len - 2, "\r\n", 2) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole, cut;
	struct view in;
	bool dots;
	size_t step;

	if (size < 2)
		return 0;
	dots = (data[0] & 1) != 0;
	step = 1 + data[1] % 7u;
	in = (struct view){ (const char *)data + 2, size - 2 };
	feed(in, dots, in.len > 0 ? in.len : 1, &whole);
	feed(in, dots, step, &cut);
	if (whole.used != cut.used || whole.ended != cut.ended || whole.reader.fault != cut.reader.fault ||
	    whole.reader.state != cut.reader.state || whole.content.len != cut.content.len ||
	    (cut.content.len > 0 && memcmp(whole.content.data, cut.content.data, cut.content.len) != 0))
		abort();
	if (whole.ended && (whole.used < 3 || memcmp(in.ptr + whole.used - 3, ".\r\n", 3) != 0))
		abort();
	if (whole.reader.fault == SMTP_DATA_CLEAN)
		check_clean(buf_view(&whole.content), whole.ended);
	buf_free(&whole.content);
	buf_free(&cut.content);
	return 0;
}
