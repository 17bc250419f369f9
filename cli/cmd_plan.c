/* plan: what apply would change, part by part. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/apply.h"
#include "apply/part.h"
#include "cli/cmd_fw.h"
#include "lib/proc.h"

#define TEXT_MAX (256u << 20)

static int write_plan(const struct plan *p, const struct site *site, const char *path, struct error *e)
{
	json_t *j = plan_json(p, site);
	char *text = json_dumps(j, JSON_INDENT(2));
	int r = file_write_atomic(path, view_of(text), 0600, e);

	free(text);
	json_decref(j);
	return r;
}

static int show(struct cli *cli, const struct plan *p, const char *out)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	struct error e = { "" };

	if (out != NULL && write_plan(p, cli->site, out, &e) < 0)
		return cli_error("%s", e.text);
	if (cli->json) {
		cli_json_print(plan_json(p, cli->site));
	} else {
		plan_text(p, &text);
		fwrite(text.data, 1, text.len, stdout);
		buf_free(&text);
	}
	return p->changes.count == 0 ? EXIT_YES : EXIT_NO;
}

/* What no difference shows: rules that the machine has no user for. */
static void warn_of_firewall(const struct site *site)
{
	struct error e;
	struct fw_model *model = part_applies(&part_firewall, site, NULL) ? fw_model_of(site, &e) : NULL;

	if (model != NULL)
		fw_warn_of_notes(model);
	fw_model_free(model);
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "out", required_argument, NULL, 'o' }, { NULL, 0, NULL, 0 } };
	const char *out = NULL;
	struct plan p;
	struct error e = { "" };
	int c, r;

	if (cli_wants_help(cli, &cmd_plan, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'o')
			return cli_usage(&cmd_plan);
		out = optarg;
	}
	if (optind < argc)
		return cli_usage(&cmd_plan);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	if (plan_make(cli->site, &p, &e) < 0)
		return cli_error("%s", e.text);
	r = show(cli, &p, out);
	warn_of_firewall(cli->site);
	plan_free(&p);
	return r;
}

const struct command cmd_plan = {
	.name = "plan",
	.synopsis = "[--out FILE]",
	.summary = "show what apply would change",
	.help =
	    "Compares the site with the live host: keys, zones, the running host, firewall, timers.  Changes nothing.\n"
	    "The last line is the plan's checksum, over the site and every difference: it is another one when the live "
	    "host has\n"
	    "moved on.  Exit status 0: no change; 1: changes; 2: it cannot be told.\n"
	    "\n"
	    "  --out FILE  writes the plan for `mailadm apply FILE`, which refuses when it is no longer true\n"
	    "\n"
	    "Examples: mailadm plan\n"
	    "          mailadm plan --out /tmp/plan || mailadm apply /tmp/plan --confirm 60s\n",
	.run = run,
};
