/* The certificate a site has when it names none: EC P-256, self-signed, 10 years. */
#ifndef MAILSVC_MONITOR_SELFSIGNED_H
#define MAILSVC_MONITOR_SELFSIGNED_H

#include "site/site.h"

struct error;
/*
 * Makes STATE/tls/cert.pem (0644) and key.pem (0600) for host.name, mail.DOMAIN of each domain and localhost, if one of
 * them is missing: 1 when it made them, 0 when they were there, -1 on failure.  Makes STATE/tls (0700) when needed.
 */
int selfsigned_ensure(const struct site *, struct error *);

#endif
