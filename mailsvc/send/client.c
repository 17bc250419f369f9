/*
 * The SMTP client's state machine.  A state waits for one reply, with the time RFC 5321 4.5.3.2 grants it; `steps` says
 * what a reply in that state leads to.  Everything up to READY is the session; from ENVELOPE to FINAL is a transaction
 * (client_tx.c).
 *
 * client_limits bounds the sum of all that.
 *
 * A reply that is not one, a 421 at any time, a "go on" that is no answer to DATA, one more than there were commands, or
 * silence ends the connection; what has no result by then has none.  A host that says more than it was asked, later than
 * at the next step, cannot be told from one that answers.
 */
#include "client_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"

static void on_greeting(struct smtp_client *c);
static void on_ehlo(struct smtp_client *c);
static void on_helo(struct smtp_client *c);
static void on_starttls(struct smtp_client *c);
static void on_auth_plain(struct smtp_client *c);
static void on_auth_login(struct smtp_client *c);
static void on_auth_user(struct smtp_client *c);
static void on_unasked(struct smtp_client *c);

/*
 * 15 minutes: greeting, EHLO, TLS and EHLO again, or MAIL, RCPT, DATA and a block of data, as slow as RFC 5321 lets
 * them be.  8 KiB/s is 2 hours for 50 MiB.
 */
struct client_limits client_limits = {
	.session_s = 900, .transaction_s = 900, .recipient_s = 20, .bytes_per_s = 8192, .lmtp_s = 60
};

#define UNSENT_MAX (128 * 1024)
#define OF_THE_WHOLE 1000000 /* no time of its own: client_limits */

/* seconds: RFC 5321 4.5.3.2; ours where it names none. */
static const struct step {
	const char *name;
	unsigned seconds;
	void (*reply)(struct smtp_client *);
} steps[] = {
	[CLIENT_CONNECT] = { "connecting", 30, on_unasked },
	[CLIENT_GREETING] = { "greeting", 300, on_greeting },
	[CLIENT_EHLO] = { "EHLO", 300, on_ehlo },
	[CLIENT_HELO] = { "HELO", 300, on_helo },
	[CLIENT_STARTTLS] = { "STARTTLS", 120, on_starttls },
	[CLIENT_HANDSHAKE] = { "TLS handshake", 120, on_unasked },
	[CLIENT_AUTH_PLAIN] = { "AUTH", 120, on_auth_plain },
	[CLIENT_AUTH_LOGIN] = { "AUTH", 120, on_auth_login },
	[CLIENT_AUTH_USER] = { "AUTH", 120, on_auth_user },
	[CLIENT_READY] = { "waiting", 0, on_unasked },
	[CLIENT_REFUSED] = { "waiting", 0, on_unasked },
	[CLIENT_ENVELOPE] = { "MAIL and RCPT", 300, client_on_envelope },
	[CLIENT_DATA] = { "DATA", 120, client_on_data },
	[CLIENT_BODY] = { "the message", OF_THE_WHOLE, client_on_early },
	[CLIENT_FINAL] = { "the end of the message", FINAL_S, client_on_final },
	[CLIENT_EMPTY] = { "the end of no message", 120, client_on_empty },
	[CLIENT_RSET] = { "RSET", 120, client_on_rset },
};

void client_enter(struct smtp_client *c, enum client_state state)
{
	uint64_t ms = (uint64_t)steps[state].seconds * 1000, now = clock_mono_ms();
	uint64_t left = c->until > now ? c->until - now : 0;

	c->until_next = c->until != 0 && left < ms;
	if (c->until_next)
		ms = left;
	struct timeval tv = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };
	c->state = state;
	if (steps[state].seconds > 0 || state == CLIENT_REFUSED)
		event_add(c->timer, &tv);
	else
		event_del(c->timer);
}

void client_limit(struct smtp_client *c, uint64_t seconds)
{
	c->until = seconds > 0 ? clock_mono_ms() + seconds * 1000 : 0;
}

void client_fail(struct smtp_client *c, enum smtp_failure why, const char *reply)
{
	char text[REPLY_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%s", reply); /* reply may be in what freeing clears */
	event_del(c->timer);
	if (c->conn != NULL)
		conn_free(c->conn);
	c->conn = NULL;
	if (!c->dead)
		c->ops->failed(c->arg, why, text);
}

void client_fail_reply(struct smtp_client *c, enum smtp_failure why)
{
	char text[REPLY_TEXT_MAX + 1];

	reply_text(&c->reply, text);
	client_fail(c, why, text);
}

void client_fail_step(struct smtp_client *c)
{
	client_fail(c, SMTP_FAILURE_CONNECT, "4.5.0 the host answers what it was not asked");
}

bool client_out_of_step(struct smtp_client *c)
{
	if (evbuffer_get_length(conn_input(c->conn)) == 0)
		return false;
	client_fail_step(c);
	return true;
}

static bool positive(const struct smtp_client *c)
{
	return c->reply.code / 100 == 2;
}

/* The session ------------------------------------------------------------------------------------------------- */

static void say_ehlo(struct smtp_client *c)
{
	conn_printf(c->conn, "%s %s\r\n", c->lmtp ? "LHLO" : "EHLO", c->helo);
	client_enter(c, CLIENT_EHLO);
}

static void on_greeting(struct smtp_client *c)
{
	if (!positive(c))
		client_fail_reply(c, SMTP_FAILURE_REPLY);
	else
		say_ehlo(c);
}

static void become_ready(struct smtp_client *c)
{
	if (client_out_of_step(c))
		return;
	client_enter(c, CLIENT_READY);
	c->ops->ready(c->arg);
}

/* After EHLO (in TLS, or without): authenticate, if we are to. */
static void authenticate(struct smtp_client *c)
{
	struct buf plain = BUF_INIT(2048), text = BUF_INIT(4096);

	if (c->user == NULL) {
		become_ready(c);
	} else if (!conn_is_tls(c->conn)) {
		client_fail(c, SMTP_FAILURE_TLS, "4.7.4 the host offers no TLS, and a password is not sent without");
	} else if (c->ehlo.auth_plain) { /* RFC 4616 */
		buf_addc(&plain, '\0');
		buf_puts(&plain, c->user);
		buf_addc(&plain, '\0');
		buf_puts(&plain, c->password);
		text_base64_encode(&text, buf_view(&plain));
		conn_printf(c->conn, "AUTH PLAIN %s\r\n", buf_str(&text));
		client_enter(c, CLIENT_AUTH_PLAIN);
	} else if (c->ehlo.auth_login) {
		conn_printf(c->conn, "AUTH LOGIN\r\n");
		client_enter(c, CLIENT_AUTH_LOGIN);
	} else {
		client_fail(c, SMTP_FAILURE_AUTH, "4.7.0 the host offers neither AUTH PLAIN nor AUTH LOGIN");
	}
	if (plain.data != NULL)
		explicit_bzero(plain.data, plain.cap);
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	buf_free(&plain);
	buf_free(&text);
}

static void tell_tls(struct smtp_client *c, enum tls_result result, const char *reason)
{
	if (c->tls == NULL || c->tls_told || c->dead)
		return;
	c->tls_told = true;
	if (c->ops->secured != NULL)
		c->ops->secured(c->arg, result, reason);
}

static void after_hello(struct smtp_client *c)
{
	if (client_out_of_step(c))
		return;
	if (c->tls != NULL && !conn_is_tls(c->conn) && c->ehlo.starttls && !c->starttls_refused) {
		conn_printf(c->conn, "STARTTLS\r\n");
		client_enter(c, CLIENT_STARTTLS);
		return;
	}
	if (!conn_is_tls(c->conn))
		tell_tls(c, TLS_RESULT_STARTTLS, c->starttls_refused ? "STARTTLS is refused" : "STARTTLS is not offered");
	if (!conn_is_tls(c->conn) && c->policy != NULL && tls_policy_insists(c->policy))
		client_fail(c, SMTP_FAILURE_TLS, "4.7.4 TLS is required and the host does not offer it");
	else
		authenticate(c);
}

static void on_ehlo(struct smtp_client *c)
{
	if (positive(c)) {
		reply_ehlo(&c->reply, &c->ehlo);
		after_hello(c);
	} else if (c->reply.code / 100 == 5 && !c->lmtp) {
		conn_printf(c->conn, "HELO %s\r\n", c->helo);
		client_enter(c, CLIENT_HELO);
	} else {
		client_fail_reply(c, SMTP_FAILURE_REPLY);
	}
}

static void on_helo(struct smtp_client *c)
{
	memset(&c->ehlo, 0, sizeof(c->ehlo));
	if (positive(c))
		after_hello(c);
	else
		client_fail_reply(c, SMTP_FAILURE_REPLY);
}

static const char *server_name(const struct smtp_client *c)
{
	return c->to.host[0] != '\0' && c->to.host[0] != '[' ? c->to.host : NULL;
}

static void start_tls(struct smtp_client *c)
{
	bool dane = c->policy != NULL && c->policy->level == TLS_DANE;

	client_enter(c, CLIENT_HANDSHAKE);
	conn_start_tls(c->conn, c->tls, false, dane ? c->policy->dane.base : server_name(c));
	if (c->policy != NULL && tls_policy_arm(c->policy, conn_ssl(c->conn)) == -1) {
		tell_tls(c, dane ? TLS_RESULT_TLSA : TLS_RESULT_NAME, "nothing the certificate could be checked against");
		client_fail(c, SMTP_FAILURE_TLS, "4.7.5 there is nothing that the host's certificate could be checked against");
	}
}

static void on_starttls(struct smtp_client *c)
{
	if (c->reply.code == 220) {
		start_tls(c);
	} else {
		c->starttls_refused = true;
		after_hello(c);
	}
}

static void say_base64(struct smtp_client *c, const char *s)
{
	struct buf text = BUF_INIT(4096);

	text_base64_encode(&text, view_of(s));
	conn_printf(c->conn, "%s\r\n", buf_str(&text));
	explicit_bzero(text.data, text.cap);
	buf_free(&text);
}

static void on_auth_plain(struct smtp_client *c)
{
	if (positive(c))
		become_ready(c);
	else
		client_fail_reply(c, SMTP_FAILURE_AUTH);
}

static void on_auth_login(struct smtp_client *c)
{
	if (c->reply.code != 334) {
		client_fail_reply(c, SMTP_FAILURE_AUTH);
		return;
	}
	say_base64(c, c->user);
	client_enter(c, CLIENT_AUTH_USER);
}

static void on_auth_user(struct smtp_client *c)
{
	if (c->reply.code != 334) {
		client_fail_reply(c, SMTP_FAILURE_AUTH);
		return;
	}
	say_base64(c, c->password);
	client_enter(c, CLIENT_AUTH_PLAIN); /* the last answer is the same */
}

/* A word nobody asked for; 421 is a host that closes. */
static void on_unasked(struct smtp_client *c)
{
	client_fail_reply(c, SMTP_FAILURE_CONNECT);
}

/* Events ------------------------------------------------------------------------------------------------------ */

static void tell_heard(struct smtp_client *c, const struct reply *reply)
{
	if (c->ops->heard != NULL && !c->dead)
		c->ops->heard(c->arg, steps[c->state].name, reply);
}

static void on_readable(struct conn *conn, void *arg)
{
	struct smtp_client *c = arg;

	while (!c->dead && c->conn == conn) {
		struct evbuffer *in = conn_input(conn);
		struct evbuffer_iovec v;
		size_t used = 0;
		if (evbuffer_peek(in, -1, NULL, &v, 1) < 1 || v.iov_len == 0)
			return;
		enum reply_status status = reply_feed(&c->reply, v.iov_base, v.iov_len, &used);
		evbuffer_drain(in, used);
		if (status == REPLY_MORE)
			continue;
		if (status == REPLY_ERROR) {
			client_fail(c, SMTP_FAILURE_REPLY, "4.5.0 the host does not speak SMTP");
			return;
		}
		tell_heard(c, &c->reply);
		if (c->reply.code == 421 && c->state < CLIENT_BODY)
			client_fail_reply(c, c->state == CLIENT_GREETING ? SMTP_FAILURE_REPLY : SMTP_FAILURE_CONNECT);
		else
			steps[c->state].reply(c);
		reply_reset(&c->reply);
	}
}

/* The handshake is over: false, and the connection has failed, when the certificate is not what it must be. */
static bool certificate_fits(struct smtp_client *c)
{
	char why[160] = "", text[REPLY_TEXT_MAX];
	enum tls_result result =
	    c->policy != NULL ? tls_policy_check(c->policy, conn_ssl(c->conn), why) : TLS_RESULT_OK;

	tell_tls(c, result, why);
	if (result == TLS_RESULT_OK || !tls_policy_authenticates(c->policy))
		return true;
	snprintf(text, sizeof(text), "4.7.5 the certificate of %.100s is not acceptable: %.160s", c->to.host, why);
	client_fail(c, SMTP_FAILURE_TLS, text);
	return false;
}

/*
 * What the kernel holds goes out even after the connection is given up.  So it gets little more than the host takes:
 * what has left the connection's output is then about to be there, and a message that was given up is not there to its
 * end.
 */
static void hold_back(const struct conn *conn)
{
	int bytes = UNSENT_MAX;

	if (setsockopt(conn_fd(conn), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes)) == -1)
		log_debug("event=notsent-lowat errno=%d", errno);
}

static void on_secured(struct conn *conn, void *arg)
{
	struct smtp_client *c = arg;

	tell_heard(c, NULL);
	if (c->state == CLIENT_CONNECT) {
		hold_back(conn);
		if (c->implicit_tls) {
			start_tls(c);
			return;
		}
		client_enter(c, CLIENT_GREETING);
	} else if (c->state == CLIENT_HANDSHAKE) {
		snprintf(c->tls_text, sizeof(c->tls_text), "%s", SSL_get_version(conn_ssl(conn)));
		if (!certificate_fits(c))
			return;
		reply_reset(&c->reply);
		if (c->implicit_tls)
			client_enter(c, CLIENT_GREETING);
		else
			say_ehlo(c);
	}
	conn_resume(conn);
}

/* The connection is of no use any more, for a reason in our own words. */
static void fail_here(struct smtp_client *c, const char *text)
{
	bool handshake = c->state == CLIENT_HANDSHAKE;

	if (handshake)
		tell_tls(c, TLS_RESULT_INVALID, text);
	client_fail(c, handshake ? SMTP_FAILURE_TLS : SMTP_FAILURE_CONNECT, text);
}

/* The sum of its steps is too much. */
static void fail_slow(struct smtp_client *c)
{
	char text[REPLY_TEXT_MAX];

	if (c->state < CLIENT_READY) {
		snprintf(text, sizeof(text), "4.4.2 the host is too slow: it was not ready after %u seconds, in %s",
		    client_limits.session_s, steps[c->state].name);
		fail_here(c, text);
		return;
	}
	snprintf(text, sizeof(text),
	    "4.4.2 the host is too slow: %zu recipients and %zu bytes did not go in time, in %s", c->tx.count,
	    c->tx.message.len, steps[c->state].name);
	client_fail(c, SMTP_FAILURE_SLOW, text);
}

static void on_ended(struct conn *conn, void *arg, enum conn_end end)
{
	struct smtp_client *c = arg;
	char text[REPLY_TEXT_MAX];

	if (end == CONN_TLS) {
		const char *why = conn_tls_error(conn);
		snprintf(text, sizeof(text), "4.7.5 TLS with %s failed: %.200s", c->to.host, why != NULL ? why : "");
		tell_tls(c, TLS_RESULT_INVALID, text);
		client_fail(c, SMTP_FAILURE_TLS, text);
		return;
	}
	if (c->state == CLIENT_CONNECT)
		snprintf(text, sizeof(text), "4.4.1 cannot connect to %s[%s]: %.100s", c->to.host, c->to.text,
		    conn_tls_error(conn));
	else
		snprintf(text, sizeof(text), "4.4.2 connection %s in %s",
		    end == CONN_TIMEOUT ? "made no progress" : "lost", steps[c->state].name);
	fail_here(c, text);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_client *c = arg;
	char text[REPLY_TEXT_MAX];

	(void)fd, (void)what;
	if (c->state == CLIENT_REFUSED) {
		client_refuse_all(c);
		return;
	}
	if (c->until_next) {
		fail_slow(c);
		return;
	}
	if (c->state == CLIENT_CONNECT)
		snprintf(text, sizeof(text), "4.4.1 cannot connect to %s[%s]: timed out", c->to.host, c->to.text);
	else
		snprintf(text, sizeof(text), "4.4.2 timed out in %s", steps[c->state].name);
	fail_here(c, text);
}

static void on_drained(struct conn *conn, void *arg)
{
	(void)conn;
	client_feed(arg);
}

/* Life -------------------------------------------------------------------------------------------------------- */

struct smtp_client *smtp_client_new(
    struct event_base *base, const struct smtp_client_setup *setup, const struct smtp_client_ops *ops, void *arg)
{
	static const struct conn_ops conn_ops = { on_readable, on_drained, on_secured, on_ended };
	struct smtp_client *c = xcalloc(1, sizeof(*c));

	c->base = base;
	c->ops = ops;
	c->arg = arg;
	c->to = *setup->to;
	c->helo = xstrdup(setup->helo);
	c->tls = setup->tls;
	c->lmtp = setup->lmtp;
	c->no_chunking = setup->no_chunking;
	c->implicit_tls = setup->implicit_tls && setup->tls != NULL;
	c->policy = setup->policy;
	c->user = setup->user != NULL ? xstrdup(setup->user) : NULL;
	c->password = setup->user != NULL ? xstrdup(setup->password) : NULL;
	snprintf(c->tls_text, sizeof(c->tls_text), "none");
	reply_init(&c->reply);
	c->timer = evtimer_new(base, on_timer, c);
	if (c->timer == NULL)
		fatalx("cannot make a timer");
	c->conn = conn_connect(
	    base, (const struct sockaddr *)&c->to.to, c->to.len, setup->from, setup->from_len, &conn_ops, c);
	c->made = clock_mono_ms();
	client_limit(c, client_limits.session_s);
	client_enter(c, CLIENT_CONNECT);
	conn_set_timeout(c->conn, 0, 180);
	return c;
}

static void release(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_client *c = arg;

	(void)fd, (void)what;
	event_free(c->timer);
	reply_free(&c->reply);
	buf_free(&c->slice);
	if (c->password != NULL)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c->user);
	free(c->results);
	free(c->asked);
	tls_policy_free(c->policy);
	free(c->helo);
	free(c);
}

void smtp_client_free(struct smtp_client *c)
{
	struct timeval now = { 0, 0 };

	if (c == NULL || c->dead)
		return;
	c->dead = true;
	event_del(c->timer);
	if (c->conn != NULL)
		conn_free(c->conn);
	c->conn = NULL;
	event_base_once(c->base, -1, EV_TIMEOUT, release, c, &now);
}

void smtp_client_quit(struct smtp_client *c)
{
	if (c->conn != NULL) {
		conn_printf(c->conn, "QUIT\r\n");
		conn_close(c->conn);
		c->conn = NULL;
	}
	smtp_client_free(c);
}

bool smtp_client_knows_dsn(const struct smtp_client *c)
{
	return c->ehlo.dsn;
}

const char *smtp_client_tls(const struct smtp_client *c)
{
	return c->tls_text;
}

SSL *smtp_client_ssl(const struct smtp_client *c)
{
	return c->conn != NULL ? conn_ssl(c->conn) : NULL;
}

uint64_t smtp_client_age(const struct smtp_client *c)
{
	return clock_mono_ms() - c->made;
}

int smtp_client_fd(const struct smtp_client *c)
{
	return c->conn != NULL ? conn_fd(c->conn) : -1;
}
