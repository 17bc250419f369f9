/* What waits and what was kept: the queue of the running host, and the age of each backup's last snapshot. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backup/backup.h"
#include "doctor/doctor.h"
#include "lib/clock.h"
#include "mailsvc/control.h"
#include "mailsvc/store/client.h"

#define JSON_MAX (64u << 20)
#define QUEUE_MANY 1000
#define QUEUE_OLD_S (6 * 3600)
#define HOUR 3600

struct queue_found {
	size_t count;
	int64_t oldest; /* 0: the queue is empty */
	char id[17];    /* of the oldest */
};

/* Adds up what store says of each destination. */
static int count_queue(int store, struct queue_found *out, struct error *e)
{
	struct buf text = BUF_INIT(JSON_MAX), place = BUF_INIT(1024);
	int r = 0;
	while (r == 0) {
		json_t *list, *entry;
		size_t i;
		buf_reset(&text);
		if ((r = store_admin_queue_summary(store, &place, &text, e)) == -1)
			break;
		if (!(list = json_loadb(text.data ? text.data : "", text.len, 0, NULL))) {
			r = error_set(e, "store sent a malformed answer");
			break;
		}
		json_array_foreach(list, i, entry) out->count +=
		    (size_t)json_integer_value(json_object_get(entry, "entries"));
		json_decref(list);
	}
	buf_free(&text);
	buf_free(&place);
	return r == 1 ? 0 : -1;
}

/* The first of the list is the oldest. */
static int find_oldest(int store, struct queue_found *out, struct error *e)
{
	struct buf text = BUF_INIT(JSON_MAX);
	const struct queue_select all = { 0 };
	uint64_t after = 0;
	int r = store_admin_queue_page(store, &all, &after, &text, e);
	json_t *list = r == -1 ? NULL : json_loadb(text.data ? text.data : "", text.len, 0, NULL);
	const json_t *first = json_array_get(list, 0);
	const char *id = json_string_value(json_object_get(first, "id"));
	if (r != -1 && !list)
		r = error_set(e, "store sent a malformed answer");
	out->oldest = json_integer_value(json_object_get(first, "created"));
	snprintf(out->id, sizeof out->id, "%s", id ? id : "");
	json_decref(list);
	buf_free(&text);
	return r == -1 ? -1 : 0;
}

static int queue_of(const struct site *site, struct queue_found *out, struct error *e)
{
	struct buf text = BUF_INIT(JSON_MAX);
	int control = control_connect(site, e), store = -1;
	if (control < 0)
		return -1;
	int r = control_ask(control, CONTROL_STORE, CONTROL_TIMEOUT_MS, &text, &store, e);
	if (r == 1)
		error_set(e, "%s", buf_str(&text));
	if (r == 0 && (count_queue(store, out, e) == -1 || find_oldest(store, out, e) == -1))
		r = -1;
	if (store != -1)
		close(store);
	close(control);
	buf_free(&text);
	return r == 0 ? 0 : -1;
}

void doctor_queue(const struct doctor *d, struct check_results *out)
{
	struct error e = { "" };
	struct queue_found q = { 0 };
	int64_t now = clock_wall(), oldest;
	char age[32];
	if (queue_of(d->site, &q, &e) == -1) {
		check_results_add(out, CHECK_UNKNOWN, "queue", "", "start the host", "%s", e.text);
		return;
	}
	size_t count = q.count;
	oldest = q.oldest ? q.oldest : now;
	doctor_age(now - oldest, age);
	if (now - oldest > QUEUE_OLD_S)
		check_results_add(out, CHECK_WARNING, "queue", q.id,
		    "mailadm queue list says what the other side answers; when all of it waits, see the row smtp_out",
		    "%zu messages wait, the oldest for %s", count, age);
	else if (count > QUEUE_MANY)
		check_results_add(out, CHECK_WARNING, "queue", "", "see with mailadm queue list who sends so much",
		    "%zu messages wait", count);
	else
		check_results_add(out, CHECK_OK, "queue", "", "", "%zu messages wait", count);
}

/* RFC 3339 as restic writes it -> seconds; 0: none. */
static int64_t time_of(const char *text)
{
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int hours, minutes;
	if (!end)
		return 0;
	int64_t when = timegm(&tm);
	end += end[0] == '.' ? 1 + strspn(end + 1, "0123456789") : 0;
	if (sscanf(end, "%3d:%2d", &hours, &minutes) == 2)
		when -= hours * HOUR + (end[0] == '-' ? -minutes : minutes) * 60;
	return when;
}

/* A part of an OnCalendar date that does not say "each": "01", "1/3", but not "*". */
static bool is_fixed(struct view part)
{
	return part.len > 0 && part.ptr[0] != '*';
}

/* As doctor.h says. An OnCalendar line is "[WEEKDAYS] [[YEAR-]MONTH-DAY] [TIME]", or a word. */
int64_t doctor_patience(const char *schedule)
{
	static const struct {
		const char *word;
		int days;
	} words[] = { { "minutely", 1 }, { "hourly", 1 }, { "daily", 1 }, { "weekly", 7 }, { "monthly", 31 },
		{ "quarterly", 92 }, { "semiannually", 184 }, { "semi-annually", 184 }, { "yearly", 366 },
		{ "annually", 366 } };
	int days = 1;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(schedule, words[i].word) == 0)
			return words[i].days * 24 * HOUR + 12 * HOUR;
	for (const char *p = schedule; *p; p += strspn(p, " ")) {
		struct view word = { p, strcspn(p, " ") };
		const char *dash = memrchr(word.ptr, '-', word.len);
		p += word.len;
		if (word.ptr == schedule && strcspn(schedule, "*0123456789") > 0) {
			days = 7; /* not every day of the week: one of them, perhaps more */
		} else if (memchr(word.ptr, '~', word.len)) {
			days = 31; /* from the month's end */
		} else if (dash && !memchr(word.ptr, ':', word.len)) {
			const char *month = memrchr(word.ptr, '-', (size_t)(dash - word.ptr));
			month = month ? month + 1 : word.ptr;
			if (is_fixed((struct view){ month, (size_t)(dash - month) }))
				days = 366;
			else if (is_fixed((struct view){ dash + 1, (size_t)(word.ptr + word.len - dash - 1) }))
				days = days < 31 ? 31 : days;
		}
	}
	return days * 24 * HOUR + 12 * HOUR;
}

static void check_backup(const struct site *site, const struct site_backup *b, struct check_results *out)
{
	struct buf text = BUF_INIT(JSON_MAX);
	struct error e = { "" };
	int64_t newest = 0;
	json_t *list = NULL, *snapshot;
	size_t i;
	char age[32];
	char *remedy = xasprintf(
	    "mailadm backup run %s, and see why its timer does not (systemctl status mailadm-backup@%s.timer)", b->name,
	    b->name);
	if (backup_list(site, b, &text, &e) == 0 && !(list = json_loadb(text.data ? text.data : "", text.len, 0, NULL)))
		error_set(&e, "restic gave no JSON");
	json_array_foreach(list, i, snapshot)
	{
		int64_t when = time_of(json_string_value(json_object_get(snapshot, "time")));
		newest = when > newest ? when : newest;
	}
	doctor_age(clock_wall() - newest, age);
	if (!list)
		check_results_add(
		    out, CHECK_WRONG, "backup", b->name, remedy, "its snapshots cannot be listed: %s", e.text);
	else if (newest == 0)
		check_results_add(out, CHECK_WRONG, "backup", b->name, remedy, "it has no snapshot");
	else if (clock_wall() - newest > doctor_patience(b->schedule))
		check_results_add(out, CHECK_WRONG, "backup", b->name, remedy, "the last snapshot is %s old", age);
	else
		check_results_add(out, CHECK_OK, "backup", b->name, "", "the last snapshot is %s old", age);
	json_decref(list);
	buf_free(&text);
	free(remedy);
}

void doctor_backup(const struct doctor *d, struct check_results *out)
{
	for (size_t i = 0; i < d->site->backup_count; i++)
		check_backup(d->site, &d->site->backups[i], out);
	if (d->site->backup_count == 0)
		check_results_add(out, CHECK_WARNING, "backup", "",
		    "add: backup = ( { name = \"nightly\"; repository = \"/srv/backup\"; } );",
		    "the site names no backup");
}
