/* What message sets mean in a mailbox with holes, by sequence number and by UID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/imap.h"

/* UIDs 3 4 5 9 10 20 */
static struct imap_mailbox mailbox;
static struct imap_session session = { .mailbox = &mailbox };

static const struct {
	const char *set;
	bool uid;
	const char *want; /* NULL: refused */
} cases[] = {
	{ "1", false, "3:3" },
	{ "1:6", false, "3:20" },
	{ "*", false, "20:20" },
	{ "1:*", false, "3:20" },
	{ "2,4", false, "4:4,9:9" },
	{ "3,4", false, "5:9" }, /* neighbours: nothing lies between them */
	{ "4,3", false, "5:9" },
	{ "6:5", false, "10:20" },
	{ "1,1,1:2", false, "3:4" },
	{ "7", false, NULL },
	{ "1:7", false, NULL },
	{ "3:5", true, "3:5" },
	{ "1:*", true, "3:20" },
	{ "*", true, "20:20" },
	{ "6:8", true, "" },
	{ "5:9", true, "5:9" },
	{ "21", true, "" },
	{ "21:*", true, "20:20" }, /* "*" is the last message, and order does not matter */
	{ "*:2", true, "3:20" },
	{ "1:2,11:19", true, "" },
	{ "4294967295", true, "" },
	{ "1:4294967295", true, "3:20" },
	{ "4,10,20,5", true, "4:5,10:20" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[100];
		size_t len = strlen(cases[i].set), count = 99;
		struct imap_parser p;
		struct uid_range *ranges = NULL;
		struct buf out = BUF_INIT(1000);
		bool taken;

		memcpy(text, cases[i].set, len);
		p = imap_parser_of(text, len);
		taken = imap_parse_uids(&session, &p, cases[i].uid, &ranges, &count);
		if (taken != (cases[i].want != NULL))
			fail_msg("%s: taken %d", cases[i].set, taken);
		if (!taken) {
			assert_null(ranges);
			continue;
		}
		for (size_t k = 0; k < count; k++)
			buf_printf(&out, "%s%u:%u", k > 0 ? "," : "", ranges[k].first, ranges[k].last);
		if (strcmp(buf_str(&out), cases[i].want) != 0)
			fail_msg(
			    "%s (uid %d): got %s, wanted %s", cases[i].set, cases[i].uid, buf_str(&out), cases[i].want);
		buf_free(&out);
		free(ranges);
	}
}

static void test_empty_mailbox(void **state)
{
	struct imap_mailbox empty = { 0 };
	struct imap_session s = { .mailbox = &empty };
	char all[] = "1:*";
	struct imap_parser p = imap_parser_of(all, 3);
	struct uid_range *ranges;
	size_t count;

	(void)state;
	assert_false(imap_parse_uids(&s, &p, false, &ranges, &count));
	p = imap_parser_of(all, 3);
	assert_true(imap_parse_uids(&s, &p, true, &ranges, &count));
	assert_int_equal(count, 0);
}

static int fill(void **state)
{
	(void)state;
	uidmap_append_run(&mailbox.map, 3, 3);
	uidmap_append_run(&mailbox.map, 9, 2);
	uidmap_append_run(&mailbox.map, 20, 1);
	return 0;
}

static int empty_out(void **state)
{
	(void)state;
	uidmap_free(&mailbox.map);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_empty_mailbox),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("imap sets", tests, fill, empty_out);
}
