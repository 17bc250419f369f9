/*
 * Every call that changes the store's files, cut at its N-th: killed before and after it, torn, the power lost, no
 * room, a bad disk.  A child runs a workload and tells each answer; then the store is opened again and must hold what
 * was acknowledged, once, and prove clean; and the index made anew must be the same.
 *
 * A stride keeps this short; MAILADM_FAULTS=all (tests/slow/store_faults.t) takes every N, MAILADM_FAULTS=SEED another
 * workload, MAILADM_FAULT="SCENARIO MODE N" one case.
 */
#include <sys/wait.h>
#include <time.h>

#include "fault.h"
#include "fault_world.h"
#include "mailsvc/store/verify.h"

#define OPS 80
#define SEGMENT 200000

static int64_t fake_now = 1600000000;

/* The engine's dates follow the workload, not the day. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_REALTIME)
		return FAULT_REAL(clock_gettime)(id, ts);
	*ts = (struct timespec){ .tv_sec = fake_now };
	return 0;
}

#ifdef __SANITIZE_ADDRESS__
#define SLOW 4 /* times: fewer cases in a short run */
#else
#define SLOW 1
#endif

static const struct scenario {
	const char *name;
	uint32_t ops, reopen; /* reopen: the store is killed and opened again before this operation; 0: not */
	bool rebuild;         /* without its index */
	bool compact;
	unsigned share; /* of a short run's cases, in hundredths of all */
} scenarios[] = {
	{ "from nothing", OPS, 0, false, false, 3 },
	{ "opened again", OPS, OPS - 15, false, false, 10 },
	{ "index made anew", OPS, OPS - 8, true, false, 10 },
	{ "compacted", OPS, OPS / 2, false, true, 3 },
	{ "made anew from a state file", OPS, OPS - 8, true, true, 5 },
};

struct told { /* by the child */
	uint32_t op;
	int32_t status; /* -1: begun */
};

static struct folder dir;
static char real_boot[BOOT_ID_LEN];
static unsigned workload = 1;

static bool power_fails(enum fault_mode mode)
{
	return mode == FAULT_POWER || mode == FAULT_TORN_SECTOR;
}

static int try_open(struct engine *e, const char *boot)
{
	return store_open_as(e, &dir, boot, SEGMENT);
}

static _Noreturn void child(const struct scenario *s, enum fault_mode mode, uint64_t n, int out, int report)
{
	const char *boot = power_fails(mode) ? "another boot" : real_boot;
	struct world w;
	struct engine e;

	world_start(&w);
	fault = (struct fault){
		.mode = mode, .at = s->reopen ? 0 : n, .seed = (unsigned)n * 31 + workload, .report = report
	};
	snprintf(fault.root, sizeof fault.root, "%s", dir.path);
	if (try_open(&e, boot) == -1)
		_exit(3);
	for (uint32_t i = 0; i < s->ops; i++) {
		struct op op = op_make(&w, workload, i, s->compact);
		struct told told = { i, -1 };
		fake_now = w.clock + i * 40;
		if (s->reopen && i == s->reopen) {
			store_kill(&e);
			if (s->rebuild)
				FAULT_REAL(unlinkat)(dir.fd, "index/data.mdb", 0);
			fault.at = n;
			if (try_open(&e, boot) == -1)
				_exit(3);
		}
		if (write(out, &told, sizeof told) != sizeof told)
			_exit(2);
		told.status = (int32_t)op_run(&e, &w, &op);
		if (told.status == STORE_OK)
			world_apply(&w, &op);
		if (write(out, &told, sizeof told) != sizeof told)
			_exit(2);
	}
	engine_close(&e);
	if (n == UINT64_MAX) /* told how many there are */
		dprintf(report, "%llu", (unsigned long long)fault.count);
	_exit(0);
}

struct outcome {
	struct world worlds[2]; /* without and with the operation that was not answered */
	struct world before[OPS + 1];
	struct op ops[OPS + 1];      /* those that were answered well, and the open one */
	uint32_t answered, unsynced; /* operations; those since the last that was synced */
	bool open;                   /* the last one was not answered */
	int status;
	char what[400];
};

/* What surely syncs the log: a change of flags is kept from a loss of power within a second only, and others may find
 * nothing to change. */
static bool synced(const struct op *op)
{
	return op->kind == OP_DELIVER || op->kind == OP_APPEND || op->kind == OP_CREATE || op->kind == OP_RENAME ||
	       op->kind == OP_DELETE || op->kind == OP_QUEUE_ADD || op->kind == OP_QUEUE_RESULT ||
	       op->kind == OP_QUEUE_CHANGE || op->kind == OP_CHECKPOINT;
}

static void run_child(const struct scenario *s, enum fault_mode mode, uint64_t n, struct outcome *o)
{
	int told[2], report[2];
	struct told t;
	ssize_t len;
	pid_t pid;

	memset(o, 0, sizeof *o);
	world_start(&o->worlds[0]);
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	fflush(NULL);
	if ((pid = fork()) == 0)
		child(s, mode, n, told[1], report[1]);
	close(told[1]);
	close(report[1]);
	o->before[0] = o->worlds[0];
	while (read(told[0], &t, sizeof t) == sizeof t) {
		struct op op = op_make(&o->worlds[0], workload, t.op, s->compact);
		o->open = t.status == -1;
		o->ops[o->answered] = op;
		o->worlds[1] = o->worlds[0];
		if (t.status == -1) {
			world_apply(&o->worlds[1], &op);
			continue;
		}
		if (t.status == STORE_OK)
			world_apply(&o->worlds[0], &op);
		o->before[++o->answered] = o->worlds[0];
		o->unsynced = synced(&op) && t.status == STORE_OK ? 0 : o->unsynced + 1;
	}
	len = read(report[0], o->what, sizeof o->what - 1);
	o->what[len > 0 ? len : 0] = '\0';
	close(told[0]);
	close(report[0]);
	waitpid(pid, &o->status, 0);
}

struct problems {
	char first[200];
};

static void on_problem(void *arg, uint32_t segment, uint64_t offset, const char *text)
{
	struct problems *p = arg;

	if (!p->first[0])
		snprintf(p->first, sizeof p->first, "%u:%llu: %s", segment, (unsigned long long)offset, text);
}

static void on_progress(void *arg, size_t done, size_t segments)
{
	(void)arg;
	(void)done;
	(void)segments;
}

static bool proves(char why[200])
{
	struct problems p = { "" };
	const struct verify_ops ops = { on_problem, on_progress, &p };
	struct verify_report report;
	struct error e = { "" };

	if (verify_store(dir.fd, false, &ops, &report, &e) == -1)
		snprintf(why, 200, "verify: %.150s", e.text);
	else if (report.problems)
		snprintf(why, 200, "verify: %.180s", p.first);
	else if (!report.index_checked)
		snprintf(why, 200, "verify did not look at the index");
	else
		return true;
	return false;
}

/* What was not synced may be lost with the power, one change of flags as well as another. */
static bool some_subset(struct engine *e, const struct outcome *o)
{
	uint32_t first = o->answered - o->unsynced, n = o->unsynced + o->open;
	char ignored[200];
	bool fits = false;

	lost_flags = &o->ops[first];
	lost_count = n;
	/* Which of the others there are, flags apart. */
	for (uint32_t subset = 0; n <= 16 && subset < 1u << n && !fits; subset++) {
		struct world w = o->before[first];
		bool flags = false;
		for (uint32_t i = 0; i < n; i++)
			if (subset >> i & 1) {
				flags |= o->ops[first + i].kind == OP_FLAGS;
				world_apply(&w, &o->ops[first + i]);
			}
		fits = !flags && !world_differs(e, &w, ignored);
	}
	lost_count = 0;
	return fits;
}

/* Any of the worlds that may be: "" or why none is. */
static void compare_worlds(struct engine *e, struct outcome *o, enum fault_mode mode, char why[200])
{
	char ignored[200];

	if (!world_differs(e, &o->worlds[0], why) || (o->open && !world_differs(e, &o->worlds[1], ignored)) ||
	    (power_fails(mode) && some_subset(e, o)))
		why[0] = '\0';
}

/* "" or what is wrong with what the child left. */
static void check(struct outcome *o, enum fault_mode mode, char why[200])
{
	struct engine e;
	struct buf live, anew;

	why[0] = '\0';
	if (WIFEXITED(o->status) && WEXITSTATUS(o->status) > 1) {
		snprintf(why, 200, "the child says %d", WEXITSTATUS(o->status));
		if (WEXITSTATUS(o->status) != 3)
			return;
		why[0] = '\0'; /* it could not open: that may be */
	}
	if (try_open(&e, real_boot) == -1) {
		snprintf(why, 200, "the store does not open");
		return;
	}
	compare_worlds(&e, o, mode, why);
	if (!why[0] && e.damage_count)
		snprintf(why, 200, "%llu damaged places", (unsigned long long)e.damage_count);
	dump(&e, &live);
	engine_close(&e);
	if (!why[0])
		proves(why);
	unlinkat(dir.fd, "index/data.mdb", 0);
	if (try_open(&e, real_boot) == -1) {
		buf_free(&live);
		snprintf(why, 200, "the index cannot be made anew");
		return;
	}
	dump(&e, &anew);
	if (!why[0] && (live.len != anew.len || memcmp(live.data, anew.data, live.len) != 0))
		snprintf(why, 200, "the index made anew is another");
	if (!why[0] && status_of(deliver_to(&e, "a@x", "", "", VIEW_LIT("one more"))) != STORE_OK)
		snprintf(why, 200, "it does not take another message");
	engine_close(&e);
	buf_free(&live);
	buf_free(&anew);
}

/* What a taken-back unlink was kept under. */
static void remove_saved(void)
{
	DIR *d = opendir(dir.path);
	const struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (strncmp(entry->d_name, ".saved-", 7) == 0)
			unlinkat(dir.fd, entry->d_name, 0);
	if (d)
		closedir(d);
}

static unsigned one_case(const struct scenario *s, enum fault_mode mode, uint64_t n, struct outcome *o)
{
	char why[200];

	folder_make(&dir);
	run_child(s, mode, n, o);
	check(o, mode, why);
	remove_saved();
	if (why[0] && getenv("MAILADM_FAULT_KEEP"))
		print_message("kept in %s\n", dir.path);
	else
		folder_remove(&dir);
	if (!why[0])
		return 0;
	for (uint32_t i = o->answered - o->unsynced; getenv("MAILADM_FAULT") && i < o->answered + o->open; i++)
		print_message("may be lost: %u %s box %u to %u uids %u-%u flags %u mode %d\n", i,
		    op_names[o->ops[i].kind], o->ops[i].box, o->ops[i].to, o->ops[i].first, o->ops[i].last,
		    o->ops[i].flags, (int)o->ops[i].mode);
	print_message("%s, %s call %llu, %s, workload %u, after %u operations%s: %s\n", s->name, fault_names[mode],
	    (unsigned long long)n, o->what, workload, o->answered, o->open ? " and one that was not answered" : "",
	    why);
	return 1;
}

static void run_scenario(const struct scenario *s)
{
	const char *all = getenv("MAILADM_FAULTS");
	struct outcome *o = xcalloc(1, sizeof *o);
	uint64_t calls, stride = all ? 1 : 100 / s->share * SLOW, cases = 0;
	unsigned failed = 0;

	folder_make(&dir);
	run_child(s, FAULT_NONE, UINT64_MAX, o);
	folder_remove(&dir);
	calls = strtoull(o->what, NULL, 10);
	assert_true(calls > 20);
	assert_int_equal(o->answered, s->ops);
	for (int mode = FAULT_KILL_BEFORE; mode < FAULT_MODES; mode++)
		for (uint64_t n = 1 + (uint64_t)mode * 7 % stride; n <= calls && failed < 10; n += stride, cases++)
			failed += one_case(s, (enum fault_mode)mode, n, o);
	print_message("%s: %llu cases of %llu calls\n", s->name, (unsigned long long)cases, (unsigned long long)calls);
	free(o);
	assert_int_equal(failed, 0);
}

static void test_from_nothing(void **state)
{
	(void)state;
	run_scenario(&scenarios[0]);
}

static void test_opened_again(void **state)
{
	(void)state;
	run_scenario(&scenarios[1]);
}

static void test_made_anew(void **state)
{
	(void)state;
	run_scenario(&scenarios[2]);
}

static void test_compacted(void **state)
{
	(void)state;
	run_scenario(&scenarios[3]);
}

static void test_made_anew_from_state(void **state)
{
	(void)state;
	run_scenario(&scenarios[4]);
}

static bool compact_now(struct engine *e)
{
	struct compact_status s;
	bool more = true;

	/* What was expunged is dead a minute later: there are bodies to move, and segments to remove. */
	atomic_store(&e->undelete, 60);
	while (more) {
		more = engine_housekeeping(e);
		if (engine_commit(e) == -1)
			return false;
		engine_publish(e);
	}
	return compact_whole(e, COMPACT_NOW, &s) == 0;
}

/* MAILADM_FAULT="SCENARIO MODE N" */
static int one_by_hand(const char *text)
{
	struct outcome *o = xcalloc(1, sizeof *o);
	unsigned scenario, mode;
	unsigned long long n;

	if (sscanf(text, "%u %u %llu", &scenario, &mode, &n) != 3 || scenario >= sizeof scenarios / sizeof *scenarios)
		return 2;
	return (int)one_case(&scenarios[scenario], (enum fault_mode)mode, n, o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_nothing),
		cmocka_unit_test(test_opened_again),
		cmocka_unit_test(test_made_anew),
		cmocka_unit_test(test_compacted),
		cmocka_unit_test(test_made_anew_from_state),
	};

	store_open_quietly = true;
	op_compact = compact_now;
	boot_id_read(real_boot);
	if (getenv("MAILADM_FAULTS") && strcmp(getenv("MAILADM_FAULTS"), "all") != 0)
		workload = (unsigned)strtoul(getenv("MAILADM_FAULTS"), NULL, 10);
	if (getenv("MAILADM_FAULT"))
		return one_by_hand(getenv("MAILADM_FAULT"));
	cmocka_set_message_output(CM_OUTPUT_TAP);
	/* The log lines of damage that these tests make are their purpose, not news. */
	if (!freopen("/dev/null", "w", stderr))
		return 1;
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
