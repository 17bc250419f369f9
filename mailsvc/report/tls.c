/* report.h: TLS reports, RFC 8460 4.4. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mailsvc/report/report.h"

static json_t *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	size_t n = s != NULL ? strlen(s) : 0;
	json_t *cut = json_stringn(s != NULL ? s : "", n < REPORT_STRING_MAX ? n : REPORT_STRING_MAX);

	return cut != NULL ? cut : json_string(""); /* cut within a character */
}

static json_int_t count(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 && n < INT32_MAX ? n : 0;
}

/* "2016-04-01T00:00:00Z" */
static json_int_t when(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	struct tm tm = { 0 };

	if (s == NULL || sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
	                     &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (json_int_t)timegm(&tm);
}

static void add_row(json_t *rows, const json_t *policy, const json_t *failure, const char *result, json_int_t sessions)
{
	json_t *row = json_object();

	json_object_set_new(row, "domain", text(policy, "policy-domain"));
	json_object_set_new(row, "policy", text(policy, "policy-type"));
	json_object_set_new(row, "result", result != NULL ? json_string(result) : text(failure, "result-type"));
	json_object_set_new(row, "sessions", json_integer(sessions));
	json_object_set_new(row, "mx", text(failure, "receiving-mx-hostname"));
	json_object_set_new(row, "receiver", text(failure, "receiving-ip"));
	json_object_set_new(row, "detail", text(failure, "failure-reason-code"));
	json_array_append_new(rows, row);
}

static int add_policy(json_t *rows, const json_t *of)
{
	const json_t *policy = json_object_get(of, "policy"), *summary = json_object_get(of, "summary");
	const json_t *failures = json_object_get(of, "failure-details"), *failure;
	json_int_t good = count(summary, "total-successful-session-count"), bad = count(summary, "total-failure-session-count");
	size_t i;

	if (good > 0 || bad == 0)
		add_row(rows, policy, NULL, "success", good);
	json_array_foreach(failures, i, failure)
	{
		json_int_t n = count(failure, "failed-session-count");

		if (json_array_size(rows) >= REPORT_ROWS_MAX)
			return -1;
		add_row(rows, policy, failure, NULL, n);
		bad -= n < bad ? n : bad;
	}
	if (bad > 0)
		add_row(rows, policy, NULL, "not-said", bad);
	return json_array_size(rows) < REPORT_ROWS_MAX ? 0 : -1;
}

json_t *report_parse_tls(struct view in, struct error *e)
{
	json_error_t err;
	json_t *o = json_loadb(in.ptr, in.len, JSON_REJECT_DUPLICATES, &err), *report, *rows;
	const json_t *policies = json_object_get(o, "policies"), *range = json_object_get(o, "date-range"), *policy;
	size_t i;

	if (!json_is_array(policies)) {
		error_set(e, o == NULL ? "no JSON: %s" : "a TLS report without policies%s", o == NULL ? err.text : "");
		json_decref(o);
		return NULL;
	}
	rows = json_array();
	report = json_pack("{s:o, s:o, s:I, s:I, s:o}", "org", text(o, "organization-name"), "id", text(o, "report-id"), "begin",
	    when(range, "start-datetime"), "end", when(range, "end-datetime"), "rows", rows);
	json_array_foreach(policies, i, policy)
	{
		if (add_policy(rows, policy) == -1) {
			error_set(e, "a report with more than %d rows", REPORT_ROWS_MAX);
			json_decref(report);
			report = NULL;
			break;
		}
	}
	json_decref(o);
	return report;
}
