/* The administrator's own command: `sh -c LINE` with a text on its stdin, as a user without rights, for a limited time.
 */
#ifndef LIB_SHELL_H
#define LIB_SHELL_H

#include <sys/types.h>

#include "buf.h"
#include "log.h"

#define SHELL_USER "mailadm-alert" /* who it runs as when root starts it: a user that owns nothing */
#define SHELL_LIMIT_S 30           /* for alerts */

/*
 * Starts it in a process group of its own, with a small environment, nothing but 0, 1 and 2 open, and no way to gain
 * rights.  What it prints goes to err_fd (-1: nowhere).  The pid, to be waited for, or -1.
 */
pid_t shell_start(const char *line, struct view input, int err_fd, struct error *);
void shell_kill(pid_t); /* it and what it started; the caller still waits */
/* Starts it and waits, SHELL_LIMIT_S (or limit_s) at most: 0, or -1 with its exit status in words. */
int shell_run(const char *line, struct view input, int err_fd, struct error *);
int shell_run_for(const char *line, struct view input, int err_fd, unsigned limit_s, struct error *);

#endif
