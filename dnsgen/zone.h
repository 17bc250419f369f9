/* Building one zone: between dnsgen.c, which knows what a mail host publishes, and ldns. */
#ifndef DNSGEN_ZONE_H
#define DNSGEN_ZONE_H

#include "dnsgen.h"

int zone_init(struct zone *, const char *name);
/* One record in presentation form, relative to the zone: "mail A 192.0.2.1", "@ MX 10 mail.example.org.". */
int zone_add(struct zone *, uint32_t ttl, struct error *, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int zone_add_line(struct zone *, uint32_t ttl, struct error *, const char *line);
/* What the zone holds so far.  Owners are full names without the final dot; a TXT record counts by how its text begins.
 */
bool zone_has_txt(const struct zone *, const char *owner, const char *begins);
bool zone_has_type(const struct zone *, const char *owner, ldns_rr_type);
bool zone_has_address(const struct zone *, const char *owner);
bool zone_has_mx(const struct zone *); /* at the zone's own name */
/* Sorts, drops repeated records, and checks what ldns does not. */
int zone_finish(struct zone *, struct error *);

/*
 * In a finished zone: the records of an owner stand from *first on, and how many there are is returned (0: the name has
 * none).
 */
size_t zone_find(const struct zone *, const ldns_rdf *owner, size_t *first);

#endif
