/*
 * dkimkeys.h.  The private half decides: the public one is derived from it again whenever the two differ.  A reload
 * after a new domain makes that domain's key; selectors that the site no longer names keep their files.
 */
#include "mailsvc/monitor/dkimkeys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/proc.h"

#define DKIM_BITS 2048
#define DKIM_FILE_MAX (64u * 1024)

char *dkim_public_path(const struct site *site, const struct site_domain *d)
{
	return xasprintf("%s/dkim/%s.%s.pub", site->dir, d->name, d->dkim_selector);
}

char *dkim_private_path(const struct site *site, const struct site_domain *d)
{
	return xasprintf("%s/keys/%s.%s.key", site->state_dir, d->name, d->dkim_selector);
}

static struct view bio_view(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return (struct view){ data, len > 0 ? (size_t)len : 0 };
}

static EVP_PKEY *read_private(const char *path, struct error *e)
{
	struct buf pem = BUF_INIT(DKIM_FILE_MAX);
	EVP_PKEY *key = NULL;

	if (file_read(path, DKIM_FILE_MAX, &pem, e) == 0) {
		BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);

		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
		BIO_free(bio);
		if (key == NULL || !EVP_PKEY_is_a(key, "RSA")) {
			error_set(e, "%s: is not an RSA private key in PEM; move it away to have a new one made", path);
			EVP_PKEY_free(key);
			key = NULL;
		}
		ERR_clear_error();
	}
	if (pem.data != NULL)
		explicit_bzero(pem.data, pem.cap);
	buf_free(&pem);
	return key;
}

static EVP_PKEY *make_private(const struct site *site, const char *path, struct error *e)
{
	char *dir = site_state(site, "keys");
	EVP_PKEY *key = EVP_RSA_gen(DKIM_BITS);
	BIO *bio = BIO_new(BIO_s_secmem());
	bool ok = false;

	if (key == NULL || bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		error_set(e, "%s: OpenSSL cannot make an RSA key", path);
	else
		ok = file_mkdirs(dir, 0700, e) == 0 && file_write_atomic(path, bio_view(bio), 0600, e) == 0;
	if (!ok) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	BIO_free(bio);
	free(dir);
	return key;
}

/* Writes the public half unless it is there already; a folder that cannot be written is said, not fatal. */
static void ensure_public(const struct site *site, const struct site_domain *d, EVP_PKEY *key)
{
	char *path = dkim_public_path(site, d), *dir = xasprintf("%s/dkim", site->dir);
	struct buf now = BUF_INIT(DKIM_FILE_MAX);
	BIO *bio = BIO_new(BIO_s_mem());
	struct error e;

	if (bio != NULL && PEM_write_bio_PUBKEY(bio, key) == 1) {
		struct view want = bio_view(bio);
		bool same = access(path, F_OK) == 0 && file_read(path, DKIM_FILE_MAX, &now, &e) == 0 &&
		            now.len == want.len && memcmp(now.data, want.ptr, want.len) == 0;

		if (!same && (file_mkdirs(dir, 0755, &e) < 0 || file_write_atomic(path, want, 0644, &e) < 0))
			log_warnx(
			    "event=dkim domain=%s reason=\"the public key was not written: %s\"", d->name, e.text);
	}
	BIO_free(bio);
	buf_free(&now);
	free(dir);
	free(path);
}

static int ensure_domain(const struct site *site, const struct site_domain *d, bool dry, struct error *e)
{
	char *path = dkim_private_path(site, d);
	bool missing = access(path, F_OK) < 0;
	EVP_PKEY *key = NULL;
	int r = missing ? 1 : 0;

	if (!dry) {
		key = missing ? make_private(site, path, e) : read_private(path, e);
		if (key != NULL)
			ensure_public(site, d, key);
		else
			r = -1;
	}
	EVP_PKEY_free(key);
	free(path);
	return r;
}

int dkim_keys_ensure(const struct site *site, bool dry, struct error *e)
{
	int made = 0;

	for (size_t i = 0; i < site->domain_count; i++) {
		int r = ensure_domain(site, &site->domains[i], dry, e);

		if (r < 0)
			return -1;
		made += r;
	}
	return made;
}

int dkim_keys_pack(const struct site *site, struct buf *out, struct error *e)
{
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];
		char *path = dkim_private_path(site, d);
		struct buf pem = BUF_INIT(DKIM_FILE_MAX);
		int r = access(path, F_OK) < 0 ? 1 : file_read(path, DKIM_FILE_MAX, &pem, e);

		if (r == 0) {
			buf_put_str(out, d->name);
			buf_put_str(out, d->dkim_selector);
			buf_put_blob(out, buf_view(&pem));
		}
		if (pem.data != NULL)
			explicit_bzero(pem.data, pem.cap);
		buf_free(&pem);
		free(path);
		if (r < 0)
			return -1;
	}
	return out->full ? error_set(e, "there are too many DKIM keys") : 0;
}
