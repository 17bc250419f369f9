/*
 * The order in which the queue goes out: priorities, destinations that are away or slow, what the administrator wants,
 * and what an entry carries.
 */
#include "store_role_help.h"

#define AWAY_MAX 4000

struct seen { /* a send that keeps what it gets until told otherwise */
	struct store_client *client;
	struct got {
		uint64_t id;
		char domain[64], sender[64];
		bool wanted;
	} got[AWAY_MAX];
	size_t count;
	struct queue_item last; /* what it was; strings below */
	char envid[128], orcpt[128], route[128];
	struct queue_dsn dsn;
};
static struct seen seen;

static void on_item(void *arg, const struct queue_item *item)
{
	struct seen *s = arg;
	struct got *g = &s->got[s->count % AWAY_MAX];

	close(item->message_fd);
	g->id = item->id;
	g->wanted = item->wanted;
	snprintf(g->domain, sizeof g->domain, "%s", item->domain);
	snprintf(g->sender, sizeof g->sender, "%s", item->sender);
	snprintf(s->envid, sizeof s->envid, "%s", item->envid);
	snprintf(s->route, sizeof s->route, "%s", item->route);
	snprintf(s->orcpt, sizeof s->orcpt, "%s", item->dsn[0].orcpt);
	s->dsn = item->dsn[0];
	s->last = *item;
	s->count++;
}

static void until_seen(size_t count)
{
	uint64_t end = clock_mono_ms() + 10000;

	while (seen.count < count && clock_mono_ms() < end)
		turn(4);
	if (seen.count != count)
		fail_msg("%zu entries were handed out, %zu are right", seen.count, count);
}

/* As many as there are, and no more. */
static void settles(size_t count)
{
	until_seen(count);
	turn(60);
	until_seen(count);
}

static void send_up(uint32_t credit)
{
	turn(20); /* a delivery is answered a moment before it is seen */
	memset(&seen, 0, sizeof seen);
	seen.client = keep(client(ROLE_SEND, 0));
	store_on_queue_item(seen.client, on_item, &seen);
	store_queue_credit(seen.client, credit);
}

static struct store_client *smtp;

static uint64_t put(const struct store_remote *remote)
{
	struct store_delivery d = { .body = { VIEW_LIT("mail"), VIEW_LIT("") }, .remote = remote, .remote_count = 1 };
	struct answer a = answered();

	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&a.waiting, "queueing");
	assert_int_equal(a.result.status, STORE_OK);
	return a.result.queue_id;
}

static uint64_t put_to(const char *domain, enum queue_priority priority)
{
	static const char *to[] = { "r@there.example" };

	return put(&(struct store_remote){
	    .sender = "a@x", .recipients = to, .recipient_count = 1, .domain = domain, .priority = priority });
}

static void resulted(void *arg, const struct store_result *r)
{
	(void)arg;
	assert_int_equal(r->status, STORE_OK);
	store_queue_credit(seen.client, 1);
}

static void result(uint64_t id, enum queue_outcome outcome, int64_t due, bool told)
{
	struct queue_recipient_result out = { "r@there.example", outcome, "the remote's words" };

	store_queue_result(seen.client,
	    &(struct queue_result){ .id = id, .recipients = &out, .count = 1, .next_due = due, .delay_told = told },
	    resulted, NULL);
}

static struct command { /* shared with the process that asks */
	enum queue_action action;
	struct queue_select select;
	const char *route;
	bool sums;
	int64_t changed;
	char json[1 << 19];
} *command;

static int change(int fd)
{
	uint64_t count;
	struct error e;
	int rc = store_admin_queue_change(fd, command->action, &command->select, command->route, &count, &e);

	command->changed = rc == 0 ? (int64_t)count : -1;
	return rc == -1;
}

/* How many entries that changed; -1: there is no such entry. */
static int64_t administer(enum queue_action action, struct queue_select select, const char *route)
{
	command->action = action;
	command->select = select;
	command->route = route;
	in_command(change);
	return command->changed;
}

static int list(int fd)
{
	struct buf json = BUF_INIT(sizeof command->json - 1), place = BUF_INIT(1024);
	struct error e;
	uint64_t after = 0;
	int rc;

	do
		rc = command->sums ? store_admin_queue_summary(fd, &place, &json, &e)
		                   : store_admin_queue_page(fd, &command->select, &after, &json, &e);
	while (rc == 0);
	snprintf(command->json, sizeof command->json, "%s", buf_str(&json));
	return rc != 1;
}

static char *listed(bool sums, struct queue_select select)
{
	command->sums = sums;
	command->select = select;
	in_command(list);
	return command->json;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("saw %s, wanted %s", text, part);
}

static int begin(void **state)
{
	setup(state);
	site.relay.expire = 5 * 86400;
	site.relay.delay_warning = 4 * 3600;
	smtp = keep(client(ROLE_SMTP, 0));
	return 0;
}

/* What the sender asked for is there after a restart, byte for byte. */
static void test_carried(void **state)
{
	static const char *to[] = { "r@there.example", "s@there.example" };
	static const struct queue_dsn dsn[] = { { DSN_SUCCESS | DSN_DELAY, "rfc822;r+2Bx@there.example" },
		{ DSN_NEVER, "" } };
	uint64_t id = put(&(struct store_remote){ .sender = "a@x",
	    .recipients = to,
	    .recipient_count = 2,
	    .domain = "there.example",
	    .priority = QUEUE_BULK,
	    .envid = "QQ314159",
	    .ret = DSN_RET_HDRS,
	    .dsn = dsn });

	(void)state;
	store_down();
	store_up();
	send_up(5);
	until_seen(1);
	assert_int_equal(seen.got[0].id, id);
	assert_string_equal(seen.envid, "QQ314159");
	assert_string_equal(seen.orcpt, "rfc822;r+2Bx@there.example");
	assert_int_equal(seen.dsn.notify, DSN_SUCCESS | DSN_DELAY);
	assert_int_equal(seen.last.ret, DSN_RET_HDRS);
	assert_int_equal(seen.last.priority, QUEUE_BULK);
	assert_int_equal(seen.last.recipient_count, 2);
	assert_false(seen.last.delay_told);
	assert_string_equal(seen.route, "");
	has(listed(false, (struct queue_select){ 0 }), "\"notify\":\"NEVER\"");
	result(id, QUEUE_DELIVERED, 0, false); /* one of two: the other has no word, and is next */
	until_seen(2);
	assert_int_equal(seen.last.recipient_count, 1);
	assert_int_equal(seen.dsn.notify, DSN_NEVER);
}

/* People's mail first, notifications last, whatever came first; a bounce is last whatever it says. */
static void test_priorities(void **state)
{
	static const char *to[] = { "a@x" };
	uint64_t ids[5];

	(void)state;
	ids[4] = put(&(struct store_remote){
	    .sender = "", .recipients = to, .recipient_count = 1, .domain = "a.example", .bounce = true });
	ids[3] = put_to("b.example", QUEUE_LAST);
	ids[2] = put_to("c.example", QUEUE_BULK);
	ids[1] = put_to("d.example", QUEUE_NORMAL);
	ids[0] = put_to("d.example", QUEUE_NORMAL);
	send_up(5);
	settles(5);
	assert_int_equal(seen.got[0].id, ids[1]);
	assert_int_equal(seen.got[1].id, ids[0]);
	assert_int_equal(seen.got[2].id, ids[2]);
	assert_true(seen.got[3].id == ids[3] || seen.got[3].id == ids[4]);
	assert_int_equal(seen.got[3].id + seen.got[4].id, ids[3] + ids[4]);
}

/* A row that came at another time, as a replayed record would make it. */
static uint64_t put_old(
    struct engine *e, const char *domain, int64_t created, int64_t due, enum queue_priority priority)
{
	struct buf to = BUF_INIT(64), asked = BUF_INIT(64);
	struct record body = { .type = RECORD_BODY, .body = 0, .references = 1 }, r = { .type = RECORD_QUEUE_ENTRY };

	engine_need_tx(e);
	body.body = e->tx.meta.next_body;
	engine_put(e, &body, VIEW_LIT("mail"));
	buf_put_str(&to, "r@there.example");
	buf_put_str(&asked, "");
	buf_put_u8(&asked, 0);
	buf_put_str(&asked, "");
	r.queue = (uint64_t)created << 24;
	if (r.queue < e->tx.meta.next_queue)
		r.queue = e->tx.meta.next_queue;
	r.body = body.body;
	r.when = created;
	r.due = due;
	r.number = priority;
	r.sender = VIEW_LIT("a@x");
	r.name = view_of(domain);
	r.text = buf_view(&to);
	r.mime = buf_view(&asked);
	engine_put(e, &r, VIEW_NONE);
	assert_int_equal(engine_commit(e), 0);
	assert_int_equal(engine_publish(e), 0);
	buf_free(&to);
	buf_free(&asked);
	return r.queue;
}

/* What has waited long enough goes before people's mail of now: nothing starves. */
static void test_no_starving(void **state)
{
	int64_t now = clock_wall();
	struct engine e;
	uint64_t bulk, last, early;

	(void)state;
	store_down();
	store_must_open(&e, &dir);
	last = put_old(&e, "last.example", now - 2000, now - 1000, QUEUE_LAST);
	bulk = put_old(&e, "bulk.example", now - 1500, now - 1000, QUEUE_BULK);
	early = put_old(&e, "early.example", now - 1400, now - 200, QUEUE_BULK);
	engine_close(&e);
	store_up();
	smtp = keep(client(ROLE_SMTP, 0));
	put_to("d.example", QUEUE_NORMAL);
	send_up(9);
	settles(4);
	assert_int_equal(seen.got[0].id, bulk);
	assert_int_equal(seen.got[1].id, last);
	assert_string_equal(seen.got[2].domain, "d.example");
	assert_int_equal(seen.got[3].id, early);
}

/* A destination that is away is passed over, costs no credit, and says why; when it is back, all of it goes out. */
static void test_away(void **state)
{
	int64_t until = clock_wall() + 3600;

	(void)state;
	for (int i = 0; i < 50; i++)
		put_to("away.example", QUEUE_NORMAL);
	send_up(8);
	until_seen(6); /* three quarters */
	store_queue_defer(seen.client, "away.example", until, "connection refused");
	for (size_t i = 0; i < 6; i++)
		result(seen.got[i].id, QUEUE_RETRY, until, false);
	settles(6);
	put_to("live.example", QUEUE_NORMAL);
	settles(7);
	assert_string_equal(seen.got[6].domain, "live.example");
	put_to("away.example", QUEUE_NORMAL);
	settles(7);
	has(listed(true, (struct queue_select){ 0 }), "{\"destination\":\"away.example\",\"entries\":51,\"held\":0");
	has(listed(true, (struct queue_select){ 0 }), "\"away\":\"connection refused\"");
	has(listed(false, (struct queue_select){ .to = "away.example" }), "\"away\":\"connection refused\"");
	store_queue_defer(seen.client, "away.example", 0, "");
	until_seen(12); /* its share again, one credit is the other's */
	store_queue_defer(seen.client, "*", until, "the smarthost is away");
	put_to("third.example", QUEUE_NORMAL);
	settles(12);
	role_store.reload(&ctx); /* another way perhaps */
	until_seen(13);
}

/* What is away and due earlier than that comes back by itself. */
static void test_away_ends(void **state)
{
	(void)state;
	put_to("away.example", QUEUE_NORMAL);
	send_up(0);
	store_queue_defer(seen.client, "away.example", clock_wall() + 2, "for a moment");
	store_queue_credit(seen.client, 5);
	turn(300);
	until_seen(0);
	until_seen(1);
}

/* While a destination is away, what is too old to wait goes out all the same, once: to be told of, or to end. */
static void test_away_aged(void **state)
{
	int64_t now = clock_wall();
	uint64_t dead, late;
	struct engine e;

	(void)state;
	store_down();
	store_must_open(&e, &dir);
	dead = put_old(&e, "away.example", now - 6 * 86400, now + 60, QUEUE_NORMAL);
	late = put_old(&e, "away.example", now - 5 * 3600, now - 100, QUEUE_NORMAL);
	put_old(&e, "away.example", now - 3600, now - 100, QUEUE_NORMAL);
	engine_close(&e);
	store_up();
	send_up(0);
	store_queue_defer(seen.client, "away.example", now + 7200, "away");
	store_queue_credit(seen.client, 9);
	settles(2);
	assert_int_equal(seen.got[0].id, dead);
	assert_int_equal(seen.got[1].id, late);
	result(dead, QUEUE_FAILED, 0, false);
	result(late, QUEUE_RETRY, now + 100, true);
	settles(2);
	store_queue_defer(seen.client, "away.example", now + 7300, "still away");
	settles(2);
	store_queue_defer(seen.client, "away.example", 0, "");
	settles(3); /* the third; the other is due in a while, and its sender knows */
	has(listed(false, (struct queue_select){ 0 }), "\"delay_told\":true");
}

/* A slow destination leaves room for others. */
static void test_share(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		put_to("slow.example", QUEUE_NORMAL);
	send_up(40);
	settles(30);
	put_to("live.example", QUEUE_NORMAL);
	settles(31);
	assert_string_equal(seen.got[30].domain, "live.example");
	for (int i = 0; i < 20; i++)
		put_to("other.example", QUEUE_NORMAL);
	settles(37); /* three quarters of what the slow one leaves */
	result(seen.got[0].id, QUEUE_DELIVERED, 0, false);
	settles(38);
}

static void test_hold(void **state)
{
	uint64_t one = put_to("one.example", QUEUE_NORMAL), two = put_to("two.example", QUEUE_NORMAL);

	(void)state;
	assert_int_equal(administer(QUEUE_HOLD, (struct queue_select){ .id = one }, NULL), 1);
	assert_int_equal(administer(QUEUE_HOLD, (struct queue_select){ .id = one }, NULL), 0);
	assert_int_equal(administer(QUEUE_HOLD, (struct queue_select){ .id = 77 }, NULL), -1);
	store_down();
	store_up();
	send_up(9);
	settles(1);
	assert_int_equal(seen.got[0].id, two);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .id = one }, NULL), 0); /* held is held */
	settles(1);
	has(listed(false, (struct queue_select){ .held = true }), "\"held\":true");
	assert_int_equal(
	    administer(QUEUE_HOLD, (struct queue_select){ .to = "two.example" }, NULL), 1); /* being sent */
	result(two, QUEUE_RETRY, clock_wall(), false);
	settles(1);
	assert_int_equal(administer(QUEUE_RELEASE, (struct queue_select){ .held = true }, NULL), 2);
	settles(3);
}

static void test_change(void **state)
{
	static const char *to[] = { "r@there.example" };
	uint64_t id;

	(void)state;
	for (int i = 0; i < 9000; i++) /* several slices */
		put_to(i % 3 ? "many.example" : "few.example", QUEUE_NORMAL);
	id = put(&(struct store_remote){
	    .sender = "", .recipients = to, .recipient_count = 1, .domain = "many.example", .bounce = true });
	assert_int_equal(administer(QUEUE_HOLD, (struct queue_select){ .from = "x" }, NULL), 9000);
	assert_int_equal(administer(QUEUE_DROP, (struct queue_select){ .to = "few.example" }, NULL), 3000);
	assert_int_equal(administer(QUEUE_DROP, (struct queue_select){ .from = "<>" }, NULL), 1);
	assert_int_equal(administer(QUEUE_DROP, (struct queue_select){ .id = id }, NULL), -1);
	assert_int_equal(
	    administer(QUEUE_DROP, (struct queue_select){ .to = "r@there.example", .created_before = 5 }, NULL), 0);
	assert_int_equal(
	    administer(QUEUE_DROP, (struct queue_select){ .to = "R@THERE.example", .from = "b@x" }, NULL), 0);
	has(listed(true, (struct queue_select){ 0 }),
	    "{\"destination\":\"many.example\",\"entries\":4000,\"held\":4000");
	assert_int_equal(administer(QUEUE_DROP, (struct queue_select){ .to = "r@there.example" }, NULL), 6000);
	assert_string_equal(listed(true, (struct queue_select){ 0 }), "[]");
}

/* By another way: also past a destination that is away; and back. */
static void test_reroute(void **state)
{
	uint64_t id = put_to("there.example", QUEUE_NORMAL);

	(void)state;
	send_up(0);
	store_queue_defer(seen.client, "there.example", clock_wall() + 3600, "away");
	store_queue_credit(seen.client, 9);
	settles(0);
	assert_int_equal(administer(QUEUE_REROUTE, (struct queue_select){ .id = id }, "relay.example:25"), 1);
	settles(1);
	assert_string_equal(seen.route, "relay.example:25");
	result(id, QUEUE_RETRY, clock_wall(), false);
	settles(2);
	assert_string_equal(seen.route, "relay.example:25");
	has(listed(false, (struct queue_select){ .to = "relay.example:25" }), "\"route\":\"relay.example:25\"");
	assert_int_equal(administer(QUEUE_HOLD, (struct queue_select){ .id = id }, NULL), 1);
	assert_int_equal(administer(QUEUE_REROUTE, (struct queue_select){ .to = "there.example" }, ""), 1);
	result(id, QUEUE_RETRY, clock_wall(), false);
	assert_int_equal(administer(QUEUE_RELEASE, (struct queue_select){ .id = id }, NULL), 1);
	settles(3);
	assert_string_equal(seen.route, "");
}

/* One entry of many that wait for a destination that is away: that one, at once. */
static void test_wanted(void **state)
{
	uint64_t id = 0;

	(void)state;
	for (int i = 0; i < 30; i++) {
		uint64_t other = put_to("away.example", QUEUE_NORMAL);
		if (i == 17)
			id = other;
	}
	send_up(0);
	store_queue_defer(seen.client, "away.example", clock_wall() + 3600, "away");
	store_queue_credit(seen.client, 20);
	settles(0);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .id = id }, NULL), 1);
	settles(1);
	assert_int_equal(seen.got[0].id, id);
	assert_true(seen.got[0].wanted);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .to = "away.example" }, NULL), 30);
	settles(15);
	assert_true(seen.got[1].wanted); /* one tells send; the others follow it */
	assert_false(seen.got[2].wanted);
}

static void test_name_set(void **state)
{
	struct name_set set = { 0 };
	char name[32];

	(void)state;
	assert_false(name_set_has(&set, VIEW_LIT("d0.example")));
	for (int twice = 0; twice < 2; twice++)
		for (int i = 0; i < 5000; i++) {
			snprintf(name, sizeof name, twice ? "D%d.EXAMPLE" : "d%d.example", i);
			name_set_add(&set, view_of(name));
		}
	assert_int_equal(set.count, 5000);
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "d%d.example", i);
		assert_int_equal(name_set_has(&set, view_of(name)), i < 5000);
	}
	free(set.at);
}

/* All that a selection means, and nothing else: other destinations are away still. */
static void test_wanted_some(void **state)
{
	static const char *to[] = { "one@there.example", "two@there.example" };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		put(&(struct store_remote){ .sender = i ? "b@y" : "a@x",
		    .recipients = &to[i],
		    .recipient_count = 1,
		    .domain = i ? "Away.example" : "there.example" });
	put_to("third.example", QUEUE_NORMAL);
	send_up(0);
	store_queue_defer(seen.client, "there.example", clock_wall() + 3600, "away");
	store_queue_defer(seen.client, "Away.example", clock_wall() + 3600, "away");
	store_queue_defer(seen.client, "third.example", clock_wall() + 3600, "away");
	store_queue_credit(seen.client, 20);
	settles(0);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .to = "nobody@there.example" }, NULL), 0);
	settles(0);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .to = "one@there.example" }, NULL), 1);
	settles(1);
	assert_string_equal(seen.got[0].domain, "there.example");
	assert_true(seen.got[0].wanted);
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ .from = "y" }, NULL), 1);
	settles(2);
	assert_string_equal(seen.got[1].domain, "Away.example");
	assert_int_equal(administer(QUEUE_TRY, (struct queue_select){ 0 }, NULL), 3);
	settles(3);
}

/* send dies: what it had goes out again, also what it had got early. */
static void test_send_dies(void **state)
{
	uint64_t first[3];
	int fds[2];

	(void)state;
	for (int i = 0; i < 3; i++)
		first[i] = put_to("there.example", (enum queue_priority)i);
	send_up(9);
	settles(3);
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_SEND, 0, fds[0]);
	store_client_attach(seen.client, fds[1]);
	store_queue_credit(seen.client, 9);
	settles(6);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(seen.got[3 + i].id, first[i]);
		result(first[i], QUEUE_DELIVERED, 0, false);
	}
	settles(6);
	assert_string_equal(listed(true, (struct queue_select){ 0 }), "[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_carried, begin, teardown),
		cmocka_unit_test_setup_teardown(test_priorities, begin, teardown),
		cmocka_unit_test_setup_teardown(test_no_starving, begin, teardown),
		cmocka_unit_test_setup_teardown(test_away, begin, teardown),
		cmocka_unit_test_setup_teardown(test_away_ends, begin, teardown),
		cmocka_unit_test_setup_teardown(test_away_aged, begin, teardown),
		cmocka_unit_test_setup_teardown(test_share, begin, teardown),
		cmocka_unit_test_setup_teardown(test_hold, begin, teardown),
		cmocka_unit_test_setup_teardown(test_change, begin, teardown),
		cmocka_unit_test_setup_teardown(test_reroute, begin, teardown),
		cmocka_unit_test_setup_teardown(test_wanted, begin, teardown),
		cmocka_unit_test_setup_teardown(test_wanted_some, begin, teardown),
		cmocka_unit_test(test_name_set),
		cmocka_unit_test_setup_teardown(test_send_dies, begin, teardown),
	};

	command = mmap(NULL, sizeof *command, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (command == MAP_FAILED)
		return 1;
	return run_quietly(tests, sizeof tests / sizeof *tests, "tests");
}
