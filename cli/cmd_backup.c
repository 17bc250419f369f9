/* mailadm backup: snapshots of the host with restic, and the way back. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/backup.h"
#include "cli.h"
#include "lib/text.h"
#include "mailsvc/control.h"

#define JSON_MAX (64u << 20)

static const struct site_backup *choose(struct cli *cli, const char *name)
{
	if (cli_site(cli) == NULL)
		return NULL;
	if (cli->site->backup_count == 0) {
		cli_error("%s names no backup; add backup = ( { name = \"nightly\"; repository = \"/srv/backup\"; } );",
		    cli->site_path);
		return NULL;
	}
	const struct site_backup *b = name ? backup_find(cli->site, name) : &cli->site->backups[0];
	if (b == NULL)
		cli_error("no backup named %s in %s", name, cli->site_path);
	return b;
}

/* A channel to the running store; -2: the host does not run, and nothing changes under our hands; -1: neither is sure.
 */
static int running_store(struct cli *cli, struct error *e)
{
	int control = control_connect(cli->site, e);
	if (control < 0)
		return control;
	close(control);
	return cli_store(cli, e);
}

static int do_run(struct cli *cli, const struct site_backup *b)
{
	struct error e;
	struct buf summary = BUF_INIT(JSON_MAX);
	int store = running_store(cli, &e);
	if (store == -1)
		return cli_error("backup %s: %s", b->name, e.text);
	int result = backup_run(cli->site, b, store < 0 ? -1 : store, &summary, &e);
	if (store >= 0)
		close(store);
	if (result == -1) {
		buf_free(&summary);
		return cli_error("backup %s: %s", b->name, e.text);
	}
	json_t *s = json_loadb(summary.data, summary.len, 0, NULL);
	buf_free(&summary);
	if (cli->json) {
		cli_json_print(s ? s : json_object());
		return EXIT_YES;
	}
	char size[16], added[16];
	text_format_size((uint64_t)json_integer_value(json_object_get(s, "total_bytes_processed")), size);
	text_format_size((uint64_t)json_integer_value(json_object_get(s, "data_added")), added);
	const char *id = json_string_value(json_object_get(s, "snapshot_id"));
	printf("backup %s: snapshot %.8s, %s, %s new\n", b->name, id ? id : "?", size, added);
	json_decref(s);
	return EXIT_YES;
}

static void add_snapshot(struct cli_table *table, const struct site_backup *b, json_t *snapshot)
{
	const char *id = json_string_value(json_object_get(snapshot, "short_id")),
		   *when = json_string_value(json_object_get(snapshot, "time")),
		   *host = json_string_value(json_object_get(snapshot, "hostname"));
	char at[20];
	snprintf(at, sizeof(at), "%.19s", when ? when : "");
	cli_table_add(table, (const char *[]){ b->name, id, at, host });
}

static int do_list(struct cli *cli, const char *name)
{
	static const char *const columns[] = { "backup", "snapshot", "time", "host", NULL };
	if (choose(cli, name) == NULL)
		return EXIT_USAGE;
	struct cli_table *table = cli_table_new(cli, columns);
	for (size_t i = 0; i < cli->site->backup_count; i++) {
		const struct site_backup *b = &cli->site->backups[i];
		struct buf text = BUF_INIT(JSON_MAX);
		struct error e;
		if (name != NULL && strcmp(name, b->name) != 0)
			continue;
		if (backup_list(cli->site, b, &text, &e) == -1) {
			buf_free(&text);
			return cli_error("backup %s: %s", b->name, e.text);
		}
		json_t *list = json_loadb(text.data, text.len, 0, NULL);
		for (size_t j = 0; j < json_array_size(list); j++)
			add_snapshot(table, b, json_array_get(list, j));
		json_decref(list);
		buf_free(&text);
	}
	cli_table_print(table);
	return EXIT_YES;
}

static int do_restore(struct cli *cli, const struct site_backup *b, const char *snapshot, const char *dir)
{
	struct error e;
	if (backup_restore(cli->site, b, snapshot, dir, &e) == -1)
		return cli_error("backup %s: %s", b->name, e.text);
	if (cli->json)
		cli_json_print(json_pack("{s:s, s:s}", "snapshot", snapshot, "dir", dir));
	else
		printf("restored into %s; look at it with: mailadm -c %s/site.conf check\n", dir, dir);
	return EXIT_YES;
}

/* What `systemctl edit` would write: the site's time instead of the one of the timer in share/systemd. */
static int do_timer(struct cli *cli, const struct site_backup *b)
{
	char *text = xasprintf("[Timer]\nOnCalendar=\nOnCalendar=%s\n", b->schedule);
	if (cli->json)
		cli_json_print(json_pack("{s:s, s:s, s:s}", "backup", b->name, "schedule", b->schedule, "text", text));
	else
		fputs(text, stdout);
	free(text);
	return EXIT_YES;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "to", required_argument, NULL, 't' },
		{ "name", required_argument, NULL, 'n' }, { 0 } };
	const char *dir = NULL, *name = NULL;
	int opt;
	if (cli_wants_help(cli, &cmd_backup, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 't')
			dir = optarg;
		else if (opt == 'n')
			name = optarg;
		else
			return cli_usage(&cmd_backup);
	}
	const char *verb = argc > optind ? argv[optind] : "", *operand = argc > optind + 1 ? argv[optind + 1] : NULL;
	if (argc > optind + 2)
		return cli_usage(&cmd_backup);
	const struct site_backup *b;
	if (strcmp(verb, "run") == 0 && operand != NULL)
		return (b = choose(cli, operand)) ? do_run(cli, b) : EXIT_USAGE;
	if (strcmp(verb, "timer") == 0 && operand != NULL)
		return (b = choose(cli, operand)) ? do_timer(cli, b) : EXIT_USAGE;
	if (strcmp(verb, "list") == 0)
		return do_list(cli, operand);
	if (strcmp(verb, "restore") == 0 && operand != NULL && dir != NULL)
		return (b = choose(cli, name)) ? do_restore(cli, b, operand, dir) : EXIT_USAGE;
	return cli_usage(&cmd_backup);
}

const struct command cmd_backup = {
	.name = "backup",
	.synopsis = "run NAME | list [NAME] | restore SNAPSHOT --to DIR [--name NAME] | timer NAME",
	.summary = "snapshots of the host with restic, and the way back",
	.help = "run makes a consistent snapshot, whether or not the host runs, and keeps as many as the site says.\n"
		"restore writes DIR/site.conf and DIR/state, ready to serve from there; SNAPSHOT may be latest.\n"
		"timer prints the schedule as a drop-in of the systemd timer.\n\n"
		"example:\n"
		"  mailadm backup run nightly\n"
		"  mailadm backup restore latest --to /srv/restored\n"
		"  mailadm backup timer nightly >/etc/systemd/system/mailadm-backup@nightly.timer.d/schedule.conf\n",
	.run = run,
};
