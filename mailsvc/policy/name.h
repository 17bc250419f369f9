/* Names and addresses, as the checks of mail need them: what the wire allows, not only what a host may be called. */
#ifndef MAILSVC_POLICY_NAME_H
#define MAILSVC_POLICY_NAME_H

#include <sys/socket.h>

#include "mailsvc/policy/dns.h"

#define POLICY_NAME_MAX 253 /* bytes of a name without its final dot */

struct policy_address {
	int family;              /* AF_INET or AF_INET6 */
	unsigned char bytes[16]; /* network order */
};

/* An IPv4-mapped address is an IPv4 one.  -1 when it is of another family. */
int policy_address(const struct sockaddr *, struct policy_address *);
size_t policy_address_size(const struct policy_address *); /* 4 or 16 */
/* Are the first bits of the address those of network (4 or 16 bytes)? */
bool policy_address_in(const struct policy_address *, const void *network, unsigned bits);
/* Does an answer to policy_address_type hold the address, or one of its prefix? */
bool policy_address_among(const struct policy_address *, const struct dns_answer *, unsigned bits);
enum dns_type policy_address_type(const struct policy_address *);
/* "1.2.0.192" or 32 nibbles with dots, then '.' and suffix; without a suffix in-addr.arpa or ip6.arpa. */
int policy_reverse(const struct policy_address *, const char *suffix, char name[256]);

/* Labels of 1 to 63 bytes, POLICY_NAME_MAX in all, no final dot. */
bool policy_name_ok(const char *name);
/* A domain from the mail: any printable ASCII, or U-labels made A-labels; lower case, final dot gone.  -1: it is none.
 */
int policy_domain(struct view, char out[256]);
/* Is name ancestor, or below it?  ASCII case is ignored; "" is above all. */
bool policy_below(const char *name, const char *ancestor);

/*
 * Asks for name, whose bytes may be any but NUL: a backslash is escaped.  Returns 0 and asks nothing when no such name
 * can be: treat it as DNS_NXDOMAIN.
 */
uint32_t policy_ask(const struct policy_dns *, const char *name, enum dns_type, dns_fn, void *arg);
/* The same for a name that DNS gave: escaped already. */
uint32_t policy_ask_host(const struct policy_dns *, const char *name, enum dns_type, dns_fn, void *arg);
/* Calls fn from the event loop without asking DNS for anything (its answer means nothing).  Returns an id to cancel. */
uint32_t policy_later(const struct policy_dns *, dns_fn, void *arg);

struct view policy_behind(struct view v, size_t n); /* without its first n bytes, which are there */

/* Makes text printable ASCII, in place: other bytes become '?'. */
void policy_clean(char *text);
__attribute__((format(printf, 3, 4))) void policy_say(
    char *out, size_t size, const char *fmt, ...); /* cut, and clean */

#endif
