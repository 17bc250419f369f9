/* Which timers a host has: wanted by the site, as systemd has them, and both compared.  A list is kept sorted by unit.
 */
#ifndef APPLY_TIMERS_H
#define APPLY_TIMERS_H

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

#define TIMERS_MAX 256

struct timer {
	char *unit;     /* "mailadm-backup@nightly.timer" */
	char *schedule; /* OnCalendar, or "": as the unit file says */
	bool active;
};
struct timers {
	struct timer *at;
	size_t count;
};

void timers_add(struct timers *, const char *unit, const char *schedule, bool active);
void timers_free(struct timers *);
void timers_wanted(const struct site *, struct timers *);
/* "+ unit schedule" and "- unit schedule" for what has and wants do not share; false when they are the same. */
bool timers_differ(const struct timers *has, const struct timers *wants, struct buf *diff);
/* A line each: "unit TAB schedule"; back: -1 when it is no such text. */
void timers_text(const struct timers *, struct buf *out);
int timers_parse(struct view, struct timers *, struct error *);

int timers_systemd_read(struct timers *, struct error *);
int timers_systemd_set(const struct timers *has, const struct timers *wants, struct error *);

/* OnCalendar as the five fields of crontab(5): "*-*-* 03:30:00", "Mon *-*-* 04:00", "daily"; -1 for what cron cannot
 * say. */
int timers_cron_fields(const char *calendar, char out[64]);

#endif
