/*
 * What monitor hands to roles: the certificate, the DKIM keys, the files of credentials and secrets, the store's
 * folder. Everything is read and checked before anybody gets it, so that a reload with a wrong certificate changes
 * nothing. Descriptors are made fresh for each child: one shared would share its offset too.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/pem.h"
#include "lib/proc.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/internal.h"
#include "mailsvc/send/sts.h"
#include "mailsvc/smtp/shared_table.h"
#include "mailsvc/smtp/srs.h"

#define EXPIRES_SOON (14 * 86400)

static void check_expiry(struct handout *h, X509 *certificate)
{
	int days = 0, seconds = 0;

	h->not_after = 0;
	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1)
		return;
	int64_t left = (int64_t)days * 86400 + seconds;
	h->not_after = clock_wall() + left;
	if (left <= 0)
		log_warnx(
		    "event=certificate file=%s reason=\"it has expired; clients will refuse it\"", h->certificate);
	else if (left < EXPIRES_SOON)
		log_warnx("event=certificate file=%s reason=\"it expires in %d days\"", h->certificate, days);
}

static int check_pair(
    struct handout *h, struct view certificate, struct view key, const char *key_path, struct error *e)
{
	X509 *x = pem_certificate(certificate, NULL);
	EVP_PKEY *k = pem_private_key(key);
	int r = -1;

	if (x == NULL)
		error_set(e, "%s: holds no PEM certificate", h->certificate);
	else if (k == NULL)
		error_set(e, "%s: holds no PEM private key without a passphrase", key_path);
	else if (X509_check_private_key(x, k) != 1)
		error_set(
		    e, "%s and %s do not belong together; give the key of this certificate", h->certificate, key_path);
	else {
		check_expiry(h, x);
		h->self_signed = X509_self_signed(x, 1) == 1;
		r = 0;
	}
	ERR_clear_error();
	X509_free(x);
	EVP_PKEY_free(k);
	return r;
}

static int load_tls(const struct site *site, struct handout *h, struct error *e)
{
	struct buf certificate = BUF_INIT(PEM_FILE_MAX), key = BUF_INIT(PEM_FILE_MAX);
	bool own = site->tls.certificate[0] != '\0';
	char *key_path = own ? site_path(site, site->tls.key) : site_state(site, "tls/key.pem");
	int r = -1;

	h->certificate = own ? site_path(site, site->tls.certificate) : site_state(site, "tls/cert.pem");
	if (pem_file_read(h->certificate, &certificate, e) < 0 || pem_file_read(key_path, &key, e) < 0)
		goto out;
	if (check_pair(h, buf_view(&certificate), buf_view(&key), key_path, e) < 0)
		goto out;
	buf_put_blob(&h->tls, buf_view(&certificate));
	buf_put_blob(&h->tls, buf_view(&key));
	r = 0;
out:
	pem_wipe(&key);
	buf_free(&certificate);
	free(key_path);
	return r;
}

int handout_load(const struct site *site, struct handout *h, struct error *e)
{
	*h = (struct handout){ .tls = BUF_INIT(4 * PEM_FILE_MAX), .dkim = BUF_INIT(64u * 1024 * 1024) };
	if (load_tls(site, h, e) < 0 || dkim_keys_pack(site, &h->dkim, e) < 0) {
		handout_free(h);
		return -1;
	}
	return 0;
}

void handout_free(struct handout *h)
{
	struct buf *secret[] = { &h->tls, &h->dkim };

	for (size_t i = 0; i < 2; i++)
		pem_wipe(secret[i]);
	free(h->certificate);
	h->certificate = NULL;
}

static int open_state(const struct site *site, const char *name, int flags)
{
	char *path = site_state(site, name);
	int fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 && errno != ENOENT)
		log_warn("event=open file=%s", path);
	else if (fd >= 0 && !(flags & O_DIRECTORY) && fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
		log_warnx("event=open file=%s reason=\"others may read it; chmod 600\"", path);
	free(path);
	return fd;
}

/* Zeros, with their place on the disk. */
static bool make_table(int fd, size_t bytes)
{
	errno = posix_fallocate(fd, 0, (off_t)bytes);
	return errno == 0;
}

/* Random bytes that stay. */
static bool make_key(int fd, size_t bytes)
{
	unsigned char key[64];
	bool ok = bytes <= sizeof(key) && RAND_bytes(key, (int)bytes) == 1 &&
	          pwrite(fd, key, bytes, 0) == (ssize_t)bytes && fdatasync(fd) == 0;

	explicit_bzero(key, sizeof(key));
	return ok;
}

/* Made where it is not there, or is not of the one size that it has. */
static int open_made(const struct site *site, const char *name, size_t bytes, bool (*make)(int fd, size_t bytes))
{
	char *path = site_state(site, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (st.st_size != (off_t)bytes && (ftruncate(fd, 0) < 0 || !make(fd, bytes)))) {
		log_warn("event=open file=%s", path);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	free(path);
	return fd;
}

int handout_fd(const struct site *site, const struct handout *h, enum role_fd which)
{
	switch (which) {
	case ROLE_FD_CREDENTIALS:
		return open_state(site, "credentials", 0);
	case ROLE_FD_SECRETS:
		return open_state(site, "secrets", 0);
	case ROLE_FD_STORE_DIR:
		return open_state(site, "store", O_DIRECTORY);
	case ROLE_FD_BANS_DIR:
		return open_state(site, "bans", O_DIRECTORY);
	case ROLE_FD_FTS_DIR:
		return open_state(site, "fts", O_DIRECTORY);
	case ROLE_FD_DKIM_KEYS:
		return memfd_sealed("dkim", buf_view(&h->dkim));
	case ROLE_FD_TLS:
		return memfd_sealed("tls", buf_view(&h->tls));
	case ROLE_FD_REPLIED:
		return open_made(site, "auto-replied", SHARED_REPLIED_BYTES, make_table);
	case ROLE_FD_GREYLIST:
		return open_made(site, "greylist", SHARED_GREYLIST_BYTES, make_table);
	case ROLE_FD_RATES:
		return open_made(site, "send-rates", SHARED_RATES_BYTES, make_table);
	case ROLE_FD_SOURCES:
		return open_made(site, "source-rates", SHARED_SOURCES_BYTES, make_table);
	case ROLE_FD_VERIFIED:
		return open_made(site, "verified", SHARED_VERIFIED_BYTES, make_table);
	case ROLE_FD_SRS:
		return open_made(site, "srs-key", SRS_KEY_LEN, make_key);
	case ROLE_FD_MTA_STS:
		return open_made(site, "mta-sts", STS_CACHE_BYTES, make_table);
	case ROLE_FD_TLS_COUNTS:
		return open_made(site, "tls-counts", TLS_COUNT_BYTES, make_table);
	case ROLE_FD_COUNT:
		break;
	}
	return -1;
}
