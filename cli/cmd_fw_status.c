/* mailadm fw status: one report, gathered as JSON and shown as that or as lines. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_fw.h"
#include "fwgen/bans.h"
#include "fwgen/counters.h"
#include "fwgen/kernel.h"

#define DIFF_SHOWN 5

static json_t *drift(const struct fw_model *model, struct error *e)
{
	struct buf diff = BUF_INIT(FW_TEXT_MAX);
	json_t *lines = NULL;

	if (fw_kernel_compare(model, &diff, e) != -1)
		lines = fw_lines_json(buf_view(&diff));
	buf_free(&diff);
	return lines;
}

static json_t *count_bans(struct error *e)
{
	struct bans *bans = bans_open(e);
	struct ban *list = NULL;
	size_t count;
	json_t *number = NULL;

	if (bans != NULL && bans_list(bans, &list, &count, e) == 0)
		number = json_integer((json_int_t)count);
	free(list);
	bans_close(bans);
	return number;
}

static json_t *counters(struct error *e)
{
	struct fw_counter *list;
	size_t count;
	json_t *all;

	if (fw_kernel_counters(&list, &count, e) == -1)
		return NULL;
	all = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "name", list[i].name, "packets",
					       (json_int_t)list[i].packets, "bytes", (json_int_t)list[i].bytes));
	free(list);
	return all;
}

static json_t *others(struct error *e)
{
	struct fw_other list[FW_OTHERS_MAX];
	size_t count;
	json_t *all;

	if (fw_kernel_others(list, FW_OTHERS_MAX, &count, e) == -1)
		return NULL;
	all = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(all, json_pack("{s:s, s:b, s:s}", "name", list[i].name, "conflicts",
					       list[i].conflicts, "text", list[i].text));
	return all;
}

/* NULL with an error. */
static json_t *gather(const struct fw_model *model, struct error *e)
{
	json_t *report = json_object();
	int loaded = fw_kernel_present(e);
	bool good = loaded != -1;

	good = good && json_object_set_new(report, "loaded", json_boolean(loaded)) == 0;
	good = good && json_object_set_new(report, "drift", loaded ? drift(model, e) : json_array()) == 0;
	good = good && json_object_set_new(report, "bans", loaded ? count_bans(e) : json_integer(0)) == 0;
	good = good && json_object_set_new(report, "counters", loaded ? counters(e) : json_array()) == 0;
	good = good && json_object_set_new(report, "others", others(e)) == 0;
	good = good && json_object_set_new(report, "notes", fw_lines_json(view_of(fw_model_notes(model)))) == 0;
	if (good)
		return report;
	json_decref(report);
	return NULL;
}

static void print_report(struct cli *cli, const json_t *report, bool loaded, size_t drifted)
{
	static const char *const columns[] = { "counter", "packets", "bytes", NULL };
	json_t *list = json_object_get(report, "counters"), *item;
	struct cli_table *table = cli_table_new(cli, columns);
	size_t i;

	printf("rules\t%s\n", !loaded ? "not loaded" : drifted ? "not as the site says" : "loaded, as the site says");
	json_array_foreach(json_object_get(report, "drift"), i, item)
	{
		if (i < DIFF_SHOWN)
			printf("drift\t%s\n", json_string_value(item));
	}
	printf("bans\t%lld\n", (long long)json_integer_value(json_object_get(report, "bans")));
	json_array_foreach(list, i, item)
	{
		char packets[24], bytes[24];
		snprintf(
		    packets, sizeof(packets), "%lld", (long long)json_integer_value(json_object_get(item, "packets")));
		snprintf(bytes, sizeof(bytes), "%lld", (long long)json_integer_value(json_object_get(item, "bytes")));
		const char *const cells[] = { json_string_value(json_object_get(item, "name")), packets, bytes };
		cli_table_add(table, cells);
	}
	cli_table_print(table);
	json_array_foreach(json_object_get(report, "notes"), i, item)
	{
		printf("note\t%s\n", json_string_value(item));
	}
	json_array_foreach(json_object_get(report, "others"), i, item)
	{
		printf("%s\t%s: %s\n", json_is_true(json_object_get(item, "conflicts")) ? "conflict" : "beside",
		    json_string_value(json_object_get(item, "name")), json_string_value(json_object_get(item, "text")));
	}
}

int fw_status_command(struct cli *cli, int argc, char **argv)
{
	struct fw_model *model;
	struct error e = { "" };
	json_t *report;
	bool loaded;
	size_t drifted;

	if (fw_no_arguments(argc, argv) != EXIT_YES || (model = fw_model_of_cli(cli)) == NULL)
		return EXIT_USAGE;
	report = gather(model, &e);
	fw_model_free(model);
	if (report == NULL)
		return cli_error("%s", e.text);
	loaded = json_is_true(json_object_get(report, "loaded"));
	drifted = json_array_size(json_object_get(report, "drift"));
	if (cli->json)
		cli_json_print(report);
	else {
		print_report(cli, report, loaded, drifted);
		json_decref(report);
	}
	if (!loaded)
		cli_error("the firewall is not loaded; mailadm fw load");
	else if (drifted > 0)
		cli_error("the loaded rules are not those of the site; mailadm fw diff shows how, mailadm fw load "
			  "repairs it");
	return loaded && drifted == 0 ? EXIT_YES : EXIT_NO;
}
