/*
 * probe.h.  One probe is a route that is looked up, then its addresses one after the other: a TLS policy, a connection.
 * As a worker does, an address where TLS fails and nothing insists on it is tried again without.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "internal.h"
#include "lib/clock.h"

#define TEXT_MAX 2000

struct probe {
	struct send *send;
	const struct probe_ops *ops;
	void *arg;
	struct item item;
	struct recipient recipient;
	struct hop hop;
	struct mx_route route;
	size_t at;                 /* of route */
	struct tls_policy *policy; /* the client's */
	struct smtp_client *client;
	struct event *timer;
	uint64_t since;             /* monotonic ms: of the last step */
	unsigned envelope;          /* answers to MAIL and RCPT so far */
	enum queue_outcome outcome; /* of the recipient */
	bool plain;                 /* TLS failed with this address: without */
	bool insists;               /* that is no alternative */
	bool taken;
	bool connected;
	bool secured;   /* a handshake with this address is over */
	bool failed;    /* a step of this address was told to have failed */
	char host[400]; /* of the address being tried */
};

static void next_address(struct probe *p);
static void try_address(struct probe *p);

static void __attribute__((format(printf, 5, 6)))
tell(struct probe *p, const char *step, enum probe_result result, const char *meaning, const char *fmt, ...)
{
	char text[TEXT_MAX];
	uint64_t now = clock_mono_ms();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->ops->step(p->arg, &(struct probe_step){ .host = p->host,
				 .step = step,
				 .ms = (unsigned)(now - p->since),
				 .result = result,
				 .text = text,
				 .meaning = meaning });
	p->since = now;
	p->failed |= result == PROBE_FAILED;
}

static void finish(struct probe *p)
{
	const struct probe_ops *ops = p->ops;
	bool taken = p->taken;
	void *arg = p->arg;

	event_free(p->timer);
	hop_free(&p->hop);
	free(p->item.sender);
	free(p->item.domain);
	free(p->item.route);
	free(p->recipient.address);
	free(p);
	ops->done(arg, taken);
}

/* What failures mean -------------------------------------------------------------------------------------------- */

static const char no_tls[] = "no TLS as the policy demands: nothing would be sent to this host";

static const char *meaning_of_connect(const char *text)
{
	if (strstr(text, strerror(ECONNREFUSED)) != NULL)
		return "nothing listens there, or a firewall turns this host away";
	if (strstr(text, strerror(ENETUNREACH)) != NULL || strstr(text, strerror(EHOSTUNREACH)) != NULL)
		return "this host has no way to that network; is its address family set up?";
	if (strstr(text, "timed out") != NULL)
		return "no answer at all: a firewall drops it, or this host's provider does not let port 25 out";
	return "the connection ended: the other side may not like this host's address (block lists, reverse DNS)";
}

static const char *meaning_of_reply(const char *step, int code, const char *text)
{
	if (strcmp(step, "greeting") == 0)
		return "the host turns this address away before a word is said: look at block lists and reverse DNS";
	if (strcmp(step, "EHLO") == 0 || strcmp(step, "HELO") == 0)
		return "it does not like this host's name: host.name must lead to this address, and back";
	if (code / 100 == 4 && strstr(text, " 4.7.") != NULL)
		return "a rule there says not now: greylisting, a rate, or relaying is not allowed; the daemon would "
		       "try again";
	if (code / 100 == 4)
		return "not now: greylisting or trouble there; the daemon would try again";
	if (strstr(text, " 5.1.") != NULL)
		return "there is no such mailbox there; or for MAIL, no such sender's domain";
	if (strstr(text, " 5.2.") != NULL)
		return "the mailbox takes no mail";
	if (strstr(text, " 5.7.") != NULL)
		return "a rule there refuses it: SPF of the sender, a block list, or relaying is not allowed";
	return "refused for good: the daemon would send the sender a notification";
}

static const char *meaning_of(enum smtp_failure why, const char *text)
{
	switch (why) {
	case SMTP_FAILURE_CONNECT:
		return meaning_of_connect(text);
	case SMTP_FAILURE_TLS:
		return no_tls;
	case SMTP_FAILURE_AUTH:
		return "the login of the route is not accepted; see its user and the secrets file";
	case SMTP_FAILURE_CHUNKING: /* not before a message, */
	case SMTP_FAILURE_SLOW:     /* nor that: PROBE_HOST_S is shorter */
	case SMTP_FAILURE_REPLY:
		return "what answers is no usable mail server for this host";
	}
	return "";
}

/* The connection ------------------------------------------------------------------------------------------------ */

static const struct mx_address *address_of(const struct probe *p)
{
	return &p->route.at[p->at];
}

static void on_ready(void *arg)
{
	struct probe *p = arg;

	p->envelope = 0;
	p->outcome = QUEUE_RETRY;
	smtp_client_send(p->client, &(struct smtp_tx){ .sender = p->item.sender,
					.recipients = (const char *const *)&p->recipient.address,
					.count = 1,
					.probe = true });
}

static void on_result(void *arg, size_t recipient, enum queue_outcome outcome, const char *reply)
{
	struct probe *p = arg;

	(void)recipient;
	p->outcome = outcome;
	if (reply[0] == '5' && reply[1] == '.') /* in our own words */
		tell(p, "RCPT", PROBE_FAILED, "this host cannot take such an address or message", "%s", reply);
	p->taken |= outcome == QUEUE_DELIVERED;
}

static void on_done(void *arg)
{
	struct probe *p = arg;

	smtp_client_quit(p->client);
	p->client = NULL;
	next_address(p);
}

/* EHLO's keywords in one line. */
static void one_line(const struct reply *r, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < r->text.len && n + 3 < size; i++) {
		unsigned char c = (unsigned char)r->text.data[i];

		if (c == '\n' && i + 1 == r->text.len)
			break;
		if (c == '\n')
			out[n++] = ',';
		out[n++] = c == '\n' ? ' ' : c < ' ' || c > 126 ? '?' : (char)c;
	}
	out[n] = '\0';
}

static void tell_connected(struct probe *p)
{
	struct sockaddr_storage own = { 0 };
	socklen_t len = sizeof(own);
	char text[INET6_ADDRSTRLEN] = "?";
	int fd = smtp_client_fd(p->client);

	if (fd != -1 && getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		inet_ntop(own.ss_family,
		    own.ss_family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)&own)->sin6_addr
					      : (const void *)&((struct sockaddr_in *)&own)->sin_addr,
		    text, sizeof(text));
	p->connected = true;
	tell(p, "connect", PROBE_OK, "", "from %s", text);
}

/* "mx.example, *.example": the names of a certificate, as far as they fit. */
static void put_names(X509 *cert, char *out, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	size_t n = 0;

	out[0] = '\0';
	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const unsigned char *s;
		int len;

		if (name->type != GEN_DNS)
			continue;
		s = ASN1_STRING_get0_data(name->d.dNSName);
		len = ASN1_STRING_length(name->d.dNSName);
		if (n + (size_t)len + 6 >= size) {
			snprintf(out + n, size - n, " ...");
			break;
		}
		if (n > 0)
			n += (size_t)snprintf(out + n, size - n, ", ");
		for (int j = 0; j < len; j++)
			out[n++] = s[j] < ' ' || s[j] > 126 ? '?' : (char)s[j];
		out[n] = '\0';
	}
	GENERAL_NAMES_free(names);
}

static void tell_secured(struct probe *p)
{
	SSL *ssl = smtp_client_ssl(p->client);
	X509 *cert = ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
	char names[500] = "none", issuer[200] = "?", until[32] = "?";
	struct tm tm;

	if (cert != NULL) {
		put_names(cert, names, sizeof(names));
		if (X509_NAME_get_text_by_NID(X509_get_issuer_name(cert), NID_commonName, issuer, sizeof(issuer)) < 0)
			snprintf(issuer, sizeof(issuer), "?");
		for (char *c = issuer; *c != '\0'; c++)
			*c = (unsigned char)*c < ' ' || (unsigned char)*c > 126 ? '?' : *c;
		if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
			strftime(until, sizeof(until), "%Y-%m-%d", &tm);
	}
	p->secured = true;
	tell(p, "TLS", PROBE_OK, "", "%s %s, certificate for %s by %s until %s",
	    ssl != NULL ? SSL_get_version(ssl) : "?", ssl != NULL ? SSL_get_cipher_name(ssl) : "?", names, issuer,
	    until);
}

static void on_heard(void *arg, const char *step, const struct reply *r)
{
	struct probe *p = arg;
	char text[REPLY_TEXT_MAX + 1];
	bool good;

	if (r == NULL) {
		if (strcmp(step, "connecting") == 0)
			tell_connected(p);
		else
			tell_secured(p);
		return;
	}
	if (strcmp(step, "MAIL and RCPT") == 0)
		step = p->envelope++ == 0 ? "MAIL" : "RCPT";
	good = r->code / 100 == 2 || r->code / 100 == 3;
	reply_text(r, text);
	if (strcmp(step, "EHLO") == 0 && good) {
		one_line(r, text, sizeof(text));
		tell(p, step, PROBE_OK, "", "%d %s", r->code, text);
	} else {
		tell(p, step, good ? PROBE_OK : PROBE_FAILED, good ? "" : meaning_of_reply(step, r->code, text), "%s",
		    text);
	}
}

static void on_tls(void *arg, enum tls_result result, const char *reason)
{
	struct probe *p = arg;
	const char *step = p->secured ? "certificate" : "TLS";
	bool checked = p->policy != NULL && (p->policy->level == TLS_DANE || tls_policy_trusts(p->policy));

	if (result == TLS_RESULT_OK)
		tell(p, step, PROBE_OK, "", "%s",
		    checked ? "it fits the policy" : "any will do: no policy asks for more");
	else
		tell(p, step, p->insists ? PROBE_FAILED : PROBE_NOTE,
		    p->insists ? no_tls : "the policy does not insist: mail would go all the same", "%s: %s",
		    tls_result_name(result), reason);
}

static void on_failed(void *arg, enum smtp_failure why, const char *reply)
{
	struct probe *p = arg;
	bool again = why == SMTP_FAILURE_TLS && !p->plain && !p->insists;
	char text[REPLY_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%s", reply);
	smtp_client_free(p->client);
	p->client = NULL;
	p->policy = NULL;
	if (!p->failed || why == SMTP_FAILURE_CONNECT)
		tell(p, !p->connected ? "connect" : "connection", again ? PROBE_NOTE : PROBE_FAILED,
		    again ? "the daemon then tries without TLS" : meaning_of(why, text), "%s", text);
	if (!again) {
		next_address(p);
		return;
	}
	p->plain = true;
	try_address(p);
}

static void connect_with(struct probe *p, struct tls_policy *policy)
{
	static const struct smtp_client_ops ops = { .ready = on_ready,
		.result = on_result,
		.done = on_done,
		.secured = on_tls,
		.heard = on_heard,
		.failed = on_failed };
	struct smtp_client_setup setup = send_setup(p->send, &p->hop, address_of(p), policy);
	struct timeval tv = { PROBE_HOST_S, 0 };

	p->connected = p->secured = p->failed = false;
	event_add(p->timer, &tv);
	p->policy = policy;
	p->client = smtp_client_new(p->send->base, &setup, &ops, p);
}

/* The TLS policy ------------------------------------------------------------------------------------------------ */

/* "3 1 1, 2 0 1": usage, selector, matching. */
static void put_tlsa(const struct tls_policy *policy, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; policy->level == TLS_DANE && i < policy->dane.count && n + 20 < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%u %u %u", i > 0 ? ", " : " ", policy->dane.at[i].usage,
		    policy->dane.at[i].selector, policy->dane.at[i].matching);
}

static void on_policy(void *arg, struct tls_policy *policy)
{
	static const char *const words[] = {
		[TLS_OPPORTUNISTIC] = "TLS where it is offered, any certificate",
		[TLS_TESTING] = "MTA-STS in testing mode: failures are only counted",
		[TLS_ENCRYPT] = "TLS or nothing, any certificate",
		[TLS_DANE] = "TLS with a certificate that fits the TLSA records",
		[TLS_VERIFY] = "TLS with a certificate that is valid for the host's name",
		[TLS_REFUSE] = "this host may not be used",
	};
	struct probe *p = arg;
	char records[200];

	put_tlsa(policy, records, sizeof(records));
	p->insists = tls_policy_insists(policy) || hop_implicit_tls(&p->hop, address_of(p));
	tell(p, "TLS policy",
	    policy->level == TLS_REFUSE ? PROBE_FAILED
	    : policy->reason[0] != '\0' ? PROBE_NOTE
					: PROBE_OK,
	    policy->level == TLS_REFUSE
		? "using it could be a downgrade: the daemon waits until DNS or the policy say otherwise"
		: "",
	    "%s: %s%s%s%s%s", policy->kind == TLS_KIND_NONE ? "none" : tls_kind_name(policy->kind),
	    words[tls_policy_insists(policy) || !p->insists ? policy->level : TLS_ENCRYPT], records, policy->reason[0] != '\0' ? " (" : "", policy->reason,
	    policy->reason[0] != '\0' ? ")" : "");
	if (policy->level == TLS_REFUSE) {
		tls_policy_free(policy);
		next_address(p);
	} else {
		connect_with(p, policy);
	}
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd, (void)what;
	if (p->client == NULL)
		return;
	smtp_client_free(p->client);
	p->client = NULL;
	p->policy = NULL;
	tell(p, "connection", PROBE_FAILED, "the host is too slow for this test; the daemon would wait longer",
	    "no end within %d s", PROBE_HOST_S);
	next_address(p);
}

static void ask_policy(struct probe *p)
{
	if (p->plain || p->hop.tls == HOP_TLS_NONE)
		connect_with(p, NULL);
	else
		send_tls_lookup(p->send, &p->hop, address_of(p), p->route.secure, on_policy, p);
}

static void on_address(void *arg, const struct dns_answer *a)
{
	struct probe *p = arg;

	tell(p, address_of(p)->to.ss_family == AF_INET6 ? "AAAA" : "A", PROBE_OK, "", "%s (DNSSEC: %s)",
	    address_of(p)->text, a->secure ? "proved" : "not proved");
	ask_policy(p);
}

static void try_address(struct probe *p)
{
	const struct mx_address *to = address_of(p);

	snprintf(p->host, sizeof(p->host), "%s[%s]:%u", to->host, to->text, mx_address_port(to));
	if (p->plain || !mx_is_name(to->host))
		ask_policy(p);
	else
		dns_query(p->send->dns, to->host, to->to.ss_family == AF_INET6 ? DNS_AAAA : DNS_A, on_address, p);
}

static void next_address(struct probe *p)
{
	event_del(p->timer);
	p->plain = p->insists = false;
	if (++p->at < p->route.count)
		try_address(p);
	else
		finish(p);
}

/* The route ----------------------------------------------------------------------------------------------------- */

static void on_route(void *arg, const struct mx_route *route)
{
	struct probe *p = arg;
	char text[TEXT_MAX] = "";
	size_t n = 0;

	p->route = *route;
	if (route->status != MX_OK || route->count == 0) {
		tell(p, "addresses", PROBE_FAILED,
		    route->status == MX_TEMPORARY ? "DNS does not say it now: the daemon would try again"
						  : "the daemon would send the sender a notification",
		    "%s", route->reason);
		finish(p);
		return;
	}
	for (size_t i = 0; i < route->count && n + 400 < sizeof(text); i++)
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "%s%s[%s]", i > 0 ? ", " : "", route->at[i].host, route->at[i].text);
	tell(p, "addresses", PROBE_OK, "", "%s", text);
	p->at = 0;
	try_address(p);
}

static void on_mx(void *arg, const struct dns_answer *a)
{
	static const char *const words[] = { [DNS_OK] = "",
		[DNS_NODATA] = "no MX: the domain itself is the host",
		[DNS_NXDOMAIN] = "there is no such domain",
		[DNS_TEMPFAIL] = "no answer" };
	struct probe *p = arg;
	char text[TEXT_MAX] = "";
	size_t n = 0;

	for (size_t i = 0; i < a->count && a->status == DNS_OK && n + 300 < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u %.*s", i > 0 ? ", " : "",
		    a->records[i].preference, a->records[i].data.len > 0 ? (int)a->records[i].data.len : 1,
		    a->records[i].data.len > 0 ? a->records[i].data.ptr : ".");
	tell(p, "MX", a->status == DNS_TEMPFAIL || a->status == DNS_NXDOMAIN ? PROBE_FAILED : PROBE_OK,
	    a->status == DNS_TEMPFAIL ? "the name servers do not answer, or DNSSEC finds the answer forged" : "",
	    "%s%s (DNSSEC: %s)", words[a->status], text, a->secure ? "proved" : "not proved");
	hop_lookup(p->send->dns, p->send->ctx->site, &p->hop, on_route, p);
}

static void tell_route(struct probe *p)
{
	const struct hop *h = &p->hop;
	char text[TEXT_MAX];
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < h->host_count && n + 300 < sizeof(text); i++)
		n += (size_t)snprintf(
		    text + n, sizeof(text) - n, "%s%s:%u", i > 0 ? ", " : "", h->hosts[i].name, h->hosts[i].port);
	if (h->host_count == 0)
		snprintf(text, sizeof(text), "MX of %s", h->domain);
	tell(p, "route", PROBE_OK, "", "%s%sby %s, %s, TLS %s%s%s", h->route, h->route[0] != '\0' ? ": " : "", text,
	    h->lmtp ? "lmtp" : "smtp", hop_tls_words(h->tls), h->user[0] != '\0' ? ", login as " : "", h->user);
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct probe *p = arg;

	(void)fd, (void)what;
	tell_route(p);
	if (p->hop.host_count == 0 && p->hop.domain[0] != '[')
		dns_query(p->send->dns, p->hop.domain, DNS_MX, on_mx, p);
	else
		hop_lookup(p->send->dns, p->send->ctx->site, &p->hop, on_route, p);
}

void probe_start(struct send *s, const char *sender, const char *recipient, const char *domain,
    const struct probe_ops *ops, void *arg)
{
	struct probe *p = xcalloc(1, sizeof(*p));
	struct timeval now = { 0, 0 };

	p->send = s;
	p->ops = ops;
	p->arg = arg;
	p->recipient.address = xstrdup(recipient);
	p->item = (struct item){ .sender = xstrdup(sender),
		.domain = xstrdup(domain),
		.route = xstrdup(""),
		.recipients = &p->recipient,
		.count = 1 };
	p->timer = evtimer_new(s->base, on_late, p);
	if (p->timer == NULL)
		fatalx("cannot make a timer");
	hop_init(&p->hop, s->ctx->site, &p->item, 0);
	p->since = clock_mono_ms();
	event_base_once(s->base, -1, EV_TIMEOUT, on_begin, p, &now);
}
