/*
 * The policy tests of a site (firewall.tests), tried with packets: the rules are loaded in a network namespace of its
 * own, and TCP and UDP sockets talk through them from the outside world that the tests name.  Nothing of the machine's
 * own network is touched or asked.
 */
#ifndef FWGEN_TRY_H
#define FWGEN_TRY_H

#include "fwgen/fwgen.h"

enum fw_tried {
	FW_TRIED_ACCEPT, /* the connection stood, the datagram arrived */
	FW_TRIED_DROP,   /* silence */
	FW_TRIED_REFUSE, /* an answer that says no: reject */
};

struct fw_try { /* of site->firewall.tests[i] */
	enum fw_tried got;
	bool passed;
	bool sent;                   /* false: got is the model's word, or there was nothing to send; note says why */
	struct fw_decision decision; /* what the model says, with the rule that decides */
	char note[160];              /* "" or what there is to know */
};

/*
 * All tests of the site, in some seconds at most; results has site->firewall.test_count elements.  0 whatever they say;
 * -1 when they cannot be tried.  Needs root or user namespaces; without root what another user sends is not tried, and
 * the model's word is taken.  Forks: the caller must have one thread.
 */
int fw_try(const struct site *, const struct fw_model *, struct fw_try *results, struct error *);
const char *fw_tried_name(enum fw_tried); /* "accept", "drop", "refuse" */

#endif
