/* Mailboxes as files: pure writers of names and of messages in Maildir and mbox form.  What import reads back is the
 * same. */
#ifndef MAILSVC_MIGRATE_EXPORT_H
#define MAILSVC_MIGRATE_EXPORT_H

#include "mailsvc/store/view.h"

/*
 * A mailbox's path below the export: Maildir++ ".A.B" ("" for INBOX), or for an mbox "A.sbd/B".  Levels in modified
 * UTF-7, with "\2e" for a dot (as Dovecot's listescape has it) and "\5c" for a backslash.
 */
void export_maildir_path(const char *name, struct buf *out);
void export_mbox_path(const char *name, struct buf *out);
void export_unescape(char *level); /* "\2e" and "\5c" undone, in place */

/* CRLF becomes LF, unless that could not be undone. */
void export_lines(struct view message, struct buf *out);

#define EXPORT_LETTERS 26 /* keywords that a Maildir's names can carry */
/* "DATE.U17V5.mailadm,S=123" and, appended to it, ":2,FSab". */
void export_file_name(const struct message_row *, uint32_t uid_validity, uint64_t size, struct buf *base);
void export_file_flags(const struct message_row *, struct buf *out);

/* A whole entry of an mbox: From_ line, state as headers (mbox.h), the message quoted (mboxrd), an empty line. */
void export_mbox_entry(const struct mailbox_row *, const struct message_row *, struct view message, struct buf *out);

#endif
