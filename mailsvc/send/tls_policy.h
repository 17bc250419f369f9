/*
 * How a connection to one host must be secured, and what that host must show.  In this order: what the route demands;
 * DANE (RFC 7672) where DNSSEC proves TLSA records; MTA-STS (RFC 8461); else opportunistic TLS (RFC 7435).
 */
#ifndef MAILSVC_SEND_TLS_POLICY_H
#define MAILSVC_SEND_TLS_POLICY_H

#include "dane.h"
#include "tls_count.h"

enum tls_level {
	TLS_OPPORTUNISTIC, /* TLS where it is offered, with any certificate; plain where that fails */
	TLS_TESTING,       /* the same, but what MTA-STS would have said is counted */
	TLS_ENCRYPT,       /* TLS with any certificate: there are TLSA records, and none is usable */
	TLS_DANE,          /* TLS with a certificate that fits the TLSA records */
	TLS_VERIFY,        /* TLS with a certificate that is valid for the host's name: MTA-STS, or the route */
	TLS_REFUSE,        /* this host may not be used now */
};

struct tls_policy {
	enum tls_level level;
	enum tls_kind kind;
	char domain[DANE_NAME_MAX + 1]; /* the next hop, for which it is counted */
	char host[DANE_NAME_MAX + 1];
	struct dane dane;       /* TLS_DANE */
	enum tls_result result; /* TLS_REFUSE, and what was wrong with an MTA-STS policy that is not applied */
	char reason[160];       /* likewise, in words */
};

/* A certificate is checked against the trust store. */
static inline bool tls_policy_trusts(const struct tls_policy *p)
{
	return p->level == TLS_VERIFY || p->level == TLS_TESTING;
}
/* A certificate that does not fit ends the connection. */
static inline bool tls_policy_authenticates(const struct tls_policy *p)
{
	return p->level == TLS_VERIFY || p->level == TLS_DANE;
}
/* Plain is no alternative. */
static inline bool tls_policy_insists(const struct tls_policy *p)
{
	return p->level != TLS_OPPORTUNISTIC && p->level != TLS_TESTING;
}

/* What is needed to find a policy; everything is the owner's and must outlive the lookups. */
struct sts;
struct tls_policies {
	struct event_base *base;
	struct dns_client *dns;
	struct sts *sts; /* NULL: MTA-STS is not looked for */
	bool dane;
	bool trust; /* there is a trust store: without one, what must be checked against it is refused */
};

enum tls_demand {
	TLS_DEMAND_NONE,    /* as the other side's DNS and MTA-STS say */
	TLS_DEMAND_ENCRYPT, /* TLS_ENCRYPT, or more when DANE says so */
	TLS_DEMAND_VERIFY,  /* TLS_VERIFY */
};
struct tls_question {
	const char *domain; /* the next hop: the recipient's domain, or a smarthost */
	const char *host;   /* that is about to be connected to */
	uint16_t port;
	int family;  /* of its address */
	bool secure; /* the host's name is known for sure: a validated MX answer, or the site file */
	bool by_mx;  /* domain is a mail domain: it may have an MTA-STS policy */
	enum tls_demand demand;
};

struct tls_lookup;
/* fn is called once, from the event loop; the callee frees the policy. */
struct tls_lookup *tls_policy_lookup(
    const struct tls_policies *, const struct tls_question *, void (*fn)(void *arg, struct tls_policy *), void *arg);
void tls_policy_cancel(struct tls_lookup *); /* fn will not come; NULL is fine */

/* One that is at hand: TLS_OPPORTUNISTIC for nobody in particular. */
struct tls_policy *tls_policy_new(const char *domain, const char *host);
void tls_policy_free(struct tls_policy *);

/* Prepares a handshake (after conn_start_tls, before its first byte). -1: what the policy names cannot be checked. */
int tls_policy_arm(const struct tls_policy *, SSL *);
/* After the handshake: does the host show what it must?  why holds 160 bytes, filled unless TLS_RESULT_OK. */
enum tls_result tls_policy_check(const struct tls_policy *, SSL *, char *why);

#endif
