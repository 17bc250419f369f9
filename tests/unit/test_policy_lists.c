/* iprev and DNS lists (mailsvc/policy/{iprev,dnsbl}.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailsvc/policy/dnsbl.h"
#include "mailsvc/policy/iprev.h"
#include "mailsvc/policy/name.h"
#include "tests/unit/policy_zone.h"

static struct zone zone;

static int clear(void **state)
{
	(void)state;
	zone_clear(&zone);
	return 0;
}

static const struct sockaddr *address(const char *text)
{
	static struct sockaddr_storage sa;
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)&sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&sa;

	memset(&sa, 0, sizeof(sa));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
		sa.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
		sa.ss_family = AF_INET6;
	return (const struct sockaddr *)&sa;
}

static unsigned calls;

static void took_iprev(void *arg, const struct iprev_verdict *v)
{
	*(struct iprev_verdict *)arg = *v;
	calls++;
}

static void iprev_is(const char *peer, enum iprev_result result, const char *name)
{
	struct policy_dns dns = zone_dns(&zone);
	struct iprev_verdict v;

	calls = 0;
	assert_non_null(iprev_start(&dns, address(peer), took_iprev, &v));
	assert_int_equal(calls, 0);
	zone_run(&zone);
	assert_int_equal(calls, 1);
	assert_string_equal(iprev_result_name(v.result), iprev_result_name(result));
	assert_string_equal(v.name, name);
}

static void test_iprev(void **state)
{
	const char *six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

	(void)state;
	iprev_is("192.0.2.1", IPREV_PERMERROR, "");
	iprev_is("x", IPREV_PERMERROR, "");
	zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "liar.example");
	iprev_is("192.0.2.1", IPREV_FAIL, "liar.example");
	zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "Mail.Example.org.");
	zone_put(&zone, "mail.example.org", DNS_A, "192.0.2.2");
	zone_put(&zone, "mail.example.org", DNS_A, "192.0.2.1");
	iprev_is("192.0.2.1", IPREV_PASS, "mail.example.org");
	iprev_is("::ffff:192.0.2.1", IPREV_PASS, "mail.example.org");
	zone_put(&zone, six, DNS_PTR, "mail.example.org");
	iprev_is("2001:db8::1", IPREV_FAIL, "mail.example.org");
	zone_put(&zone, "mail.example.org", DNS_AAAA, "2001:db8::1");
	iprev_is("2001:db8::1", IPREV_PASS, "mail.example.org");
	/* Trouble is neither yes nor no. */
	zone_put(&zone, "2.2.0.192.in-addr.arpa", ZONE_TIMEOUT, "");
	iprev_is("192.0.2.2", IPREV_TEMPERROR, "");
	zone_put(&zone, "3.2.0.192.in-addr.arpa", DNS_PTR, "slow.example");
	zone_put(&zone, "3.2.0.192.in-addr.arpa", DNS_PTR, "liar.example");
	zone_put(&zone, "slow.example", ZONE_TIMEOUT, "");
	iprev_is("192.0.2.3", IPREV_TEMPERROR, "slow.example");
	/* The tenth name counts, the eleventh does not. */
	for (int i = 0; i < 9; i++)
		zone_put(&zone, "4.2.0.192.in-addr.arpa", DNS_PTR, "liar.example");
	zone_put(&zone, "4.2.0.192.in-addr.arpa", DNS_PTR, "ten.example");
	zone_put(&zone, "ten.example", DNS_A, "192.0.2.4");
	iprev_is("192.0.2.4", IPREV_PASS, "ten.example");
	for (int i = 0; i < 10; i++)
		zone_put(&zone, "5.2.0.192.in-addr.arpa", DNS_PTR, "liar.example");
	zone_put(&zone, "5.2.0.192.in-addr.arpa", DNS_PTR, "eleven.example");
	zone_put(&zone, "eleven.example", DNS_A, "192.0.2.5");
	iprev_is("192.0.2.5", IPREV_FAIL, "liar.example");
	/* Names that are none. */
	zone_put(&zone, "6.2.0.192.in-addr.arpa", DNS_PTR, "");
	zone_put(&zone, "6.2.0.192.in-addr.arpa", DNS_PTR, "a b\r\nc.example");
	iprev_is("192.0.2.6", IPREV_PERMERROR, "");
}

static void took_dnsbl(void *arg, const struct dnsbl_verdict *v)
{
	*(struct dnsbl_verdict *)arg = *v;
	calls++;
}

static struct dnsbl_verdict ask(const char *peer, const char *list)
{
	struct policy_dns dns = zone_dns(&zone);
	struct dnsbl_verdict v;

	calls = 0;
	assert_non_null(dnsbl_start(&dns, address(peer), list, took_dnsbl, &v));
	assert_int_equal(calls, 0);
	zone_run(&zone);
	assert_int_equal(calls, 1);
	return v;
}

static void test_dnsbl(void **state)
{
	const char *listed = "2.0.0.127.bl.example";
	struct dnsbl_verdict v;
	char longest[300];

	(void)state;
	v = ask("192.0.2.1", "bl.example");
	assert_false(v.listed || v.failed);
	zone_put(&zone, listed, DNS_A, "127.0.0.2");
	zone_put(&zone, listed, DNS_A, "127.0.0.10");
	zone_put(&zone, listed, DNS_TXT, "see http://bl.example/\r\nX: y");
	v = ask("127.0.0.2", "bl.example");
	assert_true(v.listed && !v.failed);
	assert_int_equal(v.code, 0x7f000002);
	assert_int_equal(v.count, 2);
	assert_int_equal(v.codes[1], 0x7f00000a);
	assert_string_equal(v.text, "see http://bl.example/??X: y");
	assert_true(ask("::ffff:127.0.0.2", "bl.example").listed);
	zone_put(
	    &zone, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", DNS_A, "127.0.0.4");
	v = ask("2001:db8::1", "bl.example");
	assert_int_equal(v.code, 0x7f000004);
	assert_string_equal(v.text, "");
	/* What must never refuse a message. */
	zone_put(&zone, "2.2.0.192.bl.example", DNS_A, "127.255.255.254");
	zone_put(&zone, "2.2.0.192.bl.example", DNS_A, "127.0.0.2");
	v = ask("192.0.2.2", "bl.example");
	assert_true(!v.listed && v.failed);
	assert_int_equal(v.code, 0);
	assert_int_equal(v.count, 0);
	zone_put(&zone, "3.2.0.192.bl.example", DNS_A, "203.0.113.5");
	v = ask("192.0.2.3", "bl.example");
	assert_true(!v.listed && v.failed);
	zone_put(&zone, "4.2.0.192.bl.example", ZONE_TIMEOUT, "");
	v = ask("192.0.2.4", "bl.example");
	assert_true(!v.listed && v.failed);
	assert_string_equal(v.text, "no answer from DNS");
	memset(longest, 'a', sizeof(longest));
	longest[250] = '\0';
	assert_true(ask("192.0.2.4", longest).failed);
	assert_true(ask("192.0.2.4", "").failed);
}

static void test_cancel(void **state)
{
	struct policy_dns dns = zone_dns(&zone);
	struct iprev_verdict r;
	struct dnsbl_verdict l;

	(void)state;
	calls = 0;
	zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "mail.example.org");
	zone_put(&zone, "1.2.0.192.bl.example", DNS_A, "127.0.0.2");
	for (int steps = 0; steps < 2; steps++) {
		struct iprev_check *i = iprev_start(&dns, address("192.0.2.1"), took_iprev, &r);
		for (int n = 0; n < steps; n++)
			zone_step(&zone);
		iprev_cancel(i);
		struct dnsbl_check *d = dnsbl_start(&dns, address("192.0.2.1"), "bl.example", took_dnsbl, &l);
		for (int n = 0; n < steps; n++)
			zone_step(&zone);
		dnsbl_cancel(d);
		assert_int_equal(zone.waiting, 0);
	}
	iprev_cancel(iprev_start(&dns, address("x"), took_iprev, &r));
	dnsbl_cancel(dnsbl_start(&dns, address("x"), "bl.example", took_dnsbl, &l));
	iprev_cancel(NULL);
	dnsbl_cancel(NULL);
	assert_int_equal(zone.waiting, 0);
	assert_int_equal(calls, 0);
}

static void test_names(void **state)
{
	char name[256];

	(void)state;
	assert_int_equal(policy_domain(VIEW_LIT("_Dmarc.Example.ORG."), name), 0);
	assert_string_equal(name, "_dmarc.example.org");
	assert_int_equal(policy_domain(VIEW_LIT("a..b"), name), -1);
	assert_int_equal(policy_domain(VIEW_LIT("."), name), -1);
	assert_int_equal(policy_domain(VIEW_LIT(".a"), name), -1);
	assert_int_equal(policy_domain(VIEW_LIT("a\0b"), name), -1);
	assert_string_equal(name, "");
	assert_true(policy_below("a.Example.org", "example.ORG"));
	assert_true(policy_below("example.org", "example.org"));
	assert_false(policy_below("badexample.org", "example.org"));
	assert_false(policy_below("org", "example.org"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_iprev, clear),
		cmocka_unit_test_teardown(test_dnsbl, clear),
		cmocka_unit_test_teardown(test_cancel, clear),
		cmocka_unit_test(test_names),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
