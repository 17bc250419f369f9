/*
 * Where the host's log is: log.destination and the files that logrotate made of it, systemd's journal when the host logs
 * to stderr under systemd, or a file that the command line names.
 */
#ifndef CLI_LOG_SOURCE_H
#define CLI_LOG_SOURCE_H

#include <signal.h>

#include "cli/cli.h"
#include "lib/logline.h"

struct log_source;
extern volatile sig_atomic_t log_source_stopped; /* what follows ends */
void log_source_stop(void);                      /* sets it; for a signal handler */

/*
 * file: the command line's, "-" is stdin; NULL: as the site says.  since: lines before it are not wanted (rotated files
 * that ended before are passed over).  follow: at the end it waits for more, also through a rotation.  NULL: e says what
 * to do.
 */
struct log_source *log_source_open(struct cli *, const char *file, int64_t since, bool follow, struct error *e);
void log_source_close(struct log_source *); /* NULL is fine */
/*
 * The next line of ours, oldest first; it is valid until the next call.  1: a line; 0: the end, or stopped; -1: e.
 */
int log_source_next(struct log_source *, struct log_line *out, struct error *e);

/* Adds the pairs of a line's text to an object, as they were before they were escaped: those it has no key of yet. */
void log_pairs_json(struct view text, json_t *o);

#endif
