/* site: what the site says with every default, and what a site can say. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "dropin.h"

#define OUTPUT_MAX (256u << 20)

static int show(struct buf *out, int result)
{
	if (result < 0)
		cli_error("the text is larger than %u bytes", OUTPUT_MAX);
	else
		fwrite(out->data, 1, out->len, stdout);
	buf_free(out);
	return result < 0 ? EXIT_USAGE : EXIT_YES;
}

/* Who may write which file, as comments in front of the site. */
static void put_owners(struct cli *cli, struct buf *out)
{
	for (size_t i = 0; i < cli->site->files.count; i++) {
		const char *file = cli->site->files.at[i];
		buf_printf(out, "# %s: %s\n", file,
		    dropin_owns(cli->site_path, file) ? "mailadm's (account and alias write it)"
						      : "yours (mailadm never writes it)");
	}
}

static int print(struct cli *cli, bool origin)
{
	struct buf out = BUF_INIT(OUTPUT_MAX);
	if (!cli_site(cli))
		return EXIT_USAGE;
	if (origin && !cli->json)
		put_owners(cli, &out);
	return show(&out, cli->json ? site_print_json(cli->site, &out) : site_print(cli->site, origin, &out));
}

static int print_schema(struct cli *cli, bool mdoc)
{
	struct buf out = BUF_INIT(OUTPUT_MAX);
	return show(&out, mdoc ? site_schema_mdoc(&out) : cli->json ? site_schema_json(&out) : site_schema_text(&out));
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "origin", no_argument, NULL, 'o' },
		{ "mdoc", no_argument, NULL, 'm' }, { 0 } };
	bool origin = false, mdoc = false;
	int option;
	if (cli_wants_help(cli, &cmd_site, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return cli_usage(&cmd_site);
		origin = origin || option == 'o';
		mdoc = mdoc || option == 'm';
	}
	if (argc - optind != 1)
		return cli_usage(&cmd_site);
	if (strcmp(argv[optind], "print") == 0 && !mdoc)
		return print(cli, origin);
	if (strcmp(argv[optind], "schema") == 0 && !origin)
		return print_schema(cli, mdoc);
	return cli_usage(&cmd_site);
}

const struct command cmd_site = {
	.name = "site",
	.synopsis = "print [--origin] | schema [--mdoc]",
	.summary = "the whole site with its defaults, or what a site can say",
	.help = "print    the site as it was understood: includes and drop-ins merged, names normalised, every default "
		"written\n"
		"         out; it is a site file itself.  --origin adds where each value stands and whose each file "
	        "is, --json prints\n"
		"         JSON.\n"
		"schema   every key with its type, limits, default and meaning; --json as JSON, --mdoc as in "
		"mailadm-site(5).\n\n"
		"Example: mailadm site print --origin\n",
	.run = run,
};
