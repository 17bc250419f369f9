/* timers.h: lists of timers, without a machine. */
#include "apply/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_unit(const void *a, const void *b)
{
	const struct timer *x = a, *y = b;

	int r = strcmp(x->unit, y->unit);

	return r != 0 ? r : strcmp(x->schedule, y->schedule);
}

void timers_add(struct timers *t, const char *unit, const char *schedule, bool active)
{
	t->at = xreallocarray(t->at, t->count + 1, sizeof(*t->at));
	t->at[t->count++] = (struct timer){ xstrdup(unit), xstrdup(schedule), active };
	qsort(t->at, t->count, sizeof(*t->at), by_unit);
}

void timers_free(struct timers *t)
{
	for (size_t i = 0; i < t->count; i++) {
		free(t->at[i].unit);
		free(t->at[i].schedule);
	}
	free(t->at);
	*t = (struct timers){ NULL, 0 };
}

void timers_wanted(const struct site *site, struct timers *t)
{
	timers_add(t, "mailadm-status.timer", "", true);
	if (strcmp(site->role, "gateway") == 0)
		return;
	timers_add(t, "mailadm-doctor.timer", "", true);
	timers_add(t, "mailadm-rollover.timer", "", true); /* also for a rollover that was started by hand */
	for (size_t i = 0; i < site->backup_count; i++) {
		char *unit = xasprintf("mailadm-backup@%s.timer", site->backups[i].name);

		timers_add(t, unit, site->backups[i].schedule, true);
		free(unit);
	}
}

static void say(struct buf *diff, char sign, const struct timer *t)
{
	buf_printf(diff, "%c %s%s%s%s\n", sign, t->unit, t->schedule[0] != '\0' ? " " : "", t->schedule,
	    t->active ? "" : " (stopped)");
}

bool timers_differ(const struct timers *has, const struct timers *wants, struct buf *diff)
{
	bool differ = false;

	for (size_t i = 0, j = 0; i < has->count || j < wants->count;) {
		const struct timer *a = i < has->count ? &has->at[i] : NULL;
		const struct timer *b = j < wants->count ? &wants->at[j] : NULL;
		int r = a == NULL ? 1 : b == NULL ? -1 : strcmp(a->unit, b->unit);

		if (r != 0 || strcmp(a->schedule, b->schedule) != 0 || a->active != b->active) {
			if (r <= 0)
				say(diff, '-', a);
			if (r >= 0)
				say(diff, '+', b);
			differ = true;
		}
		i += r <= 0;
		j += r >= 0;
	}
	return differ;
}

void timers_text(const struct timers *t, struct buf *out)
{
	for (size_t i = 0; i < t->count; i++)
		buf_printf(out, "%s\t%s\n", t->at[i].unit, t->at[i].schedule);
}

int timers_parse(struct view v, struct timers *t, struct error *e)
{
	while (v.len > 0) {
		const char *end = memchr(v.ptr, '\n', v.len), *tab = memchr(v.ptr, '\t', v.len);
		char unit[256], schedule[256];

		if (end == NULL || tab == NULL || tab > end || t->count >= TIMERS_MAX ||
		    view_copy((struct view){ v.ptr, (size_t)(tab - v.ptr) }, unit, sizeof(unit)) < 0 ||
		    view_copy((struct view){ tab + 1, (size_t)(end - tab - 1) }, schedule, sizeof(schedule)) < 0)
			return error_set(e, "the list of timers that was kept is damaged");
		timers_add(t, unit, schedule, true);
		v.len -= (size_t)(end + 1 - v.ptr);
		v.ptr = end + 1;
	}
	return 0;
}

/* "Mon" -> 1 */
static int weekday(const char *name)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

	for (int i = 0; i < 7; i++)
		if (strcmp(name, days[i]) == 0)
			return i;
	return -1;
}

int timers_cron_fields(const char *calendar, char out[64])
{
	static const struct {
		const char *name, *fields;
	} words[] = { { "hourly", "0 * * * *" }, { "daily", "0 0 * * *" }, { "weekly", "0 0 * * 1" },
		{ "monthly", "0 0 1 * *" } };
	char day[8] = "", wday[8] = "*";
	unsigned hour, minute, second = 0;
	int end = -1, end_short = -1, n;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(calendar, words[i].name) == 0) {
			snprintf(out, 64, "%s", words[i].fields);
			return 0;
		}
	}
	if (sscanf(calendar, "%3[A-Za-z] ", day) == 1) {
		if ((n = weekday(day)) < 0)
			return -1;
		snprintf(wday, sizeof(wday), "%d", n);
		calendar += strlen(day) + strspn(calendar + strlen(day), " ");
	}
	if (strncmp(calendar, "*-*-* ", 6) == 0)
		calendar += 6;
	if (sscanf(calendar, "%2u:%2u%n:%2u%n", &hour, &minute, &end_short, &second, &end) < 2 || hour > 23 ||
	    minute > 59 || second > 59)
		return -1;
	if ((end < 0 ? end_short : end) != (int)strlen(calendar))
		return -1;
	snprintf(out, 64, "%u %u * * %s", minute, hour, wday);
	return 0;
}
