/*
 * mailadm queue: what waits to be sent to other hosts.  Lists it, sums it up by destination, shows an entry with its
 * message, and holds, releases, retries, reroutes and drops entries.  All of it is store's own account, by the
 * administration channel, page by page: the queue may be large.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/store/client.h"
#include "site/hop.h"

#define PAGE_MAX (256u << 20)

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

static int64_t number(const json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static const struct {
	int64_t seconds;
	char unit;
} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };

/* "3m", "2h", "5d": one unit is enough to see what is going on. */
static void short_duration(int64_t seconds, char out[24])
{
	if (seconds < 0)
		seconds = 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (seconds >= 2 * units[i].seconds || units[i].seconds == 1) {
			snprintf(out, 24, "%" PRId64 "%c", seconds / units[i].seconds, units[i].unit);
			return;
		}
	}
}

/* The same backwards: "90", "30s", "2h". */
static bool parse_duration(const char *s, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(s, &end, 10);
	if (end == s || *s < '0' || *s > '9' || errno != 0 || n > 10 * 365 * 86400)
		return false;
	*out = n;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (end[0] == units[i].unit && end[1] == '\0') {
			*out = n * units[i].seconds;
			return true;
		}
	}
	return end[0] == '\0';
}

/* When it is tried, or why it is not. */
static void next_try(const json_t *entry, char out[24])
{
	int64_t now = clock_wall(), due = number(entry, "due"), away = number(entry, "away_until");

	if (is_true(entry, "held")) {
		snprintf(out, 24, "held");
		return;
	}
	if (due < away)
		due = away;
	if (is_true(entry, "in_flight"))
		snprintf(out, 24, "sending");
	else if (due > now)
		short_duration(due - now, out);
	else
		snprintf(out, 24, "now");
}

static void add_entry(struct cli *cli, struct cli_table *table, const json_t *entry)
{
	char age[24], size[24], attempts[24], next[24];
	const char *sender = text(entry, "sender"), *away = text(entry, "away");
	const json_t *recipient;
	size_t i;

	snprintf(attempts, sizeof(attempts), "%" PRId64, number(entry, "attempts"));
	short_duration(clock_wall() - number(entry, "created"), age);
	if (cli->tty)
		text_format_size((uint64_t)number(entry, "size"), size);
	else
		snprintf(size, sizeof(size), "%" PRId64, number(entry, "size"));
	next_try(entry, next);
	json_array_foreach(json_object_get(entry, "recipients"), i, recipient)
	{
		const char *reply = text(recipient, "reply");
		const char *cells[] = { text(entry, "id"), age, size, sender[0] != '\0' ? sender : "<>",
			text(recipient, "address"), attempts, next, reply[0] != '\0' ? reply : away };
		cli_table_add(table, cells);
	}
}

static int parse_json(const struct buf *answer, json_t **out)
{
	json_error_t e;

	*out = json_loadb(answer->data != NULL ? answer->data : "", answer->len, 0, &e);
	return *out != NULL ? 0 : cli_error("the answer of store is no JSON: %s", e.text);
}

/* One line an entry on stdout, as in a JSON array: a million of them are never all in memory. */
static void print_json(const json_t *page, bool *any)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(page, i, entry)
	{
		fputs(*any ? ",\n" : "[\n", stdout);
		json_dumpf(entry, stdout, JSON_COMPACT);
		*any = true;
	}
}

/* A page at a time: a terminal gets a table for each. */
static int list(struct cli *cli, int fd, const struct queue_select *select)
{
	static const char *const columns[] = { "id", "age", "size", "sender", "recipient", "attempts", "next_try",
		"last_reply", NULL };
	struct buf answer = BUF_INIT(PAGE_MAX);
	uint64_t after = 0;
	struct error err;
	bool any = false;
	int rc = EXIT_YES, r = 0;

	while (rc == EXIT_YES && r == 0) {
		json_t *page = NULL, *entry;
		size_t i;
		buf_reset(&answer);
		if ((r = store_admin_queue_page(fd, select, &after, &answer, &err)) == -1)
			rc = cli_error("%s", err.text);
		else
			rc = parse_json(&answer, &page);
		if (cli->json) {
			print_json(page, &any);
		} else if (json_array_size(page) > 0) {
			struct cli_table *table = cli_table_new(cli, columns);
			json_array_foreach(page, i, entry) add_entry(cli, table, entry);
			cli_table_print(table);
			any = true;
		}
		json_decref(page);
	}
	if (rc == EXIT_YES && cli->json)
		puts(any ? "\n]" : "[]");
	else if (rc == EXIT_YES && !any && cli->tty)
		puts("The queue is empty.");
	buf_free(&answer);
	return rc;
}

/* Parts of one destination follow each other: added up in the last one. */
static void add_part(json_t *all, json_t *part)
{
	static const char *const sums[] = { "entries", "held", "bytes", "in_flight" };
	static const char *const firsts[] = { "oldest", "next" };
	json_t *last = json_array_get(all, json_array_size(all) - 1);

	if (json_array_size(all) == 0 || strcmp(text(last, "destination"), text(part, "destination")) != 0) {
		json_array_append(all, part);
		return;
	}
	for (size_t i = 0; i < 4; i++)
		json_object_set_new(last, sums[i], json_integer(number(last, sums[i]) + number(part, sums[i])));
	for (size_t i = 0; i < 2; i++) {
		int64_t a = number(last, firsts[i]), b = number(part, firsts[i]);
		if (a == 0 || (b != 0 && b < a))
			json_object_set_new(last, firsts[i], json_integer(b));
	}
}

static int by_entries(const void *a, const void *b)
{
	int64_t x = number(*(json_t *const *)a, "entries"), y = number(*(json_t *const *)b, "entries");

	return x > y   ? -1
	       : x < y ? 1
	               : strcmp(text(*(json_t *const *)a, "destination"), text(*(json_t *const *)b, "destination"));
}

static void print_summary(struct cli *cli, json_t *all)
{
	static const char *const columns[] = { "destination", "entries", "held", "sending", "size", "oldest",
		"next_try", "away", NULL };
	struct cli_table *table = cli_table_new(cli, columns);
	size_t n = json_array_size(all);
	json_t **sorted = xcalloc(n + 1, sizeof(json_t *));
	int64_t now = clock_wall();

	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(all, i);
	qsort(sorted, n, sizeof(json_t *), by_entries);
	for (size_t i = 0; i < n; i++) {
		char entries[24], held[24], sending[24], size[24], oldest[24], next[24] = "now";
		int64_t due = number(sorted[i], "next"), away = number(sorted[i], "away_until");
		snprintf(entries, sizeof(entries), "%" PRId64, number(sorted[i], "entries"));
		snprintf(held, sizeof(held), "%" PRId64, number(sorted[i], "held"));
		snprintf(sending, sizeof(sending), "%" PRId64, number(sorted[i], "in_flight"));
		if (cli->tty)
			text_format_size((uint64_t)number(sorted[i], "bytes"), size);
		else
			snprintf(size, sizeof(size), "%" PRId64, number(sorted[i], "bytes"));
		short_duration(now - number(sorted[i], "oldest"), oldest);
		if (due == 0)
			snprintf(next, sizeof(next), "held");
		else if (due > now || away > now)
			short_duration((due > away ? due : away) - now, next);
		const char *cells[] = { text(sorted[i], "destination"), entries, held, sending, size, oldest, next,
			text(sorted[i], "away") };
		cli_table_add(table, cells);
	}
	cli_table_print(table);
	free(sorted);
}

static int summary(struct cli *cli, int fd)
{
	struct buf answer = BUF_INIT(PAGE_MAX), place = BUF_INIT(1024);
	json_t *all = json_array();
	struct error err;
	int rc = EXIT_YES, r = 0;

	while (rc == EXIT_YES && r == 0) {
		json_t *page = NULL, *part;
		size_t i;
		buf_reset(&answer);
		if ((r = store_admin_queue_summary(fd, &place, &answer, &err)) == -1)
			rc = cli_error("%s", err.text);
		else
			rc = parse_json(&answer, &page);
		json_array_foreach(page, i, part) add_part(all, part);
		json_decref(page);
	}
	if (rc == EXIT_YES && cli->json)
		cli_json_print(json_incref(all));
	else if (rc == EXIT_YES && json_array_size(all) == 0 && cli->tty)
		puts("The queue is empty.");
	else if (rc == EXIT_YES && json_array_size(all) > 0)
		print_summary(cli, all);
	json_decref(all);
	buf_free(&answer);
	buf_free(&place);
	return rc;
}

static int no_such(uint64_t id)
{
	cli_error("there is no queue entry %016" PRIx64, id);
	return EXIT_NO;
}

static void print_if(const char *label, const char *value)
{
	if (value[0] != '\0')
		printf("%s: %s\n", label, value);
}

static void print_entry(const json_t *entry)
{
	char age[24], next[24], size[16];
	const json_t *recipient;
	bool waits;
	size_t i;

	short_duration(clock_wall() - number(entry, "created"), age);
	next_try(entry, next);
	waits = next[0] >= '0' && next[0] <= '9';
	text_format_size((uint64_t)number(entry, "size"), size);
	printf("id: %s\nage: %s\nsize: %s\nsender: <%s>\ndestination: %s\npriority: %s\nattempts: %" PRId64
	       "\nnext try: %s%s\n",
	    text(entry, "id"), age, size, text(entry, "sender"), text(entry, "domain"), text(entry, "priority"),
	    number(entry, "attempts"), waits ? "in " : "", next);
	print_if("route", text(entry, "route"));
	print_if("away", text(entry, "away"));
	print_if("envelope id", text(entry, "envid"));
	print_if("return", text(entry, "ret"));
	print_if("told of the delay", is_true(entry, "delay_told") ? "yes" : "");
	json_array_foreach(json_object_get(entry, "recipients"), i, recipient)
	{
		const char *reply = text(recipient, "reply"), *state = text(recipient, "state");
		printf("recipient: <%s>%s%s%s%s\n", text(recipient, "address"), state[0] != '\0' ? " " : "", state,
		    reply[0] != '\0' ? ": " : "", reply);
		print_if("  notify", text(recipient, "notify"));
		print_if("  original recipient", text(recipient, "orcpt"));
	}
	putchar('\n');
}

/* A message holds a stranger's bytes: on a terminal control characters do not reach it as they are. */
static void print_message(struct cli *cli, const struct buf *message)
{
	for (size_t i = 0; i < message->len; i++) {
		unsigned char c = (unsigned char)message->data[i];
		if (cli->tty && c == '\r')
			continue;
		bool c1 = c >= 0x80 && c < 0xa0 && (i == 0 || (unsigned char)message->data[i - 1] == 0xc2);

		if (cli->tty && (c < 0x20 || c == 0x7f || c1) && c != '\n' && c != '\t')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static int show(struct cli *cli, int fd, uint64_t id)
{
	struct buf answer = BUF_INIT(1u << 20), message = BUF_INIT(STORE_BODY_MAX);
	struct error err;
	json_t *entry = NULL;
	int rc = store_admin_queue_show(fd, id, &answer, &message, &err);

	if (rc == -1)
		rc = cli_error("%s", err.text);
	else if (rc == 1)
		rc = no_such(id);
	else
		rc = parse_json(&answer, &entry);
	if (entry != NULL && cli->json) {
		json_t *body = json_stringn(message.data != NULL ? message.data : "", message.len);
		if (body != NULL) /* only when it is UTF-8; the plain form always prints it */
			json_object_set_new(entry, "message", body);
		cli_json_print(entry);
	} else if (entry != NULL) {
		print_entry(entry);
		print_message(cli, &message);
		json_decref(entry);
	}
	buf_free(&answer);
	buf_free(&message);
	return rc;
}

enum verb { LIST, SUMMARY, SHOW, RETRY, HOLD, RELEASE, REROUTE, DROP };
static const struct {
	const char *name;
	const char *done; /* "%llu entries ..." */
	enum queue_action action;
	bool changes;
} verbs[] = {
	[LIST] = { "list", NULL, 0, false },
	[SUMMARY] = { "summary", NULL, 0, false },
	[SHOW] = { "show", NULL, 0, false },
	[RETRY] = { "retry", "tried now", QUEUE_TRY, true },
	[HOLD] = { "hold", "held", QUEUE_HOLD, true },
	[RELEASE] = { "release", "released", QUEUE_RELEASE, true },
	[REROUTE] = { "reroute", "rerouted", QUEUE_REROUTE, true },
	[DROP] = { "drop", "dropped", QUEUE_DROP, true },
};

struct wish { /* what the command line says */
	enum verb verb;
	struct queue_select select;
	const char *route;
	bool all; /* --all, or some filter */
};

static int change(struct cli *cli, int fd, const struct wish *w)
{
	struct error err;
	uint64_t count;
	int rc = store_admin_queue_change(fd, verbs[w->verb].action, &w->select, w->route, &count, &err);

	if (rc == -1)
		return cli_error("%s", err.text);
	if (rc == 1)
		return no_such(w->select.id);
	if (w->select.id != 0 && count == 0 && w->verb == RETRY) {
		cli_error("it is held: mailadm queue release %016" PRIx64, w->select.id);
		return EXIT_NO;
	}
	if (cli->json)
		cli_json_print(json_pack("{s:I}", "changed", (json_int_t)count));
	else if (w->select.id == 0)
		printf("%" PRIu64 " %s %s\n", count, count == 1 ? "entry" : "entries", verbs[w->verb].done);
	return EXIT_YES;
}

/* As the list and the log write it: hexadecimal, at most 16 digits. */
static bool parse_id(const char *s, uint64_t *id)
{
	size_t len = strlen(s);

	if (len == 0 || len > 16 || strspn(s, "0123456789abcdef") != len)
		return false;
	*id = strtoull(s, NULL, 16);
	return *id != 0;
}

static bool parse_options(int argc, char **argv, struct wish *w)
{
	enum { OPT_TO = 256, OPT_FROM, OPT_OLDER, OPT_HELD, OPT_ALL };
	static const struct option options[] = { { "to", required_argument, NULL, OPT_TO },
		{ "from", required_argument, NULL, OPT_FROM }, { "older", required_argument, NULL, OPT_OLDER },
		{ "held", no_argument, NULL, OPT_HELD }, { "all", no_argument, NULL, OPT_ALL }, { 0 } };
	int64_t age;
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case OPT_TO:
			w->select.to = optarg;
			break;
		case OPT_FROM:
			w->select.from = optarg[0] != '\0' ? optarg : "<>";
			break;
		case OPT_OLDER:
			if (!parse_duration(optarg, &age))
				return false;
			w->select.created_before = clock_wall() - age + 1;
			break;
		case OPT_HELD:
			w->select.held = true;
			break;
		case OPT_ALL:
			break;
		default:
			return false;
		}
		w->all = true;
	}
	return w->select.to == NULL || w->select.to[0] != '\0';
}

/* A host with its port, as the site's routes name one; "site" gives the site's own way back. */
static bool parse_route(const char *s, const char **route)
{
	struct hop_host h;

	*route = strcmp(s, "site") == 0 ? "" : s;
	return **route == '\0' || (strlen(s) < 256 && hop_host_parse(s, &h) == 0 && h.port != 0);
}

/* What is meant must be said: an entry, filters, or --all; to list and to retry, nothing means all. */
static bool parse(int argc, char **argv, struct wish *w)
{
	const char *verb;

	if (!parse_options(argc, argv, w))
		return false;
	argc -= optind;
	argv += optind;
	verb = argc > 0 ? argv[0] : "list";
	while (w->verb <= DROP && strcmp(verbs[w->verb].name, verb) != 0)
		w->verb++;
	if (w->verb > DROP)
		return false;
	argc -= argc > 0;
	argv++;
	if (w->verb == LIST || w->verb == SUMMARY)
		return argc == 0 && (w->verb == LIST || !w->all);
	if (w->verb == REROUTE) {
		if (argc < 1 || !parse_route(argv[argc - 1], &w->route))
			return false;
		argc--;
	}
	if (argc == 1)
		return !w->all && parse_id(argv[0], &w->select.id);
	return argc == 0 && w->verb != SHOW && (w->all || w->verb == RETRY);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct wish w = { .verb = LIST };
	struct error err;
	int fd, rc;

	if (cli_wants_help(cli, &cmd_queue, argc, argv))
		return EXIT_YES;
	if (!parse(argc, argv, &w))
		return cli_usage(&cmd_queue);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	fd = cli_store(cli, &err);
	if (fd == -1)
		return cli_error("%s", err.text);
	if (w.verb == LIST)
		rc = list(cli, fd, &w.select);
	else if (w.verb == SUMMARY)
		rc = summary(cli, fd);
	else if (w.verb == SHOW)
		rc = show(cli, fd, w.select.id);
	else
		rc = change(cli, fd, &w);
	close(fd);
	return rc;
}

const struct command cmd_queue = {
	.name = "queue",
	.synopsis = "[list] [WHICH] | summary | show ID | retry [ID | WHICH] | hold|release|drop ID | WHICH\n"
		    "             | reroute [ID | WHICH] HOST:PORT | site",
	.summary = "show, hold, retry, reroute and drop what waits to be sent",
	.help = "list         one line a recipient: id, age, size, sender, recipient, attempts, next try, last reply\n"
		"summary      one line a destination: entries, held, being sent, size, oldest, next try, why it waits\n"
		"show ID      an entry and its message\n"
		"retry        try now, also where the destination is known to be away; without ID everything\n"
		"hold         do not try until released\n"
		"release      try what was held\n"
		"reroute      send by this host instead, or again as the site says\n"
		"drop         forget it; its sender is not told\n"
		"\n"
		"WHICH is --all, or what must all be so:\n"
		"  --to DOMAIN|ADDRESS|ROUTE   for it\n"
		"  --from ADDRESS|DOMAIN|'<>'  by it; '<>': notifications\n"
		"  --older TIME                for so long or longer: 90s, 30m, 2h, 5d\n"
		"  --held                      held\n"
		"\n"
		"Examples: mailadm queue retry 006b053e76000001\n"
		"          mailadm queue hold --from newsletter@example.org\n"
		"          mailadm queue reroute --to example.net relay.example.org:25\n",
	.run = run,
};
