/* The keyring: loading, lookup, and signatures that verify with the public key; the messages around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "lib/buf.h"
#include "lib/text.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/keys/keyring.h"

static void put_key(struct buf *packed, const char *domain, const char *selector, EVP_PKEY *pkey)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;

	PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
	long len = BIO_get_mem_data(bio, &pem);
	buf_put_str(packed, domain);
	buf_put_str(packed, selector);
	buf_put_blob(packed, (struct view){ pem, (size_t)len });
	BIO_free(bio);
}

static bool verifies(EVP_PKEY *pkey, const uint8_t hash[32], struct view signature)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	bool ok = EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
	          EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	          EVP_PKEY_verify(ctx, (const unsigned char *)signature.ptr, signature.len, hash, 32) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static void test_sign(void **state)
{
	struct buf packed = BUF_INIT(1 << 20), signature = BUF_INIT(KEYS_SIGNATURE_MAX);
	EVP_PKEY *a = EVP_RSA_gen(2048), *b = EVP_RSA_gen(1024), *small = EVP_RSA_gen(512), *ec = EVP_EC_gen("P-256");
	struct keys_request r = { DKIM_RSA, "example.org", "mail", { 1, 2, 3 } };
	struct error err;

	(void)state;
	put_key(&packed, "example.org", "mail", a);
	put_key(&packed, "example.net", "old", b);
	put_key(&packed, "small.example", "mail", small);
	put_key(&packed, "ec.example", "mail", ec);
	struct keyring *ring = keyring_load(buf_view(&packed), &err);
	assert_non_null(ring);
	assert_int_equal(keyring_count(ring), 2); /* what cannot be used is left out */
	assert_int_equal(keyring_sign(ring, &r, &signature), 0);
	assert_int_equal(signature.len, 256);
	assert_true(verifies(a, r.hash, buf_view(&signature)));
	r.hash[31] ^= 1;
	assert_false(verifies(a, r.hash, buf_view(&signature)));
	buf_reset(&signature);
	r = (struct keys_request){ DKIM_RSA, "example.net", "old", { 9 } };
	assert_int_equal(keyring_sign(ring, &r, &signature), 0);
	assert_true(verifies(b, r.hash, buf_view(&signature)));
	r = (struct keys_request){ DKIM_RSA, "example.net", "mail", { 9 } };
	assert_int_equal(keyring_sign(ring, &r, &signature), -1);
	r = (struct keys_request){ DKIM_RSA, "", "", { 9 } };
	assert_int_equal(keyring_sign(ring, &r, &signature), -1);
	keyring_free(ring);
	/* Cut short anywhere it is refused as a whole, or has fewer keys. */
	for (size_t cut = 1; cut < 200; cut += 7)
		assert_null(keyring_load((struct view){ packed.data, cut }, &err));
	ring = keyring_load(VIEW_NONE, &err);
	assert_non_null(ring);
	assert_int_equal(keyring_sign(ring, &r, &signature), -1);
	keyring_free(ring);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
	EVP_PKEY_free(small);
	EVP_PKEY_free(ec);
	buf_free(&packed);
	buf_free(&signature);
}

/*
 * RFC 8463 appendix A: its key, its message and its signature, which with Ed25519 is the only one there can be.  The field
 * is written as the RFC has it; canonicalisation, hash and signature are ours.
 */
static const char rfc8463_field[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
				    " d=football.example.com; i=@football.example.com;\r\n"
				    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
				    " subject : date : message-id : from : subject : date;\r\n"
				    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
				    " b=";
static const char *const rfc8463_header[] = { "From: Joe SixPack <joe@football.example.com>\r\n",
	"To: Suzie Q <suzie@shopping.example.net>\r\n", "Subject: Is dinner ready?\r\n",
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n" };

static void base64(struct buf *out, const void *data, size_t len)
{
	buf_reset(out);
	text_base64_encode(out, (struct view){ data, len });
}

static void test_rfc8463(void **state)
{
	struct buf secret = BUF_INIT(100), packed = BUF_INIT(4096), canonical = BUF_INIT(65536), text = BUF_INIT(4096),
		   signature = BUF_INIT(KEYS_SIGNATURE_MAX);
	struct keys_request r = { DKIM_ED25519, "football.example.com", "brisbane", { 0 } };
	struct error err;
	struct dkim_body_hash body = { .limit = DKIM_BODY_ALL };

	(void)state;
	assert_int_equal(text_base64_decode(&secret, VIEW_LIT("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")), 0);
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(
	    EVP_PKEY_ED25519, NULL, (const unsigned char *)secret.data, secret.len);
	put_key(&packed, r.domain, r.selector, key);
	struct keyring *ring = keyring_load(buf_view(&packed), &err);
	assert_int_equal(keyring_count(ring), 1);
	dkim_body_hashes(DKIM_RELAXED,
	    VIEW_LIT("Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"), &body, 1);
	base64(&text, body.hash, sizeof(body.hash));
	assert_string_equal(buf_str(&text), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
	for (size_t i = 0; i < 5; i++)
		dkim_header(DKIM_RELAXED, view_of(rfc8463_header[i]), &canonical);
	dkim_header(DKIM_RELAXED, view_of(rfc8463_field), &canonical);
	canonical.len -= 2;
	EVP_Digest(canonical.data, canonical.len, r.hash, NULL, EVP_sha256(), NULL);
	assert_int_equal(keyring_sign(ring, &r, &signature), 0);
	base64(&text, signature.data, signature.len);
	assert_string_equal(buf_str(&text), "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
	r.algorithm = DKIM_RSA; /* not with this key */
	assert_int_equal(keyring_sign(ring, &r, &signature), -1);
	keyring_free(ring);
	EVP_PKEY_free(key);
	buf_free(&secret);
	buf_free(&packed);
	buf_free(&canonical);
	buf_free(&text);
	buf_free(&signature);
}

static void test_messages(void **state)
{
	struct keys_request in = { DKIM_ED25519, "example.org", "mail", { 7 } }, out;
	struct buf msg = BUF_INIT(4096);
	struct view signature;

	(void)state;
	keys_request_put(&msg, &in);
	assert_int_equal(keys_request_get(buf_view(&msg), &out), 0);
	assert_int_equal(out.algorithm, DKIM_ED25519);
	assert_string_equal(out.domain, "example.org");
	assert_string_equal(out.selector, "mail");
	assert_memory_equal(out.hash, in.hash, 32);
	for (size_t cut = 0; cut < msg.len; cut++)
		assert_int_equal(keys_request_get((struct view){ msg.data, cut }, &out), -1);
	msg.data[0] = DKIM_ALGORITHMS; /* an algorithm that is none */
	assert_int_equal(keys_request_get(buf_view(&msg), &out), -1);
	msg.data[0] = DKIM_ED25519;
	buf_addc(&msg, 'x');
	assert_int_equal(keys_request_get(buf_view(&msg), &out), -1);
	buf_reset(&msg);
	keys_signature_put(&msg, VIEW_LIT("sig"));
	assert_int_equal(keys_signature_get(buf_view(&msg), &signature), 0);
	assert_true(view_eq(signature, "sig"));
	buf_addc(&msg, 'x');
	assert_int_equal(keys_signature_get(buf_view(&msg), &signature), -1);
	buf_free(&msg);
}

/* The client ------------------------------------------------------------------------------------------------- */

static struct event_base *base;
static enum dkim_status got;
static char got_field[8192];
static unsigned answers;
static struct keys_client *k; /* lives as long as its process */
static char second[32];       /* the selector of Ed25519, "" none */

static void on_signed(void *arg, enum dkim_status status, struct view field)
{
	(void)arg;
	answers++;
	got = status;
	snprintf(got_field, sizeof(got_field), "%.*s", (int)field.len, field.len > 0 ? field.ptr : "");
}

/* What keys does with the request: -1 dies, 0 no key, 1 signs, 2 garbage, 3 signs with RSA only, 4 with Ed25519 only. */
static int keys_do;

static void on_request(struct chan *chan, struct imsg *m, void *arg)
{
	struct buf msg = BUF_INIT(4096);
	struct keys_request r;

	(void)arg;
	if (keys_do == -1) {
		chan_free(chan);
		return;
	}
	assert_int_equal(keys_request_get(m->data, &r), 0);
	assert_string_equal(r.selector, r.algorithm == DKIM_RSA ? "mail" : second);
	keys_signature_put(&msg, keys_do == 1 || keys_do == 3 + (int)r.algorithm ? VIEW_LIT("signature") : VIEW_NONE);
	if (keys_do == 2)
		buf_addc(&msg, 'x');
	chan_send(chan, KEYS_MESSAGE_SIGNATURE, m->id, buf_view(&msg), -1);
	buf_free(&msg);
}

static void on_gone(struct chan *chan, void *arg)
{
	(void)arg;
	chan_free(chan);
}

static void ask(void)
{
	char name[] = "example.org", selector[] = "mail";
	struct site_domain d = { .name = name, .dkim_selector = selector, .dkim_ed25519 = second };

	answers = 0;
	dkim_sign(k, &d, VIEW_LIT("From: a@example.org\r\n\r\nhi\r\n"), on_signed, NULL);
	for (int i = 0; i < 10 && answers == 0; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(answers, 1);
}

/* Both fields, or of the one key there is; a cancelled one says nothing. */
static void ask_both(void)
{
	char selector[] = "mail";
	struct site_domain d = { .name = second, .dkim_selector = selector, .dkim_ed25519 = second };

	view_copy(VIEW_LIT("mail-ed25519"), second, sizeof(second));
	for (keys_do = 0; keys_do <= 4; keys_do++) {
		bool rsa = keys_do == 1 || keys_do == 3, ed25519 = keys_do == 1 || keys_do == 4;
		ask();
		assert_int_equal(got, keys_do == 0 ? DKIM_NO_KEY : keys_do == 2 ? DKIM_AWAY : DKIM_SIGNED);
		assert_int_equal(strstr(got_field, "a=rsa-sha256;") != NULL, rsa);
		assert_int_equal(strstr(got_field, "a=ed25519-sha256;") != NULL, ed25519);
		if (ed25519)
			assert_non_null(strstr(got_field, " s=mail-ed25519;"));
	}
	answers = 0;
	dkim_cancel(k, dkim_sign(k, &d, VIEW_LIT("From: a@example.org\r\n\r\nhi\r\n"), on_signed, NULL));
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(answers, 0);
}

/* "No key" and "nobody could be asked" are told apart: the one sends unsigned, the other waits. */
static void test_client(void **state)
{
	static const struct chan_ops ops = { on_request, on_gone };
	static const struct {
		int keys_do;
		enum dkim_status status;
	} rows[] = { { 0, DKIM_NO_KEY }, { 1, DKIM_SIGNED }, { 2, DKIM_AWAY }, { -1, DKIM_AWAY }, { 1, DKIM_AWAY } };
	int fds[2];

	(void)state;
	base = event_base_new();
	k = keys_client_new(base);
	ask();
	assert_int_equal(got, DKIM_AWAY);
	assert_int_equal(imsg_pair(fds), 0);
	keys_client_attach(k, fds[0]);
	chan_new(base, fds[1], &ops, NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (i == 3) { /* before keys dies: both algorithms */
			ask_both();
			second[0] = '\0';
		}
		keys_do = rows[i].keys_do;
		ask();
		assert_int_equal(got, rows[i].status);
		assert_int_equal(strncmp(got_field, "DKIM-Signature:", 15) == 0, got == DKIM_SIGNED);
	}
}

static void test_signer(void **state)
{
	struct findings findings = { 0 };
	struct site *site =
	    site_load_memory(VIEW_LIT("host = { name = \"mx.a.example.org\"; ipv4 = \"192.0.2.1\"; };\n"
				      "domains = ( { name = \"example.org\"; }, { name = \"b.example\"; } );\n"
				      "accounts = ( { address = \"a@example.org\"; } );\n"),
		"test.conf", &findings);

	(void)state;
	assert_non_null(site);
	assert_string_equal(dkim_domain(site, "b.example")->name, "b.example");
	assert_string_equal(dkim_domain(site, "mx.a.example.org")->name, "example.org");
	assert_null(dkim_domain(site, "a.example.org")); /* not ours */
	assert_null(dkim_domain(site, "x.b.example"));
	assert_null(dkim_domain(site, "org"));
	site_unref(site);
	findings_free(&findings);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sign), cmocka_unit_test(test_rfc8463), cmocka_unit_test(test_messages),
		cmocka_unit_test(test_client), cmocka_unit_test(test_signer) };

	log_init("test", LOG_LEVEL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
