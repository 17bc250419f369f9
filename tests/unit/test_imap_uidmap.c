/* The UID map against a plain array, through random appends and expunges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/uidmap.h"

#define MODEL_MAX 4000

static uint32_t model[MODEL_MAX];
static uint32_t model_count;
static uint64_t seed = 88172645463325252u;

static uint32_t next_random(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed % below);
}

static void compare(const struct uidmap *m)
{
	uint32_t before = 0, runs = 0;

	assert_int_equal(m->count, model_count);
	for (uint32_t i = 0; i < model_count; i++) {
		assert_int_equal(uidmap_uid(m, i + 1), model[i]);
		assert_int_equal(uidmap_seq(m, model[i]), i + 1);
		assert_int_equal(uidmap_below(m, model[i]), i);
		assert_int_equal(uidmap_next(m, model[i]), model[i]);
		if (i > 0 && model[i] > model[i - 1] + 1) {
			assert_int_equal(uidmap_seq(m, model[i] - 1), 0);
			assert_int_equal(uidmap_next(m, model[i - 1] + 1), model[i]);
			assert_int_equal(uidmap_below(m, model[i] - 1), i);
		}
		if (i == 0 || model[i] != model[i - 1] + 1)
			runs++;
	}
	assert_int_equal(m->runs, runs);
	for (uint32_t i = 0; i < m->runs; i++) {
		assert_int_equal(m->run[i].before, before);
		before += m->run[i].count;
	}
	assert_int_equal(uidmap_last(m), model_count > 0 ? model[model_count - 1] : 0);
	assert_int_equal(uidmap_uid(m, 0), 0);
	assert_int_equal(uidmap_uid(m, model_count + 1), 0);
	assert_int_equal(uidmap_next(m, uidmap_last(m) + 1), 0);
}

static uint32_t model_remove(const struct uid_range *r, size_t count)
{
	uint32_t kept = 0, before = model_count;

	for (uint32_t i = 0; i < model_count; i++) {
		bool gone = false;

		for (size_t k = 0; k < count; k++)
			gone = gone || (model[i] >= r[k].first && model[i] <= r[k].last);
		if (!gone)
			model[kept++] = model[i];
	}
	model_count = kept;
	return before - kept;
}

static void test_against_model(void **state)
{
	struct uidmap m = { 0 };
	uint32_t uid = 0;

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct uid_range r[20];
		size_t count = 0;
		uint32_t at = 0;

		for (uint32_t n = next_random(40); n > 0 && model_count < MODEL_MAX; n--) {
			uid += next_random(10) == 0 ? 1 + next_random(5) : 1;
			assert_true(uidmap_append(&m, uid));
			model[model_count++] = uid;
		}
		compare(&m);
		for (uint32_t n = next_random(20); n > 0 && at <= uid; n--) {
			r[count].first = at + next_random(60);
			r[count].last = r[count].first + (next_random(3) == 0 ? next_random(30) : 0);
			at = r[count].last + 1;
			count++;
		}
		assert_int_equal(uidmap_remove(&m, r, count), model_remove(r, count));
		compare(&m);
	}
	uidmap_free(&m);
}

static void test_edges(void **state)
{
	struct uidmap m = { 0 };
	struct uid_range all = { 0, UINT32_MAX };

	(void)state;
	assert_int_equal(uidmap_seq(&m, 1), 0);
	assert_int_equal(uidmap_last(&m), 0);
	assert_int_equal(uidmap_next(&m, 1), 0);
	assert_int_equal(uidmap_remove(&m, &all, 1), 0);
	assert_false(uidmap_append(&m, 0));
	uidmap_append_run(&m, 5, 10000);
	assert_int_equal(m.runs, 1);
	assert_int_equal(uidmap_uid(&m, 10000), 10004);
	assert_false(uidmap_append(&m, 10004));
	assert_true(uidmap_append(&m, UINT32_MAX));
	assert_int_equal(uidmap_seq(&m, UINT32_MAX), 10001);
	assert_int_equal(uidmap_below(&m, UINT32_MAX), 10000);
	assert_int_equal(uidmap_remove(&m, &all, 1), 10001);
	assert_null(m.run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_edges),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("imap uidmap", tests, NULL, NULL);
}
