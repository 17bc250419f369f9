/*
 * Asking the fetch role for what an HTTPS server has.  Certificates are always checked against the trust store, nothing
 * is followed, and only a 200 has a body.
 */
#ifndef MAILSVC_FETCH_CLIENT_H
#define MAILSVC_FETCH_CLIENT_H

#include "lib/rpc.h"

#define FETCH_URL_MAX 1024
#define FETCH_TYPE_MAX 127
#define FETCH_BODY_MAX 64000
#define FETCH_SECONDS_MAX 120

struct fetch_limits {
	size_t bytes;     /* of the body; at most FETCH_BODY_MAX */
	unsigned seconds; /* in all; at most FETCH_SECONDS_MAX */
};
enum fetch_status {
	FETCH_OK,          /* an HTTP answer, see code */
	FETCH_UNAVAILABLE, /* the fetch role is away or has too much to do */
	FETCH_REFUSED,     /* not a URL that it fetches: https://NAME[:PORT]/PATH, of a port it may reach */
	FETCH_DNS,
	FETCH_CONNECT,
	FETCH_TLS, /* no handshake, or the certificate is not valid for the name */
	FETCH_TIMEOUT,
	FETCH_TOO_LARGE,
	FETCH_BROKEN, /* not HTTP, or it ended early */
	FETCH_STATUS_COUNT
};
struct fetch_answer {
	enum fetch_status status;
	int code;                      /* FETCH_OK: of HTTP, 100..599 */
	char type[FETCH_TYPE_MAX + 1]; /* Content-Type, "" none */
	struct view body;              /* empty but with 200 */
	char reason[160];              /* unless FETCH_OK: in words */
};

typedef void (*fetch_fn)(void *arg, const struct fetch_answer *);
struct fetch_client;
struct fetch_client *fetch_client_new(struct event_base *);
void fetch_client_free(struct fetch_client *);
void fetch_client_attach(struct fetch_client *, int fd); /* of the channel that monitor sent */
/* fn is called once, from the event loop.  Returns an id for fetch_cancel, never 0. */
uint32_t fetch_get(struct fetch_client *, const char *url, const struct fetch_limits *, fetch_fn fn, void *arg);
void fetch_cancel(struct fetch_client *, uint32_t id); /* fn will not come; 0 is ignored */

#endif
