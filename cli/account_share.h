/* mailadm account share OWNER[/MAILBOX] WITH [--rights R] [--remove] | OWNER[/MAILBOX] --list */
#ifndef CLI_ACCOUNT_SHARE_H
#define CLI_ACCOUNT_SHARE_H

#include "cli.h"

/* argv[0] is "share"; command: whose usage is shown. Returns an exit status. */
int account_share(struct cli *, const struct command *, int argc, char **argv);

#endif
