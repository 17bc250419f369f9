/*
 * The command line's side of the host's submission socket: a blocking SMTP client.  Failures are printed, and given as
 * exit codes of sysexits.h.
 */
#ifndef CLI_SUBMIT_H
#define CLI_SUBMIT_H

#include "cli/cli.h"

struct submit {
	int fd;
	struct buf in;
	int code;        /* of the last reply */
	struct buf text; /* and its last line */
};

int submit_open(struct cli *, struct submit *); /* the greeting is not read yet; submit_close even after a failure */
void submit_close(struct submit *);             /* also of { .fd = -1 } */
int submit_send(struct submit *, struct view);  /* 0, or -1 */
int submit_reply(struct submit *);              /* reads a whole reply: 0, or EX_TEMPFAIL when the host went away */
/* Sends one command line (without its end) and reads the reply. */
int submit_ask(struct submit *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints "mailadm: sendmail: ..."; returns status. */
int submit_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
