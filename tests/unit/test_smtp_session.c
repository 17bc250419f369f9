/*
 * Whole SMTP sessions, in this process: the real dialogue over a socketpair, with auth, keys and store played by the
 * test. A session is written as what the client sends, all at once, and the reply codes that must come back.
 */
#include "tests/unit/smtp_fakes.h"

static void expect_view(enum kind kind, const char *peer, struct view in, const char *codes, const char *part)
{
	struct buf out = BUF_INIT(1 << 20), got = BUF_INIT(65536);

	talk(kind, peer, in, false, &out);
	codes_of(buf_view(&out), &got);
	if (strcmp(buf_str(&got), codes) != 0)
		fail_msg("client:\n%.*s\nserver:\n%s\nwanted: %s", (int)in.len, in.ptr, buf_str(&out), codes);
	if (part != NULL && strstr(buf_str(&out), part) == NULL)
		fail_msg("client:\n%.*s\nserver:\n%s\nwanted in it: %s", (int)in.len, in.ptr, buf_str(&out), part);
	buf_free(&out);
	buf_free(&got);
}

static void expect(enum kind kind, const char *in, const char *codes, const char *part)
{
	expect_view(kind, kind == MX ? "198.51.100.7" : "127.0.0.1", view_of(in), codes, part);
}

#define HELLO "EHLO c.example\r\n"
#define FROM HELLO "MAIL FROM:<s@example.net>\r\n"
#define TO FROM "RCPT TO:<alice@example.org>\r\n"
#define AUTH HELLO "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\n"
#define FROM_HOST HELLO "MAIL FROM:<root>\r\n"
#define BODY "Subject: x\r\n\r\nhi\r\n.\r\n"

static void test_verbs(void **state)
{
	static const struct {
		enum kind kind;
		const char *in, *codes, *part;
	} rows[] = {
		{ MX, "QUIT\r\n", "220 221", "220 mail.example.org ESMTP" },
		{ MX, "HELO c\r\nQUIT\r\n", "220 250 221", NULL },
		{ MX, "EHLO\r\nHELO a b\r\n", "220 501 501", NULL },
		{ MX, HELLO, "220 250",
		    "250-PIPELINING\r\n250-SIZE "
		    "65536\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 HELP" },
		{ MSA, HELLO, "220 250", "250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n" },
		{ MX, "NOOP\r\nHELP\r\nRSET\r\nRSET x\r\nEXPN x\r\nVRFY x\r\nFOO\r\n",
		    "220 250 214 250 501 502 503 500", NULL },
		{ MX, HELLO "VRFY x\r\nNOOP x\r\n", "220 250 252 250", NULL },
		{ MX, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n", "220 503 503 503", "EHLO first" },
		{ MX, HELLO "RCPT TO:<alice@example.org>\r\nDATA\r\n", "220 250 503 503", "MAIL first" },
		{ MX, FROM "DATA\r\n", "220 250 250 503", NULL },
		{ MX, FROM "MAIL FROM:<>\r\n", "220 250 250 503", NULL },
		{ MX, TO "DATA x\r\n", "220 250 250 250 501", NULL },
		{ MX, TO "EHLO again\r\nDATA\r\n", "220 250 250 250 250 503", NULL },
		{ MX, TO "RSET\r\nDATA\r\n", "220 250 250 250 250 503", NULL },
		{ MX, TO "DATA\r\n" BODY "QUIT\r\n", "220 250 250 250 354 250 221", "250 2.0.0 Ok queued as " },
		{ MX, TO "DATA\r\n.\r\n", "220 250 250 250 354 250", NULL },
		{ MX, "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" BODY,
		    "220 250 250 250 354 250", NULL },
		{ MX, HELLO "STARTTLS\r\n", "220 250 454", NULL },
		{ MX, "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\nNOOP\r\n", "220 500 500 500 500 500 500 421", "421 4.7.0" },
		{ MX, "POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n", "220 421", "no HTTP" },
		{ MX, "NOOP\nNOOP\r\n", "220 500", "CR LF" },
		{ MX, "NO\rOP\r\nNOOP\r\n", "220 500", "CR LF" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(rows[i].kind, rows[i].in, rows[i].codes, rows[i].part);
}

static void test_mail_and_rcpt(void **state)
{
	static const struct {
		const char *line, *reply;
	} rows[] = {
		{ "MAIL FROM:<a@b.example> SIZE=65536", "250 2.1.0" },
		{ "MAIL FROM:<a@b.example> SIZE=65537", "552 5.3.4" },
		{ "MAIL FROM:<a@b.example> X=1", "555 5.5.4" },
		{ "MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4" },
		{ "MAIL FROM:<a>", "553 5.1.8" },
		{ "MAIL FROM:<a@b@c>", "501 5.1.7" },
		{ "MAIL FROM:<j\xc3\xbc@b.example>", "553 5.6.7" },
		{ "MAIL FROM:<j\xc3\xbc@b.example> SMTPUTF8", "250 2.1.0" },
		{ "MAIL FROM:<>\r\nRCPT TO:<alice@example.org>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<ALICE+tag@Example.ORG>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<nobody@example.org>", "550 5.1.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<anybody@caught.example>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<Postmaster>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<postmaster@example.org>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<abuse@caught.example>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<root>", "501 5.1.3" },
		{ "MAIL FROM:<>\r\nRCPT TO:<a@remote.example>", "550 5.7.1" },
		{ "MAIL FROM:<alice@example.org>\r\nRCPT TO:<a@remote.example>", "550 5.7.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<@example.org:a@remote.example>", "550 5.7.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<a%remote.example@example.org>", "550 5.1.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<remote.example!a@example.org>", "550 5.1.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<\"a@remote.example\"@example.org>", "550 5.1.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<a@remote.example@example.org>", "501 5.1.3" },
		{ "MAIL FROM:<>\r\nRCPT TO:<a@[198.51.100.9]>", "550 5.7.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<alice@[192.0.2.10]>", "550 5.1.1" },
		{ "MAIL FROM:<>\r\nRCPT TO:<postmaster@[192.0.2.10]>", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<alice@example.org> NOTIFY=NEVER", "250 2.1.5" },
		{ "MAIL FROM:<>\r\nRCPT TO:<alice@example.org> NOTIFY=OFTEN", "501 5.5.4" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf in = BUF_INIT(4096), out = BUF_INIT(65536), want = BUF_INIT(64);

		buf_printf(&in, HELLO "%s\r\nQUIT\r\n", rows[i].line);
		buf_printf(&want, "\r\n%s", rows[i].reply);
		talk(MX, "198.51.100.7", buf_view(&in), false, &out);
		if (strstr(buf_str(&out), buf_str(&want)) == NULL)
			fail_msg("%s\nserver:\n%s\nwanted: %s", rows[i].line, buf_str(&out), rows[i].reply);
		buf_free(&in);
		buf_free(&out);
		buf_free(&want);
	}
}

static void test_recipient_limit(void **state)
{
	(void)state;
	expect(MX,
	    TO
	    "RCPT TO:<bob@example.org>\r\nRCPT TO:<both@example.org>\r\nRCPT TO:<abuse@example.org>\r\nDATA\r\n" BODY,
	    "220 250 250 250 250 250 452 354 250", "452 4.5.3");
	assert_string_equal(buf_str(&stored.envelope), "alice@example.org bob@example.org ");
}

/* The stored body ends with exactly what was sent. */
static void test_content(void **state)
{
	(void)state;
	stored.calls = 0;
	expect(MX, TO "DATA\r\nSubject: x\r\n\r\n..dot\r\nno dot\r\n.\r\n", "220 250 250 250 354 250", NULL);
	assert_int_equal(stored.calls, 1);
	assert_non_null(strstr(buf_str(&stored.body), "\r\nSubject: x\r\n\r\n.dot\r\nno dot\r\n"));
	assert_int_equal(
	    strncmp(buf_str(&stored.body),
		"Received: from c.example ([198.51.100.7])\r\n\tby mail.example.org (mailadm) with ESMTP id ", 86),
	    0);
	assert_non_null(strstr(buf_str(&stored.body), "\r\n\tfor <alice@example.org>;\r\n\t"));
	expect(MX, FROM "RCPT TO:<out@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n\xc3\xbc\r\n.\r\n",
	    "220 250 250 250 250 354 250", NULL);
	assert_string_equal(buf_str(&stored.envelope), "bob@example.org s@example.net>x@remote.example ");
	assert_true(stored.eight_bit && !stored.smtputf8);
	assert_null(strstr(buf_str(&stored.body), "\r\n\tfor <"));
}

static void test_bdat(void **state)
{
	(void)state;
	stored.calls = 0;
	expect(MX, TO "BDAT 5\r\nA: b\rBDAT 9 LAST\r\n\n\r\n.\r\nhi!QUIT\r\n", "220 250 250 250 250 250 221", NULL);
	assert_non_null(strstr(buf_str(&stored.body), "\r\nA: b\r\n\r\n.\r\nhi!\r\n"));
	expect(MX, TO "BDAT 3\r\na\r\nBDAT 0 LAST\r\n", "220 250 250 250 250 250", NULL);
	assert_int_equal(stored.calls, 2);
	/* Out of order: the octets are consumed all the same, and none of them is a command. */
	expect(MX, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "220 503 250", "EHLO first");
	expect(MX, HELLO "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "220 250 503 250", "MAIL first");
	expect(MX, FROM "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "220 250 250 503 250", "No recipient");
	expect(MX, TO "BDAT 3\r\na\nbBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "220 250 250 250 550 503 250", NULL);
	/* Between chunks only BDAT and RSET go on with mail. */
	expect(MX, TO "BDAT 1\r\naDATA\r\nRCPT TO:<bob@example.org>\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n",
	    "220 250 250 250 250 503 503 503 250 250", NULL);
	/* A size that cannot be read: what follows cannot be told apart, so the session ends. */
	expect(MX, TO "BDAT x LAST\r\nNOOP\r\n", "220 250 250 250 501", "closing");
	expect(MX, TO "BDAT 99999999999 LAST\r\nNOOP\r\n", "220 250 250 250 552", "closing");
	expect(MX, TO "BDAT 2 LAST\r\na\rNOOP\r\n", "220 250 250 250 550 250", NULL);
	assert_int_equal(stored.calls, 2);
}

static void test_smuggling(void **state)
{
	static const char inner[] = "MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nsmuggled";
	const struct view ends[] = {
		VIEW_LIT("\n.\n"),
		VIEW_LIT("\n.\r\n"),
		VIEW_LIT("\r.\r"),
		VIEW_LIT("\r.\r\n"),
		VIEW_LIT("\r\n.\n"),
		VIEW_LIT("\r\n.\r"),
		VIEW_LIT("\r\n.\r\r\n"),
		VIEW_LIT("\r\n\0.\r\n"),
		VIEW_LIT("\r\n.\0\r\n"),
		VIEW_LIT("\n\n.\r\n"),
		VIEW_LIT("\r\r\n.\n"),
		VIEW_LIT("\n\r.\r\n"),
		VIEW_LIT("\r\n.\r\0\n"),
		VIEW_LIT("\r\0\n.\r\n"),
		VIEW_LIT("\n.\r"),
		VIEW_LIT("\r.\n"),
		VIEW_LIT("\r\n.\n\r\n"),
	};

	(void)state;
	stored.calls = 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct buf in = BUF_INIT(4096), out = BUF_INIT(65536), codes = BUF_INIT(4096);

		buf_puts(&in, TO "DATA\r\nSubject: x\r\n\r\nouter");
		buf_addv(&in, ends[i]);
		buf_puts(&in, inner);
		buf_puts(&in, "\r\n.\r\nQUIT\r\n");
		talk(MX, "198.51.100.7", buf_view(&in), false, &out);
		codes_of(buf_view(&out), &codes);
		if (strcmp(buf_str(&codes), "220 250 250 250 354 550 221") != 0 &&
		    strcmp(buf_str(&codes), "220 250 250 250 354 554 221") != 0)
			fail_msg("end %zu: %s", i, buf_str(&out));
		buf_free(&in);
		buf_free(&out);
		buf_free(&codes);
	}
	assert_int_equal(stored.calls, 0);
}

static void test_limits(void **state)
{
	struct buf in = BUF_INIT(4 << 20);
	char line[12400];

	(void)state;
	stored.calls = 0;
	buf_puts(&in, TO "DATA\r\n");
	for (int i = 0; i < 2000; i++)
		buf_puts(&in, "0123456789012345678901234567890123456789\r\n");
	buf_puts(&in, ".\r\nNOOP\r\n");
	expect_view(MX, "198.51.100.7", buf_view(&in), "220 250 250 250 354 552 250", "552 5.3.4");

	buf_reset(&in);
	buf_puts(&in, TO "DATA\r\n");
	for (int i = 0; i < 51; i++)
		buf_puts(&in, "Received: x\r\n");
	buf_puts(&in, "\r\n.\r\n");
	expect_view(MX, "198.51.100.7", buf_view(&in), "220 250 250 250 354 554", "554 5.4.6");
	assert_int_equal(stored.calls, 0);

	memset(line, 'a', sizeof(line));
	buf_reset(&in);
	buf_puts(&in, "NOOP ");
	buf_add(&in, line, 2044);
	buf_puts(&in, "\r\nNOOP\r\n");
	expect_view(MX, "198.51.100.7", buf_view(&in), "220 500 250", "too long");
	buf_reset(&in);
	buf_puts(&in, "NOOP ");
	buf_add(&in, line, sizeof(line));
	buf_puts(&in, "\r\nNOOP\r\n");
	expect_view(MX, "198.51.100.7", buf_view(&in), "220 500", "too long");
	buf_free(&in);
}

static void test_early_talker(void **state)
{
	struct buf out = BUF_INIT(65536);

	(void)state;
	talk(MX, "198.51.100.7", VIEW_LIT(TO), true, &out);
	assert_true(view_eq(buf_view(&out), "554 5.5.1 You spoke before the greeting\r\n"));
	buf_reset(&out);
	talk(LOCAL, "127.0.0.1", VIEW_LIT(HELLO "QUIT\r\n"), true, &out); /* sendmail -bs < dialogue */
	assert_non_null(strstr(buf_str(&out), "221 2.0.0"));
	buf_free(&out);
}

static void test_store_status(void **state)
{
	static const struct {
		enum store_status status;
		const char *reply;
	} rows[] = {
		{ STORE_UNAVAILABLE, "451 4.3.0" },
		{ STORE_FULL, "452 4.3.1" },
		{ STORE_OVER_QUOTA, "452 4.2.2" },
		{ STORE_IO, "451 4.3.0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char codes[] = "220 250 250 250 354 000 250";

		memcpy(codes + 20, rows[i].reply, 3);
		store_says = rows[i].status;
		expect(MX, TO "DATA\r\n" BODY "NOOP\r\n", codes, rows[i].reply);
	}
	store_says = STORE_OK;
	expect(MX, TO "DATA\r\n" BODY, "220 250 250 250 354 250", NULL);
}

/* One full mailbox must not keep mail from the others: they come one by one, and only the full one waits. */
static void test_over_quota(void **state)
{
	static const char bob_too[] = TO "RCPT TO:<bob@example.org>\r\nDATA\r\n" BODY;

	(void)state;
	store_says = STORE_OVER_QUOTA;
	expect(MX, bob_too, "220 250 250 250 250 354 452", "452 4.2.2");
	store_says = STORE_OK;
	expect(MX, bob_too, "220 250 250 250 452 354 250", "452 4.5.3");
	assert_string_equal(buf_str(&stored.envelope), "alice@example.org ");
	store_says = STORE_OVER_QUOTA; /* bob it is */
	expect(MX, FROM "RCPT TO:<bob@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" BODY,
	    "220 250 250 250 452 354 452", "452 4.2.2");
	store_says = STORE_OK; /* he made room */
	expect(MX, FROM "RCPT TO:<bob@example.org>\r\nDATA\r\n" BODY, "220 250 250 250 354 250", NULL);
	expect(MX, bob_too, "220 250 250 250 250 354 250", NULL);
	assert_string_equal(buf_str(&stored.envelope), "alice@example.org bob@example.org ");
}

static void test_auth(void **state)
{
	static const struct {
		enum kind kind;
		const char *in, *codes, *part;
	} rows[] = {
		{ MX, HELLO "AUTH PLAIN AGEAYg==\r\n", "220 250 503", NULL },
		{ MSA, AUTH "AUTH PLAIN AGEAYg==\r\n", "220 250 235 503", "235 2.7.0" },
		{ MSA, HELLO "AUTH PLAIN\r\nAGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\n", "220 250 334 235",
		    "\r\n334 \r\n" },
		{ MSA, HELLO "AUTH LOGIN\r\nYWxpY2VAZXhhbXBsZS5vcmc=\r\nc2VjcmV0\r\n", "220 250 334 334 235",
		    "334 VXNlcm5hbWU6" },
		{ MSA, HELLO "auth login YWxpY2VAZXhhbXBsZS5vcmc=\r\nc2VjcmV0\r\n", "220 250 334 235", NULL },
		{ MSA, HELLO "AUTH PLAIN\r\n*\r\nNOOP\r\n", "220 250 334 501 250", "cancelled" },
		{ MSA, HELLO "AUTH PLAIN %%%\r\n", "220 250 501", "base64" },
		{ MSA, HELLO "AUTH PLAIN YWJj\r\n", "220 250 501", NULL },
		{ MSA, HELLO "AUTH PLAIN =\r\n", "220 250 501", NULL },
		{ MSA, HELLO "AUTH SCRAM-SHA-256 bixhLHI=\r\ncD1yaWdodA==\r\n\r\nMAIL FROM:<alice@example.org>\r\n",
		    "220 250 334 334 235 250", "334 cj1jaGFsbGVuZ2U=\r\n334 dj1wcm9vZg==\r\n" },
		{ MSA, HELLO "AUTH SCRAM-SHA-256\r\nbixhLHI=\r\ncD13cm9uZw==\r\n", "220 250 334 334 535", NULL },
		{ MSA, HELLO "AUTH SCRAM-SHA-256 bixhLHI=\r\ncD1yaWdodA==\r\nYQ==\r\nMAIL FROM:<alice@example.org>\r\n",
		    "220 250 334 334 501 530", NULL },
		{ MSA, HELLO "AUTH SCRAM-SHA-256 bixhLHI=\r\ncD1yaWdodA==\r\n*\r\n", "220 250 334 334 501", "cancelled" },
		{ MSA, HELLO "AUTH SCRAM-SHA-256 =\r\n", "220 250 501", NULL },
		{ MSA, HELLO "AUTH GSSAPI\r\n", "220 250 504", NULL },
		{ MSA, HELLO "AUTH\r\n", "220 250 504", NULL },
		/* Acting for another; a NUL inside. */
		{ MSA, HELLO "AUTH PLAIN Ym9iAGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==\r\n", "220 250 535", NULL },
		{ MSA, HELLO "AUTH PLAIN AGEAYgBj\r\n", "220 250 501", NULL },
		{ MSA, HELLO "AUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\n",
		    "220 250 535 535 535 421", "421 4.7.0" },
		{ MSA, "AUTH PLAIN AGEAYg==\r\n", "220 503", NULL },
		{ MSA, HELLO "MAIL FROM:<alice@example.org>\r\n", "220 250 530", "530 5.7.0 Authentication" },
		{ MSA, AUTH "MAIL FROM:<bob@example.org>\r\n", "220 250 235 553", "553 5.7.1" },
		{ MSA, AUTH "MAIL FROM:<x@remote.example>\r\n", "220 250 235 553", "553 5.7.1" },
		{ MSA,
		    AUTH "MAIL FROM:<>\r\nRCPT TO:<a@[198.51.100.9]>\r\nRCPT TO:<Postmaster@[192.0.2.10]>\r\n"
			 "RCPT TO:<postMASTER>\r\n",
		    "220 250 235 250 550 250 250", "550 5.1.2" },
		{ MSA, AUTH "MAIL FROM:<alice+news@example.org>\r\nRSET\r\nMAIL FROM:<>\r\n", "220 250 235 250 250 250",
		    NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(rows[i].kind, rows[i].in, rows[i].codes, rows[i].part);
	/* Off this machine nobody sends a password in the clear. */
	expect_view(MSA, "198.51.100.7", VIEW_LIT(AUTH "MAIL FROM:<alice@example.org>\r\n"), "220 250 538 530",
	    "STARTTLS first");
	auth_says = AUTH_UNAVAILABLE;
	expect(MSA, AUTH, "220 250 454", NULL);
	auth_says = AUTH_THROTTLED;
	expect(MSA, AUTH, "220 250 454", NULL);
	auth_says = AUTH_OK;
}

static void test_submission(void **state)
{
	static const char mail[] =
	    AUTH "MAIL FROM:<alice@example.org>\r\nRCPT TO:<x@remote.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
	struct buf in = BUF_INIT(8192);
	const char *body;

	(void)state;
	buf_printf(&in, "%s%s", mail,
	    "Return-Path: <z@z>\r\nFrom: Alice <alice@example.org>\r\nBcc: s@x.example,\r\n t@x.example\r\nSubject: "
	    "x\r\n\r\nBcc: stays\r\n.\r\n");
	expect_view(MSA, "127.0.0.1", buf_view(&in), "220 250 235 250 250 250 354 250", NULL);
	assert_string_equal(buf_str(&stored.envelope), "bob@example.org alice@example.org>x@remote.example ");
	body = buf_str(&stored.body);
	assert_int_equal(
	    strncmp(body, "Received: from localhost (authenticated)\r\n\tby mail.example.org (mailadm) with ESMTPA id ",
		88),
	    0);
	assert_non_null(strstr(body, "\r\nDKIM-Signature: v=1; test\r\nDate: "));
	assert_non_null(strstr(body, "\r\nMessage-ID: <"));
	assert_non_null(strstr(body, "\r\nFrom: Alice <alice@example.org>\r\nSubject: x\r\n\r\nBcc: stays\r\n"));
	assert_null(strstr(body, "Return-Path"));
	assert_null(strstr(body, "t@x.example"));
	assert_null(strstr(body, "127.0.0.1"));

	buf_reset(&in);
	buf_printf(&in, "%s%s", mail, "Subject: x\r\n\r\nhi\r\n.\r\n");
	expect_view(MSA, "127.0.0.1", buf_view(&in), "220 250 235 250 250 250 354 550", "no From");
	buf_reset(&in);
	buf_printf(&in, "%s%s", mail, "From: a@example.org\r\nFrom: b@example.org\r\n\r\nhi\r\n.\r\n");
	expect_view(MSA, "127.0.0.1", buf_view(&in), "220 250 235 250 250 250 354 550", "more than one");

	assert_string_equal(signer, "example.org");
	keys_say = DKIM_NO_KEY;
	buf_reset(&in);
	buf_printf(&in, "%s%s", mail, "From: a@example.org\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nhi\r\n.\r\n");
	expect_view(MSA, "127.0.0.1", buf_view(&in), "220 250 235 250 250 250 354 250", NULL);
	assert_non_null(
	    strstr(buf_str(&stored.body), "\r\nFrom: a@example.org\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nhi\r\n"));
	/* Not knowing whether there is a key is no reason to send without a signature. */
	keys_say = DKIM_AWAY;
	expect_view(MSA, "127.0.0.1", buf_view(&in), "220 250 235 250 250 250 354 451", "451 4.3.0 Cannot sign");
	stored.calls = 0;
	expect(LOCAL, FROM_HOST "RCPT TO:<x@remote.example>\r\nDATA\r\n" BODY, "220 250 250 250 354 250", NULL);
	assert_int_equal(stored.calls, 1); /* cron would not come again */
	keys_say = DKIM_SIGNED;
	buf_free(&in);
}

/* Which domain vouches for whom. */
static void test_signer(void **state)
{
	static const struct {
		enum kind kind;
		const char *from, *signer;
	} rows[] = {
		{ MSA, "alice@example.org", "example.org" },
		{ MSA, "Bob <bob@EXAMPLE.org>", "example.org" }, /* as in the envelope of any other host: a colleague */
		{ MSA, "<alice@mail.example.org>", NULL },
		{ MSA, "chief@caught.example", NULL },             /* another tenant of this host */
		{ MSA, "sales@caught.example", "caught.example" }, /* an alias that is alice's alone */
		{ MSA, "x@remote.example", NULL },
		{ MSA, "nobody", NULL },
		{ LOCAL, "root@mail.example.org", "example.org" },
		{ LOCAL, "shop@caught.example", "caught.example" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf in = BUF_INIT(8192);

		buf_printf(&in, "%sRCPT TO:<x@remote.example>\r\nDATA\r\nFrom: %s\r\n\r\nhi\r\n.\r\n",
		    rows[i].kind == LOCAL ? FROM_HOST : AUTH "MAIL FROM:<alice@example.org>\r\n", rows[i].from);
		signer = NULL;
		expect_view(rows[i].kind, "127.0.0.1", buf_view(&in),
		    rows[i].kind == LOCAL ? "220 250 250 250 354 250" : "220 250 235 250 250 354 250", NULL);
		if ((signer == NULL) != (rows[i].signer == NULL) ||
		    (signer != NULL && strcmp(signer, rows[i].signer) != 0))
			fail_msg("From: %s is signed by %s", rows[i].from, signer != NULL ? signer : "nobody");
		buf_free(&in);
	}
}

static void test_utf8(void **state)
{
	(void)state;
	expect(MSA,
	    AUTH "MAIL FROM:<alice@example.org> SMTPUTF8\r\nRCPT TO:<x@remote.example>\r\nDATA\r\nFrom: "
		 "a@example.org\r\nDate: d\r\n\r\nhi\r\n.\r\n",
	    "220 250 235 250 250 354 250", NULL);
	assert_false(stored.smtputf8); /* asked for, not used */
	assert_non_null(strstr(buf_str(&stored.body), "with UTF8SMTPA id"));
	expect(MSA,
	    AUTH "MAIL FROM:<alice@example.org> SMTPUTF8\r\nRCPT TO:<j\xc3\xbcrgen@remote.example>\r\nDATA\r\nFrom: "
		 "a@example.org\r\n\r\nhi\r\n.\r\n",
	    "220 250 235 250 250 354 250", NULL);
	assert_true(stored.smtputf8);
	expect(MSA, AUTH "MAIL FROM:<alice@example.org>\r\nRCPT TO:<j\xc3\xbcrgen@remote.example>\r\n",
	    "220 250 235 250 553", "553 5.6.7");
}

static void test_local(void **state)
{
	(void)state;
	expect(LOCAL,
	    HELLO "MAIL FROM:<root>\r\nRCPT TO:<cron-daemon>\r\nRCPT TO:<x@remote.example>\r\nDATA\r\nSubject: "
		  "x\r\n\r\nhi\r\n.\r\n",
	    "220 250 250 250 250 354 250", NULL);
	assert_string_equal(buf_str(&stored.envelope), "alice@example.org root@mail.example.org>x@remote.example ");
	assert_non_null(strstr(buf_str(&stored.body), "Received: from localhost (uid "));
	assert_non_null(strstr(buf_str(&stored.body), "\r\nFrom: <root@mail.example.org>\r\nDate: "));
	expect(LOCAL, HELLO "MAIL FROM:<>\r\nRCPT TO:<nobody@example.org>\r\n", "220 250 250 550", NULL);
	server->own_uid = 12345; /* somebody else's mail, unless root runs the test */
	expect(LOCAL, HELLO "MAIL FROM:<x@remote.example>\r\n", getuid() == 0 ? "220 250 250" : "220 250 553", NULL);
	server->own_uid = getuid();
}

static void test_unread_replies(void **state)
{
	/* Replies nobody reads stop the commands: 20,000 HELP make far more output than SMTP_OUTPUT_HIGH. */
	struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(16 << 20), codes = BUF_INIT(1 << 20);

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_puts(&in, "HELP\r\n");
	talk(MX, "198.51.100.7", buf_view(&in), false, &out);
	codes_of(buf_view(&out), &codes);
	assert_int_equal(codes.len, 20001 * 4 - 1);
	buf_free(&in);
	buf_free(&out);
	buf_free(&codes);
}

/* Random mixtures of what has a meaning: whatever they say, every session ends, and nothing of it stays. */
static void test_random(void **state)
{
	const struct view words[] = {
		VIEW_LIT("EHLO x"),
		VIEW_LIT("HELO x"),
		VIEW_LIT("MAIL FROM:<>"),
		VIEW_LIT("MAIL FROM:<alice@example.org> SIZE=9"),
		VIEW_LIT("RCPT TO:<alice@example.org>"),
		VIEW_LIT("RCPT TO:<both@example.org>"),
		VIEW_LIT("RCPT TO:<x@remote.example>"),
		VIEW_LIT("DATA"),
		VIEW_LIT("BDAT 3"),
		VIEW_LIT("BDAT 5 LAST"),
		VIEW_LIT("BDAT"),
		VIEW_LIT("RSET"),
		VIEW_LIT("NOOP"),
		VIEW_LIT("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA=="),
		VIEW_LIT("AUTH LOGIN"),
		VIEW_LIT("AUTH PLAIN"),
		VIEW_LIT("*"),
		VIEW_LIT("c2VjcmV0"),
		VIEW_LIT("STARTTLS"),
		VIEW_LIT("HELP"),
		VIEW_LIT("."),
		VIEW_LIT(".."),
		VIEW_LIT(""),
		VIEW_LIT("From: a@example.org"),
		VIEW_LIT("\n.\r"),
		VIEW_LIT("\0"),
		VIEW_LIT("\xff\xfe"),
		VIEW_LIT("QUIT"),
	};
	unsigned seed = 20261124;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct buf in = BUF_INIT(65536), out = BUF_INIT(1 << 20);
		int n = rand_r(&seed) % 40;

		while (n-- > 0) {
			buf_addv(&in, words[(size_t)rand_r(&seed) % (sizeof(words) / sizeof(words[0]))]);
			if (rand_r(&seed) % 50 != 0)
				buf_puts(&in, "\r\n");
		}
		store_says = rand_r(&seed) % 4 == 0 ? STORE_FULL : STORE_OK;
		talk((enum kind)(rand_r(&seed) % 3), "127.0.0.1", buf_view(&in), false, &out);
		assert_true(out.len > 0);
		buf_free(&in);
		buf_free(&out);
	}
	store_says = STORE_OK;
}

static void test_alert(void **state)
{
	(void)state;
	stored.calls = 0;
	role_smtp.alert(&ctx, "disk-full", "the disk is full\nfree some space");
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(stored.calls, 1);
	assert_string_equal(buf_str(&stored.envelope), "alice@example.org ");
	assert_non_null(strstr(buf_str(&stored.body), "\r\nSubject: [mail.example.org] disk-full\r\n"));
	assert_non_null(strstr(buf_str(&stored.body), "\r\n\r\nthe disk is full\r\nfree some space\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_mail_and_rcpt),
		cmocka_unit_test(test_recipient_limit),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_bdat),
		cmocka_unit_test(test_smuggling),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_early_talker),
		cmocka_unit_test(test_store_status),
		cmocka_unit_test(test_over_quota),
		cmocka_unit_test(test_auth),
		cmocka_unit_test(test_submission),
		cmocka_unit_test(test_signer),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_unread_replies),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_alert),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
