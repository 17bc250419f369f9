/*
 * DKIM keys (RSA-2048): the private half of each domain's is STATE/keys/DOMAIN.SELECTOR.key (PEM PKCS#8, 0600), the
 * public half stands beside the site, SITE_DIR/dkim/DOMAIN.SELECTOR.pub (PEM SubjectPublicKeyInfo), where generators
 * read it.
 */
#ifndef MAILSVC_MONITOR_DKIMKEYS_H
#define MAILSVC_MONITOR_DKIMKEYS_H

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

/*
 * Makes what is missing and answers how many keys were made (or, when dry, would be); -1 on failure.  A public half
 * that is missing, or is not that of its private key, is written again; if the site's folder cannot be written that is
 * logged, not a failure.
 */
int dkim_keys_ensure(const struct site *, bool dry, struct error *);
/* All private keys as {blob domain, blob selector, blob PEM}*; a missing key is left out. */
int dkim_keys_pack(const struct site *, struct buf *out, struct error *);
char *dkim_public_path(const struct site *, const struct site_domain *); /* malloc'd */
char *dkim_private_path(const struct site *, const struct site_domain *);

#endif
