/* mailadm dns verify: what the live DNS says, a row a check (dnsgen/verify.h). */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "dnsgen/verify.h"
#include "site/address.h"

#define TIMEOUT_S 30
#define TIMEOUT_MAX_S 3600

int dns_verify_command(struct cli *, int argc, char **argv);

static const struct command help = {
	.name = "dns verify",
	.synopsis = "[--timeout SECONDS] [--problems] [DOMAIN ...]",
	.summary = "ask the live DNS whether all is as the site wants it",
	.help =
	    "Asks the resolver, the zones above and the domains' own name servers: delegation, serials, DNSSEC, MX, "
	    "addresses,\n"
	    "reverse names, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, TLSA, SRV, CAA and block lists.  Each row says what "
	    "was "
	    "seen and\n"
	    "what to do.  The exit status is 1 when something is wrong, 2 when nothing could be asked.\n"
	    "\n"
	    "  --timeout SECONDS  at most so long in all (30)\n"
	    "  --problems         only rows that are not ok\n"
	    "\n"
	    "example:\n"
	    "  mailadm dns verify example.org\n",
};

static void print_rows(struct cli *cli, const struct check_results *r, bool problems)
{
	static const char *const columns[] = { "check", "domain", "state", "seen", "remedy", NULL };
	struct cli_table *table = cli_table_new(cli, columns);
	for (size_t i = 0; i < r->count; i++) {
		const struct check_result *at = &r->at[i];
		const char *cells[] = { at->check, at->subject, check_state_name(at->state), at->seen, at->remedy };
		if (!problems || at->state != CHECK_OK)
			cli_table_add(table, cells);
	}
	cli_table_print(table);
}

static int status_of(const struct check_results *r)
{
	size_t unknown = 0;
	for (size_t i = 0; i < r->count; i++)
		unknown += r->at[i].state == CHECK_UNKNOWN;
	if (check_results_wrong(r))
		return EXIT_NO;
	return r->count > 0 && unknown == r->count ? cli_error("nothing could be asked; is the resolver reachable?")
	                                           : EXIT_YES;
}

static int verify(struct cli *cli, char **names, size_t count, unsigned timeout, bool problems)
{
	struct check_results results = { 0 };
	struct error e = { "" };
	char **domains = xcalloc(count + 1, sizeof(*domains));
	int status = EXIT_YES;
	for (size_t i = 0; i < count; i++) {
		domains[i] = xmalloc(ADDRESS_MAX);
		if (domain_normalise(view_of(names[i]), domains[i], ADDRESS_MAX) == -1 && status == EXIT_YES)
			status = cli_error("%s is no domain name", names[i]);
	}
	if (status == EXIT_YES &&
	    dns_verify(cli->site, (const char *const *)domains, count, timeout, &results, &e) == -1)
		status = cli_error("%s", e.text);
	if (status == EXIT_YES) {
		print_rows(cli, &results, problems);
		status = status_of(&results);
	}
	for (size_t i = 0; i < count; i++)
		free(domains[i]);
	free(domains);
	check_results_free(&results);
	return status;
}

int dns_verify_command(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "timeout", required_argument, NULL, 't' },
		{ "problems", no_argument, NULL, 'p' }, { 0 } };
	uint64_t timeout = TIMEOUT_S;
	bool problems = false;
	int opt;
	if (cli_wants_help(cli, &help, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'p')
			problems = true;
		else if (opt != 't' || view_u64(view_of(optarg), TIMEOUT_MAX_S, &timeout) == -1 || timeout == 0)
			return cli_usage(&help);
	}
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	return verify(cli, argv + optind, (size_t)(argc - optind), (unsigned)timeout, problems);
}
