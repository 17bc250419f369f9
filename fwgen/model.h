/*
 * The rule model: for who makes, renders, loads and evaluates it.  A rule is a list of terms in order and a verdict;
 * the renderers (text.c, json.c, netlink_rule.c) and the evaluator (decide.c) know each kind of term and nothing of
 * sites.
 */
#ifndef FWGEN_MODEL_H
#define FWGEN_MODEL_H

#include "fwgen/fwgen.h"

/* What a set holds or a term compares; values stand in network order in the first bytes of a range. */
enum fw_type { FW_TYPE_IPV4, FW_TYPE_IPV6, FW_TYPE_PORT, FW_TYPE_ICMP, FW_TYPE_ICMPV6, FW_TYPE_PROTOCOL };

struct fw_range {
	unsigned char first[16], last[16]; /* both included */
};

struct fw_ranges {
	enum fw_type type;
	struct fw_range *at; /* sorted, without overlap, once fw_ranges_merge has seen them */
	size_t count, room;
};

struct fw_set {
	char name[48];
	const char *why; /* for JSON */
	enum fw_type type;
	bool interval, dynamic;
	bool timeouts;      /* elements end by themselves */
	unsigned timeout_s; /* of those that name none; 0: none */
	uint32_t size;      /* 0: no limit */
	struct fw_ranges elements;
};

enum fw_term_kind {
	FW_IIF_LO,
	FW_OIF_LO,
	FW_IIFNAME, /* name */
	FW_OIFNAME,
	FW_NFPROTO,  /* type: of FW_TYPE_IPV4 or FW_TYPE_IPV6 */
	FW_L4PROTO,  /* values */
	FW_CT_STATE, /* bits */
	FW_CT_DNAT,  /* its destination was rewritten */
	FW_SADDR,    /* values, or the set of that name */
	FW_DADDR,
	FW_ICMP_TYPE, /* values; of ICMP or ICMPv6 by their type */
	FW_SPORT,     /* values; of tcp or udp by protocol */
	FW_DPORT,
	FW_TCP_FLAGS, /* bits of mask */
	FW_SKUID,     /* user, uid */
	FW_LIMIT,     /* rate */
	FW_METER,     /* in the set of that name, by source: rate over, or more than rate.count connections at once */
	FW_COUNTER,   /* name */
	FW_LOG,       /* prefix in name */
};

#define FW_CT_INVALID 1u
#define FW_CT_ESTABLISHED 2u
#define FW_CT_RELATED 4u
#define FW_CT_NEW 8u

struct fw_rate {
	unsigned count, per_s, burst; /* count in per_s (1, 60) seconds */
	bool over;
	bool connections; /* count of connections held, not a rate */
};

struct fw_term {
	enum fw_term_kind kind;
	bool inverted;
	enum fw_type type;       /* FW_SADDR, FW_DADDR, FW_METER, FW_NFPROTO: of which family */
	bool by_64;              /* an IPv6 source by its /64 */
	uint8_t protocol;        /* FW_SPORT, FW_DPORT: IPPROTO_TCP or IPPROTO_UDP */
	char name[48];           /* of a set, an interface, a counter, a user; a log prefix */
	struct fw_ranges values; /* where there is no name */
	uint32_t bits, mask;
	uid_t uid;
	struct fw_rate rate;
};

enum fw_verdict { FW_CONTINUE, FW_ACCEPT, FW_DROP, FW_RETURN, FW_JUMP, FW_GOTO, FW_DNAT, FW_MASQUERADE };

#define FW_TERMS_MAX 8
#define FW_COMMENT_MAX 120 /* bytes; nft allows 128 */

struct fw_rule {
	struct fw_term terms[FW_TERMS_MAX];
	size_t term_count;
	enum fw_verdict verdict;
	char target[32];                  /* FW_JUMP, FW_GOTO */
	enum fw_type family;              /* FW_DNAT */
	unsigned char to[16];             /* FW_DNAT */
	char comment[FW_COMMENT_MAX + 1]; /* why it is there: a site row or an RFC.  Stable: decisions name it */
	char *custom;                     /* instead of all that: a line of nft from a file of firewall.include */
};

enum fw_hook {
	FW_NO_HOOK = -1,
	FW_PREROUTING,
	FW_INPUT,
	FW_FORWARD,
	FW_OUTPUT,
	FW_POSTROUTING
}; /* as the kernel counts */

struct fw_chain {
	char name[32];
	enum fw_hook hook;
	bool nat; /* of type nat, else filter */
	int priority;
	bool accepts;       /* the policy */
	const char *reason; /* what a chain that only logs, counts and drops is for, else NULL */
	struct fw_rule *rules;
	size_t count, room;
};

struct fw_model {
	struct fw_set *sets;
	size_t set_count;
	char counters[32][32];
	size_t counter_count;
	struct fw_chain *chains;
	size_t chain_count;
	bool includes; /* has lines of firewall.include */
	bool gateway;
	char outside[16], inside[16];      /* interfaces of a gateway */
	struct fw_ranges behind4, behind6; /* who is behind it */
	char *notes;                       /* fw_model_notes; NULL: none */
};

/* ranges.c */
size_t fw_type_width(enum fw_type); /* bytes */
void fw_ranges_add(struct fw_ranges *, const struct fw_range *);
int fw_ranges_add_prefix(
    struct fw_ranges *, const char *text); /* of its type; 0 too when of the other family; -1: no prefix */
void fw_ranges_add_number(struct fw_ranges *, unsigned value);
void fw_ranges_merge(struct fw_ranges *); /* sorts; overlapping and, of addresses, adjacent ones become one */
bool fw_ranges_hold(const struct fw_ranges *, const unsigned char *value); /* merged ones */
bool fw_ranges_meet(const struct fw_ranges *, const struct fw_range *);    /* merged ones: do they overlap? */
void fw_ranges_free(struct fw_ranges *);
/* Is it one prefix?  Its length in bits, or -1. */
int fw_range_bits(enum fw_type, const struct fw_range *);
bool fw_range_single(enum fw_type, const struct fw_range *);
/* As nft writes it: "192.0.2.0/24", "192.0.2.1-192.0.2.7", "25", "echo-request". */
void fw_range_text(enum fw_type, const struct fw_range *, char *out, size_t size);
const char *fw_type_name(enum fw_type); /* "ipv4_addr" */

/* blocklist.c: a block list's text into ranges of the two families.  -1: that line (from 1) is wrong. */
int fw_blocklist_parse(struct view text, struct fw_ranges *v4, struct fw_ranges *v6, unsigned *line, struct error *);

/* model_build.c: what the makers share */
struct fw_chain *fw_chain_add(struct fw_model *, const char *name); /* regular */
struct fw_chain *fw_chain_hook(struct fw_model *, const char *name, enum fw_hook, int priority, bool accepts);
struct fw_chain *fw_chain_find(const struct fw_model *, const char *name);
struct fw_set *fw_set_add(struct fw_model *, const char *name, enum fw_type, const char *why);
struct fw_set *fw_set_find(const struct fw_model *, const char *name);
struct fw_rule *fw_rule_add(struct fw_model *, const char *chain, enum fw_verdict, const char *comment, ...)
    __attribute__((format(printf, 4, 5)));
struct fw_term *fw_term_add(struct fw_rule *, enum fw_term_kind);
void fw_rule_named(struct fw_rule *, enum fw_term_kind, const char *name); /* an interface */
void fw_rule_in_set(struct fw_rule *, enum fw_term_kind, enum fw_type, const char *set, bool by_64);
void fw_rule_prefixes(struct fw_rule *, enum fw_term_kind, enum fw_type, const struct strings *);
void fw_rule_address(struct fw_rule *, enum fw_term_kind, const char *address);
void fw_rule_ports(struct fw_rule *, enum fw_term_kind, uint8_t protocol, const uint16_t *ports, size_t count);
void fw_rule_port(struct fw_rule *, const char *protocol, uint16_t port);    /* "tcp", "udp": the destination */
void fw_rule_drops(struct fw_model *, struct fw_rule *, const char *reason); /* to the chain that logs and counts it */
bool fw_prefixes_have(const struct strings *, enum fw_type);

/* model_input.c, model_output.c, model_gateway.c */
void fw_model_guards(struct fw_model *, const struct site *, const char *chain); /* what stands before any service */
void fw_model_services(struct fw_model *, const struct site *, const char *chain, bool gateway);
void fw_model_input(struct fw_model *, const struct site *);
void fw_model_output(struct fw_model *, const struct site *);
/* Where mail leaves to: 25 and relay.port_out first, then submission, the smarthost and the site's routes. */
#define FW_MAIL_PORTS_MAX 133
size_t fw_ports_mail_leaves_to(const struct site *, uint16_t ports[FW_MAIL_PORTS_MAX]);
void fw_model_behind(struct fw_model *, const struct site *); /* who is behind a gateway, and its interfaces: first */
void fw_model_gateway(struct fw_model *, const struct site *);
void fw_rule_from_behind(const struct fw_model *, struct fw_rule *, enum fw_type);
size_t fw_mail_ports(const struct site *, uint16_t ports[SERVICE_COUNT]);
int fw_forwarder(const char *text, char address[64], uint16_t *port); /* of dns.forward: "ADDRESS" or "ADDRESS@PORT" */
bool fw_serves_dns(const struct site *);
const struct strings *fw_dns_clients(const struct site *, struct strings *room); /* NULL: nobody; none in it: anyone */
bool fw_family_on(const struct site *, enum fw_type);

/* text.c */
void fw_rule_text(const struct fw_rule *, struct buf *out);
/* Every chain that some site's model may have, so that text removes those of an older one. */
extern const char *const fw_all_chains[];
bool fw_chain_known(const struct fw_model *, const char *name); /* text deletes it anyhow */

#endif
