/* The messages between fts and imap; one typed put/get pair each.  Long answers travel as sealed memfds (proto_wrap).
 */
#ifndef MAILSVC_FTS_PROTO_H
#define MAILSVC_FTS_PROTO_H

#include "mailsvc/fts/client.h"

enum fts_message {
	FTS_MESSAGE_QUERY = 1,  /* u32 account, u32 mailbox, u16 count, then a blob each */
	FTS_MESSAGE_ANSWER = 2, /* wrapped: u8 known, u32 uid_upto, u32 count, then u64 each, rising */
};

#define FTS_NEEDLES_MAX 16
#define FTS_NEEDLE_MAX 1024                         /* bytes */
#define FTS_ANSWER_MAX (9 + 8 * FTS_CANDIDATES_MAX) /* bytes */

struct fts_request {
	uint32_t account, mailbox;
	struct view needles[FTS_NEEDLES_MAX];
	size_t count;
};
void fts_request_put(struct buf *out, const struct fts_request *);
int fts_request_get(struct view in, struct fts_request *); /* needles borrow from in; -1: malformed */

/* bodies: count times u64 as buf_put_u64 writes it. */
void fts_answer_put(struct buf *out, bool known, uint32_t uid_upto, struct view bodies);
int fts_answer_get(struct view in, struct fts_answer *, uint64_t **bodies); /* bodies: malloc'd; -1: malformed */

#endif
