/*
 * shared_table.h.  The file is an array of buckets of one cache line, eight words each.  A word is a part of the key's
 * hash and the number; other bits of the hash choose the bucket.  The first bucket holds the seed of the hash, made by
 * whoever opens the file first, so that no stranger can choose keys that meet in one bucket.
 */
#include "mailsvc/smtp/shared_table.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

#define SLOTS 8

struct shared_table {
	_Atomic uint64_t *words;
	size_t bytes, buckets;
	unsigned value_bits;
	uint64_t seed;
	EVP_MD *sha256; /* fetched before the sandbox */
};

struct place {
	_Atomic uint64_t *bucket;
	uint64_t tag; /* in the upper bits */
};

static struct place place_of(const struct shared_table *t, struct view key)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t hash[2];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, t->sha256, NULL) != 1 ||
	    EVP_DigestUpdate(ctx, &t->seed, sizeof(t->seed)) != 1 || EVP_DigestUpdate(ctx, key.ptr, key.len) != 1 ||
	    EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
		fatalx("SHA-256 failed");
	EVP_MD_CTX_free(ctx);
	memcpy(hash, digest, sizeof(hash));
	return (struct place){ &t->words[(1 + hash[0] % (t->buckets - 1)) * SLOTS], hash[1] << t->value_bits };
}

static void plant_seed(struct shared_table *t)
{
	uint64_t fresh = 0, none = 0;

	if (getrandom(&fresh, sizeof(fresh), 0) != sizeof(fresh))
		fatal("event=shared-table reason=\"getrandom\"");
	fresh |= 1;
	t->seed = atomic_compare_exchange_strong(&t->words[0], &none, fresh) ? fresh : none;
}

struct shared_table *shared_table_open(int fd, size_t bytes, unsigned value_bits, const char *name)
{
	struct shared_table *t = xcalloc(1, sizeof(*t));
	struct stat st;
	void *p = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size == bytes)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		log_warnx(
		    "event=shared-table file=%s reason=\"not usable; what it held is forgotten at a restart\"", name);
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (p == MAP_FAILED)
		fatal("event=shared-table file=%s", name);
	t->words = p;
	t->bytes = bytes;
	t->buckets = bytes / (SLOTS * sizeof(uint64_t));
	t->value_bits = value_bits;
	t->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (t->sha256 == NULL)
		fatalx("SHA-256 is not there");
	plant_seed(t);
	return t;
}

void shared_table_close(struct shared_table *t)
{
	if (t == NULL)
		return;
	munmap((void *)t->words, t->bytes);
	EVP_MD_free(t->sha256);
	free(t);
}

static uint64_t value_of(const struct shared_table *t, uint64_t word)
{
	return word & ((UINT64_C(1) << t->value_bits) - 1);
}

static bool is_tag(const struct shared_table *t, uint64_t word, uint64_t tag)
{
	return word != 0 && word - value_of(t, word) == tag;
}

uint64_t shared_table_get(const struct shared_table *t, struct view key)
{
	struct place at = place_of(t, key);

	for (size_t i = 0; i < SLOTS; i++) {
		uint64_t word = atomic_load(&at.bucket[i]);

		if (is_tag(t, word, at.tag))
			return value_of(t, word);
	}
	return 0;
}

bool shared_table_update(struct shared_table *t, struct view key, shared_table_fn fn, void *arg)
{
	struct place at = place_of(t, key);

	for (;;) {
		size_t slot = 0;
		uint64_t seen = 0, least = UINT64_MAX, value = 0;
		bool there = false;

		for (size_t i = 0; i < SLOTS && !there; i++) {
			uint64_t word = atomic_load(&at.bucket[i]);

			there = is_tag(t, word, at.tag);
			if (there || value_of(t, word) < least) {
				slot = i;
				seen = word;
				least = value_of(t, word);
			}
		}
		if (!fn(arg, there ? least : 0, &value))
			return false;
		value = value_of(t, value);
		if (value == 0 && !there)
			return true;
		if (atomic_compare_exchange_strong(&at.bucket[slot], &seen, value == 0 ? 0 : at.tag | value))
			return true;
	}
}

struct rate {
	uint64_t now, full, cost; /* milliseconds since SHARED_TABLE_EPOCH; the time that all units, and n, stand for */
	uint64_t wait;            /* out: milliseconds */
};

/*
 * The number is when all units will be there again (the generic cell rate algorithm).  One that lies further ahead than
 * it can is of a clock that was wrong.
 */
static bool take(void *arg, uint64_t old, uint64_t *value)
{
	struct rate *r = arg;
	uint64_t from = old > r->now ? old : r->now;

	if (from > r->now + r->full)
		from = r->now + r->full;
	if (from + r->cost > r->now + r->full) {
		r->wait = from + r->cost - r->now - r->full;
		return false;
	}
	r->wait = 0;
	*value = from + r->cost;
	return true;
}

unsigned shared_table_rate(
    struct shared_table *t, struct view key, unsigned limit, unsigned seconds, unsigned n, int64_t now_ms)
{
	int64_t since = now_ms - INT64_C(1000) * SHARED_TABLE_EPOCH;
	struct rate r = { .now = since > 0 ? (uint64_t)since : 1, .full = UINT64_C(1000) * seconds };

	r.cost = n >= limit ? r.full : r.full * n / limit;
	if (r.cost == 0)
		r.cost = 1;
	shared_table_update(t, key, take, &r);
	return (unsigned)((r.wait + 999) / 1000);
}
