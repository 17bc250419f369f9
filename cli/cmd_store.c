/*
 * mailadm store: proves the mail store, makes its index anew, gives back what dead mail holds.
 *
 * verify reads only.  While the host runs it checks the log as far as it is whole; when the host is stopped, the index
 * too.  rebuild takes the host's lock first, so that no store can start meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli.h"
#include "export.h"
#include "lib/text.h"
#include "mailsvc/store/verify.h"
#include "session.h"
#include "store.h"

#define PROBLEMS_SHOWN 1000

struct verify_ui {
	struct cli *cli;
	json_t *problems;
	bool bar;
	uint64_t shown;
};

static void on_problem(void *arg, uint32_t segment, uint64_t offset, const char *text)
{
	struct verify_ui *ui = arg;
	char name[SEGMENT_NAME_LEN];

	if (ui->shown++ >= PROBLEMS_SHOWN)
		return;
	segment_name(segment, name);
	if (ui->cli->json) {
		json_t *p = json_object();
		json_object_set_new(p, "segment", segment ? json_string(name) : json_null());
		json_object_set_new(p, "offset", segment ? json_integer((json_int_t)offset) : json_null());
		json_object_set_new(p, "text", json_string(text));
		json_array_append_new(ui->problems, p);
		return;
	}
	if (ui->bar)
		fputs("\r\033[K", stderr);
	if (segment)
		printf("%s:%" PRIu64 ": %s\n", name, offset, text);
	else
		printf("index: %s\n", text);
}

static void on_progress(void *arg, size_t done, size_t segments)
{
	const struct verify_ui *ui = arg;

	if (!ui->bar)
		return;
	fprintf(stderr, "\rsegment %zu of %zu", done, segments);
	if (done == segments)
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

static int open_store(struct cli *cli)
{
	char *path = site_state(cli->site, "store");
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd == -1)
		cli_error("%s: %s; has the host been started once?", path, strerror(errno));
	free(path);
	return fd;
}

/* The host's lock as cli_host_lock has it, -2 when there is none yet. false: said. */
static bool take_lock(struct cli *cli, int how, int *lock)
{
	struct error e;

	*lock = cli_host_lock(cli, how, &e);
	if (*lock != -2 || errno == ENOENT)
		return true;
	cli_error("%s", e.text);
	return false;
}

static void print_report(struct verify_ui *ui, const struct verify_report *r, bool running)
{
	char size[16];

	if (ui->cli->json) {
		json_t *o = json_object();
		json_object_set_new(o, "segments", json_integer((json_int_t)r->segments));
		json_object_set_new(o, "frames", json_integer((json_int_t)r->frames));
		json_object_set_new(o, "bodies", json_integer((json_int_t)r->bodies));
		json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
		json_object_set_new(o, "messages", json_integer((json_int_t)r->messages));
		json_object_set_new(o, "queue", json_integer((json_int_t)r->queue));
		json_object_set_new(o, "unsynced_bytes", json_integer((json_int_t)r->unsynced));
		json_object_set_new(o, "state_rows", json_integer((json_int_t)r->state_rows));
		json_object_set_new(o, "torn_bytes", json_integer((json_int_t)r->torn));
		json_object_set_new(o, "index_checked", json_boolean(r->index_checked));
		json_object_set_new(o, "problem_count", json_integer((json_int_t)r->problems));
		json_object_set(o, "problems", ui->problems);
		cli_json_print(o);
		return;
	}
	text_format_size(r->bytes, size);
	printf("log: %" PRIu64 " segments, %" PRIu64 " commits, %" PRIu64 " bodies, %s\n", r->segments, r->frames,
	    r->bodies, size);
	if (r->state_rows)
		printf("log: a state file of %" PRIu64 " rows in place of what came before it\n", r->state_rows);
	if (r->unsynced)
		printf("log: %" PRIu64 " bytes, changes of flags of a second at most, that a loss of power took\n", r->unsynced);
	if (r->torn)
		printf(
		    "log: %" PRIu64 " bytes of an unfinished write at its end; the next start removes them\n", r->torn);
	if (r->index_checked)
		printf("index: %" PRIu64 " messages, %" PRIu64 " queue entries\n", r->messages, r->queue);
	else
		printf("index: not checked, %s\n",
		    running ? "the host is running" : "the next start puts it right from the log");
	if (r->problems)
		printf("%" PRIu64 " problems\n", r->problems);
	else
		puts("no problems");
}

static int do_verify(struct cli *cli)
{
	struct verify_ui ui = { cli, json_array(), !cli->json && isatty(2), 0 };
	struct verify_ops ops = { on_problem, on_progress, &ui };
	struct verify_report report;
	struct error e = { "" };
	int lock = -1, dir = -1, rc = EXIT_USAGE;
	bool running;

	if (take_lock(cli, LOCK_SH, &lock) && (dir = open_store(cli)) != -1) {
		running = lock == -1;
		if (verify_store(dir, running, &ops, &report, &e) == -1)
			cli_error("store verify: %s", e.text);
		else {
			print_report(&ui, &report, running);
			rc = report.problems ? EXIT_NO : EXIT_YES;
		}
		close(dir);
	}
	if (lock >= 0)
		close(lock);
	json_decref(ui.problems);
	return rc;
}

static int do_rebuild(struct cli *cli)
{
	struct engine_options o = { .undelete = cli->site->limits.undelete };
	uint64_t messages, damaged;
	struct error e;
	int lock, rc = EXIT_USAGE;

	if (!take_lock(cli, LOCK_EX, &lock))
		return EXIT_USAGE;
	if (lock == -1)
		return cli_error("the host is running; stop it first (systemctl stop mailadm, or end mailadm serve)");
	if ((o.store_dir = open_store(cli)) != -1) {
		boot_id_read(o.boot_id);
		if (engine_rebuild(&o, &messages, &damaged, &e) == -1)
			cli_error("store rebuild: %s", e.text);
		else {
			if (cli->json)
				cli_json_print(json_pack(
				    "{s:I,s:I}", "messages", (json_int_t)messages, "damaged", (json_int_t)damaged));
			else
				printf("the index was made anew: %" PRIu64 " messages, %" PRIu64
				       " damaged places in the log\n",
				    messages, damaged);
			rc = damaged ? EXIT_NO : EXIT_YES;
		}
		close(o.store_dir);
	}
	if (lock >= 0)
		close(lock);
	return rc;
}

/* compact: of a running host too; downgrade: of a stopped one. */
static int do_change(struct cli *cli, bool compact, bool all)
{
	int lock, dir = -1, rc = EXIT_USAGE;

	if (!take_lock(cli, LOCK_EX, &lock))
		return EXIT_USAGE;
	if (lock == -1 && !compact)
		return cli_error("the host is running; stop it first (systemctl stop mailadm, or end mailadm serve)");
	if (lock == -1 || (dir = open_store(cli)) != -1)
		rc = compact ? store_compact_command(cli, lock == -1, dir, all) : store_downgrade_command(cli, dir);
	if (dir != -1)
		close(dir);
	if (lock >= 0)
		close(lock);
	return rc;
}

static int run_store(struct cli *cli, int argc, char **argv)
{
	bool verify = argc == 2 && strcmp(argv[1], "verify") == 0,
	     rebuild = argc == 2 && strcmp(argv[1], "rebuild") == 0, all = argc == 3 && strcmp(argv[2], "--all") == 0,
	     compact = (argc == 2 || all) && strcmp(argv[1], "compact") == 0,
	     downgrade = argc == 2 && strcmp(argv[1], "downgrade") == 0;

	if (cli_wants_help(cli, &cmd_store, argc, argv))
		return EXIT_YES;
	if (argc > 1 && strcmp(argv[1], "export") == 0)
		return export_command(cli, argc - 1, argv + 1, &cmd_store);
	if (!verify && !rebuild && !compact && !downgrade)
		return cli_usage(&cmd_store);
	if (!cli_site(cli))
		return EXIT_USAGE;
	return verify ? do_verify(cli) : rebuild ? do_rebuild(cli) : do_change(cli, compact, all);
}

const struct command cmd_store = {
	.name = "store",
	.synopsis = "verify | rebuild | compact [--all] | downgrade | export maildir|mbox ADDRESS|--all DIR",
	.summary = "prove the mail store, make its index anew, free what dead mail holds",
	.help = "verify   reads every byte of the log and, when the host is stopped, the whole index; says what is\n"
		"         wrong as SEGMENT:OFFSET: what; exit status 1 when anything is\n"
		"rebuild  makes the index anew from the log; the host must be stopped\n"
		"compact  frees the room that mail holds which is gone, while the host runs or when it is stopped; a running\n"
		"         host also does it by itself when more than half of the log, and at least 256 MiB, is dead;\n"
		"         with --all no byte of a dead message stays, whatever has to be written again for that\n"
		"downgrade  makes the log what the mailadm before this one reads, or says what is in the way (exit status\n"
		"         1); the host must be stopped\n"
		"export   is mailadm export\n"
		"\n"
		"Example: mailadm store verify --json\n",
	.run = run_store,
};
