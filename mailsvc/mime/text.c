/*
 * The text of a part as it is searched: transfer encoding undone, converted to UTF-8, HTML reduced to its words,
 * folded.
 *
 * Limit: the first MIME_TEXT_MAX bytes of a part's decoded text; what is behind them is not found.
 */
#include "internal.h"

static void charset_of(struct view content_type, char *charset, size_t size)
{
	struct buf value = BUF_INIT(size);

	if (!mime_parameter(content_type, "charset", &value) || view_copy(buf_view(&value), charset, size) != 0 ||
	    !charset[0])
		(void)view_copy(VIEW_LIT("us-ascii"), charset, size);
	buf_free(&value);
}

static void decode(enum mime_encoding encoding, struct view raw, struct buf *out)
{
	struct mime_decoder decoder = { .encoding = encoding };

	if (encoding == ENCODING_IDENTITY || encoding == ENCODING_OTHER)
		buf_add(out, raw.ptr, raw.len < out->max ? raw.len : out->max);
	else
		mime_decode_some(&decoder, raw, true, out);
}

static void read_header(struct view header, struct mime_fields *fields, struct mime_content *content)
{
	mime_fields_read(header, fields);
	mime_content_read(fields->value[FIELD_CONTENT_TYPE], false, content);
}

/* A leaf that calls itself multipart or a message is shown as text (scan.c), and searched as such. */
static bool is_text(const struct mime_content *content)
{
	return content->text || content->multipart || content->message;
}

bool mime_is_text(struct view header)
{
	struct mime_fields fields;
	struct mime_content content;

	read_header(header, &fields, &content);
	return is_text(&content);
}

bool mime_leaf_utf8(struct view header, struct view body, struct buf *out)
{
	struct mime_fields fields;
	struct mime_content content;
	struct buf bytes = BUF_INIT(MIME_TEXT_MAX), utf8 = BUF_INIT(3 * MIME_TEXT_MAX);
	char charset[64];
	bool html;

	read_header(header, &fields, &content);
	if (!is_text(&content))
		return false;
	html = content.text && view_caseeq(content.subtype, "html");
	charset_of(fields.value[FIELD_CONTENT_TYPE], charset, sizeof(charset));
	decode(mime_encoding_read(fields.value[FIELD_CONTENT_TRANSFER_ENCODING]), body, &bytes);
	mime_to_utf8(charset, buf_view(&bytes), html ? &utf8 : out);
	if (html)
		mime_html_to_text(buf_view(&utf8), out);
	buf_free(&bytes);
	buf_free(&utf8);
	return true;
}

void mime_leaf_text(struct view header, struct view body, struct buf *folded)
{
	struct buf plain = BUF_INIT(3 * MIME_TEXT_MAX);

	if (mime_leaf_utf8(header, body, &plain))
		mime_fold(buf_view(&plain), folded);
	buf_free(&plain);
}

void mime_part_text(const struct mime_record *record, struct view message, uint32_t index, struct buf *folded)
{
	struct mime_part part;

	if (index >= record->part_count || message.len < record->message_len)
		return;
	mime_record_part(record, index, &part);
	if (!part.multipart && !part.rfc822)
		mime_leaf_text((struct view){ message.ptr + part.header, (size_t)(part.body - part.header) },
		    (struct view){ message.ptr + part.body, (size_t)(part.end - part.body) }, folded);
}
