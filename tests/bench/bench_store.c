/*
 * How opening, replay, state files and compaction grow:  bench_store [-s BODY_BYTES] FOLDER MESSAGES...
 *
 * For each number of messages a store is made in FOLDER (without fdatasync: it is not what is measured), half of them
 * are expunged and forgotten, and one JSON line says what each of these took, in ms: opening what was closed, opening
 * without an index (from the log alone), a compaction, opening without an index (from the state file), and the sizes.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/store/engine.h"

#define BATCH 200 /* messages to a commit */

static size_t body_len = 2000;
static struct epoch_shared shared = { .epoch = 1 };

/* In place of libc's: figures of a disk's fdatasync are bench_fsync's. */
int fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1000 + (double)ts.tv_nsec / 1e6;
}

static double open_store(struct engine *e, int dir, bool index)
{
	struct engine_options o = { .store_dir = dir };
	double start = now();
	struct error error;

	boot_id_read(o.boot_id);
	if (!index && unlinkat(dir, "index/data.mdb", 0) == -1)
		err(1, "index/data.mdb");
	atomic_store(&shared.epoch, 1);
	if (engine_open(e, &o, &shared, NULL, &error) == -1)
		errx(1, "%s", error.text);
	return now() - start;
}

static void settle(struct engine *e)
{
	if (engine_commit(e) == -1 || engine_publish(e) == -1)
		err(1, "commit");
	checkpoint_begin(e);
	if (checkpoint_write(e) == -1)
		err(1, "checkpoint");
	checkpoint_end(e);
}

/* Runs to its end, within the commit that is open where it fits. */
static void run(struct engine *e, struct request *r)
{
	enum run rc;

	while ((rc = engine_run(e, r)) != RUN_DONE)
		if (engine_commit(e) == -1)
			err(1, "commit");
	if (r->reply.status != STORE_OK)
		errx(1, "status %d", (int)r->reply.status);
}

static void fill(struct engine *e, uint64_t count)
{
	char *body = xmalloc(body_len), mime[700], account[64];

	memset(body, 'b', body_len);
	memset(mime, 'm', sizeof mime);
	for (uint64_t i = 0; i < count; i++) {
		struct proto_local local = { .mailbox = VIEW_LIT(""),
			.prefix = VIEW_LIT("Return-Path: <sender@example.net>\r\nDelivered-To: x@example.org\r\n") };
		struct request *r = xcalloc(1, sizeof *r);
		snprintf(account, sizeof account, "user%u@example.org", (unsigned)(i / 50000));
		local.account = view_of(account);
		r->p = (struct proto_request){ .type = STORE_DELIVER,
			.date = 1000,
			.body = { body, body_len },
			.mime = { mime, sizeof mime },
			.locals = &local,
			.local_count = 1 };
		r->weight = body_len + 4096;
		run(e, r);
		r->p.locals = NULL;
		request_free(r);
		if (i % BATCH == BATCH - 1 && engine_commit(e) == -1)
			err(1, "commit");
		if (i % 20000 == 19999)
			settle(e);
	}
	settle(e);
	free(body);
}

/* Every second message of each account: gone for good. */
static void kill_half(struct engine *e)
{
	for (unsigned n = 0;; n++) {
		struct buf ranges = BUF_INIT(16u << 20);
		struct request *r = xcalloc(1, sizeof *r);
		char account[64];
		struct tx tx;
		uint32_t id, box = 0;
		snprintf(account, sizeof account, "user%u@example.org", n);
		if (tx_begin(&tx, &e->index, false) == 0 && (id = find_account(&tx, view_of(account))))
			box = find_mailbox(&tx, id, VIEW_LIT("INBOX"));
		tx_abort(&tx);
		for (uint32_t uid = 1; uid < 50000; uid += 2)
			ranges_put(&ranges, (struct uid_range){ uid, uid });
		r->p = (struct proto_request){ .type = STORE_EXPUNGE, .mailbox = box, .ranges = buf_view(&ranges) };
		if (box)
			run(e, r);
		request_free(r);
		buf_free(&ranges);
		settle(e);
		if (!box)
			break;
	}
	atomic_store(&e->undelete, 0);
	while (engine_housekeeping(e))
		if (engine_commit(e) == -1)
			err(1, "commit");
	settle(e);
}

static uint64_t size_of(int dir, const char *what)
{
	char command[200];
	unsigned long long n = 0;
	FILE *f;

	snprintf(command, sizeof command, "du -sb /proc/%d/fd/%d/%s | cut -f1", (int)getpid(), dir, what);
	if (!(f = popen(command, "r")) || fscanf(f, "%llu", &n) != 1)
		err(1, "du");
	pclose(f);
	return n;
}

static void measure(int dir, uint64_t count)
{
	struct compact_status s;
	struct rusage use;
	double made, opened, replayed, compacted, loaded, start = now();
	struct engine e;

	open_store(&e, dir, true);
	fill(&e, count);
	made = now() - start;
	kill_half(&e);
	engine_close(&e);
	opened = open_store(&e, dir, true);
	engine_close(&e);
	replayed = open_store(&e, dir, false);
	uint64_t frames = e.replayed, log = size_of(dir, "log"), index = size_of(dir, "index/data.mdb");
	start = now();
	if (compact_whole(&e, COMPACT_NOW, &s) == -1)
		errx(1, "compaction: %s", strerror(s.error));
	compacted = now() - start;
	engine_close(&e);
	loaded = open_store(&e, dir, false);
	engine_close(&e);
	getrusage(RUSAGE_SELF, &use);
	printf(
	    "{\"messages\":%llu,\"made_ms\":%.0f,\"open_ms\":%.1f,\"replay_ms\":%.0f,\"frames\":%llu,\"log_mib\":%.0f,"
	    "\"index_mib\":%.0f,\"compact_ms\":%.0f,\"moved\":%llu,\"state_mib\":%.0f,\"log_after_mib\":%.0f,"
	    "\"load_state_ms\":%.0f,\"rss_mib\":%ld}\n",
	    (unsigned long long)count, made, opened, replayed, (unsigned long long)frames, (double)log / 1048576,
	    (double)index / 1048576, compacted, (unsigned long long)s.moved, (double)s.state_bytes / 1048576,
	    (double)size_of(dir, "log") / 1048576, loaded, use.ru_maxrss / 1024);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "s:")) != -1)
		if (o == 's')
			body_len = strtoul(optarg, NULL, 10);
		else
			return 2;
	if (argc - optind < 2)
		errx(2, "usage: bench_store [-s BODY_BYTES] FOLDER MESSAGES...");
	log_init("bench", LOG_LEVEL_ERROR);
	for (int i = optind + 1; i < argc; i++) {
		char *path = xasprintf("%s/store-%s", argv[optind], argv[i]);
		int dir;
		if (mkdir(path, 0700) == -1 || (dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
			err(1, "%s", path);
		measure(dir, strtoull(argv[i], NULL, 10));
		close(dir);
		free(path);
	}
	return 0;
}
