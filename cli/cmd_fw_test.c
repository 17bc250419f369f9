/* mailadm fw test: the policy tests of the site, tried with packets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cmd_fw.h"
#include "fwgen/try.h"

static void add_row(struct cli_table *table, const struct site_fwtest *t, const struct fw_try *r)
{
	const char *slash = strrchr(t->origin.file ? t->origin.file : "", '/');
	char what[256], rule[256], origin[256];

	snprintf(what, sizeof(what), "%.80s -> %.80s %s %u%s%.40s", t->from[0] ? t->from : "host",
	    t->to[0] ? t->to : "host", t->protocol, t->to_port, t->user[0] ? " as " : "", t->user);
	snprintf(rule, sizeof(rule), "%s%s%s", r->decision.chain, r->decision.chain[0] ? ": " : "", r->decision.rule);
	snprintf(origin, sizeof(origin), "%.200s:%u", slash ? slash + 1 : "", t->origin.line);
	const char *const cells[] = { r->passed ? "pass" : "FAIL", what, t->expect, fw_tried_name(r->got), rule,
		r->note, origin };
	cli_table_add(table, cells);
}

static json_t *row_json(const struct site_fwtest *t, const struct fw_try *r)
{
	return json_pack("{s:b, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:i}", "passed", r->passed,
	    "from", t->from, "to", t->to, "protocol", t->protocol, "to_port", (int)t->to_port, "user", t->user,
	    "expect", t->expect, "got", fw_tried_name(r->got), "sent", r->sent, "chain", r->decision.chain, "rule",
	    r->decision.rule, "note", r->note, "file", t->origin.file ? t->origin.file : "", "line",
	    (int)t->origin.line);
}

static size_t print_results(struct cli *cli, const struct fw_try *results)
{
	static const char *const columns[] = { "result", "test", "expect", "got", "rule", "note", "where", NULL };
	struct cli_table *table = cli->json ? NULL : cli_table_new(cli, columns);
	json_t *all = json_array();
	size_t failed = 0;

	for (size_t i = 0; i < cli->site->firewall.test_count; i++) {
		failed += !results[i].passed;
		if (table != NULL)
			add_row(table, &cli->site->firewall.tests[i], &results[i]);
		else
			json_array_append_new(all, row_json(&cli->site->firewall.tests[i], &results[i]));
	}
	if (table != NULL) {
		cli_table_print(table);
		json_decref(all);
	} else
		cli_json_print(all);
	return failed;
}

int fw_test_command(struct cli *cli, int argc, char **argv)
{
	struct fw_model *model;
	struct fw_try *results;
	struct error e = { "" };
	size_t failed;

	if (fw_no_arguments(argc, argv) != EXIT_YES || (model = fw_model_of_cli(cli)) == NULL)
		return EXIT_USAGE;
	results = xcalloc(cli->site->firewall.test_count + 1, sizeof(*results));
	if (fw_try(cli->site, model, results, &e) == -1) {
		fw_model_free(model);
		free(results);
		return cli_error("%s", e.text);
	}
	failed = print_results(cli, results);
	if (cli->site->firewall.test_count == 0)
		cli_error("%s has no firewall.tests", cli->site->path);
	else if (failed > 0)
		cli_error("%zu of %zu tests failed", failed, cli->site->firewall.test_count);
	fw_model_free(model);
	free(results);
	return failed == 0 ? EXIT_YES : EXIT_NO;
}
