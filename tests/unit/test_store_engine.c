/* What each request does, and that the index is a function of the log: replay and rebuild give the same tables. */
#include "lib/clock.h"
#include "store_help.h"

static struct folder dir;
static struct engine e;

static int setup(void **state)
{
	(void)state;
	folder_make(&dir);
	store_must_open(&e, &dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	engine_close(&e);
	folder_remove(&dir);
	return 0;
}

static void test_deliver(void **state)
{
	struct proto_local locals[2] = { { VIEW_LIT("a@example.org"), VIEW_LIT(""), VIEW_LIT("Return-Path: <>\r\n") },
		{ VIEW_LIT("b@example.org"), VIEW_LIT("Lists/x"), VIEW_LIT("") } };
	struct request *r;
	struct tx tx;
	uint32_t a, b;
	struct message_value m;
	struct key k;

	(void)state;
	r = ask(&e, (struct proto_request){ .type = STORE_DELIVER,
			.date = 77,
			.body = VIEW_LIT("hello"),
			.mime = VIEW_LIT("m"),
			.locals = locals,
			.local_count = 2 });
	assert_int_equal(r->reply.status, STORE_OK);
	request_free(r);
	a = account_of(&e, "a@example.org");
	b = account_of(&e, "b@example.org");
	assert_true(a && b && a != b);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_int_not_equal(find_mailbox(&tx, a, VIEW_LIT("Sent")), 0);
	assert_int_not_equal(find_mailbox(&tx, b, VIEW_LIT("Lists")), 0);
	k = message_key(find_mailbox(&tx, a, VIEW_LIT("INBOX")), 1);
	assert_true(tx_get_fixed(&tx, T_MESSAGE, &k, &m, sizeof m, NULL));
	assert_int_equal(m.size, 17 + 5);
	assert_int_equal(m.date, 77);
	assert_int_equal(body_references(&tx, m.body), 2);
	k = message_key(find_mailbox(&tx, b, VIEW_LIT("Lists/x")), 1);
	assert_true(tx_get_fixed(&tx, T_MESSAGE, &k, &m, sizeof m, NULL));
	assert_int_equal(m.size, 5);
	tx_abort(&tx);
}

static void test_quota_and_accounts(void **state)
{
	struct request *reload = xcalloc(1, sizeof *reload);
	struct proto_local both[2] = { { VIEW_LIT("a@x"), VIEW_LIT(""), VIEW_LIT("") },
		{ VIEW_LIT("b@x"), VIEW_LIT(""), VIEW_LIT("") } };
	struct buf before, after;
	uint32_t old;

	(void)state;
	reload->p.type = ENGINE_RELOAD;
	reload->accounts = (struct engine_accounts){ .at = xcalloc(2, sizeof(struct engine_account)), .count = 2 };
	reload->accounts.at[0] = (struct engine_account){ .address = xstrdup("a@x"), .limits.bytes = 100 };
	reload->accounts.at[1] = (struct engine_account){ .address = xstrdup("b@x"), .limits.bytes = 0 };
	engine_run(&e, reload);
	request_free(reload);
	assert_int_equal(status_of(deliver_to(&e, "nobody@x", "", "", VIEW_LIT("x"))), STORE_NO_ACCOUNT);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "1234567890", VIEW_LIT("1234567890"))), STORE_OK);
	dump(&e, &before);
	/* All or nothing: b has room, a has not. */
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_DELIVER,
					       .body = { "x", 1 },
					       .locals = both,
					       .local_count = 2,
					       .mime = { before.data, 100 } })),
	    STORE_OK);
	char big[90] = "";
	assert_int_equal(
	    status_of(ask(&e,
		(struct proto_request){
		    .type = STORE_DELIVER, .body = { big, sizeof big }, .locals = both, .local_count = 2 })),
	    STORE_OVER_QUOTA);
	assert_int_equal(status_of(ask(&e,
			     (struct proto_request){
				 .type = STORE_APPEND, .mailbox = inbox(&e, "a@x"), .body = { big, sizeof big } })),
	    STORE_OVER_QUOTA);
	buf_free(&before);
	/* Taken out of the site: the name is free, the mail stays with the old number. */
	old = account_of(&e, "a@x");
	reload = xcalloc(1, sizeof *reload);
	reload->p.type = ENGINE_RELOAD;
	reload->accounts = (struct engine_accounts){ .at = xcalloc(1, sizeof(struct engine_account)), .count = 1 };
	reload->accounts.at[0] = (struct engine_account){ .address = xstrdup("b@x"), .limits.bytes = 0 };
	engine_run(&e, reload);
	request_free(reload);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	assert_int_equal(account_of(&e, "a@x"), 0);
	e.accounts_known = false;
	inbox(&e, "a@x");
	assert_int_not_equal(account_of(&e, "a@x"), old);
	dump(&e, &after);
	buf_free(&after);
}

static void test_flags_and_keywords(void **state)
{
	char range[8];
	uint32_t box = inbox(&e, "a@x");
	struct request *r;
	struct mailbox_value m;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("body"))), STORE_OK);
	r = ask(&e, (struct proto_request){ .type = STORE_FLAGS,
			.mailbox = box,
			.mode = FLAGS_ADD,
			.flags = FLAG_SEEN | FLAG_DELETED,
			.keywords = { VIEW_LIT("$Junk") },
			.keyword_count = 1,
			.ranges = range_text(range, 2, 4) });
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(ranges_count(r->reply.source), 1);
	assert_int_equal(ranges_at(r->reply.source, 0).first, 2);
	assert_int_equal(ranges_at(r->reply.source, 0).last, 4);
	assert_int_equal(r->reply.modseqs.len, 8); /* one step */
	request_free(r);
	m = mailbox_row_of(&e, box);
	assert_int_equal(m.unseen, 2);
	assert_int_equal(m.deleted, 3);
	assert_int_equal(m.keywords, 1);
	assert_int_equal(m.recent, 5);
	/* The same again changes nothing, and takes no modseq. */
	r = ask(&e, (struct proto_request){ .type = STORE_FLAGS,
			.mailbox = box,
			.mode = FLAGS_ADD,
			.flags = FLAG_SEEN,
			.keywords = { VIEW_LIT("$JUNK") },
			.keyword_count = 1,
			.ranges = range_text(range, 2, 4) });
	assert_int_equal(ranges_count(r->reply.source), 0);
	assert_int_equal(r->reply.modseqs.len, 0);
	assert_int_equal(r->reply.modseq, m.modseq);
	request_free(r);
	assert_int_equal(mailbox_row_of(&e, box).modseq, m.modseq);
	assert_int_equal(
	    status_of(ask(&e, (struct proto_request){ .type = STORE_CLAIM_RECENT, .mailbox = box })), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, box).recent, 0);
	r = ask(
	    &e, (struct proto_request){
		    .type = STORE_EXPUNGE, .mailbox = box, .flags = 1, .ranges = range_text(range, 1, UINT32_MAX) });
	assert_int_equal(ranges_at(r->reply.source, 0).first, 2);
	assert_int_equal(ranges_at(r->reply.source, 0).last, 4);
	request_free(r);
	m = mailbox_row_of(&e, box);
	assert_int_equal(m.messages, 2);
	assert_int_equal(m.deleted, 0);
	assert_int_equal(m.tombstones, 3);
	assert_int_equal(m.bytes, 8);
	assert_int_equal(
	    status_of(ask(
		&e, (struct proto_request){ .type = STORE_FLAGS, .mailbox = 9999, .ranges = range_text(range, 1, 1) })),
	    STORE_NO_MAILBOX);
}

static void test_too_many_keywords(void **state)
{
	char names[KEYWORDS_MAX + 1][16], range[8];
	uint32_t box = inbox(&e, "a@x");
	struct proto_request p = {
		.type = STORE_FLAGS, .mailbox = box, .mode = FLAGS_ADD, .ranges = range_text(range, 1, 9)
	};

	(void)state;
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("body"))), STORE_OK);
	for (int i = 0; i < KEYWORDS_MAX; i++) {
		snprintf(names[i], sizeof names[i], "k%d", i);
		p.keywords[i] = view_of(names[i]);
	}
	p.keyword_count = KEYWORDS_MAX;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	p.keywords[0] = VIEW_LIT("more");
	p.keyword_count = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_INVALID);
}

static void test_copy_and_move(void **state)
{
	char range[8];
	uint32_t box = inbox(&e, "a@x"), to, other = inbox(&e, "b@x");
	struct proto_request p = { .type = STORE_COPY, .mailbox = box };
	struct request *r;

	(void)state;
	to = mailbox_of(
	    ask(&e, (struct proto_request){
			.type = STORE_CREATE, .account = account_of(&e, "a@x"), .name = VIEW_LIT("Work/2026") }));
	for (int i = 0; i < 6; i++)
		assert_int_equal(status_of(deliver_to(&e, "a@x", "", "P", VIEW_LIT("body"))), STORE_OK);
	assert_int_equal(
	    status_of(ask(&e,
		(struct proto_request){ .type = STORE_EXPUNGE, .mailbox = box, .ranges = range_text(range, 3, 3) })),
	    STORE_OK);
	p.to = to;
	p.ranges = range_text(range, 2, 5);
	r = ask(&e, p);
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(ranges_count(r->reply.source), 2); /* 2, 4:5 */
	assert_int_equal(ranges_at(r->reply.source, 1).first, 4);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 1);
	assert_int_equal(ranges_at(r->reply.destination, 0).last, 3);
	assert_int_equal(r->reply.mailbox, to);
	request_free(r);
	p.flags = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, to).messages, 6);
	assert_int_equal(mailbox_row_of(&e, box).messages, 2);
	/* Into itself: only what was there is copied. */
	p.to = box;
	p.flags = 0;
	p.ranges = range_text(range, 1, UINT32_MAX);
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, box).messages, 4);
	p.to = other; /* of another account: copied, then moved */
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, other).messages, 4);
	p.flags = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, other).messages, 8);
	assert_int_equal(mailbox_row_of(&e, box).messages, 0);
	p.to = 4711;
	assert_int_equal(status_of(ask(&e, p)), STORE_NO_MAILBOX);
}

static enum store_status create(uint32_t account, const char *name)
{
	return status_of(
	    ask(&e, (struct proto_request){ .type = STORE_CREATE, .account = account, .name = view_of(name) }));
}

static uint32_t find(uint32_t account, const char *name)
{
	struct tx tx;
	uint32_t id;

	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	id = find_mailbox(&tx, account, view_of(name));
	tx_abort(&tx);
	return id;
}

static enum store_status rename_to(uint32_t mailbox, const char *name)
{
	return status_of(
	    ask(&e, (struct proto_request){ .type = STORE_RENAME, .mailbox = mailbox, .name = view_of(name) }));
}

static void test_mailboxes(void **state)
{
	static const char *const bad[] = { "", "/a", "a/", "a//b", "a\x01", "a*", "50%", "\xff", "\xc0\xaf",
		"\xed\xa0\x80" };
	uint32_t box = inbox(&e, "a@x"), account = account_of(&e, "a@x"), id;
	char deep[200] = "d";

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(create(account, bad[i]), STORE_INVALID);
	for (int i = 0; i < 32; i++)
		memcpy(deep + 1 + 2 * i, "/d", 3);
	assert_int_equal(create(account, deep), STORE_INVALID);
	assert_int_equal(create(account, "inbox"), STORE_EXISTS);
	assert_int_equal(create(account, "a/b/c"), STORE_OK);
	assert_int_equal(create(account, "Entw\xc3\xbcrfe"), STORE_OK);
	assert_int_equal(create(999, "a"), STORE_NO_ACCOUNT);
	id = find(account, "a");
	assert_int_not_equal(id, 0);
	assert_int_equal(rename_to(id, "a/x"), STORE_INVALID);
	assert_int_equal(rename_to(id, "Sent"), STORE_EXISTS);
	assert_int_equal(rename_to(id, "new/place"), STORE_OK);
	assert_int_equal(find(account, "new/place"), id);
	assert_int_not_equal(find(account, "new/place/b/c"), 0);
	assert_int_equal(find(account, "a/b"), 0);
	assert_int_equal(
	    status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = box })), STORE_INVALID);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = id })), STORE_OK);
	assert_int_not_equal(find(account, "new/place/b"), 0); /* children stay */
	/* INBOX renamed: its messages move, it stays. */
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("one"))), STORE_OK);
	assert_int_equal(rename_to(box, "Old"), STORE_OK);
	assert_int_equal(find(account, "INBOX"), box);
	assert_int_equal(mailbox_row_of(&e, box).messages, 0);
	assert_int_equal(mailbox_row_of(&e, find(account, "Old")).messages, 1);
}

static void test_delete_is_swept(void **state)
{
	uint32_t account, id;
	struct account_value a = { 0 };
	struct tx tx;
	MDB_stat st;

	(void)state;
	inbox(&e, "a@x");
	account = account_of(&e, "a@x");
	for (int i = 0; i < 2500; i++)
		assert_int_equal(status_of(deliver_to(&e, "a@x", "Gone", "", VIEW_LIT("x"))), STORE_OK);
	id = find(account, "Gone");
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = id })), STORE_OK);
	assert_int_equal(create(account, "Gone"), STORE_OK);
	assert_int_not_equal(find(account, "Gone"), id);
	while (engine_housekeeping(&e))
		assert_int_equal(engine_commit(&e), 0);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_true(get_account(&tx, account, &a, NULL));
	assert_int_equal(a.messages, 0);
	mdb_stat(tx.txn, e.index.dbi[T_MESSAGE], &st);
	assert_int_equal(st.ms_entries, 0);
	mdb_stat(tx.txn, e.index.dbi[T_EXPUNGED], &st);
	assert_int_equal(st.ms_entries, 2500);
	tx_abort(&tx);
	/* When undelete is over, bodies go too. */
	atomic_store(&e.undelete, 0);
	while (engine_housekeeping(&e))
		assert_int_equal(engine_commit(&e), 0);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	mdb_stat(tx.txn, e.index.dbi[T_BODY], &st);
	assert_int_equal(st.ms_entries, 0);
	tx_abort(&tx);
}

static void test_queue(void **state)
{
	struct view to[2] = { VIEW_LIT("x@far.example"), VIEW_LIT("y@far.example") };
	struct proto_remote remote = { .sender = VIEW_LIT("a@x"),
		.domain = VIEW_LIT("far.example"),
		.flags = QUEUE_EIGHT_BIT,
		.recipients = to,
		.recipient_count = 2 };
	struct proto_outcome out[2] = { { VIEW_LIT("x@far.example"), VIEW_LIT("250 ok"), QUEUE_DELIVERED },
		{ VIEW_LIT("y@far.example"), VIEW_LIT("451 later"), QUEUE_RETRY } };
	struct proto_local bounce = { VIEW_LIT("a@x"), VIEW_LIT(""), VIEW_LIT("") };
	int64_t later = clock_wall() + 5000;
	struct proto_request p = { .type = STORE_QUEUE_RESULT, .outcomes = out, .outcome_count = 2, .date = later };
	struct queue_entry q;
	struct request *r;
	struct tx tx;

	(void)state;
	r = ask(&e, (struct proto_request){
			.type = STORE_DELIVER, .body = VIEW_LIT("mail"), .remotes = &remote, .remote_count = 1 });
	assert_int_equal(r->reply.status, STORE_OK);
	p.queue = r->reply.queue_id;
	assert_int_not_equal(p.queue, 0);
	request_free(r);
	p.attempt = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	/* Told again, as after a death between commit and answer: nothing changes. */
	p.date = later + 100;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	p.attempt = 0;
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_true(get_queue(&tx, p.queue, &q));
	assert_int_equal(q.recipients[0].state, RECIPIENT_DELIVERED);
	assert_int_equal(q.recipients[1].state, RECIPIENT_WAITING);
	assert_true(view_eq(q.recipients[1].reply, "451 later"));
	assert_int_equal(q.fixed.attempts, 1);
	assert_int_equal(q.fixed.due, later);
	tx_abort(&tx);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_ADMIN_QUEUE_CHANGE, .mode = QUEUE_TRY })), STORE_OK);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_true(get_queue(&tx, p.queue, &q));
	assert_true(q.fixed.due < later);
	tx_abort(&tx);
	out[1].outcome = QUEUE_FAILED;
	p.bounce = true;
	p.locals = &bounce;
	p.local_count = 1;
	p.body = VIEW_LIT("it failed");
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 1);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_false(get_queue(&tx, p.queue, &q));
	tx_abort(&tx);
	assert_int_equal(status_of(ask(&e, p)), STORE_INVALID);
	assert_int_equal(
	    status_of(ask(&e, (struct proto_request){ .type = STORE_ADMIN_QUEUE_CHANGE, .mode = QUEUE_DROP, .queue = 3 })), STORE_INVALID);
}

/* The last word about a message reaches a sender whose mailbox is full. */
static void test_bounce_to_full_mailbox(void **state)
{
	struct request *reload = xcalloc(1, sizeof *reload), *r;
	struct view to[1] = { VIEW_LIT("x@far.example") };
	struct proto_remote remote = { .sender = VIEW_LIT("a@x"),
		.domain = VIEW_LIT("far.example"),
		.recipients = to,
		.recipient_count = 1 };
	struct proto_outcome out = { VIEW_LIT("x@far.example"), VIEW_LIT("550 no"), QUEUE_FAILED };
	struct proto_local bounce = { VIEW_LIT("a@x"), VIEW_LIT(""), VIEW_LIT("") };
	struct proto_request p = { .type = STORE_QUEUE_RESULT,
		.outcomes = &out,
		.outcome_count = 1,
		.bounce = true,
		.locals = &bounce,
		.local_count = 1,
		.body = VIEW_LIT("it failed, and this is longer than the quota") };

	(void)state;
	reload->p.type = ENGINE_RELOAD;
	reload->accounts = (struct engine_accounts){ .at = xcalloc(1, sizeof(struct engine_account)), .count = 1 };
	reload->accounts.at[0] = (struct engine_account){ .address = xstrdup("a@x"), .limits.bytes = 10 };
	engine_run(&e, reload);
	request_free(reload);
	r = ask(&e, (struct proto_request){
			.type = STORE_DELIVER, .body = VIEW_LIT("mail"), .remotes = &remote, .remote_count = 1 });
	p.queue = r->reply.queue_id;
	request_free(r);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", p.body)), STORE_OVER_QUOTA);
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 1);
}

/* A request that looks at many rows and changes few lets others in between. */
static void test_slices(void **state)
{
	uint32_t box = inbox(&e, "a@x"), rows = SLICE_LOOKED + 500;
	struct request *r = xcalloc(1, sizeof *r);
	struct record body = { .type = RECORD_BODY, .body = 1, .references = 1 };
	char range[8];

	(void)state;
	assert_int_equal(tx_begin(&e.tx, &e.index, true), 0);
	e.tx_open = true;
	body.references = rows;
	engine_put(&e, &body, VIEW_LIT("x"));
	for (uint32_t uid = 1; uid <= rows; uid++) {
		struct record m = { .type = RECORD_MESSAGE, .mailbox = box, .uid = uid, .modseq = uid + 1, .body = 1 };
		m.flags = uid == rows ? FLAG_DELETED : FLAG_SEEN;
		engine_put(&e, &m, VIEW_NONE);
	}
	assert_int_equal(engine_commit(&e), 0);
	for (int type = 0; type < 2; type++) {
		r->p = (struct proto_request){ .type = type ? STORE_EXPUNGE : STORE_FLAGS,
			.mailbox = box,
			.mode = FLAGS_ADD,
			.flags = 1,
			.ranges = range_text(range, 1, UINT32_MAX) };
		r->resume = 0;
		buf_reset(&r->source);
		assert_int_equal(engine_run(&e, r), RUN_MORE);
		assert_int_equal(engine_commit(&e), 0);
		assert_int_equal(engine_run(&e, r), RUN_DONE);
		assert_int_equal(engine_commit(&e), 0);
		assert_int_equal(ranges_count(r->reply.source), 1);
		assert_int_equal(ranges_at(r->reply.source, 0).first, rows);
	}
	request_free(r);
}

static void test_full(void **state)
{
	uint32_t box = inbox(&e, "a@x");
	char range[8];

	(void)state;
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("x"))), STORE_OK);
	atomic_store(&e.full, true);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("x"))), STORE_FULL);
	assert_int_equal(
	    status_of(ask(&e, (struct proto_request){ .type = STORE_APPEND, .mailbox = box, .body = VIEW_LIT("x") })),
	    STORE_FULL);
	assert_int_equal(
	    status_of(ask(&e,
		(struct proto_request){ .type = STORE_EXPUNGE, .mailbox = box, .ranges = range_text(range, 1, 1) })),
	    STORE_OK);
}

static uint32_t pick(unsigned *seed, uint32_t n)
{
	return (uint32_t)rand_r(seed) % n;
}

/* One random request; most are valid. */
static void random_step(unsigned *seed, struct view big)
{
	static const char *const accounts[] = { "a@x", "b@x", "c@x" };
	static const char *const names[] = { "", "INBOX", "Work", "Work/a", "Work/a/b", "Lists", "Sent" };
	static const char *const words[] = { "$Junk", "$Forwarded", "todo", "done" };
	const char *account = accounts[pick(seed, 3)], *name = names[pick(seed, 7)];
	uint32_t box = 1 + pick(seed, 30), first = 1 + pick(seed, 20);
	struct proto_request p = { .mailbox = box,
		.to = 1 + pick(seed, 30),
		.account = 1 + pick(seed, 3),
		.name = view_of(name),
		.flags = pick(seed, 32),
		.mode = pick(seed, 3),
		.keywords = { view_of(words[pick(seed, 4)]) },
		.date = pick(seed, 1000) };
	struct view to[1] = { VIEW_LIT("r@far.example") };
	struct proto_remote remote = { .sender = view_of(account),
		.domain = VIEW_LIT("far.example"),
		.recipients = to,
		.recipient_count = 1 };
	char range[8];

	p.ranges = range_text(range, first, first + pick(seed, 12));
	p.keyword_count = pick(seed, 2);
	switch (pick(seed, 14)) {
	case 0:
	case 1:
	case 2:
	case 3:
		status_of(deliver_to(
		    &e, account, name, "Return-Path: <>\r\n", (struct view){ big.ptr, pick(seed, (uint32_t)big.len) }));
		return;
	case 4:
		p.type = STORE_APPEND;
		p.body = (struct view){ big.ptr, pick(seed, 3000) };
		break;
	case 5:
	case 6:
		p.type = STORE_FLAGS;
		break;
	case 7:
		p.type = STORE_COPY;
		p.flags &= 1;
		break;
	case 8:
		p.type = STORE_EXPUNGE;
		p.flags &= 1;
		break;
	case 9:
		p.type = pick(seed, 4) ? STORE_CREATE : STORE_DELETE;
		p.flags = 0;
		break;
	case 10:
		p.type = pick(seed, 2) ? STORE_RENAME : STORE_SUBSCRIBE;
		p.flags &= 1;
		break;
	case 11:
		p.type = STORE_CLAIM_RECENT;
		break;
	case 12:
		p.type = STORE_DELIVER;
		p.body = VIEW_LIT("queued");
		p.remotes = &remote;
		p.remote_count = 1;
		break;
	default:
		atomic_store(&e.undelete, pick(seed, 2) ? 0 : 3600);
		engine_housekeeping(&e);
		assert_int_equal(engine_commit(&e), 0);
		engine_publish(&e);
		return;
	}
	status_of(ask(&e, p));
}

static void test_replay_is_the_same(void **state)
{
	struct buf live, again;
	char *big = xmalloc(200000);
	uint64_t messages, damaged;
	struct error err;
	struct engine_options o = { .store_dir = dir.fd, .undelete = 3600, .boot_id = "boot-1" };

	(void)state;
	memset(big, 'x', 200000);
	engine_close(&e);
	for (unsigned seed = 1; seed <= 6; seed++) {
		unsigned s = seed;
		/* Small segments, so that many are begun. */
		assert_int_equal(store_open_as(&e, &dir, "boot-1", 1 << 20), 0);
		for (int i = 0; i < 3; i++)
			inbox(&e, i == 0 ? "a@x" : i == 1 ? "b@x" : "c@x");
		for (int i = 0; i < 200; i++) {
			random_step(&s, (struct view){ big, seed % 2 ? 2000 : 150000 });
			if (i % 50 == 49) {
				checkpoint_begin(&e);
				assert_int_equal(checkpoint_write(&e), 0);
				checkpoint_end(&e);
			}
		}
		dump(&e, &live);
		if (seed % 2)
			store_kill(&e); /* then the next open replays nothing or little */
		else
			engine_close(&e);
		assert_int_equal(store_open_as(&e, &dir, "boot-1", 1 << 20), 0);
		dump(&e, &again);
		assert_same_index(&live, &again, "opened again");
		buf_free(&again);
		engine_close(&e);
		assert_int_equal(engine_rebuild(&o, &messages, &damaged, &err), 0);
		assert_int_equal(damaged, 0);
		assert_int_equal(store_open_as(&e, &dir, "boot-1", 0), 0);
		dump(&e, &again);
		assert_same_index(&live, &again, "rebuilt");
		buf_free(&again);
		buf_free(&live);
		engine_close(&e);
	}
	free(big);
	store_must_open(&e, &dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deliver, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quota_and_accounts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags_and_keywords, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_keywords, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_and_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mailboxes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete_is_swept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounce_to_full_mailbox, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replay_is_the_same, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
