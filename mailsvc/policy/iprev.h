/* iprev (RFC 8601 3): does the address have a name that leads back to it (forward-confirmed reverse DNS)? */
#ifndef MAILSVC_POLICY_IPREV_H
#define MAILSVC_POLICY_IPREV_H

#include <sys/socket.h>

#include "mailsvc/policy/dns.h"

enum iprev_result {
	IPREV_PASS,
	IPREV_FAIL,      /* there are names, none leads back */
	IPREV_PERMERROR, /* the address has no name */
	IPREV_TEMPERROR,
};

struct iprev_verdict {
	enum iprev_result result;
	char name[256]; /* the one that leads back; else the first one claimed, "" without any; A-labels, lower case */
};

typedef void (*iprev_fn)(void *arg, const struct iprev_verdict *);
struct iprev_check;

/* The callback comes once, from the event loop; the check is freed when it returns. */
struct iprev_check *iprev_start(const struct policy_dns *dns, const struct sockaddr *, iprev_fn, void *arg);
void iprev_cancel(struct iprev_check *); /* the callback will not come; NULL is ignored */

const char *iprev_result_name(enum iprev_result);

#endif
