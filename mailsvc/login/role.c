/*
 * The login role: listeners of IMAP and POP3, plain and TLS, everything before authentication, and the relays of TLS
 * connections after it.  It sees credentials on their way to auth, and never the store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/proxy.h"
#include "login.h"
#include "site/prefix.h"

#define ACCEPTS_A_TURN 64
#define ACCEPT_PAUSE_MS 200
#define DRAIN_MS 500
#define TLS_FILES_MAX (1 << 20)

/* Channels and listeners come before init. */
static struct login *state(struct role_ctx *ctx)
{
	struct login *l = ctx->state;

	if (l != NULL)
		return l;
	l = xcalloc(1, sizeof(*l));
	l->ctx = ctx;
	l->last = &l->first;
	l->auth = auth_client_new(ctx->base);
	l->guard = guard_client_new(ctx->base);
	l->counts = address_counts_new();
	ctx->state = l;
	return l;
}

/* Accepting -------------------------------------------------------------------------------------------------- */

static void stop_accepting(struct login *l)
{
	for (struct login_listener *k = l->listeners; k != NULL; k = k->next)
		if (k->event != NULL)
			event_del(k->event);
}

struct proxied {
	struct login *login;
	enum service service;
};

/* A load balancer has said for whom it speaks. */
static void on_proxied(void *arg, int fd, const struct sockaddr_storage *from)
{
	struct proxied *p = arg;
	union peer peer;

	memcpy(&peer, from, sizeof(peer));
	if (fd != -1)
		login_accept(p->login, fd, &peer, p->service);
	else
		log_info("event=refused service=%s reason=\"no right PROXY v2 header from listen.proxy_from\"", services[p->service].name);
	free(p);
}

static void accepted(const struct login_listener *k, int fd, const union peer *peer)
{
	struct sockaddr_storage from = { 0 };
	struct proxied *p;

	if (!prefix_in_peer(&k->login->ctx->site->listen.proxy_from, &peer->sa)) {
		login_accept(k->login, fd, peer, k->listener.service);
		return;
	}
	memcpy(&from, peer, sizeof(*peer));
	p = xcalloc(1, sizeof(*p));
	*p = (struct proxied){ k->login, k->listener.service };
	proxy_read(k->login->ctx->base, fd, &from, on_proxied, p);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval pause = { 0, ACCEPT_PAUSE_MS * 1000 };
	struct login_listener *k = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		union peer peer = { .sa.sa_family = AF_UNSPEC };
		socklen_t len = sizeof(peer);
		int c = accept4(fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c >= 0) {
			accepted(k, c, &peer);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno != EAGAIN) { /* no descriptors, no memory: others may give some back */
			log_warn("event=accept-failed service=%s", services[k->listener.service].name);
			stop_accepting(k->login);
			event_add(k->login->accept_later, &pause);
		}
		return;
	}
}

static void on_accept_later(evutil_socket_t fd, short what, void *arg)
{
	struct login *l = arg;

	(void)fd;
	(void)what;
	for (struct login_listener *k = l->listeners; k != NULL; k = k->next)
		event_add(k->event, NULL);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	login_sweep(arg);
}

static void listen_on(struct login_listener *k)
{
	k->event = event_new(k->login->ctx->base, k->listener.fd, EV_READ | EV_PERSIST, on_accept, k);
	if (k->event == NULL)
		fatalx("event_new failed");
	event_add(k->event, NULL);
}

static void role_listener(struct role_ctx *ctx, const struct listener *listener)
{
	struct login *l = state(ctx);
	struct login_listener *k = xcalloc(1, sizeof(*k));

	k->listener = *listener;
	k->login = l;
	k->next = l->listeners;
	l->listeners = k;
	evutil_make_socket_nonblocking(listener->fd);
	if (l->started)
		listen_on(k);
}

static void role_unlisten(struct role_ctx *ctx, enum service service)
{
	struct login *l = state(ctx);
	struct login_listener **p = &l->listeners;

	while (*p != NULL) {
		struct login_listener *k = *p;

		if (k->listener.service != service) {
			p = &k->next;
			continue;
		}
		*p = k->next;
		event_free(k->event);
		close(k->listener.fd);
		free(k);
	}
}

/* Peers ---------------------------------------------------------------------------------------------------------- */

static void on_imap_message(struct chan *c, struct imsg *m, void *arg)
{
	(void)c;
	(void)arg;
	log_warnx("event=unexpected-message from=imap type=%u", m->type);
}

static void on_imap_closed(struct chan *c, void *arg)
{
	struct login *l = arg;

	for (unsigned i = 0; i < ROLE_INSTANCES_MAX; i++)
		if (l->imap[i] == c)
			l->imap[i] = NULL;
	chan_free(c);
}

static const struct chan_ops imap_ops = { .message = on_imap_message, .closed = on_imap_closed };

static void role_peer(struct role_ctx *ctx, enum role_id peer, unsigned instance, int fd)
{
	struct login *l = state(ctx);

	if (peer == ROLE_AUTH) {
		auth_client_attach(l->auth, fd);
	} else if (peer == ROLE_GUARD) {
		guard_client_attach(l->guard, fd);
	} else if (peer == ROLE_IMAP && instance < ROLE_INSTANCES_MAX) {
		chan_free(l->imap[instance]);
		l->imap[instance] = chan_new(ctx->base, fd, &imap_ops, l);
	} else {
		close(fd);
	}
}

/* TLS ----------------------------------------------------------------------------------------------------------------
 */

static int load_tls(struct role_ctx *ctx, struct error *e)
{
	static const struct view alpn = { "\4imap\4pop3", 10 };
	struct login *l = state(ctx);
	SSL_CTX *tls = role_take_tls(ctx, alpn, e);

	if (tls == NULL)
		return -1;
	SSL_CTX_free(l->tls); /* connections keep theirs */
	l->tls = tls;
	return 0;
}

/* Life
 * ----------------------------------------------------------------------------------------------------------------- */

static int role_init(struct role_ctx *ctx, struct error *e)
{
	struct login *l = state(ctx);

	l->sweep = event_new(ctx->base, -1, EV_PERSIST, on_sweep, l);
	l->accept_later = event_new(ctx->base, -1, 0, on_accept_later, l);
	return load_tls(ctx, e);
}

static void role_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	(void)ctx;
	sb->may |= SANDBOX_ACCEPT | SANDBOX_SOCKETPAIR;
}

static void role_start(struct role_ctx *ctx)
{
	static const struct timeval second = { 1, 0 };
	struct login *l = state(ctx);

	event_add(l->sweep, &second);
	l->started = true;
	for (struct login_listener *k = l->listeners; k != NULL; k = k->next)
		listen_on(k);
}

static void role_reload(struct role_ctx *ctx)
{
	struct error e;

	if (ctx->fds[ROLE_FD_TLS] != -1 && load_tls(ctx, &e) < 0)
		log_warnx("event=reload-failed error=\"%s\"; the old certificate stays", e.text);
}

static void role_drain(struct role_ctx *ctx)
{
	static const struct timeval tv = { 0, DRAIN_MS * 1000 };
	struct login *l = state(ctx);

	stop_accepting(l);
	event_del(l->accept_later);
	for (struct login_listener *k = l->listeners; k != NULL; k = k->next)
		close(k->listener.fd);
	while (l->first != NULL)
		login_end(l->first, "shutdown");
	/* imap says good-bye through the relays. */
	event_base_loopexit(ctx->base, &tv);
}

static void role_status(struct role_ctx *ctx, struct buf *json)
{
	const struct login *l = state(ctx);

	buf_printf(json, "\"connections\": %u, \"relays\": %u", l->count - l->relay_count, l->relay_count);
}

const struct role role_login = {
	.id = ROLE_LOGIN,
	.name = "login",
	.user = "mailadm-login",
	.init = role_init,
	.sandbox = role_sandbox,
	.start = role_start,
	.reload = role_reload,
	.peer = role_peer,
	.listener = role_listener,
	.unlisten = role_unlisten,
	.drain = role_drain,
	.status = role_status,
};
