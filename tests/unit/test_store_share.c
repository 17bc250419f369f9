/* ACL entries, annotations, copies between accounts, conditional flags, several messages at once. */
#include "mailsvc/store/acl.h"
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

static enum store_status set_acl(uint32_t mailbox, const char *identifier, uint32_t rights)
{
	return status_of(
	    ask(&e, (struct proto_request){
			.type = STORE_SET_ACL, .mailbox = mailbox, .name = view_of(identifier), .flags = rights }));
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

static void test_letters(void **state)
{
	char out[sizeof ACL_LETTERS + 2], who[ADDRESS_MAX + 1];
	uint32_t rights;

	(void)state;
	for (size_t i = 0; i < strlen(ACL_LETTERS); i++) {
		assert_int_equal(acl_parse((struct view){ ACL_LETTERS + i, 1 }, &rights), 0);
		assert_int_equal(rights, 1u << i);
	}
	assert_int_equal(acl_parse(VIEW_LIT("lrsc"), &rights), 0);
	acl_format(rights, out);
	assert_string_equal(out, "lrskx");
	acl_format_old(rights, out);
	assert_string_equal(out, "lrskxcd");
	assert_int_equal(acl_parse(VIEW_LIT("d"), &rights), 0);
	assert_int_equal(rights, ACL_DELETE_MESSAGES | ACL_EXPUNGE | ACL_DELETE_MAILBOX);
	assert_int_equal(acl_parse(VIEW_LIT(""), &rights), 0);
	acl_format_old(rights, out);
	assert_string_equal(out, "");
	acl_format(ACL_ALL, out);
	assert_string_equal(out, ACL_LETTERS);
	assert_int_equal(acl_parse(VIEW_LIT("lR"), &rights), -1);
	assert_int_equal(acl_parse((struct view){ "l\0r", 3 }, &rights), -1);
	assert_int_equal(acl_identifier(VIEW_LIT("-Bob@EXAMPLE.org"), who), 0);
	assert_string_equal(who, "-bob@example.org");
	assert_int_equal(acl_identifier(VIEW_LIT("Anyone"), who), 0);
	assert_string_equal(who, "anyone");
	assert_int_equal(acl_identifier(VIEW_LIT("-anyone"), who), 0);
	assert_string_equal(who, "-anyone");
	assert_int_equal(acl_identifier(VIEW_LIT("group"), who), -1);
	assert_int_equal(acl_identifier(VIEW_LIT("-"), who), -1);
	assert_int_equal(acl_identifier(VIEW_LIT(""), who), -1);
}

static void test_acl(void **state)
{
	uint32_t box = inbox(&e, "a@x.org"), a = account_of(&e, "a@x.org"), work, sub;

	(void)state;
	assert_int_equal(set_acl(box, "b@x.org", ACL_LOOKUP | ACL_READ), STORE_OK);
	assert_int_equal(set_acl(box, "-C@X.org", ACL_READ), STORE_OK);
	assert_int_equal(set_acl(box, "anyone", ACL_LOOKUP), STORE_OK);
	assert_int_equal(acl_of(box, "b@x.org"), ACL_LOOKUP | ACL_READ);
	assert_int_equal(acl_of(box, "-c@x.org"), ACL_READ);
	assert_int_equal(set_acl(box, "b@x.org", 0), STORE_OK);
	assert_int_equal(set_acl(box, "b@x.org", 0), STORE_OK);
	assert_int_equal(acl_of(box, "b@x.org"), 0);
	assert_int_equal(set_acl(box, "b@x.org", 1u << 11), STORE_INVALID);
	assert_int_equal(set_acl(box, "nobody", ACL_READ), STORE_INVALID);
	assert_int_equal(set_acl(4711, "b@x.org", ACL_READ), STORE_NO_MAILBOX);
	/* Children begin with what their parent has; they live apart from then on. */
	assert_int_equal(create(&e, a, "Work"), STORE_OK);
	work = mailbox_named(&e, a, "Work");
	assert_int_equal(set_acl(work, "b@x.org", ACL_READ), STORE_OK);
	assert_int_equal(create(&e, a, "Work/a/b"), STORE_OK);
	sub = mailbox_named(&e, a, "Work/a/b");
	assert_int_equal(acl_of(sub, "b@x.org"), ACL_READ);
	assert_int_equal(set_acl(work, "b@x.org", 0), STORE_OK);
	assert_int_equal(acl_of(sub, "b@x.org"), ACL_READ);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = sub })), STORE_OK);
	assert_int_equal(acl_of(sub, "b@x.org"), 0);
	assert_int_equal(rows_of(&e, T_ACL, key_u32(sub)), 0);
}

static void reload(const char *address)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = ENGINE_RELOAD;
	r->undelete = 3600;
	r->accounts = (struct engine_accounts){ .at = xcalloc(1, sizeof(struct engine_account)), .count = 1 };
	r->accounts.at[0].address = xstrdup(address);
	assert_int_equal(engine_run(&e, r), RUN_DONE);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	request_free(r);
}

/* Who gets the address of somebody who left gets none of what was shared with them. */
static void test_acl_of_a_leaver(void **state)
{
	uint32_t box = inbox(&e, "a@x.org");

	(void)state;
	inbox(&e, "b@x.org");
	assert_int_equal(set_acl(box, "b@x.org", ACL_READ), STORE_OK);
	assert_int_equal(set_acl(box, "-b@x.org", ACL_SEEN), STORE_OK);
	assert_int_equal(set_acl(box, "bb@x.org", ACL_READ), STORE_OK);
	reload("a@x.org");
	assert_int_equal(acl_of(box, "b@x.org"), 0);
	assert_int_equal(acl_of(box, "-b@x.org"), 0);
	assert_int_equal(acl_of(box, "bb@x.org"), ACL_READ);
}

static void test_acl_limit(void **state)
{
	uint32_t box = inbox(&e, "a@x.org");
	char name[40];

	(void)state;
	for (int i = 0; i < ACL_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "u%d@x.org", i);
		assert_int_equal(set_acl(box, name, ACL_READ), STORE_OK);
	}
	assert_int_equal(set_acl(box, "one-more@x.org", ACL_READ), STORE_INVALID);
	assert_int_equal(set_acl(box, "u7@x.org", ACL_LOOKUP), STORE_OK);
	assert_int_equal(set_acl(box, "u7@x.org", 0), STORE_OK);
	assert_int_equal(set_acl(box, "one-more@x.org", ACL_READ), STORE_OK);
}

/* What a new mailbox begins with is counted for the owner of all. */
static void test_acl_total(void **state)
{
	uint32_t a, work;
	char name[40];
	int i;

	(void)state;
	inbox(&e, "a@x.org");
	a = account_of(&e, "a@x.org");
	assert_int_equal(create(&e, a, "W"), STORE_OK);
	work = mailbox_named(&e, a, "W");
	for (i = 0; i < ACL_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "u%d@x.org", i);
		assert_int_equal(set_acl(work, name, ACL_READ), STORE_OK);
	}
	for (i = 1; i < ACL_TOTAL_MAX / ACL_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "W/%d", i);
		assert_int_equal(create(&e, a, name), STORE_OK);
	}
	assert_int_equal(all_rows(&e, T_ACL), ACL_TOTAL_MAX);
	assert_int_equal(create(&e, a, "W/more"), STORE_INVALID);
	assert_int_equal(create(&e, a, "Apart"), STORE_OK);
	work = mailbox_named(&e, a, "Apart");
	for (i = 0; i < ACL_ENTRIES_FREE; i++) {
		snprintf(name, sizeof name, "u%d@x.org", i);
		assert_int_equal(set_acl(work, name, ACL_READ), STORE_OK);
	}
	assert_int_equal(set_acl(work, "more@x.org", ACL_READ), STORE_INVALID);
}

/* The disk's reserve is not for mailboxes and entries; what is there may change and go. */
static void test_full(void **state)
{
	uint32_t box = inbox(&e, "a@x.org"), a = account_of(&e, "a@x.org");

	(void)state;
	assert_int_equal(set_acl(box, "b@x.org", ACL_READ), STORE_OK);
	atomic_store(&e.full, true);
	assert_int_equal(create(&e, a, "Work"), STORE_FULL);
	assert_int_equal(set_acl(box, "c@x.org", ACL_READ), STORE_FULL);
	assert_int_equal(set_acl(box, "b@x.org", ACL_LOOKUP), STORE_OK);
	assert_int_equal(set_acl(box, "b@x.org", 0), STORE_OK);
}

static enum store_status annotate(uint32_t account, uint32_t mailbox, const char *entry, struct view value)
{
	return status_of(ask(&e, (struct proto_request){ .type = STORE_SET_METADATA,
				     .account = account,
				     .mailbox = mailbox,
				     .mode = value.ptr != NULL,
				     .name = view_of(entry),
				     .value = value }));
}

static void test_metadata(void **state)
{
	static char big[METADATA_VALUE_MAX + 1];
	uint32_t box = inbox(&e, "a@x.org"), a = account_of(&e, "a@x.org"), b, work;
	char name[300];

	(void)state;
	inbox(&e, "b@x.org");
	b = account_of(&e, "b@x.org");
	assert_int_equal(annotate(0, box, "/shared/Comment", VIEW_LIT("ours")), STORE_OK);
	assert_int_equal(annotate(b, box, "/private/comment", VIEW_LIT("")), STORE_OK);
	assert_int_equal(annotate(b, 0, "/private/x", VIEW_LIT("1234567890")), STORE_OK);
	assert_int_equal(annotate(0, 0, "/shared/admin", VIEW_LIT("mailto:a@x.org")), STORE_OK);
	assert_int_equal(account_row_of(&e, a).metadata, 15 + 4);
	assert_int_equal(account_row_of(&e, b).metadata, 16 + 10 + 10);
	assert_int_equal(annotate(0, box, "/shared/comment", VIEW_LIT("yours!")), STORE_OK);
	assert_int_equal(account_row_of(&e, a).metadata, 15 + 6);
	assert_int_equal(annotate(0, box, "/shared/comment", VIEW_NONE), STORE_OK);
	assert_int_equal(annotate(0, box, "/shared/comment", VIEW_NONE), STORE_OK);
	assert_int_equal(account_row_of(&e, a).metadata, 0);
	/* What is none, and limits. */
	assert_int_equal(annotate(0, box, "shared", VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(0, box, "/a//b", VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(0, box, "/a/", VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(0, box, "/a*", VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(0, box, "/\xc3\xa4", VIEW_LIT("x")), STORE_INVALID);
	memset(name, 'n', sizeof name);
	name[0] = '/';
	name[METADATA_ENTRY_MAX + 1] = '\0';
	assert_int_equal(annotate(0, box, name, VIEW_LIT("x")), STORE_INVALID);
	name[METADATA_ENTRY_MAX] = '\0';
	assert_int_equal(annotate(0, box, name, VIEW_LIT("x")), STORE_OK);
	assert_int_equal(annotate(0, box, "/big", (struct view){ big, sizeof big }), STORE_INVALID);
	assert_int_equal(annotate(0, box, "/big", (struct view){ big, sizeof big - 1 }), STORE_OK);
	assert_int_equal(annotate(0, 4711, "/x", VIEW_LIT("x")), STORE_NO_MAILBOX);
	assert_int_equal(annotate(4711, box, "/x", VIEW_LIT("x")), STORE_NO_ACCOUNT);
	/* A deleted mailbox takes its annotations along, of everybody. */
	assert_int_equal(create(&e, a, "Work"), STORE_OK);
	work = mailbox_named(&e, a, "Work");
	assert_int_equal(annotate(b, work, "/private/comment", VIEW_LIT("mine")), STORE_OK);
	assert_int_equal(annotate(0, work, "/shared/comment", VIEW_LIT("ours")), STORE_OK);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = work })), STORE_OK);
	assert_int_equal(rows_of(&e, T_METADATA, key_u32(work)), 0);
	assert_int_equal(account_row_of(&e, b).metadata, 16 + 10 + 10);
}

static void test_metadata_limits(void **state)
{
	static char big[METADATA_VALUE_MAX];
	uint32_t box = inbox(&e, "a@x.org"), a = account_of(&e, "a@x.org"), other = mailbox_named(&e, a, "Sent");
	char name[40];
	enum store_status status = STORE_OK;
	int i;

	(void)state;
	for (i = 0; i < METADATA_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "/private/%d", i);
		assert_int_equal(annotate(a, box, name, VIEW_LIT("x")), STORE_OK);
	}
	assert_int_equal(annotate(a, box, "/private/more", VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(a, box, "/private/7", VIEW_LIT("longer")), STORE_OK);
	for (i = 0; status == STORE_OK && i < METADATA_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "/shared/%d", i);
		status = annotate(0, other, name, (struct view){ big, sizeof big });
	}
	assert_int_equal(status, STORE_OVER_QUOTA);
	assert_in_range(account_row_of(&e, a).metadata, METADATA_TOTAL_MAX - 2 * sizeof big, METADATA_TOTAL_MAX);
	assert_int_equal(annotate(0, other, "/shared/0", VIEW_LIT("less")), STORE_OK);
}

static uint32_t deliver_n(const char *account, int n, struct view body)
{
	uint32_t box = inbox(&e, account);

	for (int i = 0; i < n; i++)
		assert_int_equal(status_of(deliver_to(&e, account, "", "P\r\n", body)), STORE_OK);
	return box;
}

static void test_flags_unchanged(void **state)
{
	uint32_t box = deliver_n("a@x.org", 10, VIEW_LIT("body"));
	char range[8];
	struct proto_request p = { .type = STORE_FLAGS_UNCHANGED,
		.mailbox = box,
		.mode = FLAGS_ADD,
		.flags = FLAG_FLAGGED,
		.ranges = range_text(range, 1, 100),
		.unchanged_since = message_row_of(&e, box, 6).modseq };
	struct request *r = ask(&e, p);

	(void)state;
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(ranges_count(r->reply.source), 1);
	assert_int_equal(ranges_at(r->reply.source, 0).last, 6);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 7);
	assert_int_equal(ranges_at(r->reply.destination, 0).last, 10);
	request_free(r);
	assert_int_equal(message_row_of(&e, box, 7).flags, 0);
	assert_int_equal(message_row_of(&e, box, 6).flags, FLAG_FLAGGED);
	/* Now all are younger; but one that would not change is refused too: it did change. */
	r = ask(&e, p);
	assert_int_equal(ranges_count(r->reply.source), 0);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 1);
	assert_int_equal(ranges_at(r->reply.destination, 0).last, 10);
	request_free(r);
	p.unchanged_since = 0;
	p.mode = FLAGS_SET;
	r = ask(&e, p);
	assert_int_equal(ranges_at(r->reply.destination, 0).last, 10);
	request_free(r);
	p.unchanged_since = UINT64_MAX;
	r = ask(&e, p);
	assert_int_equal(ranges_count(r->reply.destination), 0);
	assert_int_equal(ranges_at(r->reply.source, 0).first, 7); /* 1 to 6 bear it */
	request_free(r);
}

static void test_append_many(void **state)
{
	const struct view words[] = { VIEW_LIT("$Junk"), VIEW_LIT("todo"), VIEW_LIT("$junk") };
	struct proto_append items[3] = { { FLAG_SEEN, 2, words, 1, 1000, 3 }, { 0, 0, words + 1, 2, 2000, 0 },
		{ FLAG_DELETED | FLAG_RECENT, 1, NULL, 0, 3000, 5 } };
	uint32_t box = inbox(&e, "a@x.org");
	struct proto_request p = { .type = STORE_APPEND_MANY,
		.mailbox = box,
		.body = VIEW_LIT("onethree"),
		.mime = VIEW_LIT("m1x"),
		.appends = items,
		.append_count = 3 };
	struct request *r = ask(&e, p);

	(void)state;
	r->p.appends = NULL;
	assert_int_equal(r->reply.status, STORE_OK);
	assert_int_equal(ranges_at(r->reply.destination, 0).first, 1);
	assert_int_equal(ranges_at(r->reply.destination, 0).last, 3);
	request_free(r);
	assert_int_equal(message_row_of(&e, box, 1).size, 3);
	assert_int_equal(message_row_of(&e, box, 1).flags, FLAG_SEEN);
	assert_int_equal(message_row_of(&e, box, 1).keywords, 1);
	assert_int_equal(message_row_of(&e, box, 2).size, 0);
	assert_int_equal(message_row_of(&e, box, 2).keywords, 3);
	assert_int_equal(message_row_of(&e, box, 3).size, 5);
	assert_int_equal(message_row_of(&e, box, 3).date, 3000);
	assert_int_equal(message_row_of(&e, box, 3).flags, FLAG_DELETED);
	/* None of them: no mailbox, none given, too many keywords. */
	p.mailbox = 4711;
	r = ask(&e, p);
	r->p.appends = NULL;
	assert_int_equal(status_of(r), STORE_NO_MAILBOX);
	p.mailbox = box;
	p.append_count = 0;
	r = ask(&e, p);
	r->p.appends = NULL;
	assert_int_equal(status_of(r), STORE_INVALID);
	struct view many[KEYWORDS_MAX];
	static char names[KEYWORDS_MAX][16];
	for (int i = 0; i < KEYWORDS_MAX; i++) {
		snprintf(names[i], sizeof names[i], "k%d", i);
		many[i] = view_of(names[i]);
	}
	items[2].keywords = many;
	items[2].keyword_count = KEYWORDS_MAX;
	p.append_count = 3;
	r = ask(&e, p);
	r->p.appends = NULL;
	assert_int_equal(status_of(r), STORE_INVALID);
	assert_int_equal(mailbox_row_of(&e, box).messages, 3);
	assert_int_equal(mailbox_row_of(&e, box).keywords, 2);
}

/* A copy into another account shares the body, is charged there, and bears the same keywords. */
static void test_copy_across(void **state)
{
	uint32_t from = deliver_n("a@x.org", 3, VIEW_LIT("0123456789")), to = inbox(&e, "b@x.org");
	uint32_t a = account_of(&e, "a@x.org"), b = account_of(&e, "b@x.org");
	char range[8];
	struct proto_request p = { .type = STORE_FLAGS,
		.mailbox = from,
		.mode = FLAGS_ADD,
		.flags = FLAG_SEEN,
		.keywords = { VIEW_LIT("todo") },
		.keyword_count = 1,
		.ranges = range_text(range, 2, 2) };

	(void)state;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	p = (struct proto_request){ .type = STORE_COPY, .mailbox = from, .to = to, .ranges = range_text(range, 1, 9) };
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(account_row_of(&e, b).messages, 3);
	assert_int_equal(account_row_of(&e, b).bytes, 39);
	assert_int_equal(message_row_of(&e, to, 2).body, message_row_of(&e, from, 2).body);
	assert_int_equal(message_row_of(&e, to, 2).flags, FLAG_SEEN);
	assert_int_equal(message_row_of(&e, to, 2).keywords, 1);
	p.flags = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(account_row_of(&e, a).messages, 0);
	assert_int_equal(account_row_of(&e, a).bytes, 0);
	assert_int_equal(account_row_of(&e, b).messages, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letters),
		cmocka_unit_test_setup_teardown(test_acl, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acl_of_a_leaver, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acl_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acl_total, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags_unchanged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_append_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_across, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
