/* The outgoing queue between store and send: each entry once, in order, through deaths, wrong clocks and damage. */
#include "store_role_help.h"

struct sent {
	unsigned items;
	size_t length; /* of the message that is to come */
	uint64_t id;
	bool waiting;
};

static void on_item(void *arg, const struct queue_item *item)
{
	struct sent *s = arg;
	struct view mapped = VIEW_NONE;

	if (item->message_fd != -1)
		assert_int_equal(memfd_map_sealed(item->message_fd, STORE_BODY_MAX, &mapped), 0);
	struct view message = mapped.len > 0 ? mapped : item->message;
	assert_int_equal(message.len, s->length);
	assert_memory_equal(message.ptr, "to send", 7);
	if (mapped.len > 0)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
	close(item->message_fd);
	assert_string_equal(item->domain, "far.example");
	assert_int_equal(item->recipient_count, 1);
	s->items++;
	s->id = item->id;
	s->waiting = false;
}

static void test_queue(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *send = keep(client(ROLE_SEND, 0));
	const char *to[] = { "r@far.example" };
	struct store_remote remote = {
		.sender = "a@x", .recipients = to, .recipient_count = 1, .domain = "far.example"
	};
	struct store_delivery d = {
		.body = { VIEW_LIT("to send"), VIEW_LIT("") }, .remote = &remote, .remote_count = 1
	};
	struct queue_recipient_result out = { "r@far.example", QUEUE_DELIVERED, "250 thanks" };
	struct queue_result result = { .recipients = &out, .count = 1 };
	struct sent sent = { .waiting = true, .length = 7 };
	char large[2 * IMSG_MAX] = "to send";
	struct answer a = answered(), lost;
	int fds[2];

	(void)state;
	store_on_queue_item(send, on_item, &sent);
	store_queue_credit(send, 5);
	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&a.waiting, "queueing");
	assert_int_equal(a.result.status, STORE_OK);
	spin_while(&sent.waiting, "the item");
	assert_int_equal(sent.id, a.result.queue_id);
	/* send dies: its successor gets the same entry. */
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_SEND, 0, fds[0]);
	store_client_attach(send, fds[1]);
	sent.waiting = true;
	store_queue_credit(send, 5);
	spin_while(&sent.waiting, "the item again");
	assert_int_equal(sent.items, 2);
	assert_int_equal(sent.id, a.result.queue_id);
	result.id = sent.id;
	a = answered();
	store_queue_result(send, &result, on_answer, &a);
	spin_while(&a.waiting, "the result");
	assert_int_equal(a.result.status, STORE_OK);
	/* It is gone: a second one is the next to come. */
	sent.waiting = true;
	a = answered();
	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&sent.waiting, "the second item");
	assert_int_equal(sent.items, 3);
	assert_int_not_equal(sent.id, result.id);
	spin_while(&a.waiting, "the second answer");
	/* send tells the result and dies at once: what store has heard is not handed out again. */
	result.id = sent.id;
	lost = answered();
	store_queue_result(send, &result, on_answer, &lost);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_SEND, 0, fds[0]);
	store_client_attach(send, fds[1]);
	store_queue_credit(send, 5);
	a = answered();
	d.body.body = (struct view){ large, sizeof large }; /* it comes as a descriptor */
	sent.length = sizeof large;
	store_deliver(smtp, &d, on_answer, &a);
	sent.waiting = true;
	spin_while(&sent.waiting, "the third entry");
	assert_int_equal(sent.items, 4);
	assert_int_not_equal(sent.id, result.id);
	spin_while(&a.waiting, "the third answer");
	spin_while(&lost.waiting, "the answer that was lost, or not");
}

/* Queues n messages of len bytes, each for one recipient of its own domain. */
static void queue_some(struct store_client *smtp, unsigned n, size_t len)
{
	static const char *to[] = { "r@far.example" };
	char *body = xcalloc(1, len + 1);
	struct store_remote *remotes = xcalloc(n, sizeof *remotes);
	struct store_delivery d = { .body = { { body, len }, VIEW_LIT("") }, .remote = remotes, .remote_count = n };
	struct answer a = answered();

	memset(body, 'b', len);
	for (unsigned i = 0; i < n; i++)
		remotes[i] = (struct store_remote){
			.sender = "a@x", .recipients = to, .recipient_count = 1, .domain = "far.example"
		};
	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&a.waiting, "queueing");
	assert_int_equal(a.result.status, STORE_OK);
	free(remotes);
	free(body);
}

struct taker { /* a send that answers at once, or keeps what it gets */
	struct store_client *client;
	unsigned items, resulted, disorder;
	uint64_t last, first;
	bool answers, waiting;
	int64_t next_due;
};

static void on_taken_back(void *arg, const struct store_result *r)
{
	struct taker *t = arg;

	t->resulted += r->status == STORE_OK;
	store_queue_credit(t->client, 1);
}

static void result_of(struct taker *t, uint64_t id)
{
	struct queue_recipient_result out = { "r@far.example", QUEUE_RETRY, "connection timed out" };
	struct queue_result result = { .id = id, .recipients = &out, .count = 1, .next_due = t->next_due };

	store_queue_result(t->client, &result, on_taken_back, t);
}

static void on_taken(void *arg, const struct queue_item *item)
{
	struct taker *t = arg;

	close(item->message_fd);
	if (t->items++ == 0)
		t->first = item->id;
	t->disorder += item->id <= t->last;
	t->last = item->id;
	t->waiting = false;
	if (t->answers)
		result_of(t, item->id);
}

/* A queue full of mail for a dead host: each entry is handed out once, in order, with no more in flight than asked for.
 */
static void test_dead_destination(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *send = keep(client(ROLE_SEND, 0));
	struct taker t = { .client = send, .answers = true, .next_due = clock_wall() + 3600 };
	uint64_t began;

	(void)state;
	for (int i = 0; i < 10; i++)
		queue_some(smtp, 1000, 100);
	store_on_queue_item(send, on_taken, &t);
	began = clock_mono_ms();
	store_queue_credit(send, 200);
	for (int i = 0; i < 3000 && t.resulted < 10000; i++)
		turn(10);
	assert_int_equal(t.items, 10000);
	assert_int_equal(t.resulted, 10000);
	assert_true(clock_mono_ms() - began < 25000);
	turn(50);
	assert_int_equal(t.items, 10000);
	assert_int_equal(t.disorder, 0);
}

/* What is due again at once is handed out again, each of it, however results and news of the index come together. */
static void test_at_once(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *send = keep(client(ROLE_SEND, 0));
	struct taker t = { .client = send, .answers = true };
	unsigned answered_before;

	(void)state;
	queue_some(smtp, 30, 100);
	store_on_queue_item(send, on_taken, &t);
	store_queue_credit(send, 200);
	for (int i = 0; i < 1000 && t.items < 4000; i++)
		turn(10);
	t.answers = false; /* now they stay, and must be all there */
	answered_before = t.items;
	for (int i = 0; i < 300 && (t.resulted < answered_before || t.items < answered_before + 30); i++)
		turn(10);
	assert_int_equal(t.resulted, answered_before);
	assert_int_equal(t.items, answered_before + 30);
}

/* Put off while the clock was ten years ahead: tried now.  An hour is an hour. */
static void test_wrong_clock(void **state)
{
	struct view to[1] = { VIEW_LIT("r@far.example") };
	struct proto_remote remote = {
		.sender = VIEW_LIT("a@x"), .domain = VIEW_LIT("far.example"), .recipients = to, .recipient_count = 1
	};
	struct proto_request p = {
		.type = STORE_DELIVER, .body = VIEW_LIT("b"), .remotes = &remote, .remote_count = 1
	};
	int64_t due[] = { clock_wall() + 3600, clock_wall() + INT64_C(10) * 365 * 86400 };
	struct taker t = { .answers = true, .next_due = INT64_MAX };
	struct engine e;

	(void)state;
	store_down();
	store_must_open(&e, &dir);
	for (int i = 0; i < 2; i++) {
		struct request *r = ask(&e, p);
		struct record put_off = { .type = RECORD_QUEUE_DUE, .queue = r->reply.queue_id, .due = due[i] };
		t.first = r->reply.queue_id;
		request_free(r);
		assert_int_equal(tx_begin(&e.tx, &e.index, true), 0);
		e.tx_open = true;
		engine_put(&e, &put_off, VIEW_NONE);
		assert_int_equal(engine_commit(&e), 0);
		assert_int_equal(engine_publish(&e), 0);
	}
	engine_close(&e);
	store_up();
	t.client = keep(client(ROLE_SEND, 0));
	store_on_queue_item(t.client, on_taken, &t);
	store_queue_credit(t.client, 9);
	turn(200);
	assert_int_equal(t.items, 1); /* and not again at once, whatever send says */
	assert_int_equal(t.first, t.last);
}

/* Messages that are out are memory: only so much of them at once, however much credit there is. */
static void test_bytes_in_flight(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *send = keep(client(ROLE_SEND, 0));
	struct taker t = { .client = send, .next_due = clock_wall() + 3600 };

	(void)state;
	((struct keeper *)ctx.state)->in_flight_max = 250000;
	queue_some(smtp, 6, 100000);
	store_on_queue_item(send, on_taken, &t);
	store_queue_credit(send, 100);
	turn(100);
	assert_int_equal(t.items, 2);
	result_of(&t, t.first);
	turn(100);
	assert_int_equal(t.items, 3);
	queue_some(smtp, 1, 400000);
	t.answers = true;
	result_of(&t, t.last);
	result_of(&t, t.last - 1);
	turn(300);
	assert_int_equal(t.items, 7); /* one that is larger than the limit goes alone */
}

/* An entry whose message is damaged is told of once, holds up nobody, and can be dropped. */
static void test_damaged_message(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *send = keep(client(ROLE_SEND, 0));
	struct taker t = { .client = send, .next_due = clock_wall() + 3600 };
	int fd;

	(void)state;
	queue_some(smtp, 1, 3000);
	fd = openat(dir.fd, "log/0000000001.log", O_RDWR);
	assert_int_equal(pwrite(fd, "X", 1, 1000), 1);
	close(fd);
	alerts = 0;
	store_on_queue_item(send, on_taken, &t);
	store_queue_credit(send, 5);
	turn(50);
	for (unsigned i = 1; i < 4; i++) {
		queue_some(smtp, 1, 10);
		turn(50);
		assert_int_equal(t.items, i);
	}
	assert_int_equal(alerts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dead_destination, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_message, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!freopen("/dev/null", "w", stderr)) /* the damage that a test makes is logged */
		return 1;
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
