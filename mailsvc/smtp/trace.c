/*
 * The Received field (RFC 5321 4.4, protocol names of RFC 3848 and 6531).  The address of a client that authenticated
 * is left out: it says where people are, and helps nobody but the curious.
 */
#include "mailsvc/smtp/smtp.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"

static void put_from(const struct smtp_session *s, struct buf *out)
{
	char name[64];

	if (s->local) {
		buf_printf(out, "from localhost (uid %u)", (unsigned)s->uid);
		return;
	}
	if (s->account != NULL) {
		buf_printf(out, "from localhost (%s)", s->by_address ? "trusted" : "authenticated");
		return;
	}
	smtp_peer_name(s, name);
	buf_printf(out, "from %s ([%s%s])", s->helo, strchr(name, ':') != NULL ? "IPv6:" : "", name);
}

static void put_protocol(const struct smtp_session *s, struct buf *out)
{
	buf_puts(out, s->tx.smtputf8 ? "UTF8SMTP" : s->esmtp ? "ESMTP" : "SMTP");
	if (!s->esmtp) /* RFC 3848 names the suffixes for ESMTP only */
		return;
	if (conn_is_tls(s->conn))
		buf_addc(out, 'S');
	if (s->account != NULL && !s->by_address)
		buf_addc(out, 'A');
}

void smtp_trace_received(const struct smtp_session *s, struct buf *out)
{
	char date[40];

	buf_puts(out, "Received: ");
	put_from(s, out);
	buf_printf(out, "\r\n\tby %s (mailadm) with ", s->site->host.name);
	put_protocol(s, out);
	buf_printf(out, " id %s", s->tx.id);
	if (conn_is_tls(s->conn)) {
		SSL *ssl = conn_ssl(s->conn);

		buf_printf(out, "\r\n\t(using %s with cipher %s (%d bits))", SSL_get_version(ssl),
		    SSL_get_cipher_name(ssl), SSL_get_cipher_bits(ssl, NULL));
	}
	if (s->tx.recipient_count == 1)
		buf_printf(out, "\r\n\tfor <%s>", s->tx.recipients[0].address);
	text_rfc5322_date(clock_wall(), date);
	buf_printf(out, ";\r\n\t%s\r\n", date);
}
