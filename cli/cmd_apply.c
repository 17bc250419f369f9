/* apply: makes the live host what the site says; and, for the boot unit and itself, --recover and --watchdog. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/applied.h"

#define LOCK_MS 30000

static bool is_held(const struct apply_dir *d)
{
	char *path = apply_file(d, "serving");
	bool held = access(path, F_OK) == 0;

	free(path);
	return held;
}

/* Nothing differs: at most a start would serve another site than the file's. */
static int nothing(struct cli *cli, struct apply_dir *d)
{
	struct error e = { "" };
	bool held = is_held(d);

	if (held && serving_remove(d, &e) < 0)
		return cli_error("%s", e.text);
	if (cli->json)
		cli_json_print(json_pack("{s:b}", "changed", false));
	else
		puts(held ? "no change, and a start serves the site file again" : "no change");
	return EXIT_YES;
}

static int apply(struct cli *cli, struct apply_dir *d, const struct apply_options *o, struct plan *p)
{
	struct apply_request q = { .site = cli->site, .flat = buf_view(&p->flat), .checksum = p->checksum };
	char wanted[DIGEST_HEX];
	struct error e = { "" };

	if (o->argument != NULL && plan_file_read(o->argument, cli->site, wanted, &e) < 0)
		return cli_error("%s", e.text);
	if (o->argument != NULL && strcmp(wanted, p->checksum) != 0) {
		cli_error("%s: the live host or the site has moved on since this plan was made; look at a new one: "
		          "mailadm plan "
			  "--out %s",
		    o->argument, o->argument);
		return EXIT_NO;
	}
	return p->changes.count == 0 ? nothing(cli, d) : applied_run(cli, d, &q, o, p);
}

/* At boot, before the firewall is loaded: whatever was left behind comes to its end. */
static int recover(struct cli *cli, bool boot)
{
	const char *state_dir = applied_state_dir(cli);
	char *path = state_dir != NULL ? xasprintf("%s/apply/pending", state_dir) : NULL;
	bool there = path != NULL && access(path, F_OK) == 0;
	struct apply_dir d = { .lock = -1 };
	struct generation g = { .number = 0 };
	struct error e = { "" };
	enum settle s = SETTLE_NOTHING;

	free(path);
	if (state_dir == NULL)
		return EXIT_USAGE;
	if (!there)
		return EXIT_YES;
	if (apply_dir_open(state_dir, false, &d, &e) < 0 || apply_dir_lock(&d, LOCK_MS, &e) != 0)
		s = SETTLE_FAILED;
	else
		s = apply_settle(&d, boot, "the machine was started anew before it was confirmed", &g, &e);
	apply_dir_unlock(&d);
	if (s == SETTLE_TAKEN_BACK && !boot) /* at boot there is no network yet; mailadm status tells later */
		apply_tell(&d, &g, e.text);
	if (s == SETTLE_TAKEN_BACK || s == SETTLE_FAILED)
		fprintf(stderr, "mailadm: generation %u: %s\n", g.number, e.text);
	generation_free(&g);
	apply_dir_close(&d);
	return s == SETTLE_FAILED ? EXIT_USAGE : EXIT_YES;
}

static int watch(char **argv)
{
	uint64_t number;

	if (view_u64(view_of(argv[1]), UINT32_MAX, &number) < 0)
		return EXIT_USAGE;
	return watchdog_main(argv[0], (unsigned)number, argv[2]);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct apply_options o;
	struct apply_dir d;
	struct plan p;
	struct error e = { "" };
	int r;

	if (argc == 5 && strcmp(argv[1], "--watchdog") == 0)
		return watch(argv + 2);
	if ((r = applied_options(cli, &cmd_apply, argc, argv, &o)) != 0)
		return r - 1;
	cli->settles = o.recover;
	if (o.recover)
		return recover(cli, o.boot);
	if (o.list)
		return applied_list(cli);
	if (cli_site(cli) == NULL || applied_open(cli, &d) < 0)
		return EXIT_USAGE;
	if (plan_make(cli->site, &p, &e) < 0) {
		apply_dir_close(&d);
		return cli_error("%s", e.text);
	}
	r = apply(cli, &d, &o, &p);
	plan_free(&p);
	apply_dir_close(&d);
	return r;
}

const struct command cmd_apply = {
	.name = "apply",
	.synopsis = "[PLANFILE] [--confirm TIME] [--why TEXT] [--yes] [--force-lockout] | --list | --recover [--boot]",
	.summary = "make the live host what the site says",
	.help =
	    "Shows the plan, asks on a terminal, keeps the live state on disk, then changes part by part: keys, zones, "
	    "the "
	    "running\n"
	    "host, firewall, timers.  A failure half-way puts back what was done.  Every apply is a generation that "
	    "`mailadm "
	    "rollback`\n"
	    "can return to.\n"
	    "\n"
	    "  PLANFILE         of `mailadm plan --out`: refuses when the live host has moved on since\n"
	    "  --confirm TIME   everything goes back after TIME (60s, 5m) unless `mailadm confirm` comes from a new "
	    "connection,\n"
	    "                   also when mailadm is killed or the machine starts anew meanwhile\n"
	    "  --why TEXT       kept with the generation\n"
	    "  --yes            do not ask\n"
	    "  --force-lockout  also when the new firewall would refuse your own ssh connection\n"
	    "  --list           all generations: who, when, why\n"
	    "  --recover        bring what was left behind to its end; with --boot also what still waits\n"
	    "\n"
	    "Exit status 0: done, or no change; 1: refused (lock-out, an old plan, the answer no); 2: it failed, and "
	    "all is as it "
	    "was.\n"
	    "\n"
	    "Examples: mailadm apply --confirm 60s --why 'open sieve'\n"
	    "          mailadm plan --out plan.json; mailadm apply plan.json\n",
	.run = run,
};
