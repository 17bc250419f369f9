/*
 * report.h: the report inside a message.  Its type says what it is, or its name; what is packed is unpacked, with an
 * end to how large it may become.  Of a zip file the first entry is taken, which is all that reports have.
 */
#include <string.h>

#include "lib/inflate.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/report/report.h"

#define PARTS_MAX 20 /* that are looked at: each may unpack to REPORT_TEXT_MAX */

/* As types and file names have them: RFC 9990 4.1.1, RFC 8460 5.3; and what reporters do instead. */
static const char *const dmarc_marks[] = { "gzip", "x-gzip", "zip", "xml", "octet-stream", NULL };
static const char *const tls_marks[] = { "tlsrpt+gzip", "tlsrpt+json", "gzip", "json", "octet-stream", NULL };

static bool holds(struct view text, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; n <= text.len && i <= text.len - n; i++)
		if (strncasecmp(text.ptr + i, word, n) == 0)
			return true;
	return false;
}

bool report_likely(enum report_kind kind, struct view structure)
{
	const char *const *marks = kind == REPORT_DMARC ? dmarc_marks : tls_marks;

	while (*marks != NULL && !holds(structure, *marks))
		marks++;
	return *marks != NULL;
}

static int unpack_all(struct view in, enum inflate_kind kind, struct buf *out, struct error *e)
{
	if (in.len <= REPORT_TEXT_MAX && inflate_all(in, kind, out) == 0)
		return 0;
	return out->full ? error_set(e, "the report is larger than %u MiB once it is unpacked", REPORT_TEXT_MAX >> 20)
	                 : error_set(e, "the packed report is broken or cut");
}

static uint32_t little(const char *p, size_t bytes)
{
	uint32_t n = 0;

	for (size_t i = bytes; i > 0; i--)
		n = n << 8 | (unsigned char)p[i - 1];
	return n;
}

#define ZIP_LOCAL 30   /* bytes of a local header, APPNOTE 4.3.7 */
#define ZIP_CENTRAL 46 /* of a central one, 4.3.12 */

/* The sizes of an entry that was written as a stream stand in the central directory alone. */
static uint32_t central_size(struct view file)
{
	for (size_t i = file.len >= ZIP_CENTRAL ? file.len - ZIP_CENTRAL + 1 : 0; i > 0; i--)
		if (memcmp(file.ptr + i - 1, "PK\1\2", 4) == 0)
			return little(file.ptr + i - 1 + 20, 4);
	return 0;
}

static int unzip(struct view file, struct buf *out, struct error *e)
{
	size_t skip = ZIP_LOCAL + little(file.ptr + 26, 2) + little(file.ptr + 28, 2);
	uint32_t flags = little(file.ptr + 6, 2), method = little(file.ptr + 8, 2), size = little(file.ptr + 18, 4);
	struct view packed;

	if (size == 0 && (flags & 8) != 0)
		size = central_size(file);
	if (skip > file.len || size > file.len - skip || (flags & 1) != 0)
		return error_set(e, "the zip file is broken, or encrypted");
	packed = (struct view){ file.ptr + skip, size };
	if (method == 8)
		return unpack_all(packed, INFLATE_RAW, out, e);
	if (method == 0)
		return buf_addv(out, packed) == 0 ? 0 : error_set(e, "the report is too large");
	return error_set(e, "the zip file is packed in a way that is not known: %u", method);
}

static bool is_zip(struct view file)
{
	return file.len > ZIP_LOCAL && memcmp(file.ptr, "PK\3\4", 4) == 0;
}

static bool is_gzip(struct view file)
{
	return file.len > 2 && memcmp(file.ptr, "\x1f\x8b", 2) == 0;
}

static int unpack(struct view file, struct buf *out, struct error *e)
{
	if (is_zip(file))
		return unzip(file, out, e);
	if (is_gzip(file))
		return unpack_all(file, INFLATE_GZIP, out, e);
	return buf_addv(out, file) == 0 ? 0 : error_set(e, "the report is larger than %u MiB", REPORT_TEXT_MAX >> 20);
}

/* Is this what a report of this kind begins with, once it is unpacked? */
static bool begins_well(enum report_kind kind, struct view text)
{
	size_t i = 0;

	if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
		i = 3;
	while (i < text.len && strchr(" \t\r\n", text.ptr[i]) != NULL && text.ptr[i] != '\0')
		i++;
	return i < text.len && text.ptr[i] == (kind == REPORT_DMARC ? '<' : '{');
}

static int take(enum report_kind kind, struct view file, struct buf *text, struct error *e)
{
	buf_reset(text);
	if (unpack(file, text, e) == -1)
		return -1;
	return begins_well(kind, buf_view(text)) ? 0 : error_set(e, "there is no report in it");
}

static int take_part(enum report_kind kind, struct view message, const struct mime_part *part, struct buf *text, struct error *e)
{
	struct view header = { message.ptr + part->header, part->body - part->header }, raw;
	struct view body = { message.ptr + part->body, part->end - part->body };
	struct mime_decoder decoder = mime_decoder_of(header);
	struct buf type = BUF_INIT(65536), file = BUF_INIT(REPORT_TEXT_MAX);
	int rc = -1;

	raw = mime_header_find(header, "Content-Type");
	mime_unfold(raw, &type);
	if (!part->multipart && report_likely(kind, buf_view(&type))) {
		mime_decode_some(&decoder, body, true, &file);
		rc = file.full ? error_set(e, "the report is too large") : take(kind, buf_view(&file), text, e);
	}
	buf_free(&type);
	buf_free(&file);
	return rc;
}

int report_extract(enum report_kind kind, struct view message, struct buf *text, struct error *e)
{
	struct buf blob = BUF_INIT(2 * MIME_RECORD_MAX);
	struct mime_record record;
	int rc = -1;

	/* No mail begins so. */
	if (is_zip(message) || is_gzip(message) || begins_well(kind, message))
		return take(kind, message, text, e);
	error_set(e, "there is no report in it");
	mime_parse(message, &blob);
	if (mime_record_open(&record, buf_view(&blob), message.len) == 0) {
		for (uint32_t i = 0; i < record.part_count && i < PARTS_MAX && rc == -1; i++) {
			struct mime_part part;

			mime_record_part(&record, i, &part);
			rc = take_part(kind, message, &part, text, e);
		}
	}
	buf_free(&blob);
	return rc;
}
