/* The peer matrix and what each role is given: the trust of the host, written down a second time on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mailsvc/role_proto.h"

static const char *const pairs[] = { "auth hash", "auth login", "auth imap", "auth smtp", "login imap", "store imap",
	"store smtp", "store send", "store fts", "fts imap", "resolver send", "resolver smtp", "resolver fetch", "fetch send", "keys smtp", "keys send", "guard auth", "guard login",
	"guard smtp", "send smtp" };

static bool expected(enum role_id a, enum role_id b)
{
	char one[64], other[64];

	if (a == b)
		return false;
	if (a == ROLE_MONITOR || b == ROLE_MONITOR)
		return true;
	snprintf(one, sizeof(one), "%s %s", role_name(a), role_name(b));
	snprintf(other, sizeof(other), "%s %s", role_name(b), role_name(a));
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (strcmp(pairs[i], one) == 0 || strcmp(pairs[i], other) == 0)
			return true;
	}
	return false;
}

static void test_matrix(void **state)
{
	(void)state;
	for (int a = 0; a < ROLE_COUNT; a++) {
		for (int b = 0; b < ROLE_COUNT; b++) {
			if (role_may_talk((enum role_id)a, (enum role_id)b) !=
			    expected((enum role_id)a, (enum role_id)b))
				fail_msg("%s - %s", role_name((enum role_id)a), role_name((enum role_id)b));
		}
	}
	assert_false(role_may_talk(ROLE_COUNT, ROLE_AUTH));
	assert_false(role_may_talk(ROLE_AUTH, (enum role_id)1000));
}

/* Who serves may have those ended whom it serves, and nobody else anybody. */
static void test_kill(void **state)
{
	static const unsigned may[ROLE_COUNT] = {
		[ROLE_AUTH] = 1u << ROLE_HASH | 1u << ROLE_LOGIN | 1u << ROLE_IMAP | 1u << ROLE_SMTP,
		[ROLE_STORE] = 1u << ROLE_IMAP | 1u << ROLE_SMTP | 1u << ROLE_SEND | 1u << ROLE_FTS,
		[ROLE_FTS] = 1u << ROLE_IMAP,
		[ROLE_FETCH] = 1u << ROLE_SEND,
		[ROLE_IMAP] = 1u << ROLE_LOGIN,
		[ROLE_RESOLVER] = 1u << ROLE_SEND | 1u << ROLE_SMTP | 1u << ROLE_FETCH,
		[ROLE_KEYS] = 1u << ROLE_SMTP | 1u << ROLE_SEND,
		[ROLE_SEND] = 1u << ROLE_SMTP,
		[ROLE_GUARD] = 1u << ROLE_AUTH | 1u << ROLE_LOGIN | 1u << ROLE_SMTP,
	};

	(void)state;
	for (int a = 0; a < ROLE_COUNT; a++) {
		for (int b = 0; b < ROLE_COUNT; b++)
			assert_int_equal(role_may_kill((enum role_id)a, (enum role_id)b), may[a] >> b & 1);
	}
	assert_false(role_may_kill(ROLE_STORE, ROLE_COUNT));
	assert_false(role_may_kill(ROLE_STORE, (enum role_id)1000));
}

static void test_given(void **state)
{
	static const unsigned holder[ROLE_FD_COUNT] = {
		[ROLE_FD_CREDENTIALS] = 1u << ROLE_AUTH,
		[ROLE_FD_SECRETS] = 1u << ROLE_SEND,
		[ROLE_FD_DKIM_KEYS] = 1u << ROLE_KEYS,
		[ROLE_FD_TLS] = 1u << ROLE_LOGIN | 1u << ROLE_SMTP,
		[ROLE_FD_STORE_DIR] = 1u << ROLE_STORE | 1u << ROLE_IMAP | 1u << ROLE_FTS,
		[ROLE_FD_BANS_DIR] = 1u << ROLE_GUARD,
		[ROLE_FD_REPLIED] = 1u << ROLE_SMTP,
		[ROLE_FD_GREYLIST] = 1u << ROLE_SMTP,
		[ROLE_FD_RATES] = 1u << ROLE_SMTP,
		[ROLE_FD_SOURCES] = 1u << ROLE_SMTP,
		[ROLE_FD_VERIFIED] = 1u << ROLE_SMTP,
		[ROLE_FD_SRS] = 1u << ROLE_SMTP,
		[ROLE_FD_FTS_DIR] = 1u << ROLE_FTS,
		[ROLE_FD_MTA_STS] = 1u << ROLE_SEND,
		[ROLE_FD_TLS_COUNTS] = 1u << ROLE_SEND,
	};

	(void)state;
	for (int fd = 0; fd < ROLE_FD_COUNT; fd++) {
		for (int id = ROLE_MONITOR + 1; id < ROLE_COUNT; id++)
			assert_int_equal(role_policy((enum role_id)id)->fds >> fd & 1, holder[fd] >> id & 1);
	}
	for (int service = 0; service < SERVICE_COUNT; service++) { /* each listener has one role */
		unsigned count = 0;

		for (int id = ROLE_MONITOR + 1; id < ROLE_COUNT; id++)
			count += role_policy((enum role_id)id)->services >> service & 1;
		assert_int_equal(count, 1);
	}
}

static void test_table(void **state)
{
	(void)state;
	for (int id = ROLE_MONITOR + 1; id < ROLE_COUNT; id++) {
		const struct role *role = role_by_id((enum role_id)id);

		assert_non_null(role);
		assert_int_equal(role->id, id);
		assert_string_equal(role->name, role_name((enum role_id)id));
		assert_int_equal(strncmp(role->user, "mailadm-", 8), 0);
	}
	assert_null(role_by_id(ROLE_MONITOR));
	assert_null(role_by_id(ROLE_COUNT));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_matrix), cmocka_unit_test(test_kill),
		cmocka_unit_test(test_given), cmocka_unit_test(test_table) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
