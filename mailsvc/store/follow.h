/* How a view learns of its pages: between client.c and view.c. */
#ifndef MAILSVC_STORE_FOLLOW_H
#define MAILSVC_STORE_FOLLOW_H

#include "client.h"

struct follow_ops {
	void (*reset)(void *arg);                     /* the channel is another one: the pages so far mean nothing */
	void (*page)(void *arg, bool shared, int fd); /* owned by the callee */
};
void store_client_follow(struct store_client *, const struct follow_ops *, void *arg);
bool store_client_attached(const struct store_client *);
bool store_client_reads_too(const struct store_client *); /* a command line's */

#endif
