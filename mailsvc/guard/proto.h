/*
 * The messages of guard.  From auth, smtp and login nothing is answered; from a command line (a channel that monitor
 * made) each request gets one reply.  Whoever sends anything else loses its channel.
 */
#ifndef MAILSVC_GUARD_PROTO_H
#define MAILSVC_GUARD_PROTO_H

#include "mailsvc/guard/jail.h"
#include "mailsvc/guard/source.h"

/* Two hosts with one firewall would undo each other's bans: one with port_offset stands beside the real one. */
#define GUARD_ASIDE "port_offset is set: a host to try things on leaves the machine's firewall alone"

enum guard_message {
	GUARD_MSG_OFFENCE = 1, /* u8 enum offence, source; auth: OFFENCE_LOGIN alone, the others all but that */
	GUARD_MSG_LOGIN,       /* source; from auth alone */
	GUARD_MSG_BAN,         /* source, u64 seconds (0: as the site says), str why */
	GUARD_MSG_UNBAN,       /* source */
	GUARD_MSG_LIST,
	GUARD_MSG_DONE = 64, /* i64 until (BAN), 0; str why it has no effect yet, or will not last ("" : fine) */
	GUARD_MSG_REFUSED,   /* str why */
	GUARD_MSG_BANS,      /* fd: sealed memfd of state_print's text */
};

#endif
