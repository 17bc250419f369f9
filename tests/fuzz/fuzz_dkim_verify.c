/* DKIM verification of any message with any key record; the record is read as a list of tags, too. */
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/sigtags.h"
#include "tests/fuzz/key_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned calls;

static void took(void *arg, const struct dkim_result *r, size_t count)
{
	(void)arg;
	calls++;
	if (count > DKIM_SIGNATURES_MAX)
		abort();
	for (size_t i = 0; i < count; i++, r++) {
		if (r->verdict == DKIM_NONE || dkim_verdict_name(r->verdict)[0] == '\0')
			abort();
		if (r->verdict == DKIM_PASS && (r->key_bits == 0 || r->domain[0] == '\0' || r->selector[0] == '\0'))
			abort();
		world_text(r->reason, false);
		world_text(r->domain, true);
		world_text(r->selector, true);
		world_text(r->identity, true);
		world_text(r->algorithm, true);
		world_text(r->b, true);
	}
}

static void read_tags(struct view list)
{
	struct sigtags tags;
	struct buf bytes = BUF_INIT(4096);
	const char *problem = NULL;

	if (sigtags_parse(&tags, list, &problem) == -1) {
		world_text(problem, false);
		return;
	}
	for (size_t i = 0; i < tags.count; i++) {
		struct view rest = tags.tags[i].value, word;
		if (tags.tags[i].raw.ptr < list.ptr ||
		    tags.tags[i].raw.ptr + tags.tags[i].raw.len > list.ptr + list.len)
			abort();
		while (sigtags_word(&rest, &word))
			;
		sigtags_base64(tags.tags[i].value, &bytes);
	}
	buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;
	const struct policy_dns dns = { world_query, world_cancel, &w };

	world_of(&w, data, size);
	read_tags(w.record);
	calls = 0;
	dkim_verify_start(&dns, w.message, 1800000000, took, NULL);
	if (calls != 0)
		abort();
	world_run(&w);
	if (calls != 1)
		abort();
	dkim_verify_cancel(dkim_verify_start(&dns, w.message, 1800000000, took, NULL));
	world_run(&w);
	if (calls != 1)
		abort();
	return 0;
}
