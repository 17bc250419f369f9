/* From routes to deliveries: each destination once, remote ones by domain and sender; and connections counted by
 * address. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/smtp/smtp.h"

static struct site_account alice = { .address = (char[]){ "alice@example.org" } };
static struct site_account bob = { .address = (char[]){ "bob@example.org" } };

static char *text(const char *s)
{
	return (char *)(uintptr_t)s; /* targets of a test are not freed */
}

static void test_local_once(void **state)
{
	struct route_target first[] = { { .account = &alice },
		{ .account = &bob, .sender = text("owner@example.org") } };
	struct route_target second[] = { { .account = &bob }, { .account = &alice, .tag = text("x") } };
	struct route a = { .targets = first, .count = 2 }, b = { .targets = second, .count = 2 };
	const struct route *routes[] = { &a, &b };
	struct smtp_plan plan;

	(void)state;
	smtp_plan_make(&plan, &(struct smtp_envelope){ .sender = "s@example.net", .routes = routes, .route_count = 2 });
	assert_int_equal(plan.local_count, 2);
	assert_int_equal(plan.remote_count, 0);
	assert_string_equal(plan.local[0].account, "alice@example.org");
	assert_true(
	    view_eq(plan.local[0].prefix, "Return-Path: <s@example.net>\r\nDelivered-To: alice@example.org\r\n"));
	/* Named directly as well as by a list: the sender stays. */
	assert_true(view_eq(plan.local[1].prefix, "Return-Path: <s@example.net>\r\nDelivered-To: bob@example.org\r\n"));
	smtp_plan_free(&plan);
}

static void test_remote_groups(void **state)
{
	struct route_target targets[] = {
		{ .address = text("b@two.example") },
		{ .address = text("a@one.example") },
		{ .account = &alice },
		{ .address = text("c@one.example"), .sender = text("owner@example.org") },
		{ .address = text("a@two.example") },
		{ .address = text("a@one.example") },
	};
	struct route route = { .targets = targets, .count = 6 };
	const struct route *routes[] = { &route };
	struct smtp_plan plan;

	(void)state;
	smtp_plan_make(
	    &plan, &(struct smtp_envelope){ .sender = "", .routes = routes, .route_count = 1, .eight_bit = true });
	assert_int_equal(plan.local_count, 1);
	assert_int_equal(plan.remote_count, 3);
	assert_string_equal(plan.remote[0].domain, "one.example");
	assert_string_equal(plan.remote[0].sender, "");
	assert_int_equal(plan.remote[0].recipient_count, 1);
	assert_true(plan.remote[0].bounce && plan.remote[0].eight_bit);
	assert_string_equal(plan.remote[1].sender, "owner@example.org");
	assert_string_equal(plan.remote[1].recipients[0], "c@one.example");
	assert_false(plan.remote[1].bounce);
	assert_string_equal(plan.remote[2].domain, "two.example");
	assert_int_equal(plan.remote[2].recipient_count, 2);
	smtp_plan_free(&plan);
}

static void test_large_groups(void **state)
{
	struct route_target targets[250] = { 0 };
	char names[250][32];
	struct route route = { .targets = targets, .count = 250 };
	const struct route *routes[] = { &route };
	struct smtp_plan plan;
	size_t seen = 0;

	(void)state;
	for (size_t i = 0; i < 250; i++) {
		snprintf(names[i], sizeof(names[i]), "u%zu@one.example", i);
		targets[i].address = names[i];
	}
	smtp_plan_make(&plan, &(struct smtp_envelope){ .sender = "s@example.net", .routes = routes, .route_count = 1 });
	assert_int_equal(plan.remote_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_in_range(plan.remote[i].recipient_count, 1, SMTP_REMOTE_MAX);
		for (size_t j = 0; j < plan.remote[i].recipient_count; j++)
			assert_non_null(strstr(plan.remote[i].recipients[j], "@one.example"));
		seen += plan.remote[i].recipient_count;
	}
	assert_int_equal(seen, 250);
	smtp_plan_free(&plan);
}

static const struct sockaddr *address(const char *s)
{
	static union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} u;

	memset(&u, 0, sizeof(u));
	if (inet_pton(AF_INET, s, &u.in.sin_addr) == 1) {
		u.sa.sa_family = AF_INET;
		return &u.sa;
	}
	assert_int_equal(inet_pton(AF_INET6, s, &u.in6.sin6_addr), 1);
	u.sa.sa_family = AF_INET6;
	return &u.sa;
}

static void test_peers(void **state)
{
	struct smtp_peers *p = smtp_peers_new();

	(void)state;
	assert_true(smtp_peers_enter(p, address("192.0.2.1"), 2));
	assert_true(smtp_peers_enter(p, address("192.0.2.1"), 2));
	assert_false(smtp_peers_enter(p, address("192.0.2.1"), 2));
	assert_false(smtp_peers_enter(p, address("::ffff:192.0.2.1"), 2));
	assert_true(smtp_peers_enter(p, address("192.0.2.2"), 2));
	smtp_peers_leave(p, address("192.0.2.1"));
	assert_int_equal(smtp_peers_count(p, address("192.0.2.1")), 1);
	assert_true(smtp_peers_enter(p, address("2001:db8::1"), 1));
	assert_false(smtp_peers_enter(p, address("2001:db8::ffff:2"), 1));
	assert_true(smtp_peers_enter(p, address("2001:db8:0:1::1"), 1));
	/* 2001:db8:: and 32.1.13.184 have the same leading bytes. */
	assert_int_equal(smtp_peers_count(p, address("32.1.13.184")), 0);
	smtp_peers_leave(p, address("203.0.113.9"));
	smtp_peers_free(p);
	assert_true(smtp_peer_is_loopback(address("127.1.2.3")));
	assert_true(smtp_peer_is_loopback(address("::1")));
	assert_true(smtp_peer_is_loopback(address("::ffff:127.0.0.1")));
	assert_false(smtp_peer_is_loopback(address("192.0.2.1")));
	assert_false(smtp_peer_is_loopback(address("::2")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local_once),
		cmocka_unit_test(test_remote_groups),
		cmocka_unit_test(test_large_groups),
		cmocka_unit_test(test_peers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
