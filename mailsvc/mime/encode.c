/*
 * A message with binary parts (RFC 3030) as one that every client can read: leaves whose Content-Transfer-Encoding is
 * binary become base64, and parts around them 8bit.  What else they hold, and their other fields, stay as they are.
 */
#include <string.h>

#include "internal.h"
#include "lib/text.h"

#define LINE_BYTES 57 /* 76 characters of base64 */

static void put_base64(struct view in, struct buf *out)
{
	for (size_t at = 0; at < in.len; at += LINE_BYTES) {
		size_t n = in.len - at < LINE_BYTES ? in.len - at : LINE_BYTES;

		if (at > 0)
			buf_add(out, "\r\n", 2);
		text_base64_encode(out, (struct view){ in.ptr + at, n });
	}
}

static bool says_binary(struct view header)
{
	struct mime_params rest;
	struct mime_fields fields;
	struct view value;

	mime_fields_read(header, &fields);
	value = fields.value[FIELD_CONTENT_TRANSFER_ENCODING];
	return value.ptr != NULL && view_caseeq(mime_token_read(value, &rest), "binary");
}

static void put_header(struct view header, const char *encoding, struct buf *out)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &h)) {
		if (view_caseeq(h.name, "Content-Transfer-Encoding"))
			buf_printf(out, "Content-Transfer-Encoding: %s\r\n", encoding);
		else
			buf_addv(out, h.field);
	}
	buf_add(out, header.ptr + pos, header.len - pos);
}

bool mime_encode_binary(struct view message, struct buf *out)
{
	struct scan scan;
	size_t done = 0;

	mime_scan(message, &scan);
	for (uint32_t i = 0; i < scan.count; i++) { /* in the order in which they start */
		const struct mime_part *p = &scan.parts[i].part;
		struct view header = { message.ptr + p->header, (size_t)(p->body - p->header) };
		bool leaf = !p->multipart && !p->rfc822;

		if (!says_binary(header))
			continue;
		buf_add(out, message.ptr + done, (size_t)p->header - done);
		put_header(header, leaf ? "base64" : "8bit", out);
		done = (size_t)p->body;
		if (leaf) {
			put_base64((struct view){ message.ptr + done, (size_t)(p->end - p->body) }, out);
			done = (size_t)p->end;
			if (done == message.len)
				buf_add(out, "\r\n", 2);
		}
	}
	buf_add(out, message.ptr + done, message.len - done);
	mime_scan_free(&scan);
	return !out->full;
}
