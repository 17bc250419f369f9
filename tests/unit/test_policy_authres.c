/* Authentication-Results (mailsvc/policy/authres.h): what is written, and which fields of others must go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mailsvc/policy/arc.h"
#include "mailsvc/policy/authres.h"
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/dmarc.h"
#include "mailsvc/policy/iprev.h"

static const struct sockaddr *four(void)
{
	static struct sockaddr_in sa = { .sin_family = AF_INET };

	sa.sin_addr.s_addr = htonl(0xc0000201);
	return (const struct sockaddr *)&sa;
}

static void writes(const struct authres *r, const char *want)
{
	struct buf field = BUF_INIT(65536);

	assert_int_equal(authres_put(&field, "mail.example.org", r), 0);
	assert_string_equal(buf_str(&field), want);
	buf_free(&field);
}

static void test_all(void **state)
{
	const struct spf_verdict spf = { .result = SPF_PASS, .domain = "example.net", .mechanism = "mx" };
	const struct spf_verdict helo = { .result = SPF_NONE, .helo = true, .domain = "mx.example.net" };
	const struct iprev_verdict iprev = { IPREV_PASS, "mx.example.net" };
	const struct dkim_result dkim[] = {
		{ .verdict = DKIM_PASS,
		    .domain = "example.net",
		    .selector = "mail",
		    .identity = "@example.net",
		    .algorithm = "rsa-sha256",
		    .b = "abc+/=12",
		    .reason = "ok" },
		{ .verdict = DKIM_FAIL,
		    .domain = "list.example",
		    .selector = "x",
		    .identity = "a b@list.example",
		    .algorithm = "ed25519-sha256",
		    .b = "ABCDEFGH",
		    .testing = true,
		    .reason = "the body \"changed\"" },
	};
	const struct arc_verdict arc = { .result = ARC_PASS, .instance = 2, .oldest_pass = 1 };
	const struct dmarc_verdict dmarc = {
		.result = DMARC_PASS, .policy = DMARC_P_REJECT, .testing = true, .domain = "example.net"
	};
	struct authres r = { .peer = four(),
		.iprev = &iprev,
		.spf = &spf,
		.mail_from = "bounce=x@example.net",
		.spf_helo = &helo,
		.dkim = dkim,
		.dkim_count = 2,
		.arc = &arc,
		.dmarc = &dmarc,
		.header_from = "example.net" };

	(void)state;
	writes(&r, "Authentication-Results: mail.example.org;\r\n"
		   "\tiprev=pass policy.iprev=192.0.2.1 (mx.example.net);\r\n"
		   "\tspf=none smtp.helo=mx.example.net;\r\n"
		   "\tspf=pass smtp.mailfrom=bounce=x@example.net;\r\n"
		   "\tdmarc=pass header.from=example.net policy.dmarc=quarantine;\r\n"
		   "\tarc=pass smtp.remote-ip=192.0.2.1 header.oldest-pass=1;\r\n"
		   "\tdkim=pass header.d=example.net header.s=mail header.i=@example.net\r\n"
		   "\t  header.a=rsa-sha256 header.b=\"abc+/=12\";\r\n"
		   "\tdkim=fail reason=\"the body \\\"changed\\\"\" header.d=list.example\r\n"
		   "\t  header.s=x header.i=\"a b@list.example\" header.a=ed25519-sha256\r\n"
		   "\t  header.b=ABCDEFGH (the key is being tested)\r\n");
}

static void test_few(void **state)
{
	const struct spf_verdict bad = { .result = SPF_PERMERROR, .domain = "example.net", .problem = "bad; all=pass" };
	const struct dmarc_verdict none = { .result = DMARC_NONE, .reason = "no policy is published" };
	const struct iprev_verdict iprev = { IPREV_FAIL, "a)(b\\.example" };
	const struct arc_verdict arc = { .result = ARC_NONE, .reason = "none" };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr.s6_addr = { 0x20, 1, 0xd, 0xb8, [15] = 1 } };

	(void)state;
	writes(&(struct authres){ 0 }, "Authentication-Results: mail.example.org; none\r\n");
	writes(&(struct authres){ .auth_user = "anna@example.org" },
	    "Authentication-Results: mail.example.org;\r\n\tauth=pass smtp.auth=anna@example.org\r\n");
	writes(&(struct authres){ .peer = (const struct sockaddr *)&six,
		   .iprev = &iprev,
		   .spf = &bad,
		   .dkim_done = true,
		   .arc = &arc,
		   .dmarc = &none,
		   .header_from = "example.net" },
	    "Authentication-Results: mail.example.org;\r\n"
	    "\tiprev=fail policy.iprev=\"2001:db8::1\" (a\\)\\(b\\\\.example);\r\n"
	    "\tspf=permerror reason=\"bad; all=pass\" smtp.mailfrom=example.net;\r\n"
	    "\tdmarc=none header.from=example.net;\r\n"
	    "\tarc=none;\r\n"
	    "\tdkim=none\r\n");
}

/* Nothing that a peer says can end the field, or begin another result. */
static void test_hostile(void **state)
{
	const struct spf_verdict spf = { .result = SPF_NONE, .domain = "example.net" };
	struct authres r = { .spf = &spf, .mail_from = "\"a\"; dkim=pass\r\nX: y\x01\xff(@example.net" };

	(void)state;
	writes(&r, "Authentication-Results: mail.example.org;\r\n"
		   "\tspf=none smtp.mailfrom=\"\\\"a\\\"; dkim=pass??X: y\?\?(@example.net\"\r\n");
	r.mail_from = "b\xc3\xbc"
		      "cher@example.net";
	writes(&r, "Authentication-Results: mail.example.org;\r\n"
		   "\tspf=none smtp.mailfrom=\"b\xc3\xbc"
		   "cher@example.net\"\r\n");
}

/* As many signatures as there may be, each as long as can be: whole results are left out, the field stays well-formed.
 */
static void test_long(void **state)
{
	struct dkim_result many[40];
	struct buf field = BUF_INIT(65536);
	size_t lines = 0;

	(void)state;
	memset(many, 0, sizeof(many));
	for (size_t i = 0; i < 40; i++) {
		many[i].verdict = DKIM_FAIL;
		memset(many[i].domain, 'd', 253);
		memset(many[i].identity, '\\', 380);
		memset(many[i].reason, '"', 150);
	}
	assert_int_equal(
	    authres_put(&field, "mail.example.org", &(struct authres){ .dkim = many, .dkim_count = 40 }), 0);
	assert_true(field.len < AUTHRES_MAX + 100 && field.len > AUTHRES_MAX / 2);
	for (const char *p = buf_str(&field), *end; *p != '\0'; p = end + 2, lines++) {
		end = strstr(p, "\r\n");
		assert_non_null(end);
		assert_true(end - p <= 998);
		assert_true(lines == 0 || *p == '\t');
	}
	assert_memory_equal(field.data + field.len - 3, "\"\r\n", 3);
	buf_free(&field);
	/* A buffer that is too small says so. */
	field = BUF_INIT(100);
	assert_int_equal(
	    authres_put(&field, "mail.example.org", &(struct authres){ .dkim = many, .dkim_count = 1 }), -1);
	buf_free(&field);
}

struct found {
	size_t count, start[8], len[8];
};

static void take(void *arg, size_t start, size_t len)
{
	struct found *f = arg;

	f->start[f->count] = start;
	f->len[f->count++] = len;
}

static void test_strip(void **state)
{
	static const struct {
		const char *value;
		bool ours;
	} t[] = {
		{ " mail.example.org; dkim=pass", true },
		{ "mail.example.org", true },
		{ " MAIL.Example.ORG.; none", true },
		{ " (a (b\\)) c) mail.example.org 1; none", true },
		{ "\r\n\t\"mail.example\\.org\" ; none", true },
		{ " mail.example.org/x; none", true },
		{ " spf=pass smtp.mailfrom=x", true },
		{ " ; spf=pass", true },
		{ "", true },
		{ " (mail.example.org; none", true },
		{ " \"mail.example.org; none", true },
		{ " mail.(x)example.org; none", true },
		{ " other.example spf=pass", true },
		{ " other.example; spf=pass", false },
		{ " other.example 1; spf=pass", false },
		{ " other.example (mail.example.org); spf=pass", false },
		{ " (\\() other.example; spf=pass", false },
		{ " x.mail.example.org; spf=pass", false },
		{ " example.org; spf=pass", false },
	};
	char header[512];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct found f = { 0 };
		snprintf(
		    header, sizeof(header), "Received: x\r\nauthentication-RESULTS :%s\r\nTo: y\r\n\r\n", t[i].value);
		size_t n = authres_strip(view_of(header), "Mail.example.org", take, &f);
		if (n != t[i].ours || f.count != n)
			fail_msg("%s: %zu found", t[i].value, n);
		if (n == 0)
			continue;
		assert_int_equal(f.start[0], 13);
		assert_memory_equal(header + f.start[0] + f.len[0], "To: y\r\n", 7);
	}
	/* U-labels, and fields that are not of this name. */
	assert_int_equal(authres_strip(VIEW_LIT("Authentication-Results: b\xc3\xbc"
						"cher.example; none\r\n"),
			     "xn--bcher-kva.example", take, &(struct found){ 0 }),
	    1);
	assert_int_equal(authres_strip(VIEW_LIT("ARC-Authentication-Results: i=1; mail.example.org; none\r\n"
						"X-Authentication-Results: mail.example.org; none\r\n\r\n"
						"Authentication-Results: mail.example.org; none\r\n"),
			     "mail.example.org", take, &(struct found){ 0 }),
	    0);
	struct found f = { 0 };
	assert_int_equal(authres_strip(VIEW_LIT("Authentication-Results: a.example; none\r\n\tx\r\n"
						"Authentication-Results: b.example; none\r\n"
						"Authentication-Results: a.example; none"),
			     "a.example", take, &f),
	    2);
	assert_int_equal(f.start[1], 86);
	assert_int_equal(f.len[1], 39);
}

static void test_says(void **state)
{
	static const struct {
		const char *text;
		enum authres_word want;
	} t[] = {
		{ "mx.example; dmarc=pass header.from=a.example", AUTHRES_PASS },
		{ "mx.example 1;\r\n\tspf=pass;\r\n\t DMARC/1 = (a) Pass (p=none; dmarc=fail)", AUTHRES_PASS },
		{ "\"mx;dmarc=fail\" ; dmarc=pass", AUTHRES_PASS },
		{ "mx.example; dmarc=fail (dmarc=pass) reason=\"; dmarc=pass\"", AUTHRES_OTHER },
		{ "mx.example; dmarc=pass; dmarc=fail", AUTHRES_OTHER },
		{ "mx.example; dmarc=none", AUTHRES_OTHER },
		{ "mx.example; dmarc", AUTHRES_OTHER },
		{ "mx.example; dmarc=", AUTHRES_OTHER },
		{ "mx.example; dmarc=pass (", AUTHRES_OTHER },
		{ "mx.example; spf=pass reason=\"; dmarc=pass", AUTHRES_OTHER },
		{ "mx.example; spf=pass reason=\"\\\"; dmarc=pass\"", AUTHRES_ABSENT },
		{ "mx.example; x=dmarc=pass (\\); dmarc=pass)", AUTHRES_ABSENT },
		{ "dmarc=pass", AUTHRES_ABSENT },
		{ "mx.example; xdmarc=pass; dmarcx=pass; none", AUTHRES_ABSENT },
		{ "", AUTHRES_ABSENT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		enum authres_word got = authres_says(view_of(t[i].text), "dmarc");
		if (got != t[i].want)
			fail_msg("%s: %d, want %d", t[i].text, (int)got, (int)t[i].want);
	}
	assert_int_equal(authres_says(VIEW_NONE, "dmarc"), AUTHRES_ABSENT);
}

static void add(void *arg, struct view value)
{
	buf_printf(arg, "%.*s\n", (int)value.len, value.ptr);
}

static void test_passed(void **state)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "mx.example; spf=pass smtp.mailfrom=a@b; dkim=pass header.d=one.example header.s=x;\r\n\tdkim=fail"
		  " header.d=two.example;\r\n\tdkim=pass (a; b) reason=\"header.d=three\" HEADER.d=\"four.example\"",
		    "one.example\nfour.example\n" },
		{ "mx.example; dkim=pass header.i=@a.example header.d = b.example", "b.example\n" },
		{ "mx.example; dkim=fail header.d=a.example; xdkim=pass header.d=b.example; dkim=pass", "" },
		{ "mx.example; dkim=pass header.i=x@header.d=evil.example", "" },
		{ "mx.example; dkim=pass header.d=\"evil.example", "" },
		{ "mx.example; dkim=pass header.d=", "" },
		{ "mx.example; dkim=pass (header.d=evil.example", "" },
		{ "header.d=evil.example dkim=pass", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct buf out = BUF_INIT(1024);
		authres_passed(view_of(t[i].text), "dkim", "header.d", add, &out);
		if (strcmp(buf_str(&out), t[i].want) != 0)
			fail_msg("%s: %s", t[i].text, buf_str(&out));
		buf_free(&out);
	}
}

static void test_own(void **state)
{
	static const struct {
		const char *header, *want;
	} t[] = {
		{ "Authentication-Results: mail.example.org; one\r\nReceived: x\r\n", " mail.example.org; one" },
		{ "Authentication-Results: other.example; one\r\nauthentication-results: MAIL.example.org; two\r\n\r\n",
		    " MAIL.example.org; two" },
		{ "Received: x\r\nAuthentication-Results: mail.example.org; one\r\n", "" },
		{ "Authentication-Results: (mail.example.org; one\r\n", "" }, /* unclear: stripped, but not believed */
		{ "Authentication-Results: mail.example.org one; two\r\n", "" },
		{ "ARC-Authentication-Results: i=1; mail.example.org; one\r\n", "" },
		{ "Subject: x\r\n\r\nAuthentication-Results: mail.example.org; one\r\n", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct view v = authres_own(view_of(t[i].header), "mail.example.org");
		if (t[i].want[0] == '\0' ? v.ptr != NULL : !view_eq(v, t[i].want))
			fail_msg("%s: %.*s", t[i].header, (int)v.len, v.ptr != NULL ? v.ptr : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_passed),
		cmocka_unit_test(test_own),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
