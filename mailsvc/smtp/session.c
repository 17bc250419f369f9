/*
 * One SMTP session: from the accepted descriptor to its end.  smtp_session_run is the only loop; every handler returns
 * what is to happen (enum smtp_step) and only the loop acts on it.  A session is freed in one place, and never below a
 * handler that still uses it.
 *
 * Deadlines are kept by the server's one-second tick: a whole command must come within limits.idle of the last one, so
 * that single bytes do not keep a session alive; content must keep to a minimum rate.
 */
#include "mailsvc/smtp/smtp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/ip.h"
#include "lib/text.h"
#include "mailsvc/smtp/check.h"

static const struct {
	const char *name;
	bool waits; /* for another process: nothing is read, no deadline */
} states[SMTP_STATES] = {
	[SMTP_CONNECT] = { "connect", false },
	[SMTP_GREETING] = { "greeting", true },
	[SMTP_HELLO] = { "hello", false },
	[SMTP_READY] = { "ready", false },
	[SMTP_MAIL] = { "mail", false },
	[SMTP_RCPT] = { "rcpt", false },
	[SMTP_BDAT] = { "bdat", false },
	[SMTP_DATA] = { "data", false },
	[SMTP_CHUNK] = { "chunk", false },
	[SMTP_SASL] = { "sasl", false },
	[SMTP_CHECKING] = { "checking", true },
	[SMTP_ASKING] = { "asking", true },
	[SMTP_VERIFYING] = { "verifying", true },
	[SMTP_SIGNING] = { "signing", true },
	[SMTP_STORING] = { "storing", true },
	[SMTP_TLS] = { "tls", false },
};

static const struct smtp_refusal line_too_long = { 500, "5.5.2", "Line too long" };
static const struct smtp_refusal line_bad = { 500, "5.5.2", "Lines end with CR LF, and hold no other CR, LF or NUL" };
static const struct smtp_refusal early = { 554, "5.5.1", "You spoke before the greeting" };

const char *smtp_state_name(enum smtp_state state)
{
	return states[state].name;
}

enum smtp_state smtp_idle_state(const struct smtp_session *s)
{
	return s->helo != NULL ? SMTP_READY : SMTP_HELLO;
}

static void set_deadline(struct smtp_session *s)
{
	uint64_t seconds = (uint64_t)s->site->limits.idle;

	s->rate_bytes = 0;
	if (states[s->state].waits) {
		s->deadline = 0;
		return;
	}
	if (s->state == SMTP_DATA || s->state == SMTP_CHUNK)
		seconds = SMTP_RATE_SECONDS;
	else if (s->state == SMTP_CONNECT || s->state == SMTP_TLS)
		seconds = SMTP_TLS_SECONDS;
	s->deadline = clock_mono_ms() + seconds * 1000;
}

void smtp_enter(struct smtp_session *s, enum smtp_state state)
{
	if (state != s->state)
		log_debug("id=%s event=state from=%s to=%s", smtp_log_id(s), states[s->state].name, states[state].name);
	s->state = state;
	set_deadline(s);
}

const char *smtp_log_id(const struct smtp_session *s)
{
	return s->tx.sender != NULL ? s->tx.id : s->id;
}

void smtp_peer_name(const struct smtp_session *s, char out[64])
{
	const unsigned char *v4 = ip_v4(&s->peer.sa);

	if (s->local)
		snprintf(out, 64, "uid %u", (unsigned)s->uid);
	else if (v4 != NULL)
		inet_ntop(AF_INET, v4, out, 64);
	else
		inet_ntop(AF_INET6, &s->peer.in6.sin6_addr, out, 64);
}

enum smtp_step smtp_reply(struct smtp_session *s, int code, const char *enhanced, const char *fmt, ...)
{
	struct buf line = BUF_INIT(1024);
	va_list ap;

	buf_printf(&line, "%d %s%s", code, enhanced != NULL ? enhanced : "", enhanced != NULL ? " " : "");
	va_start(ap, fmt);
	buf_vprintf(&line, fmt, ap);
	va_end(ap);
	buf_puts(&line, "\r\n");
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
	return SMTP_NEXT;
}

void smtp_offence(const struct smtp_session *s, enum offence what)
{
	if (s->account == NULL && !s->local && !s->loopback)
		guard_offence(s->server->guard, what, &s->peer.sa);
}

enum smtp_step smtp_refuse(struct smtp_session *s, const struct smtp_refusal *why, struct view about)
{
	struct buf line = BUF_INIT(2048);
	char peer[64];

	smtp_peer_name(s, peer);
	buf_printf(&line, "id=%s event=refused peer=", smtp_log_id(s));
	text_escape(&line, view_of(peer), sizeof(peer));
	buf_printf(&line, " code=%d enhanced=%s state=%s about=", why->code, why->enhanced, states[s->state].name);
	text_escape(&line, about, 400);
	if (s->tx.sender != NULL) {
		buf_puts(&line, " from=");
		text_escape(&line, view_of(s->tx.sender[0] != '\0' ? s->tx.sender : "<>"), ADDRESS_MAX);
	}
	if (s->helo != NULL) {
		buf_puts(&line, " helo=");
		text_escape(&line, view_of(s->helo), ADDRESS_MAX);
	}
	buf_puts(&line, " reason=");
	text_escape(&line, view_of(why->text), 200);
	log_info("%s", buf_str(&line));
	buf_free(&line);

	smtp_reply(s, why->code, why->enhanced, "%s", why->text);
	if (why->code == 421)
		return SMTP_CLOSE;
	if (s->checks != NULL && why->code >= 500 && s->errors > 0)
		smtp_check_pause(s, s->site->checks.tarpit);
	/* Whoever logged in may mistype addresses; a stranger who guesses them may not go on for long. */
	if (why->code >= 500 && ++s->errors > (unsigned)s->site->limits.errors && !(s->account != NULL || s->local)) {
		smtp_offence(s, OFFENCE_ERRORS);
		smtp_reply(s, 421, "4.7.0", "%s Too many errors, closing", s->site->host.name);
		return SMTP_CLOSE;
	}
	return SMTP_NEXT;
}

static void cancel_request(struct smtp_session *s)
{
	if (s->request == 0)
		return;
	if (s->state == SMTP_CHECKING)
		auth_cancel(s->server->auth, s->request);
	else if (s->state == SMTP_ASKING)
		verify_cancel(s->server->verify, s->request);
	else if (s->state == SMTP_SIGNING)
		dkim_cancel(s->server->keys, s->request);
	else if (s->state == SMTP_STORING)
		store_cancel(s->server->store, s->request);
	s->request = 0;
}

/* The one place where a session ends.  flush: what was replied is still written. */
static void session_free(struct smtp_session *s, bool flush, const char *why)
{
	struct smtp_server *server = s->server;
	char peer[64];

	smtp_peer_name(s, peer);
	log_info("id=%s event=disconnect peer=\"%s\" why=%s state=%s accepted=%u errors=%u", s->id, peer, why,
	    states[s->state].name, s->accepted, s->errors);
	cancel_request(s);
	smtp_auth_reset(s);
	smtp_tx_reset(s);
	smtp_check_end(s);
	if (flush)
		conn_close(s->conn);
	else
		conn_free(s->conn);
	if (s->counted)
		smtp_peers_leave(server->peers, &s->peer.sa);
	TAILQ_REMOVE(&server->sessions, s, link);
	server->session_count--;
	site_unref(s->site);
	free(s->helo);
	free(s);
}

static enum smtp_step read_command(struct smtp_session *s)
{
	struct view line;
	enum smtp_step step;

	switch (conn_line(s->conn, SMTP_AUTH_LINE_MAX, &line)) {
	case LINE_MORE:
		return SMTP_MORE;
	case LINE_TOO_LONG: /* where the next command would begin cannot be said: end here */
		smtp_refuse(s, &line_too_long, VIEW_NONE);
		smtp_offence(s, OFFENCE_ERRORS);
		return SMTP_CLOSE;
	case LINE_BAD:
		smtp_refuse(s, &line_bad, VIEW_NONE);
		smtp_offence(s, OFFENCE_ERRORS);
		return SMTP_CLOSE;
	case LINE_OK:
		break;
	}
	set_deadline(s);
	smtp_check_command(s);
	step = s->state == SMTP_SASL ? smtp_auth_line(s, line) : smtp_command_run(s, line);
	conn_line_done(s->conn);
	if (s->state == SMTP_TLS) /* only now that the line is gone: what was pipelined behind it is discarded */
		conn_start_tls(s->conn, s->server->tls, true, NULL);
	return step;
}

static void greet(struct smtp_session *s)
{
	smtp_reply(s, 220, NULL, "%s ESMTP mailadm", s->site->host.name);
	smtp_enter(s, SMTP_HELLO);
}

/* It spoke before the greeting: SMTP_CLOSE, or it may go on. */
static enum smtp_step spoke_early(struct smtp_session *s)
{
	switch (smtp_rule_of(s->site->checks.early_talker)) {
	case SMTP_RULE_REFUSE:
		smtp_refuse(s, &early, VIEW_NONE);
		smtp_offence(s, OFFENCE_EARLY);
		return SMTP_CLOSE;
	case SMTP_RULE_MARK:
		smtp_check_early(s);
		break;
	case SMTP_RULE_OFF:
		break;
	}
	return SMTP_WAIT;
}

/* Reading is on, so that who speaks early or goes away is seen; what was said early is read after the greeting. */
static enum smtp_step wait_to_greet(struct smtp_session *s)
{
	enum smtp_step next = SMTP_MORE;

	if (evbuffer_get_length(conn_input(s->conn)) > 0)
		next = spoke_early(s);
	if (next == SMTP_CLOSE)
		return next;
	s->waiting = smtp_check_waits(s);
	if (s->waiting)
		return next;
	greet(s);
	conn_resume(s->conn);
	return SMTP_NEXT;
}

static enum smtp_step wait_for_checks(struct smtp_session *s)
{
	s->waiting = true;
	return SMTP_WAIT;
}

static enum smtp_step step(struct smtp_session *s)
{
	switch (s->state) {
	case SMTP_GREETING:
		return wait_to_greet(s);
	case SMTP_HELLO:
	case SMTP_READY:
		if (s->server->draining) {
			smtp_reply(s, 421, "4.3.2", "%s Going down, try again", s->site->host.name);
			return SMTP_CLOSE;
		}
		return smtp_check_waits(s) ? wait_for_checks(s) : read_command(s);
	case SMTP_MAIL:
	case SMTP_RCPT:
	case SMTP_BDAT:
		return smtp_check_waits(s) ? wait_for_checks(s) : read_command(s);
	case SMTP_SASL:
		return read_command(s);
	case SMTP_DATA:
		return smtp_receive_data(s);
	case SMTP_CHUNK:
		return smtp_receive_chunk(s);
	default: /* a callback goes on */
		return SMTP_MORE;
	}
}

static void session_run(struct smtp_session *s)
{
	for (;;) {
		if (conn_output_len(s->conn) > SMTP_OUTPUT_HIGH) {
			s->blocked = true;
			conn_pause(s->conn);
			return;
		}
		switch (step(s)) {
		case SMTP_NEXT:
			continue;
		case SMTP_MORE:
			return;
		case SMTP_WAIT:
			conn_pause(s->conn);
			return;
		case SMTP_CLOSE:
			session_free(s, true, "closed");
			return;
		}
	}
}

void smtp_session_continue(struct smtp_session *s, enum smtp_step next)
{
	s->request = 0;
	s->waiting = false;
	if (next == SMTP_CLOSE)
		session_free(s, true, "closed");
	else if (next != SMTP_WAIT && !s->blocked) {
		conn_resume(s->conn);
		session_run(s); /* what is pipelined already, and a drain that waited for this */
	}
}

static void on_readable(struct conn *c, void *arg)
{
	(void)c;
	session_run(arg);
}

static void on_drained(struct conn *c, void *arg)
{
	struct smtp_session *s = arg;

	(void)c;
	if (!s->blocked)
		return;
	s->blocked = false;
	if (!states[s->state].waits)
		conn_resume(s->conn);
}

static void on_secured(struct conn *c, void *arg)
{
	struct smtp_session *s = arg;

	log_debug("id=%s event=tls version=%s cipher=%s", s->id, SSL_get_version(conn_ssl(c)),
	    SSL_get_cipher_name(conn_ssl(c)));
	if (s->state == SMTP_CONNECT)
		greet(s);
	else
		smtp_enter(s, SMTP_HELLO);
	conn_resume(s->conn);
}

static void on_ended(struct conn *c, void *arg, enum conn_end end)
{
	struct smtp_session *s = arg;

	switch (end) {
	case CONN_EOF: /* half-closed clients still get the replies to what they pipelined */
		session_free(s, true, "eof");
		return;
	case CONN_TIMEOUT:
		session_free(s, false, "write-timeout");
		return;
	case CONN_TLS:
		log_info("id=%s event=tls-failed reason=\"%s\"", s->id, conn_tls_error(c));
		session_free(s, false, "tls");
		return;
	case CONN_ERROR:
		session_free(s, false, "error");
		return;
	}
}

static const struct conn_ops session_ops = { on_readable, on_drained, on_secured, on_ended };

/* Who is on the other side; false when it is to be turned away at once. */
static bool identify(struct smtp_session *s, int fd, const struct sockaddr_storage *from)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)from;

	if (s->local) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
			return false;
		s->uid = cred.uid;
		s->trusted_uid = cred.uid == 0 || cred.uid == s->server->own_uid;
		s->peer.sa.sa_family = AF_UNIX;
		return true;
	}
	if (from->ss_family == AF_INET6)
		memcpy(&s->peer.in6, from, sizeof(s->peer.in6));
	else
		memcpy(&s->peer.in, from, sizeof(s->peer.in));
	s->loopback = ip_is_loopback(sa);
	return true;
}

uint64_t smtp_share(const struct smtp_server *server, uint64_t of_host)
{
	unsigned n = server->ctx->instances > 0 ? server->ctx->instances : 1;

	return (of_host + n - 1) / n;
}

/* Over a limit: said in the clear where no TLS is expected, and the connection is gone before it costs anything. */
static void turn_away(const struct smtp_session *s, int fd, const char *text)
{
	char line[512], peer[64];
	int n;

	smtp_peer_name(s, peer);
	log_info("id=%s event=refused peer=\"%s\" code=421 reason=\"%s\"", s->id, peer, text);
	n = snprintf(line, sizeof(line), "421 4.7.0 %.300s %s\r\n", s->site->host.name, text);
	if (!services[s->service].implicit_tls || s->local) {
		/* A new socket takes this much; and if not, it is refused all the same. */
		ssize_t ignored = write(fd, line, (size_t)n);

		(void)ignored;
	}
	close(fd);
}

static bool within_limits(struct smtp_session *s, int fd)
{
	struct smtp_server *server = s->server;
	const char *often;

	if (server->session_count >= smtp_share(server, (uint64_t)s->site->limits.connections)) {
		turn_away(s, fd, "Too many connections");
		return false;
	}
	if (s->local || s->loopback)
		return true;
	if (!smtp_peers_enter(server->peers, &s->peer.sa,
		(unsigned)smtp_share(server, (uint64_t)s->site->limits.connections_per_address))) {
		turn_away(s, fd, "Too many connections from your address");
		return false;
	}
	s->counted = true;
	often = smtp_check_rate(s);
	if (often != NULL)
		turn_away(s, fd, often);
	return often == NULL;
}

void smtp_session_new(
    struct smtp_server *server, const struct smtp_listener *listener, int fd, const struct sockaddr_storage *from)
{
	struct smtp_session *s = xcalloc(1, sizeof(*s));
	bool tls = !listener->local && services[listener->service].implicit_tls;
	int waiting = 0;
	char peer[64];

	s->server = server;
	s->site = site_ref(server->ctx->site);
	s->service = listener->service;
	s->local = listener->local;
	smtp_new_id(server, s->id);
	if (!identify(s, fd, from) || (tls && server->tls == NULL)) {
		close(fd);
		goto drop;
	}
	smtp_check_begin(s);
	if (!within_limits(s, fd))
		goto drop;
	/* A program on this host that writes its whole dialogue at once is no spammer. */
	if (!tls && !s->local && ioctl(fd, FIONREAD, &waiting) == -1)
		waiting = 0;
	s->conn = conn_accept(server->ctx->base, fd, tls ? server->tls : NULL, &session_ops, s);
	conn_set_timeout(s->conn, 0, SMTP_WRITE_SECONDS);
	TAILQ_INSERT_TAIL(&server->sessions, s, link);
	server->session_count++;
	smtp_peer_name(s, peer);
	log_info(
	    "id=%s event=connect peer=\"%s\" service=%s", s->id, peer, s->local ? "local" : services[s->service].name);
	smtp_enter(s, SMTP_CONNECT);
	if (waiting > 0 && spoke_early(s) == SMTP_CLOSE) {
		session_free(s, true, "early-talker");
	} else if (s->checks != NULL) {
		smtp_enter(s, SMTP_GREETING);
		smtp_check_peer(s);
		s->waiting = smtp_check_waits(s);
		if (!s->waiting)
			greet(s);
		conn_resume(s->conn);
	} else if (!tls) {
		greet(s);
		conn_resume(s->conn);
	}
	return;
drop:
	smtp_check_end(s);
	if (s->counted)
		smtp_peers_leave(server->peers, &s->peer.sa);
	site_unref(s->site);
	free(s);
}

static void timed_out(struct smtp_session *s)
{
	if (s->state == SMTP_CONNECT || s->state == SMTP_TLS) {
		session_free(s, false, "tls-timeout");
		return;
	}
	smtp_reply(s, 421, "4.4.2", "%s Timeout, closing", s->site->host.name);
	session_free(s, true, "timeout");
}

void smtp_session_tick(struct smtp_session *s, uint64_t now)
{
	if (smtp_ask_tick(s, now))
		return;
	if (s->deadline == 0 || now < s->deadline) {
		smtp_check_tick(s, now);
		return;
	}
	if ((s->state == SMTP_DATA || s->state == SMTP_CHUNK) && s->rate_bytes >= SMTP_RATE_BYTES)
		set_deadline(s);
	else
		timed_out(s);
}

void smtp_session_drain(struct smtp_session *s, bool hard)
{
	if (!hard && s->state != SMTP_HELLO && s->state != SMTP_READY && s->state != SMTP_CONNECT && s->state != SMTP_GREETING)
		return;
	if (s->state != SMTP_CONNECT && s->state != SMTP_TLS)
		smtp_reply(s, 421, "4.3.2", "%s Going down, try again", s->site->host.name);
	session_free(s, true, "drain");
}
