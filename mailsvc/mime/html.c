/*
 * The words of an HTML text, for searching only: tags, comments, scripts and styles are dropped, common entities
 * decoded.
 *
 * Crude on purpose.  A tag ends at the first ">", quoted or not; a "<" that nothing closes is text.  Tags that only
 * change the look of a word leave it whole, others become a space.  Linear, no recursion.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

static bool name_is(struct view v, const char *name)
{
	size_t n = strlen(name);

	return v.len >= n && strncasecmp(v.ptr, name, n) == 0 && (v.len == n || strchr(" \t\r\n/", v.ptr[n]));
}

static bool inside_words(struct view tag)
{
	static const char *const names[] = { "a", "b", "i", "u", "em", "strong", "span", "font", "small", "big", "sub",
		"sup", "tt", "code", "mark", "abbr", "wbr" };

	if (tag.len > 0 && tag.ptr[0] == '/')
		tag = (struct view){ tag.ptr + 1, tag.len - 1 };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name_is(tag, names[i]))
			return true;
	return false;
}

/* Past the end tag of a script or style; v starts behind its start tag. */
static struct view skip_element(struct view v, const char *name)
{
	while (v.len > 0) {
		const char *lt = memchr(v.ptr, '<', v.len);

		if (!lt)
			break;
		v = (struct view){ lt + 1, v.len - (size_t)(lt + 1 - v.ptr) };
		if (v.len > 0 && v.ptr[0] == '/' && v.len > strlen(name) &&
		    strncasecmp(v.ptr + 1, name, strlen(name)) == 0) {
			const char *gt = memchr(v.ptr, '>', v.len);

			return gt ? (struct view){ gt + 1, v.len - (size_t)(gt + 1 - v.ptr) } : VIEW_LIT("");
		}
	}
	return VIEW_LIT("");
}

static struct view skip_comment(struct view v)
{
	const char *end = memmem(v.ptr, v.len, "-->", 3);

	return end ? (struct view){ end + 3, v.len - (size_t)(end + 3 - v.ptr) } : VIEW_LIT("");
}

/* v starts with "<". */
static struct view take_tag(struct view v, struct buf *out)
{
	const char *gt;
	struct view tag, rest;

	if (v.len >= 4 && memcmp(v.ptr, "<!--", 4) == 0)
		return skip_comment((struct view){ v.ptr + 4, v.len - 4 });
	gt = memchr(v.ptr, '>', v.len);
	if (!gt) {
		buf_addv(out, v);
		return VIEW_LIT("");
	}
	tag = (struct view){ v.ptr + 1, (size_t)(gt - v.ptr) - 1 };
	rest = (struct view){ gt + 1, v.len - tag.len - 2 };
	if (!inside_words(tag))
		buf_addc(out, ' ');
	if (name_is(tag, "script"))
		return skip_element(rest, "script");
	if (name_is(tag, "style"))
		return skip_element(rest, "style");
	return rest;
}

static uint32_t named_entity(struct view name)
{
	static const struct {
		const char *name;
		uint32_t codepoint;
	} entities[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' },
		{ "nbsp", 0xA0 }, { "copy", 0xA9 }, { "reg", 0xAE }, { "shy", 0xAD }, { "euro", 0x20AC },
		{ "auml", 0xE4 }, { "ouml", 0xF6 }, { "uuml", 0xFC }, { "Auml", 0xC4 }, { "Ouml", 0xD6 },
		{ "Uuml", 0xDC }, { "szlig", 0xDF }, { "eacute", 0xE9 }, { "egrave", 0xE8 }, { "ecirc", 0xEA },
		{ "aacute", 0xE1 }, { "agrave", 0xE0 }, { "acirc", 0xE2 }, { "aring", 0xE5 }, { "aelig", 0xE6 },
		{ "oslash", 0xF8 }, { "ccedil", 0xE7 }, { "ntilde", 0xF1 }, { "iacute", 0xED }, { "oacute", 0xF3 },
		{ "ocirc", 0xF4 }, { "uacute", 0xFA }, { "ndash", 0x2013 }, { "mdash", 0x2014 }, { "lsquo", 0x2018 },
		{ "rsquo", 0x2019 }, { "ldquo", 0x201C }, { "rdquo", 0x201D }, { "bdquo", 0x201E },
		{ "hellip", 0x2026 }, { "bull", 0x2022 }, { "trade", 0x2122 } };

	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++)
		if (view_eq(name, entities[i].name))
			return entities[i].codepoint;
	return 0;
}

static uint32_t numeric_entity(struct view v)
{
	bool hex = v.len > 0 && (v.ptr[0] | 0x20) == 'x';
	uint32_t n = 0;

	for (size_t i = hex; i < v.len; i++) {
		char c = v.ptr[i];
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if (hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (uint32_t)((c | 0x20) - 'a') + 10;
		else
			return 0;
		n = n * (hex ? 16 : 10) + digit;
		if (n > 0x10FFFF)
			return 0;
	}
	return n;
}

/* v starts with "&": an entity of at most 10 letters, or the byte itself. */
static struct view take_entity(struct view v, struct buf *out)
{
	size_t n = 1;
	uint32_t c = 0;

	while (n < v.len && n < 12 && v.ptr[n] != ';' && v.ptr[n] != '&' && v.ptr[n] != '<')
		n++;
	if (n > 1 && n < v.len && v.ptr[n] == ';') {
		struct view name = { v.ptr + 1, n - 1 };

		c = name.ptr[0] == '#' ? numeric_entity((struct view){ name.ptr + 1, name.len - 1 })
		                       : named_entity(name);
	}
	if (c == 0) {
		buf_addc(out, '&');
		n = 0;
	} else {
		mime_utf8_put(out, c);
	}
	return (struct view){ v.ptr + n + 1, v.len - n - 1 };
}

void mime_html_to_text(struct view v, struct buf *out)
{
	while (v.len > 0) {
		size_t n = 0;

		while (n < v.len && v.ptr[n] != '<' && v.ptr[n] != '&')
			n++;
		buf_add(out, v.ptr, n);
		v.ptr += n;
		v.len -= n;
		if (v.len == 0)
			return;
		v = v.ptr[0] == '<' ? take_tag(v, out) : take_entity(v, out);
	}
}
