/*
 * dkimkeys.h.  The private half decides: the public one is derived from it again whenever the two differ.  A reload
 * after a new domain makes that domain's key; selectors that the site no longer names keep their files.
 */
#include "mailsvc/monitor/dkimkeys.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/pem.h"
#include "lib/proc.h"

#define DKIM_BITS 2048
#define DKIM_FILE_MAX (64u * 1024)

char *dkim_public_file(const struct site *site, const char *domain, const char *selector)
{
	return xasprintf("%s/dkim/%s.%s.pub", site->dir, domain, selector);
}

char *dkim_private_file(const struct site *site, const char *domain, const char *selector)
{
	return xasprintf("%s/keys/%s.%s.key", site->state_dir, domain, selector);
}

const char *dkim_algorithm_name(enum dkim_algorithm a)
{
	return a == DKIM_RSA ? "rsa" : "ed25519";
}

/* The selector whose key must be there: the one that signs, or will be the first to; "" none. */
static const char *needed_selector(
    const struct dkim_active *active, const struct site_domain *d, enum dkim_algorithm a)
{
	const struct dkim_selectors *now = dkim_active_find(active, d, a);

	if (dkim_selector_of(d, a)[0] == '\0')
		return "";
	if (now != NULL && now->active[0] != '\0')
		return now->active;
	return now != NULL && now->other[0] != '\0' ? now->other : dkim_selector_of(d, a);
}

/* The needed selector; when STATE/keys/active cannot be read (which whoever signs says), the site's.  NULL: none. */
static char *needed_now(const struct site *site, const struct site_domain *d, enum dkim_algorithm a)
{
	struct dkim_active active;
	struct error e;
	const char *selector;
	char *copy;

	dkim_active_load(site, &active, &e); /* empty on failure */
	selector = needed_selector(&active, d, a);
	copy = selector[0] != '\0' ? xstrdup(selector) : NULL;
	dkim_active_free(&active);
	return copy;
}

char *dkim_public_path(const struct site *site, const struct site_domain *d, enum dkim_algorithm a)
{
	char *selector = needed_now(site, d, a);
	char *path = selector != NULL ? dkim_public_file(site, d->name, selector) : NULL;

	free(selector);
	return path;
}

char *dkim_private_path(const struct site *site, const struct site_domain *d, enum dkim_algorithm a)
{
	char *selector = needed_now(site, d, a);
	char *path = selector != NULL ? dkim_private_file(site, d->name, selector) : NULL;

	free(selector);
	return path;
}

/* As OpenSSL calls it, and people. */
static const char *type_name(enum dkim_algorithm a)
{
	return a == DKIM_RSA ? "RSA" : "Ed25519";
}

static struct view bio_view(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return (struct view){ data, len > 0 ? (size_t)len : 0 };
}

static EVP_PKEY *read_private(const char *path, enum dkim_algorithm a, struct error *e)
{
	struct buf pem = BUF_INIT(DKIM_FILE_MAX);
	EVP_PKEY *key = NULL;

	if (file_read(path, DKIM_FILE_MAX, &pem, e) == 0) {
		key = pem_private_key(buf_view(&pem));
		if (key == NULL || !EVP_PKEY_is_a(key, type_name(a))) {
			error_set(e, "%s: is not an %s private key in PEM; move it away to have a new one made", path,
			    type_name(a));
			EVP_PKEY_free(key);
			key = NULL;
		}
	}
	pem_wipe(&pem);
	return key;
}

static EVP_PKEY *make_private(const struct site *site, const char *path, enum dkim_algorithm a, struct error *e)
{
	char *dir = site_state(site, "keys");
	EVP_PKEY *key = a == DKIM_RSA ? EVP_RSA_gen(DKIM_BITS) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_secmem());
	bool ok = false;

	if (key == NULL || bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		error_set(e, "%s: OpenSSL cannot make an %s key", path, type_name(a));
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

/* Writes the public half unless it is there already. */
static int ensure_public(
    const struct site *site, const char *domain, const char *selector, EVP_PKEY *key, struct error *e)
{
	char *path = dkim_public_file(site, domain, selector), *dir = xasprintf("%s/dkim", site->dir);
	struct buf now = BUF_INIT(DKIM_FILE_MAX);
	BIO *bio = BIO_new(BIO_s_mem());
	struct error none;
	int r = 0;

	if (bio == NULL || PEM_write_bio_PUBKEY(bio, key) != 1) {
		r = error_set(e, "%s: OpenSSL cannot write the public key", path);
	} else {
		struct view want = bio_view(bio);
		bool same = access(path, F_OK) == 0 && file_read(path, DKIM_FILE_MAX, &now, &none) == 0 &&
		            now.len == want.len && memcmp(now.data, want.ptr, want.len) == 0;

		if (!same && (file_mkdirs(dir, 0755, e) < 0 || file_write_atomic(path, want, 0644, e) < 0))
			r = -1;
	}
	BIO_free(bio);
	buf_free(&now);
	free(dir);
	free(path);
	return r;
}

/* 1: made, 0: it was there; public_error is why the public half could not be written, "" when it was. */
static int ensure_key(const struct site *site, const char *domain, enum dkim_algorithm a, const char *selector,
    struct error *public_error, struct error *e)
{
	char *path = dkim_private_file(site, domain, selector);
	bool missing = access(path, F_OK) < 0;
	EVP_PKEY *key = missing ? make_private(site, path, a, e) : read_private(path, a, e);
	int r = key == NULL ? -1 : missing ? 1 : 0;

	public_error->text[0] = '\0';
	if (key != NULL)
		ensure_public(site, domain, selector, key, public_error);
	EVP_PKEY_free(key);
	free(path);
	return r;
}

int dkim_key_ensure(
    const struct site *site, const char *domain, enum dkim_algorithm a, const char *selector, struct error *e)
{
	struct error public_error;

	if (ensure_key(site, domain, a, selector, &public_error, e) < 0)
		return -1;
	return public_error.text[0] != '\0' ? error_set(e, "%s", public_error.text) : 0;
}

/* A site folder that cannot be written is said, not fatal: the host signs all the same. */
static int ensure_needed(const struct site *site, const char *domain, enum dkim_algorithm a, const char *selector,
    bool dry, struct error *e)
{
	struct error public_error;
	int r;

	if (dry) {
		char *path = dkim_private_file(site, domain, selector);

		r = access(path, F_OK) < 0;
		free(path);
		return r;
	}
	r = ensure_key(site, domain, a, selector, &public_error, e);
	if (r >= 0 && public_error.text[0] != '\0')
		log_warnx(
		    "event=dkim domain=%s reason=\"the public key was not written: %s\"", domain, public_error.text);
	return r;
}

int dkim_keys_ensure(const struct site *site, bool dry, struct error *e)
{
	struct dkim_active active;
	int made = 0;

	if (dkim_active_load(site, &active, e) < 0)
		return -1;
	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];

		/* Without mail nobody signs for it. */
		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS && d->mail && made >= 0; a++) {
			const char *selector = needed_selector(&active, d, a);
			int r = selector[0] != '\0' ? ensure_needed(site, d->name, a, selector, dry, e) : 0;

			made = r < 0 ? -1 : made + r;
		}
	}
	dkim_active_free(&active);
	return made;
}

static int pack_key(const struct site *site, const char *domain, const char *selector, struct buf *out, struct error *e)
{
	char *path = dkim_private_file(site, domain, selector);
	struct buf pem = BUF_INIT(DKIM_FILE_MAX);
	int r = access(path, F_OK) < 0 ? 1 : file_read(path, DKIM_FILE_MAX, &pem, e);

	if (r == 0) {
		buf_put_str(out, domain);
		buf_put_str(out, selector);
		buf_put_blob(out, buf_view(&pem));
	}
	if (pem.data != NULL)
		explicit_bzero(pem.data, pem.cap);
	buf_free(&pem);
	free(path);
	return r < 0 ? -1 : 0;
}

int dkim_keys_pack(const struct site *site, struct buf *out, struct error *e)
{
	struct dkim_active active;
	int r = dkim_active_load(site, &active, e);

	for (size_t i = 0; i < site->domain_count; i++) {
		const struct site_domain *d = &site->domains[i];

		for (enum dkim_algorithm a = DKIM_RSA; a < DKIM_ALGORITHMS && r == 0; a++) {
			const struct dkim_selectors *now = dkim_active_find(&active, d, a);
			const char *signs = dkim_active_selector(&active, d, a);

			if (signs[0] != '\0')
				r = pack_key(site, d->name, signs, out, e);
			if (r == 0 && now != NULL && now->other[0] != '\0')
				r = pack_key(site, d->name, now->other, out, e);
		}
	}
	dkim_active_free(&active);
	if (r == 0 && out->full)
		r = error_set(e, "there are too many DKIM keys");
	return r;
}
