/*
 * Plan, apply, confirm and the way back, over all parts (part.h) and on what generation.h keeps on the disk.  The
 * states of a generation: applying -> (pending ->) confirmed, or -> rolled-back (in time not confirmed, or taken back),
 * or -> failed (a part refused; what was done is undone).
 */
#ifndef APPLY_APPLY_H
#define APPLY_APPLY_H

#include "apply/generation.h"
#include "apply/part.h"

struct plan {
	struct changes changes;
	json_t *skipped;           /* [{"part", "why"}]: parts that do not apply here */
	struct buf flat;           /* the flattened site */
	char digest[DIGEST_HEX];   /* of flat: what the running host calls its site, too */
	char checksum[DIGEST_HEX]; /* of the site and of the changes, which tell of the live host: another host state,
	                              another sum */
};
int plan_make(const struct site *, struct plan *, struct error *);
void plan_free(struct plan *);
json_t *plan_json(const struct plan *, const struct site *);
void plan_text(const struct plan *, struct buf *out); /* for people */
/* A plan file (what plan_json gave): its checksum. -1 when it is none, or for another site. */
int plan_file_read(const char *path, const struct site *, char checksum[DIGEST_HEX], struct error *);

struct apply_request {
	const struct site *site;
	struct view flat; /* the site, flattened */
	const struct generation
	    *back; /* a rollback to before this one: what it captured is restored (site is its site) */
	bool rollback;
	unsigned target;
	struct view serve; /* a rollback: the site that a start serves from then on; empty: the site file's */
	const char *why;
	unsigned confirm; /* seconds to wait for `mailadm confirm`; 0: it counts at once */
	const char *checksum;
	const struct caller *caller;
};
/*
 * All parts in order, guarded by watchdogs; the lock is held and nothing is pending.  0 done (confirmed or pending, see
 * *result), -1: nothing is changed, or what was is back as it was (the error says which).
 */
int apply_run(struct apply_dir *, const struct apply_request *, struct generation *result, struct error *);
/* Keeps what is pending; the lock is held.  1: refused, with why. */
int apply_confirm(struct apply_dir *, const struct caller *, bool console, struct generation *result, struct error *);

enum settle { SETTLE_NOTHING, SETTLE_WAITS, SETTLE_TAKEN_BACK, SETTLE_FINISHED, SETTLE_FAILED };
/*
 * Brings what is pending to its end when that is due (its time is over, the machine was started anew, or the process
 * that applied it is gone), or at once when `now`.  The lock is held; *g is what it was about (unless NOTHING). FAILED:
 * the error says what could not be put back; it stays pending and may be tried again.
 */
enum settle apply_settle(struct apply_dir *, bool now, const char *reason, struct generation *g, struct error *);
/* For any command: settles what is due when this user may, and says so on stderr. Quick when nothing is pending. */
void apply_settle_due(const char *state_dir);

/* Two detached processes, each of which takes the generation back when it is due.  0 when both said that they are
 * armed. */
int watchdog_arm(const struct apply_dir *, const struct generation *, struct error *);
int watchdog_main(const char *state_dir, unsigned number, const char *name); /* an exit status */

/* By admin.command and mail to admin.contact: a generation was taken back, or could not be. */
void apply_tell(const struct apply_dir *, const struct generation *, const char *text);

/*
 * The fault seam: with MAILADM_TEST_KILL_AT=N the Nth step of an apply, confirm, rollback or recover ends the process
 * with SIGKILL, there and then; N beyond the last step does nothing.  Steps stand before and after every durable
 * action. Watchdogs are not told the variable.
 */
void apply_step(void);
#define APPLY_KILL_ENV "MAILADM_TEST_KILL_AT"

#endif
