/*
 * For tests of SMTP sessions in one process: auth, keys and store played by the test (the linker takes these instead of
 * the clients in the archive), a site, and talk(), which is a client that sends everything and reads until the end.
 */
#ifndef TESTS_UNIT_SMTP_FAKES_H
#define TESTS_UNIT_SMTP_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailsvc/smtp/smtp.h"

static struct event_base *base;
static struct role_ctx ctx;
static struct smtp_server *server;

/* The other processes ------------------------------------------------------------------------------------- */
struct pending {
	void (*run)(struct pending *);
	void *fn, *arg;
	struct auth_answer answer;
};

static enum store_status store_says = STORE_OK;
static bool store_held; /* the answer waits for release_store */
static void *store_waiting;
static enum auth_status auth_says = AUTH_OK;
static enum dkim_status keys_say = DKIM_SIGNED;
static const char *signer; /* of the last signature */
static struct {
	unsigned calls;
	struct buf body;
	struct buf envelope; /* "alice@... sender>a@b,c@d ..." */
	bool smtputf8, eight_bit;
} stored;

static void run_pending(evutil_socket_t fd, short what, void *arg)
{
	struct pending *p = arg;

	(void)fd;
	(void)what;
	p->run(p);
	free(p);
}

static struct pending *later(void (*run)(struct pending *), void *arg)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	const struct timeval now = { 0, 0 };

	p->run = run;
	p->arg = arg;
	event_base_once(base, -1, EV_TIMEOUT, run_pending, p, &now);
	return p;
}

static auth_fn auth_callback;
static store_fn store_callback;
static dkim_fn dkim_callback;

static void answer_auth(struct pending *p)
{
	auth_callback(p->arg, &p->answer);
}

static void answer_store(struct pending *p)
{
	struct store_result result = { .status = store_says, .queue_id = 7 };

	store_callback(p->arg, &result);
}

static void answer_keys(struct pending *p)
{
	dkim_callback(
	    p->arg, keys_say, keys_say == DKIM_SIGNED ? VIEW_LIT("DKIM-Signature: v=1; test\r\n") : VIEW_NONE);
}

struct auth_client *auth_client_new(struct event_base *b)
{
	(void)b;
	return NULL;
}

void auth_client_attach(struct auth_client *c, int fd)
{
	(void)c;
	close(fd);
}

void auth_cancel(struct auth_client *c, uint32_t id)
{
	(void)c;
	(void)id;
}

uint32_t auth_check(struct auth_client *c, enum protocol protocol, struct view user, struct view password,
    const struct sockaddr *peer, auth_fn fn, void *arg)
{
	struct pending *p = later(answer_auth, arg);

	(void)c;
	assert_int_equal(protocol, PROTOCOL_SUBMISSION);
	assert_int_equal(peer->sa_family, AF_INET);
	auth_callback = fn;
	p->answer.status = auth_says == AUTH_OK && !view_eq(password, "secret") ? AUTH_DENIED : auth_says;
	view_copy(user, p->answer.address, sizeof(p->answer.address));
	return 1;
}

uint32_t auth_scram_first(struct auth_client *c, enum protocol protocol, struct view message,
    const struct scram_channel *channel, const struct sockaddr *peer, auth_fn fn, void *arg)
{
	struct pending *p = later(answer_auth, arg);

	(void)c;
	(void)channel;
	(void)message;
	(void)peer;
	assert_int_equal(protocol, PROTOCOL_SUBMISSION);
	auth_callback = fn;
	p->answer = (struct auth_answer){ .status = AUTH_CONTINUE, .exchange = 5, .message = "r=challenge" };
	return 1;
}

uint32_t auth_scram_final(struct auth_client *c, uint64_t exchange, struct view message, auth_fn fn, void *arg)
{
	struct pending *p = later(answer_auth, arg);

	(void)c;
	assert_int_equal(exchange, 5);
	auth_callback = fn;
	p->answer.status = view_eq(message, "p=right") ? AUTH_OK : AUTH_DENIED;
	view_copy(view_of("alice@example.org"), p->answer.address, sizeof(p->answer.address));
	view_copy(view_of("v=proof"), p->answer.message, sizeof(p->answer.message));
	return 1;
}

bool auth_offers_scram(const struct auth_client *c)
{
	(void)c;
	return true;
}

struct store_client *store_client_new(struct event_base *b)
{
	(void)b;
	return NULL;
}

void store_client_attach(struct store_client *c, int fd)
{
	(void)c;
	close(fd);
}

void store_cancel(struct store_client *c, uint32_t id)
{
	(void)c;
	(void)id;
	store_waiting = NULL;
}

uint32_t store_deliver(struct store_client *c, const struct store_delivery *d, store_fn fn, void *arg)
{
	(void)c;
	stored.calls++;
	buf_reset(&stored.body);
	buf_reset(&stored.envelope);
	buf_addv(&stored.body, d->body.body);
	stored.smtputf8 = stored.eight_bit = false;
	for (size_t i = 0; i < d->local_count; i++)
		buf_printf(&stored.envelope, "%s ", d->local[i].account);
	for (size_t i = 0; i < d->remote_count; i++) {
		buf_printf(&stored.envelope, "%s>", d->remote[i].sender);
		for (size_t j = 0; j < d->remote[i].recipient_count; j++)
			buf_printf(&stored.envelope, "%s ", d->remote[i].recipients[j]);
		stored.smtputf8 |= d->remote[i].smtputf8;
		stored.eight_bit |= d->remote[i].eight_bit;
	}
	store_callback = fn;
	if (store_held)
		store_waiting = arg;
	else
		later(answer_store, arg);
	return 1;
}

static inline void release_store(void)
{
	later(answer_store, store_waiting);
	store_waiting = NULL;
}

struct keys_client *keys_client_new(struct event_base *b)
{
	(void)b;
	return NULL;
}

void keys_client_attach(struct keys_client *c, int fd)
{
	(void)c;
	close(fd);
}

void dkim_cancel(struct keys_client *c, uint32_t id)
{
	(void)c;
	(void)id;
}

uint32_t dkim_sign(struct keys_client *c, const struct site_domain *d, struct view message, dkim_fn fn, void *arg)
{
	(void)c;
	(void)message;
	signer = d->name;
	assert_string_equal(d->dkim_selector, "mail");
	dkim_callback = fn;
	later(answer_keys, arg);
	return 1;
}

static bool exited;

uint32_t arc_seal(struct keys_client *c, const struct site_domain *d, struct view message, const struct arc_verdict *arc,
    const char *authserv_id, struct view authres, dkim_fn fn, void *arg)
{
	(void)c;
	(void)d;
	(void)message;
	(void)arc;
	(void)authserv_id;
	(void)authres;
	(void)fn;
	(void)arg;
	return 0;
}

void role_alert(struct role_ctx *c, const char *key, const char *fmt, ...)
{
	(void)c;
	(void)key;
	(void)fmt;
}

void role_exit(struct role_ctx *c)
{
	(void)c;
	exited = true;
}

SSL_CTX *role_take_tls(struct role_ctx *c, struct view alpn, struct error *e)
{
	(void)c;
	(void)alpn;
	error_set(e, "no TLS here");
	return NULL;
}

/* Sessions ------------------------------------------------------------------------------------------------ */
static const char site_text[] =
    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"
    "domains = ( { name = \"example.org\"; }, { name = \"caught.example\"; catch_all = \"bob@example.org\"; } );\n"
    "accounts = ( { address = \"alice@example.org\"; }, { address = \"bob@example.org\"; } );\n"
    "aliases = ( { address = \"out@example.org\"; to = ( \"x@remote.example\" ); },\n"
    "  { address = \"sales@caught.example\"; to = ( \"alice@example.org\" ); },\n"
    "  { address = \"both@example.org\"; to = ( \"alice@example.org\", \"bob@example.org\" ); } );\n"
    "admin = { contact = \"alice@example.org\"; };\n"
    "limits = { message_size = \"64k\"; recipients = 3; errors = 5; };\n"
    "listen = { insecure_loopback = true; };\n"
    "submission = { from = \"off\"; };\n"
    "checks = { trusted = ( \"0.0.0.0/0\" ); };\n"; /* the dialogue alone: checks have end-to-end tests */

enum kind { MX, MSA, LOCAL };

/* A client of the server: its descriptor, with nothing sent yet unless something is to come before the greeting. */
static inline int open_client(enum kind kind, const char *peer, struct view early)
{
	const struct smtp_listener listener = { .service = kind == MX ? SERVICE_SMTP : SERVICE_SUBMISSION,
		.local = kind == LOCAL };
	union {
		struct sockaddr_storage storage;
		struct sockaddr_in in;
	} from = { .in = { .sin_family = AF_INET } };
	int fds[2], size = 1 << 20;

	assert_int_equal(evutil_inet_pton(AF_INET, peer, &from.in.sin_addr), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (early.len > 0)
		assert_int_equal(write(fds[1], early.ptr, early.len), early.len);
	smtp_session_new(server, &listener, fds[0], &from.storage);
	return fds[1];
}

/* Lets the server work and takes what it says; false once it has closed. */
static inline bool pump(int fd, struct buf *out)
{
	char block[4096];
	ssize_t n;

	event_base_loop(base, EVLOOP_NONBLOCK);
	n = read(fd, block, sizeof(block));
	if (n > 0)
		buf_add(out, block, (size_t)n);
	return n != 0;
}

/* Everything that comes back; the input is sent before the greeting when early. */
static inline void talk(enum kind kind, const char *peer, struct view in, bool early, struct buf *out)
{
	int fd = open_client(kind, peer, early ? in : VIEW_NONE);

	if (!early)
		assert_int_equal(write(fd, in.ptr, in.len), in.len);
	shutdown(fd, SHUT_WR);
	while (pump(fd, out))
		;
	close(fd);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(server->session_count, 0);
	assert_int_equal(server->in_flight, 0);
}

/* "220 250 ...": the code of each reply. */
static inline void codes_of(struct view out, struct buf *codes)
{
	while (out.len > 4) {
		const char *lf = memchr(out.ptr, '\n', out.len);
		size_t n = lf != NULL ? (size_t)(lf - out.ptr) + 1 : out.len;

		if (out.ptr[3] == ' ')
			buf_printf(codes, "%s%.3s", codes->len > 0 ? " " : "", out.ptr);
		out.ptr += n;
		out.len -= n;
	}
}

static inline int set_up(void **state)
{
	struct findings findings = { 0 };
	struct error e;

	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	stored.body = stored.envelope = BUF_INIT(4 << 20);
	base = event_base_new();
	ctx = (struct role_ctx){ .base = base, .role = &role_smtp, .instances = 1 };
	ctx.site = site_load_memory(VIEW_LIT(site_text), "test.conf", &findings);
	for (size_t i = 0; i < findings.count; i++)
		if (!findings.at[i].warning)
			fprintf(stderr, "# %s\n", findings.at[i].text);
	findings_free(&findings);
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	if (ctx.site == NULL || role_smtp.init(&ctx, &e) == -1)
		return -1;
	server = ctx.state;
	return 0;
}

#endif
