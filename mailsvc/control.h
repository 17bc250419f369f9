/*
 * The control socket, run_dir/control.sock (SOCK_SEQPACKET, 0600): how `mailadm` speaks to a running monitor.  A client
 * sends one request at a time and gets one reply.  Texts travel as sealed memfds, since status and findings can be
 * long.
 */
#ifndef MAILSVC_CONTROL_H
#define MAILSVC_CONTROL_H

#include "lib/imsg.h"
#include "lib/log.h"
#include "site/site.h"

#define CONTROL_SOCKET "control.sock" /* in run_dir */

enum control_type {
	CONTROL_STATUS = 1, /* -> TEXT: a JSON object, see `mailadm status --json` */
	CONTROL_RELOAD,     /* -> TEXT: findings that are warnings, or FAILED: the errors; the old site stays then */
	CONTROL_REOPEN,     /* opens the log file anew -> TEXT */
	CONTROL_STORE,      /* -> CHANNEL: a channel to store for store_admin_* */
	CONTROL_GUARD,      /* -> CHANNEL: a channel to guard, see guard/proto.h */
	CONTROL_SITE,       /* -> TEXT: the flattened site that runs */
	CONTROL_RELOAD_SITE, /* with a sealed memfd, a flattened site to serve from now on: as RELOAD */
	CONTROL_TEXT = 64,
	CONTROL_FAILED, /* with a text */
	CONTROL_CHANNEL,
};
#define CONTROL_TEXT_MAX (64u * 1024 * 1024) /* a flattened site */
#define CONTROL_RELOAD_TIMEOUT_MS 60000
#define CONTROL_TIMEOUT_MS 10000

/* Connects; -1 with what to do, -2 when the host does not run. */
int control_connect(const struct site *, struct error *);
/* Sends one request and waits: 0 with the text (or *channel), 1 for FAILED with its text, -1 when the talk itself
 * failed. channel may be NULL. */
int control_ask(int fd, enum control_type, int timeout_ms, struct buf *text, int *channel, struct error *);
/* The same with a descriptor, which stays the caller's. */
int control_ask_with(
    int fd, enum control_type, int passfd, int timeout_ms, struct buf *text, int *channel, struct error *);
/* Monitor's side: a reply with a text. */
int control_reply(struct chan *, enum control_type, uint32_t id, struct view text);

#endif
