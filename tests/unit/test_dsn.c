/* Delivery status notifications: whole texts, and what hostile input does to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "mailsvc/send/dsn.h"

static const char plain_wanted[] =
    "From: Mail Delivery System <MAILER-DAEMON@mx.example.org>\r\n"
    "To: <alice@example.org>\r\n"
    "Subject: Undelivered mail returned to sender\r\n"
    "Date: Tue, 24 Nov 2026 06:45:48 +0000\r\n"
    "Message-ID: <dsn.7.1@mx.example.org>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"=_7.1\"\r\n"
    "\r\n"
    "This is a delivery status notification in MIME format.\r\n"
    "\r\n"
    "--=_7.1\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "Content-Transfer-Encoding: 7bit\r\n"
    "\r\n"
    "This is the mail system of mx.example.org.\r\n"
    "\r\n"
    "Your message of Tue, 24 Nov 2026 06:44:48 +0000 could not be delivered to the recipients below.\r\n"
    "It will not be tried again.\r\n"
    "\r\n"
    "<nobody@example.net>\r\n"
    "    mx1.example.net said:\r\n"
    "    550 5.1.1 No such user\r\n"
    "\r\n"
    "<x@null.example>\r\n"
    "    5.1.10 null.example does not accept mail (null MX)\r\n"
    "\r\n"
    "--=_7.1\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; mx.example.org\r\n"
    "Arrival-Date: Tue, 24 Nov 2026 06:44:48 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; nobody@example.net\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx1.example.net\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
    "\r\n"
    "Final-Recipient: rfc822; x@null.example\r\n"
    "Action: failed\r\n"
    "Status: 5.1.10\r\n"
    "Diagnostic-Code: x-mailadm; 5.1.10 null.example does not accept mail (null MX)\r\n"
    "\r\n"
    "--=_7.1\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "From: alice@example.org\r\n"
    "Subject: one\r\n"
    "\ttwo\r\n"
    "\r\n"
    "--=_7.1--\r\n";

static struct dsn base(const struct dsn_recipient *recipients, size_t count)
{
	return (struct dsn){ .host = "mx.example.org",
		.unique = "7.1",
		.to = "alice@example.org",
		.sender = "alice@example.org",
		.arrived = 1795502688,
		.now = 1795502748,
		.recipients = recipients,
		.count = count,
		.message = VIEW_LIT("From: alice@example.org\r\nSubject: one\r\n\ttwo\r\n\r\nthe body\r\n") };
}

static void test_plain(void **state)
{
	static const struct dsn_recipient r[] = {
		{ .address = "nobody@example.net", .status = "5.1.1", .remote = "mx1.example.net", .reply = "550 5.1.1 No such user" },
		{ .address = "x@null.example", .status = "5.1.10", .remote = "",
		    .reply = "5.1.10 null.example does not accept mail (null MX)" },
	};
	struct dsn d = base(r, 2);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;

	(void)state;
	dsn_build(&d, &out, &needs);
	assert_string_equal(buf_str(&out), plain_wanted);
	assert_false(needs.eight_bit);
	assert_false(needs.smtputf8);
	buf_free(&out);
}

static void test_utf8(void **state)
{
	static const struct dsn_recipient r[] = { { .address = "jörg@example.net", .status = "5.1.1", .remote = "mx.example.net",
	    .reply = "550 5.1.1 No such user" } };
	struct dsn d = base(r, 1);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;

	(void)state;
	dsn_build(&d, &out, &needs);
	assert_non_null(strstr(buf_str(&out), "Content-Type: message/global-delivery-status\r\n"));
	assert_non_null(strstr(buf_str(&out), "Final-Recipient: utf-8; jörg@example.net\r\n"));
	assert_non_null(strstr(buf_str(&out), "Content-Type: message/global-headers\r\n"));
	assert_true(needs.eight_bit);
	assert_false(needs.smtputf8); /* the one who gets it has an ASCII address */
	d.to = "änne@example.org";
	buf_reset(&out);
	dsn_build(&d, &out, &needs);
	assert_true(needs.smtputf8);
	buf_free(&out);
}

static void test_words(void **state)
{
	static const struct dsn_recipient r[] = { { .address = "bob@example.net", .status = "4.4.7", .remote = "",
	    .reply = "4.4.1 cannot connect to mx.example.net[192.0.2.1]" } };
	struct dsn d = base(r, 1);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;

	(void)state;
	d.expired = true;
	d.now = d.arrived + 5 * 86400;
	dsn_build(&d, &out, &needs);
	assert_non_null(strstr(buf_str(&out), "could not be delivered to the recipient below.\r\nIt will not be tried "
	                                      "again: there was no success for 5d.\r\n"));
	buf_reset(&out);
	d.undeliverable_bounce = true;
	d.sender = "";
	dsn_build(&d, &out, &needs);
	assert_non_null(
	    strstr(buf_str(&out), "A message from <> could not be delivered, and its sender cannot be told"));
	buf_free(&out);
}

/* The header that goes along ends where it stops being one, at a field's end. */
static void test_headers(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "no line end", "" },
		{ "A: 1\r\n", "A: 1\r\n" },
		{ "A: 1\r\nB: 2\r\n 3", "A: 1\r\n" },
		{ "A: 1\r\nB: 2\nC: 3\r\n\r\n", "A: 1\r\n" },
		{ "\r\nbody\r\n", "" },
	};
	struct dsn d = base(NULL, 0);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;
	static const char marker[] = "text/rfc822-headers\r\n\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		d.message = view_of(cases[i].in);
		dsn_build(&d, &out, &needs);
		const char *at = strstr(buf_str(&out), marker);
		assert_non_null(at);
		at += sizeof(marker) - 1;
		if (strncmp(at, cases[i].out, strlen(cases[i].out)) != 0 ||
		    strcmp(at + strlen(cases[i].out), "\r\n--=_7.1--\r\n") != 0)
			fail_msg("case %zu: got \"%s\"", i, at);
	}
	/* A million lines, and one of a million bytes. */
	struct buf big = BUF_INIT(20000000);
	for (int i = 0; i < 100000; i++)
		buf_puts(&big, "X-Fill: abcdefghijklmnopqrstuvwxyz\r\n");
	d.message = buf_view(&big);
	buf_reset(&out);
	dsn_build(&d, &out, &needs);
	assert_in_range(out.len, DSN_HEADERS_MAX - 100, DSN_HEADERS_MAX + 2000);
	buf_free(&big);
	buf_free(&out);
}

static void has(struct buf *out, const char *part)
{
	if (strstr(buf_str(out), part) == NULL)
		fail_msg("wanted \"%s\" in:\n%s", part, buf_str(out));
}

static void lacks(struct buf *out, const char *part)
{
	if (strstr(buf_str(out), part) != NULL)
		fail_msg("did not want \"%s\" in:\n%s", part, buf_str(out));
}

/* RFC 3461 6.2, RFC 3464 2.3: one notification of all that became of a message, with what the sender gave. */
static void test_actions(void **state)
{
	static const struct dsn_recipient r[] = {
		{ .address = "a@x.example", .status = "4.4.1", .remote = "", .reply = "4.4.1 cannot connect", .action = DSN_DELAYED,
		    .orcpt = "rfc822;A+2Bb@x.example" },
		{ .address = "b@x.example", .status = "2.0.0", .remote = "mx.x.example", .reply = "250 ok", .action = DSN_RELAYED,
		    .orcpt = "utf-8;b\\x{E9}@x.example" },
		{ .address = "c@x.example", .status = "2.1.5", .remote = "", .reply = "", .action = DSN_DELIVERED, .orcpt = "x;+0D+0Ax" },
		{ .address = "d@x.example", .status = "2.1.5", .remote = "", .reply = "", .action = DSN_EXPANDED, .orcpt = "no-type" },
	};
	struct dsn d = base(r, 4);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;

	(void)state;
	d.envid = "QQ+2B1";
	d.until = d.arrived + 5 * 86400;
	d.full = true; /* nothing failed: the header does (RFC 3461 4.3) */
	dsn_build(&d, &out, &needs);
	has(&out, "\r\nSubject: Delayed mail: not delivered yet\r\n");
	has(&out, "\r\nOriginal-Envelope-Id: QQ+1\r\nReporting-MTA: dns; mx.example.org\r\n");
	has(&out, "\r\n\r\nOriginal-Recipient: rfc822; A+b@x.example\r\nFinal-Recipient: rfc822; a@x.example\r\n"
	          "Action: delayed\r\nStatus: 4.4.1\r\nDiagnostic-Code: x-mailadm; 4.4.1 cannot connect\r\n"
	          "Will-Retry-Until: Sun, 29 Nov 2026 06:44:48 +0000\r\n");
	has(&out, "Original-Recipient: utf-8; b\\x{E9}@x.example\r\nFinal-Recipient: rfc822; b@x.example\r\nAction: relayed\r\n");
	has(&out, "\r\n\r\nFinal-Recipient: rfc822; c@x.example\r\nAction: delivered\r\nStatus: 2.1.5\r\n\r\n");
	has(&out, "\r\n\r\nFinal-Recipient: rfc822; d@x.example\r\nAction: expanded\r\nStatus: 2.1.5\r\n\r\n");
	has(&out, "It will be tried until Sun, 29 Nov 2026 06:44:48 +0000. You need not send it again.");
	has(&out, "Content-Type: text/rfc822-headers\r\n");
	lacks(&out, "the body");
	buf_reset(&out);
	d.recipients = r + 1;
	d.count = 3;
	dsn_build(&d, &out, &needs);
	has(&out, "\r\nSubject: Delivery report\r\n");
	buf_free(&out);
}

/* RET=FULL: the whole message, unless it cannot stand there. */
static void test_full(void **state)
{
	static const struct dsn_recipient r[] = { { .address = "bob@example.net", .status = "5.1.1", .remote = "", .reply = "550 no" } };
	static const struct {
		const char *message;
		bool whole, eight_bit;
	} cases[] = {
		{ "A: 1\r\n\r\nbody\r\n", true, false },
		{ "A: 1\r\n\r\nb\xC3\xB6" "dy\r\n", true, true },
		{ "A: 1\r\n\r\nbody", false, false },
		{ "A: 1\r\n\r\nbo\ndy\r\n", false, false },
		{ "A: 1\r\n\r\nbo\rdy\r\n", false, false },
		{ "A: 1\r\n\r\n--=_7.1--\r\n", false, false },
	};
	struct dsn d = base(r, 1);
	struct buf out = BUF_INIT(DSN_MAX);
	struct dsn_needs needs;

	(void)state;
	d.full = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		d.message = view_of(cases[i].message);
		dsn_build(&d, &out, &needs);
		if ((strstr(buf_str(&out), "Content-Type: message/rfc822\r\n") != NULL) != cases[i].whole)
			fail_msg("case %zu: %s", i, buf_str(&out));
		assert_int_equal(needs.eight_bit, cases[i].eight_bit);
		if (cases[i].whole)
			has(&out, cases[i].message);
	}
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_actions), cmocka_unit_test(test_full),
		 cmocka_unit_test(test_plain), cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_words), cmocka_unit_test(test_headers) };

	setenv("TZ", "UTC", 1);
	tzset();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
