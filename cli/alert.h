/*
 * Telling the administrator what is wrong: once when it changes, once a day while it stays, and once when all is well
 * again.
 */
#ifndef CLI_ALERT_H
#define CLI_ALERT_H

#include "cli/cli.h"
#include "dnsgen/check_result.h"

/* Who tells what, and the file below STATE that keeps what was told. */
struct alert_kind {
	const char *file;
	const char *command; /* "mailadm status": shows what is so now */
	bool wrong_only;     /* warnings and what could not be looked at are not told */
	bool partial;        /* not every check was made: what was told by another is as it was */
};

/*
 * Rows that are not ok are what is wrong; check and subject make its key.  What was told and could not be looked at now
 * stays as it was: nobody is told that it is well again.  Tells by mail through the running host and
 * by admin.command.  0, or -1 with a message printed when nobody could be told or the state cannot be kept: the next
 * run tries again.
 */
int alert_tell(struct cli *, const struct alert_kind *, const struct check_results *);

#endif
