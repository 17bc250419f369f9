/* How login gives an authenticated connection to imap. */
#ifndef MAILSVC_LOGIN_HANDOFF_H
#define MAILSVC_LOGIN_HANDOFF_H

#include "lib/imsg.h"
#include "mailsvc/auth/client.h"

#define HANDOFF_REST_MAX 16384

/*
 * One message HANDOFF_SESSION with the connection's fd: the plain socket, or one end of a stream socketpair whose other
 * end login relays through TLS.  imap redeems the ticket, opens the account and sends the protocol's success or failure
 * line itself.
 */
enum { HANDOFF_SESSION = 1 };

struct handoff {
	enum protocol protocol; /* PROTOCOL_IMAP or PROTOCOL_POP3 */
	uint8_t ticket[AUTH_TICKET_LEN];
	char tag[65];     /* IMAP: of the command that logged in */
	char session[24]; /* log id */
	char peer[64];    /* address and port, for logs */
	bool tls;
	struct view rest; /* input already read behind the command, at most HANDOFF_REST_MAX */
};
int handoff_put(struct buf *, const struct handoff *);
int handoff_get(struct view, struct handoff *); /* -1: malformed */

#endif
