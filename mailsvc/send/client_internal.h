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
	CLIENT_BODY,  /* until the end of the message has left */
	CLIENT_FINAL,
	CLIENT_EMPTY, /* the same of a message that nobody is to get */
	CLIENT_RSET,
};

/*
 * Beyond the time of each step: what a host may take in all, however it spreads its slowness.  Once the end of the
 * message has left, its answer has the time of that step alone, since who hangs up then delivers twice.
 */
struct client_limits {
	unsigned session_s;     /* from connecting to the first transaction */
	unsigned transaction_s; /* from MAIL to the end of the message, and */
	unsigned recipient_s;   /* for each recipient after the first, */
	unsigned bytes_per_s;   /* and for the message at this pace */
	unsigned lmtp_s;        /* LMTP: for each answer after the first */
};
extern struct client_limits client_limits;
#define FINAL_S 600 /* for the answer to the message (RFC 5321 4.5.3.2.6) */

struct smtp_client {
	struct event_base *base;
	const struct smtp_client_ops *ops;
	void *arg;
	struct conn *conn;
	struct event *timer;
	enum client_state state;
	uint64_t made;  /* monotonic ms */
	uint64_t until; /* monotonic ms: the end of what the host may take in all; 0: no such end */
	bool until_next; /* the timer stands for that, rather than for the step's own time */
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
	size_t *asked, asked_count; /* those the host is asked about; the others fail by ourselves */
	size_t sent, answered;      /* commands of the envelope: MAIL is 0, asked[i] is i + 1 */
	size_t accepted;
	int mail_code;                       /* the answer to MAIL, if it was not 2xx; else 0 */
	char mail_reply[REPLY_TEXT_MAX + 1]; /* that answer, or our own words in CLIENT_REFUSED */
	bool data_said; /* DATA went with the envelope: its answer comes after those of the recipients */
	bool chunked;   /* by BDAT: left is what is still to be written */
	bool fed;     /* all of the message is written, if not sent */
	struct view left;
	struct dotstuff dots;
	struct buf slice;
};

void client_enter(struct smtp_client *, enum client_state);
void client_limit(struct smtp_client *, uint64_t seconds); /* the states from now on have that long in all; 0: no limit */
void client_fail(struct smtp_client *, enum smtp_failure, const char *reply);
void client_fail_reply(struct smtp_client *, enum smtp_failure); /* with the peer's own words */

void client_fail_step(struct smtp_client *); /* since it does not answer what it was asked */

/*
 * More has come than was asked for, so that what comes next would be taken for the answer to the wrong command: true,
 * and the connection has failed.
 */
bool client_out_of_step(struct smtp_client *);

void client_on_envelope(struct smtp_client *);
void client_on_data(struct smtp_client *);
void client_on_early(struct smtp_client *); /* a reply before the message was all sent */
void client_on_final(struct smtp_client *);
void client_on_empty(struct smtp_client *);
void client_on_rset(struct smtp_client *);
void client_feed(struct smtp_client *); /* output has room */
void client_refuse_all(struct smtp_client *);

#endif
