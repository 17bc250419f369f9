/*
 * The zones on this host's name server: files in dns.zone_dir, each written only when its content differs and then with
 * a higher serial, checked by named-checkzone before it is renamed into place; a named.conf fragment beside them; then
 * rndc. Serials are kept in STATE/serials as well, so that a lost zone file does not let a serial fall.
 */
#ifndef DNSGEN_PUSH_H
#define DNSGEN_PUSH_H

#include "dnsgen/dnsgen.h"

/* Does this host serve the zones (dns.server, is named installed)?  Else why not. */
bool zones_served_here(const struct site *, struct buf *why);
/*
 * What push would change: for each zone that differs, one call of `found` with its name and a diff of its records
 * (lines "- record", "+ record"; serials do not count), also for the fragment ("named.conf.mailadm").  -1 on error.
 */
typedef void zones_found(void *arg, const char *name, struct view diff);
int zones_compare(const struct site *, zones_found *found, void *arg, struct error *);
/*
 * Writes what differs, has it checked, reloads named. All or nothing: when a check or rndc refuses, the old files are
 * put back.  A named that does not run is a warning (it reads the files when it starts).
 */
int zones_push(const struct site *, struct findings *warnings, struct error *);
/* The files of zone_dir and STATE/serials, to dir and back (restored zones get serials above what was served). */
int zones_capture(const struct site *, const char *dir, struct error *);
int zones_restore(const struct site *, const char *dir, struct error *);

#endif
