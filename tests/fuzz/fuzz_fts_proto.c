/* Any bytes as a question to fts, as its answer, and as a text and a needle of its index's trigrams. */
#include <stdlib.h>

#include "mailsvc/fts/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fts_grams grams;
	struct view in = { (const char *)data, size };
	struct buf again = BUF_INIT(1 << 20);
	struct fts_request r;
	struct fts_answer a;
	uint64_t *bodies = NULL;

	if (fts_request_get(in, &r) == 0) {
		fts_request_put(&again, &r);
		if (again.len != size || memcmp(again.data, data, size) != 0)
			abort();
	}
	if (fts_answer_get(in, &a, &bodies) == 0) {
		for (size_t i = 1; i < a.count; i++)
			if (a.bodies[i] <= a.bodies[i - 1])
				abort();
		free(bodies);
	}
	if (grams.seen == NULL)
		fts_grams_init(&grams);
	fts_grams_reset(&grams);
	fts_grams_add(&grams, in);
	fts_grams_add(&grams, in);
	if (grams.out.len % 3 != 0 || (size >= 3) != (grams.out.len > 0) || grams.out.len > 3 * size)
		abort();
	buf_free(&again);
	return 0;
}
