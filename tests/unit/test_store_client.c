/*
 * Sharing, annotations, migration and account life as their callers have them: from client.h over the wire and through
 * the commit thread into the view, from imap's channel and from the command line's.
 */
#include "mailsvc/store/acl.h"
#include "mailsvc/store/view_impl.h"
#include "store_role_help.h"

static struct store_view *view_for(struct store_client *c)
{
	struct error err;
	struct store_view *v = store_view_open(dir.fd, &err);

	assert_non_null(v);
	store_view_follow(v, c);
	return v;
}

/* The command line: reads too, once it has asked. */
static struct store_client *command_line(struct store_view **v)
{
	struct store_client *c = keep(client(ROLE_MONITOR, 0));

	*v = view_for(c);
	store_client_read_too(c);
	view_wait(*v);
	return c;
}

static uint32_t opened(struct store_client *c, const char *address)
{
	struct answer a = answered();

	store_open_account(c, address, on_answer, &a);
	spin_while(&a.waiting, "opening an account");
	assert_int_equal(a.result.status, STORE_OK);
	return a.result.mailbox;
}

static enum store_status share(struct store_client *c, uint32_t mailbox, const char *identifier, uint32_t rights)
{
	struct answer a = answered();

	store_set_acl(c, mailbox, identifier, rights, on_answer, &a);
	spin_while(&a.waiting, "an ACL");
	return a.result.status;
}

static bool put_acl_text(void *arg, const char *identifier, uint32_t rights)
{
	char letters[sizeof ACL_LETTERS];

	acl_format(rights, letters);
	buf_printf(arg, "%s=%s ", identifier, letters);
	return true;
}

static bool put_share_text(void *arg, const char *owner, const struct mailbox_row *m)
{
	buf_printf(arg, "%s:%s ", owner, m->name);
	return true;
}

static void test_acl(void **state)
{
	struct store_client *imap = keep(client(ROLE_IMAP, 0));
	struct store_view *v = view_for(imap);
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct buf text = BUF_INIT(4096);
	uint32_t a = opened(imap, "a@x"), b = opened(imap, "b@x");
	char long_name[ADDRESS_MAX + 20];

	(void)state;
	view_wait(v);
	assert_int_equal(share(imap, a, "b@x", ACL_LOOKUP | ACL_READ | ACL_SEEN), STORE_OK);
	assert_int_equal(share(imap, a, "-b@x", ACL_SEEN), STORE_OK);
	assert_int_equal(share(imap, a, "anyone", ACL_POST), STORE_OK);
	assert_int_equal(share(imap, b, "-anyone", ACL_POST), STORE_OK);
	memset(long_name, 'l', sizeof long_name);
	long_name[sizeof long_name - 1] = '\0';
	assert_int_equal(share(imap, a, long_name, 1), STORE_INVALID);
	assert_int_equal(view_begin(v), 0);
	view_acl(v, a, put_acl_text, &text);
	assert_string_equal(buf_str(&text), "-b@x=s anyone=p b@x=lrs ");
	buf_reset(&text);
	assert_int_equal(view_mailbox(v, a, m), 1);
	assert_int_equal(acl_effective(v, m, "a@x"), ACL_ALL);
	assert_int_equal(acl_effective(v, m, "b@x"), ACL_LOOKUP | ACL_READ | ACL_POST);
	assert_int_equal(acl_effective(v, m, "c@x"), ACL_POST);
	assert_int_equal(view_mailbox(v, b, m), 1);
	assert_int_equal(acl_effective(v, m, "a@x"), 0);
	view_shared_with(v, "b@x", put_share_text, &text);
	assert_string_equal(buf_str(&text), "a@x:INBOX "); /* once, though two entries say so */
	buf_reset(&text);
	view_shared_with(v, "a@x", put_share_text, &text);
	assert_string_equal(buf_str(&text), "");
	view_end(v);
	assert_int_equal(share(imap, a, "b@x", 0), STORE_OK);
	assert_int_equal(share(imap, a, "anyone", 0), STORE_OK);
	assert_int_equal(view_begin(v), 0);
	view_shared_with(v, "b@x", put_share_text, &text);
	assert_string_equal(buf_str(&text), "");
	view_end(v);
	store_view_close(v);
	buf_free(&text);
	free(m);
}

static bool put_metadata_text(void *arg, const char *entry, struct view value)
{
	buf_printf(arg, "%s=%.*s ", entry, (int)value.len, value.ptr);
	return true;
}

static enum store_status annotate(
    struct store_client *c, uint32_t account, uint32_t mailbox, const char *entry, struct view value)
{
	struct answer a = answered();

	store_set_metadata(c, account, mailbox, entry, value, on_answer, &a);
	spin_while(&a.waiting, "an annotation");
	return a.result.status;
}

static void test_metadata(void **state)
{
	struct store_client *imap = keep(client(ROLE_IMAP, 0));
	struct store_view *v = view_for(imap);
	struct buf text = BUF_INIT(4096);
	struct account_row account;
	struct view value;
	uint32_t box = opened(imap, "a@x");
	char *big = xcalloc(1, 300000), long_name[5000];

	(void)state;
	view_wait(v);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_account(v, "a@x", &account), 1);
	view_end(v);
	assert_int_equal(annotate(imap, 0, box, "/shared/b", VIEW_LIT("two")), STORE_OK);
	assert_int_equal(annotate(imap, 0, box, "/shared/A", VIEW_LIT("one")), STORE_OK);
	assert_int_equal(annotate(imap, account.id, box, "/private/a", VIEW_LIT("mine")), STORE_OK);
	assert_int_equal(annotate(imap, 0, box, "/shared/empty", (struct view){ "", 0 }), STORE_OK);
	assert_int_equal(annotate(imap, 0, box, "/shared/big", (struct view){ big, METADATA_VALUE_MAX }), STORE_OK);
	assert_int_equal(annotate(imap, 0, box, "/shared/big", (struct view){ big, 300000 }), STORE_INVALID);
	memset(long_name, '/', sizeof long_name);
	long_name[sizeof long_name - 1] = '\0';
	assert_int_equal(annotate(imap, 0, box, long_name, VIEW_LIT("x")), STORE_INVALID);
	assert_int_equal(annotate(imap, 0, box, "/shared/big", VIEW_NONE), STORE_OK);
	assert_int_equal(view_begin(v), 0);
	view_metadata(v, 0, box, put_metadata_text, &text);
	assert_string_equal(buf_str(&text), "/shared/a=one /shared/b=two /shared/empty= ");
	assert_int_equal(view_metadata_get(v, account.id, box, "/PRIVATE/a", &value), 1);
	assert_true(view_eq(value, "mine"));
	assert_int_equal(view_metadata_get(v, account.id, 0, "/private/a", &value), 0);
	view_end(v);
	store_view_close(v);
	buf_free(&text);
	free(big);
}

static void test_append_many(void **state)
{
	struct store_client *imap = keep(client(ROLE_IMAP, 0));
	struct store_view *v = view_for(imap);
	const char *words[] = { "todo" };
	struct store_append_item items[3] = { { { VIEW_LIT("first"), VIEW_LIT("m") }, FLAG_SEEN, words, 1, 7 },
		{ { VIEW_LIT(""), VIEW_LIT("") }, 0, NULL, 0, 8 },
		{ { VIEW_LIT("third"), VIEW_LIT("mm") }, 0, NULL, 0, 9 } };
	struct uid_range all[] = { { 1, 3 } };
	struct message_row row;
	struct body_ref ref;
	struct answer a = answered();
	uint32_t box = opened(imap, "a@x");
	char got[8];

	(void)state;
	view_wait(v);
	store_append_many(imap, box, items, 3, on_answer, &a);
	spin_while(&a.waiting, "appending");
	assert_int_equal(a.result.status, STORE_OK);
	assert_int_equal(a.destination.first, 1);
	assert_int_equal(a.destination.last, 3);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_message(v, box, 3, &row), 1);
	assert_int_equal(row.internal_date, 9);
	assert_int_equal(view_body(v, row.body, &ref), 1);
	assert_true(view_eq(ref.mime, "mm"));
	assert_int_equal(view_body_read(v, &ref, 0, got, 5), 0);
	assert_memory_equal(got, "third", 5);
	view_end(v);
	a = answered();
	store_append_many(imap, box, items, 0, on_answer, &a);
	spin_while(&a.waiting, "appending nothing");
	assert_int_equal(a.result.status, STORE_INVALID);
	a = answered();
	store_append_many(imap, box, items, STORE_APPEND_MAX + 1, on_answer, &a);
	spin_while(&a.waiting, "appending too much");
	assert_int_equal(a.result.status, STORE_INVALID);
	a = answered();
	store_flags_unchanged(imap, box, FLAGS_ADD, FLAG_FLAGGED, NULL, 0, all, 1, row.modseq - 1, on_answer, &a);
	spin_while(&a.waiting, "flags");
	assert_int_equal(a.source.last, 2);
	assert_int_equal(a.destination.first, 3);
	store_view_close(v);
}

static bool count_expunged(void *arg, uint32_t mailbox, const char *name, int64_t when, const struct message_row *row)
{
	struct buf *text = arg;

	assert_int_not_equal(mailbox, 0);
	assert_true(when > 1000000000);
	buf_printf(text, "%s/%u ", name, row->uid);
	return true;
}

static enum store_status settle(struct answer *a, const char *what)
{
	spin_while(&a->waiting, what);
	return a->result.status;
}

/* An import, once: the mailbox. */
static uint32_t imports(struct store_client *cli)
{
	const char *words[] = { "todo" };
	struct store_import import = { .account = "a@x",
		.mailbox = "Old",
		.uid_validity = 99,
		.uid = 50,
		.key = "0123456789abcde",
		.flags = FLAG_SEEN,
		.keywords = words,
		.keyword_count = 1,
		.internal_date = 7,
		.body = { VIEW_LIT("imported"), VIEW_LIT("m") } };
	struct answer a = answered();
	uint32_t box;

	store_import(cli, &import, on_answer, &a);
	assert_int_equal(settle(&a, "an import"), STORE_OK);
	assert_int_equal(a.destination.first, 50);
	assert_int_equal(a.result.uid_validity, 99);
	box = a.result.mailbox;
	a = answered();
	store_import(cli, &import, on_answer, &a);
	assert_int_equal(settle(&a, "an import again"), STORE_EXISTS);
	import.account = "stranger@x";
	a = answered();
	store_import(cli, &import, on_answer, &a);
	assert_int_equal(settle(&a, "an import of nobody"), STORE_NO_ACCOUNT);
	return box;
}

static void changes_hands(struct store_client *cli, struct store_view *v)
{
	struct account_row account;
	struct answer a;
	char address[ADDRESS_MAX];
	bool orphaned;

	a = answered();
	store_hand_over(cli, "a@x", "b@x", "From a", on_answer, &a);
	assert_int_equal(settle(&a, "handing over"), STORE_OK);
	assert_int_equal(a.result.count, 1);
	a = answered();
	store_rename_account(cli, "b@x", "z@x", on_answer, &a);
	assert_int_equal(settle(&a, "a new address"), STORE_OK);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_account(v, "z@x", &account), 1);
	assert_int_equal(account.messages, 1);
	assert_int_equal(view_address(v, account.id, address, &orphaned), 1);
	assert_string_equal(address, "z@x");
	assert_false(orphaned);
	assert_int_equal(view_domain(v, "x", &account), 1);
	assert_int_equal(account.id, 2);
	assert_int_equal(account.messages, 1);
	view_end(v);
	a = answered();
	store_erase_account(cli, "z@x", on_answer, &a); /* not in the site: nobody uses it */
	assert_int_equal(settle(&a, "erasing"), STORE_OK);
	assert_int_equal(a.result.count, 1);
	a = answered();
	store_erase_account(cli, "a@x", on_answer, &a);
	assert_int_equal(settle(&a, "erasing what is in use"), STORE_INVALID);
}

/* All that the command line does with mail, over one channel. */
static void test_command_line(void **state)
{
	struct store_view *v;
	struct store_client *cli = command_line(&v);
	struct uid_range one = { 50, 50 };
	struct account_row account;
	struct buf text = BUF_INIT(4096);
	struct answer a;
	uint32_t box = imports(cli);

	(void)state;
	a = answered();
	store_expunge(cli, box, false, &one, 1, on_answer, &a);
	assert_int_equal(settle(&a, "an expunge"), STORE_OK);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_account(v, "a@x", &account), 1);
	view_expunged(v, account.id, 0, count_expunged, &text);
	assert_string_equal(buf_str(&text), "Old/50 ");
	view_end(v);
	a = answered();
	store_delete(cli, box, on_answer, &a);
	assert_int_equal(settle(&a, "a deletion"), STORE_OK);
	buf_reset(&text);
	assert_int_equal(view_begin(v), 0);
	view_expunged(v, account.id, 0, count_expunged, &text);
	assert_string_equal(buf_str(&text), "Old/50 ");
	view_end(v);
	a = answered();
	store_undelete(cli, account.id, 0, 0, on_answer, &a);
	assert_int_equal(settle(&a, "undelete"), STORE_OK);
	assert_int_equal(a.result.count, 1);
	changes_hands(cli, v);
	store_view_close(v);
	buf_free(&text);
}

/* Who is not killed for staying too long finds nothing any more, and is told. */
static void test_command_line_stays(void **state)
{
	struct store_view *v;
	struct store_client *cli = command_line(&v);
	struct account_row account;

	(void)state;
	opened(cli, "a@x");
	assert_int_equal(view_begin(v), 0);
	assert_true(v->until > clock_mono_ms() && v->until <= clock_mono_ms() + VIEW_COMMAND_MAX_MS);
	assert_int_equal(view_account(v, "a@x", &account), 1);
	v->until = clock_mono_ms();
	assert_int_equal(view_account(v, "a@x", &account), 0);
	assert_int_equal(view_end(v), -1);
	assert_int_equal(view_begin(v), 0);
	assert_int_equal(view_account(v, "a@x", &account), 1);
	assert_int_equal(view_end(v), 0);
	store_view_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_acl, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(test_append_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_command_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_command_line_stays, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
