/*
 * Values of the form `token; name=value; name="value"`: Content-Type, Content-Disposition, Content-Transfer-Encoding
 * (RFC 2045 5.1, RFC 2183), with comments and folds anywhere between the tokens.
 *
 * Limits: 128 parameters, a value of 4096 bytes (cut).  An unquoted value may hold spaces and goes up to the next
 * semicolon.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

#define PARAMS_MAX 128

const char *mime_skip_cfws(const char *p, const char *end)
{
	unsigned depth = 0;

	for (; p < end; p++) {
		if (*p == '(')
			depth++;
		else if (depth && *p == ')')
			depth--;
		else if (depth && *p == '\\' && end - p > 1)
			p++;
		else if (!depth && *p != ' ' && *p != '\t' && *p != '\r' && *p != '\n')
			break;
	}
	return p;
}

/* 8-bit bytes pass: undeclared UTF-8 in a name is common. */
static bool token_char(char c)
{
	return (unsigned char)c > 32 && c != 127 && !strchr("()<>@,;:\\\"/[]?=", c);
}

static struct view token(const char **p, const char *end)
{
	const char *start = *p;

	while (*p < end && token_char(**p))
		(*p)++;
	return (struct view){ start, (size_t)(*p - start) };
}

static const char *skip_to_semicolon(const char *p, const char *end)
{
	const char *semicolon = memchr(p, ';', (size_t)(end - p));

	return semicolon ? semicolon : end;
}

static void store_put(struct mime_params *s, char c)
{
	if (c != '\r' && c != '\n' && s->value.len < sizeof(s->store))
		s->store[s->value.len++] = c;
}

static void quoted_value(struct mime_params *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\\' && s->end - s->p > 1)
			s->p++;
		store_put(s, *s->p);
	}
	if (s->p < s->end)
		s->p++;
	s->p = skip_to_semicolon(s->p, s->end);
}

static void plain_value(struct mime_params *s)
{
	bool space = false;

	for (; s->p < s->end && *s->p != ';' && !(space && *s->p == '('); s->p++) {
		space = *s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n';
		store_put(s, *s->p);
	}
	while (s->value.len > 0 && (s->store[s->value.len - 1] == ' ' || s->store[s->value.len - 1] == '\t'))
		s->value.len--;
	if (s->p < s->end && *s->p == '(')
		s->p = skip_to_semicolon(mime_skip_cfws(s->p, s->end), s->end);
}

bool mime_params_next(struct mime_params *s)
{
	while (s->count < PARAMS_MAX) {
		s->p = mime_skip_cfws(s->p, s->end);
		if (s->p == s->end)
			return false;
		if (*s->p == ';') {
			s->p++;
			continue;
		}
		s->name = token(&s->p, s->end);
		s->p = mime_skip_cfws(s->p, s->end);
		if (s->name.len == 0 || s->p == s->end || *s->p != '=') {
			s->p = skip_to_semicolon(s->p, s->end);
			continue;
		}
		s->p = mime_skip_cfws(s->p + 1, s->end);
		s->value = (struct view){ s->store, 0 };
		s->count++;
		if (s->p < s->end && *s->p == '"')
			quoted_value(s);
		else
			plain_value(s);
		return true;
	}
	return false;
}

static void params_begin(struct mime_params *s, const char *p, const char *end)
{
	s->p = p;
	s->end = end;
	s->count = 0;
	s->name = s->value = VIEW_NONE;
}

struct view mime_token_read(struct view raw, struct mime_params *params)
{
	const char *end, *p;
	struct view v;

	params_begin(params, "", "");
	params->end = params->p;
	if (raw.len == 0)
		return VIEW_NONE;
	end = raw.ptr + raw.len;
	p = mime_skip_cfws(raw.ptr, end);
	v = token(&p, end);
	params_begin(params, skip_to_semicolon(p, end), end);
	return v;
}

void mime_content_read(struct view raw, bool digest, struct mime_content *out)
{
	const char *p, *end;

	out->defaulted = true;
	out->type = digest ? VIEW_LIT("MESSAGE") : VIEW_LIT("TEXT");
	out->subtype = digest ? VIEW_LIT("RFC822") : VIEW_LIT("PLAIN");
	params_begin(&out->params, "", "");
	out->params.end = out->params.p;
	if (raw.len > 0) {
		struct view type, subtype = VIEW_NONE;

		end = raw.ptr + raw.len;
		p = mime_skip_cfws(raw.ptr, end);
		type = token(&p, end);
		p = mime_skip_cfws(p, end);
		if (p < end && *p == '/') {
			p = mime_skip_cfws(p + 1, end);
			subtype = token(&p, end);
		}
		if (type.len > 0 && subtype.len > 0) {
			out->defaulted = false;
			out->type = type;
			out->subtype = subtype;
			params_begin(&out->params, skip_to_semicolon(p, end), end);
		}
	}
	out->multipart = view_caseeq(out->type, "multipart");
	out->text = view_caseeq(out->type, "text");
	out->message = view_caseeq(out->type, "message") &&
	               (view_caseeq(out->subtype, "rfc822") || view_caseeq(out->subtype, "global"));
}

enum mime_encoding mime_encoding_read(struct view raw)
{
	struct mime_params rest;
	struct view v = mime_token_read(raw, &rest);

	if (v.len == 0 || view_caseeq(v, "7bit") || view_caseeq(v, "8bit") || view_caseeq(v, "binary"))
		return ENCODING_IDENTITY;
	if (view_caseeq(v, "base64"))
		return ENCODING_BASE64;
	if (view_caseeq(v, "quoted-printable"))
		return ENCODING_QUOTED_PRINTABLE;
	return ENCODING_OTHER;
}
