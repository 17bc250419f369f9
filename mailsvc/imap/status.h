/* The items of STATUS (RFC 9051 6.3.11), also as LIST returns them (RFC 5819). */
#ifndef MAILSVC_IMAP_STATUS_H
#define MAILSVC_IMAP_STATUS_H

#include "imap.h"

enum status_item {
	STATUS_MESSAGES = 1,
	STATUS_RECENT = 2,
	STATUS_UIDNEXT = 4,
	STATUS_UIDVALIDITY = 8,
	STATUS_UNSEEN = 16,
	STATUS_DELETED = 32,          /* RFC 9208, RFC 9051 */
	STATUS_SIZE = 64,             /* RFC 8438 */
	STATUS_HIGHESTMODSEQ = 128,   /* RFC 7162: asking enables CONDSTORE */
	STATUS_APPENDLIMIT = 256,     /* RFC 7889 */
	STATUS_DELETED_STORAGE = 512, /* RFC 9208 */
	STATUS_MAILBOXID = 1024,      /* RFC 8474 */
};

/* "(MESSAGES UNSEEN)" as status_item bits, at least one. */
bool status_parse(struct imap_parser *, unsigned *wanted);
/*
 * "* STATUS name (...)" CRLF, appended; name: as the client knows the mailbox, UTF-8.  Within the snapshot that row is
 * of.  All comes from the mailbox's counters but DELETED-STORAGE, which looks for the deleted messages when there are
 * any.
 */
void status_put(struct imap_session *, struct buf *out, const char *name, const struct mailbox_row *, unsigned wanted);

#endif
