/* lib/version.h: what programs print about themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/version.h"

static void parses(const char *text, unsigned major, unsigned minor, unsigned patch)
{
	struct version v = { 0 };
	assert_true(version_parse(text, &v));
	assert_int_equal(v.major, major);
	assert_int_equal(v.minor, minor);
	assert_int_equal(v.patch, patch);
}

static void texts(void **state)
{
	(void)state;
	parses("BIND 9.18.49-1~deb12u3-Debian (Extended Support Version) <id:>", 9, 18, 49);
	parses("BIND 9.11.5-P4-5.1+deb10u11-Debian", 9, 11, 5);
	parses("nftables v1.0.6 (Lester Gooch #5)", 1, 0, 6);
	parses("6.1.0-28-amd64", 6, 1, 0);
}

static void no_version(void **state)
{
	struct version v;
	(void)state;
	assert_false(version_parse("", &v));
	assert_false(version_parse("no version", &v));
	assert_false(version_parse("tool 2 of 3, version 4.", &v));
	parses("2 x 99999999999999999999.1.2", 9999999, 1, 2);
}

static void order(void **state)
{
	const struct version least = { 9, 16, 2 };
	(void)state;
	assert_false(version_below(least, least));
	assert_true(version_below((struct version){ 9, 16, 1 }, least));
	assert_true(version_below((struct version){ 9, 4, 30 }, least));
	assert_true(version_below((struct version){ 8, 17, 3 }, least));
	assert_false(version_below((struct version){ 10, 0, 0 }, least));
	assert_false(version_below((struct version){ 9, 17, 0 }, least));
}

static void programs(void **state)
{
	char *prints[] = { "echo", "made 1.2.3", NULL }, *missing[] = { "no-such-program", NULL },
	     *fails[] = { "false", NULL };
	char *hangs[] = { "sleep", "600", NULL };
	struct version v = { 0 };
	struct error e = { "" };
	(void)state;
	assert_int_equal(version_of_program(prints, &v, &e), 1);
	assert_int_equal(v.patch, 3);
	assert_int_equal(version_of_program(missing, &v, &e), 0);
	assert_int_equal(version_of_program(fails, &v, &e), 0);
	setenv("MAILADM_TEST_TOOL_LIMIT", "1", 1);
	assert_int_equal(version_of_program(hangs, &v, &e), -1);
	assert_non_null(strstr(e.text, "sleep did not end"));
	unsetenv("MAILADM_TEST_TOOL_LIMIT");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(texts), cmocka_unit_test(no_version),
		cmocka_unit_test(order), cmocka_unit_test(programs) };
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
