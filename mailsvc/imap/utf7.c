/*
 * Modified UTF-7: printable ASCII stands for itself but "&", which is "&-"; all else is UTF-16 in base64 with "," for
 * "/", between "&" and "-".  Decoding checks by encoding again: what does not come back byte for byte is refused,
 * which covers needless shifts, left-over bits and printable ASCII inside a shift in one rule.
 *
 * LIST patterns are matched as a set of pattern positions that advances with each byte of the name.
 */
#include "utf7.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool put_utf8(struct buf *out, uint32_t c)
{
	char s[4];
	size_t n;

	if (c < 0x80) {
		s[0] = (char)c;
		n = 1;
	} else if (c < 0x800) {
		s[0] = (char)(0xc0 | c >> 6);
		s[1] = (char)(0x80 | (c & 0x3f));
		n = 2;
	} else if (c < 0x10000) {
		s[0] = (char)(0xe0 | c >> 12);
		s[1] = (char)(0x80 | (c >> 6 & 0x3f));
		s[2] = (char)(0x80 | (c & 0x3f));
		n = 3;
	} else {
		s[0] = (char)(0xf0 | c >> 18);
		s[1] = (char)(0x80 | (c >> 12 & 0x3f));
		s[2] = (char)(0x80 | (c >> 6 & 0x3f));
		s[3] = (char)(0x80 | (c & 0x3f));
		n = 4;
	}
	return buf_add(out, s, n) == 0;
}

/* One shift sequence without its "&" and "-": UTF-16 units become characters. */
static bool decode_shift(struct view in, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned have = 0;

	for (size_t i = 0; i < in.len; i++) {
		const char *at = in.ptr[i] == '\0' ? NULL : strchr(alphabet, in.ptr[i]);
		uint32_t unit;

		if (at == NULL)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have < 16)
			continue;
		have -= 16;
		unit = bits >> have & 0xffff;
		if (unit >= 0xdc00 && unit < 0xe000) {
			if (high == 0 || !put_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00)))
				return false;
			high = 0;
		} else if (high != 0 || unit < 0x20 || unit == 0x7f) {
			return false;
		} else if (unit >= 0xd800 && unit < 0xdc00) {
			high = unit;
		} else if (!put_utf8(out, unit)) {
			return false;
		}
	}
	return high == 0;
}

int utf7_decode(struct view in, char *out, size_t size)
{
	struct buf utf8 = BUF_INIT(size > 0 ? size - 1 : 0), again = BUF_INIT(in.len);
	bool fine = true;

	for (size_t i = 0; fine && i < in.len; i++) {
		const char *end;

		if (in.ptr[i] < 0x20 || in.ptr[i] > 0x7e) {
			fine = false;
		} else if (in.ptr[i] != '&') {
			fine = buf_addc(&utf8, in.ptr[i]) == 0;
		} else {
			end = memchr(in.ptr + i, '-', in.len - i);
			if (end == NULL)
				fine = false;
			else if (end == in.ptr + i + 1)
				fine = buf_addc(&utf8, '&') == 0;
			else
				fine = decode_shift(
				    (struct view){ in.ptr + i + 1, (size_t)(end - in.ptr) - i - 1 }, &utf8);
			i = end != NULL ? (size_t)(end - in.ptr) : i;
		}
	}
	if (fine) {
		utf7_encode(buf_view(&utf8), &again);
		fine = !again.full && again.len == in.len && (in.len == 0 || memcmp(again.data, in.ptr, in.len) == 0) &&
		       view_copy(buf_view(&utf8), out, size) == 0;
	}
	buf_free(&utf8);
	buf_free(&again);
	return fine ? 0 : -1;
}

/* The character at *pos of valid UTF-8; a broken byte stands for itself. */
static uint32_t next_char(struct view v, size_t *pos)
{
	unsigned char c = (unsigned char)v.ptr[(*pos)++];
	unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
	uint32_t code = more == 3 ? c & 7 : more == 2 ? c & 15 : more == 1 ? c & 31 : c;

	for (; more > 0 && *pos < v.len && ((unsigned char)v.ptr[*pos] & 0xc0) == 0x80; more--)
		code = code << 6 | ((unsigned char)v.ptr[(*pos)++] & 0x3f);
	return code;
}

static void add_bits(struct buf *out, uint32_t *bits, unsigned *have, uint32_t unit)
{
	*bits = *bits << 16 | unit;
	*have += 16;
	while (*have >= 6) {
		*have -= 6;
		buf_addc(out, alphabet[*bits >> *have & 63]);
	}
}

void utf7_encode(struct view utf8, struct buf *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	bool shifted = false;

	for (size_t pos = 0; pos < utf8.len;) {
		uint32_t c = next_char(utf8, &pos);
		bool plain = c >= 0x20 && c <= 0x7e;

		if (plain && shifted) {
			if (have > 0)
				buf_addc(out, alphabet[bits << (6 - have) & 63]);
			buf_addc(out, '-');
			shifted = false;
		}
		if (plain) {
			buf_addc(out, (char)c);
			if (c == '&')
				buf_addc(out, '-');
			continue;
		}
		if (!shifted) {
			buf_addc(out, '&');
			bits = 0;
			have = 0;
			shifted = true;
		}
		if (c >= 0x10000) {
			add_bits(out, &bits, &have, 0xd800 + ((c - 0x10000) >> 10 & 0x3ff));
			add_bits(out, &bits, &have, 0xdc00 + ((c - 0x10000) & 0x3ff));
		} else {
			add_bits(out, &bits, &have, c);
		}
	}
	if (shifted) {
		if (have > 0)
			buf_addc(out, alphabet[bits << (6 - have) & 63]);
		buf_addc(out, '-');
	}
}

bool list_match(struct view pattern, struct view name)
{
	/* at[i]: pattern[0..i) has matched what has been read of name.  Wildcards also match nothing. */
	bool at[LIST_PATTERN_MAX + 1] = { true };
	size_t m = pattern.len;

	if (m > LIST_PATTERN_MAX)
		return false;
	for (size_t i = 0; i < m && (pattern.ptr[i] == '*' || pattern.ptr[i] == '%'); i++)
		at[i + 1] = true;
	for (size_t n = 0; n < name.len; n++) {
		char c = name.ptr[n];
		bool any = false, before = at[0]; /* at[i] before this byte */

		at[0] = false;
		for (size_t i = 0; i < m; i++) {
			bool now = at[i + 1], wild = pattern.ptr[i] == '*' || pattern.ptr[i] == '%';

			if (wild)
				/* takes this byte and stays, or takes nothing after what now stands before it */
				at[i + 1] = at[i] || ((now || before) && (pattern.ptr[i] == '*' || c != '/'));
			else
				at[i + 1] = before && pattern.ptr[i] == c;
			any = any || at[i + 1];
			before = now;
		}
		if (!any)
			return false;
	}
	return at[m];
}
