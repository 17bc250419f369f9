/* Any bytes as header values: addresses, dates, encoded words, parameters, HTML, every charset. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/mime/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_mailbox(void *arg, const struct mime_mailbox *m)
{
	size_t *total = arg;

	*total += m->name.len + m->local.len + m->domain.len + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "utf-8", "us-ascii", "iso-2022-jp", "gb18030", "utf-7", "utf-16",
		"shift_jis", "euc-kr" };
	struct view v = { size ? (const char *)data : "", size };
	struct buf out = BUF_INIT(16 << 20), folded = BUF_INIT(16 << 20);
	struct mime_header h;
	size_t pos = 0, total = 0;
	int64_t when;
	int16_t zone;

	while (mime_header_next(v, &pos, &h))
		if (h.field.len > size || h.value.len > h.field.len)
			abort();
	mime_addresses(v, count_mailbox, &total);
	if (mime_parse_date(v, &when, &zone) == 0 && (when < -2208988800 - 86400 || when > 253402387200))
		abort();
	mime_decode_header(v, &out);
	if (!out.full && !mime_utf8_valid(buf_view(&out)))
		abort();
	mime_base_subject(buf_view(&out), &folded);
	if (!folded.full && !mime_utf8_valid(buf_view(&folded)))
		abort();
	buf_reset(&out);
	(void)mime_parameter(v, "name", &out);
	mime_html_to_text(v, &out);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		buf_reset(&out);
		mime_to_utf8(names[i], v, &out);
		if (!out.full && !mime_utf8_valid(buf_view(&out)))
			abort();
	}
	buf_free(&out);
	buf_free(&folded);
	return 0;
}
