/*
 * The smtp role: accepts on 25, 587, 465 and the local submission socket; several processes share the listeners.  It
 * may accept and make memory files, and nothing else: what it needs to know or have done, it asks of auth, keys and
 * store.
 */
#include "mailsvc/smtp/smtp.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/proxy.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/smtp/rate.h"
#include "mailsvc/smtp/verified.h"
#include "site/prefix.h"

#define ACCEPT_BURST 16

/* Unique on this host: microseconds, instance and a counter, in base32. */
void smtp_new_id(struct smtp_server *server, char out[16])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint64_t n =
	    (uint64_t)clock_wall_us() << 12 | (uint64_t)(server->ctx->instance & 15) << 8 | (server->counter++ & 255);

	for (int i = 12; i >= 0; i--) {
		out[i] = digits[n & 31];
		n >>= 5;
	}
	out[13] = '\0';
}

static int load_tls(struct smtp_server *server, struct error *e)
{
	if (server->ctx->fds[ROLE_FD_TLS] == -1)
		return 0;
	SSL_CTX *tls = role_take_tls(server->ctx, VIEW_NONE, e);
	if (tls == NULL)
		return -1;
	SSL_CTX_free(server->tls); /* sessions in TLS hold their own reference */
	server->tls = tls;
	return 0;
}

static struct shared_table *take_table(
    struct role_ctx *ctx, enum role_fd which, size_t bytes, unsigned value_bits, const char *name)
{
	struct shared_table *t = shared_table_open(ctx->fds[which], bytes, value_bits, name);

	ctx->fds[which] = -1;
	return t;
}

static void on_tick(evutil_socket_t fd, short what, void *arg);

static int smtp_init(struct role_ctx *ctx, struct error *e)
{
	struct smtp_server *server = xcalloc(1, sizeof(*server));

	ctx->state = server;
	server->ctx = ctx;
	TAILQ_INIT(&server->sessions);
	server->peers = smtp_peers_new();
	server->auth = auth_client_new(ctx->base);
	server->store = store_client_new(ctx->base);
	server->keys = keys_client_new(ctx->base);
	server->guard = guard_client_new(ctx->base);
	server->dns = dns_client_new(ctx->base);
	server->policy = policy_dns_of(server->dns);
	server->verify = verify_client_new(ctx->base);
	server->own_uid = getuid();
	server->replied = take_table(ctx, ROLE_FD_REPLIED, SHARED_REPLIED_BYTES, REPLIED_BITS, "auto-replied");
	server->greylist = take_table(ctx, ROLE_FD_GREYLIST, SHARED_GREYLIST_BYTES, GREYLIST_BITS, "greylist");
	server->rates = take_table(ctx, ROLE_FD_RATES, SHARED_RATES_BYTES, RATE_BITS, "send-rates");
	server->sources = take_table(ctx, ROLE_FD_SOURCES, SHARED_SOURCES_BYTES, 40, "source-rates");
	server->verified = take_table(ctx, ROLE_FD_VERIFIED, SHARED_VERIFIED_BYTES, VERIFIED_BITS, "verified");
	smtp_forward_init(server, ctx->fds[ROLE_FD_SRS]);
	ctx->fds[ROLE_FD_SRS] = -1;
	tzset();
	mime_charsets_preload(); /* converters are modules, which the sandbox will not let in later */
	/* Large messages get mappings of their own, which grow without copying and go back to the system. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024); /* else messages give their pages back and take them again all the time */
	server->tick = event_new(ctx->base, -1, EV_PERSIST, on_tick, server);
	if (server->tick == NULL)
		return error_set(e, "no timer");
	return load_tls(server, e);
}

static void smtp_sandbox(struct role_ctx *ctx, struct sandbox *sandbox)
{
	(void)ctx;
	sandbox->may |= SANDBOX_ACCEPT | SANDBOX_MEMFD;
}

static void smtp_peer(struct role_ctx *ctx, enum role_id id, unsigned instance, int fd)
{
	struct smtp_server *server = ctx->state;

	(void)instance;
	switch (id) {
	case ROLE_AUTH:
		auth_client_attach(server->auth, fd);
		return;
	case ROLE_STORE:
		store_client_attach(server->store, fd);
		return;
	case ROLE_KEYS:
		keys_client_attach(server->keys, fd);
		return;
	case ROLE_SEND:
		verify_client_attach(server->verify, fd);
		return;
	case ROLE_GUARD:
		guard_client_attach(server->guard, fd);
		return;
	case ROLE_RESOLVER:
		dns_client_attach(server->dns, fd);
		return;
	default:
		close(fd);
	}
}

static void accepting(struct smtp_server *server, bool on)
{
	for (size_t i = 0; i < server->listener_count; i++) {
		if (on)
			event_add(server->listeners[i].event, NULL);
		else
			event_del(server->listeners[i].event);
	}
}

/* A load balancer has said for whom it speaks.  The listener is a copy: its own may have moved, or be gone. */
static void on_proxied(void *arg, int fd, const struct sockaddr_storage *peer)
{
	struct smtp_listener *listener = arg;

	if (fd == -1)
		log_info("event=refused service=%s reason=\"no right PROXY v2 header from listen.proxy_from\"",
		    services[listener->service].name);
	else if (listener->server->draining)
		close(fd);
	else
		smtp_session_new(listener->server, listener, fd, peer);
	free(listener);
}

static void accepted(struct smtp_listener *listener, int fd, const struct sockaddr_storage *from)
{
	struct smtp_server *server = listener->server;
	struct smtp_listener *copy;

	if (listener->local ||
	    !prefix_in_peer(&server->ctx->site->listen.proxy_from, (const struct sockaddr *)(const void *)from)) {
		smtp_session_new(server, listener, fd, from);
		return;
	}
	copy = xcalloc(1, sizeof(*copy));
	*copy = *listener;
	proxy_read(server->ctx->base, fd, from, on_proxied, copy);
}

static void on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct smtp_listener *listener = arg;
	struct smtp_server *server = listener->server;

	(void)what;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		struct sockaddr_storage from = { 0 };
		socklen_t len = sizeof(from);
		int fd = accept4(lfd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd != -1) {
			accepted(listener, fd, &from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warn("event=accept-paused");
			server->accept_paused = true;
			accepting(server, false);
		}
		return;
	}
}

static void smtp_listener(struct role_ctx *ctx, const struct listener *given)
{
	struct smtp_server *server = ctx->state;
	struct smtp_listener *listener;

	if (server->listener_count == SMTP_LISTENERS_MAX || evutil_make_socket_nonblocking(given->fd) == -1) {
		log_warnx("event=listener-dropped service=%s", services[given->service].name);
		close(given->fd);
		return;
	}
	listener = &server->listeners[server->listener_count++];
	*listener = (struct smtp_listener){ server, NULL, given->fd, given->service, given->local };
	listener->event = event_new(ctx->base, given->fd, EV_READ | EV_PERSIST, on_accept, listener);
	if (listener->event == NULL)
		fatalx("no memory for a listener");
	if (server->started && !server->draining)
		event_add(listener->event, NULL);
}

static void smtp_unlisten(struct role_ctx *ctx, enum service service)
{
	struct smtp_server *server = ctx->state;
	size_t kept = 0;

	for (size_t i = 0; i < server->listener_count; i++) {
		struct smtp_listener *l = &server->listeners[i];
		bool pending;

		if (!l->local && l->service == service) {
			event_free(l->event);
			close(l->fd);
			continue;
		}
		if (kept != i) { /* an event points at its listener: it moves along */
			pending = event_pending(l->event, EV_READ, NULL) != 0;
			event_free(l->event);
			server->listeners[kept] = *l;
			l = &server->listeners[kept];
			l->event = event_new(ctx->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
			if (l->event == NULL)
				fatalx("no memory for a listener");
			if (pending)
				event_add(l->event, NULL);
		}
		kept++;
	}
	server->listener_count = kept;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_server *server = arg;
	struct smtp_session *s, *next;
	uint64_t now = clock_mono_ms();

	(void)fd;
	(void)what;
	for (s = TAILQ_FIRST(&server->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		smtp_session_tick(s, now);
	}
	if (server->accept_paused && !server->draining) {
		server->accept_paused = false;
		accepting(server, true);
	}
	if (!server->draining)
		return;
	if (now > server->drain_deadline)
		for (s = TAILQ_FIRST(&server->sessions); s != NULL; s = next) {
			next = TAILQ_NEXT(s, link);
			smtp_session_drain(s, true);
		}
	/* One tick more after the last session: its final reply is still being written. */
	if (server->session_count == 0 && server->quiet_ticks++ > 0)
		role_exit(server->ctx);
}

static void set_tick(struct smtp_server *server, long milliseconds)
{
	const struct timeval tv = { milliseconds / 1000, milliseconds % 1000 * 1000 };

	event_add(server->tick, &tv);
}

static void smtp_start(struct role_ctx *ctx)
{
	struct smtp_server *server = ctx->state;

	server->started = true;
	accepting(server, true);
	set_tick(server, 1000);
}

static void smtp_reload(struct role_ctx *ctx)
{
	struct error e;

	if (load_tls(ctx->state, &e) == -1)
		log_warnx("event=reload-failed reason=\"%s\"", e.text);
}

static void smtp_drain(struct role_ctx *ctx)
{
	struct smtp_server *server = ctx->state;
	struct smtp_session *s, *next;
	bool any = server->session_count > 0;

	if (server->draining)
		return;
	accepting(server, false);
	server->draining = true;
	server->drain_deadline = clock_mono_ms() + SMTP_DRAIN_SECONDS * 1000;
	for (s = TAILQ_FIRST(&server->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		smtp_session_drain(s, false);
	}
	if (!any)
		role_exit(ctx);
	else
		set_tick(server, 100);
}

static void smtp_status(struct role_ctx *ctx, struct buf *json_members)
{
	const struct smtp_server *server = ctx->state;

	buf_printf(json_members, "\"sessions\": %u, \"accepted\": %llu", server->session_count,
	    (unsigned long long)server->accepted);
	buf_printf(json_members, ", \"checked\": %llu, \"junk\": %llu, \"refused\": %llu, \"greylisted\": %llu",
	    (unsigned long long)server->checked, (unsigned long long)server->junked,
	    (unsigned long long)server->check_refused, (unsigned long long)server->greylisted);
}

const struct role role_smtp = {
	.id = ROLE_SMTP,
	.name = "smtp",
	.user = "mailadm-smtp",
	.init = smtp_init,
	.sandbox = smtp_sandbox,
	.start = smtp_start,
	.reload = smtp_reload,
	.peer = smtp_peer,
	.listener = smtp_listener,
	.unlisten = smtp_unlisten,
	.drain = smtp_drain,
	.status = smtp_status,
	.alert = smtp_alert,
};
