/*
 * Who runs a command, and over which connection: found from the parent processes, since sudo strips SSH_CONNECTION.
 * What /proc says is what other users' processes call themselves: it decides who is asked to open a new connection,
 * never who has rights.
 */
#ifndef APPLY_CALLER_H
#define APPLY_CALLER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/log.h"

struct caller {
	bool ssh;       /* the sshd of one connection is an ancestor */
	bool multiplex; /* SSH_CONNECTION is in an ancestor's environment, but no sshd is one: tmux, screen */
	pid_t sshd;
	uint64_t sshd_start; /* clock ticks since boot, as in /proc/PID/stat */
	bool addressed;      /* the connection's addresses are known: */
	bool ipv6;
	unsigned char from[16], to[16]; /* network order; IPv4 in the first four bytes */
	uint16_t from_port, to_port;
	pid_t session;
	uint64_t session_start; /* of its leader; 0 when that is gone */
	char tty[32];           /* "pts/0", or "" */
	char user[64];          /* "alice (as root)" */
};

/* proc is "/proc", or a tree like it. */
void caller_find(const char *proc, pid_t, struct caller *);
void caller_self(struct caller *); /* this process, with its user's name */
/* "alice (as root) from 192.0.2.7 on pts/0" */
void caller_text(const struct caller *, char *out, size_t size);
bool caller_is_remote(const struct caller *); /* from a known address that is not this machine's loopback */
void caller_from(const struct caller *, char *out, size_t size); /* the address it connects from, or "" */

/*
 * May `now` confirm what `then` applied?  It has to come over a connection that began after since_ms (CLOCK_BOOTTIME:
 * the moment from which the new rules counted), since an established connection outlives rules that refuse new ones.
 * Without ssh on either side another session does, and console overrides what is not provably the same connection.  A
 * connection from the host itself is none.
 */
int caller_may_confirm(
    const struct caller *then, uint64_t since_ms, const struct caller *now, bool console, struct error *);

json_t *caller_json(const struct caller *);
int caller_from_json(const json_t *, struct caller *); /* -1: it is none */

uint64_t clock_boot_ms(void);
/* When a process began, in ticks since boot; 0 when there is none, or only its zombie. */
uint64_t process_start(const char *proc, pid_t);

#endif
