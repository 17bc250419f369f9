/*
 * The credentials file, STATE/credentials (0600): one line an account, `address:crypt(5) hash`; empty lines and lines
 * that begin with '#' are comments.  Addresses are normalised.  Read by auth, written by the command line alone.
 */
#ifndef MAILSVC_AUTH_CREDENTIALS_H
#define MAILSVC_AUTH_CREDENTIALS_H

#include "lib/buf.h"
#include "lib/log.h"

#define CREDENTIALS_FILE_MAX (32u * 1024 * 1024)
#define CREDENTIALS_HASH_MAX 384 /* bytes with NUL: CRYPT_OUTPUT_SIZE */
#define CREDENTIALS_MAX 100000   /* accounts */

struct credential {
	char *address;
	char *hash;
};
struct credentials { /* sorted by address */
	struct credential *at;
	size_t count;
};

/* -1 names the line that is wrong; a hash that crypt(5) could not have made, and an address given twice, are wrong. */
int credentials_parse(struct view text, struct credentials *out, struct error *);
int credentials_load(const char *path, struct credentials *out, struct error *); /* a missing file has none */
int credentials_load_fd(int fd, struct credentials *out, struct error *);
void credentials_free(struct credentials *);
const char *credentials_find(const struct credentials *, const char *address); /* the hash, or NULL */

/* Change the file atomically, keeping its comments; two commands at once wait for each other. */
int credentials_set(const char *path, const char *address, const char *hash, struct error *);
int credentials_remove(const char *path, const char *address, struct error *); /* 1: it had none */

/* A new yescrypt hash of the password (about 0.1 s, 16 MiB). */
int password_hash(struct view password, char out[CREDENTIALS_HASH_MAX], struct error *);
/* Any method libxcrypt knows. A password with a NUL is never right. */
bool password_verify(struct view password, const char *hash);

#endif
