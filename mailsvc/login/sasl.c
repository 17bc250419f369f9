/*
 * SASL before login: PLAIN (RFC 4616), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 7677, 9266).  Lines are base64; auth decides, and of SCRAM only
 * the messages pass through here.  IMAP and POP3 frame it alike: "+ challenge" and a line of response.
 */
#include <string.h>

#include "lib/text.h"
#include "preauth.h"

bool preauth_sasl_begin(struct preauth *p, struct view mechanism)
{
	bool can_bind = p->channel.use != SCRAM_NO_CHANNEL, bound = view_caseeq(mechanism, "SCRAM-SHA-256-PLUS");

	if (view_caseeq(mechanism, "PLAIN"))
		p->sasl = SASL_PLAIN;
	else if (view_caseeq(mechanism, "SCRAM-SHA-256") || (bound && can_bind))
		p->sasl = SASL_SCRAM_FIRST;
	else
		return false;
	if (can_bind)
		p->channel.use = bound ? SCRAM_CHANNEL_BOUND : SCRAM_CHANNEL_OFFERED;
	return true;
}

void preauth_sasl_prompt(struct preauth *p, const char *message)
{
	buf_puts(&p->out, "+ ");
	text_base64_encode(&p->out, view_of(message));
	buf_puts(&p->out, "\r\n");
}

void preauth_sasl_challenge(struct preauth *p, const char *message, bool proved)
{
	preauth_wipe(p);
	p->sasl = proved ? SASL_SCRAM_PROVED : SASL_SCRAM_FINAL;
	preauth_sasl_prompt(p, message);
}

/* A message of SCRAM into secret, where auth gets it from. */
static int take_message(struct preauth *p, struct view base64)
{
	preauth_wipe(p);
	buf_reserve(&p->secret, SCRAM_CLIENT_MAX + 1);
	if (base64.len == 0 || base64.len > 2 * SCRAM_CLIENT_MAX || text_base64_decode(&p->secret, base64) < 0 ||
	    p->secret.len == 0 || p->secret.len > SCRAM_CLIENT_MAX) {
		preauth_wipe(p);
		return -1;
	}
	return 0;
}

enum preauth_action preauth_sasl_response(struct preauth *p, struct view base64)
{
	enum preauth_sasl was = p->sasl;

	p->sasl = SASL_NONE;
	switch (was) {
	case SASL_PLAIN:
		return preauth_plain(p, base64) == 0 ? PREAUTH_LOGIN : PREAUTH_MORE;
	case SASL_SCRAM_FIRST:
		return take_message(p, base64) == 0 ? PREAUTH_SCRAM_FIRST : PREAUTH_MORE;
	case SASL_SCRAM_FINAL:
		return take_message(p, base64) == 0 ? PREAUTH_SCRAM_FINAL : PREAUTH_MORE;
	case SASL_SCRAM_PROVED:
		return base64.len == 0 ? PREAUTH_PROVED : PREAUTH_MORE;
	case SASL_NONE:
		break;
	}
	return PREAUTH_MORE;
}
