/* Any bytes as a record and as IMAP text: what is taken must stay inside its message. The first byte is the message's
 * length. */
#include <stdlib.h>

#include "mailsvc/mime/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char message[256];
	struct view blob = { size ? (const char *)data + 1 : "", size ? size - 1 : 0 };
	struct buf out = BUF_INIT(64 << 20);
	struct mime_record record;
	struct mime_part part;

	if (size && mime_record_open(&record, blob, data[0]) == 0) {
		for (uint32_t i = 0; i < record.part_count; i++) {
			mime_record_part(&record, i, &part);
			if (part.header > part.body || part.body > part.end || part.end > data[0])
				abort();
			mime_part_text(&record, (struct view){ message, data[0] }, i, &out);
		}
		(void)mime_record_find(&record, (uint32_t[]){ 1, 1, 1 }, 3);
		mime_body_from_bodystructure(record.bodystructure, &out);
	}
	buf_reset(&out);
	mime_body_from_bodystructure(blob, &out);
	if (!mime_imap_text_ok(buf_view(&out)))
		abort();
	buf_free(&out);
	return 0;
}
