/* Parts of mailadm store with files of their own. */
#ifndef CLI_STORE_H
#define CLI_STORE_H

#include "cli.h"

/* running: the host serves; else dir is the store's folder, and the host's lock is held. */
int store_compact_command(struct cli *, bool running, int dir, bool all);
int store_downgrade_command(struct cli *, int dir);

#endif
