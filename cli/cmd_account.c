/*
 * account: who has a mailbox.  Accounts that this command makes stand in the drop-in it owns; those written by hand are
 * shown, and get passwords, but are not touched.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "account.h"
#include "account_share.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "mailsvc/auth/credentials.h"
#include "site/address.h"
#include "site/route.h"

#define PASSWORD_MIN 8
#define PASSWORD_SIZE 1025

static const char *const protocol_names[] = { "imap", "pop3", "submission" };

static void protocols_text(unsigned bits, struct buf *out)
{
	for (unsigned i = 0; i < 3; i++)
		if (bits & 1u << i)
			buf_printf(out, "%s%s", out->len ? "," : "", protocol_names[i]);
}

/* "imap,submission" into the element's list; what is no protocol is found by the check of the site. */
static void set_protocols(config_setting_t *element, const char *text)
{
	char *copy = xstrdup(text), *rest = copy, *word;
	while ((word = strsep(&rest, ", ")))
		if (word[0])
			dropin_append(element, "protocols", word);
	free(copy);
}

struct add_options {
	const char *name, *quota, *protocols;
	bool shared;
};

int account_forget_password(const struct site *site, const char *address)
{
	char *path = site_state(site, "credentials");
	struct error e;
	int removed = access(path, F_OK) == 0 ? credentials_remove(path, address, &e) : 1;
	free(path);
	if (removed < 0)
		cli_error("a password of %s may still be in STATE/credentials: %s; take its line out of there", address,
		    e.text);
	return removed < 0 ? -1 : 0;
}

static int add(struct cli *cli, const char *argument, const struct add_options *o)
{
	char address[ADDRESS_MAX];
	struct dropin d;
	if (cli_address(argument, address, sizeof(address)) < 0 || dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	if (dropin_find(&d, "accounts", address, NULL)) {
		cli_error("there is an account %s already, in %s", address, d.path);
		dropin_close(&d);
		return EXIT_NO;
	}
	config_setting_t *element = dropin_add(&d, "accounts", address);
	if (o->name)
		dropin_set(element, "name", o->name);
	if (o->quota)
		dropin_set(element, "quota", o->quota);
	if (o->protocols)
		set_protocols(element, o->protocols);
	if (o->shared)
		dropin_set_bool(element, "shared", true);
	/* A password of an earlier account, that the site lost without `account remove`, is not inherited. */
	int status =
	    dropin_commit(cli, &d) < 0 || account_forget_password(cli->site, address) < 0 ? EXIT_USAGE : EXIT_YES;
	dropin_close(&d);
	if (status == EXIT_YES) /* else the account is in the file, and nobody can log in to it yet */
		status = cli_reload_if_running(cli);
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s}", "added", address));
	else if (status == EXIT_YES && o->shared)
		printf("added %s; say who may use it with: mailadm account share %s ADDRESS\n", address, address);
	else if (status == EXIT_YES)
		printf("added %s; set its password with: mailadm account passwd %s\n", address, address);
	return status;
}

static int remove_account(struct cli *cli, const char *argument)
{
	char address[ADDRESS_MAX];
	struct dropin d;
	unsigned index;
	int status;
	if (cli_address(argument, address, sizeof(address)) < 0 || dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	if (!account_own(cli, &d, address, "remove it there", &index, &status)) {
		dropin_close(&d);
		return status;
	}
	dropin_remove(&d, "accounts", index);
	if (dropin_commit(cli, &d) < 0) {
		dropin_close(&d);
		return EXIT_USAGE;
	}
	status = account_forget_password(cli->site, address) < 0 ? EXIT_USAGE : EXIT_YES;
	dropin_close(&d);
	int told = cli_reload_if_running(cli);
	status = status == EXIT_YES ? told : status;
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s}", "removed", address));
	else if (status == EXIT_YES)
		printf("removed %s; its mail stays in the store\n", address);
	return status;
}

static int set_password(struct cli *cli, const char *address, const char *password)
{
	struct error e;
	if (strlen(password) < PASSWORD_MIN)
		return cli_error("the password has fewer than %d bytes; use a longer one", PASSWORD_MIN);
	if (file_mkdirs(cli->site->state_dir, 0711, &e) < 0)
		return cli_error("%s", e.text);
	char *path = site_state(cli->site, "credentials");
	int result = credentials_set_password(path, address, view_of(password), &e);
	free(path);
	return result < 0 ? cli_error("%s", e.text) : EXIT_YES;
}

static int passwd(struct cli *cli, const char *argument)
{
	char address[ADDRESS_MAX];
	if (cli_address(argument, address, sizeof(address)) < 0 || !cli_site(cli))
		return EXIT_USAGE;
	if (!site_find_account(cli->site, address)) {
		cli_error("there is no account %s; mailadm account add %s makes it", address, address);
		return EXIT_NO;
	}
	char *prompt = xasprintf("New password for %s", address);
	char *password = xcalloc(1, PASSWORD_SIZE);
	int status = cli_read_password(prompt, true, password, PASSWORD_SIZE) < 0
	                 ? cli_error("no password was read")
	                 : set_password(cli, address, password);
	explicit_bzero(password, PASSWORD_SIZE);
	free(password);
	free(prompt);
	if (status == EXIT_YES)
		status = cli_reload_if_running(cli);
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s}", "changed", address));
	return status;
}

static int list(struct cli *cli)
{
	static const char *const columns[] = { "address", "name", "quota", "protocols", "password", "defined", "state", NULL };
	struct credentials credentials = { 0 };
	struct error e = { "" };
	if (!cli_site(cli))
		return EXIT_USAGE;
	char *path = site_state(cli->site, "credentials");
	bool readable = credentials_load(path, &credentials, &e) == 0;
	free(path);
	struct cli_table *t = cli_table_new(cli, columns);
	for (size_t i = 0; i < cli->site->account_count; i++) {
		const struct site_account *a = &cli->site->accounts[i];
		struct buf protocols = BUF_INIT(64), defined = BUF_INIT(8192);
		char quota[16] = "none";
		if (a->quota)
			text_format_size(a->quota, quota);
		protocols_text(a->protocols, &protocols);
		buf_printf(&defined, "%s:%u", a->origin.file, a->origin.line);
		const char *has = !readable ? "unknown" : credentials_find(&credentials, a->address) ? "yes" : "no";
		cli_table_add(
		    t, (const char *[]){ a->address, a->name, quota, buf_str(&protocols), has, buf_str(&defined), a->state });
		buf_free(&protocols);
		buf_free(&defined);
	}
	cli_table_print(t);
	credentials_free(&credentials);
	if (!readable)
		cli_error("who has a password is unknown: %s", e.text);
	return EXIT_YES;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "name", required_argument, NULL, 'n' },
		{ "quota", required_argument, NULL, 'q' }, { "protocols", required_argument, NULL, 'p' },
		{ "shared", no_argument, NULL, 's' }, { 0 } };
	struct add_options o = { 0 };
	int option, status;
	if (cli_wants_help(cli, &cmd_account, argc, argv))
		return EXIT_YES;
	if (argc > 1 && strcmp(argv[1], "share") == 0)
		return account_share(cli, &cmd_account, argc - 1, argv + 1);
	if (account_life(cli, argc, argv, &status))
		return status;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			o.name = optarg;
		else if (option == 'q')
			o.quota = optarg;
		else if (option == 'p')
			o.protocols = optarg;
		else if (option == 's')
			o.shared = true;
		else
			return cli_usage(&cmd_account);
	}
	const char *verb = optind < argc ? argv[optind] : "";
	int left = argc - optind - 1;
	if (strcmp(verb, "add") == 0 && left == 1)
		return add(cli, argv[optind + 1], &o);
	if (o.name || o.quota || o.protocols || o.shared)
		return cli_usage(&cmd_account);
	if (strcmp(verb, "list") == 0 && left == 0)
		return list(cli);
	if (strcmp(verb, "passwd") == 0 && left == 1)
		return passwd(cli, argv[optind + 1]);
	if (strcmp(verb, "remove") == 0 && left == 1)
		return remove_account(cli, argv[optind + 1]);
	return cli_usage(&cmd_account);
}

const struct command cmd_account = {
	.name = "account",
	.synopsis = "VERB ...\n"
		    "\n  add ADDRESS [--name N] [--quota Q] [--protocols imap,pop3,submission] [--shared]"
		    "\n  passwd ADDRESS"
		    "\n  remove ADDRESS"
		    "\n  list"
		    "\n  share OWNER[/MAILBOX] WITH [--rights R] [--remove]"
		    "\n  share OWNER[/MAILBOX] --list" ACCOUNT_LIFE_SYNOPSIS "\n",
	.summary = "who has a mailbox, and passwords",
	.help = "add      makes the account in site.d/90-mailadm.conf, the one drop-in that mailadm edits; --shared: nobody\n"
		"         logs in to it, and its mailboxes are for those that share names\n"
		"passwd   sets the password: asks twice on a terminal, else reads one line\n"
		"remove   removes an account that add made, and its password; the mail stays\n"
		"list     address, name, quota, protocols, whether it has a password, where it is defined, and its state\n"
		"share    lets WITH, an account or anyone, use the mailboxes of OWNER, or one of them: --rights read (lr,\n"
		"         the default), write (all but a), all, or letters of lrswipkxtea; in a mail client they are\n"
		"         user/OWNER/MAILBOX, or shared/OWNER/MAILBOX when the site marks the account as shared\n"
		ACCOUNT_LIFE_HELP "\n"
		"The whole site is checked before anything changes, and a running host reloads.\n\n"
		"Example: mailadm account add bob@example.org --name Bob --quota 10G\n"
		"         pass show bob | mailadm account passwd bob@example.org\n"
		"         mailadm account share sales@example.org bob@example.org --rights write\n",
	.run = run,
};
