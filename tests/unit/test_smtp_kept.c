/* What a kept message says of its envelope. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailsvc/smtp/kept.h"

static struct kept_envelope e;

static size_t fill(const char *message)
{
	return kept_envelope_fill(view_of(message), "mail.example.org", &e);
}

#define DELIVERY                                                                                                       \
	"Return-Path: <s@good.example>\r\nDelivered-To: alice@example.org\r\n"                                         \
	"Authentication-Results: mail.example.org;\r\n\tspf=pass\r\nX-Mailadm-Checks: helo=no-dot\r\n"                 \
	"Received: from mx.good.example ([IPv6:2001:db8::1])\r\n\tby mail.example.org (mailadm) with ESMTP id "        \
	"x;\r\n\tdate\r\n"
#define REST                                                                                                           \
	"Received: from inner ([192.0.2.9]) by mx.good.example\r\nDelivered-To: bob@example.org\r\n"                   \
	"Return-Path: <t@else.example>\r\nFrom: <s@good.example>\r\n\r\nhello\r\n"

static void test_stored(void **state)
{
	(void)state;
	e = (struct kept_envelope){ .from_known = false };
	assert_int_equal(fill(DELIVERY REST), sizeof(DELIVERY) - 1);
	assert_true(e.from_known);
	assert_string_equal(e.from, "s@good.example");
	assert_int_equal(e.to_count, 1);
	assert_string_equal(e.to[0], "alice@example.org");
	assert_string_equal(e.helo, "mx.good.example");
	assert_string_equal(e.peer, "2001:db8::1");
}

static void test_given(void **state)
{
	(void)state;
	e = (struct kept_envelope){ .from_known = true, .to_count = 1, .to = { "x@example.org" }, .peer = "192.0.2.1" };
	assert_int_equal(fill(DELIVERY REST), sizeof(DELIVERY) - 1);
	assert_string_equal(e.from, "");
	assert_int_equal(e.to_count, 1);
	assert_string_equal(e.peer, "192.0.2.1");
	assert_string_equal(e.helo, "mx.good.example");
}

static void test_foreign(void **state)
{
	(void)state;
	e = (struct kept_envelope){ .from_known = false };
	assert_int_equal(fill(REST), 0);
	assert_string_equal(e.peer, "192.0.2.9");
	assert_string_equal(e.helo, "inner");
	assert_false(e.from_known); /* what is there is of another host's delivery */
	assert_int_equal(e.to_count, 0);
	e = (struct kept_envelope){ .from_known = false };
	assert_int_equal(fill("Return-Path: <>\r\nSubject: x\r\n\r\n"), 17);
	assert_true(e.from_known);
	assert_string_equal(e.from, "");
	assert_string_equal(e.peer, "");
}

static void test_broken(void **state)
{
	(void)state;
	e = (struct kept_envelope){ .from_known = false };
	fill("Return-Path: <a b@c>\r\nDelivered-To: <>\r\nDelivered-To: nobody\r\nReceived: by x ([192.0.2.1])\r\n"
	     "Received: from x ([999.0.0.1] [192.0.2.2\r\n\r\n");
	assert_false(e.from_known);
	assert_int_equal(e.to_count, 0);
	assert_string_equal(e.peer, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_stored), cmocka_unit_test(test_given),
		cmocka_unit_test(test_foreign), cmocka_unit_test(test_broken) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
