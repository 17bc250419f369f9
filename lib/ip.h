/* What a socket address says of its peer, whichever kind of socket it came by.  Pure. */
#ifndef LIB_IP_H
#define LIB_IP_H

#include <stdbool.h>
#include <sys/socket.h>

/* The four bytes of an IPv4 peer, also of one on an IPv6 socket (::ffff:192.0.2.1), within the address; NULL: none. */
const unsigned char *ip_v4(const struct sockaddr *);
bool ip_is_loopback(const struct sockaddr *);

#endif
