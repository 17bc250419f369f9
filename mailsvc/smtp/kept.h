/* What a message that was kept (a mailbox, a file) says of the envelope that it came with.  Pure. */
#ifndef MAILSVC_SMTP_KEPT_H
#define MAILSVC_SMTP_KEPT_H

#include "lib/buf.h"
#include "site/address.h"

#define KEPT_RECIPIENTS_MAX 100

/* Who brought the message, from whom and to whom; "" and no recipients where it is not known. */
struct kept_envelope {
	bool from_known; /* from "" is <> then */
	char from[ADDRESS_MAX];
	char to[KEPT_RECIPIENTS_MAX][ADDRESS_MAX];
	size_t to_count;
	char helo[ADDRESS_MAX];
	char peer[64]; /* an address without brackets */
};

/*
 * Fills what is not known yet from Return-Path and Delivered-To in front of the topmost Received field, and from the
 * topmost one that names an address.  Returns how many bytes at the front of the message are what delivery here
 * (host_name) put there.
 */
size_t kept_envelope_fill(struct view message, const char *host_name, struct kept_envelope *);

#endif
