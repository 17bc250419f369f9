/* What plan, apply, confirm and rollback share on the command line. */
#ifndef CLI_APPLIED_H
#define CLI_APPLIED_H

#include "apply/apply.h"
#include "cli/cli.h"

struct apply_options {
	const char *why;
	unsigned confirm; /* seconds; 0: at once */
	bool yes, force_lockout, list, recover, boot;
	const char *argument; /* the plan file, or the number */
};
/* Options of apply and rollback; 0, or an exit status + 1 when the command is over. */
int applied_options(struct cli *, const struct command *, int argc, char **argv, struct apply_options *);
/* STATE/apply with its lock and nothing pending; -1 with a message printed. */
int applied_open(struct cli *, struct apply_dir *);
/* Looks at the administrator's own connection, asks, and applies; an exit status. */
int applied_run(struct cli *, struct apply_dir *, struct apply_request *, const struct apply_options *, struct plan *);
int applied_list(struct cli *); /* all generations, newest last */
/* The state folder, also when the site file cannot be loaded now; NULL with a message printed. */
const char *applied_state_dir(struct cli *);

#endif
