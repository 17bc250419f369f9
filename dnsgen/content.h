/* What one domain publishes about its mail: between dnsgen.c, which makes zones, and content.c and tlsa.c. */
#ifndef DNSGEN_CONTENT_H
#define DNSGEN_CONTENT_H

#include "dnsgen/dkim_keys.h"
#include "dnsgen/zone.h"

struct gen {
	const struct site *site;
	uint32_t ttl;
	struct dkim_folder dkim;
	char *const *tlsa; /* hex digests of the certificate's key and the next one's */
	size_t tlsa_count;
	const struct site_domain **parent,
	    **reports; /* by domain: the one it lies in; the one its reports go to; NULL none */
};

const char *public4(const struct site *); /* "" when there is none */
const char *public6(const struct site *);
/* The innermost domain of the site that holds name, other than except (may be NULL); NULL: none. */
const struct site_domain *domain_of(const struct site *, const char *name, const struct site_domain *except);
/* Where its reports go, without default: an address; and its domain. "" when none. */
const char *reports_domain(const struct site_domain *);
/* Is name domain, or below it? */
bool name_in(const char *name, const char *domain);

int add_addresses(const struct gen *, struct zone *, const char *owner, struct error *);
/* MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT, SRV, TLSA, and the host's own name. */
int add_mail(const struct gen *, struct zone *, const struct site_domain *, struct error *);

/* SHA-256 of the SubjectPublicKeyInfo of a certificate, a public or a private key in PEM, as hex: -1 when it is none.
 */
#define TLSA_HEX 65
int tlsa_digest(struct view pem, char out[TLSA_HEX]);
/* Of the certificate in use, then of the next one (STATE/tls/next.pem, next.pub): each once, what there is of them. */
size_t tlsa_digests(const struct site *, char *out[2]);

#endif
