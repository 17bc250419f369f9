/* check: is the site right?  Offline, so that CI can ask; with --with-tools also the real nft and named-checkzone. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static void print_text(struct cli *cli, const struct findings *f, bool ok)
{
	const struct site *s = cli->site;
	size_t lists = 0;
	for (size_t i = 0; i < f->count; i++)
		fprintf(stderr, "%s\n", f->at[i].text);
	if (!ok || !s)
		return;
	for (size_t i = 0; i < s->alias_count; i++)
		lists += s->aliases[i].list;
	size_t counts[] = { s->domain_count, s->account_count, s->alias_count - lists, lists };
	const char *one[] = { "domain", "account", "alias", "list" },
		   *many[] = { "domains", "accounts", "aliases", "lists" };
	printf("%s: ok (", cli->site_path);
	for (size_t i = 0; i < 4; i++)
		printf("%s%zu %s", i ? ", " : "", counts[i], counts[i] == 1 ? one[i] : many[i]);
	size_t warnings = f->count - f->errors;
	if (warnings)
		printf("; %zu warning%s", warnings, warnings == 1 ? "" : "s");
	puts(")");
}

static void print_json(struct cli *cli, const struct findings *f, bool ok)
{
	json_t *list = json_array();
	for (size_t i = 0; i < f->count; i++) {
		const struct finding *x = &f->at[i];
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s}", "file", x->file, "line", (int)x->line,
						"severity", x->warning ? "warning" : "error", "text", x->text));
	}
	json_t *top = json_pack("{s:s, s:b, s:i, s:i, s:o}", "site", cli->site_path, "ok", ok, "errors", (int)f->errors,
	    "warnings", (int)(f->count - f->errors), "findings", list);
	if (cli->site) {
		json_object_set_new(top, "domains", json_integer((json_int_t)cli->site->domain_count));
		json_object_set_new(top, "accounts", json_integer((json_int_t)cli->site->account_count));
		json_object_set_new(top, "aliases", json_integer((json_int_t)cli->site->alias_count));
	}
	cli_json_print(top);
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "with-tools", no_argument, NULL, 't' },
		{ "strict", no_argument, NULL, 's' }, { 0 } };
	bool tools = false, strict = false;
	int option;
	if (cli_wants_help(cli, &cmd_check, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return cli_usage(&cmd_check);
		tools = tools || option == 't';
		strict = strict || option == 's';
	}
	if (optind != argc)
		return cli_usage(&cmd_check);
	struct findings f = { 0 };
	cli->site = site_load(cli->site_path, &f);
	if (cli->site && tools) {
		fw_check_with_tools(cli, &f);
		dns_check_with_tools(cli, &f);
	}
	bool ok = f.errors == 0 && !(strict && f.count);
	if (cli->json)
		print_json(cli, &f, ok);
	else
		print_text(cli, &f, ok);
	findings_free(&f);
	if (access(cli->site_path, R_OK) < 0)
		return EXIT_USAGE;
	return ok ? EXIT_YES : EXIT_NO;
}

const struct command cmd_check = {
	.name = "check",
	.synopsis = "[--with-tools] [--strict]",
	.summary = "is the site file right?",
	.help = "Reads the site, its includes and drop-ins, and checks them without touching the host.  Findings are "
	        "lines\n"
		"FILE:LINE: what is wrong; what to do.  The exit status is 1 when there are errors.\n\n"
		"  --with-tools  also let nft and named-checkzone read what would be generated\n"
		"  --strict      warnings count as errors\n\n"
		"Example: mailadm -c ./site.conf check --with-tools\n",
	.run = run,
};
