/*
 * The store role with its clients and a reader, over real channels in one event loop: deliveries become visible,
 * pushes arrive, the queue is handed out once, hostile peers lose their channel, administration answers, and a
 * restarted store is followed.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "mailsvc/store/service.h"
#include "store_help.h"

static struct folder dir;
static struct event_base *base;
static struct role_ctx ctx;
static struct site site;
static bool exited;
static unsigned alerts;

void role_exit(struct role_ctx *c)
{
	(void)c;
	exited = true;
}

void role_alert(struct role_ctx *c, const char *key, const char *fmt, ...)
{
	(void)c;
	(void)key;
	(void)fmt;
	alerts++;
}

const char *role_name(enum role_id id)
{
	static const char *const names[ROLE_COUNT] = { "monitor", "auth", "hash", "store", "login", "imap", "smtp",
		"resolver", "keys", "send" };

	return names[id];
}

static struct site_account accounts[] = { { .address = (char *)(uintptr_t) "a@x" },
	{ .address = (char *)(uintptr_t) "b@x" } };

static void store_up(void)
{
	struct error err;

	memset(&ctx, 0, sizeof ctx);
	ctx.base = base;
	ctx.role = &role_store;
	ctx.site = &site;
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	ctx.fds[ROLE_FD_STORE_DIR] = dir.fd;
	if (role_store.init(&ctx, &err) == -1)
		fail_msg("init: %s", err.text);
	role_store.start(&ctx);
}

static void spin_while(const bool *waiting, const char *what)
{
	uint64_t until = clock_mono_ms() + 20000;
	struct timeval step = { 0, 200000 };

	while (*waiting) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
		if (clock_mono_ms() > until)
			fail_msg("waited too long for %s", what);
	}
}

static void store_down(void)
{
	struct keeper *s = ctx.state;
	bool waiting = true;
	struct channel *ch;

	exited = false;
	role_store.drain(&ctx);
	while (!exited)
		event_base_loop(base, EVLOOP_ONCE);
	(void)waiting;
	while ((ch = TAILQ_FIRST(&s->channels)))
		channel_close(ch);
	body_reader_close(&s->bodies);
	event_free(s->tick);
	event_free(s->queue_timer);
	event_free(s->drain_timer);
	munmap(s->shared, EPOCH_PAGE);
	close(s->shared_fd);
	free(s->resulting);
	free(s);
}

static int setup(void **state)
{
	(void)state;
	folder_make(&dir);
	base = event_base_new();
	site.accounts = accounts;
	site.account_count = 2;
	site.limits.undelete = 3600;
	store_up();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_down();
	event_base_free(base);
	folder_remove(&dir);
	return 0;
}

static struct store_client *client(enum role_id role, unsigned instance)
{
	struct store_client *c = store_client_new(base);
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, role, instance, fds[0]);
	store_client_attach(c, fds[1]);
	return c;
}

/* Clients live as long as a process does: there is no free. For the leak checker their parts are kept reachable. */
static struct store_client *kept[32];
static size_t kept_count;

static struct store_client *keep(struct store_client *c)
{
	kept[kept_count++ % 32] = c;
	return c;
}

struct answer {
	bool waiting;
	struct store_result result;
	struct uid_range source, destination;
};

static void on_answer(void *arg, const struct store_result *r)
{
	struct answer *a = arg;

	a->waiting = false;
	a->result = *r;
	if (r->source_count)
		a->source = r->source[0];
	if (r->destination_count)
		a->destination = r->destination[0];
}

static struct answer answered(void)
{
	return (struct answer){ .waiting = true };
}

static uint32_t seen_changed;

static void on_change(void *arg, const uint32_t *mailboxes, size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		seen_changed |= 1u << (mailboxes[i] & 31);
}

static enum store_status deliver(struct store_client *c, const char *account, struct view body)
{
	struct store_local local = { account, NULL, VIEW_LIT("Return-Path: <>\r\n") };
	struct store_delivery d = {
		.body = { body, VIEW_LIT("record") }, .local = &local, .local_count = 1, .internal_date = 5
	};
	struct answer a = answered();

	store_deliver(c, &d, on_answer, &a);
	spin_while(&a.waiting, "a delivery");
	return a.result.status;
}

static void view_wait(struct store_view *v)
{
	for (int i = 0; i < 200 && !store_view_ready(v); i++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(store_view_ready(v));
}

static bool count_row(void *arg, const struct message_row *row)
{
	size_t *n = arg;

	assert_true(view_eq(row->prefix, "Return-Path: <>\r\n") || row->prefix.len == 0);
	(*n)++;
	return true;
}

/* Waits until the account's INBOX has so many messages (a delivery is visible a few ms after its answer). */
static void wait_messages(struct store_view *v, const char *account, uint32_t want)
{
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct account_row a;
	uint32_t have = 0;
	struct timeval step = { 0, 1000 };

	for (int i = 0; i < 2000 && have != want; i++) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
		assert_int_equal(view_begin(v), 0);
		if (view_account(v, account, &a) && view_mailbox_by_name(v, a.id, "inbox", m))
			have = m->messages;
		view_end(v);
	}
	assert_int_equal(have, want);
	free(m);
}

static void test_deliver_and_read(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *imap = keep(client(ROLE_IMAP, 0));
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct account_row account;
	struct message_row row;
	struct body_ref ref;
	size_t n = 0, len = 300000;
	char *big = xmalloc(len), *got = xmalloc(len);

	(void)state;
	for (size_t i = 0; i < len; i++)
		big[i] = (char)(i * 31 + i / 977);
	assert_non_null(v);
	store_view_follow(v, imap);
	store_on_change(imap, on_change, NULL);
	seen_changed = 0;
	view_wait(v);
	assert_int_equal(deliver(smtp, "a@x", VIEW_LIT("hello")), STORE_OK);
	assert_int_equal(deliver(smtp, "a@x", (struct view){ big, len }), STORE_OK); /* by memfd */
	assert_int_equal(deliver(smtp, "stranger@x", VIEW_LIT("hello")), STORE_NO_ACCOUNT);
	wait_messages(v, "a@x", 2);
	for (int i = 0; i < 200 && seen_changed == 0; i++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_not_equal(seen_changed, 0);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_begin(v), -1);
	assert_int_equal(view_account(v, "a@x", &account), 1);
	assert_int_equal(account.messages, 2);
	assert_int_equal(view_account(v, "b@x", &account), 0);
	view_account(v, "a@x", &account);
	assert_int_equal(view_mailbox_by_name(v, account.id, "INBOX", m), 1);
	assert_int_equal(view_messages(v, m->id, 1, UINT32_MAX, count_row, &n), 2);
	assert_int_equal(n, 2);
	assert_int_equal(view_message(v, m->id, 2, &row), 1);
	assert_int_equal(row.flags, FLAG_RECENT);
	assert_int_equal(row.size, len + 17);
	assert_int_equal(view_message(v, m->id, 3, &row), 0);
	view_message(v, m->id, 2, &row);
	assert_int_equal(view_body(v, row.body, &ref), 1);
	assert_true(view_eq(ref.mime, "record"));
	view_end(v);
	assert_int_equal(view_body_read(v, &ref, 0, got, len), 0);
	assert_memory_equal(got, big, len);
	assert_int_equal(view_body_read(v, &ref, 70000, got, 100), 0);
	assert_memory_equal(got, big + 70000, 100);
	store_view_close(v);
	free(m);
	free(big);
	free(got);
}

static void test_imap_reads_what_it_wrote(void **state)
{
	struct store_client *imap = keep(client(ROLE_IMAP, 0));
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct message_row row;
	const char *keywords[] = { "$Forwarded" };
	struct uid_range all[] = { { 5, 9 }, { 1, 3 }, { 2, 1 } };
	struct store_body body = { VIEW_LIT("x"), VIEW_LIT("") };
	struct answer a = answered();

	(void)state;
	store_view_follow(v, imap);
	view_wait(v);
	store_open_account(imap, "a@x", on_answer, &a);
	spin_while(&a.waiting, "open account");
	assert_int_equal(a.result.status, STORE_OK);
	for (uint32_t i = 1; i < 20; i++) {
		uint32_t box = a.result.mailbox;
		a = answered();
		store_append(imap, box, &body, FLAG_SEEN, keywords, 1, 9, on_answer, &a);
		spin_while(&a.waiting, "append");
		assert_int_equal(a.result.status, STORE_OK);
		assert_int_equal(a.destination.first, i);
		/* At once, without waiting: what was answered is there. */
		assert_int_equal(view_begin(v), 0);
		assert_int_equal(view_message(v, box, i, &row), 1);
		assert_int_equal(row.keywords, 1);
		assert_int_equal(view_mailbox(v, box, m), 1);
		assert_true(view_eq(m->keywords[0], "$Forwarded"));
		view_end(v);
	}
	uint32_t box = a.result.mailbox;
	a = answered();
	store_flags(imap, box, FLAGS_REMOVE, FLAG_SEEN, NULL, 0, all, 3, on_answer, &a);
	spin_while(&a.waiting, "flags");
	assert_int_equal(a.result.source_count, 2);
	assert_int_equal(a.source.first, 1);
	assert_int_equal(a.source.last, 3);
	a = answered();
	uint32_t id = store_expunge(imap, box, false, all, 1, on_answer, &a);
	store_cancel(imap, id);
	a = answered();
	store_claim_recent(imap, box, on_answer, &a);
	spin_while(&a.waiting, "recent");
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_mailbox(v, box, m), 1);
	assert_int_equal(m->messages, 14); /* the cancelled request happened all the same */
	assert_int_equal(m->recent, 0);
	view_end(v);
	store_view_close(v);
	free(m);
}

struct sent {
	unsigned items;
	uint64_t id;
	bool waiting;
};

static void on_item(void *arg, const struct queue_item *item)
{
	struct sent *s = arg;
	char text[16] = "";

	assert_int_equal(read(item->message_fd, text, sizeof text), 7);
	assert_string_equal(text, "to send");
	assert_int_equal(fcntl(item->message_fd, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
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
	struct sent sent = { .waiting = true };
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
	store_deliver(smtp, &d, on_answer, &a);
	sent.waiting = true;
	spin_while(&sent.waiting, "the third entry");
	assert_int_equal(sent.items, 4);
	assert_int_not_equal(sent.id, result.id);
	spin_while(&a.waiting, "the third answer");
	spin_while(&lost.waiting, "the answer that was lost, or not");
}

/* What no peer may send closes its channel, and only its own. */
static void test_hostile_peers(void **state)
{
	struct store_client *good = keep(client(ROLE_SMTP, 0));
	struct uid_range one = { 1, 1 };
	struct answer a = answered();

	(void)state;
	struct store_client *evil = keep(client(ROLE_SMTP, 1));
	store_flags(evil, 1, FLAGS_ADD, FLAG_SEEN, NULL, 0, &one, 1, on_answer, &a); /* not for smtp */
	spin_while(&a.waiting, "a refusal");
	assert_int_equal(a.result.status, STORE_UNAVAILABLE);
	for (uint32_t seed = 1; seed < 300; seed++) {
		int fds[2], fd = -1;
		char junk[64];
		unsigned s = seed;
		uint32_t type = (uint32_t)rand_r(&s) % 20;
		if (type == STORE_REQUESTS)
			continue;
		for (size_t i = 0; i < sizeof junk; i++)
			junk[i] = (char)(rand_r(&s) % 3 ? 0 : rand_r(&s));
		assert_int_equal(imsg_pair(fds), 0);
		role_store.peer(&ctx, seed % 2 ? ROLE_IMAP : ROLE_SEND, 2, fds[0]);
		if (seed % 5 == 0)
			fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd != -1)
			junk[0] = 1;
		imsg_send(fds[1], type, 1, (struct view){ junk, fd == -1 ? 1 + seed % 63 : 1 }, fd);
		for (int i = 0; i < 3; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		close(fds[1]);
	}
	assert_int_equal(deliver(good, "a@x", VIEW_LIT("still here")), STORE_OK);
}

static void admin_child(int fd)
{
	struct buf json = BUF_INIT(1 << 20), message = BUF_INIT(1 << 20);
	struct error e;
	unsigned long long id = 0;
	const char *at;

	if (store_admin_queue_list(fd, &json, &e) != 0 || !(at = strstr(buf_str(&json), "\"id\":\"")) ||
	    sscanf(at + 6, "%16llx", &id) != 1)
		_exit(1);
	buf_reset(&json);
	if (store_admin_queue_show(fd, id, &json, &message, &e) != 0 || !view_eq(buf_view(&message), "to send") ||
	    !strstr(buf_str(&json), "far.example"))
		_exit(2);
	if (store_admin_queue_show(fd, 1, &json, &message, &e) != 1 || store_admin_queue_retry(fd, 1, &e) != 1)
		_exit(3);
	if (store_admin_queue_retry(fd, 0, &e) != 0 || store_admin_queue_retry(fd, id, &e) != 0)
		_exit(4);
	if (store_admin_queue_drop(fd, id, &e) != 0 || store_admin_queue_drop(fd, id, &e) != 1)
		_exit(5);
	buf_reset(&json);
	if (store_admin_queue_list(fd, &json, &e) != 0 || !view_eq(buf_view(&json), "[]"))
		_exit(6);
	buf_reset(&json);
	if (store_admin_accounts(fd, &json, &e) != 0 ||
	    !strstr(buf_str(&json), "{\"address\":\"a@x\",\"id\":1,\"messages\":1,"))
		_exit(7);
	buf_reset(&json);
	if (store_admin_snapshot(fd, &json, &e) != 0 ||
	    !strstr(buf_str(&json), "{\"segments\":[\"0000000001.log\"],\"position\":"))
		_exit(8);
	_exit(0);
}

static void test_admin(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0));
	const char *to[] = { "r@far.example" };
	struct store_remote remote = {
		.sender = "a@x", .recipients = to, .recipient_count = 1, .domain = "far.example"
	};
	struct store_delivery d = {
		.body = { VIEW_LIT("to send"), VIEW_LIT("") }, .remote = &remote, .remote_count = 1
	};
	struct answer a = answered();
	struct timeval step = { 0, 10000 };
	int fds[2], status = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(deliver(smtp, "a@x", VIEW_LIT("hello")), STORE_OK);
	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&a.waiting, "queueing");
	/* Deliveries are published a few ms later; a request of imap's publishes all. */
	struct store_client *imap = keep(client(ROLE_IMAP, 0));
	a = answered();
	store_open_account(imap, "a@x", on_answer, &a);
	spin_while(&a.waiting, "open account");
	assert_int_equal(imsg_pair(fds), 0);
	if ((pid = fork()) == 0)
		admin_child(fds[1]);
	close(fds[1]);
	role_store.peer(&ctx, ROLE_MONITOR, 0, fds[0]);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_restart(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *imap = keep(client(ROLE_IMAP, 0));
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);
	struct account_row account;
	int fds[2];

	(void)state;
	store_view_follow(v, imap);
	view_wait(v);
	for (int i = 0; i < 10; i++)
		assert_int_equal(deliver(smtp, "b@x", VIEW_LIT("hello")), STORE_OK);
	wait_messages(v, "b@x", 10);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_account(v, "b@x", &account), 1);
	store_down();
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(view_account(v, "b@x", &account), 0); /* its store is gone: nothing is read any more */
	view_end(v);
	assert_int_equal(view_begin(v), -1);
	assert_int_equal(deliver(smtp, "b@x", VIEW_LIT("hello")), STORE_UNAVAILABLE);
	store_up();
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_SMTP, 0, fds[0]);
	store_client_attach(smtp, fds[1]);
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_IMAP, 0, fds[0]);
	store_client_attach(imap, fds[1]);
	view_wait(v);
	assert_int_equal(deliver(smtp, "b@x", VIEW_LIT("hello")), STORE_OK);
	wait_messages(v, "b@x", 11);
	store_view_close(v);
}

/* A reader that stays on an old epoch is found; one that keeps up, or is idle, is not. */
static void test_laggards(void **state)
{
	static struct readers r = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int fd, a = readers_add(&r, &fd), b;

	(void)state;
	close(fd);
	b = readers_add(&r, &fd);
	close(fd);
	assert_int_equal(readers_oldest(&r), UINT64_MAX);
	for (uint64_t epoch = 2; epoch < 10; epoch++)
		readers_epoch_begins(&r, epoch, epoch * 1000);
	atomic_store(&r.at[a].page->epoch, 9);
	assert_int_equal(readers_laggard(&r, 9, 1000000, 10000), -1);
	atomic_store(&r.at[b].page->epoch, 3);
	assert_int_equal(readers_oldest(&r), 3);
	assert_int_equal(readers_laggard(&r, 9, 9000, 10000), -1);
	assert_int_equal(readers_laggard(&r, 9, 14001, 10000), b);
	assert_int_equal(readers_laggard(&r, 900, 900000, 10000), b);
	readers_remove(&r, a);
	readers_remove(&r, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deliver_and_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_imap_reads_what_it_wrote, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_admin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test(test_laggards),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
