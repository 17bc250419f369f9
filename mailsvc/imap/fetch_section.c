/*
 * Where a section's bytes are: arithmetic on the offsets of the message's record.  Only HEADER.FIELDS is put together
 * in memory: from the fields that the record keeps where it has them all, else from a header of at most
 * FETCH_HEADER_MAX bytes (what is behind them is not found).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailsvc/imap/fetch.h"

#define REPARSE_MAX (64u << 20) /* a larger message with an unusable record is refused */

int fetch_source_read(const struct fetch_source *src, uint64_t offset, uint64_t length, struct buf *out)
{
	char *dst;

	if (length == 0)
		return 0;
	if (offset > src->length || length > src->length - offset)
		return -1;
	dst = buf_reserve(out, (size_t)length);
	if (!dst || src->read(src->arg, offset, dst, (size_t)length) != 0)
		return -1;
	out->len += (size_t)length;
	return 0;
}

int fetch_source_record(struct fetch_source *src)
{
	struct buf message = BUF_INIT(REPARSE_MAX);
	int rc = -1;

	if (src->opened)
		return 0;
	if ((src->checked ? mime_record_peek : mime_record_open)(&src->record, src->mime, src->length) != 0) {
		src->parsed.max = MIME_RECORD_MAX;
		if (src->length <= REPARSE_MAX && fetch_source_read(src, 0, src->length, &message) == 0) {
			mime_parse(buf_view(&message), &src->parsed);
			rc = mime_record_open(&src->record, buf_view(&src->parsed), src->length);
		}
		buf_free(&message);
		if (rc != 0)
			return -1;
	}
	src->opened = true;
	return 0;
}

void fetch_source_free(struct fetch_source *src)
{
	buf_free(&src->parsed);
	src->opened = false;
}

static bool wanted(const struct fetch_section *s, struct view name)
{
	bool named = false;

	for (size_t i = 0; i < s->field_count && !named; i++) {
		struct view f = s->fields[i];

		named = f.len == name.len && f.len > 0 && ((f.ptr[0] ^ name.ptr[0]) & 0xdf) == 0 &&
		        strncasecmp(f.ptr, name.ptr, f.len) == 0;
	}
	return named == (s->part == PART_FIELDS);
}

/* Appends the wanted fields of block; true when it ends with the blank line. */
static bool filter(struct view block, const struct fetch_section *s, struct buf *out)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(block, &pos, &h))
		if (wanted(s, h.name))
			buf_addv(out, h.field);
	return pos < block.len;
}

/* prefix: of the message's own header; the rest is [offset, offset + length) of the body. */
static int find_fields(struct fetch_source *src, const struct fetch_section *s, struct view prefix, struct buf *scratch,
    struct fetch_content *c)
{
	struct buf header = BUF_INIT(FETCH_HEADER_MAX);
	bool blank;
	int rc;

	rc = fetch_source_read(src, c->offset, c->length < FETCH_HEADER_MAX ? c->length : FETCH_HEADER_MAX, &header);
	buf_reset(scratch);
	if (rc == 0) {
		(void)filter(prefix, s, scratch);
		blank = filter(buf_view(&header), s, scratch);
		/* RFC 3501: the blank line comes with every header, unless the message has none. */
		if (blank || header.len < c->length)
			buf_puts(scratch, "\r\n");
	}
	buf_free(&header);
	c->text = buf_view(scratch);
	c->length = 0;
	return rc;
}

/* A field's line begins with one of the names, which are proper ones (mime_kept). */
static bool begins_wanted(const struct fetch_section *s, const char *p, const char *end)
{
	for (size_t i = 0; i < s->field_count; i++) {
		struct view f = s->fields[i];
		const char *colon = p + f.len;

		if (((f.ptr[0] ^ *p) & 0xdf) != 0 || (size_t)(end - p) <= f.len)
			continue;
		while (colon < end && (*colon == ' ' || *colon == '\t'))
			colon++;
		if (colon < end && *colon == ':' && strncasecmp(f.ptr, p, f.len) == 0)
			return true;
	}
	return false;
}

/* filter for a block of fields and nothing else, without a look at what is not wanted; neighbours are taken in one. */
static void filter_kept(struct view block, const struct fetch_section *s, struct buf *out)
{
	const char *p = block.ptr, *end = block.len > 0 ? p + block.len : p, *next, *from = NULL;

	for (; p < end; p = next) {
		next = p;
		do {
			next = memchr(next, '\n', (size_t)(end - next));
			next = next != NULL ? next + 1 : end;
		} while (next < end && (*next == ' ' || *next == '\t'));
		if (begins_wanted(s, p, next)) {
			from = from != NULL ? from : p;
		} else if (from != NULL) {
			buf_add(out, from, (size_t)(p - from));
			from = NULL;
		}
	}
	if (from != NULL)
		buf_add(out, from, (size_t)(end - from));
}

/* The same from what the record keeps; false: it does not. */
static bool find_kept(
    const struct fetch_source *src, const struct fetch_section *s, struct buf *scratch, struct fetch_content *c)
{
	struct view kept;
	bool ends;

	if (!mime_record_kept(src->mime, src->length, &kept, &ends))
		return false;
	buf_reset(scratch);
	filter_kept(src->prefix, s, scratch);
	filter_kept(kept, s, scratch);
	if (ends)
		buf_puts(scratch, "\r\n");
	c->exists = true;
	c->text = buf_view(scratch);
	return true;
}

#define PREVIEW_BYTES (64 * 1024) /* of a part's body that are looked at */
#define PREVIEW_PARTS 8           /* leaves that are tried */

static int preview_part(struct fetch_source *src, const struct mime_part *part, struct buf *out)
{
	struct buf bytes = BUF_INIT(2 * PREVIEW_BYTES);
	uint64_t header = part->body - part->header, body = part->end - part->body;
	int rc = 0;

	if (header > PREVIEW_BYTES)
		return 0;
	if (body > PREVIEW_BYTES)
		body = PREVIEW_BYTES;
	rc = fetch_source_read(src, part->header, header + body, &bytes);
	if (rc == 0)
		mime_leaf_preview((struct view){ bytes.data, (size_t)header },
		    (struct view){ bytes.data + header, (size_t)body }, FETCH_PREVIEW_MAX, out);
	buf_free(&bytes);
	return rc;
}

int fetch_preview(struct fetch_source *src, struct buf *out)
{
	size_t start = out->len;
	unsigned tried = 0;
	int rc = fetch_source_record(src);

	for (uint32_t i = 0; rc == 0 && i < src->record.part_count && tried < PREVIEW_PARTS && out->len == start; i++) {
		struct mime_part part;

		mime_record_part(&src->record, i, &part);
		if (part.multipart || part.rfc822)
			continue;
		tried++;
		rc = preview_part(src, &part, out);
	}
	return rc;
}

static void take(struct fetch_content *c, uint64_t from, uint64_t to)
{
	c->offset = from;
	c->length = to - from;
}

/* The message whose HEADER or TEXT is meant: the root, or the one inside a message/rfc822 part. False: there is none.
 */
static bool inner_message(const struct fetch_source *src, uint32_t index, struct mime_part *part)
{
	int64_t child;

	mime_record_part(&src->record, index, part);
	if (!part->rfc822)
		return false;
	for (child = (int64_t)index + 1; child < src->record.part_count; child++) {
		mime_record_part(&src->record, (uint32_t)child, part);
		if (part->parent == index)
			return true;
	}
	return false;
}

/* For the body of a leaf. */
static int find_decoder(struct fetch_source *src, const struct mime_part *part, struct fetch_content *c)
{
	struct buf header = BUF_INIT(FETCH_HEADER_MAX);
	uint64_t length = part->body - part->header;
	int rc = fetch_source_read(
	    src, part->header, length < FETCH_HEADER_MAX ? length : FETCH_HEADER_MAX, &header);

	if (rc == 0)
		c->decoder = mime_decoder_of(buf_view(&header));
	buf_free(&header);
	return rc;
}

static int locate(struct fetch_source *src, const struct fetch_section *s, struct buf *scratch, struct fetch_content *c)
{
	struct mime_part part;
	struct view prefix = s->path_len == 0 ? src->prefix : VIEW_NONE;
	int64_t index;

	if (fetch_source_record(src) != 0)
		return -1;
	index = mime_record_find(&src->record, s->path, s->path_len);
	if (index < 0)
		return 0;
	mime_record_part(&src->record, (uint32_t)index, &part);
	c->exists = true;
	switch (s->part) {
	case PART_ALL:
		take(c, part.body, part.end);
		return s->binary && !part.multipart && !part.rfc822 ? find_decoder(src, &part, c) : 0;
	case PART_MIME:
		take(c, part.header, part.body);
		return 0;
	case PART_HEADER:
	case PART_FIELDS:
	case PART_FIELDS_NOT:
	case PART_TEXT:
		break;
	}
	if (s->path_len > 0 && !inner_message(src, (uint32_t)index, &part)) {
		c->exists = false;
		return 0;
	}
	if (s->part == PART_TEXT) {
		take(c, part.body, part.end);
		return 0;
	}
	take(c, part.header, part.body);
	c->text = prefix;
	return s->part == PART_HEADER ? 0 : find_fields(src, s, prefix, scratch, c);
}

/* Keeps size bytes from origin of text and body range taken together. */
static void cut(struct fetch_content *c, uint64_t origin, uint64_t size)
{
	uint64_t skip = origin < c->text.len ? origin : c->text.len;

	c->text.ptr += skip;
	c->text.len -= (size_t)skip;
	origin -= skip;
	skip = origin < c->length ? origin : c->length;
	c->offset += skip;
	c->length -= skip;
	if (c->text.len > size)
		c->text.len = (size_t)size;
	size -= c->text.len;
	if (c->length > size)
		c->length = size;
}

int fetch_section_find(
    struct fetch_source *src, const struct fetch_section *s, struct buf *scratch, struct fetch_content *c)
{
	memset(c, 0, sizeof(*c));
	c->text = VIEW_LIT("");
	if (s->path_len == 0 && s->part == PART_ALL) {
		c->exists = true;
		c->text = src->prefix.len > 0 ? src->prefix : VIEW_LIT("");
		take(c, 0, src->length);
	} else if (!(s->kept && find_kept(src, s, scratch, c)) && locate(src, s, scratch, c) != 0) {
		return -1;
	}
	if (c->text.ptr == NULL)
		c->text = VIEW_LIT("");
	if (s->partial && c->exists && c->decoder.encoding == ENCODING_IDENTITY)
		cut(c, s->origin, s->size);
	return 0;
}
