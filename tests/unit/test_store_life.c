/* Migration, undelete, another address, another owner, no trace at all. */
#include "lib/clock.h"
#include "store_prove.h"

static struct folder dir;
static struct engine e;

static int setup(void **state)
{
	(void)state;
	return prove_open(&e, &dir);
}

static int teardown(void **state)
{
	(void)state;
	return prove_close(&e, &dir);
}

static uint32_t deliver_n(const char *account, const char *mailbox, int n)
{
	uint32_t id = account_of(&e, account);

	for (int i = 0; i < n; i++)
		assert_int_equal(
		    status_of(deliver_to(&e, account, mailbox, "P\r\n", VIEW_LIT("0123456789"))), STORE_OK);
	if (!id)
		id = account_of(&e, account);
	return mailbox_named(&e, id, mailbox[0] ? mailbox : "INBOX");
}

static enum store_status delete_mailbox(uint32_t mailbox)
{
	return status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = mailbox }));
}

static uint32_t junked(void)
{
	return mailbox_of(deliver_to(&e, "a@x.org", "Junk", "P\r\n", VIEW_LIT("buy")));
}

/* "Junk" is the mailbox that is used for it, whatever it is called; the name decides where none is. */
static void test_junk(void **state)
{
	uint32_t used = junked(), account = account_of(&e, "a@x.org"), plain, fresh;

	(void)state;
	assert_int_equal(mailbox_row_of(&e, used).special, SPECIAL_JUNK);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_RENAME,
					       .mailbox = used,
					       .name = VIEW_LIT("Lists/Spam") })),
	    STORE_OK);
	assert_int_equal(junked(), used);
	assert_int_equal(mailbox_named(&e, account, "Junk"), 0);
	plain = mailbox_of(
	    ask(&e, (struct proto_request){ .type = STORE_CREATE, .account = account, .name = VIEW_LIT("Junk") }));
	assert_int_equal(junked(), used);
	assert_int_equal(delete_mailbox(used), STORE_OK);
	assert_int_equal(junked(), plain);
	assert_int_equal(delete_mailbox(plain), STORE_OK);
	fresh = junked();
	assert_true(fresh != used && fresh != plain);
	assert_int_equal(mailbox_row_of(&e, fresh).special, SPECIAL_JUNK);
	assert_int_equal(mailbox_named(&e, account, "Junk"), fresh);
}

static struct request *import(const char *mailbox, uint32_t validity, uint32_t uid, const char *key)
{
	return ask(&e, (struct proto_request){ .type = STORE_IMPORT,
			   .name = VIEW_LIT("a@x.org"),
			   .other = view_of(mailbox),
			   .uid_validity = validity,
			   .uid = uid,
			   .key = { key, IMPORT_KEY_LEN },
			   .flags = FLAG_SEEN,
			   .keywords = { VIEW_LIT("todo") },
			   .keyword_count = 1,
			   .date = 1234,
			   .mode = 1,
			   .body = VIEW_LIT("imported"),
			   .mime = VIEW_LIT("m") });
}

#define KEY(n) "key-0123456789-" n

static void test_import(void **state)
{
	struct request *r = import("Old/Work", 77, 500, KEY("1"));
	uint32_t box = r->reply.mailbox;
	struct message_value row;

	(void)state;
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.uid_validity, 77);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 500);
	request_free(r);
	row = message_row_of(&e, box, 500);
	assert_int_equal(row.flags, FLAG_SEEN);
	assert_int_equal(row.keywords, 1);
	assert_int_equal(row.date, 1234);
	/* Again: nothing; the uid is told. */
	r = import("Old/Work", 77, 500, KEY("1"));
	assert_int_equal(r->reply.status, STORE_EXISTS);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 500);
	request_free(r);
	assert_int_equal(mailbox_row_of(&e, box).messages, 1);
	/* An older uid: the next; a later mailbox of another number: as it is. */
	r = import("Old/Work", 99, 300, KEY("2"));
	assert_int_equal(r->reply.uid_validity, 77);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 501);
	request_free(r);
	/* Expunged, and still remembered. */
	assert_int_equal(expunge(&e, box, 500, 500), STORE_OK);
	assert_int_equal(status_of(import("Old/Work", 77, 500, KEY("1"))), STORE_EXISTS);
	/* The inbox was made with the account and never used. */
	r = import("inbox", 88, 0, KEY("1"));
	assert_int_equal(r->reply.uid_validity, 88);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 1);
	request_free(r);
	/* A number from the far future would be the last one. */
	r = import("Sent", UINT32_MAX - 1, UINT32_MAX - 1, KEY("1"));
	assert_int_not_equal(r->reply.uid_validity, UINT32_MAX - 1);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 1);
	request_free(r);
	/* Nor may a source use up the uids: its mailbox would take no mail any more. */
	r = import("Sent", 0, UINT32_MAX - 3, KEY("9"));
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 2);
	request_free(r);
	/* Without a key: as often as one likes. */
	assert_int_equal(status_of(import("Sent", 0, 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")), STORE_OK);
	assert_int_equal(status_of(import("Sent", 0, 0, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")), STORE_OK);
	/* A mailbox alone. */
	r = ask(&e, (struct proto_request){ .type = STORE_IMPORT,
			.name = VIEW_LIT("a@x.org"),
			.other = VIEW_LIT("Empty"),
			.uid_validity = 55,
			.key = VIEW_LIT("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") });
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.uid_validity, 55);
	assert_int_equal(mailbox_row_of(&e, r->reply.mailbox).messages, 0);
	request_free(r);
	assert_int_equal(status_of(import("a//b", 0, 0, KEY("1"))), STORE_INVALID);
	/* Keys go with their mailbox. */
	assert_int_equal(delete_mailbox(box), STORE_OK);
	housekeep(&e);
	assert_int_equal(rows_of(&e, T_IMPORT, key_u32(box)), 0);
	assert_int_equal(status_of(import("Old/Work", 77, 500, KEY("1"))), STORE_OK);
}

/* However few rows a deleted mailbox has, its keys go in slices. */
static void test_many_imports(void **state)
{
	char key[IMPORT_KEY_LEN + 1];
	size_t left = 2 * SWEPT_IMPORTS + 100;
	uint32_t box = 0;

	(void)state;
	for (size_t i = 0; i < left; i++) {
		snprintf(key, sizeof key, "key-%012zu", i);
		box = mailbox_of(import("Old", 0, 0, key));
	}
	assert_int_equal(expunge(&e, box, 1, UINT32_MAX), STORE_OK);
	assert_int_equal(delete_mailbox(box), STORE_OK);
	for (; left; left -= left > SWEPT_IMPORTS ? SWEPT_IMPORTS : left) {
		assert_int_equal(rows_of(&e, T_IMPORT, key_u32(box)), left);
		engine_housekeeping(&e);
		assert_int_equal(engine_commit(&e), 0);
		engine_publish(&e);
	}
	assert_int_equal(all_rows(&e, T_IMPORT), 0);
	assert_int_equal(all_rows(&e, T_DEAD), 0);
}

static struct request *undelete(uint32_t account, uint32_t mailbox, int64_t since)
{
	return ask(&e,
	    (struct proto_request){ .type = STORE_UNDELETE, .account = account, .mailbox = mailbox, .date = since });
}

static void test_undelete(void **state)
{
	uint32_t box = deliver_n("a@x.org", "", 5), a = account_of(&e, "a@x.org"), other = deliver_n("b@x.org", "", 2);
	char range[8];
	struct proto_request p = { .type = STORE_FLAGS,
		.mailbox = box,
		.mode = FLAGS_ADD,
		.flags = FLAG_SEEN | FLAG_DELETED,
		.keywords = { VIEW_LIT("todo") },
		.keyword_count = 1,
		.ranges = range_text(range, 2, 3) };
	struct request *r;

	(void)state;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(expunge(&e, box, 2, 3), STORE_OK);
	assert_int_equal(expunge(&e, other, 1, 2), STORE_OK);
	r = undelete(a, 0, 0);
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.count, 2);
	request_free(r);
	assert_int_equal(mailbox_row_of(&e, box).messages, 5);
	assert_int_equal(mailbox_row_of(&e, box).deleted, 0);
	assert_int_equal(message_row_of(&e, box, 6).flags, FLAG_SEEN);
	assert_int_equal(message_row_of(&e, box, 7).keywords, 1);
	assert_int_equal(account_row_of(&e, a).bytes, 65);
	assert_int_equal(mailbox_row_of(&e, other).messages, 0);
	r = undelete(a, 0, 0); /* again: nothing is left to do */
	assert_int_equal(r->reply.count, 0);
	request_free(r);
	/* Only what was expunged since. */
	assert_int_equal(expunge(&e, box, 6, 7), STORE_OK);
	r = undelete(a, box, e.now + 1);
	assert_int_equal(r->reply.count, 0);
	request_free(r);
	r = undelete(a, box, 0);
	assert_int_equal(r->reply.count, 2);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 8);
	request_free(r);
	assert_int_equal(status_of(undelete(4711, 0, 0)), STORE_NO_ACCOUNT);
	r = undelete(a, other, 0); /* not this account's */
	assert_int_equal(r->reply.count, 0);
	request_free(r);
}

/* A deleted mailbox comes back below "Restored", with keywords, before it is swept and after. */
static void test_undelete_mailbox(void **state)
{
	uint32_t box = deliver_n("a@x.org", "Work/x", 3), a = account_of(&e, "a@x.org"), restored;
	char range[8];
	struct proto_request p = { .type = STORE_FLAGS,
		.mailbox = box,
		.mode = FLAGS_ADD,
		.flags = FLAG_FLAGGED,
		.keywords = { VIEW_LIT("one"), VIEW_LIT("two") },
		.keyword_count = 2,
		.ranges = range_text(range, 1, 2) };
	struct request *r;

	(void)state;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(expunge(&e, box, 1, 1), STORE_OK);
	assert_int_equal(delete_mailbox(box), STORE_OK);
	assert_int_equal(all_rows(&e, T_GRAVE), 1);
	r = undelete(a, 0, 0);
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.count, 3);
	request_free(r);
	restored = mailbox_named(&e, a, "Restored/Work/x");
	assert_int_equal(mailbox_row_of(&e, restored).messages, 3);
	assert_int_equal(message_row_of(&e, restored, 1).keywords, 3);
	assert_int_equal(message_row_of(&e, restored, 1).flags, FLAG_FLAGGED);
	assert_int_equal(all_rows(&e, T_GRAVE), 0);
	assert_int_equal(rows_of(&e, T_KEYWORD, key_u32(box)), 0);
	/* Purged: nothing comes back, nothing stays. */
	assert_int_equal(delete_mailbox(restored), STORE_OK);
	atomic_store(&e.undelete, 0);
	housekeep(&e);
	assert_int_equal(all_rows(&e, T_EXPUNGED), 0);
	assert_int_equal(all_rows(&e, T_GRAVE), 0);
	assert_int_equal(all_rows(&e, T_BODY), 0);
	assert_int_equal(all_rows(&e, T_KEYWORD), 0);
	r = undelete(a, 0, 0);
	assert_int_equal(r->reply.count, 0);
	request_free(r);
}

/* More than one slice, of several times. */
static void test_undelete_many(void **state)
{
	uint32_t box = deliver_n("a@x.org", "", SLICE_ROWS * 2 + 500), a = account_of(&e, "a@x.org");
	struct request *r;

	(void)state;
	assert_int_equal(expunge(&e, box, 1, SLICE_ROWS * 2 + 500), STORE_OK);
	r = undelete(a, box, 0);
	assert_int_equal(r->reply.count, SLICE_ROWS * 2 + 500);
	request_free(r);
	assert_int_equal(mailbox_row_of(&e, box).messages, SLICE_ROWS * 2 + 500);
	assert_int_equal(all_rows(&e, T_EXPUNGED), 0);
	assert_int_equal(all_rows(&e, T_EXPUNGED_DUE), 0);
}

/* A mailbox is swept in slices, and the clock goes on between them: all of it was deleted at one time. */
static void test_undelete_slow_sweep(void **state)
{
	uint32_t box = deliver_n("a@x.org", "Big", SLICE_ROWS + 100), a = account_of(&e, "a@x.org");
	struct request *r = xcalloc(1, sizeof *r);

	(void)state;
	assert_int_equal(delete_mailbox(box), STORE_OK);
	r->p = (struct proto_request){ .type = STORE_UNDELETE, .account = a };
	assert_int_equal(engine_run(&e, r), RUN_MORE);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	for (int64_t then = clock_wall(); clock_wall() == then;)
		usleep(10000);
	while (engine_run(&e, r) == RUN_MORE) {
		assert_int_equal(engine_commit(&e), 0);
		engine_publish(&e);
	}
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.count, SLICE_ROWS + 100);
	request_free(r);
}

static struct request *rename_account(const char *from, const char *to)
{
	return ask(
	    &e, (struct proto_request){ .type = STORE_RENAME_ACCOUNT, .name = view_of(from), .other = view_of(to) });
}

static void reload(const char *const *addresses, size_t count)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = ENGINE_RELOAD;
	r->undelete = 3600;
	r->accounts = (struct engine_accounts){ .at = xcalloc(count, sizeof(struct engine_account)), .count = count };
	for (size_t i = 0; i < count; i++)
		r->accounts.at[i].address = xstrdup(addresses[i]);
	assert_int_equal(engine_run(&e, r), RUN_DONE);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	request_free(r);
}

static uint32_t acl_of(uint32_t mailbox, const char *identifier)
{
	struct key k = acl_key(mailbox, view_of(identifier));
	struct tx tx;
	uint32_t rights = 0;

	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	tx_get_fixed(&tx, T_ACL, &k, &rights, sizeof rights, NULL);
	tx_abort(&tx);
	return rights;
}

static void share(uint32_t mailbox, const char *identifier, uint32_t rights)
{
	assert_int_equal(
	    status_of(ask(&e,
		(struct proto_request){
		    .type = STORE_SET_ACL, .mailbox = mailbox, .name = view_of(identifier), .flags = rights })),
	    STORE_OK);
}

static void test_rename_account(void **state)
{
	static const char *const before[] = { "a@x.org", "b@x.org" }, *const after[] = { "b@x.org", "c@y.org" };
	uint32_t box = deliver_n("a@x.org", "", 3), a = account_of(&e, "a@x.org"), other = deliver_n("b@x.org", "", 1);

	(void)state;
	reload(before, 2);
	share(other, "a@x.org", 3);
	share(other, "-a@x.org", 4);
	share(other, "c@y.org", 8);
	assert_int_equal(status_of(rename_account("a@x.org", "b@x.org")), STORE_EXISTS);
	assert_int_equal(status_of(rename_account("nobody@x.org", "d@x.org")), STORE_NO_ACCOUNT);
	assert_int_equal(status_of(rename_account("a@x.org", "c")), STORE_INVALID);
	assert_int_equal(status_of(rename_account("a@x.org", "C@Y.org")), STORE_INVALID); /* nobody would find it */
	assert_int_equal(status_of(rename_account("a@x.org", "c@y.org")), STORE_OK);
	assert_int_equal(status_of(rename_account("a@x.org", "c@y.org")), STORE_OK);
	assert_int_equal(account_of(&e, "c@y.org"), a);
	assert_int_equal(account_of(&e, "a@x.org"), 0);
	assert_int_equal(acl_of(other, "c@y.org"), 11);
	assert_int_equal(acl_of(other, "-c@y.org"), 4);
	assert_int_equal(acl_of(other, "a@x.org"), 0);
	assert_int_equal(domain_row_of(&e, "x.org").messages, 1);
	assert_int_equal(domain_row_of(&e, "y.org").messages, 3);
	assert_int_equal(domain_row_of(&e, "y.org").bytes, 39);
	/* The site still says a@x.org: its mail goes where it belongs. */
	assert_int_equal(status_of(deliver_to(&e, "a@x.org", "", "P\r\n", VIEW_LIT("0123456789"))), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, box).messages, 4);
	/* The old site comes once more (a restart), then the new one: asked again all is well. */
	reload(before, 2);
	assert_int_equal(account_of(&e, "c@y.org"), 0);
	assert_int_equal(account_row_of(&e, a).orphaned, 1);
	assert_int_equal(status_of(rename_account("a@x.org", "c@y.org")), STORE_OK);
	reload(after, 2);
	assert_int_equal(account_of(&e, "c@y.org"), a);
	assert_int_equal(mailbox_row_of(&e, box).messages, 4);
	/* An empty account there makes way. */
	inbox(&e, "c@y.org");
	assert_int_equal(status_of(rename_account("c@y.org", "b@x.org")), STORE_EXISTS);
	assert_int_equal(expunge(&e, other, 1, 1), STORE_OK);
	assert_int_equal(status_of(rename_account("c@y.org", "b@x.org")), STORE_OK);
	assert_int_equal(account_of(&e, "b@x.org"), a);
	/* Mail to a former address does not go into an account that nobody bears any more. */
	assert_int_equal(status_of(rename_account("b@x.org", "d@y.org")), STORE_OK);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_ERASE_ACCOUNT, .name = VIEW_LIT("d@y.org") })),
	    STORE_OK);
	assert_int_equal(status_of(deliver_to(&e, "b@x.org", "", "P\r\n", VIEW_LIT("0123456789"))), STORE_OK);
	assert_int_not_equal(account_of(&e, "b@x.org"), 0);
}

static struct request *hand_over(const char *from, const char *to, const char *folder)
{
	return ask(
	    &e, (struct proto_request){
		    .type = STORE_HAND_OVER, .name = view_of(from), .other = view_of(to), .value = view_of(folder) });
}

static void test_hand_over(void **state)
{
	uint32_t box = deliver_n("a@x.org", "", 3), work = deliver_n("a@x.org", "Work/x", 2), a, b;
	struct request *r;

	(void)state;
	a = account_of(&e, "a@x.org");
	deliver_n("b@x.org", "", 1);
	b = account_of(&e, "b@x.org");
	share(work, "c@x.org", 3);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_SET_METADATA,
					       .mailbox = work,
					       .mode = 1,
					       .name = VIEW_LIT("/shared/comment"),
					       .value = VIEW_LIT("hi") })),
	    STORE_OK);
	assert_int_equal(status_of(hand_over("a@x.org", "a@x.org", "X")), STORE_INVALID);
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "a//b")), STORE_INVALID);
	assert_int_equal(status_of(hand_over("nobody@x.org", "b@x.org", "X")), STORE_NO_ACCOUNT);
	r = hand_over("a@x.org", "b@x.org", "Leavers/Al");
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.count, 5);
	assert_int_equal(r->reply.mailbox, mailbox_named(&e, b, "Leavers/Al"));
	request_free(r);
	assert_int_equal(mailbox_named(&e, b, "Leavers/Al/INBOX"), box);
	assert_int_equal(mailbox_named(&e, b, "Leavers/Al/Work/x"), work);
	assert_int_equal(account_row_of(&e, a).messages, 0);
	assert_int_equal(account_row_of(&e, a).bytes, 0);
	assert_int_equal(account_row_of(&e, a).mailboxes, 0);
	assert_int_equal(account_row_of(&e, a).metadata, 0);
	assert_int_equal(account_row_of(&e, b).messages, 6);
	assert_int_equal(account_row_of(&e, b).bytes, 78);
	assert_int_equal(account_row_of(&e, b).metadata, 17);
	assert_int_equal(acl_of(work, "c@x.org"), 3);
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "Leavers/Al")), STORE_OK);
	/* Who gave all away gets new mail into a new inbox, and then the names there are taken. */
	assert_int_equal(status_of(deliver_to(&e, "a@x.org", "", "P\r\n", VIEW_LIT("0123456789"))), STORE_OK);
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "Leavers/Al")), STORE_EXISTS);
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "Later")), STORE_OK);
	assert_int_not_equal(inbox(&e, "a@x.org"), 0);
}

/* A level that the old owner had no mailbox for is one more at the new owner. */
static void test_hand_over_limit(void **state)
{
	uint32_t a, b;
	char name[40];

	(void)state;
	deliver_n("a@x.org", "P/Q/r", 1);
	a = account_of(&e, "a@x.org");
	assert_int_equal(delete_mailbox(mailbox_named(&e, a, "P")), STORE_OK);
	assert_int_equal(delete_mailbox(mailbox_named(&e, a, "P/Q")), STORE_OK);
	inbox(&e, "b@x.org");
	b = account_of(&e, "b@x.org");
	for (uint32_t i = account_row_of(&e, b).mailboxes + account_row_of(&e, a).mailboxes + 2; i < MAILBOXES_MAX; i++) {
		snprintf(name, sizeof name, "f%u", i);
		assert_int_equal(create(&e, b, name), STORE_OK);
	}
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "L")), STORE_INVALID);
	assert_int_equal(delete_mailbox(mailbox_named(&e, b, "f9999")), STORE_OK);
	assert_int_equal(status_of(hand_over("a@x.org", "b@x.org", "L")), STORE_OK);
	assert_int_equal(account_row_of(&e, b).mailboxes, MAILBOXES_MAX);
}

static struct request *erase(const char *address)
{
	return ask(&e, (struct proto_request){ .type = STORE_ERASE_ACCOUNT, .name = view_of(address) });
}

static void test_erase(void **state)
{
	static const char *const all[] = { "a@x.org", "b@x.org" }, *const one[] = { "b@x.org" };
	uint32_t box = deliver_n("a@x.org", "", 2 * SLICE_ROWS + 300), work = deliver_n("a@x.org", "Work", 5), other, a;
	char range[8];
	struct request *r;

	(void)state;
	a = account_of(&e, "a@x.org");
	other = deliver_n("b@x.org", "", 1);
	reload(all, 2);
	share(other, "a@x.org", 3);
	share(box, "b@x.org", 3);
	/* One body is b's too. */
	assert_int_equal(status_of(ask(&e,
			     (struct proto_request){
				 .type = STORE_COPY, .mailbox = box, .to = other, .ranges = range_text(range, 7, 7) })),
	    STORE_OK);
	assert_int_equal(expunge(&e, box, 1, SLICE_ROWS + 100), STORE_OK);
	assert_int_equal(delete_mailbox(work), STORE_OK);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_SET_METADATA,
					       .account = a,
					       .mailbox = other,
					       .mode = 1,
					       .name = VIEW_LIT("/private/comment"),
					       .value = VIEW_LIT("hi") })),
	    STORE_OK);
	assert_int_equal(status_of(erase("a@x.org")), STORE_INVALID); /* in use */
	assert_int_equal(account_row_of(&e, a).messages, SLICE_ROWS + 200);
	reload(one, 1);
	r = erase("a@x.org");
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(r->reply.count, 2 * SLICE_ROWS + 305);
	request_free(r);
	assert_int_equal(all_rows(&e, T_ACCOUNT), 1);
	assert_int_equal(all_rows(&e, T_MAILBOX), 5);
	assert_int_equal(all_rows(&e, T_MESSAGE), 2);
	assert_int_equal(all_rows(&e, T_EXPUNGED), 0);
	assert_int_equal(all_rows(&e, T_GRAVE), 0);
	assert_int_equal(all_rows(&e, T_DEAD), 0);
	assert_int_equal(all_rows(&e, T_BODY), 2);
	assert_int_equal(all_rows(&e, T_ACL), 0);
	assert_int_equal(all_rows(&e, T_METADATA), 0);
	assert_int_equal(rows_of(&e, T_SUBSCRIPTION, key_u32(a)), 0);
	assert_int_equal(mailbox_row_of(&e, other).messages, 2);
	assert_int_equal(status_of(erase("a@x.org")), STORE_NO_ACCOUNT);
}

/* Only the orphan of an address that is in use again; a suspended one whole. */
static void test_erase_of_a_namesake(void **state)
{
	static const char *const one[] = { "b@x.org" };
	uint32_t box;

	(void)state;
	deliver_n("a@x.org", "", 3);
	reload(one, 1);
	e.accounts_known = false;
	box = deliver_n("a@x.org", "", 4);
	e.accounts_known = true;
	e.accounts.at[0].address[0] = 'a';
	assert_int_equal(all_rows(&e, T_ACCOUNT), 2);
	assert_int_equal(status_of(erase("a@x.org")), STORE_OK);
	assert_int_equal(mailbox_row_of(&e, box).messages, 4);
	assert_int_equal(status_of(erase("a@x.org")), STORE_INVALID);
	e.accounts.at[0].suspended = true;
	assert_int_equal(status_of(erase("a@x.org")), STORE_OK);
	assert_int_equal(all_rows(&e, T_ACCOUNT), 0);
	assert_int_equal(all_rows(&e, T_BODY), 0);
}

/* An index of an older version is made anew from the log. */
static void test_older_index(void **state)
{
	struct buf live, again;
	struct tx tx;
	char boot[BOOT_ID_LEN];

	(void)state;
	deliver_n("a@x.org", "", 3);
	dump(&e, &live);
	assert_int_equal(tx_begin(&tx, &e.index, true), 0);
	tx.meta.version = INDEX_VERSION - 1;
	struct key lost = key_u32(account_of(&e, "a@x.org"));
	assert_true(tx_del(&tx, T_ACCOUNT, &lost)); /* what that version did not have */
	assert_int_equal(tx_commit(&tx), 0);
	engine_close(&e);
	boot_id_read(boot);
	assert_int_equal(store_open_as(&e, &dir, boot, 1 << 20), 0);
	dump(&e, &again);
	assert_same_index(&live, &again, "made anew");
	buf_free(&live);
	buf_free(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_junk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_import, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_imports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undelete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undelete_mailbox, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undelete_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undelete_slow_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rename_account, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hand_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hand_over_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_erase, setup, teardown),
		cmocka_unit_test_setup_teardown(test_erase_of_a_namesake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_older_index, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
