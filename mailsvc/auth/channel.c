/* channel.h */
#include "mailsvc/auth/channel.h"

static const char label[] = "EXPORTER-Channel-Binding";

void scram_channel_of(SSL *ssl, struct scram_channel *out)
{
	static const unsigned char no_context[1];

	*out = (struct scram_channel){ .use = SCRAM_NO_CHANNEL };
	/*
	 * Before TLS 1.3 two connections can have the same secret unless it is bound to the handshake (RFC 9266 4.2),
	 * and libraries do not agree whether "no context" is an empty one.
	 */
	if (ssl == NULL || SSL_version(ssl) < TLS1_3_VERSION)
		return;
	if (SSL_export_keying_material(ssl, out->data, sizeof(out->data), label, sizeof(label) - 1, no_context, 0, 1) ==
	    1)
		out->use = SCRAM_CHANNEL_OFFERED;
}
