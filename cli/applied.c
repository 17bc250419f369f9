/* applied.h: options, the question, and the table of generations. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apply/internal.h"
#include "apply/lockout.h"
#include "cli/applied.h"
#include "lib/text.h"

#define CONFIRM_MAX 86400u
#define LOCK_MS 2000
#define DEFAULT_STATE "/var/lib/mailadm"
#define TEXT_MAX (256u << 20)

static int take_confirm(const char *text, unsigned *out)
{
	uint64_t seconds;

	if (text_parse_duration(text, &seconds) < 0 || seconds == 0 || seconds > CONFIRM_MAX) {
		cli_error("--confirm takes a time from 1s to 1d, like 60s");
		return -1;
	}
	*out = (unsigned)seconds;
	return 0;
}

int applied_options(struct cli *cli, const struct command *c, int argc, char **argv, struct apply_options *o)
{
	static const struct option options[] = {
		{ "confirm", required_argument, NULL, 'c' },
		{ "why", required_argument, NULL, 'w' },
		{ "yes", no_argument, NULL, 'y' },
		{ "force-lockout", no_argument, NULL, 'f' },
		{ "list", no_argument, NULL, 'l' },
		{ "recover", no_argument, NULL, 'r' },
		{ "boot", no_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	int ch;

	*o = (struct apply_options){ .why = "" };
	if (cli_wants_help(cli, c, argc, argv))
		return EXIT_YES + 1;
	optind = 0;
	while ((ch = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (ch == 'c' && take_confirm(optarg, &o->confirm) < 0)
			return EXIT_USAGE + 1;
		if (ch == 'w')
			o->why = optarg;
		o->yes = o->yes || ch == 'y';
		o->force_lockout = o->force_lockout || ch == 'f';
		o->list = o->list || ch == 'l';
		o->recover = o->recover || ch == 'r';
		o->boot = o->boot || ch == 'b';
		if (ch == '?')
			return cli_usage(c) + 1;
	}
	if (argc - optind > 1 || ((o->list || o->recover) && argc > optind) || (o->boot && !o->recover))
		return cli_usage(c) + 1;
	o->argument = argv[optind];
	return 0;
}

const char *applied_state_dir(struct cli *cli)
{
	if (cli_site(cli) != NULL)
		return cli->site->state_dir;
	if (strcmp(cli->site_path, SITE_DEFAULT) == 0)
		return DEFAULT_STATE;
	cli_error("without a site that can be read there is no telling where its state is");
	return NULL;
}

static int refuse_pending(struct apply_dir *d)
{
	struct generation g;
	struct error e = { "" };
	enum settle s = apply_settle(d, false, "", &g, &e);
	int r = s == SETTLE_WAITS || s == SETTLE_FAILED ? -1 : 0;

	if (s == SETTLE_WAITS)
		cli_error("generation %u still waits for its confirmation: mailadm confirm keeps it, mailadm rollback "
		          "takes it "
			  "back",
		    g.number);
	else if (s == SETTLE_FAILED || s == SETTLE_TAKEN_BACK)
		cli_error("generation %u: %s", g.number, e.text);
	if (s == SETTLE_TAKEN_BACK)
		apply_tell(d, &g, e.text);
	generation_free(&g);
	return r;
}

int applied_open(struct cli *cli, struct apply_dir *d)
{
	struct error e = { "" };

	if (apply_dir_open(cli->site->state_dir, true, d, &e) < 0 || apply_dir_lock(d, LOCK_MS, &e) != 0)
		cli_error("%s", e.text);
	else if (refuse_pending(d) == 0)
		return 0;
	apply_dir_close(d);
	return -1;
}

static bool agreed(struct cli *cli, const struct apply_options *o)
{
	char line[16];

	if (o->yes || cli->json || !isatty(STDIN_FILENO))
		return true;
	fputs("Do this? [y/N] ", stderr);
	if (fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y'))
		return true;
	cli_error("nothing was changed");
	return false;
}

static void print_plan(const struct plan *p)
{
	struct buf text = BUF_INIT(TEXT_MAX);

	plan_text(p, &text);
	fwrite(text.data, 1, text.len, stdout);
	fflush(stdout);
	buf_free(&text);
}

static void print_result(struct cli *cli, const struct generation *g)
{
	if (cli->json)
		cli_json_print(generation_json(g));
	else if (g->state == GEN_PENDING)
		printf("generation %u waits %u s for `mailadm confirm` from a new connection; otherwise everything "
		       "goes back\n",
		    g->number, g->confirm);
	else
		printf("generation %u is in force\n", g->number);
}

/* What was captured is text for the kernel, which nothing here can decide on: a way back is asked for. */
static int check_captured(
    const struct apply_dir *d, const struct apply_request *q, const struct apply_options *o, struct error *e)
{
	if (!generation_has(d, q->back->number, "captured/firewall/" FIREWALL_CAPTURED) || o->confirm > 0 ||
	    !caller_is_remote(q->caller))
		return 0;
	error_set(e,
	    "the rules from before generation %u might refuse your own ssh connection; add --confirm 60s, or take the "
	    "risk with --force-lockout",
	    q->back->number);
	return 1;
}

/* 0, or an exit status + 1. */
static int check_lockout(const struct apply_dir *d, const struct apply_request *q, const struct apply_options *o)
{
	struct error e = { "" };
	int r;

	if (!part_applies(&part_firewall, q->site, NULL))
		return 0;
	r = q->back != NULL ? check_captured(d, q, o, &e) : lockout_check(q->site, q->caller, &e);
	if (r < 0)
		return cli_error("%s", e.text) + 1;
	if (r > 0 && !o->force_lockout) {
		cli_error("%s", e.text);
		return EXIT_NO + 1;
	}
	if (r > 0)
		fprintf(stderr, "mailadm: warning: %s\n", e.text);
	return 0;
}

int applied_run(
    struct cli *cli, struct apply_dir *d, struct apply_request *q, const struct apply_options *o, struct plan *p)
{
	struct generation g = { .number = 0 };
	struct caller caller;
	struct error e = { "" };
	int r;

	caller_self(&caller);
	q->caller = &caller;
	q->why = o->why;
	q->confirm = o->confirm;
	if (p != NULL && !cli->json)
		print_plan(p);
	if ((r = check_lockout(d, q, o)) != 0)
		return r - 1;
	if (!agreed(cli, o))
		return EXIT_NO;
	r = apply_run(d, q, &g, &e);
	apply_dir_unlock(d); /* the way back must not wait until somebody reads what is printed */
	if (r < 0)
		r = cli_error("%s", e.text);
	else
		print_result(cli, &g);
	generation_free(&g);
	return r;
}

static void add_row(const struct apply_dir *d, struct cli_table *t, unsigned number, unsigned pending)
{
	struct generation g;
	struct error e = { "" };
	char n[16], when[32] = "?", who[256], what[64];
	const char *state;
	struct tm tm;

	snprintf(n, sizeof(n), "%u", number);
	if (generation_load(d, number, &g, &e) < 0) {
		const char *const cells[] = { n, "damaged", "", "", "", e.text };

		if (generation_has(d, number, "meta")) /* without: it never began */
			cli_table_add(t, cells);
		return;
	}
	if (localtime_r(&(time_t){ (time_t)g.when }, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	caller_text(&g.caller, who, sizeof(who));
	snprintf(what, sizeof(what), g.rollback ? "rollback to %u" : "apply", g.target);
	state = generation_state_name(g.state);
	if ((g.state == GEN_APPLYING || g.state == GEN_PENDING) && number != pending)
		state = generation_state_name(GEN_FAILED); /* cut off before its first change */
	const char *const cells[] = { n, state, what, when, who, g.reason[0] != '\0' ? g.reason : g.why };

	cli_table_add(t, cells);
	generation_free(&g);
}

int applied_list(struct cli *cli)
{
	static const char *const columns[] = { "generation", "state", "what", "when", "who", "why", NULL };
	struct apply_dir d = { .lock = -1 };
	struct error e = { "" };
	struct cli_table *t;
	unsigned *numbers = NULL, pending = 0;
	size_t count = 0;
	char *path;
	bool there;

	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	path = site_state(cli->site, "apply");
	there = access(path, F_OK) == 0;
	free(path);
	if (there && (apply_dir_open(cli->site->state_dir, false, &d, &e) < 0 || pending_read(&d, &pending, &e) < 0 ||
			 generations_list(&d, &numbers, &count, &e) < 0)) {
		apply_dir_close(&d);
		return cli_error("%s", e.text);
	}
	t = cli_table_new(cli, columns);
	for (size_t i = 0; i < count; i++)
		add_row(&d, t, numbers[i], pending);
	cli_table_print(t);
	free(numbers);
	apply_dir_close(&d);
	return EXIT_YES;
}
