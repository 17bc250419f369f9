/*
 * DKIM keys (RSA-2048, and Ed25519 where the site has a selector for it): the private half of each is
 * STATE/keys/DOMAIN.SELECTOR.key (PEM PKCS#8, 0600), the public half stands beside the site,
 * SITE_DIR/dkim/DOMAIN.SELECTOR.pub (PEM SubjectPublicKeyInfo), where generators read it.
 *
 * The RSA selector that signs is the site's (domains[].dkim_selector) until a rollover made another active.  Nothing
 * signs with Ed25519 until a rollover made its first key active, since by then every name server answers with it.  Both
 * are kept in STATE/keys/active, a line a selector of the site: "DOMAIN SITE_SELECTOR ACTIVE OTHER", where ACTIVE is "-"
 * while none signs yet, and OTHER is a second key that keys must have at hand (the next one before the switch, the old
 * one behind it; "-": none).  A line whose SITE_SELECTOR is not the site's any more does not count: who edits the site
 * decides.
 */
#ifndef MAILSVC_MONITOR_DKIMKEYS_H
#define MAILSVC_MONITOR_DKIMKEYS_H

#include "lib/buf.h"
#include "lib/log.h"
#include "mailsvc/keys/dkim.h"
#include "site/site.h"

/*
 * Makes what is missing of the active selectors and answers how many keys were made (or, when dry, would be); -1 on
 * failure.  A public half that is missing, or is not that of its private key, is written again; if the site's folder
 * cannot be written that is logged, not a failure.
 */
int dkim_keys_ensure(const struct site *, bool dry, struct error *);
/* All private keys as {blob domain, blob selector, blob PEM}*; a missing key is left out. */
int dkim_keys_pack(const struct site *, struct buf *out, struct error *);
const char *dkim_algorithm_name(enum dkim_algorithm); /* "rsa", "ed25519": as in k= */
/* Of the selector that signs, or, while none does yet, will be the first; NULL: the site wants none.  malloc'd. */
char *dkim_public_path(const struct site *, const struct site_domain *, enum dkim_algorithm);
char *dkim_private_path(const struct site *, const struct site_domain *, enum dkim_algorithm);
/* Of any; malloc'd. */
char *dkim_public_file(const struct site *, const char *domain, const char *selector);
char *dkim_private_file(const struct site *, const char *domain, const char *selector);
/* One key, both halves, unless they are there. */
int dkim_key_ensure(
    const struct site *, const char *domain, enum dkim_algorithm, const char *selector, struct error *);

struct dkim_selectors {
	char *domain, *site, *active, *other; /* active, other: "" none */
};
struct dkim_active {
	struct dkim_selectors *at; /* by domain and site */
	size_t count;
};
#define DKIM_SELECTOR_MAX 63 /* one label */

/* Reads STATE/keys/active; a file that is missing is empty, a malformed one an error with its line. */
int dkim_active_load(const struct site *, struct dkim_active *, struct error *);
int dkim_active_parse(struct view text, const char *path, struct dkim_active *, struct error *);
void dkim_active_free(struct dkim_active *);
/* NULL: no rollover was there. */
const struct dkim_selectors *dkim_active_find(
    const struct dkim_active *, const struct site_domain *, enum dkim_algorithm);
/* The selector that signs; "" none. */
const char *dkim_active_selector(const struct dkim_active *, const struct site_domain *, enum dkim_algorithm);
/* Makes it so, durably. active and other may be "". The running host knows at its next reload. */
int dkim_active_set(const struct site *, const struct site_domain *, enum dkim_algorithm, const char *active,
    const char *other, struct error *);
/*
 * Puts the selectors that sign into a site that nobody shares yet, for the roles.  Answers how many differ from their
 * file now, -1 on error.
 */
int dkim_active_adopt(struct site *, struct error *);

#endif
