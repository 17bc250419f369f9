/* The messages between the fetch role and those who ask it; one typed put/get pair each. */
#ifndef MAILSVC_FETCH_PROTO_H
#define MAILSVC_FETCH_PROTO_H

#include "client.h"

enum fetch_message {
	FETCH_MESSAGE_GET = 1,    /* u32 bytes, u32 seconds, blob url */
	FETCH_MESSAGE_ANSWER = 2, /* u8 status, u16 code, blob type, blob reason, blob body */
	FETCH_MESSAGE_CANCEL = 3, /* notification: u32 id of the GET */
};

int fetch_get_put(struct buf *out, const char *url, const struct fetch_limits *);
/* url holds FETCH_URL_MAX + 1 bytes.  -1: malformed, or a limit that is none. */
int fetch_get_get(struct view in, char *url, struct fetch_limits *);

void fetch_answer_put(struct buf *out, const struct fetch_answer *);
/* The body borrows from in.  -1: malformed. */
int fetch_answer_get(struct view in, struct fetch_answer *);

/*
 * Takes apart https://NAME[:PORT]/PATH: NAME a host name in A-labels (no address, no user), PORT 443 when there is
 * none, PATH printable ASCII without a fragment.  host holds 256 bytes.  -1: something else.
 */
int fetch_url_parse(const char *url, char *host, uint16_t *port);

#endif
