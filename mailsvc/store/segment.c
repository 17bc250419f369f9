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
#define SEGMENT_VERSION 1
#define FRAME_VERSION 1

void segment_name(uint32_t number, char name[SEGMENT_NAME_LEN])
{
	snprintf(name, SEGMENT_NAME_LEN, "%010u.log", number);
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

static uint32_t name_number(const char *name)
{
	uint64_t n;

	if (strlen(name) != SEGMENT_NAME_LEN - 1 || strcmp(name + 10, ".log") != 0 ||
	    view_u64((struct view){ name, 10 }, UINT32_MAX, &n) == -1)
		return 0;
	return (uint32_t)n;
}

int segments_list(int dir, uint32_t **numbers, size_t *count, struct error *e)
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
		if ((n = name_number(entry->d_name)) != 0) {
			*numbers = xreallocarray(*numbers, *count + 1, sizeof **numbers);
			(*numbers)[(*count)++] = n;
		}
	closedir(d);
	if (*count)
		qsort(*numbers, *count, sizeof **numbers, number_cmp);
	return 0;
}

bool segment_header_ok(int fd, uint32_t number, uint64_t *salt)
{
	char header[SEGMENT_HEADER_LEN] = { 0 };
	struct cursor c = cursor_of(header, sizeof header);

	if (pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header || cursor_u64(&c) != SEGMENT_MAGIC ||
	    cursor_u32(&c) != SEGMENT_VERSION || cursor_u32(&c) != number)
		return false;
	*salt = cursor_u64(&c);
	cursor_bytes(&c, SEGMENT_HEADER_LEN - 28);
	return cursor_u32(&c) == crc32c(0, header, SEGMENT_HEADER_LEN - 4);
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
	char name[SEGMENT_NAME_LEN], header[SEGMENT_HEADER_LEN];
	struct buf b = BUF_INIT(SEGMENT_HEADER_LEN);
	uint64_t salt;
	int fd, error;

	if (getrandom(&salt, sizeof salt, 0) != (ssize_t)sizeof salt)
		return -1;
	buf_put_u64(&b, SEGMENT_MAGIC);
	buf_put_u32(&b, SEGMENT_VERSION);
	buf_put_u32(&b, number);
	buf_put_u64(&b, salt);
	memset(header, 0, sizeof header);
	memcpy(header, b.data, b.len);
	b.len = 0;
	buf_put_u32(&b, crc32c(0, header, SEGMENT_HEADER_LEN - 4));
	memcpy(header + SEGMENT_HEADER_LEN - 4, b.data, 4);
	buf_free(&b);

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
	s->salt = salt;
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
	buf_put_u16(&b, 0);
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
