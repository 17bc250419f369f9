/*
 * mailadm send --test: what sending to an address would do, step by step, without sending.  The send role's own code
 * does it, beside a resolver and, for MTA-STS, the fetch role, all in processes without rights; here is what they
 * found, told.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/rig.h"
#include "lib/proc.h"
#include "mailsvc/policy/name.h"
#include "mailsvc/send/probe.h"
#include "site/address.h"
#include "site/route.h"

#define STEP_MAX 65536
#define QUIT_MS 50 /* for QUIT to leave */

struct test {
	struct cli *cli;
	const char *sender;
	char recipient[ADDRESS_MAX], domain[ADDRESS_MAX];
	int out; /* the prober's */
	struct event_base *base;
	json_t *steps;
	bool taken;
};

/* The prober: a line of JSON a step ----------------------------------------------------------------------------- */

static void write_line(int fd, json_t *o)
{
	struct buf line = BUF_INIT(STEP_MAX);
	char *dump = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);

	buf_puts(&line, dump != NULL ? dump : "{}");
	buf_puts(&line, "\n");
	if (file_write_all(fd, buf_view(&line)) == -1)
		_exit(1);
	buf_free(&line);
	free(dump);
	json_decref(o);
}

static void on_step(void *arg, const struct probe_step *s)
{
	static const char *const words[] = { [PROBE_OK] = "ok", [PROBE_NOTE] = "note", [PROBE_FAILED] = "failed" };
	const struct test *t = arg;

	write_line(t->out, json_pack("{s:o, s:s, s:s, s:i, s:o, s:o}", "host", cli_json_text(s->host), "step", s->step,
			       "result", words[s->result], "ms", (int)s->ms, "text", cli_json_text(s->text), "meaning",
			       cli_json_text(s->meaning)));
}

static void on_quit(evutil_socket_t fd, short what, void *arg)
{
	const struct test *t = arg;

	(void)fd, (void)what;
	write_line(t->out, json_pack("{s:b}", "taken", t->taken));
	_exit(0);
}

static void on_done(void *arg, bool taken)
{
	struct test *t = arg;
	const struct timeval tv = { 0, QUIT_MS * 1000 };

	t->taken = taken;
	event_base_once(t->base, -1, EV_TIMEOUT, on_quit, t, &tv);
}

static void probe(struct role_ctx *ctx, int out, int log, void *arg)
{
	static const struct probe_ops ops = { on_step, on_done };
	struct test *t = arg;

	(void)log;
	t->out = out;
	t->base = ctx->base;
	probe_start(ctx->state, t->sender, t->recipient, t->domain, &ops, t);
}

/* The command's side -------------------------------------------------------------------------------------------- */

static int start(struct rig *rig, struct test *t, int out, struct error *e)
{
	struct site *site = t->cli->site;
	const enum role_id askers[] = { ROLE_SEND, ROLE_FETCH };
	struct rig_part fetch = { .role = &role_fetch, .site = site, .srs = -1, .secrets = -1, .out = -1, .log = -1 };
	struct rig_part send = {
		.role = &role_send, .site = site, .srs = -1, .out = out, .log = -1, .run = probe, .arg = t
	};
	int dns[2], pair[2];

	send.secrets = rig_state_file(site, "secrets");
	if (rig_resolver(rig, site, askers, dns, 2, e) == -1)
		return -1;
	if (imsg_pair(pair) == -1)
		return error_errno(e, "socketpair");
	send.channels[send.channel_count++] = (struct rig_channel){ ROLE_RESOLVER, dns[0] };
	send.channels[send.channel_count++] = (struct rig_channel){ ROLE_FETCH, pair[0] };
	fetch.channels[fetch.channel_count++] = (struct rig_channel){ ROLE_RESOLVER, dns[1] };
	fetch.channels[fetch.channel_count++] = (struct rig_channel){ ROLE_SEND, pair[1] };
	if (rig_start(rig, &send, e) == -1)
		return -1;
	return rig_start(rig, &fetch, e);
}

/* 0, or -1 when the prober ended without a result. */
static int follow(struct test *t, FILE *in)
{
	bool progress = isatty(STDERR_FILENO) && !t->cli->json, done = false;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while (!done && (n = getline(&line, &size, in)) > 0 && n < STEP_MAX) {
		json_t *o = json_loadb(line, (size_t)n, 0, NULL);

		if (json_object_get(o, "taken") != NULL) {
			t->taken = json_is_true(json_object_get(o, "taken"));
			done = true;
		} else if (o != NULL) {
			char doing[600];

			policy_say(doing, sizeof(doing), "%s %s", cli_json_get(o, "host"), cli_json_get(o, "step"));
			if (progress)
				fprintf(stderr, "\r\033[K%s", doing);
			json_array_append(t->steps, o);
		}
		json_decref(o);
	}
	if (progress)
		fputs("\r\033[K", stderr);
	free(line);
	return done ? 0 : -1;
}

static void print(struct test *t)
{
	static const char *const columns[] = { "host", "step", "result", "ms", "found", "meaning", NULL };
	struct cli_table *table = cli_table_new(t->cli, columns);
	const json_t *o;
	size_t i;

	json_array_foreach(t->steps, i, o)
	{
		char ms[16];
		const char *cells[] = { cli_json_get(o, "host"), cli_json_get(o, "step"), cli_json_get(o, "result"), ms,
			cli_json_get(o, "text"), cli_json_get(o, "meaning") };

		snprintf(ms, sizeof(ms), "%d", (int)json_integer_value(json_object_get(o, "ms")));
		cli_table_add(table, cells);
	}
	cli_table_print(table);
	printf("%s %s\n", t->recipient, t->taken ? "would be taken" : "would not be taken now");
}

static int tell(struct test *t)
{
	if (t->cli->json)
		cli_json_print(json_pack("{s:s, s:s, s:b, s:O}", "recipient", t->recipient, "sender", t->sender,
		    "taken", t->taken, "steps", t->steps));
	else
		print(t);
	return t->taken ? EXIT_YES : EXIT_NO;
}

static int try_hosts(struct test *t)
{
	struct rig rig;
	struct error e = { "" };
	int out[2], rc = EXIT_USAGE;
	FILE *in;

	if (pipe2(out, O_CLOEXEC) == -1 || rig_open(&rig, &e) == -1)
		return cli_error("cannot begin: %s", e.text);
	in = fdopen(out[0], "r");
	if (in == NULL || start(&rig, t, out[1], &e) == -1)
		cli_error("%s", e.text);
	else if (follow(t, in) == -1)
		cli_error("the process that tries it ended");
	else
		rc = tell(t);
	rig_close(&rig);
	if (in != NULL)
		fclose(in);
	return rc;
}

/* What stays here needs no host. */
static void add_own_step(struct test *t, bool ok, const char *found)
{
	json_array_append_new(t->steps,
	    json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "host", "", "step", "address", "result", ok ? "ok" : "failed",
		"ms", 0, "text", found, "meaning", ok ? "" : "mail for it is refused here"));
}

/* Where the site leads it: 1 it leaves for t->recipient; 0 it ends here. */
static int leads_out(struct test *t, const char *address)
{
	struct buf found = BUF_INIT(STEP_MAX / 2);
	const struct route_target *first = NULL;
	struct route r;

	route_resolve(t->cli->site, view_of(address), &r);
	for (size_t i = 0; i < r.count; i++) {
		const struct route_target *target = &r.targets[i];

		if (target->account == NULL && first == NULL)
			first = target;
		buf_printf(&found, "%s%s%s", found.len > 0 ? ", " : "leads to ",
		    target->account != NULL ? target->account->address : target->address,
		    target->account != NULL ? " (here)" : "");
	}
	t->taken = r.status == ROUTE_OK && r.count > 0 && first == NULL;
	if (r.status == ROUTE_UNKNOWN || r.status == ROUTE_CLOSED)
		add_own_step(t, false,
		    r.status == ROUTE_CLOSED ? "the account is closed"
					     : "the domain is ours, and nobody there has this address");
	else if (r.status == ROUTE_OK)
		add_own_step(t, true, buf_str(&found));
	if (first != NULL)
		view_copy(view_of(first->address), t->recipient, sizeof(t->recipient));
	buf_free(&found);
	route_free(&r);
	return first != NULL;
}

static int test(struct test *t, const char *address)
{
	struct address a;
	int rc;

	if (address_parse(view_of(address), &a) == -1 ||
	    view_copy(view_of(address), t->recipient, sizeof(t->recipient)) == -1)
		return cli_error("%s is no mail address", address);
	if (t->sender[0] != '\0' && address_parse(view_of(t->sender), &a) == -1)
		return cli_error("%s is no mail address", t->sender);
	t->steps = json_array();
	if (!leads_out(t, address)) {
		rc = tell(t);
	} else if (address_parse(view_of(t->recipient), &a) == -1 ||
		   (a.literal ? view_copy(a.domain, t->domain, sizeof(t->domain))
			      : domain_normalise(a.domain, t->domain, sizeof(t->domain))) == -1) {
		rc = cli_error("%s is no mail address", t->recipient);
	} else {
		rc = try_hosts(t);
	}
	json_decref(t->steps);
	return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "test", required_argument, NULL, 't' },
		{ "from", required_argument, NULL, 'f' }, { NULL, 0, NULL, 0 } };
	struct test t = { .cli = cli };
	const char *address = NULL;
	int option;

	if (cli_wants_help(cli, &cmd_send, argc, argv))
		return EXIT_YES;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			address = optarg;
		else if (option == 'f')
			t.sender = strcmp(optarg, "<>") == 0 ? "" : optarg;
		else
			return cli_usage(&cmd_send);
	}
	if (address == NULL || optind != argc)
		return cli_usage(&cmd_send);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	if (t.sender == NULL)
		t.sender = cli->site->admin.contact;
	return test(&t, address);
}

const struct command cmd_send = {
	.name = "send",
	.synopsis = "--test ADDRESS [--from ADDRESS]",
	.summary = "what sending to an address would do, step by step, without sending",
	.help = "The way that the site gives, DNS and whether DNSSEC proves it, the TLS policy (DANE, MTA-STS), then "
	        "each host in order:\n"
		"connect, greeting, EHLO, STARTTLS and the certificate, MAIL and RCPT, then RSET and QUIT.  Each step "
	        "has the time that it\n"
		"took, what was found, and for a failure what that means.  No message is sent.\n"
		"\n"
		"  --from ADDRESS  the sender, '' for none; else admin.contact\n"
		"Exits 0 when a host would take it, 1 when none would, 2 when it cannot be tried.\n"
		"\n"
		"examples:\n"
		"  mailadm send --test bob@example.net\n"
		"  mailadm --json send --test bob@example.net --from alice@example.org\n",
	.run = run,
};
