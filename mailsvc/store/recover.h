/* What engine.c needs of recover.c. */
#ifndef MAILSVC_STORE_RECOVER_H
#define MAILSVC_STORE_RECOVER_H

#include "engine.h"

/* Brings an opened index up to the log's end and finds where to append. -1: the index is of no use (err says why). */
int recover_replay(struct engine *, bool writable, struct error *);
/* After an aborted transaction: a new one that stands at the log's end again. */
int recover_catch_up(struct engine *);

#endif
