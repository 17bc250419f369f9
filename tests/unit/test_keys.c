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
	struct keys_request r = { "example.org", "mail", { 1, 2, 3 } };
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
	r = (struct keys_request){ "example.net", "old", { 9 } };
	assert_int_equal(keyring_sign(ring, &r, &signature), 0);
	assert_true(verifies(b, r.hash, buf_view(&signature)));
	r = (struct keys_request){ "example.net", "mail", { 9 } };
	assert_int_equal(keyring_sign(ring, &r, &signature), -1);
	r = (struct keys_request){ "", "", { 9 } };
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

static void test_messages(void **state)
{
	struct keys_request in = { "example.org", "mail", { 7 } }, out;
	struct buf msg = BUF_INIT(4096);
	struct view signature;

	(void)state;
	keys_request_put(&msg, &in);
	assert_int_equal(keys_request_get(buf_view(&msg), &out), 0);
	assert_string_equal(out.domain, "example.org");
	assert_string_equal(out.selector, "mail");
	assert_memory_equal(out.hash, in.hash, 32);
	for (size_t cut = 0; cut < msg.len; cut++)
		assert_int_equal(keys_request_get((struct view){ msg.data, cut }, &out), -1);
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
static char got_field[4096];
static unsigned answers;
static struct keys_client *k; /* lives as long as its process */

static void on_signed(void *arg, enum dkim_status status, struct view field)
{
	(void)arg;
	answers++;
	got = status;
	snprintf(got_field, sizeof(got_field), "%.*s", (int)field.len, field.len > 0 ? field.ptr : "");
}

/* What keys does with the request: -1 dies, 0 no key, 1 signs, 2 garbage. */
static int keys_do;

static void on_request(struct chan *chan, struct imsg *m, void *arg)
{
	struct buf msg = BUF_INIT(4096);

	(void)arg;
	if (keys_do == -1) {
		chan_free(chan);
		return;
	}
	keys_signature_put(&msg, keys_do == 1 ? VIEW_LIT("signature") : VIEW_NONE);
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
	answers = 0;
	dkim_sign(k, "example.org", "mail", VIEW_LIT("From: a@example.org\r\n\r\nhi\r\n"), on_signed, NULL);
	for (int i = 0; i < 10 && answers == 0; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(answers, 1);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sign), cmocka_unit_test(test_messages),
		cmocka_unit_test(test_client), cmocka_unit_test(test_signer) };

	log_init("test", LOG_LEVEL_ERROR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
