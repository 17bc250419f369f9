/* ARC verification of any message with any key record. */
#include "mailsvc/policy/arc_sets.h"
#include "tests/fuzz/key_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned calls;

static void took(void *arg, const struct arc_verdict *v)
{
	const struct view *message = arg;

	calls++;
	if (v->instance > ARC_INSTANCES_MAX || v->oldest_pass > v->instance ||
	    (v->result == ARC_PASS && (v->instance == 0 || v->sealer[0] == '\0')) ||
	    (v->result == ARC_NONE && (v->instance != 0 || v->closed)))
		abort();
	if (v->authres.len > 0 &&
	    (v->authres.ptr < message->ptr || v->authres.ptr + v->authres.len > message->ptr + message->len))
		abort();
	world_text(v->reason, false);
	world_text(v->sealer, true);
	world_text(v->selector, true);
	world_text(v->sealers, true);
	world_text(arc_result_name(v->result), false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;
	const struct policy_dns dns = { world_query, world_cancel, &w };

	world_of(&w, data, size);
	calls = 0;
	arc_verify_start(&dns, w.message, 1800000000, took, &w.message);
	if (calls != 0)
		abort();
	world_run(&w);
	if (calls != 1)
		abort();
	arc_verify_cancel(arc_verify_start(&dns, w.message, 1800000000, took, &w.message));
	world_run(&w);
	if (calls != 1)
		abort();
	return 0;
}
