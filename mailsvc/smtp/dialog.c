/*
 * The commands: one table of {verb, states in which it is legal, what is said elsewhere, check, run}.  A check decides
 * whether the command may be carried out now and changes nothing; run carries it out.
 */
#include "mailsvc/smtp/check.h"

#include <stdlib.h>
#include <string.h>

#define IN(state) (1u << (state))
#define ANYWHERE (IN(SMTP_HELLO) | IN(SMTP_READY) | IN(SMTP_MAIL) | IN(SMTP_RCPT) | IN(SMTP_BDAT))
#define GREETED (IN(SMTP_READY) | IN(SMTP_MAIL) | IN(SMTP_RCPT) | IN(SMTP_BDAT))

typedef const struct smtp_refusal *(*check_fn)(const struct smtp_session *, struct view args);
typedef enum smtp_step (*run_fn)(struct smtp_session *, struct view args);

static const struct smtp_refusal bad_helo = { 501, "5.5.4", "A domain name or an address literal is needed" };
static const struct smtp_refusal no_arguments = { 501, "5.5.4", "This command takes no argument" };
static const struct smtp_refusal hello_first = { 503, "5.5.1", "EHLO first" };
static const struct smtp_refusal mail_first = { 503, "5.5.1", "MAIL first" };
static const struct smtp_refusal rcpt_first = { 503, "5.5.1", "No recipient yet" };
static const struct smtp_refusal in_transaction = { 503, "5.5.1", "A transaction is in progress" };
static const struct smtp_refusal unknown = { 500, "5.5.1", "Unknown command" };
static const struct smtp_refusal not_http = { 421, "4.7.0", "This is no HTTP server, closing" };
static const struct smtp_refusal line_too_long = { 500, "5.5.2", "Line too long" };
static const struct smtp_refusal auth_needed = { 530, "5.7.0", "Authentication required" };
static const struct smtp_refusal tls_needed = { 530, "5.7.0", "STARTTLS first" };
static const struct smtp_refusal tls_active = { 503, "5.5.1", "TLS is active already" };
static const struct smtp_refusal tls_none = { 454, "4.7.0", "TLS is not available now" };
static const struct smtp_refusal auth_here = { 503, "5.5.1", "AUTH is not available here; use port 587 or 465" };
static const struct smtp_refusal auth_twice = { 503, "5.5.1", "Authenticated already" };
static const struct smtp_refusal auth_plain = { 538, "5.7.11", "Encryption required for authentication" };
static const struct smtp_refusal path_syntax = { 501, "5.5.4", "Syntax: MAIL FROM:<address> or RCPT TO:<address>" };
static const struct smtp_refusal bad_sender = { 501, "5.1.7", "That is no mail address" };
static const struct smtp_refusal bad_recipient = { 501, "5.1.3", "That is no mail address" };
static const struct smtp_refusal param_unknown = { 555, "5.5.4", "A parameter is not supported" };
static const struct smtp_refusal param_bad = { 501, "5.5.4", "A parameter is malformed" };
static const struct smtp_refusal too_big = { 552, "5.3.4", "Message is larger than this host takes" };
static const struct smtp_refusal needs_utf8 = { 553, "5.6.7", "The address needs SMTPUTF8" };
static const struct smtp_refusal no_domain = { 553, "5.1.8", "The sender needs a domain" };
static const struct smtp_refusal not_yours = { 553, "5.7.1", "You may not send as this address" };
static const struct smtp_refusal too_many = { 452, "4.5.3", "Too many recipients" };
static const struct smtp_refusal alone = { 452, "4.5.3", "A mailbox may be full: one recipient at a time, please" };
static const struct smtp_refusal no_relay = { 550, "5.7.1", "Relaying denied" };
static const struct smtp_refusal literal = { 550, "5.1.2",
	"Mail to an IP address elsewhere is not sent; name a domain" };
static const struct smtp_refusal closed = { 550, "5.2.1", "This mailbox takes no mail any more" };
static const struct smtp_refusal no_user = { 550, "5.1.1", "Unknown here" };
static const struct smtp_refusal bdat_syntax = { 501, "5.5.4", "Syntax: BDAT size [LAST]; closing" };
static const struct smtp_refusal bdat_huge = { 552, "5.3.4", "Chunk is larger than this host takes; closing" };
static const struct smtp_refusal no_expn = { 502, "5.5.1", "EXPN is not available" };

/* EHLO, HELO ---------------------------------------------------------------------------------------------- */
static const struct smtp_refusal *check_hello(const struct smtp_session *s, struct view args)
{
	(void)s;
	return smtp_helo_ok(args) ? NULL : &bad_helo;
}

static void hello(struct smtp_session *s, struct view args, bool esmtp)
{
	smtp_tx_reset(s);
	free(s->helo);
	s->helo = view_dup(args);
	smtp_check_helo(s);
	s->esmtp = esmtp;
	smtp_enter(s, SMTP_READY);
}

static enum smtp_step run_helo(struct smtp_session *s, struct view args)
{
	hello(s, args, false);
	return smtp_reply(s, 250, NULL, "%s", s->site->host.name);
}

static enum smtp_step run_ehlo(struct smtp_session *s, struct view args)
{
	struct buf out = BUF_INIT(1024);

	hello(s, args, true);
	buf_printf(&out, "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n", s->site->host.name,
	    (unsigned long long)s->site->limits.message_size);
	buf_puts(&out, "250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n");
	if (s->server->tls != NULL && !s->local && !conn_is_tls(s->conn))
		buf_puts(&out, "250-STARTTLS\r\n");
	if (smtp_auth_offered(s))
		buf_printf(&out, "250-AUTH PLAIN LOGIN%s%s\r\n",
		    auth_offers_scram(s->server->auth) ? " SCRAM-SHA-256" : "",
		    auth_offers_scram(s->server->auth) && smtp_auth_can_bind(s) ? " SCRAM-SHA-256-PLUS" : "");
	buf_puts(&out, "250 HELP\r\n");
	conn_writev(s->conn, buf_view(&out));
	buf_free(&out);
	return SMTP_NEXT;
}

/* STARTTLS, AUTH ------------------------------------------------------------------------------------------ */
static const struct smtp_refusal *check_starttls(const struct smtp_session *s, struct view args)
{
	if (args.len > 0)
		return &no_arguments;
	if (conn_is_tls(s->conn))
		return &tls_active;
	return s->server->tls == NULL || s->local ? &tls_none : NULL;
}

static enum smtp_step run_starttls(struct smtp_session *s, struct view args)
{
	(void)args;
	smtp_reply(s, 220, "2.0.0", "Go ahead");
	/* RFC 3207 4.2: nothing said before may count. */
	smtp_tx_reset(s);
	free(s->helo);
	s->helo = NULL;
	s->esmtp = false;
	s->account = NULL;
	smtp_enter(s, SMTP_TLS);
	return SMTP_NEXT;
}

static const struct smtp_refusal *check_auth(const struct smtp_session *s, struct view args)
{
	(void)args;
	if (s->account != NULL && !s->by_address)
		return &auth_twice;
	if (smtp_auth_offered(s))
		return NULL;
	return s->service == SERVICE_SMTP || s->local ? &auth_here : &auth_plain;
}

/* MAIL ---------------------------------------------------------------------------------------------------- */
static const struct smtp_refusal *check_mail(const struct smtp_session *s, struct view args)
{
	(void)args;
	if (s->local || s->service == SERVICE_SMTP || s->account != NULL || smtp_trusted_account(s) != NULL)
		return NULL;
	return smtp_auth_offered(s) ? &auth_needed : &tls_needed;
}

static const struct smtp_refusal *path_refusal(enum smtp_path_status status, bool sender)
{
	switch (status) {
	case SMTP_PATH_SYNTAX:
		return &path_syntax;
	case SMTP_PATH_ADDRESS:
		return sender ? &bad_sender : &bad_recipient;
	case SMTP_PATH_PARAM_UNKNOWN:
		return &param_unknown;
	case SMTP_PATH_PARAM_BAD:
		return &param_bad;
	case SMTP_PATH_OK:
		break;
	}
	return NULL;
}

/* May this session send with this (completed) envelope sender?  NULL, or why not. */
static const struct smtp_refusal *sender_refusal(const struct smtp_session *s, struct view sender)
{
	struct address address;
	char domain[ADDRESS_MAX];

	if (sender.len == 0)
		return smtp_sender_account_refusal(s, sender);
	if (address_parse(sender, &address) == -1)
		return &bad_sender;
	if (!address.literal && domain_normalise(address.domain, domain, sizeof(domain)) == -1)
		return &bad_sender;
	if (s->local && !s->trusted_uid && (address.literal || !view_eq(view_of(domain), s->site->host.name)))
		return &not_yours;
	return smtp_sender_account_refusal(s, sender);
}

/* What the path says with a domain: the local socket completes with the host's own name. */
static void complete(const struct smtp_session *s, const struct smtp_path *path, struct buf *out)
{
	buf_addv(out, path->mailbox);
	if (path->unqualified)
		buf_printf(out, "@%s", s->site->host.name);
}

static enum smtp_step run_mail(struct smtp_session *s, struct view args)
{
	struct smtp_path path;
	struct buf sender = BUF_INIT(ADDRESS_MAX);
	const struct smtp_refusal *why = path_refusal(smtp_path_mail(args, &path), true);
	enum smtp_step step;

	if (why == NULL && path.unqualified && !s->local)
		why = &no_domain;
	if (why == NULL && path.has_size && path.size > s->site->limits.message_size)
		why = &too_big;
	if (why == NULL && !s->esmtp && (path.has_size || path.smtputf8 || path.dsn || path.body != SMTP_BODY_7BIT))
		why = &param_unknown;
	if (why == NULL && path.address.utf8 && !path.smtputf8)
		why = &needs_utf8;
	if (why == NULL) {
		complete(s, &path, &sender);
		smtp_sender_assume(s, buf_view(&sender));
		why = sender.full ? &bad_sender : sender_refusal(s, buf_view(&sender));
	}
	if (why != NULL) {
		smtp_sender_forget(s);
		step = smtp_refuse(s, why, args);
	} else {
		smtp_tx_begin(s, buf_view(&sender), &path);
		smtp_check_mail(s);
		step = smtp_reply(s, 250, "2.1.0", "Ok");
	}
	buf_free(&sender);
	return step;
}

/* RCPT ---------------------------------------------------------------------------------------------------- */

/*
 * The only place that decides about relaying.  An address of ours is taken from anyone; a foreign one only from who
 * authenticated, or came by the local socket.
 */
static const struct smtp_refusal *route_recipient(
    const struct smtp_session *s, struct view address, struct route *route)
{
	struct address parsed;

	if (smtp_forward_is_return(s, address))
		return smtp_forward_return(s, address, route);
	route_resolve(s->site, address, route);
	if (route->status == ROUTE_UNKNOWN && s->local && address_parse(address, &parsed) == 0 &&
	    view_caseeq(parsed.domain, s->site->host.name)) {
		/* What cron sends to daemon@ must reach a person. */
		route_free(route);
		route_resolve(s->site, view_of(s->site->admin.contact), route);
	}
	switch (route->status) {
	case ROUTE_OK:
		return route->count == 0 ? &no_user : NULL;
	case ROUTE_UNKNOWN:
		return &no_user;
	case ROUTE_CLOSED:
		return &closed;
	case ROUTE_FOREIGN:
		if (s->account == NULL && !s->local)
			return &no_relay;
		if (address_parse(address, &parsed) == -1)
			return &bad_recipient;
		return parsed.literal ? &literal : NULL;
	case ROUTE_INVALID:
		break;
	}
	return &bad_recipient;
}

enum smtp_step smtp_recipient_end(struct smtp_session *s, const struct smtp_refusal *why, struct view address,
    const struct smtp_path *path, struct route *route, struct view args)
{
	if (why == NULL)
		why = smtp_sender_take(s);
	if (why == &no_relay)
		smtp_offence(s, OFFENCE_RELAY);
	if (why != NULL)
		return smtp_refuse(s, why, args);
	smtp_tx_add_recipient(s, address, path, route);
	return smtp_reply(s, 250, "2.1.5", "Ok");
}

static enum smtp_step run_rcpt(struct smtp_session *s, struct view args)
{
	struct smtp_tx *tx = &s->tx;
	struct smtp_path path;
	struct route route = { 0 };
	struct buf address = BUF_INIT(ADDRESS_MAX);
	const struct smtp_refusal *why = path_refusal(smtp_path_rcpt(args, &path), false);
	enum smtp_step step;

	if (why == NULL && path.dsn && !s->esmtp)
		why = &param_unknown;
	if (why == NULL && tx->recipient_count >= (size_t)s->site->limits.recipients)
		why = &too_many;
	/* RFC 5321 4.5.1: <Postmaster> needs no domain, from anyone. */
	if (why == NULL && path.unqualified && !s->local && !view_caseeq(path.mailbox, "postmaster"))
		why = &bad_recipient;
	if (why == NULL && path.address.utf8 && !tx->smtputf8)
		why = &needs_utf8;
	if (why == NULL) {
		complete(s, &path, &address);
		why = address.full ? &bad_recipient : route_recipient(s, buf_view(&address), &route);
	}
	if (why == NULL && route.count > STORE_RECIPIENTS_MAX - tx->target_count)
		why = &too_many;
	if (why == NULL && smtp_full_must_wait(s, &route))
		why = &alone;
	if (why == NULL)
		why = smtp_check_rcpt(s, buf_view(&address));
	if (why == NULL && smtp_ask(s, buf_view(&address), &path, &route, args, &why))
		step = SMTP_WAIT;
	else
		step = smtp_recipient_end(s, why, buf_view(&address), &path, &route, args);
	route_free(&route);
	buf_free(&address);
	return step;
}

/* Content ------------------------------------------------------------------------------------------------- */
static const struct smtp_refusal *check_nothing(const struct smtp_session *s, struct view args)
{
	(void)s;
	return args.len > 0 ? &no_arguments : NULL;
}

static const struct smtp_refusal *check_data(const struct smtp_session *s, struct view args)
{
	if (s->state == SMTP_MAIL)
		return &rcpt_first;
	return check_nothing(s, args);
}

static enum smtp_step run_data(struct smtp_session *s, struct view args)
{
	(void)args;
	smtp_receive_begin(s, true);
	smtp_enter(s, SMTP_DATA);
	return smtp_reply(s, 354, NULL, "End with CR LF . CR LF");
}

/* Why the octets that follow are read but not kept, or NULL. */
static const struct smtp_refusal *chunk_refusal(const struct smtp_session *s)
{
	if (s->helo == NULL)
		return &hello_first;
	if (s->state == SMTP_READY)
		return &mail_first;
	return s->state == SMTP_MAIL ? &rcpt_first : NULL;
}

/* Legal everywhere as far as framing goes: its octets follow at once, whatever we think of it (RFC 3030 2). */
static enum smtp_step run_bdat(struct smtp_session *s, struct view args)
{
	const struct smtp_refusal *why = chunk_refusal(s);
	struct smtp_tx *tx = &s->tx;
	uint64_t size;
	bool last;

	if (smtp_bdat_parse(args, &size, &last) == -1) {
		smtp_refuse(s, &bdat_syntax, args);
		return SMTP_CLOSE;
	}
	if (size > SMTP_CHUNK_MAX) {
		smtp_refuse(s, &bdat_huge, args);
		return SMTP_CLOSE;
	}
	if (why == NULL && !tx->begun)
		smtp_receive_begin(s, false);
	tx->chunk_refused = why;
	tx->chunk_left = size;
	tx->chunk_last = last;
	smtp_enter(s, SMTP_CHUNK);
	return SMTP_NEXT;
}

/* The rest ------------------------------------------------------------------------------------------------ */
static enum smtp_step run_rset(struct smtp_session *s, struct view args)
{
	(void)args;
	smtp_tx_reset(s);
	smtp_enter(s, smtp_idle_state(s));
	return smtp_reply(s, 250, "2.0.0", "Ok");
}

static enum smtp_step run_noop(struct smtp_session *s, struct view args)
{
	(void)args;
	return smtp_reply(s, 250, "2.0.0", "Ok");
}

static enum smtp_step run_help(struct smtp_session *s, struct view args)
{
	(void)args;
	return smtp_reply(s, 214, "2.0.0",
	    "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT (RFC 5321, 3030, 4954)");
}

static enum smtp_step run_vrfy(struct smtp_session *s, struct view args)
{
	(void)args;
	return smtp_reply(s, 252, "2.5.0", "Cannot say; send mail and see");
}

static enum smtp_step run_expn(struct smtp_session *s, struct view args)
{
	return smtp_refuse(s, &no_expn, args);
}

static enum smtp_step run_quit(struct smtp_session *s, struct view args)
{
	(void)args;
	smtp_reply(s, 221, "2.0.0", "%s Bye", s->site->host.name);
	return SMTP_CLOSE;
}

static const struct {
	unsigned states;
	const struct smtp_refusal *elsewhere;
	check_fn check; /* NULL: always */
	run_fn run;
} commands[SMTP_VERB_COUNT] = {
	[SMTP_VERB_HELO] = { ANYWHERE, NULL, check_hello, run_helo },
	[SMTP_VERB_EHLO] = { ANYWHERE, NULL, check_hello, run_ehlo },
	[SMTP_VERB_STARTTLS] = { ANYWHERE, NULL, check_starttls, run_starttls },
	[SMTP_VERB_AUTH] = { IN(SMTP_READY), &in_transaction, check_auth, smtp_auth_start },
	[SMTP_VERB_MAIL] = { IN(SMTP_READY), &in_transaction, check_mail, run_mail },
	[SMTP_VERB_RCPT] = { IN(SMTP_MAIL) | IN(SMTP_RCPT), &mail_first, NULL, run_rcpt },
	[SMTP_VERB_DATA] = { IN(SMTP_MAIL) | IN(SMTP_RCPT), &mail_first, check_data, run_data },
	[SMTP_VERB_BDAT] = { ANYWHERE, NULL, NULL, run_bdat },
	[SMTP_VERB_RSET] = { ANYWHERE, NULL, check_nothing, run_rset },
	[SMTP_VERB_NOOP] = { ANYWHERE, NULL, NULL, run_noop },
	[SMTP_VERB_HELP] = { ANYWHERE, NULL, NULL, run_help },
	[SMTP_VERB_VRFY] = { GREETED, &hello_first, NULL, run_vrfy },
	[SMTP_VERB_EXPN] = { ANYWHERE, NULL, NULL, run_expn },
	[SMTP_VERB_QUIT] = { ANYWHERE, NULL, NULL, run_quit },
};

/* A web page can make a browser speak to us, with a request body full of commands: its first line ends the session. */
static bool is_http(struct view word)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (view_caseeq(word, methods[i]))
			return true;
	return false;
}

enum smtp_step smtp_command_run(struct smtp_session *s, struct view line)
{
	struct smtp_command command;
	const struct smtp_refusal *why = NULL;
	bool secret;

	smtp_command_parse(line, &command);
	secret = command.verb == SMTP_VERB_AUTH; /* its argument may be a password: never logged */
	s->auth_seen |= secret;
	if (command.verb ==
	    SMTP_VERB_UNKNOWN) /* nor what a client says that takes our refusal of AUTH for a challenge */
		return smtp_refuse(
		    s, is_http(command.name) ? &not_http : &unknown, s->auth_seen ? VIEW_NONE : command.name);
	if (line.len > SMTP_LINE_MAX && !secret)
		return smtp_refuse(s, &line_too_long, command.name);
	if (!(commands[command.verb].states & IN(s->state))) {
		why = commands[command.verb].elsewhere;
		if (s->state == SMTP_HELLO)
			why = &hello_first;
		else if (s->state == SMTP_BDAT)
			why = &in_transaction;
	} else if (commands[command.verb].check != NULL) {
		why = commands[command.verb].check(s, command.args);
	}
	if (why != NULL)
		return smtp_refuse(s, why, secret ? VIEW_NONE : command.args);
	return commands[command.verb].run(s, command.args);
}
