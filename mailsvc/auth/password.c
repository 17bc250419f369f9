/* Password hashes: yescrypt at libxcrypt's default cost for new ones, any method of crypt(5) for old ones. */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

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

bool password_verify(struct view password, const char *hash)
{
	char made[CREDENTIALS_HASH_MAX];
	bool right;

	crypt_into(password, hash, made);
	right = made[0] != '\0' && secret_eq(made, strlen(made), hash, strlen(hash));
	explicit_bzero(made, sizeof(made));
	return right;
}
