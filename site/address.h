/*
 * Mail addresses (RFC 5321 4.1.2, RFC 6531): syntax, and the one normal form that everything compares.
 */
#ifndef SITE_ADDRESS_H
#define SITE_ADDRESS_H

#include "lib/buf.h"

#define ADDRESS_MAX 320 /* bytes with NUL: local part 64, domain 255 */

struct address {
	struct view local;  /* as written, quoted string included */
	struct view domain; /* as written; may be an address literal in brackets */
	bool utf8;          /* holds a non-ASCII byte: needs SMTPUTF8 */
	bool literal;       /* [192.0.2.1] or [IPv6:...] */
};

/* Parses exactly one Mailbox; 0, or -1 when v is none. No source routes, no display names. */
int address_parse(struct view v, struct address *out);
/*
 * The normal form: domain IDNA A-labels in lower case, local part unquoted where possible, NFC, case-folded.
 * -1 when it is no address or passes size.
 */
int address_normalise(struct view v, char *out, size_t size);
int domain_normalise(struct view v, char *out, size_t size);

#endif
