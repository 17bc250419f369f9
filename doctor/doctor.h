/*
 * The doctor: looks at a host from outside in, and says what is wrong and what to do.  Each check runs in a process of
 * its own, a few at once, so that one that hangs (a name server, a disk, a repository far away) costs its own time and
 * no more; what has not answered by then is unknown, never wrong.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include <jansson.h>

#include "dnsgen/check_result.h"
#include "lib/log.h"
#include "site/site.h"

struct doctor {
	const struct site *site;
	bool offline;           /* leave out what asks other machines */
	unsigned limit_ms;      /* for each check */
	uint64_t end;           /* clock_mono_ms when a check that runs is ended; set for it */
	const char *smtp_probe; /* ADDRESS or ADDRESS@PORT: where port 25 out is tried; NULL: large providers */
	const char *rdap;       /* the URL before a domain's name */
};
#define DOCTOR_LIMIT_MS 10000
#define DOCTOR_AT_ONCE 6
#define DOCTOR_MARGIN_MS 500 /* for a check to hand over its rows */
#define DOCTOR_RDAP "https://rdap.org/domain/"

struct doctor_check {
	const char *name;
	const char *what; /* one line for --help */
	bool online;      /* asks other machines */
	void (*run)(const struct doctor *, struct check_results *);
};
extern const struct doctor_check doctor_checks[]; /* in the order of the rows; ends with a NULL name */

/* Is there a check of that name? */
bool doctor_has(const char *name);
/*
 * Runs all of them, or those in `only` (count 0: all).  Takes at most limit_ms times the number of checks divided by
 * DOCTOR_AT_ONCE.  -1 when no process could be started.
 */
int doctor_run(const struct doctor *, const struct strings *only, struct check_results *, struct error *);

/* The checks, by file. */
void doctor_smtp_out(const struct doctor *, struct check_results *);     /* network.c */
void doctor_interface(const struct doctor *, struct check_results *);    /* interface.c */
void doctor_names(const struct doctor *, struct check_results *);        /* names.c */
void doctor_registration(const struct doctor *, struct check_results *); /* registration.c */
void doctor_certificate(const struct doctor *, struct check_results *);  /* certificate.c */
void doctor_served(const struct doctor *, struct check_results *);       /* served.c */
void doctor_disk(const struct doctor *, struct check_results *);         /* disk.c */
void doctor_latency(const struct doctor *, struct check_results *);
void doctor_clock(const struct doctor *, struct check_results *); /* system.c */
void doctor_files(const struct doctor *, struct check_results *);
void doctor_users(const struct doctor *, struct check_results *);
void doctor_memory(const struct doctor *, struct check_results *);
void doctor_kernel(const struct doctor *, struct check_results *);
void doctor_reboot(const struct doctor *, struct check_results *);
void doctor_ports(const struct doctor *, struct check_results *); /* ports.c */
void doctor_queue(const struct doctor *, struct check_results *); /* mail.c */
void doctor_backup(const struct doctor *, struct check_results *);

/*
 * What a check that runs has left of its time.  One that asks many, one after the other, stops at 0 and says of whom it
 * does not know: ended from outside it would lose what it found.
 */
uint64_t doctor_left_ms(const struct doctor *);
/* "3 days", "5 hours": for people. */
void doctor_age(int64_t seconds, char out[32]);
/* Seconds within which a backup of this OnCalendar schedule must have been made: the longest pause, and half a day. */
int64_t doctor_patience(const char *schedule);
/* The state of the running host as monitor tells it (an object), or NULL with why. */
json_t *doctor_host_status(const struct site *, struct error *);

#endif
