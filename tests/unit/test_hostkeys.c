/* The keys that monitor and init make: the self-signed certificate and DKIM keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/selfsigned.h"

static char dir[] = "/tmp/mon-test-hostkeys.XXXXXX";
static struct site *site;

static int setup(void **state)
{
	struct findings findings = { 0 };
	char *path;
	struct error e;

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	path = xasprintf("%s/site.conf", dir);
	if (file_write_atomic(path,
		view_of(
		    "host = { name = \"mail.example.org\"; ipv4 = \"192.0.2.10\"; };\n"
		    "domains = ( { name = \"example.org\"; }, { name = \"example.net\"; dkim_selector = \"s1\"; dkim_ed25519 = \"\"; } );\n"
		    "accounts = ( { address = \"alice@example.org\"; } );\nstate_dir = \"state\";\n"),
		0644, &e) < 0)
		return -1;
	site = site_load(path, &findings);
	for (size_t i = 0; site == NULL && i < findings.count; i++)
		printf("# %s\n", findings.at[i].text);
	findings_free(&findings);
	free(path);
	return site != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	char *argv[] = { (char *)(uintptr_t) "rm", (char *)(uintptr_t) "-rf", dir, NULL };
	struct error e;

	(void)state;
	site_unref(site);
	return proc_run(argv, VIEW_NONE, NULL, NULL, &e);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_selfsigned(void **state)
{
	static const char *const names[] = { "mail.example.org", "mail.example.net", "localhost" };
	char *cert = site_state(site, "tls/cert.pem"), *key = site_state(site, "tls/key.pem");
	struct error e = { "" };
	EVP_PKEY *k;
	X509 *x;
	FILE *f;

	(void)state;
	assert_int_equal(selfsigned_ensure(site, &e), 1);
	assert_int_equal(selfsigned_ensure(site, &e), 0);
	assert_int_equal(mode_of(key), 0600);
	assert_int_equal(mode_of(cert), 0644);
	assert_non_null(f = fopen(cert, "r"));
	x = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(f = fopen(key, "r"));
	k = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_int_equal(X509_check_private_key(x, k), 1);
	assert_int_equal(X509_verify(x, k), 1);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(X509_check_host(x, names[i], 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "mail.example.com", 0, 0, NULL), 0);
	assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(x)), -1);
	assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(x)), 1);
	X509_free(x);
	EVP_PKEY_free(k);
	unlink(key); /* half of it is none of it */
	assert_int_equal(selfsigned_ensure(site, &e), 1);
	free(cert);
	free(key);
}

static void test_dkim(void **state)
{
	char *private = dkim_private_path(site, &site->domains[1], DKIM_RSA),
	     *public = dkim_public_path(site, &site->domains[1], DKIM_RSA),
	     *second = dkim_private_path(site, &site->domains[0], DKIM_ED25519);
	struct buf packed = BUF_INIT(1 << 20), before = BUF_INIT(65536), after = BUF_INIT(65536);
	struct error e = { "" };
	struct cursor c;

	(void)state;
	assert_non_null(strstr(private, "/state/keys/example.net.s1.key"));
	assert_non_null(strstr(public, "/dkim/example.net.s1.pub"));
	assert_non_null(strstr(second, "/state/keys/example.org.mail-ed25519.key"));
	assert_null(dkim_private_path(site, &site->domains[1], DKIM_ED25519)); /* the site wants none */
	assert_int_equal(dkim_keys_ensure(site, true, &e), 3); /* dry: nothing is made */
	assert_int_equal(access(private, F_OK), -1);
	assert_int_equal(dkim_keys_pack(site, &packed, &e), 0);
	assert_int_equal(packed.len, 0);
	assert_int_equal(dkim_keys_ensure(site, false, &e), 3);
	assert_int_equal(mode_of(private), 0600);
	assert_int_equal(mode_of(second), 0600);
	assert_int_equal(dkim_keys_ensure(site, false, &e), 0);
	assert_int_equal(file_read(public, 65536, &before, &e), 0);
	assert_int_equal(strncmp(buf_str(&before), "-----BEGIN PUBLIC KEY-----\n", 27), 0);
	assert_int_equal(file_write_atomic(public, view_of("another key\n"), 0644, &e), 0);
	assert_int_equal(dkim_keys_ensure(site, false, &e), 0); /* the private half decides */
	assert_int_equal(file_read(public, 65536, &after, &e), 0);
	assert_string_equal(buf_str(&after), buf_str(&before));
	assert_int_equal(dkim_keys_pack(site, &packed, &e), 0);
	c = cursor_of(packed.data, packed.len);
	assert_true(view_eq(cursor_blob(&c, 255), "example.org"));
	assert_true(view_eq(cursor_blob(&c, 255), "mail"));
	assert_int_equal(strncmp(cursor_blob(&c, 65536).ptr, "-----BEGIN PRIVATE KEY-----", 27), 0);
	assert_true(view_eq(cursor_blob(&c, 255), "example.net"));
	assert_true(view_eq(cursor_blob(&c, 255), "s1"));
	cursor_blob(&c, 65536);
	assert_true(cursor_done(&c));
	assert_int_equal(file_write_atomic(private, view_of("garbage\n"), 0600, &e), 0);
	assert_int_equal(dkim_keys_ensure(site, false, &e), -1);
	assert_non_null(strstr(e.text, "is not an RSA private key"));
	assert_int_equal(file_write_atomic(private, VIEW_NONE, 0600, &e), 0);
	assert_int_equal(dkim_keys_ensure(site, false, &e), -1);
	buf_free(&packed);
	buf_free(&before);
	buf_free(&after);
	free(private);
	free(public);
	free(second);
}

/* A rollover made another selector active: keys has both keys, roles and paths the new selector, the site's file
 * neither. */
static void test_active(void **state)
{
	struct site_domain *d = &site->domains[0];
	struct buf packed = BUF_INIT(1 << 20);
	struct error e = { "" };
	struct cursor c;
	char *path;

	(void)state;
	assert_int_equal(dkim_key_ensure(site, d->name, DKIM_RSA, "mail", &e), 0);
	assert_int_equal(dkim_key_ensure(site, d->name, DKIM_RSA, "mail-2", &e), 0);
	path = dkim_public_file(site, d->name, "mail-2");
	assert_int_equal(mode_of(path), 0644);
	free(path);
	assert_int_equal(dkim_active_set(site, d, DKIM_RSA, "mail-2", "mail", &e), 0);
	path = site_state(site, "keys/active");
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(dkim_keys_pack(site, &packed, &e), 0);
	c = cursor_of(packed.data, packed.len);
	for (int i = 0; i < 2; i++) {
		assert_true(view_eq(cursor_blob(&c, 255), "example.org"));
		assert_true(view_eq(cursor_blob(&c, 255), i == 0 ? "mail-2" : "mail"));
		cursor_blob(&c, 65536);
	}
	assert_true(view_eq(cursor_blob(&c, 255), "example.net"));
	buf_free(&packed);
	char *private = dkim_private_path(site, d, DKIM_RSA);
	assert_non_null(strstr(private, "/example.org.mail-2.key"));
	free(private);
	/* None signs with Ed25519 yet; keys has it at hand, and it signs when a rollover says so. */
	assert_int_equal(dkim_active_set(site, d, DKIM_ED25519, "", "mail-ed25519", &e), 0);
	buf_reset(&packed);
	assert_int_equal(dkim_keys_pack(site, &packed, &e), 0);
	assert_non_null(memmem(packed.data, packed.len, "mail-ed25519", 12));
	buf_free(&packed);
	assert_int_equal(dkim_active_adopt(site, &e), 2);
	assert_string_equal(d->dkim_selector, "mail-2");
	assert_string_equal(d->dkim_ed25519, "");
	assert_int_equal(file_write_atomic(path, view_of("example.org mail ../x -\n"), 0600, &e), 0);
	packed = BUF_INIT(1 << 20);
	assert_int_equal(dkim_keys_pack(site, &packed, &e), -1);
	assert_non_null(strstr(e.text, "keys/active:1:"));
	buf_free(&packed);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_selfsigned), cmocka_unit_test(test_dkim),
		cmocka_unit_test(test_active) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
