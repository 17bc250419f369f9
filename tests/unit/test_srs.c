/* Sender rewriting: there and back, in whatever case, and nothing that was not made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"
#include "mailsvc/smtp/srs.h"

#define NOW INT64_C(1795502688)
#define DAY 86400
static const struct srs ours = { .key = "0123456789abcdef0123456789abcde" }, other = { .key = "x" };

static void test_round(void **state)
{
	static const char *const senders[] = { "alice@example.net", "a.b+c=d@sub.example.net", "x@y.example",
		"0102018f3c2a1b4d-7a1b2c3d-0000-1111-2222-333344445555-000000@eu-west-1.amazonses.com",
		"SRS0=abcd=XY=first.example=bob@second.example", "srs0+abcd=XY=first.example=bob@second.example",
		"SRS1=hash=first.example==abcd=XY=origin.example=bob@second.example" };
	static const char *const origins[] = { NULL, NULL, NULL, NULL, "SRS0=abcd=XY=first.example=bob@second.example",
		"SRS0+abcd=XY=first.example=bob@second.example", "SRS0=abcd=XY=origin.example=bob@first.example" };
	char made[ADDRESS_MAX], back[ADDRESS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
		const char *want = origins[i] != NULL ? origins[i] : senders[i];
		assert_int_equal(srs_forward(&ours, senders[i], "mail.example.org", NOW, made), 0);
		assert_true(srs_looks_like(view_of(made)));
		assert_int_equal(srs_reverse(&ours, view_of(made), NOW, back), SRS_OK);
		if (strcasecmp(back, want) != 0)
			fail_msg("%s came back as %s", senders[i], back);
		assert_int_equal(srs_reverse(&ours, view_of(made), NOW + 21 * DAY, back), SRS_OK);
		assert_int_equal(srs_reverse(&ours, view_of(made), NOW + 23 * DAY, back), SRS_EXPIRED);
		assert_int_equal(srs_reverse(&ours, view_of(made), NOW + 500 * DAY, back), SRS_EXPIRED);
		assert_int_equal(srs_reverse(&other, view_of(made), NOW, back), SRS_FORGED);
		assert_int_equal(srs_origin(view_of(made), back), 0);
		text_lower(made); /* what hosts on the way may do */
		assert_int_equal(srs_reverse(&ours, view_of(made), NOW, back), SRS_OK);
		assert_int_equal(strcasecmp(back, want), 0);
	}
}

/* No byte of it can be changed. */
static void test_changed(void **state)
{
	static const char letters[] = "abcz019=+-.@";
	char made[ADDRESS_MAX], changed[ADDRESS_MAX], back[ADDRESS_MAX];

	(void)state;
	assert_int_equal(srs_forward(&ours, "alice@example.net", "mail.example.org", NOW, made), 0);
	size_t local = strcspn(made, "@");
	for (size_t i = 3; i < local; i++) {
		for (const char *c = letters; *c != '\0'; c++) {
			memcpy(changed, made, sizeof(made));
			changed[i] = *c;
			if ((changed[i] | 0x20) == (made[i] | 0x20) || (i == 4 && strchr("=+-", *c) != NULL))
				continue;
			if (srs_reverse(&ours, view_of(changed), NOW, back) != SRS_FORGED)
				fail_msg("taken: %s, made was %s", changed, made);
		}
	}
}

static void test_none(void **state)
{
	static const char *const none[] = { "", "@", "SRS0", "SRS0=", "SRS0=@x", "SRS0=aaaaaaaa=@x",
		"SRS0=aaaaaaaa=AA=x@y", "SRS1=aaaaaaaaaa=@x", "SRS2=aaaaaaaa=AA=x=y@z",
		"SRS0=aaaaaaaa=AA=example.net=alice", "alice@example.net", "SRS0=a" };
	char out[ADDRESS_MAX], text[ADDRESS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(srs_reverse(&ours, view_of(none[i]), NOW, out), SRS_FORGED);
	assert_int_equal(srs_forward(&ours, "", "mail.example.org", NOW, out), -1);
	assert_int_equal(srs_forward(&ours, "alice@[192.0.2.1]", "mail.example.org", NOW, out), -1);
	assert_int_equal(srs_forward(&ours, "\"a b\"@example.net", "mail.example.org", NOW, out), -1);
	memset(text, 'a', 195);
	memcpy(text + 195, "@b.example", 11);
	assert_int_equal(srs_forward(&ours, text, "mail.example.org", NOW, out), -1); /* it would be too long */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round), cmocka_unit_test(test_changed),
		cmocka_unit_test(test_none) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
