/*
 * AUTH PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 4954, 4616, 7677, 9266).  This process sees a password only between the line that
 * carries it and the question to auth; every copy is wiped at once, the one in the input buffer too.
 */
#include "mailsvc/smtp/smtp.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "mailsvc/auth/channel.h"
#include "mailsvc/auth/plain.h"
#include "mailsvc/smtp/rate.h"

#define RESPONSE_MAX (SMTP_AUTH_LINE_MAX)
#define USER_MAX 1024

static const struct smtp_refusal unknown_mechanism = { 504, "5.5.4", "Mechanisms are PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS" };
static const struct smtp_refusal not_base64 = { 501, "5.5.2", "That is not base64" };
static const struct smtp_refusal malformed = { 501, "5.5.2", "That is no such response" };
static const struct smtp_refusal cancelled = { 501, "5.7.0", "Authentication cancelled" };
static const struct smtp_refusal denied = { 535, "5.7.8", "User name or password is wrong" };
static const struct smtp_refusal stopped = { 535, "5.7.13", "This account may not send for now; ask the administrator" };
static const struct smtp_refusal throttled = { 454, "4.7.0", "Too many failures, try again later" };
static const struct smtp_refusal unavailable = { 454, "4.7.0", "Cannot check passwords now, try again later" };
static const struct smtp_refusal too_many = { 421, "4.7.0", "Too many failed authentications, closing" };
static const struct smtp_refusal line_too_long = { 500, "5.5.6", "Authentication line too long" };

static void wipe_view(struct view v)
{
	/* The input buffer is ours; conn_line lends it as const. */
	if (v.len > 0)
		explicit_bzero((char *)(uintptr_t)v.ptr, v.len);
}

static void wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	buf_free(b);
}

static void channel_of(const struct smtp_session *s, struct scram_channel *out)
{
	scram_channel_of(s->site->tls.channel_binding ? conn_ssl(s->conn) : NULL, out);
}

bool smtp_auth_can_bind(const struct smtp_session *s)
{
	struct scram_channel channel;

	channel_of(s, &channel);
	return channel.use != SCRAM_NO_CHANNEL;
}

bool smtp_auth_offered(const struct smtp_session *s)
{
	if (s->service == SERVICE_SMTP || s->local || (s->account != NULL && !s->by_address))
		return false;
	return conn_is_tls(s->conn) || (s->loopback && s->site->listen.insecure_loopback);
}

void smtp_auth_reset(struct smtp_session *s)
{
	free(s->sasl.user);
	s->sasl.user = NULL;
}

static enum smtp_step fail(struct smtp_session *s, const struct smtp_refusal *why)
{
	smtp_auth_reset(s);
	smtp_enter(s, SMTP_READY);
	return smtp_refuse(s, why, VIEW_NONE);
}

static enum smtp_step fail_counted(struct smtp_session *s, const struct smtp_refusal *why)
{
	if (++s->auth_failures < SMTP_AUTH_FAILURES)
		return fail(s, why);
	smtp_reply(s, why->code, why->enhanced, "%s", why->text);
	return fail(s, &too_many);
}

static enum smtp_step challenge(struct smtp_session *s, const char *message, enum smtp_sasl_step next)
{
	struct buf text = BUF_INIT(2 * SCRAM_MESSAGE_MAX);
	enum smtp_step step;

	s->sasl.step = next;
	smtp_enter(s, SMTP_SASL);
	text_base64_encode(&text, view_of(message));
	step = smtp_reply(s, 334, NULL, "%s", buf_str(&text));
	buf_free(&text);
	return step;
}

static enum smtp_step authenticated(struct smtp_session *s, const char *address)
{
	s->account = site_find_account(s->site, address);
	if (s->account == NULL) /* came with a later site than this session's */
		return fail(s, &unavailable);
	if (rate_stopped(s->server->rates, address)) {
		s->account = NULL;
		return fail(s, &stopped);
	}
	log_info("id=%s event=authenticated account=%s", s->id, s->account->address);
	smtp_auth_reset(s);
	smtp_enter(s, SMTP_READY);
	return smtp_reply(s, 235, "2.7.0", "Authenticated");
}

static void on_checked(void *arg, const struct auth_answer *answer)
{
	struct smtp_session *s = arg;
	enum smtp_step step = SMTP_NEXT;

	s->request = 0;
	switch (answer->status) {
	case AUTH_OK:
		if (answer->message[0] == '\0') {
			step = authenticated(s, answer->address);
			break;
		}
		s->sasl.user = xstrdup(answer->address); /* until the client has seen that we know its password too */
		step = challenge(s, answer->message, SMTP_SASL_SCRAM_PROVED);
		break;
	case AUTH_CONTINUE:
		s->sasl.exchange = answer->exchange;
		step = challenge(s, answer->message, SMTP_SASL_SCRAM_FINAL);
		break;
	case AUTH_DENIED:
		step = fail_counted(s, &denied);
		break;
	case AUTH_THROTTLED:
		step = fail_counted(s, &throttled);
		break;
	case AUTH_UNAVAILABLE:
		step = fail(s, &unavailable);
		break;
	}
	smtp_session_continue(s, step);
}

static enum smtp_step ask(struct smtp_session *s, struct view user, struct view password)
{
	if (user.len == 0 || user.len > USER_MAX || password.len == 0 || password.len > AUTH_PASSWORD_MAX)
		return fail_counted(s, &denied);
	smtp_enter(s, SMTP_CHECKING);
	s->request = auth_check(s->server->auth, PROTOCOL_SUBMISSION, user, password, &s->peer.sa, on_checked, s);
	smtp_auth_reset(s);
	return SMTP_WAIT;
}

static enum smtp_step plain(struct smtp_session *s, struct view response)
{
	struct view user, password;
	int status = plain_parse(response, &user, &password);

	if (status < 0)
		return fail(s, &malformed);
	return status > 0 ? fail_counted(s, &denied) : ask(s, user, password);
}

static enum smtp_step scram(struct smtp_session *s, struct view response)
{
	struct auth_client *auth = s->server->auth;
	struct scram_channel channel;

	if (response.len == 0 || response.len > SCRAM_CLIENT_MAX)
		return fail(s, &malformed);
	channel_of(s, &channel);
	if (s->sasl.bound)
		channel.use = SCRAM_CHANNEL_BOUND;
	smtp_enter(s, SMTP_CHECKING);
	s->request = s->sasl.step == SMTP_SASL_SCRAM_FIRST
	                 ? auth_scram_first(auth, PROTOCOL_SUBMISSION, response, &channel, &s->peer.sa, on_checked, s)
	                 : auth_scram_final(auth, s->sasl.exchange, response, on_checked, s);
	return SMTP_WAIT;
}

/* One decoded answer of the client. */
static enum smtp_step answer(struct smtp_session *s, struct view response)
{
	switch (s->sasl.step) {
	case SMTP_SASL_PLAIN:
		return plain(s, response);
	case SMTP_SASL_LOGIN_USER:
		if (response.len == 0 || response.len > USER_MAX || memchr(response.ptr, '\0', response.len) != NULL)
			return fail_counted(s, &denied);
		s->sasl.user = view_dup(response);
		s->sasl.step = SMTP_SASL_LOGIN_PASSWORD;
		smtp_enter(s, SMTP_SASL);
		return smtp_reply(s, 334, NULL, "UGFzc3dvcmQ6"); /* "Password:" */
	case SMTP_SASL_SCRAM_FIRST:
	case SMTP_SASL_SCRAM_FINAL:
		return scram(s, response);
	case SMTP_SASL_SCRAM_PROVED:
		return response.len > 0 ? fail(s, &malformed) : authenticated(s, s->sasl.user);
	case SMTP_SASL_LOGIN_PASSWORD:
		break;
	}
	return ask(s, view_of(s->sasl.user), response);
}

static enum smtp_step decode_and_answer(struct smtp_session *s, struct view line)
{
	struct buf decoded = BUF_INIT(RESPONSE_MAX);
	enum smtp_step step;

	if (line.len > 0 && text_base64_decode(&decoded, line) == -1)
		step = fail(s, &not_base64);
	else
		step = answer(s, buf_view(&decoded));
	wipe(&decoded);
	wipe_view(line);
	return step;
}

enum smtp_step smtp_auth_line(struct smtp_session *s, struct view line)
{
	if (line.len > SMTP_AUTH_LINE_MAX)
		return fail(s, &line_too_long);
	if (view_eq(line, "*"))
		return fail(s, &cancelled);
	return decode_and_answer(s, line);
}

enum smtp_step smtp_auth_start(struct smtp_session *s, struct view args)
{
	struct view mechanism = args, initial = VIEW_NONE;
	const char *space = args.len > 0 ? memchr(args.ptr, ' ', args.len) : NULL;

	if (space != NULL) {
		mechanism.len = (size_t)(space - args.ptr);
		initial = (struct view){ space + 1, args.len - mechanism.len - 1 };
	}
	if (view_caseeq(mechanism, "PLAIN")) {
		s->sasl.step = SMTP_SASL_PLAIN;
	} else if (view_caseeq(mechanism, "LOGIN")) {
		s->sasl.step = SMTP_SASL_LOGIN_USER;
	} else if (view_caseeq(mechanism, "SCRAM-SHA-256")) {
		s->sasl.step = SMTP_SASL_SCRAM_FIRST;
		s->sasl.bound = false;
	} else if (view_caseeq(mechanism, "SCRAM-SHA-256-PLUS") && smtp_auth_can_bind(s)) {
		s->sasl.step = SMTP_SASL_SCRAM_FIRST;
		s->sasl.bound = true;
	} else {
		wipe_view(initial);
		return smtp_refuse(s, &unknown_mechanism, VIEW_NONE);
	}
	if (view_eq(initial, "=")) /* RFC 4954 4: an empty initial response */
		return decode_and_answer(s, VIEW_NONE);
	if (initial.len > 0)
		return decode_and_answer(s, initial);
	smtp_enter(s, SMTP_SASL);
	return smtp_reply(
	    s, 334, NULL, "%s", s->sasl.step != SMTP_SASL_LOGIN_USER ? "" : "VXNlcm5hbWU6"); /* "Username:" */
}
