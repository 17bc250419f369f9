/*
 * Greylisting: a stranger that looks doubtful is asked to come again.  A network (an IPv4 /24, an IPv6 /64) that does
 * so for the same sender and recipient has shown that it has a queue, and is known from then on.
 */
#ifndef MAILSVC_SMTP_GREYLIST_H
#define MAILSVC_SMTP_GREYLIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GREYLIST_BITS 33              /* of struct shared_table: SHARED_GREYLIST_BYTES */
#define GREYLIST_WAIT_MAX (2 * 86400) /* seconds in which the second try must come */
#define GREYLIST_KNOWN (36 * 86400)   /* seconds that a network is known after its last mail */

struct shared_table;

/* Is the network known?  If so it is known for longer. */
bool greylist_known(struct shared_table *, const struct sockaddr *peer, int64_t now);
/*
 * May this mail come?  True from `delay` seconds after the first time it was asked until GREYLIST_WAIT_MAX, and the
 * network is known then.  Else false, and *wait says how many seconds are left.
 */
bool greylist_pass(struct shared_table *, const struct sockaddr *peer, const char *sender, const char *recipient,
    unsigned delay, int64_t now, unsigned *wait);

#endif
