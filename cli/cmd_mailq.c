/* mailadm mailq: the queue as a table, one line a recipient. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "mailsvc/store/client.h"

static void format_time(json_int_t when, char out[32])
{
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		out[0] = '\0';
}

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s != NULL ? s : "";
}

static void add_entry(struct cli_table *table, const json_t *entry)
{
	char *id = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(entry, "id")));
	char *size = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(entry, "size")));
	char *attempts = xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(entry, "attempts")));
	char due[32];
	const json_t *recipient;
	size_t i;

	format_time(json_integer_value(json_object_get(entry, "due")), due);
	json_array_foreach(json_object_get(entry, "recipients"), i, recipient)
	{
		const char *sender = text(entry, "sender");
		const char *cells[] = { id, size, sender[0] != '\0' ? sender : "<>", text(recipient, "address"),
			text(recipient, "state"), attempts, due, text(recipient, "reply") };

		cli_table_add(table, cells);
	}
	free(id);
	free(size);
	free(attempts);
}

static int print_queue(struct cli *cli, struct buf *text_of_queue)
{
	static const char *const columns[] = { "id", "size", "sender", "recipient", "state", "attempts", "due", "reply",
		NULL };
	json_error_t e;
	json_t *queue = json_loadb(text_of_queue->data, text_of_queue->len, 0, &e), *entry;
	struct cli_table *table;
	size_t i;

	if (!json_is_array(queue)) {
		json_decref(queue);
		return cli_error("the store answered what is no queue list");
	}
	if (cli->json) {
		cli_json_print(queue);
		return EXIT_YES;
	}
	if (json_array_size(queue) == 0 && cli->tty) {
		puts("The queue is empty.");
	} else {
		table = cli_table_new(cli, columns);
		json_array_foreach(queue, i, entry) add_entry(table, entry);
		cli_table_print(table);
	}
	json_decref(queue);
	return EXIT_YES;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct buf list = BUF_INIT(256u << 20);
	struct error e;
	int fd, status;

	if (cli_wants_help(cli, &cmd_mailq, argc, argv))
		return EXIT_YES;
	if (argc > 1)
		return cli_usage(&cmd_mailq);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	fd = cli_store(cli, &e);
	if (fd == -1)
		return cli_error("%s", e.text);
	status = store_admin_queue_list(fd, &list, &e) == -1 ? cli_error("%s", e.text) : print_queue(cli, &list);
	close(fd);
	buf_free(&list);
	return status;
}

const struct command cmd_mailq = {
	.name = "mailq",
	.synopsis = "",
	.summary = "show what waits to be sent",
	.help = "One line a recipient: id, size, sender, recipient, state, attempts, when it is tried next, the last "
	        "reply.\n"
		"`mailadm queue` shows, retries and drops entries.\n"
		"\n"
		"Example: mailadm mailq --json\n",
	.run = run,
};
