/* mailadm account suspend, close, resume, forward, auto-reply: what stands in the drop-in about an account's mail. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "lib/proc.h"
#include "mailsvc/smtp/rate.h"
#include "site/address.h"
#include "site/route.h"

#define TEXT_BYTES 20000

config_setting_t *account_own(
    struct cli *cli, struct dropin *d, const char *address, const char *by_hand, unsigned *index, int *status)
{
	config_setting_t *element = dropin_find(d, "accounts", address, index);
	const struct site_account *a;

	*status = EXIT_USAGE;
	if (element != NULL || !cli_site(cli))
		return element;
	*status = EXIT_NO;
	if ((a = site_find_account(cli->site, address)) != NULL)
		cli_error("%s:%u: account %s was written by hand; %s", a->origin.file, a->origin.line, address, by_hand);
	else
		cli_error("there is no account %s; mailadm account list shows them", address);
	return NULL;
}

static int commit(struct cli *cli, struct dropin *d, const char *key, const char *address, const char *said)
{
	int status = dropin_commit(cli, d) < 0 ? EXIT_USAGE : EXIT_YES;

	dropin_close(d);
	if (status == EXIT_YES)
		status = cli_reload_if_running(cli);
	if (status == EXIT_YES && cli->json)
		cli_json_print(json_pack("{s:s}", key, address));
	else if (status == EXIT_YES)
		printf("%s %s\n", address, said);
	return status;
}

/* 1: limits.send_stop had stopped it, and it may send again, at once; 0: it had not; -1: said. */
static int let_send(struct cli *cli, const char *address)
{
	char *path = site_state(cli->site, "send-rates");
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), error = errno;
	struct shared_table *table;
	bool was;

	if (fd == -1 && error != ENOENT)
		cli_error("%s: %s", path, strerror(error));
	free(path);
	if (fd == -1)
		return error == ENOENT ? 0 : -1;
	table = shared_table_open(fd, SHARED_RATES_BYTES, RATE_BITS, "send-rates");
	was = rate_resume(table, address);
	shared_table_close(table);
	return was;
}

/* Resumes an account that was only stopped from sending; false: there is more to do, or nothing. */
static bool resumed_sending(struct cli *cli, const char *address, int *status)
{
	const struct site_account *a = cli_site(cli) ? site_find_account(cli->site, address) : NULL;
	int was = a == NULL ? 0 : let_send(cli, address);

	if (was < 0)
		*status = EXIT_USAGE;
	if (was <= 0 || strcmp(a->state, "active") != 0)
		return was < 0;
	*status = EXIT_YES;
	if (cli->json)
		cli_json_print(json_pack("{s:s}", "resumed", address));
	else
		printf("%s may send again\n", address);
	return true;
}

int account_set_state(struct cli *cli, const char *argument, const char *verb)
{
	static const struct {
		const char *verb, *state, *key, *said;
	} states[] = { { "suspend", "suspended", "suspended",
			   "is suspended: nobody logs in to it, its mail keeps coming" },
		{ "close", "closed", "closed", "is closed: nobody logs in to it, mail to it is refused" },
		{ "resume", "active", "resumed", "is active again" } };
	char address[ADDRESS_MAX], what[64];
	config_setting_t *element;
	struct dropin d;
	size_t i = 0;
	int status;

	while (strcmp(states[i].verb, verb) != 0)
		i++;
	if (cli_address(argument, address, sizeof(address)) < 0)
		return EXIT_USAGE;
	if (strcmp(verb, "resume") == 0 && resumed_sending(cli, address, &status))
		return status;
	if (dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	snprintf(what, sizeof(what), "put state = \"%s\"; there", states[i].state);
	if ((element = account_own(cli, &d, address, what, NULL, &status)) == NULL) {
		dropin_close(&d);
		return status;
	}
	if (strcmp(states[i].state, "active") == 0)
		config_setting_remove(element, "state");
	else
		dropin_set(element, "state", states[i].state);
	return commit(cli, &d, states[i].key, address, states[i].said);
}

int account_forward(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "no-copy", no_argument, NULL, 'n' },
		{ "off", no_argument, NULL, 'o' }, { 0 } };
	bool copy = true, off = false;
	char address[ADDRESS_MAX], target[ADDRESS_MAX];
	config_setting_t *element;
	struct dropin d;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		copy = copy && option != 'n';
		off |= option == 'o';
		if (option == '?')
			return cli_usage(&cmd_account);
	}
	argv += optind + 1;
	argc -= optind + 1;
	if (argc < 1 || (argc == 1) != off)
		return cli_usage(&cmd_account);
	if (cli_address(argv[0], address, sizeof(address)) < 0)
		return EXIT_USAGE;
	for (int i = 1; i < argc; i++)
		if (cli_address(argv[i], target, sizeof(target)) < 0)
			return EXIT_USAGE;
	if (dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	if ((element = account_own(cli, &d, address, "put forward = ( ... ); there", NULL, &status)) == NULL) {
		dropin_close(&d);
		return status;
	}
	config_setting_remove(element, "forward");
	config_setting_remove(element, "forward_copy");
	for (int i = 1; i < argc; i++)
		dropin_append(element, "forward", argv[i]);
	if (!copy && !off)
		dropin_set_bool(element, "forward_copy", false);
	return commit(cli, &d, off ? "forward_off" : "forward", address,
	    off    ? "forwards no more"
	    : copy ? "forwards, and keeps a copy"
		   : "forwards, and keeps nothing");
}

/* Lines of a text as members of a list. */
static void set_lines(config_setting_t *group, struct buf *text)
{
	config_setting_t *list = config_setting_add(group, "text", CONFIG_TYPE_LIST);
	char *rest = (char *)(uintptr_t)buf_str(text), *line;

	while (text->len > 0 && (text->data[text->len - 1] == '\n' || text->data[text->len - 1] == '\r'))
		text->data[--text->len] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL) {
		line[strcspn(line, "\r")] = '\0';
		config_setting_set_string_elem(list, -1, line);
	}
}

struct reply_options {
	const char *subject, *from, *until, *file;
	bool off;
};

static int reply_text(const struct reply_options *o, struct buf *text)
{
	struct error e;

	if (file_read(o->file ? o->file : "/dev/stdin", TEXT_BYTES, text, &e) < 0)
		return cli_error("%s", e.text);
	if (text->len == 0 || memchr(text->data, '\0', text->len) != NULL)
		return cli_error("the text is empty, or no text");
	return 0;
}

static int set_reply(struct cli *cli, const char *address, const struct reply_options *o, struct buf *text)
{
	config_setting_t *element, *group;
	struct dropin d;
	int status;

	if (dropin_open(cli, &d) < 0)
		return EXIT_USAGE;
	element = account_own(cli, &d, address, "put auto_reply = { text = \"...\"; }; there", NULL, &status);
	if (element == NULL) {
		dropin_close(&d);
		return status;
	}
	config_setting_remove(element, "auto_reply");
	if (!o->off) {
		group = config_setting_add(element, "auto_reply", CONFIG_TYPE_GROUP);
		set_lines(group, text);
		if (o->subject)
			dropin_set(group, "subject", o->subject);
		if (o->from)
			dropin_set(group, "from", o->from);
		if (o->until)
			dropin_set(group, "until", o->until);
	}
	return commit(cli, &d, o->off ? "auto_reply_off" : "auto_reply", address,
	    o->off ? "answers no more" : "answers by itself");
}

int account_auto_reply(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "subject", required_argument, NULL, 's' },
		{ "from", required_argument, NULL, 'f' }, { "until", required_argument, NULL, 'u' },
		{ "text", required_argument, NULL, 't' }, { "off", no_argument, NULL, 'o' }, { 0 } };
	struct reply_options o = { 0 };
	struct buf text = BUF_INIT(TEXT_BYTES + 1);
	char address[ADDRESS_MAX];
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			o.subject = optarg;
		else if (option == 'f')
			o.from = optarg;
		else if (option == 'u')
			o.until = optarg;
		else if (option == 't')
			o.file = optarg;
		else if (option == 'o')
			o.off = true;
		else
			return cli_usage(&cmd_account);
	}
	if (argc - optind != 2)
		return cli_usage(&cmd_account);
	if (cli_address(argv[optind + 1], address, sizeof(address)) < 0 || (!o.off && reply_text(&o, &text) != 0))
		return EXIT_USAGE;
	status = set_reply(cli, address, &o, &text);
	buf_free(&text);
	return status;
}
