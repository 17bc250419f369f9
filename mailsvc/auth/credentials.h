/*
 * The credentials file, STATE/credentials (0600): one line an account, `address:crypt(5) hash`, with the SCRAM keys of
 * the password behind a further colon where it has them (RFC 5803); empty lines and lines that begin with '#' are
 * comments, but for `#scram-secret BASE64`, which salts are made of.  Addresses are normalised.  Read by auth, written
 * by the command line, and by monitor where auth has learned better keys at a login.
 */
#ifndef MAILSVC_AUTH_CREDENTIALS_H
#define MAILSVC_AUTH_CREDENTIALS_H

#include "lib/buf.h"
#include "lib/log.h"
#include "mailsvc/auth/scram.h"

#define CREDENTIALS_FILE_MAX (32u * 1024 * 1024)
#define CREDENTIALS_HASH_MAX 384 /* bytes with NUL: CRYPT_OUTPUT_SIZE */
#define CREDENTIALS_MAX 100000   /* accounts */

#define CREDENTIALS_SECRET_LEN 32

struct credential {
	char *address;
	char *hash;
	bool has_keys;
	struct scram_keys keys;
	bool has_former; /* auth: keys of the password before, while it runs */
	struct scram_keys former;
};
struct credentials { /* sorted by address */
	struct credential *at;
	size_t count;
	bool has_secret;
	uint8_t secret[CREDENTIALS_SECRET_LEN];
};

/* -1 names the line that is wrong; a hash that crypt(5) could not have made, and an address given twice, are wrong. */
int credentials_parse(struct view text, struct credentials *out, struct error *);
int credentials_load(const char *path, struct credentials *out, struct error *); /* a missing file has none */
int credentials_load_fd(int fd, struct credentials *out, struct error *);
void credentials_free(struct credentials *);
const char *credentials_find(const struct credentials *, const char *address); /* the hash, or NULL */
struct credential *credentials_entry(const struct credentials *, const char *address);
bool credentials_locked(const char *hash); /* no password is right */
/* The salt that an address has for ever, whether anybody has it or not: nobody learns from it who exists. */
void credentials_salt(const uint8_t secret[CREDENTIALS_SECRET_LEN], const char *address, uint8_t salt[SCRAM_SALT_LEN]);

/* Change the file atomically, keeping its comments; two commands at once wait for each other. */
int credentials_set(const char *path, const char *address, const char *hash, struct error *);
/* A hash and SCRAM keys of a new password. */
int credentials_set_password(const char *path, const char *address, struct view password, struct error *);
/*
 * What a login taught: hash and keys instead of old_hash, where that still stands.  Not while a command changes the
 * file: it waits for nobody.  secret is kept where the file has none yet.
 */
struct credentials_better {
	const char *address, *old_hash, *hash;
	struct scram_keys keys;
};
int credentials_improve(const char *path, const struct credentials_better *, size_t count,
    const uint8_t secret[CREDENTIALS_SECRET_LEN], struct error *);
int credentials_remove(const char *path, const char *address, struct error *); /* 1: it had none */

/* A new yescrypt hash of the password (about 0.1 s, 16 MiB). */
int password_hash(struct view password, char out[CREDENTIALS_HASH_MAX], struct error *);
bool credentials_hash_ok(const char *hash); /* could password_verify use it? */
/* "{SSHA256}..." or "{SSHA512}...", well-formed: base64 of a digest of password and salt, and the salt. */
bool password_salted(const char *hash);
/* Any method libxcrypt knows, and password_salted. A password with a NUL is never right. */
bool password_verify(struct view password, const char *hash);
/* Made by a method that is weaker than that of new ones. */
bool password_outdated(const char *hash);

#endif
