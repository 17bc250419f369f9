/*
 * The beginning of a text in one line, for lists of messages.  What cannot be seen (controls, the zero-width characters
 * that newsletters pad their beginning with) is dropped, runs of blanks are one space.
 */
#include "internal.h"

#define UTF8_MAX (512 * 1024) /* of a text that is looked at */

enum { SEEN, BLANK, INVISIBLE };

static int kind_of(uint32_t c)
{
	if (c == ' ' || (c >= '\t' && c <= '\r') || c == 0xA0 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
	    c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000)
		return BLANK;
	if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x34F || (c >= 0x200B && c <= 0x200F) ||
	    (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF)
		return INVISIBLE;
	return SEEN;
}

/* One character of valid UTF-8. */
static size_t take_character(struct view v, uint32_t *c)
{
	unsigned char first = (unsigned char)v.ptr[0];
	size_t len = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

	if (len > v.len)
		len = v.len;
	*c = len == 1 ? first : first & (0xFFu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		*c = *c << 6 | ((unsigned char)v.ptr[i] & 0x3F);
	return len;
}

static bool quoted_line(struct view v)
{
	while (v.len > 0 && v.ptr[0] == ' ')
		v = (struct view){ v.ptr + 1, v.len - 1 };
	return v.len > 0 && v.ptr[0] == '>';
}

static struct view rest_of(struct view v, size_t n)
{
	return (struct view){ v.ptr + n, v.len - n };
}

static struct view skip_line(struct view v)
{
	const char *lf = memchr(v.ptr, '\n', v.len);

	return rest_of(v, lf ? (size_t)(lf - v.ptr) : v.len);
}

static void put_line(struct view v, bool skip_quoted, unsigned left, struct buf *out)
{
	bool line_start = true, blank = false, any = false;

	while (v.len > 0 && left > 0) {
		uint32_t c;
		size_t n;

		if (line_start && skip_quoted && quoted_line(v)) {
			v = skip_line(v);
			line_start = false;
			continue;
		}
		n = take_character(v, &c);
		line_start = c == '\n';
		if (kind_of(c) == SEEN) {
			if (blank && any) {
				if (left < 2)
					return;
				buf_addc(out, ' ');
				left--;
			}
			buf_add(out, v.ptr, n);
			left--;
			any = true;
			blank = false;
		} else {
			blank |= kind_of(c) == BLANK;
		}
		v = rest_of(v, n);
	}
}

void mime_leaf_preview(struct view header, struct view body, unsigned characters, struct buf *out)
{
	struct buf text = BUF_INIT(UTF8_MAX);
	size_t start = out->len;

	if (mime_leaf_utf8(header, body, &text)) {
		put_line(buf_view(&text), true, characters, out);
		if (out->len == start)
			put_line(buf_view(&text), false, characters, out);
	}
	buf_free(&text);
}
