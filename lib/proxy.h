/*
 * The PROXY protocol, version 2 only: a load balancer in front says in a binary header, before anything else, who its
 * client is (haproxy's proxy-protocol.txt).  Whoever may say so is decided before this is called.
 */
#ifndef LIB_PROXY_H
#define LIB_PROXY_H

#include <event2/event.h>
#include <stddef.h>
#include <sys/socket.h>

#define PROXY_FIXED 16      /* bytes of every header; the last two say how many follow */
#define PROXY_REST_MAX 2048 /* addresses and TLVs, which may hold a client certificate's name */
#define PROXY_SECONDS 5     /* until the header is whole */

/* How many bytes follow the fixed part; -1: that is no PROXY v2 header. */
int proxy_rest(const unsigned char fixed[PROXY_FIXED]);
/*
 * The header and the rest bytes behind it.  0, and *peer is the client; 1: the balancer speaks for itself (LOCAL, a
 * health check) or does not say for whom: *peer is untouched; -1: malformed, or no TCP.
 */
int proxy_parse(
    const unsigned char fixed[PROXY_FIXED], const unsigned char *rest, size_t len, struct sockaddr_storage *peer);

/*
 * Reads exactly the header from a non-blocking, accepted fd, and not a byte more.  fn is called from the loop, once:
 * with the fd, which is the caller's again, and who the client is (from, when the balancer speaks for itself); or with
 * -1, closed, when no header came in time, what came was none, or another machine's balancer names a client on loopback:
 * that would be taken for a program on this one.
 */
typedef void (*proxy_fn)(void *arg, int fd, const struct sockaddr_storage *peer);
void proxy_read(struct event_base *, int fd, const struct sockaddr_storage *from, proxy_fn, void *arg);

#endif
