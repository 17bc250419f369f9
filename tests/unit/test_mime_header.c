/* Fields, addresses, dates, encoded words, parameters, base subjects, charsets: tables of input and exact output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/mime/internal.h"

static void expect(const char *input, struct buf *got, const char *want)
{
	if (strcmp(buf_str(got), want) != 0)
		fail_msg("input %s\n got  %s\n want %s", input, buf_str(got), want);
	buf_reset(got);
}

static void walks_fields(void **state)
{
	const struct view block = VIEW_LIT(" stray\r\nFrom x\r\nA: 1\r\nB :2\r\n more\r\n\tand\r\nno colon\r\n at "
	                                   "all\r\na:\r\n: x\r\nC:3\n\r\nD: body\r\n");
	struct buf out = BUF_INIT(4096);
	struct mime_header h;
	size_t pos = 0;

	(void)state;
	while (mime_header_next(block, &pos, &h))
		buf_printf(
		    &out, "%.*s=<%.*s>%zu;", (int)h.name.len, h.name.ptr, (int)h.value.len, h.value.ptr, h.field.len);
	expect("block", &out, "A=< 1>6;B=<2\r\n more\r\n\tand>19;a=<>4;C=<3>4;");
	assert_int_equal(mime_header_len(block), block.len - 9);
	assert_int_equal(mime_header_len(VIEW_LIT("A: b\r\n")), 6);
	assert_int_equal(mime_header_len(VIEW_LIT("\r\nx")), 2);
	assert_true(view_eq(mime_header_find(block, "b"), "2\r\n more\r\n\tand"));
	assert_null(mime_header_find(block, "D").ptr);
	mime_unfold(VIEW_LIT(" a\r\n b\r\n\tc \r\n"), &out);
	expect("fold", &out, "a b\tc");
	buf_free(&out);
}

static void print_mailbox(void *arg, const struct mime_mailbox *m)
{
	if (m->group_start)
		buf_printf(arg, "{%.*s}", (int)m->name.len, m->name.ptr);
	else if (m->group_end)
		buf_puts(arg, "{}");
	else
		buf_printf(arg, "[%.*s|%.*s%.*s|%.*s]", (int)m->name.len, m->name.ptr, (int)m->route.len, m->route.ptr,
		    (int)m->local.len, m->local.ptr, (int)m->domain.len, m->domain.ptr);
}

static void reads_addresses(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "", "" },
		{ " , ;,\r\n", "" },
		{ "a@b", "[|a|b]" },
		{ "<a@b>", "[|a|b]" },
		{ "A B <a@b.c>", "[A B|a|b.c]" },
		{ "\"B, A\" <a@b>, c@d", "[B, A|a|b][|c|d]" },
		{ "a@b (Full (really) Name)", "[Full (really) Name|a|b]" },
		{ "John Q. Public <j@x>", "[John Q. Public|j|x]" },
		{ "john . doe @ x . y", "[|john.doe|x.y]" },
		{ "\"john doe\"@x", "[|john doe|x]" },
		{ "<@a,@b:c@d>", "[|@a,@bc|d]" },
		{ "<@a, @b:c@d>, <e@f>", "[|@a,@bc|d][|e|f]" },
		{ "a@[127.0.0.1]", "[|a|[127.0.0.1]]" },
		{ "a@b.c <d@e.f>", "[a@b.c|d|e.f]" },
		{ "G: a@b, c@d;, e@f", "{G}[|a|b][|c|d]{}[|e|f]" },
		{ "undisclosed:;", "{undisclosed}{}" },
		{ "G: a@b", "{G}[|a|b]{}" },
		{ "root, x", "[|root|][|x|]" },
		{ "\"unclosed <a@b>", "[|unclosed <a@b>|]" },
		{ "X <>", "[X||]" },
		{ "<>", "" },
		{ "=?utf-8?q?J=C3=B6?=\r\n =?utf-8?q?rg?= <j@x>", "[=?utf-8?q?J=C3=B6?= =?utf-8?q?rg?=|j|x]" },
		{ "a@b c@d, e@f", "[|a|b][|e|f]" },
		{ "A <a@b", "[A|a|b]" },
		{ "A <a@b, c@d", "[A|a|b][|c|d]" },
		{ "@x", "[||x]" },
		{ "\"a\\\"b\" <c@d>", "[a\"b|c|d]" },
		{ "J\xc3\xb6rg <j@x>", "[J\xc3\xb6rg|j|x]" },
		{ "A\r\n\tB <a@\r\n b>", "[A B|a|b]" },
		{ "(only a comment", "" },
		{ "a@b; c@d", "[|a|b][|c|d]" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mime_addresses(view_of(cases[i].in), print_mailbox, &out);
		expect(cases[i].in, &out, cases[i].want);
	}
	buf_free(&out);
}

static void reads_dates(void **state)
{
	static const struct {
		const char *in;
		int64_t when;
		int zone;
	} good[] = {
		{ "Thu, 1 Jan 1970 00:00:00 +0000", 0, 0 },
		{ "Tue, 24 Nov 2026 06:45:48 +0000", 1795502748, 0 },
		{ "24 Nov 2026 06:45 +0100", 1795499100, 60 },
		{ "Mon, 29 Feb 2016 12:00:00 -0730", 1456774200, -450 },
		{ "Fri, 21 Nov 97 09(comment):   55  :  06 -0600", 880127706, -360 },
		{ "1 Jan 50 0:00:00 GMT", -631152000, 0 },
		{ "1 Jan 49 00:00:00 EST", 2493090000, -300 },
		{ "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", 837595405, -420 },
		{ "31 Dec 2016 23:59:60 Z", 1483228800, 0 },
		{ "1 January 102 1:02:03 UT", 1009846923, 0 },
		{ "Mon,\r\n 1 Jan 2001 00:00:00 +9999", 978307200, 0 },
		{ "01-Feb-2003 04:05:06", 1044072306, 0 },
	};
	static const char *const bad[] = { "", "yesterday", "Tue, 24 Nov", "32 Jan 2020 00:00:00",
		"29 Feb 2015 00:00:00 +0000", "1 Foo 2020 00:00:00", "1 Jan 2020 24:00:00", "1 Jan 2020 00:60:00",
		"1 Jan 2020 00:00:61", "1 Jan 20200 00:00:00", "1 Jan 2020", "Tue, Nov 24 2026",
		"999999999999999999 Jan 2020 00:00:00" };
	int64_t when;
	int16_t zone;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (mime_parse_date(view_of(good[i].in), &when, &zone) != 0)
			fail_msg("refused: %s", good[i].in);
		if (when != good[i].when || zone != good[i].zone)
			fail_msg("%s: got %lld %d", good[i].in, (long long)when, zone);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mime_parse_date(view_of(bad[i]), &when, &zone) == 0)
			fail_msg("taken: %s", bad[i]);
}

static void decodes_words(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "plain", "plain" },
		{ "=?utf-8?Q?a_b=5Fc?=", "a b_c" },
		{ "=?ISO-8859-1?B?5Pb8?= x", "\xc3\xa4\xc3\xb6\xc3\xbc x" },
		{ "=?utf-8?q?=C3?=\r\n =?utf-8?q?=A4?=", "\xc3\xa4" },
		{ "=?utf-8?b?w6Q=?= =?utf-8?b?w7Y=?=", "\xc3\xa4\xc3\xb6" },
		{ "a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d" },
		{ "=?utf-8*en?q?x?=", "x" },
		{ "=?utf-8?q?a b?=", "a b" },
		{ "=?utf-8?x?a?=", "=?utf-8?x?a?=" },
		{ "=?utf-8?q?a", "=?utf-8?q?a" },
		{ "=?=?=?utf-8?q?a?=", "=?=?a" },
		{ "J\xc3\xb6rg", "J\xc3\xb6rg" },
		{ "J\xf6rg", "J\xc3\xb6rg" },
		{ "=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
		{ "=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
		{ "=?gb2312?B?xOO6ww==?=", "\xe4\xbd\xa0\xe5\xa5\xbd" },
		{ "=?ks_c_5601-1987?B?x9G9xA==?=", "\xed\x95\x9c\xec\x8b\x9d" },
		{ "=?ISO-8859-8-I?Q?=F9=EC?=", "\xd7\xa9\xd7\x9c" },
		/* iconv holds the last letter back, for a mark may follow */
		{ "=?windows-1255?Q?=F9=EC=E5=ED?= x", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d x" },
		{ "=?windows-1258?Q?abe?=", "abe" },
		{ "=?nonsense?q?=ff?=", "\xef\xbf\xbd" },
		{ "=?utf-8?q?\?=x", "x" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mime_decode_header(view_of(cases[i].in), &out);
		expect(cases[i].in, &out, cases[i].want);
	}
	buf_free(&out);
}

static void reads_parameters(void **state)
{
	static const struct {
		const char *in, *name, *want; /* want NULL: absent */
	} cases[] = {
		{ "attachment; filename=a.txt", "filename", "a.txt" },
		{ "attachment; FileName=\"a \\\"b\\\".txt\"", "filename", "a \"b\".txt" },
		{ "a/b; name*=iso-8859-1'de'%E4.txt", "name", "\xc3\xa4.txt" },
		{ "a/b; name=x; name*=utf-8''y", "name", "y" },
		{ "a/b; name*1=b; name*0=a", "name", "ab" },
		{ "a/b; name*0*=utf-8''%C3; name*1*=%A4; name*2=%41", "name", "\xc3\xa4%41" },
		{ "a/b; name*1=x", "name", "" },
		{ "a/b; name=\"=?utf-8?q?=C3=A4?=\"", "name", "\xc3\xa4" },
		{ "a/b; x=y", "name", NULL },
		{ "a/b; name=my file.txt; x=y", "name", "my file.txt" },
		{ "a/b;;; name = x ;", "name", "x" },
		{ "a/b; name=\"open", "name", "open" },
		{ "a/b; bogus; name=x", "name", "x" },
		{ "a/b; name*0*=%zz", "name", "=zz" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool there = mime_parameter(view_of(cases[i].in), cases[i].name, &out);

		if (cases[i].want || there)
			expect(cases[i].in, &out, cases[i].want ? cases[i].want : "absent");
	}
	buf_free(&out);
}

static void finds_base_subjects(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "", "" },
		{ "Hello", "hello" },
		{ "Re: Hello", "hello" },
		{ "RE[2]: Fwd: FW : Hello (fwd)", "hello" },
		{ "[list] Re: [list] Hello", "hello" },
		{ "[only]", "[only]" },
		{ "[Fwd: Re: Hello]", "hello" },
		{ "re", "re" },
		{ "Re:", "" },
		{ "Regards", "regards" },
		{ "  a \t b  ", "a b" },
		{ "[a][b][c] x", "x" },
		{ "(fwd)", "" },
	};
	struct buf out = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mime_base_subject(view_of(cases[i].in), &out);
		expect(cases[i].in, &out, cases[i].want);
	}
	buf_free(&out);
}

static void converts_charsets(void **state)
{
	static const char *const known[] = { "UTF-8", "us-ascii", "ISO-8859-8-I", "x-sjis", "ks_c_5601-1987",
		"iso-2022-jp", "GB2312", "windows-1251", "big5", "koi8-u", "utf-7", "iso-8859-15", "euc-kr",
		"macintosh", "euc-jp" };
	struct buf out = BUF_INIT(4096);

	(void)state;
	mime_charsets_preload();
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!mime_to_utf8(known[i], VIEW_LIT("abc"), &out))
			fail_msg("unknown: %s", known[i]);
		expect(known[i], &out, "abc");
	}
	assert_false(mime_charset_known("UTF-16//TRANSLIT"));
	assert_false(mime_charset_known("INTERNAL"));
	mime_to_utf8("utf-8",
	    VIEW_LIT("a\xc3\xa4\xc3"
		     "b\xff"),
	    &out);
	expect("broken UTF-8", &out,
	    "a\xc3\xa4\xef\xbf\xbd"
	    "b\xef\xbf\xbd");
	mime_to_utf8("shift_jis", VIEW_LIT("\x93\xfa\x96"), &out);
	expect("cut Shift_JIS", &out, "\xe6\x97\xa5\xef\xbf\xbd");
	mime_fold(VIEW_LIT("Stra\xc3\x9f"
			   "E \xef\xac\x81 \xc2\xad\xc4\xb0"),
	    &out);
	expect("fold", &out, "strasse fi i\xcc\x87");
	buf_free(&out);
}

/* Plain text is folded in words of eight bytes: the same as byte by byte, wherever what is not plain stands. */
static void folds_plain_text(void **state)
{
	static const char bytes[] = "AZaz@[`{ \t\r\n\x7f\x01 09  B";
	struct buf out = BUF_INIT(4096), want = BUF_INIT(4096);
	unsigned seed = 9;
	char in[64];

	(void)state;
	for (int round = 0; round < 200000; round++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(in);
		bool blank = false;

		buf_reset(&want);
		for (size_t i = 0; i < len; i++) {
			char c = rand_r(&seed) % 3 ? 'q' : bytes[(size_t)rand_r(&seed) % (sizeof(bytes) - 1)];

			in[i] = c;
			if (c == ' ' || (c >= '\t' && c <= '\r')) {
				blank = true;
				continue;
			}
			if (blank)
				buf_addc(&want, ' ');
			blank = false;
			buf_addc(&want, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
		}
		if (blank)
			buf_addc(&want, ' ');
		buf_reset(&out);
		mime_fold((struct view){ in, len }, &out);
		if (out.len != want.len || (out.len > 0 && memcmp(out.data, want.data, out.len) != 0))
			fail_msg("round %d: \"%.*s\"\n got  %s\n want %s", round, (int)len, in, buf_str(&out), buf_str(&want));
	}
	buf_free(&out);
	buf_free(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_fields),
		cmocka_unit_test(reads_addresses),
		cmocka_unit_test(reads_dates),
		cmocka_unit_test(decodes_words),
		cmocka_unit_test(reads_parameters),
		cmocka_unit_test(finds_base_subjects),
		cmocka_unit_test(converts_charsets),
		cmocka_unit_test(folds_plain_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
