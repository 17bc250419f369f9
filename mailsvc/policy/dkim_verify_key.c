/*
 * DKIM key records.  An RSA key is a SubjectPublicKeyInfo, as everybody publishes it, or the bare RSAPublicKey that RFC
 * 6376 3.6.1 speaks of; an Ed25519 key is its 32 bytes.
 */
#include "dkim_verify_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "lib/log.h"
#include "mailsvc/policy/name.h"
#include "sigtags.h"

#define KEY_MAX 4096         /* bytes of a key; RSA-16384 takes 2,086 */
#define EXPONENT_BITS_MAX 32 /* longer ones only cost time: RSA-8192 takes 2 ms with 64 */

/* Takes one DER element of this tag off in: its contents, or ptr NULL. */
static struct view der_take(struct view *in, unsigned char tag)
{
	const unsigned char *p = (const unsigned char *)in->ptr;
	size_t len, head = 2;

	if (in->len < 2 || p[0] != tag)
		return VIEW_NONE;
	len = p[1];
	if (len >= 0x80) {
		size_t bytes = len & 0x7f;
		head += bytes;
		if (bytes < 1 || bytes > 2 || in->len < head)
			return VIEW_NONE;
		len = bytes == 1 ? p[2] : (size_t)p[2] << 8 | p[3];
	}
	if (len > in->len - head)
		return VIEW_NONE;
	struct view contents = { in->ptr + head, len };
	*in = (struct view){ contents.ptr + len, in->len - head - len };
	return contents;
}

/* A SubjectPublicKeyInfo is opened first: a sequence that holds a sequence (the algorithm) and not an integer. */
static bool der_numbers(struct view der, struct view *n, struct view *e)
{
	static const char rsa_encryption[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
	struct view key = der_take(&der, 0x30);

	if (key.len > 0 && key.ptr[0] == 0x30) {
		struct view algorithm = der_take(&key, 0x30), bits = der_take(&key, 0x03);
		if (!view_eq(der_take(&algorithm, 0x06), rsa_encryption) || bits.len < 1 || bits.ptr[0] != 0)
			return false;
		bits = (struct view){ bits.ptr + 1, bits.len - 1 };
		key = der_take(&bits, 0x30);
	}
	*n = der_take(&key, 0x02);
	*e = der_take(&key, 0x02);
	return n->len > 0 && e->len > 0 && ((n->ptr[0] | e->ptr[0]) & 0x80) == 0;
}

/* By hand: the decoders of OpenSSL 3.0 take 95 us for a key, more than everything else of a verification together. */
static EVP_PKEY *read_rsa(struct view der)
{
	struct view n_bytes, e_bytes;
	EVP_PKEY *pkey = NULL;

	if (!der_numbers(der, &n_bytes, &e_bytes))
		return NULL;
	BIGNUM *n = BN_bin2bn((const unsigned char *)n_bytes.ptr, (int)n_bytes.len, NULL);
	BIGNUM *e = BN_bin2bn((const unsigned char *)e_bytes.ptr, (int)e_bytes.len, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	if (n == NULL || e == NULL || build == NULL || ctx == NULL)
		fatalx("out of memory");
	if (BN_num_bits(e) <= EXPONENT_BITS_MAX && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
	    (params = OSSL_PARAM_BLD_to_param(build)) != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	BN_free(n);
	BN_free(e);
	ERR_clear_error();
	return pkey;
}

static const char *read_key(struct dkim_key *key, struct view p)
{
	struct buf der = BUF_INIT(KEY_MAX);
	bool ok = sigtags_base64(p, &der) == 0;

	if (ok && key->algorithm == DKIM_RSA)
		key->pkey = read_rsa(buf_view(&der));
	else if (ok && der.len == 32)
		key->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)der.data, 32);
	buf_free(&der);
	if (key->pkey == NULL)
		return "the key is broken";
	key->bits = key->algorithm == DKIM_RSA ? (unsigned)EVP_PKEY_get_bits(key->pkey) : 256;
	return NULL;
}

static const char *read_record(struct view record, struct dkim_key *key)
{
	struct sigtags tags;
	const char *problem;

	if (sigtags_parse(&tags, record, &problem) == -1)
		return "the key record is malformed";
	struct view v = sigtags_value(&tags, "v"), k = sigtags_value(&tags, "k"), p = sigtags_value(&tags, "p"),
		    h = sigtags_value(&tags, "h"), s = sigtags_value(&tags, "s"), t = sigtags_value(&tags, "t");
	if (v.ptr != NULL && (!view_eq(v, "DKIM1") || !view_eq(tags.tags[0].name, "v")))
		return "the key record is of another version";
	if (p.ptr == NULL)
		return "the key record has no key";
	key->testing = t.ptr != NULL && sigtags_has(t, "y");
	key->strict = t.ptr != NULL && sigtags_has(t, "s");
	if (p.len == 0)
		return "the key is revoked";
	if (h.ptr != NULL && !sigtags_has(h, "sha256"))
		return "the key is not for sha256";
	if (s.ptr != NULL && !sigtags_has(s, "*") && !sigtags_has(s, "email"))
		return "the key is not for mail";
	if (k.ptr == NULL || view_eq(k, "rsa"))
		key->algorithm = DKIM_RSA;
	else if (view_eq(k, "ed25519"))
		key->algorithm = DKIM_ED25519;
	else
		return "the key is of an unknown kind";
	return read_key(key, p);
}

static bool verify_rsa(EVP_PKEY *pkey, const uint8_t *hash, const unsigned char *signature, size_t len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	bool ok = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
	          EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
	          EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	          EVP_PKEY_verify(ctx, signature, len, hash, DKIM_HASH_LEN) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static bool verify_ed25519(EVP_PKEY *pkey, const uint8_t *hash, const unsigned char *signature, size_t len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
	          EVP_DigestVerify(ctx, signature, len, hash, DKIM_HASH_LEN) == 1;

	EVP_MD_CTX_free(ctx);
	return ok;
}

bool dkim_key_verify(const struct dkim_key *key, const uint8_t hash[DKIM_HASH_LEN], struct view signature)
{
	const unsigned char *bytes = (const unsigned char *)signature.ptr;
	bool ok = key->algorithm == DKIM_RSA ? verify_rsa(key->pkey, hash, bytes, signature.len)
	                                     : verify_ed25519(key->pkey, hash, bytes, signature.len);

	ERR_clear_error();
	return ok;
}

/* Looking up -------------------------------------------------------------------------------------------------- */

struct lookup {
	struct dkim_lookups *all;
	uint32_t query; /* 0: answered */
	char name[DKIM_KEY_NAME_MAX];
	struct dkim_answer answer;
};

struct dkim_lookups {
	struct policy_dns dns;
	void (*done)(void *arg);
	void *arg;
	struct lookup **lookups;
	size_t count, open;
	uint32_t nothing; /* the query that stands for none */
};

struct dkim_lookups *dkim_lookups_new(const struct policy_dns *dns, void (*done)(void *arg), void *arg)
{
	struct dkim_lookups *l = xcalloc(1, sizeof(*l));

	*l = (struct dkim_lookups){ .dns = *dns, .done = done, .arg = arg };
	return l;
}

void dkim_lookups_free(struct dkim_lookups *l)
{
	l->dns.cancel(l->dns.ctx, l->nothing);
	for (size_t i = 0; i < l->count; i++) {
		struct lookup *one = l->lookups[i];
		l->dns.cancel(l->dns.ctx, one->query);
		for (size_t k = 0; k < one->answer.count; k++)
			EVP_PKEY_free(one->answer.keys[k].pkey);
		free(one);
	}
	free(l->lookups);
	free(l);
}

size_t dkim_lookups_want(struct dkim_lookups *l, const char *name)
{
	struct lookup *one;

	for (size_t i = 0; i < l->count; i++)
		if (strcmp(l->lookups[i]->name, name) == 0)
			return i;
	one = xcalloc(1, sizeof(*one));
	one->all = l;
	one->answer.status = DNS_TEMPFAIL; /* so far */
	view_copy(view_of(name), one->name, sizeof(one->name));
	l->lookups = xreallocarray(l->lookups, l->count + 1, sizeof(*l->lookups));
	l->lookups[l->count] = one;
	return l->count++;
}

static void answered(void *arg, const struct dns_answer *a)
{
	struct lookup *one = arg;
	struct dkim_lookups *l = one->all;

	one->query = 0;
	one->answer.status = a->status;
	for (size_t i = 0, good = 0; a->status == DNS_OK && i < a->count && one->answer.count < DKIM_KEYS_MAX; i++) {
		struct dkim_key *key = &one->answer.keys[one->answer.count++];
		key->problem = read_record(a->records[i].data, key);
		good += key->problem == NULL;
		if (good == DKIM_KEYS_TRIED)
			break;
	}
	if (--l->open == 0)
		l->done(l->arg);
}

static void nothing(void *arg, const struct dns_answer *a)
{
	struct dkim_lookups *l = arg;

	(void)a;
	l->nothing = 0;
	l->done(l->arg);
}

void dkim_lookups_start(struct dkim_lookups *l)
{
	l->open = l->count;
	for (size_t i = 0; i < l->count; i++)
		l->lookups[i]->query = l->dns.query(l->dns.ctx, l->lookups[i]->name, DNS_TXT, answered, l->lookups[i]);
	if (l->count == 0)
		l->nothing = policy_later(&l->dns, nothing, l);
}

const struct dkim_answer *dkim_lookups_get(const struct dkim_lookups *l, size_t number)
{
	return &l->lookups[number]->answer;
}
