/* Choosing mail exchangers: order, null MX, loops, fallback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/send/mx.h"

static struct dns_answer answer_of(struct dns_record *records, size_t count)
{
	return (struct dns_answer){ .status = DNS_OK, .records = records, .count = count };
}

static struct dns_record mx(uint16_t preference, const char *name)
{
	return (struct dns_record){ preference, view_of(name) };
}

static void test_order(void **state)
{
	struct dns_record r[] = { mx(20, "c.example"), mx(10, "a.example"), mx(30, "d.example"), mx(10, "b.example") };
	struct dns_answer a = answer_of(r, 4);
	struct mx_hosts hosts;
	char reason[160];
	int a_first = 0;

	(void)state;
	for (uint32_t seed = 0; seed < 200; seed++) {
		assert_int_equal(mx_select(&a, "example", "us.example", seed * 2654435761u, &hosts, reason), MX_OK);
		assert_int_equal(hosts.count, 4);
		a_first += strcmp(hosts.at[0].name, "a.example") == 0;
		assert_int_equal(hosts.at[0].preference, 10);
		assert_int_equal(hosts.at[1].preference, 10);
		assert_string_not_equal(hosts.at[0].name, hosts.at[1].name);
		assert_string_equal(hosts.at[2].name, "c.example");
		assert_string_equal(hosts.at[3].name, "d.example");
	}
	assert_in_range(a_first, 60, 140); /* equals share the load */
}

static void test_statuses(void **state)
{
	struct dns_answer a = { .status = DNS_NODATA };
	struct dns_record null[] = { mx(0, "") };
	struct mx_hosts hosts;
	char reason[160];

	(void)state;
	assert_int_equal(mx_select(&a, "example", "us.example", 0, &hosts, reason), MX_OK);
	assert_int_equal(hosts.count, 1);
	assert_string_equal(hosts.at[0].name, "example"); /* the implicit MX */
	a.status = DNS_NXDOMAIN;
	assert_int_equal(mx_select(&a, "example", "us.example", 0, &hosts, reason), MX_PERMANENT);
	assert_memory_equal(reason, "5.1.2 ", 6);
	a.status = DNS_TEMPFAIL;
	assert_int_equal(mx_select(&a, "example", "us.example", 0, &hosts, reason), MX_TEMPORARY);
	assert_memory_equal(reason, "4.4.3 ", 6);
	a = answer_of(null, 1);
	assert_int_equal(mx_select(&a, "example", "us.example", 0, &hosts, reason), MX_PERMANENT);
	assert_memory_equal(reason, "5.1.10 ", 7);
}

static void test_loops(void **state)
{
	struct dns_record r[] = { mx(10, "a.example"), mx(20, "b.example"), mx(20, "US.example"), mx(30, "c.example") };
	struct dns_answer a = answer_of(r, 4);
	struct mx_hosts hosts;
	char reason[160];

	(void)state;
	/* We are a backup: only what is preferred to us is tried. */
	assert_int_equal(mx_select(&a, "example", "us.example", 1, &hosts, reason), MX_OK);
	assert_int_equal(hosts.count, 1);
	assert_string_equal(hosts.at[0].name, "a.example");
	/* We are among the best. */
	r[0].preference = 20;
	assert_int_equal(mx_select(&a, "example", "us.example", 1, &hosts, reason), MX_PERMANENT);
	assert_memory_equal(reason, "5.4.6 ", 6);
}

static void test_limits(void **state)
{
	struct dns_record r[DNS_RECORDS_MAX];
	char names[DNS_RECORDS_MAX][32], reason[160], longest[300];
	struct dns_answer a = answer_of(r, DNS_RECORDS_MAX);
	struct mx_hosts hosts;

	(void)state;
	for (int i = 0; i < DNS_RECORDS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "h%d.example", i);
		r[i] = mx((uint16_t)(1000 - i), names[i]);
	}
	assert_int_equal(mx_select(&a, "example", "us.example", 9, &hosts, reason), MX_OK);
	assert_int_equal(hosts.count, MX_HOSTS_MAX);
	assert_string_equal(hosts.at[0].name, "h63.example");
	/* Names that cannot be are passed over, and nothing but them is no host at all. */
	memset(longest, 'x', sizeof(longest));
	r[0].data = (struct view){ longest, sizeof(longest) };
	a.count = 1;
	assert_int_equal(mx_select(&a, "example", "us.example", 9, &hosts, reason), MX_PERMANENT);
	assert_memory_equal(reason, "5.4.4 ", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_loops), cmocka_unit_test(test_limits) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
