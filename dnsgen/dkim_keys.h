/*
 * Which DKIM keys are published: every SITE_DIR/dkim/DOMAIN.SELECTOR.pub under its selector, and every
 * DOMAIN.SELECTOR.revoked with an empty p= (RFC 6376 3.6.1).  A rollover makes and removes such files.
 */
#ifndef DNSGEN_DKIM_KEYS_H
#define DNSGEN_DKIM_KEYS_H

#include "lib/log.h"
#include "site/site.h"

struct dkim_published {
	char selector[64];
	char *path;
	bool revoked;
};

/* By selector; a folder that is not there holds none. */
int dkim_published(const struct site *, const struct site_domain *, struct dkim_published **, size_t *count);
void dkim_published_free(struct dkim_published *, size_t count);

/* The same for many domains: the folder is read once. */
struct dkim_folder {
	struct strings names; /* sorted */
};
void dkim_folder_read(const struct site *, struct dkim_folder *);
void dkim_folder_free(struct dkim_folder *);
void dkim_folder_published(const struct dkim_folder *, const struct site *, const struct site_domain *,
    struct dkim_published **, size_t *count);

#endif
