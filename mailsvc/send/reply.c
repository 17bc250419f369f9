/*
 * The reply parser.  Strict: three digits with a first one of 2 to 5, then a space, a hyphen or the end of the line;
 * the same code on every line; CR LF ends a line and nothing else does.  A bare CR, a bare LF or a NUL is an error, so
 * that what one side takes for two replies the other cannot take for one.
 */
#include "reply.h"

#include <ctype.h>
#include <string.h>

#define TEXT_MAX ((REPLY_LINE_MAX + 1) * REPLY_LINES_MAX)

void reply_init(struct reply *r)
{
	memset(r, 0, sizeof(*r));
	r->text = BUF_INIT(TEXT_MAX);
}

void reply_free(struct reply *r)
{
	buf_free(&r->text);
}

void reply_reset(struct reply *r)
{
	r->code = 0;
	buf_reset(&r->text);
	r->lines = 0;
	r->done = false;
	r->line_len = 0;
	r->cr = false;
}

/* One whole line: fills code and text, and done on the last. */
static enum reply_status take_line(struct reply *r)
{
	const char *l = r->line;
	int code = 0;

	if (r->line_len < 3 || l[0] < '2' || l[0] > '5')
		return REPLY_ERROR;
	for (int i = 0; i < 3; i++) {
		if (l[i] < '0' || l[i] > '9')
			return REPLY_ERROR;
		code = code * 10 + (l[i] - '0');
	}
	if (r->line_len > 3 && l[3] != ' ' && l[3] != '-')
		return REPLY_ERROR;
	if (r->lines > 0 && code != r->code)
		return REPLY_ERROR;
	if (++r->lines > REPLY_LINES_MAX)
		return REPLY_ERROR;
	r->code = code;
	if (r->line_len > 4)
		buf_add(&r->text, l + 4, r->line_len - 4);
	buf_addc(&r->text, '\n');
	r->done = r->line_len == 3 || l[3] == ' ';
	r->line_len = 0;
	return r->done ? REPLY_DONE : REPLY_MORE;
}

enum reply_status reply_feed(struct reply *r, const char *data, size_t len, size_t *used)
{
	enum reply_status status = r->done ? REPLY_DONE : REPLY_MORE;
	size_t i = 0;

	while (i < len && status == REPLY_MORE) {
		char c = data[i++];
		if (r->cr) {
			r->cr = false;
			status = c == '\n' ? take_line(r) : REPLY_ERROR;
		} else if (c == '\r') {
			r->cr = true;
		} else if (c == '\n' || c == '\0' || r->line_len == REPLY_LINE_MAX) {
			status = REPLY_ERROR;
		} else {
			r->line[r->line_len++] = c;
		}
	}
	*used = i;
	return status;
}

void reply_text(const struct reply *r, char *out)
{
	size_t n = 0;

	out[n++] = (char)('0' + r->code / 100 % 10);
	out[n++] = (char)('0' + r->code / 10 % 10);
	out[n++] = (char)('0' + r->code % 10);
	if (r->text.len > 1)
		out[n++] = ' ';
	for (size_t i = 0; i < r->text.len && n < REPLY_TEXT_MAX; i++) {
		unsigned char c = (unsigned char)r->text.data[i];
		if (c == '\n' || c == '\t')
			c = ' ';
		out[n++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

void reply_enhanced(const char *text, char class, char out[16])
{
	const char *p = text;
	size_t n = 0;

	if (isdigit((unsigned char)p[0]) && isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2]) && p[3] == ' ')
		p += 4;
	/* class "." subject "." detail, at most three digits each */
	for (int part = 0; part < 3; part++) {
		size_t digits = 0;
		while (digits < 3 && isdigit((unsigned char)p[digits]))
			digits++;
		if (digits == 0 || (part == 0 && (digits != 1 || p[0] != class)) || p[digits] != (part < 2 ? '.' : ' '))
			goto none;
		memcpy(out + n, p, digits);
		n += digits;
		if (part < 2)
			out[n++] = '.';
		p += digits + 1;
	}
	out[n] = '\0';
	return;
none:
	memcpy(out, "?.0.0", 6);
	out[0] = class;
}

static void auth_mechanisms(struct view words, struct ehlo *out)
{
	while (words.len > 0) {
		size_t n = 0;
		while (n < words.len && words.ptr[n] != ' ' && words.ptr[n] != '=')
			n++;
		struct view word = { words.ptr, n };
		out->auth_plain |= view_caseeq(word, "PLAIN");
		out->auth_login |= view_caseeq(word, "LOGIN");
		n += n < words.len;
		words = (struct view){ words.ptr + n, words.len - n };
	}
}

void reply_ehlo(const struct reply *r, struct ehlo *out)
{
	const char *p = r->text.data, *end = r->text.len > 0 ? p + r->text.len : p;

	*out = (struct ehlo){ .pipelining = false };
	for (bool first = true; p < end; first = false) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		struct view line = { p, (size_t)(nl - p) };
		size_t n = 0;
		p = nl + 1;
		if (first)
			continue; /* the greeting */
		while (n < line.len && line.ptr[n] != ' ' && line.ptr[n] != '=')
			n++;
		struct view word = { line.ptr, n };
		n += n < line.len;
		struct view rest = { line.ptr + n, line.len - n };
		out->pipelining |= view_caseeq(word, "PIPELINING");
		out->eight_bit |= view_caseeq(word, "8BITMIME");
		out->smtputf8 |= view_caseeq(word, "SMTPUTF8");
		out->starttls |= view_caseeq(word, "STARTTLS");
		out->dsn |= view_caseeq(word, "DSN");
		out->chunking |= view_caseeq(word, "CHUNKING");
		if (view_caseeq(word, "SIZE")) {
			out->size = true;
			if (view_u64(rest, UINT64_MAX, &out->size_max) == -1)
				out->size_max = 0;
		} else if (view_caseeq(word, "AUTH")) {
			auth_mechanisms(rest, out);
		}
	}
}
