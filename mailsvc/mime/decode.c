/*
 * Content-Transfer-Encodings undone, tolerantly (RFC 2045 6.7, 6.8), a stretch at a time: what needs bytes that are not
 * here yet is left for the next call.
 */
#include <string.h>

#include "internal.h"

#define QP_LINE_MAX 4096 /* a line without an end is decoded in stretches of about this */

static int base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* What is not of the alphabet is skipped; padding ends the data. */
static size_t base64(struct mime_decoder *d, struct view in, struct buf *out)
{
	unsigned char piece[3072];
	size_t n = 0;

	for (size_t i = 0; i < in.len && !d->ended; i++) {
		int v = base64_value((unsigned char)in.ptr[i]);

		d->ended = in.ptr[i] == '=';
		if (v < 0)
			continue;
		d->bits = d->bits << 6 | (uint32_t)v;
		d->have += 6;
		if (d->have < 8)
			continue;
		d->have -= 8;
		piece[n++] = (unsigned char)(d->bits >> d->have);
		if (n == sizeof(piece)) {
			buf_add(out, piece, n);
			n = 0;
		}
	}
	buf_add(out, piece, n);
	return in.len;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Part of one line; false: a "=" ends it, which is a soft line break. */
static bool quoted_text(struct view v, struct buf *out)
{
	while (v.len > 0) {
		const char *eq = memchr(v.ptr, '=', v.len);
		size_t n = eq ? (size_t)(eq - v.ptr) : v.len, used = 1;
		char byte = '=';

		buf_add(out, v.ptr, n);
		if (!eq)
			return true;
		if (n + 1 == v.len)
			return false;
		if (n + 2 < v.len && hex_value(eq[1]) >= 0 && hex_value(eq[2]) >= 0) {
			byte = (char)(hex_value(eq[1]) << 4 | hex_value(eq[2]));
			used = 3;
		}
		buf_addc(out, byte);
		v = (struct view){ eq + used, v.len - n - used };
	}
	return true;
}

/* A line, or a stretch of one that has no end yet; 0: more bytes are needed. */
static size_t quoted_line(struct view in, bool last, struct buf *out)
{
	const char *lf = memchr(in.ptr, '\n', in.len);
	struct view line = { in.ptr, lf ? (size_t)(lf - in.ptr) : in.len };
	size_t eol;

	if (!lf && !last) {
		if (in.len < QP_LINE_MAX)
			return 0;
		line.len -= in.ptr[in.len - 1] == '=' ? 1 : in.ptr[in.len - 2] == '=' ? 2 : 0;
		quoted_text(line, out);
		return line.len;
	}
	if (lf && line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	eol = line.len;
	while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t'))
		line.len--; /* RFC 2045 6.7 (3): added on the way */
	if (!lf)
		quoted_text(line, out);
	else if (quoted_text(line, out))
		buf_add(out, in.ptr + eol, (size_t)(lf + 1 - in.ptr) - eol);
	return lf ? (size_t)(lf + 1 - in.ptr) : in.len;
}

static size_t quoted_printable(struct view in, bool last, struct buf *out)
{
	size_t taken = 0;

	while (taken < in.len) {
		size_t n = quoted_line((struct view){ in.ptr + taken, in.len - taken }, last, out);

		if (n == 0)
			break;
		taken += n;
	}
	return taken;
}

size_t mime_decode_some(struct mime_decoder *d, struct view in, bool last, struct buf *out)
{
	switch (d->encoding) {
	case ENCODING_BASE64:
		return base64(d, in, out);
	case ENCODING_QUOTED_PRINTABLE:
		return quoted_printable(in, last, out);
	case ENCODING_IDENTITY:
	case ENCODING_OTHER:
		break;
	}
	buf_addv(out, in);
	return in.len;
}

void mime_decode_base64(struct view in, struct buf *out)
{
	struct mime_decoder d = { .encoding = ENCODING_BASE64 };

	mime_decode_some(&d, in, true, out);
}

void mime_decode_quoted_word(struct view in, struct buf *out)
{
	(void)quoted_text(in, out);
}

struct mime_decoder mime_decoder_of(struct view part_header)
{
	struct mime_fields fields;

	mime_fields_read(part_header, &fields);
	return (struct mime_decoder){ .encoding = mime_encoding_read(fields.value[FIELD_CONTENT_TRANSFER_ENCODING]) };
}
