/*
 * The zones of a site: a pure function from the site and the DKIM public keys that stand beside it to zones, and from
 * a zone to the text that bind9 reads.
 */
#ifndef DNSGEN_DNSGEN_H
#define DNSGEN_DNSGEN_H

#include <ldns/ldns.h>

#include "lib/log.h"
#include "site/site.h"

struct zone {
	char *name; /* without the final dot */
	ldns_rdf *origin;
	ldns_rr_list *records; /* in canonical order; zone_text puts the SOA first */
};

struct zones {
	struct zone *at;
	size_t count;
};

/*
 * Every zone the site publishes: one a domain (unless its dns is off), and one for each public address's reverse name.
 * serial goes into each SOA.  A domain without a DKIM public key goes without that record (site_load warns of it).  -1
 * when a record is wrong; then findings has an error.
 */
int dnsgen_zones(const struct site *, uint32_t serial, struct zones *out, struct findings *);
void zones_free(struct zones *);

int zone_text(const struct zone *, struct buf *out);
/* The zone as text, with the serial of `old` (text of an earlier zone, may be empty) if nothing else differs, else a
 * higher one. */
int zone_text_keep_serial(struct zone *, struct view old, struct buf *out);
/* "zone NAME { type primary; file ...; };" for each zone; dir is where the files stand. */
int zones_named_conf(const struct site *, const struct zones *, const char *dir, struct buf *out);

/* The DKIM TXT value "v=DKIM1; k=rsa; p=..." of a PEM public key. */
int dkim_txt(struct view pem, struct buf *out, struct error *);

#endif
