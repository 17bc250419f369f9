/*
 * mailadm queue: what waits to be sent to other hosts.  Lists it, shows an entry with its message, makes entries due at
 * once, drops them.  All of it is store's own account, by the administration channel.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/store/client.h"

#define LIST_MAX (256u << 20)

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

static int64_t number(const json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

/* "3m", "2h", "5d": one unit is enough to see what is going on. */
static void short_duration(int64_t seconds, char out[24])
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };

	if (seconds < 0)
		seconds = 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (seconds >= 2 * units[i].seconds || units[i].seconds == 1) {
			snprintf(out, 24, "%" PRId64 "%c", seconds / units[i].seconds, units[i].unit);
			return;
		}
	}
}

static void add_entry(struct cli *cli, struct cli_table *table, const json_t *entry)
{
	char age[24], size[24], attempts[24], next[24];
	const char *sender = text(entry, "sender");
	int64_t now = clock_wall(), due = number(entry, "due");
	const json_t *recipient;
	size_t i;

	snprintf(attempts, sizeof(attempts), "%" PRId64, number(entry, "attempts"));
	short_duration(now - number(entry, "created"), age);
	if (cli->tty)
		text_format_size((uint64_t)number(entry, "size"), size);
	else
		snprintf(size, sizeof(size), "%" PRId64, number(entry, "size"));
	if (due > now)
		short_duration(due - now, next);
	else
		snprintf(next, sizeof(next), "now");
	json_array_foreach(json_object_get(entry, "recipients"), i, recipient)
	{
		const char *cells[] = { text(entry, "id"), age, size, sender[0] != '\0' ? sender : "<>",
			text(recipient, "address"), attempts, next, text(recipient, "reply") };
		cli_table_add(table, cells);
	}
}

static int parse_json(const struct buf *answer, json_t **out)
{
	json_error_t e;

	*out = json_loadb(answer->data != NULL ? answer->data : "", answer->len, 0, &e);
	return *out != NULL ? 0 : cli_error("the answer of store is no JSON: %s", e.text);
}

static int list(struct cli *cli, int fd)
{
	static const char *const columns[] = { "id", "age", "size", "sender", "recipient", "attempts", "next_try",
		"last_reply", NULL };
	struct buf answer = BUF_INIT(LIST_MAX);
	struct error err;
	json_t *queue, *entry;
	size_t i;
	int rc;

	if (store_admin_queue_list(fd, &answer, &err) == -1)
		rc = cli_error("%s", err.text);
	else
		rc = parse_json(&answer, &queue);
	buf_free(&answer);
	if (rc != 0)
		return rc;
	if (cli->json) {
		cli_json_print(queue);
		return EXIT_YES;
	}
	if (json_array_size(queue) == 0 && cli->tty) {
		puts("The queue is empty.");
	} else {
		struct cli_table *table = cli_table_new(cli, columns);
		json_array_foreach(queue, i, entry) add_entry(cli, table, entry);
		cli_table_print(table);
	}
	json_decref(queue);
	return EXIT_YES;
}

static int no_such(uint64_t id)
{
	cli_error("there is no queue entry %016" PRIx64, id);
	return EXIT_NO;
}

static void print_entry(const json_t *entry)
{
	char age[24], next[24], size[16];
	int64_t now = clock_wall();
	const json_t *recipient;
	size_t i;

	short_duration(now - number(entry, "created"), age);
	short_duration(number(entry, "due") - now, next);
	text_format_size((uint64_t)number(entry, "size"), size);
	printf("id: %s\nage: %s\nsize: %s\nsender: <%s>\ndestination: %s\nattempts: %" PRId64 "\nnext try: in %s\n",
	    text(entry, "id"), age, size, text(entry, "sender"), text(entry, "domain"), number(entry, "attempts"),
	    next);
	json_array_foreach(json_object_get(entry, "recipients"), i, recipient)
	{
		const char *reply = text(recipient, "reply"), *state = text(recipient, "state");
		printf("recipient: <%s>%s%s%s%s\n", text(recipient, "address"), state[0] != '\0' ? " " : "", state,
		    reply[0] != '\0' ? ": " : "", reply);
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

static int retry(int fd, uint64_t id)
{
	struct error err;
	int rc = store_admin_queue_retry(fd, id, &err);

	if (rc == -1)
		return cli_error("%s", err.text);
	return rc == 1 ? no_such(id) : EXIT_YES;
}

static int drop(int fd, uint64_t id)
{
	struct error err;
	int rc = store_admin_queue_drop(fd, id, &err);

	if (rc == -1)
		return cli_error("%s", err.text);
	return rc == 1 ? no_such(id) : EXIT_YES;
}

enum action { ACTION_NONE, ACTION_LIST, ACTION_SHOW, ACTION_RETRY, ACTION_DROP };

/* As the list and the log write it: hexadecimal, at most 16 digits. */
static bool parse_id(const char *s, uint64_t *id)
{
	size_t len = strlen(s);

	if (len == 0 || len > 16 || strspn(s, "0123456789abcdef") != len)
		return false;
	*id = strtoull(s, NULL, 16);
	return *id != 0;
}

/* id 0: all of them. */
static enum action parse(int argc, char **argv, uint64_t *id)
{
	const char *verb = argc > 1 ? argv[1] : "list", *what = argc > 2 ? argv[2] : NULL;
	bool has_id = what != NULL && parse_id(what, id);

	if (argc > 3)
		return ACTION_NONE;
	if (strcmp(verb, "list") == 0 && what == NULL)
		return ACTION_LIST;
	if (strcmp(verb, "show") == 0 && has_id)
		return ACTION_SHOW;
	if (strcmp(verb, "drop") == 0 && has_id)
		return ACTION_DROP;
	if (strcmp(verb, "retry") == 0 && has_id)
		return ACTION_RETRY;
	if (strcmp(verb, "retry") == 0 && (what == NULL || strcmp(what, "--all") == 0)) {
		*id = 0;
		return ACTION_RETRY;
	}
	return ACTION_NONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct error err;
	uint64_t id = 0;
	int fd, rc = EXIT_USAGE;

	if (cli_wants_help(cli, &cmd_queue, argc, argv))
		return EXIT_YES;
	enum action action = parse(argc, argv, &id);
	if (action == ACTION_NONE)
		return cli_usage(&cmd_queue);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	fd = cli_store(cli, &err);
	if (fd == -1)
		return cli_error("%s", err.text);
	switch (action) {
	case ACTION_LIST:
		rc = list(cli, fd);
		break;
	case ACTION_SHOW:
		rc = show(cli, fd, id);
		break;
	case ACTION_RETRY:
		rc = retry(fd, id);
		break;
	case ACTION_DROP:
		rc = drop(fd, id);
		break;
	case ACTION_NONE:
		break;
	}
	close(fd);
	return rc;
}

const struct command cmd_queue = {
	.name = "queue",
	.synopsis = "[list] | show ID | retry [ID | --all] | drop ID",
	.summary = "show, retry and drop what waits to be sent",
	.help = "list         one line a recipient: id, age, size, sender, recipient, attempts, next try, last reply\n"
		"show ID      an entry and its message\n"
		"retry [ID]   try it now, or everything\n"
		"drop ID      forget it; its sender is not told\n"
		"\n"
		"Example: mailadm queue retry 006b053e76000001\n",
	.run = run,
};
