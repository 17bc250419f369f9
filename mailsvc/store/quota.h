/*
 * How much an account may hold, as the site says it: what store refuses by, and what IMAP's QUOTA (RFC 9208) reports.
 * What is in use comes from the view: view_account (bytes, messages) and view_domain (bytes, messages).
 *
 * Two quota roots then: the account's, with STORAGE (KiB: bytes / 1024, usage rounded up) and MESSAGE, and the
 * domain's, with STORAGE, where the site has a limit for it.
 */
#ifndef MAILSVC_STORE_QUOTA_H
#define MAILSVC_STORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct site;

struct quota_limits {
	uint64_t bytes, messages; /* of the account; 0: no limit */
	uint64_t domain_bytes;    /* of all accounts of its domain together; 0: no limit */
	const char *domain; /* its name, for view_domain; the site's, "" when the site does not know the address */
};
/* false: the site has no such account (all limits are then 0). address: normalised. */
bool quota_limits_of(const struct site *, const char *address, struct quota_limits *);

#endif
