/* Asking the resolver: all DNS goes through it. */
#ifndef MAILSVC_RESOLVER_CLIENT_H
#define MAILSVC_RESOLVER_CLIENT_H

#include "lib/rpc.h"

enum dns_status {
	DNS_OK,     /* at least one record of the type */
	DNS_NODATA, /* the name exists, the type does not */
	DNS_NXDOMAIN,
	DNS_TEMPFAIL, /* SERVFAIL, timeout, bogus DNSSEC, resolver away */
};
enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };

struct dns_record {
	uint16_t preference; /* MX */
	struct view data;    /* A, AAAA: 4 or 16 bytes; MX, PTR, CNAME: a name without the final dot ("" is the root: null MX);
	                        TXT: strings joined; TLSA: rdata */
};
struct dns_answer {
	enum dns_status status;
	bool secure;  /* DNSSEC-validated */
	uint32_t ttl; /* seconds */
	struct view canonical; /* A, AAAA behind a CNAME: the name it leads to in the end; else empty */
	struct dns_record *records;
	size_t count; /* at most DNS_RECORDS_MAX, the rest is dropped */
};
#define DNS_RECORDS_MAX 64

typedef void (*dns_fn)(void *arg, const struct dns_answer *);
struct dns_client;
struct dns_client *dns_client_new(struct event_base *);
void dns_client_attach(struct dns_client *, int fd);
uint32_t dns_query(struct dns_client *, const char *name, enum dns_type, dns_fn, void *arg);
void dns_cancel(struct dns_client *, uint32_t id);

#endif
