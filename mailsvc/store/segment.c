/*
 * The appending end of the log.  One frame is written by one pwritev from the memory it came in; space ahead of it is
 * zero-filled by the helper thread (engine.c), so that fdatasync has data to write and no metadata.
 * What a failed write left behind `offset` is cut off again.
 */
#include "segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc32c.h"

#define SEGMENT_MAGIC 0x474f4c4d4c49414dull /* "MAILMLOG" */
#define STATE_MAGIC 0x5453534d4c49414dull   /* "MAILMSST" */

void segment_name(uint32_t number, char name[SEGMENT_NAME_LEN])
{
	snprintf(name, SEGMENT_NAME_LEN, "%010u.log", number);
}

void state_name(uint32_t number, char name[STATE_NAME_LEN])
{
	snprintf(name, STATE_NAME_LEN, "%010u.state", number);
}

void adopt(int dir, int fd)
{
	struct stat st;

	if (geteuid() == 0 && fstat(dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == -1)
		log_warn("event=store.chown");
}

static int number_cmp(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static uint32_t name_number(const char *name, const char *suffix)
{
	uint64_t n;

	if (strlen(name) <= 10 || strcmp(name + 10, suffix) != 0 ||
	    view_u64((struct view){ name, 10 }, UINT32_MAX, &n) == -1)
		return 0;
	return (uint32_t)n;
}

static int list(int dir, const char *suffix, uint32_t **numbers, size_t *count, struct error *e)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	uint32_t n;

	*numbers = NULL;
	*count = 0;
	if (!d) {
		if (fd != -1)
			close(fd);
		return error_errno(e, "cannot list the log's folder");
	}
	while ((entry = readdir(d)))
		if ((n = name_number(entry->d_name, suffix)) != 0) {
			*numbers = xreallocarray(*numbers, *count + 1, sizeof **numbers);
			(*numbers)[(*count)++] = n;
		}
	closedir(d);
	if (*count)
		qsort(*numbers, *count, sizeof **numbers, number_cmp);
	return 0;
}

int segments_list(int dir, uint32_t **numbers, size_t *count, struct error *e)
{
	return list(dir, ".log", numbers, count, e);
}

int states_list(int dir, uint32_t **numbers, size_t *count, struct error *e)
{
	return list(dir, ".state", numbers, count, e);
}

void log_header_put(const struct log_header *h, char out[SEGMENT_HEADER_LEN])
{
	struct buf b = BUF_INIT(SEGMENT_HEADER_LEN);

	buf_put_u64(&b, h->state ? STATE_MAGIC : SEGMENT_MAGIC);
	buf_put_u32(&b, h->version);
	buf_put_u32(&b, h->number);
	buf_put_u64(&b, h->salt);
	buf_put_u32(&b, h->index_version);
	buf_add(&b, &h->order, sizeof h->order); /* as it lies in this machine's memory */
	memset(out, 0, SEGMENT_HEADER_LEN);
	memcpy(out, b.data, b.len);
	b.len = 0;
	buf_put_u32(&b, crc32c(0, out, SEGMENT_HEADER_LEN - 4));
	memcpy(out + SEGMENT_HEADER_LEN - 4, b.data, 4);
	buf_free(&b);
}

int log_header_get(int fd, struct log_header *h)
{
	char header[SEGMENT_HEADER_LEN] = { 0 };
	struct cursor c = cursor_of(header, sizeof header);
	uint64_t magic;

	if (pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header)
		return -1;
	magic = cursor_u64(&c);
	h->state = magic == STATE_MAGIC;
	h->version = cursor_u32(&c);
	h->number = cursor_u32(&c);
	h->salt = cursor_u64(&c);
	h->index_version = cursor_u32(&c);
	memcpy(&h->order, cursor_bytes(&c, sizeof h->order).ptr, sizeof h->order);
	cursor_bytes(&c, SEGMENT_HEADER_LEN - 36);
	return (h->state || magic == SEGMENT_MAGIC) && cursor_u32(&c) == crc32c(0, header, SEGMENT_HEADER_LEN - 4) ? 0
	                                                                                                           : -1;
}

static bool header_ok(int fd, bool state, uint32_t number, uint64_t *salt)
{
	struct log_header h;

	if (log_header_get(fd, &h) == -1 || h.state != state || h.version == 0 || h.version > SEGMENT_VERSION ||
	    h.number != number)
		return false;
	*salt = h.salt;
	return true;
}

bool segment_header_ok(int fd, uint32_t number, uint64_t *salt)
{
	return header_ok(fd, false, number, salt);
}

static int version_check(int dir, const char *name, struct error *e)
{
	struct log_header h;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = 0;

	if (fd == -1)
		return 0; /* told where it is read */
	if (log_header_get(fd, &h) == 0 && h.version > SEGMENT_VERSION)
		rc = error_set(e,
		    "log/%s has format %u; this mailadm reads formats up to %d: install the newer mailadm again, or "
		    "let it "
		    "make what this one reads (mailadm store downgrade)",
		    name, h.version, SEGMENT_VERSION);
	close(fd);
	return rc;
}

int log_versions_check(int dir, struct error *e)
{
	char name[STATE_NAME_LEN];
	uint32_t *numbers;
	size_t count;
	int rc;

	for (int state = 0; state < 2; state++) {
		if ((rc = list(dir, state ? ".state" : ".log", &numbers, &count, e)) == -1)
			return -1;
		/* Newest first: it is the one that is newer. */
		while (rc == 0 && count-- > 0) {
			if (state)
				state_name(numbers[count], name);
			else
				segment_name(numbers[count], name);
			rc = version_check(dir, name, e);
		}
		free(numbers);
		if (rc == -1)
			return -1;
	}
	return 0;
}

/* A damaged header need not cost the segment: its first frame, at its fixed place, has the salt too. */
static bool salt_of_first_frame(int fd, uint64_t *salt)
{
	char header[FRAME_HEADER_LEN] = { 0 };
	struct cursor c = cursor_of(header, sizeof header);

	if (pread(fd, header, sizeof header, SEGMENT_HEADER_LEN) != (ssize_t)sizeof header ||
	    cursor_u32(&c) != FRAME_MAGIC)
		return false;
	*salt = cursor_u64(&c);
	cursor_bytes(&c, FRAME_HEADER_LEN - 16);
	return cursor_u32(&c) == crc32c(0, header, FRAME_HEADER_LEN - 4);
}

bool segment_there(int dir, uint32_t number)
{
	char name[SEGMENT_NAME_LEN];

	segment_name(number, name);
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int segment_open(int dir, uint32_t number, int flags, uint64_t *salt)
{
	char name[SEGMENT_NAME_LEN];
	int fd;

	segment_name(number, name);
	if ((fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return -1;
	if (segment_header_ok(fd, number, salt))
		return fd;
	if (salt_of_first_frame(fd, salt)) {
		log_warnx(
		    "event=store.damage segment=%u offset=0 reason=\"segment header has a wrong checksum\"", number);
		return fd;
	}
	close(fd);
	errno = EIO;
	return -1;
}

int state_open(int dir, const char *name, uint32_t number, int flags, uint64_t *salt)
{
	int fd;

	if ((fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return -1;
	if (header_ok(fd, true, number, salt) || salt_of_first_frame(fd, salt))
		return fd;
	close(fd);
	errno = EIO;
	return -1;
}

int segment_extend(int fd, uint64_t from, uint64_t to)
{
	static const char zeros[256 * 1024];

	while (from < to) {
		size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
		ssize_t w = pwrite(fd, zeros, n, (off_t)from);
		if (w <= 0)
			return -1;
		from += (uint64_t)w;
	}
	return fdatasync(fd);
}

int segments_start(struct segments *s, uint32_t number)
{
	struct log_header h = { .version = SEGMENT_VERSION, .number = number };
	char name[SEGMENT_NAME_LEN], header[SEGMENT_HEADER_LEN];
	int fd, error;

	if (getrandom(&h.salt, sizeof h.salt, 0) != (ssize_t)sizeof h.salt)
		return -1;
	log_header_put(&h, header);
	segment_name(number, name);
	if ((fd = openat(s->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640)) == -1)
		return -1;
	adopt(s->dir, fd);
	if (pwrite(fd, header, sizeof header, 0) != (ssize_t)sizeof header ||
	    segment_extend(fd, SEGMENT_HEADER_LEN, 256 * 1024) == -1 || fsync(fd) == -1 || fsync(s->dir) == -1) {
		error = errno ? errno : ENOSPC;
		close(fd);
		unlinkat(s->dir, name, 0);
		errno = error;
		return -1;
	}
	if (s->fd != -1)
		close(s->fd);
	s->fd = fd;
	s->number = number;
	s->version = SEGMENT_VERSION;
	s->salt = h.salt;
	s->offset = SEGMENT_HEADER_LEN;
	s->allocated = 256ull * 1024;
	s->dirty = false;
	return 0;
}

int segments_rotate(struct segments *s)
{
	if (ftruncate(s->fd, (off_t)s->offset) == -1)
		return -1;
	if (fsync(s->fd) == -1) /* as in engine_commit: a second try would say that all is well */
		fatal("event=store.fsync segment=%u", s->number);
	s->allocated = s->offset;
	s->dirty = false;
	return segments_start(s, s->number + 1);
}

void segments_frame_header(const struct segments *s, uint64_t payload, uint32_t records, char out[FRAME_HEADER_LEN])
{
	struct buf b = BUF_INIT(FRAME_HEADER_LEN);

	buf_put_u32(&b, FRAME_MAGIC);
	buf_put_u64(&b, s->salt);
	buf_put_u64(&b, s->sequence + 1);
	buf_put_u64(&b, payload);
	buf_put_u32(&b, records);
	buf_put_u16(&b, FRAME_VERSION);
	buf_put_u16(&b, s->dirty ? FRAME_UNSYNCED : 0);
	buf_put_u32(&b, crc32c(0, b.data, FRAME_HEADER_LEN - 4));
	memcpy(out, b.data, FRAME_HEADER_LEN);
	buf_free(&b);
}

int segments_write(struct segments *s, struct iovec *iov, size_t count, uint64_t length)
{
	uint64_t at = s->offset, end = s->offset + length;

	while (count > 0) {
		ssize_t w = pwritev(s->fd, iov, count > IOV_MAX ? IOV_MAX : (int)count, (off_t)at);
		if (w == -1 && errno == EINTR)
			continue;
		if (w <= 0) {
			errno = w == 0 ? ENOSPC : errno;
			return -1;
		}
		at += (uint64_t)w;
		while (count > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	s->offset = end;
	if (s->allocated < end)
		s->allocated = end;
	s->sequence++;
	s->dirty = true;
	return 0;
}

void segments_cut(struct segments *s)
{
	/* Cutting off needs no room; should it fail all the same, the next frame overwrites what is there. */
	if (ftruncate(s->fd, (off_t)s->offset) == -1)
		log_warn("event=store.truncate segment=%u", s->number);
	s->allocated = s->offset;
}

int segments_sync(struct segments *s)
{
	if (fdatasync(s->fd) == -1)
		return -1;
	s->dirty = false;
	return 0;
}
