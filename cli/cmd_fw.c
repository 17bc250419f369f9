/* mailadm fw: the firewall of the site.  The table of its subcommands; render, and the look of nft at the text. */
#include "cli/cmd_fw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"

struct fw_model *fw_model_of_cli(struct cli *cli)
{
	struct error e;
	struct fw_model *model = NULL;

	if (cli_site(cli) != NULL && (model = fw_model_of(cli->site, &e)) == NULL)
		cli_error("%s", e.text);
	return model;
}

int fw_no_arguments(int argc, char **argv)
{
	return argc == 1 ? EXIT_YES
	                 : cli_error("fw %s takes no '%s'; mailadm fw --help says what there is", argv[0], argv[1]);
}

void fw_warn_of_notes(const struct fw_model *model)
{
	const char *note = fw_model_notes(model);

	for (size_t len; *note != '\0'; note += len + 1) {
		len = strcspn(note, "\n");
		cli_error("warning: %.*s", (int)len, note);
	}
}

json_t *fw_lines_json(struct view text)
{
	json_t *lines = json_array();
	const char *p = text.ptr, *end = text.len ? p + text.len : p;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((newline ? newline : end) - p);
		json_array_append_new(lines, json_stringn(p, len));
		p += len + 1;
	}
	return lines;
}

/* nft -c needs a network namespace of its own to look at: a user namespace gives one to anybody. */
int fw_check_with_tools(struct cli *cli, struct findings *f)
{
	const struct site_origin whole = { cli->site->path, 0 };
	struct buf text = BUF_INIT(FW_TEXT_MAX), out = BUF_INIT(65536), err = BUF_INIT(65536);
	struct error e;
	struct fw_model *model = fw_model_of(cli->site, &e);
	int status = -1;
	char *argv[] = { "unshare", geteuid() == 0 ? "-n" : "-Urn", "nft", "-c", "-f", "-", NULL };

	if (model == NULL)
		findings_add(f, false, &whole, "%s", e.text);
	else if (fw_model_text(model, &text) == -1)
		findings_add(f, false, &whole, "the firewall is larger than %u bytes", FW_TEXT_MAX);
	else if ((status = proc_run(argv, buf_view(&text), &out, &err, &e)) == -1)
		findings_add(f, false, &whole, "cannot run nft: %s; install nftables", e.text);
	else if (status == 127)
		findings_add(f, false, &whole, "nft was not found; install nftables");
	else if (status != 0)
		findings_add(f, false, &whole, "nft refuses the firewall: %s", buf_str(&err));
	fw_model_free(model);
	buf_free(&text);
	buf_free(&out);
	buf_free(&err);
	return status == 0 ? 0 : -1;
}

/* The same site on the other machine. */
static int take_role(struct cli *cli, const char *role)
{
	if (strcmp(role, "host") != 0 && strcmp(role, "gateway") != 0)
		return cli_error("there is no role '%s'; it is host or gateway", role);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	if (strcmp(role, "gateway") == 0 &&
	    (cli->site->gateway.outside[0] == '\0' || cli->site->gateway.inside[0] == '\0'))
		return cli_error(
		    "%s: the site has no gateway; set gateway.outside and gateway.inside", cli->site->path);
	free(cli->site->role); /* nobody else holds this site yet */
	cli->site->role = xstrdup(role);
	return EXIT_YES;
}

static int render(struct cli *cli, int argc, char **argv)
{
	struct buf text = BUF_INIT(FW_TEXT_MAX);
	struct fw_model *model;
	int status = EXIT_YES;

	if (argc == 3 && strcmp(argv[1], "--role") == 0)
		status = take_role(cli, argv[2]);
	else if (argc == 2 && strncmp(argv[1], "--role=", 7) == 0)
		status = take_role(cli, argv[1] + 7);
	else if (argc != 1)
		status = cli_usage(&cmd_fw);
	if (status != EXIT_YES)
		return status;
	if ((model = fw_model_of_cli(cli)) == NULL)
		return EXIT_USAGE;
	if (fw_model_text(model, &text) == -1)
		status = cli_error("the firewall is larger than %u bytes", FW_TEXT_MAX);
	else if (cli->json)
		cli_json_print(json_pack("{s:s, s:s, s:o, s:s#, s:o}", "table", FW_TABLE, "role", cli->site->role,
		    "notes", fw_lines_json(view_of(fw_model_notes(model))), "text", text.data, (int)text.len, "model",
		    fw_model_json(model)));
	else
		fwrite(text.data, 1, text.len, stdout);
	if (status == EXIT_YES)
		fw_warn_of_notes(model);
	fw_model_free(model);
	buf_free(&text);
	return status;
}

static const struct {
	const char *name;
	int (*run)(struct cli *, int argc, char **argv);
} subcommands[] = {
	{ "render", render },
	{ "diff", fw_diff_command },
	{ "load", fw_load_command },
	{ "test", fw_test_command },
	{ "status", fw_status_command },
	{ "ban", fw_bans_command },
	{ "unban", fw_bans_command },
	{ "bans", fw_bans_command },
};

static int run(struct cli *cli, int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
		if (strcmp(argv[1], subcommands[i].name) != 0)
			continue;
		if (subcommands[i].run != fw_bans_command && cli_wants_help(cli, &cmd_fw, argc, argv))
			return EXIT_YES;
		return subcommands[i].run(cli, argc - 1, argv + 1);
	}
	return cli_wants_help(cli, &cmd_fw, argc, argv) ? EXIT_YES : cli_usage(&cmd_fw);
}

const struct command cmd_fw = {
	.name = "fw",
	.synopsis = "render [--role host|gateway] | diff | load | test | status | ban ADDRESS | unban ADDRESS | bans",
	.summary = "the firewall: render, compare, load and try it, and bans",
	.help = "All of it is table inet " FW_TABLE "; no other table is touched.\n"
		"\n"
		"render prints the rules for `nft -f`, which replaces them in one transaction and keeps the bans. "
		"--role gateway\n"
		"prints those of the machine in front; --json adds the model.\n"
		"diff compares what the kernel has with the site: '-' is only in the kernel, '+' only in the site. "
		"Exit status 1\n"
		"when they differ.\n"
		"load puts the site's rules into the kernel, all or nothing, and warns of others' rules that drop what "
		"these accept.\n"
		"test tries firewall.tests with packets in scratch network namespaces. Exit status 1 when one fails; "
		"the line\n"
		"names the rule that decided.\n"
		"status says whether the rules are loaded and as the site says (else exit status 1), the bans, the "
		"counters, and who\n"
		"else has rules on this machine.\n"
		"ban, unban and bans: see mailadm fw ban --help.\n"
		"\n"
		"Examples: mailadm fw render | nft -c -f -     nft looks at the rules without loading them\n"
		"          mailadm fw test && mailadm fw load\n"
		"          mailadm fw render --role gateway | ssh gateway nft -f -\n",
	.run = run,
};
