/* The mbox format, mboxrd and mboxo: a pure parser, and its writer (export.c). */
#ifndef MAILSVC_MIGRATE_MBOX_H
#define MAILSVC_MIGRATE_MBOX_H

#include "lib/buf.h"

struct mbox_message {
	struct view from; /* its From_ line without the newline */
	struct view text; /* as it stands there, quoted, without the empty line before the next From_ line */
};
/* The next message; *at starts at 0.  false at the end.  What stands before the first From_ line is passed over. */
bool mbox_next(struct view file, size_t *at, struct mbox_message *out);

struct mbox_state {            /* what Dovecot, UW IMAP, mutt and Thunderbird keep in headers */
	uint32_t flags;        /* message_flag bits */
	uint32_t uid;          /* X-UID, 0: none */
	uint32_t uid_validity; /* X-IMAP, X-IMAPbase; 0: none */
	struct view keywords;  /* X-Keywords: words, unfolded; points into text */
	bool internal;         /* X-IMAP: the folder's own data, no message */
	bool expunged;         /* X-Mozilla-Status: deleted and not yet compacted */
};
/* Reads these headers, and appends the message without them and without its quoting ("> From"). -1: out is full. */
int mbox_take(struct view text, struct mbox_state *state, struct buf *out);
/* The date at the end of a From_ line, in local time; 0, -1. */
int mbox_from_date(struct view from, int64_t *when);

#endif
