/* Which names look like those of dial-in addresses. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mailsvc/smtp/check_impl.h"

static bool dynamic(const char *name, const char *address)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = { .sa.sa_family = AF_INET };

	if (inet_pton(AF_INET, address, &a.in.sin_addr) != 1) {
		a.sa.sa_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, address, &a.in6.sin6_addr), 1);
	}
	return smtp_name_dynamic(name, &a.sa);
}

static void test_dynamic(void **state)
{
	(void)state;
	assert_true(dynamic("82-65-10-3.isp.example", "82.65.10.3"));
	assert_true(dynamic("3.10.65.82.isp.example", "82.65.10.3"));
	assert_true(dynamic("h082-065-010-003.isp.example", "82.65.10.3"));
	assert_true(dynamic("c52410A03.isp.example", "82.65.10.3"));
	assert_true(dynamic("x65-10-3.isp.example", "82.65.10.3"));
	assert_true(dynamic("abc.dyn.isp.example", "82.65.10.3"));
	assert_true(dynamic("ADSL7.isp.example", "82.65.10.3"));
	assert_true(dynamic("pool-7.isp.example", "2001:db8::1"));
	assert_true(dynamic("82-65-10-3.isp.example", "::ffff:82.65.10.3"));
	assert_false(dynamic("mx.example.org", "82.65.10.3"));
	assert_false(dynamic("mail3.example.org", "82.65.10.3"));
	assert_false(dynamic("mail-10-3.example.org", "82.65.10.3"));
	assert_false(dynamic("mail-eopbgr65.outbound.protection.example", "82.65.10.3"));
	assert_false(dynamic("poole.example.org", "82.65.10.3"));
	assert_false(dynamic("dynamite.example.org", "82.65.10.3"));
	assert_false(dynamic("1822.6655.1010.33.example.org", "82.65.10.3"));
	assert_false(dynamic("mx.example.org", "2001:db8::1"));
	assert_false(dynamic("", "82.65.10.3"));
}

static void test_rule(void **state)
{
	(void)state;
	assert_int_equal(smtp_rule_of("off"), SMTP_RULE_OFF);
	assert_int_equal(smtp_rule_of("mark"), SMTP_RULE_MARK);
	assert_int_equal(smtp_rule_of("refuse"), SMTP_RULE_REFUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_dynamic), cmocka_unit_test(test_rule) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
