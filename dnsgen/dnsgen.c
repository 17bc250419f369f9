/*
 * What a mail host publishes: for each domain its SOA, NS, MX, addresses, SPF, DKIM, DMARC, service records (RFC 6186,
 * RFC 8314) and CAA; for each public address its reverse name.  Nothing is published for a service that is off.
 */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/zone.h"
#include "lib/proc.h"
#include "lib/text.h"
#include "site/address.h"

#define TXT_STRING_MAX 255 /* RFC 1035 3.3.14 */

int dkim_txt(struct view pem, struct buf *out, struct error *e)
{
	BIO *in = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	EVP_PKEY *key = in ? PEM_read_bio_PUBKEY(in, NULL, NULL, NULL) : NULL;
	unsigned char *der = NULL;
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	int result = -1;
	if (len <= 0) {
		error_set(e, "not a public key in PEM form");
	} else if (EVP_PKEY_is_a(key, "RSA") != 1) {
		error_set(e, "not an RSA key");
	} else {
		buf_puts(out, "v=DKIM1; k=rsa; p=");
		result = text_base64_encode(out, (struct view){ (const char *)der, (size_t)len });
	}
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	BIO_free(in);
	return result;
}

/* Quotes a TXT value, split into strings of at most 255 bytes. */
static void txt_quote(struct view value, struct buf *out)
{
	for (size_t at = 0; at < value.len || at == 0; at += TXT_STRING_MAX) {
		size_t len = value.len - at < TXT_STRING_MAX ? value.len - at : TXT_STRING_MAX;
		buf_puts(out, at ? " \"" : "\"");
		for (size_t i = 0; i < len; i++) {
			char c = value.ptr[at + i];
			if (c == '"' || c == '\\')
				buf_addc(out, '\\');
			buf_addc(out, c);
		}
		buf_addc(out, '"');
	}
}

/* True when name is domain or below it. */
static bool name_in(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);
	return n >= d && strcmp(name + n - d, domain) == 0 && (n == d || name[n - d - 1] == '.');
}

static const char *public4(const struct site *s)
{
	return s->host.public_ipv4[0] ? s->host.public_ipv4 : s->host.ipv4;
}

static const char *public6(const struct site *s)
{
	return s->host.public_ipv6[0] ? s->host.public_ipv6 : s->host.ipv6;
}

static int add_addresses(struct zone *z, const struct site *s, uint32_t ttl, const char *owner, struct error *e)
{
	if (public4(s)[0] && zone_add(z, ttl, e, "%s. A %s", owner, public4(s)) == -1)
		return -1;
	if (public6(s)[0] && zone_add(z, ttl, e, "%s. AAAA %s", owner, public6(s)) == -1)
		return -1;
	return 0;
}

/* The innermost domain that we publish and that holds name, other than except (may be NULL). */
static const struct site_domain *zone_of(const struct site *s, const char *name, const struct site_domain *except)
{
	const struct site_domain *best = NULL;
	for (size_t i = 0; i < s->domain_count; i++) {
		const struct site_domain *d = &s->domains[i];
		if (d->dns && d != except && name_in(name, d->name) &&
		    (best == NULL || strlen(d->name) > strlen(best->name)))
			best = d;
	}
	return best;
}

/*
 * The NS records of a zone: the site's name servers, or ns1 in it.  A name server whose address should stand in `home`
 * (the domain that z publishes; NULL: none) and does not is this host.
 */
static int add_name_servers(struct zone *z, const struct site *s, uint32_t ttl, const char *zone,
    const struct site_domain *home, struct error *e)
{
	const struct site_domain *at = home;
	char *own = xasprintf("ns1.%s", zone);
	char *const *names = s->dns.nameservers.count ? s->dns.nameservers.at : &own;
	size_t count = s->dns.nameservers.count ? s->dns.nameservers.count : 1;
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++) {
		result = zone_add(z, ttl, e, "%s. NS %s.", zone, names[i]);
		if (s->dns.nameservers.count)
			at = zone_of(s, names[i], NULL);
		if (result == 0 && home != NULL && at == home && !zone_has_address(z, names[i]))
			result = add_addresses(z, s, ttl, names[i], e);
	}
	free(own);
	return result;
}

/* Each domain answers postmaster@; the mail of an address's reverse zone goes to the host's. */
static int add_authority(
    struct zone *z, const struct site *s, uint32_t ttl, uint32_t serial, const struct site_domain *d, struct error *e)
{
	char *own = d == NULL ? xstrdup(s->host.name) : xasprintf("ns1.%s", d->name);
	int result = zone_add(z, ttl, e, "@ SOA %s. postmaster.%s. %u 14400 3600 1209600 3600",
	    s->dns.nameservers.count ? s->dns.nameservers.at[0] : own, d == NULL ? s->host.name : d->name, serial);
	if (result == 0 && (d != NULL || s->dns.nameservers.count))
		result = add_name_servers(z, s, ttl, z->name, d, e);
	else if (result == 0)
		result = zone_add(z, ttl, e, "@ NS %s.", own);
	free(own);
	return result;
}

/* Domains of the site below this one are zones of their own, which it has to delegate. */
static int add_delegations(
    struct zone *z, const struct site *s, const struct site_domain *d, uint32_t ttl, struct error *e)
{
	for (size_t i = 0; i < s->domain_count; i++) {
		const struct site_domain *below = &s->domains[i];
		if (below->dns && zone_of(s, below->name, below) == d &&
		    add_name_servers(z, s, ttl, below->name, d, e) == -1)
			return -1;
	}
	return 0;
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

/* RFC 7208: exactly the addresses that send, and nothing else.  One in the domain's own records stands instead. */
static int add_spf(struct zone *z, const struct site *s, uint32_t ttl, struct error *e)
{
	struct buf v = BUF_INIT(1024), quoted = BUF_INIT(2048);
	if (zone_has_txt(z, z->name, "v=spf1"))
		return 0; /* two would be none: RFC 7208 4.5 */
	buf_puts(&v, "v=spf1");
	if (public4(s)[0])
		buf_printf(&v, " ip4:%s", public4(s));
	if (public6(s)[0])
		buf_printf(&v, " ip6:%s", public6(s));
	put_smarthost(s->relay.smarthost, &v);
	buf_puts(&v, s->relay.smarthost[0] ? " ~all" : " -all");
	txt_quote(buf_view(&v), &quoted);
	int result = zone_add(z, ttl, e, "@ TXT %s", buf_str(&quoted));
	buf_free(&v);
	buf_free(&quoted);
	return result;
}

static int add_dmarc(struct zone *z, const struct site_domain *d, uint32_t ttl, struct error *e)
{
	char *owner = xasprintf("_dmarc.%s", d->name);
	bool theirs = zone_has_txt(z, owner, "v=DMARC1");
	free(owner);
	return theirs
	           ? 0
	           : zone_add(z, ttl, e, "_dmarc TXT \"v=DMARC1; p=%s; rua=mailto:postmaster@%s\"", d->dmarc, d->name);
}

static int add_dkim(struct zone *z, const struct site *s, const struct site_domain *d, uint32_t ttl, struct error *e)
{
	char *name = xasprintf("dkim/%s.%s.pub", d->name, d->dkim_selector);
	char *path = site_path(s, name);
	struct buf pem = BUF_INIT(16384), value = BUF_INIT(4096), quoted = BUF_INIT(8192);
	struct error why;
	int result = 0;
	if (file_read(path, pem.max, &pem, &why) == -1) {
		result = 0; /* the site's own check warns that it is missing */
	} else if (dkim_txt(buf_view(&pem), &value, &why) == -1) {
		result = error_set(e, "%s: %s; run `mailadm dns keygen` after moving it away", path, why.text);
	} else {
		txt_quote(buf_view(&value), &quoted);
		result = zone_add(z, ttl, e, "%s._domainkey TXT %s", d->dkim_selector, buf_str(&quoted));
	}
	buf_free(&pem);
	buf_free(&value);
	buf_free(&quoted);
	free(path);
	free(name);
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
static int add_services(struct zone *z, const struct site *s, uint32_t ttl, struct error *e)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < sizeof(srv_names) / sizeof(srv_names[0]); i++) {
		if (s->listen.on[srv_names[i].service])
			result = zone_add(z, ttl, e, "%s._tcp SRV %d 1 %u %s.", srv_names[i].label,
			    services[srv_names[i].service].implicit_tls ? 0 : 10,
			    (unsigned)site_port(s, srv_names[i].service), s->host.name);
		else
			result = zone_add(z, ttl, e, "%s._tcp SRV 0 0 0 .", srv_names[i].label);
	}
	return result;
}

/* The host's name: its addresses, and SPF for it, since it is the HELO identity and so a bounce's sender (RFC
 * 7208 2.3). */
static int add_host(struct zone *z, const struct site *s, const struct site_domain *d, uint32_t ttl, struct error *e)
{
	const char *host = s->host.name;
	if (zone_of(s, host, NULL) != d)
		return 0;
	if (add_addresses(z, s, ttl, host, e) == -1)
		return -1;
	if (strcmp(host, d->name) == 0 || zone_has_txt(z, host, "v=spf1"))
		return 0;
	return zone_add(z, ttl, e, "%s. TXT \"v=spf1 a -all\"", host);
}

static int add_mx(struct zone *z, const struct site *s, uint32_t ttl, struct error *e)
{
	if (s->listen.on[SERVICE_SMTP])
		return zone_add(z, ttl, e, "@ MX 10 %s.", s->host.name);
	return zone_has_mx(z) ? 0 : zone_add(z, ttl, e, "@ MX 0 ."); /* RFC 7505: alone or not at all */
}

static int build_domain(
    struct zone *z, const struct site *s, const struct site_domain *d, uint32_t serial, struct error *e)
{
	uint32_t ttl = (uint32_t)s->dns.ttl;
	for (size_t i = 0; i < d->records.count; i++) /* first: some of ours look at what is there */
		if (zone_add(z, ttl, e, "%s", d->records.at[i]) == -1)
			return -1;
	if (add_authority(z, s, ttl, serial, d, e) == -1 || add_delegations(z, s, d, ttl, e) == -1 ||
	    add_mx(z, s, ttl, e) == -1 || add_host(z, s, d, ttl, e) == -1)
		return -1;
	if (add_spf(z, s, ttl, e) == -1 || add_dkim(z, s, d, ttl, e) == -1 || add_services(z, s, ttl, e) == -1 ||
	    add_dmarc(z, d, ttl, e) == -1)
		return -1;
	if (s->dns.caa[0] && zone_add(z, ttl, e, "@ CAA 0 issue \"%s\"", s->dns.caa) == -1)
		return -1;
	return zone_finish(z, e);
}

/* The reverse name of one address is a zone of its own, which the provider can delegate. */
static int build_reverse(struct zone *z, const struct site *s, uint32_t serial, struct error *e)
{
	uint32_t ttl = (uint32_t)s->dns.ttl;
	if (add_authority(z, s, ttl, serial, NULL, e) == -1 || zone_add(z, ttl, e, "@ PTR %s.", s->host.name) == -1)
		return -1;
	return zone_finish(z, e);
}

static char *reverse_name(const char *address)
{
	unsigned char a[16];
	if (inet_pton(AF_INET, address, a) == 1)
		return xasprintf("%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
	if (inet_pton(AF_INET6, address, a) != 1)
		return NULL;
	struct buf name = BUF_INIT(80);
	for (int i = 15; i >= 0; i--)
		buf_printf(&name, "%x.%x.", a[i] & 15u, a[i] >> 4);
	buf_puts(&name, "ip6.arpa");
	char *result = xstrdup(buf_str(&name));
	buf_free(&name);
	return result;
}

int dnsgen_zones(const struct site *s, uint32_t serial, struct zones *out, struct findings *f)
{
	const char *addresses[2] = { public4(s), public6(s) };
	struct error e = { "" };
	out->at = xcalloc(s->domain_count + 2, sizeof(*out->at));
	out->count = 0;
	for (size_t i = 0; i < s->domain_count; i++) {
		if (!s->domains[i].dns)
			continue;
		struct zone *z = &out->at[out->count++];
		if (zone_init(z, s->domains[i].name) == -1)
			error_set(&e, "%s is no domain name", s->domains[i].name);
		else if (build_domain(z, s, &s->domains[i], serial, &e) == 0)
			continue;
		findings_add(f, false, &s->domains[i].origin, "%s", e.text);
		return -1;
	}
	for (int i = 0; i < 2; i++) {
		char *name = addresses[i][0] ? reverse_name(addresses[i]) : NULL;
		if (name == NULL)
			continue;
		struct zone *z = &out->at[out->count++];
		int result = zone_init(z, name) == -1 ? -1 : build_reverse(z, s, serial, &e);
		free(name);
		if (result == -1) {
			findings_add(f, false, &(struct site_origin){ s->path, 0 }, "%s", e.text);
			return -1;
		}
	}
	return 0;
}

int zones_named_conf(const struct site *s, const struct zones *zones, const char *dir, struct buf *out)
{
	buf_puts(out, "// Written by mailadm: include this from named.conf.\n");
	for (size_t i = 0; i < zones->count; i++) {
		buf_printf(out, "zone \"%s\" {\n\ttype primary;\n\tfile \"%s/%s.zone\";\n\tallow-transfer { ",
		    zones->at[i].name, dir, zones->at[i].name);
		if (s->dns.transfer.count == 0)
			buf_puts(out, "none; ");
		for (size_t t = 0; t < s->dns.transfer.count; t++)
			buf_printf(out, "%s; ", s->dns.transfer.at[t]);
		buf_puts(out, "};\n};\n");
	}
	return out->full ? -1 : 0;
}
