/*
 * export.h.  The headers that an mbox keeps state in stand before the message's own, each of them always, and import
 * takes the first of each: so a message that has such headers itself comes back with them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "mailsvc/imap/utf7.h"
#include "mailsvc/migrate/export.h"
#include "mailsvc/mime/mime.h"

/* Names ---------------------------------------------------------------------------------------------------------- */

static void add_level(struct buf *out, struct view level)
{
	struct buf encoded = BUF_INIT(8 * MAILBOX_NAME_MAX);

	utf7_encode(level, &encoded);
	for (size_t i = 0; i < encoded.len; i++) {
		if (encoded.data[i] == '.')
			buf_puts(out, "\\2e");
		else if (encoded.data[i] == '\\')
			buf_puts(out, "\\5c");
		else
			buf_addc(out, encoded.data[i]);
	}
	buf_free(&encoded);
}

static void add_levels(struct buf *out, const char *name, const char *separator)
{
	for (size_t n; *name; name += n + (name[n] == '/')) {
		n = strcspn(name, "/");
		add_level(out, (struct view){ name, n });
		if (name[n] == '/')
			buf_puts(out, separator);
	}
}

void export_maildir_path(const char *name, struct buf *out)
{
	if (strcmp(name, "INBOX") == 0)
		return;
	buf_addc(out, '.');
	add_levels(out, name, ".");
}

void export_mbox_path(const char *name, struct buf *out)
{
	add_levels(out, name, ".sbd/");
}

void export_unescape(char *level)
{
	char *to = level;

	for (const char *from = level; *from; from++) {
		if (strncasecmp(from, "\\2e", 3) == 0 || strncasecmp(from, "\\5c", 3) == 0) {
			*to++ = from[1] == '2' ? '.' : '\\';
			from += 2;
		} else
			*to++ = *from;
	}
	*to = '\0';
}

/* Messages ------------------------------------------------------------------------------------------------------- */

/* Every LF behind exactly one CR, and so the way back is known. */
static bool reversible(struct view m)
{
	for (size_t i = 0; i < m.len; i++)
		if (m.ptr[i] == '\n' && (i == 0 || m.ptr[i - 1] != '\r' || (i > 1 && m.ptr[i - 2] == '\r')))
			return false;
	return true;
}

void export_lines(struct view m, struct buf *out)
{
	size_t from = 0;

	if (!reversible(m)) {
		buf_addv(out, m);
		return;
	}
	for (size_t i = 0; i + 1 < m.len; i++)
		if (m.ptr[i] == '\r' && m.ptr[i + 1] == '\n') {
			buf_add(out, m.ptr + from, i - from);
			from = i + 1;
		}
	buf_add(out, m.ptr + from, m.len - from);
}

void export_file_name(const struct message_row *row, uint32_t uid_validity, uint64_t size, struct buf *base)
{
	buf_printf(base, "%" PRId64 ".U%uV%u.mailadm,S=%" PRIu64, row->internal_date, row->uid, uid_validity, size);
}

void export_file_flags(const struct message_row *row, struct buf *out)
{
	static const struct {
		uint32_t flag;
		char letter;
	} letters[] = { { FLAG_DRAFT, 'D' }, { FLAG_FLAGGED, 'F' }, { FLAG_ANSWERED, 'R' }, { FLAG_SEEN, 'S' },
		{ FLAG_DELETED, 'T' } };

	buf_puts(out, ":2,");
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (row->flags & letters[i].flag)
			buf_addc(out, letters[i].letter);
	for (unsigned i = 0; i < EXPORT_LETTERS; i++)
		if (row->keywords & UINT64_C(1) << i)
			buf_addc(out, (char)('a' + i));
}

static void from_line(const struct message_row *row, struct view message, struct buf *out)
{
	struct view path = mime_header_find((struct view){ message.ptr, mime_header_len(message) }, "Return-Path");
	const char *open = path.ptr ? memchr(path.ptr, '<', path.len) : NULL;
	const char *end = open ? memchr(open, '>', path.len - (size_t)(open - path.ptr)) : NULL;
	time_t when = (time_t)row->internal_date;
	char date[64] = "Thu Jan  1 00:00:00 1970";
	struct tm tm;
	size_t start = out->len + 5;

	buf_puts(out, "From ");
	for (const char *p = open ? open + 1 : NULL; p && end && p<end && * p> ' ' && *p < 127; p++)
		buf_addc(out, *p);
	if (out->len == start)
		buf_puts(out, "MAILER-DAEMON");
	if (localtime_r(&when, &tm) != NULL)
		strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Y", &tm);
	buf_printf(out, " %s\n", date);
}

static void add_names(const struct mailbox_row *m, uint64_t bits, struct buf *out)
{
	for (unsigned i = 0; i < m->keyword_count; i++)
		if (m->keywords[i].ptr != NULL && (bits & UINT64_C(1) << i)) {
			buf_addc(out, ' ');
			buf_addv(out, m->keywords[i]);
		}
	buf_addc(out, '\n');
}

/* ">*From " becomes one ">" more. */
static void quote(struct view body, struct buf *out)
{
	for (size_t pos = 0, n; pos < body.len; pos += n) {
		const char *end = memchr(body.ptr + pos, '\n', body.len - pos);
		size_t marks = 0;

		n = end ? (size_t)(end - body.ptr) + 1 - pos : body.len - pos;
		while (marks < n && body.ptr[pos + marks] == '>')
			marks++;
		if (n - marks >= 5 && memcmp(body.ptr + pos + marks, "From ", 5) == 0)
			buf_addc(out, '>');
		buf_add(out, body.ptr + pos, n);
	}
}

void export_mbox_entry(const struct mailbox_row *m, const struct message_row *row, struct view message, struct buf *out)
{
	struct buf plain = BUF_INIT(STORE_BODY_MAX), body = BUF_INIT(2 * STORE_BODY_MAX);
	size_t header;

	export_lines(message, &plain);
	header = mime_header_len(buf_view(&plain));
	quote((struct view){ plain.data + header, plain.len - header }, &body);
	from_line(row, message, out);
	buf_printf(out, "X-IMAPbase: %u %u", m->uid_validity, m->uid_next - 1);
	add_names(m, UINT64_MAX, out);
	buf_printf(out, "X-UID: %u\nStatus: %s\nX-Status: %s%s%s%s\nX-Keywords:", row->uid,
	    row->flags & FLAG_SEEN ? "RO" : "O", row->flags & FLAG_ANSWERED ? "A" : "",
	    row->flags & FLAG_FLAGGED ? "F" : "", row->flags & FLAG_DRAFT ? "T" : "",
	    row->flags & FLAG_DELETED ? "D" : "");
	add_names(m, row->keywords, out);
	buf_printf(out, "Content-Length: %zu\n", body.len);
	buf_add(out, plain.data, header);
	buf_addv(out, buf_view(&body));
	buf_puts(out, out->len > 0 && out->data[out->len - 1] == '\n' ? "\n" : "\n\n");
	buf_free(&plain);
	buf_free(&body);
}
