/* DKIM: canonicalisation (the examples of RFC 6376 3.4.5 among them), header choice, and signatures that verify. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"
#include "mailsvc/keys/dkim.h"

static void collect(void *arg, const char *data, size_t len)
{
	buf_add(arg, data, len);
}

static void test_body(void **state)
{
	static const struct {
		const char *in, *out, *simple;
	} cases[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n", " C \r\nD \t E\r\n" }, /* the RFC's */
		{ "", "", "\r\n" },
		{ "\r\n\r\n", "", "\r\n" },
		{ " \t\r\n \r\n", "", " \t\r\n \r\n" },
		{ "a", "a\r\n", "a\r\n" },
		{ "a \t", "a\r\n", "a \t\r\n" },
		{ "a\r\n", "a\r\n", "a\r\n" },
		{ "\r\n\r\na\r\n\r\nb\r\n \r\n\r\n", "\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n \r\n" },
		{ "\t a  b\r\n", " a b\r\n", "\t a  b\r\n" },
		{ "a \r\n\t", "a\r\n", "a \r\n\t\r\n" },
		{ "a\rb\r\n", "a\rb\r\n", "a\rb\r\n" },
		{ "a \r b\r\n", "a \r b\r\n", "a \r b\r\n" },
		{ "a\nb\r\r\n", "a\nb\r\r\n", "a\nb\r\r\n" },
		{ "a\n\n", "a\n\n\r\n", "a\n\n\r\n" },
		{ "a\r", "a\r\r\n", "a\r\r\n" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		dkim_body(DKIM_RELAXED, view_of(cases[i].in), collect, &out);
		if (strcmp(buf_str(&out), cases[i].out) != 0)
			fail_msg("case %zu relaxed: got \"%s\"", i, buf_str(&out));
		buf_reset(&out);
		dkim_body(DKIM_SIMPLE, view_of(cases[i].in), collect, &out);
		if (strcmp(buf_str(&out), cases[i].simple) != 0)
			fail_msg("case %zu simple: got \"%s\"", i, buf_str(&out));
	}
	buf_free(&out);
}

static void test_header(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "A: X\r\n", "a:X\r\n" }, /* the RFC's */
		{ "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n" },
		{ "Subject:\r\n", "subject:\r\n" },
		{ "SUBJECT:  a  b\t c\r\n", "subject:a b c\r\n" },
		{ "X:a\r\n \r\n b\r\n", "x:a b\r\n" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		dkim_header(DKIM_RELAXED, view_of(cases[i].in), &out);
		assert_string_equal(buf_str(&out), cases[i].out);
		buf_reset(&out);
		dkim_header(DKIM_SIMPLE, view_of(cases[i].in), &out);
		assert_string_equal(buf_str(&out), cases[i].in);
	}
	buf_reset(&out);
	dkim_header(DKIM_SIMPLE, VIEW_LIT("A:  b "), &out); /* the message ended there */
	assert_string_equal(buf_str(&out), "A:  b \r\n");
	buf_free(&out);
}

static void assert_hash(const uint8_t hash[DKIM_HASH_LEN], const char *want)
{
	struct buf text = BUF_INIT(100);

	text_base64_encode(&text, (struct view){ (const char *)hash, DKIM_HASH_LEN });
	assert_string_equal(buf_str(&text), want);
	buf_free(&text);
}

/* RFC 6376 3.4.3, 3.4.4: the SHA-256 of an empty body. */
static void test_empty_hash(void **state)
{
	struct dkim_body_hash body = { .limit = DKIM_BODY_ALL };

	(void)state;
	assert_int_equal(dkim_body_hashes(DKIM_RELAXED, VIEW_NONE, &body, 1), 0);
	assert_hash(body.hash, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
	assert_int_equal(dkim_body_hashes(DKIM_SIMPLE, VIEW_NONE, &body, 1), 2);
	assert_hash(body.hash, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
}

/* Many limits in one go, of a body in pieces of all sizes: the hashes of its beginnings. */
static void test_limits(void **state)
{
	struct buf body = BUF_INIT(1 << 20), canonical = BUF_INIT(1 << 20);
	struct dkim_body_hash wanted[300];
	uint8_t want[DKIM_HASH_LEN];

	(void)state;
	for (int i = 0; i < 6000; i++)
		buf_puts(&body, i % 7 == 0 ? "a  b\t" : i % 97 == 0 ? "\r\n" : "word ");
	for (int i = 0; i < 3000; i++)
		buf_addc(&body, 'x');
	buf_puts(&body, "\r\n\r\n");
	for (enum dkim_canon canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
		size_t count = sizeof(wanted) / sizeof(wanted[0]);
		buf_reset(&canonical);
		dkim_body(canon, buf_view(&body), collect, &canonical);
		for (size_t i = 0; i < count; i++)
			wanted[i].limit = i < 2 ? 0 : i == count - 1 ? DKIM_BODY_ALL : i * i / 2 * 1;
		assert_int_equal(dkim_body_hashes(canon, buf_view(&body), wanted, count), canonical.len);
		for (size_t i = 0; i < count; i++) {
			size_t len = wanted[i].limit < canonical.len ? (size_t)wanted[i].limit : canonical.len;
			dkim_hash((struct view){ canonical.data, len }, want);
			assert_memory_equal(wanted[i].hash, want, sizeof(want));
		}
	}
	buf_free(&body);
	buf_free(&canonical);
}

static const char message[] = "Received: from x by y; Tue, 24 Nov 2026 06:44:48 +0000\r\n"
			      "From: Alice  Example <alice@example.org>\r\n"
			      "To: bob@example.net\r\n"
			      "To: carol@example.net\r\n"
			      "subject: one\r\n"
			      "\ttwo\r\n"
			      "Message-ID: <1@example.org>\r\n"
			      "\r\n"
			      "Hello \t world  \r\n"
			      "\r\n";

static void test_field(void **state)
{
	const struct dkim_signer signer = { DKIM_RSA, "example.org", "mail", 1795502748, 0 };
	struct buf field = BUF_INIT(16384);
	uint8_t hash[32] = { 0 }, signature[256];

	(void)state;
	memset(signature, 0xa5, sizeof(signature));
	dkim_prepare(&signer, view_of(message), hash, &field, hash);
	dkim_finish(&field, (struct view){ (const char *)signature, sizeof(signature) });
	const char *text = buf_str(&field);
	assert_memory_equal(
	    text, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=mail;\r\n", 78);
	assert_non_null(strstr(text, " h=From:To:To:Subject:Message-ID:From;"));
	for (const char *p = text; *p != '\0';) {
		size_t len = strcspn(p, "\r");
		assert_in_range(len, 1, 78);
		p += len;
		assert_memory_equal(p, "\r\n", 2);
		p += 2;
		assert_true(*p == '\0' || *p == '\t');
	}
	buf_free(&field);
}

/* A long domain and a header full of one name: still a field, within its limits. */
static void test_extremes(void **state)
{
	struct buf field = BUF_INIT(16384), big = BUF_INIT(1 << 20);
	char domain[256];
	struct dkim_signer signer = { DKIM_ED25519, domain, "s", 1, 0 };
	uint8_t hash[32] = { 0 };

	(void)state;
	memset(domain, 'd', sizeof(domain) - 1);
	domain[255] = '\0';
	buf_puts(&big, "From: a@b\r\n");
	for (int i = 0; i < 1000; i++)
		buf_puts(&big, "To: x@y\r\n");
	buf_puts(&big, "Subject: s\r\n\r\n");
	dkim_prepare(&signer, buf_view(&big), hash, &field, hash);
	assert_non_null(strstr(buf_str(&field), " a=ed25519-sha256;"));
	assert_non_null(strstr(buf_str(&field), "h=From:Subject:From;")); /* too many To: left unsigned */
	assert_in_range(field.len, 300, 1000);
	buf_reset(&field);
	signer.domain = "d";
	dkim_prepare(&signer, VIEW_NONE, hash, &field, hash);
	assert_non_null(strstr(buf_str(&field), "h=From;"));
	buf_free(&field);
	buf_free(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_body), cmocka_unit_test(test_header),
		cmocka_unit_test(test_empty_hash), cmocka_unit_test(test_limits), cmocka_unit_test(test_field),
		cmocka_unit_test(test_extremes) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
