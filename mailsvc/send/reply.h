/*
 * SMTP replies (RFC 5321 4.2), as the client reads them.  The parser is incremental: any split of the bytes gives the
 * same result.
 */
#ifndef MAILSVC_SEND_REPLY_H
#define MAILSVC_SEND_REPLY_H

#include "lib/buf.h"

#define REPLY_LINE_MAX 1000 /* bytes without CRLF */
#define REPLY_LINES_MAX 100
#define REPLY_TEXT_MAX 500 /* bytes that reply_text makes */

enum reply_status {
	REPLY_MORE,  /* not whole yet */
	REPLY_DONE,  /* code and text are set; bytes behind the reply were not consumed */
	REPLY_ERROR, /* not an SMTP reply, or over a limit: give the connection up */
};

struct reply {
	int code;        /* 200..599 */
	struct buf text; /* the lines without their codes, each ended by "\n" */
	unsigned lines;
	bool done;
	size_t line_len; /* of the line being read */
	char line[REPLY_LINE_MAX + 1];
	bool cr;
};

void reply_init(struct reply *);
void reply_free(struct reply *);
void reply_reset(struct reply *); /* ready for the next one */
/* Consumes bytes up to the end of the reply; *used says how many. */
enum reply_status reply_feed(struct reply *, const char *data, size_t len, size_t *used);

/* "550 5.1.1 No such user": one line of printable bytes, cut at REPLY_TEXT_MAX. out holds REPLY_TEXT_MAX + 1. */
void reply_text(const struct reply *, char *out);
/*
 * The enhanced status (RFC 3463) of a reply text as reply_text makes it, or of our own words ("4.4.1 Connection
 * refused"): the one written there when its class ('2', '4' or '5') fits, else CLASS.0.0.
 */
void reply_enhanced(const char *text, char class, char out[16]);

/* What EHLO offered (RFC 5321 4.1.1.1). */
struct ehlo {
	bool pipelining, size, eight_bit, smtputf8, starttls, auth_plain, auth_login, dsn, chunking;
	uint64_t size_max; /* 0: none said */
};
void reply_ehlo(const struct reply *, struct ehlo *out);

#endif
