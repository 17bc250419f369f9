/* Questions and answers of the full-text index, packed. Both sides check what they get. */
#include "mailsvc/fts/proto.h"

#include <stdlib.h>

void fts_request_put(struct buf *out, const struct fts_request *r)
{
	buf_put_u32(out, r->account);
	buf_put_u32(out, r->mailbox);
	buf_put_u16(out, (uint16_t)r->count);
	for (size_t i = 0; i < r->count; i++)
		buf_put_blob(out, r->needles[i]);
}

int fts_request_get(struct view in, struct fts_request *r)
{
	struct cursor c = cursor_of(in.ptr, in.len);

	*r = (struct fts_request){ .account = cursor_u32(&c), .mailbox = cursor_u32(&c) };
	r->count = cursor_u16(&c);
	if (c.bad || r->count == 0 || r->count > FTS_NEEDLES_MAX)
		return -1;
	for (size_t i = 0; i < r->count; i++) {
		r->needles[i] = cursor_blob(&c, FTS_NEEDLE_MAX);
		if (c.bad || r->needles[i].len < FTS_NEEDLE_MIN)
			return -1;
	}
	return cursor_done(&c) ? 0 : -1;
}

void fts_answer_put(struct buf *out, bool known, uint32_t uid_upto, struct view bodies)
{
	buf_put_u8(out, known);
	buf_put_u32(out, uid_upto);
	buf_put_u32(out, (uint32_t)(bodies.len / 8));
	buf_addv(out, bodies);
}

int fts_answer_get(struct view in, struct fts_answer *a, uint64_t **bodies)
{
	struct cursor c = cursor_of(in.ptr, in.len);
	uint8_t known = cursor_u8(&c);
	uint32_t count;

	*a = (struct fts_answer){ .known = known == 1, .uid_upto = cursor_u32(&c) };
	count = cursor_u32(&c);
	*bodies = NULL;
	if (c.bad || known > 1 || count > FTS_CANDIDATES_MAX || c.left != (size_t)count * 8)
		return -1;
	*bodies = xreallocarray(NULL, (size_t)count + 1, sizeof(**bodies));
	a->bodies = *bodies;
	for (; a->count < count; a->count++) {
		(*bodies)[a->count] = cursor_u64(&c);
		if (a->count > 0 && (*bodies)[a->count] <= (*bodies)[a->count - 1]) {
			free(*bodies);
			*bodies = NULL;
			return -1;
		}
	}
	return cursor_done(&c) ? 0 : -1;
}
