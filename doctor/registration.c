/*
 * When does a domain's registration end?  Asked by RDAP (RFC 9082, 9083) with curl, which brings its own TLS and trust.
 * A name below a registered one is answered for that: labels are taken off until somebody knows it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "doctor/doctor.h"
#include "lib/clock.h"
#include "lib/proc.h"

#define DOMAINS_MAX 10
#define ASK_S 6       /* for one domain */
#define HTTP_ERROR 22 /* curl's exit status for 400 and above */
#define ANSWER_MAX (4u << 20)
#define SOON_DAYS 30
#define NOW_DAYS 10

/* curl's exit status, or -1; code is that of HTTP. */
static int fetch(const struct doctor *d, const char *name, struct buf *answer, char code[4], struct error *e)
{
	uint64_t left_s = doctor_left_ms(d) / 1000;
	char *url = xasprintf("%s%s", d->rdap, name);
	char *limit = xasprintf("%" PRIu64, left_s == 0 ? 1 : left_s < ASK_S ? left_s : ASK_S);
	char *argv[] = { "curl", "--silent", "--fail", "--location", "--max-redirs", "5", "--max-time", limit,
		"--proto", "=http,https", "--max-filesize", "4194304", "--header", "Accept: application/rdap+json",
		"--write-out", "%{stderr}%{http_code}", "--", url, NULL };
	struct buf err = BUF_INIT(4096);
	int status = proc_run(argv, VIEW_NONE, answer, &err, e);
	snprintf(code, 4, "%.3s", buf_str(&err));
	buf_free(&err);
	free(limit);
	free(url);
	return status;
}

/* "2027-01-31T04:00:00Z" -> seconds; 0: none. */
static int64_t expiry_of(const json_t *top)
{
	const json_t *events = json_object_get(top, "events"), *event;
	size_t i;
	json_array_foreach(events, i, event)
	{
		const char *action = json_string_value(json_object_get(event, "eventAction"));
		const char *date = json_string_value(json_object_get(event, "eventDate"));
		struct tm tm = { 0 };
		if (action && date && strcmp(action, "expiration") == 0 && strptime(date, "%Y-%m-%dT%H:%M:%S", &tm))
			return timegm(&tm);
	}
	return 0;
}

/* A state in which the registry has taken the domain out of the DNS, or is about to. */
static const char *bad_status(const json_t *top)
{
	static const char *const bad[] = { "client hold", "server hold", "redemption period", "pending delete" };
	const json_t *list = json_object_get(top, "status"), *item;
	size_t i;
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		for (size_t j = 0; text && j < sizeof(bad) / sizeof(bad[0]); j++)
			if (strcasecmp(text, bad[j]) == 0)
				return bad[j];
	}
	return NULL;
}

static void judge(const char *name, const json_t *top, struct check_results *out)
{
	int64_t ends = expiry_of(top), days = (ends - clock_wall()) / 86400;
	const char *bad = bad_status(top);
	char date[32] = "";
	struct tm tm;
	time_t t = (time_t)ends;
	if (gmtime_r(&t, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	if (bad)
		check_results_add(out, CHECK_WRONG, "registration", name, "ask your registrar at once",
		    "the registry says \"%s\"", bad);
	else if (ends == 0)
		check_results_add(
		    out, CHECK_UNKNOWN, "registration", name, "ask your registrar", "the registry gives no date");
	else if (ends < clock_wall())
		check_results_add(
		    out, CHECK_WRONG, "registration", name, "renew it at your registrar at once", "ended on %s", date);
	else if (days < SOON_DAYS)
		check_results_add(out, days < NOW_DAYS ? CHECK_WRONG : CHECK_WARNING, "registration", name,
		    "renew it at your registrar", "ends on %s, in %lld days", date, (long long)days);
	else
		check_results_add(out, CHECK_OK, "registration", name, "", "until %s", date);
}

static void check_domain(const struct doctor *d, const char *domain, struct check_results *out)
{
	struct error e = { "" };
	int status = HTTP_ERROR;
	char code[4] = "404";
	for (const char *name = domain; strchr(name, '.'); name = strchr(name, '.') + 1) {
		struct buf answer = BUF_INIT(ANSWER_MAX);
		status = fetch(d, name, &answer, code, &e);
		json_t *top = status == 0 ? json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL) : NULL;
		buf_free(&answer);
		if (top)
			judge(name, top, out);
		else if (status == 0)
			check_results_add(out, CHECK_UNKNOWN, "registration", name, "", "the answer is no JSON");
		json_decref(top);
		if (status != HTTP_ERROR || strcmp(code, "404") != 0)
			break;
	}
	if (status == 127 || status == -1)
		check_results_add(out, CHECK_UNKNOWN, "registration", domain, "install curl", "%s",
		    status == 127 ? "there is no curl" : e.text);
	else if (status == HTTP_ERROR && strcmp(code, "404") == 0)
		check_results_add(
		    out, CHECK_UNKNOWN, "registration", domain, "", "no registry that speaks RDAP knows it");
	else if (status == HTTP_ERROR)
		check_results_add(out, CHECK_UNKNOWN, "registration", domain, "try again later",
		    "the registry does not answer (HTTP %s)", code);
	else if (status > 0)
		check_results_add(
		    out, CHECK_UNKNOWN, "registration", domain, "", "%s cannot be reached (curl: %d)", d->rdap, status);
}

void doctor_registration(const struct doctor *d, struct check_results *out)
{
	size_t count = d->site->domain_count;
	size_t asked = 0;
	for (; asked < count && asked < DOMAINS_MAX && doctor_left_ms(d) >= 1000; asked++)
		check_domain(d, d->site->domains[asked].name, out);
	if (asked < count)
		check_results_add(out, CHECK_UNKNOWN, "registration", "others",
		    asked < DOMAINS_MAX ? "give it more time with --timeout" : "",
		    "only the first %zu of %zu domains were asked for", asked, count);
}
