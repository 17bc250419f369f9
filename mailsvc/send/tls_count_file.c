/*
 * The counts in a mapped file, so that they outlive the process.  Two slots are written in turn, so that a crash in one
 * leaves the other: magic and version, u64 serial, u32 length, u32 CRC32C of serial, length and contents, contents.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/crc32c.h"
#include "lib/log.h"
#include "tls_count.h"

#define SLOT_BYTES (TLS_COUNT_BYTES / 2)
#define MAGIC "TLSDAY\0\1"
#define MAGIC_LEN 8u
#define SUMMED (MAGIC_LEN + 12u) /* serial and length end here */
#define HEADER (SUMMED + 4u)

struct tls_count_file {
	char *map;
	uint64_t serial; /* of what was written last */
};

static uint32_t sum_of(const char *slot, size_t len)
{
	return crc32c(crc32c(0, slot, SUMMED), slot + HEADER, len);
}

/* False: a crash, or somebody else, wrote it. */
static bool slot_read(const char *slot, uint64_t *serial, struct view *contents)
{
	struct cursor c = cursor_of(slot + MAGIC_LEN, HEADER - MAGIC_LEN);
	uint32_t len, sum;

	*serial = cursor_u64(&c);
	len = cursor_u32(&c);
	sum = cursor_u32(&c);
	*contents = (struct view){ slot + HEADER, len };
	return memcmp(slot, MAGIC, MAGIC_LEN) == 0 && len <= SLOT_BYTES - HEADER && sum_of(slot, len) == sum;
}

static bool untouched(const char *map)
{
	return map[0] == '\0' && memcmp(map, map + 1, TLS_COUNT_BYTES - 1) == 0;
}

static void load(struct tls_count_file *f, struct tls_count *c)
{
	struct view contents[2];
	uint64_t serial[2];
	bool there[2];

	for (int i = 0; i < 2; i++)
		there[i] = slot_read(f->map + (size_t)i * SLOT_BYTES, &serial[i], &contents[i]);
	int newer = there[1] && (!there[0] || serial[1] > serial[0]);
	for (int i = 0; i < 2; i++) {
		int at = i == 0 ? newer : !newer;
		if (there[at] && tls_count_unpack(c, contents[at])) {
			f->serial = serial[at];
			return;
		}
	}
	if (!untouched(f->map))
		log_warnx("event=tls-counts reason=\"STATE/tls-counts is broken or of another version: from zero\"");
}

struct tls_count_file *tls_count_file_open(int fd, struct tls_count *c)
{
	struct tls_count_file *f;
	struct stat st;
	void *map;

	if (fd == -1 || fstat(fd, &st) == -1 || st.st_size != (off_t)TLS_COUNT_BYTES)
		return NULL;
	map = mmap(NULL, TLS_COUNT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		log_warn("event=tls-counts");
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->map = map;
	load(f, c);
	return f;
}

void tls_count_file_save(struct tls_count_file *f, const struct tls_count *c)
{
	struct buf contents = BUF_INIT(SLOT_BYTES - HEADER), head = BUF_INIT(HEADER);
	char *slot;

	if (f == NULL)
		return;
	f->serial++;
	slot = f->map + (f->serial & 1) * SLOT_BYTES;
	tls_count_pack(c, &contents);
	memset(slot, 0, HEADER);
	memcpy(slot + HEADER, contents.data, contents.len);
	buf_add(&head, MAGIC, MAGIC_LEN);
	buf_put_u64(&head, f->serial);
	buf_put_u32(&head, (uint32_t)contents.len);
	memcpy(slot, head.data, head.len);
	buf_put_u32(&head, sum_of(slot, contents.len));
	memcpy(slot, head.data, head.len);
	buf_free(&contents);
	buf_free(&head);
}

void tls_count_file_close(struct tls_count_file *f)
{
	if (f == NULL)
		return;
	munmap(f->map, TLS_COUNT_BYTES);
	free(f);
}
