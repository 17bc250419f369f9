/*
 * Identifiers that outlive UIDs (RFC 8474).  EMAILID names a message's bytes: a body and the header lines of its
 * delivery, so that copies and moves keep it.  MAILBOXID is the mailbox's number, which is never given twice and stays
 * through a rename.  There are no THREADIDs: NIL.  All are case-sensitive, of letters, digits and "-".
 */
#ifndef MAILSVC_IMAP_OBJECTID_H
#define MAILSVC_IMAP_OBJECTID_H

#include "mailsvc/store/view.h"

#define OBJECTID_MAX 255 /* characters, RFC 8474 7 */

void objectid_put_email(struct buf *out, const struct message_row *); /* "E17-00c0ffee", appended */
void objectid_put_mailbox(struct buf *out, uint32_t mailbox);         /* "M5", appended */
bool objectid_is_email(struct view id, const struct message_row *);   /* SEARCH EMAILID id */
bool objectid_valid(struct view id);                                  /* could anything be called so? */

#endif
