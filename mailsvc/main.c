/*
 * mailsvc: the daemon.  Called by an administrator it is the monitor, in the foreground; monitor starts it again with
 * -R for each role.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailsvc/monitor/monitor.h"
#include "mailsvc/role.h"


static void usage(FILE *to)
{
	fputs("usage: mailsvc [-c SITE]\n"
	      "\n"
	      "Serves mail as the site file says (default " SITE_DEFAULT "), in the foreground, until SIGTERM.\n"
	      "Prints `ready` when every listener answers.  SIGHUP reloads the site, SIGUSR1 opens the log file anew.\n"
	      "\n"
	      "  -c, --config SITE   the site file\n"
	      "  -R, --role ROLE     run one role (only monitor does this)\n"
	      "  -i, --instance N    which instance of it\n"
	      "  -h, --help          this text\n"
	      "  -V, --version       the version\n"
	      "\n"
	      "Example: mailsvc -c /etc/mailadm/site.conf\n",
	    to);
}

static int run_role(const char *name)
{
	for (int id = ROLE_MONITOR + 1; id < ROLE_COUNT; id++) {
		if (strcmp(name, role_name((enum role_id)id)) == 0 && role_by_id((enum role_id)id) != NULL)
			return role_main(role_by_id((enum role_id)id));
	}
	fprintf(stderr, "mailsvc: there is no role %s\n", name);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "role", required_argument, NULL, 'R' },
		{ "instance", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *site = SITE_DEFAULT, *role = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "c:R:i:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			site = optarg;
			break;
		case 'R':
			role = optarg;
			break;
		case 'i': /* shown by ps; the number that counts comes from monitor */
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'V':
			puts("mailsvc " MAILADM_VERSION);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	return role != NULL ? run_role(role) : monitor_main(site);
}
