/*
 * mailadm explain: the whole life of a message, from the log: who brought it, every check with its reason, who it was
 * for, every attempt with the remote's words; and from the queue, whether it still waits.
 *
 * The log is read three times: for the transactions and queue entries that the argument names; for the transactions
 * that made those entries and the entries that those transactions made; and for all lines about them.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/log_source.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/store/client.h"

#define STORIES_MAX 1000
#define ENTRIES_MAX 2000 /* that one transaction can have made */
#define SINCE_DEFAULT (7 * 86400)

struct explain {
	struct cli *cli;
	const char *file;
	int64_t since;
	size_t most; /* the newest so many */
	const char *what;
	struct view bare;    /* what, without < and > */
	bool address;        /* what has an @: an address or a Message-ID */
	json_t *stories;     /* id of a transaction, or of a session or queue entry without one -> {"id", "events": [...]} */
	json_t *transaction; /* queue entry -> transaction */
};

/* Without < and > around it. */
static struct view bare(const char *s)
{
	struct view v = view_of(s);

	if (v.len >= 2 && v.ptr[0] == '<' && v.ptr[v.len - 1] == '>')
		v = (struct view){ v.ptr + 1, v.len - 2 };
	return v;
}

static bool same(const struct explain *x, const char *value)
{
	struct view v = bare(value);

	return v.len == x->bare.len && strncasecmp(v.ptr, x->bare.ptr, v.len) == 0;
}

/* "FROM:<a@b> SIZE=1" of a refused command. */
static bool about(const struct explain *x, const char *value)
{
	char *needle = xasprintf("<%.*s>", (int)x->bare.len, x->bare.ptr);
	bool found = same(x, value) || strcasestr(value, needle) != NULL;

	free(needle);
	return found;
}

static bool named(const struct explain *x, const json_t *pairs)
{
	static const char *const keys[] = { "message-id", "from", "to", "first", "auth" };
	const char *id = cli_json_get(pairs, "id");
	size_t n = x->bare.len;

	if (!x->address)
		return strncmp(id, x->bare.ptr, n) == 0 && (id[n] == '\0' || id[n] == '-');
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (same(x, cli_json_get(pairs, keys[i])))
			return true;
	return about(x, cli_json_get(pairs, "about"));
}

static bool is_queue_id(const char *id)
{
	return strlen(id) == 16 && strspn(id, "0123456789abcdef") == 16;
}

/* The newest x->most are kept: the oldest makes room. */
static void select_story(struct explain *x, const char *id)
{
	if (id[0] == '\0' || json_object_get(x->stories, id) != NULL)
		return;
	if (json_object_size(x->stories) == x->most) {
		const char *oldest = json_object_iter_key(json_object_iter(x->stories));

		json_object_del(x->stories, oldest);
	}
	json_object_set_new(x->stories, id, json_pack("{s:s, s:[]}", "id", id, "events"));
}

/* What is a message: sessions without one are not told of, unless they are what was asked for. */
static void visit_named(struct explain *x, const struct log_line *l, json_t *pairs)
{
	const char *event = cli_json_get(pairs, "event");

	(void)l;
	if (named(x, pairs) && (!x->address || strcmp(event, "login") != 0))
		select_story(x, cli_json_get(pairs, "id"));
}

/* The entries of an accepted message bear consecutive numbers. */
static void visit_links(struct explain *x, const struct log_line *l, json_t *pairs)
{
	const char *id = cli_json_get(pairs, "id");
	uint64_t first = strtoull(cli_json_get(pairs, "queued"), NULL, 16), entries = strtoull(cli_json_get(pairs, "entries"), NULL, 10);
	bool wanted = json_object_get(x->stories, id) != NULL;
	char entry[24];

	(void)l;
	if (strcmp(cli_json_get(pairs, "event"), "accepted") != 0 || first == 0 || entries == 0 || entries > ENTRIES_MAX)
		return;
	for (uint64_t q = first; q < first + entries && !wanted; q++) {
		snprintf(entry, sizeof(entry), "%016" PRIx64, q);
		wanted = json_object_get(x->stories, entry) != NULL;
	}
	for (uint64_t q = first; q < first + entries && wanted; q++) {
		snprintf(entry, sizeof(entry), "%016" PRIx64, q);
		json_object_set_new(x->transaction, entry, json_string(id));
		json_object_del(x->stories, entry);
	}
	if (wanted)
		select_story(x, id);
}

static json_t *story_of(const struct explain *x, const char *id)
{
	const char *transaction = json_string_value(json_object_get(x->transaction, id));

	return json_object_get(x->stories, transaction != NULL ? transaction : id);
}

static void add_event(json_t *story, const struct log_line *l, json_t *pairs)
{
	char when[32];
	const char *message_id = cli_json_get(pairs, "message-id");

	clock_rfc3339(l->when, when);
	if (message_id[0] != '\0')
		json_object_set(story, "message-id", json_object_get(pairs, "message-id"));
	json_object_set_new(pairs, "time", json_string(when));
	json_object_set_new(pairs, "role", json_stringn(l->ident.ptr, l->ident.len));
	json_array_append(json_object_get(story, "events"), pairs);
}

static void visit_events(struct explain *x, const struct log_line *l, json_t *pairs)
{
	const char *id = cli_json_get(pairs, "id"), *key;
	json_t *story = story_of(x, id);

	if (story != NULL) {
		add_event(story, l, pairs);
		return;
	}
	if (id[0] == '\0' || is_queue_id(id))
		return;
	json_object_foreach(x->stories, key, story) /* what was said of the session is a part of each of its messages */
	{
		size_t n = strlen(id);

		if (strncmp(key, id, n) == 0 && key[n] == '-')
			add_event(story, l, pairs);
	}
}

typedef void (*visit_fn)(struct explain *, const struct log_line *, json_t *pairs);

static int scan(struct explain *x, visit_fn visit, struct error *e)
{
	struct log_source *source = log_source_open(x->cli, x->file, x->since, false, e);
	struct log_line l;
	int rc;

	if (source == NULL)
		return -1;
	while ((rc = log_source_next(source, &l, e)) == 1) {
		json_t *pairs;

		if (l.when < x->since || memmem(l.text.ptr, l.text.len, "event=", 6) == NULL)
			continue;
		pairs = json_object();
		log_pairs_json(l.text, pairs);
		visit(x, &l, pairs);
		json_decref(pairs);
	}
	log_source_close(source);
	return rc;
}

/* What the queue has of it now; a host that does not run has none to tell of. */
static void add_queue(struct explain *x)
{
	const char *entry, *key;
	json_t *value, *story;
	struct error e;
	int fd = cli_store(x->cli, &e);

	if (fd == -1)
		return;
	json_object_foreach(x->stories, key, story)
		if (is_queue_id(key))
			json_object_set_new(x->transaction, key, json_string(key));
	json_object_foreach(x->transaction, entry, value)
	{
		struct buf answer = BUF_INIT(1u << 20), message = BUF_INIT(STORE_BODY_MAX);

		story = json_object_get(x->stories, json_string_value(value));
		if (story != NULL && store_admin_queue_show(fd, strtoull(entry, NULL, 16), &answer, &message, &e) == 0) {
			json_t *shown = json_loadb(answer.data, answer.len, 0, NULL);

			if (json_object_get(story, "queue") == NULL)
				json_object_set_new(story, "queue", json_array());
			json_array_append_new(json_object_get(story, "queue"), shown);
		}
		buf_free(&answer);
		buf_free(&message);
	}
	close(fd);
}

static void put_pairs(const json_t *pairs, const char *const *without)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)pairs, key, value)
	{
		bool skip = strcmp(key, "time") == 0 || strcmp(key, "role") == 0 || strcmp(key, "event") == 0 || strcmp(key, "id") == 0;

		for (size_t i = 0; without != NULL && without[i] != NULL; i++)
			skip = skip || strcmp(key, without[i]) == 0;
		if (skip || json_string_value(value)[0] == '\0')
			continue;
		printf("      %-14s ", key);
		cli_put(json_string_value(value));
		putchar('\n');
	}
}

static void put_accepted(const json_t *e)
{
	static const char *const told[] = { "peer", "from", "first", "to", "message-id", "queued", "entries", NULL };

	fputs("accepted from ", stdout);
	cli_put(cli_json_get(e, "peer"));
	fputs(": ", stdout);
	cli_put(cli_json_get(e, "from"));
	fputs(" to ", stdout);
	cli_put(cli_json_get(e, "first"));
	if (strtoull(cli_json_get(e, "to"), NULL, 10) > 1)
		printf(" and %llu more", strtoull(cli_json_get(e, "to"), NULL, 10) - 1);
	putchar('\n');
	put_pairs(e, told);
}

static void put_refused(const json_t *e)
{
	static const char *const told[] = { "peer", "code", "enhanced", "reason", NULL };

	fputs("refused for ", stdout);
	cli_put(cli_json_get(e, "peer"));
	fputs(": ", stdout);
	cli_put(cli_json_get(e, "code"));
	putchar(' ');
	cli_put(cli_json_get(e, "enhanced"));
	putchar(' ');
	cli_put(cli_json_get(e, "reason"));
	putchar('\n');
	put_pairs(e, told);
}

static void put_attempt(const json_t *e)
{
	static const char *const told[] = { "to", "relay", "reply", "status", NULL };

	cli_put(cli_json_get(e, "event"));
	fputs(": ", stdout);
	cli_put(cli_json_get(e, "to"));
	if (strcmp(cli_json_get(e, "relay"), "none") != 0) {
		fputs(" by ", stdout);
		cli_put(cli_json_get(e, "relay"));
	}
	fputs(": ", stdout);
	cli_put(cli_json_get(e, "reply"));
	putchar('\n');
	put_pairs(e, told);
}

static void put_other(const json_t *e)
{
	cli_put(cli_json_get(e, "event"));
	putchar('\n');
	put_pairs(e, NULL);
}

static void print_event(const json_t *e)
{
	static const struct {
		const char *event;
		void (*print)(const json_t *);
	} known[] = { { "accepted", put_accepted }, { "refused", put_refused }, { "sent", put_attempt }, { "deferred", put_attempt },
		{ "bounced", put_attempt }, { "verified", put_attempt } };
	size_t i = 0;

	printf("  %s  ", cli_json_get(e, "time"));
	while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i].event, cli_json_get(e, "event")) != 0)
		i++;
	if (i < sizeof(known) / sizeof(known[0]))
		known[i].print(e);
	else
		put_other(e);
}

static void print_queue(const json_t *story)
{
	const json_t *entry, *recipient;
	size_t i, j;

	json_array_foreach(json_object_get(story, "queue"), i, entry)
	{
		char due[32];

		clock_rfc3339((int64_t)json_integer_value(json_object_get(entry, "due")), due);
		printf("  still in the queue as %s, next attempt %s\n", cli_json_get(entry, "id"), due);
		json_array_foreach(json_object_get(entry, "recipients"), j, recipient)
		{
			printf("      ");
			cli_put(cli_json_get(recipient, "address"));
			printf(" (%s) ", cli_json_get(recipient, "state"));
			cli_put(cli_json_get(recipient, "reply"));
			putchar('\n');
		}
	}
}

static void print(const struct explain *x)
{
	const json_t *event;
	const char *id;
	json_t *story;
	size_t i;

	json_object_foreach(x->stories, id, story)
	{
		cli_put(id);
		putchar(' ');
		cli_put(cli_json_get(story, "message-id"));
		putchar('\n');
		json_array_foreach(json_object_get(story, "events"), i, event)
			print_event(event);
		print_queue(story);
	}
}

static void print_json(const struct explain *x)
{
	json_t *array = json_array(), *story;
	const char *id;

	json_object_foreach(x->stories, id, story)
		json_array_append(array, story);
	cli_json_print(json_pack("{s:o}", "messages", array));
}

static int explain(struct explain *x)
{
	static const visit_fn passes[] = { visit_named, visit_links, visit_events };
	struct error e;
	int rc = EXIT_YES;

	x->bare = bare(x->what);
	x->address = strchr(x->what, '@') != NULL;
	x->stories = json_object();
	x->transaction = json_object();
	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && rc == EXIT_YES; i++)
		if (scan(x, passes[i], &e) == -1)
			rc = cli_error("%s", e.text);
	if (rc == EXIT_YES)
		add_queue(x);
	if (rc == EXIT_YES && x->cli->json)
		print_json(x);
	else if (rc == EXIT_YES)
		print(x);
	if (rc == EXIT_YES && json_object_size(x->stories) == 0) {
		fprintf(stderr, "mailadm: nothing about %s in the log; --since reaches back further\n", x->what);
		rc = EXIT_NO;
	}
	json_decref(x->stories);
	json_decref(x->transaction);
	return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "since", required_argument, NULL, 'S' }, { "last", required_argument, NULL, 'n' },
		{ "file", required_argument, NULL, 'F' }, { NULL, 0, NULL, 0 } };
	struct explain x = { .cli = cli, .since = clock_wall() - SINCE_DEFAULT, .most = 20 };
	uint64_t n;
	int option;

	if (cli_wants_help(cli, &cmd_explain, argc, argv))
		return EXIT_YES;
	optind = 1;
	while ((option = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
		if (option == 'S' && text_parse_duration(optarg, &n) == 0 && n < INT32_MAX)
			x.since = clock_wall() - (int64_t)n;
		else if (option == 'n' && view_u64(view_of(optarg), STORIES_MAX, &n) == 0 && n > 0)
			x.most = (size_t)n;
		else if (option == 'F' && strcmp(optarg, "-") != 0)
			x.file = optarg;
		else
			return cli_usage(&cmd_explain);
	}
	if (optind != argc - 1 || argv[optind][0] == '\0')
		return cli_usage(&cmd_explain);
	x.what = argv[optind];
	return cli_site(cli) == NULL ? EXIT_USAGE : explain(&x);
}

const struct command cmd_explain = {
	.name = "explain",
	.synopsis = "[--since DURATION] [--last N] [--file LOG] ID | ADDRESS | MESSAGE-ID",
	.summary = "tell the whole life of a message",
	.help = "Reads the log (and the queue, when the host runs): who brought the message, each check and why, every attempt to\n"
		"deliver it and what the other host said.  ID is what a reply or Received said, or a queue entry's.\n"
		"\n"
		"      --since DURATION   how far back, default 7d\n"
		"  -n, --last N           the newest N messages, default 20\n"
		"      --file LOG         another log file\n"
		"Exits 1 when there is nothing about it.\n"
		"\n"
		"examples:\n"
		"  mailadm explain ba5wdkhpigqaa-1\n"
		"  mailadm explain --since 1d bob@example.net\n"
		"  mailadm explain '<6f1c@mail.example.org>'\n",
	.run = run,
};
