/*
 * The maildrop of a POP3 session: INBOX as it was at login, without what POP3 clients have deleted while `pop3.delete` was
 * hide or keep (those messages bear a keyword). Positions count from 1, as POP3 does.
 */
#ifndef MAILSVC_POP3_MAILDROP_H
#define MAILSVC_POP3_MAILDROP_H

#include "mailsvc/store/view.h"

#define MAILDROP_MAX 1000000
#define MAILDROP_HIDDEN "$POP3Deleted" /* the keyword */

struct maildrop_message {
	uint32_t uid;
	uint32_t size; /* octets with CRLF line ends */
	bool deleted;  /* marked by DELE */
};

struct maildrop {
	uint32_t mailbox, uid_validity;
	struct maildrop_message *at;
	uint32_t count, cap;
	int hidden;             /* number of the keyword in the mailbox, -1: none bears it */
	bool gaps;              /* hidden messages lie between those of the maildrop */
	int64_t before;         /* hidden ones that came before then are due */
	struct uid_range *due;  /* to be expunged */
	size_t due_count, due_cap;
};

/* From an open snapshot; -1 when the mailbox is not there. before: hidden messages saved earlier are due (seconds). */
int maildrop_load(struct maildrop *, struct store_view *, uint32_t mailbox, int64_t before);
void maildrop_free(struct maildrop *);
/* What stands there and is not marked as deleted, or NULL. */
struct maildrop_message *maildrop_get(struct maildrop *, uint64_t number);
void maildrop_stat(const struct maildrop *, uint32_t *count, uint64_t *octets);
void maildrop_reset(struct maildrop *);
/*
 * UIDs marked as deleted, as ranges: neighbours in the maildrop share one where what lies between their UIDs is gone
 * already. malloc'd, NULL when there are none.
 */
struct uid_range *maildrop_deleted(const struct maildrop *, size_t *count);

#endif
