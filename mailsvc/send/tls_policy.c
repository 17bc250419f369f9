/*
 * Finds the policy of a host: DANE first, and where that has no say, MTA-STS.  A host with usable TLSA records is not
 * asked for what MTA-STS says (RFC 8461 2); one whose TLSA records cannot be had is not used at all.
 */
#include "tls_policy.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "mx.h"
#include "sts.h"

struct tls_lookup {
	const struct tls_policies *all;
	struct tls_policy *policy; /* being made */
	bool by_mx, encrypt;
	struct dane_lookup *dane;
	struct sts_wait *sts;
	struct event *at_hand; /* for an answer that needs no question */
	void (*fn)(void *arg, struct tls_policy *);
	void *arg;
};

struct tls_policy *tls_policy_new(const char *domain, const char *host)
{
	struct tls_policy *p = xcalloc(1, sizeof(*p));

	snprintf(p->domain, sizeof(p->domain), "%s", domain);
	snprintf(p->host, sizeof(p->host), "%s", host);
	dane_init(&p->dane);
	return p;
}

void tls_policy_free(struct tls_policy *p)
{
	if (p == NULL)
		return;
	dane_free(&p->dane);
	free(p);
}

/* Looking it up ------------------------------------------------------------------------------------------------ */

static void lookup_end(struct tls_lookup *l)
{
	struct tls_policy *p = l->policy;

	if (l->encrypt && !tls_policy_insists(p))
		p->level = TLS_ENCRYPT;
	if (tls_policy_trusts(p) && !l->all->trust) {
		p->level = p->level == TLS_VERIFY ? TLS_REFUSE : TLS_OPPORTUNISTIC;
		p->result = TLS_RESULT_TRUST;
		snprintf(p->reason, sizeof(p->reason), "there is no trust store to check certificates with");
	}
	l->policy = NULL;
	l->fn(l->arg, p);
	event_free(l->at_hand);
	free(l);
}

static void on_sts(void *arg, const struct sts_verdict *v)
{
	struct tls_lookup *l = arg;
	struct tls_policy *p = l->policy;
	bool fits = v->policy != NULL && sts_policy_names(v->policy, p->host);

	l->sts = NULL;
	if (v->result != TLS_RESULT_OK) { /* there is a record: what is wrong with its policy is counted there */
		p->kind = TLS_KIND_STS;
		p->result = v->result;
		snprintf(p->reason, sizeof(p->reason), "%s", v->reason);
	}
	if (v->policy != NULL && v->policy->mode != STS_MODE_NONE) {
		p->kind = TLS_KIND_STS;
		p->result = fits ? TLS_RESULT_OK : TLS_RESULT_INVALID;
		p->level = v->policy->mode == STS_MODE_TESTING ? TLS_TESTING : fits ? TLS_VERIFY : TLS_REFUSE;
		if (!fits)
			snprintf(p->reason, sizeof(p->reason), "the MTA-STS policy of %.60s does not name %.60s",
			    p->domain, p->host);
	}
	lookup_end(l);
}

static void ask_sts(struct tls_lookup *l)
{
	if (l->by_mx && l->all->sts != NULL)
		l->sts = sts_lookup(l->all->sts, l->policy->domain, on_sts, l);
	else
		event_active(l->at_hand, EV_TIMEOUT, 0);
}

static void on_dane(void *arg, enum dane_status status, struct dane *dane)
{
	struct tls_lookup *l = arg;
	struct tls_policy *p = l->policy;

	l->dane = NULL;
	switch (status) {
	case DANE_USABLE:
		p->level = TLS_DANE;
		p->kind = TLS_KIND_DANE;
		p->dane = *dane;
		lookup_end(l);
		return;
	case DANE_FAILED:
		p->level = TLS_REFUSE;
		p->kind = TLS_KIND_DANE;
		p->result = TLS_RESULT_DNSSEC;
		snprintf(p->reason, sizeof(p->reason), "the TLSA lookup for %.80s failed for now", p->host);
		lookup_end(l);
		return;
	case DANE_UNUSABLE:
		l->encrypt = true;
		p->kind = TLS_KIND_DANE;
		p->result = TLS_RESULT_TLSA;
		snprintf(p->reason, sizeof(p->reason), "no TLSA record of %.80s is usable", p->host);
		break;
	case DANE_NONE:
		break;
	}
	ask_sts(l);
}

static void on_at_hand(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	lookup_end(arg);
}

struct tls_lookup *tls_policy_lookup(
    const struct tls_policies *all, const struct tls_question *q, void (*fn)(void *arg, struct tls_policy *), void *arg)
{
	struct tls_lookup *l = xcalloc(1, sizeof(*l));

	l->all = all;
	l->policy = tls_policy_new(q->domain, q->host);
	l->by_mx = q->by_mx;
	l->encrypt = q->demand == TLS_DEMAND_ENCRYPT;
	l->fn = fn;
	l->arg = arg;
	l->at_hand = evtimer_new(all->base, on_at_hand, l);
	if (l->at_hand == NULL)
		fatalx("cannot make a timer");
	if (q->demand == TLS_DEMAND_VERIFY) {
		l->policy->level = TLS_VERIFY;
		l->policy->kind = TLS_KIND_ROUTE;
		event_active(l->at_hand, EV_TIMEOUT, 0);
	} else if (all->dane && q->secure && mx_is_name(q->host)) {
		l->dane = dane_lookup(all->dns, q->host, q->port, q->family, on_dane, l);
	} else {
		ask_sts(l);
	}
	return l;
}

void tls_policy_cancel(struct tls_lookup *l)
{
	if (l == NULL)
		return;
	dane_cancel(l->dane);
	sts_cancel(l->sts);
	event_free(l->at_hand);
	tls_policy_free(l->policy);
	free(l);
}

/* In the handshake --------------------------------------------------------------------------------------------- */

int tls_policy_arm(const struct tls_policy *p, SSL *ssl)
{
	if (p->level == TLS_DANE)
		return dane_arm(&p->dane, ssl, p->domain, p->host);
	if (!tls_policy_trusts(p))
		return 0;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* Without a name nothing could be checked: an address is none. */
	if (mx_is_name(p->host) && SSL_set1_host(ssl, p->host) == 1)
		return 0;
	return p->level == TLS_TESTING ? 0 : -1;
}

static enum tls_result result_of(long verify)
{
	switch (verify) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_RESULT_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_RESULT_EXPIRED;
	case X509_V_ERR_DANE_NO_MATCH:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_REVOKED:
		return TLS_RESULT_INVALID;
	default:
		return TLS_RESULT_TRUST;
	}
}

enum tls_result tls_policy_check(const struct tls_policy *p, SSL *ssl, char *why)
{
	long verify = SSL_get_verify_result(ssl);
	bool checked = p->level == TLS_DANE || tls_policy_trusts(p), ok = !checked || verify == X509_V_OK;

	why[0] = '\0';
	if (p->result != TLS_RESULT_OK) { /* it was wrong before the handshake */
		snprintf(why, 160, "%s", p->reason);
		return p->result;
	}
	if (ok && checked && SSL_get0_peer_certificate(ssl) == NULL)
		ok = false;
	if (ok && p->level == TLS_DANE && SSL_get0_dane_authority(ssl, NULL, NULL) < 0)
		ok = false;
	if (ok)
		return TLS_RESULT_OK;
	snprintf(
	    why, 160, "%s", verify != X509_V_OK ? X509_verify_cert_error_string(verify) : "no certificate that fits");
	return verify != X509_V_OK ? result_of(verify) : TLS_RESULT_INVALID;
}
