/* The folder that is backed up: STATE/backup/NAME, the same at each run, so that restic recognises what did not change.
 */
#ifndef BACKUP_STAGE_H
#define BACKUP_STAGE_H

#include "lib/log.h"
#include "site/site.h"

/* Fills it from nothing: segments by hard link, all else by copy. segments: file names, NULL-terminated. */
int stage_make(const struct site *, const char *stage, char *const *segments, struct error *);
int stage_remove(const char *stage, struct error *); /* a folder and all in it; fine if it is not there */
/*
 * Moves a stage that lies somewhere below `work` to dir (of the same file system), and points its site file at
 * dir/state. As root all of it becomes root's: monitor gives store its own, whose number may be another on this
 * machine.
 */
int stage_unpack(const char *work, const char *dir, struct error *);

/* repoint.c: the text of a site file without its state_dir and run_dir; answers how many settings were left out. */
size_t repoint_remove(struct view text, struct buf *out);

#endif
