/* The folder that is backed up: STATE/backup/NAME, the same at each run, so that restic recognises what did not change. */
#ifndef BACKUP_STAGE_H
#define BACKUP_STAGE_H

#include "lib/log.h"
#include "site/site.h"

/* Fills it from nothing: segments by hard link, all else by copy. segments: file names, NULL-terminated. */
int stage_make(const struct site *, const char *stage, char *const *segments, struct error *);
int stage_remove(const char *stage, struct error *); /* a folder and all in it; fine if it is not there */
/* Moves a restored stage to dir and points its site file at dir/state. */
int stage_unpack(const char *stage, const char *dir, struct error *);

#endif
