/*
 * Writing delivery status notifications.  Three parts: words for a person, message/delivery-status for programs, and
 * the header of the message, or all of it when the sender asked so and something failed (RFC 3461 4.3).  If an address,
 * or that header, is not ASCII, the parts are the global ones of RFC 6533 and the message is 8-bit.
 *
 * What comes from a remote host is one line of printable ASCII already (reply_text); what comes from the original
 * header is cut at a field's end, and lines that are too long or hold control bytes end it there.
 */
#include "dsn.h"

#include <string.h>

#include "lib/text.h"
#include "lib/xtext.h"

#define LINE_MAX_BYTES 998

static bool ascii(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		if ((unsigned char)v.ptr[i] >= 0x80)
			return false;
	}
	return true;
}

/* The fields of the original header that go along: whole lines up to the limits. */
static struct view original_header(struct view message)
{
	size_t field_end = 0, pos = 0;

	while (pos < message.len && pos < DSN_HEADERS_MAX) {
		const char *line = message.ptr + pos;
		const char *nl = memchr(line, '\n', message.len - pos);
		size_t len = nl != NULL ? (size_t)(nl - line) + 1 : message.len - pos;
		if (line[0] != ' ' && line[0] != '\t')
			field_end = pos;
		if (nl == NULL || len < 2 || line[len - 2] != '\r' || len > LINE_MAX_BYTES + 2 ||
		    memchr(line, '\0', len) != NULL)
			break;
		if (len == 2)
			break;
		pos += len;
		if (pos > DSN_HEADERS_MAX)
			break;
		if (pos == message.len)
			field_end = pos;
	}
	return (struct view){ message.ptr, field_end };
}

/* Can all of it stand in a part?  Whole lines, none too long, no NUL, and nothing that looks like our boundary. */
static bool part_safe(struct view m, const char *unique)
{
	for (size_t pos = 0; pos < m.len;) {
		const char *nl = memchr(m.ptr + pos, '\n', m.len - pos);
		size_t len = nl != NULL ? (size_t)(nl - m.ptr) + 1 - pos : m.len - pos;
		if (nl == NULL || len < 2 || nl[-1] != '\r' || len > LINE_MAX_BYTES + 2 ||
		    memchr(m.ptr + pos, '\r', len - 2) != NULL || memchr(m.ptr + pos, '\0', len) != NULL)
			return false;
		pos += len;
	}
	return m.len <= DSN_FULL_MAX && memmem(m.ptr, m.len, unique, strlen(unique)) == NULL;
}

static size_t count_of(const struct dsn *d, enum dsn_action action)
{
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += d->recipients[i].action == action;
	return n;
}

static const char *subject(const struct dsn *d)
{
	if (d->undeliverable_bounce)
		return "Postmaster notice: an undeliverable bounce";
	if (count_of(d, DSN_FAILED) > 0 || d->count == 0)
		return "Undelivered mail returned to sender";
	return count_of(d, DSN_DELAYED) > 0 ? "Delayed mail: not delivered yet" : "Delivery report";
}

static void put_top(const struct dsn *d, bool eight, struct buf *out)
{
	char date[40];

	text_rfc5322_date(d->now, date);
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", d->host);
	buf_printf(out, "To: <%s>\r\n", d->to);
	buf_printf(out, "Subject: %s\r\n", subject(d));
	buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "Message-ID: <dsn.%s@%s>\r\n", d->unique, d->host);
	buf_puts(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	buf_printf(
	    out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_%s\"\r\n", d->unique);
	if (eight)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "\r\nThis is a delivery status notification in MIME format.\r\n\r\n--=_%s\r\n", d->unique);
}

static void put_failed_words(const struct dsn *d, size_t count, struct buf *out)
{
	char date[40], waited[24];

	text_rfc5322_date(d->arrived, date);
	text_format_duration(d->now > d->arrived ? (uint64_t)(d->now - d->arrived) / 60 * 60 : 0, waited);
	if (d->undeliverable_bounce)
		buf_printf(out,
		    "A message from <%s> could not be delivered, and its sender cannot be told:\r\n"
		    "it has none, or it was such a notice itself. Nothing will be tried again.\r\n",
		    d->sender);
	else
		buf_printf(out,
		    "Your message of %s could not be delivered to %s below.\r\n"
		    "It will not be tried again%s%s.\r\n",
		    date, count == 1 ? "the recipient" : "the recipients",
		    d->expired ? ": there was no success for " : "", d->expired ? waited : "");
}

static void put_group_words(const struct dsn *d, enum dsn_action action, size_t count, struct buf *out)
{
	static const char *const words[] = {
		[DSN_RELAYED] = "was handed on to a host that does not report what becomes of it, for",
		[DSN_DELIVERED] = "was delivered to",
		[DSN_EXPANDED] = "was delivered, and sent on to several others, for",
	};
	const char *who = count == 1 ? "the recipient" : "the recipients";
	char date[40], until[40];

	text_rfc5322_date(d->arrived, date);
	text_rfc5322_date(d->until, until);
	if (action == DSN_FAILED)
		put_failed_words(d, count, out);
	else if (action == DSN_DELAYED)
		buf_printf(out,
		    "Your message of %s could not be delivered yet to %s below.\r\n"
		    "It will be tried until %s. You need not send it again.\r\n",
		    date, who, until);
	else
		buf_printf(out, "Your message of %s\r\n%s %s below.\r\n", date, words[action], who);
}

static void put_words(const struct dsn *d, bool utf8, struct buf *out)
{
	buf_printf(out, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    utf8 ? "utf-8" : "us-ascii", utf8 ? "8bit" : "7bit");
	buf_printf(out, "This is the mail system of %s.\r\n", d->host);
	for (enum dsn_action a = DSN_FAILED; a <= DSN_EXPANDED; a++) {
		size_t count = count_of(d, a);
		if (count == 0 && (a != DSN_FAILED || d->count > 0))
			continue;
		buf_puts(out, "\r\n");
		put_group_words(d, a, count, out);
		for (size_t i = 0; i < d->count; i++) {
			const struct dsn_recipient *r = &d->recipients[i];
			if (r->action != a)
				continue;
			buf_printf(out, "\r\n<%s>\r\n", r->address);
			if (r->remote[0] != '\0')
				buf_printf(out, "    %s said:\r\n", r->remote);
			if (r->reply[0] != '\0')
				buf_printf(out, "    %s\r\n", r->reply);
		}
	}
	buf_printf(out, "\r\n--=_%s\r\n", d->unique);
}

static bool from_remote(const char *reply)
{
	return strlen(reply) >= 4 && strspn(reply, "0123456789") == 3 && reply[3] == ' ';
}

static bool printable(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] < 0x20 || v.ptr[i] > 0x7e)
			return false;
	}
	return true;
}

/*
 * "FIELD: type; text" of "type;xtext" or, without a type, of xtext.  A utf-8 address stays as it travelled: in that
 * form it may stand in either kind of report (RFC 6533 3).
 */
static void put_given(const char *field, bool typed, const char *value, struct buf *out)
{
	const char *semicolon = typed && value != NULL ? strchr(value, ';') : NULL;
	struct buf text = BUF_INIT(1000);

	if (value == NULL || value[0] == '\0' || (typed && semicolon == NULL))
		return;
	struct view type = { value, semicolon != NULL ? (size_t)(semicolon - value) : 0 };
	bool keep = view_caseeq(type, "utf-8");
	struct view rest = view_of(semicolon != NULL ? semicolon + 1 : value);
	if ((keep ? buf_addv(&text, rest) : xtext_decode(&text, rest)) == 0 && printable(type) &&
	    printable(buf_view(&text))) {
		buf_printf(out, "%s: %.*s%s", field, (int)type.len, type.ptr, typed ? "; " : "");
		buf_addv(out, buf_view(&text));
		buf_puts(out, "\r\n");
	}
	buf_free(&text);
}

static void put_recipient(const struct dsn *d, const struct dsn_recipient *r, struct buf *out)
{
	static const char *const actions[] = { "failed", "delayed", "relayed", "delivered", "expanded" };
	char until[40];

	buf_puts(out, "\r\n");
	put_given("Original-Recipient", true, r->orcpt, out);
	buf_printf(out, "Final-Recipient: %s; %s\r\n", ascii(view_of(r->address)) ? "rfc822" : "utf-8", r->address);
	buf_printf(out, "Action: %s\r\nStatus: %s\r\n", actions[r->action], r->status);
	if (r->remote[0] != '\0')
		buf_printf(out, "Remote-MTA: dns; %s\r\n", r->remote);
	if (r->reply[0] != '\0')
		buf_printf(out, "Diagnostic-Code: %s; %s\r\n", from_remote(r->reply) ? "smtp" : "x-mailadm", r->reply);
	if (r->action == DSN_DELAYED) {
		text_rfc5322_date(d->until, until);
		buf_printf(out, "Will-Retry-Until: %s\r\n", until);
	}
}

static void put_status(const struct dsn *d, bool utf8, struct buf *out)
{
	char date[40];

	text_rfc5322_date(d->arrived, date);
	buf_printf(out, "Content-Type: message/%s\r\n%s\r\n", utf8 ? "global-delivery-status" : "delivery-status",
	    utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	put_given("Original-Envelope-Id", false, d->envid, out);
	buf_printf(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", d->host, date);
	for (size_t i = 0; i < d->count; i++)
		put_recipient(d, &d->recipients[i], out);
	buf_printf(out, "\r\n--=_%s\r\n", d->unique);
}

static void put_original(const struct dsn *d, struct view header, bool full, bool utf8, struct buf *out)
{
	struct view part = full ? d->message : header;
	const char *type = full ? (utf8 ? "message/global" : "message/rfc822")
	                        : (utf8 ? "message/global-headers" : "text/rfc822-headers");

	buf_printf(
	    out, "Content-Type: %s\r\n%s\r\n", type, utf8 || !ascii(part) ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	buf_addv(out, part);
	buf_printf(out, "\r\n--=_%s--\r\n", d->unique);
}

void dsn_build(const struct dsn *d, struct buf *out, struct dsn_needs *needs)
{
	struct view header = original_header(d->message);
	bool utf8 = !ascii(header) || !ascii(view_of(d->to)) || !ascii(view_of(d->sender));
	bool full = d->full && count_of(d, DSN_FAILED) > 0 && part_safe(d->message, d->unique);

	for (size_t i = 0; i < d->count; i++)
		utf8 = utf8 || !ascii(view_of(d->recipients[i].address));
	needs->eight_bit = utf8 || (full && !ascii(d->message));
	needs->smtputf8 = !ascii(view_of(d->to));
	put_top(d, needs->eight_bit, out);
	put_words(d, utf8, out);
	put_status(d, utf8, out);
	put_original(d, header, full, utf8, out);
}
