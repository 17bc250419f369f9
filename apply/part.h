/*
 * A part of the host that the site decides: the daemon, the firewall, the zones, the timers.  The command line treats
 * them alike: plan shows the difference, apply makes it so, capture and restore are the way back, status is plan for
 * cron.
 */
#ifndef APPLY_PART_H
#define APPLY_PART_H

#include <jansson.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

struct change {
	const char *part; /* the part's name */
	char *what;       /* one line: "zone example.org: 3 records differ" */
	char *diff;       /* lines that begin with '-' or '+', or "" */
};
struct changes {
	struct change *at;
	size_t count;
};
void changes_add(struct changes *, const char *part, struct view diff, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void changes_free(struct changes *);

/*
 * Every function may be called again after it was cut off anywhere: capture, apply and restore are idempotent.
 * plan must be pure (it changes nothing) and deterministic: the same live host and site give the same changes, byte
 * for byte, since the plan's checksum is made of them.
 */
struct part {
	const char *name;
	/* Is this part ours on this machine (site role, tools installed)?  If not, why: shown by plan and status. */
	bool (*applies)(const struct site *, struct buf *why);
	int (*plan)(const struct site *, struct changes *, struct error *);
	/* The live state to files in dir (there already, 0700): all that restore needs. */
	int (*capture)(const struct site *, const char *dir, struct error *);
	int (*apply)(const struct site *, struct error *); /* all or nothing */
	int (*restore)(const struct site *, const char *dir, struct error *);
};

/*
 * In the order of apply (restore goes backwards): keys and certificate before zones, zones before the daemon that
 * names depend on, the daemon's listeners before the firewall opens their ports, timers last.
 */
extern const struct part *const parts[]; /* NULL-terminated */
extern const struct part part_keys, part_zones, part_daemon, part_firewall, part_timers;

/* Does the part apply here?  If not and why is not NULL, *why is a malloc'd line. */
bool part_applies(const struct part *, const struct site *, char **why);
/* All parts that apply, in order. -1 with the part's name in the error. */
int parts_plan(const struct site *, struct changes *, struct error *);

#endif
