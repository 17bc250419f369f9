/*
 * The life of an account.  What touches site, credentials and store does so in an order in which a crash leaves nothing
 * lost and the same command, given again, ends it: the store's part is idempotent, the drop-in's comes behind it.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account.h"
#include "export.h"
#include "lib/proc.h"
#include "mailsvc/auth/credentials.h"
#include "session.h"
#include "site/route.h"

/* Store's part of a command: a session, one request, its status. */
struct deed {
	const char *from, *to, *folder;
	enum { DEED_RENAME, DEED_HAND_OVER, DEED_ERASE } what;
};

static int do_deed(struct cli *cli, const struct deed *d, enum store_status *status, uint64_t *count)
{
	struct cli_session s;
	struct error e = { "" };

	if (cli_session_open(cli, false, &s, &e) == -1)
		return cli_error("%s", e.text);
	if (d->what == DEED_RENAME)
		store_rename_account(s.client, d->from, d->to, cli_session_done, &s);
	else if (d->what == DEED_HAND_OVER)
		store_hand_over(s.client, d->from, d->to, d->folder, cli_session_done, &s);
	else
		store_erase_account(s.client, d->from, cli_session_done, &s);
	*status = cli_session_wait(&s);
	*count = s.result.count;
	cli_session_close(&s);
	return 0;
}

/* Rename --------------------------------------------------------------------------------------------------------- */

/* The password goes along; keys that depend on the address are learned anew at the next login. -1: said. */
static int copy_password(const struct site *site, const char *from, const char *to)
{
	char *path = site_state(site, "credentials");
	struct credentials all = { 0 };
	struct error e = { "" };
	const char *hash;
	int rc = 0;

	if (access(path, F_OK) == 0) {
		rc = credentials_load(path, &all, &e);
		hash = rc == 0 ? credentials_find(&all, from) : NULL;
		if (hash != NULL)
			rc = credentials_set(path, to, hash, &e);
		credentials_free(&all);
	}
	free(path);
	return rc < 0 ? (cli_error("%s", e.text), -1) : 0;
}

static int rename_in_site(
    struct cli *cli, struct dropin *d, config_setting_t *element, const char *from, const char *to, bool alias)
{
	dropin_set(element, "address", to);
	if (alias)
		dropin_append(dropin_add(d, "aliases", from), "to", to);
	return dropin_commit(cli, d);
}

static int renamed(
    struct cli *cli, struct dropin *d, config_setting_t *element, const char *from, const char *to, bool alias)
{
	enum store_status status;
	uint64_t count;

	if (copy_password(cli->site, from, to) < 0)
		return EXIT_USAGE;
	if (do_deed(cli, &(struct deed){ .from = from, .to = to, .what = DEED_RENAME }, &status, &count) == 0) {
		if (status != STORE_OK && status != STORE_NO_ACCOUNT) /* it may never have had any mail */
			cli_error("%s: %s", to,
			    status == STORE_EXISTS ? "there is mail of that address already" : cli_store_text(status));
		else if (rename_in_site(cli, d, element, from, to, alias) == 0)
			return EXIT_YES;
		else
			do_deed(cli, &(struct deed){ .from = to, .to = from, .what = DEED_RENAME }, &status, &count);
	}
	account_forget_password(cli->site, to);
	return EXIT_USAGE;
}

static int rename_account(struct cli *cli, const char *old, const char *new, bool alias)
{
	char from[ADDRESS_MAX], to[ADDRESS_MAX];
	config_setting_t *element;
	struct dropin d;
	int status;

	if (cli_address(old, from, sizeof(from)) < 0 || cli_address(new, to, sizeof(to)) < 0 || !cli_site(cli) ||
	    dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	element = account_own(
	    cli, &d, from, "change it there, after: mailadm account add, hand-over", NULL, &status);
	if (element != NULL && site_find_account(cli->site, to) != NULL) {
		cli_error("there is an account %s already", to);
		status = EXIT_NO;
	} else if (element != NULL)
		status = renamed(cli, &d, element, from, to, alias);
	dropin_close(&d);
	if (status != EXIT_YES)
		return status;
	status = cli_reload_if_running(cli);
	if (status == EXIT_YES && account_forget_password(cli->site, from) < 0)
		status = EXIT_USAGE;
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s,s:s}", "renamed", from, "to", to));
	else if (status == EXIT_YES)
		printf("%s is %s now%s\n", from, to, alias ? "; mail to the old address still comes" : "");
	return status;
}

/* Hand over, erase --------------------------------------------------------------------------------------------------
 */

static int hand_over(struct cli *cli, const char *leaver, const char *to_argument, const char *folder)
{
	char from[ADDRESS_MAX], to[ADDRESS_MAX], *own;
	enum store_status status;
	uint64_t count;
	int rc;

	if (cli_address(leaver, from, sizeof(from)) < 0 || cli_address(to_argument, to, sizeof(to)) < 0 ||
	    !cli_site(cli))
		return EXIT_USAGE;
	if (strcmp(from, to) == 0)
		return cli_error("an account cannot be handed over to itself");
	if (!site_find_account(cli->site, to)) {
		cli_error("there is no account %s", to);
		return EXIT_NO;
	}
	own = folder ? xstrdup(folder) : xasprintf("%.*s", (int)strcspn(from, "@"), from);
	rc = do_deed(
	    cli, &(struct deed){ .from = from, .to = to, .folder = own, .what = DEED_HAND_OVER }, &status, &count);
	if (rc == 0 && status == STORE_EXISTS) {
		cli_error("%s has a mailbox of such a name below %s; give another one with --folder", to, own);
		rc = EXIT_NO;
	} else if (rc == 0 && status == STORE_NO_ACCOUNT) {
		cli_error("there is no mail of %s", from);
		rc = EXIT_NO;
	} else if (rc == 0 && status != STORE_OK)
		rc = cli_error("%s", cli_store_text(status));
	else if (rc == 0 && cli->json)
		cli_json_print(json_pack(
		    "{s:s,s:s,s:s,s:I}", "from", from, "to", to, "folder", own, "messages", (json_int_t)count));
	else if (rc == 0)
		printf("%" PRIu64 " messages of %s are in %s of %s now; mail to %s still comes to it: see account "
		                  "forward, close, remove\n",
		    count, from, own, to, from);
	free(own);
	return rc;
}

static bool confirmed(const char *address)
{
	char line[ADDRESS_MAX + 2];

	if (!isatty(STDIN_FILENO))
		return cli_error("erase asks on a terminal; --yes answers beforehand"), false;
	fprintf(stderr, "All mail of %s will be gone for ever. Type the address to go on: ", address);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, address) == 0 || (cli_error("nothing was erased"), false);
}

/* Out of the drop-in and the credentials, when it stood there. */
static int forget(struct cli *cli, const char *address)
{
	struct dropin d;
	unsigned index;
	int rc = EXIT_YES;

	if (dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	if (dropin_find(&d, "accounts", address, &index)) {
		dropin_remove(&d, "accounts", index);
		rc = dropin_commit(cli, &d) < 0 ? EXIT_USAGE : EXIT_YES;
	}
	dropin_close(&d);
	if (rc == EXIT_YES && account_forget_password(cli->site, address) < 0)
		rc = EXIT_USAGE;
	return rc == EXIT_YES ? cli_reload_if_running(cli) : rc;
}

static int erase(struct cli *cli, const char *argument, bool yes)
{
	const struct site_account *a;
	char address[ADDRESS_MAX];
	enum store_status status;
	uint64_t count;
	int rc;

	if (cli_address(argument, address, sizeof(address)) < 0 || !cli_site(cli))
		return EXIT_USAGE;
	if ((a = site_find_account(cli->site, address)) != NULL && strcmp(a->state, "active") == 0) {
		cli_error("%s is in use; first: mailadm account suspend %s, or account remove", address, address);
		return EXIT_NO;
	}
	if (!yes && !confirmed(address))
		return EXIT_NO;
	if (do_deed(cli, &(struct deed){ .from = address, .what = DEED_ERASE }, &status, &count) != 0)
		return EXIT_USAGE;
	if (status == STORE_INVALID) {
		cli_error("the running host still has %s in use; mailadm reload", address);
		return EXIT_NO;
	}
	if (status != STORE_OK && (status != STORE_NO_ACCOUNT || a == NULL)) {
		cli_error("%s: %s", address, cli_store_text(status));
		return status == STORE_NO_ACCOUNT ? EXIT_NO : EXIT_USAGE;
	}
	rc = forget(cli, address);
	if (rc == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s,s:I}", "erased", address, "messages", (json_int_t)count));
	else if (rc == EXIT_YES)
		printf(
		    "%" PRIu64
		    " messages of %s are erased; mailadm store compact --all takes their bytes off the disk, and they "
		    "leave backups as those expire\n",
		    count, address);
	return rc;
}

/* The verbs
 * ------------------------------------------------------------------------------------------------------------- */

static int two_addresses(struct cli *cli, int argc, char **argv, bool renames)
{
	static const struct option options[] = { { "alias", no_argument, NULL, 'a' },
		{ "folder", required_argument, NULL, 'f' }, { 0 } };
	const char *folder = NULL;
	bool alias = false;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'a' && renames)
			alias = true;
		else if (option == 'f' && !renames)
			folder = optarg;
		else
			return cli_usage(&cmd_account);
	}
	if (argc - optind != 3)
		return cli_usage(&cmd_account);
	return renames ? rename_account(cli, argv[optind + 1], argv[optind + 2], alias)
	               : hand_over(cli, argv[optind + 1], argv[optind + 2], folder);
}

static int run_erase(struct cli *cli, int argc, char **argv)
{
	bool yes = false;
	const char *address = NULL;

	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--yes") == 0)
			yes = true;
		else if (address == NULL && argv[i][0] != '-')
			address = argv[i];
		else
			return cli_usage(&cmd_account);
	}
	return address ? erase(cli, address, yes) : cli_usage(&cmd_account);
}

bool account_life(struct cli *cli, int argc, char **argv, int *status)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "undelete") == 0)
		*status = account_undelete(cli, argc, argv);
	else if (strcmp(verb, "suspend") == 0 || strcmp(verb, "resume") == 0 || strcmp(verb, "close") == 0)
		*status = argc == 3 ? account_set_state(cli, argv[2], verb) : cli_usage(&cmd_account);
	else if (strcmp(verb, "rename") == 0 || strcmp(verb, "hand-over") == 0)
		*status = two_addresses(cli, argc, argv, verb[0] == 'r');
	else if (strcmp(verb, "export") == 0)
		*status = export_command(cli, argc - 1, argv + 1, &cmd_account);
	else if (strcmp(verb, "erase") == 0)
		*status = run_erase(cli, argc, argv);
	else if (strcmp(verb, "forward") == 0)
		*status = account_forward(cli, argc, argv);
	else if (strcmp(verb, "auto-reply") == 0)
		*status = account_auto_reply(cli, argc, argv);
	else
		return false;
	return true;
}
