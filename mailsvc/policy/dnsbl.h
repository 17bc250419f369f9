/* Lists of addresses in DNS (RFC 5782), of those to block or those to trust. */
#ifndef MAILSVC_POLICY_DNSBL_H
#define MAILSVC_POLICY_DNSBL_H

#include <sys/socket.h>

#include "mailsvc/policy/dns.h"

#define DNSBL_CODES_MAX 16

struct dnsbl_verdict {
	bool listed;
	bool failed; /* no answer that counts: DNS trouble, or the list refuses us (127.255.255.0/24); never listed too
	              */
	uint32_t code;                   /* the first of codes, 0 when not listed */
	uint32_t codes[DNSBL_CODES_MAX]; /* the addresses of the entry, in host order: 0x7f000002 is 127.0.0.2 */
	size_t count;
	char text[256]; /* the list's words (TXT), or what failed; printable ASCII */
};

typedef void (*dnsbl_fn)(void *arg, const struct dnsbl_verdict *);
struct dnsbl_check;

/* zone: "zen.spamhaus.org".  The callback comes once, from the event loop; the check is freed when it returns. */
struct dnsbl_check *dnsbl_start(
    const struct policy_dns *dns, const struct sockaddr *, const char *zone, dnsbl_fn, void *arg);
void dnsbl_cancel(struct dnsbl_check *); /* the callback will not come; NULL is ignored */

#endif
