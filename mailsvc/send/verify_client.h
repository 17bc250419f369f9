/*
 * Asking the send role whether the host behind a recipient takes it (domains[].verify): it says MAIL, RCPT and RSET
 * there, and sends nothing.
 */
#ifndef MAILSVC_SEND_VERIFY_CLIENT_H
#define MAILSVC_SEND_VERIFY_CLIENT_H

#include "lib/rpc.h"

#define VERIFY_ENHANCED_MAX 9 /* "5.123.123" */
#define VERIFY_RELAY_MAX 383
#define VERIFY_TEXT_MAX 300

enum verify_status {
	VERIFY_TAKEN,
	VERIFY_REFUSED, /* for good */
	VERIFY_UNKNOWN, /* not now, nobody there can be asked, or the send role is away */
	VERIFY_STATUS_COUNT
};
struct verify_answer {
	enum verify_status status;
	char enhanced[VERIFY_ENHANCED_MAX + 1]; /* VERIFY_REFUSED: of class 5 (RFC 3463); else "" */
	char relay[VERIFY_RELAY_MAX + 1];       /* the host that says so, "host[address]:port", "" none */
	char text[VERIFY_TEXT_MAX + 1];         /* in its words or ours; printable ASCII, as is relay */
};

typedef void (*verify_fn)(void *arg, const struct verify_answer *);
struct verify_client;
struct verify_client *verify_client_new(struct event_base *);
void verify_client_free(struct verify_client *);
void verify_client_attach(struct verify_client *, int fd); /* of the channel that monitor sent */
/*
 * fn is called once, from the event loop; when nobody answers that may be late, so whoever asks has a limit of its own.
 * sender ("" : <>) chooses the way only.  Returns an id for verify_cancel, never 0.
 */
uint32_t verify_ask(struct verify_client *, const char *sender, const char *recipient, verify_fn fn, void *arg);
void verify_cancel(struct verify_client *, uint32_t id); /* fn will not come; 0 is ignored */

#endif
