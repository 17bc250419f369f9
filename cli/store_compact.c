/*
 * mailadm store compact, and downgrade: a running host's store is asked to compact and watched until the files that
 * readers may still want are all that is left; a stopped host's is opened here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"
#include "mailsvc/store/downgrade.h"
#include "mailsvc/store/engine.h"
#include "store.h"

#define POLL_MS 100

static uint64_t number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static const char *size_text(const json_t *o, const char *key, char out[16])
{
	text_format_size(number(o, key), out);
	return out;
}

static void show_progress(const json_t *s)
{
	const char *phase = json_string_value(json_object_get(s, "phase"));
	char moved[16], state[16];

	fprintf(stderr, "\r\033[K%s: %s of mail written again, state file %s", phase ? phase : "",
	    size_text(s, "bytes_moved", moved), size_text(s, "state_bytes", state));
	fflush(stderr);
}

static int report(struct cli *cli, json_t *s)
{
	const char *error = json_string_value(json_object_get(s, "error"));
	char a[16], b[16], c[16], d[16];

	if (error && error[0]) {
		cli_error("store compact: %s", error);
		json_decref(s);
		return EXIT_USAGE;
	}
	if (cli->json) {
		cli_json_print(s);
		return EXIT_YES;
	}
	printf("log: %s, of which %s were dead\n", size_text(s, "log_bytes", a), size_text(s, "dead_bytes", b));
	printf("%" PRIu64 " bodies (%s) written again, state file of %s\n", number(s, "bodies_moved"),
	    size_text(s, "bytes_moved", c), size_text(s, "state_bytes", d));
	printf("freed: %" PRIu64 " segments, %s\n", number(s, "segments_freed"), size_text(s, "bytes_freed", a));
	if (number(s, "segments_pending"))
		printf("to be freed within two minutes, when no reader can want them and no backup holds them: %" PRIu64
		       " segments, %s\n",
		    number(s, "segments_pending"), size_text(s, "bytes_pending", a));
	if (number(s, "segments_kept"))
		printf("%" PRIu64 " segments without live mail stay, because they are damaged or the index does not know all "
		       "that is in them; see mailadm store verify\n",
		    number(s, "segments_kept"));
	if (number(s, "unreadable"))
		printf("%" PRIu64 " bodies cannot be read and stay where they are; see mailadm store verify\n",
		    number(s, "unreadable"));
	json_decref(s);
	return EXIT_YES;
}

static json_t *ask_store(int fd, enum store_compact how, struct error *e)
{
	struct buf answer = BUF_INIT(65536);
	json_t *s = NULL;

	if (store_admin_compact(fd, how, &answer, e) == 0 && !(s = json_loadb(answer.data, answer.len, 0, NULL)))
		error_set(e, "store answers what this program does not understand");
	buf_free(&answer);
	return s;
}

/* Done, or only waiting for readers. */
static bool ended(const json_t *s, uint64_t runs)
{
	const char *phase = json_string_value(json_object_get(s, "phase"));

	return number(s, "runs") > runs || (number(s, "runs") == runs && phase && strcmp(phase, "wait") == 0);
}

static int compact_running(struct cli *cli, bool all)
{
	static const struct timespec pause = { 0, POLL_MS * 1000000 };
	bool bar = !cli->json && isatty(2);
	struct error e = { "" };
	int fd = cli_store(cli, &e);
	uint64_t runs;
	json_t *s;

	if (fd == -1)
		return cli_error("%s", e.text);
	if ((s = ask_store(fd, all ? STORE_COMPACT_ALL : STORE_COMPACT_NOW, &e))) {
		/* One that is under way comes to its end first. */
		runs = number(s, "runs") + json_is_true(json_object_get(s, "running"));
		do {
			json_decref(s);
			nanosleep(&pause, NULL);
			if ((s = ask_store(fd, STORE_COMPACT_ASK, &e)) && bar)
				show_progress(s);
		} while (s && !ended(s, runs));
		if (bar)
			fputs("\r\033[K", stderr);
	}
	close(fd);
	return s ? report(cli, s) : cli_error("store compact: %s", e.text);
}

static int compact_stopped(struct cli *cli, int dir, bool all)
{
	struct engine_options o = { .store_dir = dir, .undelete = cli->site->limits.undelete };
	struct epoch_shared shared = { .epoch = 1 };
	struct compact_status status;
	struct buf json = BUF_INIT(65536);
	struct error e = { "" };
	struct engine *engine = xcalloc(1, sizeof *engine);
	int rc;

	boot_id_read(o.boot_id);
	if (engine_open(engine, &o, &shared, NULL, &e) == -1) {
		free(engine);
		return cli_error("store compact: %s", e.text);
	}
	compact_whole(engine, all ? COMPACT_ALL : COMPACT_NOW, &status);
	engine_close(engine);
	free(engine);
	compact_json(&status, &json);
	rc = report(cli, json_loadb(json.data, json.len, 0, NULL));
	buf_free(&json);
	return rc;
}

int store_compact_command(struct cli *cli, bool running, int dir, bool all)
{
	return running ? compact_running(cli, all) : compact_stopped(cli, dir, all);
}

struct downgrade_ui {
	struct cli *cli;
	json_t *prevents;
};

static void on_prevents(void *arg, const char *file, uint64_t offset, uint64_t count, const char *what)
{
	struct downgrade_ui *ui = arg;

	json_array_append_new(ui->prevents, json_pack("{s:s,s:I,s:I,s:s}", "file", file, "offset", (json_int_t)offset,
						"count", (json_int_t)count, "what", what));
	if (!ui->cli->json)
		printf("%s:%" PRIu64 ": %s (%" PRIu64 ")\n", file, offset, what, count);
}

int store_downgrade_command(struct cli *cli, int dir)
{
	struct downgrade_ui ui = { cli, json_array() };
	struct downgrade d = { .prevents = on_prevents, .arg = &ui };
	struct error e = { "" };
	int rc = store_downgrade(dir, &d, &e);

	if (rc == -1)
		cli_error("store downgrade: %s", e.text);
	else if (cli->json)
		cli_json_print(json_pack(
		    "{s:b,s:I,s:O}", "done", rc == 0, "segments", (json_int_t)d.segments, "prevented_by", ui.prevents));
	else if (rc == 0)
		printf("the log has format 1 again (%" PRIu64
		       " segments were written anew); the mailadm before this one makes "
		       "its index anew at its start\n",
		    d.segments);
	else
		puts("the log stays as it is: the above are what the mailadm before this one does not know");
	json_decref(ui.prevents);
	return rc == -1 ? EXIT_USAGE : rc == 0 ? EXIT_YES : EXIT_NO;
}
