/*
 * fetch: the only role that speaks HTTPS to the world, for those who ask it (send: MTA-STS policies).  It asks the
 * resolver for addresses and libcurl for the rest, sees no mail and opens nothing.
 *
 * Bounds: REQUESTS_MAX at once, ADDRESSES_MAX addresses a host, ports of the site, and the limits each request brings,
 * which count from its arrival.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "curl_api.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/resolver/client.h"
#include "mailsvc/role.h"
#include "proto.h"
#include "transfer.h"

#define REQUESTS_MAX 64
#define ADDRESSES_MAX 8 /* of each family */
#define TRUST_MAX (8u << 20)

struct fetch;
struct asker;

struct request {
	LIST_ENTRY(request) entry;
	struct fetch *fetch;
	struct asker *asker;
	uint32_t id;
	char url[FETCH_URL_MAX + 1], host[256];
	uint16_t port;
	struct fetch_limits limits;
	uint64_t deadline;    /* monotonic ms */
	struct event *late;   /* until the transfer begins */
	uint32_t queries[2];  /* AAAA, A; 0: answered or not asked */
	struct buf addresses; /* "[2001:db8::1],192.0.2.1" */
	struct transfer *transfer;
};

struct asker { /* one channel to a peer */
	LIST_ENTRY(asker) entry;
	struct fetch *fetch;
	enum role_id role;
	unsigned instance;
	struct chan *chan;
};

struct fetch {
	struct role_ctx *ctx;
	struct dns_client *dns;
	struct transfers *transfers;
	struct buf trust;
	char *trust_file;
	bool usable; /* there are libcurl and a trust store */
	int port;    /* that the sandbox was made for, beside 443 */
	LIST_HEAD(, asker) askers;
	LIST_HEAD(, request) requests;
	unsigned running;
	uint64_t fetched, failed;
};

/* Requests --------------------------------------------------------------------------------------------------- */

static void request_free(struct request *r)
{
	for (int f = 0; f < 2; f++) {
		if (r->queries[f] != 0)
			dns_cancel(r->fetch->dns, r->queries[f]);
	}
	transfer_cancel(r->transfer);
	event_free(r->late);
	buf_free(&r->addresses);
	LIST_REMOVE(r, entry);
	r->fetch->running--;
	free(r);
}

static void send_answer(struct asker *a, uint32_t id, const struct fetch_answer *answer)
{
	struct buf msg = BUF_INIT(IMSG_MAX);

	if (answer->status == FETCH_OK)
		a->fetch->fetched++;
	else
		a->fetch->failed++;
	fetch_answer_put(&msg, answer);
	chan_send(a->chan, FETCH_MESSAGE_ANSWER, id, buf_view(&msg), -1);
	buf_free(&msg);
}

static void refuse(struct asker *a, uint32_t id, enum fetch_status status, const char *reason)
{
	struct fetch_answer answer = { .status = status };

	snprintf(answer.reason, sizeof(answer.reason), "%s", reason);
	send_answer(a, id, &answer);
}

static void request_fail(struct request *r, enum fetch_status status, const char *reason)
{
	refuse(r->asker, r->id, status, reason);
	request_free(r);
}

static void on_transferred(void *arg, const struct fetch_answer *answer)
{
	struct request *r = arg;

	r->transfer = NULL;
	log_debug("event=fetch url=%s status=%d code=%d bytes=%zu reason=\"%s\"", r->url, (int)answer->status,
	    answer->code, answer->body.len, answer->reason);
	send_answer(r->asker, r->id, answer);
	request_free(r);
}

static void begin_transfer(struct request *r)
{
	uint64_t now = clock_mono_ms();
	struct fetch_limits limits = { .bytes = r->limits.bytes };

	if (r->addresses.len == 0) {
		request_fail(r, FETCH_DNS, "its name has no address, or the DNS cannot say");
		return;
	}
	event_del(r->late);
	limits.seconds = r->deadline > now + 1000 ? (unsigned)((r->deadline - now) / 1000) : 1;
	r->transfer = transfer_start(
	    r->fetch->transfers, r->url, r->host, r->port, buf_str(&r->addresses), &limits, on_transferred, r);
}

static void add_addresses(struct request *r, const struct dns_answer *a, int family)
{
	size_t len = family == AF_INET6 ? 16 : 4;
	char text[INET6_ADDRSTRLEN];

	for (size_t i = 0; a->status == DNS_OK && i < a->count && i < ADDRESSES_MAX; i++) {
		if (a->records[i].data.len != len ||
		    inet_ntop(family, a->records[i].data.ptr, text, sizeof(text)) == NULL)
			continue;
		buf_printf(
		    &r->addresses, family == AF_INET6 ? "%s[%s]" : "%s%s", r->addresses.len > 0 ? "," : "", text);
	}
}

static void on_addresses(struct request *r, const struct dns_answer *a, int which)
{
	r->queries[which] = 0;
	add_addresses(r, a, which == 0 ? AF_INET6 : AF_INET);
	if (r->queries[0] == 0 && r->queries[1] == 0)
		begin_transfer(r);
}

static void on_aaaa(void *arg, const struct dns_answer *a)
{
	on_addresses(arg, a, 0);
}

static void on_a(void *arg, const struct dns_answer *a)
{
	on_addresses(arg, a, 1);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	request_fail(arg, FETCH_TIMEOUT, "the DNS does not answer in time");
}

static void request_new(struct asker *a, uint32_t id, const char *url, const struct fetch_limits *limits)
{
	struct fetch *f = a->fetch;
	const struct site *site = f->ctx->site;
	struct request *r = xcalloc(1, sizeof(*r));
	struct timeval limit = { limits->seconds, 0 };

	if (!f->usable) {
		refuse(a, id, FETCH_UNAVAILABLE, "there is no trust store, or no libcurl");
		free(r);
		return;
	}
	if (fetch_url_parse(url, r->host, &r->port) == -1 || (r->port != 443 && r->port != f->port) ||
	    f->running >= REQUESTS_MAX) {
		if (f->running >= REQUESTS_MAX)
			refuse(a, id, FETCH_UNAVAILABLE, "too many requests at once");
		else
			refuse(a, id, FETCH_REFUSED, "this is no URL that is fetched");
		free(r);
		return;
	}
	r->fetch = f;
	r->asker = a;
	r->id = id;
	snprintf(r->url, sizeof(r->url), "%s", url);
	r->limits = *limits;
	r->deadline = clock_mono_ms() + (uint64_t)limits->seconds * 1000;
	r->addresses = BUF_INIT(2048);
	r->late = evtimer_new(f->ctx->base, on_late, r);
	if (r->late == NULL)
		fatalx("cannot make a timer");
	event_add(r->late, &limit);
	LIST_INSERT_HEAD(&f->requests, r, entry);
	f->running++;
	if (site->host.ipv6[0] != '\0')
		r->queries[0] = dns_query(f->dns, r->host, DNS_AAAA, on_aaaa, r);
	r->queries[1] = dns_query(f->dns, r->host, DNS_A, on_a, r);
}

static void cancel(struct asker *a, uint32_t id)
{
	struct request *r;

	LIST_FOREACH(r, &a->fetch->requests, entry)
	{
		if (r->asker == a && r->id == id) {
			request_free(r);
			return;
		}
	}
}

/* Peers ------------------------------------------------------------------------------------------------------ */

static void asker_free(struct asker *a)
{
	struct request *r, *next;

	for (r = LIST_FIRST(&a->fetch->requests); r != NULL; r = next) {
		next = LIST_NEXT(r, entry);
		if (r->asker == a)
			request_free(r);
	}
	chan_free(a->chan);
	LIST_REMOVE(a, entry);
	free(a);
}

static void asker_kill(struct asker *a, const char *why)
{
	role_kill_peer(a->fetch->ctx, a->role, a->instance, why);
	asker_free(a);
}

static void asker_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct asker *a = arg;
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	char url[FETCH_URL_MAX + 1];
	struct fetch_limits limits;

	(void)chan;
	if (m->type == FETCH_MESSAGE_GET && m->id != 0 && fetch_get_get(m->data, url, &limits) == 0) {
		request_new(a, m->id, url, &limits);
		return;
	}
	uint32_t id = cursor_u32(&c);
	if (m->type != FETCH_MESSAGE_CANCEL || m->id != 0 || !cursor_done(&c)) {
		log_warnx("event=peer peer=%s error=\"malformed request\"", role_name(a->role));
		asker_kill(a, "malformed request");
		return;
	}
	cancel(a, id);
}

static void asker_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		asker_kill(arg, "malformed message");
	else
		asker_free(arg);
}

static void fetch_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = asker_message, .closed = asker_closed };
	struct fetch *f = ctx->state;
	struct asker *a;

	if (role == ROLE_RESOLVER) {
		dns_client_attach(f->dns, fd);
		return;
	}
	LIST_FOREACH(a, &f->askers, entry)
	{
		if (a->role == role && a->instance == instance) {
			asker_free(a);
			break;
		}
	}
	a = xcalloc(1, sizeof(*a));
	a->fetch = f;
	a->role = role;
	a->instance = instance;
	a->chan = chan_new(ctx->base, fd, &ops, a);
	LIST_INSERT_HEAD(&f->askers, a, entry);
}

/* The role --------------------------------------------------------------------------------------------------- */

static char *trust_file(const struct site *site)
{
	return site->tls.trust[0] != '\0' ? site_path(site, site->tls.trust) : xstrdup(tls_trust_file());
}

static int fetch_init(struct role_ctx *ctx, struct error *err)
{
	struct fetch *f = xcalloc(1, sizeof(*f));
	ctx->state = f;
	f->ctx = ctx;
	f->port = ctx->site->relay.https_port;
	f->trust_file = trust_file(ctx->site);
	f->dns = dns_client_new(ctx->base);
	LIST_INIT(&f->askers);
	LIST_INIT(&f->requests);
	f->trust = BUF_INIT(TRUST_MAX);
	/* Mail goes on without: what is fetched only makes it safer. */
	if (file_read(f->trust_file, TRUST_MAX, &f->trust, err) == -1 || curl_api_load(err) == -1) {
		log_warnx("event=fetch error=\"nothing can be fetched\" reason=\"%s\"", err->text);
		return 0;
	}
	f->transfers = transfers_new(ctx->base, buf_view(&f->trust));
	f->usable = f->trust.len > 0;
	return 0;
}

static void fetch_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	static unsigned short ports[] = { 443, 0, 0 };

	ports[1] = (unsigned short)ctx->site->relay.https_port;
	sb->may |= SANDBOX_CONNECT_INET;
	sb->connect_ports = ports;
}

static void fetch_reload(struct role_ctx *ctx)
{
	struct fetch *f = ctx->state;
	char *file = trust_file(ctx->site);

	if (f->port != ctx->site->relay.https_port || strcmp(file, f->trust_file) != 0) {
		log_info("event=reload reason=\"the port or the trust store changed, starting anew\"");
		role_exit(ctx);
	}
	free(file);
}

static void fetch_status(struct role_ctx *ctx, struct buf *json)
{
	const struct fetch *f = ctx->state;

	buf_printf(json, "\"running\": %u, \"fetched\": %llu, \"failed\": %llu", f->running,
	    (unsigned long long)f->fetched, (unsigned long long)f->failed);
}

const struct role role_fetch = {
	.id = ROLE_FETCH,
	.name = "fetch",
	.user = "mailadm-fetch",
	.init = fetch_init,
	.sandbox = fetch_sandbox,
	.reload = fetch_reload,
	.peer = fetch_peer,
	.status = fetch_status,
};
