/* DKIM over any message: the body is canonicalised the same whole and in pieces, and canonical text is a fixed point.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/keys/dkim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collect(void *arg, const char *data, size_t len)
{
	buf_add(arg, data, len);
}

static void canonical(struct view body, size_t step, struct buf *out)
{
	struct dkim_body b;

	dkim_body_init(&b, collect, out);
	for (size_t i = 0; i < body.len; i += step)
		dkim_body_add(&b, (struct view){ body.ptr + i, body.len - i < step ? body.len - i : step });
	dkim_body_end(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view message = { (const char *)data, size };
	struct buf whole = BUF_INIT(1 << 26), bytes = BUF_INIT(1 << 26), again = BUF_INIT(1 << 26),
		   field = BUF_INIT(16384);
	const struct dkim_signer signer = { size % 2 ? DKIM_RSA : DKIM_ED25519, "example.org", "mail", 1 };
	uint8_t hash[32], body_hash[32] = { 0 };

	canonical(message, size + 1, &whole);
	canonical(message, 1, &bytes);
	if (whole.len != bytes.len || (whole.len > 0 && memcmp(whole.data, bytes.data, whole.len) != 0))
		abort();
	canonical(buf_view(&whole), 3, &again);
	if (whole.len != again.len || (whole.len > 0 && memcmp(whole.data, again.data, whole.len) != 0))
		abort();
	for (size_t i = 0; i < size; i++)
		body_hash[i % sizeof(body_hash)] ^= data[i];
	dkim_prepare(&signer, message, body_hash, &field, hash);
	dkim_finish(&field, (struct view){ (const char *)hash, sizeof(hash) });
	if (field.full || field.len < 100)
		abort();
	buf_free(&whole);
	buf_free(&bytes);
	buf_free(&again);
	buf_free(&field);
	return 0;
}
