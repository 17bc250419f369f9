/* What SCRAM-SHA-256-PLUS binds to: tls-exporter of a TLS connection (RFC 9266). */
#ifndef MAILSVC_AUTH_CHANNEL_H
#define MAILSVC_AUTH_CHANNEL_H

#include <openssl/ssl.h>

#include "mailsvc/auth/scram.h"

/* ssl: after its handshake; NULL: plain, or the site does not want it.  use is SCRAM_CHANNEL_OFFERED, or
 * SCRAM_NO_CHANNEL where nothing can be bound to. */
void scram_channel_of(SSL *ssl, struct scram_channel *out);

#endif
