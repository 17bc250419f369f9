/* mailadm doctor: live checks of the host and what is around it; doctor/ does the work. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/alert.h"
#include "cli/cli.h"
#include "cli/rows.h"
#include "doctor/doctor.h"

#define ONLY_MAX 32
#define LIMIT_MAX_S 120

struct options {
	struct doctor doctor;
	char *only[ONLY_MAX];
	struct strings names;
	bool alert;
};

/* 0, or an exit status + 1. */
static int take_option(struct options *o, int option)
{
	uint64_t seconds;
	switch (option) {
	case 'o':
		if (!doctor_has(optarg))
			return cli_error("there is no check %s; mailadm doctor --help lists them", optarg) + 1;
		if (o->names.count == ONLY_MAX)
			return cli_error("--only stands there more than %d times", ONLY_MAX) + 1;
		o->only[o->names.count++] = optarg;
		return 0;
	case 'a':
		o->alert = true;
		return 0;
	case 'f':
		o->doctor.offline = true;
		return 0;
	case 't':
		if (view_u64(view_of(optarg), LIMIT_MAX_S, &seconds) < 0 || seconds == 0)
			return cli_error("--timeout %s: seconds, from 1 to %d", optarg, LIMIT_MAX_S) + 1;
		o->doctor.limit_ms = (unsigned)seconds * 1000;
		return 0;
	case 'p':
		o->doctor.smtp_probe = optarg;
		return 0;
	case 'r':
		o->doctor.rdap = optarg;
		return 0;
	default:
		return cli_usage(&cmd_doctor) + 1;
	}
}

static int examine(struct cli *cli, struct options *o)
{
	const struct alert_kind kind = { "alerts-doctor", "mailadm doctor", .wrong_only = true,
		.partial = o->names.count > 0 || o->doctor.offline };
	struct check_results rows = { 0 };
	struct error e = { "" };
	int result = doctor_run(&o->doctor, &o->names, &rows, &e);
	if (!o->alert)
		rows_print(cli, &rows);
	if (result < 0)
		result = cli_error("%s", e.text);
	else if (o->alert && alert_tell(cli, &kind, &rows) < 0)
		result = EXIT_USAGE;
	else
		result = check_results_wrong(&rows) ? EXIT_NO : EXIT_YES;
	check_results_free(&rows);
	return result;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "only", required_argument, NULL, 'o' },
		{ "alert", no_argument, NULL, 'a' }, { "offline", no_argument, NULL, 'f' },
		{ "timeout", required_argument, NULL, 't' }, { "smtp-probe", required_argument, NULL, 'p' },
		{ "rdap", required_argument, NULL, 'r' }, { 0 } };
	struct options o = { .doctor = { .limit_ms = DOCTOR_LIMIT_MS, .rdap = DOCTOR_RDAP } };
	int option, status;
	if (cli_wants_help(cli, &cmd_doctor, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if ((status = take_option(&o, option)) != 0)
			return status - 1;
	if (optind < argc)
		return cli_usage(&cmd_doctor);
	if (!cli_site(cli))
		return EXIT_USAGE;
	o.names.at = o.only;
	o.doctor.site = cli->site;
	return examine(cli, &o);
}

const struct command cmd_doctor = {
	.name = "doctor",
	.synopsis =
	    "[--alert] [--only NAME]... [--offline] [--timeout SECONDS] [--smtp-probe ADDRESS[@PORT]] [--rdap URL]",
	.summary = "look at the host from outside in: what is wrong, and what to do",
	.help =
	    "One row a finding: check, subject, state (ok, warning, wrong, unknown), what was seen, what to do.  What "
	    "could "
	    "not be asked\n"
	    "is unknown, never wrong.  Exit status 0: nothing is wrong, 1: something is, 2: it cannot look.\n"
	    "\n"
	    "--only NAME    this check alone (again for more): smtp_out interface names registration "
	    "certificate served "
	    "disk\n"
	    "               latency clock queue backup files users ports memory kernel reboot\n"
	    "--alert        for cron: prints nothing, and tells admin.contact and admin.command what is wrong (not "
	    "warnings), as\n"
	    "               mailadm status --alert does\n"
	    "--offline      leave out what asks other machines: smtp_out names registration backup\n"
	    "--timeout S    for each check, 10 by default; six run at once\n"
	    "--smtp-probe   try this address (192.0.2.1 or 192.0.2.1@2525) instead of large providers' MX\n"
	    "--rdap URL     where registrations are asked for: the domain's name is added (https://rdap.org/domain/)\n"
	    "\n"
	    "Example: mailadm doctor --only names\n"
	    "         mailadm doctor --json | jq '.[] | select(.state == \"wrong\")'\n",
	.run = run,
};
