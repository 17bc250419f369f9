/* Who is never banned: firewall.admin_from, firewall.never_ban, listen.proxy_from, checks.trusted, the host itself. */
#ifndef MAILSVC_GUARD_NEVER_H
#define MAILSVC_GUARD_NEVER_H

#include "mailsvc/guard/source.h"
#include "site/site.h"

struct never_prefix {
	bool ipv6;
	unsigned char address[16];
	unsigned length;
	const char *why; /* a constant */
	char text[64];
};

struct never {
	struct never_prefix *at;
	size_t count;
};

/* The site's prefixes and its own addresses, loopback, link-local IPv6.  The machine's addresses: never_add_machine. */
void never_of_site(struct never *, const struct site *);
void never_free(struct never *);
void never_add(struct never *, const char *prefix, const char *why); /* what is no address or prefix is left out */
/*
 * The addresses of this machine's interfaces, asked through a NETLINK_ROUTE socket that was opened before the sandbox
 * closed (never_machine_open; -1: none).
 */
int never_machine_open(void);
void never_add_machine(struct never *, int fd);
/* The prefix that the source shares an address with, or NULL. */
const struct never_prefix *never_find(const struct never *, const struct guard_source *);
/* "192.0.2.7 is in firewall.admin_from (192.0.2.0/24)" */
void never_explain(const struct never_prefix *, const struct guard_source *, char *out, size_t size);

#endif
