/*
 * mailadm: global options, then one subcommand out of a table.  Called as sendmail, newaliases or mailq it is that
 * program.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "apply/apply.h"
#include "cli.h"
#include "lib/text.h"

const struct command *const commands[] = {
	&cmd_init,
	&cmd_check,
	&cmd_site,
	&cmd_plan,
	&cmd_apply,
	&cmd_confirm,
	&cmd_rollback,
	&cmd_serve,
	&cmd_reload,
	&cmd_status,
	&cmd_doctor,
	&cmd_account,
	&cmd_alias,
	&cmd_client,
	&cmd_queue,
	&cmd_log,
	&cmd_explain,
	&cmd_replay,
	&cmd_send,
	&cmd_report,
	&cmd_fw,
	&cmd_dns,
	&cmd_backup,
	&cmd_store,
	&cmd_import,
	&cmd_export,
	&cmd_sendmail,
	&cmd_mailq,
	NULL,
};


int cli_error(const char *fmt, ...)
{
	va_list ap;
	fputs("mailadm: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

static void print_usage(FILE *out, const struct command *c)
{
	fprintf(out, "usage: mailadm [-c FILE] [--json] %s%s%s\n", c->name, c->synopsis[0] ? " " : "", c->synopsis);
}

int cli_usage(const struct command *c)
{
	print_usage(stderr, c);
	fprintf(stderr, "mailadm %s --help says more\n", c->name);
	return EXIT_USAGE;
}

bool cli_wants_help(struct cli *cli, const struct command *c, int argc, char **argv)
{
	(void)cli;
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		print_usage(stdout, c);
		printf("%s\n\n%s", c->summary, c->help);
		if (c->help[0] && c->help[strlen(c->help) - 1] != '\n')
			putchar('\n');
		return true;
	}
	return false;
}

struct site *cli_site(struct cli *cli)
{
	if (cli->site)
		return cli->site;
	struct findings f = { 0 };
	cli->site = site_load(cli->site_path, &f);
	for (size_t i = 0; i < f.count; i++)
		if (!f.at[i].warning)
			fprintf(stderr, "%s\n", f.at[i].text);
	findings_free(&f);
	if (cli->site && !cli->settles)
		apply_settle_due(cli->site->state_dir); /* an apply that was left behind */
	return cli->site;
}

/* One line of fd 0, byte by byte so that nothing behind it is taken. */
static int read_line(char *out, size_t size)
{
	size_t len = 0;
	char c;
	for (;;) {
		ssize_t n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (n == 0 && len == 0))
			return -1;
		if (n == 0 || c == '\n')
			break;
		if (len + 1 >= size || c == 0)
			return -1;
		out[len++] = c;
	}
	if (len && out[len - 1] == '\r')
		len--;
	out[len] = 0;
	return 0;
}

static int ask(const char *prompt, char *out, size_t size)
{
	struct termios old, quiet;
	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return -1;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
		return -1;
	fprintf(stderr, "%s: ", prompt); /* after the flush, which would take an answer that comes at once */
	int result = read_line(out, size);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return result;
}

int cli_read_password(const char *prompt, bool twice, char *out, size_t size)
{
	if (!isatty(STDIN_FILENO))
		return read_line(out, size);
	if (ask(prompt, out, size) < 0)
		return -1;
	if (!twice)
		return 0;
	char *again = xmalloc(size);
	int result = ask("The same again", again, size);
	if (result == 0 && strcmp(again, out) != 0) {
		cli_error("the two are not the same; nothing was changed");
		result = -1;
	}
	explicit_bzero(again, size);
	free(again);
	return result;
}

/* ---- the command line */

static int print_help(FILE *out)
{
	fputs("usage: mailadm [-c FILE] [--json] COMMAND ...\n"
	      "One file describes a mail host; mailadm checks it, runs it and looks after it.\n\n",
	    out);
	for (size_t i = 0; commands[i]; i++)
		fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n  -c FILE    the site file (" SITE_DEFAULT ")\n"
	      "  --json     results as JSON\n"
	      "  --help     this list, or with a command what it does; see also mailadm(8)\n"
	      "  --version  the version\n",
	    out);
	return out == stdout ? EXIT_YES : EXIT_USAGE;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *best = NULL;
	unsigned least = 3;
	for (size_t i = 0; commands[i]; i++) {
		unsigned d = text_distance(commands[i]->name, name, 3);
		if (d < least) {
			least = d;
			best = commands[i]->name;
		}
	}
	if (best)
		return cli_error("there is no command '%s'; did you mean '%s'?", name, best);
	return cli_error("there is no command '%s'; mailadm --help lists them", name);
}

/* Takes --json out of a command's arguments, up to "--". */
static int take_json(struct cli *cli, int argc, char **argv)
{
	int kept = 1;
	bool options = true;
	for (int i = 1; i < argc; i++) {
		options = options && strcmp(argv[i], "--") != 0;
		if (options && strcmp(argv[i], "--json") == 0)
			cli->json = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static int run(struct cli *cli, const struct command *c, int argc, char **argv)
{
	if (c != &cmd_sendmail) /* its options are sendmail's */
		argc = take_json(cli, argc, argv);
	int status = c->run(cli, argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		int broken = errno == EPIPE;
		status =
		    status == EXIT_YES && !broken ? cli_error("cannot write the result: %s", strerror(errno)) : status;
	}
	site_unref(cli->site);
	return status;
}

/* 0: go on at argv[*at]; else an exit status + 1. */
static int global_options(struct cli *cli, int argc, char **argv, int *at)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--json") == 0)
			cli->json = true;
		else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return print_help(stdout) + 1;
		else if (strcmp(argv[i], "--version") == 0)
			return printf("mailadm " MAILADM_VERSION "\n") < 0 ? EXIT_USAGE + 1 : EXIT_YES + 1;
		else if (strncmp(argv[i], "-c", 2) == 0 && argv[i][2])
			cli->site_path = argv[i] + 2;
		else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc)
			cli->site_path = argv[++i];
		else if (strcmp(argv[i], "-c") == 0)
			return cli_error("-c needs the path of a site file") + 1;
		else
			return cli_error(
				   "there is no option %s before the command; mailadm --help lists them", argv[i]) +
			       1;
	}
	*at = i;
	return 0;
}

int main(int argc, char **argv)
{
	struct cli cli = { .site_path = SITE_DEFAULT, .tty = isatty(STDOUT_FILENO) };
	log_init("mailadm", LOG_LEVEL_WARN);
	if (!setlocale(LC_ALL, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
	if (strcmp(program, "sendmail") == 0)
		return run(&cli, &cmd_sendmail, argc, argv);
	if (strcmp(program, "mailq") == 0)
		return run(&cli, &cmd_mailq, argc, argv);
	if (strcmp(program, "newaliases") == 0)
		return EXIT_YES; /* aliases stand in the site; there is no database to make */
	int at = 0, status = global_options(&cli, argc, argv, &at);
	if (status)
		return status - 1;
	if (at >= argc)
		return print_help(stderr);
	const struct command *c = find_command(argv[at]);
	return c ? run(&cli, c, argc - at, argv + at) : unknown_command(argv[at]);
}
