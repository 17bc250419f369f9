/*
 * send: takes messages that are due from store, delivers them to other hosts, and tells store what became of each
 * recipient.  It opens nothing.
 *
 * An item is in hand from store's push until store has confirmed its result; only then is its credit given back.  When
 * store dies meanwhile, results are kept and sent again to the next one, and what that one pushes again while it is
 * still in hand is put aside.  When send dies, store hands out again what has no result: a recipient whose final 250
 * came but whose result did not reach store is delivered twice, which is why results go at once.
 *
 * Beside that it answers smtp's questions about recipients (verify.h).
 *
 * A drain finishes the transactions that run, for at most DRAIN_S; the rest stays in the queue.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bounce.h"
#include "internal.h"
#include "lib/clock.h"
#include "lib/conn.h"
#include "lib/text.h"
#include "reply.h"
#include "retry.h"
#include "verify.h"

#define CREDIT_MIN 8
#define CREDIT_PART 8 /* of credit_max: as little is not asked for by itself */
#define CREDIT_MAX 200
#define AGAIN_S 10
#define SWEEP_S 5
#define DRAIN_S 20

/* Results ----------------------------------------------------------------------------------------------------- */

static void log_recipient(const struct item *it, const struct recipient *r, int64_t now)
{
	static const char *const events[] = { "sent", "deferred", "bounced" };
	static const char classes[] = { '2', '4', '5' };
	struct buf to = BUF_INIT(4096), reply = BUF_INIT(4096);
	char status[16];

	text_escape(&to, view_of(r->address), ADDRESS_MAX);
	text_escape(&reply, view_of(r->reply), REPLY_TEXT_MAX);
	reply_enhanced(r->reply, classes[r->outcome], status);
	log_info("event=%s id=%016llx to=%s relay=%s tls=%s status=%s reply=%s delay=%lld", events[r->outcome],
	    (unsigned long long)it->id, buf_str(&to), r->relay, r->tls, status, buf_str(&reply),
	    (long long)(now - it->created));
	buf_free(&to);
	buf_free(&reply);
}

/* What is temporary for too long has failed; but not what was not tried yet, and is next. */
static bool expire(const struct site *site, struct item *it, int64_t now)
{
	bool any = false;

	if (it->postponed || it->soon || !retry_expired(now, it->created, site->relay.expire))
		return false;
	for (size_t i = 0; i < it->count; i++) {
		if (it->recipients[i].outcome == QUEUE_RETRY) {
			it->recipients[i].outcome = QUEUE_FAILED;
			any = true;
		}
	}
	return any;
}

/* Its sender is still to be told, once, that it takes long, should it take so long. */
static bool delay_ahead(const struct site *site, const struct item *it)
{
	return site->relay.delay_warning > 0 && !it->delay_told && !it->bounce && it->sender[0] != '\0';
}

static bool delay_due(const struct site *site, const struct item *it, int64_t now)
{
	return delay_ahead(site, it) && item_count(it, QUEUE_RETRY) > 0 &&
	       retry_expired(now, it->created, site->relay.delay_warning);
}

/* A message is looked at again when its sender is to be told of the delay, and when its time is over. */
static int64_t not_later(const struct site *site, const struct item *it, int64_t due, int64_t now)
{
	int64_t warn = it->created + (int64_t)site->relay.delay_warning, end = it->created + (int64_t)site->relay.expire;

	if (delay_ahead(site, it) && !it->tell_delay && warn > now && due > warn)
		due = warn;
	return end > now && due > end ? end : due;
}

static void on_resulted(void *arg, const struct store_result *result);

struct report { /* a result on its way: its notification may wait for a signature */
	struct send *send;
	struct site *site; /* a reference: the bounce points into it */
	struct item *item;
	struct bounce bounce;
	bool tell; /* there is a bounce */
};

static void report_send(struct report *r)
{
	struct item *it = r->item;
	const struct site *site = r->send->ctx->site;
	struct queue_recipient_result *recipients = xcalloc(it->count + 1, sizeof(*recipients));
	int64_t now = clock_wall();
	uint32_t random = 0;

	for (size_t i = 0; i < it->count; i++) {
		const struct recipient *to = &it->recipients[i];
		recipients[i] = (struct queue_recipient_result){ to->address, to->outcome, to->reply };
	}
	struct queue_result result = {
		.id = it->id, .attempt = it->attempts + 1, .recipients = recipients, .count = it->count
	};
	if (RAND_bytes((unsigned char *)&random, sizeof(random)) != 1)
		random = (uint32_t)it->id;
	result.next_due = retry_due(now, it->created, site->relay.retry_min, site->relay.retry_max, random);
	if (it->postponed || it->not_before > result.next_due)
		result.next_due = it->not_before + random % 8;
	if (it->soon)
		result.next_due = now;
	else if (!it->postponed)
		result.next_due = not_later(site, it, result.next_due, now);
	result.delay_told = it->delay_told || it->tell_delay;
	if (r->tell)
		result.bounce = &r->bounce.delivery;
	store_queue_result(r->send->store, &result, on_resulted, it);
	if (r->tell)
		bounce_free(&r->bounce);
	site_unref(r->site);
	free(recipients);
	free(r);
}

/* A notification without a signature is better than one that waits. */
static void on_signed(void *arg, enum dkim_status status, struct view field)
{
	struct report *r = arg;

	if (status == DKIM_SIGNED)
		bounce_sign(&r->bounce, field);
	report_send(r);
}

static void result_send(struct send *s, struct item *it)
{
	struct report *r = xcalloc(1, sizeof(*r));
	const struct site_domain *signer = dkim_domain(s->ctx->site, s->ctx->site->host.name);

	*r = (struct report){ .send = s, .site = site_ref(s->ctx->site), .item = it };
	r->tell = bounce_make(r->site, it, &(struct bounce_ask){ it->expired, it->tell_delay, clock_wall() }, &r->bounce) == 0;
	if (!r->tell && item_count(it, QUEUE_FAILED) > 0)
		log_warnx("event=no-bounce id=%016llx reason=\"there is nobody who can be told, or who wants to be\"",
		    (unsigned long long)it->id);
	it->resulted = true;
	it->arg = s;
	if (r->tell && r->bounce.delivery.remote_count > 0 && signer != NULL)
		dkim_sign(s->keys, signer, buf_view(&r->bounce.message), on_signed, r);
	else
		report_send(r);
}

/*
 * Recipients that go another way come next.  But when some have their last word already, the result goes to store at
 * once, and the others are handed out again.
 */
static bool next_round(struct send *s, struct item *it)
{
	bool final = item_count(it, QUEUE_DELIVERED) + item_count(it, QUEUE_FAILED) > 0 || s->draining;

	if (!item_has_later(it))
		return false;
	item_turn(it);
	if (!final) {
		it->postponed = false;
		destination_submit(s, it);
		return true;
	}
	item_settle_rest(it, QUEUE_RETRY, "4.3.2 goes another way, and comes next");
	it->soon = true;
	return false;
}

void send_finish(struct send *s, struct item *it)
{
	if (next_round(s, it))
		return;
	int64_t now = clock_wall();
	bool expired = expire(s->ctx->site, it, now);

	for (size_t i = 0; i < it->count; i++) {
		if (!it->postponed)
			log_recipient(it, &it->recipients[i], now);
	}
	s->delivered += item_count(it, QUEUE_DELIVERED);
	s->deferred += item_count(it, QUEUE_RETRY);
	s->bounced += item_count(it, QUEUE_FAILED);
	it->expired = expired;
	it->tell_delay = delay_due(s->ctx->site, it, now);
	it->finished = true;
	result_send(s, it);
}

/* Asks for as much as we may hold; not for a few more, while store still has some to give on. */
static void give_credit(struct send *s)
{
	unsigned held = s->in_hand + s->credit;

	if (!s->attached || s->draining || held >= s->credit_max)
		return;
	if (s->credit > 0 && s->credit_max - held < s->credit_max / CREDIT_PART)
		return;
	store_queue_credit(s->store, s->credit_max - held);
	s->credit = s->credit_max - s->in_hand;
}

static void on_resulted(void *arg, const struct store_result *result)
{
	struct item *it = arg;
	struct send *s = it->arg;
	struct timeval tv = { AGAIN_S, 0 };

	it->resulted = false;
	switch (result->status) {
	case STORE_UNAVAILABLE:
	case STORE_FULL:
	case STORE_IO:
		/* Kept until store can take it: at its next channel, or after a while. */
		if (!event_pending(s->again, EV_TIMEOUT, NULL))
			event_add(s->again, &tv);
		send_work_ended(s);
		return;
	case STORE_OK:
		break;
	default: /* the entry is gone: dropped by the administrator, or this result was made before store went away */
		log_debug("event=result id=%016llx reason=\"no such entry\" status=%d", (unsigned long long)it->id,
		    (int)result->status);
	}
	LIST_REMOVE(it, entry);
	item_free(it);
	s->in_hand--;
	give_credit(s);
	send_work_ended(s);
}

/* Every result that store has not confirmed. */
static void send_results_again(struct send *s)
{
	struct item *it;

	LIST_FOREACH(it, &s->items, entry)
	{
		if (!it->resulted && it->finished)
			result_send(s, it);
	}
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	send_results_again(arg);
}

static void on_given_back(void *arg, const struct store_result *result)
{
	(void)arg, (void)result; /* a store that did not hear it hands the entry out again */
}

/* For want of memory, say.  Without a word store would take it to be in hand for ever. */
static void give_back(struct send *s, const struct queue_item *q)
{
	const struct site *site = s->ctx->site;
	struct queue_recipient_result *recipients = xcalloc(q->recipient_count + 1, sizeof(*recipients));
	struct queue_result result = { .id = q->id, .attempt = q->attempts + 1, .recipients = recipients, .count = q->recipient_count,
		.delay_told = q->delay_told };

	log_warnx("event=item id=%016llx error=\"its message cannot be mapped\"", (unsigned long long)q->id);
	for (size_t i = 0; i < q->recipient_count; i++)
		recipients[i] = (struct queue_recipient_result){ q->recipients[i], QUEUE_RETRY,
			"4.3.0 the message could not be mapped here" };
	result.next_due = retry_due(clock_wall(), q->created, site->relay.retry_min, site->relay.retry_max, (uint32_t)q->id);
	store_queue_result(s->store, &result, on_given_back, s);
	free(recipients);
}

/* Items ------------------------------------------------------------------------------------------------------- */

static void on_item(void *arg, const struct queue_item *q)
{
	struct send *s = arg;
	struct item *it;

	if (s->credit > 0)
		s->credit--;
	LIST_FOREACH(it, &s->items, entry)
	{
		if (it->id == q->id)
			break;
	}
	if (it != NULL || s->draining) { /* a restarted store does not know that we have it */
		if (q->message_fd != -1)
			close(q->message_fd);
		give_credit(s);
		return;
	}
	it = item_new(q);
	if (it == NULL) {
		give_back(s, q);
		give_credit(s);
		return;
	}
	LIST_INSERT_HEAD(&s->items, it, entry);
	s->in_hand++;
	if (it->count == 0)
		send_finish(s, it);
	else
		destination_submit(s, it);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;

	(void)fd, (void)what;
	if (!s->draining) {
		destination_run_all(s);
		return;
	}
	struct item *it;
	LIST_FOREACH(it, &s->items, entry)
	{
		if (it->finished) /* a delivery that store does not know of would be made again */
			return;
	}
	if (s->connections != 0)
		return;
	send_tls_save(s);
	role_exit(s->ctx);
}

void send_work_ended(struct send *s)
{
	event_active(s->kick, EV_TIMEOUT, 0);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;

	(void)fd, (void)what;
	destination_relieve(s);
	destination_sweep(s);
	verify_sweep(s->verify);
}

/* The role ---------------------------------------------------------------------------------------------------- */

static int load_secrets(struct send *s, struct error *err)
{
	struct secrets secrets = { 0 };
	int fd = s->ctx->fds[ROLE_FD_SECRETS];

	if (fd != -1 && secrets_load(fd, &secrets, err) == -1)
		return -1;
	secrets_free(&s->secrets);
	s->secrets = secrets;
	return 0;
}

/* What mail may leave to: 25, 465 and 587, for `queue reroute`, and what the site names. */
static size_t ports_of(const struct site *site, uint16_t ports[SEND_PORTS_MAX])
{
	static const uint16_t always[] = { 25, 465, 587 };
	size_t n = sizeof(always) / sizeof(always[0]), more;

	memcpy(ports, always, sizeof(always));
	more = site_ports_out(site, ports + n, SEND_PORTS_MAX - n);
	return n + more <= SEND_PORTS_MAX ? n + more : SEND_PORTS_MAX;
}

static void set_limits(struct send *s)
{
	int connections = s->ctx->site->relay.connections;

	s->credit_max = connections < CREDIT_MIN   ? CREDIT_MIN
	                : connections > CREDIT_MAX ? CREDIT_MAX
	                                           : (unsigned)connections;
}

static struct event *timer_new(struct send *s, event_callback_fn fn, short flags)
{
	struct event *ev = event_new(s->base, -1, flags, fn, s);

	if (ev == NULL)
		fatalx("cannot make a timer");
	return ev;
}

static int send_init(struct role_ctx *ctx, struct error *err)
{
	struct send *s = xcalloc(1, sizeof(*s));

	ctx->state = s;
	s->ctx = ctx;
	s->base = ctx->base;
	LIST_INIT(&s->items);
	TAILQ_INIT(&s->destinations);
	s->store = store_client_new(s->base);
	s->dns = dns_client_new(s->base);
	s->keys = keys_client_new(s->base);
	store_on_queue_item(s->store, on_item, s);
	s->kick = timer_new(s, on_kick, 0);
	s->again = timer_new(s, on_again, 0);
	s->sweep = timer_new(s, on_sweep, EV_PERSIST);
	if (send_tls_init(s, err) == -1)
		return -1;
	s->verify = verify_new(s);
	s->port_count = ports_of(ctx->site, s->ports);
	set_limits(s);
	return load_secrets(s, err);
}

static void send_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	static unsigned short ports[SEND_PORTS_MAX + 1];
	const struct send *s = ctx->state;

	for (size_t i = 0; i < s->port_count; i++)
		ports[i] = s->ports[i];
	ports[s->port_count] = 0;
	sb->may |= SANDBOX_CONNECT_INET | SANDBOX_MEMFD;
	sb->connect_ports = ports;
}

static void send_start(struct role_ctx *ctx)
{
	struct send *s = ctx->state;
	struct timeval tv = { SWEEP_S, 0 };

	event_add(s->sweep, &tv);
	give_credit(s);
}

/* The ports that the sandbox lets through cannot be added to: with others the process starts anew. */
static bool ports_changed(const struct send *s)
{
	uint16_t now[SEND_PORTS_MAX];

	return ports_of(s->ctx->site, now) != s->port_count || memcmp(now, s->ports, s->port_count * sizeof(now[0])) != 0;
}

static void send_drain(struct role_ctx *ctx);

static void send_reload(struct role_ctx *ctx)
{
	struct send *s = ctx->state;
	struct error err;

	if (load_secrets(s, &err) == -1)
		log_warnx("event=reload error=\"%s\" hint=\"the old password stays in use\"", err.text);
	set_limits(s);
	destination_retire(s); /* what they were opened for may have changed: passwords, our name */
	verify_retire(s->verify);
	destination_store_forgot(s);
	if (!send_tls_reload(s) || ports_changed(s)) {
		log_info("event=reload reason=\"ports or the trust store changed, starting anew\"");
		send_drain(ctx);
		return;
	}
	give_credit(s);
}

static void send_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	struct send *s = ctx->state;

	if (role == ROLE_STORE) {
		store_client_attach(s->store, fd);
		s->attached = true;
		s->credit = 0;
		destination_store_forgot(s);
		send_results_again(s); /* before the credit: store is not to hand these out again */
		give_credit(s);
	} else if (role == ROLE_RESOLVER) {
		dns_client_attach(s->dns, fd);
	} else if (role == ROLE_KEYS) {
		keys_client_attach(s->keys, fd);
	} else if (role == ROLE_FETCH) {
		fetch_client_attach(s->fetch, fd);
	} else if (role == ROLE_SMTP) {
		verify_peer(s->verify, instance, fd);
	} else {
		close(fd);
	}
}

static void on_drain_end(evutil_socket_t fd, short what, void *arg)
{
	struct send *s = arg;

	(void)fd, (void)what;
	log_info("event=drain reason=\"transactions that did not end in time are tried again\" connections=%u",
	    s->connections);
	send_tls_save(s);
	role_exit(s->ctx);
}

static void send_drain(struct role_ctx *ctx)
{
	struct send *s = ctx->state;
	struct timeval tv = { DRAIN_S, 0 };

	s->draining = true;
	destination_retire(s);
	verify_drain(s->verify);
	event_base_once(s->base, -1, EV_TIMEOUT, on_drain_end, s, &tv);
	send_work_ended(s);
}

static void send_status(struct role_ctx *ctx, struct buf *json)
{
	struct send *s = ctx->state;

	buf_printf(json,
	    "\"in_hand\": %u, \"connections\": %u, \"destinations\": %zu, \"delivered\": %llu, \"deferred\": %llu, "
	    "\"bounced\": %llu, ",
	    s->in_hand, s->connections, s->destination_count, (unsigned long long)s->delivered,
	    (unsigned long long)s->deferred, (unsigned long long)s->bounced);
	verify_status(s->verify, json);
	tls_count_status(s->tls_count, clock_wall(), json);
}

const struct role role_send = {
	.id = ROLE_SEND,
	.name = "send",
	.user = "mailadm-send",
	.init = send_init,
	.sandbox = send_sandbox,
	.start = send_start,
	.reload = send_reload,
	.peer = send_peer,
	.drain = send_drain,
	.status = send_status,
};
