/* Multi-line replies: dot-stuffing, TOP and the end, in pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/pop3/dots.h"
#include "mailsvc/pop3/maildrop.h"

static const struct {
	const char *in;
	uint64_t lines;
	const char *want;
} cases[] = {
	{ "", DOTS_ALL, ".\r\n" },
	{ "a", DOTS_ALL, "a\r\n.\r\n" },
	{ "a\r\n", DOTS_ALL, "a\r\n.\r\n" },
	{ "a\n", DOTS_ALL, "a\n\r\n.\r\n" },
	{ ".\r\n", DOTS_ALL, "..\r\n.\r\n" },
	{ "..\r\n.x", DOTS_ALL, "...\r\n..x\r\n.\r\n" },
	{ "a\n.\nb\r\n", DOTS_ALL, "a\n..\nb\r\n.\r\n" },
	{ "H: x\r\n\r\n1\r\n2\r\n3\r\n", 0, "H: x\r\n\r\n.\r\n" },
	{ "H: x\r\n\r\n1\r\n2\r\n3\r\n", 2, "H: x\r\n\r\n1\r\n2\r\n.\r\n" },
	{ "H: x\r\n\r\n1\r\n2\r\n3\r\n", 9, "H: x\r\n\r\n1\r\n2\r\n3\r\n.\r\n" },
	{ "H: x\r\n\r\n\r\n\r\n3\r\n", 2, "H: x\r\n\r\n\r\n\r\n.\r\n" },
	{ "H: x\r\n", 0, "H: x\r\n.\r\n" },
};

static void add(struct dots *d, struct evbuffer *out, struct view piece, bool pass)
{
	if (pass && dots_pass(d, piece))
		evbuffer_add(out, piece.ptr, piece.len);
	else
		dots_add(d, out, piece);
}

static void check_cases(bool pass)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].in);

		for (size_t step = 1; step <= len + 1; step++) {
			struct evbuffer *out = evbuffer_new();
			char got[200] = "";
			struct dots d;

			dots_init(&d, cases[i].lines);
			for (size_t at = 0; at < len; at += step)
				add(&d, out, (struct view){ cases[i].in + at, len - at < step ? len - at : step }, pass);
			dots_end(&d, out);
			evbuffer_remove(out, got, sizeof(got) - 1);
			evbuffer_free(out);
			assert_string_equal(got, cases[i].want);
		}
	}
}

static void test_cases(void **state)
{
	(void)state;
	check_cases(false);
	check_cases(true);
}

static void test_deleted_ranges(void **state)
{
	struct maildrop_message m[] = { { 3, 10, true }, { 7, 10, true }, { 8, 10, false }, { 9, 10, true } };
	struct maildrop d = { .at = m, .count = 4 };
	struct uid_range *r;
	size_t count;
	uint32_t messages;
	uint64_t octets;

	(void)state;
	r = maildrop_deleted(&d, &count);
	assert_int_equal(count, 2);
	assert_int_equal(r[0].first, 3);
	assert_int_equal(r[0].last, 7);
	assert_int_equal(r[1].first, 9);
	free(r);
	maildrop_stat(&d, &messages, &octets);
	assert_int_equal(messages, 1);
	assert_true(octets == 10);
	assert_null(maildrop_get(&d, 0));
	assert_null(maildrop_get(&d, 1));
	assert_null(maildrop_get(&d, 5));
	assert_non_null(maildrop_get(&d, 3));
	maildrop_reset(&d);
	assert_non_null(maildrop_get(&d, 1));
	assert_null(maildrop_deleted(&d, &count));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_deleted_ranges),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pop3", tests, NULL, NULL);
}
