/*
 * DKIM verification: the examples of RFC 6376 and RFC 8463, one row a rule of the verifier, and what changes of a
 * signed message it must see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/sigtags.h"
#include "tests/unit/policy_sign.h"

#define NOW 1800000000

static struct zone zone;
static struct dkim_result results[DKIM_SIGNATURES_MAX];
static size_t result_count;
static unsigned calls;

static void took(void *arg, const struct dkim_result *r, size_t count)
{
	(void)arg;
	calls++;
	result_count = count;
	memcpy(results, r, count * sizeof(*r));
}

/* The verdict of the first signature. */
static enum dkim_verdict verify(struct view message)
{
	const struct policy_dns dns = zone_dns(&zone);

	calls = 0;
	memset(results, 0, sizeof(results));
	dkim_verify_start(&dns, message, NOW, took, NULL);
	assert_int_equal(calls, 0); /* never from inside */
	zone_run(&zone);
	assert_int_equal(calls, 1);
	for (size_t i = 0; i < result_count; i++)
		assert_true(results[i].verdict != DKIM_NONE && results[i].reason[0] != '\0');
	return results[0].verdict;
}

static void expect(struct view message, enum dkim_verdict want, const char *reason, const char *what)
{
	enum dkim_verdict got = verify(message);

	if (got != want || (reason != NULL && strstr(results[0].reason, reason) == NULL))
		fail_msg("%s: got %s (%s), want %s (%s)", what, dkim_verdict_name(got), results[0].reason,
		    dkim_verdict_name(want), reason != NULL ? reason : "any reason");
}

static int clear(void **state)
{
	(void)state;
	zone_clear(&zone);
	return 0;
}

/* The header that the examples of both RFCs sign. */
#define JOE                                                                                                            \
	"From: Joe SixPack <joe@football.example.com>\r\n"                                                             \
	"To: Suzie Q <suzie@shopping.example.net>\r\n"                                                                 \
	"Subject: Is dinner ready?\r\n"                                                                                \
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"                                                              \
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"                                             \
	"\r\n"

/*
 * RFC 6376 A.2, with the key of its appendix C.  As it was signed: the RFC's own text lost a space before each folded
 * line and has one more in "game. Are".
 */
static const char rfc6376[] = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n"
			      "      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n"
			      "      h=Received : From : To : Subject : Date : Message-ID;\r\n"
			      "      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
			      "      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"
			      "      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"
			      "      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"
			      "      4bmp/YzhwvcubU4=;\r\n"
			      "Received: from client1.football.example.com  [192.0.2.1]\r\n"
			      "      by submitserver.example.com with SUBMISSION;\r\n"
			      "      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n"
			      JOE
			      "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";
static const char rfc6376_key[] =
    "v=DKIM1; "
    "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5"
    "ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

static void test_rfc6376(void **state)
{
	(void)state;
	zone_put(&zone, "brisbane._domainkey.example.com", DNS_TXT, rfc6376_key);
	expect(view_of(rfc6376), DKIM_PASS, "ok", "RFC 6376 A.2");
	assert_int_equal(result_count, 1);
	assert_string_equal(results[0].domain, "example.com");
	assert_string_equal(results[0].selector, "brisbane");
	assert_string_equal(results[0].identity, "joe@football.example.com");
	assert_string_equal(results[0].algorithm, "rsa-sha256");
	assert_string_equal(results[0].b, "AuUoFEfD");
	assert_int_equal(results[0].key_bits, 1024);
	assert_int_equal(zone.questions, 1);
	assert_string_equal(zone.asked[0], "brisbane._domainkey.example.com");
}

/* Every byte of it counts, but for those of b= that are white space, which is not signed. */
static void test_every_byte(void **state)
{
	struct buf text = BUF_INIT(4096);
	size_t b = (size_t)(strstr(rfc6376, "AuUo") - rfc6376), b_end = (size_t)(strstr(rfc6376, "bU4=") - rfc6376) + 4;

	(void)state;
	zone_put(&zone, "brisbane._domainkey.example.com", DNS_TXT, rfc6376_key);
	for (size_t i = 0; i < sizeof(rfc6376) - 1; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			buf_reset(&text);
			buf_puts(&text, rfc6376);
			text.data[i] = (char)(text.data[i] ^ 1 << bit);
			bool unsigned_space = i >= b && i < b_end && strchr(" \r\n", rfc6376[i]) != NULL &&
			                      (text.data[i] == ' ' || text.data[i] == '\t');
			if (verify(buf_view(&text)) == DKIM_PASS && result_count > 0 && !unsigned_space)
				fail_msg("byte %zu, bit %u: still passes", i, bit);
		}
		buf_reset(&text);
		buf_puts(&text, rfc6376);
		text.data[i] = '\n';
		if (rfc6376[i] != '\n' && verify(buf_view(&text)) == DKIM_PASS && result_count > 0)
			fail_msg("byte %zu as LF: still passes", i);
	}
	buf_free(&text);
}

/* RFC 8463 A.2 and A.3: both signatures over one message. */
static const char rfc8463[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
			      " d=football.example.com; i=@football.example.com;\r\n"
			      " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
			      " subject : date : message-id : from : subject : date;\r\n"
			      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
			      " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
			      " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
			      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
			      " d=football.example.com; i=@football.example.com;\r\n"
			      " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
			      " date : message-id : from : subject : date;\r\n"
			      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
			      " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
			      " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
			      " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
			      JOE
			      "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

static void test_rfc8463(void **state)
{
	(void)state;
	zone_put(&zone, "brisbane._domainkey.football.example.com", DNS_TXT,
	    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
	zone_put(&zone, "test._domainkey.football.example.com", DNS_TXT,
	    "v=DKIM1; k=rsa; "
	    "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/"
	    "byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/"
	    "K4w3QIDAQAB");
	expect(view_of(rfc8463), DKIM_PASS, "ok", "RFC 8463 A.3, Ed25519");
	assert_int_equal(result_count, 2);
	assert_int_equal(results[0].key_bits, 256);
	assert_string_equal(results[0].algorithm, "ed25519-sha256");
	assert_int_equal(results[1].verdict, DKIM_PASS);
	assert_string_equal(results[1].selector, "test");
}

static const char message_text[] = "From: Alice <alice@example.org>\r\n"
				   "To: bob@example.net\r\n"
				   "Subject: one\r\n"
				   "\ttwo\r\n"
				   "\r\n"
				   "Hello \t world\r\n"
				   "more\r\n"
				   "\r\n";

/* One row a rule.  begin is of the signature, record of its key; with a new key each time where it matters. */
struct row {
	const char *what, *tags, *names, *record;
	enum { KEY_RSA, KEY_SMALL, KEY_ED25519 } key;
	enum dkim_verdict want;
	const char *reason;
};

static const char usual[] = "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;";
static const struct row rows[] = {
	{ "plain", usual, "from:to:subject", "v=DKIM1; ", KEY_RSA, DKIM_PASS, "ok" },
	{ "oversigned", usual, "from:to:subject:from:cc", "", KEY_RSA, DKIM_PASS, "ok" },
	{ "names as they like", usual, "From:TO:sUBJECT", "", KEY_RSA, DKIM_PASS, "ok" },
	{ "Ed25519", "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "k=ed25519; ",
	    KEY_ED25519, DKIM_PASS, "ok" },
	{ "case of d= and s=", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=EXAMPLE.org; s=S;", "from", "", KEY_RSA,
	    DKIM_PASS, "ok" },
	{ "From is not signed", usual, "to:subject", "", KEY_RSA, DKIM_PERMERROR, "From is not signed" },
	{ "v=2", "v=2; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "v= is not 1" },
	{ "no v", "a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "v= is missing" },
	{ "no a", "v=1; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR, "a= is missing" },
	{ "no d", "v=1; a=rsa-sha256; c=relaxed/relaxed; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR, "d= is missing" },
	{ "no s", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "s= is missing" },
	{ "twice", "v=1; v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_NEUTRAL,
	    "twice" },
	{ "no tags", "v=1; nonsense; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA,
	    DKIM_NEUTRAL, "no list" },
	{ "an empty tag", "v=1;; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA,
	    DKIM_NEUTRAL, "no list" },
	{ "another tag", "v=1; new=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA,
	    DKIM_PASS, "ok" },
	{ "rsa-sha1", "v=1; a=rsa-sha1; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_POLICY,
	    "RFC 8301" },
	{ "an algorithm", "v=1; a=rsa-sha512; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA,
	    DKIM_PERMERROR, "a= is" },
	{ "c=", "v=1; a=rsa-sha256; c=relaxed/strict; d=example.org; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "c= is" },
	{ "q=", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; q=http;", "from", "", KEY_RSA,
	    DKIM_PERMERROR, "q= is" },
	{ "q= of many", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; q=http : dns/txt;", "from", "",
	    KEY_RSA, DKIM_PASS, "ok" },
	{ "i= elsewhere", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; i=@example.net;", "from", "",
	    KEY_RSA, DKIM_PERMERROR, "i= is not within" },
	{ "i= only ends alike", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; i=@myexample.org;", "from",
	    "", KEY_RSA, DKIM_PERMERROR, "i= is not within" },
	{ "i= below", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; i=a@b.example.org;", "from", "t=y; ",
	    KEY_RSA, DKIM_PASS, "ok" },
	{ "i= below, t=s", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; i=a@b.example.org;", "from",
	    "t=y:s; ", KEY_RSA, DKIM_PERMERROR, "below d=" },
	{ "i= of d=, t=s", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; i=a@Example.org;", "from",
	    "t=s; ", KEY_RSA, DKIM_PASS, "ok" },
	{ "expired", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; t=1; x=1799999999;", "from", "",
	    KEY_RSA, DKIM_POLICY, "expired" },
	{ "not yet expired", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; t=1; x=1800000000;", "from", "",
	    KEY_RSA, DKIM_PASS, "ok" },
	{ "x before t", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; t=1800000002; x=1800000001;", "from",
	    "", KEY_RSA, DKIM_PERMERROR, "before" },
	{ "t=", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s; t=now;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "no time" },
	{ "small key", usual, "from", "", KEY_SMALL, DKIM_POLICY, "768 bits" },
	{ "k= of another kind", usual, "from", "k=ed25519; ", KEY_RSA, DKIM_PERMERROR, "broken" },
	{ "a= of another kind", "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s;", "from", "", KEY_RSA,
	    DKIM_PERMERROR, "not for the algorithm" },
	{ "k= unknown", usual, "from", "k=dsa; ", KEY_RSA, DKIM_PERMERROR, "unknown kind" },
	{ "h= of the key", usual, "from", "h=sha1; ", KEY_RSA, DKIM_PERMERROR, "sha256" },
	{ "h= of the key, both", usual, "from", "h=sha1:sha256; ", KEY_RSA, DKIM_PASS, "ok" },
	{ "s= of the key", usual, "from", "s=tlsrpt; ", KEY_RSA, DKIM_PERMERROR, "not for mail" },
	{ "s= of the key, mail", usual, "from", "s=other:email; ", KEY_RSA, DKIM_PASS, "ok" },
	{ "v= of the key", usual, "from", "v=DKIM2; ", KEY_RSA, DKIM_PERMERROR, "version" },
	{ "v= of the key not first", usual, "from", "k=rsa; v=DKIM1; ", KEY_RSA, DKIM_PERMERROR, "version" },
	{ "a record of tags", usual, "from", "k; ", KEY_RSA, DKIM_PERMERROR, "malformed" },
	{ "bad d=", "v=1; a=rsa-sha256; c=relaxed/relaxed; d=exam ple.org; s=s;", "from", "", KEY_RSA, DKIM_PERMERROR,
	    "no name" },
};

static void test_rules(void **state)
{
	struct buf message = BUF_INIT(1 << 20), begin = BUF_INIT(4096);
	EVP_PKEY *const keys[] = { sign_rsa, sign_rsa_small, sign_ed25519 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		zone_clear(&zone);
		sign_publish(&zone, "s._domainkey.example.org", r->record, keys[r->key]);
		buf_reset(&message);
		buf_puts(&message, message_text);
		buf_reset(&begin);
		buf_printf(&begin, "DKIM-Signature: %s", r->tags);
		sign_message(
		    &message, buf_str(&begin), r->names, keys[r->key], DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
		expect(buf_view(&message), r->want, r->reason, r->what);
		if (r->want == DKIM_PASS)
			assert_int_equal(results[0].testing, strncmp(r->record, "t=y", 3) == 0);
	}
	buf_free(&message);
	buf_free(&begin);
}

static void signed_by(struct buf *message, const char *tags, const char *names, enum dkim_canon header,
    enum dkim_canon body, uint64_t limit)
{
	struct buf begin = BUF_INIT(4096);

	buf_reset(message);
	buf_puts(message, message_text);
	buf_printf(&begin, "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; %s", tags);
	sign_message(message, buf_str(&begin), names, sign_rsa, header, body, limit);
	buf_free(&begin);
}

/* All canonicalisations, and l=: nothing behind it, something, more than there is. */
static void test_canons(void **state)
{
	static const struct {
		const char *c;
		enum dkim_canon header, body;
	} canons[] = { { "", DKIM_SIMPLE, DKIM_SIMPLE }, { "c=simple;", DKIM_SIMPLE, DKIM_SIMPLE },
		{ "c=relaxed;", DKIM_RELAXED, DKIM_SIMPLE }, { "c=simple/relaxed;", DKIM_SIMPLE, DKIM_RELAXED },
		{ "c=relaxed/simple;", DKIM_RELAXED, DKIM_SIMPLE },
		{ "c=relaxed/relaxed;", DKIM_RELAXED, DKIM_RELAXED } };
	struct buf message = BUF_INIT(1 << 20);
	char tags[100];

	(void)state;
	sign_publish(&zone, "s._domainkey.example.org", "", sign_rsa);
	for (size_t i = 0; i < sizeof(canons) / sizeof(canons[0]); i++) {
		unsigned long long len = canons[i].body == DKIM_SIMPLE ? 21 : 19;
		signed_by(&message, canons[i].c, "from:subject", canons[i].header, canons[i].body, DKIM_BODY_ALL);
		expect(buf_view(&message), DKIM_PASS, "ok", canons[i].c);
		snprintf(tags, sizeof(tags), "%s l=%llu;", canons[i].c, len);
		signed_by(&message, tags, "from:subject", canons[i].header, canons[i].body, len);
		expect(buf_view(&message), DKIM_PASS, "ok", tags);
		buf_puts(&message, "appended\r\n");
		expect(buf_view(&message), DKIM_POLICY, "bytes of the body unsigned", tags);
		snprintf(tags, sizeof(tags), "%s l=0;", canons[i].c);
		signed_by(&message, tags, "from:subject", canons[i].header, canons[i].body, 0);
		expect(buf_view(&message), DKIM_POLICY, "bytes of the body unsigned", tags);
		snprintf(tags, sizeof(tags), "%s l=100;", canons[i].c);
		signed_by(&message, tags, "from:subject", canons[i].header, canons[i].body, 100);
		expect(buf_view(&message), DKIM_FAIL, "shorter", tags);
	}
	buf_free(&message);
}

static EVP_PKEY *rsa_with_exponent(const char *decimal)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	BIGNUM *e = NULL;
	EVP_PKEY *key = NULL;

	BN_dec2bn(&e, decimal);
	if (EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 1024) != 1 ||
	    EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) != 1 || EVP_PKEY_keygen(ctx, &key) != 1)
		fail_msg("no key");
	BN_free(e);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* What DNS says, without and with a key. */
static void test_answers(void **state)
{
	struct buf message = BUF_INIT(1 << 20);

	(void)state;
	signed_by(&message, "c=relaxed/relaxed;", "from", DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
	expect(buf_view(&message), DKIM_PERMERROR, "no such key", "NXDOMAIN");
	zone_put(&zone, "s._domainkey.example.org", DNS_MX, "mx");
	expect(buf_view(&message), DKIM_PERMERROR, "no such key", "no data");
	zone_clear(&zone);
	zone_put(&zone, "s._domainkey.example.org", ZONE_TIMEOUT, "");
	expect(buf_view(&message), DKIM_TEMPERROR, "no answer", "timeout");
	zone_clear(&zone);
	zone_put(&zone, "s._domainkey.example.org", DNS_TXT, "v=DKIM1; p=");
	expect(buf_view(&message), DKIM_PERMERROR, "revoked", "p=");
	zone_clear(&zone);
	zone_put(&zone, "s._domainkey.example.org", DNS_TXT, "v=spf1 -all");
	zone_put(&zone, "s._domainkey.example.org", DNS_TXT, "v=DKIM1; p=AAAA");
	expect(buf_view(&message), DKIM_PERMERROR, "broken", "no key");
	sign_publish(&zone, "s._domainkey.example.org", "", sign_rsa);
	expect(buf_view(&message), DKIM_PASS, "ok", "one of several");
	/* Two keys are tried, and none with an exponent that only costs time. */
	EVP_PKEY *other = EVP_RSA_gen(1024);
	for (unsigned others = 1; others <= 2; others++) {
		zone_clear(&zone);
		for (unsigned i = 0; i < others; i++)
			sign_publish(&zone, "s._domainkey.example.org", "", other);
		sign_publish(&zone, "s._domainkey.example.org", "", sign_rsa);
		expect(buf_view(&message), others == 1 ? DKIM_PASS : DKIM_FAIL, NULL, "the second or third key");
	}
	EVP_PKEY_free(other);
	zone_clear(&zone);
	other = rsa_with_exponent("8589934609"); /* 34 bits */
	sign_publish(&zone, "s._domainkey.example.org", "", other);
	expect(buf_view(&message), DKIM_PERMERROR, "broken", "a long exponent");
	EVP_PKEY_free(other);
	zone_clear(&zone);
	/* A body that does not match is not looked up. */
	zone.questions = 0;
	buf_puts(&message, "more");
	expect(buf_view(&message), DKIM_FAIL, "the body does not match", "body");
	assert_int_equal(zone.questions, 0);
	buf_free(&message);
}

/* Several From, one only signed; a header that is not what it seems; none; too many signatures; cancelling. */
static void test_messages(void **state)
{
	struct buf message = BUF_INIT(1 << 22), more = BUF_INIT(1 << 22);
	const struct policy_dns dns = zone_dns(&zone);

	(void)state;
	sign_publish(&zone, "s._domainkey.example.org", "", sign_rsa);
	assert_int_equal(verify(VIEW_NONE), DKIM_NONE);
	assert_int_equal(result_count, 0);
	verify(VIEW_LIT("From: a@b\r\n\r\nDKIM-Signature: v=1\r\n"));
	assert_int_equal(result_count, 0);
	signed_by(&message, "c=relaxed/relaxed;", "from", DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
	buf_puts(&more, "From: mallory@example.net\r\n");
	buf_addv(&more, buf_view(&message));
	expect(buf_view(&more), DKIM_PERMERROR, "a From that is not signed", "two From");
	buf_reset(&more);
	buf_puts(&more, "X-Odd: a\rFrom: b\r\n");
	buf_addv(&more, buf_view(&message));
	expect(buf_view(&more), DKIM_PERMERROR, "alone", "a bare CR");
	buf_reset(&more);
	for (int i = 0; i < 12; i++)
		buf_add(&more, message.data, (size_t)(strstr(buf_str(&message), "From:") - message.data));
	buf_puts(&more, message_text);
	expect(buf_view(&more), DKIM_PASS, "ok", "many");
	assert_int_equal(result_count, DKIM_SIGNATURES_MAX);
	for (size_t i = 0; i < result_count; i++)
		assert_int_equal(results[i].verdict, DKIM_PASS);
	buf_reset(&more);
	buf_add(&more, message.data, (size_t)(strstr(buf_str(&message), "From:") - message.data));
	for (int i = 0; i < 60000; i++)
		buf_puts(&more, "X-Very-Long: header\r\n");
	buf_puts(&more, message_text);
	expect(buf_view(&more), DKIM_PERMERROR, "too large", "a huge header");
	buf_reset(&more);
	buf_add(&more, message.data, (size_t)(strstr(buf_str(&message), "From:") - message.data));
	for (int i = 0; i < 10000; i++)
		buf_puts(&more, "X: y\r\n");
	buf_puts(&more, message_text);
	expect(buf_view(&more), DKIM_PERMERROR, "too many fields", "a header of many fields");
	/* Without a callback, before and after some answers. */
	calls = 0;
	dkim_verify_cancel(NULL);
	dkim_verify_cancel(dkim_verify_start(&dns, buf_view(&message), NOW, took, NULL));
	dkim_verify_cancel(dkim_verify_start(&dns, VIEW_NONE, NOW, took, NULL));
	zone_run(&zone);
	assert_int_equal(calls, 0);
	buf_free(&message);
	buf_free(&more);
}

/* The key may be an RSAPublicKey without its envelope (RFC 6376 3.6.1). */
static void test_bare_key(void **state)
{
	struct buf message = BUF_INIT(1 << 20), record = BUF_INIT(4096);
	unsigned char *der = NULL;
	int len = i2d_PublicKey(sign_rsa, &der);

	(void)state;
	buf_puts(&record, "p=");
	text_base64_encode(&record, (struct view){ (const char *)der, (size_t)len });
	zone_put(&zone, "s._domainkey.example.org", DNS_TXT, buf_str(&record));
	signed_by(&message, "c=relaxed/relaxed;", "from", DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
	expect(buf_view(&message), DKIM_PASS, "ok", "a bare key");
	assert_int_equal(results[0].key_bits, 2048);
	OPENSSL_free(der);
	buf_free(&message);
	buf_free(&record);
}

/* RFC 8616: U-labels in the field, A-labels in DNS and in the result.  And names that no DNS can have. */
static void test_names(void **state)
{
	struct buf message = BUF_INIT(1 << 20), begin = BUF_INIT(4096);
	char label[64];

	(void)state;
	sign_publish(&zone, "s._domainkey.xn--bcher-kva.example", "", sign_rsa);
	buf_puts(&message, message_text);
	sign_message(&message,
	    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=b\xc3\xbc"
	    "cher.example; s=s; i=\xc3\xbc@b\xc3\xbc"
	    "cher.example;",
	    "from", sign_rsa, DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
	expect(buf_view(&message), DKIM_PASS, "ok", "U-labels");
	assert_string_equal(results[0].domain, "xn--bcher-kva.example");
	assert_string_equal(results[0].identity, "??@b??cher.example");
	memset(label, 'a', 63);
	label[63] = '\0';
	buf_reset(&message);
	buf_puts(&message, message_text);
	buf_printf(&begin, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; s=%s.%s; d=%s.%s.org;", label, label,
	    label, label);
	sign_message(&message, buf_str(&begin), "from", sign_rsa, DKIM_RELAXED, DKIM_RELAXED, DKIM_BODY_ALL);
	expect(buf_view(&message), DKIM_PERMERROR, "too long", "a name over 253");
	buf_free(&message);
	buf_free(&begin);
}

static void test_tags(void **state)
{
	static const struct {
		const char *in, *name, *value; /* value NULL: no list */
	} cases[] = {
		{ "a=1", "a", "1" },
		{ " a = 1 2 ; b=", "a", "1 2" },
		{ " a = 1 ; b=;", "b", "" },
		{ "a=b=c;", "a", "b=c" },
		{ "a=1;\r\n\t", "a", "1" },
		{ "a=1;;", "a", NULL },
		{ "", "a", NULL },
		{ ";", "a", NULL },
		{ "a", "a", NULL },
		{ "1a=1", "a", NULL },
		{ "a b=1", "a", NULL },
		{ "=1", "a", NULL },
		{ "a=\x01", "a", NULL },
		{ "a=1; a=2", "a", NULL },
		{ "a=1; A=2", "A", "2" },
	};
	struct sigtags tags;
	struct view list = VIEW_LIT(" From : :to"), word;
	const char *problem;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool ok = sigtags_parse(&tags, view_of(cases[i].in), &problem) == 0;
		if (ok != (cases[i].value != NULL) ||
		    (ok && !view_eq(sigtags_value(&tags, cases[i].name), cases[i].value)))
			fail_msg("case %zu: \"%s\"", i, cases[i].in);
	}
	assert_true(sigtags_word(&list, &word) && view_eq(word, "From"));
	assert_true(sigtags_word(&list, &word) && view_eq(word, ""));
	assert_true(sigtags_word(&list, &word) && view_eq(word, "to"));
	assert_false(sigtags_word(&list, &word));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_rfc6376, clear),
		cmocka_unit_test_setup(test_every_byte, clear), cmocka_unit_test_setup(test_rfc8463, clear),
		cmocka_unit_test_setup(test_rules, clear), cmocka_unit_test_setup(test_canons, clear),
		cmocka_unit_test_setup(test_answers, clear), cmocka_unit_test_setup(test_messages, clear),
		cmocka_unit_test_setup(test_bare_key, clear), cmocka_unit_test_setup(test_names, clear),
		cmocka_unit_test(test_tags) };
	int rc;

	sign_keys();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	zone_clear(&zone);
	sign_keys_free();
	return rc;
}
