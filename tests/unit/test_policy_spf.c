/*
 * SPF (mailsvc/policy/spf.h): every scenario of the RFC 7208 test suite (tests/data/spf), and what it leaves out: our
 * own limits, IDN, cancelling, what a verdict tells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/proc.h"
#include "mailsvc/policy/spf_record.h"
#include "tests/unit/policy_zone.h"

#define SUITE "tests/data/spf/rfc7208-tests.txt"
#define FIELDS 8

struct outcome {
	unsigned calls;
	struct spf_verdict verdict;
};

static void took(void *arg, const struct spf_verdict *v)
{
	struct outcome *o = arg;

	o->calls++;
	o->verdict = *v;
}

static struct spf_verdict check(
    struct zone *z, const char *address, const char *helo, const char *sender, const char *host)
{
	struct sockaddr_storage peer = { 0 };
	struct outcome o = { 0 };
	struct policy_dns dns = zone_dns(z);
	bool four = strchr(address, ':') == NULL;

	peer.ss_family = four ? AF_INET : AF_INET6;
	if (four)
		assert_int_equal(inet_pton(AF_INET, address, &((struct sockaddr_in *)(void *)&peer)->sin_addr), 1);
	else
		assert_int_equal(inet_pton(AF_INET6, address, &((struct sockaddr_in6 *)(void *)&peer)->sin6_addr), 1);
	struct spf_query q = { (struct sockaddr *)&peer, helo, sender, host };
	assert_non_null(spf_start(&dns, &q, took, &o));
	assert_int_equal(o.calls, 0); /* never from inside */
	zone_run(z);
	assert_int_equal(o.calls, 1);
	return o.verdict;
}

/* The suite --------------------------------------------------------------------------------------------------- */

static size_t unescape(char *s)
{
	char *out = s, *start = s;

	for (; *s != '\0'; s++) {
		unsigned byte;
		if (s[0] == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &byte) == 1) {
			*out++ = (char)byte;
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
	return (size_t)(out - start);
}

static size_t split(char *line, char *field[FIELDS], size_t len[FIELDS])
{
	size_t n = 0;

	for (char *p = line; p != NULL && n < FIELDS; n++)
		field[n] = strsep(&p, "\t");
	for (size_t i = 0; i < n; i++)
		len[i] = unescape(field[i]);
	return n;
}

static void add_row(struct zone *z, char **field, const size_t *len, size_t n)
{
	static const struct {
		const char *name;
		int type;
	} types[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "PTR", DNS_PTR }, { "TXT", DNS_TXT },
		{ "CNAME", ZONE_CNAME }, { "TIMEOUT", ZONE_TIMEOUT } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(field[2], types[i].name) != 0)
			continue;
		if (types[i].type == DNS_TXT) /* may hold NUL */
			zone_add(z, field[1], DNS_TXT, field[3], len[3]);
		else
			zone_put(z, field[1], types[i].type, types[i].type == ZONE_TIMEOUT ? "" : field[n - 1]);
		return;
	}
	fail_msg("%s: unknown type %s", SUITE, field[2]);
}

static bool is_one_of(const char *word, const char *list)
{
	size_t len = strlen(word);

	for (const char *p = list; *p != '\0'; p += strcspn(p, ","), p += *p == ',')
		if (strncmp(p, word, len) == 0 && strchr(",", p[len]) != NULL)
			return true;
	return false;
}

static void run_scenario(struct zone *z, char **f, unsigned *failed)
{
	struct spf_verdict v = check(z, f[2], f[3], f[4], "unknown");
	const char *got = spf_result_name(v.result), *explanation = v.explanation[0] ? v.explanation : "DEFAULT";

	if (!is_one_of(got, f[5])) {
		print_error("%s: %s (%s), wanted %s\n", f[1], got, v.problem, f[5]);
		++*failed;
	} else if (strcmp(f[6], "-") != 0 && strcmp(explanation, f[6]) != 0) {
		print_error("%s: explanation \"%s\", wanted \"%s\"\n", f[1], explanation, f[6]);
		++*failed;
	} else if (strcmp(got, "permerror") == 0 && v.problem[0] == '\0') {
		print_error("%s: %s without a reason\n", f[1], got);
		++*failed;
	}
}

/* The name, result and explanation, for a comparison with another implementation. */
static void print_scenario(struct zone *z, char **f, unsigned *failed)
{
	struct spf_verdict v = check(z, f[2], f[3], f[4], "unknown");

	(void)failed;
	printf("%s\t%s\t%s\t%s\n", f[1], spf_result_name(v.result), v.explanation, v.problem);
}

/* Runs every test of a file of scenarios: how many there were. */
static unsigned run_file(const char *path, void (*run)(struct zone *, char **field, unsigned *failed), unsigned *failed)
{
	static struct zone z;
	struct buf text = BUF_INIT(64 << 20);
	struct error err;
	char *field[FIELDS], *line, *rest;
	size_t len[FIELDS], n;
	unsigned ran = 0;
	bool testing = false;

	if (file_read(path, text.max, &text, &err) == -1)
		fail_msg("%s", err.text);
	char *copy = view_dup(buf_view(&text));
	for (rest = copy; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
		n = split(line, field, len);
		bool row = strcmp(field[0], "zone") == 0;
		if (row && testing)
			zone_clear(&z);
		if (row && n >= 3)
			add_row(&z, field, len, n);
		testing = !row;
		if (strcmp(field[0], "test") != 0)
			continue;
		assert_int_equal(n, 7);
		run(&z, field, failed);
		ran++;
	}
	zone_clear(&z);
	free(copy);
	buf_free(&text);
	return ran;
}

static void test_suite(void **state)
{
	unsigned failed = 0;

	(void)state;
	assert_int_equal(run_file(SUITE, run_scenario, &failed), 203); /* all there are */
	assert_int_equal(failed, 0);
}

/* What the suite leaves out ------------------------------------------------------------------------------------ */

static struct zone zone;

static int clear(void **state)
{
	(void)state;
	zone_clear(&zone);
	return 0;
}

static void txt(const char *name, const char *record)
{
	zone_put(&zone, name, DNS_TXT, record);
}

static struct spf_verdict from(const char *sender)
{
	return check(&zone, "192.0.2.1", "mail.example.org", sender, "mx.example.net");
}

static void test_verdict(void **state)
{
	struct spf_verdict v;

	(void)state;
	txt("example.org", "v=spf1 ip4:192.0.2.7 include:b.example.org -all exp=why.example.org");
	txt("b.example.org", "v=spf1 a:c.example.org ~all");
	txt("why.example.org", "%{i} may not send for %{d}: ask %{r} at %{t}, said %{S} of %{h}");
	zone_put(&zone, "c.example.org", DNS_A, "192.0.2.9");
	v = check(&zone, "192.0.2.7", "h", "a@Example.ORG.", "mx");
	assert_int_equal(v.result, SPF_PASS);
	assert_string_equal(v.mechanism, "ip4:192.0.2.7");
	assert_string_equal(v.domain, "example.org");
	assert_string_equal(v.explanation, "");
	assert_false(v.helo);
	v = check(&zone, "::ffff:192.0.2.9", "h", "a@example.org", "mx");
	assert_int_equal(v.result, SPF_PASS);
	assert_string_equal(v.mechanism, "include:b.example.org");
	v = from("a b@example.org");
	assert_int_equal(v.result, SPF_FAIL);
	assert_string_equal(v.mechanism, "-all");
	assert_memory_equal(v.explanation, "192.0.2.1 may not send for example.org: ask mx.example.net at ", 62);
	assert_non_null(strstr(v.explanation, ", said a%20b%40example.org of mail.example.org"));
	/* No sender: HELO. */
	txt("mail.example.org", "v=spf1 ?all");
	v = from("");
	assert_true(v.helo);
	assert_int_equal(v.result, SPF_NEUTRAL);
	assert_string_equal(v.domain, "mail.example.org");
	assert_string_equal(v.mechanism, "?all");
	/* Nothing to check. */
	assert_int_equal(from("a@localhost").result, SPF_NONE);
	assert_int_equal(from("a@none.example.org").result, SPF_NONE);
	assert_int_equal(from("postmaster").result, SPF_NONE);
	assert_int_equal(check(&zone, "192.0.2.1", "", "", NULL).result, SPF_NONE);
	assert_int_equal(check(&zone, "192.0.2.1", "[IPv6:::1]", "", "mx").result, SPF_NONE);
}

static void test_idn(void **state)
{
	(void)state;
	txt("xn--bcher-kva.example", "v=spf1 exists:%{l}.%{d} exists:%{h}.helo.example -all");
	zone_put(&zone, "anna.xn--bcher-kva.example", DNS_A, "127.0.0.2");
	assert_int_equal(from("anna@b\xc3\xbc"
			      "cher.example")
			     .result,
	    SPF_PASS);
	assert_int_equal(from("anna@xn--bcher-kva.example").result, SPF_PASS);
	assert_int_equal(from("anna@B\xc3\x9c"
			      "cher.example")
			     .result,
	    SPF_PASS);
	assert_int_equal(from("otto@b\xc3\xbc"
			      "cher.example")
			     .result,
	    SPF_FAIL);
	/* RFC 8616: a macro with a local part that is not ASCII matches nothing; it is not asked for either. */
	zone.questions = 0;
	assert_int_equal(from("b\xc3\xbc"
			      "cher@b\xc3\xbc"
			      "cher.example")
			     .result,
	    SPF_FAIL);
	assert_int_equal(zone.questions, 2);
	assert_int_equal(check(&zone, "192.0.2.1",
			     "b\xc3\xbc"
			     "cher.example",
			     "", "mx")
			     .result,
	    SPF_FAIL);
	assert_int_equal(from("anna@b\xff.example").result, SPF_NONE);
}

/* Bytes of the local part that mean something to a resolver must not. */
static void test_backslash(void **state)
{
	(void)state;
	txt("example.org", "v=spf1 exists:%{l}.x.example.org -all");
	zone_put(&zone, "\"a\\\\b\".x.example.org", DNS_A, "127.0.0.2");
	assert_int_equal(from("\"a\\b\"@example.org").result, SPF_PASS);
}

static void test_limits(void **state)
{
	struct buf record = BUF_INIT(4096);

	(void)state;
	/* 11 mx hosts are an error even if the first would match; 11 names of the peer are not. */
	txt("mx.example", "v=spf1 mx ?all");
	for (int i = 0; i < 10; i++)
		zone_put(&zone, "mx.example", DNS_MX, "h.example");
	zone_put(&zone, "h.example", DNS_A, "192.0.2.1");
	assert_int_equal(from("a@mx.example").result, SPF_PASS);
	zone_put(&zone, "mx.example", DNS_MX, "h.example");
	assert_int_equal(from("a@mx.example").result, SPF_PERMERROR);
	txt("ptr.example", "v=spf1 ptr:h.example -all");
	for (int i = 0; i < 10; i++)
		zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "no.example");
	zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "h.example");
	zone.questions = 0;
	assert_int_equal(from("a@ptr.example").result, SPF_FAIL);
	assert_int_equal(zone.questions, 12);
	/* The hosts of an mx term without an IPv6 address are no void look-ups. */
	txt("six.example", "v=spf1 mx mx mx mx ip6:2001:db8::/32 -all");
	zone_put(&zone, "six.example", DNS_MX, "h.example");
	assert_int_equal(check(&zone, "2001:db8::7", "h", "a@six.example", "mx").result, SPF_PASS);
	/* A record of many terms is fine, one that is too long an error. */
	buf_puts(&record, "v=spf1");
	for (int i = 0; i < 200; i++)
		buf_printf(&record, " ip4:198.51.100.%d", i);
	buf_puts(&record, " ip4:192.0.2.0/24 -all");
	txt("many.example", buf_str(&record));
	assert_int_equal(from("a@many.example").result, SPF_PASS);
	buf_free(&record);
	record = BUF_INIT(2 * SPF_RECORD_MAX);
	buf_puts(&record, "v=spf1");
	while (record.len <= SPF_RECORD_MAX)
		buf_puts(&record, " ip4:192.0.2.1");
	txt("long.example", buf_str(&record));
	assert_int_equal(from("a@long.example").result, SPF_PERMERROR);
	buf_free(&record);
}

/* A chain of includes goes as deep as ten; the eleventh is refused before it is asked for. */
static void test_depth(void **state)
{
	char name[64], record[96];

	(void)state;
	for (int i = 0; i <= 11; i++) {
		snprintf(name, sizeof(name), "d%d.example", i);
		if (i == 11)
			snprintf(record, sizeof(record), "v=spf1 ip4:192.0.2.1 -all");
		else
			snprintf(record, sizeof(record), "v=spf1 include:d%d.example -all", i + 1);
		txt(name, record);
	}
	assert_int_equal(from("a@d1.example").result, SPF_PASS);
	zone.questions = 0;
	assert_int_equal(from("a@d0.example").result, SPF_PERMERROR);
	assert_int_equal(zone.questions, 11);
	/* What the limit bounds in all: ten mx terms of ten hosts each. */
	txt("wide.example", "v=spf1 mx mx mx mx mx mx mx mx mx mx -all");
	for (int i = 0; i < 10; i++)
		zone_put(&zone, "wide.example", DNS_MX, "w.example");
	zone_put(&zone, "w.example", DNS_A, "198.51.100.1");
	zone.questions = 0;
	assert_int_equal(from("a@wide.example").result, SPF_FAIL);
	assert_int_equal(zone.questions, 1 + 10 * 11);
}

/* Cancelling is possible at every question, and nothing comes afterwards. */
static void test_cancel(void **state)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_addr = { htonl(0xc0000201) } };
	struct spf_query q = { (struct sockaddr *)&peer, "h.example", "a@example.org", "mx" };
	struct policy_dns dns = zone_dns(&zone);
	struct outcome o = { 0 };
	int steps;

	(void)state;
	txt("example.org", "v=spf1 a mx exists:%{p}.example include:b.example ptr -all exp=%{p}.why.example");
	txt("b.example", "v=spf1 a:b.example -all");
	txt("unknown.why.example", "no, %{p}");
	zone_put(&zone, "example.org", DNS_A, "198.51.100.1");
	zone_put(&zone, "example.org", DNS_MX, "example.org");
	zone_put(&zone, "b.example", DNS_A, "198.51.100.1");
	zone_put(&zone, "1.2.0.192.in-addr.arpa", DNS_PTR, "example.org");
	for (steps = 0; o.calls == 0; steps++) {
		struct spf_check *c = spf_start(&dns, &q, took, &o);
		for (int i = 0; i < steps; i++)
			zone_step(&zone);
		if (o.calls == 0)
			spf_cancel(c);
		assert_int_equal(zone.waiting, 0);
	}
	assert_int_equal(steps, 11);
	assert_int_equal(o.verdict.result, SPF_FAIL);
	assert_string_equal(o.verdict.explanation, "no, unknown");
	/* The answer that needs no DNS can be cancelled too. */
	q.sender = "a@localhost";
	spf_cancel(spf_start(&dns, &q, took, &o));
	assert_int_equal(zone.waiting, 0);
	spf_cancel(NULL);
	assert_int_equal(o.calls, 1);
}

/* What is wrong is said with the term, in printable bytes. */
static void test_problems(void **state)
{
	static const struct {
		const char *record, *problem;
	} t[] = {
		{ "v=spf1 ip4:192.0.2.300 -all", "example.org: bad address: ip4:192.0.2.300" },
		{ "v=spf1 ip4:192.0.2.1/33", "example.org: bad prefix length: ip4:192.0.2.1/33" },
		{ "v=spf1 a:192.0.2.1", "example.org: bad domain: a:192.0.2.1" },
		{ "v=spf1 ipv4:192.0.2.1", "example.org: unknown mechanism: ipv4:192.0.2.1" },
		{ "v=spf1 redirect=a.b redirect=a.b", "example.org: modifier given twice: redirect=a.b" },
		{ "v=spf1 exists", "example.org: domain missing: exists" },
		{ "v=spf1 all\x01\xff", "example.org: unexpected text in the term: all??" },
		{ "v=spf1 x=%{z}", "example.org: bad macro: x=%{z}" },
		{ "v=spf1 exists:%{d0}", "example.org: bad domain: exists:%{d0}" },
		{ "v=spf1 include:nowhere.example", "nowhere.example: included, but has no SPF record" },
		{ "v=spf1 redirect=nowhere.example", "nowhere.example: redirected to, but has no SPF record" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		zone_clear(&zone);
		txt("example.org", t[i].record);
		struct spf_verdict v = from("a@example.org");
		assert_int_equal(v.result, SPF_PERMERROR);
		assert_string_equal(v.problem, t[i].problem);
	}
	zone_clear(&zone);
	zone_put(&zone, "example.org", ZONE_TIMEOUT, "");
	struct spf_verdict v = from("a@example.org");
	assert_int_equal(v.result, SPF_TEMPERROR);
	assert_string_equal(v.problem, "example.org: no answer from DNS");
}

static void expands(const char *macro, const char *want)
{
	const struct spf_facts facts = { .local = "strong-bad",
		.sender_domain = "email.example.com",
		.helo = "h",
		.domain = "email.example.com",
		.host = "r",
		.peer = { AF_INET, { 192, 0, 2, 3 } } };
	struct buf out = BUF_INIT(1024);

	assert_true(spf_macro_ok(view_of(macro), true));
	spf_macro_expand(view_of(macro), &facts, &out);
	assert_string_equal(buf_str(&out), want);
	buf_free(&out);
}

/* The examples of RFC 7208 7.4. */
static void test_macros(void **state)
{
	(void)state;
	expands("%{s}", "strong-bad@email.example.com");
	expands("%{o}", "email.example.com");
	expands("%{d4}", "email.example.com");
	expands("%{d3}", "email.example.com");
	expands("%{d2}", "example.com");
	expands("%{d1}", "com");
	expands("%{dr}", "com.example.email");
	expands("%{d2r}", "example.email");
	expands("%{l}", "strong-bad");
	expands("%{l-}", "strong.bad");
	expands("%{lr}", "strong-bad");
	expands("%{lr-}", "bad.strong");
	expands("%{l1r-}", "strong");
	expands("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com");
	expands("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com");
	expands("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com");
	expands("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com");
	expands("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net");
	expands("%{p} %{d99999999999} %%%_%-", "unknown email.example.com % %20");
}

/* With the name of a file of scenarios: prints what they come to (tests/slow/spf_peer.t). */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suite),
		cmocka_unit_test_teardown(test_verdict, clear),
		cmocka_unit_test_teardown(test_idn, clear),
		cmocka_unit_test_teardown(test_backslash, clear),
		cmocka_unit_test_teardown(test_limits, clear),
		cmocka_unit_test_teardown(test_depth, clear),
		cmocka_unit_test_teardown(test_cancel, clear),
		cmocka_unit_test_teardown(test_problems, clear),
		cmocka_unit_test(test_macros),
	};

	if (argc == 2)
		return run_file(argv[1], print_scenario, NULL) == 0;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
