/*
 * Asking auth.  login and smtp ask whether a password is right; imap redeems the ticket that proves to it that auth,
 * and not just login, let a session in.
 */
#ifndef MAILSVC_AUTH_CLIENT_H
#define MAILSVC_AUTH_CLIENT_H

#include <sys/socket.h>

#include "lib/rpc.h"
#include "site/address.h"
#include "site/site.h"

#define AUTH_TICKET_LEN 16
#define AUTH_PASSWORD_MAX 1024

enum auth_status {
	AUTH_OK,
	AUTH_DENIED,      /* wrong, unknown, or the protocol is off for the account: never said which */
	AUTH_THROTTLED,   /* too many failures from this address or for this account: try later */
	AUTH_UNAVAILABLE, /* auth is not there or overloaded: a temporary failure, not a wrong password */
};

struct auth_answer {
	enum auth_status status;
	char address[ADDRESS_MAX];       /* the account, normalised */
	uint8_t ticket[AUTH_TICKET_LEN]; /* for imap; single use, 30 s */
	unsigned protocols;              /* what the account may use */
};
typedef void (*auth_fn)(void *arg, const struct auth_answer *);

struct auth_client;
struct auth_client *auth_client_new(struct event_base *);
void auth_client_attach(struct auth_client *, int fd);
/* user and password are copied and wiped.  A failed check answers after a delay of its own. */
uint32_t auth_check(struct auth_client *, enum protocol, struct view user, struct view password,
    const struct sockaddr *peer, auth_fn, void *arg);
uint32_t auth_redeem(struct auth_client *, const uint8_t ticket[AUTH_TICKET_LEN], auth_fn, void *arg);
void auth_cancel(struct auth_client *, uint32_t id);

#endif
