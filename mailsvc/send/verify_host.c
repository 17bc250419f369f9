/*
 * One host (or several in order, as a hop has them) that knows recipients: what waits to be asked there, and at most
 * VERIFY_CONNECTIONS connections, made as a worker makes its own.  A connection goes through the addresses, best the
 * one that answered last, until a session stands; then it asks one question after the other with the null sender, which
 * every host has to take (RFC 5321 4.5.5), and waits a while for more.
 *
 * A host that cannot be reached is left alone for AWAY_S: what is asked meanwhile is not known now.  One that lets a
 * single connection stand gets no second one for ALONE_S.  Servers slow down and hang up on who asks for many that they
 * do not know, so after REFUSALS_MAX a connection is made anew.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "verify_internal.h"

#define CONNECT_S 8 /* until the session stands, with one address */
#define ANSWER_S 8  /* for one question */
#define AWAY_S 30
#define ALONE_S 60
#define REFUSALS_MAX 8
#define TROUBLE_MAX 3 /* questions one after the other that a connection was lost or late over */

struct verify_connection {
	LIST_ENTRY(verify_connection) entry;
	struct verify_host *host;
	struct route_ref *route;
	size_t at, tried;          /* of route: the address, and how many so far */
	struct tls_lookup *asking; /* for the policy of that address: no client yet */
	struct smtp_client *client;
	struct event *timer;
	bool plain;   /* TLS failed with this address: without */
	bool insists; /* that is no alternative */
	bool ready;   /* the session stands */
	bool stale;   /* of before a reload */
	struct verify_question *question;
	bool settled;     /* it has its result: */
	unsigned replies; /* to MAIL and RCPT until then */
	enum queue_outcome outcome;
	char reply[REPLY_TEXT_MAX + 1];
	unsigned asked, refused; /* on this connection */
	char relay[VERIFY_RELAY_MAX + 1];
};

struct verify_host {
	LIST_ENTRY(verify_host) entry;
	struct verify *verify;
	char *key; /* hop_key */
	struct hop hop;
	TAILQ_HEAD(, verify_question) waiting;
	unsigned waiting_count;
	LIST_HEAD(, verify_connection) connections;
	unsigned connection_count;
	bool looking_up;
	struct route_ref *route; /* NULL: look it up first */
	uint64_t route_until;    /* monotonic ms, as are all here */
	size_t first;            /* of route: the address that answered last */
	unsigned trouble;
	uint64_t away_until, alone_until;
	char reason[VERIFY_TEXT_MAX + 1]; /* why it is away */
};

static void host_run(struct verify_host *h);
static void try_address(struct verify_connection *c);

static struct verify_question *pop(struct verify_host *h)
{
	struct verify_question *q = TAILQ_FIRST(&h->waiting);

	if (q != NULL)
		verify_host_forget(q);
	return q;
}

void verify_host_forget(struct verify_question *q)
{
	TAILQ_REMOVE(&q->host->waiting, q, waiting);
	q->host->waiting_count--;
	q->host = NULL;
}

static void answer_waiting(struct verify_host *h, const char *why)
{
	struct verify_question *q;

	while ((q = pop(h)) != NULL)
		verify_question_end(q, VERIFY_UNKNOWN, "", "", why);
}

static void host_away(struct verify_host *h, const char *why)
{
	struct buf reason = BUF_INIT(4096);

	snprintf(h->reason, sizeof(h->reason), "%s", why);
	text_escape(&reason, view_of(h->reason), VERIFY_TEXT_MAX);
	log_info("event=verify-away host=%s reason=%s", h->hop.domain, buf_str(&reason));
	buf_free(&reason);
	h->away_until = clock_mono_ms() + AWAY_S * 1000;
	h->trouble = 0;
	answer_waiting(h, h->reason);
}

/* A question got no answer: once may be its own fault. */
static void host_troubled(struct verify_host *h, const char *why)
{
	if (++h->trouble >= TROUBLE_MAX)
		host_away(h, why);
}

/* A connection ---------------------------------------------------------------------------------------------------- */

static const struct mx_address *address_of(const struct verify_connection *c)
{
	return &c->route->route.at[c->at];
}

static void set_timer(struct verify_connection *c, time_t seconds)
{
	struct timeval tv = { seconds, 0 };

	event_add(c->timer, &tv);
}

static void connection_free(struct verify_connection *c)
{
	tls_policy_cancel(c->asking);
	if (c->client != NULL && c->ready && c->question == NULL)
		smtp_client_quit(c->client);
	else
		smtp_client_free(c->client);
	LIST_REMOVE(c, entry);
	c->host->connection_count--;
	c->host->verify->connections--;
	route_unref(c->route);
	event_free(c->timer);
	free(c);
}

static void begin(struct verify_connection *c, struct verify_question *q)
{
	c->question = q;
	c->settled = false;
	c->replies = 0;
	set_timer(c, ANSWER_S);
	smtp_client_send(
	    c->client, &(struct smtp_tx){
			   .sender = "", .recipients = (const char *const *)&q->recipient, .count = 1, .probe = true });
}

/* The next question, or a while of waiting for one. */
static void go_on(struct verify_connection *c)
{
	struct verify_host *h = c->host;
	bool worn = c->stale || c->asked >= REUSE_MESSAGES || c->refused >= REFUSALS_MAX;
	struct verify_question *q = worn ? NULL : pop(h);

	if (q != NULL) {
		begin(c, q);
	} else if (worn) {
		connection_free(c);
		host_run(h);
	} else {
		set_timer(c, REUSE_IDLE_S);
	}
}

static void on_ready(void *arg)
{
	struct verify_connection *c = arg;

	c->ready = true;
	c->host->first = c->at;
	c->host->away_until = 0;
	go_on(c);
}

static void on_heard(void *arg, const char *step, const struct reply *r)
{
	struct verify_connection *c = arg;

	(void)step;
	if (r != NULL && c->question != NULL && !c->settled)
		c->replies++;
}

static void on_result(void *arg, size_t recipient, enum queue_outcome outcome, const char *reply)
{
	struct verify_connection *c = arg;

	(void)recipient;
	c->settled = true;
	c->outcome = outcome;
	snprintf(c->reply, sizeof(c->reply), "%s", reply);
}

/* "550 5.1.1 No such user": the words, and the status in front of them; 550 alone is about the mailbox. */
static const char *take_apart(const char *reply, char enhanced[16])
{
	size_t n;

	reply_enhanced(reply, '5', enhanced);
	n = strlen(enhanced);
	if (isdigit((unsigned char)reply[0]) && isdigit((unsigned char)reply[1]) && isdigit((unsigned char)reply[2])) {
		if (strcmp(enhanced, "5.0.0") == 0 && strncmp(reply, "550", 3) == 0)
			memcpy(enhanced, "5.1.1", sizeof("5.1.1"));
		reply += reply[3] == ' ' ? 4 : 3;
	}
	return strncmp(reply, enhanced, n) == 0 && reply[n] == ' ' ? reply + n + 1 : reply;
}

/* The question has its result.  A refusal of MAIL says nothing about the recipient. */
static void settle(struct verify_connection *c)
{
	struct verify_question *q = c->question;
	bool of_mail = c->outcome != QUEUE_DELIVERED && c->replies == 1;
	char enhanced[16];

	c->question = NULL;
	if (of_mail && c->outcome == QUEUE_FAILED) /* one for now may be about anything */
		role_alert(c->host->verify->send->ctx, "verify",
		    "%s cannot be asked for recipients, since it does not take the sender <>: %.300s. Mail for those "
		    "that "
		    "it has not told of is put off. Let it take that sender, or set verify = false in the domain.",
		    c->relay, c->reply);
	if (c->outcome == QUEUE_DELIVERED) {
		verify_question_end(q, VERIFY_TAKEN, "", c->relay, "taken");
	} else if (c->outcome == QUEUE_FAILED && !of_mail) {
		const char *words = take_apart(c->reply, enhanced);
		c->refused++;
		verify_question_end(q, VERIFY_REFUSED, enhanced, c->relay, words);
	} else {
		verify_question_end(q, VERIFY_UNKNOWN, "", c->relay, c->reply);
	}
}

static void on_done(void *arg)
{
	struct verify_connection *c = arg;

	c->asked++;
	c->host->trouble = 0;
	settle(c);
	go_on(c);
}

/* No session with this address: plain, the next one, or none. */
static void connect_failed(struct verify_connection *c, enum smtp_failure why, const char *text)
{
	struct verify_host *h = c->host;

	if (why == SMTP_FAILURE_AUTH)
		role_alert(h->verify->send->ctx, "relay-auth", "%s does not accept our login: %.300s", c->relay, text);
	if (why == SMTP_FAILURE_TLS && !c->plain && !c->insists) {
		c->plain = true;
		try_address(c);
		return;
	}
	if (++c->tried < c->route->route.count && !c->stale) {
		c->at = (c->at + 1) % c->route->route.count;
		c->plain = c->insists = false;
		try_address(c);
		return;
	}
	bool all_tried = c->tried >= c->route->route.count; /* else it was given up because of a reload */
	connection_free(c);
	if (all_tried && h->connection_count == 0) {
		host_away(h, text);
		return;
	}
	if (all_tried)
		h->alone_until = clock_mono_ms() + ALONE_S * 1000;
	host_run(h);
}

static void on_failed(void *arg, enum smtp_failure why, const char *reply)
{
	struct verify_connection *c = arg;
	struct verify_host *h = c->host;
	struct verify_question *q = c->question;
	char text[REPLY_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%s", reply);
	smtp_client_free(c->client);
	c->client = NULL;
	if (!c->ready) {
		connect_failed(c, why, text);
		return;
	}
	if (q != NULL && c->settled) {
		settle(c);
	} else if (q != NULL && c->asked > 0 && !q->again) { /* it may have been closed before we asked */
		q->again = true;
		q->host = h;
		TAILQ_INSERT_HEAD(&h->waiting, q, waiting);
		h->waiting_count++;
	} else if (q != NULL) {
		verify_question_end(q, VERIFY_UNKNOWN, "", c->relay, text);
		host_troubled(h, text);
	}
	connection_free(c);
	host_run(h);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct verify_connection *c = arg;
	struct verify_host *h = c->host;

	(void)fd, (void)what;
	if (c->ready && c->question == NULL) { /* nobody asked for a while */
		connection_free(c);
		return;
	}
	smtp_client_free(c->client);
	c->client = NULL;
	if (!c->ready) {
		tls_policy_cancel(c->asking);
		c->asking = NULL;
		connect_failed(c, SMTP_FAILURE_CONNECT, "4.4.1 no session in time");
		return;
	}
	if (c->settled) /* only RSET has no answer */
		settle(c);
	else
		verify_question_end(c->question, VERIFY_UNKNOWN, "", c->relay, "4.4.2 no answer in time");
	connection_free(c);
	host_troubled(h, "4.4.2 no answer in time");
	host_run(h);
}

/* policy is taken over; NULL: plain. */
static void connect_with(struct verify_connection *c, struct tls_policy *policy)
{
	static const struct smtp_client_ops ops = {
		.ready = on_ready, .result = on_result, .done = on_done, .heard = on_heard, .failed = on_failed
	};
	struct send *s = c->host->verify->send;
	struct smtp_client_setup setup = send_setup(s, &c->host->hop, address_of(c), policy);

	c->client = smtp_client_new(s->base, &setup, &ops, c);
}

static void on_policy(void *arg, struct tls_policy *p)
{
	struct verify_connection *c = arg;
	char text[sizeof(p->reason) + 8];

	c->asking = NULL;
	c->insists = tls_policy_insists(p) || hop_implicit_tls(&c->host->hop, address_of(c));
	if (p->level != TLS_REFUSE) {
		connect_with(c, p);
		return;
	}
	snprintf(text, sizeof(text), "4.7.5 %s", p->reason);
	tls_policy_free(p);
	connect_failed(c, SMTP_FAILURE_CONNECT, text);
}

static void try_address(struct verify_connection *c)
{
	struct verify_host *h = c->host;
	const struct mx_address *to = address_of(c);

	snprintf(c->relay, sizeof(c->relay), "%s[%s]:%u", to->host, to->text, mx_address_port(to));
	set_timer(c, CONNECT_S);
	if (c->plain || h->hop.tls == HOP_TLS_NONE)
		connect_with(c, NULL);
	else
		c->asking = send_tls_lookup(h->verify->send, &h->hop, to, c->route->route.secure, on_policy, c);
}

static void connection_new(struct verify_host *h)
{
	struct verify_connection *c = xcalloc(1, sizeof(*c));

	c->host = h;
	c->route = h->route;
	c->route->references++;
	c->at = h->first < c->route->route.count ? h->first : 0;
	c->timer = evtimer_new(h->verify->send->base, on_timer, c);
	if (c->timer == NULL)
		fatalx("cannot make a timer");
	LIST_INSERT_HEAD(&h->connections, c, entry);
	h->connection_count++;
	h->verify->connections++;
	try_address(c);
}

/* The host -------------------------------------------------------------------------------------------------------- */

static void on_route(void *arg, const struct mx_route *route)
{
	struct verify_host *h = arg;

	h->looking_up = false;
	if (route->status != MX_OK || route->count == 0) {
		host_away(h, route->reason);
		return;
	}
	route_unref(h->route);
	h->route = xcalloc(1, sizeof(*h->route));
	h->route->references = 1;
	h->route->route = *route;
	h->route_until = clock_mono_ms() + (uint64_t)(route->ttl > 1 ? route->ttl : 1) * 1000;
	host_run(h);
}

/* A connection that stands and waits, and how many there are that do not stand yet. */
static struct verify_connection *find_idle(struct verify_host *h, unsigned *connecting)
{
	struct verify_connection *c, *idle = NULL;

	*connecting = 0;
	LIST_FOREACH(c, &h->connections, entry)
	{
		*connecting += !c->ready;
		if (c->ready && c->question == NULL && c->client != NULL && !c->stale)
			idle = c;
	}
	return idle;
}

static void host_run(struct verify_host *h)
{
	struct send *s = h->verify->send;

	while (h->waiting_count > 0) {
		uint64_t now = clock_mono_ms();
		unsigned connecting, most = now < h->alone_until ? 1 : VERIFY_CONNECTIONS;
		struct verify_connection *idle = find_idle(h, &connecting);

		if (idle != NULL) {
			go_on(idle);
			continue;
		}
		if (h->waiting_count <= connecting || h->connection_count >= most || h->looking_up)
			return;
		if (h->route == NULL || now >= h->route_until) {
			h->looking_up = true;
			hop_lookup(s->dns, s->ctx->site, &h->hop, on_route, h);
			return;
		}
		connection_new(h);
	}
}

struct verify_host *verify_host_of(struct verify *v, const char *sender, const char *recipient)
{
	struct recipient to = { .address = (char *)(uintptr_t)recipient };
	const struct item it = { .sender = (char *)(uintptr_t)sender,
		.domain = (char *)(uintptr_t)(strrchr(recipient, '@') + 1),
		.route = (char *)(uintptr_t) "",
		.recipients = &to,
		.count = 1 };
	char key[ROUTE_KEY_MAX];
	struct verify_host *h;

	hop_key(v->send->ctx->site, &it, 0, key);
	LIST_FOREACH(h, &v->hosts, entry)
	{
		if (strcmp(h->key, key) == 0)
			return h;
	}
	h = xcalloc(1, sizeof(*h));
	h->verify = v;
	h->key = xstrdup(key);
	hop_init(&h->hop, v->send->ctx->site, &it, 0);
	TAILQ_INIT(&h->waiting);
	LIST_INIT(&h->connections);
	LIST_INSERT_HEAD(&v->hosts, h, entry);
	return h;
}

void verify_host_ask(struct verify_host *h, struct verify_question *q)
{
	bool away = clock_mono_ms() < h->away_until;

	if (away || h->waiting_count >= VERIFY_HOST_QUESTIONS_MAX) {
		verify_question_end(
		    q, VERIFY_UNKNOWN, "", "", away ? h->reason : "4.3.2 too many questions for this host at once");
		return;
	}
	q->host = h;
	TAILQ_INSERT_TAIL(&h->waiting, q, waiting);
	h->waiting_count++;
	host_run(h);
}

void verify_host_retire(struct verify_host *h)
{
	struct verify_connection *c, *next;

	for (c = LIST_FIRST(&h->connections); c != NULL; c = next) {
		next = LIST_NEXT(c, entry);
		c->stale = true;
		if (c->ready && c->question == NULL)
			connection_free(c);
	}
}

void verify_host_drain(struct verify_host *h)
{
	static const char ending[] = "the send process is ending";
	struct verify_connection *c;

	answer_waiting(h, ending);
	while ((c = LIST_FIRST(&h->connections)) != NULL) {
		if (c->question != NULL)
			verify_question_end(c->question, VERIFY_UNKNOWN, "", "", ending);
		connection_free(c);
	}
}

bool verify_host_idle(const struct verify_host *h)
{
	uint64_t now = clock_mono_ms();

	return h->waiting_count == 0 && h->connection_count == 0 && !h->looking_up && now >= h->away_until &&
	       now >= h->alone_until;
}

void verify_host_free(struct verify_host *h)
{
	LIST_REMOVE(h, entry);
	route_unref(h->route);
	hop_free(&h->hop);
	free(h->key);
	free(h);
}

struct verify_host *verify_host_next(struct verify_host *h)
{
	return LIST_NEXT(h, entry);
}
