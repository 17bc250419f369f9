/* Where a login comes from, as throttling sees it: an IPv4 address, an IPv6 /64, or this machine itself. */
#ifndef MAILSVC_AUTH_SOURCE_H
#define MAILSVC_AUTH_SOURCE_H

#include <sys/socket.h>

#include "lib/buf.h"

#define SOURCE_KEY_MAX 9

struct source {
	uint8_t key[SOURCE_KEY_MAX]; /* family and address, or family and first half */
	size_t length;
	bool loopback;
	char text[48]; /* the whole address, for logs */
};

void source_put(struct buf *, const struct sockaddr *); /* NULL and AF_UNIX: this machine */
int source_get(struct cursor *, struct source *);       /* -1: malformed */

#endif
