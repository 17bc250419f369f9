/* confirm: keeps what apply --confirm changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/applied.h"

#define LOCK_MS 10000

static int confirm(struct cli *cli, const char *state_dir, bool console)
{
	struct apply_dir d = { .lock = -1 };
	struct generation g = { .number = 0 };
	struct caller caller;
	struct error e = { "" };
	int r;

	caller_self(&caller);
	r = apply_dir_open(state_dir, false, &d, &e);
	if (r == 0)
		r = apply_dir_lock(&d, LOCK_MS, &e);
	if (r == 0)
		r = apply_confirm(&d, &caller, console, &g, &e);
	apply_dir_unlock(&d);
	if (r != 0)
		cli_error("%s", e.text);
	else if (cli->json)
		cli_json_print(generation_json(&g));
	else
		printf("generation %u is in force\n", g.number);
	generation_free(&g);
	apply_dir_close(&d);
	return r < 0 ? EXIT_USAGE : r;
}

static int run(struct cli *cli, int argc, char **argv)
{
	bool console = argc == 2 && strcmp(argv[1], "--console") == 0;
	const char *state_dir;

	if (cli_wants_help(cli, &cmd_confirm, argc, argv))
		return EXIT_YES;
	if (argc > 1 && !console)
		return cli_usage(&cmd_confirm);
	cli->settles = true; /* one that comes too late is told so */
	state_dir = applied_state_dir(cli);
	return state_dir != NULL ? confirm(cli, state_dir, console) : EXIT_USAGE;
}

const struct command cmd_confirm = {
	.name = "confirm",
	.synopsis = "[--console]",
	.summary = "keep what apply --confirm changed",
	.help = "Has to come over an ssh connection that was opened after the change: that shows that the host can "
	        "still be "
		"reached.\n"
		"Then the firewall is loaded at boot too, and the host serves the new site after a restart.\n"
		"\n"
		"  --console  there is no ssh: at the machine's own console, or in a script of the host itself\n"
		"\n"
		"Exit status 0: kept; 1: refused, or nothing waits; 2: it failed.\n"
		"\n"
		"Example: ssh mail.example.org sudo mailadm confirm\n",
	.run = run,
};
