/* mailadm mailq, and the program mailq: `mailadm queue list` under the name that people and scripts know. */
#include "cli/cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
	if (cli_wants_help(cli, &cmd_mailq, argc, argv))
		return EXIT_YES;
	if (argc > 1)
		return cli_usage(&cmd_mailq);
	return cmd_queue.run(cli, 2, (char *[]){ "queue", "list", NULL });
}

const struct command cmd_mailq = {
	.name = "mailq",
	.synopsis = "",
	.summary = "show what waits to be sent",
	.help = "The same as `mailadm queue list`; `mailadm queue` also shows, retries and drops entries.\n"
		"\n"
		"example:\n"
		"  mailadm mailq --json\n",
	.run = run,
};
