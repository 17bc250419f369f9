/* What the send role tells store: of hosts that are away, who hears of a failure, and when keys or store are away. */
#include "send_fakes.h"

/* What cannot be read is store's again, and not for ever in hand. */
static void test_unreadable(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_broken = true;
	push_one(62, "good.example", "a@good.example");
	push_broken = false;
	run_until(1);
	assert_int_equal(results[0].id, 62);
	assert_int_equal(results[0].retry, 1);
	assert_true(results[0].next_due > clock_wall());
}

/* Nobody there: the next new message is not tried at all, a second attempt of an old one not at once either. */
static void test_dead(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_one(30, "dead.example", "x@dead.example");
	run_until(1);
	contains(results[0].reply, "4.4.1 cannot connect to mx.dead.example[127.0.0.3]");
	uint64_t before = clock_mono_ms();
	push_one(31, "dead.example", "y@dead.example");
	run_until(2);
	assert_int_equal(results[1].retry, 1);
	assert_in_range(results[1].next_due, clock_wall() + 280, clock_wall() + 350);
	assert_in_range(clock_mono_ms() - before, 0, 1000);
	assert_string_equal(deferred, "dead.example"); /* store need not hand out more of it */
	assert_in_range(deferred_until, clock_wall() + 280, clock_wall() + 350);
}

static void test_bounce_of_bounce(void **state)
{
	const char *ghost = "ghost@good.example", *admin = "boss@good.example";

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "550 5.1.1 no", 0 } });
	push(40, "good.example", "", 0, true, &ghost, 1);
	run_until(1);
	assert_string_equal(results[0].bounce_to, "boss@good.example"); /* site.admin, who is elsewhere */
	assert_true(results[0].bounce_remote);
	contains(results[0].bounce, "Subject: Postmaster notice");
	push(41, "good.example", "", 0, true, &admin, 1);
	run_until(2);
	assert_int_equal(results[1].failed, 1);
	assert_string_equal(results[1].bounce_to, ""); /* and that is the end */
	push(42, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	run_until(3);
	assert_string_equal(results[2].bounce_to, "bob@elsewhere.example");
	assert_memory_equal(results[2].bounce, "DKIM-Signature: x\r\nFrom: ", 25);
	keys_say = DKIM_AWAY;
	push(43, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	run_until(4);
	assert_memory_equal(results[3].bounce, "From: ", 6); /* told all the same */
	keys_say = DKIM_SIGNED;
}

/* While keys takes its time the site is replaced; the result is still whole, and nothing of the old site is used. */
static void test_slow_keys(void **state)
{
	const char *ghost = "ghost@good.example";
	size_t count;

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "550 5.1.1 no", 0 } });
	keys_held = true;
	signing.fn = NULL;
	push(45, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	for (uint64_t end = clock_mono_ms() + 10000; signing.fn == NULL && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(result_count, 0);
	struct site *old = ctx.site;
	ctx.site = load_site();
	site_unref(old);
	ctx.role->reload(&ctx);
	count = result_count;
	answer_signing(-1, 0, NULL);
	assert_int_equal(result_count, count + 1);
	assert_string_equal(results[count].bounce_to, "bob@elsewhere.example");
	run_until(count + 1);
	keys_held = false;
}

/* Results outlive a store: they are told to the next one, and what it pushes again meanwhile is put aside. */
static void test_store_lost(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	store_away = true;
	push_one(70, "null.example", "a@null.example");
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(result_count, 0);
	store_away = false;
	credits = 0;
	int fds[2];
	assert_int_equal(imsg_pair(fds), 0);
	ctx.role->peer(&ctx, ROLE_STORE, 0, fds[0]);
	assert_int_equal(result_count, 1);
	assert_int_equal(results[0].id, 70);
	unsigned all = credits;
	assert_in_range(all, 99, 99); /* one is still in hand */
	for (int i = 0; i < 200; i++)
		push_one(70, "null.example", "a@null.example"); /* put aside: given back, if not one by one */
	assert_in_range(credits, 88, 99);
	run_until(1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_in_range(credits, 88, 100);
	assert_int_equal(result_count, 1);
	close(fds[0]);
	close(fds[1]);
}

/* Going down with a result that store has not confirmed: it waits for store, for as long as a drain may take. */
static void test_drain(void **state)
{
	int fds[2];

	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	store_away = true;
	push_one(80, "good.example", "a@good.example");
	for (uint64_t end = clock_mono_ms() + 10000; strstr(transcript, "|.|") == NULL && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	exited = false;
	ctx.role->drain(&ctx);
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_false(exited);
	store_away = false;
	assert_int_equal(imsg_pair(fds), 0);
	ctx.role->peer(&ctx, ROLE_STORE, 0, fds[0]);
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	for (uint64_t end = clock_mono_ms() + 10000; !exited && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(exited);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_bounce_of_bounce),
		cmocka_unit_test(test_slow_keys),
		cmocka_unit_test(test_store_lost),
		cmocka_unit_test(test_drain),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
