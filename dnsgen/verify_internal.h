/* Between the files of verify.h. */
#ifndef DNSGEN_VERIFY_INTERNAL_H
#define DNSGEN_VERIFY_INTERNAL_H

#include "dnsgen/dnsgen.h"
#include "dnsgen/lookup.h"
#include "dnsgen/verify.h"

struct verify {
	const struct site *site;
	struct lookup *lookup;
	struct check_results *out;
};

struct verify_domain {
	const struct site_domain *d;
	const struct zone *wanted; /* what the site publishes for it */
	char *zone;                /* the zone it is in: itself, unless kept elsewhere */
	struct delegation delegation;
	bool secure; /* answers are validated by DNSSEC */
};

/* Rows about one check, of which only one is shown when all is well. */
struct tally {
	const char *check;
	size_t right, unknown;
	bool bad;
	char *seen;   /* of the first that is right */
	char *silent; /* the first that could not be asked, and why */
};

/* What is on every block list, and on none (RFC 5782 5). */
#define VERIFY_LISTED "127.0.0.2"
#define VERIFY_CLEAN "127.0.0.1"

#define VERIFY_ADDRESSES 2
/* The public addresses, "" when there is none: IPv4, IPv6. */
void verify_addresses(const struct site *, const char *out[VERIFY_ADDRESSES]);
char *verify_reverse(const char *address, const char *under); /* "4.3.2.1.UNDER", nibbles for IPv6; malloc'd; NULL */
bool verify_is_ours(const struct site *, const char *address);

void verify_host(struct verify *);
void verify_block_lists(struct verify *);
void verify_delegation(struct verify *, struct verify_domain *);
void verify_serial(struct verify *, struct verify_domain *);
void verify_dnssec(struct verify *, struct verify_domain *);
void verify_records(struct verify *, struct verify_domain *);
void verify_sts_policy(struct verify *, struct verify_domain *);
void verify_certificate(struct verify *, struct verify_domain *);

/* For a domain that is kept elsewhere "enter ... where the zone is kept", else "run: mailadm dns push". */
char *verify_remedy(const struct verify_domain *, const char *record);
/* The live SPF record of domain for our addresses: adds rows when it does not do; true when it does. same: it is what
 * the site publishes. */
bool verify_spf(struct verify *, const char *domain, struct view record, bool same);

/* A record in one line, without its TTL; malloc'd. */
char *verify_text(const ldns_rr *);
/* Do two records say the same? TTL and case of names aside. */
bool verify_same(const ldns_rr *, const ldns_rr *);

#endif
