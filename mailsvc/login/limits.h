/* How many connections an address has: IPv4 addresses whole, IPv6 by /64, loopback not at all. */
#ifndef MAILSVC_LOGIN_LIMITS_H
#define MAILSVC_LOGIN_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address_counts;

struct address_counts *address_counts_new(void);
/* Counts one more, unless there are max already (false). Loopback always may. */
bool address_counts_add(struct address_counts *, const struct sockaddr *, unsigned max);
void address_counts_remove(struct address_counts *, const struct sockaddr *);

#endif
