/*
 * Is a text from a record one well-formed IMAP list, and BODY out of BODYSTRUCTURE.  Records come from a process that
 * strangers talk to, so nothing of them is sent before it passed here.
 */
#include <string.h>

#include "internal.h"

#define LIST_DEPTH_MAX                                                                                                 \
	(4 * MIME_DEPTH_MAX) /* a part is one list; params, envelope and addresses nest 4 at most inside */

enum { ORDINARY, QUOTE, OPEN, CLOSE, SPACE, LITERAL, BAD };

static unsigned char classes[256];

static void init_classes(void)
{
	for (int c = 0; c < 256; c++)
		classes[c] = c <= 32 || c >= 127 ? BAD : ORDINARY;
	classes['\\'] = classes['%'] = classes['*'] = classes['}'] = BAD;
	classes['"'] = QUOTE;
	classes['('] = OPEN;
	classes[')'] = CLOSE;
	classes[' '] = SPACE;
	classes['{'] = LITERAL;
}

/* Each returns where the thing at p ends, or NULL. */
static const char *skip_quoted(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"')
			return p + 1;
		if (c == '\\') {
			p++;
			if (p == end || (*p != '"' && *p != '\\'))
				return NULL;
		} else if (c >= 0x80 || c == '\r' || c == '\n' || c == 0) {
			return NULL;
		}
	}
	return NULL;
}

static const char *literal_start(const char *p, const char *end, uint64_t *len)
{
	const char *close = memchr(p, '}', (size_t)(end - p) < 24 ? (size_t)(end - p) : 24);

	if (!close || view_u64((struct view){ p + 1, (size_t)(close - p) - 1 }, MIME_RECORD_MAX, len) != 0)
		return NULL;
	p = close + 1;
	if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
		return NULL;
	p += 2;
	return *len > (uint64_t)(end - p) ? NULL : p;
}

static const char *skip_literal(const char *p, const char *end)
{
	uint64_t len;

	p = literal_start(p, end, &len);
	return !p || memchr(p, 0, (size_t)len) ? NULL : p + len;
}

static const char *skip_string_or_atom(const char *p, const char *end)
{
	switch (classes[(unsigned char)*p]) {
	case QUOTE:
		return skip_quoted(p, end);
	case LITERAL:
		return skip_literal(p, end);
	case ORDINARY:
		while (p < end && classes[(unsigned char)*p] == ORDINARY)
			p++;
		return p;
	default:
		return NULL;
	}
}

/* Where the list that starts at p ends, or NULL when it is not well-formed. */
static const char *skip_list(const char *p, const char *end)
{
	enum { AFTER_OPEN, AFTER_CLOSE, AFTER_ITEM, AFTER_SPACE } state = AFTER_SPACE;
	unsigned depth = 0;

	while (p < end) {
		switch (classes[(unsigned char)*p]) {
		case OPEN:
			if (state == AFTER_ITEM || ++depth > LIST_DEPTH_MAX)
				return NULL;
			state = AFTER_OPEN;
			p++;
			break;
		case CLOSE:
			if (state == AFTER_OPEN || state == AFTER_SPACE)
				return NULL;
			state = AFTER_CLOSE;
			p++;
			if (--depth == 0)
				return p;
			break;
		case SPACE:
			if (state == AFTER_OPEN || state == AFTER_SPACE)
				return NULL;
			state = AFTER_SPACE;
			p++;
			break;
		default:
			if (state == AFTER_CLOSE || state == AFTER_ITEM || depth == 0)
				return NULL;
			p = skip_string_or_atom(p, end);
			if (!p)
				return NULL;
			state = AFTER_ITEM;
		}
	}
	return NULL;
}

bool mime_imap_text_ok(struct view text)
{
	if (!classes['(']) {
		init_classes();
	}
	return text.len > 0 && text.ptr[0] == '(' && skip_list(text.ptr, text.ptr + text.len) == text.ptr + text.len;
}

/* BODY ----------------------------------------------------------------------------------------------------- */
struct reducer {
	const char *p, *end; /* of text that mime_imap_text_ok passed */
	struct buf *out;
};

static bool space(struct reducer *r)
{
	if (r->p == r->end || *r->p != ' ')
		return false;
	r->p++;
	buf_addc(r->out, ' ');
	return true;
}

/* Copies one item, of whatever kind, and gives it. */
static bool copy_item(struct reducer *r, struct view *item)
{
	const char *next;

	if (r->p == r->end)
		return false;
	next = *r->p == '(' ? skip_list(r->p, r->end) : skip_string_or_atom(r->p, r->end);
	if (!next)
		return false;
	*item = (struct view){ r->p, (size_t)(next - r->p) };
	r->p = next;
	buf_addv(r->out, *item);
	return true;
}

static bool copy_items(struct reducer *r, unsigned count)
{
	struct view item;

	for (unsigned i = 0; i < count; i++)
		if (!space(r) || !copy_item(r, &item))
			return false;
	return true;
}

/* Goes over the extension data to the end of the list. */
static bool close_body(struct reducer *r)
{
	while (r->p < r->end && *r->p == ' ') {
		r->p++;
		if (r->p == r->end)
			return false;
		r->p = *r->p == '(' ? skip_list(r->p, r->end) : skip_string_or_atom(r->p, r->end);
		if (!r->p)
			return false;
	}
	if (r->p == r->end || *r->p != ')')
		return false;
	r->p++;
	buf_addc(r->out, ')');
	return true;
}

static bool reduce(struct reducer *r, unsigned depth)
{
	struct view type, subtype;

	if (depth > MIME_DEPTH_MAX || r->p == r->end || *r->p != '(')
		return false;
	r->p++;
	buf_addc(r->out, '(');
	if (r->p < r->end && *r->p == '(') {
		while (r->p < r->end && *r->p == '(')
			if (!reduce(r, depth + 1))
				return false;
		return copy_items(r, 1) && close_body(r);
	}
	if (!copy_item(r, &type) || !space(r) || !copy_item(r, &subtype) || !copy_items(r, 5))
		return false;
	if (view_caseeq(type, "\"text\"")) {
		if (!copy_items(r, 1))
			return false;
	} else if (view_caseeq(type, "\"message\"") &&
		   (view_caseeq(subtype, "\"rfc822\"") || view_caseeq(subtype, "\"global\""))) {
		if (!copy_items(r, 1) || !space(r) || !reduce(r, depth + 1) || !copy_items(r, 1))
			return false;
	}
	return close_body(r);
}

void mime_body_from_bodystructure(struct view text, struct buf *out)
{
	struct reducer r = { text.ptr, NULL, out };
	size_t start = out->len;

	if (mime_imap_text_ok(text)) {
		r.end = text.ptr + text.len;
		if (reduce(&r, 0) && r.p == r.end)
			return;
	}
	out->len = start;
	buf_puts(out, "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)");
}
