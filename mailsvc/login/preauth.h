/*
 * What IMAP and POP3 clients may say before they are authenticated: no I/O, so that tests and fuzzers drive it
 * directly.  The caller feeds bytes, sends what `out` holds, and does what the returned action says.
 */
#ifndef MAILSVC_LOGIN_PREAUTH_H
#define MAILSVC_LOGIN_PREAUTH_H

#include "mailsvc/auth/client.h"
#include "mailsvc/imap/reader.h"

enum preauth_action {
	PREAUTH_MORE,     /* wants more input */
	PREAUTH_STARTTLS, /* out holds the go-ahead: start TLS, then preauth_secured */
	PREAUTH_LOGIN, /* secret holds user and password: ask auth, then preauth_answer; no input is taken until then */
	PREAUTH_SCRAM_FIRST, /* secret holds a message for auth_scram_first; then as for LOGIN, or
	                        preauth_sasl_challenge */
	PREAUTH_SCRAM_FINAL, /* and one for auth_scram_final */
	PREAUTH_PROVED,      /* the client has taken auth's proof: it is logged in */
	PREAUTH_CLOSE,       /* send what out holds and close */
};

enum preauth_sasl { SASL_NONE, SASL_PLAIN, SASL_SCRAM_FIRST, SASL_SCRAM_FINAL, SASL_SCRAM_PROVED };

struct preauth {
	enum protocol protocol;
	bool tls;               /* the connection is encrypted */
	bool starttls;          /* it could be */
	bool insecure;          /* a login without TLS is allowed here */
	bool scram;             /* SCRAM is offered */
	struct scram_channel channel; /* the caller sets it once TLS stands; BOUND while the client chose -PLUS */
	enum preauth_sasl sasl; /* what the next line is a response to */
	bool user_given;        /* POP3: secret holds the user */
	bool cut;               /* it is closed for its errors */
	uint8_t failures;       /* wrong passwords */
	uint16_t errors, errors_max;
	uint16_t user_len; /* in secret; the rest is the password */
	struct buf secret;
	struct buf out;
	struct imap_reader reader;
	char tag[65];
};

#define PREAUTH_FAILURES_MAX 3

void preauth_init(struct preauth *, enum protocol, bool tls, bool starttls, bool insecure, unsigned errors_max);
void preauth_free(struct preauth *); /* wipes */
void preauth_greet(struct preauth *, const char *host);
void preauth_secured(struct preauth *); /* TLS stands: what was said before counts no more */
/* Takes bytes; *used says how many.  Anything but PREAUTH_MORE may leave some. */
enum preauth_action preauth_feed(struct preauth *, const char *data, size_t len, size_t *used);
struct view preauth_user(const struct preauth *);
struct view preauth_password(const struct preauth *);
/* auth refused: says so, and returns PREAUTH_MORE or PREAUTH_CLOSE. AUTH_OK only wipes: imap speaks next. */
enum preauth_action preauth_answer(struct preauth *, enum auth_status);
/* auth wants the client to be told this; proved: it is auth's own proof, and the client is right. */
void preauth_sasl_challenge(struct preauth *, const char *message, bool proved);
/* The line for a connection that cannot be served. */
const char *preauth_refusal(enum protocol, bool per_address);
/* The line for one that took too long. */
void preauth_timeout(struct preauth *);

/* For the two dialects. ---------------------------------------------------------------------------------------- */
bool preauth_may_login(const struct preauth *);
bool preauth_offers_plus(const struct preauth *); /* SCRAM-SHA-256-PLUS, beside SCRAM-SHA-256 */
/* SASL PLAIN (RFC 4616) into secret; -1: not base64, or not "authzid NUL user NUL password" with authzid empty or the
 * user. */
int preauth_plain(struct preauth *, struct view base64);
int preauth_take_user(struct preauth *, struct view user, struct view password);
void preauth_wipe(struct preauth *);                              /* secret */
bool preauth_sasl_begin(struct preauth *, struct view mechanism); /* false: no such mechanism */
void preauth_sasl_prompt(struct preauth *, const char *message);
enum preauth_action preauth_sasl_response(struct preauth *, struct view base64); /* MORE: malformed */
enum preauth_action preauth_imap_command(struct preauth *);
enum preauth_action preauth_imap_response(struct preauth *);
enum preauth_action preauth_pop3_command(struct preauth *);
enum preauth_action preauth_pop3_response(struct preauth *);

#endif
