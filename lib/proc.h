/* Starting processes: a role is a re-exec of this very binary with a clean environment and a channel on fd 3. */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include <sys/types.h>

#include "log.h"

#define PROC_CHANNEL_FD 3

/*
 * Forks and execs /proc/self/exe with argv; fd channel becomes PROC_CHANNEL_FD, log_fd becomes 2, 0 and 1 are
 * /dev/null, everything else is closed.  The child dies with its parent (PR_SET_PDEATHSIG).  Both descriptors stay
 * the caller's to close.  -1 on failure.
 */
pid_t proc_spawn_self(char *const argv[], int channel, int log_fd, struct error *);
/*
 * Runs a program found in PATH to its end without a shell: input to its stdin (may be empty), output appended (NULL
 * discards it; what passes err->max is dropped, more than out->max is an error).  Exit status, or -1.
 */
struct buf;
struct view;
int proc_run(char *const argv[], struct view input, struct buf *out, struct buf *err, struct error *);
/* Writes a whole file so that it is there in full or not at all: temporary file, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, struct view data, mode_t mode, struct error *);
/* Reads a whole file of at most max bytes. */
int file_read(const char *path, size_t max, struct buf *out, struct error *);
int file_mkdirs(const char *path, mode_t mode, struct error *);

#endif
