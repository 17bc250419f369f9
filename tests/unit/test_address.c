/* Addresses: the grammar's edges, the normal form, and that it is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "site/address.h"

static void accepts(void **state)
{
	(void)state;
	static const struct {
		const char *text, *local, *domain;
		bool utf8, literal;
	} good[] = {
		{ "alice@example.org", "alice", "example.org", false, false },
		{ "a@b", "a", "b", false, false },
		{ "first.last+tag@sub.example.org", "first.last+tag", "sub.example.org", false, false },
		{ "!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org", false, false },
		{ "\"\"@example.org", "\"\"", "example.org", false, false },
		{ "\"two words\"@example.org", "\"two words\"", "example.org", false, false },
		{ "\"a\\\"b\\\\@c\"@example.org", "\"a\\\"b\\\\@c\"", "example.org", false, false },
		{ "alice@[192.0.2.1]", "alice", "[192.0.2.1]", false, true },
		{ "alice@[IPv6:2001:db8::1]", "alice", "[IPv6:2001:db8::1]", false, true },
		{ "j\xC3\xB6rg@b\xC3\xBC"
		  "cher.example",
		    "j\xC3\xB6rg",
		    "b\xC3\xBC"
		    "cher.example",
		    true, false },
		{ "a@1.example", "a", "1.example", false, false },
		{ "a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", false, false },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct address a;
		if (address_parse(view_of(good[i].text), &a) < 0)
			fail_msg("refused: %s", good[i].text);
		assert_true(view_eq(a.local, good[i].local));
		assert_true(view_eq(a.domain, good[i].domain));
		assert_int_equal(a.utf8, good[i].utf8);
		assert_int_equal(a.literal, good[i].literal);
	}
}

static void refuses(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "@", "alice", "alice@", "@example.org", "alice@@example.org",
		".a@example.org", "a.@example.org", "a..b@example.org", "a b@example.org", "a@example..org",
		"a@.example.org", "a@example.org.", "a@-x.org", "a@x-.org", "a@x_y.org", "a@exa mple.org",
		"\"a@example.org", "\"a\"b@example.org", "\"a\nb\"@example.org", "\"a\\\"@example.org",
		"a@[192.0.2.256]", "a@[2001:db8::1]", "a@[IPv6:192.0.2.1]", "a@[192.0.2.1", "a@[]",
		"<alice@example.org>", "Alice <alice@example.org>", "@relay:alice@example.org",
		"alice@example.org,bob@example.org", "alice@example.org ", " alice@example.org",
		"a(comment)@example.org", "a\x7f@example.org", "\xC3@example.org", "a\xC0\xAF@example.org",
		"\xED\xA0\x80@example.org", "a\xC2\x85@example.org", "a\xE2\x80\xA8@example.org", "a@ex\xFF.org",
		"a\r\n@example.org", "a:b@example.org", "a@b@c" };
	struct address a;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (address_parse(view_of(bad[i]), &a) == 0)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(address_parse((struct view){ "a\0b@example.org", 15 }, &a), -1);
	assert_int_equal(address_parse(VIEW_NONE, &a), -1);
}

static void lengths(void **state)
{
	(void)state;
	struct address a;
	char out[ADDRESS_MAX];
	char local[260], text[600], domain[300];
	memset(local, 'a', sizeof(local));
	/* 200 bytes of local part are the most. */
	snprintf(text, sizeof(text), "%.200s@example.org", local);
	assert_int_equal(address_parse(view_of(text), &a), 0);
	snprintf(text, sizeof(text), "%.201s@example.org", local);
	assert_int_equal(address_parse(view_of(text), &a), -1);
	/* A label has at most 63, which counts once it is an A-label. */
	snprintf(domain, sizeof(domain), "%.63s.org", local);
	assert_int_equal(domain_normalise(view_of(domain), out, sizeof(out)), 0);
	snprintf(domain, sizeof(domain), "%.64s.org", local);
	assert_int_equal(domain_normalise(view_of(domain), out, sizeof(out)), -1);
	/* A domain has at most 255, and an address that fits no buffer is none. */
	struct buf b = BUF_INIT(600);
	buf_puts(&b, "a@");
	for (int i = 0; i < 128; i++)
		buf_puts(&b, i ? ".a" : "a");
	assert_int_equal(b.len, 2 + 255);
	assert_int_equal(address_normalise(buf_view(&b), out, sizeof(out)), 0);
	assert_int_equal(address_normalise(buf_view(&b), out, b.len), -1);
	assert_string_equal(out, "");
	assert_int_equal(address_normalise(buf_view(&b), out, b.len + 1), 0);
	buf_puts(&b, ".a");
	assert_int_equal(address_normalise(buf_view(&b), out, sizeof(out)), -1);
	buf_free(&b);
}

static void normal_form(void **state)
{
	(void)state;
	static const struct {
		const char *text, *normal;
	} pairs[] = {
		{ "Alice@Example.ORG", "alice@example.org" },
		{ "\"alice\"@example.org", "alice@example.org" },
		{ "\"a\\l\\ice\"@example.org", "alice@example.org" },
		{ "\"Two Words\"@example.org", "\"two words\"@example.org" },
		{ "\"a\\\"b\"@example.org", "\"a\\\"b\"@example.org" },
		{ "\".a\"@example.org", "\".a\"@example.org" },
		{ "\"\"@example.org", "\"\"@example.org" },
		/* decomposed and precomposed are one; capitals fold */
		{ "jo\xCC\x88rg@example.org", "j\xC3\xB6rg@example.org" },
		{ "J\xC3\x96RG@B\xC3\x9C"
		  "CHER.example",
		    "j\xC3\xB6rg@xn--bcher-kva.example" },
		{ "stra\xC3\x9F"
		  "e@stra\xC3\x9F"
		  "e.example",
		    "strasse@xn--strae-oqa.example" },
		{ "a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example" },
		/* U+037E becomes ';' in NFC: quoted, not let into an atom */
		{ "a\xCD\xBE"
		  "b@example.org",
		    "\"a;b\"@example.org" },
		{ "a@[IPv6:2001:DB8:0:0::1]", "a@[IPv6:2001:db8::1]" },
		{ "A@[192.0.2.1]", "a@[192.0.2.1]" },
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char once[ADDRESS_MAX], twice[ADDRESS_MAX];
		assert_int_equal(address_normalise(view_of(pairs[i].text), once, sizeof(once)), 0);
		assert_string_equal(once, pairs[i].normal);
		assert_int_equal(address_normalise(view_of(once), twice, sizeof(twice)), 0);
		assert_string_equal(twice, once);
	}
}

static void domains(void **state)
{
	(void)state;
	char out[256];
	assert_int_equal(domain_normalise(view_of("Example.ORG."), out, sizeof(out)), 0);
	assert_string_equal(out, "example.org");
	static const char *const bad[] = { "", ".", "..", "a..b", "a.b..", "-a", "a-", "[192.0.2.1]", "a b", "a_b.org",
		"a/b" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (domain_normalise(view_of(bad[i]), out, sizeof(out)) == 0)
			fail_msg("accepted: %s", bad[i]);
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(lengths),
		cmocka_unit_test(normal_form),
		cmocka_unit_test(domains),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
