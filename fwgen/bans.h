/*
 * Bans as elements of the sets bans4 and bans6, encoded for netlink by hand (libmnl): no fork, under a millisecond for
 * one, and a whole set replaced in one batch.  The socket is opened before a role drops its rights; sending needs
 * CAP_NET_ADMIN.  Where the table is not loaded add, replace and list say so; remove has nothing to do then.
 */
#ifndef FWGEN_BANS_H
#define FWGEN_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/log.h"

struct ban {
	unsigned char address[16]; /* network order; IPv4 in the first four bytes; IPv6 masked to 64 bits */
	bool ipv6;
	uint64_t left_ms; /* until it ends by itself; UINT64_MAX (only from bans_list): never */
};

struct bans; /* a netlink socket */
struct bans *bans_open(struct error *);
void bans_close(struct bans *);
int bans_add(struct bans *, const struct ban *, size_t count,
    struct error *); /* one that is there gets the new time; none twice */
int bans_remove(struct bans *, const struct ban *, size_t count, struct error *);  /* one that is not there is fine */
int bans_replace(struct bans *, const struct ban *, size_t count, struct error *); /* all, atomically */
int bans_list(struct bans *, struct ban **out, size_t *count, struct error *);     /* malloc'd */
int ban_order(const void *, const void *);                                         /* of two struct ban, by address */
/* What is there becomes those (which it sorts), but for bans that never end: they stay or stay away as they are. */
int bans_settle(struct bans *, struct ban *, size_t count, struct error *);
/* A number that is another one whenever somebody has changed rules or sets, we included. */
int bans_generation(struct bans *, uint32_t *out, struct error *);

#endif
