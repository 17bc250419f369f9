/*
 * Copies of MTA-STS policies in a mapped file: a page with a random key, then a table of slots; a domain may stand in
 * any of the WAYS slots that its hash under the key names, so that nobody can choose domains that push another one out:
 * a policy that is forgotten is a downgrade.  Nor does a long max_age hold a place: who is not asked for is not fetched
 * anew and goes first.  A slot is a length, a checksum and what was packed, so that one which a crash left half
 * written, or that somebody meddled with, reads as empty: then the policy is fetched again.
 */
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/crc32c.h"
#include "lib/log.h"
#include "lib/text.h"
#include "sts.h"

#define MAGIC "MTASTS\0\2"
#define MAGIC_LEN 8u
#define KEY_LEN 32u
#define PAGE_BYTES 4096u /* magic, key, u32 CRC32C of both */
#define SLOT_BYTES 4096u
#define SLOTS ((STS_CACHE_BYTES - PAGE_BYTES) / SLOT_BYTES)
#define WAYS 8u
#define HEADER 8u /* u32 length, u32 CRC32C */
#define NAME_MAX_BYTES 255

struct sts_cache {
	char *map;
	char *at; /* the slots */
};

struct entry {
	char domain[NAME_MAX_BYTES + 1];
	int64_t fetched, expires;
	struct sts_policy policy;
};

static uint32_t page_sum(const char *page)
{
	return crc32c(0, page, MAGIC_LEN + KEY_LEN);
}

static bool page_valid(const char *page)
{
	struct cursor c = cursor_of(page + MAGIC_LEN + KEY_LEN, 4);

	return memcmp(page, MAGIC, MAGIC_LEN) == 0 && cursor_u32(&c) == page_sum(page);
}

/* The checksum last: a crash on the way leaves what is made anew once more. */
static void make_anew(char *map)
{
	struct buf sum = BUF_INIT(4);

	memset(map, 0, STS_CACHE_BYTES);
	if (RAND_bytes((unsigned char *)map + MAGIC_LEN, KEY_LEN) != 1)
		fatalx("event=mta-sts error=\"no random bytes\"");
	memcpy(map, MAGIC, MAGIC_LEN);
	buf_put_u32(&sum, page_sum(map));
	memcpy(map + MAGIC_LEN + KEY_LEN, sum.data, sum.len);
	buf_free(&sum);
}

struct sts_cache *sts_cache_open(int fd)
{
	struct sts_cache *c = xcalloc(1, sizeof(*c));
	struct stat st;
	void *map = MAP_FAILED;

	if (fd != -1 && fstat(fd, &st) == 0 && st.st_size == (off_t)STS_CACHE_BYTES)
		map = mmap(NULL, STS_CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		log_warnx("event=mta-sts reason=\"no file for policies: they are forgotten at a restart\"");
		map = mmap(NULL, STS_CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (map == MAP_FAILED)
		fatal("mmap");
	c->map = map;
	c->at = c->map + PAGE_BYTES;
	if (!page_valid(c->map)) {
		if (c->map[0] != '\0')
			log_warnx("event=mta-sts reason=\"the file of policies is of another version or broken: it "
			          "begins empty\"");
		make_anew(c->map);
	}
	return c;
}

void sts_cache_close(struct sts_cache *c)
{
	if (c == NULL)
		return;
	munmap(c->map, STS_CACHE_BYTES);
	free(c);
}

static bool slot_read(const char *slot, struct entry *e)
{
	struct cursor c = cursor_of(slot, HEADER);
	uint32_t len = cursor_u32(&c), sum = cursor_u32(&c);

	if (len == 0 || len > SLOT_BYTES - HEADER || crc32c(0, slot + HEADER, len) != sum)
		return false;
	c = cursor_of(slot + HEADER, len);
	cursor_str(&c, e->domain, sizeof(e->domain));
	e->fetched = (int64_t)cursor_u64(&c);
	e->expires = (int64_t)cursor_u64(&c);
	uint8_t mode = cursor_u8(&c);
	e->policy.max_age = cursor_u32(&c);
	cursor_str(&c, e->policy.id, sizeof(e->policy.id));
	struct view mx = cursor_blob(&c, sizeof(e->policy.mx));
	if (!cursor_done(&c) || mode > STS_MODE_ENFORCE || (mx.len > 0 && mx.ptr[mx.len - 1] != '\0'))
		return false;
	e->policy.mode = (enum sts_mode)mode;
	e->policy.mx_len = mx.len;
	memcpy(e->policy.mx, mx.ptr, mx.len);
	return true;
}

static void slot_write(char *slot, const struct entry *e)
{
	struct buf body = BUF_INIT(SLOT_BYTES - HEADER), head = BUF_INIT(HEADER);

	buf_put_str(&body, e->domain);
	buf_put_u64(&body, (uint64_t)e->fetched);
	buf_put_u64(&body, (uint64_t)e->expires);
	buf_put_u8(&body, (uint8_t)e->policy.mode);
	buf_put_u32(&body, e->policy.max_age);
	buf_put_str(&body, e->policy.id);
	buf_put_blob(&body, (struct view){ e->policy.mx, e->policy.mx_len });
	if (!body.full) {
		buf_put_u32(&head, (uint32_t)body.len);
		buf_put_u32(&head, crc32c(0, body.data, body.len));
		memset(slot, 0, HEADER);
		memcpy(slot + HEADER, body.data, body.len);
		memcpy(slot, head.data, head.len);
	}
	buf_free(&body);
	buf_free(&head);
}

/* The slots of a domain: WAYS in a row. */
static char *slots_of(const struct sts_cache *c, const char *domain)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char name[NAME_MAX_BYTES + 1];
	unsigned len = 0;
	uint32_t hash;

	snprintf(name, sizeof(name), "%s", domain);
	text_lower(name);
	if (HMAC(EVP_sha256(), c->map + MAGIC_LEN, KEY_LEN, (const unsigned char *)name, strlen(name), digest, &len) ==
	    NULL)
		fatalx("HMAC failed");
	memcpy(&hash, digest, sizeof(hash));
	return c->at + (size_t)(hash % (SLOTS / WAYS)) * WAYS * SLOT_BYTES;
}

bool sts_cache_get(
    const struct sts_cache *c, const char *domain, int64_t now, struct sts_policy *policy, int64_t *fetched)
{
	const char *slots = slots_of(c, domain);
	struct entry e;

	for (unsigned i = 0; i < WAYS; i++) {
		if (!slot_read(slots + i * SLOT_BYTES, &e) || strcasecmp(e.domain, domain) != 0)
			continue;
		/* A copy from the future was made by a clock that was wrong. */
		if (e.expires <= now || e.fetched > now + 86400)
			return false;
		*policy = e.policy;
		*fetched = e.fetched;
		return true;
	}
	return false;
}

void sts_cache_put(struct sts_cache *c, const char *domain, const struct sts_policy *policy, int64_t now)
{
	char *slots = slots_of(c, domain), *to = NULL;
	struct entry e, old;
	int64_t first = INT64_MIN;

	if (snprintf(e.domain, sizeof(e.domain), "%s", domain) >= (int)sizeof(e.domain))
		return;
	for (unsigned i = 0; i < WAYS; i++) {
		bool there = slot_read(slots + i * SLOT_BYTES, &old);
		if (there && strcasecmp(old.domain, domain) == 0) {
			to = slots + i * SLOT_BYTES;
			break;
		}
		int64_t worth = there && old.expires > now ? old.fetched : INT64_MIN;
		if (to == NULL || worth < first) {
			first = worth;
			to = slots + i * SLOT_BYTES;
		}
	}
	e.fetched = now;
	e.expires = now + policy->max_age;
	e.policy = *policy;
	slot_write(to, &e);
}
