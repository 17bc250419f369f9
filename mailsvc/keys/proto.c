/* Encoding and decoding of the messages of keys; lengths are bounded on both ends. */
#include "proto.h"

#include <string.h>

int keys_request_put(struct buf *out, const struct keys_request *r)
{
	buf_put_u8(out, (uint8_t)r->algorithm);
	buf_put_str(out, r->domain);
	buf_put_str(out, r->selector);
	return buf_add(out, r->hash, sizeof(r->hash));
}

int keys_request_get(struct view in, struct keys_request *r)
{
	struct cursor c = cursor_of(in.ptr, in.len);

	uint8_t algorithm = cursor_u8(&c);
	cursor_str(&c, r->domain, sizeof(r->domain));
	cursor_str(&c, r->selector, sizeof(r->selector));
	struct view hash = cursor_bytes(&c, sizeof(r->hash));
	if (!cursor_done(&c) || algorithm >= DKIM_ALGORITHMS)
		return -1;
	r->algorithm = (enum dkim_algorithm)algorithm;
	memcpy(r->hash, hash.ptr, sizeof(r->hash));
	return 0;
}

int keys_signature_put(struct buf *out, struct view signature)
{
	return buf_put_blob(out, signature);
}

int keys_signature_get(struct view in, struct view *signature)
{
	struct cursor c = cursor_of(in.ptr, in.len);

	*signature = cursor_blob(&c, KEYS_SIGNATURE_MAX);
	return cursor_done(&c) ? 0 : -1;
}
