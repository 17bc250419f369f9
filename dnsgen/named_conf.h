/* What bind9 is told: the named.conf fragments. */
#ifndef DNSGEN_NAMED_CONF_H
#define DNSGEN_NAMED_CONF_H

#include "dnsgen/dnsgen.h"

#define FRAGMENT "named.conf.mailadm"
#define OPTIONS_FRAGMENT "named.conf.options.mailadm"
#define TSIG_MAX 512

/* dns.tsig_secret of STATE/secrets, "" when there is no dns.tsig_key. -1: it is needed, and cannot be had. */
int tsig_secret(const struct site *, char out[TSIG_MAX], struct error *);
/* "zone NAME { type primary; file ...; };" for each zone; dir is where the files stand. secret "": no key is defined.
 */
int zones_named_conf(const struct site *, const struct zones *, const char *dir, const char *secret, struct buf *out,
    struct error *);
/* The same zones on another server that transfers them from this host. */
int zones_secondary_conf(const struct site *, const struct zones *, const char *secret, struct buf *out);
/* With dns.local_resolver: what belongs into options { }; else nothing is written. */
void named_options(const struct site *, struct buf *out);

#endif
