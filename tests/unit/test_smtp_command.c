/* Command lines, HELO names, BDAT arguments, MAIL and RCPT paths with their parameters: tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/smtp/command.h"
#include "mailsvc/smtp/path.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_commands(void **state)
{
	static const struct {
		const char *line;
		enum smtp_verb verb;
		const char *args;
	} rows[] = {
		{ "EHLO a.example", SMTP_VERB_EHLO, "a.example" },
		{ "ehlo a.example  ", SMTP_VERB_EHLO, "a.example" },
		{ "MAIL FROM:<a@b> SIZE=1", SMTP_VERB_MAIL, "FROM:<a@b> SIZE=1" },
		{ "RcPt   TO:<a@b>", SMTP_VERB_RCPT, "TO:<a@b>" },
		{ "DATA", SMTP_VERB_DATA, "" },
		{ "DATA\t", SMTP_VERB_DATA, "" },
		{ "BDAT 12 LAST", SMTP_VERB_BDAT, "12 LAST" },
		{ "STARTTLS", SMTP_VERB_STARTTLS, "" },
		{ "AUTH PLAIN AAA=", SMTP_VERB_AUTH, "PLAIN AAA=" },
		{ "", SMTP_VERB_UNKNOWN, "" },
		{ " DATA", SMTP_VERB_UNKNOWN, "DATA" },
		{ "DATAX", SMTP_VERB_UNKNOWN, "" },
		{ "DAT", SMTP_VERB_UNKNOWN, "" },
		{ "MAILFROM:<a@b>", SMTP_VERB_UNKNOWN, "" },
		{ "GET / HTTP/1.1", SMTP_VERB_UNKNOWN, "/ HTTP/1.1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct smtp_command c;

		smtp_command_parse(view_of(rows[i].line), &c);
		if (c.verb != rows[i].verb || !view_eq(c.args, rows[i].args))
			fail_msg(
			    "\"%s\": %s \"%.*s\"", rows[i].line, smtp_verb_name(c.verb), (int)c.args.len, c.args.ptr);
	}
}

static void test_helo(void **state)
{
	static const char *const good[] = { "a", "mail.example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]", "under_score",
		"b\xc3\xbc.example" };
	static const char *const bad[] = { "", "a b", "a(b", "a)b", "<a>", "a@b", "a;b", "a\tb", "a\"b", "a\\b", "a,b",
		"a\x7f" };
	char longest[257];

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(smtp_helo_ok(view_of(good[i])));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(smtp_helo_ok(view_of(bad[i])));
	memset(longest, 'a', sizeof(longest));
	assert_true(smtp_helo_ok((struct view){ longest, 255 }));
	assert_false(smtp_helo_ok((struct view){ longest, 256 }));
}

static void test_bdat(void **state)
{
	static const struct {
		const char *args;
		int result;
		uint64_t size;
		bool last;
	} rows[] = {
		{ "0", 0, 0, false },
		{ "0 LAST", 0, 0, true },
		{ "12 last", 0, 12, true },
		{ "12  LAST", 0, 12, true },
		{ "18446744073709551615", 0, UINT64_MAX, false },
		{ "18446744073709551616", -1, 0, false },
		{ "", -1, 0, false },
		{ "-1", -1, 0, false },
		{ "1x", -1, 0, false },
		{ "0x10", -1, 0, false },
		{ "LAST", -1, 0, false },
		{ "1 LASTX", -1, 0, false },
		{ "1 LAST LAST", -1, 0, false },
		{ "1 2", -1, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t size = 0;
		bool last = false;
		int result = smtp_bdat_parse(view_of(rows[i].args), &size, &last);

		if (result != rows[i].result || (result == 0 && (size != rows[i].size || last != rows[i].last)))
			fail_msg("\"%s\": %d %llu %d", rows[i].args, result, (unsigned long long)size, last);
	}
}

struct path_row {
	const char *args;
	enum smtp_path_status status;
	const char *mailbox; /* NULL: not looked at */
};

static const struct path_row mail_rows[] = {
	{ "FROM:<>", SMTP_PATH_OK, "" },
	{ "from:<a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "FROM: <a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<a@b.example> SIZE=100", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<a@b.example>  BODY=8BITMIME  SMTPUTF8 SIZE=1", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<a@b.example> body=7bit AUTH=<>", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<\"a b\"@c.example>", SMTP_PATH_OK, "\"a b\"@c.example" },
	{ "FROM:<\"a>b\"@c.example>", SMTP_PATH_OK, "\"a>b\"@c.example" },
	{ "FROM:<\"a\\\">b\"@c.example>", SMTP_PATH_OK, "\"a\\\">b\"@c.example" },
	{ "FROM:<a@[192.0.2.1]>", SMTP_PATH_OK, "a@[192.0.2.1]" },
	{ "FROM:<a@[IPv6:2001:db8::1]>", SMTP_PATH_OK, "a@[IPv6:2001:db8::1]" },
	{ "FROM:<@r.example:a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<@r.example,@s.example:a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<root>", SMTP_PATH_OK, "root" },
	{ "", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:a@b.example", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:<a@b.example", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:<<a@b.example>>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:<a@b.example>SIZE=1", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:<a@b.example>>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:<\"a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "TO:<a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM <a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:\t<a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "FROM:< a@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@b.example >", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a b@c.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@b..example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a..b@c.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<.a@c.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@b@c.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@[300.0.2.1]>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<@r.example a@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<@r.example,:a@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<@:a@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<r.example:a@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<@r.example:>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a\xff@b.example>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@b.example> FOO=1", SMTP_PATH_PARAM_UNKNOWN, NULL },
	{ "FROM:<a@b.example> RET=HDRS", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<a@b.example> ret=full ENVID=QQ+2B314+3D159", SMTP_PATH_OK, "a@b.example" },
	{ "FROM:<a@b.example> RET=BODY", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> RET", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> RET=HDRS RET=HDRS", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=a+0D+0Ab", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=a+4", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=a+G0", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=\xc3\xbc", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> ENVID=1 ENVID=2", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> NOTIFY=NEVER", SMTP_PATH_PARAM_UNKNOWN, NULL },
	{ "FROM:<a@b.example> SIZE=", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SIZE", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SIZE=-1", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SIZE=99999999999999999999999", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SIZE=1 SIZE=1", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> BODY=BINARYMIME", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SMTPUTF8=1", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> =1", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> -X=1", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> SIZE=1=2", SMTP_PATH_PARAM_BAD, NULL },
	{ "FROM:<a@b.example> garbage!", SMTP_PATH_PARAM_BAD, NULL },
};

static const struct path_row rcpt_rows[] = {
	{ "TO:<a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "to:<Postmaster>", SMTP_PATH_OK, "Postmaster" },
	{ "TO:<@r.example:a@b.example>", SMTP_PATH_OK, "a@b.example" },
	{ "TO:<a%c.example@b.example>", SMTP_PATH_OK, "a%c.example@b.example" },
	{ "TO:<c.example!a@b.example>", SMTP_PATH_OK, "c.example!a@b.example" },
	{ "TO:<>", SMTP_PATH_ADDRESS, NULL },
	{ "FROM:<a@b.example>", SMTP_PATH_SYNTAX, NULL },
	{ "TO:<a@b.example> NOTIFY=NEVER", SMTP_PATH_OK, "a@b.example" },
	{ "TO:<a@b.example> NOTIFY=delay,SUCCESS,Failure ORCPT=rfc822;Bob+40b.example", SMTP_PATH_OK, "a@b.example" },
	{ "TO:<a@b.example> ORCPT=utf-8;j\xc3\xbcrgen@b.example", SMTP_PATH_OK, "a@b.example" },
	{ "TO:<a@b.example> ORCPT=rfc822;+C3+A5lice@b.example", SMTP_PATH_OK, "a@b.example" }, /* Postfix does */
	{ "TO:<a@b.example> NOTIFY=NEVER,SUCCESS", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY=SUCCESS,SUCCESS", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY=SUCCESS,", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY=", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY=ALWAYS", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> NOTIFY=DELAY NOTIFY=DELAY", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=bob@b.example", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=;bob@b.example", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=rfc822;", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=rfc822;a+00b", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=rf c822;a", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> ORCPT=rfc822;a ORCPT=rfc822;a", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example> RET=HDRS", SMTP_PATH_PARAM_UNKNOWN, NULL },
	{ "TO:<a@b.example> SIZE=1", SMTP_PATH_PARAM_UNKNOWN, NULL },
	{ "TO:<a@b.example> !", SMTP_PATH_PARAM_BAD, NULL },
	{ "TO:<a@b.example>,<c@d.example>", SMTP_PATH_SYNTAX, NULL },
};

static void check_paths(
    const struct path_row *rows, size_t count, enum smtp_path_status (*parse)(struct view, struct smtp_path *))
{
	for (size_t i = 0; i < count; i++) {
		struct smtp_path path;
		enum smtp_path_status status = parse(view_of(rows[i].args), &path);

		if (status != rows[i].status)
			fail_msg("\"%s\": status %d, wanted %d", rows[i].args, status, rows[i].status);
		if (rows[i].mailbox != NULL && !view_eq(path.mailbox, rows[i].mailbox))
			fail_msg("\"%s\": mailbox \"%.*s\"", rows[i].args, (int)path.mailbox.len, path.mailbox.ptr);
	}
}

static void test_paths(void **state)
{
	(void)state;
	check_paths(mail_rows, COUNT(mail_rows), smtp_path_mail);
	check_paths(rcpt_rows, COUNT(rcpt_rows), smtp_path_rcpt);
}

static void test_path_details(void **state)
{
	struct smtp_path p;

	(void)state;
	assert_int_equal(smtp_path_mail(view_of("FROM:<> SIZE=42 BODY=8BITMIME SMTPUTF8"), &p), SMTP_PATH_OK);
	assert_true(p.null && p.has_size && p.smtputf8 && p.body == SMTP_BODY_8BITMIME);
	assert_int_equal(p.size, 42);
	assert_int_equal(smtp_path_mail(view_of("FROM:<j\xc3\xbcrgen@example.org> SMTPUTF8"), &p), SMTP_PATH_OK);
	assert_true(p.address.utf8);
	assert_int_equal(smtp_path_rcpt(view_of("TO:<root>"), &p), SMTP_PATH_OK);
	assert_true(p.unqualified);
	assert_int_equal(p.address.domain.len, 0);
	assert_int_equal(smtp_path_rcpt(view_of("TO:<@a.example:b@c.example>"), &p), SMTP_PATH_OK);
	assert_true(p.routed && !p.unqualified);
	assert_int_equal(smtp_path_mail(view_of("FROM:<a@b.example> RET=HDRS ENVID=x+2B"), &p), SMTP_PATH_OK);
	assert_true(p.dsn && p.ret == DSN_RET_HDRS && view_eq(p.envid, "x+2B"));
	assert_int_equal(
	    smtp_path_rcpt(view_of("TO:<a@b.example> ORCPT=rfc822;c@d NOTIFY=SUCCESS,DELAY"), &p), SMTP_PATH_OK);
	assert_true(p.dsn && p.notify == (DSN_SUCCESS | DSN_DELAY) && view_eq(p.orcpt, "rfc822;c@d"));
	assert_int_equal(smtp_path_rcpt(view_of("TO:<a@b.example>"), &p), SMTP_PATH_OK);
	assert_true(!p.dsn && p.notify == 0 && p.orcpt.len == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_helo),
		cmocka_unit_test(test_bdat),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_path_details),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
