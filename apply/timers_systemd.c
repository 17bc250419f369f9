/*
 * timers.h on systemd.  A timer is enabled when its link stands in timers.target.wants; its schedule, when it is not
 * the unit file's, is a drop-in of ours.  systemctl is asked only whether they are active, and to change them.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/timers.h"
#include "lib/proc.h"

#define UNITS "/etc/systemd/system"
#define WANTS UNITS "/timers.target.wants"
#define DROP_IN "mailadm-schedule.conf"
#define CALENDAR "OnCalendar="
#define DROP_IN_MAX 4096
#define OUTPUT_MAX 65536

static char *drop_in_path(const char *unit)
{
	return xasprintf(UNITS "/%s.d/" DROP_IN, unit);
}

/* The last OnCalendar of our drop-in (the one before it empties the list), or "". */
static char *read_schedule(const char *unit)
{
	char *path = drop_in_path(unit), *schedule = xstrdup("");
	struct buf text = BUF_INIT(DROP_IN_MAX);
	struct error e;

	if (access(path, F_OK) == 0 && file_read(path, DROP_IN_MAX, &text, &e) == 0) {
		char *rest = (char *)(uintptr_t)buf_str(&text), *line;

		while ((line = strsep(&rest, "\n")) != NULL) {
			if (strncmp(line, CALENDAR, strlen(CALENDAR)) != 0)
				continue;
			free(schedule);
			schedule = xstrdup(line + strlen(CALENDAR));
		}
	}
	buf_free(&text);
	free(path);
	return schedule;
}

/* systemctl VERB UNIT...; its output is appended when out is not NULL. */
static int systemctl(const char *const *verb, const struct timers *t, bool (*which)(const struct timer *),
    struct buf *out, struct error *e)
{
	char *argv[TIMERS_MAX + 8] = { "systemctl" };
	struct buf err = BUF_INIT(OUTPUT_MAX), nothing = BUF_INIT(OUTPUT_MAX);
	size_t n = 1, verbs;
	int r;

	for (; *verb != NULL; verb++)
		argv[n++] = (char *)(uintptr_t)*verb;
	verbs = n;
	for (size_t i = 0; t != NULL && i < t->count && n < TIMERS_MAX + 7; i++)
		if (which == NULL || which(&t->at[i]))
			argv[n++] = t->at[i].unit;
	if (t != NULL && n == verbs)
		return 0;
	r = proc_run(argv, VIEW_NONE, out != NULL ? out : &nothing, &err, e);
	if (r > 0 && out == NULL)
		r = error_set(e, "systemctl %s: %.400s", argv[1], buf_str(&err));
	buf_free(&err);
	buf_free(&nothing);
	return r;
}

/* One line a unit, in the order asked. */
static int read_active(struct timers *t, struct error *e)
{
	static const char *const verb[] = { "is-active", NULL };
	struct buf out = BUF_INIT(OUTPUT_MAX);
	int r = systemctl(verb, t, NULL, &out, e);
	char *rest = (char *)(uintptr_t)buf_str(&out);

	for (size_t i = 0; r >= 0 && i < t->count; i++) {
		const char *line = strsep(&rest, "\n");

		t->at[i].active = line != NULL && strcmp(line, "active") == 0;
	}
	buf_free(&out);
	return r < 0 ? -1 : 0;
}

int timers_systemd_read(struct timers *t, struct error *e)
{
	DIR *dir = opendir(WANTS);

	if (dir == NULL && errno != ENOENT)
		return error_errno(e, WANTS);
	for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;) {
		char *schedule;

		if (fnmatch("mailadm-*.timer", d->d_name, 0) != 0 || t->count >= TIMERS_MAX)
			continue;
		schedule = read_schedule(d->d_name);
		timers_add(t, d->d_name, schedule, false);
		free(schedule);
	}
	if (dir != NULL)
		closedir(dir);
	return t->count > 0 ? read_active(t, e) : 0;
}

static int write_schedule(const struct timer *t, struct error *e)
{
	char *path = drop_in_path(t->unit), *folder = xasprintf(UNITS "/%s.d", t->unit);
	struct buf text = BUF_INIT(DROP_IN_MAX);
	int r = 0;

	if (t->schedule[0] == '\0') {
		if (unlink(path) == 0)
			rmdir(folder); /* unless others have drop-ins there */
		else if (errno != ENOENT)
			r = error_errno(e, "%s", path);
	} else {
		buf_printf(&text, "# Written by mailadm apply.\n[Timer]\n" CALENDAR "\n" CALENDAR "%s\n", t->schedule);
		r = text.full                          ? error_set(e, "%s: the schedule is too long", t->unit)
		    : file_mkdirs(folder, 0755, e) < 0 ? -1
		                                       : file_write_atomic(path, buf_view(&text), 0644, e);
	}
	buf_free(&text);
	free(path);
	free(folder);
	return r;
}

static const struct timer *find(const struct timers *t, const char *unit)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->at[i].unit, unit) == 0)
			return &t->at[i];
	return NULL;
}

static bool has_schedule(const struct timer *t)
{
	return t->schedule[0] != '\0';
}

int timers_systemd_set(const struct timers *has, const struct timers *wants, struct error *e)
{
	/* Without waiting: the boot unit takes back before timers can start, which would wait for it. */
	static const char *const reload[] = { "daemon-reload", NULL },
				 *const enable[] = { "enable", "--now", "--no-block", NULL },
				 *const disable[] = { "disable", "--now", "--no-block", NULL },
				 *const restart[] = { "restart", "--no-block", NULL };
	struct timers gone = { NULL, 0 };
	int r = 0;

	for (size_t i = 0; i < has->count; i++)
		if (find(wants, has->at[i].unit) == NULL)
			timers_add(&gone, has->at[i].unit, "", false);
	r = systemctl(disable, &gone, NULL, NULL, e);
	for (size_t i = 0; r == 0 && i < gone.count; i++)
		r = write_schedule(&gone.at[i], e);
	for (size_t i = 0; r == 0 && i < wants->count; i++)
		r = write_schedule(&wants->at[i], e);
	if (r == 0 && (r = systemctl(reload, NULL, NULL, NULL, e)) == 0)
		r = systemctl(enable, wants, NULL, NULL, e);
	if (r == 0) /* a new schedule counts from here */
		r = systemctl(restart, wants, has_schedule, NULL, e);
	timers_free(&gone);
	return r < 0 ? -1 : 0;
}
