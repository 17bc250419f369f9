/* What leaves this host has CR LF as line ends, and no other CR, LF or NUL (RFC 5321 2.3.8): nothing to smuggle with.
 */
#ifndef MAILSVC_SEND_WASH_H
#define MAILSVC_SEND_WASH_H

#include "lib/buf.h"

/* How many such bytes there are. */
size_t wash_count(struct view message);
/* Each becomes a space, so that lengths and lines stay as they are.  The last byte of a message may be the CR of
 * nothing. */
void wash_copy(struct view message, char *out);

#endif
