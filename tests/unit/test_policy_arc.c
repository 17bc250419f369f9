/*
 * ARC: sealing by way of keys and verifying what was sealed, changes between the sets, and chains that are broken in
 * one way each.  (tests/e2e/arc.t does the same beside dkimpy, and runs the suite of the protocol's authors.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "lib/log.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/keys/keyring.h"
#include "mailsvc/policy/arc_sets.h"
#include "tests/unit/policy_sign.h"

#define NOW 1800000000

static struct zone zone;
static struct event_base *base;
static struct keys_client *keys;
static struct keyring *ring;
static struct chan *keys_side;
static bool keys_garble;

static struct arc_verdict verdict;
static char authres[512];
static unsigned calls;
static enum dkim_status seal_status;
static struct buf seal_fields = { .max = 1 << 20 };

static void took(void *arg, const struct arc_verdict *v)
{
	(void)arg;
	calls++;
	verdict = *v;
	view_copy(v->authres, authres, sizeof(authres));
}

static enum arc_result verify(struct view message)
{
	const struct policy_dns dns = zone_dns(&zone);

	calls = 0;
	arc_verify_start(&dns, message, NOW, took, NULL);
	assert_int_equal(calls, 0); /* never from inside */
	zone_run(&zone);
	assert_int_equal(calls, 1);
	assert_true(verdict.reason[0] != '\0');
	return verdict.result;
}

static void expect(const struct buf *message, enum arc_result want, const char *reason)
{
	enum arc_result got = verify(buf_view(message));

	if (got != want || strstr(verdict.reason, reason) == NULL)
		fail_msg(
		    "got %s (%s), want %s (%s)", arc_result_name(got), verdict.reason, arc_result_name(want), reason);
}

/* keys ------------------------------------------------------------------------------------------------------- */

static void on_request(struct chan *chan, struct imsg *m, void *arg)
{
	struct buf signature = BUF_INIT(KEYS_SIGNATURE_MAX), msg = BUF_INIT(4096);
	struct keys_request r;

	(void)arg;
	assert_int_equal(keys_request_get(m->data, &r), 0);
	keyring_sign(ring, &r, &signature);
	keys_signature_put(&msg, buf_view(&signature));
	if (keys_garble)
		buf_addc(&msg, 'x');
	chan_send(chan, KEYS_MESSAGE_SIGNATURE, m->id, buf_view(&msg), -1);
	buf_free(&signature);
	buf_free(&msg);
}

static void on_gone(struct chan *chan, void *arg)
{
	(void)arg;
	chan_free(chan);
	keys_side = NULL;
}

static void start_keys(void)
{
	static const struct chan_ops ops = { on_request, on_gone };
	struct buf packed = BUF_INIT(1 << 16);
	struct error e;
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	int fds[2];

	PEM_write_bio_PrivateKey(bio, sign_rsa, NULL, NULL, 0, NULL, NULL);
	long len = BIO_get_mem_data(bio, &pem);
	buf_put_str(&packed, "example.org");
	buf_put_str(&packed, "s");
	buf_put_blob(&packed, (struct view){ pem, (size_t)len });
	BIO_free(bio);
	ring = keyring_load(buf_view(&packed), &e);
	assert_non_null(ring);
	buf_free(&packed);
	base = event_base_new();
	keys = keys_client_new(base);
	assert_int_equal(imsg_pair(fds), 0);
	keys_client_attach(keys, fds[0]);
	keys_side = chan_new(base, fds[1], &ops, NULL);
}

static void on_sealed(void *arg, enum dkim_status status, struct view fields)
{
	(void)arg;
	calls++;
	seal_status = status;
	buf_reset(&seal_fields);
	buf_addv(&seal_fields, fields);
}

static void ask(struct view message, const char *selector, const char *results)
{
	char name[] = "example.org", none[] = "", chosen[64];
	struct site_domain d = { .name = name, .dkim_selector = chosen, .dkim_ed25519 = none };

	view_copy(view_of(selector), chosen, sizeof(chosen));
	calls = 0;
	arc_seal(keys, &d, message, &verdict, "mx.example.org", view_of(results), on_sealed, NULL);
	assert_int_equal(calls, 0);
	memset(name, 'x', sizeof(name) - 1); /* it need not outlive the call */
	for (int i = 0; i < 20 && calls == 0; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(calls, 1);
}

/* Seals with the verdict there is, and puts the set in front. */
static void seal_with(struct buf *message, const char *results)
{
	struct buf sealed = BUF_INIT(1 << 20);

	ask(buf_view(message), "s", results);
	assert_int_equal(seal_status, DKIM_SIGNED);
	buf_addv(&sealed, buf_view(&seal_fields));
	buf_addv(&sealed, buf_view(message));
	buf_free(message);
	*message = sealed;
}

static void seal(struct buf *message)
{
	seal_with(message, "spf=pass smtp.mailfrom=a@example.net");
}

/* The message behind `sets` sets, each verified before the next. */
static struct buf chain(unsigned sets)
{
	struct buf m = BUF_INIT(1 << 20);

	buf_puts(&m,
	    "From: Alice <alice@example.net>\r\nSubject: one\r\nTo: list@example.org\r\n\r\nHello \t world\r\n\r\n");
	verify(buf_view(&m));
	for (unsigned i = 0; i < sets; i++) {
		seal(&m);
		expect(&m, ARC_PASS, "ok");
	}
	return m;
}

/* Replaces the first `from`; it must be there. */
static void change(struct buf *m, const char *from, const char *to)
{
	struct buf out = BUF_INIT(1 << 20);
	const char *at = strstr(buf_str(m), from);

	assert_non_null(at);
	buf_add(&out, m->data, (size_t)(at - m->data));
	buf_puts(&out, to);
	buf_puts(&out, at + strlen(from));
	buf_free(m);
	*m = out;
}

/* Tests ------------------------------------------------------------------------------------------------------ */

static int publish(void **state)
{
	(void)state;
	zone_clear(&zone);
	sign_publish(&zone, "s._domainkey.example.org", "", sign_rsa);
	return 0;
}

static void test_chain(void **state)
{
	struct buf m = chain(0);

	(void)state;
	assert_int_equal(verdict.result, ARC_NONE);
	assert_int_equal(verdict.instance, 0);
	buf_free(&m);
	m = chain(3);
	assert_int_equal(verdict.instance, 3);
	assert_int_equal(verdict.oldest_pass, 0);
	assert_string_equal(verdict.sealer, "example.org");
	assert_string_equal(verdict.selector, "s");
	assert_string_equal(verdict.sealers, "example.org:example.org:example.org");
	assert_string_equal(authres, "mx.example.org; spf=pass\r\n\tsmtp.mailfrom=a@example.net");
	assert_int_equal(zone.waiting, 0);
	zone.questions = 0;
	verify(buf_view(&m));
	assert_int_equal(zone.questions, 1); /* six signatures, one key */
	buf_free(&m);
}

static void test_list(void **state)
{
	struct buf m = chain(2);

	(void)state;
	change(&m, "Subject: one", "Subject: [list] one");
	seal(&m); /* by the verdict before the change */
	expect(&m, ARC_PASS, "ok");
	assert_int_equal(verdict.oldest_pass, 3);
	buf_free(&m);
}

static bool is_trusted(void *arg, struct view sealer)
{
	return memmem(arg, strlen(arg), sealer.ptr, sealer.len) != NULL;
}

/* A sealer that is trusted and says that DMARC failed there vouches for nothing. */
static void test_vouches(void **state)
{
	static const struct {
		enum arc_result result;
		const char *sealers; /* newest first */
		uint64_t said, passed;
		bool want;
	} rows[] = {
		{ ARC_PASS, "good", 0, 0, true }, { ARC_PASS, "good", 1, 1, true }, { ARC_PASS, "good", 1, 0, false },
		{ ARC_FAIL, "good", 1, 1, false }, { ARC_PASS, "evil", 1, 1, false },
		{ ARC_PASS, "goo", 1, 1, true }, /* is_trusted looks for a part */
		{ ARC_PASS, "fine:good", 3, 1, true }, { ARC_PASS, "fine:evil", 3, 1, false },
		{ ARC_PASS, "evil:good", 3, 1, false }, { ARC_PASS, "fine:good", 3, 0, false },
		{ ARC_PASS, "fine:evil", 3, 2, true }, { ARC_PASS, "fine", 3, 1, false }, /* the others did not fit */
	};
	char trusted[] = "good fine";

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arc_verdict v = {
			.result = rows[i].result, .dmarc_said = rows[i].said, .dmarc_passed = rows[i].passed
		};
		view_copy(view_of(rows[i].sealers), v.sealers, sizeof(v.sealers));
		v.instance = rows[i].said > 1 ? 2 : 1;
		if (arc_vouches(&v, is_trusted, trusted) != rows[i].want)
			fail_msg("row %zu: want %d", i, rows[i].want);
	}
	struct buf m = chain(0);
	seal_with(&m, "dmarc=pass header.from=example.net");
	expect(&m, ARC_PASS, "ok");
	seal_with(&m, "spf=pass (dmarc=pass) smtp.mailfrom=a@b; arc=pass; dmarc=fail");
	expect(&m, ARC_PASS, "ok");
	seal(&m);
	expect(&m, ARC_PASS, "ok");
	assert_int_equal(verdict.dmarc_said, 3);
	assert_int_equal(verdict.dmarc_passed, 1);
	buf_free(&m);
}

static void test_failed(void **state)
{
	struct buf m = chain(1);

	(void)state;
	buf_puts(&m, "more\r\n");
	expect(&m, ARC_FAIL, "ARC-Message-Signature 1: the body does not match");
	assert_false(verdict.closed);
	seal(&m);
	assert_non_null(strstr(buf_str(&m), "ARC-Seal: i=2; a=rsa-sha256; cv=fail;"));
	expect(&m, ARC_FAIL, "it says cv=fail");
	assert_true(verdict.closed);
	ask(buf_view(&m), "s", "");
	assert_int_equal(seal_status, DKIM_NO_KEY);
	assert_int_equal(seal_fields.len, 0);
	buf_free(&m);
}

/* One change each to a chain of two. */
static void test_broken(void **state)
{
	static const struct {
		const char *from, *to, *reason;
	} rows[] = {
		{ "ARC-Seal: i=2", "X-Seal: i=2", "not whole" },
		{ "ARC-Message-Signature: i=1", "X-Message-Signature: i=1", "not whole" },
		{ "ARC-Authentication-Results: i=2", "ARC-Authentication-Results: i=1", "twice" },
		{ "ARC-Authentication-Results: i=2", "ARC-Authentication-Results: i=0", "no instance" },
		{ "ARC-Authentication-Results: i=2;", "ARC-Authentication-Results: i=51;", "too many" },
		{ "ARC-Authentication-Results: i=2;", "ARC-Authentication-Results: two;", "no instance" },
		{ "ARC-Authentication-Results: i=2;", "ARC-Authentication-Results: i = 2 ;", "ARC-Seal 2" },
		{ "ARC-Seal: i=2;", "ARC-Seal: i=2; i=2;", "no instance" },
		{ "ARC-Seal: i=2;", "ARC-Seal: i=2; h=from;", "with h=" },
		{ "cv=pass", "cv=none", "wrong cv=" },
		{ "cv=none", "cv=pass", "wrong cv=" },
		{ "cv=pass", "cv=fail", "cv=fail" },
		{ "cv=none", "cv=fail", "wrong cv=" },
		{ " h=From:", " h=ARC-Seal:From:", "ARC-Seal (RFC" },
		{ " h=From:", " h=", "does not match" },
		{ "spf=pass", "spf=fail", "ARC-Seal 2: the signature does not match" },
		{ "Subject: one", "Subject: two", "ARC-Message-Signature 2: the signature does not match" },
		{ "From: Alice", "From: b@c\r\nFrom: Alice", "2: the signature does not match" },
		{ "d=example.org", "d=example.net", "no such key" },
		{ "a=rsa-sha256", "a=rsa-sha1", "RFC 8301" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf m = chain(2);
		change(&m, rows[i].from, rows[i].to);
		if (verify(buf_view(&m)) != ARC_FAIL || strstr(verdict.reason, rows[i].reason) == NULL)
			fail_msg("\"%s\" as \"%s\": %s (%s), want fail (%s)", rows[i].from, rows[i].to,
			    arc_result_name(verdict.result), verdict.reason, rows[i].reason);
		buf_free(&m);
	}
}

static void test_away(void **state)
{
	struct buf m = chain(1);

	(void)state;
	zone_clear(&zone);
	zone_put(&zone, "s._domainkey.example.org", ZONE_TIMEOUT, "");
	expect(&m, ARC_FAIL, "no answer");
	assert_true(verdict.temporary);
	ask(buf_view(&m), "s", ""); /* a seal would fail it for good */
	assert_int_equal(seal_status, DKIM_NO_KEY);
	zone_clear(&zone);
	expect(&m, ARC_FAIL, "no such key");
	assert_false(verdict.temporary);
	buf_free(&m);
}

static void test_results(void **state)
{
	struct buf m = chain(0);
	char longest[600];

	(void)state;
	ask(buf_view(&m), "s", " \r\n\t");
	assert_non_null(strstr(buf_str(&seal_fields), "ARC-Authentication-Results: i=1; mx.example.org; none\r\n"));
	ask(buf_view(&m), "s", "spf=none;\n Injected: x\r\nAnother: y");
	assert_non_null(strstr(buf_str(&seal_fields), "; spf=none; Injected: x"));
	assert_null(strstr(buf_str(&seal_fields), "\nInjected"));
	assert_null(strstr(buf_str(&seal_fields), "\nAnother"));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ask(buf_view(&m), "s", longest);
	assert_int_equal(seal_status, DKIM_SIGNED);
	ask(buf_view(&m), "other", "");
	assert_int_equal(seal_status, DKIM_NO_KEY);
	buf_free(&m);
}

static void test_cancel(void **state)
{
	const struct policy_dns dns = zone_dns(&zone);
	struct buf m = chain(1);
	char name[] = "example.org", selector[] = "s", none[] = "";
	struct site_domain d = { .name = name, .dkim_selector = selector, .dkim_ed25519 = none };

	(void)state;
	calls = 0;
	arc_verify_cancel(NULL);
	arc_verify_cancel(arc_verify_start(&dns, buf_view(&m), NOW, took, NULL));
	arc_verify_cancel(arc_verify_start(&dns, VIEW_NONE, NOW, took, NULL));
	zone_run(&zone);
	for (int rounds = 0; rounds < 2; rounds++) {
		uint32_t id = arc_seal(keys, &d, buf_view(&m), &verdict, "mx", VIEW_NONE, on_sealed, NULL);
		for (int i = 0; i < rounds; i++) /* between the two questions */
			event_base_loop(base, EVLOOP_ONCE);
		dkim_cancel(keys, id);
		for (int i = 0; i < 10; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	assert_int_equal(calls, 0);
	buf_free(&m);
}

/* At the end: keys answers nonsense, and dies. */
static void test_keys_away(void **state)
{
	struct buf m = chain(0);

	(void)state;
	keys_garble = true;
	ask(buf_view(&m), "s", "");
	assert_int_equal(seal_status, DKIM_AWAY);
	assert_int_equal(seal_fields.len, 0);
	chan_free(keys_side);
	ask(buf_view(&m), "s", "");
	assert_int_equal(seal_status, DKIM_AWAY);
	buf_free(&m);
}

/*
 * The example of RFC 8617, Appendix B, its ARC fields and what they sign.  Its keys, of 512 bits, are not in the RFC
 * (and would be too short, RFC 8301 3.2), so the signatures cannot be verified: that the sets are found and in order,
 * what they say, and that the body is what all three have signed, can.
 */
static const char rfc_example[] = "ARC-Seal: i=3; a=rsa-sha256; cv=pass; d=clochette.example.org; s=\r\n"
				  "\tclochette; t=12345; b=CU87XzXlNlk5X/yW4l73UvPUcP9ivwYWxyBWcVrRs7\r\n"
				  "\t+HPx3K05nJhny2fvymbReAmOA9GTH/y+k9kEc59hAKVg==\r\n"
				  "ARC-Message-Signature: i=3; a=rsa-sha256; c=relaxed/relaxed; d=\r\n"
				  "\tclochette.example.org; h=message-id:date:from:to:subject; s=\r\n"
				  "\tclochette; t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZY\r\n"
				  "\tLQ=; b=o71vwyLsK+Wm4cOSlirXoRwzEvi0vqIjd/2/GkYFYlSd/GGfKzkAgPqxf\r\n"
				  "\tK7ccBMP7Zjb/mpeggswHjEMS8x5NQ==\r\n"
				  "ARC-Authentication-Results: i=3; clochette.example.org; spf=fail\r\n"
				  "\tsmtp.from=jqd@d1.example; dkim=fail (512-bit key)\r\n"
				  "\theader.i=@d1.example; dmarc=fail; arc=pass (as.2.gmail.example=pass,\r\n"
				  "\tams.2.gmail.example=pass, as.1.lists.example.org=pass,\r\n"
				  "\tams.1.lists.example.org=fail (message has been altered))\r\n"
				  "ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=gmail.example; s=20120806; t=\r\n"
				  "\t12345; b=Zpukh/kJL4Q7Kv391FKwTepgS56dgHIcdhhJZjsalhqkFIQQAJ4T9BE\r\n"
				  "\t8jjLXWpRNuh81yqnT1/jHn086RwezGw==\r\n"
				  "ARC-Message-Signature: i=2; a=rsa-sha256; c=relaxed/relaxed; d=\r\n"
				  "\tgmail.example; h=message-id:date:from:to:subject; s=20120806; t=\r\n"
				  "\t12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYLQ=; b=CVoG44\r\n"
				  "\tcVZvoSs2mMig2wwqPaJ4OZS5XGMCegWqQs1wvRZJS894tJM0xO1RJLgCPsBOxdA5\r\n"
				  "\t9WSqI9s9DfyKDfWg==\r\n"
				  "ARC-Authentication-Results: i=2; gmail.example; spf=fail\r\n"
				  "\tsmtp.from=jqd@d1.example; dkim=fail (512-bit key)\r\n"
				  "\theader.i=@example.org; dmarc=fail; arc=pass\r\n"
				  "\t(as.1.lists.example.org=pass, ams.1.lists.example.org=pass)\r\n"
				  "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=lists.example.org; s=dk-lists;\r\n"
				  "\t t=12345; b=TlCCKzgk3TrAa+G77gYYO8Fxk4q/Ml0biqduZJeOYh6+0zhwQ8u/\r\n"
				  "\tlHxLi21pxu347isLSuNtvIagIvAQna9a5A==\r\n"
				  "ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=\r\n"
				  "\tlists.example.org; h=message-id:date:from:to:subject; s=\r\n"
				  "\tdk-lists; t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYL\r\n"
				  "\tQ=; b=DsoD3n3hiwlrN1ma8IZQFgZx8EDO7Wah3hUjIEsYKuShRKYB4LwGUiKD5Y\r\n"
				  "\tyHgcIwGHhSc/4+ewYqHMWDnuFxiQ==\r\n"
				  "ARC-Authentication-Results: i=1; lists.example.org; spf=pass\r\n"
				  "\tsmtp.mfrom=jqd@d1.example; dkim=pass (512-bit key)\r\n"
				  "\theader.i=@d1.example; dmarc=pass\r\n"
				  "Message-ID: <54B84785.1060301@d1.example>\r\n"
				  "Date: Thu, 14 Jan 2015 15:00:01 -0800\r\n"
				  "From: John Q Doe <jqd@d1.example>\r\n"
				  "To: arc@dmarc.example\r\n"
				  "Subject: [List 2] Example 1\r\n"
				  "\r\n"
				  "Hey gang,\r\n"
				  "This is a test message.\r\n"
				  "--J.\r\n";

/* The example with the first of was made is. */
static void rfc_changed(const char *was, const char *is, const char *reason)
{
	struct buf m = BUF_INIT(1 << 16);
	const char *at = strstr(rfc_example, was);

	assert_non_null(at);
	buf_add(&m, rfc_example, (size_t)(at - rfc_example));
	buf_puts(&m, is);
	buf_puts(&m, at + strlen(was));
	expect(&m, ARC_FAIL, reason);
	buf_free(&m);
}

static void test_rfc_example(void **state)
{
	static const char *const keys_asked[] = { "dk-lists._domainkey.lists.example.org",
		"20120806._domainkey.gmail.example", "clochette._domainkey.clochette.example.org" };
	struct arc_sets *sets = xcalloc(1, sizeof(*sets));

	(void)state;
	arc_sets_read(sets, view_of(rfc_example));
	assert_null(sets->problem);
	assert_int_equal(sets->count, 3);
	assert_true(view_eq(sets->sets[0].cv, "none") && view_eq(sets->sets[1].cv, "pass") &&
		    view_eq(sets->sets[2].cv, "pass"));
	for (int i = 0; i < 3; i++) {
		const struct arc_set *s = &sets->sets[i]; /* in the order of the RFC: seal, signature, results */
		assert_true(s->seal.field.ptr + s->seal.field.len == s->message_signature.field.ptr);
		assert_true(s->message_signature.field.ptr + s->message_signature.field.len == s->results.field.ptr);
		assert_true(i == 0 || s->results.field.ptr + s->results.field.len == sets->sets[i - 1].seal.field.ptr);
	}
	free(sets);

	zone.questions = 0;
	rfc_changed("", "", "ARC-Message-Signature 3: there is no such key");
	assert_int_equal(verdict.instance, 3);
	assert_string_equal(verdict.sealers, "clochette.example.org:gmail.example:lists.example.org");
	assert_string_equal(verdict.selector, "clochette");
	assert_int_equal(verdict.dmarc_said, 7);
	assert_int_equal(verdict.dmarc_passed, 1);
	assert_int_equal(strncmp(authres, "clochette.example.org; spf=fail\r\n", 33), 0);
	assert_int_equal(zone.questions, 3); /* all bodies match, so all keys are wanted */
	for (int i = 0; i < 3; i++)
		assert_string_equal(zone.asked[i], keys_asked[i]);
	rfc_changed("--J.", "--K.", "ARC-Message-Signature 3: the body");
	rfc_changed("cv=none", "cv=pass", "a seal has the wrong cv=");
	rfc_changed("ARC-Seal: i=2", "ARC-Seal: i=4", "a set is not whole");
	rfc_changed("ARC-Seal: i=2", "ARC-Seal: i=3", "a field is there twice");
	rfc_changed("ARC-Authentication-Results: i=2;", "ARC-Authentication-Results:", "a field has no instance");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_chain, publish),
		cmocka_unit_test_setup(test_list, publish), cmocka_unit_test_setup(test_vouches, publish),
		cmocka_unit_test_setup(test_failed, publish), cmocka_unit_test_setup(test_broken, publish),
		cmocka_unit_test_setup(test_away, publish), cmocka_unit_test_setup(test_results, publish),
		cmocka_unit_test_setup(test_rfc_example, publish), cmocka_unit_test_setup(test_cancel, publish),
		cmocka_unit_test_setup(test_keys_away, publish) };
	int rc;

	log_init("test", LOG_LEVEL_ERROR);
	sign_keys();
	start_keys();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	zone_clear(&zone);
	keyring_free(ring);
	buf_free(&seal_fields);
	sign_keys_free();
	return rc;
}
