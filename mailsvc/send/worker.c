/*
 * A worker carries items of one destination over one connection at a time.  For an item it goes through the route's
 * addresses until a host takes responsibility for it or refuses it for good; a temporary refusal of everybody leads to
 * the next host, unless somebody was delivered: then the result goes to store at once, to keep the moment short in
 * which a crash would deliver twice.
 *
 * Nobody holds a worker for long: client_limits ends a transaction, REUSE_MS a connection between two, ATTEMPT_MS the
 * way through the addresses.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "internal.h"
#include "lib/clock.h"
#include "lib/conn.h"

static void connect_now(struct worker *w);

static const struct mx_address *address_of(const struct worker *w)
{
	return &w->route->route.at[w->at];
}

static void set_idle_timer(struct worker *w, time_t seconds)
{
	struct timeval tv = { seconds, 0 };

	event_add(w->idle, &tv);
}

static void drop_client(struct worker *w)
{
	smtp_client_free(w->client);
	w->client = NULL;
	w->policy = NULL;
	w->ready = false;
	w->carried = 0;
}

void worker_free(struct worker *w)
{
	struct send *s = w->destination->send;

	tls_policy_cancel(w->asking);
	if (w->client != NULL && w->ready)
		smtp_client_quit(w->client);
	else
		smtp_client_free(w->client);
	LIST_REMOVE(w, entry);
	w->destination->worker_count--;
	s->connections--;
	route_unref(w->route);
	event_free(w->idle);
	free(w->addresses);
	free(w->map);
	free(w->dsn);
	free(w);
	send_work_ended(s);
}

/* A transaction with the recipients of the item that have no result yet. */
static void begin(struct worker *w)
{
	struct item *it = w->item;
	struct smtp_tx tx = {
		.sender = it->sender, .message = it->message, .smtputf8 = it->smtputf8, .eight_bit = it->eight_bit,
		.envid = it->envid, .ret = it->ret
	};

	w->ready = false;
	event_del(w->idle);
	w->addresses = xreallocarray(w->addresses, it->count + 1, sizeof(*w->addresses));
	w->map = xreallocarray(w->map, it->count + 1, sizeof(*w->map));
	w->dsn = xreallocarray(w->dsn, it->count + 1, sizeof(*w->dsn));
	for (size_t i = 0; i < it->count; i++) {
		if (!item_open(it, i))
			continue;
		w->map[tx.count] = i;
		w->dsn[tx.count] = (struct queue_dsn){ it->recipients[i].notify, it->recipients[i].orcpt };
		w->addresses[tx.count++] = it->recipients[i].address;
	}
	tx.recipients = w->addresses;
	tx.dsn = w->dsn;
	smtp_client_send(w->client, &tx);
}

/* On a connection that stands. */
static void carry(struct worker *w, struct item *it)
{
	w->item = it;
	w->item_since = clock_mono_ms();
	begin(w);
}

/* The item is done with: the next one, or a while of waiting for one. */
static void go_on(struct worker *w)
{
	struct destination *d = w->destination;
	struct item *it = w->item;

	w->item = NULL;
	w->retrying = w->reached = false;
	d->progress_at = clock_mono_ms();
	send_finish(d->send, it);
	if (w->stale || w->client == NULL || w->carried >= REUSE_MESSAGES || smtp_client_age(w->client) >= REUSE_MS ||
	    destination_crowded(d)) {
		worker_free(w);
		return;
	}
	struct item *next = destination_next(d);
	if (next != NULL)
		carry(w, next);
	else
		set_idle_timer(w, REUSE_IDLE_S);
}

/*
 * Next host when other_host is set (further addresses of the same one are passed over); false when there is none, or no
 * time for it.
 */
static bool next_address(struct worker *w, bool other_host)
{
	const char *host = address_of(w)->host;
	size_t i = w->at + 1;

	while (other_host && i < w->route->route.count && strcasecmp(w->route->route.at[i].host, host) == 0)
		i++;
	if (i >= w->route->route.count || clock_mono_ms() - w->item_since >= ATTEMPT_MS)
		return false;
	w->at = i;
	w->plain = w->insists = false;
	w->retrying = false;
	return true;
}

static void on_ready(void *arg)
{
	struct worker *w = arg;

	w->ready = w->reached = true;
	destination_reached(w->destination);
	begin(w);
}

static void on_result(void *arg, size_t recipient, enum queue_outcome outcome, const char *reply)
{
	struct worker *w = arg;
	bool ours = reply[0] != '\0' && reply[1] == '.'; /* an enhanced code comes first only in our own words */

	item_settle(w->item, w->map[recipient], outcome, reply, ours ? "" : address_of(w)->host, w->relay_text,
	    smtp_client_tls(w->client));
	w->item->recipients[w->map[recipient]].silent = !smtp_client_knows_dsn(w->client);
	w->item->recipients[w->map[recipient]].final = w->destination->hop.lmtp;
}

/* Everybody is to come again, and there is another host: it is asked next. */
static bool next_host(struct worker *w)
{
	struct item *it = w->item;

	if (!item_has_retries(it) || item_count(it, QUEUE_DELIVERED) > 0 || w->destination->send->draining ||
	    !next_address(w, true))
		return false;
	item_unsettle_retries(it);
	return true;
}

static void on_done(void *arg)
{
	struct worker *w = arg;
	struct item *it = w->item;

	w->ready = true;
	w->carried++;
	if (item_count(it, QUEUE_DELIVERED) > 0)
		destination_taken(w->destination);
	else if (item_has_retries(it))
		destination_troubled(w->destination);
	if (next_host(w)) {
		smtp_client_quit(w->client);
		w->client = NULL;
		w->policy = NULL;
		w->carried = 0;
		connect_now(w);
		return;
	}
	go_on(w);
}

static void alert_auth(struct worker *w, const char *reply)
{
	role_alert(w->destination->send->ctx, "relay-auth", "the smarthost %s does not accept our login: %.300s",
	    w->destination->hop.domain, reply);
}

/* Tries the next address, or the next host's; with the last one the item has its result. */
static void give_up_address(struct worker *w, const char *text, const char *relay, const char *tls, bool host)
{
	struct destination *d = w->destination;

	if (!d->send->draining && item_count(w->item, QUEUE_DELIVERED) == 0 && next_address(w, host)) {
		connect_now(w);
		return;
	}
	for (size_t i = 0; i < w->item->count; i++) {
		if (item_open(w->item, i))
			item_settle(
			    w->item, i, QUEUE_RETRY, text, text[1] == '.' ? "" : address_of(w)->host, relay, tls);
	}
	if (!w->reached && !d->send->draining)
		destination_unreached(d, text);
	go_on(w);
}

static void on_failed(void *arg, enum smtp_failure why, const char *reply)
{
	struct worker *w = arg;
	struct destination *d = w->destination;
	bool reused = w->carried > 0;
	char text[512], relay[sizeof(w->relay_text)], tls[16];

	snprintf(text, sizeof(text), "%s", reply);
	snprintf(relay, sizeof(relay), "%s", w->relay_text);
	snprintf(tls, sizeof(tls), "%s", smtp_client_tls(w->client));
	drop_client(w);
	if (w->item == NULL) { /* an idle connection was closed */
		worker_free(w);
		return;
	}
	log_debug(
	    "event=connection-failed id=%016llx relay=%s reply=\"%s\"", (unsigned long long)w->item->id, relay, text);
	if (why == SMTP_FAILURE_AUTH)
		alert_auth(w, text);
	if (item_settled(w->item)) {
		if (next_host(w))
			connect_now(w);
		else
			go_on(w);
		return;
	}
	bool again = false;
	w->reached |= why == SMTP_FAILURE_SLOW;
	if (why == SMTP_FAILURE_TLS && !w->plain && !w->insists)
		again = w->plain = true;
	else if (why == SMTP_FAILURE_CHUNKING)
		again = d->no_chunking = true;
	else if (reused && !w->retrying && why != SMTP_FAILURE_SLOW)
		again = w->retrying = true;
	if (d->send->draining)
		again = false;
	if (again) {
		connect_now(w);
	} else if (!w->reached && !reused && (why == SMTP_FAILURE_CONNECT || why == SMTP_FAILURE_REPLY) &&
	           destination_put_back(d, w)) {
		w->item = NULL;
		worker_free(w);
	} else {
		destination_troubled(d);
		give_up_address(w, text, relay, tls, false);
	}
}

static void on_tls(void *arg, enum tls_result result, const char *reason)
{
	struct worker *w = arg;

	if (w->policy != NULL)
		send_tls_count(w->destination->send, w->policy, result, address_of(w), smtp_client_tls(w->client), reason);
}

/* policy is taken over; NULL: plain. */
static void connect_with(struct worker *w, struct tls_policy *policy)
{
	static const struct smtp_client_ops ops = { .ready = on_ready,
		.result = on_result,
		.done = on_done,
		.secured = on_tls,
		.failed = on_failed };
	struct destination *d = w->destination;
	struct smtp_client_setup setup = send_setup(d->send, &d->hop, address_of(w), policy);

	setup.no_chunking = d->no_chunking;
	w->policy = policy;
	w->client = smtp_client_new(d->send->base, &setup, &ops, w);
}

static void on_policy(void *arg, struct tls_policy *p)
{
	struct worker *w = arg;

	w->asking = NULL;
	w->insists = tls_policy_insists(p) || hop_implicit_tls(&w->destination->hop, address_of(w));
	if (p->level != TLS_REFUSE) {
		connect_with(w, p);
		return;
	}
	send_tls_count(w->destination->send, p, p->result, address_of(w), "none", p->reason);
	char text[sizeof(p->reason) + 8], relay[sizeof(w->relay_text)];
	snprintf(text, sizeof(text), "4.7.5 %s", p->reason);
	snprintf(relay, sizeof(relay), "%s", w->relay_text);
	tls_policy_free(p);
	give_up_address(w, text, relay, "none", true); /* w may be gone then */
}

static void connect_now(struct worker *w)
{
	struct destination *d = w->destination;
	const struct mx_address *to = address_of(w);

	w->ready = false;
	snprintf(w->relay_text, sizeof(w->relay_text), "%s[%s]:%u", to->host, to->text, mx_address_port(to));
	if (w->plain || d->hop.tls == HOP_TLS_NONE)
		connect_with(w, NULL);
	else
		w->asking = send_tls_lookup(d->send, &d->hop, to, w->route->route.secure, on_policy, w);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	worker_free(arg);
}

void worker_start(struct destination *d, struct item *it)
{
	struct worker *w = xcalloc(1, sizeof(*w));

	w->destination = d;
	w->route = d->route;
	w->route->references++;
	w->item = it;
	w->item_since = clock_mono_ms();
	w->idle = evtimer_new(d->send->base, on_idle, w);
	if (w->idle == NULL)
		fatalx("cannot make a timer");
	LIST_INSERT_HEAD(&d->workers, w, entry);
	d->worker_count++;
	d->send->connections++;
	connect_now(w);
}

bool worker_take(struct destination *d, struct item *it)
{
	struct worker *w;

	LIST_FOREACH(w, &d->workers, entry)
	{
		if (w->item == NULL && w->ready) {
			carry(w, it);
			return true;
		}
	}
	return false;
}
