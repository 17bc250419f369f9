/* alias: addresses that lead to others.  Edits the drop-in that commands own; what was written by hand is shown and
 * left alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dropin.h"
#include "site/address.h"

static const struct site_alias *find(const struct site *site, const char *address)
{
	for (size_t i = 0; i < site->alias_count; i++)
		if (strcmp(site->aliases[i].address, address) == 0)
			return &site->aliases[i];
	return NULL;
}

static int finish(struct cli *cli, struct dropin *d, const char *what, const char *address)
{
	int result = dropin_commit(cli, d);
	dropin_close(d);
	int status = result < 0 ? EXIT_USAGE : cli_reload_if_running(cli);
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s}", what, address));
	else if (status == EXIT_YES)
		printf("%s %s\n", what, address);
	return status;
}

static int add(struct cli *cli, const char *argument, int count, char **targets)
{
	char address[ADDRESS_MAX], target[ADDRESS_MAX];
	struct dropin d;
	if (cli_address(argument, address, sizeof(address)) < 0 || dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	config_setting_t *element = dropin_find(&d, "aliases", address, NULL);
	if (!element)
		element = dropin_add(&d, "aliases", address);
	for (int i = 0; i < count; i++) {
		if (cli_address(targets[i], target, sizeof(target)) < 0) {
			dropin_close(&d);
			return EXIT_USAGE;
		}
		dropin_append(element, "to", target);
	}
	return finish(cli, &d, "added", address);
}

static int not_ours(struct cli *cli, const char *address)
{
	if (!cli_site(cli))
		return EXIT_USAGE;
	const struct site_alias *a = find(cli->site, address);
	if (a)
		cli_error("%s:%u: %s %s was written by hand; remove it there", a->origin.file, a->origin.line,
		    a->list ? "list" : "alias", address);
	else
		cli_error("there is no alias %s; mailadm alias list shows them", address);
	return EXIT_NO;
}

/* An exit status, with a message when target is not one of the alias. */
static int remove_target(config_setting_t *element, const char *argument)
{
	char target[ADDRESS_MAX];
	config_setting_t *list = config_setting_get_member(element, "to");
	if (cli_address(argument, target, sizeof(target)) < 0)
		return EXIT_USAGE;
	for (int i = 0; list && i < config_setting_length(list); i++) {
		const char *there = config_setting_get_string_elem(list, i);
		if (there && strcmp(there, target) == 0) {
			config_setting_remove_elem(list, (unsigned)i);
			return EXIT_YES;
		}
	}
	cli_error("the alias does not lead to %s; mailadm alias list shows where it leads", target);
	return EXIT_NO;
}

static int remove_alias(struct cli *cli, const char *argument, int count, char **targets)
{
	char address[ADDRESS_MAX];
	struct dropin d;
	unsigned index = 0;
	if (cli_address(argument, address, sizeof(address)) < 0 || dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	config_setting_t *element = dropin_find(&d, "aliases", address, &index);
	if (!element) {
		dropin_close(&d);
		return not_ours(cli, address);
	}
	for (int i = 0; i < count; i++) {
		int status = remove_target(element, targets[i]);
		if (status != EXIT_YES) {
			dropin_close(&d);
			return status;
		}
	}
	config_setting_t *left = config_setting_get_member(element, "to");
	if (count == 0 || !left || config_setting_length(left) == 0)
		dropin_remove(&d, "aliases", index);
	return finish(cli, &d, "removed", address);
}

static json_t *alias_json(const struct site_alias *a)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < a->targets.count; i++)
		json_array_append_new(targets, json_string(a->targets.at[i]));
	return json_pack("{s:s, s:s, s:o, s:s, s:i}", "address", a->address, "kind", a->list ? "list" : "alias",
	    "targets", targets, "file", a->origin.file, "line", (int)a->origin.line);
}

static int list(struct cli *cli)
{
	static const char *const columns[] = { "address", "kind", "targets", "defined", NULL };
	if (!cli_site(cli))
		return EXIT_USAGE;
	json_t *array = json_array();
	struct cli_table *t = cli->json ? NULL : cli_table_new(cli, columns);
	for (size_t i = 0; i < cli->site->alias_count; i++) {
		const struct site_alias *a = &cli->site->aliases[i];
		struct buf targets = BUF_INIT(1u << 20), defined = BUF_INIT(8192);
		if (!t) {
			json_array_append_new(array, alias_json(a));
			continue; /* the buffers are empty */
		}
		for (size_t j = 0; j < a->targets.count; j++)
			buf_printf(&targets, "%s%s", j ? ", " : "", a->targets.at[j]);
		buf_printf(&defined, "%s:%u", a->origin.file, a->origin.line);
		cli_table_add(t,
		    (const char *[]){ a->address, a->list ? "list" : "alias", buf_str(&targets), buf_str(&defined) });
		buf_free(&targets);
		buf_free(&defined);
	}
	if (t) {
		cli_table_print(t);
		json_decref(array);
	} else {
		cli_json_print(array);
	}
	return EXIT_YES;
}

static int run(struct cli *cli, int argc, char **argv)
{
	if (cli_wants_help(cli, &cmd_alias, argc, argv))
		return EXIT_YES;
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "list") == 0 && argc == 2)
		return list(cli);
	for (int i = 2; i < argc; i++)
		if (argv[i][0] == '-')
			return cli_usage(&cmd_alias);
	if (strcmp(verb, "add") == 0 && argc >= 4)
		return add(cli, argv[2], argc - 3, argv + 3);
	if (strcmp(verb, "remove") == 0 && argc >= 3)
		return remove_alias(cli, argv[2], argc - 3, argv + 3);
	return cli_usage(&cmd_alias);
}

const struct command cmd_alias = {
	.name = "alias",
	.synopsis = "add ADDRESS TARGET... | remove ADDRESS [TARGET...] | list",
	.summary = "addresses that lead to others",
	.help = "add      makes the alias, or adds targets to it, in site.d/90-mailadm.conf\n"
		"remove   removes these targets, or without any the whole alias\n"
		"list     aliases and distribution lists, where they lead and where they are defined\n\n"
		"The whole site is checked before anything changes, and a running host reloads.\n\n"
		"Example: mailadm alias add info@example.org alice@example.org bob@example.net\n",
	.run = run,
};
