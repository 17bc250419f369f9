/*
 * DANE: from a host's name to the TLSA records that its certificate must fit.  Finding them is a walk of at most four
 * queries; each step knows whether what it heard was validated, and only "validated, and there is none" or "this part
 * of the DNS is not signed" ends without records.
 */
#include "dane.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "lib/log.h"

enum { USAGE_TA = 2, USAGE_EE = 3 };
enum { SELECTOR_CERTIFICATE, SELECTOR_KEY };
enum { MATCHING_FULL, MATCHING_SHA256, MATCHING_SHA512 };

void dane_init(struct dane *d)
{
	memset(d, 0, sizeof(*d));
	d->data = BUF_INIT(DANE_DATA_MAX);
}

void dane_free(struct dane *d)
{
	buf_free(&d->data);
	d->count = 0;
}

/* Records ------------------------------------------------------------------------------------------------------ */

/* A whole certificate or key, as the selector says, and nothing behind it. */
static bool whole(uint8_t selector, struct view data)
{
	const unsigned char *p = (const unsigned char *)data.ptr;
	bool ok = false;

	if (selector == SELECTOR_CERTIFICATE) {
		X509 *x = d2i_X509(NULL, &p, (long)data.len);
		ok = x != NULL;
		X509_free(x);
	} else {
		EVP_PKEY *k = d2i_PUBKEY(NULL, &p, (long)data.len);
		ok = k != NULL;
		EVP_PKEY_free(k);
	}
	ERR_clear_error();
	return ok && p == (const unsigned char *)data.ptr + data.len;
}

static bool usable(uint8_t usage, uint8_t selector, uint8_t matching, struct view data)
{
	if ((usage != USAGE_TA && usage != USAGE_EE) || selector > SELECTOR_KEY || data.len == 0)
		return false;
	switch (matching) {
	case MATCHING_FULL:
		return whole(selector, data);
	case MATCHING_SHA256:
		return data.len == 32;
	case MATCHING_SHA512:
		return data.len == 64;
	default:
		return false;
	}
}

bool dane_take(struct dane *d, const struct dns_answer *a, const char *base)
{
	size_t offsets[DANE_RECORDS_MAX];

	d->count = 0;
	buf_reset(&d->data);
	snprintf(d->base, sizeof(d->base), "%s", base);
	for (size_t i = 0; i < a->count && d->count < DANE_RECORDS_MAX; i++) {
		struct cursor c = cursor_of(a->records[i].data.ptr, a->records[i].data.len);
		struct tlsa t = { .usage = cursor_u8(&c), .selector = cursor_u8(&c), .matching = cursor_u8(&c) };

		t.data = (struct view){ c.p, c.left };
		if (c.bad || !usable(t.usage, t.selector, t.matching, t.data) || t.data.len > d->data.max - d->data.len)
			continue;
		offsets[d->count] = d->data.len;
		buf_addv(&d->data, t.data);
		d->at[d->count++] = t;
	}
	for (size_t i = 0; i < d->count; i++)
		d->at[i].data.ptr = d->data.data + offsets[i];
	return d->count > 0;
}

int dane_arm(const struct dane *d, SSL *ssl, const char *domain, const char *host)
{
	const char *names[] = { domain, host };
	size_t taken = 0;

	if (SSL_dane_enable(ssl, d->base) <= 0) {
		ERR_clear_error();
		return -1;
	}
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i][0] != '\0' && SSL_add1_host(ssl, names[i]) != 1)
			log_debug("event=dane name=%s reason=\"cannot be a reference name\"", names[i]);
	}
	for (size_t i = 0; i < d->count; i++) {
		const struct tlsa *t = &d->at[i];
		if (SSL_dane_tlsa_add(
			ssl, t->usage, t->selector, t->matching, (const unsigned char *)t->data.ptr, t->data.len) > 0)
			taken++;
	}
	ERR_clear_error();
	return taken > 0 ? 0 : -1;
}

/* Looking them up ---------------------------------------------------------------------------------------------- */

struct dane_lookup {
	struct dns_client *dns;
	char host[DANE_NAME_MAX + 1];
	uint16_t port;
	char bases[2][DANE_NAME_MAX + 1]; /* where to look, in this order */
	size_t base_count, at;
	uint32_t query; /* that runs */
	void (*fn)(void *arg, enum dane_status, struct dane *);
	void *arg;
};

static void lookup_end(struct dane_lookup *l, enum dane_status status, struct dane *dane)
{
	struct dane none;

	dane_init(&none);
	l->query = 0;
	l->fn(l->arg, status, dane != NULL ? dane : &none);
	free(l);
}

static void ask_tlsa(struct dane_lookup *l);

static void on_tlsa(void *arg, const struct dns_answer *a)
{
	struct dane_lookup *l = arg;
	struct dane dane;

	if (a->status == DNS_TEMPFAIL) {
		lookup_end(l, DANE_FAILED, NULL);
		return;
	}
	if (!a->secure || a->status != DNS_OK) {
		l->at++;
		ask_tlsa(l);
		return;
	}
	dane_init(&dane);
	bool any = dane_take(&dane, a, l->bases[l->at]);
	lookup_end(l, any ? DANE_USABLE : DANE_UNUSABLE, any ? &dane : NULL);
	if (!any)
		dane_free(&dane);
}

static void ask_tlsa(struct dane_lookup *l)
{
	char name[DANE_NAME_MAX + 20];

	for (; l->at < l->base_count; l->at++) {
		int len = snprintf(name, sizeof(name), "_%u._tcp.%s", l->port, l->bases[l->at]);
		if (len > 0 && len <= DANE_NAME_MAX - 2) /* else no such name can be */
			break;
	}
	if (l->at == l->base_count)
		lookup_end(l, DANE_NONE, NULL);
	else
		l->query = dns_query(l->dns, name, DNS_TLSA, on_tlsa, l);
}

static void add_base(struct dane_lookup *l, struct view name)
{
	if (name.len > 0 && view_copy(name, l->bases[l->base_count], sizeof(l->bases[0])) == 0)
		l->base_count++;
}

static void on_cname(void *arg, const struct dns_answer *a)
{
	struct dane_lookup *l = arg;

	if (a->status == DNS_TEMPFAIL) {
		lookup_end(l, DANE_FAILED, NULL);
	} else if (!a->secure) {
		lookup_end(l, DANE_NONE, NULL);
	} else {
		add_base(l, view_of(l->host));
		ask_tlsa(l);
	}
}

static void on_address(void *arg, const struct dns_answer *a)
{
	struct dane_lookup *l = arg;

	if (a->status == DNS_TEMPFAIL) {
		lookup_end(l, DANE_FAILED, NULL);
	} else if (a->secure) {
		add_base(l, a->canonical);
		add_base(l, view_of(l->host));
		ask_tlsa(l);
	} else if (a->canonical.len > 0) { /* is the alias itself secure, though what it leads to is not? */
		l->query = dns_query(l->dns, l->host, DNS_CNAME, on_cname, l);
	} else {
		lookup_end(l, DANE_NONE, NULL);
	}
}

struct dane_lookup *dane_lookup(struct dns_client *dns, const char *host, uint16_t port, int family,
    void (*fn)(void *arg, enum dane_status, struct dane *), void *arg)
{
	struct dane_lookup *l = xcalloc(1, sizeof(*l));

	l->dns = dns;
	snprintf(l->host, sizeof(l->host), "%s", host);
	l->port = port;
	l->fn = fn;
	l->arg = arg;
	l->query = dns_query(dns, host, family == AF_INET6 ? DNS_AAAA : DNS_A, on_address, l);
	return l;
}

void dane_cancel(struct dane_lookup *l)
{
	if (l == NULL)
		return;
	if (l->query != 0)
		dns_cancel(l->dns, l->query);
	free(l);
}
