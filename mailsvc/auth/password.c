/* Password hashes: yescrypt at libxcrypt's default cost for new ones, any method of crypt(5) for old ones. */
#include <crypt.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "mailsvc/auth/credentials.h"

#define METHOD "$y$"

/* crypt_r with the phrase as a C string, wiped afterwards; out is "" when crypt refuses. */
static void crypt_into(struct view password, const char *setting, char out[CREDENTIALS_HASH_MAX])
{
	static struct crypt_data data; /* 32 KiB; one hash at a time in a process */
	char phrase[CRYPT_MAX_PASSPHRASE_SIZE];
	const char *result;

	out[0] = '\0';
	if (view_copy(password, phrase, sizeof(phrase)) == 0) {
		result = crypt_r(phrase, setting, &data);
		if (result != NULL && result[0] != '*')
			view_copy(view_of(result), out, CREDENTIALS_HASH_MAX);
	}
	explicit_bzero(phrase, sizeof(phrase));
	explicit_bzero(&data, sizeof(data));
}

int password_hash(struct view password, char out[CREDENTIALS_HASH_MAX], struct error *e)
{
	char *setting;

	if (password.len == 0)
		return error_set(e, "the password is empty");
	if (password.len >= CRYPT_MAX_PASSPHRASE_SIZE || memchr(password.ptr, '\0', password.len) != NULL)
		return error_set(e, "a password has at most %d bytes and no NUL", CRYPT_MAX_PASSPHRASE_SIZE - 1);
	setting = crypt_gensalt_ra(METHOD, 0, NULL, 0);
	if (setting == NULL)
		return error_errno(e, "cannot make a salt");
	crypt_into(password, setting, out);
	free(setting);
	return out[0] != '\0' ? 0 : error_set(e, "libcrypt cannot hash with " METHOD);
}

/* Of other servers' (RFC 2307's way): the digest's length, with digest and salt in raw; 0: it is none of these. */
static size_t salted_parts(const char *hash, struct buf *raw)
{
	size_t length = strncmp(hash, "{SSHA256}", 9) == 0 ? 32 : strncmp(hash, "{SSHA512}", 9) == 0 ? 64 : 0;

	if (length == 0 || text_base64_decode(raw, view_of(hash + 9)) < 0 || raw->len <= length)
		return 0;
	return length;
}

bool password_salted(const char *hash)
{
	struct buf raw = BUF_INIT(CREDENTIALS_HASH_MAX);
	bool is = salted_parts(hash, &raw) != 0;

	buf_free(&raw);
	return is;
}

static bool salted_verify(struct view password, const char *hash)
{
	struct buf raw = BUF_INIT(CREDENTIALS_HASH_MAX);
	size_t length = salted_parts(hash, &raw);
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool right = false;

	if (length != 0 && (password.len == 0 || memchr(password.ptr, '\0', password.len) == NULL) && ctx != NULL &&
	    EVP_DigestInit_ex(ctx, length == 32 ? EVP_sha256() : EVP_sha512(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, password.ptr, password.len) == 1 &&
	    EVP_DigestUpdate(ctx, raw.data + length, raw.len - length) == 1 &&
	    EVP_DigestFinal_ex(ctx, digest, NULL) == 1)
		right = secret_eq(digest, length, raw.data, length);
	EVP_MD_CTX_free(ctx);
	explicit_bzero(digest, sizeof(digest));
	buf_free(&raw);
	return right;
}

bool password_verify(struct view password, const char *hash)
{
	char made[CREDENTIALS_HASH_MAX];
	bool right;

	if (hash[0] == '{')
		return salted_verify(password, hash);
	crypt_into(password, hash, made);
	right = made[0] != '\0' && secret_eq(made, strlen(made), hash, strlen(hash));
	explicit_bzero(made, sizeof(made));
	return right;
}

bool password_outdated(const char *hash)
{
	return strncmp(hash, METHOD, strlen(METHOD)) != 0;
}
