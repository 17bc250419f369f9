/* What the checks of mail ask of DNS: the resolver role in the daemon, something else in tests and on the command line. */
#ifndef MAILSVC_POLICY_DNS_H
#define MAILSVC_POLICY_DNS_H

#include "mailsvc/resolver/client.h"

struct policy_dns {
	/*
	 * Looks name up, in A-labels without a final dot.  The answer comes by the event loop, never from inside query,
	 * and is valid during the callback only.  Returns an id for cancel, never 0.
	 */
	uint32_t (*query)(void *ctx, const char *name, enum dns_type, dns_fn, void *arg);
	void (*cancel)(void *ctx, uint32_t id); /* the callback will not come; 0 is ignored */
	void *ctx;
};

/* By way of the resolver role. */
struct policy_dns policy_dns_of(struct dns_client *);

#endif
