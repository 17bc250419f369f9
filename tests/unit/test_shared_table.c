/* The table that smtp processes share: eviction, several processes at once, files of a wrong size; rates and
 * greylisting. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "mailsvc/smtp/greylist.h"
#include "mailsvc/smtp/replied.h"
#include "mailsvc/smtp/shared_table.h"

#define SMALL 4096 /* 63 buckets of 8 */

static int file_of(size_t bytes)
{
	char name[] = "/tmp/mailadm-table-XXXXXX";
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static bool set_to(void *arg, uint64_t old, uint64_t *value)
{
	(void)old;
	*value = *(const uint64_t *)arg;
	return true;
}

static void set(struct shared_table *t, unsigned key, uint64_t value)
{
	assert_true(shared_table_update(t, (struct view){ (const char *)&key, sizeof(key) }, set_to, &value));
}

static uint64_t get(const struct shared_table *t, unsigned key)
{
	return shared_table_get(t, (struct view){ (const char *)&key, sizeof(key) });
}

static void test_values(void **state)
{
	struct shared_table *t = shared_table_open(file_of(SMALL), SMALL, 40, "test");

	(void)state;
	assert_int_equal(get(t, 1), 0);
	set(t, 1, 7);
	set(t, 2, (UINT64_C(1) << 40) - 1);
	assert_int_equal(get(t, 1), 7);
	assert_int_equal(get(t, 2), (UINT64_C(1) << 40) - 1);
	set(t, 1, 0);
	assert_int_equal(get(t, 1), 0);
	/* Full: the largest stay. */
	for (unsigned i = 0; i < 20000; i++)
		set(t, 1000 + i, 1 + i);
	unsigned kept = 0;
	for (unsigned i = 19900; i < 20000; i++)
		kept += get(t, 1000 + i) == 1 + i;
	assert_int_equal(kept, 100);
	assert_int_equal(get(t, 2), (UINT64_C(1) << 40) - 1);
	shared_table_close(t);
}

static void test_files(void **state)
{
	int fd = file_of(SMALL), again = dup(fd), wrong = file_of(SMALL / 2);
	struct shared_table *t = shared_table_open(fd, SMALL, 33, "test"), *u;

	(void)state;
	set(t, 5, 99);
	shared_table_close(t);
	u = shared_table_open(again, SMALL, 33, "test");
	assert_int_equal(get(u, 5), 99); /* by the seed in the file */
	shared_table_close(u);
	t = shared_table_open(wrong, SMALL, 33, "test");
	set(t, 5, 98);
	assert_int_equal(get(t, 5), 98);
	shared_table_close(t);
	t = shared_table_open(-1, SMALL, 33, "test");
	assert_int_equal(get(t, 5), 0);
	shared_table_close(t);
}

static bool add_one(void *arg, uint64_t old, uint64_t *value)
{
	(void)arg;
	*value = old + 1;
	return true;
}

static void test_processes(void **state)
{
	enum { PROCESSES = 4, TIMES = 20000 };
	int fd = file_of(SMALL), again = dup(fd);
	struct shared_table *t = shared_table_open(fd, SMALL, 40, "test");
	unsigned key = 17;

	(void)state;
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			struct shared_table *mine = shared_table_open(dup(again), SMALL, 40, "test");

			for (int n = 0; n < TIMES; n++)
				shared_table_update(
				    mine, (struct view){ (const char *)&key, sizeof(key) }, add_one, NULL);
			_exit(0);
		}
	for (int i = 0; i < PROCESSES; i++)
		wait(NULL);
	assert_int_equal(get(t, key), PROCESSES * TIMES);
	shared_table_close(t);
	close(again);
}

static void test_rates(void **state)
{
	struct shared_table *t = shared_table_open(-1, SMALL, 40, "test");
	struct view key = VIEW_LIT("alice"), other = VIEW_LIT("bob");
	int64_t now = INT64_C(1000) * (SHARED_TABLE_EPOCH + 86400);
	unsigned taken = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(shared_table_rate(t, key, 10, 60, 1, now), 0);
	assert_int_equal(shared_table_rate(t, key, 10, 60, 1, now), 6);
	assert_int_equal(shared_table_rate(t, key, 10, 60, 5, now), 30);
	assert_int_equal(shared_table_rate(t, other, 10, 60, 10, now), 0);
	assert_int_equal(shared_table_rate(t, key, 10, 60, 1, now + 6000), 0);
	assert_int_equal(shared_table_rate(t, key, 10, 60, 1, now + 6001), 6);
	/* Over an hour: ten at first, then ten a minute. */
	for (int64_t at = now + 3600000; at < now + 2 * 3600000; at += 500)
		taken += shared_table_rate(t, key, 10, 60, 1, at) == 0;
	assert_in_range(taken, 609, 610);
	/* More than there ever are; and a clock that went back by a day. */
	assert_int_equal(shared_table_rate(t, VIEW_LIT("many"), 10, 60, 1000, now), 0);
	assert_int_equal(shared_table_rate(t, VIEW_LIT("many"), 10, 60, 1, now), 6);
	assert_int_equal(shared_table_rate(t, VIEW_LIT("many"), 10, 60, 1, now - 86400000), 6);
	shared_table_close(t);
}

static const struct sockaddr *address(const char *text)
{
	static union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
		a.sa.sa_family = AF_INET;
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
		a.sa.sa_family = AF_INET6;
	}
	return &a.sa;
}

static void test_greylist(void **state)
{
	struct shared_table *t = shared_table_open(-1, SHARED_GREYLIST_BYTES, GREYLIST_BITS, "test");
	int64_t now = SHARED_TABLE_EPOCH + 1000000;
	unsigned wait;

	(void)state;
	assert_false(greylist_known(t, address("192.0.2.1"), now));
	assert_false(greylist_pass(t, address("192.0.2.1"), "a@x", "b@y", 60, now, &wait));
	assert_int_equal(wait, 60);
	assert_false(greylist_pass(t, address("192.0.2.1"), "a@x", "b@y", 60, now + 59, &wait));
	assert_int_equal(wait, 1);
	assert_false(greylist_pass(t, address("192.0.2.1"), "other@x", "b@y", 60, now + 60, &wait));
	assert_false(greylist_pass(t, address("198.51.100.1"), "a@x", "b@y", 60, now + 60, &wait));
	assert_false(greylist_known(t, address("192.0.2.1"), now + 60));
	assert_true(greylist_pass(t, address("192.0.2.99"), "a@x", "b@y", 60, now + 60, &wait));
	assert_true(greylist_known(t, address("::ffff:192.0.2.7"), now + 60));
	assert_false(greylist_known(t, address("192.0.3.7"), now + 60));
	/* Each mail makes it known for longer; at last it is forgotten. */
	assert_true(greylist_known(t, address("192.0.2.1"), now + 60 + GREYLIST_KNOWN));
	assert_true(greylist_known(t, address("192.0.2.1"), now + 60 + 2 * (int64_t)GREYLIST_KNOWN));
	assert_false(greylist_known(t, address("192.0.2.1"), now + 61 + 3 * (int64_t)GREYLIST_KNOWN));
	/* The second try came too late: it counts as the first. */
	assert_false(greylist_pass(t, address("2001:db8::1"), "a@x", "b@y", 60, now, &wait));
	assert_false(greylist_pass(t, address("2001:db8::2"), "a@x", "b@y", 60, now + GREYLIST_WAIT_MAX + 1, &wait));
	assert_int_equal(wait, 60);
	assert_true(greylist_pass(t, address("2001:db8::3"), "a@x", "b@y", 60, now + GREYLIST_WAIT_MAX + 61, &wait));
	assert_true(greylist_known(t, address("2001:db8::ffff:1"), now + GREYLIST_WAIT_MAX + 61));
	assert_false(greylist_known(t, address("2001:db8:0:1::1"), now + GREYLIST_WAIT_MAX + 61));
	shared_table_close(t);
}

/* Strangers who never come again take no place from networks that are known. */
static void test_flood(void **state)
{
	struct shared_table *t = shared_table_open(-1, SMALL, GREYLIST_BITS, "test");
	int64_t now = SHARED_TABLE_EPOCH + 1000000;
	char sender[32];
	unsigned wait, known = 0;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		snprintf(sender, sizeof(sender), "10.0.%u.1", i);
		assert_true(greylist_pass(t, address(sender), "a@x", "b@y", 0, now, &wait));
	}
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(sender, sizeof(sender), "%u@spam", i);
		greylist_pass(t, address("192.0.2.1"), sender, "b@y", 60, now + 3600, &wait);
	}
	for (unsigned i = 0; i < 50; i++) {
		snprintf(sender, sizeof(sender), "10.0.%u.2", i);
		known += greylist_known(t, address(sender), now + 7200);
	}
	assert_int_equal(known, 50);
	shared_table_close(t);
}

static void test_replied(void **state)
{
	struct shared_table *t = shared_table_open(-1, SHARED_REPLIED_BYTES, REPLIED_BITS, "test");
	int64_t now = SHARED_TABLE_EPOCH + 1000000;

	(void)state;
	assert_true(replied_take(t, "alice@example.org", "s@example.net", now));
	assert_false(replied_take(t, "alice@example.org", "s@example.net", now));
	assert_true(replied_take(t, "bob@example.org", "s@example.net", now));
	assert_false(replied_take(t, "alice@example.org", "s@example.net", now + REPLIED_DAYS * 86400 - 60));
	assert_true(replied_take(t, "alice@example.org", "s@example.net", now + REPLIED_DAYS * 86400));
	assert_true(replied_take(t, "bob@example.org", "s@example.net", now - 86400)); /* the clock was wrong */
	shared_table_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_greylist),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_replied),
	};

	log_init("test", LOG_LEVEL_ERROR);
	log_set_level(LOG_LEVEL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
