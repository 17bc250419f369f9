/*
 * init: a new mail host from a few options.  Writes the site file, makes passwords, certificate and DKIM keys, and
 * prints what is needed next: passwords (once), DNS records, client settings.  Never overwrites.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "dropin.h"
#include "lib/proc.h"
#include "mailsvc/auth/credentials.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/selfsigned.h"
#include "site/address.h"

#define NAMES_MAX 1000

struct init {
	const char *dir; /* NULL: /etc/mailadm */
	char hostname[256];
	char ipv4[INET6_ADDRSTRLEN], ipv6[INET6_ADDRSTRLEN];
	struct strings domains, accounts; /* normalised */
	unsigned port_offset;
	char *path;
	struct strings passwords; /* as accounts */
};

static void append(struct strings *list, char *item)
{
	list->at = xreallocarray(list->at, list->count + 1, sizeof(char *));
	list->at[list->count++] = item;
}

static void strings_free(struct strings *list, bool wipe)
{
	for (size_t i = 0; i < list->count; i++) {
		if (wipe)
			explicit_bzero(list->at[i], strlen(list->at[i]));
		free(list->at[i]);
	}
	free(list->at);
}

/* ---- options */

static int add_domain(struct init *in, const char *text)
{
	char name[256];
	if (domain_normalise(view_of(text), name, sizeof(name)) < 0)
		return cli_error("--domain %s is no domain name; write it like example.org", text);
	append(&in->domains, xstrdup(name));
	return 0;
}

/* "alice" is alice@ the first domain, once that is known. */
static int add_account(struct init *in, const char *text)
{
	char address[ADDRESS_MAX];
	char *whole = strchr(text, '@') ? xstrdup(text) : xasprintf("%s@%s", text, in->domains.at[0]);
	int result = cli_address(whole, address, sizeof(address));
	free(whole);
	if (result < 0)
		return EXIT_USAGE;
	for (size_t i = 0; i < in->accounts.count; i++)
		if (strcmp(in->accounts.at[i], address) == 0)
			return 0;
	append(&in->accounts, xstrdup(address));
	return 0;
}

static int set_address(int family, const char *option, const char *text, char *out)
{
	unsigned char bytes[16];
	if (inet_pton(family, text, bytes) != 1)
		return cli_error("--%s %s is no %s address; write it like %s", option, text,
		    family == AF_INET ? "IPv4" : "IPv6", family == AF_INET ? "192.0.2.10" : "2001:db8::10");
	inet_ntop(family, bytes, out, INET6_ADDRSTRLEN);
	return 0;
}

static int set_option(struct init *in, int option, const char *text, struct strings *accounts)
{
	uint64_t n;
	switch (option) {
	case 'h':
		if (domain_normalise(view_of(text), in->hostname, sizeof(in->hostname)) < 0 ||
		    !strchr(in->hostname, '.'))
			return cli_error("--hostname %s is no full host name; write it like mail.example.org", text);
		return 0;
	case 'd':
		return add_domain(in, text);
	case '4':
		return set_address(AF_INET, "ipv4", text, in->ipv4);
	case '6':
		return set_address(AF_INET6, "ipv6", text, in->ipv6);
	case 'a':
		append(accounts, xstrdup(text));
		return 0;
	case 'p':
		if (view_u64(view_of(text), 64000, &n) < 0)
			return cli_error("--port-offset %s is no number up to 64000", text);
		in->port_offset = (unsigned)n;
		return 0;
	default:
		return cli_usage(&cmd_init);
	}
}

static int parse_options(struct cli *cli, struct init *in, int argc, char **argv)
{
	static const struct option options[] = { { "hostname", required_argument, NULL, 'h' },
		{ "domain", required_argument, NULL, 'd' }, { "ipv4", required_argument, NULL, '4' },
		{ "ipv6", required_argument, NULL, '6' }, { "account", required_argument, NULL, 'a' },
		{ "port-offset", required_argument, NULL, 'p' }, { 0 } };
	struct strings accounts = { 0 };
	int option, status = 0;
	optind = 0;
	while (status == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
		status = set_option(in, option, optarg, &accounts);
	if (status == 0 && argc - optind > 1)
		status = cli_usage(&cmd_init);
	if (status == 0 && !in->hostname[0])
		status = cli_error("init needs the host's full name; add --hostname mail.example.org");
	if (status == 0 && !in->domains.count)
		status = cli_error("init needs a domain that receives mail; add --domain example.org");
	if (status == 0 && !in->ipv4[0] && !in->ipv6[0])
		status = cli_error("init needs the host's address; add --ipv4 192.0.2.10 or --ipv6 2001:db8::10");
	if (status == 0 && in->domains.count + accounts.count > NAMES_MAX)
		status = cli_error(
		    "init takes at most %d domains and accounts; write further ones into the site file", NAMES_MAX);
	if (status == 0 && !accounts.count)
		append(&accounts, xstrdup("admin"));
	for (size_t i = 0; status == 0 && i < accounts.count; i++)
		status = add_account(in, accounts.at[i]);
	strings_free(&accounts, false);
	in->dir = argc > optind ? argv[optind] : NULL;
	in->path = in->dir ? xasprintf("%s/site.conf", in->dir) : xstrdup(cli->site_path);
	return status;
}

/* ---- the site file */

static void write_site(const struct init *in, struct buf *out)
{
	buf_puts(out, "# The mail host, as mailadm reads it: see mailadm-site(5). After a change: mailadm check && "
	              "mailadm reload\n\n");
	buf_printf(out, "host = {\n\tname = \"%s\";\n", in->hostname);
	if (in->ipv4[0])
		buf_printf(out, "\tipv4 = \"%s\";\n", in->ipv4);
	if (in->ipv6[0])
		buf_printf(out, "\tipv6 = \"%s\";\n", in->ipv6);
	buf_puts(out, "\t# public_ipv4 = \"...\";  # what the world sees, behind an address translation\n};\n\n");
	buf_puts(out, "# The domains that receive mail here.\ndomains = (\n");
	for (size_t i = 0; i < in->domains.count; i++)
		buf_printf(out, "\t{ name = \"%s\"; }%s\n", in->domains.at[i], i + 1 < in->domains.count ? "," : "");
	buf_puts(out,
	    ");\n\n# Who has a mailbox. More with: mailadm account add ADDRESS. The first one is the administrator,\n"
	    "# who gets the mail of postmaster and abuse, unless `admin` names another.\naccounts = (\n");
	for (size_t i = 0; i < in->accounts.count; i++) {
		buf_puts(out, "\t{ address = \"");
		for (const char *p = in->accounts.at[i]; *p; p++) {
			if (*p == '"' || *p == '\\')
				buf_addc(out, '\\');
			buf_addc(out, *p);
		}
		buf_printf(out, "\"; }%s\n", i + 1 < in->accounts.count ? "," : "");
	}
	buf_puts(out, ");\n\n# aliases = ( { address = \"info@example.org\"; to = ( \"alice@example.org\" ); } );\n"
		      "# lists   = ( { address = \"team@example.org\"; members = ( \"alice@example.org\", "
	              "\"bob@example.net\" ); } );\n\n"
		      "# From where ssh is reachable; without it, from everywhere.\n"
		      "# firewall = { admin_from = ( \"192.0.2.0/24\" ); };\n\n"
		      "# backup = ( { name = \"nightly\"; repository = \"/srv/backup\"; } );\n");
	if (in->dir)
		buf_puts(out, "\n# Mail, keys and passwords; relative to this file.\nstate_dir = \"state\";\n");
	if (in->port_offset)
		buf_printf(out,
		    "\n# Every port is this much higher, and loopback stands in for addresses that are not here.\n"
		    "port_offset = %u;\nlisten = { loopback = true; };\n",
		    in->port_offset);
}

/* Checked in memory first, so that a mistake leaves nothing behind. */
static int check_text(const struct init *in, struct buf *text)
{
	struct findings f = { 0 };
	struct site *site = site_load_memory(buf_view(text), in->path, &f);
	for (size_t i = 0; i < f.count; i++)
		if (!f.at[i].warning)
			fprintf(stderr, "%s\n", f.at[i].text);
	int result = site ? 0 : cli_error("the site would have errors; nothing was written");
	site_unref(site);
	findings_free(&f);
	return result;
}

static bool exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static int write_new(const char *path, struct buf *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return cli_error("cannot make %s: %s", path, strerror(errno));
	size_t done = 0;
	while (done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == text->len && fsync(fd) == 0 && close(fd) == 0)
		return 0;
	unlink(path);
	return cli_error("cannot write %s: %s", path, strerror(errno));
}

/* ---- keys and passwords */

/* Four groups of five base32 letters: 100 bits. */
static int random_password(char out[24])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char bytes[20];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -1;
	size_t n = 0;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		if (i && i % 5 == 0)
			out[n++] = '-';
		out[n++] = letters[bytes[i] & 31];
	}
	out[n] = 0;
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}

static int make_passwords(struct init *in, const char *path, struct error *e)
{
	for (size_t i = 0; i < in->accounts.count; i++) {
		char password[24];
		if (random_password(password) < 0)
			return error_errno(e, "no random bytes");
		append(&in->passwords, xstrdup(password));
		int result = credentials_set_password(path, in->accounts.at[i], view_of(password), e);
		explicit_bzero(password, sizeof(password));
		if (result < 0)
			return -1;
	}
	return 0;
}

static int make_secrets(struct cli *cli, struct init *in)
{
	struct error e;
	const struct site *site = cli->site;
	char *path = site_state(site, "credentials");
	int status = EXIT_YES;
	if (file_mkdirs(site->state_dir, 0711, &e) < 0 || make_passwords(in, path, &e) < 0 ||
	    selfsigned_ensure(site, &e) < 0 || dkim_keys_ensure(site, false, &e) < 0)
		status = cli_error("%s", e.text);
	if (status != EXIT_YES)
		unlink(path);
	free(path);
	return status;
}

/* ---- what is printed */

static void print_json(struct cli *cli, const struct init *in)
{
	json_t *accounts = json_array();
	for (size_t i = 0; i < in->accounts.count; i++)
		json_array_append_new(
		    accounts, json_pack("{s:s, s:s}", "address", in->accounts.at[i], "password", in->passwords.at[i]));
	cli_json_print(json_pack("{s:s, s:s, s:o, s:o}", "site", in->path, "state_dir", cli->site->state_dir,
	    "accounts", accounts, "client", client_settings(cli->site, NULL)));
}

static void print_text(struct cli *cli, const struct init *in)
{
	const char *option = in->dir ? " -c " : "", *path = in->dir ? in->path : "";
	printf(
	    "The site is %s, with its state in %s.\n\nPasswords, shown this once:\n\n", in->path, cli->site->state_dir);
	for (size_t i = 0; i < in->accounts.count; i++)
		printf("  %s  %s\n", in->accounts.at[i], in->passwords.at[i]);
	puts("\nDNS records to publish:\n");
	fflush(stdout);
	dns_print_records(cli);
	puts("\nSettings for mail programs:\n");
	client_print(cli, NULL);
	printf("\nNext: mailadm%s%s check, then mailadm%s%s serve\n", option, path, option, path);
}

static int make_host(struct cli *cli, struct init *in)
{
	struct buf text = BUF_INIT(1u << 20);
	struct error e;
	write_site(in, &text);
	char *dir = strrchr(in->path, '/')
	                ? view_dup((struct view){ in->path, (size_t)(strrchr(in->path, '/') - in->path) })
	                : xstrdup(".");
	int status = check_text(in, &text);
	if (status == 0 && dir[0] && file_mkdirs(dir, 0755, &e) < 0)
		status = cli_error("%s", e.text);
	if (status == 0)
		status = write_new(in->path, &text);
	free(dir);
	buf_free(&text);
	if (status)
		return status;
	cli->site_path = in->path;
	status = cli_site(cli) ? make_secrets(cli, in) : EXIT_USAGE;
	if (status != EXIT_YES)
		unlink(in->path); /* so that it can be tried again */
	else if (cli->json)
		print_json(cli, in);
	else
		print_text(cli, in);
	return status;
}

/* The first thing in the way, or NULL. malloc'd. */
static char *in_the_way(const struct init *in)
{
	char *state = in->dir ? xasprintf("%s/state", in->dir) : xstrdup("/var/lib/mailadm");
	char *found = exists(in->path) ? xstrdup(in->path) : NULL;
	static const char *const names[] = { "credentials", "store", "tls", "keys" };
	for (size_t i = 0; !found && i < sizeof(names) / sizeof(names[0]); i++) {
		found = xasprintf("%s/%s", state, names[i]);
		if (!exists(found)) {
			free(found);
			found = NULL;
		}
	}
	free(state);
	return found;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct init in = { 0 };
	if (cli_wants_help(cli, &cmd_init, argc, argv))
		return EXIT_YES;
	int status = parse_options(cli, &in, argc, argv);
	char *found = status == 0 ? in_the_way(&in) : NULL;
	if (found)
		status = cli_error(
		    "%s is there already, and init never overwrites; choose another folder, or edit the site", found);
	if (status == 0)
		status = make_host(cli, &in);
	free(found);
	site_unref(cli->site);
	cli->site = NULL;
	strings_free(&in.domains, false);
	strings_free(&in.accounts, false);
	strings_free(&in.passwords, true);
	free(in.path);
	return status;
}

const struct command cmd_init = {
	.name = "init",
	.synopsis = "[DIR] --hostname H --domain D... --ipv4 A [--ipv6 A] [--account ADDRESS...] [--port-offset N]",
	.summary = "make a new mail host",
	.help =
	    "Writes DIR/site.conf with its state in DIR/state, or without DIR /etc/mailadm/site.conf and "
	    "/var/lib/mailadm;\n"
	    "makes passwords (shown once), a self-signed certificate and DKIM keys; prints the DNS records and the "
	    "settings for\n"
	    "mail programs.  What is there already is never overwritten.\n\n"
	    "  --hostname H      the host's full name\n"
	    "  --domain D        a domain that receives mail; may be repeated\n"
	    "  --ipv4, --ipv6 A  the host's addresses\n"
	    "  --account A       an account, with or without @DOMAIN; may be repeated (default: admin)\n"
	    "  --port-offset N   all ports N higher, and listening on loopback: a host to try things on\n\n"
	    "Example: mailadm init --hostname mail.example.org --domain example.org --ipv4 192.0.2.10 --account alice\n"
	    "         mailadm init ./try --hostname mail.example.org --domain example.org --ipv4 127.0.0.1 "
	    "--port-offset 20000\n",
	.run = run,
};
