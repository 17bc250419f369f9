/* lib/rpc.h: replies out of order, a peer that dies or is replaced, cancelling, freeing inside callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/log.h"
#include "lib/rpc.h"

#define CALLS 100

static struct event_base *base;
static struct rpc *rpc;
static int notices;

struct result {
	int ok, lost;
	uint32_t type, again_id, cancel;
	bool again, free_all;
};

static void settle(void)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void on_notice(struct imsg *m, void *arg)
{
	(void)arg;
	assert_int_equal(m->id, 0);
	notices++;
}

static void on_reply(void *arg, enum rpc_status status, struct imsg *m)
{
	struct result *r = arg;

	if (status == RPC_OK) {
		r->ok++;
		r->type = m->type;
	} else {
		assert_null(m);
		r->lost++;
	}
	if (r->again) {
		r->again = false;
		r->again_id = rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, r);
	}
	rpc_cancel(rpc, r->cancel);
	if (r->free_all) {
		rpc_free(rpc);
		rpc = NULL;
	}
}

/* A peer that echoes in reverse what has come, when told to. */
static int peer;

static int attach(void)
{
	int p[2];

	assert_int_equal(imsg_pair(p), 0);
	rpc_attach(rpc, p[0]);
	peer = p[1];
	return p[1];
}

static void answer_backwards(int count)
{
	struct buf storage = BUF_INIT(IMSG_MAX);
	uint32_t ids[CALLS], types[CALLS];

	for (int i = 0; i < count; i++) {
		struct imsg m;
		assert_int_equal(imsg_recv(peer, 1000, &m, &storage), 1);
		ids[i] = m.id;
		types[i] = m.type;
		assert_true(m.id != 0);
	}
	for (int i = count; i-- > 0;)
		assert_int_equal(imsg_send(peer, types[i] + 1000, ids[i], VIEW_NONE, -1), 0);
	buf_free(&storage);
}

static int setup(void **state)
{
	(void)state;
	notices = 0;
	base = event_base_new();
	rpc = rpc_new(base, on_notice, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rpc_free(rpc);
	event_base_free(base);
	return 0;
}

static void replies_in_any_order(void **state)
{
	struct result r[CALLS] = { 0 };

	(void)state;
	attach();
	for (uint32_t i = 0; i < CALLS; i++)
		assert_true(rpc_call(rpc, i, VIEW_LIT("question"), -1, on_reply, &r[i]) != 0);
	assert_int_equal(rpc_pending(rpc), CALLS);
	answer_backwards(CALLS);
	settle();
	settle();
	for (uint32_t i = 0; i < CALLS; i++) {
		assert_int_equal(r[i].ok, 1);
		assert_int_equal(r[i].type, i + 1000);
	}
	assert_int_equal(rpc_pending(rpc), 0);
	imsg_send(peer, 5, 0, VIEW_NONE, -1);
	imsg_send(peer, 5, 12345, VIEW_NONE, -1); /* of a call nobody made: ignored */
	settle();
	assert_int_equal(notices, 1);
	assert_true(rpc_attached(rpc));
	close(peer);
}

static void without_a_peer(void **state)
{
	struct result r = { 0 };
	int p[2];
	char c;

	(void)state;
	assert_false(rpc_attached(rpc));
	assert_int_equal(pipe(p), 0);
	rpc_call(rpc, 1, VIEW_NONE, p[1], on_reply, &r);
	assert_int_equal(read(p[0], &c, 1), 0); /* the descriptor was closed */
	close(p[0]);
	assert_int_equal(r.lost, 0); /* never from inside the call */
	assert_int_equal(rpc_notify(rpc, 1, VIEW_NONE, -1), -1);
	settle();
	assert_int_equal(r.lost, 1);
}

static void a_dead_peer_loses_calls(void **state)
{
	struct result r[3] = { { .again = true }, { 0 }, { 0 } };

	(void)state;
	attach();
	r[0].cancel = rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[2]);
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[0]);
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[1]);
	r[0].cancel = 0;
	close(peer);
	settle();
	assert_false(rpc_attached(rpc));
	assert_int_equal(r[0].lost, 2); /* the second try is lost as well, in a later round */
	assert_int_equal(r[1].lost, 1);
	assert_int_equal(r[2].lost, 1);
	assert_int_equal(rpc_pending(rpc), 0);
}

static void a_new_peer_loses_what_the_old_had(void **state)
{
	struct result r[2] = { { 0 }, { 0 } };

	(void)state;
	int old = attach();
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[0]);
	attach();
	assert_int_equal(r[0].lost, 0);
	rpc_call(rpc, 2, VIEW_NONE, -1, on_reply, &r[1]);
	answer_backwards(1);
	settle();
	assert_int_equal(r[0].lost, 1);
	assert_int_equal(r[1].ok, 1);
	assert_true(rpc_attached(rpc));
	close(old);
	close(peer);
}

static void cancelling(void **state)
{
	struct result r[3] = { { 0 }, { 0 }, { 0 } };

	(void)state;
	attach();
	uint32_t id = rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[0]);
	rpc_cancel(rpc, id);
	rpc_cancel(rpc, id);
	rpc_cancel(rpc, 0);
	answer_backwards(1);
	settle();
	assert_int_equal(r[0].ok + r[0].lost, 0);

	/* One that is already lost, from inside the callback of another. */
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[1]);
	r[1].cancel = rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[2]);
	close(peer);
	settle();
	assert_int_equal(r[1].lost, 1);
	assert_int_equal(r[2].lost, 0);
}

static void freeing_inside(void **state)
{
	struct result r[2] = { { .free_all = true }, { 0 } };

	(void)state;
	attach();
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[1]);
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[0]);
	answer_backwards(2); /* r[0] first */
	settle();
	assert_int_equal(r[0].ok, 1);
	assert_int_equal(r[1].ok + r[1].lost, 0);
	close(peer);

	rpc = rpc_new(base, NULL, NULL); /* and while things are lost */
	r[0] = (struct result){ .free_all = true };
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[0]);
	rpc_call(rpc, 1, VIEW_NONE, -1, on_reply, &r[1]);
	settle();
	assert_int_equal(r[0].lost, 1);
	assert_int_equal(r[1].ok + r[1].lost, 0);
}

static void count_broken(void *arg)
{
	++*(int *)arg;
}

static void unasked_messages_close(void **state)
{
	struct rpc *strict = rpc_new(base, NULL, NULL);
	int p[2], broken = 0;

	(void)state;
	rpc_on_broken(strict, count_broken, &broken);
	log_set_level(LOG_LEVEL_ERROR); /* the warning is wanted, but not here */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(imsg_pair(p), 0);
		rpc_attach(strict, p[0]);
		if (i == 0)
			imsg_send(p[1], 1, 0, VIEW_NONE, -1);
		else if (i == 1)
			assert_int_equal(write(p[1], "x", 1), 1);
		else
			shutdown(p[1], SHUT_RDWR); /* an end is no misbehaviour */
		settle();
		assert_false(rpc_attached(strict));
		assert_int_equal(broken, i == 0 ? 1 : 2);
		close(p[1]);
	}
	log_set_level(LOG_LEVEL_INFO);
	rpc_free(strict);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replies_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_peer_loses_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_peer_loses_what_the_old_had, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelling, setup, teardown),
		cmocka_unit_test_setup_teardown(freeing_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(unasked_messages_close, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
