/*
 * Asking auth.  login and smtp ask whether a password is right, or carry the messages of a SCRAM exchange; imap redeems
 * the ticket that proves to it that auth, and not just login, let a session in.
 */
#ifndef MAILSVC_AUTH_CLIENT_H
#define MAILSVC_AUTH_CLIENT_H

#include <sys/socket.h>

#include "lib/rpc.h"
#include "mailsvc/auth/scram.h"
#include "site/address.h"
#include "site/site.h"

#define AUTH_TICKET_LEN 16
#define AUTH_PASSWORD_MAX 1024

enum auth_status {
	AUTH_OK,
	AUTH_DENIED,      /* wrong, unknown, or the protocol is off for the account: never said which */
	AUTH_THROTTLED,   /* too many failures from this address or for this account: try later */
	AUTH_UNAVAILABLE, /* auth is not there or overloaded: a temporary failure, not a wrong password */
	AUTH_CONTINUE,    /* SCRAM: message is for the client, whose next one goes to auth_scram_final */
};

struct auth_answer {
	enum auth_status status;
	char address[ADDRESS_MAX];       /* the account, normalised */
	uint8_t ticket[AUTH_TICKET_LEN]; /* for imap; single use, 30 s */
	unsigned protocols;              /* what the account may use */
	char message[SCRAM_MESSAGE_MAX]; /* CONTINUE, and OK after SCRAM: what the client must be sent, not encoded */
	uint64_t exchange;               /* CONTINUE */
};
typedef void (*auth_fn)(void *arg, const struct auth_answer *);

struct auth_client;
struct auth_client *auth_client_new(struct event_base *);
void auth_client_attach(struct auth_client *, int fd);
/* user and password are copied and wiped.  A failed check answers after a delay of its own. */
uint32_t auth_check(struct auth_client *, enum protocol, struct view user, struct view password,
    const struct sockaddr *peer, auth_fn, void *arg);
/*
 * SCRAM-SHA-256: client-first-message, then client-final-message in the exchange that the answer names.  Each exchange
 * is good for one try, within a minute.
 */
uint32_t auth_scram_first(struct auth_client *, enum protocol, struct view message, const struct scram_channel *,
    const struct sockaddr *peer, auth_fn, void *arg);
uint32_t auth_scram_final(struct auth_client *, uint64_t exchange, struct view message, auth_fn, void *arg);
/* Every account can log in by SCRAM: it is worth offering, since a client that is offered it tries nothing else. */
bool auth_offers_scram(const struct auth_client *);
uint32_t auth_redeem(struct auth_client *, const uint8_t ticket[AUTH_TICKET_LEN], auth_fn, void *arg);
void auth_cancel(struct auth_client *, uint32_t id);

#endif
