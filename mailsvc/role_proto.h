/*
 * What monitor and a role say to each other on the role's fd 3, and what monitor gives to whom.  Every payload is of
 * fixed size or bounded; files and large texts travel as descriptors.  A message that is not exactly as below ends the
 * role: the role itself when monitor's is wrong (which cannot be), by SIGKILL when the role's is.
 */
#ifndef MAILSVC_ROLE_PROTO_H
#define MAILSVC_ROLE_PROTO_H

#include "role.h"

enum role_message {
	/* monitor -> role */
	ROLE_MSG_INSTANCE = 1, /* u32 instance, u32 counts[ROLE_COUNT]: the first message */
	ROLE_MSG_SITE,         /* fd: sealed memfd of site_flatten's text, and str path (for messages) */
	ROLE_MSG_FD,           /* u32 enum role_fd, fd */
	ROLE_MSG_TICKET_KEY,   /* ROLE_TICKET_KEY_LEN bytes; in force with START or RELOAD */
	ROLE_MSG_LISTENER,     /* u32 enum service, u32 local, fd */
	ROLE_MSG_UNLISTEN,     /* u32 enum service */
	ROLE_MSG_PEER,         /* id: which life of the peer; u32 enum role_id, u32 instance, fd */
	ROLE_MSG_START,        /* ends the setup */
	ROLE_MSG_RELOAD,       /* id: the SITE and FDs sent since are valid now; answered by RELOADED unless 0 */
	ROLE_MSG_LOG,          /* fd: becomes 2 */
	ROLE_MSG_STATUS,       /* id; answered by STATUS_IS */
	ROLE_MSG_DRAIN,
	ROLE_MSG_ALERT_MAIL, /* str key, str text: to smtp 0 */
	/* role -> monitor */
	ROLE_MSG_READY = 64, /* str what sandbox is in force */
	ROLE_MSG_RELOADED,   /* id of RELOAD */
	ROLE_MSG_STATUS_IS,  /* id of STATUS, blob JSON members (ROLE_STATUS_MAX) */
	ROLE_MSG_ALERT,      /* str key, str text */
	/* auth: 32 bytes, then ROLE_LEARNED_MAX times {str address, str old hash, str hash, str SCRAM keys} at most */
	ROLE_MSG_CREDENTIALS,
	ROLE_MSG_KILL_PEER, /* id: that of the last PEER; u32 enum role_id, u32 instance, str why (ROLE_WHY_MAX) */
};

#define ROLE_LEARNED_MAX 128
#define ROLE_SITE_MAX (64u * 1024 * 1024)
#define ROLE_SANDBOX_TEXT_MAX 128

struct role_policy {
	unsigned per_core;     /* 1: as many instances as cores; 0: one */
	unsigned fds;          /* 1 << enum role_fd: what it is given */
	unsigned services;     /* 1 << enum service: the listeners it is given */
	bool local_submission; /* and the submission socket */
	unsigned start_s;      /* READY within so many seconds of START (store may have a log to replay) */
	bool front;            /* drains first at the end; those behind it stop when all of these are gone */
};
const struct role_policy *role_policy(enum role_id);
void role_log_level(const struct site *); /* log.level is in force */

#endif
