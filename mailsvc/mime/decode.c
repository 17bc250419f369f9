/* Content-Transfer-Encodings undone, tolerantly (RFC 2045 6.7, 6.8). */
#include <string.h>

#include "internal.h"

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

void mime_decode_base64(struct view in, struct buf *out)
{
	unsigned char piece[3072];
	size_t n = 0;
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < in.len && in.ptr[i] != '='; i++) {
		int v = base64_value((unsigned char)in.ptr[i]);

		if (v < 0)
			continue;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		piece[n++] = (unsigned char)(bits >> have);
		if (n == sizeof(piece)) {
			buf_add(out, piece, n);
			n = 0;
		}
	}
	buf_add(out, piece, n);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After "=": 1 with *byte, or 0 for a soft line break; *used bytes; -1: neither. */
static int after_equals(struct view v, char *byte, size_t *used)
{
	size_t n = 0;

	if (v.len >= 2 && hex_value(v.ptr[0]) >= 0 && hex_value(v.ptr[1]) >= 0) {
		*byte = (char)(hex_value(v.ptr[0]) << 4 | hex_value(v.ptr[1]));
		*used = 2;
		return 1;
	}
	while (n < v.len && n < 80 && (v.ptr[n] == ' ' || v.ptr[n] == '\t'))
		n++;
	if (n < v.len && v.ptr[n] == '\r')
		n++;
	if (n < v.len && v.ptr[n] != '\n')
		return -1;
	*used = n < v.len ? n + 1 : n;
	return 0;
}

void mime_decode_quoted_printable(struct view in, struct buf *out)
{
	while (in.len > 0) {
		const char *eq = memchr(in.ptr, '=', in.len);
		size_t n = eq ? (size_t)(eq - in.ptr) : in.len, used = 0;
		char byte = '=';

		buf_add(out, in.ptr, n);
		if (!eq)
			return;
		in.ptr += n + 1;
		in.len -= n + 1;
		if (after_equals(in, &byte, &used) != 0)
			buf_addc(out, byte);
		in.ptr += used;
		in.len -= used;
	}
}
