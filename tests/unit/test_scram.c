/* SCRAM-SHA-256: the example of RFC 7677, keys as text, and messages that must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "mailsvc/auth/scram.h"

/* RFC 7677 3: user "user", password "pencil". */
#define FIRST "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SERVER_FIRST "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct scram_keys pencil(void)
{
	struct buf salt = BUF_INIT(64);
	struct scram_keys keys;

	assert_int_equal(text_base64_decode(&salt, VIEW_LIT("W22ZaJ0SNY7soEsUEjb6gQ==")), 0);
	assert_int_equal(salt.len, SCRAM_SALT_LEN);
	scram_keys_make(VIEW_LIT("pencil"), (const uint8_t *)salt.data, 4096, &keys);
	buf_free(&salt);
	return keys;
}

static void test_rfc7677(void **state)
{
	struct scram_keys keys = pencil();
	struct scram_first first;
	char out[SCRAM_MESSAGE_MAX];

	(void)state;
	assert_int_equal(scram_client_first(view_of(FIRST), NULL, &first), 0);
	assert_string_equal(first.user, "user");
	assert_true(view_eq(first.header, "n,,"));
	scram_server_first(first.nonce, SERVER_NONCE, &keys, out);
	assert_string_equal(out, SERVER_FIRST);
	assert_int_equal(scram_client_final(view_of(FINAL), view_of(FIRST), SERVER_FIRST, &keys, NULL, out), 1);
	assert_string_equal(out, SERVER_FINAL);
	keys.stored[31] ^= 1;
	assert_int_equal(scram_client_final(view_of(FINAL), view_of(FIRST), SERVER_FIRST, &keys, NULL, out), 0);
	assert_string_equal(out, "");
}

static void test_text(void **state)
{
	static const char *const wrong[] = { "", "SCRAM-SHA-256$", "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$a:b",
		"SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$a:b", "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6$a:b" };
	struct scram_keys keys = pencil(), back;
	char text[SCRAM_TEXT_MAX];

	(void)state;
	scram_keys_text(&keys, text);
	assert_string_equal(text,
	    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
	    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	assert_int_equal(scram_keys_parse(view_of(text), &back), 0);
	assert_memory_equal(&keys, &back, sizeof(keys));
	for (size_t n = 0; n < strlen(text); n++) /* nothing shorter is one */
		assert_int_equal(scram_keys_parse((struct view){ text, n }, &back), -1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(scram_keys_parse(view_of(wrong[i]), &back), -1);
}

/* A password is the same however it was typed. */
static void test_prepared(void **state)
{
	static const struct {
		const char *a, *b;
	} same[] = { { "Bl\xc3\xbc"
		       "te",
			 "Blu\xcc\x88te" },  /* composed and not */
		{ "\xef\xbc\xb0wd", "Pwd" }, /* full width */
		{ "a\xc2\xa0z", "a z" },     /* no-break space */
		{ "I\xc2\xadX", "IX" } };    /* soft hyphen */
	uint8_t salt[SCRAM_SALT_LEN] = { 1 };
	struct scram_keys a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		scram_keys_make(view_of(same[i].a), salt, 4096, &a);
		scram_keys_make(view_of(same[i].b), salt, 4096, &b);
		if (memcmp(&a, &b, sizeof(a)) != 0)
			fail_msg("%s and %s differ", same[i].a, same[i].b);
	}
	scram_keys_make(view_of("Pwd"), salt, 4096, &a);
	scram_keys_make(view_of("pwd"), salt, 4096, &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
	scram_keys_make(view_of("\xff\xfe"), salt, 4096, &a); /* no UTF-8: as it is */
}

static void test_first(void **state)
{
	static const char *const wrong[] = { "", "n", "n,", "n,,", "n,,n=,r=abc", "n,,n=user,r=", "n,,n=user",
		"n,,r=abc,n=user", "p=tls-unique,,n=user,r=abc", "x,,n=user,r=abc", "n,a=other,n=user,r=abc",
		"n,,m=x,n=user,r=abc", "n,,n=us=er,r=abc", "n,,n=us=2,r=abc", "n,,n=user,r=a c",
		"n,,n=user,r=a\xc3\xa9", "n,b=user,n=user,r=abc" };
	struct scram_first first;
	char nonce[SCRAM_NONCE_MAX + 32];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (scram_client_first(view_of(wrong[i]), NULL, &first) != -1)
			fail_msg("taken: %s", wrong[i]);
	assert_int_equal(scram_client_first(view_of("y,a=a=2Cb=3D,n=a=2Cb=3D,r=abc,x=later"), NULL, &first), 0);
	assert_string_equal(first.user, "a,b=");
	assert_int_equal(scram_client_first(view_of("n,a=,n=user,r=abc"), NULL, &first), 0);
	assert_true(view_eq(first.nonce, "abc"));
	assert_int_equal(scram_client_first((struct view){ "n,,n=us\0er,r=abc", 16 }, NULL, &first), -1);
	memset(nonce, 'x', sizeof(nonce));
	memcpy(nonce, "n,,n=u,r=", 9);
	assert_int_equal(scram_client_first((struct view){ nonce, 9 + SCRAM_NONCE_MAX }, NULL, &first), 0);
	assert_int_equal(scram_client_first((struct view){ nonce, 9 + SCRAM_NONCE_MAX + 1 }, NULL, &first), -1);
}

static void test_final(void **state)
{
	static const char *const wrong[] = { "", "c=biws", "c=biws,r=" CLIENT_NONCE SERVER_NONCE,
		"c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=", "c=biws,r=" CLIENT_NONCE SERVER_NONCE ",p=YQ==",
		"c=biws,r=" CLIENT_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"c=eSws,r=" CLIENT_NONCE SERVER_NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"r=" CLIENT_NONCE SERVER_NONCE ",c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=" };
	struct scram_keys keys = pencil();
	char out[SCRAM_MESSAGE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (scram_client_final(view_of(wrong[i]), view_of(FIRST), SERVER_FIRST, &keys, NULL, out) != -1)
			fail_msg("taken: %s", wrong[i]);
	/* Well-formed, but with an extension that the proof does not cover. */
	assert_int_equal(scram_client_final(view_of("c=biws,r=" CLIENT_NONCE SERVER_NONCE
						    ",x=1,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
			     view_of(FIRST), SERVER_FIRST, &keys, NULL, out),
	    0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rfc7677), cmocka_unit_test(test_text),
		cmocka_unit_test(test_prepared), cmocka_unit_test(test_first), cmocka_unit_test(test_final) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
