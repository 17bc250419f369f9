/* Whole messages and the exact ENVELOPE, BODY and BODYSTRUCTURE they must give; part numbering; hostile records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/mime/mime.h"

#define NILS "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
#define TEXT_DEFAULT "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" "
#define CT "Content-Type: "

static const struct {
	const char *what, *message, *envelope, *bodystructure, *body;
} messages[] = {
	{ "empty", "", NILS, TEXT_DEFAULT "0 0 NIL NIL NIL NIL)", TEXT_DEFAULT "0 0)" },
	{ "blank line only", "\r\n", NILS, TEXT_DEFAULT "0 0 NIL NIL NIL NIL)", NULL },
	{ "headers only, no blank line", "Subject: x\r\n", "(NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL)",
	    TEXT_DEFAULT "0 0 NIL NIL NIL NIL)", NULL },
	{ "RFC 3501 example",
	    "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
	    "Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
	    "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
	    "Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nHi\r\nthere\r\n",
	    "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" "
	    "\"cac.washington.edu\")) "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) "
	    "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
	    "\"<B27397-0100000@cac.washington.edu>\")",
	    "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 11 2 NIL NIL NIL NIL)",
	    "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 11 2)" },
	{ "empty values, empty sender, groups, no domain",
	    "Subject:\r\nFrom: a@b\r\nSender:\r\nReply-To: \r\nTo: undisclosed-recipients:;\r\nCc: G: x@y, root;, "
	    "\"q\\\"q\" <z@w>\r\n\r\n",
	    "(NIL \"\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
	    "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) "
	    "((NIL NIL \"G\" NIL)(NIL NIL \"x\" \"y\")(NIL NIL \"root\" \"\")(NIL NIL NIL NIL)(\"q\\\"q\" NIL \"z\" "
	    "\"w\")) NIL NIL NIL)",
	    TEXT_DEFAULT "0 0 NIL NIL NIL NIL)", NULL },
	{ "8-bit subject is a literal, folds go", "Subject: a\r\n \xc3\xa9\r\nIn-Reply-To: <1@x>\r\n\t<2@x>\r\n\r\n",
	    "(NIL {4}\r\na \xc3\xa9 NIL NIL NIL NIL NIL NIL \"<1@x>\t<2@x>\" NIL)", TEXT_DEFAULT "0 0 NIL NIL NIL NIL)",
	    NULL },
	{ "alternative in mixed, every extension",
	    CT "multipart/mixed; boundary=\"o\"\r\nContent-Language: de, en\r\nContent-Location: "
	       "http://x/\r\n\r\npreamble\r\n--o\r\n" CT
	       "multipart/alternative;\r\n boundary=oi\r\n\r\n--oi\r\n\r\nplain\r\n--oi\r\n" CT
	       "text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
	       "quoted-printable\r\n\r\n<p>\r\n</p>\r\n--oi--\r\n\r\n--o\r\n" CT
	       "application/pdf; name=\"a b.pdf\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i@d>\r\n"
	       "Content-Description: what\r\nContent-MD5: Q2h1\r\n"
	       "Content-Disposition: attachment; filename*0*=utf-8''a%20;\r\n filename*1=b\r\nContent-Language: "
	       "fr\r\n\r\nQUJD\r\n--o--\r\nepilogue\r\n",
	    NILS,
	    "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 5 0 NIL NIL NIL NIL)"
	    "(\"TEXT\" \"HTML\" (\"CHARSET\" \"utf-8\") NIL NIL \"QUOTED-PRINTABLE\" 9 1 NIL NIL NIL NIL)"
	    " \"ALTERNATIVE\" (\"BOUNDARY\" \"oi\") NIL NIL NIL)"
	    "(\"APPLICATION\" \"PDF\" (\"NAME\" \"a b.pdf\") \"<i@d>\" \"what\" \"BASE64\" 4 \"Q2h1\" "
	    "(\"ATTACHMENT\" (\"FILENAME*0*\" \"utf-8''a%20\" \"FILENAME*1\" \"b\")) \"fr\" NIL)"
	    " \"MIXED\" (\"BOUNDARY\" \"o\") NIL (\"de\" \"en\") \"http://x/\")",
	    NULL },
	{ "message in a digest",
	    CT "multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: in\r\nFrom: \"J\" "
	       "<j@x>\r\n\r\nbody\r\n\r\n--d--\r\n",
	    NILS,
	    "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 38 (NIL \"in\" ((\"J\" NIL \"j\" \"x\")) ((\"J\" NIL \"j\" "
	    "\"x\")) "
	    "((\"J\" NIL \"j\" \"x\")) NIL NIL NIL NIL NIL) " TEXT_DEFAULT "6 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)"
	    " \"DIGEST\" (\"BOUNDARY\" \"d\") NIL NIL NIL)",
	    "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 38 (NIL \"in\" ((\"J\" NIL \"j\" \"x\")) ((\"J\" NIL \"j\" "
	    "\"x\")) "
	    "((\"J\" NIL \"j\" \"x\")) NIL NIL NIL NIL NIL) " TEXT_DEFAULT "6 1) 4) \"DIGEST\")" },
	{ "multipart whose boundary never comes", CT "multipart/mixed; boundary=x\r\n\r\ntext\r\n", NILS,
	    TEXT_DEFAULT "6 1 NIL NIL NIL NIL)", NULL },
	{ "multipart without boundary", CT "multipart/mixed\r\n\r\ntext\r\n", NILS, TEXT_DEFAULT "6 1 NIL NIL NIL NIL)",
	    NULL },
	{ "broken content type", CT "text\r\n\r\nx\r\n", NILS, TEXT_DEFAULT "3 1 NIL NIL NIL NIL)", NULL },
	{ "no last delimiter", CT "multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x\r\n\r\nb\r\n", NILS,
	    "(" TEXT_DEFAULT "1 0 NIL NIL NIL NIL)" TEXT_DEFAULT
	    "3 1 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"x\") NIL NIL NIL)",
	    NULL },
	{ "empty parts; a delimiter right after the header",
	    CT "multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\nX: y\r\n--x\r\n\r\n--x--\r\n", NILS,
	    "(" TEXT_DEFAULT "0 0 NIL NIL NIL NIL)" TEXT_DEFAULT "0 0 NIL NIL NIL NIL)" TEXT_DEFAULT
	    "0 0 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"x\") NIL NIL NIL)",
	    NULL },
	{ "boundary that starts like another; blanks after it",
	    CT "multipart/mixed; boundary=b\r\n\r\n--b \t\r\n" CT
	       "multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\n--b2\r\n--b1--\r\n--b--\r\n",
	    NILS,
	    "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 4 0 NIL NIL NIL NIL) \"MIXED\" "
	    "(\"BOUNDARY\" \"b1\") NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)",
	    NULL },
	{ "outer delimiter ends the inner multipart",
	    CT "multipart/mixed; boundary=o\r\n\r\n--o\r\n" CT
	       "multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\na\r\n--o\r\n\r\nb\r\n--o--\r\n",
	    NILS,
	    "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL) \"MIXED\" "
	    "(\"BOUNDARY\" \"i\") NIL NIL NIL)" TEXT_DEFAULT
	    "1 0 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"o\") NIL NIL NIL)",
	    NULL },
	{ "encoded message/rfc822 is opaque", CT "message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n",
	    NILS, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"BASE64\" 6 1 NIL NIL NIL NIL)", NULL },
	{ "line ends without CR", "Subject: u\n" CT "multipart/mixed; boundary=x\n\n--x\n\na\n--x--\n",
	    "(NIL \"u\" NIL NIL NIL NIL NIL NIL NIL NIL)",
	    "(" TEXT_DEFAULT "1 0 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY\" \"x\") NIL NIL NIL)", NULL },
	{ "comments and quoted pairs",
	    CT "(c) text (d) / (e) plain ; (f) charset (g) = (h) \"u\\tf-8\" ; format=flowed (i)\r\n\r\n", NILS,
	    "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\" \"FORMAT\" \"flowed\") NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)",
	    NULL },
	{ "boundary in RFC 2231 pieces",
	    CT "multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--\r\n", NILS,
	    "(" TEXT_DEFAULT "1 0 NIL NIL NIL NIL) \"MIXED\" (\"BOUNDARY*0\" \"a\" \"BOUNDARY*1\" \"b\") NIL NIL NIL)",
	    NULL },
};

static void open_record(struct view message, struct buf *blob, struct mime_record *record)
{
	buf_reset(blob);
	mime_parse(message, blob);
	assert_false(blob->full);
	assert_int_equal(mime_record_open(record, buf_view(blob), message.len), 0);
}

static void expect(const char *what, const char *item, struct view got, const char *want)
{
	if (!view_eq(got, want))
		fail_msg("%s: %s\n got  %.*s\n want %s", what, item, (int)got.len, got.ptr, want);
}

static void renders_messages(void **state)
{
	struct buf blob = BUF_INIT(MIME_RECORD_MAX), body = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;

	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		open_record(view_of(messages[i].message), &blob, &r);
		expect(messages[i].what, "envelope", r.envelope, messages[i].envelope);
		expect(messages[i].what, "bodystructure", r.bodystructure, messages[i].bodystructure);
		buf_reset(&body);
		mime_body_from_bodystructure(r.bodystructure, &body);
		assert_true(mime_imap_text_ok(buf_view(&body)));
		if (messages[i].body)
			expect(messages[i].what, "body", buf_view(&body), messages[i].body);
	}
	buf_free(&blob);
	buf_free(&body);
}

static const char nested[] =
    CT "multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\none\r\n--o\r\n" CT
       "message/rfc822\r\n\r\nSubject: two\r\n\r\ninner\r\n--o\r\n" CT "message/rfc822\r\n\r\n" CT
       "multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nthree.one\r\n--i\r\n" CT "multipart/mixed; boundary=j\r\n\r\n"
       "--j\r\n\r\nthree.two.one\r\n--j--\r\n--i--\r\n--o--\r\n";

static void numbers_parts(void **state)
{
	static const struct {
		uint32_t path[5];
		size_t len;
		const char *body; /* NULL: no such part; "*": any */
	} cases[] = {
		{ { 0 }, 0, "*" },
		{ { 1 }, 1, "one" },
		{ { 1, 1 }, 2, NULL },
		{ { 2 }, 1, "Subject: two\r\n\r\ninner" },
		{ { 2, 1 }, 2, "inner" },
		{ { 2, 1, 1 }, 3, NULL },
		{ { 2, 2 }, 2, NULL },
		{ { 3, 1 }, 2, "three.one" },
		{ { 3, 2 }, 2, "*" },
		{ { 3, 2, 1 }, 3, "three.two.one" },
		{ { 3, 3 }, 2, NULL },
		{ { 4 }, 1, NULL },
		{ { 0 }, 1, NULL },
	};
	struct buf blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;
	struct mime_part p;

	(void)state;
	open_record(view_of(nested), &blob, &r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t index = mime_record_find(&r, cases[i].path, cases[i].len);

		assert_int_equal(index < 0, cases[i].body == NULL);
		if (!cases[i].body || !strcmp(cases[i].body, "*"))
			continue;
		mime_record_part(&r, (uint32_t)index, &p);
		expect("part", "body", (struct view){ nested + p.body, (size_t)(p.end - p.body) }, cases[i].body);
	}
	open_record(VIEW_LIT("A: b\r\n\r\nonly\r\n"), &blob, &r);
	assert_int_equal(mime_record_find(&r, (uint32_t[]){ 1 }, 1), 0);
	assert_int_equal(mime_record_find(&r, (uint32_t[]){ 2 }, 1), -1);
	assert_int_equal(mime_record_find(&r, (uint32_t[]){ 1, 1 }, 2), -1);
	buf_free(&blob);
}

static void refuses_lying_records(void **state)
{
	struct buf blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;
	struct view v;

	(void)state;
	mime_parse(view_of(nested), &blob);
	v = buf_view(&blob);
	assert_int_equal(mime_record_open(&r, v, sizeof(nested) - 1), 0);
	assert_int_equal(mime_record_open(&r, v, sizeof(nested)), -1);
	for (size_t n = 0; n < v.len; n++)
		assert_int_equal(mime_record_open(&r, (struct view){ v.ptr, n }, sizeof(nested) - 1), -1);
	for (size_t i = 0; i < 26 + 35 * 3; i++) { /* what passes must still be inside */
		blob.data[i] ^= (char)0xff;
		if (mime_record_open(&r, v, sizeof(nested) - 1) == 0)
			assert_true(i >= 16);
		blob.data[i] ^= (char)0xff;
	}
	buf_free(&blob);
}

static void checks_imap_text(void **state)
{
	static const char *const good[] = { "(NIL)", "(NIL 1 \"a\\\"b\\\\\" {3}\r\na)(b)", "((1)(2) \"X\")", "(\"\")" };
	static const char *const bad[] = { "", "NIL", "(", ")", "()", "(NIL", "(NIL))", "(NIL) ", "( NIL)", "(NIL )",
		"(A  B)", "(\"a)", "(\"a\\b\")", "(\"a\r\nb\")", "(\"\xc3\xa9\")", "({3}\r\nab)", "({3}ab)",
		"({99999999999}\r\n)", "(A)(B)", "(A\r\n)", "(A(B))", "((A)B)", "(\"a\"\"b\")", "({-1}\r\n)", "({})" };
	char deep[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (i != 1)
			assert_true(mime_imap_text_ok(view_of(good[i])));
	assert_true(mime_imap_text_ok(VIEW_LIT("(NIL 1 \"a\\\"b\\\\\" {3}\r\n)\"( b)")));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mime_imap_text_ok(view_of(bad[i])))
			fail_msg("taken: %s", bad[i]);
	assert_false(mime_imap_text_ok(VIEW_LIT("({1}\r\n\0)")));
	memset(deep, '(', 500);
	memset(deep + 500, ')', 500);
	assert_false(mime_imap_text_ok((struct view){ deep, sizeof(deep) }));
}

/* Limits: depth, parts, record size; each must give a record that opens, in linear time. */
/* Every field as long as it is taken, and parameters without end. */
static void fill_every_field(struct buf *m)
{
	static const char *const texts[] = { "Date", "Subject", "In-Reply-To", "Message-ID", "References", "Content-ID",
		"Content-Description", "Content-MD5", "Content-Location", "Content-Language" };
	static const char *const lists[] = { "From", "Sender", "Reply-To", "To", "Cc", "Bcc" };

	buf_reset(m);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		buf_printf(m, "%s: %040000d\r\n", texts[i], 0);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		buf_printf(m, "%s: ", lists[i]);
		for (int k = 0; k < 10000; k++)
			buf_puts(m, "\"\\\\\\\\\" <a@b>,");
		buf_puts(m, "\r\n");
	}
	for (int i = 0; i < 260; i++)
		buf_printf(m, "%s;\r\n p%d=\"%05000d\"",
		    i == 0     ? CT "text/html"
		    : i == 130 ? "\r\nContent-Disposition: inline"
			       : "",
		    i, 0);
	buf_puts(m, "\r\n\r\nbody\r\n");
}

static void keeps_limits(void **state)
{
	struct buf m = BUF_INIT(64 << 20), blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;
	struct mime_part p;

	(void)state;
	for (int i = 0; i < 2000; i++)
		buf_printf(&m, CT "multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
	open_record(buf_view(&m), &blob, &r);
	assert_int_equal(r.part_count, MIME_DEPTH_MAX + 1);
	buf_reset(&m);
	for (int i = 0; i < 2000; i++)
		buf_puts(&m, CT "message/rfc822\r\n\r\n");
	open_record(buf_view(&m), &blob, &r);
	assert_int_equal(r.part_count, MIME_DEPTH_MAX + 1);
	buf_reset(&m);
	buf_puts(&m, CT "multipart/mixed; boundary=b\r\n\r\n");
	for (int i = 0; i < 5000; i++)
		buf_puts(&m, "--b\r\n\r\nx\r\n");
	open_record(buf_view(&m), &blob, &r);
	assert_int_equal(r.part_count, MIME_PARTS_MAX);
	mime_record_part(&r, MIME_PARTS_MAX - 1, &p);
	assert_int_equal(p.end, m.len);
	buf_reset(&m);
	buf_puts(&m, CT "multipart/mixed; boundary=b\r\nSubject: big\r\n\r\n");
	for (int i = 0; i < 1500; i++)
		buf_printf(&m, "--b\r\nContent-Description: %01000d\r\n\r\nx\r\n", i);
	open_record(buf_view(&m), &blob, &r);
	assert_int_equal(r.part_count, 1);
	expect("too much structure", "subject", r.subject, "big");
	buf_reset(&m);
	buf_puts(&m, "To: ");
	for (int i = 0; i < 200000; i++)
		buf_printf(&m, "user%d@example.org,\r\n ", i);
	for (int i = 0; i < 9; i++)
		buf_printf(&m, "\r\nX: %0100000d\r\nSubject: %0200000d", i, i);
	open_record(buf_view(&m), &blob, &r);
	fill_every_field(&m);
	open_record(buf_view(&m), &blob, &r);
	expect("fields at their limits", "body structure", r.bodystructure, TEXT_DEFAULT "6 1 NIL NIL NIL NIL)");
	buf_free(&m);
	buf_free(&blob);
}

static void keeps_record_fields(void **state)
{
	struct buf blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;

	(void)state;
	open_record(
	    VIEW_LIT("Date: Tue, 24 Nov 2026 06:45:48 +0130\r\nSubject: Re: [list] =?utf-8?Q?=C3=84pfel?=\r\n und\r\n"
		     "Message-ID: <m@x>\r\nIn-Reply-To: <r@x>\r\nReferences: <a@x>\r\n <b@x>\r\n\r\n"),
	    &blob, &r);
	assert_int_equal(r.date, 1795497348);
	assert_int_equal(r.date_zone, 90);
	expect("record", "subject", r.subject, "Re: [list] \xc3\x84pfel und");
	expect("record", "base subject", r.base_subject, "a\xcc\x88pfel und");
	expect("record", "message-id", r.message_id, "<m@x>");
	expect("record", "in-reply-to", r.in_reply_to, "<r@x>");
	expect("record", "references", r.references, "<a@x> <b@x>");
	buf_free(&blob);
}

/* A record is never one that its own reader refuses: such a message could not be fetched. */
static void cuts_between_characters(void **state)
{
	static const char *const units[] = { "\xef\xb7\xba", "\xef\xb7\xba\xc3\xa9", "\xe6\xbc\xa2", "\xc3\x9f",
		"\xef\xac\x83 " };
	struct buf message = BUF_INIT(64 * 1024), blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record record;

	(void)state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		for (size_t shift = 0; shift < 8; shift++) {
			buf_reset(&message);
			buf_reset(&blob);
			buf_printf(&message, "Subject: %.*s", (int)shift, "abcdefgh");
			while (message.len < 16000)
				buf_puts(&message, units[i]);
			buf_puts(&message, "\r\n\r\n");
			mime_parse(buf_view(&message), &blob);
			if (mime_record_open(&record, buf_view(&blob), message.len) != 0)
				fail_msg("unit %zu, shift %zu: the record is refused", i, shift);
		}
	}
	buf_free(&message);
	buf_free(&blob);
}

static void keeps_what_lists_ask_for(void **state)
{
	static const char text[] = "Received: x\r\nFrom: =?utf-8?q?J=C3=B6rg?= <J@Ex.org>\r\nTO: a@b,\r\n \"C, D\" <c@d>\r\n"
				   "x-priority : 1\r\nTo: G: e@f;\r\nSubject: Gr\xc3\xbc\xc3\x9f\r\n e\r\n";
	static const char *const folded[] = { "jo\xcc\x88rg <j@ex.org>", "a@b, c, d <c@d>\ng:, e@f", "", "",
		"gru\xcc\x88ss e" };
	struct buf message = BUF_INIT(64 * 1024), blob = BUF_INIT(MIME_RECORD_MAX);
	struct mime_record r;

	(void)state;
	for (int blank = 0; blank < 2; blank++) {
		buf_reset(&message);
		buf_puts(&message, text);
		buf_puts(&message, blank ? "\r\nbody" : "");
		open_record(buf_view(&message), &blob, &r);
		expect("kept", "fields", r.kept, text + sizeof("Received: x\r\n") - 1);
		assert_int_equal(r.header_ends, blank);
		for (int i = 0; i < MIME_FOLDED; i++)
			expect("folded", "field", r.folded[i], folded[i]);
	}
	/* An older record has none of it. */
	blob.len = (size_t)(r.references.ptr + r.references.len - blob.data);
	blob.data[0] = 1;
	assert_int_equal(mime_record_open(&r, buf_view(&blob), message.len), 0);
	assert_null(r.kept.ptr);
	assert_null(r.folded[MIME_FOLDED_FROM].ptr);
	expect("version 1", "subject", r.subject, "Gr\xc3\xbc\xc3\x9f e");
	/* Nor what is too long. */
	buf_reset(&message);
	buf_puts(&message, "From: a@b\r\nTo: c@d");
	while (message.len < MIME_KEPT_MAX + 100)
		buf_puts(&message, ",\r\n e@f");
	buf_puts(&message, "\r\n\r\n");
	open_record(buf_view(&message), &blob, &r);
	assert_null(r.kept.ptr);
	assert_null(r.folded[MIME_FOLDED_TO].ptr);
	expect("long", "from", r.folded[MIME_FOLDED_FROM], "a@b");
	buf_free(&message);
	buf_free(&blob);
}

static void searches_text(void **state)
{
	static const struct {
		const char *message, *want;
	} cases[] = {
		{ "\r\nHello  W\xc3\x96RLD\r\n", "hello wo\xcc\x88rld " },
		{ CT "text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe "
		     "=\r\nan=20alle\r\n",
		    "gru\xcc\x88sse an alle " },
		{ CT "text/plain; charset=\"x-sjis\"\r\nContent-Transfer-Encoding: base64\r\n\r\nk/qWew==\r\n",
		    "\xe6\x97\xa5\xe6\x9c\xac" },
		{ CT "text/html\r\n\r\n<style>x</style><p>A<b>B</b>C &amp; &auml;&#228;&#x41;<br>D<!-- no --> 1 < 2",
		    " abc & a\xcc\x88"
		    "a\xcc\x88"
		    "a d 1 < 2" },
		{ CT "image/png\r\n\r\nxxx", "" },
		{ CT "text/plain; charset=nonsense\r\n\r\na\xff"
		     "b",
		    "a\xef\xbf\xbd"
		    "b" },
		{ CT "multipart/mixed\r\n\r\nBroken", "broken" },
	};
	struct buf blob = BUF_INIT(MIME_RECORD_MAX), text = BUF_INIT(1 << 20);
	struct mime_record r;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_record(view_of(cases[i].message), &blob, &r);
		buf_reset(&text);
		mime_part_text(&r, view_of(cases[i].message), 0, &text);
		expect(cases[i].message, "text", buf_view(&text), cases[i].want);
	}
	buf_free(&blob);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renders_messages),
		cmocka_unit_test(numbers_parts),
		cmocka_unit_test(refuses_lying_records),
		cmocka_unit_test(checks_imap_text),
		cmocka_unit_test(keeps_limits),
		cmocka_unit_test(keeps_record_fields),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(keeps_what_lists_ask_for),
		cmocka_unit_test(searches_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
