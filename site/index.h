/* Inside site/: the hash tables of a loaded site, and one step of routing. */
#ifndef SITE_INDEX_H
#define SITE_INDEX_H

#include "address.h"
#include "route.h"

/* Builds site->index; duplicates become findings that name both places. */
void index_build(struct site *, struct findings *);
void index_free(struct site_index *);

const struct site_alias *index_alias(const struct site *, const char *normalised);

enum hop_kind { HOP_UNKNOWN, HOP_ACCOUNT, HOP_ALIAS, HOP_REMOTE };
struct hop {
	enum hop_kind kind;
	const struct site_account *account;
	const struct site_alias *alias;
	char address[ADDRESS_MAX]; /* HOP_REMOTE */
	char tag[ADDRESS_MAX];     /* of user+tag, or "" */
	bool implied;              /* by postmaster, abuse and the like: reached through admin */
	bool caught;               /* by a catch-all */
};

/*
 * Where a normalised address leads first: an account, an alias or list, another host, or nowhere.  Follows the implied
 * addresses (postmaster ...) and one catch-all; never two, so that it ends.
 */
void route_hop(const struct site *, const char *normalised, struct hop *);

#endif
