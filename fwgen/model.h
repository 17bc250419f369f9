/* The rule model: for who makes and who renders it. */
#ifndef FWGEN_MODEL_H
#define FWGEN_MODEL_H

#include "fwgen/fwgen.h"

enum fw_family { FW_ANY, FW_IPV4, FW_IPV6 };
enum fw_verdict { FW_ACCEPT, FW_DROP };

/* One rule; what is zero or empty does not match on it. */
struct fw_rule {
	const char *comment;
	enum fw_family family;  /* of from */
	bool loopback;          /* arrives on lo */
	const char *ct_state;   /* "established,related" */
	const char *icmp_types; /* ICMP of family: a set of type names */
	const char *protocol;   /* tcp or udp, with ports */
	uint16_t ports[32];
	size_t port_count;
	struct strings from; /* source prefixes, all of one family */
	enum fw_verdict verdict;
};

struct fw_model {
	struct fw_rule *input; /* in order; the policy is drop */
	size_t count;
};

#endif
