/*
 * The firewall of a site: site -> a typed rule model -> nft text, JSON, one netlink batch, or a verdict on a packet.
 * Making the model reads the files that the site names (block lists, includes) and asks for users' ids; everything
 * behind it is pure.  Loading and reading back is kernel.h's.
 */
#ifndef FWGEN_FWGEN_H
#define FWGEN_FWGEN_H

#include <jansson.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

#define FW_TABLE "mailadm" /* table inet mailadm: the only one mailadm touches */

/*
 * Sets by name.  Bans are single addresses in hash sets with timeouts (IPv6 as the first address of a /64: rules match
 * the source masked to 64 bits); block lists are interval sets.  Reloading the rules keeps the elements of the ban
 * sets.
 */
#define FW_SET_BANS4 "bans4"
#define FW_SET_BANS6 "bans6"
#define FW_SET_BLOCKED4 "blocked4"
#define FW_SET_BLOCKED6 "blocked6"
#define FW_BANS_MAX 131072 /* elements of each ban set */

struct fw_model; /* model.h: for who renders it */

/* site->role says which machine.  NULL with an error when a file cannot be read or holds what it should not. */
struct fw_model *fw_model_of(const struct site *, struct error *);
void fw_model_free(struct fw_model *);
/* Lines about what the site asks for and this machine has no user for; "" when there is nothing to say. */
const char *fw_model_notes(const struct fw_model *);

/* Text for `nft -f`: replaces the table's rules in one transaction, whether or not it is there, and keeps bans. */
int fw_model_text(const struct fw_model *, struct buf *out);
json_t *fw_model_json(const struct fw_model *);

/* What the rules say to the first packet of a connection, without a kernel. */
struct fw_packet {
	bool out;                       /* leaves this host; else it arrives */
	bool forward;                   /* passes through (role gateway) */
	char interface[16];             /* "" : not loopback, not known */
	unsigned char from[16], to[16]; /* network order; IPv4 in the first four bytes */
	bool ipv6;
	bool udp;
	uint16_t from_port, to_port;
	uid_t user; /* of the sender, when out */
};
struct fw_decision {
	bool accept;
	char chain[32];
	char rule[160]; /* the comment of the rule that decided, or "policy" */
};
void fw_decide(const struct fw_model *, const struct fw_packet *, struct fw_decision *);

#endif
