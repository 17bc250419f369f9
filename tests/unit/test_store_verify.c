/* verify: silent on a sound store whatever was done to it, and not on a flipped bit or a wrong row. */
#include <pthread.h>

#include "mailsvc/store/verify.h"
#include "store_help.h"

static struct folder dir;
static struct engine e;
static char boot[BOOT_ID_LEN];

static int setup(void **state)
{
	(void)state;
	folder_make(&dir);
	boot_id_read(boot);
	return store_open_as(&e, &dir, boot, 1 << 20);
}

static int teardown(void **state)
{
	(void)state;
	folder_remove(&dir);
	return 0;
}

struct found {
	unsigned count;
	uint32_t segment;
	uint64_t offset;
	char text[256];
};

static void on_problem(void *arg, uint32_t segment, uint64_t offset, const char *text)
{
	struct found *f = arg;

	f->count++;
	f->segment = segment;
	f->offset = offset;
	snprintf(f->text, sizeof f->text, "%s", text);
}

static void on_progress(void *arg, size_t done, size_t segments)
{
	(void)arg;
	assert_true(done <= segments);
}

static struct verify_report verify(struct found *f, bool running)
{
	struct verify_ops ops = { on_problem, on_progress, f };
	struct verify_report r;
	struct error err;

	memset(f, 0, sizeof *f);
	assert_int_equal(verify_store(dir.fd, running, &ops, &r, &err), 0);
	assert_int_equal(r.problems, f->count);
	return r;
}

static void load(void)
{
	static char body[40000];
	char range[8];
	struct view to[1] = { VIEW_LIT("r@far.example") };
	struct proto_remote remote = { .sender = VIEW_LIT("a@x"),
		.domain = VIEW_LIT("far.example"),
		.recipients = to,
		.recipient_count = 1 };
	uint32_t box = inbox(&e, "a@x"), other = inbox(&e, "b@x"), sub;

	for (int i = 0; i < 100; i++)
		assert_int_equal(status_of(deliver_to(&e, i % 3 ? "a@x" : "b@x", i % 4 ? "" : "Sub", "P\r\n",
				     (struct view){ body, (size_t)i * 400 })),
		    STORE_OK);
	sub = mailbox_of(ask(&e,
	    (struct proto_request){ .type = STORE_CREATE, .account = account_of(&e, "a@x"), .name = VIEW_LIT("To") }));
	status_of(ask(&e, (struct proto_request){
			      .type = STORE_COPY, .mailbox = box, .to = sub, .ranges = range_text(range, 3, 20) }));
	status_of(ask(
	    &e, (struct proto_request){
		    .type = STORE_COPY, .flags = 1, .mailbox = box, .to = sub, .ranges = range_text(range, 8, 12) }));
	status_of(ask(&e, (struct proto_request){ .type = STORE_FLAGS,
			      .mailbox = sub,
			      .mode = FLAGS_ADD,
			      .flags = FLAG_SEEN | FLAG_DELETED,
			      .ranges = range_text(range, 2, 9) }));
	status_of(ask(
	    &e, (struct proto_request){ .type = STORE_EXPUNGE, .mailbox = other, .ranges = range_text(range, 2, 4) }));
	status_of(ask(&e, (struct proto_request){ .type = STORE_CLAIM_RECENT, .mailbox = box }));
	status_of(ask(&e, (struct proto_request){
			      .type = STORE_DELIVER, .body = VIEW_LIT("q"), .remotes = &remote, .remote_count = 1 }));
	status_of(ask(&e, (struct proto_request){ .type = STORE_DELETE, .mailbox = sub }));
}

static void test_sound(void **state)
{
	struct found f;
	struct verify_report r;

	(void)state;
	load();
	r = verify(&f, true);
	assert_string_equal(f.text, "");
	assert_false(r.index_checked);
	engine_close(&e);
	r = verify(&f, false);
	assert_string_equal(f.text, "");
	assert_true(r.index_checked);
	assert_int_equal(r.bodies, 101);
	assert_int_equal(r.queue, 1);
	assert_true(r.segments > 1);
	assert_true(r.messages > 90);
}

static void test_flipped_bits(void **state)
{
	struct found f;
	struct body_value b = { 0 };
	struct tx tx;
	char byte;
	int fd;

	(void)state;
	load();
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_true(get_body(&tx, 5, &b, NULL));
	tx_abort(&tx);
	engine_close(&e);
	fd = openat(dir.fd, "log/0000000001.log", O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, (off_t)b.offset + 7), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)b.offset + 7), 1);
	verify(&f, true);
	assert_int_equal(f.count >= 1, 1);
	assert_int_equal(f.segment, 1);
	verify(&f, false);
	assert_true(f.count > 1); /* and the message that has it is named */
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)b.offset + 7), 1);
	close(fd);
	verify(&f, false);
	assert_string_equal(f.text, "");
}

static void test_wrong_rows(void **state)
{
	static const enum table tables[] = { T_ACCOUNT, T_MAILBOX, T_MESSAGE, T_CHANGE, T_BODY, T_SHARED,
		T_QUEUE_NEXT, T_QUEUE_OF, T_SEGMENT, T_MAILBOX_NAME };
	struct found f;

	(void)state;
	load();
	engine_close(&e);
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		MDB_cursor *c = NULL;
		struct key first = { 0 }, k = { 0 };
		struct view found, value;
		struct tx tx;
		char path[80], *old;
		struct error err;
		struct index x;
		snprintf(path, sizeof path, "%s/index", dir.path);
		assert_int_equal(index_open(&x, path, false, &err), 0);
		assert_int_equal(tx_begin(&tx, &x, true), 0);
		assert_true(tx_seek(&tx, tables[i], &c, &first, 0, &found, &value));
		mdb_cursor_close(c);
		key_add(&k, found);
		old = view_dup(value);
		size_t len = value.len;
		if (tables[i] == T_MAILBOX_NAME || tables[i] == T_CHANGE || tables[i] == T_QUEUE_NEXT ||
		    tables[i] == T_QUEUE_OF || tables[i] == T_BODY)
			tx_del(&tx, tables[i], &k);
		else {
			old[0] ^= 1;
			tx_put(&tx, tables[i], &k, (struct view){ old, len });
			old[0] ^= 1;
		}
		assert_int_equal(tx_commit(&tx), 0);
		index_close(&x);
		verify(&f, false);
		if (f.count == 0 && tables[i] != T_MESSAGE) /* its first byte is a keyword, which nothing counts */
			fail_msg("a wrong row in table %u was not seen", (unsigned)tables[i]);
		assert_int_equal(index_open(&x, path, false, &err), 0);
		assert_int_equal(tx_begin(&tx, &x, true), 0);
		tx_put(&tx, tables[i], &k, (struct view){ old, len });
		assert_int_equal(tx_commit(&tx), 0);
		index_close(&x);
		free(old);
		verify(&f, false);
		assert_string_equal(f.text, "");
	}
}

static _Atomic bool stop;

static void *deliver_on(void *arg)
{
	static char body[150000];

	(void)arg;
	for (unsigned i = 0; !stop; i++)
		status_of(deliver_to(&e, "a@x", "", "P\r\n", (struct view){ body, i * 7919 % sizeof body }));
	return NULL;
}

/* While the store writes: frames that were half there at a first look are no damage. */
static void test_while_it_grows(void **state)
{
	struct found f;
	pthread_t thread;

	(void)state;
	stop = false;
	engine_close(&e);
	assert_int_equal(store_open_as(&e, &dir, boot, 0), 0); /* segments longer than the scan's window */
	inbox(&e, "a@x");
	assert_int_equal(pthread_create(&thread, NULL, deliver_on, NULL), 0);
	for (int i = 0; i < 25; i++) {
		verify(&f, true);
		if (f.count)
			print_message("%u:%llu %s\n", f.segment, (unsigned long long)f.offset, f.text);
		assert_int_equal(f.count, 0);
	}
	stop = true;
	pthread_join(thread, NULL);
	engine_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flipped_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_while_it_grows, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
