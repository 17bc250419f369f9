/*
 * DNS questions of the command line: to the resolver, or to one server directly.  Many are asked at once by
 * lookup_prefetch; every answer is kept, so that lookup() afterwards costs nothing.  UDP first, TCP when the answer was
 * cut; tries are repeated; the whole context has one time limit.  Blocking: never for the daemon.
 */
#ifndef DNSGEN_LOOKUP_H
#define DNSGEN_LOOKUP_H

#include <ldns/ldns.h>

#include "lib/buf.h"
#include "lib/log.h"
#include "site/site.h"

enum lookup_status {
	LOOKUP_OK,     /* records of the type are there */
	LOOKUP_NODATA, /* the name is there, or there was a CNAME that leads to nothing of the type */
	LOOKUP_NXDOMAIN,
	LOOKUP_REFUSED, /* SERVFAIL, REFUSED, malformed answers ...: why says which */
	LOOKUP_TIMEOUT, /* nobody answered, or the address cannot be reached */
};

struct lookup_answer {
	enum lookup_status status;
	bool authoritative, validated; /* AA, AD */
	ldns_pkt *packet;              /* NULL when there is none */
	char *why;                     /* in words, for REFUSED and TIMEOUT; else "" */
};

/* server: "ADDRESS" or "ADDRESS@PORT"; NULL asks the resolver, with RD and DO. */
struct lookup_question {
	const char *server;
	const char *name; /* with or without the final dot */
	ldns_rr_type type;
};

struct lookup;
/* Resolvers: dns.forward, else loopback with dns.local_resolver, else /etc/resolv.conf. */
struct lookup *lookup_new(const struct site *, unsigned timeout_s, struct error *);
void lookup_free(struct lookup *); /* NULL is fine */
bool lookup_expired(const struct lookup *);

void lookup_prefetch(struct lookup *, const struct lookup_question *, size_t count);
/* The answer belongs to the context. Never NULL. */
const struct lookup_answer *lookup(struct lookup *, const char *server, const char *name, ldns_rr_type);

static inline bool lookup_answered(const struct lookup_answer *a)
{
	return a->status == LOOKUP_OK || a->status == LOOKUP_NODATA || a->status == LOOKUP_NXDOMAIN;
}

/*
 * The records of the type in the answer section that have all their fields, whose owner is the name or where its CNAMEs lead: a list to be freed
 * with ldns_rr_list_free (the records stay the answer's).  cname: was there one?
 */
ldns_rr_list *lookup_records(const struct lookup_answer *, const char *name, ldns_rr_type, bool *cname);
/* All strings of a TXT record in one. */
void lookup_txt(const ldns_rr *, struct buf *out);
/* A domain name without its final dot, lower case. malloc'd. */
char *lookup_name(const ldns_rdf *);

/* The zone that name is in, by the resolver; malloc'd; NULL when that cannot be asked, why says so. */
char *lookup_zone_of(struct lookup *, const char *name, struct buf *why);

/* The servers of a zone. */
struct authority {
	char *name;               /* of the server */
	struct strings addresses; /* IPv4 first; empty: its name has none */
	bool at_parent, in_zone;  /* who names it */
	struct strings glue;      /* addresses that the parent gave */
};
struct delegation {
	char *parent;        /* the zone above, or NULL when it was not found */
	char *parent_server; /* the address that answered for it, or NULL */
	bool delegated;      /* the parent names servers */
	struct authority *at;
	size_t count;
	char *why; /* what could not be asked, or "" */
};
/* What the parent and the zone say of the zone's servers. At most DELEGATION_MAX servers are taken. */
#define DELEGATION_MAX 32
void delegation_find(struct lookup *, const char *zone, struct delegation *out);
void delegation_free(struct delegation *);
/* Asks for all that delegation_find will want of these zones, and for their SOA and DNSKEY by their own servers. */
void delegations_prefetch(struct lookup *, char *const *zones, size_t count);

#endif
