/* Delivery status notifications (RFC 3464, RFC 6522; internationalised: RFC 6533).  Pure: struct in, message out. */
#ifndef MAILSVC_SEND_DSN_H
#define MAILSVC_SEND_DSN_H

#include "lib/buf.h"

#define DSN_HEADERS_MAX 16384          /* bytes of the original header that go along */
#define DSN_FULL_MAX (8 * 1024 * 1024) /* a larger original goes along as its header only, whatever was asked */
#define DSN_MAX (12 * 1024 * 1024)

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_RELAYED, DSN_DELIVERED, DSN_EXPANDED }; /* RFC 3464 2.3.3 */

struct dsn_recipient {
	const char *address;
	const char *status; /* "5.1.1" */
	const char *remote; /* name of the host that said so, or "": nobody did, the words are ours */
	const char *reply;  /* "550 5.1.1 No such user", "" none */
	enum dsn_action action;
	const char *orcpt; /* as it travels (RFC 3461 4.2), "" or NULL: none */
};

struct dsn {
	const char *host;          /* our name */
	const char *unique;        /* for Message-ID and boundary: letters, digits, dots */
	const char *to;            /* who gets it */
	const char *sender;        /* of the message that failed */
	bool undeliverable_bounce; /* `to` is the postmaster: the message had no sender to tell, or was a bounce itself
	                            */
	bool expired;              /* given up after trying for a long time */
	const char *envid;         /* as it travels (RFC 3461 4.4), "" or NULL: none */
	bool full;                 /* the whole original goes along, when some recipient failed */
	int64_t arrived, now;
	int64_t until; /* what is delayed will be tried so long */
	const struct dsn_recipient *recipients;
	size_t count;
	struct view message; /* the original: its header, or all of it, goes along */
};

struct dsn_needs {
	bool eight_bit, smtputf8; /* of the next host */
};

/* Appends the whole message, CRLF line ends, no line over 998 bytes. out->max should be DSN_MAX. */
void dsn_build(const struct dsn *, struct buf *out, struct dsn_needs *needs);

#endif
