/* lib/buf.h: growth and maximum, packing and reading back (also truncated at every byte), views. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"

static void grows_up_to_its_maximum(void **state)
{
	struct buf b = BUF_INIT(1000);

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_addc(&b, (char)('a' + i % 26)), 0);
	assert_int_equal(b.len, 1000);
	assert_int_equal(buf_addc(&b, 'x'), -1);
	assert_true(b.full);
	assert_int_equal(buf_add(&b, "", 0), -1); /* sticky */
	assert_int_equal(strlen(buf_str(&b)), 1000);
	assert_true(b.cap <= 1001);
	buf_reset(&b);
	assert_int_equal(buf_puts(&b, "abc"), 0);
	assert_string_equal(buf_str(&b), "abc");
	buf_free(&b);
	assert_null(b.data);
	assert_string_equal(buf_str(&b), "");
	buf_free(&b);
}

static void too_much_at_once_changes_nothing(void **state)
{
	struct buf b = BUF_INIT(8);

	(void)state;
	assert_int_equal(buf_puts(&b, "12345"), 0);
	assert_int_equal(buf_puts(&b, "6789"), -1);
	assert_string_equal(buf_str(&b), "12345");
	buf_reset(&b);
	assert_null(buf_reserve(&b, SIZE_MAX));
	buf_free(&b);
}

static void prints(void **state)
{
	struct buf b = BUF_INIT(200);

	(void)state;
	assert_int_equal(buf_printf(&b, "%s-%d", "first", 1), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(buf_printf(&b, "|%010d", i), 0);
	assert_int_equal(b.len, 7 + 110);
	assert_int_equal(buf_printf(&b, "%0100d", 1), -1);
	assert_int_equal(b.len, 7 + 110);
	assert_int_equal(strncmp(buf_str(&b), "first-1|0000000000|0000000001", 29), 0);
	buf_free(&b);

	b.max = 5;
	assert_int_equal(buf_printf(&b, "12345"), 0); /* exactly the maximum */
	assert_string_equal(buf_str(&b), "12345");
	buf_free(&b);
}

static void writes_decimals(void **state)
{
	struct buf b = BUF_INIT(20);
	uint64_t n = 1;

	(void)state;
	for (int digits = 0; digits < 20; digits++, n *= 10) {
		for (int step = -1; step <= 5; step++) {
			char want[24];

			snprintf(want, sizeof(want), "%llu", (unsigned long long)(n + (uint64_t)step));
			buf_reset(&b);
			assert_int_equal(buf_decimal(&b, n + (uint64_t)step), 0);
			assert_string_equal(buf_str(&b), want);
		}
	}
	buf_reset(&b);
	assert_int_equal(buf_decimal(&b, UINT64_MAX), 0); /* exactly the maximum */
	assert_string_equal(buf_str(&b), "18446744073709551615");
	assert_int_equal(buf_decimal(&b, 0), -1);
	buf_free(&b);
}

static void drops_from_the_front(void **state)
{
	struct buf b = BUF_INIT(100);

	(void)state;
	buf_puts(&b, "hello world");
	buf_drop(&b, 6);
	assert_string_equal(buf_str(&b), "world");
	buf_drop(&b, 100);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void pack(struct buf *b)
{
	buf_put_u8(b, 0xfe);
	buf_put_u16(b, 0xfedc);
	buf_put_u32(b, 0xfedcba98);
	buf_put_u64(b, 0xfedcba9876543210);
	buf_put_blob(b, (struct view){ "a\0b", 3 });
	buf_put_str(b, "text");
	buf_put_str(b, NULL);
}

static bool unpack(struct cursor *c, char text[8])
{
	char empty[4];

	assert_true(cursor_u8(c) == 0xfe || c->bad);
	assert_true(cursor_u16(c) == 0xfedc || c->bad);
	assert_true(cursor_u32(c) == 0xfedcba98 || c->bad);
	assert_true(cursor_u64(c) == 0xfedcba9876543210 || c->bad);
	struct view v = cursor_blob(c, 3);
	assert_true(c->bad || (v.len == 3 && memcmp(v.ptr, "a\0b", 3) == 0));
	cursor_str(c, text, 8);
	cursor_str(c, empty, sizeof(empty));
	assert_string_equal(empty, "");
	return cursor_done(c);
}

static void packs_and_unpacks(void **state)
{
	struct buf b = BUF_INIT(100);
	char text[8];

	(void)state;
	pack(&b);
	assert_false(b.full);
	assert_int_equal((unsigned char)b.data[1], 0xdc); /* little-endian */
	struct cursor c = cursor_of(b.data, b.len);
	assert_true(unpack(&c, text));
	assert_string_equal(text, "text");
	for (size_t len = 0; len < b.len; len++) { /* cut at every byte */
		char *cut = view_dup((struct view){ b.data, len });
		c = cursor_of(cut, len);
		assert_false(unpack(&c, text));
		assert_int_equal(cursor_u64(&c), 0);
		free(cut);
	}
	buf_put_u8(&b, 0); /* left over */
	c = cursor_of(b.data, b.len);
	assert_false(unpack(&c, text));
	buf_free(&b);
}

static void refuses_what_does_not_fit(void **state)
{
	struct buf b = BUF_INIT(100);
	char small[4];

	(void)state;
	buf_put_str(&b, "four");
	struct cursor c = cursor_of(b.data, b.len);
	cursor_str(&c, small, sizeof(small));
	assert_true(c.bad);
	assert_string_equal(small, "");
	c = cursor_of(b.data, b.len);
	assert_int_equal(cursor_blob(&c, 3).len, 0);
	assert_true(c.bad);
	buf_reset(&b);
	buf_put_blob(&b, (struct view){ "a\0", 2 }); /* a NUL inside */
	c = cursor_of(b.data, b.len);
	cursor_str(&c, small, sizeof(small));
	assert_true(c.bad);
	buf_reset(&b);
	buf_put_u32(&b, UINT32_MAX); /* a length far past the end */
	c = cursor_of(b.data, b.len);
	cursor_blob(&c, SIZE_MAX);
	assert_true(c.bad);
	buf_free(&b);
}

static void views(void **state)
{
	char dst[4];
	uint64_t n;

	(void)state;
	assert_int_equal(view_of(NULL).len, 0);
	assert_true(view_eq(VIEW_LIT("abc"), "abc"));
	assert_false(view_eq(VIEW_LIT("abc"), "ABC"));
	assert_true(view_eq(VIEW_NONE, ""));
	assert_true(view_caseeq(VIEW_LIT("aBc9"), "AbC9"));
	assert_false(view_caseeq(VIEW_LIT("@"), "`")); /* differ in the case bit only */
	assert_int_equal(view_copy(VIEW_LIT("abc"), dst, sizeof(dst)), 0);
	assert_string_equal(dst, "abc");
	assert_int_equal(view_copy(VIEW_LIT("abcd"), dst, sizeof(dst)), -1);
	assert_string_equal(dst, "");
	assert_int_equal(view_copy((struct view){ "\0", 1 }, dst, sizeof(dst)), -1);
	assert_int_equal(view_u64(VIEW_LIT("18446744073709551615"), UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(view_u64(VIEW_LIT("18446744073709551616"), UINT64_MAX, &n), -1);
	assert_int_equal(view_u64(VIEW_LIT("100"), 100, &n), 0);
	assert_int_equal(view_u64(VIEW_LIT("101"), 100, &n), -1);
	assert_int_equal(view_u64(VIEW_LIT("5"), 3, &n), -1);
	assert_int_equal(view_u64(VIEW_NONE, 3, &n), -1);
	assert_int_equal(view_u64(VIEW_LIT("-1"), 3, &n), -1);
	assert_int_equal(view_u64(VIEW_LIT("1 "), 3, &n), -1);
}

static void compares_secrets(void **state)
{
	(void)state;
	assert_true(secret_eq("abc", 3, "abc", 3));
	assert_false(secret_eq("abc", 3, "abd", 3));
	assert_false(secret_eq("abc", 3, "abcd", 4));
	assert_true(secret_eq(NULL, 0, NULL, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_up_to_its_maximum),
		cmocka_unit_test(too_much_at_once_changes_nothing),
		cmocka_unit_test(prints),
		cmocka_unit_test(writes_decimals),
		cmocka_unit_test(drops_from_the_front),
		cmocka_unit_test(packs_and_unpacks),
		cmocka_unit_test(refuses_what_does_not_fit),
		cmocka_unit_test(views),
		cmocka_unit_test(compares_secrets),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
