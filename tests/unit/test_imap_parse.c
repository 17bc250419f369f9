/* The argument parser: one table a kind of argument, with what must be refused beside what must be taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/imap/parse.h"

static char text[4096];

static struct imap_parser parser(const char *s)
{
	size_t len = strlen(s);

	memcpy(text, s, len);
	return imap_parser_of(text, len);
}

typedef bool (*string_fn)(struct imap_parser *, struct view *);

static const struct {
	string_fn fn;
	const char *in, *want; /* NULL: refused */
	const char *rest;
} strings[] = {
	{ imap_parse_tag, "a.1] x", "a.1]", " x" },
	{ imap_parse_tag, "a+ x", "a", "+ x" },
	{ imap_parse_tag, "+", NULL, NULL },
	{ imap_parse_tag, "", NULL, NULL },
	{ imap_parse_tag, "0123456789012345678901234567890123456789012345678901234567890123",
	    "0123456789012345678901234567890123456789012345678901234567890123", "" },
	{ imap_parse_tag, "01234567890123456789012345678901234567890123456789012345678901234", NULL, NULL },
	{ imap_parse_atom, "foo)", "foo", ")" },
	{ imap_parse_atom, "a]b", "a", "]b" },
	{ imap_parse_atom, "\\Seen", NULL, NULL },
	{ imap_parse_atom, "\xc3\xbc", NULL, NULL },
	{ imap_parse_word, "BODY[1]", "BODY", "[1]" },
	{ imap_parse_word, "RFC822.SIZE)", "RFC822.SIZE", ")" },
	{ imap_parse_astring, "a]b c", "a]b", " c" },
	{ imap_parse_astring, "NIL", "NIL", "" },
	{ imap_parse_astring, "\"a b\" c", "a b", " c" },
	{ imap_parse_astring, "\"\"", "", "" },
	{ imap_parse_astring, "\"a\\\"\\\\b\"", "a\"\\b", "" },
	{ imap_parse_astring, "\"a\\n\"", NULL, NULL },
	{ imap_parse_astring, "\"a", NULL, NULL },
	{ imap_parse_astring, "\"a\\", NULL, NULL },
	{ imap_parse_astring, "\"a\r\n\"", NULL, NULL },
	{ imap_parse_astring, "{3}\r\nfoobar", "foo", "bar" },
	{ imap_parse_astring, "{3+}\r\nfoobar", "foo", "bar" },
	{ imap_parse_astring, "{0}\r\n", "", "" },
	{ imap_parse_astring, "{4}\r\nfoo", NULL, NULL },
	{ imap_parse_astring, "{3}foo", NULL, NULL },
	{ imap_parse_astring, "{3", NULL, NULL },
	{ imap_parse_astring, "{}\r\n", NULL, NULL },
	{ imap_parse_astring, "{+}\r\n", NULL, NULL },
	{ imap_parse_astring, "{99999999999}\r\nx", NULL, NULL },
	{ imap_parse_astring, "a%", "a", "%" },
	{ imap_parse_string, "foo", NULL, NULL },
	{ imap_parse_nstring, "NIL)", "(nil)", ")" },
	{ imap_parse_nstring, "nilx", NULL, NULL },
	{ imap_parse_nstring, "\"NIL\"", "NIL", "" },
	{ imap_parse_list_mailbox, "a%/*] x", "a%/*]", " x" },
	{ imap_parse_list_mailbox, "\"%\"", "%", "" },
};

static void test_strings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		struct imap_parser p = parser(strings[i].in);
		struct view v;
		bool taken = strings[i].fn(&p, &v);

		if (taken != (strings[i].want != NULL))
			fail_msg("%s: taken %d", strings[i].in, taken);
		if (!taken) {
			assert_non_null(p.error);
			assert_ptr_equal(p.p, text);
			continue;
		}
		if (strcmp(strings[i].want, "(nil)") == 0)
			assert_null(v.ptr);
		else if (!view_eq(v, strings[i].want))
			fail_msg("%s: got %.*s", strings[i].in, (int)v.len, v.ptr);
		if (!view_eq((struct view){ p.p, (size_t)(p.end - p.p) }, strings[i].rest))
			fail_msg("%s: left %.*s", strings[i].in, (int)(p.end - p.p), p.p);
	}
}

static void test_numbers(void **state)
{
	struct imap_parser p = parser("4294967295 x");
	uint32_t n;
	uint64_t big;

	(void)state;
	assert_true(imap_parse_number(&p, &n));
	assert_int_equal(n, UINT32_MAX);
	assert_true(imap_parse_sp(&p));
	assert_false(imap_parse_number(&p, &n));
	p = parser("4294967296");
	assert_false(imap_parse_number(&p, &n));
	assert_true(imap_parse_number64(&p, &big));
	assert_true(big == 4294967296u);
	p = parser("99999999999999999999");
	assert_false(imap_parse_number64(&p, &big));
	p = parser("0");
	assert_false(imap_parse_nz_number(&p, &n));
	assert_true(imap_parse_number(&p, &n));
	assert_true(imap_parse_end(&p));
}

static const struct {
	const char *in, *want; /* "1:3,7:7", 0 for "*" */
} sets[] = {
	{ "1", "1:1" },
	{ "1:3,7,*", "1:3,7:7,0:0" },
	{ "*:4", "0:4" },
	{ "5:*", "5:0" },
	{ "9:2", "9:2" },
	{ "0", NULL },
	{ "1:0", NULL },
	{ "1,", NULL },
	{ "1:", NULL },
	{ ":1", NULL },
	{ "a", NULL },
	{ "4294967296", NULL },
};

static void test_sets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct imap_parser p = parser(sets[i].in);
		struct buf out = BUF_INIT(1000);
		struct imap_set set;
		bool taken = imap_parse_set(&p, &set);

		if (taken != (sets[i].want != NULL))
			fail_msg("%s: taken %d", sets[i].in, taken);
		if (!taken)
			continue;
		for (size_t k = 0; k < set.count; k++)
			buf_printf(&out, "%s%u:%u", k > 0 ? "," : "", set.at[k].first, set.at[k].last);
		assert_string_equal(buf_str(&out), sets[i].want);
		buf_free(&out);
		imap_set_free(&set);
	}
}

static const struct {
	const char *in;
	bool bare;
	const char *want;
} flag_lists[] = {
	{ "(\\Seen \\deleted $Forwarded junk)", false, "9 $Forwarded junk" },
	{ "()", false, "0" },
	{ "\\Seen \\Draft foo", true, "17 foo" },
	{ "\\Seen", false, NULL },
	{ "(\\Recent)", false, NULL },
	{ "(\\Foo)", false, NULL },
	{ "(foo FOO)", false, "0 foo" },
	{ "(foo", false, NULL },
	{ "(foo )", false, NULL },
	{ "( foo)", false, NULL },
	{ "(a{b)", false, NULL },
	{ "(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)", false, NULL },
	{ "", true, NULL },
};

static void test_flags(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(flag_lists) / sizeof(flag_lists[0]); i++) {
		struct imap_parser p = parser(flag_lists[i].in);
		struct buf out = BUF_INIT(1000);
		struct imap_flags f;
		bool taken = imap_parse_flags(&p, flag_lists[i].bare, &f);

		if (taken != (flag_lists[i].want != NULL))
			fail_msg("%s: taken %d", flag_lists[i].in, taken);
		if (!taken)
			continue;
		buf_printf(&out, "%u", f.flags);
		for (size_t k = 0; k < f.keyword_count; k++)
			buf_printf(&out, " %s", f.keywords[k]);
		assert_string_equal(buf_str(&out), flag_lists[i].want);
		buf_free(&out);
		imap_flags_free(&f);
	}
}

static void test_many_keywords(void **state)
{
	char in[1000] = "(";
	struct imap_parser p;
	struct imap_flags f;
	size_t at = 1;

	(void)state;
	for (int i = 0; i < KEYWORDS_MAX + 1; i++)
		at += (size_t)snprintf(in + at, sizeof(in) - at, "%sk%d", i > 0 ? " " : "", i);
	snprintf(in + at, sizeof(in) - at, ")");
	p = parser(in);
	assert_false(imap_parse_flags(&p, false, &f));
	assert_string_equal(p.error, "Too many keywords.");
}

static const struct {
	const char *in, *want;
} mailboxes[] = {
	{ "inbox", "INBOX" },
	{ "InBoX/foo", "INBOX/foo" },
	{ "inboxes", "inboxes" },
	{ "\"Sent Items\"", "Sent Items" },
	{ "Entw&APw-rfe", "Entwürfe" },
	{ "a&b", "" },
	{ "(a)", NULL },
	{ "{5}\r\ninbox", "INBOX" },
};

static void test_mailboxes(void **state)
{
	char name[IMAP_NAME_MAX + 1], in[1000];
	struct imap_parser p;

	(void)state;
	for (size_t i = 0; i < sizeof(mailboxes) / sizeof(mailboxes[0]); i++) {
		bool taken;

		p = parser(mailboxes[i].in);
		taken = imap_parse_mailbox(&p, name);
		if (taken != (mailboxes[i].want != NULL))
			fail_msg("%s: taken %d", mailboxes[i].in, taken);
		if (taken)
			assert_string_equal(name, mailboxes[i].want);
	}
	memset(in, 'a', IMAP_NAME_MAX + 1);
	in[IMAP_NAME_MAX + 1] = '\0';
	p = parser(in);
	assert_true(imap_parse_mailbox(&p, name));
	assert_string_equal(name, "");
}

static const struct {
	const char *in;
	int64_t want; /* INT64_MIN: refused */
} dates[] = {
	{ "1-Jan-1970", 0 },
	{ "\"01-jan-1970\"", 0 },
	{ "29-Feb-2024", 19782 },
	{ "29-Feb-2023", INT64_MIN },
	{ "29-Feb-1900", INT64_MIN },
	{ "31-Apr-2024", INT64_MIN },
	{ "0-Jan-2024", INT64_MIN },
	{ "1-Foo-2024", INT64_MIN },
	{ "1-Jan-24", INT64_MIN },
	{ "\"1-Jan-2024", INT64_MIN },
	{ "1-Ja", INT64_MIN },
};
static const struct {
	const char *in;
	int64_t want;
} datetimes[] = {
	{ "\"17-Jul-1996 02:44:25 -0700\"", 837596665 },
	{ "\" 7-Feb-1994 21:52:25 +0530\"", 760638145 },
	{ "\"01-Jan-1970 00:00:00 +0000\"", 0 },
	{ "\"17-Jul-1996 24:44:25 -0700\"", INT64_MIN },
	{ "\"17-Jul-1996 02:44:25 0700\"", INT64_MIN },
	{ "\"17-Jul-1996 02:44 -0700\"", INT64_MIN },
	{ "\"17-Jul-1996 02:44:25 -0760\"", INT64_MIN },
	{ "17-Jul-1996", INT64_MIN },
	{ "\"17-Jul-1996 02:44:25 -0700", INT64_MIN },
};

static void test_dates(void **state)
{
	int64_t got;

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		struct imap_parser p = parser(dates[i].in);

		if (!imap_parse_date(&p, &got))
			got = INT64_MIN;
		if (got != dates[i].want)
			fail_msg("%s: got %lld", dates[i].in, (long long)got);
	}
	for (size_t i = 0; i < sizeof(datetimes) / sizeof(datetimes[0]); i++) {
		struct imap_parser p = parser(datetimes[i].in);

		if (!imap_parse_datetime(&p, &got))
			got = INT64_MIN;
		if (got != datetimes[i].want)
			fail_msg("%s: got %lld", datetimes[i].in, (long long)got);
	}
}

static void test_id(void **state)
{
	static const struct {
		const char *in;
		bool fine;
	} ids[] = { { "NIL", true }, { "()", true }, { "(\"a\" NIL \"b\" \"c\")", true }, { "(\"a\")", false },
		{ "(\"a\" \"b\"", false }, { "\"a\"", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct imap_parser p = parser(ids[i].in);

		if (imap_parse_id(&p) != ids[i].fine)
			fail_msg("%s: wanted %d", ids[i].in, ids[i].fine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_many_keywords),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_id),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("imap parse", tests, NULL, NULL);
}
