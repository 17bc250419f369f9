/*
 * replied.h.  An entry is one word, changed by compare-and-exchange: 40 bits of the hash and 24 of the minutes since
 * EPOCH.  Other bits of the hash choose the bucket.  The kernel writes the pages back; what a power loss takes is at
 * most a second reply.
 */
#include "mailsvc/smtp/replied.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

#define EPOCH 1735689600 /* 2025-01-01; 24 bits of minutes last until 2056 */
#define SLOTS 8
#define BUCKETS (REPLIED_BYTES / (SLOTS * sizeof(uint64_t)))
#define TIME_BITS 24
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)

struct replied {
	_Atomic uint64_t at[BUCKETS][SLOTS];
};

static void hash(const char *account, const char *sender, uint64_t out[2])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		fatalx("SHA-256 is not there");
	EVP_DigestUpdate(ctx, account, strlen(account) + 1);
	EVP_DigestUpdate(ctx, sender, strlen(sender));
	EVP_DigestFinal_ex(ctx, digest, NULL);
	EVP_MD_CTX_free(ctx);
	memcpy(out, digest, 2 * sizeof(*out));
}

struct replied *replied_open(int fd)
{
	struct stat st;
	uint64_t warm[2];
	void *p = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == REPLIED_BYTES)
		p = mmap(NULL, REPLIED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		log_warnx("event=auto-reply reason=\"STATE/auto-replied is not usable; who had a reply is forgotten at "
		          "a restart\"");
		p = mmap(NULL, REPLIED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (p == MAP_FAILED)
		fatal("event=auto-reply");
	hash("", "", warm); /* OpenSSL fetches its SHA-256 now, not behind a sandbox */
	return p;
}

bool replied_take(struct replied *r, const char *account, const char *sender, int64_t now)
{
	uint64_t h[2], minutes = now > EPOCH ? (uint64_t)(now - EPOCH) / 60 & TIME_MASK : 0;
	_Atomic uint64_t *bucket;

	hash(account, sender, h);
	bucket = r->at[h[0] % BUCKETS];
	for (;;) {
		size_t oldest = 0;
		uint64_t seen[SLOTS], mine = h[1] << TIME_BITS | minutes;

		for (size_t i = 0; i < SLOTS; i++) {
			seen[i] = atomic_load(&bucket[i]);
			uint64_t then = seen[i] & TIME_MASK;
			bool same = seen[i] >> TIME_BITS == (h[1] << TIME_BITS) >> TIME_BITS;

			if (same && seen[i] != 0 && then <= minutes && minutes - then < REPLIED_DAYS * 24 * 60)
				return false;
			if (same) { /* long ago, or by a clock that was wrong */
				oldest = i;
				break;
			}
			if (then < (seen[oldest] & TIME_MASK))
				oldest = i;
		}
		if (atomic_compare_exchange_strong(&bucket[oldest], &seen[oldest], mine))
			return true;
	}
}
