/* inflate.h, by zlib. */
#include "lib/inflate.h"

#include <zlib.h>

#define PIECE 65536
#define WINDOW_BITS 15
#define GZIP 16 /* added to them: with gzip's header */

int inflate_all(struct view in, enum inflate_kind kind, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len };
	int rc;

	if (in.len > UINT32_MAX || inflateInit2(&z, kind == INFLATE_GZIP ? WINDOW_BITS + GZIP : -WINDOW_BITS) != Z_OK)
		return -1;
	do {
		char *room = buf_reserve(out, PIECE);

		if (room == NULL) {
			rc = Z_BUF_ERROR;
			break;
		}
		z.next_out = (Bytef *)room;
		z.avail_out = PIECE;
		rc = inflate(&z, Z_NO_FLUSH);
		out->len += PIECE - z.avail_out;
	} while (rc == Z_OK && (z.avail_in > 0 || z.avail_out == 0));
	inflateEnd(&z);
	return rc == Z_STREAM_END ? 0 : -1;
}
