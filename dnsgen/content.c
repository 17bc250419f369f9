/*
 * What a domain publishes about mail: MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, service records (RFC 6186, RFC 8314) and
 * TLSA.  Nothing is published for a service that is off.  A policy among the domain's own records stands instead.
 */
#include "dnsgen/content.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/txttags.h"
#include "lib/pem.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "site/address.h"
#include "site/route.h"

#define ED25519_BYTES 32

static int put_key(EVP_PKEY *key, struct buf *out, struct error *e)
{
	unsigned char raw[ED25519_BYTES], *der = NULL;
	size_t size = sizeof(raw);
	int len;
	if (EVP_PKEY_is_a(key, "ED25519") == 1 && EVP_PKEY_get_raw_public_key(key, raw, &size) == 1) {
		buf_puts(out, "v=DKIM1; k=ed25519; p=");
		return text_base64_encode(out, (struct view){ (const char *)raw, size });
	}
	if (EVP_PKEY_is_a(key, "RSA") != 1)
		return error_set(e, "neither an RSA nor an Ed25519 key");
	if ((len = i2d_PUBKEY(key, &der)) <= 0)
		return error_set(e, "not a public key in PEM form");
	buf_puts(out, "v=DKIM1; k=rsa; p=");
	int result = text_base64_encode(out, (struct view){ (const char *)der, (size_t)len });
	OPENSSL_free(der);
	return result;
}

int dkim_txt(struct view pem, struct buf *out, struct error *e)
{
	EVP_PKEY *key = pem_public_key(pem);
	int result = key ? put_key(key, out, e) : error_set(e, "not a public key in PEM form");
	EVP_PKEY_free(key);
	return result;
}

static int add_txt(const struct gen *g, struct zone *z, const char *owner, struct view value, struct error *e)
{
	struct buf quoted = BUF_INIT(8192);
	txt_quoted(value, &quoted);
	int result = zone_add(z, g->ttl, e, "%s TXT %s", owner, buf_str(&quoted));
	buf_free(&quoted);
	return result;
}

bool name_in(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);
	return n >= d && strcmp(name + n - d, domain) == 0 && (n == d || name[n - d - 1] == '.');
}

const char *public4(const struct site *s)
{
	return s->host.public_ipv4[0] ? s->host.public_ipv4 : s->host.ipv4;
}

const char *public6(const struct site *s)
{
	return s->host.public_ipv6[0] ? s->host.public_ipv6 : s->host.ipv6;
}

const struct site_domain *domain_of(const struct site *s, const char *name, const struct site_domain *except)
{
	for (const char *at = name; at != NULL; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL) {
		const struct site_domain *d = site_find_domain(s, at);
		if (d != NULL && d != except)
			return d;
	}
	return NULL;
}

const char *reports_domain(const struct site_domain *d)
{
	const char *at = d->reports ? strrchr(d->reports, '@') : NULL;
	return at ? at + 1 : "";
}

int add_addresses(const struct gen *g, struct zone *z, const char *owner, struct error *e)
{
	const char *v4 = public4(g->site), *v6 = public6(g->site);
	if (v4[0] && zone_add(z, g->ttl, e, "%s. A %s", owner, v4) == -1)
		return -1;
	return v6[0] ? zone_add(z, g->ttl, e, "%s. AAAA %s", owner, v6) : 0;
}

/* The smarthost sends for us too, from addresses that only its operator knows for sure. */
static void put_smarthost(const char *host, struct buf *out)
{
	unsigned char bytes[16];
	char name[256];
	if (inet_pton(AF_INET, host, bytes) == 1)
		buf_printf(out, " ip4:%s", host);
	else if (inet_pton(AF_INET6, host, bytes) == 1)
		buf_printf(out, " ip6:%s", host);
	else if (domain_normalise(view_of(host), name, sizeof(name)) == 0)
		buf_printf(out, " a:%s", name);
}

/* RFC 7208: exactly the addresses that send, and nothing else.  The host's own name sends bounces in any case. */
static int add_spf(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	const struct site *s = g->site;
	struct buf v = BUF_INIT(1024);
	if (zone_has_txt(z, z->name, "v=spf1"))
		return 0; /* two would be none: RFC 7208 4.5 */
	buf_puts(&v, "v=spf1");
	if (d->mail || strcmp(d->name, s->host.name) == 0) {
		if (public4(s)[0])
			buf_printf(&v, " ip4:%s", public4(s));
		if (public6(s)[0])
			buf_printf(&v, " ip6:%s", public6(s));
		put_smarthost(s->relay.smarthost, &v);
		buf_puts(&v, s->relay.smarthost[0] ? " ~all" : " -all");
	} else {
		buf_puts(&v, " -all");
	}
	int result = add_txt(g, z, "@", buf_view(&v), e);
	buf_free(&v);
	return result;
}

/* Where reports go, as a URI (RFC 6068): DMARC's lists end at ',' and '!', its tags at ';' (RFC 7489 6.2). */
static void put_reports_uri(const struct site_domain *d, struct buf *out)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+=@";
	buf_puts(out, "rua=mailto:");
	if (d->reports == NULL)
		buf_printf(out, "postmaster@%s", d->name);
	for (const char *p = d->reports; p != NULL && *p; p++)
		if (strchr(plain, *p))
			buf_addc(out, *p);
		else
			buf_printf(out, "%%%02X", (unsigned)(unsigned char)*p);
}

static int add_dmarc(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	char *owner = xasprintf("_dmarc.%s", d->name);
	struct buf text = BUF_INIT(4096);
	int result = 0;
	buf_printf(&text, "v=DMARC1; p=%s", d->mail ? d->dmarc : "reject");
	if (d->reports || d->mail) {
		buf_puts(&text, "; ");
		put_reports_uri(d, &text);
	}
	if (!zone_has_txt(z, owner, "v=DMARC1"))
		result = add_txt(g, z, "_dmarc", buf_view(&text), e);
	buf_free(&text);
	free(owner);
	return result;
}

/* RFC 7489 7.1: this domain takes the reports of others. */
static int add_report_authorisation(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	for (size_t i = 0; i < g->site->domain_count; i++) {
		const struct site_domain *from = &g->site->domains[i];
		if (g->reports[i] != d || strcmp(reports_domain(from), from->name) == 0)
			continue;
		if (zone_add(
			z, g->ttl, e, "%s._report._dmarc.%s. TXT \"v=DMARC1\"", from->name, reports_domain(from)) == -1)
			return -1;
	}
	return 0;
}

static int add_dkim_key(const struct gen *g, struct zone *z, const struct dkim_published *key, struct error *e)
{
	struct buf pem = BUF_INIT(16384), value = BUF_INIT(4096);
	char *owner = xasprintf("%s._domainkey", key->selector);
	struct error why = { "" };
	int result;
	if (key->revoked)
		result = add_txt(g, z, owner, VIEW_LIT("v=DKIM1; p="), e);
	else if (file_read(key->path, pem.max, &pem, &why) == -1 || dkim_txt(buf_view(&pem), &value, &why) == -1)
		result = error_set(e, "%s: %s; run `mailadm dns keygen` after moving it away", key->path, why.text);
	else
		result = add_txt(g, z, owner, buf_view(&value), e);
	free(owner);
	buf_free(&pem);
	buf_free(&value);
	return result;
}

static int add_dkim(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	struct dkim_published *keys;
	size_t count;
	int result = 0;
	dkim_folder_published(&g->dkim, g->site, d, &keys, &count);
	for (size_t i = 0; i < count && result == 0; i++)
		result = add_dkim_key(g, z, &keys[i], e);
	dkim_published_free(keys, count);
	return result;
}

static const struct {
	enum service service;
	const char *label;
} srv_names[] = {
	{ SERVICE_SUBMISSIONS, "_submissions" },
	{ SERVICE_SUBMISSION, "_submission" },
	{ SERVICE_IMAPS, "_imaps" },
	{ SERVICE_IMAP, "_imap" },
	{ SERVICE_POP3S, "_pop3s" },
	{ SERVICE_POP3, "_pop3" },
};

/* RFC 6186 and 8314: what runs, and "." for what clients would look for and does not. */
static int add_services(const struct gen *g, struct zone *z, struct error *e)
{
	const struct site *s = g->site;
	int result = 0;
	for (size_t i = 0; result == 0 && i < sizeof(srv_names) / sizeof(srv_names[0]); i++) {
		if (s->listen.on[srv_names[i].service])
			result = zone_add(z, g->ttl, e, "%s._tcp SRV %d 1 %u %s.", srv_names[i].label,
			    services[srv_names[i].service].implicit_tls ? 0 : 10,
			    (unsigned)site_port(s, srv_names[i].service), s->host.name);
		else
			result = zone_add(z, g->ttl, e, "%s._tcp SRV 0 0 0 .", srv_names[i].label);
	}
	return result;
}

bool mta_sts_on(const struct site *s, const struct site_domain *d)
{
	return d->mail && s->listen.on[SERVICE_SMTP] && strcmp(d->mta_sts, "none") != 0;
}

void mta_sts_policy(const struct zone *z, const struct site_domain *d, struct buf *out)
{
	buf_printf(out, "version: STSv1\r\nmode: %s\r\n", d->mta_sts);
	for (size_t i = 0; i < ldns_rr_list_rr_count(z->records); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(z->records, i);
		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_MX || ldns_dname_compare(ldns_rr_owner(rr), z->origin) != 0)
			continue;
		char *target = ldns_rdf2str(ldns_rr_rdf(rr, 1));
		size_t len = strlen(target);
		buf_printf(out, "mx: %.*s\r\n", (int)(len > 1 ? len - 1 : len), target);
		free(target);
	}
	buf_printf(out, "max_age: %d\r\n", strcmp(d->mta_sts, "enforce") == 0 ? 604800 : 86400);
}

/* RFC 8461 3.1: the id changes when, and only when, the policy does. */
static int add_mta_sts(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	struct buf policy = BUF_INIT(65536);
	unsigned char sum[EVP_MAX_MD_SIZE];
	char id[21], *host = xasprintf("mta-sts.%s", d->name), *record = xasprintf("_mta-sts.%s", d->name);
	int result = 0;
	mta_sts_policy(z, d, &policy);
	if (EVP_Digest(policy.data, policy.len, sum, NULL, EVP_sha256(), NULL) != 1)
		fatalx("SHA-256 failed");
	for (size_t i = 0; i < 10; i++)
		snprintf(id + 2 * i, 3, "%02x", sum[i]);
	if (!zone_has_txt(z, record, "v=STSv1"))
		result = zone_add(z, g->ttl, e, "_mta-sts TXT \"v=STSv1; id=%s\"", id);
	if (result == 0 && !zone_has_address(z, host) && !zone_has_type(z, host, LDNS_RR_TYPE_CNAME))
		result = add_addresses(g, z, host, e);
	free(host);
	free(record);
	buf_free(&policy);
	return result;
}

static int add_tls_reports(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	char *owner = xasprintf("_smtp._tls.%s", d->name);
	struct buf text = BUF_INIT(4096);
	int result = 0;
	buf_puts(&text, "v=TLSRPTv1; ");
	put_reports_uri(d, &text);
	if (!zone_has_txt(z, owner, "v=TLSRPTv1"))
		result = add_txt(g, z, "_smtp._tls", buf_view(&text), e);
	buf_free(&text);
	free(owner);
	return result;
}

/* The host's name: its addresses, SPF for it, since it is the HELO identity and so a bounce's sender (RFC 7208 2.3),
 * and the keys of its certificate. */
static int add_host(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	const char *host = g->site->host.name;
	if (domain_of(g->site, host, NULL) != d)
		return 0;
	if (add_addresses(g, z, host, e) == -1)
		return -1;
	for (size_t i = 0; i < g->tlsa_count && g->site->listen.on[SERVICE_SMTP]; i++)
		if (zone_add(z, g->ttl, e, "_25._tcp.%s. TLSA 3 1 1 %s", host, g->tlsa[i]) == -1)
			return -1;
	if (strcmp(host, d->name) == 0 || zone_has_txt(z, host, "v=spf1"))
		return 0;
	return zone_add(z, g->ttl, e, "%s. TXT \"v=spf1 a -all\"", host);
}

static int add_mx(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	if (g->site->listen.on[SERVICE_SMTP] && d->mail)
		return zone_add(z, g->ttl, e, "@ MX 10 %s.", g->site->host.name);
	return zone_has_mx(z) ? 0 : zone_add(z, g->ttl, e, "@ MX 0 ."); /* RFC 7505: alone or not at all */
}

int add_mail(const struct gen *g, struct zone *z, const struct site_domain *d, struct error *e)
{
	if (add_mx(g, z, d, e) == -1 || add_host(g, z, d, e) == -1 || add_spf(g, z, d, e) == -1 ||
	    add_dmarc(g, z, d, e) == -1 || add_report_authorisation(g, z, d, e) == -1)
		return -1;
	if (!d->mail)
		return 0;
	if (add_dkim(g, z, d, e) == -1 || add_services(g, z, e) == -1)
		return -1;
	if (g->site->listen.on[SERVICE_SMTP] && add_tls_reports(g, z, d, e) == -1)
		return -1;
	return mta_sts_on(g->site, d) ? add_mta_sts(g, z, d, e) : 0;
}
