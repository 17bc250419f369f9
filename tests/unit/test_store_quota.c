/* Quotas of messages and of a domain, and warnings. */
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

static void quotas(uint64_t bytes, uint64_t messages, uint64_t domain)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = ENGINE_RELOAD;
	r->undelete = 3600;
	r->accounts = (struct engine_accounts){ .at = xcalloc(2, sizeof(struct engine_account)),
		.count = 2,
		.warnings = { 50, 90 },
		.warning_count = 2,
		.host = xstrdup("mail.x.org") };
	for (size_t i = 0; i < 2; i++)
		r->accounts.at[i] = (struct engine_account){ .address = xstrdup(i ? "b@x.org" : "a@x.org"),
			.limits = { bytes, i ? 0 : messages, domain, NULL } };
	assert_int_equal(engine_run(&e, r), RUN_DONE);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	request_free(r);
}

static enum store_status deliver_one(const char *to)
{
	return status_of(deliver_to(&e, to, "", "P\r\n", VIEW_LIT("0123456789")));
}

static void test_quota_messages(void **state)
{
	uint32_t a, box;

	(void)state;
	quotas(0, 10, 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	a = account_of(&e, "a@x.org");
	box = mailbox_named(&e, a, "INBOX");
	assert_int_equal(account_row_of(&e, a).messages, 4);
	assert_int_equal(deliver_one("a@x.org"), STORE_OK); /* the half: a warning comes with it */
	assert_int_equal(account_row_of(&e, a).messages, 6);
	assert_int_equal(account_row_of(&e, a).warned, 50);
	assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	assert_int_equal(account_row_of(&e, a).messages, 7);
	/* A little below and up again: told once. */
	assert_int_equal(expunge(&e, box, 1, 3), STORE_OK);
	assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	assert_int_equal(account_row_of(&e, a).messages, 5);
	/* Clearly below, and up again: told again. */
	assert_int_equal(expunge(&e, box, 4, 7), STORE_OK);
	assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	assert_int_equal(account_row_of(&e, a).warned, 0);
	while (account_row_of(&e, a).warned == 0)
		assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	assert_int_equal(account_row_of(&e, a).messages, 6);
	while (account_row_of(&e, a).warned == 50)
		assert_int_equal(deliver_one("a@x.org"), STORE_OK);
	assert_int_equal(account_row_of(&e, a).messages, 10);
	assert_int_equal(deliver_one("a@x.org"), STORE_OVER_QUOTA);
	assert_int_equal(deliver_one("b@x.org"), STORE_OK);
	/* The same for what a client stores, and copies. */
	assert_int_equal(
	    status_of(ask(&e, (struct proto_request){ .type = STORE_APPEND, .mailbox = box, .body = VIEW_LIT("x") })),
	    STORE_OVER_QUOTA);
	char range[8];
	struct proto_request p = { .type = STORE_COPY, .mailbox = box, .to = box, .ranges = range_text(range, 1, 100) };
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA);
	p.mailbox = mailbox_named(&e, account_of(&e, "b@x.org"), "INBOX");
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA);
	p.flags = 1; /* a move from another account too */
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA);
	p.mailbox = box; /* a move within is free */
	p.to = mailbox_named(&e, a, "Sent");
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
}

static void test_quota_domain(void **state)
{
	struct proto_local locals[2] = { { VIEW_LIT("a@x.org"), VIEW_LIT(""), VIEW_LIT("") },
		{ VIEW_LIT("b@x.org"), VIEW_LIT(""), VIEW_LIT("") } };
	struct proto_request p = { .type = STORE_DELIVER,
		.body = VIEW_LIT("0123456789"),
		.mime = VIEW_LIT("m"),
		.locals = locals,
		.local_count = 2 };

	(void)state;
	quotas(0, 0, 35);
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(domain_row_of(&e, "x.org").bytes, 20);
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA); /* 40 */
	p.local_count = 1;
	p.locals = locals;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA);
	/* Moving between two of them brings the domain nothing, copying does. */
	char range[8];
	uint32_t a = mailbox_named(&e, account_of(&e, "a@x.org"), "INBOX"),
		 b = mailbox_named(&e, account_of(&e, "b@x.org"), "INBOX");
	p = (struct proto_request){ .type = STORE_COPY, .mailbox = a, .to = b, .ranges = range_text(range, 1, 1) };
	assert_int_equal(status_of(ask(&e, p)), STORE_OVER_QUOTA);
	p.flags = 1;
	assert_int_equal(status_of(ask(&e, p)), STORE_OK);
	assert_int_equal(domain_row_of(&e, "x.org").bytes, 30);
	assert_int_equal(domain_row_of(&e, "x.org").accounts, 2);
}

/* The warning is mail: with a body, a record and a place in the log. */
static void test_warning_in_bytes(void **state)
{
	static char body[5000];
	uint32_t a, box;
	struct message_value row;

	(void)state;
	memset(body, 'x', sizeof body);
	quotas(10000, 0, 0);
	assert_int_equal(status_of(deliver_to(&e, "a@x.org", "", "", (struct view){ body, sizeof body })), STORE_OK);
	a = account_of(&e, "a@x.org");
	box = mailbox_named(&e, a, "INBOX");
	assert_int_equal(account_row_of(&e, a).messages, 2);
	row = message_row_of(&e, box, 2);
	assert_in_range(row.size, 300, 2000);
	assert_int_equal(account_row_of(&e, a).bytes, sizeof body + row.size);
	assert_int_equal(
	    status_of(deliver_to(&e, "a@x.org", "", "", (struct view){ body, sizeof body })), STORE_OVER_QUOTA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_quota_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quota_domain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_warning_in_bytes, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
