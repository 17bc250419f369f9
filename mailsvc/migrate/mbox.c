/*
 * mbox.h.  A message begins with a line "From ", at the start or behind an empty line, that has a time of day in it:
 * text that merely begins so is left alone.  Content-Length is not believed.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "mailsvc/migrate/mbox.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/store/client.h"

/* "From x Thu Nov 24 15:22:24 2026": something, and digits around a colon. */
static bool from_line(struct view line)
{
	if (line.len < 10 || memcmp(line.ptr, "From ", 5) != 0)
		return false;
	for (size_t i = 6; i + 1 < line.len; i++)
		if (line.ptr[i] == ':' && line.ptr[i - 1] >= '0' && line.ptr[i - 1] <= '9' && line.ptr[i + 1] >= '0' &&
		    line.ptr[i + 1] <= '9')
			return true;
	return false;
}

static struct view line_at(struct view file, size_t at)
{
	const char *end = memchr(file.ptr + at, '\n', file.len - at);

	return (struct view){ file.ptr + at, end ? (size_t)(end - file.ptr) - at : file.len - at };
}

static bool empty_line(struct view line)
{
	return line.len == 0 || (line.len == 1 && line.ptr[0] == '\r');
}

bool mbox_next(struct view file, size_t *at, struct mbox_message *out)
{
	size_t pos = *at, last_empty = SIZE_MAX;
	bool before = true; /* the line before was empty, or there was none */

	while (pos < file.len && !(before && from_line(line_at(file, pos)))) {
		struct view line = line_at(file, pos);
		before = empty_line(line);
		pos += line.len + 1;
	}
	if (pos >= file.len)
		return false;
	out->from = line_at(file, pos);
	pos += out->from.len + 1;
	out->text.ptr = file.ptr + (pos < file.len ? pos : file.len);
	size_t start = pos < file.len ? pos : file.len;
	before = false;
	for (pos = start; pos < file.len;) {
		struct view line = line_at(file, pos);
		if (before && from_line(line))
			break;
		before = empty_line(line);
		if (before)
			last_empty = pos;
		pos += line.len + 1;
	}
	*at = pos < file.len ? pos : file.len;
	/* The empty line that divides belongs to neither; at the end of the file it usually stands too. */
	out->text.len = (before && last_empty != SIZE_MAX ? last_empty : *at) - start;
	return true;
}

/* Headers ------------------------------------------------------------------------------------------------------ */

static void status_letters(struct mbox_state *s, struct view value, bool extended)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (!extended)
			s->flags |= c == 'R' ? FLAG_SEEN : 0;
		else
			s->flags |= c == 'A'   ? FLAG_ANSWERED
			            : c == 'F' ? FLAG_FLAGGED
			            : c == 'T' ? FLAG_DRAFT
			            : c == 'D' ? FLAG_DELETED
			                       : 0;
	}
}

static uint32_t leading_number(struct view v)
{
	uint64_t n = 0;
	size_t i = 0;

	while (i < v.len && (v.ptr[i] == ' ' || v.ptr[i] == '\t'))
		i++;
	for (; i < v.len && v.ptr[i] >= '0' && v.ptr[i] <= '9' && n <= UINT32_MAX; i++)
		n = n * 10 + (unsigned)(v.ptr[i] - '0');
	return n <= UINT32_MAX ? (uint32_t)n : 0;
}

static void mozilla_status(struct mbox_state *s, struct view value)
{
	unsigned bits = 0;

	for (size_t i = 0; i < value.len; i++) {
		char c = (char)(value.ptr[i] | 32);
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
			bits = (bits << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10)) & 0xffff;
	}
	s->flags |= (bits & 1 ? FLAG_SEEN : 0) | (bits & 2 ? FLAG_ANSWERED : 0) | (bits & 4 ? FLAG_FLAGGED : 0);
	s->expunged |= (bits & 8) != 0;
}

enum { NAME_STATUS, NAME_X_STATUS, NAME_UID, NAME_KEYWORDS, NAME_BASE, NAME_IMAP, NAME_LENGTH, NAMES };
static const char *const names[NAMES] = { "Status", "X-Status", "X-UID", "X-Keywords", "X-IMAPbase", "X-IMAP",
	"Content-Length" };

/* true: the field says how the message stands and is none of it: the first of its name (*seen: bits of those taken). */
static bool take_field(struct mbox_state *s, const struct mime_header *h, unsigned *seen)
{
	unsigned n = 0;

	while (n < NAMES && !view_caseeq(h->name, names[n]))
		n++;
	if (n == NAMES && view_caseeq(h->name, "X-Mozilla-Status") && !(*seen & 1u << NAME_STATUS))
		mozilla_status(s, h->value);
	if (n == NAMES || *seen & 1u << n)
		return false;
	*seen |= 1u << n;
	if (n == NAME_BASE || n == NAME_IMAP) /* two names of one thing */
		*seen |= 1u << NAME_BASE | 1u << NAME_IMAP;
	if (n == NAME_STATUS || n == NAME_X_STATUS)
		status_letters(s, h->value, n == NAME_X_STATUS);
	else if (n == NAME_UID)
		s->uid = leading_number(h->value);
	else if (n == NAME_KEYWORDS)
		s->keywords = h->value;
	else if (n == NAME_BASE || n == NAME_IMAP)
		s->uid_validity = leading_number(h->value);
	s->internal |= n == NAME_IMAP;
	return true;
}

static void unquote(struct view body, struct buf *out)
{
	size_t from = 0, pos = 0;

	while (pos < body.len) {
		struct view line = line_at(body, pos);
		size_t n = 0;
		while (n < line.len && line.ptr[n] == '>')
			n++;
		if (n > 0 && line.len - n >= 5 && memcmp(line.ptr + n, "From ", 5) == 0) {
			buf_add(out, body.ptr + from, pos - from);
			from = pos + 1;
		}
		pos += line.len + 1;
	}
	if (from < body.len)
		buf_add(out, body.ptr + from, body.len - from);
}

/* A number is never folded: what stands folded behind it is the message's own first line. */
static size_t own_length(const struct mime_header *h)
{
	return view_caseeq(h->name, names[NAME_LENGTH]) ? line_at(h->field, 0).len + 1 : h->field.len;
}

int mbox_take(struct view text, struct mbox_state *state, struct buf *out)
{
	struct view block = { text.ptr, mime_header_len(text) };
	struct mime_header h;
	size_t pos = 0, from = 0;
	unsigned seen = 0;

	*state = (struct mbox_state){ 0 };
	while (mime_header_next(block, &pos, &h)) {
		if (!take_field(state, &h, &seen))
			continue;
		size_t at = (size_t)(h.field.ptr - text.ptr);
		buf_add(out, text.ptr + from, at - from);
		from = at + own_length(&h);
	}
	if (from < block.len)
		buf_add(out, text.ptr + from, block.len - from);
	unquote((struct view){ text.ptr + block.len, text.len - block.len }, out);
	return out->full ? -1 : 0;
}

int mbox_from_date(struct view from, int64_t *when)
{
	char text[128];
	struct tm tm = { .tm_isdst = -1 };
	size_t at = from.len;
	const char *end;
	unsigned spaces = 0;

	/* Five words from the end: "Thu Nov 24 15:22:24 2026"; a zone before the year is passed over. */
	if (from.len > 0 && from.ptr[from.len - 1] == '\r')
		from.len = --at;
	while (at > 5 && spaces < 5) {
		at--;
		if (from.ptr[at] == ' ' && from.ptr[at - 1] != ' ')
			spaces++;
	}
	if (view_copy((struct view){ from.ptr + at, from.len - at }, text, sizeof(text)) < 0)
		return -1;
	end = strptime(text, " %a %b %d %H:%M:%S %Y", &tm);
	if (end == NULL || *end != '\0') {
		const char *space = strchr(text + 1, ' ');
		tm = (struct tm){ .tm_isdst = -1 };
		end = space ? strptime(space, " %b %d %H:%M:%S %Y", &tm) : NULL;
		if (end == NULL)
			return -1;
	}
	*when = mktime(&tm);
	return *when == -1 ? -1 : 0;
}
