/*
 * Address lists, RFC 5322 3.4 with its obsolete forms, tolerant of what is seen: addresses without a domain, "name" in
 * a trailing comment, an unquoted address as display name, missing commas' remains, unclosed quotes and groups.
 *
 * One pass, no allocation: the parts of one address are gathered in fixed storage and cut where they are longer.
 */
#include <string.h>

#include "internal.h"

struct piece {
	size_t len;
	char data[1024];
};

struct parser {
	const char *p, *end;
	struct piece phrase, local, domain, route, comment;
	bool group, more;
	mime_mailbox_fn fn;
	void *arg;
};

static void put(struct piece *s, char c)
{
	if (c != '\r' && c != '\n' && s->len < sizeof(s->data))
		s->data[s->len++] = c;
}

static struct view piece_view(const struct piece *s)
{
	return (struct view){ s->data, s->len };
}

static bool space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* At "(": keeps the text of the outermost comment. */
static void take_comment(struct parser *s)
{
	unsigned depth = 0;

	s->comment.len = 0;
	for (; s->p < s->end; s->p++) {
		if (*s->p == '(' && depth++ == 0)
			continue;
		if (*s->p == ')' && --depth == 0) {
			s->p++;
			return;
		}
		if (*s->p == '\\' && s->end - s->p > 1)
			s->p++;
		put(&s->comment, *s->p);
	}
	s->more = s->more || memchr(s->comment.data, '@', s->comment.len) != NULL; /* a comment without an end */
}

static void take_quoted(struct parser *s, struct piece *out)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		if (*s->p == '\\' && s->end - s->p > 1)
			s->p++;
		put(out, *s->p);
	}
	if (s->p < s->end)
		s->p++;
}

static void skip_space(struct parser *s)
{
	while (s->p < s->end && (space(*s->p) || *s->p == '(')) {
		if (*s->p == '(')
			take_comment(s);
		else
			s->p++;
	}
}

/* Words up to one of `stop` (outside quotes and comments); spaces between words become one when `spaced`. */
static void take_words(struct parser *s, struct piece *out, const char *stop, bool spaced)
{
	bool gap = false;

	out->len = 0;
	while (s->p < s->end) {
		char c = *s->p;

		if (space(c) || c == '(') {
			skip_space(s);
			gap = true;
			continue;
		}
		if (c && strchr(stop, c))
			return;
		if (gap && spaced && out->len > 0)
			put(out, ' ');
		gap = false;
		if (c == '"') {
			take_quoted(s, out);
		} else {
			put(out, c);
			s->p++;
		}
	}
}

/* After "@": atoms and dots, or a literal; a space ends it unless a dot is beside it. */
static void take_domain(struct parser *s)
{
	struct piece *d = &s->domain;

	d->len = 0;
	while (s->p < s->end) {
		const char *before = s->p;
		bool gap;

		skip_space(s);
		gap = s->p > before && d->len > 0;
		if (s->p == s->end || strchr("<>,;:@\"", *s->p))
			return;
		if (gap && *s->p != '.' && d->data[d->len - 1] != '.')
			return;
		if (*s->p == '[') {
			while (s->p < s->end && *s->p != ']' && *s->p != '>')
				put(d, *s->p++);
			if (s->p == s->end || *s->p != ']')
				return;
		}
		put(d, *s->p++);
	}
}

/* "john . doe" before an "@": the spaces beside dots mean nothing. */
static void close_dots(struct piece *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->len; i++) {
		if (s->data[i] == ' ' &&
		    ((n > 0 && s->data[n - 1] == '.') || (i + 1 < s->len && s->data[i + 1] == '.')))
			continue;
		s->data[n++] = s->data[i];
	}
	s->len = n;
}

static void emit(struct parser *s)
{
	struct mime_mailbox m = { .name = piece_view(s->phrase.len ? &s->phrase : &s->comment),
		.local = piece_view(&s->local),
		.domain = piece_view(&s->domain),
		.route = piece_view(&s->route),
		.more = s->more };

	if (m.local.len > 0 || m.domain.len > 0 || s->phrase.len > 0)
		s->fn(s->arg, &m);
}

/* To one of the two, over what makes no sense. */
static void pass_over(struct parser *s, char a, char b)
{
	for (; s->p < s->end && *s->p != a && *s->p != b; s->p++)
		s->more = s->more || *s->p == '@';
}

/* At "<". */
static void take_angle(struct parser *s)
{
	s->p++;
	s->local.len = s->domain.len = 0;
	skip_space(s);
	if (s->p < s->end && *s->p == '@') { /* a source route: "@a,@b:" */
		for (; s->p < s->end && *s->p != ':' && *s->p != '>'; s->p++)
			if (!space(*s->p))
				put(&s->route, *s->p);
		if (s->p < s->end && *s->p == ':')
			s->p++;
	}
	take_words(s, &s->local, "@>,", false);
	if (s->p < s->end && *s->p == '@') {
		s->p++;
		take_domain(s);
	}
	pass_over(s, '>', ',');
	if (s->p < s->end && *s->p == '>')
		s->p++;
}

/* At the "@" of a bare address whose local part is in phrase. */
static void take_bare(struct parser *s)
{
	s->p++;
	close_dots(&s->phrase);
	s->local = s->phrase;
	take_domain(s);
	skip_space(s);
	if (s->p < s->end && *s->p == '<') { /* an address as the display name of another */
		put(&s->phrase, '@');
		for (size_t i = 0; i < s->domain.len; i++)
			put(&s->phrase, s->domain.data[i]);
		take_angle(s);
		return;
	}
	s->phrase.len = 0;
}

static void group(struct parser *s, bool start)
{
	struct mime_mailbox m = { .group_start = start, .group_end = !start };

	if (start)
		m.name = piece_view(&s->phrase);
	s->group = start;
	s->fn(s->arg, &m);
}

static void take_one(struct parser *s)
{
	char c;

	s->local.len = s->domain.len = s->route.len = s->comment.len = 0;
	s->more = false;
	take_words(s, &s->phrase, s->group ? "<,;@" : "<,;:@", true);
	c = s->p < s->end ? *s->p : '\0';
	if (c == ':') {
		s->p++;
		group(s, true);
		return;
	}
	if (c == '<') {
		take_angle(s);
	} else if (c == '@') {
		take_bare(s);
	} else {
		s->local = s->phrase;
		s->phrase.len = 0;
	}
	skip_space(s);
	pass_over(s, ',', ';');
	emit(s);
}

void mime_addresses(struct view raw, mime_mailbox_fn fn, void *arg)
{
	struct parser s;

	if (raw.len == 0)
		return;
	s.p = raw.ptr;
	s.end = raw.ptr + raw.len;
	s.group = s.more = false;
	s.fn = fn;
	s.arg = arg;
	while (s.p < s.end) {
		if (*s.p == ',' || space(*s.p)) {
			s.p++;
		} else if (*s.p == ';') {
			s.p++;
			if (s.group)
				group(&s, false);
		} else {
			take_one(&s);
		}
	}
	if (s.group)
		group(&s, false);
}
