/*
 * Serials of zones: how they rise (RFC 1982), where they stand in the text of a zone, and STATE/serials, which
 * remembers for every zone the last serial and a digest of what it stood for, so that a lost zone file changes nothing.
 */
#ifndef DNSGEN_SERIALS_H
#define DNSGEN_SERIALS_H

#include "lib/buf.h"
#include "lib/log.h"

#define SERIALS_DIGEST 65

bool serial_above(uint32_t a, uint32_t b);
/* `wanted` (the time) when it is above last, else the next one; never 0. */
uint32_t serial_next(uint32_t last, uint32_t wanted);

/* The serial in a zone text that zone_text wrote: its digits and value. false: there is none. */
bool zone_text_serial(struct view text, struct view *digits, uint32_t *value);
void zone_text_with_serial(struct view text, uint32_t serial, struct buf *out);
/* Do both say the same, serials aside? */
bool zone_text_same(struct view a, struct view b);
void zone_text_digest(struct view text, char out[SERIALS_DIGEST]); /* serial aside */

struct serial {
	char *zone;
	uint32_t value;
	char digest[SERIALS_DIGEST];
};
struct serials {
	struct serial *at; /* by zone */
	size_t count;
};

/* A missing file is empty: zone files then say what the serials are. A malformed one is an error that names the line.
 */
int serials_load(const char *path, struct serials *, struct error *);
int serials_parse(struct view text, const char *path, struct serials *, struct error *);
void serials_text(const struct serials *, struct buf *out);
const struct serial *serials_find(const struct serials *, const char *zone);
void serials_set(struct serials *, const char *zone, uint32_t value, const char *digest);
void serials_free(struct serials *);

#endif
