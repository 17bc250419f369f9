/* A message on its way into a multi-line reply (RFC 1939 3): dot-stuffing, TOP's line count, the end. */
#ifndef MAILSVC_POP3_DOTS_H
#define MAILSVC_POP3_DOTS_H

#include <event2/buffer.h>

#include "lib/buf.h"

struct dots {
	bool line_start;   /* the next byte begins a line */
	bool body;         /* behind the blank line */
	bool blank;        /* the line has had no byte but CR so far */
	bool done;         /* TOP has had its lines */
	char last, second; /* the last two bytes written */
	uint64_t lines;    /* of the body still to be sent */
};

#define DOTS_ALL UINT64_MAX
void dots_init(struct dots *, uint64_t body_lines);
/* Appends a piece of the message. */
void dots_add(struct dots *, struct evbuffer *out, struct view piece);
/*
 * True: of a whole message (DOTS_ALL) this piece leaves as it is, and the caller puts it behind what left before.
 * False, and nothing has changed: give it to dots_add.
 */
bool dots_pass(struct dots *, struct view piece);
/* The CRLF that is missing, and the final dot. */
void dots_end(struct dots *, struct evbuffer *out);

#endif
