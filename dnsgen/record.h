/*
 * Records in their plain forms, fast: what zones are made of by the hundred thousand.  Whatever is not plain (escapes,
 * parentheses, other types) is left to ldns, and both give the same bytes.
 */
#ifndef DNSGEN_RECORD_H
#define DNSGEN_RECORD_H

#include <ldns/ldns.h>

#include "lib/buf.h"

#define NAME_WIRE_MAX 255

/* "OWNER [TTL] [IN] TYPE DATA" for A, AAAA, NS, CNAME, PTR, MX, SRV and TXT; NULL: ask ldns_rr_new_frm_str. */
ldns_rr *record_parse(const char *line, uint32_t ttl, const ldns_rdf *origin);
/* As ldns_rr2str: one line with its newline. -1 when it cannot be printed. */
int record_print(const ldns_rr *, struct buf *out);
/*
 * Appends bytes whose order by memcmp is the canonical one (RFC 4034 6): names in lower case from the root down, then
 * type and data.  Records that say the same have the same key.  The owner's part ends at the length that is returned.
 */
size_t record_key(const ldns_rr *, struct buf *out);
void record_name_key(const ldns_rdf *name, struct buf *out); /* the owner's part alone */
/* Case does not count. Is name at or below the other? */
bool name_equal(const ldns_rdf *, const ldns_rdf *);
bool name_under(const ldns_rdf *name, const ldns_rdf *above);

#endif
