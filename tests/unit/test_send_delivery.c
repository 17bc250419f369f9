/*
 * The send role in one process, with a store and a resolver made of functions and scripted SMTP servers on loopback:
 * what it says, what it reports, and what it does when store goes away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

void role_alert(struct role_ctx *c, const char *key, const char *fmt, ...)
{
	(void)c, (void)key, (void)fmt;
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
static bool push_broken;
static const struct queue_dsn *push_dsn;

static void push(uint64_t id, const char *domain, const char *sender, uint32_t attempts, bool bounce,
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
		.bounce = bounce };

	q.message_fd = push_broken ? dup(0) : memfd_sealed("message", VIEW_LIT("Subject: s\r\n\r\n.dot\r\n"));
	assert_true(credits > 0);
	credits--;
	item_fn(item_arg, &q);
}

static void push_one(uint64_t id, const char *domain, const char *recipient)
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
	const char *prefix, *reply; /* reply NULL: closes */
	int times;                  /* 0: always */
};
static struct rule rules[16];
static size_t rule_count;
static char transcript[65536];
static int connections;
static bool in_data;

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

static void script(size_t count, const struct rule *r)
{
	memcpy(rules, r, count * sizeof(*r));
	rule_count = count;
	rules[rule_count++] = (struct rule){ "DATA", "354 go", 0 };
	transcript[0] = '\0';
	connections = 0;
	result_count = 0;
}

static void run_until(size_t n)
{
	uint64_t end = clock_mono_ms() + 10000;

	while (result_count < n && clock_mono_ms() < end)
		event_base_loop(base, EVLOOP_ONCE);
	if (result_count < n)
		fail_msg("%zu results, wanted %zu; the server saw: %s", result_count, n, transcript);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

#define EHLO_PIPELINING                                                                                                \
	{                                                                                                              \
		"EHLO", "250-mx\r\n250-SIZE 1000\r\n250 PIPELINING", 0                                                 \
	}

static int peer_port;

static struct site *load_site(void)
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

/* Tests ------------------------------------------------------------------------------------------------------- */

static void test_delivered(void **state)
{
	const char *two[] = { "a@good.example", "b@good.example" };

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<b@", "550 5.1.1 no b", 0 } });
	push(1, "good.example", "alice@example.org", 0, false, two, 2);
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	assert_int_equal(results[0].failed, 1);
	assert_string_equal(results[0].bounce_to, "alice@example.org");
	assert_false(results[0].bounce_remote);
	contains(results[0].bounce, "Final-Recipient: rfc822; b@good.example\r\nAction: failed\r\nStatus: "
				    "5.1.1\r\nRemote-MTA: dns; mx.good.example\r\n");
	assert_null(strstr(results[0].bounce, "a@good.example"));
	contains(transcript, "EHLO mail.example.org|MAIL FROM:<alice@example.org> SIZE=20|RCPT "
			     "TO:<a@good.example>|RCPT TO:<b@good.example>|DATA|"
			     "Subject: s||..dot|.|");
	/* The connection is still there, and is used again. */
	push_one(2, "good.example", "c@good.example");
	run_until(2);
	assert_int_equal(connections, 1);
	assert_int_equal(results[1].delivered, 1);
}

static void test_retry_then_next_host(void **state)
{
	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "MAIL", "450 4.2.0 later", 0 } });
	push_one(3, "two.example", "a@two.example"); /* the dead one first, then the one that says later */
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	assert_string_equal(results[0].reply, "450 4.2.0 later");
	assert_in_range(results[0].next_due, clock_wall() + 290, clock_wall() + 350);
	assert_string_equal(results[0].bounce_to, "");
}

/* Recipients of one entry that go different ways. */
static void test_two_ways(void **state)
{
	const char *two[] = { "special@ways.example", "other@ways.example" };

	(void)state;
	/* Another host for the second is none for the first, whose way has failed for now. */
	script(3, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<special@", "451 4.2.0 not now", 1 },
		{ "RCPT TO:<other@", "451 4.2.0 not now", 1 } });
	push(60, "ways.example", "alice@example.org", 0, false, two, 2);
	run_until(1);
	if (results[0].delivered != 1 || results[0].retry != 1)
		fail_msg("%zu delivered, %zu deferred: %s", results[0].delivered, results[0].retry, transcript);
	/* Too old for another try, but not before its first one. */
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT TO:<special@", "550 5.1.1 nobody", 0 } });
	push_age = 40 * 86400;
	push(61, "ways.example", "alice@example.org", 0, false, two, 2);
	push_age = 0;
	run_until(1);
	assert_int_equal(results[0].failed, 1);
	assert_int_equal(results[0].retry, 1);
	assert_true(results[0].next_due <= clock_wall());
}

/* What is not ASCII may stand in a command only where SMTPUTF8 was said (RFC 6531 3.4, RFC 6533 3). */
static void test_original_recipient(void **state)
{
	const char *two[] = { "a@original.example", "b@original.example" };
	const struct queue_dsn dsn[] = { { DSN_NEVER, "utf-8;\xc3\xa4@example.org" }, { 0, "rfc822;b@example.org" } };

	(void)state;
	script(1, (struct rule[]){ { "EHLO", "250-mx\r\n250-DSN\r\n250 SMTPUTF8", 0 } });
	push_dsn = dsn;
	push(63, "original.example", "alice@example.org", 0, false, two, 2);
	push_dsn = NULL;
	run_until(1);
	contains(transcript, "|RCPT TO:<a@original.example> NOTIFY=NEVER|"
			     "RCPT TO:<b@original.example> ORCPT=rfc822;b@example.org|");
}

/* What cannot be read is store's again, and not for ever in hand. */
static void test_unreadable(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_broken = true;
	push_one(62, "good.example", "a@good.example");
	push_broken = false;
	run_until(1);
	assert_int_equal(results[0].id, 62);
	assert_int_equal(results[0].retry, 1);
	assert_true(results[0].next_due > clock_wall());
}

static void test_dns_failures(void **state)
{
	static const struct {
		const char *domain, *reply;
		bool permanent;
	} cases[] = {
		{ "null.example", "5.1.10 ", true },
		{ "temp.example", "4.4.3 ", false },
		{ "self.example", "5.4.6 ", true },
		{ "nothing.example", "5.4.4 ", true },
		{ "[IPv6:xyz]", "5.1.2 ", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(1, (struct rule[]){ EHLO_PIPELINING });
		push_one(10 + i, cases[i].domain, "x@somewhere.example");
		run_until(1);
		contains(results[0].reply, cases[i].reply);
		assert_int_equal(results[0].failed, cases[i].permanent);
		assert_string_equal(results[0].bounce_to, cases[i].permanent ? "alice@example.org" : "");
	}
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_one(20, "[127.0.0.2]", "x@[127.0.0.2]");
	run_until(1);
	push_one(21, "bare.example", "x@bare.example");
	run_until(2);
	assert_int_equal(results[0].delivered + results[1].delivered, 2);
}

/* Nobody there: the next new message is not tried at all, a second attempt of an old one not at once either. */
static void test_dead(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	push_one(30, "dead.example", "x@dead.example");
	run_until(1);
	contains(results[0].reply, "4.4.1 cannot connect to mx.dead.example[127.0.0.3]");
	uint64_t before = clock_mono_ms();
	push_one(31, "dead.example", "y@dead.example");
	run_until(2);
	assert_int_equal(results[1].retry, 1);
	assert_in_range(results[1].next_due, clock_wall() + 280, clock_wall() + 350);
	assert_in_range(clock_mono_ms() - before, 0, 1000);
	assert_string_equal(deferred, "dead.example"); /* store need not hand out more of it */
	assert_in_range(deferred_until, clock_wall() + 280, clock_wall() + 350);
}

static void test_bounce_of_bounce(void **state)
{
	const char *ghost = "ghost@good.example", *admin = "boss@good.example";

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "550 5.1.1 no", 0 } });
	push(40, "good.example", "", 0, true, &ghost, 1);
	run_until(1);
	assert_string_equal(results[0].bounce_to, "boss@good.example"); /* site.admin, who is elsewhere */
	assert_true(results[0].bounce_remote);
	contains(results[0].bounce, "Subject: Postmaster notice");
	push(41, "good.example", "", 0, true, &admin, 1);
	run_until(2);
	assert_int_equal(results[1].failed, 1);
	assert_string_equal(results[1].bounce_to, ""); /* and that is the end */
	push(42, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	run_until(3);
	assert_string_equal(results[2].bounce_to, "bob@elsewhere.example");
	assert_memory_equal(results[2].bounce, "DKIM-Signature: x\r\nFrom: ", 25);
	keys_say = DKIM_AWAY;
	push(43, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	run_until(4);
	assert_memory_equal(results[3].bounce, "From: ", 6); /* told all the same */
	keys_say = DKIM_SIGNED;
}

/* While keys takes its time the site is replaced; the result is still whole, and nothing of the old site is used. */
static void test_slow_keys(void **state)
{
	const char *ghost = "ghost@good.example";
	size_t count;

	(void)state;
	script(2, (struct rule[]){ EHLO_PIPELINING, { "RCPT", "550 5.1.1 no", 0 } });
	keys_held = true;
	signing.fn = NULL;
	push(45, "good.example", "bob@elsewhere.example", 0, false, &ghost, 1);
	for (uint64_t end = clock_mono_ms() + 10000; signing.fn == NULL && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(result_count, 0);
	struct site *old = ctx.site;
	ctx.site = load_site();
	site_unref(old);
	ctx.role->reload(&ctx);
	count = result_count;
	answer_signing(-1, 0, NULL);
	assert_int_equal(result_count, count + 1);
	assert_string_equal(results[count].bounce_to, "bob@elsewhere.example");
	run_until(count + 1);
	keys_held = false;
}

static void test_odd_servers(void **state)
{
	(void)state;
	script(2, (struct rule[]){ { "EHLO", "502 what", 0 }, { "HELO", "250 hello", 0 } });
	push_one(50, "[127.0.0.2]", "a@[127.0.0.2]");
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	/* Closes in the middle of the message's answer: again later. */
	script(2, (struct rule[]){ EHLO_PIPELINING, { "END", NULL, 0 } });
	push_one(51, "good.example", "a@good.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.4.2 connection lost in the end of the message");
	ctx.role->reload(&ctx);
}

static void test_garbage(void **state)
{
	(void)state;
	script(1, (struct rule[]){ { "EHLO", "250-a\r\n550 b", 0 } });
	push_one(60, "garbage.example", "a@garbage.example");
	run_until(1);
	assert_int_equal(results[0].retry, 1);
	contains(results[0].reply, "4.5.0 the host does not speak SMTP");
}

/* A host that says more than it was asked: what it promised before it had the message does not count. */
static void test_out_of_step(void **state)
{
	static const struct {
		struct rule rule;
		bool delivered;
	} cases[] = {
		{ { "DATA", "354 go\r\n250 2.0.0 taken already", 0 }, false },
		{ { "RCPT", "250 ok\r\n250 ok", 0 }, false }, { { "END", "250 ok\r\n250 ok", 0 }, true },
		{ { "EHLO", "250-mx\r\n250 PIPELINING\r\n250 ok", 0 }, false }, /* and it is away for a while */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		script(2, (struct rule[]){ cases[i].rule, EHLO_PIPELINING });
		push_one(65 + i, "bare.example", "a@bare.example");
		run_until(1);
		assert_int_equal(results[0].delivered, cases[i].delivered);
		assert_int_equal(results[0].retry, !cases[i].delivered);
		if (!cases[i].delivered)
			contains(results[0].reply, "4.5.0 the host answers what it was not asked");
		ctx.role->reload(&ctx);
	}
}

/* Results outlive a store: they are told to the next one, and what it pushes again meanwhile is put aside. */
static void test_store_lost(void **state)
{
	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	store_away = true;
	push_one(70, "null.example", "a@null.example");
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(result_count, 0);
	store_away = false;
	credits = 0;
	int fds[2];
	assert_int_equal(imsg_pair(fds), 0);
	ctx.role->peer(&ctx, ROLE_STORE, 0, fds[0]);
	assert_int_equal(result_count, 1);
	assert_int_equal(results[0].id, 70);
	unsigned all = credits;
	assert_in_range(all, 99, 99); /* one is still in hand */
	push_one(70, "null.example", "a@null.example");
	assert_int_equal(credits, 99); /* put aside: given back at once */
	run_until(1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(credits, 100);
	assert_int_equal(result_count, 1);
	close(fds[0]);
	close(fds[1]);
}

/* Going down with a result that store has not confirmed: it waits for store, for as long as a drain may take. */
static void test_drain(void **state)
{
	int fds[2];

	(void)state;
	script(1, (struct rule[]){ EHLO_PIPELINING });
	store_away = true;
	push_one(80, "good.example", "a@good.example");
	for (uint64_t end = clock_mono_ms() + 10000; strstr(transcript, "|.|") == NULL && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	exited = false;
	ctx.role->drain(&ctx);
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_false(exited);
	store_away = false;
	assert_int_equal(imsg_pair(fds), 0);
	ctx.role->peer(&ctx, ROLE_STORE, 0, fds[0]);
	run_until(1);
	assert_int_equal(results[0].delivered, 1);
	for (uint64_t end = clock_mono_ms() + 10000; !exited && clock_mono_ms() < end;)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(exited);
	close(fds[0]);
	close(fds[1]);
}

static int setup(void **state)
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_delivered),
		cmocka_unit_test(test_retry_then_next_host), cmocka_unit_test(test_dns_failures),
		cmocka_unit_test(test_two_ways), cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_original_recipient),
		cmocka_unit_test(test_dead), cmocka_unit_test(test_bounce_of_bounce), cmocka_unit_test(test_slow_keys),
		cmocka_unit_test(test_odd_servers), cmocka_unit_test(test_garbage), cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_store_lost), cmocka_unit_test(test_drain) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, NULL);
}
