/* The addresses and prefixes of fwgen/try_net.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fwgen/try_net.h"

static bool within(const char *address, const char *prefix)
{
	struct ip a, p;

	assert_int_equal(ip_parse(address, &a), 0);
	assert_int_equal(ip_parse(prefix, &p), 0);
	return ip_within(&a, &p);
}

static void test_parse(void **state)
{
	static const char *const wrong[] = { "", "192.0.2", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1/-1",
		"192.0.2.1/24x", "2001:db8::/129", "2001:db8:::1", "mail.example.org", "1.2.3.4:25", "/8",
		"2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000" };
	struct ip ip;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(ip_parse(wrong[i], &ip), -1);
	assert_int_equal(ip_parse("192.0.2.1", &ip), 0);
	assert_false(ip.ipv6);
	assert_int_equal(ip.length, 32);
	assert_memory_equal(ip.bytes, "\xc0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(ip_parse("2001:db8::/44", &ip), 0);
	assert_true(ip.ipv6);
	assert_int_equal(ip.length, 44);
}

static void test_within(void **state)
{
	(void)state;
	assert_true(within("192.0.2.1", "192.0.2.1"));
	assert_false(within("192.0.2.1", "192.0.2.2"));
	assert_true(within("192.0.2.255", "192.0.2.0/24"));
	assert_false(within("192.0.3.0", "192.0.2.0/24"));
	assert_true(within("192.0.3.255", "192.0.2.0/23"));
	assert_true(within("203.0.113.7", "0.0.0.0/0"));
	assert_false(within("2001:db8::1", "0.0.0.0/0"));
	assert_true(within("2001:db8:a:b::1", "2001:db8:8::/45"));
	assert_false(within("2001:db8:10::1", "2001:db8:8::/45"));
	assert_true(within("::1", "::1/128"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_within) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
