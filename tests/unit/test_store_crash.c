/* What crashes and bad disks do: torn tails, flipped bits, lost pages, a full disk, kill -9 under load. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mailsvc/store/body.h"
#include "store_help.h"

static struct folder dir;

static int setup(void **state)
{
	(void)state;
	folder_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	folder_remove(&dir);
	return 0;
}

static void slurp(const char *name, struct buf *out)
{
	int fd = openat(dir.fd, name, O_RDONLY);
	ssize_t n;

	*out = BUF_INIT(1u << 30);
	assert_int_not_equal(fd, -1);
	do {
		char *at = buf_reserve(out, 1 << 16);
		n = read(fd, at, 1 << 16);
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0);
	close(fd);
}

static void spill(const char *name, const char *data, size_t len)
{
	int fd = openat(dir.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static void drop_index(void)
{
	unlinkat(dir.fd, "index/data.mdb", 0);
	unlinkat(dir.fd, "index/checkpoint", 0);
}

/* The last frame cut off, or zeroed, from each of its bytes on: what came before stays, nothing else does. */
static void test_torn_tail(void **state)
{
	struct engine e;
	struct buf log, before, after;
	uint64_t start, end;

	(void)state;
	store_must_open(&e, &dir);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "P: 1\r\n", VIEW_LIT("first"))), STORE_OK);
	start = e.log.offset;
	dump(&e, &before);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "P: 2\r\n", VIEW_LIT("second"))), STORE_OK);
	end = e.log.offset;
	engine_close(&e);
	slurp("log/0000000001.log", &log);
	for (uint64_t cut = start; cut < end; cut++)
		for (int zero = 0; zero < 2; zero++) {
			char *copy = xmalloc(log.len);
			size_t len = zero ? log.len : (size_t)cut;
			memcpy(copy, log.data, log.len);
			memset(copy + cut, 0, log.len - cut);
			/* A frame that ends in zeros is whole when only those are cut: its last bytes are a CRC, so it
			 * has none. */
			spill("log/0000000001.log", copy, len);
			free(copy);
			drop_index();
			store_must_open(&e, &dir);
			assert_int_equal(e.log.offset, start);
			assert_int_equal(e.damage_count, 0);
			dump(&e, &after);
			assert_same_index(&before, &after, "torn");
			buf_free(&after);
			if (cut % 16 == 0) /* and it goes on from there */
				assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("third"))), STORE_OK);
			engine_close(&e);
		}
	buf_free(&before);
	buf_free(&log);
}

/* One flipped bit anywhere in a middle frame costs that frame and no other, and never goes unnoticed. */
static void test_bit_flips(void **state)
{
	struct engine e;
	struct buf log;
	uint64_t start, end;

	(void)state;
	store_must_open(&e, &dir);
	inbox(&e, "a@x");
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("first"))), STORE_OK);
	start = e.log.offset;
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("second"))), STORE_OK);
	end = e.log.offset;
	assert_int_equal(status_of(deliver_to(&e, "b@x", "", "", VIEW_LIT("third"))), STORE_OK);
	engine_close(&e);
	slurp("log/0000000001.log", &log);
	for (uint64_t at = start; at < end; at++) {
		log.data[at] ^= (char)(1 << (at % 8));
		spill("log/0000000001.log", log.data, log.len);
		log.data[at] ^= (char)(1 << (at % 8));
		drop_index();
		store_must_open(&e, &dir);
		assert_int_equal(e.damage_count, 1);
		assert_int_equal(mailbox_row_of(&e, 1).messages, 1);
		assert_int_not_equal(account_of(&e, "b@x"), 0);
		engine_close(&e);
	}
	buf_free(&log);
}

static void test_body_read_is_checked(void **state)
{
	size_t len = 3 * CHUNK_LEN + 100;
	char *body = xmalloc(len), *got = xmalloc(len);
	struct body_reader reader;
	struct body_value b;
	struct engine e;
	struct tx tx;
	struct buf log;

	(void)state;
	for (size_t i = 0; i < len; i++)
		body[i] = (char)(i * 7 + i / 251);
	store_must_open(&e, &dir);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", (struct view){ body, len })), STORE_OK);
	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	assert_true(get_body(&tx, 1, &b, NULL));
	tx_abort(&tx);
	body_reader_init(&reader, e.log_dir);
	for (size_t from = 0; from < len; from += 30011)
		for (size_t n = 1; n <= len - from; n += 50021) {
			memset(got, 0, n);
			assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, from, got, n), 0);
			assert_memory_equal(got, body + from, n);
		}
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, 0, got, len), 0);
	assert_memory_equal(got, body, len);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, len, got, 1), -1);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, UINT64_MAX, got, 1), -1);
	slurp("log/0000000001.log", &log);
	log.data[b.offset + CHUNK_LEN + 5] ^= 1;
	int fd = openat(dir.fd, "log/0000000001.log", O_WRONLY);
	assert_int_equal(pwrite(fd, log.data + b.offset + CHUNK_LEN, 10, (off_t)(b.offset + CHUNK_LEN)), 10);
	close(fd);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, 0, got, CHUNK_LEN), 0);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, CHUNK_LEN + 100, got, 1), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, 0, got, len), -1);
	assert_int_equal(body_read(&reader, b.segment, b.offset, b.length, 2 * CHUNK_LEN, got, CHUNK_LEN + 100), 0);
	body_reader_close(&reader);
	buf_free(&log);
	engine_close(&e);
	free(body);
	free(got);
}

static void some_load(struct engine *e, unsigned *seed, int n)
{
	char range[8], body[3000];

	memset(body, 'b', sizeof body);
	for (int i = 0; i < n; i++) {
		uint32_t first = 1 + (uint32_t)rand_r(seed) % 200;
		uint32_t box = inbox(e, "a@x");
		switch (rand_r(seed) % 5) {
		case 0:
			status_of(ask(e, (struct proto_request){ .type = STORE_FLAGS,
					     .mailbox = box,
					     .mode = FLAGS_ADD,
					     .flags = 1u << (rand_r(seed) % 5),
					     .ranges = range_text(range, first, first + 10) }));
			break;
		case 1:
			status_of(ask(e, (struct proto_request){ .type = STORE_EXPUNGE,
					     .mailbox = box,
					     .ranges = range_text(range, first, first + 1) }));
			break;
		default:
			assert_int_equal(
			    status_of(deliver_to(e, "a@x", "", "", (struct view){ body, (size_t)rand_r(seed) % 3000 })),
			    STORE_OK);
		}
	}
}

static void checkpoint(struct engine *e)
{
	checkpoint_begin(e);
	assert_int_equal(checkpoint_write(e), 0);
	checkpoint_end(e);
}

/*
 * Power loss: data.mdb holds, page by page, any of the versions it had since the last checkpoint was synced.  The metas
 * are put back and the log replayed: that must equal what was live, whatever the mixture.
 */
static void test_power_loss(void **state)
{
	struct engine e;

	(void)state;
	for (unsigned round = 1; round <= 25; round++) {
		struct buf versions[4], live, after;
		unsigned seed = round;
		char *mixed;
		size_t len;

		assert_int_equal(store_open_as(&e, &dir, "boot-1", 0), 0);
		for (int i = 0; i < 4; i++) {
			some_load(&e, &seed, 20);
			checkpoint(&e);
		}
		for (int v = 0; v < 4; v++) {
			slurp("index/data.mdb", &versions[v]);
			some_load(&e, &seed, 15);
		}
		if (round % 3 == 0) { /* a checkpoint that began and never ended */
			checkpoint_begin(&e);
			some_load(&e, &seed, 5);
		}
		dump(&e, &live);
		buf_free(&versions[3]);
		slurp("index/data.mdb", &versions[3]);
		store_kill(&e);
		len = versions[3].len;
		mixed = xcalloc(1, len);
		for (size_t at = 0; at + 4096 <= len; at += 4096) {
			const struct buf *from = &versions[rand_r(&seed) % 4];
			if (at + 4096 <= from->len)
				memcpy(mixed + at, from->data + at, 4096);
		}
		/* In place: the checkpoint knows the file by its inode. */
		int fd = openat(dir.fd, "index/data.mdb", O_WRONLY);
		assert_int_equal(pwrite(fd, mixed, len, 0), (ssize_t)len);
		close(fd);
		free(mixed);
		assert_int_equal(store_open_as(&e, &dir, "boot-2", 0), 0);
		assert_true(e.replayed > 0 && e.replayed < 200); /* replayed from the checkpoint, not rebuilt */
		dump(&e, &after);
		assert_same_index(&live, &after, "after power loss");
		for (int v = 0; v < 4; v++)
			buf_free(&versions[v]);
		buf_free(&after);
		/* And it bears more load; then from nothing. */
		some_load(&e, &seed, 30);
		buf_free(&live);
		dump(&e, &live);
		store_kill(&e);
		drop_index();
		assert_int_equal(store_open_as(&e, &dir, "boot-2", 0), 0);
		dump(&e, &after);
		assert_same_index(&live, &after, "rebuilt after power loss");
		buf_free(&after);
		buf_free(&live);
		engine_close(&e);
	}
}

/* A torn checkpoint slot: the one before it is used; both torn: rebuilt. */
static void test_torn_checkpoint(void **state)
{
	struct engine e;
	struct buf live, after, slots;
	unsigned seed = 3;

	(void)state;
	for (int both = 0; both < 2; both++) {
		store_must_open(&e, &dir);
		some_load(&e, &seed, 30);
		checkpoint(&e);
		some_load(&e, &seed, 10);
		dump(&e, &live);
		uint64_t newest = e.checkpoint_serial % 2;
		store_kill(&e);
		slurp("index/checkpoint", &slots);
		slots.data[newest * 4096 + 30] ^= 1;
		if (both)
			slots.data[(1 - newest) * 4096 + 30] ^= 1;
		int fd = openat(dir.fd, "index/checkpoint", O_WRONLY);
		assert_int_equal(pwrite(fd, slots.data, slots.len, 0), (ssize_t)slots.len);
		close(fd);
		assert_int_equal(store_open_as(&e, &dir, "boot-1", 0), 0);
		dump(&e, &after);
		assert_same_index(&live, &after, "torn checkpoint");
		buf_free(&slots);
		buf_free(&live);
		buf_free(&after);
		engine_close(&e);
	}
}

/* The disk is full in the middle of a frame: all of the batch is refused, nothing of it stays, and it goes on. */
static void test_full_disk(void **state)
{
	struct rlimit old, small;
	struct engine e;
	struct buf before, after;
	char *body = xcalloc(1, 600000);

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	store_must_open(&e, &dir);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("one"))), STORE_OK);
	dump(&e, &before);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ 400000, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", (struct view){ body, 600000 })), STORE_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	dump(&e, &after);
	assert_same_index(&before, &after, "after a refused frame");
	buf_free(&after);
	assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("two"))), STORE_OK);
	buf_free(&before);
	dump(&e, &before);
	store_kill(&e);
	drop_index();
	store_must_open(&e, &dir);
	assert_int_equal(e.damage_count, 0);
	dump(&e, &after);
	assert_same_index(&before, &after, "replayed");
	buf_free(&before);
	buf_free(&after);
	engine_close(&e);
	free(body);
}

/* No room for the index while the log still has some: nothing is lost, and it is shown when there is room again. */
static void test_no_room_for_index(void **state)
{
	struct rlimit old, small;
	struct engine e;
	struct buf before, after;
	struct stat st;
	bool stuck = false;
	unsigned tries = 0;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	store_must_open(&e, &dir);
	uint32_t box = inbox(&e, "a@x");
	for (int i = 0; i < 20; i++)
		assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("one"))), STORE_OK);
	assert_int_equal(fstat(e.data_fd, &st), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ (rlim_t)st.st_size, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (; !stuck && tries < 500; tries++) {
		assert_int_equal(status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("two"))), STORE_OK);
		stuck = engine_publish(&e) == -1;
	}
	assert_true(stuck);
	assert_true(engine_unpublished(&e));
	assert_int_not_equal(mailbox_row_of(&e, box).messages, 20 + tries);
	assert_int_equal(engine_publish(&e), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(engine_publish(&e), 0);
	assert_true(e.changed_count > 0); /* sessions are told */
	assert_int_equal(mailbox_row_of(&e, box).messages, 20 + tries);
	dump(&e, &before);
	store_kill(&e);
	store_must_open(&e, &dir);
	dump(&e, &after);
	assert_same_index(&before, &after, "opened again");
	buf_free(&before);
	buf_free(&after);
	engine_close(&e);
}

static bool sync_fails;

/* In place of libc's, for the store in this program. */
int fdatasync(int fd)
{
	if (!sync_fails)
		return fsync(fd);
	errno = EIO;
	return -1;
}

/* After a failed fdatasync nothing is acknowledged and the process ends; the next one has all, and has written it
 * again. */
static void test_fdatasync_fails(void **state)
{
	struct engine e;
	int fds[2], status;
	char told[8];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	if ((pid = fork()) == 0) {
		store_must_open(&e, &dir);
		for (int i = 0; i < 3; i++) {
			sync_fails = i == 2;
			if (status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("body"))) != STORE_OK ||
			    write(fds[1], "k", 1) != 1)
				_exit(42);
		}
		_exit(43);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], told, 1), 1);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(read(fds[0], told, sizeof told), 1); /* two of three */
	close(fds[0]);
	store_must_open(&e, &dir);
	assert_false(e.log.dirty);
	assert_int_equal(e.damage_count, 0);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 3);
	/* The index: its pages look written when they are not, so the next start makes it anew. */
	if ((pid = fork()) == 0) {
		sync_fails = true;
		e.log.dirty = false;
		checkpoint_begin(&e);
		checkpoint_write(&e);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(faccessat(dir.fd, "index/checkpoint", F_OK, 0), -1);
	store_kill(&e);
	store_must_open(&e, &dir);
	assert_int_equal(mailbox_row_of(&e, inbox(&e, "a@x")).messages, 3);
	engine_close(&e);
}

static _Noreturn void writer(int out)
{
	struct engine e;
	char body[64];

	if (store_open_as(&e, &dir, "boot-1", 1 << 20) == -1)
		_exit(1);
	for (uint32_t i = 0;; i++) {
		snprintf(body, sizeof body, "message %u", i);
		if (status_of(deliver_to(&e, "a@x", "", "", view_of(body))) != STORE_OK)
			_exit(2);
		if (i % 64 == 63)
			checkpoint(&e);
		if (write(out, &i, sizeof i) != sizeof i)
			_exit(3);
	}
}

static void test_kill(void **state)
{
	uint32_t total = 0;
	struct engine e;

	(void)state;
	for (int round = 0; round < 5; round++) {
		int fds[2];
		uint32_t last = 0, n = 0;
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0)
			writer(fds[1]);
		close(fds[1]);
		while (n < 300 + 37 * (uint32_t)round && read(fds[0], &last, sizeof last) == sizeof last)
			n++;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(fds[0], &last, sizeof last) == sizeof last) /* what it had still acknowledged */
			n++;
		close(fds[0]);
		assert_true(n >= 300);
		assert_int_equal(store_open_as(&e, &dir, "boot-1", 1 << 20), 0);
		uint32_t have = mailbox_row_of(&e, 1).messages - total;
		assert_in_range(have, n, n + 1); /* the last may be stored and not acknowledged */
		assert_int_equal(e.damage_count, 0);
		total += have;
		engine_close(&e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bit_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_read_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_loss, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_checkpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room_for_index, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fdatasync_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
	};

	return run_quietly(tests, sizeof tests / sizeof *tests, "tests");
}
