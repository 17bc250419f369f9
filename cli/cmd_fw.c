/* mailadm fw: the firewall as nft text. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "fwgen/fwgen.h"
#include "lib/proc.h"

#define FW_TEXT_MAX (16u << 20)

static int render(const struct site *site, struct buf *out)
{
	struct error e;
	struct fw_model *model = fw_model_of(site, &e);
	int result = model != NULL ? fw_model_text(model, out) : -1;
	fw_model_free(model);
	return result;
}

/* nft -c needs a network namespace of its own to look at: a user namespace gives one to anybody. */
int fw_check_with_tools(struct cli *cli, struct findings *f)
{
	const struct site_origin whole = { cli->site->path, 0 };
	struct buf text = BUF_INIT(FW_TEXT_MAX), out = BUF_INIT(65536), err = BUF_INIT(65536);
	struct error e;
	int status = -1;
	char *argv[] = { "unshare", geteuid() == 0 ? "-n" : "-Urn", "nft", "-c", "-f", "-", NULL };
	if (render(cli->site, &text) == -1)
		findings_add(f, false, &whole, "the firewall is larger than %u bytes", FW_TEXT_MAX);
	else if ((status = proc_run(argv, buf_view(&text), &out, &err, &e)) == -1)
		findings_add(f, false, &whole, "cannot run nft: %s; install nftables", e.text);
	else if (status == 127)
		findings_add(f, false, &whole, "nft was not found; install nftables");
	else if (status != 0)
		findings_add(f, false, &whole, "nft refuses the firewall: %s", buf_str(&err));
	buf_free(&text);
	buf_free(&out);
	buf_free(&err);
	return status == 0 ? 0 : -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	if (cli_wants_help(cli, &cmd_fw, argc, argv))
		return EXIT_YES;
	if (argc != 2 || strcmp(argv[1], "render") != 0)
		return cli_usage(&cmd_fw);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	struct buf text = BUF_INIT(FW_TEXT_MAX);
	if (render(cli->site, &text) == -1) {
		buf_free(&text);
		return cli_error("the firewall is larger than %u bytes", FW_TEXT_MAX);
	}
	if (cli->json)
		cli_json_print(json_pack("{s:s, s:s}", "table", FW_TABLE, "text", buf_str(&text)));
	else
		fwrite(text.data, 1, text.len, stdout);
	buf_free(&text);
	return EXIT_YES;
}

const struct command cmd_fw = {
	.name = "fw",
	.synopsis = "render",
	.summary = "the host's firewall, as nft text",
	.help = "render prints a ruleset for `nft -f`. It replaces table inet " FW_TABLE " in one transaction and touches no other.\n\n"
		"example:\n"
		"  mailadm fw render | nft -c -f -     look at it without loading it\n"
		"  mailadm fw render | nft -f -        load it\n",
	.run = run,
};
