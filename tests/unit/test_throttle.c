/* Throttling, the fair queue of hashes, tickets and sources: the logic of auth on a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "mailsvc/auth/hashqueue.h"
#include "mailsvc/auth/throttle.h"
#include "mailsvc/auth/ticket.h"

#define LIMIT 10
#define ALICE "alice@example.org"
#define BOB "bob@example.org"

static const uint8_t key[DIGEST_LEN] = "a key of the test";

static struct source from(const char *text)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct buf wire = BUF_INIT(64);
	struct cursor c;
	struct source s;

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		source_put(&wire, (struct sockaddr *)&v4);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
		source_put(&wire, (struct sockaddr *)&v6);
	}
	c = cursor_of(wire.data, wire.len);
	assert_int_equal(source_get(&c, &s), 0);
	assert_true(cursor_done(&c));
	buf_free(&wire);
	return s;
}

static struct digest wrong(unsigned n)
{
	struct view v = { (const char *)&n, sizeof(n) };

	return digest_of(key, "wrong", &v, 1);
}

/* n failures, each with another password. */
static void failures(struct throttle *t, const char *address, const char *account, unsigned n, int64_t now)
{
	static unsigned serial;
	struct source s = from(address);

	while (n-- > 0) {
		struct digest d = wrong(++serial);

		throttle_failed(t, &s, account, &d, now);
	}
}

static enum throttle_answer ask(struct throttle *t, const char *address, const char *account, int64_t now)
{
	struct source s = from(address);

	return throttle_ask(t, &s, account, LIMIT, now);
}

static void test_account(void **state)
{
	struct throttle *t = throttle_new(key);
	char address[32];

	(void)state;
	for (unsigned i = 0; i < LIMIT; i++) { /* a botnet: one failure from each address */
		assert_int_equal(ask(t, "198.51.100.9", ALICE, 100), THROTTLE_GO);
		snprintf(address, sizeof(address), "203.0.113.%u", i);
		failures(t, address, ALICE, 1, 100);
	}
	assert_int_equal(ask(t, "198.51.100.9", ALICE, 100), THROTTLE_STOP);
	assert_int_equal(ask(t, "198.51.100.9", BOB, 100), THROTTLE_GO);
	assert_int_equal(ask(t, "198.51.100.9", ALICE, 100 + THROTTLE_WINDOW - 1), THROTTLE_STOP);
	assert_int_equal(ask(t, "198.51.100.9", ALICE, 100 + THROTTLE_WINDOW), THROTTLE_GO);
	throttle_free(t);
}

static void test_source(void **state)
{
	struct throttle *t = throttle_new(key);
	char account[32];

	(void)state;
	for (unsigned i = 0; i < LIMIT; i++) { /* one address tries many accounts */
		snprintf(account, sizeof(account), "user%u@example.org", i);
		failures(t, "2001:db8:1:2::1", account, 1, 100);
	}
	assert_int_equal(ask(t, "2001:db8:1:2:ffff::9", ALICE, 100), THROTTLE_STOP); /* the same /64 */
	assert_int_equal(ask(t, "2001:db8:1:3::1", ALICE, 100), THROTTLE_GO);
	throttle_free(t);
}

static void test_loopback(void **state)
{
	struct throttle *t = throttle_new(key);
	char account[32];

	(void)state;
	for (unsigned i = 0; i < 5 * LIMIT; i++) {
		snprintf(account, sizeof(account), "user%u@example.org", i);
		failures(t, "127.0.0.1", account, 1, 100);
	}
	assert_int_equal(ask(t, "127.0.0.1", ALICE, 100), THROTTLE_GO);
	failures(t, "127.0.0.1", ALICE, LIMIT, 100);
	assert_int_equal(ask(t, "127.0.0.1", ALICE, 100), THROTTLE_STOP); /* the account counts all the same */
	throttle_free(t);
}

static void test_same_password(void **state)
{
	struct throttle *t = throttle_new(key);
	struct source phone = from("198.51.100.7");
	struct digest old = wrong(4711);

	(void)state;
	for (int64_t now = 100; now < 100 + 50 * 300;
	     now += 300) /* a phone with last year's password, every five minutes */
		throttle_failed(t, &phone, ALICE, &old, now);
	assert_true(throttle_was_wrong(t, &old, 15000));
	assert_int_equal(throttle_ask(t, &phone, ALICE, LIMIT, 15000), THROTTLE_GO);
	assert_false(throttle_was_wrong(t, &old, 15000 + 2 * THROTTLE_WINDOW));
	throttle_free(t);
}

/* What guard is told: one password counts once a source, as long as it is tried. */
static void test_offends(void **state)
{
	struct throttle *t = throttle_new(key);
	struct source phone = from("198.51.100.7"), other = from("198.51.100.8");
	struct digest old = wrong(4712), another = wrong(4713);

	(void)state;
	for (int64_t now = 100; now < 100 + 50 * 300; now += 300)
		assert_int_equal(throttle_offends(t, &phone, &old, now), now == 100);
	assert_true(throttle_offends(t, &phone, &another, 15000));
	assert_true(throttle_offends(t, &other, &old, 15000));
	assert_true(throttle_offends(t, &phone, &old, 15000 + THROTTLE_WINDOW));
	assert_false(throttle_was_wrong(t, &another, 15000)); /* it may be right: nobody looked */
	throttle_free(t);
}

static void test_known(void **state)
{
	struct throttle *t = throttle_new(key);
	struct source home = from("192.0.2.20");

	(void)state;
	throttle_succeeded(t, &home, ALICE, 100);
	failures(t, "203.0.113.1", ALICE, 3 * LIMIT, 200); /* a stranger elsewhere */
	assert_int_equal(ask(t, "203.0.113.1", ALICE, 200), THROTTLE_STOP);
	assert_int_equal(ask(t, "192.0.2.20", ALICE, 200), THROTTLE_GO_KNOWN);
	failures(t, "192.0.2.20", BOB, 3 * LIMIT, 200); /* and one behind the user's own address */
	assert_int_equal(ask(t, "192.0.2.20", BOB, 200), THROTTLE_STOP);
	assert_int_equal(ask(t, "192.0.2.20", ALICE, 200), THROTTLE_GO_KNOWN);
	failures(t, "192.0.2.20", ALICE, LIMIT, 200); /* but the pair itself is judged */
	assert_int_equal(ask(t, "192.0.2.20", ALICE, 200), THROTTLE_STOP);
	assert_int_equal(ask(t, "192.0.2.20", ALICE, 200 + THROTTLE_WINDOW), THROTTLE_GO_KNOWN);
	assert_int_equal(ask(t, "192.0.2.20", ALICE, 100 + THROTTLE_KNOWN), THROTTLE_GO);
	throttle_free(t);
}

static void test_table_is_bounded(void **state)
{
	struct table *t = table_new(4);
	struct digest d[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		d[i] = wrong(i);
		table_put(t, &d[i], 100, 200)->count = i;
		table_put(t, &d[0], 100, 200); /* touched: it stays */
	}
	assert_int_equal(table_count(t), 4);
	assert_non_null(table_get(t, &d[0], 100));
	assert_null(table_get(t, &d[1], 100));
	assert_int_equal(table_get(t, &d[5], 100)->count, 5);
	assert_null(table_get(t, &d[5], 200)); /* expired */
	assert_int_equal(table_count(t), 3);
	table_free(t);
}

static void test_queue(void **state)
{
	struct hashqueue *q = hashqueue_new();
	struct hashqueue_job jobs[2 * HASHQUEUE_MAX] = { 0 };
	struct source a = from("203.0.113.1"), b = from("203.0.113.2"), known = from("192.0.2.20"),
		      local = from("127.0.0.1");
	size_t n = 0;

	(void)state;
	for (; n < HASHQUEUE_SOURCE_MAX; n++)
		assert_int_equal(hashqueue_push(q, &jobs[n], &a, false), 0);
	assert_int_equal(hashqueue_push(q, &jobs[n], &a, false), -1); /* its share */
	assert_int_equal(hashqueue_push(q, &jobs[n++], &b, false), 0);
	assert_int_equal(hashqueue_push(q, &jobs[n++], &known, true), 0);
	assert_ptr_equal(hashqueue_pop(q), &jobs[17]); /* known first */
	assert_ptr_equal(hashqueue_pop(q), &jobs[0]);
	assert_ptr_equal(hashqueue_pop(q), &jobs[16]); /* b does not wait for a's sixteen */
	assert_ptr_equal(hashqueue_pop(q), &jobs[1]);
	while (hashqueue_length(q) < HASHQUEUE_MAX)
		assert_int_equal(hashqueue_push(q, &jobs[n++], &local, false), 0); /* this machine has no share */
	assert_int_equal(hashqueue_push(q, &jobs[n], &local, false), -1);
	for (size_t i = 0; i < HASHQUEUE_KNOWN; i++) { /* strangers that fill it do not shut out who logged in before */
		known.key[1] = (uint8_t)i;
		assert_int_equal(hashqueue_push(q, &jobs[n++], &known, true), 0);
	}
	assert_int_equal(hashqueue_push(q, &jobs[n], &known, true), -1);
	for (size_t i = 0; i < HASHQUEUE_MAX + HASHQUEUE_KNOWN; i++)
		assert_non_null(hashqueue_pop(q));
	assert_null(hashqueue_pop(q));
	hashqueue_free(q);
}

static void test_ticket(void **state)
{
	struct tickets *t = tickets_new();
	uint8_t id[AUTH_TICKET_LEN], other[AUTH_TICKET_LEN] = { 0 };
	char address[ADDRESS_MAX];
	enum protocol protocol;

	(void)state;
	assert_int_equal(ticket_issue(t, ALICE, PROTOCOL_IMAP, 100, id), 0);
	assert_int_equal(ticket_redeem(t, other, 100, address, &protocol), -1);
	assert_int_equal(ticket_redeem(t, id, 129, address, &protocol), 0);
	assert_string_equal(address, ALICE);
	assert_int_equal(protocol, PROTOCOL_IMAP);
	assert_int_equal(ticket_redeem(t, id, 129, address, &protocol), -1); /* once */
	assert_int_equal(ticket_issue(t, ALICE, PROTOCOL_POP3, 100, id), 0);
	assert_int_equal(ticket_redeem(t, id, 100 + TICKET_LIFE_S, address, &protocol), -1);
	for (unsigned i = 0; i < TICKETS_MAX + 10; i++)
		assert_int_equal(ticket_issue(t, BOB, PROTOCOL_IMAP, 100, i == 0 ? id : other), 0);
	assert_int_equal(ticket_redeem(t, id, 100, address, &protocol), -1); /* gave way */
	assert_int_equal(ticket_redeem(t, other, 100, address, &protocol), 0);
	tickets_free(t);
}

static void test_sources(void **state)
{
	struct source a = from("::ffff:198.51.100.7"), b = from("198.51.100.7"), s;
	struct buf wire = BUF_INIT(64);
	struct cursor c;

	(void)state;
	assert_int_equal(a.length, b.length);
	assert_memory_equal(a.key, b.key, a.length);
	assert_string_equal(a.text, "198.51.100.7");
	assert_false(a.loopback);
	assert_true(from("127.3.2.1").loopback);
	assert_true(from("::1").loopback);
	assert_true(from("::ffff:127.0.0.1").loopback);
	source_put(&wire, NULL);
	c = cursor_of(wire.data, wire.len);
	assert_int_equal(source_get(&c, &s), 0);
	assert_true(s.loopback);
	assert_string_equal(s.text, "local");
	wire.data[0] = 5;
	c = cursor_of(wire.data, wire.len);
	assert_int_equal(source_get(&c, &s), -1);
	wire.data[0] = 4;
	c = cursor_of(wire.data, wire.len - 1);
	assert_int_equal(source_get(&c, &s), -1);
	buf_free(&wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_account), cmocka_unit_test(test_source),
		cmocka_unit_test(test_loopback), cmocka_unit_test(test_same_password), cmocka_unit_test(test_offends), cmocka_unit_test(test_known),
		cmocka_unit_test(test_table_is_bounded), cmocka_unit_test(test_queue), cmocka_unit_test(test_ticket),
		cmocka_unit_test(test_sources) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
