/* Modified UTF-7 and LIST patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/utf7.h"

static const struct {
	const char *wire, *utf8; /* utf8 NULL: refused */
} names[] = {
	{ "INBOX", "INBOX" },
	{ "", "" },
	{ "Lists & more", NULL },
	{ "Lists &- more", "Lists & more" },
	{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語" },
	{ "Entw&APw-rfe", "Entwürfe" },
	{ "&2D3eAA-", "😀" },
	{ "&2D0-", NULL },      /* a lone high surrogate */
	{ "&3gA-", NULL },      /* a lone low one */
	{ "&3gDYPQ-", NULL },   /* the wrong way round */
	{ "&AGE-", NULL },      /* "a" needs no shift */
	{ "&AAo-", NULL },      /* a line feed */
	{ "&AAA-", NULL },      /* NUL */
	{ "&APw", NULL },       /* never ends */
	{ "&AP-", NULL },       /* half a unit */
	{ "&APx-", NULL },      /* bits left over */
	{ "&APwA-", NULL },     /* and more of them */
	{ "&APw-&APw-", NULL }, /* two shifts where one does */
	{ "&APwA,A-", "üü" },
	{ "&AP/-", NULL },
	{ "&A Pw-", NULL },
	{ "ü", NULL },
	{ "a\tb", NULL },
	{ "a\x7f", NULL },
};

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char out[200];
		struct buf again = BUF_INIT(200);
		int status = utf7_decode(view_of(names[i].wire), out, sizeof(out));

		if (names[i].utf8 == NULL) {
			if (status == 0)
				fail_msg("%s was decoded to %s", names[i].wire, out);
			continue;
		}
		if (status != 0)
			fail_msg("%s was refused", names[i].wire);
		assert_string_equal(out, names[i].utf8);
		utf7_encode(view_of(names[i].utf8), &again);
		assert_string_equal(buf_str(&again), names[i].wire);
		buf_free(&again);
	}
}

static void test_size(void **state)
{
	char out[4];

	(void)state;
	assert_int_equal(utf7_decode(view_of("abc"), out, sizeof(out)), 0);
	assert_int_equal(utf7_decode(view_of("abcd"), out, sizeof(out)), -1);
	assert_int_equal(utf7_decode(view_of("&ZeVnLA-"), out, sizeof(out)), -1);
}

static const struct {
	const char *pattern, *name;
	bool match;
} patterns[] = {
	{ "INBOX", "INBOX", true },
	{ "INBOX", "INBO", false },
	{ "INBOX", "INBOXX", false },
	{ "", "", true },
	{ "", "a", false },
	{ "*", "", true },
	{ "*", "a/b/c", true },
	{ "%", "a", true },
	{ "%", "a/b", false },
	{ "%/%", "a/b", true },
	{ "%/%", "a/b/c", false },
	{ "a/%", "a/", true },
	{ "a%c", "abbc", true },
	{ "a%c", "ab/c", false },
	{ "a*c", "ab/bc", true },
	{ "a*c", "ab/bcd", false },
	{ "a*b%c*d", "aXbYbZcQ/QcRd", true },
	{ "%*", "a/b", true },
	{ "*%", "a/b", true },
	{ "*/%", "a/b/c", true },
	{ "%a%a%a", "aaa", true },
	{ "%a%a%a", "aa", false },
};

static void test_patterns(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (list_match(view_of(patterns[i].pattern), view_of(patterns[i].name)) != patterns[i].match)
			fail_msg("%s against %s: wanted %d", patterns[i].pattern, patterns[i].name, patterns[i].match);
}

/* Would take for ever with naive backtracking. */
static void test_hostile_pattern(void **state)
{
	char pattern[1024], name[512];

	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = i % 2 == 0 ? '*' : 'a';
	memset(name, 'a', sizeof(name));
	name[511] = 'b';
	assert_false(list_match((struct view){ pattern, sizeof(pattern) }, (struct view){ name, sizeof(name) }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_hostile_pattern),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("imap utf7", tests, NULL, NULL);
}
