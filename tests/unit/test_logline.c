/* lib/logline.h: what lib/log and text_escape write is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/logline.h"
#include "lib/text.h"

static void lines(void **state)
{
	struct log_line l;

	(void)state;
	assert_int_equal(
	    log_line_parse(VIEW_LIT("2026-11-24T18:46:31+00:00 INFO smtp[12]: id=a event=b"), &l), 0);
	assert_int_equal(l.when, 1795545991);
	assert_int_equal(l.level, LOG_LEVEL_INFO);
	assert_true(view_eq(l.ident, "smtp"));
	assert_true(view_eq(l.text, "id=a event=b"));
	assert_int_equal(log_line_parse(VIEW_LIT("2026-11-24T20:46:31+02:00 WARN send[1]: x"), &l), 0);
	assert_int_equal(l.when, 1795545991);
	assert_int_equal(log_line_parse(VIEW_LIT("2026-11-24T13:16:31-05:30 ERROR send[1]: "), &l), 0);
	assert_int_equal(l.when, 1795545991);
	assert_int_equal(l.text.len, 0);
}

static void no_lines(void **state)
{
	static const char *const bad[] = { "", "x", "2026-11-24 INFO smtp[1]: x", "2026-11-24T18:46:31+00:00 LOUD smtp[1]: x",
		"2026-11-24T18:46:31+00:00 INFO smtp 1: x", "2026-11-24T18:46:31+00:00 INFO smtp[1]:x",
		"2026-11-24T18:46:31Z INFO smtp[1]: x", "2026-11-24T18:46:31+00:00x INFO smtp[1]: x" };
	struct log_line l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (log_line_parse(view_of(bad[i]), &l) == 0)
			fail_msg("taken: %s", bad[i]);
}

static void pairs(void **state)
{
	struct view text = VIEW_LIT("id=a words event=\"two words\" empty=\"\" none= =x a=b=c cut=\"abc\"... odd=\"\\x41\\xZZ\" end=\"open");
	static const char *const want[][2] = { { "id", "a" }, { "event", "two words" }, { "empty", "" }, { "none", "" }, { "a", "b=c" },
		{ "cut", "abc..." }, { "odd", "A\\xZZ" }, { "end", "open" } };
	struct buf value = BUF_INIT(1000);
	struct view key;
	size_t pos = 0, n = 0;

	(void)state;
	for (; log_pair_next(text, &pos, &key, &value); n++) {
		assert_true(n < sizeof(want) / sizeof(want[0]));
		assert_true(view_eq(key, want[n][0]));
		assert_string_equal(buf_str(&value), want[n][1]);
	}
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	assert_true(log_pair_find(text, "a", &value));
	assert_string_equal(buf_str(&value), "b=c");
	assert_false(log_pair_find(text, "b", &value));
	/* A key is printable; what is none is passed over with its value. */
	assert_true(log_pair_find(VIEW_LIT("\x1bk=1 k\x7f=2 \xc2\x9bk=\"a k=3\" k=4"), "k", &value));
	assert_string_equal(buf_str(&value), "4");
	assert_false(log_pair_find(VIEW_LIT("k\x01=\"a k=3\""), "k\x01", &value));
	buf_free(&value);
}

static void any_value(void **state)
{
	struct buf line = BUF_INIT(4096), value = BUF_INIT(4096);
	char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	buf_puts(&line, "first=1 it=");
	text_escape(&line, (struct view){ bytes, sizeof(bytes) }, sizeof(bytes));
	buf_puts(&line, " last=2");
	assert_true(log_pair_find(buf_view(&line), "it", &value));
	assert_int_equal(value.len, sizeof(bytes));
	assert_memory_equal(value.data, bytes, sizeof(bytes));
	assert_true(log_pair_find(buf_view(&line), "last", &value));
	assert_string_equal(buf_str(&value), "2");
	buf_free(&line);
	buf_free(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(no_lines),
		cmocka_unit_test(pairs),
		cmocka_unit_test(any_value),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
