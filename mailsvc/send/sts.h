/*
 * Which MTA-STS policy holds for a domain: kept in a file that outlives the process, fetched anew when the domain's TXT
 * record has another id or the copy grows old, and never given up before it expires (RFC 8461 5.1).
 */
#ifndef MAILSVC_SEND_STS_H
#define MAILSVC_SEND_STS_H

#include "mailsvc/fetch/client.h"
#include "mta_sts.h"
#include "tls_count.h"

#define STS_CACHE_BYTES ((8u << 20) + 4096) /* STATE/mta-sts, which monitor makes: zeros will do */

/* The copies: as many as fit; those that have expired make room, then those that were fetched first. */
struct sts_cache;
/*
 * Maps fd, which stays the caller's.  -1, or a file of another size: memory that lasts as long as the process.  What is
 * no such file, or of another version, begins empty.
 */
struct sts_cache *sts_cache_open(int fd);
void sts_cache_close(struct sts_cache *);
/* A copy that is valid at now (wall seconds); *fetched is when it came. */
bool sts_cache_get(const struct sts_cache *, const char *domain, int64_t now, struct sts_policy *, int64_t *fetched);
void sts_cache_put(struct sts_cache *, const char *domain, const struct sts_policy *, int64_t now);

struct sts;
/* port: where policies are served, 443 but in tests.  All is the caller's and outlives it. */
struct sts *sts_new(struct event_base *, struct dns_client *, struct fetch_client *, struct sts_cache *, int port);
void sts_set_port(struct sts *, int port);

struct sts_verdict {
	const struct sts_policy *policy; /* NULL: none holds */
	enum tls_result result;          /* what went wrong with looking for one, else TLS_RESULT_OK */
	char reason[160];
};
struct sts_wait;
/* fn is called once, from the event loop, within STS_WAIT_S seconds. */
#define STS_WAIT_S 40
struct sts_wait *sts_lookup(
    struct sts *, const char *domain, void (*fn)(void *arg, const struct sts_verdict *), void *arg);
void sts_cancel(struct sts_wait *); /* fn will not come; NULL is fine */

#endif
