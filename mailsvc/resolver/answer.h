/* From a DNS packet (RFC 1035 4) to a struct dns_answer. */
#ifndef MAILSVC_RESOLVER_ANSWER_H
#define MAILSVC_RESOLVER_ANSWER_H

#include "client.h"
#include "proto.h"

/* An answer that owns its records' bytes. */
struct dns_parsed {
	struct dns_answer answer; /* .records points at records */
	struct dns_record records[DNS_RECORDS_MAX];
	struct buf data;
	struct buf name; /* of answer.canonical */
};

/*
 * Takes the records of `type` from the answer section, whatever their owner (unbound has followed and checked the CNAME
 * chain).  A packet that cannot be read, or a reply code that is neither NOERROR nor NXDOMAIN, is DNS_TEMPFAIL.
 * Names that are not plain host names are dropped; if nothing is left that is DNS_TEMPFAIL too, not "no such type".
 */
void dns_answer_parse(const uint8_t *packet, size_t len, enum dns_type type, struct dns_parsed *out);
void dns_parsed_free(struct dns_parsed *);

#endif
