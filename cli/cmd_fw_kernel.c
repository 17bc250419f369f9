/* mailadm fw diff, load: the rules of the site and those in the kernel. */
#include <stdio.h>

#include "cli/cmd_fw.h"
#include "fwgen/kernel.h"

int fw_diff_command(struct cli *cli, int argc, char **argv)
{
	struct buf diff = BUF_INIT(FW_TEXT_MAX);
	struct fw_model *model;
	struct error e;
	int differs;

	if (fw_no_arguments(argc, argv) != EXIT_YES || (model = fw_model_of_cli(cli)) == NULL)
		return EXIT_USAGE;
	differs = fw_kernel_compare(model, &diff, &e);
	if (differs == -1)
		cli_error("%s", e.text);
	else if (cli->json)
		cli_json_print(json_pack("{s:b, s:o}", "same", differs == 0, "diff", fw_lines_json(buf_view(&diff))));
	else
		fwrite(buf_str(&diff), 1, diff.len, stdout);
	fw_model_free(model);
	buf_free(&diff);
	return differs == -1 ? EXIT_USAGE : differs == 0 ? EXIT_YES : EXIT_NO;
}

/* Loading is never refused for them, and they are never touched; but it is said. */
static void warn_of_others(void)
{
	struct fw_other others[FW_OTHERS_MAX];
	struct error e;
	size_t count;

	if (fw_kernel_others(others, FW_OTHERS_MAX, &count, &e) == -1)
		return;
	for (size_t i = 0; i < count; i++)
		if (others[i].conflicts)
			cli_error("warning: %s: %s", others[i].name, others[i].text);
}

int fw_load_command(struct cli *cli, int argc, char **argv)
{
	struct fw_model *model;
	struct error e;
	int result;

	if (fw_no_arguments(argc, argv) != EXIT_YES || (model = fw_model_of_cli(cli)) == NULL)
		return EXIT_USAGE;
	result = fw_kernel_load(model, &e);
	if (result == 0)
		fw_warn_of_notes(model);
	fw_model_free(model);
	if (result == -1)
		return cli_error("%s", e.text);
	warn_of_others();
	if (cli->json)
		cli_json_print(json_pack("{s:s, s:b}", "table", FW_TABLE, "loaded", 1));
	return EXIT_YES;
}
