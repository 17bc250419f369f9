/*
 * What the record keeps of a header, so that the usual FETCH BODY[HEADER.FIELDS (...)], SEARCH and SORT need not read
 * the message: the fields that clients ask for, as written, and the addresses and the subject as SEARCH compares them.
 */
#include <string.h>
#include <strings.h>

#include "internal.h"

/* What Outlook, Thunderbird, Apple Mail, K-9, mutt, Roundcube and mbsync ask for in lists of messages. */
static const char *const kept_names[] = { "autocrypt", "bcc", "cc", "content-description", "content-language",
	"content-transfer-encoding", "content-type", "date", "disposition-notification-to", "from", "importance",
	"in-reply-to", "lines", "list-archive", "list-help", "list-id", "list-post", "list-subscribe",
	"list-unsubscribe", "list-unsubscribe-post", "message-id", "mime-version", "newsgroups", "precedence",
	"priority", "references", "reply-to", "return-receipt-to", "sender", "subject", "to", "user-agent", "x-label",
	"x-mailer", "x-msmail-priority", "x-original-to", "x-priority", "x-tuid", "x-uid" };

bool mime_kept(struct view name)
{
	size_t low = 0, high = sizeof(kept_names) / sizeof(*kept_names);

	while (low < high) {
		size_t middle = (low + high) / 2, len = strlen(kept_names[middle]);
		int order = strncasecmp(name.ptr, kept_names[middle], name.len < len ? name.len : len);

		if (order == 0 && name.len == len)
			return true;
		if (order < 0 || (order == 0 && name.len < len))
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

/* The kept fields of a header, false: there is more than MIME_KEPT_MAX of them. */
static bool keep_fields(struct view header, struct buf *out, bool *blank)
{
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &h))
		if (mime_kept(h.name))
			buf_addv(out, h.field);
	*blank = pos < header.len;
	return !out->full;
}

static void put_address(void *arg, const struct mime_mailbox *m)
{
	struct buf *out = arg;

	if (m->group_end)
		return;
	if (out->len > 0)
		buf_puts(out, ", ");
	mime_decode_header(m->name, out);
	if (m->group_start) {
		buf_addc(out, ':');
		return;
	}
	if (m->name.len > 0)
		buf_puts(out, " <");
	if (m->route.len > 0) {
		buf_addv(out, m->route);
		buf_addc(out, ':');
	}
	buf_addv(out, m->local);
	if (m->domain.len > 0)
		buf_addc(out, '@');
	buf_addv(out, m->domain);
	if (m->name.len > 0)
		buf_addc(out, '>');
}

void mime_search_addresses(struct view raw, struct buf *folded)
{
	struct buf text = BUF_INIT(3 * raw.len + 1024);

	mime_addresses(raw, put_address, &text);
	mime_fold(buf_view(&text), folded);
	buf_free(&text);
}

static void put_optional(struct buf *out, bool there, const struct buf *b)
{
	buf_put_u8(out, there);
	buf_put_blob(out, there ? buf_view(b) : VIEW_NONE);
}

/* A field may be there several times: all of it counts for SEARCH.  False: it is too long to be kept. */
static bool fold_field(struct view header, enum mime_folded which, struct buf *folded)
{
	static const char *const names[MIME_FOLDED] = { "from", "to", "cc", "bcc", "subject" };
	struct buf text = BUF_INIT(MIME_KEPT_MAX);
	struct mime_header h;
	size_t pos = 0;
	bool fits = true;

	while (fits && mime_header_next(header, &pos, &h)) {
		if (!view_caseeq(h.name, names[which]))
			continue;
		if (folded->len > 0)
			buf_addc(folded, '\n');
		if (which == MIME_FOLDED_SUBJECT) {
			buf_reset(&text);
			mime_decode_header(h.value, &text);
			mime_fold(buf_view(&text), folded);
		} else if (h.value.len < MIME_KEPT_MAX) {
			mime_search_addresses(h.value, folded);
		}
		fits = h.value.len < MIME_KEPT_MAX && !text.full && !folded->full;
	}
	buf_free(&text);
	return fits;
}

void mime_kept_put(struct buf *out, struct view header)
{
	struct buf b = BUF_INIT(MIME_KEPT_MAX);
	bool blank, there = keep_fields(header, &b, &blank);

	buf_put_u8(out, blank);
	put_optional(out, there, &b);
	for (unsigned i = 0; i < MIME_FOLDED; i++) {
		buf_reset(&b);
		there = fold_field(header, (enum mime_folded)i, &b);
		put_optional(out, there, &b);
	}
	buf_free(&b);
}
