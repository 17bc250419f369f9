/* Recipients that another host is asked about: the messages, the asking side, what is remembered, and the send role's
 * answers with a scripted host. */
#include "mailsvc/send/verify_internal.h"
#include "mailsvc/smtp/shared_table.h"
#include "mailsvc/smtp/verified.h"
#include "send_fakes.h"

#include <sys/mman.h>

/* The messages -------------------------------------------------------------------------------------------------- */

static int answer_back(const struct verify_answer *in, size_t cut, const char *more, struct verify_answer *out)
{
	struct buf b = BUF_INIT(IMSG_MAX);

	verify_answer_put(&b, in);
	buf_puts(&b, more);
	b.len -= cut;
	int rc = verify_answer_get(buf_view(&b), out);
	buf_free(&b);
	return rc;
}

static void test_answers(void **state)
{
	static const struct verify_answer good[] = {
		{ VERIFY_TAKEN, "", "old[192.0.2.1]:25", "taken" },
		{ VERIFY_REFUSED, "5.1.1", "old[192.0.2.1]:25", "User unknown" },
		{ VERIFY_REFUSED, "5.123.456", "", "" },
		{ VERIFY_UNKNOWN, "", "", "away" },
	};
	static const struct verify_answer bad[] = {
		{ VERIFY_STATUS_COUNT, "", "", "" },
		{ VERIFY_TAKEN, "5.1.1", "", "" },
		{ VERIFY_UNKNOWN, "4.1.1", "", "" },
		{ VERIFY_REFUSED, "", "", "" },
		{ VERIFY_REFUSED, "4.1.1", "", "" },
		{ VERIFY_REFUSED, "5.1", "", "" },
		{ VERIFY_REFUSED, "5.1.1 ", "", "" },
		{ VERIFY_REFUSED, "5..1", "", "" },
		{ VERIFY_REFUSED, "5.1.1", "", "a\r\n250 ok" },
		{ VERIFY_REFUSED, "5.1.1", "a\nb", "" },
		{ VERIFY_REFUSED, "5.1.1", "", "\xc3\xbc" },
	};
	struct verify_answer out;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(answer_back(&good[i], 0, "", &out), 0);
		assert_int_equal(out.status, good[i].status);
		assert_string_equal(out.enhanced, good[i].enhanced);
		assert_string_equal(out.relay, good[i].relay);
		assert_string_equal(out.text, good[i].text);
		assert_int_equal(answer_back(&good[i], 1, "", &out), -1);
		assert_int_equal(answer_back(&good[i], 0, "x", &out), -1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (answer_back(&bad[i], 0, "", &out) != -1)
			fail_msg("taken: %zu", i);
}

static void test_questions(void **state)
{
	char sender[VERIFY_ADDRESS_MAX], recipient[VERIFY_ADDRESS_MAX], longest[VERIFY_ADDRESS_MAX + 1];
	struct buf b = BUF_INIT(IMSG_MAX);

	(void)state;
	verify_ask_put(&b, "", "Bob@old.example");
	assert_int_equal(verify_ask_get(buf_view(&b), sender, recipient), 0);
	assert_string_equal(sender, "");
	assert_string_equal(recipient, "Bob@old.example");
	assert_int_equal(verify_ask_get((struct view){ b.data, b.len - 1 }, sender, recipient), -1);
	buf_addc(&b, 'x');
	assert_int_equal(verify_ask_get(buf_view(&b), sender, recipient), -1);
	buf_reset(&b);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	verify_ask_put(&b, longest, longest); /* nobody, rather than somebody else */
	assert_int_equal(verify_ask_get(buf_view(&b), sender, recipient), 0);
	assert_string_equal(recipient, "");
	buf_free(&b);
}

/* What is remembered -------------------------------------------------------------------------------------------- */

static void test_remembered(void **state)
{
	const struct verify_answer taken = { .status = VERIFY_TAKEN }, unknown = { .status = VERIFY_UNKNOWN },
				   refused = { .status = VERIFY_REFUSED, .enhanced = "5.2.1" },
				   odd = { .status = VERIFY_REFUSED, .enhanced = "5.9.99" };
	struct shared_table *t = shared_table_open(-1, SHARED_VERIFIED_BYTES, VERIFIED_BITS, "verified");
	struct next_hop hop = { .hosts = { { .name = "old.example", .port = 25 } }, .host_count = 1 }, other = hop;
	const char *bob = "Bob@old.example";
	int64_t now = 1800000000;

	(void)state;
	other.hosts[0].port = 26;
	assert_int_equal(verified_get(t, &hop, bob, now).state, VERIFIED_NOT);
	verified_put(t, &hop, bob, &unknown, now);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_UNKNOWN_FOR - 1).state, VERIFIED_UNKNOWN);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_UNKNOWN_FOR).state, VERIFIED_NOT);
	verified_put(t, &hop, bob, &taken, now);
	assert_int_equal(verified_get(t, &hop, bob, now).state, VERIFIED_TAKEN);
	assert_int_equal(verified_get(t, &other, bob, now).state, VERIFIED_NOT);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_FRESH - 1).state, VERIFIED_TAKEN);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_FRESH).state, VERIFIED_ONCE);
	verified_put(t, &hop, bob, &unknown, now + VERIFIED_FRESH); /* nobody knows: it was taken once all the same */
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_KEPT - 1).state, VERIFIED_ONCE);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_KEPT).state, VERIFIED_NOT);
	assert_int_equal(verified_get(t, &hop, bob, now - 1).state, VERIFIED_NOT); /* a clock that was wrong */
	verified_put(t, &hop, bob, &refused, now);
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_REFUSED_FOR - 1).state, VERIFIED_REFUSED);
	assert_string_equal(verified_get(t, &hop, bob, now).enhanced, "5.2.1");
	assert_int_equal(verified_get(t, &hop, bob, now + VERIFIED_REFUSED_FOR).state, VERIFIED_NOT);
	verified_put(t, &hop, bob, &odd, now);
	assert_string_equal(verified_get(t, &hop, bob, now).enhanced, "5.0.0");
	shared_table_close(t);
}

/* What a host says of one way to write a local part is no word on another: who may choose it could have somebody
 * refused, or let in what will be. */
static void test_as_written(void **state)
{
	static const char *const others[] = { "Kim@old.example", "\"kim\"@old.example", "\xe2\x84\xaaim@old.example" };
	const struct verify_answer taken = { .status = VERIFY_TAKEN }, refused = { VERIFY_REFUSED, "5.6.7", "", "" };
	const struct next_hop hop = { .hosts = { { .name = "old.example", .port = 25 } }, .host_count = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct shared_table *t = shared_table_open(-1, SHARED_VERIFIED_BYTES, VERIFIED_BITS, "verified");

		verified_put(t, &hop, others[i], &refused, 1800000000);
		assert_int_equal(verified_get(t, &hop, "kim@old.example", 1800000000).state, VERIFIED_NOT);
		verified_put(t, &hop, "kim@old.example", &taken, 1800000000);
		assert_int_equal(verified_get(t, &hop, others[i], 1800000000).state, VERIFIED_REFUSED);
		shared_table_close(t);
	}
}

/* Of 64 buckets, with a seed that does not make two keys meet now and then. */
static struct shared_table *small_table(void)
{
	const uint64_t seed = 1;
	int fd = memfd_create("verified", MFD_CLOEXEC);

	assert_true(fd != -1 && ftruncate(fd, 4096) == 0 && pwrite(fd, &seed, sizeof(seed), 0) == sizeof(seed));
	return shared_table_open(fd, 4096, VERIFIED_BITS, "verified");
}

/* Any number of refused ones leaves those that were taken. */
static void test_flood(void **state)
{
	const struct verify_answer taken = { .status = VERIFY_TAKEN }, refused = { VERIFY_REFUSED, "5.1.1", "", "" };
	struct shared_table *t = small_table();
	const struct next_hop hop = { .hosts = { { .name = "old.example", .port = 25 } }, .host_count = 1 };
	char recipient[64];

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		snprintf(recipient, sizeof(recipient), "known%u@old.example", i);
		verified_put(t, &hop, recipient, &taken, 1800000000);
	}
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(recipient, sizeof(recipient), "random%u@old.example", i);
		verified_put(t, &hop, recipient, &refused, 1800000000);
	}
	for (unsigned i = 0; i < 50; i++) {
		snprintf(recipient, sizeof(recipient), "known%u@old.example", i);
		assert_int_equal(verified_get(t, &hop, recipient, 1800000000).state, VERIFIED_TAKEN);
	}
	shared_table_close(t);
}

/* The send role --------------------------------------------------------------------------------------------------- */

static struct verify_client *client;
static struct verify_answer heard[400];
static size_t heard_count;

static void on_verified(void *arg, const struct verify_answer *a)
{
	(void)arg;
	heard[heard_count++] = *a;
}

static uint32_t ask(const char *recipient)
{
	return verify_ask(client, "s@example.net", recipient, on_verified, NULL);
}

static void wait_heard(size_t n)
{
	time_t end = time(NULL) + 20;

	while (heard_count < n && time(NULL) < end)
		event_base_loop(base, EVLOOP_ONCE);
	if (heard_count < n)
		fail_msg("%zu answers, wanted %zu; the server saw: %s", heard_count, n, transcript);
}

static void attach(void)
{
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	role_send.peer(&ctx, ROLE_SMTP, 0, fds[0]);
	verify_client_attach(client, fds[1]);
	heard_count = 0;
}

/* As a reload does. */
static void retire(void)
{
	verify_retire(((struct send *)ctx.state)->verify);
}

static void expect(size_t i, enum verify_status status, const char *enhanced, const char *text)
{
	if (heard[i].status != status || strcmp(heard[i].enhanced, enhanced) != 0)
		fail_msg("answer %zu: %d %s %s", i, (int)heard[i].status, heard[i].enhanced, heard[i].text);
	assert_string_equal(heard[i].text, text);
}

static int set_up(void **state)
{
	struct findings findings = { 0 };
	char text[1024];

	if (setup(state) != 0)
		return -1;
	snprintf(text, sizeof(text),
	    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; }; domains = ( { name = \"example.org\"; },\n"
	    "{ name = \"old.example\"; elsewhere = \"127.0.0.2:%d\"; }, { name = \"dead.example\"; deliver = "
	    "\"127.0.0.3:%d\"; },\n"
	    "{ name = \"free.example\"; elsewhere = \"127.0.0.2:%d\"; verify = false; },\n"
	    "{ name = \"two.example\"; elsewhere = \"127.0.0.3:%d\"; } );\n"
	    "routes = ( { name = \"two\"; to = (\"two.example\"); hosts = (\"127.0.0.3:%d\", \"127.0.0.2:%d\"); } );\n"
	    "accounts = ( { address = \"alice@example.org\"; } ); state_dir = \"/tmp/send-test-none\";\n",
	    peer_port, peer_port, peer_port, peer_port, peer_port, peer_port);
	site_unref(ctx.site);
	ctx.site = site_load_memory(view_of(text), "test.conf", &findings);
	for (size_t i = 0; i < findings.count && ctx.site == NULL; i++)
		fprintf(stderr, "%s\n", findings.at[i].text);
	findings_free(&findings);
	client = verify_client_new(base);
	return ctx.site != NULL ? 0 : -1;
}

static void test_asked(void **state)
{
	(void)state;
	attach();
	script(4, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<no@", "550-5.1.1 nobody\r\n550 5.1.1 here", 0 },
		      { "RCPT TO:<full@", "452 4.2.2 full", 0 }, { "RCPT TO:<bare@", "554 no", 0 } });
	ask("yes@old.example");
	wait_heard(1);
	expect(0, VERIFY_TAKEN, "", "taken");
	contains(heard[0].relay, "127.0.0.2[127.0.0.2]:");
	assert_string_equal(transcript, "EHLO mail.example.org|MAIL FROM:<> SIZE=0|RCPT TO:<yes@old.example>|RSET|");
	ask("no@old.example");
	wait_heard(2);
	ask("full@old.example");
	wait_heard(3);
	ask("bare@old.example");
	wait_heard(4);
	expect(1, VERIFY_REFUSED, "5.1.1", "nobody 5.1.1 here");
	expect(2, VERIFY_UNKNOWN, "", "452 4.2.2 full");
	expect(3, VERIFY_REFUSED, "5.0.0", "no");
	assert_int_equal(connections, 1);
	retire();
	ask("yes@old.example");
	wait_heard(5);
	assert_int_equal(connections, 2); /* what connections were made for may have changed */
}

/* An smtp that was taken over cannot have others connected to. */
static void test_not_asked(void **state)
{
	static const char *const foreign[] = { "x@good.example", "x@free.example", "alice@example.org", "x@127.0.0.2",
		"x", "@", "" };

	(void)state;
	attach();
	script(1, (struct rule[]){ EHLO_PIPELINING });
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		ask(foreign[i]);
	wait_heard(sizeof(foreign) / sizeof(foreign[0]));
	for (size_t i = 0; i < heard_count; i++)
		expect(i, VERIFY_UNKNOWN, "", "no host is asked for this address");
	assert_int_equal(connections, 0);
}

/* A refusal of the sender is none of the recipient; one that ends the connection is no answer. */
static void test_sender_refused(void **state)
{
	(void)state;
	attach();
	retire();
	script(2, (struct rule[]){ EHLO_PIPELINING, { "MAIL", "550 5.1.7 not from <>", 0 } });
	ask("yes@old.example");
	wait_heard(1);
	expect(0, VERIFY_UNKNOWN, "", "550 5.1.7 not from <>");
	assert_int_equal(alerts, 1);
	script(2, (struct rule[]){ EHLO_PIPELINING, { "MAIL", "452 4.3.1 disk full", 0 } });
	ask("yes@old.example");
	wait_heard(2);
	expect(1, VERIFY_UNKNOWN, "", "452 4.3.1 disk full");
	assert_int_equal(alerts, 1); /* nothing that the administrator could change */
}

static void test_lost(void **state)
{
	(void)state;
	attach();
	retire();
	script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<first@", "250 ok", 0 }, { "RCPT", NULL, 1 } });
	ask("first@old.example");
	wait_heard(1);
	ask("second@old.example"); /* the connection that was used ends: a new one */
	wait_heard(2);
	expect(1, VERIFY_TAKEN, "", "taken");
	assert_int_equal(connections, 2);
}

/* A host that says nothing more to RSET has answered all the same. */
static void test_no_rset(void **state)
{
	(void)state;
	attach();
	retire();
	script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "550 5.1.1 nobody", 0 }, { "RSET", "", 0 } });
	ask("no@old.example");
	wait_heard(1);
	expect(0, VERIFY_REFUSED, "5.1.1", "nobody");
}

static void test_dead_host(void **state)
{
	(void)state;
	attach();
	ask("x@dead.example");
	wait_heard(1);
	ask("y@dead.example");
	wait_heard(2);
	assert_int_equal(heard[0].status, VERIFY_UNKNOWN);
	contains(heard[0].text, "4.4.1 cannot connect to 127.0.0.3");
	assert_string_equal(heard[1].text, heard[0].text); /* and is left alone for a while */
}

/* A reload while the first of two hosts, which is away, is being connected to: the second is asked all the same. */
static void test_reload_connecting(void **state)
{
	const struct verify *v = ((struct send *)ctx.state)->verify;

	(void)state;
	attach();
	retire();
	assert_int_equal(v->connections, 0);
	script(1, (struct rule[]){ EHLO_PIPELINING });
	ask("x@two.example");
	for (uint64_t end = clock_mono_ms() + 10000; v->connections == 0 && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(v->connections, 1);
	retire();
	wait_heard(1);
	expect(0, VERIFY_TAKEN, "", "taken");
}

static bool questions_become(unsigned n)
{
	const struct verify *v = ((struct send *)ctx.state)->verify;

	for (uint64_t end = clock_mono_ms() + 10000; v->question_count != n && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	return v->question_count == n;
}

/* Two connections, and a bound on what waits for them; what is cancelled waits no more. */
static void test_bounds(void **state)
{
	uint32_t ids[VERIFY_HOST_QUESTIONS_MAX + 10];
	char recipient[64];
	size_t n = sizeof(ids) / sizeof(ids[0]);

	(void)state;
	attach();
	retire();
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "", 0 } });
	for (size_t i = 0; i < n; i++) {
		snprintf(recipient, sizeof(recipient), "r%zu@old.example", i);
		ids[i] = ask(recipient);
	}
	wait_heard(10);
	for (size_t i = 0; i < heard_count; i++)
		expect(i, VERIFY_UNKNOWN, "", "4.3.2 too many questions for this host at once");
	for (uint64_t end = clock_mono_ms() + 10000; connections < 2 && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(connections, 2);
	for (size_t i = 0; i < n; i++)
		verify_cancel(client, ids[i]);
	ask("after@old.example");
	assert_true(questions_become(3)); /* it, and the two that are being asked, for nobody */
	assert_int_equal(heard_count, 10);
	attach(); /* the asker died: what it asked is forgotten */
	assert_true(questions_become(2));
}

static void test_garbage(void **state)
{
	struct buf json = BUF_INIT(4096);
	int fds[2];

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	role_send.peer(&ctx, ROLE_SMTP, 1, fds[0]);
	killed = 0;
	assert_int_equal(imsg_send(fds[1], VERIFY_MESSAGE_ASK, 1, VIEW_LIT("garbage"), -1), 0);
	for (time_t end = time(NULL) + 10; killed == 0 && time(NULL) < end;)
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(killed, 1);
	close(fds[1]);
	role_send.status(&ctx, &json);
	contains(buf_str(&json), "\"recipients_refused\": 3");
	buf_free(&json);
}

/* Who asks and never reads its answers is not given memory for them without end. */
static void test_deaf(void **state)
{
	struct buf ask_data = BUF_INIT(IMSG_MAX);
	uint32_t asked = 0;
	int fds[2];

	(void)state;
	assert_int_equal(imsg_pair(fds), 0);
	role_send.peer(&ctx, ROLE_SMTP, 2, fds[0]);
	killed = 0;
	verify_ask_put(&ask_data, "", "nobody@elsewhere.example"); /* answered at once: no host is asked */
	while (killed == 0 && asked < 1000000) {
		assert_int_equal(imsg_send(fds[1], VERIFY_MESSAGE_ASK, ++asked, buf_view(&ask_data), -1), 0);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(killed, 1);
	assert_in_range(asked, 10000, 999999);
	close(fds[1]);
	buf_free(&ask_data);
}

/* At the end everybody is told, and so is who asks an absent one. */
static void test_end(void **state)
{
	(void)state;
	attach();
	role_send.drain(&ctx);
	ask("x@old.example");
	wait_heard(1);
	expect(0, VERIFY_UNKNOWN, "", "the send process is ending");
	verify_client_free(client);
	client = verify_client_new(base);
	ask("x@old.example");
	wait_heard(2);
	expect(1, VERIFY_UNKNOWN, "", "the send process is away");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_answers), cmocka_unit_test(test_questions),
		cmocka_unit_test(test_remembered), cmocka_unit_test(test_as_written), cmocka_unit_test(test_flood),
		cmocka_unit_test(test_asked), cmocka_unit_test(test_not_asked), cmocka_unit_test(test_sender_refused),
		cmocka_unit_test(test_lost), cmocka_unit_test(test_no_rset), cmocka_unit_test(test_dead_host),
		cmocka_unit_test(test_reload_connecting), cmocka_unit_test(test_bounds), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_deaf),
		cmocka_unit_test(test_end) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
