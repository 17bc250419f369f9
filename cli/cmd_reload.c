/* reload: the running host reads its site, certificate, keys and credentials anew, and every role has them when this
 * returns. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "mailsvc/control.h"

static int print_json(bool ok, struct buf *text)
{
	json_t *messages = json_array(), *top;
	char *rest = (char *)(uintptr_t)buf_str(text), *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (line[0] != '\0')
			json_array_append_new(messages, json_string(line));
	}
	top = json_pack("{s:b, s:o}", "reloaded", ok, "messages", messages);
	cli_json_print(top);
	return ok ? EXIT_YES : EXIT_NO;
}

/* Asks over a connection, which it closes, and prints what came of it. */
static int reload(struct cli *cli, int fd, bool quiet)
{
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX);
	struct error e = { "" };
	int r = control_ask(fd, CONTROL_RELOAD, CONTROL_RELOAD_TIMEOUT_MS, &text, NULL, &e);

	close(fd);
	if (r < 0) {
		r = cli_error("%s", e.text);
	} else if (cli->json && !quiet) {
		r = print_json(r == 0, &text);
	} else {
		if (r == 1 || !quiet)
			fputs(buf_str(&text), stderr);
		if (r == 1)
			cli_error("the new site was refused; the host goes on with the old one");
		else if (cli->tty && !quiet)
			puts("reloaded");
		r = r == 1 ? EXIT_NO : EXIT_YES;
	}
	buf_free(&text);
	return r;
}

int cli_reload_if_running(struct cli *cli)
{
	struct error e = { "" };
	const struct site *site = cli_site(cli);
	int fd = site != NULL ? control_connect(site, &e) : -1;

	if (fd == -2)
		return EXIT_YES;
	if (site == NULL)
		return EXIT_USAGE;
	return fd < 0 ? cli_error("the change is made, but the running host was not told: %s", e.text)
	              : reload(cli, fd, true);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct error e = { "" };
	int fd;

	if (cli_wants_help(cli, &cmd_reload, argc, argv))
		return EXIT_YES;
	if (argc > 1)
		return cli_usage(&cmd_reload);
	fd = cli_control(cli, &e);
	return fd < 0 ? cli_error("%s", e.text) : reload(cli, fd, false);
}

const struct command cmd_reload = {
	.name = "reload",
	.synopsis = "",
	.summary = "make the running host read its site anew",
	.help = "The running host loads the site, certificate, keys and credentials; connections stay.  When the site "
		"has an error\n"
		"nothing changes: the errors are printed and the exit status is 1.  Returns when every role has the "
		"new state.\n"
		"\n"
		"Example: mailadm reload\n",
	.run = run,
};
