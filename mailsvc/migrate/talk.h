/* A client's side of an IMAP connection, blocking, for the reader of a migration (imap.c). */
#ifndef MAILSVC_MIGRATE_TALK_H
#define MAILSVC_MIGRATE_TALK_H

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "lib/log.h"

#define TALK_WAIT_MS 300000 /* without a byte from the server */

struct talk {
	int fd;
	SSL *ssl;
	struct buf in; /* what was received and not yet used, from in_at on */
	size_t in_at;
	struct buf response; /* the last one: a line with its literals in place, without the last CRLF */
	unsigned tag;
};

void talk_init(struct talk *, int fd);
/* verify: the certificate must be good for host. */
int talk_tls(struct talk *, SSL_CTX *, const char *host, bool verify, struct error *);
int talk_send(struct talk *, struct view, struct error *);
/* "TAG text CRLF"; the tag, or 0. */
unsigned talk_command(struct talk *, struct error *, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One response into t->response. -1: the connection is gone, or what came is none. */
int talk_receive(struct talk *, struct error *);

enum talk_kind { TALK_UNTAGGED, TALK_CONTINUE, TALK_OK, TALK_NO, TALK_BAD, TALK_OTHER };
/* What t->response is; rest: behind "* ", "+ " or "TAG OK ".  TALK_OTHER: tagged with another tag. */
enum talk_kind talk_kind(struct talk *, unsigned tag, struct view *rest);
/* Receives until the tagged answer, giving untagged ones to fn (may be NULL). 0 for OK; 1 for NO or BAD, rest says; -1.
 */
int talk_finish(
    struct talk *, unsigned tag, void (*fn)(void *, struct view), void *arg, struct view *rest, struct error *);
/* An argument as a quoted string. -1: it holds what none can. */
int talk_quote(struct buf *out, struct view v);

#endif
