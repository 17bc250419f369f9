/*
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, 7677, 9266): keys of a password, and the messages of an exchange.  Pure logic
 * without state or I/O; exchange.c runs it in auth, the one process that holds keys.
 */
#ifndef MAILSVC_AUTH_SCRAM_H
#define MAILSVC_AUTH_SCRAM_H

#include "lib/buf.h"
#include "site/address.h"

#define SCRAM_KEY_LEN 32
#define SCRAM_SALT_LEN 16
#define SCRAM_ITERATIONS 32768 /* of new keys; clients refuse fewer than 4096, some more than 65536 */
#define SCRAM_ITERATIONS_MIN 4096
#define SCRAM_ITERATIONS_MAX 10000000
#define SCRAM_TEXT_MAX 192    /* with NUL, of keys as text */
#define SCRAM_NONCE_MAX 128   /* bytes of the client's half */
#define SCRAM_MESSAGE_MAX 256 /* with NUL, of what the server says */
#define SCRAM_CLIENT_MAX 1024 /* bytes of what the client says */

/* What a server keeps of a password.  Who has it can neither log in with it nor read the password from it. */
struct scram_keys {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_LEN];
	uint8_t stored[SCRAM_KEY_LEN], server[SCRAM_KEY_LEN];
};

/* Of a password, prepared as clients do it (SASLprep). iterations rounds of SHA-256: 20 ms for SCRAM_ITERATIONS. */
void scram_keys_make(
    struct view password, const uint8_t salt[SCRAM_SALT_LEN], uint32_t iterations, struct scram_keys *out);
/* RFC 5803: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY. */
void scram_keys_text(const struct scram_keys *, char out[SCRAM_TEXT_MAX]);
int scram_keys_parse(struct view, struct scram_keys *out); /* -1: is none */

#define SCRAM_CHANNEL_LEN 32 /* of tls-exporter (RFC 9266) */
/* The TLS channel that an exchange runs over, for its binding. NULL stands for SCRAM_NO_CHANNEL. */
struct scram_channel {
	enum scram_channel_use {
		SCRAM_NO_CHANNEL,      /* none, or none that can be bound to: -PLUS is not offered */
		SCRAM_CHANNEL_OFFERED, /* -PLUS was offered, and the client chose the plain mechanism */
		SCRAM_CHANNEL_BOUND,   /* the mechanism is -PLUS */
	} use;
	uint8_t data[SCRAM_CHANNEL_LEN]; /* both ends have the same, and nobody between them has */
};

struct scram_first { /* client-first-message */
	char user[ADDRESS_MAX];
	struct view header; /* gs2-header, borrowed from the message as the next two are */
	struct view bare;
	struct view nonce;
};
/*
 * -1: malformed, or it wants what we do not do: another channel binding than tls-exporter, extensions, acting for
 * another user; or it thinks that we offer no -PLUS when we did, so that somebody took it out of the offer.
 */
int scram_client_first(struct view message, const struct scram_channel *, struct scram_first *out);
/* server-first-message; server_nonce is printable without a comma. */
void scram_server_first(
    struct view client_nonce, const char *server_nonce, const struct scram_keys *, char out[SCRAM_MESSAGE_MAX]);
/*
 * client-final-message in answer to `first` (client-first-message) and server_first.  1: the client knows the password,
 * and out is the server-final-message that proves to it that we know it; 0: it does not; -1: malformed.
 */
int scram_client_final(struct view message, struct view first, const char *server_first, const struct scram_keys *,
    const struct scram_channel *, char out[SCRAM_MESSAGE_MAX]);

#endif
