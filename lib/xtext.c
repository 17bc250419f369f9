/* xtext.h */
#include "xtext.h"

static bool stands(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

void xtext_encode(struct buf *out, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];

		if (stands(c))
			buf_addc(out, (char)c);
		else
			buf_printf(out, "+%02X", c);
	}
}

/* Digits of lower case are not xtext, but mailers write them. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int xtext_decode(struct buf *out, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		int high, low;

		if (stands((unsigned char)v.ptr[i])) {
			buf_addc(out, v.ptr[i]);
			continue;
		}
		if (v.ptr[i] != '+' || v.len - i < 3 || (high = digit(v.ptr[i + 1])) < 0 ||
		    (low = digit(v.ptr[i + 2])) < 0)
			return -1;
		buf_addc(out, (char)(high << 4 | low));
		i += 2;
	}
	return 0;
}
