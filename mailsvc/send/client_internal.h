/* What client.c (the session) and client_tx.c (a transaction) share. */
#ifndef MAILSVC_SEND_CLIENT_INTERNAL_H
#define MAILSVC_SEND_CLIENT_INTERNAL_H

#include "client.h"
#include "dotstuff.h"
#include "lib/conn.h"
#include "reply.h"

enum client_state {
	CLIENT_CONNECT,
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_HANDSHAKE,
	CLIENT_AUTH_PLAIN, /* waits for the last answer of either mechanism */
	CLIENT_AUTH_LOGIN,
	CLIENT_AUTH_USER,
	CLIENT_READY,
	CLIENT_REFUSED, /* we refuse the transaction ourselves, from the event loop */
	CLIENT_ENVELOPE,
	CLIENT_DATA,
	CLIENT_BODY,
	CLIENT_FINAL,
	CLIENT_RSET,
};

struct smtp_client {
	struct event_base *base;
	const struct smtp_client_ops *ops;
	void *arg;
	struct conn *conn;
	struct event *timer;
	enum client_state state;
	bool dead; /* freed: no more callbacks, memory goes when the loop comes round */
	struct mx_address to;
	char *helo;
	SSL_CTX *tls;
	bool lmtp, no_chunking;
	struct tls_policy *policy; /* NULL: none */
	bool implicit_tls, starttls_refused, tls_told;
	char *user, *password;
	char tls_text[16];
	struct reply reply;
	struct ehlo ehlo;

	/* The transaction. */
	struct smtp_tx tx;
	enum { RESULT_NONE, RESULT_ACCEPTED, RESULT_SETTLED } * results; /* a recipient each */
	size_t sent, answered; /* commands of the envelope: MAIL is 0, recipient i is i + 1 */
	size_t accepted;
	int mail_code;                       /* the answer to MAIL, if it was not 2xx; else 0 */
	char mail_reply[REPLY_TEXT_MAX + 1]; /* that answer, or our own words in CLIENT_REFUSED */
	bool chunked; /* by BDAT: left is what is still to be written */
	struct view left;
	struct dotstuff dots;
	struct buf slice;
};

void client_enter(struct smtp_client *, enum client_state);
void client_fail(struct smtp_client *, enum smtp_failure, const char *reply);
void client_fail_reply(struct smtp_client *, enum smtp_failure); /* with the peer's own words */

/*
 * More has come than was asked for, so that what comes next would be taken for the answer to the wrong command: true,
 * and the connection has failed.
 */
bool client_out_of_step(struct smtp_client *);

void client_on_envelope(struct smtp_client *);
void client_on_data(struct smtp_client *);
void client_on_early(struct smtp_client *); /* a reply before the message was all sent */
void client_on_final(struct smtp_client *);
void client_on_rset(struct smtp_client *);
void client_feed(struct smtp_client *); /* output has room */
void client_refuse_all(struct smtp_client *);

#endif
