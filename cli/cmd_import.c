/* mailadm import: mail and passwords from elsewhere. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dropin.h"
#include "import.h"
#include "lib/proc.h"
#include "site/route.h"

#define PASSWORD_SIZE 16384 /* OAuth tokens are long */
#define LISTS_MAX 200

struct lists {
	const char *map[2 * LISTS_MAX + 1], *exclude[LISTS_MAX + 1];
	size_t maps, excludes;
};

static int add_map(struct lists *l, const char *text)
{
	char *copy = xstrdup(text), *is = strchr(copy, '=');

	if (is == NULL || is == copy || is[1] == '\0' || l->maps >= LISTS_MAX)
		return cli_error("--map %s: write --map OLD=NEW, names as they are shown, with / between levels", text);
	*is = '\0';
	l->map[2 * l->maps] = copy;
	l->map[2 * l->maps + 1] = is + 1;
	l->map[2 * ++l->maps] = NULL;
	return 0;
}

static int add_exclude(struct lists *l, const char *text)
{
	if (l->excludes >= LISTS_MAX)
		return cli_error("too many --exclude");
	l->exclude[l->excludes++] = text;
	l->exclude[l->excludes] = NULL;
	return 0;
}

static const struct option options[] = { { "map", required_argument, NULL, 'm' },
	{ "exclude", required_argument, NULL, 'x' }, { "mailbox", required_argument, NULL, 'b' },
	{ "label", required_argument, NULL, 'l' }, { "dry-run", no_argument, NULL, 'n' },
	{ "user", required_argument, NULL, 'u' }, { "password-file", required_argument, NULL, 'p' },
	{ "starttls", no_argument, NULL, 's' }, { "plain", no_argument, NULL, 'P' },
	{ "insecure", no_argument, NULL, 'i' }, { "oauth2", no_argument, NULL, 'o' }, { 0 } };

/* 0, or an exit status + 1. */
static int take_options(int argc, char **argv, struct import *i, struct lists *l, const char **password_file)
{
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			if (add_map(l, optarg) != 0)
				return EXIT_USAGE + 1;
			break;
		case 'x':
			if (add_exclude(l, optarg) != 0)
				return EXIT_USAGE + 1;
			break;
		case 'b':
			i->mailbox = optarg;
			break;
		case 'l':
			i->label = optarg;
			break;
		case 'n':
			i->options.dry_run = true;
			break;
		case 'u':
			i->server.user = optarg;
			break;
		case 'p':
			*password_file = optarg;
			break;
		case 's':
			i->server.starttls = true;
			break;
		case 'P':
			i->server.plain_allowed = true;
			break;
		case 'i':
			i->server.verify = false;
			break;
		case 'o':
			i->server.oauth = true;
			break;
		default:
			return cli_usage(&cmd_import) + 1;
		}
	}
	return 0;
}

/* The first line of a file, or of stdin. */
static int read_password(const char *file, const struct import *i, char *out)
{
	struct buf b = BUF_INIT(PASSWORD_SIZE);
	struct error e;
	size_t n;

	if (file == NULL) {
		char *prompt = xasprintf("Password of %s at %s", i->server.user, i->server.host);
		int rc = cli_read_password(prompt, false, out, PASSWORD_SIZE);
		free(prompt);
		return rc < 0 ? cli_error("no password was read; give it on stdin or with --password-file FILE") : 0;
	}
	if (file_read(file, PASSWORD_SIZE - 1, &b, &e) == -1)
		return cli_error("%s", e.text);
	n = strcspn(buf_str(&b), "\r\n");
	memcpy(out, b.data, n);
	out[n] = '\0';
	explicit_bzero(b.data, b.cap);
	buf_free(&b);
	return 0;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT. */
static void split_server(struct import *i)
{
	char *host = xstrdup(i->from), *colon = strrchr(host, ':'), *end = strchr(host, ']');
	bool bare = colon != NULL && strchr(host, ':') != colon && end == NULL; /* an IPv6 address by itself */

	if (colon != NULL && !bare && (end == NULL || colon > end)) {
		*colon = '\0';
		i->port = colon + 1;
	}
	if (host[0] == '[' && end != NULL) {
		*end = '\0';
		host++;
	}
	i->server.host = host;
	if (i->port == NULL)
		i->port = i->server.starttls || i->server.plain_allowed ? "143" : "993";
}

static int import_imap(struct cli *cli, struct import *i, const char *password_file)
{
	char *password;
	int status;

	if (i->server.starttls && i->server.plain_allowed)
		return cli_error("--starttls and --plain exclude each other");
	if (i->server.user == NULL)
		i->server.user = i->account;
	split_server(i);
	password = xcalloc(1, PASSWORD_SIZE);
	status = read_password(password_file, i, password);
	if (status == 0) {
		i->server.password = password;
		i->server.label = i->label;
		status = import_run(cli, i);
	}
	explicit_bzero(password, PASSWORD_SIZE);
	free(password);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct import i = { .label = "", .mailbox = "INBOX", .server.verify = true };
	struct lists *l = xcalloc(1, sizeof(*l));
	const char *password_file = NULL, *kind;
	char account[ADDRESS_MAX];
	int status;

	if (cli_wants_help(cli, &cmd_import, argc, argv))
		return EXIT_YES;
	if ((status = take_options(argc, argv, &i, l, &password_file)) != 0)
		return status - 1;
	kind = optind < argc ? argv[optind] : "";
	if (strcmp(kind, "passwords") == 0 && argc - optind == 2)
		return import_passwords(cli, argv[optind + 1]);
	if (argc - optind != 3)
		return cli_usage(&cmd_import);
	if (cli_address(argv[optind + 1], account, sizeof(account)) < 0 || !cli_site(cli))
		return EXIT_USAGE;
	if (!site_find_account(cli->site, account)) {
		cli_error("there is no account %s; mailadm account add %s makes it", account, account);
		return EXIT_NO;
	}
	i.account = account;
	i.from = argv[optind + 2];
	i.options.map = l->map;
	i.options.exclude = l->exclude;
	i.kind = strcmp(kind, "maildir") == 0 ? IMPORT_MAILDIR : strcmp(kind, "mbox") == 0 ? IMPORT_MBOX : IMPORT_IMAP;
	if (i.kind != IMPORT_IMAP)
		return import_run(cli, &i);
	return strcmp(kind, "imap") == 0 ? import_imap(cli, &i, password_file) : cli_usage(&cmd_import);
}

const struct command cmd_import = {
	.name = "import",
	.synopsis = "maildir ACCOUNT DIR | mbox ACCOUNT FILE|DIR | imap ACCOUNT HOST[:PORT] | passwords FILE",
	.summary = "take mail and passwords over from another server",
	.help = "maildir    a Maildir of Dovecot, Courier or anybody, with its folders, flags, keywords, UIDs and "
	        "subscriptions\n"
		"mbox       a file (into --mailbox, INBOX by itself), or every mbox file in and below a folder\n"
		"imap       a live server; asks for the password on a terminal, else reads one line\n"
		"passwords  hashes out of a passwd file of Dovecot (user:{SCHEME}hash) or a dump of mailcow's mailbox "
	        "table;\n"
		"           each becomes yescrypt when its owner logs in\n\n"
		"  --map OLD=NEW         a folder, with what is below it, becomes another one\n"
		"  --exclude PATTERN     leaves folders out; * stands for anything, % for anything without /\n"
		"  --mailbox NAME        of an mbox file\n"
		"  --label TEXT          sources with different labels are never taken for the same\n"
		"  --dry-run             says what would come and changes nothing\n"
		"  --user NAME           at the other server; else the account's address\n"
		"  --password-file FILE  its first line is the password, or with --oauth2 the access token (XOAUTH2)\n"
		"  --starttls, --plain   instead of TLS from the start (port 993); both port 143\n"
		"  --insecure            does not check the server's certificate\n\n"
		"A message that is there already is not imported again, so that the same command can be given again: "
	        "after an\n"
		"interruption, or for what arrived meanwhile.  Exit status 1 when something was left out, which is "
	        "said.\n\n"
		"Example: mailadm import imap bob@example.org imap.example.net --map 'Sent Items=Sent' --exclude "
	        "'Spam*' <password\n"
		"         mailadm import maildir bob@example.org /var/vmail/example.org/bob/Maildir --dry-run\n",
	.run = run,
};
