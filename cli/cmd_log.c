/*
 * mailadm log: what the host did, by who and what it is about.  An id is looked for in the pairs of sessions,
 * transactions and queue entries, and is the whole value; an address, or a part of one, in every pair that names one.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/log_source.h"
#include "lib/clock.h"
#include "lib/text.h"

#define LAST_MAX 1000000
#define VALUE_MAX 65536

struct filter {
	int64_t since, until;
	const char *id, *address, *event, *role, *text;
	enum log_level level;
	size_t last; /* 0: all */
	bool follow;
	const char *file;
};

static void on_signal(int number)
{
	(void)number;
	log_source_stop();
}

/* An id, or one that begins with it and a "-": a session's transactions. */
static bool id_matches(struct view value, const char *id)
{
	size_t n = strlen(id);

	return value.len >= n && memcmp(value.ptr, id, n) == 0 && (value.len == n || value.ptr[n] == '-');
}

static bool pairs_match(const struct filter *f, struct view text)
{
	static const char *const ids[] = { "id", "queued", "transaction" };
	static const char *const addresses[] = { "from", "to", "first", "account", "user", "auth", "about", "sender" };
	bool id = f->id == NULL, address = f->address == NULL, event = f->event == NULL;
	struct buf value = BUF_INIT(VALUE_MAX);
	struct view key;
	size_t pos = 0;

	while (log_pair_next(text, &pos, &key, &value)) {
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]) && !id; i++)
			id = view_eq(key, ids[i]) && id_matches(buf_view(&value), f->id);
		for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]) && !address; i++)
			address = view_eq(key, addresses[i]) && strcasestr(buf_str(&value), f->address) != NULL;
		event = event || (view_eq(key, "event") && view_eq(buf_view(&value), f->event));
	}
	buf_free(&value);
	return id && address && event;
}

static bool contains(struct view text, const char *needle)
{
	size_t n = strlen(needle);

	return n == 0 || memmem(text.ptr, text.len, needle, n) != NULL;
}

static bool matches(const struct filter *f, const struct log_line *l)
{
	if (l->when < f->since || l->when > f->until || l->level > f->level)
		return false;
	if (f->role != NULL && !view_eq(l->ident, f->role))
		return false;
	if (f->text != NULL && !contains(l->text, f->text))
		return false;
	return (f->id == NULL && f->address == NULL && f->event == NULL) || pairs_match(f, l->text);
}

/* One object a line, so that it can be followed: {"time","level","role", and each pair}. */
static void print_json(const struct log_line *l)
{
	json_t *o = json_object();
	char when[32];

	clock_rfc3339(l->when, when);
	json_object_set_new(o, "time", json_string(when));
	json_object_set_new(o, "level", json_string(log_level_name(l->level)));
	json_object_set_new(o, "role", json_stringn(l->ident.ptr, l->ident.len));
	log_pairs_json(l->text, o);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void put(struct view v)
{
	char *text = view_dup(v);

	cli_put(text);
	free(text);
}

static void print_line(const struct cli *cli, const struct log_line *l)
{
	static const char *const colours[] = { [LOG_LEVEL_ERROR] = "\033[31m", [LOG_LEVEL_WARN] = "\033[33m", [LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "\033[2m" };
	char when[32];

	if (cli->json) {
		print_json(l);
		return;
	}
	clock_rfc3339(l->when, when);
	printf("%s%s %-5s ", cli->tty ? colours[l->level] : "", when, log_level_name(l->level));
	put(l->ident);
	fputs(": ", stdout);
	put(l->text);
	puts(cli->tty && colours[l->level][0] != '\0' ? "\033[0m" : "");
}

struct kept { /* a line of the last N */
	struct log_line line;
	char *ident, *text;
};

static void keep(struct kept *k, const struct log_line *l)
{
	free(k->ident);
	free(k->text);
	*k = (struct kept){ *l, view_dup(l->ident), view_dup(l->text) };
	k->line.ident.ptr = k->ident;
	k->line.text.ptr = k->text;
}

/* The last f->last of what there is, in a ring. */
static int show_last(struct cli *cli, const struct filter *f, struct log_source *source, struct error *e)
{
	struct kept *ring = xcalloc(f->last, sizeof(*ring));
	struct log_line l;
	size_t n = 0;
	int rc;

	while ((rc = log_source_next(source, &l, e)) == 1 && !log_source_stopped)
		if (matches(f, &l))
			keep(&ring[n++ % f->last], &l);
	for (size_t i = n > f->last ? n - f->last : 0; i < n; i++)
		print_line(cli, &ring[i % f->last].line);
	for (size_t i = 0; i < f->last; i++) {
		free(ring[i].ident);
		free(ring[i].text);
	}
	free(ring);
	return rc;
}

static int show(struct cli *cli, const struct filter *f)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct log_source *source;
	struct log_line l;
	struct error e;
	int rc;

	source = log_source_open(cli, f->file, f->since, f->follow, &e);
	if (source == NULL)
		return cli_error("%s", e.text);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (f->last > 0) {
		rc = show_last(cli, f, source, &e);
	} else {
		while ((rc = log_source_next(source, &l, &e)) == 1 && !log_source_stopped && !ferror(stdout)) {
			if (!matches(f, &l))
				continue;
			print_line(cli, &l);
			if (f->follow)
				fflush(stdout);
		}
	}
	log_source_close(source);
	return rc == -1 ? cli_error("%s", e.text) : EXIT_YES;
}

/* "2h": so long ago; "2026-11-24" or "2026-11-24T10:00:00": then, in local time. */
static int parse_time(const char *s, int64_t *out)
{
	struct tm tm = { .tm_isdst = -1 };
	uint64_t seconds;
	const char *end;

	if (text_parse_duration(s, &seconds) == 0) {
		*out = clock_wall() - (int64_t)(seconds < INT32_MAX ? seconds : INT32_MAX);
		return 0;
	}
	end = strptime(s, "%Y-%m-%d", &tm);
	if (end != NULL && (*end == 'T' || *end == ' '))
		end = strptime(end + 1, "%H:%M:%S", &tm);
	if (end == NULL || *end != '\0')
		return cli_error("%s: no time; write 2h, 3d, 2026-11-24 or 2026-11-24T10:00:00", s);
	*out = (int64_t)mktime(&tm);
	return 0;
}

static int parse_option(struct filter *f, int option)
{
	uint64_t n;

	switch (option) {
	case 'f':
		f->follow = true;
		return 0;
	case 'n':
		if (view_u64(view_of(optarg), LAST_MAX, &n) == -1 || n == 0)
			return cli_error("-n %s: a number of lines from 1 to %d", optarg, LAST_MAX);
		f->last = (size_t)n;
		return 0;
	case 'S':
		return parse_time(optarg, &f->since) == 0 ? 0 : -1;
	case 'U':
		return parse_time(optarg, &f->until) == 0 ? 0 : -1;
	case 'i':
		f->id = optarg;
		return 0;
	case 'a':
		f->address = optarg;
		return 0;
	case 'e':
		f->event = optarg;
		return 0;
	case 'r':
		f->role = optarg;
		return 0;
	case 'l':
		if (log_level_parse(view_of(optarg), &f->level) == -1)
			return cli_error("--level %s: error, warn, info or debug", optarg);
		return 0;
	case 'F':
		f->file = optarg;
		return 0;
	default:
		return cli_usage(&cmd_log);
	}
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "follow", no_argument, NULL, 'f' },
		{ "lines", required_argument, NULL, 'n' }, { "since", required_argument, NULL, 'S' },
		{ "until", required_argument, NULL, 'U' }, { "id", required_argument, NULL, 'i' },
		{ "address", required_argument, NULL, 'a' }, { "event", required_argument, NULL, 'e' },
		{ "role", required_argument, NULL, 'r' }, { "level", required_argument, NULL, 'l' },
		{ "file", required_argument, NULL, 'F' }, { NULL, 0, NULL, 0 } };
	struct filter f = { .since = 0, .until = INT64_MAX, .level = LOG_LEVEL_DEBUG };
	int option;

	if (cli_wants_help(cli, &cmd_log, argc, argv))
		return EXIT_YES;
	optind = 1;
	while ((option = getopt_long(argc, argv, "fn:i:a:e:r:l:", options, NULL)) != -1)
		if (parse_option(&f, option) != 0)
			return EXIT_USAGE;
	if (optind < argc - 1)
		return cli_usage(&cmd_log);
	if (optind < argc)
		f.text = argv[optind];
	if (f.follow && f.last > 0)
		return cli_error("-f goes on and -n stops at the end: give one of them");
	if (f.file == NULL && cli_site(cli) == NULL)
		return EXIT_USAGE;
	return show(cli, &f);
}

const struct command cmd_log = {
	.name = "log",
	.synopsis = "[-f | -n N] [--since T] [--until T] [--id ID] [--address A] [--event E] [--role R] [--level L] [--file FILE] [TEXT]",
	.summary = "show and follow the host's log, filtered",
	.help = "Reads log.destination and its rotated files, or systemd's journal.  Lines are `key=value`.\n"
		"\n"
		"  -f, --follow       wait for more, until interrupted\n"
		"  -n, --lines N      the last N only\n"
		"      --since T      2h, 3d (ago), 2026-11-24 or 2026-11-24T10:00:00\n"
		"      --until T      likewise\n"
		"  -i, --id ID        of a session (its transactions too), a transaction or a queue entry\n"
		"  -a, --address A    lines about an address, or a part of one\n"
		"  -e, --event E      accepted, refused, sent, deferred, bounced, login ...\n"
		"  -r, --role R       smtp, send, store, auth ...\n"
		"  -l, --level L      error, warn, info, debug: this one and those that are worse\n"
		"      --file FILE    another log file, - for standard input\n"
		"  TEXT               lines that hold it\n"
		"With --json each line is an object of its pairs.\n"
		"\n"
		"examples:\n"
		"  mailadm log -f --event refused\n"
		"  mailadm log --since 1d --address bob@example.net\n",
	.run = run,
};
