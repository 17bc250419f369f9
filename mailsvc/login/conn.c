/*
 * A connection before login.  preauth.c speaks; this moves its bytes, starts TLS, asks auth, and hands the connection
 * to imap: a plain socket itself, a TLS one by way of a relay.
 *
 * The deadline counts from accept and moves for nobody, however slowly bytes dribble in; only while auth is asked it
 * waits for the answer.  login_end frees at once: whoever calls it returns without another look.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/crc32c.h"
#include "lib/ip.h"
#include "lib/text.h"
#include "login.h"
#include "mailsvc/auth/channel.h"

#define CHANNEL_QUEUE_MAX (4u << 20) /* bytes waiting for an imap process before it counts as away */

static void log_id(const struct login_conn *lc, char id[24])
{
	snprintf(id, 24, "l%d-%x", (int)getpid(), lc->serial);
}

static void peer_name(const union peer *peer, char name[64])
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (peer->sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &peer->v6.sin6_addr, text, sizeof(text));
		snprintf(name, 64, "[%s]:%u", text, ntohs(peer->v6.sin6_port));
	} else {
		inet_ntop(AF_INET, &peer->v4.sin_addr, text, sizeof(text));
		snprintf(name, 64, "%s:%u", text, ntohs(peer->v4.sin_port));
	}
}

static void unlink_conn(struct login_conn *lc)
{
	*lc->prev_next = lc->next;
	if (lc->next != NULL)
		lc->next->prev_next = lc->prev_next;
	else if (lc->login->last == &lc->next)
		lc->login->last = lc->prev_next;
}

/* Frees all but the connection itself. */
static void release(struct login_conn *lc)
{
	struct login *l = lc->login;

	auth_cancel(l->auth, lc->auth_request);
	unlink_conn(lc);
	if (lc->state == LOGIN_RELAY)
		l->relay_count--;
	l->count--;
	address_counts_remove(l->counts, &lc->peer.sa);
	preauth_free(&lc->pre);
	free(lc->proved);
	free(lc);
}

static void flush(struct login_conn *lc)
{
	if (lc->pre.out.len > 0)
		conn_writev(lc->conn, buf_view(&lc->pre.out));
	buf_free(&lc->pre.out);
}

void login_end(struct login_conn *lc, const char *reason)
{
	char id[24], name[64];

	log_id(lc, id);
	peer_name(&lc->peer, name);
	log_debug("id=%s event=close ip=%s reason=%s", id, name, reason);
	flush(lc);
	conn_close(lc->conn);
	if (lc->inner != NULL)
		conn_close(lc->inner);
	release(lc);
}

/* Handing over -------------------------------------------------------------------------------------------------- */

static struct chan *imap_for(struct login *l, const char *address)
{
	unsigned n = l->ctx->peers[ROLE_IMAP];
	struct chan *c;

	if (n == 0 || n > ROLE_INSTANCES_MAX)
		return NULL;
	c = l->imap[crc32c(0, address, strlen(address)) % n];
	return c != NULL && chan_queued(c) < CHANNEL_QUEUE_MAX ? c : NULL;
}

/* An account's sessions share a process, by a hash of its address. */
static void hand_over(struct login_conn *lc, const struct auth_answer *answer)
{
	struct login *l = lc->login;
	struct chan *imap = imap_for(l, answer->address);
	struct buf rest = BUF_INIT(HANDOFF_REST_MAX), message = BUF_INIT(IMSG_MAX);
	struct handoff h = { .protocol = lc->pre.protocol, .tls = lc->pre.tls };
	int fd;

	if (imap == NULL) {
		preauth_answer(&lc->pre, AUTH_UNAVAILABLE);
		login_end(lc, "no-imap");
		return;
	}
	memcpy(h.ticket, answer->ticket, sizeof(h.ticket));
	memcpy(h.tag, lc->pre.tag, sizeof(h.tag));
	log_id(lc, h.session);
	peer_name(&lc->peer, h.peer);
	preauth_answer(&lc->pre, AUTH_OK);
	flush(lc);
	fd = lc->pre.tls ? relay_start(lc) : conn_detach(lc->conn, &rest);
	h.rest = buf_view(&rest);
	if (fd == -1 || handoff_put(&message, &h) < 0) {
		if (fd != -1)
			close(fd);
		buf_free(&rest);
		buf_free(&message);
		log_warnx("id=%s event=handoff-failed", h.session);
		if (fd != -1 && !lc->pre.tls)
			release(lc);
		else
			login_end(lc, "handoff");
		return;
	}
	chan_send(imap, HANDOFF_SESSION, 0, buf_view(&message), fd);
	buf_free(&rest);
	buf_free(&message);
	if (!lc->pre.tls) {
		release(lc);
		return;
	}
	preauth_free(&lc->pre);
	unlink_conn(lc);
	lc->next = l->relays;
	lc->prev_next = &l->relays;
	if (lc->next != NULL)
		lc->next->prev_next = &lc->next;
	l->relays = lc;
}

/* Talking --------------------------------------------------------------------------------------------------------- */

static void talk(struct login_conn *lc);

/* SCRAM: the server's part of the exchange, and of the end of a good one. */
static void challenge(struct login_conn *lc, const struct auth_answer *answer)
{
	bool proved = answer->status == AUTH_OK;

	if (proved) {
		if (lc->proved == NULL)
			lc->proved = xmalloc(sizeof(*lc->proved));
		*lc->proved = *answer;
	}
	lc->exchange = answer->exchange;
	preauth_sasl_challenge(&lc->pre, answer->message, proved);
	flush(lc);
	conn_resume(lc->conn);
	talk(lc);
}

static void on_answer(void *arg, const struct auth_answer *answer)
{
	struct login_conn *lc = arg;
	char id[24], name[64];

	lc->auth_request = 0;
	lc->state = LOGIN_TALKING;
	if (answer->status == AUTH_CONTINUE || (answer->status == AUTH_OK && answer->message[0] != '\0')) {
		challenge(lc, answer);
		return;
	}
	if (answer->status == AUTH_OK) {
		hand_over(lc, answer);
		return;
	}
	log_id(lc, id);
	peer_name(&lc->peer, name);
	log_info("id=%s event=login-failed ip=%s proto=%s reason=%s", id, name,
	    lc->pre.protocol == PROTOCOL_IMAP ? "imap" : "pop3",
	    answer->status == AUTH_DENIED      ? "denied"
	    : answer->status == AUTH_THROTTLED ? "throttled"
					       : "unavailable");
	if (preauth_answer(&lc->pre, answer->status) == PREAUTH_CLOSE) {
		login_end(lc, "failed-logins");
		return;
	}
	flush(lc);
	conn_resume(lc->conn);
	talk(lc);
}

static void ask(struct login_conn *lc, enum preauth_action action)
{
	struct auth_client *auth = lc->login->auth;
	struct preauth *p = &lc->pre;

	lc->state = LOGIN_AUTH;
	conn_pause(lc->conn);
	if (action == PREAUTH_SCRAM_FIRST)
		lc->auth_request =
		    auth_scram_first(auth, p->protocol, buf_view(&p->secret), &p->channel, &lc->peer.sa, on_answer, lc);
	else if (action == PREAUTH_SCRAM_FINAL)
		lc->auth_request = auth_scram_final(auth, lc->exchange, buf_view(&p->secret), on_answer, lc);
	else
		lc->auth_request =
		    auth_check(auth, p->protocol, preauth_user(p), preauth_password(p), &lc->peer.sa, on_answer, lc);
	preauth_wipe(p);
}

static void act(struct login_conn *lc, enum preauth_action action)
{
	if (action == PREAUTH_CLOSE) {
		if (lc->pre.cut)
			guard_offence(lc->login->guard, OFFENCE_ERRORS, &lc->peer.sa);
		login_end(lc, "closed");
	} else if (action == PREAUTH_STARTTLS) {
		lc->state = LOGIN_HANDSHAKE;
		conn_start_tls(lc->conn, lc->login->tls, true, NULL);
	} else if (action == PREAUTH_PROVED) {
		hand_over(lc, lc->proved);
	} else {
		ask(lc, action);
	}
}

static void talk(struct login_conn *lc)
{
	struct evbuffer *in = conn_input(lc->conn);

	while (lc->state == LOGIN_TALKING) {
		struct evbuffer_iovec chunk = { NULL, 0 };
		enum preauth_action action;
		size_t used = 0;

		evbuffer_peek(in, -1, NULL, &chunk, 1);
		action = preauth_feed(&lc->pre, chunk.iov_base, chunk.iov_len, &used);
		evbuffer_drain(in, used);
		flush(lc);
		if (conn_output_len(lc->conn) > RELAY_MAX) {
			login_end(lc, "does-not-read");
			return;
		}
		if (action != PREAUTH_MORE) {
			act(lc, action);
			return;
		}
		if (evbuffer_get_length(in) == 0)
			return;
	}
}

static void on_readable(struct conn *c, void *arg)
{
	struct login_conn *lc = arg;

	(void)c;
	if (lc->state == LOGIN_RELAY)
		relay_readable(lc);
	else
		talk(lc);
}

static void on_drained(struct conn *c, void *arg)
{
	struct login_conn *lc = arg;

	(void)c;
	if (lc->state == LOGIN_RELAY)
		relay_drained(lc);
}

static void on_secured(struct conn *c, void *arg)
{
	struct login_conn *lc = arg;

	lc->state = LOGIN_TALKING;
	if (lc->login->ctx->site->tls.channel_binding)
		scram_channel_of(conn_ssl(c), &lc->pre.channel);
	if (lc->pre.tls) { /* from the start */
		preauth_greet(&lc->pre, lc->login->ctx->site->host.name);
		flush(lc);
	} else {
		preauth_secured(&lc->pre);
	}
	conn_resume(c);
}

static void on_ended(struct conn *c, void *arg, enum conn_end how)
{
	static const char *const reasons[] = {
		[CONN_EOF] = "eof", [CONN_TIMEOUT] = "timeout", [CONN_ERROR] = "error", [CONN_TLS] = "tls"
	};

	(void)c;
	login_end(arg, reasons[how]);
}

static const struct conn_ops ops = { on_readable, on_drained, on_secured, on_ended };

/* Coming and going ----------------------------------------------------------------------------------------------------
 */

static void turn_away(int fd, enum protocol protocol, bool tls, bool per_address)
{
	const char *line = preauth_refusal(protocol, per_address);

	if (!tls) /* on a TLS port there is nobody who could read it */
		send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	close(fd);
}

/* The oldest connection that has not logged in goes, so that strangers who say nothing cannot hold every place. */
static bool make_room(struct login *l, uint64_t now)
{
	struct login_conn *lc = l->first;

	while (lc != NULL && lc->state == LOGIN_AUTH)
		lc = lc->next;
	if (lc == NULL || now - lc->since < CROWD_MS)
		return false;
	if (lc->state == LOGIN_TALKING)
		buf_puts(&lc->pre.out, preauth_refusal(lc->pre.protocol, false));
	login_end(lc, "crowded");
	return true;
}

void login_accept(struct login *l, int fd, const union peer *peer, enum service service)
{
	const struct site *site = l->ctx->site;
	enum protocol protocol = service == SERVICE_IMAP || service == SERVICE_IMAPS ? PROTOCOL_IMAP : PROTOCOL_POP3;
	bool tls = services[service].implicit_tls;
	unsigned seconds = site->limits.idle < PREAUTH_SECONDS ? (unsigned)site->limits.idle : PREAUTH_SECONDS;
	uint64_t now = clock_mono_ms();
	struct login_conn *lc;

	if (l->count >= (unsigned)site->limits.connections && !make_room(l, now)) {
		turn_away(fd, protocol, tls, false);
		return;
	}
	if (!address_counts_add(l->counts, &peer->sa, (unsigned)site->limits.connections_per_address)) {
		turn_away(fd, protocol, tls, true);
		return;
	}
	lc = xcalloc(1, sizeof(*lc));
	lc->login = l;
	lc->peer = *peer;
	lc->serial = ++l->serial;
	lc->since = now;
	lc->deadline = now + 1000ull * seconds;
	lc->state = tls ? LOGIN_HANDSHAKE : LOGIN_TALKING;
	preauth_init(&lc->pre, protocol, tls, l->tls != NULL,
	    site->listen.insecure_loopback && ip_is_loopback(&peer->sa), (unsigned)site->limits.errors);
	lc->pre.scram = auth_offers_scram(l->auth);
	lc->prev_next = l->last;
	*l->last = lc;
	l->last = &lc->next;
	l->count++;
	lc->conn = conn_accept(l->ctx->base, fd, tls ? l->tls : NULL, &ops, lc);
	conn_set_max_input(lc->conn, HANDOFF_REST_MAX); /* what is behind the login goes with it */
	if (tls)
		return;
	preauth_greet(&lc->pre, site->host.name);
	flush(lc);
	conn_resume(lc->conn);
}

void login_sweep(struct login *l)
{
	struct login_conn *lc, *next;
	uint64_t now = clock_mono_ms();

	for (lc = l->first; lc != NULL && lc->deadline <= now; lc = next) {
		next = lc->next;
		if (lc->state == LOGIN_AUTH)
			continue;
		if (lc->state == LOGIN_TALKING)
			preauth_timeout(&lc->pre);
		login_end(lc, "deadline");
	}
}
