/*
 * The zones of a site: a pure function from the site and the public keys that stand beside it (DKIM, and with dns.sign
 * the certificate's) to zones, and from a zone to the text that bind9 reads.
 */
#ifndef DNSGEN_DNSGEN_H
#define DNSGEN_DNSGEN_H

#include <ldns/ldns.h>

#include "lib/log.h"
#include "site/site.h"

struct zone_index;
struct zone {
	char *name; /* without the final dot */
	ldns_rdf *origin;
	ldns_rr_list *records;    /* in canonical order; zone_text puts the SOA first */
	bool sign;                /* named signs it */
	struct zone_index *index; /* of zone.c */
};

struct zones {
	struct zone *at;
	size_t count;
};

/*
 * Every zone the site publishes: one a domain (unless its dns is off), and one for each public address's reverse name.
 * serial goes into each SOA.  A domain without a DKIM public key goes without that record (site_load warns of it).  -1
 * when a record is wrong; then findings has an error.  out is to be freed in any case.
 */
int dnsgen_zones(const struct site *, uint32_t serial, struct zones *out, struct findings *);
/* For each domain whose dns is off what to enter where its zone is kept: no SOA, no NS. Likewise. */
int dnsgen_elsewhere(const struct site *, struct zones *out, struct findings *);
void zones_free(struct zones *);

/*
 * What no tool finds alone, across the zones (and elsewhere's records; NULL: without them): targets that are a CNAME or
 * have no address, SPF that leaves out this host, needs too many lookups or is there twice, sizes, TTLs, counts,
 * reports that another domain has to allow.  -1 when there is an error among them.
 */
int zones_validate(const struct site *, const struct zones *, const struct zones *elsewhere, struct findings *);

int zone_text(const struct zone *, struct buf *out);
/* The zone as text, with the serial of `old` (text of an earlier zone, may be empty) if nothing else differs, else a
 * higher one. */
int zone_text_keep_serial(const struct zone *, struct view old, struct buf *out);

/* The DKIM TXT value of a PEM public key: "v=DKIM1; k=rsa; p=..." (RFC 6376), or k=ed25519 (RFC 8463). */
int dkim_txt(struct view pem, struct buf *out, struct error *);
/* The policy file that MTA-STS publishes for a zone of the domain (RFC 8461 3.2). */
void mta_sts_policy(const struct zone *, const struct site_domain *, struct buf *out);
/* Does this domain publish MTA-STS? */
bool mta_sts_on(const struct site *, const struct site_domain *);

/* DS records for the parent, of the keys that named made for the zone in dns.zone_dir/keys; a line each. -1: why not.
 */
int dnssec_ds(const struct site *, const char *zone, struct buf *out, struct error *);

#endif
