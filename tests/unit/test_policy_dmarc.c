/* DMARC (mailsvc/policy/dmarc.h): the examples of RFC 9989 (B.1, B.4 and those of section 4), and what they leave out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailsvc/policy/dmarc_record.h"
#include "tests/unit/policy_zone.h"

static struct zone zone;
static unsigned calls;

static int clear(void **state)
{
	(void)state;
	zone_clear(&zone);
	return 0;
}

static void record(const char *domain, const char *text)
{
	char name[300];

	snprintf(name, sizeof(name), "_dmarc.%s", domain);
	zone_put(&zone, name, DNS_TXT, text);
}

static void took(void *arg, const struct dmarc_verdict *v)
{
	*(struct dmarc_verdict *)arg = *v;
	calls++;
}

static struct dmarc_verdict run(const struct dmarc_input *in)
{
	struct policy_dns dns = zone_dns(&zone);
	struct dmarc_verdict v;

	calls = 0;
	zone.questions = 0;
	assert_non_null(dmarc_start(&dns, in, took, &v));
	assert_int_equal(calls, 0);
	zone_run(&zone);
	assert_int_equal(calls, 1);
	assert_string_not_equal(v.reason, "");
	return v;
}

/* spf: the domain that passed, or NULL; dkim likewise. */
static struct dmarc_verdict check(const char *from, const char *spf, const char *dkim)
{
	const char *signatures[] = { dkim };
	struct dmarc_input in = { from, spf ? SPF_PASS : SPF_NONE, spf, signatures, dkim != NULL, NULL, 0 };

	return run(&in);
}

static void asked(size_t count, const char *const *names)
{
	assert_int_equal(zone.questions, count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(zone.asked[i], names[i]);
}

/* B.1: what is aligned. */
static void test_alignment(void **state)
{
	struct dmarc_verdict v;

	(void)state;
	record("example.com", "v=DMARC1; p=reject; aspf=r");
	v = check("example.com", "example.com", NULL);
	assert_int_equal(v.result, DMARC_PASS);
	assert_true(v.spf_aligned && !v.dkim_aligned);
	assert_int_equal(zone.questions, 1); /* the usual case is one question */
	v = check("example.com", "child.example.com", NULL);
	assert_int_equal(v.result, DMARC_PASS);
	assert_string_equal(v.organisational, "example.com");
	v = check("child.example.com", "example.net", NULL);
	assert_int_equal(v.result, DMARC_FAIL);
	v = check("example.com", NULL, "example.com");
	assert_true(v.dkim_aligned && !v.spf_aligned);
	v = check("child.example.com", NULL, "example.com");
	assert_int_equal(v.result, DMARC_PASS);
	assert_string_equal(v.domain, "example.com");
	v = check("child.example.com", NULL, "example.net");
	assert_int_equal(v.result, DMARC_FAIL);
	assert_int_equal(v.policy, DMARC_P_REJECT);
	/* SPF that did not pass counts for nothing. */
	struct dmarc_input in = { "example.com", SPF_SOFTFAIL, "example.com", NULL, 0, NULL, 0 };
	assert_int_equal(run(&in).result, DMARC_FAIL);
	/* A name that only ends alike is another. */
	assert_int_equal(check("example.com", "badexample.com", NULL).result, DMARC_FAIL);
	assert_int_equal(check("example.com", NULL, "com").result, DMARC_FAIL);
}

static void test_strict(void **state)
{
	(void)state;
	record("example.com", "v=DMARC1; p=quarantine; aspf=s; adkim=s");
	assert_int_equal(check("example.com", "example.com", NULL).result, DMARC_PASS);
	assert_int_equal(check("example.com", "a.example.com", NULL).result, DMARC_FAIL);
	assert_int_equal(zone.questions, 1);
	assert_int_equal(check("a.example.com", NULL, "example.com").result, DMARC_FAIL);
	assert_int_equal(check("a.example.com", NULL, "A.Example.com").result, DMARC_PASS);
	zone_clear(&zone);
	record("example.com", "v=DMARC1; p=quarantine; aspf=s; adkim=r");
	struct dmarc_verdict v = check("example.com", "a.example.com", "b.example.com");
	assert_true(!v.spf_aligned && v.dkim_aligned);
}

/* B.4.1 */
static void test_simple_walk(void **state)
{
	static const char *const names[] = { "_dmarc.example.com", "_dmarc.com", "_dmarc.signing.example.com" };

	(void)state;
	record("example.com", "v=DMARC1; p=reject");
	record("signing.example.com", "v=DMARC1; p=none");
	struct dmarc_verdict v = check("example.com", "example.com", "signing.example.com");
	assert_int_equal(v.result, DMARC_PASS);
	assert_true(v.spf_aligned && v.dkim_aligned);
	assert_string_equal(v.organisational, "example.com");
	assert_string_equal(v.domain, "example.com");
	asked(3, names);
}

/* B.4.2, and the eight questions of 4.10 */
static void test_deep_walk(void **state)
{
	static const char *const names[] = { "_dmarc.a.b.c.d.e.f.g.h.i.j.k.example.com", "_dmarc.g.h.i.j.k.example.com",
		"_dmarc.h.i.j.k.example.com", "_dmarc.i.j.k.example.com", "_dmarc.j.k.example.com",
		"_dmarc.k.example.com", "_dmarc.example.com", "_dmarc.com", "_dmarc.signing.example.com" };

	(void)state;
	record("example.com", "v=DMARC1; p=reject; sp=quarantine");
	record("signing.example.com", "v=DMARC1; p=none");
	struct dmarc_verdict v = check("a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com", "signing.example.com");
	assert_int_equal(v.result, DMARC_PASS);
	assert_true(v.spf_aligned && v.dkim_aligned);
	assert_string_equal(v.organisational, "example.com");
	assert_string_equal(v.domain, "example.com");
	assert_int_equal(v.policy, DMARC_P_QUARANTINE);
	asked(9, names);
	v = check("a.b.c.d.e.f.g.example.com", NULL, NULL);
	assert_int_equal(zone.questions, 8);
	assert_string_equal(zone.asked[1], "_dmarc.c.d.e.f.g.example.com");
	/* Eight labels: all of them. */
	v = check("a.b.c.d.e.f.example.com", NULL, NULL);
	assert_int_equal(zone.questions, 8);
	assert_int_equal(v.result, DMARC_FAIL);
}

/* B.4.3 */
static void test_public_suffix(void **state)
{
	struct dmarc_verdict v;

	(void)state;
	record("bank.example", "v=DMARC1; p=reject; psd=y; sp=quarantine");
	record("giant.bank.example", "v=DMARC1; p=none");
	v = check("giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example");
	assert_int_equal(v.result, DMARC_PASS);
	assert_true(v.spf_aligned && !v.dkim_aligned);
	assert_string_equal(v.organisational, "giant.bank.example");
	assert_string_equal(v.domain, "giant.bank.example");
	assert_int_equal(v.policy, DMARC_P_NONE);
	/* Without one of its own, the policy of the suffix holds. */
	v = check("x.mega.bank.example", "giant.bank.example", NULL);
	assert_int_equal(v.result, DMARC_FAIL);
	assert_string_equal(v.organisational, "mega.bank.example");
	assert_string_equal(v.domain, "bank.example");
	assert_int_equal(v.policy, DMARC_P_QUARANTINE);
	v = check("x.mega.bank.example", "y.mega.bank.example", NULL);
	assert_int_equal(v.result, DMARC_PASS);
	/* Mail from the suffix itself. */
	v = check("bank.example", "giant.bank.example", NULL);
	assert_int_equal(v.result, DMARC_FAIL);
	assert_string_equal(v.organisational, "bank.example");
	assert_int_equal(v.policy, DMARC_P_REJECT);
}

/* 4.10.2: which domain is the organisational one. */
static void test_organisational(void **state)
{
	(void)state;
	record("mail.example.com", "v=DMARC1; p=none");
	record("example.com", "v=DMARC1; p=reject");
	assert_string_equal(check("a.mail.example.com", "b.example.com", NULL).organisational, "example.com");
	zone_clear(&zone);
	record("mail.example.com", "v=DMARC1; p=none; psd=n");
	record("example.com", "v=DMARC1; p=reject");
	struct dmarc_verdict v = check("a.mail.example.com", "b.example.com", "b.mail.example.com");
	assert_string_equal(v.organisational, "mail.example.com");
	assert_true(!v.spf_aligned && v.dkim_aligned);
	zone_clear(&zone);
	record("com", "v=DMARC1; p=reject; psd=y");
	v = check("a.mail.example.com", "example.com", "other.com");
	assert_string_equal(v.organisational, "example.com");
	assert_true(v.spf_aligned && !v.dkim_aligned);
	assert_string_equal(v.domain, "com");
}

static void test_policy(void **state)
{
	struct dmarc_verdict v;

	(void)state;
	record("example.com", "v=DMARC1; p=none; sp=quarantine; np=reject; t=y");
	zone_put(&zone, "there.example.com", DNS_MX, "mx.example.com");
	zone_put(&zone, "x.below.example.com", DNS_A, "192.0.2.1");
	v = check("example.com", NULL, NULL);
	assert_int_equal(v.policy, DMARC_P_NONE);
	v = check("there.example.com", NULL, NULL);
	assert_int_equal(v.result, DMARC_FAIL);
	assert_int_equal(v.policy, DMARC_P_QUARANTINE);
	assert_true(v.testing);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_NONE);
	v = check("gone.example.com", NULL, NULL);
	assert_int_equal(v.policy, DMARC_P_REJECT);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_QUARANTINE);
	assert_string_equal(zone.asked[zone.questions - 1], "gone.example.com");
	/* Whoever passes is not asked whether he exists. */
	v = check("gone.example.com", "example.com", NULL);
	assert_int_equal(v.result, DMARC_PASS);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_NONE);
	assert_int_equal(zone.questions, 3);
	/* Trouble about existence is no reject. */
	zone_put(&zone, "slow.example.com", ZONE_TIMEOUT, "");
	assert_int_equal(check("slow.example.com", NULL, NULL).result, DMARC_TEMPERROR);
}

static void test_none(void **state)
{
	struct dmarc_verdict v;

	(void)state;
	v = check("a.example.com", "a.example.com", "a.example.com");
	assert_int_equal(v.result, DMARC_NONE);
	assert_string_equal(v.domain, "");
	assert_string_equal(v.organisational, "a.example.com");
	assert_int_equal(v.policy, DMARC_P_NONE);
	/* Several records are none. */
	record("example.com", "v=DMARC1; p=reject");
	record("example.com", "v=DMARC1; p=none");
	record("example.com", "something else");
	assert_int_equal(check("example.com", NULL, NULL).result, DMARC_NONE);
	/* Other records beside it do not matter. */
	record("example.net", "v=spf1 -all");
	record("example.net", "v=DMARC1;p=reject");
	assert_int_equal(check("example.net", NULL, NULL).result, DMARC_FAIL);
	assert_int_equal(check("not a domain", NULL, NULL).result, DMARC_PERMERROR);
	assert_int_equal(check("", NULL, NULL).result, DMARC_PERMERROR);
}

static void test_trouble(void **state)
{
	struct dmarc_verdict v;

	(void)state;
	zone_put(&zone, "_dmarc.example.com", ZONE_TIMEOUT, "");
	assert_int_equal(check("example.com", "example.com", NULL).result, DMARC_TEMPERROR);
	assert_int_equal(check("a.example.com", "a.example.com", NULL).result, DMARC_TEMPERROR);
	record("example.net", "v=DMARC1; p=reject");
	zone_put(&zone, "_dmarc.net", ZONE_TIMEOUT, "");
	v = check("example.net", "example.net", "a.example.net");
	assert_int_equal(v.result, DMARC_PASS); /* what is equal is aligned, whatever else */
	/* A check that had trouble may have passed. */
	zone_clear(&zone);
	record("example.net", "v=DMARC1; p=reject");
	static const char *const own[] = { "evil.example", "a.example.net" }, *const others[] = { "evil.example" };
	struct dmarc_input in = { "example.net", SPF_TEMPERROR, "example.net", NULL, 0, NULL, 0 };
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT); /* the policy is known and is not forgotten */
	in.spf_domain = "a.example.net";
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	/* ... but not one that could not count: nobody's own DNS takes the policy of another away. */
	in.spf_domain = "evil.example";
	assert_int_equal(run(&in).result, DMARC_FAIL);
	in.dkim_temporary = others;
	in.dkim_temporary_count = 1;
	assert_int_equal(run(&in).result, DMARC_FAIL);
	in.dkim_temporary = own;
	in.dkim_temporary_count = 2;
	assert_int_equal(run(&in).result, DMARC_TEMPERROR);
	zone_put(&zone, "_dmarc.example.org", ZONE_TIMEOUT, ""); /* nobody knows the policy */
	in.from_domain = in.spf_domain = "example.org";
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_NONE);
}

/* Ended after so many answers. */
static struct dmarc_verdict expire(const struct dmarc_input *in, int answers)
{
	struct policy_dns dns = zone_dns(&zone);
	struct dmarc_verdict v = { .result = DMARC_NONE };

	calls = 0;
	struct dmarc_check *c = dmarc_start(&dns, in, took, &v);
	for (int i = 0; i < answers; i++)
		zone_step(&zone);
	assert_int_equal(calls, 0);
	dmarc_expire(c, took, &v);
	assert_int_equal(calls, 1);
	assert_int_equal(zone.waiting, 0);
	return v;
}

static void test_expire(void **state)
{
	static const char *const dead = "dead.example.net";
	struct dmarc_input in = { "example.net", SPF_NONE, NULL, NULL, 0, &dead, 1 };
	struct dmarc_verdict v;

	(void)state;
	record("example.net", "v=DMARC1; p=reject; sp=quarantine");
	v = expire(&in, 0); /* before the author's record: nothing is known */
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_NONE);
	v = expire(&in, 2); /* then net is asked, then what is dead */
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	in.spf = SPF_PASS; /* aligned already, when the walk of another gets no answer */
	in.spf_domain = "example.net";
	v = expire(&in, 2);
	assert_int_equal(v.result, DMARC_PASS);
	assert_string_equal(v.reason, "SPF");
	in.spf_domain = "a.example.net"; /* not yet walked, but of the organisation as far as is known */
	assert_int_equal(expire(&in, 2).result, DMARC_PASS);
	in.from_domain = "";
	assert_int_equal(expire(&in, 0).result, DMARC_PERMERROR);
	dmarc_expire(NULL, took, &v);
}

/* An author below a dead delegation does not get away from the policy above it. */
static void test_dead_author(void **state)
{
	static const char *const above[] = { "_dmarc.b.c.dead.example.net", "_dmarc.c.dead.example.net",
		"_dmarc.dead.example.net", "_dmarc.example.net", "_dmarc.net" };
	struct dmarc_input in = { "dead.example.net", SPF_NONE, NULL, NULL, 0, NULL, 0 };
	struct policy_dns dns = zone_dns(&zone);
	struct dmarc_verdict v;
	struct dmarc_check *c;

	(void)state;
	zone_put(&zone, "_dmarc.dead.example.net", ZONE_TIMEOUT, "");
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_NONE); /* nobody has a policy */
	record("example.net", "v=DMARC1; p=none; sp=reject; np=none");
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	assert_string_equal(v.domain, "example.net");
	in.spf = SPF_PASS; /* what is aligned is not held back */
	in.spf_domain = "mail.example.net";
	v = run(&in);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_true(dmarc_disposition(&v) == DMARC_P_NONE && !v.spf_aligned);
	in.spf_domain = "evil.example";
	v = run(&in);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	/* Several names without an answer, and time runs out: what is above is asked at once. */
	in.from_domain = "a.b.c.dead.example.net";
	calls = 0;
	c = dmarc_start(&dns, &in, took, &v);
	zone.questions = 0;
	assert_true(dmarc_hurry(c));
	asked(5, above);
	assert_false(dmarc_hurry(c));
	for (int i = 3; i < 5; i++) { /* those of the dead zone say nothing */
		struct zone_pending first = zone.pending[0];
		zone.pending[0] = zone.pending[3];
		zone.pending[3] = first;
		assert_string_equal(zone.pending[0].name, above[i]);
		zone_step(&zone);
	}
	assert_int_equal(zone.waiting, 3);
	assert_int_equal(calls, 0);
	dmarc_expire(c, took, &v);
	assert_int_equal(calls, 1);
	assert_int_equal(zone.waiting, 0);
	assert_int_equal(v.result, DMARC_TEMPERROR);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	/* All of them answer in the end; and one that is cancelled between. */
	calls = 0;
	c = dmarc_start(&dns, &in, took, &v);
	assert_true(dmarc_hurry(c));
	zone_run(&zone);
	assert_int_equal(calls, 1);
	assert_int_equal(dmarc_disposition(&v), DMARC_P_REJECT);
	c = dmarc_start(&dns, &in, took, &v);
	assert_true(dmarc_hurry(c));
	zone_step(&zone);
	dmarc_cancel(c);
	assert_int_equal(zone.waiting, 0);
	in.from_domain = "org"; /* nothing is above it */
	c = dmarc_start(&dns, &in, took, &v);
	assert_false(dmarc_hurry(c));
	assert_int_equal(zone.waiting, 1);
	dmarc_cancel(c);
	assert_int_equal(zone.waiting, 0);
	assert_int_equal(calls, 1);
}

static void test_names(void **state)
{
	const char *many[20];
	char longest[256] = "";

	(void)state;
	record("xn--bcher-kva.example", "v=DMARC1; p=reject");
	assert_int_equal(check("B\xc3\xbc"
			       "cher.example",
			     "xn--bcher-kva.EXAMPLE", NULL)
			     .result,
	    DMARC_PASS);
	/* A name to which _dmarc does not fit any more: the walk begins above. */
	for (int i = 0; i < 239; i++)
		longest[i] = i % 2 ? '.' : 'a';
	snprintf(longest + 239, sizeof(longest) - 239, ".example.com");
	assert_int_equal(strlen(longest), 251);
	record("example.com", "v=DMARC1; p=reject");
	struct dmarc_verdict v = check(longest, "example.com", NULL);
	assert_int_equal(v.result, DMARC_PASS);
	assert_int_equal(zone.questions, 7);
	/* No more than ten signatures. */
	for (int i = 0; i < 20; i++)
		many[i] = i == 19 ? "example.com" : "example.net";
	struct dmarc_input in = { "example.com", SPF_NONE, NULL, many, 20, NULL, 0 };
	assert_int_equal(run(&in).result, DMARC_FAIL);
	many[9] = "example.com";
	assert_int_equal(run(&in).result, DMARC_PASS);
}

static void test_cancel(void **state)
{
	const char *signature = "b.example.com";
	struct dmarc_input in = { "a.example.com", SPF_PASS, "c.example.com", &signature, 1, NULL, 0 };
	struct policy_dns dns = zone_dns(&zone);
	struct dmarc_verdict v;
	int steps;

	(void)state;
	calls = 0;
	record("example.com", "v=DMARC1; p=reject; np=none");
	record("c.example.com", "v=DMARC1; psd=n");
	record("b.example.com", "v=DMARC1; psd=n");
	for (steps = 0; calls == 0; steps++) {
		struct dmarc_check *c = dmarc_start(&dns, &in, took, &v);
		for (int i = 0; i < steps; i++)
			zone_step(&zone);
		if (calls == 0)
			dmarc_cancel(c);
		assert_int_equal(zone.waiting, 0);
	}
	assert_int_equal(steps, 7); /* a, example.com, com, c, b, does a exist */
	assert_int_equal(v.result, DMARC_FAIL);
	assert_int_equal(v.policy, DMARC_P_NONE);
	in.from_domain = "";
	dmarc_cancel(dmarc_start(&dns, &in, took, &v));
	dmarc_cancel(NULL);
	assert_int_equal(zone.waiting, 0);
	assert_int_equal(calls, 1);
}

static void test_records(void **state)
{
	static const struct {
		const char *text;
		bool is, usable;
		enum dmarc_policy p, sp, np;
	} t[] = {
		{ "v=DMARC1; p=reject", true, true, DMARC_P_REJECT, DMARC_P_REJECT, DMARC_P_REJECT },
		{ "v = DMARC1 ;p = Reject ; sp=none;", true, true, DMARC_P_REJECT, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1;np=reject;p=none", true, true, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_REJECT },
		{ "v=DMARC1;p=reject;sp=quarantine;np=none", true, true, DMARC_P_REJECT, DMARC_P_QUARANTINE,
		    DMARC_P_NONE },
		{ "v=DMARC1;foo=bar;;p=reject;pct=0;p=none", true, true, DMARC_P_REJECT, DMARC_P_REJECT,
		    DMARC_P_REJECT },
		{ "v=DMARC1", true, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1;p=block", true, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1;p=reject;sp=block", true, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1;p=reject;sp=block;rua=mailto:a@b.example", true, true, DMARC_P_NONE, DMARC_P_NONE,
		    DMARC_P_NONE },
		{ "v=DMARC1;p=block;sp=reject;np=reject;rua=mailto:a@b.example", true, true, DMARC_P_NONE, DMARC_P_NONE,
		    DMARC_P_NONE },
		{ "v=DMARC1;rua=x,, https://b.example", true, true, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1;rua=a@b.example", true, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "V=DMARC1;P=reject", true, true, DMARC_P_REJECT, DMARC_P_REJECT,
		    DMARC_P_REJECT }, /* 4.8: names by RFC 5234 */
		{ "v=DMARC2;p=reject", false, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=dmarc1;p=reject", false, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "v=DMARC1 p=reject", false, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "p=reject;v=DMARC1", false, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
		{ "", false, false, DMARC_P_NONE, DMARC_P_NONE, DMARC_P_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		bool is = dmarc_record_is(view_of(t[i].text));
		if (is != t[i].is)
			fail_msg("%s: a record: %d", t[i].text, is);
		if (!is)
			continue;
		struct dmarc_record r = dmarc_record_parse(view_of(t[i].text));
		if (r.usable != t[i].usable || r.p != t[i].p || r.sp != t[i].sp || r.np != t[i].np)
			fail_msg("%s: usable %d, p %d, sp %d, np %d", t[i].text, r.usable, r.p, r.sp, r.np);
	}
	struct dmarc_record r = dmarc_record_parse(VIEW_LIT("v=DMARC1;p=none;adkim=S;aspf=x;t=Y;psd=N"));
	assert_true(r.strict_dkim && !r.strict_spf && r.testing && !r.has_np);
	assert_int_equal(r.psd, DMARC_PSD_NO);
	/* A record without a policy asks for nothing. */
	record("example.com", "v=DMARC1; p=block");
	struct dmarc_verdict v = check("example.com", "example.com", NULL);
	assert_int_equal(v.result, DMARC_NONE);
	assert_string_equal(v.reason, "the record has no valid policy");
}

static void test_author(void **state)
{
	static const struct {
		const char *header, *domain, *reason;
	} t[] = {
		{ "From: a@Example.COM\r\n\r\n", "example.com", "" },
		{ "To: x@y\r\nFROM : \"b@evil.example\" <a@b\xc3\xbc"
		  "cher.example>\r\n",
		    "xn--bcher-kva.example", "" },
		{ "From: a@x.example, B <b@X.example>\r\n", "x.example", "" },
		{ "From: =?utf-8?q?x=40y?= (c@d.example)\r\n <a@foo_bar.example>\r\n", "foo_bar.example", "" },
		{ "Subject: x\r\n\r\nFrom: a@b.example\r\n", "", "no From field" },
		{ "From: a@b.example\r\nfrom: a@b.example\r\n", "", "several From fields" },
		{ "From: a@b.example, c@d.example\r\n", "", "addresses of several domains in From" },
		{ "From: a@b.example, c\r\n", "", "an address without a domain in From" },
		{ "From: a@[192.0.2.1]\r\n", "", "an address without a domain in From" },
		{ "From: a@b..example\r\n", "", "an address without a domain in From" },
		{ "From: <a@evil.example> <b@bank.example>\r\n", "", "From is no list of addresses" },
		{ "From: a@evil.example:b@bank.example;\r\n", "", "From is no list of addresses" },
		{ "From: <a@evil.example b@bank.example>\r\n", "", "From is no list of addresses" },
		{ "From: <@bank.example:a@evil.example>\r\n", "", "From is no list of addresses" },
		{ "From: a@evil.example (b, c@bank.example\r\n", "", "From is no list of addresses" },
		{ "From: a@evil.example \"b@bank.example\"\r\n", "", "From is no list of addresses" },
		{ "From: \"x@y, <z@w>\" <a@b.example>(x@y) ;\r\n", "b.example", "" },
		{ "From: \"<x> (\" <a@b.example> (<c@d.example>\r\n \\) <e>)\r\n", "b.example", "" },
		{ "From: c@d.example <a@b.example>, <e@b.example>\r\n", "b.example", "" },
		{ "From: undisclosed:;\r\n", "", "no address in From" },
		{ "From:\r\n", "", "no address in From" },
	};
	char domain[256], reason[160];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int rc = dmarc_author(view_of(t[i].header), domain, reason);
		if (rc != (t[i].domain[0] ? 0 : -1) || strcmp(domain, t[i].domain) != 0 ||
		    strcmp(reason, t[i].reason) != 0)
			fail_msg("%s: %d, domain \"%s\", reason \"%s\"", t[i].header, rc, domain, reason);
	}
}

/*
 * Lines "clear", "record DOMAIN TEXT" and "test ID AUTHOR SPF SIGNATURE" ("-": none passed): prints what each test
 * comes to, for a comparison with another implementation (tests/slow/dmarc_peer.t).
 */
static int print_file(const char *path)
{
	char line[1024], a[256], b[256], c[256], d[256];
	FILE *f = fopen(path, "r");

	if (f == NULL)
		return 1;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strcmp(line, "clear\n") == 0)
			zone_clear(&zone);
		else if (sscanf(line, "record %255s %255[^\n]", a, b) == 2)
			record(a, b);
		if (sscanf(line, "test %255s %255s %255s %255s", a, b, c, d) != 4)
			continue;
		struct dmarc_verdict v = check(b, strcmp(c, "-") != 0 ? c : NULL, strcmp(d, "-") != 0 ? d : NULL);
		printf("%s %s %s %d %d\n", a, dmarc_result_name(v.result), dmarc_policy_name(v.policy), v.spf_aligned,
		    v.dkim_aligned);
	}
	zone_clear(&zone);
	fclose(f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_alignment, clear),
		cmocka_unit_test_teardown(test_strict, clear),
		cmocka_unit_test_teardown(test_simple_walk, clear),
		cmocka_unit_test_teardown(test_deep_walk, clear),
		cmocka_unit_test_teardown(test_public_suffix, clear),
		cmocka_unit_test_teardown(test_organisational, clear),
		cmocka_unit_test_teardown(test_policy, clear),
		cmocka_unit_test_teardown(test_none, clear),
		cmocka_unit_test_teardown(test_trouble, clear),
		cmocka_unit_test_teardown(test_expire, clear),
		cmocka_unit_test_teardown(test_dead_author, clear),
		cmocka_unit_test_teardown(test_names, clear),
		cmocka_unit_test_teardown(test_cancel, clear),
		cmocka_unit_test_teardown(test_records, clear),
		cmocka_unit_test(test_author),
	};

	if (argc == 2)
		return print_file(argv[1]);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
