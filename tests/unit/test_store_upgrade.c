/*
 * Formats: stores that older mailadms made (store-v1.tar.gz: issue 3's engine; store-v2.tar.gz, store-v2-state.tar.gz:
 * issue 4's, the second one compacted), files that a newer one made, and the way back.
 */
#include "lib/crc32c.h"
#include "mailsvc/store/downgrade.h"
#include "mailsvc/store/state.h"
#include "mailsvc/store/verify.h"
#include "store_help.h"

static struct folder dir;
static char boot[BOOT_ID_LEN];

static int setup(void **state)
{
	(void)state;
	boot_id_read(boot);
	folder_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	folder_remove(&dir);
	return 0;
}

static void unpack(const char *name)
{
	char command[200];

	snprintf(command, sizeof command, "tar -xzf tests/unit/%s.tar.gz --no-same-owner --strip-components=1 -C %s",
	    name, dir.path);
	assert_int_equal(system(command), 0);
}

static int try_open(struct engine *e, struct error *err)
{
	struct engine_options o = { .store_dir = dir.fd, .undelete = 1u << 30 };

	snprintf(o.boot_id, sizeof o.boot_id, "%s", boot);
	atomic_store(&test_shared.epoch, 1);
	return engine_open(e, &o, &test_shared, NULL, err);
}

static void must_open(struct engine *e)
{
	struct error err = { "" };

	if (try_open(e, &err) == -1)
		fail_msg("%s", err.text);
}

static struct log_header header_of(const char *name)
{
	struct log_header h = { 0 };
	int fd = openat(dir.fd, name, O_RDONLY);

	assert_int_not_equal(fd, -1);
	assert_int_equal(log_header_get(fd, &h), 0);
	close(fd);
	return h;
}

static void header_set(const char *name, struct log_header h)
{
	int fd = openat(dir.fd, name, O_WRONLY);
	char header[SEGMENT_HEADER_LEN];

	log_header_put(&h, header);
	assert_int_equal(pwrite(fd, header, sizeof header, 0), (ssize_t)sizeof header);
	close(fd);
}

static void on_problem(void *arg, uint32_t segment, uint64_t offset, const char *text)
{
	(void)arg;
	print_message("%u:%llu: %s\n", segment, (unsigned long long)offset, text);
}

static void on_progress(void *arg, size_t done, size_t segments)
{
	(void)arg;
	(void)done;
	(void)segments;
}

static void proves(void)
{
	const struct verify_ops ops = { on_problem, on_progress, NULL };
	struct verify_report r;
	struct error e;

	assert_int_equal(verify_store(dir.fd, false, &ops, &r, &e), 0);
	assert_int_equal(r.problems, 0);
	assert_true(r.index_checked);
}

/* What store-v1 holds. */
static void check_v1(struct engine *e)
{
	struct mailbox_value m = mailbox_row_of(e, inbox(e, "a@x"));
	struct view keywords[KEYWORDS_MAX];
	struct message_value row;
	struct queue_entry q;
	struct key k, first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	struct tx tx;

	assert_int_equal(e->damage_count, 0);
	assert_int_equal(m.messages, 6);
	assert_int_equal(m.uid_next, 8);
	assert_int_equal(mailbox_row_of(e, inbox(e, "b@x")).messages, 4);
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	assert_int_not_equal(find_mailbox(&tx, find_account(&tx, VIEW_LIT("a@x")), VIEW_LIT("Old/Gone")), 0);
	assert_int_not_equal(find_mailbox(&tx, find_account(&tx, VIEW_LIT("a@x")), VIEW_LIT("Work")), 0);
	get_keywords(&tx, inbox(e, "a@x"), keywords);
	assert_true(view_eq(keywords[0], "$label"));
	k = message_key(inbox(e, "a@x"), 2);
	assert_true(tx_get_fixed(&tx, T_MESSAGE, &k, &row, sizeof row, NULL));
	assert_int_equal(row.flags, FLAG_SEEN);
	assert_int_equal(row.keywords, 1);
	assert_true(tx_seek(&tx, T_QUEUE, &c, &first, 0, &found, &value));
	assert_true(queue_entry_get(value, &q));
	assert_true(view_eq(q.recipients[0].address, "one@z"));
	mdb_cursor_close(c);
	c = NULL;
	assert_true(tx_seek(&tx, T_EXPUNGED, &c, &first, 0, &found, &value));
	mdb_cursor_close(c);
	tx_abort(&tx);
}

static void test_older(void **state)
{
	struct engine e;
	struct buf live, anew;

	(void)state;
	unpack("store-v1");
	assert_int_equal(header_of("log/0000000001.log").version, 1);
	must_open(&e);
	check_v1(&e);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("new"))), STORE_OK);
	dump(&e, &live);
	engine_close(&e);
	assert_int_equal(header_of("log/0000000001.log").version, 1); /* as it was */
	assert_int_equal(header_of("log/0000000002.log").version, SEGMENT_VERSION);
	proves();
	unlinkat(dir.fd, "index/data.mdb", 0);
	must_open(&e);
	assert_int_equal(e.damage_count, 0);
	dump(&e, &anew);
	assert_same_index(&live, &anew, "made anew");
	engine_close(&e);
	buf_free(&live);
	buf_free(&anew);
}

/* Refused, with words, and untouched. */
static void refused(const char *file, const char *what)
{
	struct engine_options o = { .store_dir = dir.fd };
	const struct verify_ops ops = { on_problem, on_progress, NULL };
	struct verify_report report;
	struct error err = { "" };
	uint64_t messages, damaged;
	struct stat before, after;
	struct engine e;

	assert_int_equal(fstatat(dir.fd, file, &before, 0), 0);
	assert_int_equal(try_open(&e, &err), -1);
	if (!strstr(err.text, file) || !strstr(err.text, what) || !strstr(err.text, "install the newer mailadm"))
		fail_msg("wanted %s, %s and what to do, saw: %s", file, what, err.text);
	if (strncmp(file, "log/", 4) == 0) {
		assert_int_equal(engine_rebuild(&o, &messages, &damaged, &err), -1);
		assert_non_null(strstr(err.text, what));
		assert_int_equal(verify_store(dir.fd, false, &ops, &report, &err), -1);
		assert_non_null(strstr(err.text, what));
	}
	assert_int_equal(fstatat(dir.fd, file, &after, 0), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void test_newer_segment(void **state)
{
	struct log_header h;
	struct engine e;

	(void)state;
	must_open(&e);
	deliver_to(&e, "a@x", "", "", VIEW_LIT("one"));
	engine_close(&e);
	h = header_of("log/0000000001.log");
	h.version = SEGMENT_VERSION + 1;
	header_set("log/0000000001.log", h);
	refused("log/0000000001.log", "has format 4; this mailadm reads formats up to 3");
	h.version--;
	header_set("log/0000000001.log", h);
	must_open(&e);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 1);
	engine_close(&e);
}

static void test_newer_state(void **state)
{
	struct compact_status s;
	struct log_header h;
	struct engine e;

	(void)state;
	must_open(&e);
	deliver_to(&e, "a@x", "", "", VIEW_LIT("one"));
	assert_int_equal(compact_whole(&e, COMPACT_NOW, &s), 0);
	engine_close(&e);
	h = header_of("log/0000000002.state");
	h.version = SEGMENT_VERSION + 1;
	header_set("log/0000000002.state", h);
	refused("log/0000000002.state", "has format 4");
	h.version--;
	h.index_version = INDEX_VERSION + 1;
	header_set("log/0000000002.state", h);
	must_open(&e); /* the index is there: the state file is not needed */
	engine_close(&e);
	unlinkat(dir.fd, "index/data.mdb", 0);
	struct error err = { "" };
	assert_int_equal(try_open(&e, &err), -1);
	assert_non_null(strstr(err.text, "log/0000000002.state"));
	h.index_version--;
	header_set("log/0000000002.state", h);
	must_open(&e);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 1);
	engine_close(&e);
}

static void test_newer_index(void **state)
{
	struct engine_options o = { .store_dir = dir.fd };
	uint64_t messages, damaged;
	struct error err;
	struct engine e;

	(void)state;
	must_open(&e);
	deliver_to(&e, "a@x", "", "", VIEW_LIT("one"));
	deliver_to(&e, "a@x", "", "", VIEW_LIT("two"));
	assert_int_equal(tx_begin(&e.tx, &e.index, true), 0);
	e.tx.meta.version = INDEX_VERSION + 1;
	assert_int_equal(tx_commit(&e.tx), 0);
	memset(&e.tx, 0, sizeof e.tx);
	engine_close(&e);
	refused("index/data.mdb", "has format 4; this mailadm reads formats up to 3");
	snprintf(o.boot_id, sizeof o.boot_id, "%s", boot);
	assert_int_equal(engine_rebuild(&o, &messages, &damaged, &err), 0);
	assert_int_equal(messages, 2);
	must_open(&e);
	engine_close(&e);
}

static char prevented[400];

static void on_prevents(void *arg, const char *file, uint64_t offset, uint64_t count, const char *what)
{
	size_t len = strlen(prevented);

	(void)arg;
	snprintf(prevented + len, sizeof prevented - len, "%s:%llu: %s (%llu)\n", file, (unsigned long long)offset,
	    what, (unsigned long long)count);
}

/* Headers are of format 2 where they were newer, and nothing else has changed. */
static void test_way_back(void **state)
{
	struct downgrade d = { .prevents = on_prevents };
	struct buf live, anew;
	struct error err;
	struct engine e;

	(void)state;
	unpack("store-v1");
	must_open(&e);
	for (int i = 0; i < 3; i++)
		status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("new")));
	assert_int_equal(
	    status_of(ask(&e,
		(struct proto_request){
		    .type = STORE_SUBSCRIBE, .account = account_of(&e, "a@x"), .name = VIEW_LIT("Work"), .flags = 0 })),
	    STORE_OK);
	status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("behind what is not synced")));
	dump(&e, &live);
	engine_close(&e);
	assert_int_equal(store_downgrade(dir.fd, &d, &err), 0);
	assert_int_equal(d.segments, 1);
	assert_int_equal(header_of("log/0000000001.log").version, 1);
	assert_int_equal(header_of("log/0000000002.log").version, 2);
	assert_int_equal(faccessat(dir.fd, "index/data.mdb", F_OK, 0), -1);
	assert_int_equal(store_downgrade(dir.fd, &d, &err), 0);
	assert_int_equal(d.segments, 0);
	must_open(&e); /* and forward again */
	assert_int_equal(e.damage_count, 0);
	dump(&e, &anew);
	assert_int_equal(live.len, anew.len); /* but for where the log ends */
	engine_close(&e);
	assert_int_equal(header_of("log/0000000003.log").version, SEGMENT_VERSION);
	proves();
	buf_free(&live);
	buf_free(&anew);
}

/* What a queue entry has that format 2 has no place for. */
static void queue_bulk(struct engine *e)
{
	struct view to = VIEW_LIT("r@far.example");
	struct proto_remote remote = { .sender = VIEW_LIT("a@x"),
		.domain = VIEW_LIT("far.example"),
		.recipients = &to,
		.recipient_count = 1,
		.priority = QUEUE_BULK };

	assert_int_equal(
	    status_of(ask(e,
		(struct proto_request){
		    .type = STORE_DELIVER, .body = VIEW_LIT("bulk"), .remotes = &remote, .remote_count = 1 })),
	    STORE_OK);
}

static void test_no_way_back(void **state)
{
	struct downgrade d = { .prevents = on_prevents };
	struct compact_status s;
	struct error err;
	struct engine e;

	(void)state;
	prevented[0] = '\0';
	must_open(&e);
	status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("one")));
	queue_bulk(&e);
	engine_close(&e);
	assert_int_equal(store_downgrade(dir.fd, &d, &err), 1);
	assert_int_equal(d.segments, 0);
	if (strncmp(prevented, "0000000001.log:", 15) != 0 || !strstr(prevented, ": queue-entry (1)"))
		fail_msg("saw %s", prevented);
	assert_int_equal(header_of("log/0000000001.log").version, SEGMENT_VERSION);
	must_open(&e);
	assert_int_equal(compact_whole(&e, COMPACT_NOW, &s), 0);
	engine_close(&e);
	assert_int_equal(store_downgrade(dir.fd, &d, &err), 1);
	assert_non_null(strstr(prevented, "0000000002.state:0: a state file"));
}

/* The queue of store-v2: three entries, in both lists, with what had become of them. */
static void check_queue_v2(struct engine *e)
{
	static const struct {
		const char *sender, *domain;
		uint32_t flags, attempts;
		enum queue_priority lane;
	} wanted[] = { { "a@x", "far.example", QUEUE_SMTPUTF8, 2, QUEUE_NORMAL },
		{ "", "away.example", QUEUE_BOUNCE, 0, QUEUE_LAST },
		{ "b@x", "near.example", QUEUE_EIGHT_BIT, 0, QUEUE_NORMAL } };
	struct key first = { 0 };
	struct view found, value, none;
	struct queue_entry q;
	MDB_cursor *c = NULL;
	size_t n = 0;
	struct tx tx;

	assert_int_equal(e->damage_count, 0);
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	for (bool more = tx_seek(&tx, T_QUEUE, &c, &first, 0, &found, &value); more;
	     more = tx_next(&tx, c, &first, 0, &found, &value), n++) {
		uint64_t id = get_be64(found.ptr);
		struct key next, of;
		assert_true(n < 3);
		assert_true(queue_entry_get(value, &q));
		assert_true(view_eq(q.sender, wanted[n].sender));
		assert_true(view_eq(q.domain, wanted[n].domain));
		assert_int_equal(q.fixed.flags, wanted[n].flags);
		assert_int_equal(q.fixed.attempts, wanted[n].attempts);
		assert_int_equal(q.fixed.state, 0);
		assert_int_equal(queue_lane(&q), wanted[n].lane);
		next = queue_next_key(q.domain, wanted[n].lane, q.fixed.due, id);
		of = queue_of_key(q.domain, id);
		assert_true(tx_get(&tx, T_QUEUE_NEXT, &next, &none));
		assert_true(tx_get(&tx, T_QUEUE_OF, &of, &none));
		if (n == 0) {
			assert_int_equal(q.recipients[0].state, RECIPIENT_DELIVERED);
			assert_true(view_eq(q.recipients[1].reply, "450 later"));
		}
	}
	mdb_cursor_close(c);
	tx_abort(&tx);
	assert_int_equal(n, 3);
	assert_int_equal(mailbox_row_of(e, inbox(e, "a@x")).messages, 1);
	assert_int_equal(mailbox_row_of(e, inbox(e, "b@x")).messages, 1);
}

static void upgrade_v2(const char *name, uint32_t segment)
{
	struct downgrade d = { .prevents = on_prevents };
	struct buf live, anew;
	struct error err;
	struct engine e;
	char file[40];

	unpack(name);
	prevented[0] = '\0';
	snprintf(file, sizeof file, "log/%010u.log", segment);
	assert_int_equal(header_of(file).version, 2);
	must_open(&e);
	check_queue_v2(&e);
	status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("new")));
	dump(&e, &live);
	engine_close(&e);
	assert_int_equal(header_of(file).version, 2); /* as it was */
	proves();
	unlinkat(dir.fd, "index/data.mdb", 0);
	must_open(&e);
	dump(&e, &anew);
	assert_same_index(&live, &anew, "made anew");
	engine_close(&e);
	buf_free(&live);
	buf_free(&anew);
	if (store_downgrade(dir.fd, &d, &err) != 0)
		fail_msg("no way back: %s", prevented);
	snprintf(file, sizeof file, "log/%010u.log", segment + 1);
	assert_int_equal(header_of(file).version, 2);
}

static void test_v2(void **state)
{
	(void)state;
	upgrade_v2("store-v2", 1);
}

static void test_v2_state(void **state)
{
	(void)state;
	upgrade_v2("store-v2-state", 2);
	assert_int_equal(header_of("log/0000000002.state").version, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_older, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_segment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newer_index, setup, teardown),
		cmocka_unit_test_setup_teardown(test_way_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_way_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v2, setup, teardown),
		cmocka_unit_test_setup_teardown(test_v2_state, setup, teardown),
	};

	return run_quietly(tests, sizeof tests / sizeof *tests, "tests");
}
