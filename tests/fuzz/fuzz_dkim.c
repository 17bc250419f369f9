/* DKIM over any message: canonical text is a fixed point, hashes of its beginnings are right, and a signature field is
 * made. */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/keys/dkim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collect(void *arg, const char *data, size_t len)
{
	buf_add(arg, data, len);
}

static void canonical(enum dkim_canon canon, struct view body)
{
	struct buf once = BUF_INIT(1 << 26), again = BUF_INIT(1 << 26);
	struct dkim_body_hash wanted[3] = { { .limit = 0 }, { .limit = body.len / 2 }, { .limit = DKIM_BODY_ALL } };
	uint8_t hash[DKIM_HASH_LEN];

	dkim_body(canon, body, collect, &once);
	dkim_body(canon, buf_view(&once), collect, &again);
	if (once.len != again.len || (once.len > 0 && memcmp(once.data, again.data, once.len) != 0))
		abort();
	if (dkim_body_hashes(canon, body, wanted, 3) != once.len)
		abort();
	for (size_t i = 0; i < 3; i++) {
		dkim_hash(
		    (struct view){ once.data, wanted[i].limit < once.len ? (size_t)wanted[i].limit : once.len }, hash);
		if (memcmp(hash, wanted[i].hash, sizeof(hash)) != 0)
			abort();
	}
	buf_free(&once);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view message = { (const char *)data, size };
	struct buf field = BUF_INIT(16384);
	const struct dkim_signer signer = { size % 2 ? DKIM_RSA : DKIM_ED25519, "example.org", "mail", 1,
		(unsigned)(size % 3) };
	uint8_t hash[DKIM_HASH_LEN], body_hash[DKIM_HASH_LEN] = { 0 };

	canonical(DKIM_SIMPLE, message);
	canonical(DKIM_RELAXED, message);
	for (size_t i = 0; i < size; i++)
		body_hash[i % sizeof(body_hash)] ^= data[i];
	dkim_prepare(&signer, message, body_hash, &field, hash);
	dkim_finish(&field, (struct view){ (const char *)hash, sizeof(hash) });
	if (field.full || field.len < 100)
		abort();
	buf_free(&field);
	return 0;
}
