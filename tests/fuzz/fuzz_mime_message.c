/*
 * Any bytes as a message: its record must open, and what it says must be sendable; each part's text is taken too, its
 * preview is valid UTF-8 of bounded length, and decoding it in two stretches gives what decoding it at once gives.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/mime/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the record keeps of the header is what the header says. */
static void check_kept(const struct mime_record *record, struct view header)
{
	struct mime_header kept, field;
	size_t at = 0, pos = 0;

	if (record->kept.ptr == NULL)
		return;
	while (mime_header_next(header, &pos, &field)) {
		if (!mime_kept(field.name))
			continue;
		if (!mime_header_next(record->kept, &at, &kept) || kept.field.len != field.field.len ||
		    memcmp(kept.field.ptr, field.field.ptr, kept.field.len) != 0)
			abort();
	}
	if (at != record->kept.len || record->header_ends != (pos < header.len))
		abort();
}

static void check_preview(struct view header, struct view body)
{
	struct buf out = BUF_INIT(4096), folded = BUF_INIT(4096);

	mime_leaf_preview(header, body, 200, &out);
	if (out.len > 800 || memchr(out.data ? out.data : "", '\n', out.len) != NULL)
		abort();
	mime_fold(buf_view(&out), &folded);
	buf_free(&out);
	buf_free(&folded);
}

static void check_decoding(struct view header, struct view body)
{
	struct buf once = BUF_INIT(64 << 20), twice = BUF_INIT(64 << 20);
	struct mime_decoder a = mime_decoder_of(header), b = a;
	size_t half = body.len / 2, taken;

	if (mime_decode_some(&a, body, true, &once) != body.len)
		abort();
	taken = mime_decode_some(&b, (struct view){ body.ptr, half }, false, &twice);
	if (taken > half || (half >= 4096 && taken == 0))
		abort();
	if (mime_decode_some(&b, (struct view){ body.ptr + taken, body.len - taken }, true, &twice) != body.len - taken)
		abort();
	/* A line without an end may be cut between blanks that would have been dropped. */
	if (half < 4096 && (once.len != twice.len || memcmp(once.data ? once.data : "", twice.data ? twice.data : "", once.len) != 0))
		abort();
	buf_free(&once);
	buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view message = { size ? (const char *)data : "", size };
	struct buf blob = BUF_INIT(MIME_RECORD_MAX), body = BUF_INIT(MIME_RECORD_MAX), text = BUF_INIT(64 << 20);
	struct mime_record record;
	struct mime_part part;
	uint32_t path[3];

	mime_parse(message, &blob);
	if (blob.full || mime_record_open(&record, buf_view(&blob), message.len) != 0)
		abort();
	mime_record_part(&record, 0, &part);
	check_kept(&record, (struct view){ message.ptr, (size_t)part.body });
	mime_body_from_bodystructure(record.bodystructure, &body);
	if (body.full || !mime_imap_text_ok(buf_view(&body)))
		abort();
	for (uint32_t i = 0; i < record.part_count && i < 20; i++) {
		mime_record_part(&record, i, &part);
		if (part.multipart || part.rfc822) {
			uint32_t first = i + 1;

			if (first >= record.part_count)
				abort();
		}
		mime_part_text(&record, message, i, &text);
		check_preview((struct view){ message.ptr + part.header, (size_t)(part.body - part.header) },
		    (struct view){ message.ptr + part.body, (size_t)(part.end - part.body) });
		check_decoding((struct view){ message.ptr + part.header, (size_t)(part.body - part.header) },
		    (struct view){ message.ptr + part.body, (size_t)(part.end - part.body) });
	}
	for (path[0] = 0; path[0] < 3; path[0]++)
		for (path[1] = 0; path[1] < 3; path[1]++)
			for (path[2] = 0; path[2] < 3; path[2]++)
				(void)mime_record_find(&record, path, 3);
	if (mime_header_len(message) > message.len)
		abort();
	buf_free(&blob);
	buf_free(&body);
	buf_free(&text);
	return 0;
}
