/* rollback: takes back what waits for a confirmation, or returns to an earlier generation as a new one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/internal.h"
#include "cli/applied.h"
#include "lib/proc.h"

#define LOCK_MS 10000
#define NUMBER_MAX 1000000000u

/* What waits: 1 taken back, 0 nothing was there, -1 with a message printed. */
static int take_back_pending(struct cli *cli, struct apply_dir *d)
{
	struct generation g;
	struct error e = { "" };
	enum settle s = apply_settle(d, true, "mailadm rollback", &g, &e);
	int r = s == SETTLE_TAKEN_BACK ? 1 : s == SETTLE_FAILED ? -1 : 0;

	if (r < 0)
		cli_error("%s", e.text);
	else if (r > 0 && cli->json)
		cli_json_print(generation_json(&g));
	else if (r > 0)
		printf("generation %u is taken back\n", g.number);
	generation_free(&g);
	return r;
}

/* The generation before the one in force: the newest confirmed apply below it; 0 when there is none. */
static int find_before(const struct apply_dir *d, unsigned *out, struct error *e)
{
	unsigned *numbers, in_force = 0;
	size_t count;
	int r = generations_list(d, &numbers, &count, e);
	bool found = false;

	*out = 0;
	for (size_t i = count; r == 0 && i > 0 && !found; i--) {
		struct generation g;

		if (generation_load(d, numbers[i - 1], &g, e) < 0)
			continue;
		if (g.state == GEN_CONFIRMED && in_force == 0) {
			in_force = g.rollback ? g.target : g.number;
			found = in_force == 0;
		} else if (g.state == GEN_CONFIRMED && !g.rollback && g.number < in_force) {
			*out = g.number;
			found = true;
		}
		generation_free(&g);
	}
	free(numbers);
	if (r == 0 && in_force == 0)
		r = error_set(e, "there is no generation to go back from; mailadm rollback --list shows them");
	return r;
}

/* The first generation that was kept, with what a start served before it. */
static int load_first(struct apply_dir *d, struct generation *first, struct buf *previous, struct error *e)
{
	unsigned *numbers;
	size_t count;
	int r = generations_list(d, &numbers, &count, e);

	if (r == 0 && (count == 0 || numbers[0] != 1))
		r = error_set(e,
		    count == 0 ? "there was no apply yet" : "generation 1 is gone: only the last %d are kept",
		    GENERATIONS_KEPT);
	for (size_t i = 0; r == 0 && i < count && first->state != GEN_CONFIRMED; i++) {
		generation_free(first);
		r = generation_load(d, numbers[i], first, e);
	}
	free(numbers);
	if (r == 0 && first->state != GEN_CONFIRMED)
		r = error_set(e, "no apply was ever confirmed: there is nothing to go back from");
	if (r == 0 && generation_has(d, first->number, "previous.conf")) {
		char *path = generation_file(d, first->number, "previous.conf");

		r = generation_verify(d, first, "previous.conf", e) < 0 ? -1
		                                                        : file_read(path, SITE_TEXT_MAX, previous, e);
		free(path);
	}
	return r;
}

/* To before the first apply: what it captured comes back. */
static int to_before_all(struct cli *cli, struct apply_dir *d, const struct apply_options *o)
{
	struct generation first = { .number = 0 };
	struct buf flat = BUF_INIT(SITE_TEXT_MAX), previous = BUF_INIT(SITE_TEXT_MAX);
	struct error e = { "" };
	struct site *site = NULL;
	int r = load_first(d, &first, &previous, &e);

	if (r == 0 && ((site = generation_site(d, &first, "site.conf", &e)) == NULL || site_flatten(site, &flat) < 0))
		r = -1;
	if (r < 0) {
		r = cli_error("%s", e.text);
	} else {
		struct apply_request q = { .site = site,
			.flat = buf_view(&flat),
			.back = &first,
			.rollback = true,
			.serve = buf_view(&previous),
			.checksum = "" };

		if (!cli->json)
			printf("everything as it was before generation %u\n", first.number);
		r = applied_run(cli, d, &q, o, NULL);
	}
	site_unref(site);
	generation_free(&first);
	buf_free(&flat);
	buf_free(&previous);
	return r;
}

static int to_generation(struct cli *cli, struct apply_dir *d, unsigned number, const struct apply_options *o)
{
	struct generation g;
	struct error e = { "" };
	struct site *site;
	struct plan p;
	int r;

	if (generation_load(d, number, &g, &e) < 0)
		return cli_error("%s; mailadm rollback --list shows what there is", e.text);
	if (g.state != GEN_CONFIRMED || g.rollback) {
		r = cli_error("generation %u is %s%s and was never in force by itself; choose another", number,
		    generation_state_name(g.state), g.rollback ? ", a rollback" : "");
		generation_free(&g);
		return r;
	}
	site = generation_site(d, &g, "site.conf", &e);
	r = site == NULL || kept_use(d, &g, site, &e) < 0 || plan_make(site, &p, &e) < 0 ? -1 : 0;
	generation_free(&g);
	if (r < 0) {
		site_unref(site);
		return cli_error("%s", e.text);
	}
	struct apply_request q = { .site = site,
		.flat = buf_view(&p.flat),
		.rollback = true,
		.target = number,
		.serve = buf_view(&p.flat),
		.checksum = p.checksum };
	r = applied_run(cli, d, &q, o, &p);
	plan_free(&p);
	site_unref(site);
	return r;
}

static int go_back(struct cli *cli, struct apply_dir *d, const struct apply_options *o)
{
	struct error e = { "" };
	uint64_t number = 0;
	unsigned before;
	int r = take_back_pending(cli, d);

	if (r < 0)
		return EXIT_USAGE;
	if (o->argument == NULL && r > 0)
		return EXIT_YES;
	if (o->argument != NULL) {
		if (view_u64(view_of(o->argument), NUMBER_MAX, &number) < 0)
			return cli_error("%s is no generation; mailadm rollback --list shows them", o->argument);
	} else if (find_before(d, &before, &e) < 0) {
		return cli_error("%s", e.text);
	} else {
		number = before;
	}
	return number == 0 ? to_before_all(cli, d, o) : to_generation(cli, d, (unsigned)number, o);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct apply_options o;
	struct apply_dir d = { .lock = -1 };
	struct error e = { "" };
	int r = applied_options(cli, &cmd_rollback, argc, argv, &o);

	if (r != 0)
		return r - 1;
	if (o.recover)
		return cli_usage(&cmd_rollback);
	if (o.list)
		return applied_list(cli);
	cli->settles = true;
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	if (apply_dir_open(cli->site->state_dir, true, &d, &e) < 0 || apply_dir_lock(&d, LOCK_MS, &e) != 0)
		r = cli_error("%s", e.text);
	else
		r = go_back(cli, &d, &o);
	apply_dir_close(&d);
	return r;
}

const struct command cmd_rollback = {
	.name = "rollback",
	.synopsis = "[N] [--confirm TIME] [--why TEXT] [--yes] [--force-lockout] | --list",
	.summary = "go back to an earlier generation",
	.help = "Without a number: takes back what waits for its confirmation; else goes to the generation before the "
	        "one in force.\n"
		"N: to that generation's site; 0: to what was there before the first.  It is a new generation itself, "
	        "so that it can "
		"be\n"
		"confirmed and taken back like any other.  Includes and block lists of the firewall come back as they "
	        "were then;\n"
		"certificates are read as they are now.  From then on the host serves that site, also after a restart, and not the site file: "
	        "correct the file, then\n"
		"mailadm apply.\n"
		"\n"
		"  --confirm, --why, --yes, --force-lockout  as in mailadm apply --help\n"
		"  --list  all generations: who, when, why\n"
		"\n"
		"Examples: mailadm rollback --list\n"
		"          mailadm rollback 12 --confirm 60s\n",
	.run = run,
};
