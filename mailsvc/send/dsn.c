/*
 * Writing delivery status notifications.  Three parts: words for a person, message/delivery-status for programs, and
 * the header of the message that failed.  If an address, or that header, is not ASCII, the parts are the global
 * ones of RFC 6533 and the message is 8-bit.
 *
 * What comes from a remote host is one line of printable ASCII already (reply_text); what comes from the original
 * header is cut at a field's end, and lines that are too long or hold control bytes end it there.
 */
#include "dsn.h"

#include <string.h>

#include "lib/text.h"

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

static void put_top(const struct dsn *d, bool utf8, struct buf *out)
{
	char date[40];

	text_rfc5322_date(d->now, date);
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", d->host);
	buf_printf(out, "To: <%s>\r\n", d->to);
	buf_printf(out, "Subject: %s\r\n",
	    d->undeliverable_bounce ? "Postmaster notice: an undeliverable bounce"
				    : "Undelivered mail returned to sender");
	buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "Message-ID: <dsn.%s@%s>\r\n", d->unique, d->host);
	buf_puts(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	buf_printf(
	    out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_%s\"\r\n", d->unique);
	if (utf8)
		buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "\r\nThis is a delivery status notification in MIME format.\r\n\r\n--=_%s\r\n", d->unique);
}

static void put_words(const struct dsn *d, bool utf8, struct buf *out)
{
	char date[40], waited[24];

	text_rfc5322_date(d->arrived, date);
	text_format_duration(d->now > d->arrived ? (uint64_t)(d->now - d->arrived) / 60 * 60 : 0, waited);
	buf_printf(out, "Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    utf8 ? "utf-8" : "us-ascii", utf8 ? "8bit" : "7bit");
	buf_printf(out, "This is the mail system of %s.\r\n\r\n", d->host);
	if (d->undeliverable_bounce)
		buf_printf(out,
		    "A message from <%s> could not be delivered, and its sender cannot be told:\r\n"
		    "it has none, or it was such a notice itself. Nothing will be tried again.\r\n",
		    d->sender);
	else
		buf_printf(out,
		    "Your message of %s could not be delivered to %s below.\r\n"
		    "It will not be tried again%s%s.\r\n",
		    date, d->count == 1 ? "the recipient" : "the recipients",
		    d->expired ? ": there was no success for " : "", d->expired ? waited : "");
	for (size_t i = 0; i < d->count; i++) {
		const struct dsn_recipient *r = &d->recipients[i];
		buf_printf(out, "\r\n<%s>\r\n", r->address);
		if (r->remote[0] != '\0')
			buf_printf(out, "    %s said:\r\n", r->remote);
		buf_printf(out, "    %s\r\n", r->reply);
	}
	buf_printf(out, "\r\n--=_%s\r\n", d->unique);
}

static bool from_remote(const char *reply)
{
	return strlen(reply) >= 4 && strspn(reply, "0123456789") == 3 && reply[3] == ' ';
}

/* xtext-free: addresses are printable; RFC 6533 3 lets "utf-8" addresses stand as they are in the global part. */
static void put_status(const struct dsn *d, bool utf8, struct buf *out)
{
	char date[40];

	text_rfc5322_date(d->arrived, date);
	buf_printf(out, "Content-Type: message/%s\r\n%s\r\n", utf8 ? "global-delivery-status" : "delivery-status",
	    utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	buf_printf(out, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", d->host, date);
	for (size_t i = 0; i < d->count; i++) {
		const struct dsn_recipient *r = &d->recipients[i];
		buf_printf(out, "\r\nFinal-Recipient: %s; %s\r\n", ascii(view_of(r->address)) ? "rfc822" : "utf-8",
		    r->address);
		buf_printf(out, "Action: failed\r\nStatus: %s\r\n", r->status);
		if (r->remote[0] != '\0')
			buf_printf(out, "Remote-MTA: dns; %s\r\n", r->remote);
		buf_printf(out, "Diagnostic-Code: %s; %s\r\n", from_remote(r->reply) ? "smtp" : "x-mailadm", r->reply);
	}
	buf_printf(out, "\r\n--=_%s\r\n", d->unique);
}

void dsn_build(const struct dsn *d, struct buf *out, struct dsn_needs *needs)
{
	struct view header = original_header(d->message);
	bool utf8 = !ascii(header) || !ascii(view_of(d->to)) || !ascii(view_of(d->sender));

	for (size_t i = 0; i < d->count; i++)
		utf8 = utf8 || !ascii(view_of(d->recipients[i].address));
	needs->eight_bit = utf8;
	needs->smtputf8 = !ascii(view_of(d->to));
	put_top(d, utf8, out);
	put_words(d, utf8, out);
	put_status(d, utf8, out);
	buf_printf(out, "Content-Type: %s\r\n%s\r\n", utf8 ? "message/global-headers" : "text/rfc822-headers",
	    utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	buf_addv(out, header);
	buf_printf(out, "\r\n--=_%s--\r\n", d->unique);
}
