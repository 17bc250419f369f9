/* The command reader: whole and byte by byte must agree; limits; what is skipped behind an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/reader.h"

static const struct imap_reader_limits limits = { .line = 40, .literal = 10, .total = 60, .discard = 100 };

/* Feeds input in pieces of `step` bytes and writes down what comes of it. */
static void transcript(const char *input, size_t len, size_t step, struct buf *out)
{
	struct imap_reader r;
	size_t pos = 0, used;

	imap_reader_init(&r, &limits);
	for (;;) {
		size_t n = len - pos < step ? len - pos : step;
		enum reader_status status = imap_reader_feed(&r, input + pos, n, &used);

		pos += used;
		if (status == READER_MORE && pos == len)
			break;
		if (status == READER_LITERAL && imap_reader_take(&r))
			buf_puts(out, "+;");
		if (status == READER_COMMAND) {
			buf_puts(out, "<");
			buf_addv(out, buf_view(&r.text));
			buf_puts(out, ">");
			imap_reader_next(&r);
		}
		if (status == READER_ERROR || status == READER_FATAL) {
			buf_printf(out, "%s(%.2s %s);", status == READER_FATAL ? "FATAL" : "error",
			    r.text.len >= 2 ? r.text.data : "--", r.error);
			imap_reader_next(&r);
			if (status == READER_FATAL)
				break;
		}
	}
	imap_reader_next(&r);
}

#define CRLF_TEXT "A line must end in CRLF and hold no NUL."

static const struct {
	const char *input, *want;
	size_t len; /* 0: strlen */
} cases[] = {
	{ "a NOOP\r\n", "<a NOOP>", 0 },
	{ "a NOOP\r\nb NOOP\r\n", "<a NOOP><b NOOP>", 0 },
	{ "\r\n", "<>", 0 },
	{ "a L {3}\r\nfoo bar\r\n", "+;<a L {3}\r\nfoo bar>", 0 },
	{ "a L {3+}\r\nfoo {2+}\r\nab\r\n", "<a L {3+}\r\nfoo {2+}\r\nab>", 0 },
	{ "a L {0}\r\n\r\n", "+;<a L {0}\r\n>", 0 },
	{ "a L {4+}\r\n\r\n\r\n\r\n", "<a L {4+}\r\n\r\n\r\n>", 0 },
	{ "a L {x}\r\n", "<a L {x}>", 0 },
	{ "a L {}\r\n", "<a L {}>", 0 },
	{ "a L {99999999999}\r\nb NOOP\r\n", "error(a  Literal is too long.);<b NOOP>", 0 },
	{ "a L {99999999999+}\r\nb NOOP\r\n", "FATAL(a  Literal is too long.);", 0 },
	{ "a L {99999999999999999999999999+}\r\nb NOOP\r\n", "FATAL(a  Literal is too long.);", 0 },
	{ "a \"q{3}\"\r\n", "<a \"q{3}\">", 0 },
	/* over the limits: skipped to the end of the command, literals and all */
	{ "a L {11}\r\nb NOOP\r\n", "error(a  Literal is too long.);<b NOOP>", 0 },
	{ "a L {11+}\r\nx NOOP\r\n012 y\r\nb NOOP\r\n", "error(a  Literal is too long.);<b NOOP>", 0 },
	{ "a L {11+}\r\n01234567890{2+}\r\n\r\nz\r\nb NOOP\r\n", "error(a  Literal is too long.);<b NOOP>", 0 },
	{ "a L {99+}\r\n", "", 0 },
	{ "a L {101+}\r\n", "", 0 },
	{ "a 0123456789012345678901234567890123456789\r\nb NOOP\r\n", "error(a  Command line is too long.);<b NOOP>",
	    0 },
	{ "a 0123456789012345678901234567890123456789{8+}\r\nc NOOP\r\n\r\nb NOOP\r\n",
	    "error(a  Command line is too long.);<b NOOP>", 0 },
	/* line ends */
	{ "a NOOP\nb NOOP\r\n", "error(a  " CRLF_TEXT ");<b NOOP>", 0 },
	{ "a NO\rOP\r\nb NOOP\r\n", "error(a  " CRLF_TEXT ");<b NOOP>", 0 },
	{ "a N\0P\r\nb NOOP\r\n", "error(a  " CRLF_TEXT ");<b NOOP>", 15 },
	{ "a L {3+}\r\nf\0o x\r\nb NOOP\r\n", "error(a  A literal must not hold a NUL.);<b NOOP>", 25 },
};

static void test_transcripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = cases[i].len != 0 ? cases[i].len : strlen(cases[i].input);
		struct buf whole = BUF_INIT(10000), bytes = BUF_INIT(10000);

		transcript(cases[i].input, len, len, &whole);
		transcript(cases[i].input, len, 1, &bytes);
		if (strncmp(cases[i].want, "", 1) != 0)
			assert_string_equal(buf_str(&whole), cases[i].want);
		if (strstr(buf_str(&whole), "FATAL") == NULL)
			assert_string_equal(buf_str(&bytes), buf_str(&whole));
		buf_free(&whole);
		buf_free(&bytes);
	}
}

static void test_fatal(void **state)
{
	struct buf out = BUF_INIT(10000);
	char many[300];

	(void)state;
	transcript("a L {101+}\r\nxxxxxxxxx", 20, 20, &out);
	assert_string_equal(buf_str(&out), "FATAL(a  Literal is too long.);");
	buf_reset(&out);
	memset(many, 'x', sizeof(many));
	transcript(many, sizeof(many), 1, &out);
	assert_string_equal(buf_str(&out), "FATAL(xx Command line is too long.);");
	buf_free(&out);
}

static void test_total(void **state)
{
	struct buf out = BUF_INIT(10000);
	const char *input =
	    "a {10+}\r\n0123456789 {10+}\r\n0123456789 {10+}\r\n0123456789 {10+}\r\n0123456789\r\nb NOOP\r\n";

	(void)state;
	transcript(input, strlen(input), 1, &out);
	assert_string_equal(buf_str(&out), "error(a  Command line is too long.);<b NOOP>");
	buf_free(&out);
}

static void test_no_literals(void **state)
{
	static const struct imap_reader_limits pop3 = { .line = 40, .literal = 0, .total = 60, .discard = 100 };
	struct imap_reader r;
	size_t used;

	(void)state;
	imap_reader_init(&r, &pop3);
	assert_int_equal(imap_reader_feed(&r, "PASS a{3}\r\n", 11, &used), READER_COMMAND);
	assert_int_equal(used, 11);
	imap_reader_next(&r);
	assert_null(r.text.data); /* an idle reader holds nothing */
}

static void test_external(void **state)
{
	struct imap_reader r;
	size_t used;

	(void)state;
	imap_reader_init(&r, &limits);
	assert_int_equal(imap_reader_feed(&r, "a APPEND x {5000}\r\n", 19, &used), READER_LITERAL);
	assert_int_equal(r.literal, 5000);
	assert_true(r.sync);
	imap_reader_external(&r);
	assert_int_equal(imap_reader_feed(&r, "\r\n", 2, &used), READER_COMMAND);
	assert_int_equal(r.text.len, 17);
	imap_reader_next(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transcripts),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_no_literals),
		cmocka_unit_test(test_external),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("imap reader", tests, NULL, NULL);
}
