/* txttags.h.  Tags are compared as they are written, since all of these are lower case by their RFCs. */
#include "dnsgen/txttags.h"

#include <stdlib.h>

#define VALUE_MAX 65536
#define STRING_MAX 255

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct view trimmed(struct view v)
{
	while (v.len > 0 && is_space(v.ptr[0])) {
		v.ptr++;
		v.len--;
	}
	while (v.len > 0 && is_space(v.ptr[v.len - 1]))
		v.len--;
	return v;
}

bool txt_tag(struct view record, const char *tag, struct buf *value)
{
	while (record.len > 0) {
		const char *end = memchr(record.ptr, ';', record.len);
		struct view part = { record.ptr, end ? (size_t)(end - record.ptr) : record.len };
		const char *equals = memchr(part.ptr, '=', part.len);
		record.ptr += part.len + (end != NULL);
		record.len -= part.len + (end != NULL);
		if (equals == NULL || !view_eq(trimmed((struct view){ part.ptr, (size_t)(equals - part.ptr) }), tag))
			continue;
		for (const char *p = equals + 1; p < part.ptr + part.len; p++)
			if (!is_space(*p))
				buf_addc(value, *p);
		return true;
	}
	return false;
}

bool txt_tag_same(struct view a, struct view b, const char *tag)
{
	struct buf x = BUF_INIT(VALUE_MAX), y = BUF_INIT(VALUE_MAX);
	bool in_a = txt_tag(a, tag, &x), in_b = txt_tag(b, tag, &y);
	bool same = in_a == in_b && x.len == y.len && (x.len == 0 || memcmp(x.data, y.data, x.len) == 0);
	buf_free(&x);
	buf_free(&y);
	return same;
}

static bool is_rsa(struct view v)
{
	struct buf k = BUF_INIT(VALUE_MAX);
	bool rsa = !txt_tag(v, "k", &k) || view_eq(buf_view(&k), "rsa");
	buf_free(&k);
	return rsa;
}

bool txt_same_key(struct view a, struct view b)
{
	return txt_tag_same(a, b, "p") && (txt_tag_same(a, b, "k") || (is_rsa(a) && is_rsa(b)));
}

void txt_quoted(struct view value, struct buf *out)
{
	for (size_t at = 0; at < value.len || at == 0; at += STRING_MAX) {
		size_t len = value.len - at < STRING_MAX ? value.len - at : STRING_MAX;
		buf_puts(out, at ? " \"" : "\"");
		for (size_t i = 0; i < len; i++) {
			unsigned char c = (unsigned char)value.ptr[at + i];
			if (c == '"' || c == '\\')
				buf_addc(out, '\\');
			if (c < 0x20 || c >= 0x7f)
				buf_printf(out, "\\%03u", (unsigned)c);
			else
				buf_addc(out, (char)c);
		}
		buf_addc(out, '"');
	}
}
