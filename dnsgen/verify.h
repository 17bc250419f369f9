/*
 * What the live DNS says about the site's domains, against what the site wants published: rows for `mailadm dns verify`
 * and for doctor.  Asks the network, blocking, timeout_s at most in all.
 */
#ifndef DNSGEN_VERIFY_H
#define DNSGEN_VERIFY_H

#include "dnsgen/check_result.h"
#include "lib/log.h"
#include "site/site.h"

/*
 * The host (address, ptr, block-list) and each of the domains (normalised; count 0: all of the site): delegation,
 * serial, dnssec, mx, spf, dkim, dmarc, mta-sts, tls-rpt, tlsa, srv, caa, records.  -1 when nothing can be asked, or a
 * domain is not the site's.
 */
int dns_verify(const struct site *, const char *const *domains, size_t count, unsigned timeout_s,
    struct check_results *, struct error *);
/* Only address, ptr and block-list: what doctor wants to know of the host. */
int dns_verify_host(const struct site *, unsigned timeout_s, struct check_results *, struct error *);

#endif
