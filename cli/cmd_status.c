/*
 * status: what runs, where it listens, how its sandbox is, and rows about what is not as it should be: the
 * certificate's end, and what of the live host is not what the site file says.  With --alert it says so to the
 * administrator instead.
 */
#include <getopt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/alert.h"
#include "cli/cli.h"
#include "cli/rows.h"
#include "doctor/certificate.h"
#include "doctor/drift.h"
#include "mailsvc/control.h"

#define FLAT_MAX (64u * 1024 * 1024)

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* 3d4h, 4h12m, 12m5s, 5s */
static void format_uptime(json_int_t s, char *out, size_t size)
{
	if (s >= 86400)
		snprintf(out, size, "%lldd%lldh", (long long)(s / 86400), (long long)(s % 86400 / 3600));
	else if (s >= 3600)
		snprintf(out, size, "%lldh%lldm", (long long)(s / 3600), (long long)(s % 3600 / 60));
	else if (s >= 60)
		snprintf(out, size, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
	else
		snprintf(out, size, "%llds", (long long)s);
}

static void print_roles(struct cli *cli, const json_t *roles)
{
	static const char *const columns[] = { "role", "instance", "state", "pid", "uptime", "restarts", "sessions",
		"sandbox", NULL };
	struct cli_table *table = cli_table_new(cli, columns);
	size_t i;
	json_t *r;

	json_array_foreach(roles, i, r)
	{
		char instance[24], pid[24], uptime[64], restarts[24], sessions[24] = "";
		const json_t *n = json_object_get(r, "sessions");

		snprintf(instance, sizeof(instance), "%lld", (long long)number_of(r, "instance"));
		snprintf(pid, sizeof(pid), "%lld", (long long)number_of(r, "pid"));
		snprintf(restarts, sizeof(restarts), "%lld", (long long)number_of(r, "restarts"));
		if (n != NULL)
			snprintf(sessions, sizeof(sessions), "%lld", (long long)json_integer_value(n));
		format_uptime(number_of(r, "uptime"), uptime, sizeof(uptime));
		const char *const cells[] = { text_of(r, "role"), instance, text_of(r, "state"), pid, uptime, restarts,
			sessions, text_of(r, "sandbox") };

		cli_table_add(table, cells);
	}
	cli_table_print(table);
}

static void print_listeners(struct cli *cli, const json_t *listeners)
{
	static const char *const columns[] = { "service", "address", "port", NULL };
	struct cli_table *table = cli_table_new(cli, columns);
	size_t i;
	json_t *l;

	json_array_foreach(listeners, i, l)
	{
		char port[24];

		snprintf(port, sizeof(port), "%lld", (long long)number_of(l, "port"));
		const char *const cells[] = { text_of(l, "service"), text_of(l, "address"), port };
		cli_table_add(table, cells);
	}
	cli_table_print(table);
}

/* Is the running site what the file says now? */
static bool is_current(struct site *site, const char *digest)
{
	struct buf flat = BUF_INIT(FLAT_MAX);
	unsigned char hash[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned len = 0;

	if (site_flatten(site, &flat) == 0 && EVP_Digest(flat.data, flat.len, hash, &len, EVP_sha256(), NULL) == 1) {
		for (unsigned i = 0; i < len; i++)
			snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	}
	buf_free(&flat);
	return strcmp(hex, digest) == 0;
}

/* The running host: its roles.  Whether it serves what the site says is the drift of the part `daemon`. */
static void host_rows(const struct site *site, json_t *top, const struct error *why, struct check_results *out)
{
	size_t i;
	json_t *r;

	if (top == NULL) {
		check_results_add(out, CHECK_WRONG, "host", site->host.name, "", "%s", why->text);
		return;
	}
	json_array_foreach(json_object_get(top, "roles"), i, r)
	{
		char subject[96];

		snprintf(subject, sizeof(subject), "%s %lld", text_of(r, "role"), (long long)number_of(r, "instance"));
		if (strcmp(text_of(r, "state"), "up") != 0)
			check_results_add(
			    out, CHECK_WRONG, "role", subject, "the log says why", "%s", text_of(r, "state"));
	}
	if (json_is_true(json_object_get(top, "ready")))
		check_results_add(out, CHECK_OK, "host", site->host.name, "", "every role is up");
}

/* That of the file, and the one the host still serves when it is another. */
static void certificate_rows(const struct site *site, const json_t *top, struct check_results *out)
{
	static const char remedy[] = "give a new one and: mailadm reload";
	const json_t *served = json_object_get(top, "certificate");
	struct certificate c;
	struct error e = { "" };

	if (certificate_load(site, &c, &e) == 0)
		certificate_judge_dates(c.file, c.not_before, c.not_after, remedy, out);
	if (served != NULL && (c.leaf == NULL || number_of(served, "expires") / 60 < c.not_after / 60 - 1))
		certificate_judge_dates("served", 0, number_of(served, "expires"), "mailadm reload", out);
	certificate_free(&c);
}

/* 0 all well, 1 something is wrong, 2 nothing is but not everything could be looked at. */
static int verdict(const struct check_results *rows)
{
	int result = EXIT_YES;

	for (size_t i = 0; i < rows->count; i++) {
		if (rows->at[i].state == CHECK_WRONG || rows->at[i].state == CHECK_WARNING)
			return EXIT_NO;
		if (rows->at[i].state == CHECK_UNKNOWN)
			result = EXIT_USAGE;
	}
	return result;
}

static json_t *rows_json(const struct check_results *rows)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rows->count; i++) {
		const struct check_result *r = &rows->at[i];

		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", r->check, "subject", r->subject, "state",
			      check_state_name((int)r->state), "seen", r->seen, "remedy", r->remedy));
	}
	return list;
}

static void show(struct cli *cli, json_t *top, const struct check_results *rows)
{
	if (cli->json) {
		json_t *all = top != NULL ? json_incref(top) : json_pack("{s:b}", "ready", 0);

		json_object_set_new(all, "checks", rows_json(rows));
		cli_json_print(all);
		return;
	}
	if (top != NULL) {
		print_roles(cli, json_object_get(top, "roles"));
		print_listeners(cli, json_object_get(top, "listeners"));
	}
	rows_print(cli, rows);
}

static int examine(struct cli *cli, bool alert)
{
	static const struct alert_kind kind = { "alerts", "mailadm status", .wrong_only = false };
	struct check_results rows = { 0 };
	struct error e = { "" };
	json_t *top = doctor_host_status(cli->site, &e);
	int result;

	if (top != NULL)
		json_object_set_new(top, "current", json_boolean(is_current(cli->site, text_of(top, "digest"))));
	host_rows(cli->site, top, &e, &rows);
	certificate_rows(cli->site, top, &rows);
	drift_check(cli->site, &rows);
	result = verdict(&rows);
	if (alert && alert_tell(cli, &kind, &rows) < 0)
		result = EXIT_USAGE;
	if (!alert)
		show(cli, top, &rows);
	if (!alert && top == NULL)
		cli_error("%s", e.text);
	else if (!alert && !json_is_true(json_object_get(top, "current")))
		cli_error("the site has changed since the host read it; mailadm reload");
	json_decref(top);
	check_results_free(&rows);
	return result;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "alert", no_argument, NULL, 'a' }, { 0 } };
	bool alert = false;
	int option;

	if (cli_wants_help(cli, &cmd_status, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'a')
			return cli_usage(&cmd_status);
		alert = true;
	}
	if (optind < argc)
		return cli_usage(&cmd_status);
	return cli_site(cli) != NULL ? examine(cli, alert) : EXIT_USAGE;
}

const struct command cmd_status = {
	.name = "status",
	.synopsis = "[--alert]",
	.summary = "show what runs and whether all of the host is as the site says",
	.help = "One line a role (its processes, their sandbox in force, sessions), the listeners, and a row for each "
		"thing looked "
		"at:\n"
		"the host, the certificate, the drift of each part (keys, zones, daemon, firewall, timers) against the "
		"site file, an "
		"apply\n"
		"that waits or was taken back, other programs' firewalls.  Exit status 0: all is well, 1: something is "
		"not, 2: not\n"
		"everything could be looked at.\n"
		"\n"
		"--alert   for cron: prints nothing, and tells admin.contact by mail and admin.command on its stdin "
		"what is wrong: "
		"once\n"
		"          when it changes, once a day while it stays, once when all is well again (STATE/alerts)\n"
		"\n"
		"Examples: mailadm status\n"
		"          mailadm status --json | jq '.checks[] | select(.state != \"ok\")'\n",
	.run = run,
};
