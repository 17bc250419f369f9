/*
 * account share: what others may do with an account's mailboxes (RFC 4314), by store's own requests, on a running host
 * or one that stands still.  Without a mailbox: all that the account has now.  A mailbox that is made later begins with
 * the entries of the one above it, at the top level with none.
 */
#include "account_share.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailsvc/imap/namespace.h"
#include "session.h"
#include "site/route.h"

/* Without s: what is seen is common to all, and who only reads shall not make the owner's new mail old. */
#define READ_RIGHTS (ACL_LOOKUP | ACL_READ)
#define WRITE_RIGHTS (ACL_ALL & ~ACL_ADMIN)

struct share {
	struct cli *cli;
	struct cli_session session;
	char owner[ADDRESS_MAX], with[ADDRESS_MAX + 1];
	const char *mailbox; /* NULL: all */
	uint32_t rights;
	struct cli_table *table;
	uint32_t *mailboxes;
	char **names;
	size_t count;
};

static int parse_rights(const char *text, uint32_t *rights)
{
	static const struct {
		const char *word;
		uint32_t rights;
	} words[] = { { "read", READ_RIGHTS }, { "write", WRITE_RIGHTS }, { "all", ACL_ALL } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*rights = words[i].rights;
			return 0;
		}
	}
	if (text[0] == '\0' || acl_parse(view_of(text), rights) < 0)
		return cli_error("%s are no rights; give read, write, all, or letters of %s", text, ACL_LETTERS);
	return 0;
}

/* "OWNER" or "OWNER/MAILBOX"; a slash may stand in an address. */
static int parse_owner(struct share *h, const char *text)
{
	if (address_normalise(view_of(text), h->owner, sizeof(h->owner)) == 0)
		return 0;
	h->mailbox = namespace_owner(text, h->owner);
	return h->mailbox != NULL ? 0 : cli_error("%s is no address, nor ADDRESS/MAILBOX", text);
}

static bool take_mailbox(void *arg, const struct mailbox_row *row)
{
	struct share *h = arg;

	if (h->mailbox != NULL && strcmp(h->mailbox, row->name) != 0 &&
	    !(strcmp(row->name, "INBOX") == 0 && strcasecmp(h->mailbox, "INBOX") == 0))
		return true;
	h->mailboxes = xreallocarray(h->mailboxes, h->count + 1, sizeof(*h->mailboxes));
	h->names = xreallocarray(h->names, h->count + 1, sizeof(*h->names));
	h->mailboxes[h->count] = row->id;
	h->names[h->count++] = xstrdup(row->name);
	return true;
}

/* The mailboxes that are meant; -1 with a message, 1 when there are none. */
static int find_mailboxes(struct share *h)
{
	struct account_row account;

	store_open_account(h->session.client, h->owner, cli_session_done, &h->session);
	enum store_status status = cli_session_wait(&h->session);
	if (status != STORE_OK) {
		cli_error("%s: %s", h->owner, cli_store_text(status));
		return -1;
	}
	if (view_begin(h->session.view) == -1) {
		cli_error("the store is away");
		return -1;
	}
	if (view_account(h->session.view, h->owner, &account) == 1)
		view_mailboxes(h->session.view, account.id, take_mailbox, h);
	if (view_end(h->session.view) == -1) {
		cli_error("the store is away");
		return -1;
	}
	if (h->count > 0)
		return 0;
	cli_error("%s has no mailbox %s", h->owner, h->mailbox != NULL ? h->mailbox : "yet");
	return 1;
}

struct row {
	struct share *share;
	const char *mailbox;
};

static bool show_entry(void *arg, const char *identifier, uint32_t rights)
{
	struct row *r = arg;
	char letters[sizeof(ACL_LETTERS)];

	acl_format(rights, letters);
	cli_table_add(r->share->table, (const char *[]){ r->share->owner, r->mailbox, identifier, letters });
	return true;
}

static int list(struct share *h)
{
	static const char *const columns[] = { "owner", "mailbox", "with", "rights", NULL };

	if (view_begin(h->session.view) == -1)
		return cli_error("the store is away");
	h->table = cli_table_new(h->cli, columns);
	for (size_t i = 0; i < h->count; i++)
		view_acl(h->session.view, h->mailboxes[i], show_entry, &(struct row){ h, h->names[i] });
	if (view_end(h->session.view) == -1)
		return cli_error("the store is away");
	cli_table_print(h->table);
	return EXIT_YES;
}

static int set(struct share *h)
{
	char letters[sizeof(ACL_LETTERS)];

	acl_format(h->rights, letters);
	for (size_t i = 0; i < h->count; i++) {
		store_set_acl(h->session.client, h->mailboxes[i], h->with, h->rights, cli_session_done, &h->session);
		enum store_status status = cli_session_wait(&h->session);
		if (status != STORE_OK)
			return cli_error("%s/%s: %s", h->owner, h->names[i], cli_store_text(status));
	}
	if (h->cli->json) {
		json_t *names = json_array();
		for (size_t i = 0; i < h->count; i++)
			json_array_append_new(names, json_string(h->names[i]));
		cli_json_print(json_pack(
		    "{s:s,s:o,s:s,s:s}", "owner", h->owner, "mailboxes", names, "with", h->with, "rights", letters));
	} else if (h->rights == 0) {
		printf("%s has no entry any more on %zu mailbox%s of %s\n", h->with, h->count,
		    h->count == 1 ? "" : "es", h->owner);
	} else {
		const struct site_account *a = site_find_account(h->cli->site, h->owner);
		printf("%s may %s on %zu mailbox%s of %s, as %s/%s/...\n", h->with, letters, h->count,
		    h->count == 1 ? "" : "es", h->owner, a != NULL && a->shared ? "shared" : "user", h->owner);
	}
	return EXIT_YES;
}

/* Both are accounts of the site; whom an entry is taken from may be gone. */
static int check(const struct share *h, bool takes, bool lists)
{
	const char *who = h->with[0] == '-' ? h->with + 1 : h->with;

	if (site_find_account(h->cli->site, h->owner) == NULL) {
		cli_error("there is no account %s; mailadm account list shows them", h->owner);
		return EXIT_NO;
	}
	if (lists || takes || strcmp(who, ACL_ANYONE) == 0 || site_find_account(h->cli->site, who) != NULL)
		return EXIT_YES;
	cli_error("there is no account %s; mailadm account list shows them", who);
	return EXIT_NO;
}

static int act(struct share *h, bool lists)
{
	struct error e;
	int status;

	if (cli_session_open(h->cli, true, &h->session, &e) == -1)
		return cli_error("%s", e.text);
	status = find_mailboxes(h);
	if (status == 0)
		status = lists ? list(h) : set(h);
	else
		status = status > 0 ? EXIT_NO : EXIT_USAGE;
	cli_session_close(&h->session);
	for (size_t i = 0; i < h->count; i++)
		free(h->names[i]);
	free(h->names);
	free(h->mailboxes);
	return status;
}

int account_share(struct cli *cli, const struct command *command, int argc, char **argv)
{
	static const struct option options[] = { { "rights", required_argument, NULL, 'r' },
		{ "remove", no_argument, NULL, 'd' }, { "list", no_argument, NULL, 'l' }, { 0 } };
	struct share h = { .cli = cli, .rights = READ_RIGHTS };
	bool takes = false, lists = false, rights = false;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r' && parse_rights(optarg, &h.rights) != 0)
			return EXIT_USAGE;
		rights |= option == 'r';
		takes |= option == 'd';
		lists |= option == 'l';
		if (option == '?')
			return cli_usage(command);
	}
	if (argc - optind != (lists ? 1 : 2) || (takes && (rights || lists)) || (rights && lists))
		return cli_usage(command);
	if (parse_owner(&h, argv[optind]) != 0)
		return EXIT_USAGE;
	if (!lists && acl_identifier(view_of(argv[optind + 1]), h.with) == -1)
		return cli_error("%s is neither an address nor anyone", argv[optind + 1]);
	if (!cli_site(cli))
		return EXIT_USAGE;
	if (takes)
		h.rights = 0;
	status = check(&h, takes, lists);
	return status != EXIT_YES ? status : act(&h, lists);
}
