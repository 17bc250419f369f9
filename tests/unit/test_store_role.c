/*
 * The store role with its clients and a reader, over real channels in one event loop: deliveries become visible,
 * pushes arrive, the queue is handed out once, hostile peers lose their channel, administration answers, and a
 * restarted store is followed.
 */
#include "store_role_help.h"

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

/* What no peer may send closes its channel, and only its own; monitor is asked to start that peer again. */
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
	assert_int_equal(kills[ROLE_SMTP][1], 1);
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
	assert_true(kills[ROLE_IMAP][2] > 50 && kills[ROLE_SEND][2] > 50);
	assert_int_equal(kills[ROLE_SMTP][0], 0);
}

/* A datagram that is no message, and a peer that just ends: only the first is asked to be killed. */
static void test_broken_framing(void **state)
{
	static const char junk[40];
	int fds[2];

	(void)state;
	memset(kills, 0, sizeof kills);
	for (int broken = 0; broken < 2; broken++)
		for (enum role_id role = ROLE_MONITOR; role <= ROLE_SMTP; role += ROLE_SMTP) {
			assert_int_equal(imsg_pair(fds), 0);
			role_store.peer(&ctx, role, 3, fds[0]);
			if (broken)
				assert_int_equal(send(fds[1], junk, 5, 0), 5);
			else
				close(fds[1]);
			for (int i = 0; i < 3; i++)
				event_base_loop(base, EVLOOP_NONBLOCK);
			assert_int_equal(kills[ROLE_SMTP][3], broken && role == ROLE_SMTP);
			if (broken)
				close(fds[1]);
		}
}

/* A reader that stays in an old snapshot is started again, and pins nothing meanwhile. */
static void test_laggard(void **state)
{
	struct keeper *s = ctx.state;
	struct channel *ch;
	int fds[2];

	(void)state;
	memset(kills, 0, sizeof kills);
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_IMAP, 4, fds[0]);
	ch = TAILQ_LAST(&s->channels, channels);
	assert_true(ch->role == ROLE_IMAP && ch->slot != -1);
	atomic_store(&s->readers.at[ch->slot].page->epoch, 1);
	atomic_store(&s->shared->epoch, EPOCHS_KEPT + 2);
	for (int i = 0; i < 30 && kills[ROLE_IMAP][4] == 0; i++) {
		struct timeval step = { 0, 100000 };
		event_base_loopexit(base, &step);
		event_base_loop(base, 0);
	}
	assert_int_equal(kills[ROLE_IMAP][4], 1);
	assert_true(readers_oldest(&s->readers) == UINT64_MAX);
	close(fds[1]);
}

/* One request of a type, well-formed, on a channel of its own: true when it is answered, false when the channel closes.
 */
static bool is_answered(enum role_id role, uint32_t type)
{
	char range[8];
	struct proto_local local = { VIEW_LIT("a@x"), VIEW_LIT(""), VIEW_LIT("") };
	struct proto_request p = { .type = type,
		.name = VIEW_LIT("a@x"),
		.ranges = range_text(range, 1, 1),
		.key = VIEW_LIT("0123456789abcdef"),
		.locals = &local,
		.local_count = 1 };
	struct buf head = BUF_INIT(4096), payload = BUF_INIT(4096), data = BUF_INIT(4096), in = BUF_INIT(IMSG_MAX);
	struct imsg m = { .fd = -1 };
	int fds[2], fd, rc = 1;

	proto_request_put(&head, &p);
	proto_payload_put(&payload, buf_view(&head), VIEW_NONE, VIEW_NONE);
	if (type == STORE_QUEUE_CREDIT || type == STORE_REQUESTS)
		buf_put_u32(&data, 0);
	else if (type == STORE_QUEUE_DEFER) {
		buf_put_str(&data, "away.example");
		buf_put_u64(&data, 1);
		buf_put_str(&data, "why");
	} else if (type == STORE_ADMIN_QUEUE_LIST || type == STORE_ADMIN_QUEUE_SUMMARY ||
		   type == STORE_ADMIN_QUEUE_CHANGE)
		proto_select_put(&data, &(struct proto_request){ .queue = 1 });
	else if (type >= STORE_ADMIN_QUEUE_LIST && type < STORE_ADMIN_END)
		buf_put_u64(&data, 1);
	else
		assert_int_equal(proto_wrap(buf_view(&payload), &data, &fd), 0);
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, role, 7, fds[0]);
	assert_int_equal(imsg_send(fds[1], type, 1, buf_view(&data), -1), 0);
	if (type == STORE_QUEUE_CREDIT || type == STORE_QUEUE_DEFER || type == STORE_ADMIN_READER) /* has no answer of its own */
		assert_int_equal(imsg_send(fds[1], STORE_REQUESTS, 1, VIEW_NONE, -1), 0);
	while (rc == 1 && m.type != STORE_REPLY && m.type != STORE_ADMIN_REPLY) {
		if (m.fd != -1)
			close(m.fd);
		m.fd = -1;
		while ((rc = imsg_recv(fds[1], 0, &m, &in)) == -1 && (errno == ETIMEDOUT || errno == EAGAIN))
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	close(fds[1]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	buf_free(&head);
	buf_free(&payload);
	buf_free(&data);
	buf_free(&in);
	return rc == 1;
}

/* Who may ask what: nothing that is not here. */
static void test_permissions(void **state)
{
	static const struct {
		enum role_id role;
		uint32_t types[32];
	} allowed[] = {
		{ ROLE_SMTP, { STORE_DELIVER, STORE_REQUESTS } },
		{ ROLE_SEND, { STORE_QUEUE_RESULT, STORE_QUEUE_CREDIT, STORE_QUEUE_DEFER, STORE_REQUESTS } },
		{ ROLE_IMAP, { STORE_APPEND, STORE_FLAGS, STORE_COPY, STORE_EXPUNGE, STORE_CLAIM_RECENT, STORE_CREATE,
				 STORE_DELETE, STORE_RENAME, STORE_SUBSCRIBE, STORE_OPEN_ACCOUNT, STORE_REQUESTS,
				 STORE_APPEND_MANY, STORE_FLAGS_UNCHANGED, STORE_SET_ACL, STORE_SET_METADATA } },
		{ ROLE_MONITOR, { STORE_DELIVER, STORE_APPEND, STORE_FLAGS, STORE_COPY, STORE_EXPUNGE, STORE_CLAIM_RECENT,
				    STORE_CREATE, STORE_DELETE, STORE_RENAME, STORE_SUBSCRIBE, STORE_OPEN_ACCOUNT,
				    STORE_QUEUE_RESULT, STORE_APPEND_MANY, STORE_FLAGS_UNCHANGED, STORE_SET_ACL,
				    STORE_SET_METADATA, STORE_IMPORT, STORE_UNDELETE, STORE_RENAME_ACCOUNT, STORE_HAND_OVER,
				    STORE_ERASE_ACCOUNT, STORE_REQUESTS, STORE_ADMIN_READER, STORE_ADMIN_QUEUE_LIST, STORE_ADMIN_QUEUE_SUMMARY,
				    STORE_ADMIN_QUEUE_SHOW, STORE_ADMIN_QUEUE_CHANGE, STORE_ADMIN_ACCOUNTS, STORE_ADMIN_SNAPSHOT, STORE_ADMIN_COMPACT } },
		{ ROLE_LOGIN, { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
		for (uint32_t type = 0; type < 80; type++) {
			bool may = false;
			for (int j = 0; type && j < 32; j++)
				may |= allowed[i].types[j] == type;
			if (is_answered(allowed[i].role, type) != may)
				fail_msg(
				    "%s, request %u: %s", role_name(allowed[i].role), type, may ? "refused" : "served");
		}
}

/* How many; -1: no such entry. */
static int changes(int fd, enum queue_action action, uint64_t id)
{
	uint64_t count;
	struct error e;
	int rc = store_admin_queue_change(fd, action, &(struct queue_select){ .id = id }, NULL, &count, &e);

	return rc == 0 ? (int)count : rc == 1 ? -1 : -2;
}

static int admin_child(int fd)
{
	struct buf json = BUF_INIT(1 << 20), message = BUF_INIT(1 << 20);
	struct error e;
	unsigned long long id = 0;
	const char *at;

	if (store_admin_queue_list(fd, &json, &e) != 0 || !(at = strstr(buf_str(&json), "\"id\":\"")) ||
	    sscanf(at + 6, "%16llx", &id) != 1)
		return 1;
	buf_reset(&json);
	if (store_admin_queue_show(fd, id, &json, &message, &e) != 0 || !view_eq(buf_view(&message), "to send") ||
	    !strstr(buf_str(&json), "far.example"))
		return 2;
	if (store_admin_queue_show(fd, 1, &json, &message, &e) != 1 || changes(fd, QUEUE_TRY, 1) != -1)
		return 3;
	if (changes(fd, QUEUE_TRY, 0) != 1 || changes(fd, QUEUE_TRY, id) != 1)
		return 4;
	if (changes(fd, QUEUE_DROP, id) != 1 || changes(fd, QUEUE_DROP, id) != -1)
		return 5;
	buf_reset(&json);
	if (store_admin_queue_list(fd, &json, &e) != 0 || !view_eq(buf_view(&json), "[]"))
		return 6;
	buf_reset(&json);
	if (store_admin_accounts(fd, &json, &e) != 0 ||
	    !strstr(buf_str(&json), "{\"address\":\"a@x\",\"id\":1,\"messages\":1,"))
		return 7;
	buf_reset(&json);
	if (store_admin_snapshot(fd, &json, &e) != 0 ||
	    !strstr(buf_str(&json), "{\"segments\":[\"0000000001.log\"],\"position\":"))
		return 8;
	/* Compacted by the commit thread and its helper, as far as this snapshot allows. */
	if (store_admin_compact(fd, STORE_COMPACT_ALL, &json, &e) != 0)
		return 9;
	do {
		buf_reset(&json);
		if (store_admin_compact(fd, STORE_COMPACT_ASK, &json, &e) != 0)
			return 10;
	} while (!strstr(buf_str(&json), "\"phase\":\"wait\""));
	if (!strstr(buf_str(&json), "\"error\":\"\"") || strstr(buf_str(&json), "\"state_bytes\":0,"))
		return 11;
	buf_reset(&json);
	if (store_admin_snapshot(fd, &json, &e) != 0 ||
	    !strstr(buf_str(&json), ".state\",\"0000000001.log\""))
		return 12;
	return 0;
}

/* A delivery is published a few ms after its answer; who asks for the queue in between sees it all the same. */
static void test_admin_sees_at_once(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0));
	const char *to[] = { "r@far.example" };
	struct store_remote remote = {
		.sender = "a@x", .recipients = to, .recipient_count = 1, .domain = "far.example"
	};
	struct store_delivery d = { .body = { VIEW_LIT("m"), VIEW_LIT("") }, .remote = &remote, .remote_count = 1 };
	struct buf question = BUF_INIT(1024), in = BUF_INIT(IMSG_MAX);
	int fds[2];

	(void)state;
	proto_select_put(&question, &(struct proto_request){ 0 });
	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, ROLE_MONITOR, 0, fds[0]);
	for (size_t i = 1; i <= 20; i++) {
		struct answer a = answered();
		struct imsg m = { .fd = -1 };
		struct view payload, mapped;
		size_t listed = 0;
		store_deliver(smtp, &d, on_answer, &a);
		spin_while(&a.waiting, "queueing");
		assert_int_equal(imsg_send(fds[1], STORE_ADMIN_QUEUE_LIST, 1, buf_view(&question), -1), 0);
		while (imsg_recv(fds[1], 0, &m, &in) != 1)
			event_base_loop(base, EVLOOP_NONBLOCK);
		assert_int_equal(m.type, STORE_ADMIN_REPLY);
		assert_int_equal(proto_unwrap(&m, ADMIN_JSON_MAX, &payload, &mapped), 0);
		for (const char *at = payload.ptr; (at = memmem(at, (size_t)(payload.ptr + payload.len - at), "\"id\":", 5));)
			listed++, at += 5;
		if (mapped.ptr)
			munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
		assert_int_equal(listed, i);
	}
	close(fds[1]);
	buf_free(&question);
	buf_free(&in);
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

	(void)state;
	assert_int_equal(deliver(smtp, "a@x", VIEW_LIT("hello")), STORE_OK);
	store_deliver(smtp, &d, on_answer, &a);
	spin_while(&a.waiting, "queueing");
	in_command(admin_child);
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

/* More expunges than are kept: the reader can tell that the list is not whole. */
static void test_too_many_expunges(void **state)
{
	struct record body = { .type = RECORD_BODY, .body = 1, .references = TOMBSTONES_MAX + 2000 };
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);
	struct store_client *imap;
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct engine e;
	uint32_t box;
	char range[8];

	(void)state;
	store_down();
	store_must_open(&e, &dir);
	box = inbox(&e, "a@x");
	assert_int_equal(tx_begin(&e.tx, &e.index, true), 0);
	e.tx_open = true;
	engine_put(&e, &body, VIEW_LIT("x"));
	for (uint32_t uid = 1; uid <= body.references; uid++) {
		struct record r = {
			.type = RECORD_MESSAGE, .mailbox = box, .uid = uid, .modseq = uid + 1, .body = 1
		};
		engine_put(&e, &r, VIEW_NONE);
	}
	assert_int_equal(engine_commit(&e), 0);
	assert_int_equal(status_of(ask(&e,
			     (struct proto_request){ .type = STORE_EXPUNGE,
				 .mailbox = box,
				 .ranges = range_text(range, 1, UINT32_MAX) })),
	    STORE_OK);
	engine_close(&e);
	store_up();
	imap = keep(client(ROLE_IMAP, 0));
	store_view_follow(v, imap);
	view_wait(v);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_mailbox(v, box, m), 1);
	assert_int_equal(m->messages, 0);
	assert_false(view_changes_whole(v, box, 1));
	assert_false(view_changes_whole(v, box, body.references + 1));
	assert_true(view_changes_whole(v, box, m->modseq));
	assert_true(view_changes_whole(v, box, m->modseq - 50000 / SLICE_ROWS)); /* the newest 100,000 are there */
	view_end(v);
	store_view_close(v);
	free(m);
}

static void *end_later(void *arg)
{
	nanosleep(&(struct timespec){ 0, 300000000 }, NULL);
	view_end(arg);
	return NULL;
}

/* A snapshot of the store before is whole until it is ended: the next store changes no page sooner. */
static void test_restart_waits_for_readers(void **state)
{
	struct store_client *smtp = keep(client(ROLE_SMTP, 0)), *imap = keep(client(ROLE_IMAP, 0));
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);
	struct account_row account;
	pthread_t thread;
	uint64_t began;

	(void)state;
	store_view_follow(v, imap);
	view_wait(v);
	assert_int_equal(deliver(smtp, "b@x", VIEW_LIT("hello")), STORE_OK);
	wait_messages(v, "b@x", 1);
	assert_int_equal(view_begin(v), 0);
	store_down();
	assert_int_equal(view_account(v, "b@x", &account), 1); /* not yet noticed, and still good */
	began = clock_mono_ms();
	assert_int_equal(pthread_create(&thread, NULL, end_later, v), 0);
	store_up();
	assert_true(clock_mono_ms() - began >= 250);
	pthread_join(thread, NULL);
	/* And who has still not noticed begins no other. */
	assert_int_equal(view_begin(v), -1);
	assert_true(clock_mono_ms() - began < 1500);
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
		cmocka_unit_test_setup_teardown(test_hostile_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_framing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_laggard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permissions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_admin_sees_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_admin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_expunges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_waits_for_readers, setup, teardown),
		cmocka_unit_test(test_laggards),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
