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
struct buf;
struct view;
#define PROC_LIMIT_S 60
/*
 * Runs a program found in PATH to its end without a shell: input to its stdin (may be empty), output appended (NULL
 * discards it; what passes err->max is dropped, more than out->max is an error).  Exit status, or -1.  It has a process
 * group of its own, which is killed after PROC_LIMIT_S seconds: that is an error as well.  With -1 errno is ENOENT only
 * when there is no such program, and ETIMEDOUT only when it was killed.
 */
int proc_run(char *const argv[], struct view input, struct buf *out, struct buf *err, struct error *);
/* The same without a limit, in our process group: what may ask on the terminal, or takes hours. */
int proc_run_unlimited(char *const argv[], struct view input, struct buf *out, struct buf *err, struct error *);
/* PROC_LIMIT_S, or what the environment says in tests, in seconds. */
unsigned proc_limit(void);
/* Writes a whole file so that it is there in full or not at all: temporary file, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, struct view data, mode_t mode, struct error *);
/* Writes all of it to a descriptor that blocks: 0, or -1 with errno. */
int file_write_all(int fd, struct view data);
/* Reads a whole file of at most max bytes. */
int file_read(const char *path, size_t max, struct buf *out, struct error *);
/* The same of a file that need not be there: 1 read, 0 there is none, -1 it is there and cannot be read. */
int file_read_there(const char *path, size_t max, struct buf *out, struct error *);
int file_mkdirs(const char *path, mode_t mode, struct error *);

#endif
