/*
 * status: what runs, where it listens, how its sandbox is, when the certificate ends, and whether the running host is
 * what the site file says now.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/clock.h"
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

static void print_certificate(const json_t *c)
{
	time_t ends = (time_t)number_of(c, "expires");
	char day[32] = "?";
	struct tm tm;

	if (localtime_r(&ends, &tm) != NULL)
		strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	printf("certificate\t%s\t%s %s%s\n", text_of(c, "file"), ends <= clock_wall() ? "expired" : "until", day,
	    json_is_true(json_object_get(c, "self_signed")) ? ", self-signed" : "");
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

static int show(struct cli *cli, struct buf *text)
{
	json_t *top = json_loadb(text->data != NULL ? text->data : "", text->len, JSON_REJECT_DUPLICATES, NULL);
	bool ready, current, valid;

	if (top == NULL)
		return cli_error("monitor sent a malformed reply");
	ready = json_is_true(json_object_get(top, "ready"));
	current = is_current(cli_site(cli), text_of(top, "digest"));
	valid = number_of(json_object_get(top, "certificate"), "expires") > clock_wall();
	json_object_set_new(top, "current", json_boolean(current));
	if (cli->json) {
		cli_json_print(top);
	} else {
		print_roles(cli, json_object_get(top, "roles"));
		print_listeners(cli, json_object_get(top, "listeners"));
		print_certificate(json_object_get(top, "certificate"));
		json_decref(top);
	}
	if (!ready)
		cli_error("not every role is up; the log says why");
	if (!current)
		cli_error("the site has changed since the host read it; mailadm reload");
	if (!valid)
		cli_error("the certificate has expired; give a new one and: mailadm reload");
	return ready && current && valid ? EXIT_YES : EXIT_NO;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct buf text = BUF_INIT(CONTROL_TEXT_MAX);
	struct error e = { "" };
	int fd, r;

	if (cli_wants_help(cli, &cmd_status, argc, argv))
		return EXIT_YES;
	if (argc > 1)
		return cli_usage(&cmd_status);
	if (cli_site(cli) == NULL)
		return EXIT_USAGE;
	fd = cli_control(cli, &e);
	if (fd < 0) {
		cli_error("%s", e.text);
		return EXIT_NO;
	}
	r = control_ask(fd, CONTROL_STATUS, CONTROL_TIMEOUT_MS, &text, NULL, &e);
	close(fd);
	if (r == 0)
		r = show(cli, &text);
	else
		r = cli_error("%s", r == 1 ? buf_str(&text) : e.text);
	buf_free(&text);
	return r;
}

const struct command cmd_status = {
	.name = "status",
	.synopsis = "",
	.summary = "show what runs and whether it is as the site says",
	.help =
	    "One line a role (its processes, their sandbox in force, sessions), the listeners and the certificate.  "
	    "Exit status 0 only\n"
	    "when every role is up, the running host is what the site file says now, and the certificate is valid.\n"
	    "\n"
	    "Examples: mailadm status\n"
	    "          mailadm status --json | jq '.roles[] | select(.state != \"up\")'\n",
	.run = run,
};
