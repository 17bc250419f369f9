/* mailsvc/smtp/rate.h: what an account and a domain may send, and the stop that lasts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/smtp/rate.h"

#define NOW INT64_C(1800000000000)

static struct shared_table *table(void)
{
	return shared_table_open(-1, SHARED_RATES_BYTES, RATE_BITS, "test");
}

static unsigned taken(
    struct shared_table *t, const char *account, const struct rate_limits *l, unsigned tries, int64_t now)
{
	unsigned n = 0, seconds;

	for (unsigned i = 0; i < tries; i++)
		n += rate_take(t, account, l, now, &seconds) == RATE_OK;
	return n;
}

static void test_rates(void **state)
{
	const struct rate_limits limits = { 20, 30, 0 };
	struct shared_table *t = table();
	unsigned seconds = 0;

	(void)state;
	assert_int_equal(taken(t, "a@one.example", &limits, 100, NOW), 20);
	assert_int_equal(rate_take(t, "a@one.example", &limits, NOW, &seconds), RATE_LATER);
	assert_in_range(seconds, 1, 3600);
	assert_int_equal(taken(t, "b@one.example", &limits, 100, NOW), 10); /* the domain has no more */
	assert_int_equal(taken(t, "a@two.example", &limits, 100, NOW), 20);
	assert_int_equal(taken(t, "a@one.example", &limits, 100, NOW + 7200000), 20);
	assert_int_equal(taken(t, "c@three.example", &(struct rate_limits){ 0, 0, 0 }, 5000, NOW), 5000);
	shared_table_close(t);
}

static void test_stop(void **state)
{
	const struct rate_limits limits = { 10, 0, 25 };
	struct shared_table *t = table();
	unsigned seconds, stops = 0, stopped = 0;

	(void)state;
	for (int i = 0; i < 40; i++) {
		enum rate_verdict v = rate_take(t, "a@one.example", &limits, NOW, &seconds);

		stops += v == RATE_STOPS;
		stopped += v == RATE_STOPPED;
	}
	assert_int_equal(stops, 1); /* the administrator is told once */
	assert_int_equal(stopped, 14);
	assert_true(rate_stopped(t, "a@one.example"));
	assert_false(rate_stopped(t, "b@one.example"));
	assert_int_equal(rate_take(t, "a@one.example", &limits, NOW + INT64_C(30) * 86400000, &seconds), RATE_STOPPED);
	/* What others do in a full table does not end it. */
	for (int i = 0; i < 300000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "u%d@two.example", i);
		rate_take(t, name, &(struct rate_limits){ 10, 0, 0 }, NOW + i, &seconds);
	}
	assert_true(rate_stopped(t, "a@one.example"));
	assert_true(rate_resume(t, "a@one.example"));
	assert_false(rate_resume(t, "a@one.example"));
	assert_false(rate_stopped(t, "a@one.example"));
	assert_int_equal(taken(t, "a@one.example", &limits, 100, NOW), 10);
	shared_table_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rates), cmocka_unit_test(test_stop) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
