/* Mailbox names both ways: what decodes encodes back to the same bytes; and LIST patterns, split at the first NUL. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/utf7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size }, pattern, name;
	struct buf again = BUF_INIT(8192);
	char out[513];
	const char *nul;

	if (size == 0)
		return 0;
	if (utf7_decode(in, out, sizeof(out)) == 0) {
		utf7_encode(view_of(out), &again);
		if (again.len != size || memcmp(again.data, data, size) != 0)
			abort();
	}
	buf_free(&again);
	nul = memchr(data, '\0', size);
	if (nul != NULL) {
		pattern = (struct view){ in.ptr, (size_t)(nul - in.ptr) };
		name = (struct view){ nul + 1, size - pattern.len - 1 };
		list_match(pattern, name);
	}
	return 0;
}
