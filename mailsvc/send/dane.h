/*
 * DANE for SMTP (RFC 7672, RFC 6698, RFC 7671): TLSA records of a host, and where they are.
 *
 * Usable is DANE-TA(2) and DANE-EE(3) with selector 0 or 1 and matching 0, 1 or 2 and data of a fitting form; the
 * PKIX usages 0 and 1 are not (RFC 7672 3.1.3).
 */
#ifndef MAILSVC_SEND_DANE_H
#define MAILSVC_SEND_DANE_H

#include <openssl/ssl.h>

#include "mailsvc/resolver/client.h"

#define DANE_RECORDS_MAX 32
#define DANE_DATA_MAX (32u * 1024) /* of all records of a host */
#define DANE_NAME_MAX 255

struct dane {
	char base[DANE_NAME_MAX + 1]; /* the TLSA base domain: server name, and a name the certificate may have */
	size_t count;
	struct tlsa {
		uint8_t usage, selector, matching;
		struct view data; /* in dane.data */
	} at[DANE_RECORDS_MAX];
	struct buf data;
};

void dane_init(struct dane *);
void dane_free(struct dane *);
/* Takes the usable records of a TLSA answer; true when there is one.  base is a host name. */
bool dane_take(struct dane *, const struct dns_answer *, const char *base);
/*
 * Has OpenSSL check the records in the coming handshake.  domain, host: further names that the certificate of a trust
 * anchor's chain may have (RFC 7672 3.2.2), "" none.  -1: it takes none of the records.
 */
int dane_arm(const struct dane *, SSL *, const char *domain, const char *host);

enum dane_status {
	DANE_NONE, /* no TLSA records, or not a secure answer: as if there were no DANE */
	DANE_USABLE,
	DANE_UNUSABLE, /* records, but none usable: TLS without authentication (RFC 7672 2.2) */
	DANE_FAILED,   /* bogus, or no answer: the host must not be used, since that may be a downgrade */
};
struct dane_lookup;
/*
 * Looks for the records of host, whose name is known for sure, at `port`: its address (of that family) first, because
 * TLSA records are asked for only below secure addresses (RFC 7672 2.2.2); behind a CNAME at the name it leads to,
 * then at the host's own.  fn is called once, from the event loop; *dane is moved out of, and valid only if
 * DANE_USABLE.
 */
struct dane_lookup *dane_lookup(struct dns_client *, const char *host, uint16_t port, int family,
    void (*fn)(void *arg, enum dane_status, struct dane *), void *arg);
void dane_cancel(struct dane_lookup *); /* fn will not come; NULL is fine */

#endif
