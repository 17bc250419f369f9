/* Who is banned: an IPv4 address, or an IPv6 /64 as its first address. */
#ifndef MAILSVC_GUARD_SOURCE_H
#define MAILSVC_GUARD_SOURCE_H

#include <sys/socket.h>

#include "lib/buf.h"

#define GUARD_SOURCE_TEXT 56 /* "2001:db8:1:2::/64" and NUL */

struct guard_source {
	uint8_t family;            /* 4, 6; 0: this machine itself, which nobody bans */
	unsigned char address[16]; /* network order; IPv6 masked to 64 bits; the rest zero */
};

/* ::ffff:192.0.2.1 is 192.0.2.1.  family and bytes as above, not yet masked. -1: another family. */
int guard_source_make(uint8_t family, const unsigned char bytes[16], struct guard_source *out);
void guard_source_of(const struct sockaddr *, struct guard_source *out); /* NULL and AF_UNIX: this machine */
/* "192.0.2.1", "192.0.2.1/32", "2001:db8::1", "2001:db8::/64"; -1 when it is none of these. */
int guard_source_parse(const char *text, struct guard_source *out);
void guard_source_text(const struct guard_source *, char out[GUARD_SOURCE_TEXT]);
bool guard_source_eq(const struct guard_source *, const struct guard_source *);
void guard_source_put(struct buf *, const struct guard_source *); /* u8 family, 16 bytes */
int guard_source_get(struct cursor *, struct guard_source *);     /* -1: malformed */

#endif
