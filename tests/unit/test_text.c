/* lib/text.h and lib/clock.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/text.h"

static void escaped(struct view v, size_t limit, const char *want)
{
	struct buf b = BUF_INIT(1000);

	text_escape(&b, v, limit);
	assert_string_equal(buf_str(&b), want);
	buf_free(&b);
}

static void escapes(void **state)
{
	(void)state;
	escaped(VIEW_LIT("plain@example.org"), 100, "plain@example.org");
	escaped(VIEW_LIT("two words"), 100, "\"two words\"");
	escaped(VIEW_LIT(""), 100, "\"\"");
	escaped(VIEW_LIT("a\"b\\c\r\n"), 100, "\"a\\x22b\\x5Cc\\x0D\\x0A\"");
	escaped((struct view){ "\0\x7f\xff", 3 }, 100, "\"\\x00\\x7F\\xFF\"");
	escaped(VIEW_LIT("abcdef"), 3, "\"abc\"...");
	escaped(VIEW_LIT("abcdef"), 6, "abcdef");
}

static void parses_sizes(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} t[] = {
		{ "0", 0, 0 },
		{ "1048576", 0, 1048576 },
		{ "512k", 0, 524288 },
		{ "512K", 0, 524288 },
		{ "10G", 0, 10737418240 },
		{ "2t", 0, 2199023255552 },
		{ "", -1, 0 },
		{ "k", -1, 0 },
		{ "10x", -1, 0 },
		{ "10kk", -1, 0 },
		{ "-1", -1, 0 },
		{ " 1", -1, 0 },
		{ "1 k", -1, 0 },
		{ "18446744073709551616", -1, 0 },
		{ "18014398509481984k", -1, 0 },
		{ "16777216t", -1, 0 },
	};
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		n = 0;
		if (text_parse_size(t[i].text, &n) != t[i].result || n != (t[i].result == 0 ? t[i].value : n))
			fail_msg("size '%s' gave %ju", t[i].text, (uintmax_t)n);
	}
}

static void durations_there_and_back(void **state)
{
	static const char *const same[] = { "90s", "10m", "4h", "5d", "2w", "0s" };
	char out[24];
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(text_parse_duration(same[i], &n), 0);
		text_format_duration(n, out);
		assert_string_equal(out, same[i]);
	}
	assert_int_equal(text_parse_duration("30", &n), 0);
	assert_int_equal(n, 30);
	text_format_duration(60, out);
	assert_string_equal(out, "1m");
	assert_int_equal(text_parse_duration("", &n), -1);
	assert_int_equal(text_parse_duration("5x", &n), -1);
	assert_int_equal(text_parse_duration("5hs", &n), -1);
	assert_int_equal(text_parse_duration("99999999999999999999w", &n), -1);
	assert_int_equal(text_parse_duration("99999999999999999w", &n), -1);
}

static void formats_sizes(void **state)
{
	char out[16];

	(void)state;
	text_format_size(1023, out);
	assert_string_equal(out, "1023 B");
	text_format_size(10276045, out);
	assert_string_equal(out, "9.8 MiB");
	text_format_size(UINT64_MAX, out);
	assert_string_equal(out, "16.0 EiB");
}

static void base64_there_and_back(void **state)
{
	static const char *const rfc4648[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" } };
	struct buf b = BUF_INIT(10000);
	char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rfc4648) / sizeof(rfc4648[0]); i++) {
		buf_reset(&b);
		assert_int_equal(text_base64_encode(&b, view_of(rfc4648[i][0])), 0);
		assert_string_equal(buf_str(&b), rfc4648[i][1]);
		buf_reset(&b);
		assert_int_equal(text_base64_decode(&b, view_of(rfc4648[i][1])), 0);
		assert_string_equal(buf_str(&b), rfc4648[i][0]);
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct buf back = BUF_INIT(256);
		buf_reset(&b);
		assert_int_equal(text_base64_encode(&b, (struct view){ bytes, len }), 0);
		assert_int_equal(text_base64_decode(&back, buf_view(&b)), 0);
		assert_int_equal(back.len, len);
		assert_memory_equal(back.data != NULL ? back.data : "", bytes, len);
		buf_free(&back);
	}
	buf_free(&b);
}

static void base64_is_strict(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "====", "Z===", "=Zg=", "Zg==Zg==", "Zm9v\n",
		"Zm 9v", "Zm9_", "Zh==", "Zm9=", "Z=g=" };
	struct buf b = BUF_INIT(100);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (text_base64_decode(&b, view_of(bad[i])) != -1)
			fail_msg("accepted '%s'", bad[i]);
		assert_int_equal(b.len, 0);
	}
	buf_free(&b);
	b.max = 2;
	assert_int_equal(text_base64_decode(&b, VIEW_LIT("Zm9v")), -1);
	buf_free(&b);
}

static void dates(void **state)
{
	char out[40];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	text_rfc5322_date(1795502748, out);
	assert_string_equal(out, "Tue, 24 Nov 2026 06:45:48 +0000");
	setenv("TZ", "XXX+03:30", 1); /* west */
	tzset();
	text_rfc5322_date(0, out);
	assert_string_equal(out, "Wed, 31 Dec 1969 20:30:00 -0330");
	text_rfc5322_date(INT64_MAX, out); /* no such year */
	assert_string_equal(out, "Wed, 31 Dec 1969 20:30:00 -0330");
}

static void words(void **state)
{
	char s[] = "MiXed-ÀZ@[`";

	(void)state;
	text_lower(s);
	assert_string_equal(s, "mixed-Àz@[`");
	assert_int_equal(text_distance("acount", "account", 2), 1);
	assert_int_equal(text_distance("kitten", "sitting", 5), 3);
	assert_int_equal(text_distance("kitten", "sitting", 2), 3);
	assert_int_equal(text_distance("", "abc", 5), 3);
	assert_int_equal(text_distance("same", "same", 5), 0);
}

static void host_names(void **state)
{
	static const char *const good[] = { "a", "mx.example.org", "x--1._tcp.EXAMPLE", "127.0.0.1", "-" };
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "a b", "*.example", "m\xc3\xbcll.example", "[::1]", "a@b", "a`b" };
	char longest[255];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(text_is_host(view_of(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(text_is_host(view_of(bad[i])));
	assert_false(text_is_host((struct view){ "a\0b", 3 }));
	memset(longest, 'a', sizeof(longest));
	for (size_t i = 63; i < sizeof(longest); i += 64)
		longest[i] = '.';
	assert_true(text_is_host((struct view){ longest, 253 }));
	assert_false(text_is_host((struct view){ longest, 254 }));
	longest[63] = 'a';
	assert_true(text_is_host((struct view){ longest, 63 }));
	assert_false(text_is_host((struct view){ longest, 64 }));
}

/* Every byte at every place of a short text, also beside a low one. */
static void runs(void **state)
{
	(void)state;
	for (size_t at = 0; at < 20; at++)
		for (int c = 0; c < 256; c++) {
			char text[20];
			bool eight_bit = false;

			memset(text, 'a', sizeof(text));
			text[at] = (char)c;
			if (text_run((struct view){ text, sizeof(text) }, &eight_bit) != (c > '\r' ? sizeof(text) : at))
				fail_msg("byte %d at %zu", c, at);
			assert_int_equal(eight_bit, c > 127);
			if (at > 0) {
				text[at - 1] = '\n';
				assert_int_equal(text_run((struct view){ text, sizeof(text) }, &eight_bit), at - 1);
			}
		}
	assert_int_equal(text_run(VIEW_NONE, &(bool){ false }), 0);
}

static void clocks_run(void **state)
{
	(void)state;
	uint64_t before = clock_mono_ms();
	int64_t us = clock_wall_us();
	assert_true(clock_wall() >= us / 1000000);
	assert_true(clock_mono_ms() >= before);
	assert_true(us > 1600000000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes),
		cmocka_unit_test(parses_sizes),
		cmocka_unit_test(durations_there_and_back),
		cmocka_unit_test(formats_sizes),
		cmocka_unit_test(base64_there_and_back),
		cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(dates),
		cmocka_unit_test(words),
		cmocka_unit_test(host_names),
		cmocka_unit_test(runs),
		cmocka_unit_test(clocks_run),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
