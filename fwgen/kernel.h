/*
 * The firewall in the kernel, through netlink (libnftnl, libmnl).  All of it needs CAP_NET_ADMIN in the network
 * namespace of the caller; without it every call says so.
 */
#ifndef FWGEN_KERNEL_H
#define FWGEN_KERNEL_H

#include "fwgen/fwgen.h"

/* Are nft and the kernel recent enough for the rules?  Asked once a process.  A missing nft is not judged here. */
int fw_is_recent(struct error *);
/*
 * Loads the model as one batch: all or nothing.  Elements of the ban sets stay.  A change by somebody else at the same
 * moment (the generation moved on) is tried again.  A model with includes goes through `nft -f`, in one transaction
 * too.
 */
int fw_kernel_load(const struct fw_model *, struct error *);
int fw_kernel_remove(struct error *); /* the table; fine when there is none */
/* Is the table there? 1, 0, or -1. */
int fw_kernel_present(struct error *);
/*
 * What is loaded against the model: 0 the same, 1 different, -1 cannot tell.  diff gets one line a difference ("- "
 * what the kernel has and the model has not, "+ " the other way).  Counters, handles, bans and rate meters do not
 * count.
 */
int fw_kernel_compare(const struct fw_model *, struct buf *diff, struct error *);
/*
 * The loaded table as text for `nft -f` that puts it back exactly, bans with their remaining time included; "" when
 * there is no table.  fw_kernel_restore takes that text ("" removes the table).  Where a table is loaded the bans stay
 * as they are now: whoever was banned or let go since the text was saved stays so.
 */
int fw_kernel_save(struct buf *text, struct error *);
int fw_kernel_restore(struct view text, struct error *);

/*
 * Who else has rules here: "ufw", "firewalld", "fail2ban", "docker", "iptables", or the name of a table, a line each
 * with what it means for ours (a hook that drops what we accept, ...).  Nothing is touched.
 */
struct fw_other {
	char name[64];  /* "ufw" */
	bool conflicts; /* it decides about incoming packets too */
	char text[256]; /* what it means and what to do */
};
int fw_kernel_others(struct fw_other *, size_t max, size_t *count, struct error *);

#endif
