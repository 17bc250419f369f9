/* MTA-STS: any TXT record and policy file; a policy that is taken keeps its bounds, survives the copy, and names what
 * it says. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mailsvc/send/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(const struct sts_policy *p)
{
	static struct sts_cache *cache;
	struct sts_policy got;
	int64_t fetched;

	if (cache == NULL)
		cache = sts_cache_open(-1);
	sts_cache_put(cache, "some.example", p, 1000);
	if (sts_cache_get(cache, "some.example", 1000, &got, &fetched) != (p->max_age > 0))
		abort();
	if (p->max_age > 0 && (got.mode != p->mode || got.max_age != p->max_age || strcmp(got.id, p->id) != 0 ||
				  got.mx_len != p->mx_len || memcmp(got.mx, p->mx, p->mx_len) != 0))
		abort();
}

static void policy(struct view text)
{
	struct sts_policy p = { .id = "1" };
	char reason[120], name[STS_MX_BYTES + 8];

	if (sts_policy_parse(text, &p, reason) == -1)
		return;
	if (p.mx_len > sizeof(p.mx) || (p.mx_len > 0 && p.mx[p.mx_len - 1] != '\0') || p.max_age > STS_AGE_MAX)
		abort();
	if (p.mode != STS_MODE_NONE && p.mx_len == 0)
		abort();
	for (size_t at = 0; at < p.mx_len; at += strlen(p.mx + at) + 1) {
		strncpy(name, p.mx + at, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		if (name[0] == '*')
			name[0] = 'x';
		if (!sts_policy_names(&p, name))
			abort();
	}
	copy(&p);
}

/* The slots where some.example stands in a file of copies. */
static off_t place(int fd)
{
	struct sts_policy p = { .mode = STS_MODE_ENFORCE, .max_age = 1000 };
	off_t at = 4096;
	char head[8] = { 0 };

	if (fd == -1 || ftruncate(fd, STS_CACHE_BYTES) == -1)
		abort();
	struct sts_cache *c = sts_cache_open(fd);
	sts_cache_put(c, "some.example", &p, 1000);
	sts_cache_close(c);
	while (pread(fd, head, sizeof(head), at) == sizeof(head) && memcmp(head, (char[8]){ 0 }, sizeof(head)) == 0)
		at += (off_t)(8 * 4096);
	return at;
}

/* These bytes in every slot that it may have: read as nothing, or as what a copy may be. */
static void spoilt(const uint8_t *data, size_t size)
{
	static int fd = -1;
	static off_t at;
	static struct sts_cache *c;
	static const char zeros[4096];
	struct sts_policy p;
	int64_t fetched;

	if (c == NULL) {
		fd = memfd_create("sts", 0);
		at = place(fd);
		c = sts_cache_open(fd);
	}
	for (off_t slot = at; slot < at + (off_t)(8 * 4096); slot += 4096) {
		if (pwrite(fd, zeros, sizeof(zeros), slot) == -1 ||
		    pwrite(fd, data, size < 4096 ? size : 4096, slot) == -1)
			abort();
	}
	if (sts_cache_get(c, "some.example", 1000, &p, &fetched) && p.mx_len > sizeof(p.mx))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = { (const char *)data, size };
	struct dns_record records[2] = { { 0, text }, { 0, { text.ptr, size / 2 } } };
	struct dns_answer a = { .status = DNS_OK, .records = records, .count = 2 };
	char id[STS_ID_MAX + 1];

	sts_record(&a, id);
	a.count = 1;
	if (sts_record(&a, id) == 0 && (id[0] == '\0' || strlen(id) > STS_ID_MAX))
		abort();
	policy(text);
	if (size > 0 && size % 16 == 0)
		spoilt(data, size);
	return 0;
}
