/* digest.h, on EVP.  Files are read in pieces: captured zones can be large. */
#include "apply/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#define PIECE 65536

static void finish(EVP_MD_CTX *ctx, char out[DIGEST_HEX])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_DigestFinal_ex(ctx, hash, &len) != 1 || len != (DIGEST_HEX - 1) / 2)
		fatalx("event=digest reason=\"no SHA-256\"");
	for (unsigned i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
	EVP_MD_CTX_free(ctx);
}

static EVP_MD_CTX *start(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		fatalx("event=digest reason=\"no SHA-256\"");
	return ctx;
}

void digest_hex(struct view v, char out[DIGEST_HEX])
{
	EVP_MD_CTX *ctx = start();

	EVP_DigestUpdate(ctx, v.ptr, v.len);
	finish(ctx, out);
}

int digest_file(const char *path, char out[DIGEST_HEX], struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	EVP_MD_CTX *ctx;
	char piece[PIECE];
	ssize_t n;

	if (fd < 0)
		return error_errno(e, "%s", path);
	ctx = start();
	while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
		EVP_DigestUpdate(ctx, piece, n > 0 ? (size_t)n : 0);
	if (n < 0)
		error_errno(e, "%s", path);
	close(fd);
	finish(ctx, out);
	return n < 0 ? -1 : 0;
}
