/*
 * How TLS went, in the terms of RFC 8460: a count a day for each next hop and kind of policy, a log line a session, and
 * at the end of a day one line for each next hop that had failures.
 *
 * Bounds: COUNT_DOMAINS_MAX next hops a day; those beyond count in the sums alone, and after a restart those that the file
 * had no room for (all with names of 50 bytes have; those with failures come first).
 */
#ifndef MAILSVC_SEND_TLS_COUNT_H
#define MAILSVC_SEND_TLS_COUNT_H

#include <event2/event.h>

#include "lib/buf.h"

enum tls_kind { /* policy-type; a demand of the route is not in RFC 8460 */
	TLS_KIND_NONE,
	TLS_KIND_DANE,
	TLS_KIND_STS,
	TLS_KIND_ROUTE,
	TLS_KIND_COUNT
};

enum tls_result { /* result-type (RFC 8460 4.3) */
	TLS_RESULT_OK,
	TLS_RESULT_STARTTLS, /* starttls-not-supported */
	TLS_RESULT_NAME,     /* certificate-host-mismatch */
	TLS_RESULT_EXPIRED,  /* certificate-expired */
	TLS_RESULT_TRUST,    /* certificate-not-trusted */
	TLS_RESULT_INVALID,  /* validation-failure */
	TLS_RESULT_TLSA,     /* tlsa-invalid */
	TLS_RESULT_DNSSEC,   /* dnssec-invalid */
	TLS_RESULT_FETCH,    /* sts-policy-fetch-error */
	TLS_RESULT_POLICY,   /* sts-policy-invalid */
	TLS_RESULT_WEBPKI,   /* sts-webpki-invalid */
	TLS_RESULT_COUNT
};
const char *tls_kind_name(enum tls_kind);     /* "tlsa", "sts", "no-policy-found", "route" */
const char *tls_result_name(enum tls_result); /* "ok", or as above */

struct tls_session {
	enum tls_kind kind;
	enum tls_result result;
	bool ignored;       /* a failure that does not keep mail back: testing, or no policy to go by */
	const char *domain; /* the next hop */
	const char *host, *address;
	const char *tls;    /* "TLSv1.3" or "none" */
	const char *reason; /* in words, "" none */
};

#define COUNT_DOMAINS_MAX 5000

struct tls_count;
struct tls_count *tls_count_new(void);
void tls_count_free(struct tls_count *);
/* Counts and logs one session; now in wall seconds. */
void tls_count_add(struct tls_count *, const struct tls_session *, int64_t now);
/* "tls": {...} for `status`: today's sums by kind, and the next hops with most failures (in at most 1200 bytes). */
void tls_count_status(struct tls_count *, int64_t now, struct buf *json);
/* All of it as bytes, as far as they fit, and back; false: these are none, and nothing is counted. */
void tls_count_pack(const struct tls_count *, struct buf *);
bool tls_count_unpack(struct tls_count *, struct view);

/* tls_count_file.c */
#define TLS_COUNT_BYTES (1u << 20) /* STATE/tls-counts, which monitor makes: zeros will do */
struct tls_count_file;
/*
 * Maps fd, which stays the caller's, and counts on from what it holds; what is broken is warned of and forgotten.  NULL:
 * -1, or a file of another size; then nothing is kept.
 */
struct tls_count_file *tls_count_file_open(int fd, struct tls_count *);
void tls_count_file_save(struct tls_count_file *, const struct tls_count *); /* NULL is fine, as below */
void tls_count_file_close(struct tls_count_file *);

#endif
