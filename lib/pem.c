/* pem.h.  The empty passphrase is given at once, so that OpenSSL asks nobody for one. */
#include "pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#include "proc.h"

#define CHAIN_MAX 16

static char no_passphrase[] = "";

int pem_file_read(const char *path, struct buf *out, struct error *e)
{
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return error_set(e, "%s: is no file", path);
	return file_read(path, PEM_FILE_MAX, out, e);
}

X509 *pem_certificate(struct view text, STACK_OF(X509) **chain)
{
	BIO *in = BIO_new_mem_buf(text.ptr != NULL ? text.ptr : "", (int)text.len);
	X509 *leaf = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, no_passphrase) : NULL, *next;

	if (leaf != NULL && chain != NULL && (*chain = sk_X509_new_null()) != NULL) {
		while (sk_X509_num(*chain) < CHAIN_MAX &&
		       (next = PEM_read_bio_X509(in, NULL, NULL, no_passphrase)) != NULL) {
			if (sk_X509_push(*chain, next) == 0)
				X509_free(next);
		}
	}
	BIO_free(in);
	ERR_clear_error();
	return leaf;
}

static EVP_PKEY *read_key(struct view text, EVP_PKEY *(*read)(BIO *, EVP_PKEY **, pem_password_cb *, void *))
{
	BIO *in = BIO_new_mem_buf(text.ptr != NULL ? text.ptr : "", (int)text.len);
	EVP_PKEY *key = in != NULL ? read(in, NULL, NULL, no_passphrase) : NULL;

	BIO_free(in);
	ERR_clear_error();
	return key;
}

EVP_PKEY *pem_private_key(struct view text)
{
	return read_key(text, PEM_read_bio_PrivateKey);
}

EVP_PKEY *pem_public_key(struct view text)
{
	return read_key(text, PEM_read_bio_PUBKEY);
}

void pem_wipe(struct buf *text)
{
	if (text->data != NULL)
		explicit_bzero(text->data, text->cap);
	buf_free(text);
}
