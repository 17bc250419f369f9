/*
 * For tests of the send role in one process: store, the resolver and keys played by the test (the linker takes these
 * instead of the clients in the archive), and a scripted SMTP server on loopback.  One program includes it once.
 */
#ifndef TESTS_UNIT_SEND_FAKES_H
#define TESTS_UNIT_SEND_FAKES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "lib/clock.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/resolver/client.h"
#include "mailsvc/role.h"
#include "mailsvc/store/client.h"
#include "site/address.h"
#include "site/route.h"

static struct event_base *base;
static struct role_ctx ctx;

static bool exited;

/* What a role asks of its process; with these here, no other role is linked. */
void role_exit(struct role_ctx *c)
{
	(void)c;
	exited = true;
}

static unsigned alerts;

void role_alert(struct role_ctx *c, const char *key, const char *fmt, ...)
{
	(void)c, (void)key, (void)fmt;
	alerts++;
}

static unsigned killed; /* peers that broke the protocol */

void role_kill_peer(struct role_ctx *c, enum role_id role, unsigned instance, const char *why)
{
	(void)c, (void)role, (void)instance, (void)why;
	killed++;
}

/* The store ------------------------------------------------------------------------------------------------- */

struct seen { /* a result as it came */
	uint64_t id;
	size_t count, delivered, retry, failed;
	char reply[600]; /* of the first recipient */
	int64_t next_due;
	char bounce_to[ADDRESS_MAX];
	bool bounce_remote;
	char bounce[8192];
};
static struct seen results[32];
static size_t result_count;
static unsigned credits;
static bool store_away;
static queue_item_fn item_fn;
static void *item_arg;

struct store_client {
	int unused;
};

struct store_client *store_client_new(struct event_base *b)
{
	static struct store_client c;

	(void)b;
	return &c;
}

void store_client_attach(struct store_client *c, int fd)
{
	(void)c, (void)fd;
}

void store_on_queue_item(struct store_client *c, queue_item_fn fn, void *arg)
{
	(void)c;
	item_fn = fn;
	item_arg = arg;
}

void store_queue_credit(struct store_client *c, uint32_t n)
{
	(void)c;
	credits += n;
}

static char deferred[ADDRESS_MAX]; /* the last destination that store was told about */
static int64_t deferred_until;

void store_queue_defer(struct store_client *c, const char *domain, int64_t until, const char *reason)
{
	(void)c, (void)reason;
	snprintf(deferred, sizeof(deferred), "%s", domain);
	deferred_until = until;
}

struct answer {
	store_fn fn;
	void *arg;
	enum store_status status;
};

static void answer_now(evutil_socket_t fd, short what, void *arg)
{
	struct answer *a = arg;
	struct store_result r = { .status = a->status };

	(void)fd, (void)what;
	a->fn(a->arg, &r);
	free(a);
}

static void later(event_callback_fn fn, void *arg)
{
	struct timeval now = { 0, 0 };

	event_base_once(base, -1, EV_TIMEOUT, fn, arg, &now);
}

uint32_t store_queue_result(struct store_client *c, const struct queue_result *q, store_fn fn, void *arg)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	(void)c;
	*a = (struct answer){ fn, arg, store_away ? STORE_UNAVAILABLE : STORE_OK };
	if (!store_away) {
		struct seen *s = &results[result_count++ % 32];
		*s = (struct seen){ .id = q->id, .count = q->count, .next_due = q->next_due };
		snprintf(s->reply, sizeof(s->reply), "%s", q->count > 0 ? q->recipients[0].reply : "");
		for (size_t i = 0; i < q->count; i++) {
			s->delivered += q->recipients[i].outcome == QUEUE_DELIVERED;
			s->retry += q->recipients[i].outcome == QUEUE_RETRY;
			s->failed += q->recipients[i].outcome == QUEUE_FAILED;
		}
		if (q->bounce != NULL) {
			s->bounce_remote = q->bounce->remote_count > 0;
			snprintf(s->bounce_to, sizeof(s->bounce_to), "%s",
			    s->bounce_remote ? q->bounce->remote[0].recipients[0] : q->bounce->local[0].account);
			snprintf(s->bounce, sizeof(s->bounce), "%.*s", (int)q->bounce->body.body.len,
			    q->bounce->body.body.ptr);
		}
	}
	later(answer_now, a);
	return 1;
}

static int64_t push_age; /* seconds */
static bool push_broken, push_smtputf8;
static const char *push_message = "Subject: s\r\n\r\n.dot\r\n";
static const struct queue_dsn *push_dsn;

static inline void push(uint64_t id, const char *domain, const char *sender, uint32_t attempts, bool bounce,
    const char *const *recipients, size_t count)
{
	struct queue_item q = { .id = id,
		.created = clock_wall() - push_age,
		.attempts = attempts,
		.sender = sender,
		.domain = domain,
		.recipients = recipients,
		.recipient_count = count,
		.dsn = push_dsn,
		.smtputf8 = push_smtputf8,
		.bounce = bounce };

	q.message_fd = push_broken ? dup(0) : memfd_sealed("message", view_of(push_message));
	assert_true(credits > 0);
	credits--;
	item_fn(item_arg, &q);
}

static inline void push_one(uint64_t id, const char *domain, const char *recipient)
{
	push(id, domain, "alice@example.org", 0, false, &recipient, 1);
}

/* The resolver ------------------------------------------------------------------------------------------------ */

struct dns_client {
	int unused;
};

struct dns_client *dns_client_new(struct event_base *b)
{
	static struct dns_client d;

	(void)b;
	return &d;
}

void dns_client_attach(struct dns_client *d, int fd)
{
	(void)d, (void)fd;
}

struct question {
	char name[256];
	enum dns_type type;
	dns_fn fn;
	void *arg;
};

static const struct {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	uint16_t preference;
	const char *data;
	size_t len;
} zone[] = {
	{ "good.example", DNS_MX, DNS_OK, 10, "mx.good.example", 15 },
	{ "mx.good.example", DNS_A, DNS_OK, 0, "\x7f\0\0\2", 4 },
	{ "two.example", DNS_MX, DNS_OK, 20, "mx.good.example", 15 },
	{ "two.example", DNS_MX, DNS_OK, 10, "mx.dead.example", 15 },
	{ "mx.dead.example", DNS_A, DNS_OK, 0, "\x7f\0\0\3", 4 },
	{ "dead.example", DNS_MX, DNS_OK, 10, "mx.dead.example", 15 },
	{ "null.example", DNS_MX, DNS_OK, 0, "", 0 },
	{ "bare.example", DNS_A, DNS_OK, 0, "\x7f\0\0\2", 4 },
	{ "garbage.example", DNS_A, DNS_OK, 0, "\x7f\0\0\2", 4 },
	{ "temp.example", DNS_MX, DNS_TEMPFAIL, 0, "", 0 },
	{ "self.example", DNS_MX, DNS_OK, 0, "mx.self.example", 15 },
	{ "mx.self.example", DNS_A, DNS_OK, 0, "\xc0\0\2\12", 4 },
	{ "ways.example", DNS_MX, DNS_OK, 10, "mx.good.example", 15 },
	{ "ways.example", DNS_MX, DNS_OK, 20, "mx.also.example", 15 },
	{ "original.example", DNS_A, DNS_OK, 0, "\x7f\0\0\2", 4 },
	{ "mx.also.example", DNS_A, DNS_OK, 0, "\x7f\0\0\2", 4 },
};

static void answer_question(evutil_socket_t fd, short what, void *arg)
{
	struct question *q = arg;
	struct dns_record records[4];
	struct dns_answer a = { .status = DNS_NODATA, .ttl = 60, .records = records };

	(void)fd, (void)what;
	for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
		if (strcmp(zone[i].name, q->name) != 0 || zone[i].type != q->type)
			continue;
		a.status = zone[i].status;
		if (a.status == DNS_OK)
			records[a.count++] = (struct dns_record){ zone[i].preference, { zone[i].data, zone[i].len } };
	}
	q->fn(q->arg, &a);
	free(q);
}

uint32_t dns_query(struct dns_client *d, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct question *q = xcalloc(1, sizeof(*q));

	(void)d;
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->type = type;
	q->fn = fn;
	q->arg = arg;
	later(answer_question, q);
	return 1;
}

void dns_cancel(struct dns_client *d, uint32_t id)
{
	(void)d, (void)id;
}

/* keys ------------------------------------------------------------------------------------------------------ */

struct keys_client {
	int unused;
};

static enum dkim_status keys_say = DKIM_SIGNED;
static bool keys_held;
static struct {
	dkim_fn fn;
	void *arg;
} signing;

struct keys_client *keys_client_new(struct event_base *b)
{
	static struct keys_client k;

	(void)b;
	return &k;
}

void keys_client_attach(struct keys_client *k, int fd)
{
	(void)k, (void)fd;
}

static void answer_signing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	signing.fn(signing.arg, keys_say, keys_say == DKIM_SIGNED ? VIEW_LIT("DKIM-Signature: x\r\n") : VIEW_NONE);
}

uint32_t dkim_sign(struct keys_client *k, const struct site_domain *d, struct view message, dkim_fn fn, void *arg)
{
	(void)k;
	assert_string_equal(d->name, "example.org"); /* mail.example.org is in it */
	assert_string_equal(d->dkim_selector, "mail");
	assert_memory_equal(message.ptr, "From: Mail Delivery System <", 28);
	signing.fn = fn;
	signing.arg = arg;
	if (!keys_held)
		later(answer_signing, NULL);
	return 1;
}

void dkim_cancel(struct keys_client *k, uint32_t id)
{
	(void)k, (void)id;
}

/* A scripted SMTP server: per line from the client the reply to the first rule whose prefix fits. ------------------ */

struct rule {
	const char *prefix, *reply; /* reply NULL: closes, "": says nothing */
	int times;                  /* 0: always */
};
static struct rule rules[16];
static size_t rule_count;
static char transcript[65536];
static int connections;
static bool in_data;
static void (*on_verb)(struct bufferevent *, const char *verb); /* before its reply; NULL: nothing is to be done */

static void note(const char *line)
{
	size_t len = strlen(transcript);

	snprintf(transcript + len, sizeof(transcript) - len, "%s|", line);
}

static void serve_line(struct bufferevent *bev, const char *line)
{
	if (in_data && strcmp(line, ".") != 0) {
		note(line);
		return;
	}
	note(line);
	const char *verb = in_data ? "END" : line;
	in_data = false;
	if (on_verb != NULL)
		on_verb(bev, verb);
	for (size_t i = 0; i < rule_count; i++) {
		if (strncmp(verb, rules[i].prefix, strlen(rules[i].prefix)) != 0 || rules[i].times < 0)
			continue;
		if (rules[i].times > 0 && --rules[i].times == 0)
			rules[i].times = -1;
		if (rules[i].reply == NULL) {
			bufferevent_free(bev);
			return;
		}
		in_data = strncmp(rules[i].reply, "354", 3) == 0;
		if (rules[i].reply[0] == '\0')
			return;
		evbuffer_add_printf(bufferevent_get_output(bev), "%s\r\n", rules[i].reply);
		return;
	}
	evbuffer_add_printf(bufferevent_get_output(bev), "250 ok\r\n");
}

static void on_read(struct bufferevent *bev, void *arg)
{
	char *line;
	int before = connections;

	(void)arg;
	while (before == connections &&
	       (line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_CRLF_STRICT)) != NULL) {
		bool closes = false;
		for (size_t i = 0; i < rule_count && !closes; i++)
			closes = !in_data && rules[i].reply == NULL && rules[i].times >= 0 &&
			         strncmp(line, rules[i].prefix, strlen(rules[i].prefix)) == 0;
		serve_line(bev, line);
		free(line);
		if (closes)
			return;
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l, (void)sa, (void)len, (void)arg;
	connections++;
	in_data = false;
	bufferevent_setcb(bev, on_read, NULL, on_event, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	evbuffer_add_printf(bufferevent_get_output(bev), "220 mx ESMTP\r\n");
}

static inline void script(size_t count, const struct rule *r)
{
	memcpy(rules, r, count * sizeof(*r));
	rule_count = count;
	rules[rule_count++] = (struct rule){ "DATA", "354 go", 0 };
	transcript[0] = '\0';
	connections = 0;
	result_count = 0;
}

static inline void run_until(size_t n)
{
	time_t end = time(NULL) + 10; /* a test may have a clock of its own */

	while (result_count < n && time(NULL) < end)
		event_base_loop(base, EVLOOP_ONCE);
	if (result_count < n)
		fail_msg("%zu results, wanted %zu; the server saw: %s", result_count, n, transcript);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static inline void contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

#define EHLO_PIPELINING                                                                                                \
	{                                                                                                              \
		"EHLO", "250-mx\r\n250-SIZE 1000\r\n250 PIPELINING", 0                                                 \
	}

static int peer_port;

static inline struct site *load_site(void)
{
	struct findings findings = { 0 };
	char text[1024];

	snprintf(text, sizeof(text),
	    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; }; domains = ( { name = \"example.org\"; } "
	    ");\n"
	    "accounts = ( { address = \"alice@example.org\"; } ); admin = { contact = \"boss@good.example\"; };\n"
	    "state_dir = \"/tmp/send-test-none\"; relay = { port_out = %d; };\n"
	    "routes = ( { name = \"special\"; to = (\"special@ways.example\"); hosts = (\"127.0.0.2:%d\"); } );\n",
	    peer_port, peer_port);
	struct site *site = site_load_memory(view_of(text), "test.conf", &findings);
	for (size_t i = 0; i < findings.count && site == NULL; i++)
		fprintf(stderr, "%s\n", findings.at[i].text);
	findings_free(&findings);
	assert_non_null(site);
	return site;
}

static inline int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	struct error err;

	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	base = event_base_new();
	inet_pton(AF_INET, "127.0.0.2", &sin.sin_addr);
	struct evconnlistener *l = evconnlistener_new_bind(
	    base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16, (struct sockaddr *)&sin, sizeof(sin));
	assert_non_null(l);
	getsockname(evconnlistener_get_fd(l), (struct sockaddr *)&sin, &len);
	peer_port = ntohs(sin.sin_port);
	ctx.site = load_site();
	ctx.base = base;
	ctx.role = &role_send;
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	assert_int_equal(role_send.init(&ctx, &err), 0);
	int fds[2];
	assert_int_equal(imsg_pair(fds), 0);
	role_send.peer(&ctx, ROLE_STORE, 0, fds[0]);
	role_send.start(&ctx);
	assert_int_equal(credits, 100);
	return 0;
}

#endif
