/* serve: becomes mailsvc, the one beside this very binary, else the one in PATH. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/apply.h"
#include "cli/cli.h"

/* An apply that was left behind, by a power cut for one, comes to its end before anything is served. */
static void settle(struct cli *cli)
{
	struct findings f = { 0 };
	struct site *site = site_load(cli->site_path, &f); /* what is wrong with it mailsvc says */

	if (site != NULL)
		apply_settle_due(site->state_dir);
	site_unref(site);
	findings_free(&f);
}

static int run(struct cli *cli, int argc, char **argv)
{
	char self[PATH_MAX], *args[] = { "mailsvc", "-c", (char *)(uintptr_t)cli->site_path, NULL };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *beside;

	if (cli_wants_help(cli, &cmd_serve, argc, argv))
		return EXIT_YES;
	if (argc > 1)
		return cli_usage(&cmd_serve);
	settle(cli);
	if (n > 0) {
		self[n] = '\0';
		beside = xasprintf("%s/mailsvc", dirname(self));
		execv(beside, args);
		free(beside);
	}
	execvp("mailsvc", args);
	return cli_error("mailsvc is neither beside mailadm nor in PATH (%s); install both", strerror(errno));
}

const struct command cmd_serve = {
	.name = "serve",
	.synopsis = "",
	.summary = "run the host in the foreground",
	.help = "Serves mail as the site says until SIGTERM or ^C, and prints `ready` when every listener answers.\n"
		"SIGHUP reloads the site, SIGUSR1 opens the log file anew.  See mailsvc(8).\n"
		"\n"
		"Example: mailadm -c demo/site.conf serve\n",
	.run = run,
};
