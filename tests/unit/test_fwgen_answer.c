/* Answers of netlink as the kernel gives them, and as it gives them when somebody changes the rules meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fwgen/answer.h"

#define DATA 0x0a00
#define SEQUENCE 7

static int ends[2];

static int setup(void **state)
{
	(void)state;
	alarm(20); /* a read that never ends */
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
}

static int teardown(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void put(uint16_t type, uint16_t flags, uint32_t sequence, int value)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr body;
	} m = { .header = { .nlmsg_len = sizeof(m), .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = sequence },
		.body = { .error = value } };

	assert_int_equal(send(ends[1], &m, sizeof(m), 0), sizeof(m));
}

static int count(const struct nlmsghdr *h, void *arg)
{
	const struct nlmsgerr *body = mnl_nlmsg_get_payload(h);

	*(int *)arg += body->error;
	return MNL_CB_OK;
}

static int answer(int *seen)
{
	_Alignas(struct nlmsghdr) char room[256];

	*seen = 0;
	return fw_answer(ends[0], room, sizeof(room), SEQUENCE, 0, count, seen);
}

static void test_whole(void **state)
{
	int seen;

	(void)state;
	put(DATA, NLM_F_MULTI, SEQUENCE - 1, 1000); /* of an earlier request */
	put(NLMSG_DONE, NLM_F_MULTI, SEQUENCE - 1, 0);
	put(DATA, NLM_F_MULTI, SEQUENCE, 1);
	put(DATA, NLM_F_MULTI, SEQUENCE, 10);
	put(NLMSG_DONE, NLM_F_MULTI, SEQUENCE, 0);
	assert_int_equal(answer(&seen), 0);
	assert_int_equal(seen, 11);
	put(NLMSG_ERROR, 0, SEQUENCE, -ENOENT);
	assert_int_equal(answer(&seen), ENOENT);
}

/* libmnl stops at a message that says so: the dump is read to its end all the same, and that may be this message. */
static void test_interrupted(void **state)
{
	int seen;

	(void)state;
	put(DATA, NLM_F_MULTI | NLM_F_DUMP_INTR, SEQUENCE, 1);
	put(DATA, NLM_F_MULTI, SEQUENCE, 10);
	put(NLMSG_DONE, NLM_F_MULTI, SEQUENCE, 0);
	assert_int_equal(answer(&seen), EINTR);
	assert_int_equal(seen, 10);
	put(DATA, NLM_F_MULTI, SEQUENCE, 1);
	put(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, SEQUENCE, 0);
	assert_int_equal(answer(&seen), EINTR);
	put(DATA, NLM_F_MULTI, SEQUENCE, 1);
	put(NLMSG_DONE, NLM_F_MULTI, SEQUENCE, 0);
	assert_int_equal(answer(&seen), 0); /* nothing was left behind */
	assert_int_equal(seen, 1);
}

static void test_too_long(void **state)
{
	char long_one[1024] = { 0 };
	int seen;

	(void)state;
	assert_int_equal(send(ends[1], long_one, sizeof(long_one), 0), sizeof(long_one));
	assert_int_equal(answer(&seen), EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_whole), cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_too_long) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
