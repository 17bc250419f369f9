/*
 * One SMTP connection to a remote host, as a client (RFC 5321): greeting to QUIT, with STARTTLS, AUTH and PIPELINING,
 * and any number of transactions one after the other.
 *
 * Callbacks may call smtp_client_free; memory goes when the loop comes round.
 */
#ifndef MAILSVC_SEND_CLIENT_H
#define MAILSVC_SEND_CLIENT_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "mailsvc/store/client.h"
#include "mx.h"
#include "reply.h"
#include "tls_policy.h"

struct smtp_client;

enum smtp_failure {
	SMTP_FAILURE_CONNECT, /* never stood, or ended early, or was silent too long */
	SMTP_FAILURE_TLS,     /* the handshake failed, or TLS is required and not offered */
	SMTP_FAILURE_REPLY,   /* refused us, or is no SMTP server */
	SMTP_FAILURE_AUTH,    /* our credentials are not accepted */
	SMTP_FAILURE_CHUNKING, /* it offers BDAT and does not know it: setup.no_chunking will do */
	SMTP_FAILURE_SLOW,     /* it keeps to each step's time, and the transaction took too long all the same */
};

struct smtp_client_setup {
	const char *helo;            /* our name */
	const struct mx_address *to; /* copied */
	const struct sockaddr *from; /* our own address, or NULL */
	socklen_t from_len;
	SSL_CTX *tls;      /* NULL: stay plain; with a trust store for tls_policy_trusts, made for DANE else */
	bool lmtp;         /* RFC 2033 */
	bool no_chunking;  /* DATA, whatever it offers */
	bool implicit_tls; /* from the first byte (port 465) */
	struct tls_policy *policy;   /* taken over; NULL: TLS is tried, any certificate will do */
	const char *user, *password; /* NULL: no AUTH; copied. A password is sent inside TLS only */
};

/* One transaction; everything must stay valid until done or failed. */
struct smtp_tx {
	const char *sender; /* "": <> */
	const char *const *recipients;
	size_t count;
	struct view message;
	bool smtputf8, eight_bit; /* what was declared of it; the client looks itself whether SMTPUTF8 is needed */
	bool probe; /* ends with RSET before the message: whom the host would take counts as delivered */
	/* RFC 3461, passed on where the host knows it; "" and NULL: nothing was said. */
	const char *envid;
	enum dsn_ret ret;
	const struct queue_dsn *dsn; /* count, or NULL */
};

struct smtp_client_ops {
	void (*ready)(void *arg); /* a transaction may start */
	void (*result)(void *arg, size_t recipient, enum queue_outcome,
	    const char *reply);  /* once each; may not free the client */
	void (*done)(void *arg); /* every recipient had its result; ready for the next transaction */
	/* How the policy fared, once at most; not without setup.tls.  May be NULL, and may not free the client. */
	void (*secured)(void *arg, enum tls_result, const char *reason);
	/*
	 * Each reply, and (NULL) that the connection stands or a handshake is over, with the name of the step that it
	 * ends; before what follows from it.  May be NULL, and may not free the client.
	 */
	void (*heard)(void *arg, const char *step, const struct reply *);
	/* Of no use any more, free it.  Recipients of a running transaction without a result so far have none. */
	void (*failed)(void *arg, enum smtp_failure, const char *reply);
};

/* Never NULL: a connection that cannot even be tried fails from the event loop. */
struct smtp_client *smtp_client_new(
    struct event_base *, const struct smtp_client_setup *, const struct smtp_client_ops *, void *arg);
void smtp_client_free(struct smtp_client *);                         /* at once; NULL is fine */
void smtp_client_quit(struct smtp_client *);                         /* politely, and frees it; only when ready */
void smtp_client_send(struct smtp_client *, const struct smtp_tx *); /* only when ready */
bool smtp_client_knows_dsn(const struct smtp_client *); /* it tells the sender itself what becomes of what it takes */
const char *smtp_client_tls(const struct smtp_client *);             /* "TLSv1.3" or "none" */
SSL *smtp_client_ssl(const struct smtp_client *);                    /* NULL when plain; lent, as is */
int smtp_client_fd(const struct smtp_client *);                      /* the socket, or -1 */
uint64_t smtp_client_age(const struct smtp_client *);                /* ms since it was made */

#endif
