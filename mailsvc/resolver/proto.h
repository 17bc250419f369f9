/* The messages between the resolver and those who ask it; one typed put/get pair each. */
#ifndef MAILSVC_RESOLVER_PROTO_H
#define MAILSVC_RESOLVER_PROTO_H

#include "client.h"

enum dns_message {
	DNS_MESSAGE_QUERY = 1, /* u16 type, blob name */
	DNS_MESSAGE_ANSWER =
	    2, /* u8 status, u8 secure, u32 ttl, blob canonical, u16 count, then a record each: u16 preference, blob data */
};

#define DNS_NAME_MAX 255     /* bytes of a name in presentation form, without the final dot */
#define DNS_DATA_MAX 8192    /* bytes of one record */
#define DNS_ANSWER_MAX 60000 /* bytes of an encoded answer; records beyond it are dropped */

int dns_query_put(struct buf *out, const char *name, enum dns_type type);
/* name holds DNS_NAME_MAX + 1 bytes. -1: malformed. */
int dns_query_get(struct view in, char *name, enum dns_type *type);

/* Drops records from the end when they would not fit. */
void dns_answer_put(struct buf *out, const struct dns_answer *a);
/* Record data borrow from in; records must have room for DNS_RECORDS_MAX. -1: malformed. */
int dns_answer_get(struct view in, struct dns_answer *a, struct dns_record *records);

#endif
