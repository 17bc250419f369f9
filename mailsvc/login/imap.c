/*
 * IMAP before authentication: CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, LOGIN, AUTHENTICATE (RFC 3501 6.1, 6.2,
 * RFC 4959).  Without TLS nothing that carries a password is taken, and the capabilities say so.
 */
#include <string.h>

#include "mailsvc/imap/parse.h"
#include "preauth.h"

static void put_capabilities(struct preauth *p)
{
	buf_puts(&p->out, "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE");
	if (p->starttls)
		buf_puts(&p->out, " STARTTLS");
	buf_puts(&p->out, preauth_may_login(p) ? " AUTH=PLAIN" : " LOGINDISABLED");
	if (preauth_may_login(p) && p->scram)
		buf_printf(&p->out, " AUTH=SCRAM-SHA-256%s",
		    preauth_offers_plus(p) ? " AUTH=SCRAM-SHA-256-PLUS" : "");
}

void preauth_greet(struct preauth *p, const char *host)
{
	if (p->protocol == PROTOCOL_POP3) {
		buf_printf(&p->out, "+OK %s POP3 ready.\r\n", host);
		return;
	}
	buf_puts(&p->out, "* OK [CAPABILITY ");
	put_capabilities(p);
	buf_printf(&p->out, "] %s IMAP ready.\r\n", host);
}

static enum preauth_action reply(struct preauth *p, const char *text)
{
	buf_printf(&p->out, "%s %s\r\n", p->tag, text);
	if (strncmp(text, "BAD", 3) == 0)
		p->errors++;
	return PREAUTH_MORE;
}

static enum preauth_action capability(struct preauth *p, struct imap_parser *a)
{
	if (!imap_parse_end(a))
		return reply(p, "BAD Too many arguments.");
	buf_puts(&p->out, "* CAPABILITY ");
	put_capabilities(p);
	buf_puts(&p->out, "\r\n");
	return reply(p, "OK CAPABILITY completed.");
}

static enum preauth_action noop(struct preauth *p, struct imap_parser *a)
{
	return reply(p, imap_parse_end(a) ? "OK NOOP completed." : "BAD Too many arguments.");
}

static enum preauth_action logout(struct preauth *p, struct imap_parser *a)
{
	if (!imap_parse_end(a))
		return reply(p, "BAD Too many arguments.");
	buf_puts(&p->out, "* BYE Logging out.\r\n");
	reply(p, "OK LOGOUT completed.");
	return PREAUTH_CLOSE;
}

static enum preauth_action identify(struct preauth *p, struct imap_parser *a)
{
	if (!imap_parse_sp(a) || !imap_parse_id(a) || !imap_parse_end(a))
		return reply(p, "BAD Expected a list of fields.");
	buf_puts(&p->out, "* ID (\"name\" \"mailadm\")\r\n");
	return reply(p, "OK ID completed.");
}

static enum preauth_action starttls(struct preauth *p, struct imap_parser *a)
{
	if (!imap_parse_end(a))
		return reply(p, "BAD Too many arguments.");
	if (!p->starttls)
		return reply(p, p->tls ? "BAD TLS is active already." : "BAD TLS is not available.");
	reply(p, "OK Begin TLS negotiation now.");
	return PREAUTH_STARTTLS;
}

#define NEEDS_TLS "NO [PRIVACYREQUIRED] Logging in needs TLS."

static enum preauth_action login(struct preauth *p, struct imap_parser *a)
{
	struct view user, password;

	if (!preauth_may_login(p))
		return reply(p, NEEDS_TLS);
	if (!imap_parse_sp(a) || !imap_parse_astring(a, &user) || !imap_parse_sp(a) ||
	    !imap_parse_astring(a, &password) || !imap_parse_end(a))
		return reply(p, "BAD Expected a user and a password.");
	if (preauth_take_user(p, user, password) < 0)
		return preauth_answer(p, AUTH_DENIED);
	return PREAUTH_LOGIN;
}

static enum preauth_action response(struct preauth *p, struct view base64)
{
	enum preauth_action action = preauth_sasl_response(p, base64);

	return action == PREAUTH_MORE ? reply(p, "BAD Invalid SASL response.") : action;
}

static enum preauth_action authenticate(struct preauth *p, struct imap_parser *a)
{
	struct view mechanism;

	if (!imap_parse_sp(a) || !imap_parse_atom(a, &mechanism))
		return reply(p, "BAD Expected a mechanism.");
	if (!preauth_may_login(p))
		return reply(p, NEEDS_TLS);
	if (!preauth_sasl_begin(p, mechanism))
		return reply(p, "NO [CANNOT] Unsupported mechanism.");
	if (imap_parse_end(a)) {
		preauth_sasl_prompt(p, "");
		return PREAUTH_MORE;
	}
	if (!imap_parse_sp(a)) {
		p->sasl = SASL_NONE;
		return reply(p, "BAD Expected an initial response.");
	}
	return response(p, (struct view){ a->p, (size_t)(a->end - a->p) });
}

enum preauth_action preauth_imap_response(struct preauth *p)
{
	struct view line = buf_view(&p->reader.text);

	if (view_eq(line, "*")) {
		p->sasl = SASL_NONE;
		return reply(p, "BAD Authentication cancelled.");
	}
	return response(p, line);
}

static const struct {
	const char *name;
	enum preauth_action (*run)(struct preauth *, struct imap_parser *);
} commands[] = {
	{ "CAPABILITY", capability },
	{ "NOOP", noop },
	{ "LOGOUT", logout },
	{ "ID", identify },
	{ "STARTTLS", starttls },
	{ "LOGIN", login },
	{ "AUTHENTICATE", authenticate },
};

enum preauth_action preauth_imap_command(struct preauth *p)
{
	struct imap_parser a = imap_parser_of(p->reader.text.data, p->reader.text.len);
	struct view tag, name;

	view_copy(VIEW_LIT("*"), p->tag, sizeof(p->tag));
	if (!imap_parse_tag(&a, &tag))
		return reply(p, "BAD Missing or invalid tag.");
	view_copy(tag, p->tag, sizeof(p->tag));
	if (!imap_parse_sp(&a) || !imap_parse_atom(&a, &name))
		return reply(p, "BAD Missing command.");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (view_caseeq(name, commands[i].name))
			return commands[i].run(p, &a);
	return reply(p, "BAD Unknown command, or one that needs a login.");
}
