/* The send role's way to a host: what it says to which, and what it makes of odd answers. */
#include "send_fakes.h"

static void test_delivered(void **state)
{
	const char *two[] = { "a@good.example", "b@good.example" };

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<b@", "550 5.1.1 no b", 0 } });
	push(1, "good.example", "alice@example.org", 0, false, two, 2);
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	assert_int_equal(results[0].failed, 1);
	assert_string_equal(results[0].bounce_to, "alice@example.org");
	assert_false(results[0].bounce_remote);
	contains(results[0].bounce, "Final-Recipient: rfc822; b@good.example\r\nAction: failed\r\nStatus: "
				    "5.1.1\r\nRemote-MTA: dns; mx.good.example\r\n");
	assert_null(strstr(results[0].bounce, "a@good.example"));
	contains(transcript, "EHLO mail.example.org|MAIL FROM:<alice@example.org> SIZE=20|RCPT "
			     "TO:<a@good.example>|RCPT TO:<b@good.example>|DATA|"
			     "Subject: s||..dot|.|");
	/* The connection is still there, and is used again. */
	push_one(2, "good.example", "c@good.example");
	run_until(2);
	assert_int_equal(connections, 1);
	assert_int_equal(results[1].delivered, 1);
}

static void test_retry_then_next_host(void **state)
{
	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "MAIL", "450 4.2.0 later", 0 } });
	push_one(3, "two.example", "a@two.example"); /* the dead one first, then the one that says later */
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	assert_string_equal(results[0].reply, "450 4.2.0 later");
	assert_in_range(results[0].next_due, clock_wall() + 290, clock_wall() + 350);
	assert_string_equal(results[0].bounce_to, "");
}

static void test_dns_failures(void **state)
{
	static const struct {
		const char *domain, *reply;
		bool permanent;
	} cases[] = {
		{ "null.example", "5.1.10 ", true },
		{ "temp.example", "4.4.3 ", false },
		{ "self.example", "5.4.6 ", true },
		{ "nothing.example", "5.4.4 ", true },
		{ "[IPv6:xyz]", "5.1.2 ", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(1, (struct rule[]){ EHLO_PIPELINING });
		push_one(10 + i, cases[i].domain, "x@somewhere.example");
		run_until(1);
		contains(results[0].reply, cases[i].reply);
		assert_int_equal(results[0].failed, cases[i].permanent);
		assert_string_equal(results[0].bounce_to, cases[i].permanent ? "alice@example.org" : "");
	}
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_one(20, "[127.0.0.2]", "x@[127.0.0.2]");
	run_until(1);
	push_one(21, "bare.example", "x@bare.example");
	run_until(2);
	assert_int_equal(results[0].delivered + results[1].delivered, 2);
}

/* Recipients of one entry that go different ways. */
static void test_two_ways(void **state)
{
	const char *two[] = { "special@ways.example", "other@ways.example" };

	(void)state;
	/* Another host for the second is none for the first, whose way has failed for now. */
	script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<special@", "451 4.2.0 not now", 1 },
		{ "RCPT TO:<other@", "451 4.2.0 not now", 1 } });
	push(60, "ways.example", "alice@example.org", 0, false, two, 2);
	run_until(1);
	if (results[0].delivered != 1 || results[0].retry != 1)
		fail_msg("%zu delivered, %zu deferred: %s", results[0].delivered, results[0].retry, transcript);
	/* Too old for another try, but not before its first one. */
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<special@", "550 5.1.1 nobody", 0 } });
	push_age = 40 * 86400;
	push(61, "ways.example", "alice@example.org", 0, false, two, 2);
	push_age = 0;
	run_until(1);
	assert_int_equal(results[0].failed, 1);
	assert_int_equal(results[0].retry, 1);
	assert_true(results[0].next_due <= clock_wall());
}

/* What is not ASCII may stand in a command only where SMTPUTF8 was said (RFC 6531 3.4, RFC 6533 3). */
static void test_original_recipient(void **state)
{
	const char *two[] = { "a@original.example", "b@original.example" };
	const struct queue_dsn dsn[] = { { DSN_NEVER, "utf-8;\xc3\xa4@example.org" }, { 0, "rfc822;b@example.org" } };

	(void)state;
	script(1, (struct rule[]){ { "EHLO", "250-mx\r\n250-DSN\r\n250 SMTPUTF8", 0 } });
	push_dsn = dsn;
	push(63, "original.example", "alice@example.org", 0, false, two, 2);
	push_dsn = NULL;
	run_until(1);
	contains(transcript, "|RCPT TO:<a@original.example> NOTIFY=NEVER|"
			     "RCPT TO:<b@original.example> ORCPT=rfc822;b@example.org|");
}

/* Where SMTPUTF8 is not known, only those fail who need it, unless the message or its sender does (RFC 6531 3.2). */
static void test_no_smtputf8(void **state)
{
	const char *three[] = { "\xc3\xa4@good.example", "a@good.example", "b@good.example" };
	static const char with_utf8[] = "Subject: \xc3\xa4\r\n\r\nbody\r\n",
			  body_utf8[] = "Subject: s\r\n\r\n\xc3\xa4\r\n";
	const char *usual = push_message;
	static const struct {
		const char *sender, *message, *reply;
		bool all;
	} cases[] = {
		{ "alice@example.org", body_utf8, "5.6.7 ", false },
		{ "alice@example.org", with_utf8, "5.6.7 ", true },
		{ "\xc3\xa4@example.org", body_utf8, "5.6.7 ", true },
	};

	(void)state;
	push_smtputf8 = true; /* as it is said by whoever gave us the message */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<b@", "550 5.1.1 no b", 0 } });
		push_message = cases[i].message;
		push(70 + i, "good.example", cases[i].sender, 0, false, three, 3);
		run_until(1);
		contains(results[0].reply, cases[i].reply);
		assert_int_equal(results[0].delivered, cases[i].all ? 0 : 1);
		assert_int_equal(results[0].failed, cases[i].all ? 3 : 2);
		if (!cases[i].all) {
			contains(transcript, "MAIL FROM:<alice@example.org> SIZE=18|RCPT TO:<a@good.example>|"
					     "RCPT TO:<b@good.example>|DATA|");
			contains(results[0].bounce, "Diagnostic-Code: smtp; 550 5.1.1 no b");
		} else {
			assert_null(strstr(transcript, "MAIL"));
		}
	}
	/* Nobody else: nothing is said at all.  With SMTPUTF8 all go. */
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push(75, "good.example", "alice@example.org", 0, false, three, 1);
	run_until(1);
	assert_int_equal(results[0].failed, 1);
	assert_null(strstr(transcript, "MAIL"));
	ctx.role->reload(&ctx);
	script(1, (struct rule[]){ { "EHLO", "250-mx\r\n250 SMTPUTF8", 0 } });
	push_message = with_utf8;
	push(76, "good.example", "alice@example.org", 0, false, three, 3);
	run_until(1);
	assert_int_equal(results[0].delivered, 3);
	contains(transcript, "MAIL FROM:<alice@example.org> SMTPUTF8|RCPT TO:<\xc3\xa4@good.example>|");
	push_smtputf8 = false;
	push_message = usual;
	ctx.role->reload(&ctx);
}

static void test_odd_servers(void **state)
{
	(void)state;
	script(2, (struct rule[]){ { "EHLO", "502 what", 0 }, { "HELO", "250 hello", 0 } });
	push_one(50, "[127.0.0.2]", "a@[127.0.0.2]");
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	/* Closes in the middle of the message's answer: again later. */
	script(2, (struct rule[]){ EHLO_PIPELINING, { "END", NULL, 0 } });
	push_one(51, "good.example", "a@good.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.4.2 connection lost in the end of the message");
	ctx.role->reload(&ctx);
}

static void test_garbage(void **state)
{
	(void)state;
	script(1, (struct rule[]){ { "EHLO", "250-a\r\n550 b", 0 } });
	push_one(60, "garbage.example", "a@garbage.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.5.0 the host does not speak SMTP");
}

/* A host that says more than it was asked: what it promised before it had the message does not count. */
static void test_out_of_step(void **state)
{
	static const struct {
		struct rule rule;
		bool delivered;
	} cases[] = {
		{ { "DATA", "354 go\r\n250 2.0.0 taken already", 0 }, false },
		{ { "RCPT", "250 ok\r\n250 ok", 0 }, false }, { { "END", "250 ok\r\n250 ok", 0 }, true },
		{ { "EHLO", "250-mx\r\n250 PIPELINING\r\n250 ok", 0 }, false }, /* and it is away for a while */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(2, (struct rule[]){ cases[i].rule, EHLO_PIPELINING });
		push_one(65 + i, "bare.example", "a@bare.example");
		run_until(1);
		assert_int_equal(results[0].delivered, cases[i].delivered);
		assert_int_equal(results[0].retry, !cases[i].delivered);
		if (!cases[i].delivered)
			contains(results[0].reply, "4.5.0 the host answers what it was not asked");
		ctx.role->reload(&ctx);
	}
}

/* "Go on" where that is no answer: a word is missing, or still to come, and must not pass for another command's. */
static void test_go_on(void **state)
{
	static const struct {
		struct rule first, second;
		const char *reply;
	} cases[] = {
		{ EHLO_PIPELINING, { "MAIL", "354 go", 1 }, "4.5.0 the host answers what it was not asked" },
		{ EHLO_PIPELINING, { "RCPT", "354 go", 1 }, "4.5.0 the host answers what it was not asked" },
		{ EHLO_PIPELINING, { "END", "354 go", 1 }, "354 go" },
		{ { "RCPT", "450 not now", 1 }, { "END", "354 go", 1 }, "450 not now" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(3, (struct rule[]){ EHLO_PIPELINING, cases[i].first, cases[i].second });
		push_one(80 + 2 * i, "original.example", "a@original.example");
		run_until(1);
		assert_int_equal(results[0].retry, 1);
		contains(results[0].reply, cases[i].reply);
		push_one(81 + 2 * i, "original.example", "a@original.example");
		run_until(2);
		assert_int_equal(results[1].delivered, 1);
		assert_int_equal(connections, 2);
		ctx.role->reload(&ctx);
	}
}

/* A host that refuses MAIL and then asks for the message: its recipients must not get an empty one. */
static void test_no_mail(void **state)
{
	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "MAIL", "450 4.7.0 not now", 1 } });
	push_one(90, "original.example", "a@original.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.7.0 not now");
	if (strstr(transcript, "|.|") != NULL)
		fail_msg("it got the end of a message: %s", transcript);
	ctx.role->reload(&ctx);
}

/* DATA goes along with RCPT, so a host may ask for the message of nobody: it gets an empty one, and the next mail. */
static void test_nobody(void **state)
{
	static const struct {
		const char *data, *seen;
	} cases[] = { { "354 go", "RCPT TO:<no@good.example>|DATA|.|MAIL" },
		{ "503 no recipients", "RCPT TO:<no@good.example>|DATA|RSET|MAIL" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<no@", "550 5.1.1 nobody", 0 },
			      { "DATA", cases[i].data, 1 } });
		push_one(70 + 2 * i, "good.example", "no@good.example");
		run_until(1);
		push_one(71 + 2 * i, "good.example", "a@good.example");
		run_until(2);
		contains(results[0].reply, "5.1.1 nobody");
		assert_int_equal(results[0].failed, 1);
		contains(transcript, cases[i].seen);
		assert_int_equal(results[1].delivered, 1);
		ctx.role->reload(&ctx);
	}
}

/* A host that refuses for now and hangs up when DATA comes all the same: the next one is asked, as ever. */
static void test_refused_and_closed(void **state)
{
	(void)state;
	script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "450 4.2.1 not now", 1 }, { "DATA", "421 4.4.2 bye", 1 } });
	push_one(90, "ways.example", "a@ways.example");
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	assert_int_equal(connections, 2);
	ctx.role->reload(&ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivered),
		cmocka_unit_test(test_retry_then_next_host),
		cmocka_unit_test(test_dns_failures),
		cmocka_unit_test(test_two_ways),
		cmocka_unit_test(test_original_recipient),
		cmocka_unit_test(test_no_smtputf8),
		cmocka_unit_test(test_odd_servers),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_go_on),
		cmocka_unit_test(test_no_mail),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_refused_and_closed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
