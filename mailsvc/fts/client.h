/*
 * Asking fts which messages may hold a text.  Without fts, without an answer in FTS_TIMEOUT_MS, or when the index is
 * not there (yet), the answer is "not known" and the caller looks at every message.
 */
#ifndef MAILSVC_FTS_CLIENT_H
#define MAILSVC_FTS_CLIENT_H

#include "lib/rpc.h"
#include "mailsvc/fts/index.h"

#define FTS_TIMEOUT_MS 1000

struct fts_client;
struct fts_client *fts_client_new(struct event_base *);
void fts_client_attach(struct fts_client *, int fd);
bool fts_client_ready(const struct fts_client *);

/*
 * Of the mailbox's messages with a UID up to uid_upto, every one whose text may hold all the needles has its body's
 * number among bodies (rising; bodies of other mailboxes are among them too).  Above uid_upto nothing is known.
 */
struct fts_answer {
	bool known;
	uint32_t uid_upto;
	const uint64_t *bodies;
	size_t count;
};
typedef void (*fts_fn)(void *arg, const struct fts_answer *);
/*
 * needles: folded (mime_fold), FTS_NEEDLE_MIN bytes at least; of long ones, and of many, only the beginning is used,
 * which finds more.  account: the mailbox's owner.  The callback comes from the loop, never from inside.  Returns an id
 * for fts_cancel.
 */
uint32_t fts_query(struct fts_client *, uint32_t account, uint32_t mailbox, const struct view *needles, size_t count,
    fts_fn, void *arg);
void fts_cancel(struct fts_client *, uint32_t id); /* the callback will not come; 0 is ignored */

#endif
