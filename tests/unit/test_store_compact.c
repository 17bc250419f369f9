/* Compaction: what it frees and keeps, state files, what holds files back, and reading while it runs. */
#include "lib/clock.h"
#include "mailsvc/store/body.h"
#include "mailsvc/store/state.h"
#include "mailsvc/store/verify.h"
#include "store_help.h"

#define SEGMENT (300u << 10)

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

static void open_it(struct engine *e)
{
	assert_int_equal(store_open_as(e, &dir, boot, SEGMENT), 0);
}

static void body_make(uint32_t n, char body[6000])
{
	for (size_t i = 0; i < 6000; i++)
		body[i] = (char)('a' + (n * 7 + i) % 26);
}

static void fill(struct engine *e, uint32_t from, uint32_t count)
{
	char body[6000];

	for (uint32_t i = from; i < from + count; i++) {
		body_make(i, body);
		assert_int_equal(
		    status_of(deliver_to(e, "a@x", "", "P: 1\r\n", (struct view){ body, sizeof body })), STORE_OK);
	}
}

static void expunge(struct engine *e, uint32_t first, uint32_t last)
{
	char range[8];

	assert_int_equal(status_of(ask(e, (struct proto_request){ .type = STORE_EXPUNGE,
					      .mailbox = inbox(e, "a@x"),
					      .ranges = range_text(range, first, last) })),
	    STORE_OK);
}

/* What was expunged is forgotten at once. */
static void purge(struct engine *e)
{
	atomic_store(&e->undelete, 0);
	while (engine_housekeeping(e) || engine_pending(e)) {
		assert_int_equal(engine_commit(e), 0);
		engine_publish(e);
	}
	assert_int_equal(engine_commit(e), 0);
	engine_publish(e);
}

/* Each message of INBOX holds the bytes of its number. */
static uint32_t read_all(struct engine *e)
{
	static const char all[8] = { 1, 0, 0, 0, -1, -1, -1, -1 };
	char want[6000], got[6000];
	struct message_value row;
	struct body_reader reader;
	struct body_value b;
	struct view prefix;
	struct rows rows;
	struct tx tx;
	uint32_t uid, n = 0;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	body_reader_init(&reader, e->log_dir);
	rows_start(&rows, &tx, find_mailbox(&tx, find_account(&tx, VIEW_LIT("a@x")), VIEW_LIT("INBOX")),
	    (struct view){ all, sizeof all });
	while (rows_next(&rows, &uid, &row, &prefix)) {
		assert_true(get_body(&tx, row.body, &b, NULL));
		assert_int_equal(b.length, sizeof got);
		assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, 0, got, sizeof got), 0);
		body_make(uid, want);
		assert_memory_equal(got, want, sizeof got);
		n++;
	}
	rows_end(&rows);
	body_reader_close(&reader);
	tx_abort(&tx);
	return n;
}

static size_t files(const char *suffix)
{
	int fd = openat(dir.fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);
	const struct dirent *entry;
	size_t n = 0;

	while ((entry = readdir(d)))
		n += strlen(entry->d_name) > 10 && strcmp(entry->d_name + 10, suffix) == 0;
	closedir(d);
	return n;
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

static struct verify_report verified(void)
{
	const struct verify_ops ops = { on_problem, on_progress, NULL };
	struct verify_report r;
	struct error e;

	assert_int_equal(verify_store(dir.fd, false, &ops, &r, &e), 0);
	return r;
}

/* Closed, proved, made anew: the index must be the same. */
static void proves(struct engine *e)
{
	struct verify_report r;
	struct buf live, anew;

	dump(e, &live);
	engine_close(e);
	r = verified();
	assert_true(r.index_checked);
	assert_int_equal(r.problems, 0);
	unlinkat(dir.fd, "index/data.mdb", 0);
	open_it(e);
	assert_int_equal(e->damage_count, 0);
	dump(e, &anew);
	assert_same_index(&live, &anew, "made anew");
	buf_free(&live);
	buf_free(&anew);
}

static struct compact_status compact(struct engine *e)
{
	struct compact_status s;

	assert_int_equal(compact_whole(e, COMPACT_NOW, &s), 0);
	return s;
}

static void test_frees(void **state)
{
	struct compact_status s;
	struct body_reader reader;
	char body[1];
	struct engine e;
	size_t before;

	(void)state;
	open_it(&e);
	fill(&e, 1, 400);
	before = files(".log");
	assert_true(before >= 8);
	expunge(&e, 1, 150);                  /* whole segments */
	for (uint32_t i = 151; i <= 300; i++) /* and nine of ten */
		if (i % 10)
			expunge(&e, i, i);
	purge(&e);
	assert_int_equal(read_all(&e), 115);
	body_reader_init(&reader, e.log_dir);
	/* No body, but the segment is opened for it. */
	assert_int_equal(body_read(&reader, 1, SEGMENT_HEADER_LEN, 100000, 70000, body, 1), -1);
	s = compact(&e);
	assert_int_not_equal(reader.open[0].number + reader.open[1].number, 0);
	body_reader_trim(&reader);
	assert_int_equal(reader.open[0].number + reader.open[1].number, 0);
	body_reader_close(&reader);
	assert_true(s.moved >= 13 && s.moved < 60);
	assert_true(s.freed_segments >= before / 2);
	assert_true(s.freed_bytes > 150 * 6000 + 100 * 6000);
	assert_int_equal(s.pending_bytes, 0);
	assert_int_equal(files(".state"), 1);
	assert_true(files(".log") < before);
	assert_int_equal(read_all(&e), 115);
	proves(&e);
	assert_int_equal(read_all(&e), 115);
	/* It goes on, and again. */
	fill(&e, 401, 50);
	expunge(&e, 300, 400);
	purge(&e);
	s = compact(&e);
	assert_true(s.freed_segments >= 1);
	assert_int_equal(files(".state"), 1);
	assert_int_equal(read_all(&e), 64);
	proves(&e);
	engine_close(&e);
}

/* One dead message among living ones: its bytes stay with a compaction, and go with one of everything. */
static void test_all(void **state)
{
	char body[6000], command[200];
	struct compact_status s;
	struct engine e;

	(void)state;
	open_it(&e);
	memset(body, 'b', sizeof body);
	memcpy(body, "a word of the dead", 18);
	assert_int_equal(status_of(deliver_to(&e, "dead@x", "", "", (struct view){ body, sizeof body })), STORE_OK);
	fill(&e, 1, 100);
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_EXPUNGE,
					       .mailbox = inbox(&e, "dead@x"),
					       .ranges = range_text(command, 1, 1) })),
	    STORE_OK);
	purge(&e);
	snprintf(command, sizeof command, "grep -rq 'a word of the dead' %s/log", dir.path);
	assert_int_equal(compact(&e).moved, 0);
	assert_int_equal(system(command), 0);
	assert_int_equal(compact_whole(&e, COMPACT_ALL, &s), 0);
	assert_true(s.moved > 0 && s.moved < 60);
	assert_int_not_equal(system(command), 0);
	assert_int_equal(read_all(&e), 100);
	proves(&e);
	engine_close(&e);
}

/* What was expunged and not yet forgotten keeps its bytes, and can be compacted too. */
static void test_expunged_rows_stay(void **state)
{
	struct compact_status s;
	struct engine e;

	(void)state;
	open_it(&e);
	fill(&e, 1, 100);
	expunge(&e, 1, 90);
	s = compact(&e);
	assert_int_equal(s.freed_segments, 0);
	proves(&e);
	engine_close(&e);
}

static void test_hold(void **state)
{
	struct engine e;
	size_t before;
	bool waited = false;

	(void)state;
	open_it(&e);
	fill(&e, 1, 200);
	expunge(&e, 1, 190);
	purge(&e);
	before = files(".log");
	compact_hold(&e);
	assert_true(compact_start(&e, COMPACT_NOW));
	assert_false(compact_start(&e, COMPACT_NOW));
	for (int i = 0; i < 2000 && !waited; i++) {
		struct request *r = xcalloc(1, sizeof *r);
		switch (compact_next(&e, clock_mono_ms())) {
		case COMPACT_HELP:
			compact_help(&e);
			break;
		case COMPACT_COMMIT:
			r->p.type = ENGINE_COMPACT;
			r->weight = compact_weight(&e);
			while (engine_run(&e, r) == RUN_AGAIN)
				assert_int_equal(engine_commit(&e), 0);
			assert_int_equal(engine_commit(&e), 0);
			engine_publish(&e);
			break;
		case COMPACT_WAIT: {
			struct compact_status s;
			compact_status(&e, &s);
			waited = strcmp(s.phase, "wait") == 0 && e.durable_sequence >= e.log.sequence;
			checkpoint_begin(&e);
			assert_int_equal(checkpoint_write(&e), 0);
			checkpoint_end(&e);
			break;
		}
		default:
			fail_msg("it ended while a backup held the files");
		}
		request_free(r);
	}
	assert_true(waited);
	assert_true(files(".log") >= before);
	compact_unhold(&e);
	for (int i = 0; i < 400 && compact_next(&e, clock_mono_ms() + 5000) != COMPACT_IDLE; i++)
		compact_help(&e);
	assert_null(e.compact);
	assert_true(files(".log") < before / 2);
	proves(&e);
	engine_close(&e);
}

/* A gentle run does nothing where nothing is to be had, and its part where there is. */
static void test_gentle(void **state)
{
	struct compact_status s;
	struct engine e;
	size_t before;

	(void)state;
	open_it(&e);
	e.options.compact_min = 100 << 10;
	fill(&e, 1, 200);
	before = files(".log");
	for (int round = 0; round < 2; round++) {
		assert_true(compact_start(&e, COMPACT_GENTLE));
		for (enum compact_turn t; (t = compact_next(&e, clock_mono_ms() + 100000)) != COMPACT_IDLE;)
			if (t == COMPACT_HELP)
				compact_help(&e);
			else {
				struct request *r = xcalloc(1, sizeof *r);
				r->p.type = ENGINE_COMPACT;
				r->weight = compact_weight(&e);
				if (t == COMPACT_COMMIT)
					while (engine_run(&e, r) == RUN_AGAIN)
						assert_int_equal(engine_commit(&e), 0);
				assert_int_equal(engine_commit(&e), 0);
				engine_publish(&e);
				request_free(r);
				if (e.dirty_since) {
					checkpoint_begin(&e);
					assert_int_equal(checkpoint_write(&e), 0);
					checkpoint_end(&e);
				}
			}
		compact_status(&e, &s);
		assert_int_equal(s.error, 0);
		if (round == 0) {
			assert_int_equal(s.freed_bytes, 0);
			assert_int_equal(files(".state"), 0);
			expunge(&e, 1, 180);
			purge(&e);
		}
	}
	assert_true(s.freed_segments > 0);
	assert_true(files(".log") < before);
	proves(&e);
	engine_close(&e);
}

/* A flipped bit in a state file: found by verify, and costs no more than its frame. */
static void test_damaged_state(void **state)
{
	struct engine e;
	struct error err;
	uint32_t *numbers;
	size_t count;
	char name[STATE_NAME_LEN + 4], byte;
	struct stat st;
	int fd;

	(void)state;
	open_it(&e);
	fill(&e, 1, 60);
	compact(&e);
	fill(&e, 61, 3);
	assert_int_equal(states_list(e.log_dir, &numbers, &count, &err), 0);
	assert_int_equal(count, 1);
	engine_close(&e);
	memcpy(name, "log/", 4);
	state_name(numbers[0], name + 4);
	free(numbers);
	fd = openat(dir.fd, name, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
	close(fd);
	assert_true(verified().problems > 0);
	unlinkat(dir.fd, "index/data.mdb", 0);
	open_it(&e);
	assert_true(e.damage_count > 0);
	assert_int_equal(status_of(deliver_to(&e, "b@x", "", "", VIEW_LIT("goes on"))), STORE_OK);
	engine_close(&e);
}

/* A backup: the state file and the segments before the active one, and no more; another place. */
static void test_backup(void **state)
{
	struct folder other;
	struct engine e;
	struct buf live, there;
	char command[400];

	(void)state;
	open_it(&e);
	fill(&e, 1, 120);
	expunge(&e, 1, 100);
	purge(&e);
	compact(&e);
	dump(&e, &live);
	folder_make(&other);
	snprintf(command, sizeof command, "mkdir %s/log && cp %s/log/* %s/log/ && rm %s/log/%010u.log", other.path,
	    dir.path, other.path, other.path, e.log.number);
	assert_int_equal(system(command), 0);
	engine_close(&e);
	assert_int_equal(store_open_as(&e, &other, boot, SEGMENT), 0);
	assert_int_equal(e.damage_count, 0);
	assert_int_equal(read_all(&e), 20);
	dump(&e, &there);
	assert_true(live.len == there.len); /* but for the salt of the segment they stand in */
	fill(&e, 121, 1);
	engine_close(&e);
	assert_int_equal(store_open_as(&e, &other, boot, SEGMENT), 0);
	assert_int_equal(read_all(&e), 21);
	engine_close(&e);
	buf_free(&live);
	buf_free(&there);
	folder_remove(&other);
}

/* The next step of a run, as the commit thread and its helper take it; false: it ended. */
static bool step(struct engine *e)
{
	struct request *r;

	switch (compact_next(e, clock_mono_ms() + 100000)) {
	case COMPACT_IDLE:
		return false;
	case COMPACT_HELP:
		compact_help(e);
		break;
	case COMPACT_COMMIT:
		r = xcalloc(1, sizeof *r);
		r->p.type = ENGINE_COMPACT;
		r->weight = compact_weight(e);
		while (engine_run(e, r) == RUN_AGAIN)
			assert_int_equal(engine_commit(e), 0);
		assert_int_equal(engine_commit(e), 0);
		engine_publish(e);
		request_free(r);
		break;
	case COMPACT_WAIT:
		checkpoint_begin(e);
		assert_int_equal(checkpoint_write(e), 0);
		checkpoint_end(e);
		break;
	}
	return true;
}

static bool in_phase(struct engine *e, const char *phase)
{
	struct compact_status s;

	compact_status(e, &s);
	return strcmp(s.phase, phase) == 0;
}

/* Frames that the state file stands for are on the disk before it is: here a flag's, which waits for no fdatasync. */
static void test_state_after_log(void **state)
{
	char range[8];
	struct engine e;

	(void)state;
	open_it(&e);
	fill(&e, 1, 20);
	assert_true(compact_start(&e, COMPACT_NOW));
	for (uint32_t before = e.log.number; e.log.number == before || !in_phase(&e, "state");)
		assert_true(step(&e)); /* up to the rotation */
	assert_int_equal(status_of(ask(&e, (struct proto_request){ .type = STORE_FLAGS,
					       .mailbox = inbox(&e, "a@x"),
					       .mode = FLAGS_ADD,
					       .flags = FLAG_SEEN,
					       .ranges = range_text(range, 1, 1) })),
	    STORE_OK);
	engine_publish(&e);
	assert_true(e.log.dirty);
	while (files(".state") == 0)
		assert_true(step(&e));
	assert_false(e.log.dirty);
	while (step(&e))
		;
	proves(&e);
	engine_close(&e);
}

/* Each state file has a number of its own, also when nothing was written since the last: a backup may be at that. */
static void test_numbers(void **state)
{
	uint32_t *numbers, first;
	struct error err;
	struct engine e;
	size_t count;

	(void)state;
	open_it(&e);
	fill(&e, 1, 20);
	compact(&e);
	assert_int_equal(states_list(e.log_dir, &numbers, &count, &err), 0);
	assert_int_equal(count, 1);
	first = numbers[0];
	free(numbers);
	compact(&e);
	/* The index on the disk stands behind what was removed. */
	assert_true(e.durable_segment > first);
	assert_int_equal(states_list(e.log_dir, &numbers, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_true(numbers[0] > first);
	free(numbers);
	proves(&e);
	engine_close(&e);
}

/* A snapshot's state file is of its own time. */
static void test_snapshot(void **state)
{
	struct engine e;
	struct request *r = xcalloc(1, sizeof *r);

	(void)state;
	open_it(&e);
	fill(&e, 1, 20);
	compact(&e);
	fill(&e, 21, 1);
	r->p.type = STORE_ADMIN_SNAPSHOT;
	engine_need_tx(&e);
	assert_int_equal(engine_run(&e, r), RUN_DONE);
	compact(&e);
	assert_int_equal(r->reply.status, STORE_OK);
	assert_true(r->resume != 0 && r->resume < r->reply.mailbox);
	request_free(r);
	engine_close(&e);
}

/* A backup without the segment behind its state file goes on in one of the same number, and loses its index. */
static void test_restored_goes_on(void **state)
{
	struct engine e;
	char name[64];
	uint32_t active;

	(void)state;
	open_it(&e);
	fill(&e, 1, 40);
	compact(&e);
	active = e.log.number;
	engine_close(&e);
	snprintf(name, sizeof name, "log/%010u.log", active);
	assert_int_equal(unlinkat(dir.fd, name, 0), 0);
	unlinkat(dir.fd, "index/data.mdb", 0);
	open_it(&e);
	assert_int_equal(e.damage_count, 0);
	assert_int_equal(e.log.number, active);
	fill(&e, 41, 5);
	proves(&e); /* opens without an index */
	assert_int_equal(read_all(&e), 45);
	fill(&e, 46, 80);
	engine_close(&e);
	/* And when that segment is lost, what is elsewhere is still served. */
	assert_int_equal(unlinkat(dir.fd, name, 0), 0);
	unlinkat(dir.fd, "index/data.mdb", 0);
	open_it(&e);
	assert_true(e.damage_count > 0);
	assert_true(read_all(&e) >= 40);
	engine_close(&e);
}

/* What was being written goes with the run that fails, and at the next start. */
static void test_no_leftover(void **state)
{
	struct engine e;

	(void)state;
	open_it(&e);
	fill(&e, 1, 20);
	assert_true(compact_start(&e, COMPACT_NOW));
	while (faccessat(dir.fd, "log/" STATE_TEMPORARY, F_OK, 0) == -1)
		assert_true(step(&e));
	compact_fail(&e, ENOSPC);
	while (step(&e))
		;
	assert_int_equal(faccessat(dir.fd, "log/" STATE_TEMPORARY, F_OK, 0), -1);
	engine_close(&e);
	close(openat(dir.fd, "log/" STATE_TEMPORARY, O_CREAT | O_WRONLY, 0600));
	open_it(&e);
	assert_int_equal(faccessat(dir.fd, "log/" STATE_TEMPORARY, F_OK, 0), -1);
	engine_close(&e);
}

/* A message without a body needs no segment. */
static void test_empty_body(void **state)
{
	struct engine e;

	(void)state;
	open_it(&e);
	assert_int_equal(status_of(deliver_to(&e, "b@x", "", "P: 1\r\n", VIEW_LIT(""))), STORE_OK);
	compact(&e);
	proves(&e);
	engine_close(&e);
}

/* A segment that cannot be read whole may hold mail that the index does not know: it stays. */
static void test_damaged_stays(void **state)
{
	struct compact_status s;
	struct engine e;
	uint32_t zero = 0;
	off_t frame;
	int fd;

	(void)state;
	open_it(&e);
	fill(&e, 1, 10);
	frame = (off_t)e.log.offset;
	fill(&e, 11, 190);
	engine_close(&e);
	fd = openat(dir.fd, "log/0000000001.log", O_RDWR);
	assert_int_equal(pwrite(fd, &zero, sizeof zero, frame), sizeof zero);
	close(fd);
	unlinkat(dir.fd, "index/data.mdb", 0);
	open_it(&e);
	assert_true(e.damage_count > 0);
	expunge(&e, 1, 200);
	purge(&e);
	s = compact(&e);
	assert_int_equal(s.kept_segments, 1);
	assert_true(s.freed_segments > 1);
	assert_int_equal(faccessat(dir.fd, "log/0000000001.log", F_OK, 0), 0);
	engine_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frees, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expunged_rows_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gentle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_after_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restored_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_leftover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_stays, setup, teardown),
	};

	return run_quietly(tests, sizeof tests / sizeof *tests, "tests");
}
