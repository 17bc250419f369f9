/*
 * The rule model in the kernel through nfnetlink: what netlink_state.c (what is there), netlink_rule.c (a rule) and
 * netlink.c (the batch) share with kernel_load.c.
 */
#ifndef FWGEN_NETLINK_H
#define FWGEN_NETLINK_H

#include <libmnl/libmnl.h>

#include "fwgen/answer.h"
#include "fwgen/model.h"

struct nftnl_rule;

struct fw_netlink {
	struct mnl_socket *socket;
	unsigned portid;
	uint32_t sequence;
	char *received; /* FW_RECEIVE_SIZE bytes */
};
#define FW_RECEIVE_SIZE 65536

int fw_netlink_open(struct fw_netlink *, struct error *);
void fw_netlink_close(struct fw_netlink *);

/* What the table has, in the order in which it can be taken away. */
enum fw_there_kind { FW_THERE_SET, FW_THERE_CHAIN, FW_THERE_OBJECT, FW_THERE_FLOWTABLE };

struct fw_there {
	enum fw_there_kind kind;
	char *name;
	bool stays;    /* the model has it, and it is the same; of a meter with the same rate */
	bool same;     /* it is the model's in all but what it holds */
	bool map;      /* of a set */
	uint32_t type; /* of an object */
};

struct fw_state {
	uint32_t generation;
	bool present; /* the table; the rest is empty without */
	bool dormant; /* it is asleep */
	struct fw_there *at;
	size_t count, room;
};

/* What is there, compared with the model: 0, or an errno (EINTR: it changed meanwhile, ask again). */
int fw_netlink_state(struct fw_netlink *, const struct fw_model *, struct fw_state *);
void fw_state_free(struct fw_state *);
bool fw_state_stays(const struct fw_state *, enum fw_there_kind, const char *name);

/*
 * Is what is loaded what the model would load, rules and elements included?  1; 0: no, or there is what cannot be told;
 * -1 with an error.  Elements of ban sets and meters, and counts, do not matter.
 */
int fw_netlink_same(const struct fw_model *, struct error *);

/* An element of a set as the kernel holds it: a value, or (in interval sets) where a range begins or has ended. */
struct fw_point {
	unsigned char key[16];
	bool end, open; /* the range before it has ended; its own goes up to the last value */
};
struct fw_point *fw_points(const struct fw_ranges *, bool interval, size_t *count); /* malloc'd */
bool fw_needs_intervals(const struct fw_ranges *);                                 /* for a set without a name */

/* As nft describes a named set to the kernel. */
uint32_t fw_set_flags(const struct fw_set *);
uint32_t fw_set_key(enum fw_type); /* the number of the type */

/* Has it nothing that only nft can load?  That is lines of firewall.include, patterns of interfaces, empty value lists.
 */
bool fw_netlink_can(const struct fw_model *);
/* Loads the model as one batch.  Elements of ban sets stay, and those of meters whose rate is still the same. */
int fw_netlink_load(const struct fw_model *, struct error *);
/* Lines of nft that empty the table of rules and take away what the model has not; none where there is no table. */
int fw_netlink_clear_text(const struct fw_model *, struct buf *out, struct error *);

/* A set without a name, of a rule's values.  It is filled before its rule. */
struct fw_anonymous {
	uint32_t id; /* of the set within the batch */
	const struct fw_term *term;
};
#define FW_ANONYMOUS "__set%d"

/*
 * A rule of a chain.  Its sets are written to sets, with ids from *id up, which moves on; *count is how many.  Free the
 * rule by nftnl_rule_free.
 */
struct nftnl_rule *fw_netlink_rule(
    const char *chain, const struct fw_rule *, uint32_t *id, struct fw_anonymous sets[FW_TERMS_MAX], size_t *count);

#endif
