/*
 * MTA-STS (RFC 8461), pure: the TXT record of a domain, its policy file, and which hosts the policy names.
 */
#ifndef MAILSVC_SEND_MTA_STS_H
#define MAILSVC_SEND_MTA_STS_H

#include "mailsvc/resolver/client.h"

#define STS_ID_MAX 32
#define STS_MX_BYTES 3500           /* of all patterns, each ended by NUL */
#define STS_AGE_MAX 31557600        /* seconds (RFC 8461 3.2) */
#define STS_POLICY_MAX (64u * 1024) /* bytes of a policy file that are read */

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };
struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age;        /* seconds */
	char id[STS_ID_MAX + 1]; /* of the TXT record it was fetched for */
	size_t mx_len;
	char mx[STS_MX_BYTES]; /* lower case: "mx.example" or "*.example", each ended by NUL */
};

/* The id of a domain's record, from the TXT answer at _mta-sts.DOMAIN.  -1: there is not exactly one valid record. */
int sts_record(const struct dns_answer *, char id[STS_ID_MAX + 1]);
/* A policy file; id is left alone.  -1 with a reason (120 bytes): it is none, and must be treated as not there. */
int sts_policy_parse(struct view text, struct sts_policy *, char *reason);
/* "*.example" stands for one label. */
bool sts_policy_names(const struct sts_policy *, const char *host);

#endif
