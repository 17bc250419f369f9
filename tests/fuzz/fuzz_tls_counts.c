/* Kept counts of TLS: any bytes are refused and leave nothing, or are counts that are kept as they are. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/send/tls_count.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_count *c = tls_count_new(), *again = tls_count_new();
	struct buf first = BUF_INIT(1u << 22), second = BUF_INIT(1u << 22), json = BUF_INIT(1200);
	bool taken = tls_count_unpack(c, (struct view){ (const char *)data, size });

	tls_count_pack(c, &first);
	if (!tls_count_unpack(again, buf_view(&first)))
		abort();
	tls_count_pack(again, &second);
	if (first.len != second.len || (!taken && memchr(first.data, 1, first.len) != NULL))
		abort();
	tls_count_status(again, 86400, &json);
	if (json.full)
		abort();
	buf_free(&first);
	buf_free(&second);
	buf_free(&json);
	tls_count_free(c);
	tls_count_free(again);
	return 0;
}
