/*
 * The structure of a message with byte offsets, in one pass over its lines.
 *
 * A line is looked at only when it starts with "--" and is then compared with the boundaries of the open multiparts,
 * innermost first: a delimiter is the whole line but for blanks at its end (prefix matches would take "--b1" for
 * "--b").  Open parts form a stack of at most MIME_DEPTH_MAX; whatever nests deeper is a leaf.  After MIME_PARTS_MAX
 * parts boundaries mean nothing any more: the last part takes in the rest.  A multipart without a boundary, or in which
 * it never appears, is a leaf, which IMAP shows as text/plain (a body without parts cannot be said in its grammar).
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct level { /* an open multipart, or a message/rfc822 around what follows */
	uint32_t part;
	bool digest;
	size_t len; /* of boundary; 0: message/rfc822, or a multipart whose last delimiter was seen */
	char boundary[MIME_BOUNDARY_MAX];
};

struct scanner {
	struct view m;
	size_t pos;     /* always the start of a line */
	uint32_t lines; /* LFs before pos */
	struct scan *out;
	struct level open[MIME_DEPTH_MAX];
	unsigned depth;
	unsigned armed; /* open levels with a boundary */
	uint32_t leaf;  /* MIME_NONE: none open */
};

static uint32_t count_lines(const char *p, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += p[i] == '\n';
	return n;
}

static uint32_t add_part(struct scan *out, uint32_t parent)
{
	struct scan_part *p;
	uint32_t index = out->count++;

	if (out->count > out->cap) {
		out->cap = out->cap ? out->cap * 2 : 8;
		out->parts = xreallocarray(out->parts, out->cap, sizeof(*out->parts));
	}
	p = &out->parts[index];
	memset(p, 0, sizeof(*p));
	p->part.parent = parent;
	p->part.number = 1;
	p->first_child = p->last_child = p->next_sibling = MIME_NONE;
	if (parent != MIME_NONE) {
		struct scan_part *up = &out->parts[parent];

		if (up->last_child == MIME_NONE) {
			up->first_child = index;
		} else {
			p->part.number = (uint16_t)(out->parts[up->last_child].part.number + 1);
			out->parts[up->last_child].next_sibling = index;
		}
		up->last_child = index;
	}
	return index;
}

/* The open level whose delimiter the line [pos, end) is, or -1. */
static int match_boundary(const struct scanner *s, size_t end, bool *closing)
{
	const char *line = s->m.ptr + s->pos + 2;
	size_t n;

	while (end > s->pos + 2 && strchr(" \t\r\n", s->m.ptr[end - 1]) && s->m.ptr[end - 1])
		end--;
	n = end - s->pos - 2;
	for (unsigned k = s->depth; k-- > 0;) {
		const struct level *l = &s->open[k];

		if (l->len == 0 || n < l->len)
			continue;
		*closing = n == l->len + 2 && line[n - 1] == '-' && line[n - 2] == '-';
		if ((n == l->len || *closing) && memcmp(line, l->boundary, l->len) == 0)
			return (int)k;
	}
	return -1;
}

static size_t line_end(const struct scanner *s)
{
	const char *lf = memchr(s->m.ptr + s->pos, '\n', s->m.len - s->pos);

	return lf ? (size_t)(lf - s->m.ptr) + 1 : s->m.len;
}

static void skip_line(struct scanner *s, size_t end)
{
	s->lines += end > s->pos && s->m.ptr[end - 1] == '\n';
	s->pos = end;
}

static bool dashes(const struct scanner *s)
{
	return s->m.len - s->pos >= 2 && s->m.ptr[s->pos] == '-' && s->m.ptr[s->pos + 1] == '-';
}

/* Goes to the next delimiter of an open level, which pos then stands at: the level, or -1 at the end. */
static int next_boundary(struct scanner *s, size_t *end, bool *closing)
{
	if (s->armed == 0) {
		s->lines += count_lines(s->m.ptr + s->pos, s->m.len - s->pos);
		s->pos = s->m.len;
	}
	while (s->pos < s->m.len) {
		*end = line_end(s);
		if (dashes(s)) {
			int level = match_boundary(s, *end, closing);

			if (level >= 0)
				return level;
		}
		skip_line(s, *end);
	}
	return -1;
}

/* From the first header line to the byte after the blank line, or to a delimiter, or to the end. */
static void skip_header(struct scanner *s)
{
	while (s->pos < s->m.len) {
		size_t end = line_end(s);
		char first = s->m.ptr[s->pos];
		bool closing;

		if (s->armed && dashes(s) && match_boundary(s, end, &closing) >= 0)
			return;
		if (first == '\n' || (first == '\r' && end - s->pos == 2)) {
			skip_line(s, end);
			return;
		}
		skip_line(s, end);
	}
}

static bool get_boundary(struct view content_type, struct mime_content *c, struct level *l)
{
	l->len = 0;
	while (mime_params_next(&c->params)) {
		if (!view_caseeq(c->params.name, "boundary"))
			continue;
		if (c->params.value.len > 0 && c->params.value.len <= sizeof(l->boundary)) {
			l->len = c->params.value.len;
			memcpy(l->boundary, c->params.value.ptr, l->len);
		}
		return l->len > 0;
	}
	if (content_type.len > 0) { /* RFC 2231 continuations */
		struct buf value = BUF_INIT(sizeof(l->boundary));

		if (mime_parameter(content_type, "boundary", &value) && value.len > 0 && !value.full) {
			l->len = value.len;
			memcpy(l->boundary, value.data, l->len);
		}
		buf_free(&value);
	}
	return l->len > 0;
}

/* Opens the part whose header is at pos; true when its body is itself a message, which comes next. */
static bool open_part(struct scanner *s, uint32_t parent, bool digest)
{
	uint32_t index = add_part(s->out, parent);
	struct mime_part *p = &s->out->parts[index].part;
	struct mime_content content;
	struct mime_fields fields;
	bool room = s->depth < MIME_DEPTH_MAX && s->out->count < MIME_PARTS_MAX;

	s->out->parts[index].digest_child = digest;
	p->header = s->pos;
	skip_header(s);
	p->body = s->pos;
	p->lines = s->lines; /* until it is closed: the LFs before its body */
	mime_fields_read((struct view){ s->m.ptr + p->header, (size_t)(p->body - p->header) }, &fields);
	mime_content_read(fields.value[FIELD_CONTENT_TYPE], digest, &content);
	s->leaf = index;
	if (!room)
		return false;
	if (content.multipart && get_boundary(fields.value[FIELD_CONTENT_TYPE], &content, &s->open[s->depth])) {
		p->multipart = true;
		s->open[s->depth].digest = view_caseeq(content.subtype, "digest");
		s->armed++;
	} else if (content.message &&
		   mime_encoding_read(fields.value[FIELD_CONTENT_TRANSFER_ENCODING]) == ENCODING_IDENTITY) {
		p->rfc822 = true;
		s->open[s->depth].len = 0;
	} else {
		return false;
	}
	s->open[s->depth++].part = index;
	s->leaf = MIME_NONE;
	return p->rfc822;
}

static void open_chain(struct scanner *s, uint32_t parent, bool digest)
{
	while (open_part(s, parent, digest)) {
		parent = s->out->count - 1;
		digest = false;
	}
}

/* end: where the part ends unless its body or its last child goes further. Returns where it does end. */
static size_t close_part(struct scanner *s, uint32_t index, size_t end)
{
	struct mime_part *p = &s->out->parts[index].part;

	if (end < p->body)
		end = (size_t)p->body;
	p->end = end;
	p->lines = s->lines - (end < s->pos) - p->lines;
	return end;
}

/* Closes the leaf and every level above the first `keep`, at pos. at_delimiter: the line end before pos belongs to it.
 */
static void close_to(struct scanner *s, unsigned keep, bool at_delimiter)
{
	size_t end = s->pos;

	if (at_delimiter && end > 0 && s->m.ptr[end - 1] == '\n') {
		end--;
		if (end > 0 && s->m.ptr[end - 1] == '\r')
			end--;
	}
	if (s->leaf != MIME_NONE)
		end = close_part(s, s->leaf, end);
	s->leaf = MIME_NONE;
	while (s->depth > keep) {
		struct level *l = &s->open[--s->depth];

		s->armed -= l->len > 0;
		end = close_part(s, l->part, end);
	}
}

static void run(struct scanner *s)
{
	size_t end = 0;
	bool closing = false;
	int level;

	open_chain(s, MIME_NONE, false);
	while ((level = next_boundary(s, &end, &closing)) >= 0) {
		struct level *l = &s->open[level];

		if (!closing && s->out->count >= MIME_PARTS_MAX) {
			s->armed = 0;
			continue;
		}
		close_to(s, (unsigned)level + 1, true);
		skip_line(s, end);
		if (closing) {
			l->len = 0;
			s->armed--;
		} else {
			open_chain(s, l->part, l->digest);
		}
	}
	s->armed = 0;
	for (unsigned k = 0; k < s->depth; k++)
		s->open[k].len = 0;
	close_to(s, 0, false);
}

void mime_scan(struct view message, struct scan *out)
{
	struct scanner s;

	memset(out, 0, sizeof(*out));
	s.m = message.len > 0 ? message : VIEW_LIT("");
	s.pos = 0;
	s.lines = 0;
	s.out = out;
	s.depth = s.armed = 0;
	s.leaf = MIME_NONE;
	run(&s);
	for (uint32_t i = 0; i < out->count; i++)
		if (out->parts[i].first_child == MIME_NONE)
			out->parts[i].part.multipart = false;
}

void mime_scan_opaque(struct view message, struct scan *out)
{
	struct mime_part *p;
	uint32_t root;

	memset(out, 0, sizeof(*out));
	root = add_part(out, MIME_NONE);
	p = &out->parts[root].part;
	p->body = mime_header_len(message);
	p->end = message.len;
	p->lines = message.len ? count_lines(message.ptr + p->body, (size_t)(p->end - p->body)) : 0;
}

void mime_scan_free(struct scan *s)
{
	free(s->parts);
	memset(s, 0, sizeof(*s));
}
