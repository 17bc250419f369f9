/*
 * The DKIM keys: private keys by domain and selector, sorted for a binary search.  Only a SHA-256 is ever signed: with
 * RSA as a prehash (RFC 6376 3.3.1: RSASSA-PKCS1-v1_5), with Ed25519 as the message (RFC 8463 3: PureEdDSA).  RSA keys
 * below 1024 bits are refused (RFC 8301 3.2).
 */
#include "keyring.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "lib/pem.h"

struct key {
	char *domain, *selector;
	EVP_PKEY *pkey;
};

struct keyring {
	struct key *keys;
	size_t count;
};

static int compare_keys(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int c = strcmp(x->domain, y->domain);

	return c != 0 ? c : strcmp(x->selector, y->selector);
}

static EVP_PKEY *read_pem(struct view pem)
{
	EVP_PKEY *pkey = pem_private_key(pem);
	bool rsa = pkey != NULL && EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= 1024 &&
	           EVP_PKEY_get_bits(pkey) <= 8192;
	if (pkey != NULL && !rsa && !EVP_PKEY_is_a(pkey, "ED25519")) {
		EVP_PKEY_free(pkey);
		pkey = NULL;
	}
	return pkey;
}

struct keyring *keyring_load(struct view packed, struct error *err)
{
	struct cursor c = cursor_of(packed.ptr, packed.len);
	struct keyring *ring = xcalloc(1, sizeof(*ring));

	while (!c.bad && c.left > 0 && ring->count < KEYRING_MAX) {
		char domain[KEYS_DOMAIN_MAX + 1], selector[KEYS_SELECTOR_MAX + 1];
		cursor_str(&c, domain, sizeof(domain));
		cursor_str(&c, selector, sizeof(selector));
		struct view pem = cursor_blob(&c, 64 * 1024);
		if (c.bad)
			break;
		EVP_PKEY *pkey = read_pem(pem);
		if (pkey == NULL) {
			log_warnx("event=dkim domain=%s selector=%s error=\"not a usable RSA or Ed25519 private key\"", domain,
			    selector);
			continue;
		}
		ring->keys = xreallocarray(ring->keys, ring->count + 1, sizeof(*ring->keys));
		ring->keys[ring->count++] = (struct key){ xstrdup(domain), xstrdup(selector), pkey };
	}
	if (c.bad || c.left > 0) {
		error_set(err, "the DKIM keys from monitor are malformed");
		keyring_free(ring);
		return NULL;
	}
	if (ring->count > 0)
		qsort(ring->keys, ring->count, sizeof(*ring->keys), compare_keys);
	return ring;
}

void keyring_free(struct keyring *ring)
{
	if (ring == NULL)
		return;
	for (size_t i = 0; i < ring->count; i++) {
		free(ring->keys[i].domain);
		free(ring->keys[i].selector);
		EVP_PKEY_free(ring->keys[i].pkey);
	}
	free(ring->keys);
	free(ring);
}

size_t keyring_count(const struct keyring *ring)
{
	return ring->count;
}

static int sign_rsa(EVP_PKEY *pkey, const uint8_t hash[KEYS_HASH_LEN], unsigned char *to, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
	bool ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
	          EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
	          EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	          EVP_PKEY_sign(ctx, to, len, hash, KEYS_HASH_LEN) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : -1;
}

static int sign_ed25519(EVP_PKEY *pkey, const uint8_t hash[KEYS_HASH_LEN], unsigned char *to, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
	          EVP_DigestSign(ctx, to, len, hash, KEYS_HASH_LEN) == 1;

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -1;
}

int keyring_sign(const struct keyring *ring, const struct keys_request *r, struct buf *out)
{
	struct key wanted = { (char *)r->domain, (char *)r->selector, NULL };
	const struct key *key =
	    ring->count > 0 ? bsearch(&wanted, ring->keys, ring->count, sizeof(*ring->keys), compare_keys) : NULL;
	size_t len = KEYS_SIGNATURE_MAX;
	unsigned char *to;
	int rc;

	/* What asks has written the algorithm into the field: a signature by another key would be wrong there. */
	if (key == NULL || EVP_PKEY_is_a(key->pkey, "RSA") != (r->algorithm == DKIM_RSA) ||
	    (to = (unsigned char *)buf_reserve(out, len)) == NULL)
		return -1;
	rc = r->algorithm == DKIM_RSA ? sign_rsa(key->pkey, r->hash, to, &len)
	                              : sign_ed25519(key->pkey, r->hash, to, &len);
	if (rc == 0)
		out->len += len;
	return rc;
}
