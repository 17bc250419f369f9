/* mailadm dns: the zones of the site, and the DKIM keys they publish. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "dnsgen/named_conf.h"
#include "dnsgen/push.h"
#include "dnsgen/tools.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/monitor/dkimkeys.h"

#define ZONE_TEXT_MAX (256u << 20)

static void print_findings(const struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		fprintf(stderr, "%s\n", f->at[i].text);
}

/* The zones, and what is to be entered elsewhere. */
static int validate(struct cli *cli, const struct zones *zones, struct findings *f)
{
	struct zones elsewhere;
	int result = dnsgen_elsewhere(cli->site, &elsewhere, f);
	if (result == 0)
		result = zones_validate(cli->site, zones, &elsewhere, f);
	zones_free(&elsewhere);
	return result;
}

/* Builds all zones, with the time as their serial. What is wrong is printed. */
static int build(struct cli *cli, struct zones *zones)
{
	struct findings f = { 0 };
	int result = dnsgen_zones(cli->site, (uint32_t)clock_wall(), zones, &f);
	if (result == 0)
		result = validate(cli, zones, &f);
	print_findings(&f);
	findings_free(&f);
	return result;
}

static int print_text(struct zones *zones)
{
	struct buf text = BUF_INIT(ZONE_TEXT_MAX);
	for (size_t i = 0; i < zones->count; i++) {
		buf_reset(&text);
		if (zone_text(&zones->at[i], &text) == -1)
			return cli_error("zone %s is larger than %u bytes", zones->at[i].name, ZONE_TEXT_MAX);
		printf("%s$ORIGIN %s.\n", i ? "\n" : "", zones->at[i].name);
		fwrite(text.data, 1, text.len, stdout);
	}
	buf_free(&text);
	return EXIT_YES;
}

static void add_json(const struct zones *zones, bool elsewhere, json_t *all)
{
	for (size_t i = 0; i < zones->count; i++) {
		struct buf text = BUF_INIT(ZONE_TEXT_MAX);
		if (zone_text(&zones->at[i], &text) == 0)
			json_array_append_new(all, json_pack("{s:s, s:s, s:b}", "zone", zones->at[i].name, "text",
						       buf_str(&text), "elsewhere", elsewhere));
		buf_free(&text);
	}
}

static int print_json(struct cli *cli, const struct zones *zones)
{
	json_t *all = json_array();
	struct zones elsewhere;
	struct findings f = { 0 };
	int result = dnsgen_elsewhere(cli->site, &elsewhere, &f);
	add_json(zones, false, all);
	add_json(&elsewhere, true, all);
	cli_json_print(all);
	print_findings(&f);
	findings_free(&f);
	zones_free(&elsewhere);
	return result == 0 ? EXIT_YES : EXIT_NO;
}

/* A zone is written again only when it changed, and then with a higher serial. */
static int write_zone(struct zone *zone, const char *dir, struct error *e)
{
	struct buf old = BUF_INIT(ZONE_TEXT_MAX), text = BUF_INIT(ZONE_TEXT_MAX);
	char *path = xasprintf("%s/%s.zone", dir, zone->name);
	int there = file_read_there(path, ZONE_TEXT_MAX, &old, e), result = there == -1 ? -1 : 0;
	if (result == 0 && zone_text_keep_serial(zone, buf_view(&old), &text) == -1)
		result = error_set(e, "zone %s is larger than %u bytes", zone->name, ZONE_TEXT_MAX);
	else if (result == 0 && (!there || text.len != old.len || memcmp(text.data, old.data, text.len) != 0))
		result = file_write_atomic(path, buf_view(&text), 0644, e);
	free(path);
	buf_free(&old);
	buf_free(&text);
	return result;
}

/* A checkout has no secret: the fragment then says that its key is missing. */
static void fragment_secret(struct cli *cli, char out[TSIG_MAX])
{
	struct error e;
	if (tsig_secret(cli->site, out, &e) == -1)
		out[0] = '\0';
}

static int write_all(struct cli *cli, struct zones *zones, const char *dir, struct error *e)
{
	if (file_mkdirs(dir, 0755, e) == -1)
		return -1;
	char *full = realpath(dir, NULL);
	struct buf conf = BUF_INIT(16u << 20);
	char *path = xasprintf("%s/named.conf.mailadm", dir);
	char secret[TSIG_MAX];
	int result = 0;
	fragment_secret(cli, secret);
	for (size_t i = 0; result == 0 && i < zones->count; i++)
		result = write_zone(&zones->at[i], dir, e);
	if (result == 0)
		result = zones_named_conf(cli->site, zones, full ? full : dir, secret, &conf, e);
	if (result == 0)
		result = file_write_atomic(path, buf_view(&conf), secret[0] ? 0640 : 0644, e);
	explicit_bzero(secret, sizeof(secret));
	free(path);
	free(full);
	buf_free(&conf);
	return result;
}

/* named refuses a fragment whose key-directory is missing. */
static int make_keys(struct cli *cli, const char *dir, struct error *e)
{
	char *keys = xasprintf("%s/keys", dir);
	int result = cli->site->dns.sign ? file_mkdirs(keys, 0750, e) : 0;
	free(keys);
	return result;
}

/* What to enter elsewhere: DIR/DOMAIN.records. */
static int write_elsewhere(struct cli *cli, const char *dir, struct error *e)
{
	struct zones zones;
	struct findings f = { 0 };
	int result = dnsgen_elsewhere(cli->site, &zones, &f);
	if (result == -1)
		error_set(e, "%s", f.count ? f.at[f.count - 1].text : "the records for elsewhere cannot be made");
	for (size_t i = 0; result == 0 && i < zones.count; i++) {
		struct buf text = BUF_INIT(ZONE_TEXT_MAX);
		char *path = xasprintf("%s/%s.records", dir, zones.at[i].name);
		result = zone_text(&zones.at[i], &text) == -1 ? error_set(e, "%s is too large", path)
		                                              : file_write_atomic(path, buf_view(&text), 0644, e);
		free(path);
		buf_free(&text);
	}
	findings_free(&f);
	zones_free(&zones);
	return result;
}

static int print_written(const struct zones *zones, const char *dir)
{
	json_t *names = json_array();
	for (size_t i = 0; i < zones->count; i++)
		json_array_append_new(names, json_string(zones->at[i].name));
	cli_json_print(json_pack("{s:s, s:o}", "dir", dir, "zones", names));
	return EXIT_YES;
}

static int cmd_keygen(struct cli *cli)
{
	struct error e;
	int made = dkim_keys_ensure(cli->site, false, &e);
	if (made == -1)
		return cli_error("%s", e.text);
	if (cli->json)
		cli_json_print(json_pack("{s:i}", "made", made));
	else
		printf("%d made; the public keys stand beside the site, in dkim\n", made);
	return EXIT_YES;
}

static int print_elsewhere(struct cli *cli)
{
	struct zones zones;
	struct findings f = { 0 };
	int status = dnsgen_elsewhere(cli->site, &zones, &f) == 0 ? EXIT_YES : EXIT_NO;
	print_findings(&f);
	for (size_t i = 0; status == EXIT_YES && i < zones.count; i++) {
		struct buf text = BUF_INIT(ZONE_TEXT_MAX);
		if (zone_text(&zones.at[i], &text) == 0)
			printf("\n; %s is kept elsewhere: enter these records there\n%s", zones.at[i].name,
			    buf_str(&text));
		buf_free(&text);
	}
	findings_free(&f);
	zones_free(&zones);
	return status;
}

static int cmd_secondary(struct cli *cli)
{
	struct zones zones;
	struct buf out = BUF_INIT(ZONE_TEXT_MAX);
	char secret[TSIG_MAX];
	int status = build(cli, &zones) == -1 ? EXIT_NO : EXIT_YES;
	fragment_secret(cli, secret);
	if (status == EXIT_YES && zones_secondary_conf(cli->site, &zones, secret, &out) == -1)
		status = cli_error("the named.conf fragment is larger than %zu bytes", out.max);
	else if (status == EXIT_YES)
		fwrite(out.data, 1, out.len, stdout);
	explicit_bzero(secret, sizeof(secret));
	buf_free(&out);
	zones_free(&zones);
	return status;
}

struct changed {
	int status;
	json_t *rows; /* NULL: printed at once */
};

static void show_change(void *arg, const char *name, struct view diff)
{
	struct changed *c = arg;
	c->status = EXIT_NO;
	if (c->rows)
		json_array_append_new(
		    c->rows, json_pack("{s:s, s:s%}", "name", name, "diff", diff.len ? diff.ptr : "", diff.len));
	else
		printf("%s\n%.*s", name, (int)diff.len, diff.ptr);
}

static int cmd_diff(struct cli *cli)
{
	struct error e = { "" };
	struct changed c = { EXIT_YES, cli->json ? json_array() : NULL };
	if (zones_compare(cli->site, show_change, &c, &e) == -1) {
		json_decref(c.rows);
		return cli_error("%s", e.text);
	}
	if (c.rows)
		cli_json_print(c.rows);
	return c.status;
}

static int cmd_push(struct cli *cli)
{
	struct findings warnings = { 0 };
	struct error e = { "" };
	struct buf why = BUF_INIT(1024);
	int status = EXIT_YES;
	if (!zones_served_here(cli->site, &why))
		status = cli_error("%s", buf_str(&why));
	else if (zones_push(cli->site, &warnings, &e) == -1)
		status = cli_error("%s", e.text);
	print_findings(&warnings);
	findings_free(&warnings);
	buf_free(&why);
	return status;
}

static int cmd_ds(struct cli *cli)
{
	struct buf out = BUF_INIT(1u << 20);
	struct error e = { "" };
	int status = EXIT_YES;
	for (size_t i = 0; i < cli->site->domain_count; i++)
		if (cli->site->domains[i].dns && dnssec_ds(cli->site, cli->site->domains[i].name, &out, &e) == -1)
			status = (cli_error("%s", e.text), EXIT_NO);
	if (cli->json) {
		json_t *rows = json_array();
		char *rest = out.len ? (char *)(uintptr_t)buf_str(&out) : NULL, *line;
		while ((line = strsep(&rest, "\n")) != NULL)
			if (line[0])
				json_array_append_new(rows, json_string(line));
		cli_json_print(rows);
	} else {
		fwrite(out.data, 1, out.len, stdout);
	}
	buf_free(&out);
	return status;
}

static int cmd_render(struct cli *cli, const char *dir)
{
	struct zones zones;
	struct error e;
	int status;
	if (build(cli, &zones) == -1)
		status = EXIT_NO;
	else if (dir == NULL)
		status = cli->json                        ? print_json(cli, &zones)
		         : print_text(&zones) == EXIT_YES ? print_elsewhere(cli)
		                                          : EXIT_NO;
	else if (write_all(cli, &zones, dir, &e) == -1 || make_keys(cli, dir, &e) == -1 ||
		 write_elsewhere(cli, dir, &e) == -1)
		status = cli_error("%s", e.text);
	else
		status = cli->json ? print_written(&zones, dir) : EXIT_YES;
	zones_free(&zones);
	return status;
}

/* For init: what to enter where the zones are hosted elsewhere. */
int dns_print_records(struct cli *cli)
{
	struct zones zones;
	int status = build(cli, &zones) == -1 ? EXIT_NO : print_text(&zones);
	zones_free(&zones);
	return status == EXIT_YES ? print_elsewhere(cli) : status;
}

int dns_check_with_tools(struct cli *cli, struct findings *f)
{
	char dir[] = "/tmp/mailadm-zones-XXXXXX";
	struct zones zones;
	struct error e;
	const struct site_origin whole = { cli->site->path, 0 };
	size_t errors = f->errors;
	if (mkdtemp(dir) == NULL) {
		findings_add(f, false, &whole, "cannot make a temporary folder in /tmp");
		return -1;
	}
	if (dnsgen_zones(cli->site, 1, &zones, f) == 0 && validate(cli, &zones, f) == 0) {
		if (write_all(cli, &zones, dir, &e) == -1)
			findings_add(f, false, &whole, "%s", e.text);
		for (size_t i = 0; i < zones.count && f->errors == errors; i++) {
			const struct file file = { .zone = zones.at[i].name };
			char *path = xasprintf("%s/%s.zone", dir, zones.at[i].name);
			if (named_check(&file, path, &e) == -1)
				findings_add(f, false, &whole, "%s", e.text);
			free(path);
		}
	}
	for (size_t i = 0; i < zones.count; i++) {
		char *path = xasprintf("%s/%s.zone", dir, zones.at[i].name);
		unlink(path);
		free(path);
	}
	char *conf = xasprintf("%s/named.conf.mailadm", dir);
	unlink(conf);
	free(conf);
	rmdir(dir);
	zones_free(&zones);
	return f->errors == errors ? 0 : -1;
}

int dns_verify_command(struct cli *, int argc, char **argv);
int dns_rollover_command(struct cli *, int argc, char **argv);

static const struct {
	const char *verb;
	int (*run)(struct cli *);
} verbs[] = { { "diff", cmd_diff }, { "push", cmd_push }, { "ds", cmd_ds }, { "keygen", cmd_keygen } };

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "out", required_argument, NULL, 'o' },
		{ "secondary", no_argument, NULL, 's' }, { 0 } };
	const char *dir = NULL;
	bool secondary = false;
	int opt;
	if (argc > 1 && strcmp(argv[1], "verify") == 0)
		return dns_verify_command(cli, argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "rollover") == 0)
		return dns_rollover_command(cli, argc - 1, argv + 1);
	if (cli_wants_help(cli, &cmd_dns, argc, argv))
		return EXIT_YES;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'o')
			dir = optarg;
		else if (opt == 's')
			secondary = true;
		else
			return cli_usage(&cmd_dns);
	}
	if (argc - optind != 1 || (secondary && dir))
		return cli_usage(&cmd_dns);
	const char *verb = argv[optind];
	if (strcmp(verb, "render") == 0) {
		if (cli_site(cli) == NULL)
			return EXIT_USAGE;
		return secondary ? cmd_secondary(cli) : cmd_render(cli, dir);
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]) && !dir && !secondary; i++)
		if (strcmp(verb, verbs[i].verb) == 0)
			return cli_site(cli) == NULL ? EXIT_USAGE : verbs[i].run(cli);
	return cli_usage(&cmd_dns);
}

const struct command cmd_dns = {
	.name = "dns",
	.synopsis = "render [--out DIR | --secondary] | diff | push | ds | keygen | verify | rollover",
	.summary = "the zones of the site, for bind9",
	.help = "render prints every zone; with --out it writes DIR/ZONE.zone and DIR/named.conf.mailadm, each only "
		"when its content\n"
		"changed, and then with a higher serial, and DIR/DOMAIN.records for domains kept elsewhere. "
		"--secondary prints what another name server includes. diff "
		"says what push\n"
		"would change (exit 1), push writes the zones into dns.zone_dir and reloads named: all or nothing. ds "
		"prints what "
		"the parent\n"
		"needs when dns.sign is on. keygen makes the DKIM keys that are missing.\n\n"
		"example:\n"
		"  mailadm dns diff; mailadm dns push\n",
	.run = run,
};
