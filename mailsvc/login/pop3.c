/*
 * POP3 before authentication: USER, PASS, AUTH (RFC 5034), STLS (RFC 2595), CAPA (RFC 2449), UTF8 and LANG (RFC 6856),
 * NOOP, QUIT.
 */
#include <string.h>

#include "mailsvc/pop3/common.h"
#include "preauth.h"

static enum preauth_action reply(struct preauth *p, const char *text)
{
	buf_printf(&p->out, "%s\r\n", text);
	if (strncmp(text, "-ERR", 4) == 0)
		p->errors++;
	return PREAUTH_MORE;
}

static enum preauth_action capa(struct preauth *p, struct view arg)
{
	(void)arg;
	buf_puts(&p->out, "+OK\r\n" POP3_CAPABILITIES);
	if (p->starttls)
		buf_puts(&p->out, "STLS\r\n");
	if (preauth_may_login(p))
		buf_printf(&p->out, "USER\r\nSASL PLAIN%s%s\r\n", p->scram ? " SCRAM-SHA-256" : "",
		    preauth_offers_plus(p) ? " SCRAM-SHA-256-PLUS" : "");
	buf_puts(&p->out, ".\r\n");
	return PREAUTH_MORE;
}

static enum preauth_action quit(struct preauth *p, struct view arg)
{
	(void)arg;
	reply(p, "+OK Bye.");
	return PREAUTH_CLOSE;
}

static enum preauth_action noop(struct preauth *p, struct view arg)
{
	(void)arg;
	return reply(p, "-ERR Log in first.");
}

/* Names and messages are as they are in either mode: there is nothing to switch. */
static enum preauth_action utf8(struct preauth *p, struct view arg)
{
	return reply(p, arg.len > 0 ? "-ERR UTF8 takes no argument." : "+OK UTF8 enabled.");
}

static enum preauth_action lang(struct preauth *p, struct view arg)
{
	const char *answer = pop3_lang(arg);

	buf_puts(&p->out, answer);
	if (answer[0] == '-')
		p->errors++;
	return PREAUTH_MORE;
}

static enum preauth_action stls(struct preauth *p, struct view arg)
{
	(void)arg;
	if (!p->starttls)
		return reply(p, p->tls ? "-ERR TLS is active already." : "-ERR TLS is not available.");
	reply(p, "+OK Begin TLS negotiation now.");
	return PREAUTH_STARTTLS;
}

#define NEEDS_TLS "-ERR [AUTH] Logging in needs TLS."

static enum preauth_action user(struct preauth *p, struct view arg)
{
	if (!preauth_may_login(p))
		return reply(p, NEEDS_TLS);
	if (arg.len == 0 || preauth_take_user(p, arg, VIEW_NONE) < 0)
		return reply(p, "-ERR Invalid user name.");
	p->user_given = true;
	return reply(p, "+OK Send PASS.");
}

/* The argument is all of the rest of the line: passwords may hold spaces (RFC 1939 7). */
static enum preauth_action pass(struct preauth *p, struct view arg)
{
	char name[ADDRESS_MAX];
	struct view given = preauth_user(p);

	if (!preauth_may_login(p))
		return reply(p, NEEDS_TLS);
	if (!p->user_given || view_copy(given, name, sizeof(name)) < 0)
		return reply(p, "-ERR Send USER first.");
	if (preauth_take_user(p, view_of(name), arg) < 0)
		return preauth_answer(p, AUTH_DENIED);
	return PREAUTH_LOGIN;
}

static enum preauth_action response(struct preauth *p, struct view base64)
{
	enum preauth_action action = preauth_sasl_response(p, base64);

	return action == PREAUTH_MORE ? reply(p, "-ERR Invalid SASL response.") : action;
}

static enum preauth_action auth(struct preauth *p, struct view arg)
{
	const char *sp = arg.len > 0 ? memchr(arg.ptr, ' ', arg.len) : NULL;
	struct view mechanism = arg;

	if (!preauth_may_login(p))
		return reply(p, NEEDS_TLS);
	if (arg.len == 0) {
		buf_printf(&p->out, "+OK\r\nPLAIN\r\n%s%s.\r\n", p->scram ? "SCRAM-SHA-256\r\n" : "",
		    preauth_offers_plus(p) ? "SCRAM-SHA-256-PLUS\r\n" : "");
		return PREAUTH_MORE;
	}
	if (sp != NULL)
		mechanism.len = (size_t)(sp - arg.ptr);
	if (!preauth_sasl_begin(p, mechanism))
		return reply(p, "-ERR Unsupported mechanism.");
	if (sp == NULL) {
		preauth_sasl_prompt(p, "");
		return PREAUTH_MORE;
	}
	return response(p, (struct view){ sp + 1, arg.len - mechanism.len - 1 });
}

enum preauth_action preauth_pop3_response(struct preauth *p)
{
	struct view line = buf_view(&p->reader.text);

	if (view_eq(line, "*")) {
		p->sasl = SASL_NONE;
		return reply(p, "-ERR Authentication cancelled.");
	}
	return response(p, line);
}

static const struct {
	const char *name;
	enum preauth_action (*run)(struct preauth *, struct view arg);
} commands[] = {
	{ "CAPA", capa },
	{ "USER", user },
	{ "PASS", pass },
	{ "AUTH", auth },
	{ "STLS", stls },
	{ "UTF8", utf8 },
	{ "LANG", lang },
	{ "NOOP", noop },
	{ "QUIT", quit },
};

enum preauth_action preauth_pop3_command(struct preauth *p)
{
	struct view line = buf_view(&p->reader.text), name = line, arg = VIEW_NONE;
	const char *sp = line.len > 0 ? memchr(line.ptr, ' ', line.len) : NULL;

	if (sp != NULL) {
		name.len = (size_t)(sp - line.ptr);
		arg = (struct view){ sp + 1, line.len - name.len - 1 };
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (view_caseeq(name, commands[i].name))
			return commands[i].run(p, arg);
	return reply(p, "-ERR Unknown command, or one that needs a login.");
}
