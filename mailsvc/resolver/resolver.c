/*
 * resolver: all DNS for all roles.  libunbound runs on our event loop (ub_resolve_event: no thread, no blocking),
 * recurses from the root hints built into it or asks what dns.forward names, and validates with the root key.
 * resolv.conf is not read: a mail host that trusts a stranger's resolver has no DNSSEC.
 *
 * Bounds: PENDING_MAX queries at once (more are answered DNS_TEMPFAIL), DNS_RECORDS_MAX records an answer, ANSWER_S
 * seconds until the answer is DNS_TEMPFAIL (libunbound goes on for minutes where no server answers, and what it finds
 * is cached). A reload that changes dns.forward or dns.dnssec ends the process: monitor starts it anew, and callers see
 * a moment of DNS_TEMPFAIL.  An ub_ctx cannot be changed once it has resolved, and a new one would want to open files.
 */
#include <event2/event.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unbound-event.h>
#include <unbound.h>

#include "answer.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "mailsvc/role.h"

#define PENDING_MAX 10000
#define ANSWER_S 45
#define LATE_S 5 /* how often it is looked for queries that are late */
#define ROOT_KEY "/usr/share/dns/root.key"

struct resolver;

struct query {
	LIST_ENTRY(query) entry;
	struct resolver *resolver;
	struct asker *asker; /* NULL: it went away or was answered; libunbound's own cancelling would free what its mesh
	                        still points to */
	uint32_t id;
	enum dns_type type;
	uint64_t deadline; /* monotonic ms */
	bool *done;        /* set when the callback comes before ub_resolve_event returns (an answer from the cache) */
};

struct asker { /* one channel to a peer */
	LIST_ENTRY(asker) entry;
	struct resolver *resolver;
	enum role_id role;
	unsigned instance;
	struct chan *chan;
	LIST_HEAD(, query) queries;
};

struct resolver {
	struct role_ctx *ctx;
	struct event_base *base;
	struct ub_ctx *ub;
	LIST_HEAD(, asker) askers;
	size_t pending;
	uint64_t served, refused;
	char *settings; /* what the context was made from */
};

static struct resolver *resolver_of(struct role_ctx *ctx)
{
	if (ctx->state == NULL) {
		struct resolver *r = xcalloc(1, sizeof(*r));
		r->ctx = ctx;
		r->base = ctx->base;
		LIST_INIT(&r->askers);
		ctx->state = r;
	}
	return ctx->state;
}

/* Asking ---------------------------------------------------------------------------------------------------- */

static void send_answer(struct chan *chan, uint32_t id, const struct dns_answer *a)
{
	struct buf msg = BUF_INIT(IMSG_MAX);

	dns_answer_put(&msg, a);
	chan_send(chan, DNS_MESSAGE_ANSWER, id, buf_view(&msg), -1);
	buf_free(&msg);
}

static void query_free(struct query *q)
{
	if (q->asker != NULL)
		LIST_REMOVE(q, entry);
	q->resolver->pending--;
	free(q);
}

static void resolved(void *arg, int rcode, void *packet, int len, int security, char *why_bogus, int ratelimited)
{
	struct query *q = arg;
	struct dns_parsed parsed;

	(void)rcode; /* the packet has it too */
	(void)ratelimited;
	if (q->done != NULL)
		*q->done = true;
	if (q->asker != NULL) {
		dns_answer_parse(packet, len > 0 ? (size_t)len : 0, q->type, &parsed);
		if (security == 1) {
			log_debug("event=dns error=bogus why=\"%s\"", why_bogus != NULL ? why_bogus : "");
			parsed.answer = (struct dns_answer){ .status = DNS_TEMPFAIL };
		}
		parsed.answer.secure = security == 2;
		send_answer(q->asker->chan, q->id, &parsed.answer);
		dns_parsed_free(&parsed);
	}
	query_free(q);
}

static void ask(struct asker *asker, uint32_t id, const char *name, enum dns_type type)
{
	struct resolver *r = asker->resolver;
	bool done = false;
	int rc = -1;

	if (r->pending < PENDING_MAX && name[0] != '\0') {
		struct query *q = xcalloc(1, sizeof(*q));
		*q = (struct query){ .resolver = r, .asker = asker, .id = id, .type = type, .done = &done };
		q->deadline = clock_mono_ms() + ANSWER_S * 1000;
		LIST_INSERT_HEAD(&asker->queries, q, entry);
		r->pending++;
		r->served++;
		rc = ub_resolve_event(r->ub, name, (int)type, LDNS_RR_CLASS_IN, q, resolved, NULL);
		if (!done && rc == 0)
			q->done = NULL;
		else if (!done)
			query_free(q); /* not a name at all: a label over 63 bytes and the like */
	}
	if (rc != 0 && !done) {
		struct dns_answer failed = { .status = DNS_TEMPFAIL };
		r->refused++;
		send_answer(asker->chan, id, &failed);
	}
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct resolver *r = arg;
	struct dns_answer failed = { .status = DNS_TEMPFAIL };
	uint64_t now = clock_mono_ms();
	struct asker *a;

	(void)fd, (void)what;
	LIST_FOREACH(a, &r->askers, entry)
	{
		struct query *q, *next;
		for (q = LIST_FIRST(&a->queries); q != NULL; q = next) {
			next = LIST_NEXT(q, entry);
			if (now < q->deadline)
				continue;
			LIST_REMOVE(q, entry);
			q->asker = NULL;
			send_answer(a->chan, q->id, &failed);
		}
	}
}

static void asker_free(struct asker *a)
{
	struct query *q;

	while ((q = LIST_FIRST(&a->queries)) != NULL) {
		LIST_REMOVE(q, entry);
		q->asker = NULL;
	}
	chan_free(a->chan);
	LIST_REMOVE(a, entry);
	free(a);
}

static void asker_kill(struct asker *a, const char *why)
{
	role_kill_peer(a->resolver->ctx, a->role, a->instance, why);
	asker_free(a);
}

static void asker_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct asker *a = arg;
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;

	(void)chan;
	if (m->type != DNS_MESSAGE_QUERY || m->id == 0 || dns_query_get(m->data, name, &type) == -1) {
		log_warnx("event=peer peer=%s error=\"malformed query\"", role_name(a->role));
		asker_kill(a, "malformed query");
		return;
	}
	ask(a, m->id, name, type);
}

static void asker_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		asker_kill(arg, "malformed message");
	else
		asker_free(arg);
}

static void resolver_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = asker_message, .closed = asker_closed };
	struct resolver *r = resolver_of(ctx);
	struct asker *a;

	LIST_FOREACH(a, &r->askers, entry)
	{
		if (a->role == role && a->instance == instance) {
			asker_free(a);
			break;
		}
	}
	a = xcalloc(1, sizeof(*a));
	a->resolver = r;
	a->role = role;
	a->instance = instance;
	LIST_INIT(&a->queries);
	a->chan = chan_new(ctx->base, fd, &ops, a);
	LIST_INSERT_HEAD(&r->askers, a, entry);
}

/* The context ----------------------------------------------------------------------------------------------- */

/* Names that libunbound answers by itself although a site's own servers may know them (RFC 6303, RFC 6761). */
static void open_local_zones(struct ub_ctx *ub)
{
	static const char *const zones[] = { "test.", "10.in-addr.arpa.", "168.192.in-addr.arpa.", "127.in-addr.arpa.",
		"254.169.in-addr.arpa.", "2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.", "113.0.203.in-addr.arpa.",
		"d.f.ip6.arpa.", "8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa.",
		"8.b.d.0.1.0.0.2.ip6.arpa." };
	char zone[40];

	for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
		ub_ctx_zone_remove(ub, zones[i]);
	for (int i = 16; i < 32; i++) {
		snprintf(zone, sizeof(zone), "%d.172.in-addr.arpa.", i);
		ub_ctx_zone_remove(ub, zone);
	}
}

/* The anchors are read here: libunbound would open the file at the first query, behind the sandbox. */
static int add_anchors(struct ub_ctx *ub, struct error *err)
{
	struct buf text = BUF_INIT(64 * 1024);
	int rc = 0;

	if (file_read(ROOT_KEY, text.max, &text, err) == -1) {
		log_warnx("event=dns error=\"no root key, DNSSEC is off\" reason=\"%s\" hint=\"apt-get install "
		          "dns-root-data\"",
		    err->text);
		buf_free(&text);
		return 0;
	}
	for (const char *p = buf_str(&text); *p != '\0' && rc == 0; p += strcspn(p, "\n"), p += *p == '\n') {
		char *line = view_dup((struct view){ p, strcspn(p, ";\n") }); /* without its comment */
		if (strstr(line, "DNSKEY") != NULL || strstr(line, " DS ") != NULL)
			rc = ub_ctx_add_ta(ub, line);
		free(line);
	}
	buf_free(&text);
	return rc == 0 ? 0 : error_set(err, "%s: %s", ROOT_KEY, ub_strerror(rc));
}

static void set_option(struct ub_ctx *ub, const char *name, const char *value)
{
	int rc = ub_ctx_set_option(ub, name, value);

	if (rc != 0)
		log_warnx("event=dns option=%s error=\"%s\"", name, ub_strerror(rc));
}

static void ignore(void *arg, int rcode, void *packet, int len, int security, char *why_bogus, int ratelimited)
{
	(void)arg, (void)rcode, (void)packet, (void)len, (void)security, (void)why_bogus, (void)ratelimited;
}

static char *settings_of(const struct site *site)
{
	struct buf text = BUF_INIT(64 * 1024);

	buf_printf(&text, "dnssec=%d", site->dns.dnssec);
	for (size_t i = 0; i < site->dns.forward.count; i++)
		buf_printf(&text, " %s", site->dns.forward.at[i]);
	for (size_t i = 0; i < site->dns.trust_anchors.count; i++)
		buf_printf(&text, " anchor=%s", site->dns.trust_anchors.at[i]);
	char *s = xstrdup(buf_str(&text));
	buf_free(&text);
	return s;
}

static int open_context(struct resolver *r, const struct site *site, struct error *err)
{
	struct ub_ctx *ub = r->ub = ub_ctx_create_event(r->base);
	int rc;

	if (ub == NULL)
		return error_set(err, "libunbound: cannot make a context");
	/* ub_ctx_add_ta comes before ub_ctx_zone_remove, which finalises the context: later anchors would be refused.
	 */
	if (site->dns.dnssec && add_anchors(ub, err) == -1)
		return -1;
	for (size_t i = 0; site->dns.dnssec && i < site->dns.trust_anchors.count; i++) {
		rc = ub_ctx_add_ta(ub, site->dns.trust_anchors.at[i]);
		if (rc != 0)
			return error_set(err, "dns.trust_anchors: %s: %s", site->dns.trust_anchors.at[i], ub_strerror(rc));
	}
	set_option(ub, "use-syslog:", "no");
	set_option(ub, "do-not-query-localhost:", "no");
	set_option(ub, "qname-minimisation:", "yes");
	set_option(ub, "prefetch:", "yes");
	set_option(ub, "cache-max-ttl:", "86400");
	set_option(ub, "cache-max-negative-ttl:", "300");
	set_option(ub, "outgoing-range:", "512");
	set_option(ub, "num-queries-per-thread:", "10000");
	for (size_t i = 0; i < site->dns.forward.count; i++) {
		rc = ub_ctx_set_fwd(ub, site->dns.forward.at[i]);
		if (rc != 0)
			return error_set(err, "dns.forward: %s: %s", site->dns.forward.at[i], ub_strerror(rc));
	}
	open_local_zones(ub);
	rc = ub_resolve_event(ub, "localhost", DNS_A, LDNS_RR_CLASS_IN, NULL, ignore, NULL);
	if (rc != 0)
		return error_set(err, "libunbound: %s", ub_strerror(rc));
	r->settings = settings_of(site);
	return 0;
}

/* The role -------------------------------------------------------------------------------------------------- */

static int resolver_init(struct role_ctx *ctx, struct error *err)
{
	return open_context(resolver_of(ctx), ctx->site, err);
}

static void resolver_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	static unsigned short ports[2 + 64 + 1] = { 53 };
	size_t n = 1;

	/* dns.forward may name a port of its own. */
	for (size_t i = 0; i < ctx->site->dns.forward.count && n + 1 < sizeof(ports) / sizeof(ports[0]); i++) {
		const char *at = strchr(ctx->site->dns.forward.at[i], '@');
		uint64_t port;
		if (at != NULL && view_u64(view_of(at + 1), UINT16_MAX, &port) == 0 && port > 0)
			ports[n++] = (unsigned short)port;
	}
	sb->may |= SANDBOX_CONNECT_INET;
	sb->connect_ports = ports;
}

static void resolver_start(struct role_ctx *ctx)
{
	struct resolver *r = resolver_of(ctx);
	struct event *late = event_new(ctx->base, -1, EV_PERSIST, on_late, r);
	struct timeval tv = { LATE_S, 0 };

	if (late == NULL)
		fatalx("cannot make a timer");
	event_add(late, &tv);
}

static void resolver_reload(struct role_ctx *ctx)
{
	struct resolver *r = resolver_of(ctx);
	char *settings = settings_of(ctx->site);

	if (strcmp(settings, r->settings) != 0) {
		log_info("event=reload reason=\"dns settings changed, starting anew\"");
		role_exit(ctx);
	}
	free(settings);
}

static void resolver_status(struct role_ctx *ctx, struct buf *json)
{
	struct resolver *r = resolver_of(ctx);

	buf_printf(json, "\"queries\": %llu, \"pending\": %zu, \"refused\": %llu", (unsigned long long)r->served,
	    r->pending, (unsigned long long)r->refused);
}

const struct role role_resolver = {
	.id = ROLE_RESOLVER,
	.name = "resolver",
	.user = "mailadm-dns",
	.init = resolver_init,
	.sandbox = resolver_sandbox,
	.start = resolver_start,
	.reload = resolver_reload,
	.peer = resolver_peer,
	.status = resolver_status,
};
