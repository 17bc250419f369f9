/* The pure parts of send: replies, dot-stuffing, back-off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/send/dotstuff.h"
#include "mailsvc/send/reply.h"
#include "mailsvc/send/retry.h"

/* Feeds in pieces of step bytes; returns the last status, and what was left over. */
static enum reply_status feed(struct reply *r, const char *in, size_t len, size_t step, size_t *left)
{
	enum reply_status status = REPLY_MORE;
	size_t i = 0;

	while (i < len && status == REPLY_MORE) {
		size_t used, n = len - i < step ? len - i : step;
		status = reply_feed(r, in + i, n, &used);
		i += used;
	}
	*left = len - i;
	return status;
}

struct reply_case {
	const char *in;
	enum reply_status status;
	const char *text; /* reply_text, when done */
	size_t left;
};

static const struct reply_case reply_cases[] = {
	{ "220 mx.example ESMTP\r\n", REPLY_DONE, "220 mx.example ESMTP", 0 },
	{ "250-one\r\n250-two\r\n250 three\r\n", REPLY_DONE, "250 one two three", 0 },
	{ "250\r\n", REPLY_DONE, "250", 0 },
	{ "250 \r\n", REPLY_DONE, "250", 0 },
	{ "250-\r\n250\r\n", REPLY_DONE, "250", 0 },
	{ "250 a\r\n250 b\r\n", REPLY_DONE, "250 a", 7 },
	{ "550 5.1.1 no \x1b[31msuch\xff user\r\n", REPLY_DONE, "550 5.1.1 no ?[31msuch? user", 0 },
	{ "250 a", REPLY_MORE, NULL, 0 },
	{ "250-a\r\n", REPLY_MORE, NULL, 0 },
	{ "250 a\n", REPLY_ERROR, NULL, 0 },
	{ "250 a\rb\r\n", REPLY_ERROR, NULL, 2 },
	{ "250-a\r\n251 b\r\n", REPLY_ERROR, NULL, 0 },
	{ "25 a\r\n", REPLY_ERROR, NULL, 0 },
	{ "150 a\r\n", REPLY_ERROR, NULL, 0 },
	{ "650 a\r\n", REPLY_ERROR, NULL, 0 },
	{ "250_a\r\n", REPLY_ERROR, NULL, 0 },
	{ "2500 a\r\n", REPLY_ERROR, NULL, 0 },
	{ "\r\n", REPLY_ERROR, NULL, 0 },
	{ "HTTP/1.1 400 Bad Request\r\n", REPLY_ERROR, NULL, 0 },
};

static void test_reply(void **state)
{
	char text[REPLY_TEXT_MAX + 1];
	struct reply r;

	(void)state;
	reply_init(&r);
	for (size_t i = 0; i < sizeof(reply_cases) / sizeof(reply_cases[0]); i++) {
		const struct reply_case *t = &reply_cases[i];
		for (size_t step = 1; step <= 64; step += step) {
			size_t left;
			reply_reset(&r);
			enum reply_status status = feed(&r, t->in, strlen(t->in), step, &left);
			if (status != t->status || left != t->left)
				fail_msg("case %zu step %zu: status %d left %zu, wanted %d %zu", i, step, status, left,
				    t->status, t->left);
			if (status != REPLY_DONE)
				continue;
			reply_text(&r, text);
			assert_string_equal(text, t->text);
		}
	}
	reply_free(&r);
}

static void test_reply_limits(void **state)
{
	char line[REPLY_LINE_MAX + 3], text[REPLY_TEXT_MAX + 1];
	struct reply r;
	size_t left;

	(void)state;
	reply_init(&r);
	memset(line, 'x', sizeof(line));
	memcpy(line, "250 ", 4);
	memcpy(line + REPLY_LINE_MAX, "\r\n", 2);
	assert_int_equal(feed(&r, line, REPLY_LINE_MAX + 2, 7, &left), REPLY_DONE);
	reply_text(&r, text);
	assert_int_equal(strlen(text), REPLY_TEXT_MAX);
	reply_reset(&r);
	line[REPLY_LINE_MAX] = 'x';
	assert_int_equal(feed(&r, line, REPLY_LINE_MAX + 1, 7, &left), REPLY_ERROR);
	reply_reset(&r);
	enum reply_status status = REPLY_MORE;
	int lines = 0;
	while (status == REPLY_MORE && lines < 1000) {
		status = feed(&r, "250-a\r\n", 7, 7, &left);
		lines++;
	}
	assert_int_equal(status, REPLY_ERROR);
	assert_int_equal(lines, REPLY_LINES_MAX + 1);
	reply_free(&r);
}

static void test_ehlo(void **state)
{
	static const char in[] =
	    "250-mx.example PIPELINING\r\n250-SIZE 1000\r\n250-8bitmime\r\n250-STARTTLS\r\n"
	    "250-AUTH=LOGIN\r\n250-AUTH CRAM-MD5 PLAIN\r\n250-SMTPUTF8X\r\n250 ENHANCEDSTATUSCODES\r\n";
	struct reply r;
	struct ehlo e;
	size_t left;

	(void)state;
	reply_init(&r);
	assert_int_equal(feed(&r, in, sizeof(in) - 1, 5, &left), REPLY_DONE);
	reply_ehlo(&r, &e);
	assert_false(e.pipelining); /* stands in the greeting, and is no extension there */
	assert_true(e.size);
	assert_int_equal(e.size_max, 1000);
	assert_true(e.eight_bit);
	assert_true(e.starttls);
	assert_true(e.auth_login);
	assert_true(e.auth_plain);
	assert_false(e.smtputf8);
	reply_free(&r);
}

static void test_enhanced(void **state)
{
	static const struct {
		const char *in;
		char class;
		const char *out;
	} cases[] = {
		{ "550 5.1.1 no such user", '5', "5.1.1" },
		{ "550 no such user", '5', "5.0.0" },
		{ "250 2.0.0 Ok: queued", '2', "2.0.0" },
		{ "250 Ok", '2', "2.0.0" },
		{ "451 4.7.1 greylisted", '4', "4.7.1" },
		{ "451 5.7.1 confused", '4', "4.0.0" },
		{ "4.4.1 cannot connect", '4', "4.4.1" },
		{ "5.1.10 null MX", '5', "5.1.10" },
		{ "550 5.1.1000 x", '5', "5.0.0" },
		{ "550 5..1 x", '5', "5.0.0" },
		{ "550 5.1.1", '5', "5.0.0" },
		{ "", '4', "4.0.0" },
		{ "5", '5', "5.0.0" },
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reply_enhanced(cases[i].in, cases[i].class, out);
		if (strcmp(out, cases[i].out) != 0)
			fail_msg("\"%s\": got %s, wanted %s", cases[i].in, out, cases[i].out);
	}
}

static void test_dots(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", ".\r\n" },
		{ "a\r\n", "a\r\n.\r\n" },
		{ "a", "a\r\n.\r\n" },
		{ "a\r", "a\r\r\n.\r\n" },
		{ ".\r\n", "..\r\n.\r\n" },
		{ ".", "..\r\n.\r\n" },
		{ "a.\r\n..b\r\n\r\n.c", "a.\r\n...b\r\n\r\n..c\r\n.\r\n" },
		{ "\r\n.\r\n.\r\n", "\r\n..\r\n..\r\n.\r\n" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t max = 1; max < 20; max++) {
			struct dotstuff d;
			buf_reset(&out);
			dotstuff_init(&d, view_of(cases[i].in));
			for (int rounds = 0; !d.finished && rounds < 100; rounds++)
				dotstuff_next(&d, max, &out);
			assert_string_equal(buf_str(&out), cases[i].out);
		}
	}
	buf_free(&out);
}

static void test_retry(void **state)
{
	(void)state;
	for (uint32_t random = 0; random < 10000; random += 97) {
		/* new: the minimum; old: its age; very old: the maximum; each with at most an eighth more */
		assert_in_range(retry_due(1000, 1000, 300, 14400, random), 1300, 1300 + 37);
		assert_in_range(retry_due(1600, 1000, 300, 14400, random), 2200, 2200 + 75);
		assert_in_range(retry_due(101000, 1000, 300, 14400, random), 115400, 115400 + 1800);
	}
	assert_int_equal(retry_due(1000, 2000, 300, 14400, 0), 1300); /* the clock went back */
	assert_int_equal(retry_due(1000, 1000, 0, 0, 5), 1001);
	assert_false(retry_expired(1000, 1000, 100));
	assert_false(retry_expired(1099, 1000, 100));
	assert_true(retry_expired(1100, 1000, 100));
	assert_false(retry_expired(900, 1000, 100));
	assert_int_equal(retry_backoff(1, 300, 14400), 300);
	assert_int_equal(retry_backoff(3, 300, 14400), 1200);
	assert_int_equal(retry_backoff(1000, 300, 14400), 14400);
	assert_int_equal(retry_backoff(1000, 0, UINT64_MAX / 2) > 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_reply), cmocka_unit_test(test_reply_limits),
		cmocka_unit_test(test_ehlo), cmocka_unit_test(test_enhanced), cmocka_unit_test(test_dots),
		cmocka_unit_test(test_retry) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
