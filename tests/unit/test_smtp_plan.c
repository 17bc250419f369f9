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

#include "lib/ip.h"
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

/* SRS: only what is forwarded out of the house; a list's owner and the host of a staged move see no other sender. */
static void test_forwarded(void **state)
{
	struct route_target targets[] = {
		{ .address = text("a@one.example"), .forwarded = true },
		{ .address = text("b@example.org") },
		{ .address = text("c@two.example"), .forwarded = true, .sender = text("owner@example.org") },
	};
	struct route route = { .targets = targets, .count = 3 };
	const struct route *routes[] = { &route };
	struct smtp_envelope e = { .sender = "s@out.example", .routes = routes, .route_count = 1, .forwarder = "SRS0=x@example.org" };
	struct smtp_plan plan;

	(void)state;
	smtp_plan_make(&plan, &e);
	assert_int_equal(plan.remote_count, 3);
	assert_string_equal(plan.remote[0].sender, "s@out.example");
	assert_string_equal(plan.remote[1].sender, "SRS0=x@example.org");
	assert_string_equal(plan.remote[2].sender, "owner@example.org");
	smtp_plan_free(&plan);
	e.forwarder = NULL;
	smtp_plan_make(&plan, &e);
	assert_string_equal(plan.remote[1].sender, "s@out.example");
	smtp_plan_free(&plan);
}

/* Forwarded and direct recipients of one domain in turns: two groups, not one each; and direct wins for the same one. */
static void test_forwarded_groups(void **state)
{
	struct route_target targets[100] = { 0 };
	char names[100][32];
	struct route route = { .targets = targets, .count = 100 };
	const struct route *routes[] = { &route };
	struct smtp_envelope e = { .sender = "s@out.example", .routes = routes, .route_count = 1, .forwarder = "SRS0=x@example.org" };
	struct smtp_plan plan;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		snprintf(names[i], sizeof(names[i]), "u%zu@one.example", i / 2 * 2 % 98);
		targets[i].address = names[i];
		targets[i].forwarded = i % 4 == 0 || i >= 98;
	}
	smtp_plan_make(&plan, &e);
	assert_int_equal(plan.remote_count, 1); /* each address is also there directly */
	assert_string_equal(plan.remote[0].sender, "s@out.example");
	smtp_plan_free(&plan);
	for (size_t i = 0; i < 100; i++)
		snprintf(names[i], sizeof(names[i]), "u%zu@one.example", i);
	smtp_plan_make(&plan, &e);
	assert_int_equal(plan.remote_count, 2);
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

/* What is asked goes along to one other address, is asked less of several, and not at all of a list's members. */
static void test_dsn(void **state)
{
	struct route_target alone[] = { { .address = text("out@one.example") } };
	struct route_target several[] = { { .account = &alice }, { .address = text("a@two.example") } };
	struct route_target members[] = { { .address = text("m@three.example"), .sender = text("owner@example.org") } };
	struct route_target direct[] = { { .address = text("d@four.example") } };
	struct route a = { .targets = alone, .count = 1 }, b = { .targets = several, .count = 2 },
		     c = { .targets = members, .count = 1 }, d = { .targets = direct, .count = 1 };
	const struct route *routes[] = { &a, &b, &c, &d };
	const char *addresses[] = { "alias@example.org", "all@example.org", "list@example.org", "D@four.example" };
	const struct queue_dsn asked[] = { { DSN_SUCCESS | DSN_DELAY, NULL }, { DSN_SUCCESS, "rfc822;all+2B@x" },
		{ DSN_SUCCESS, NULL }, { DSN_NEVER, NULL } };
	struct smtp_plan plan;

	(void)state;
	smtp_plan_make(&plan, &(struct smtp_envelope){ .sender = "s@example.net",
				  .routes = routes,
				  .route_count = 4,
				  .addresses = addresses,
				  .dsn = asked,
				  .envid = "E1",
				  .ret = DSN_RET_HDRS });
	assert_int_equal(plan.remote_count, 4); /* by domain: four, one, three, two */
	assert_int_equal(plan.remote[0].dsn[0].notify, DSN_NEVER);
	assert_null(plan.remote[0].dsn[0].orcpt); /* the same address, but for its case */
	assert_int_equal(plan.remote[1].dsn[0].notify, DSN_SUCCESS | DSN_DELAY);
	assert_string_equal(plan.remote[1].dsn[0].orcpt, "rfc822;alias@example.org");
	assert_string_equal(plan.remote[1].envid, "E1");
	assert_int_equal(plan.remote[1].ret, DSN_RET_HDRS);
	assert_int_equal(plan.remote[1].priority, QUEUE_NORMAL);
	assert_int_equal(plan.remote[2].dsn[0].notify, 0);
	assert_null(plan.remote[2].envid);
	assert_int_equal(plan.remote[2].ret, DSN_RET_UNSAID);
	assert_int_equal(plan.remote[2].priority, QUEUE_BULK);
	assert_int_equal(plan.remote[3].dsn[0].notify, DSN_NEVER); /* success alone was asked, and several cannot say it */
	assert_string_equal(plan.remote[3].dsn[0].orcpt, "rfc822;all+2B@x");
	smtp_plan_free(&plan);
	smtp_plan_make(&plan, &(struct smtp_envelope){ .sender = "", .routes = routes, .route_count = 1 });
	assert_null(plan.remote[0].dsn);
	assert_int_equal(plan.remote[0].priority, QUEUE_LAST);
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
	assert_true(ip_is_loopback(address("127.1.2.3")));
	assert_true(ip_is_loopback(address("::1")));
	assert_true(ip_is_loopback(address("::ffff:127.0.0.1")));
	assert_false(ip_is_loopback(address("192.0.2.1")));
	assert_false(ip_is_loopback(address("::2")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local_once),
		cmocka_unit_test(test_remote_groups), cmocka_unit_test(test_forwarded), cmocka_unit_test(test_forwarded_groups),
		cmocka_unit_test(test_large_groups), cmocka_unit_test(test_dsn),
		cmocka_unit_test(test_peers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
