/*
 * Bodies by pread, not by a map: a bad sector is an error of one request and not a signal for every session.
 * The whole body and its CRC table come with one call; a range reads the chunks at its edges in full to check them.
 */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "segment.h"

void body_reader_init(struct body_reader *r, int log_dir)
{
	memset(r, 0, sizeof *r);
	r->log_dir = log_dir;
}

void body_reader_close(struct body_reader *r)
{
	for (int i = 0; i < BODY_SEGMENTS_OPEN; i++)
		if (r->open[i].number)
			close(r->open[i].fd);
	body_reader_init(r, -1);
}

void body_reader_trim(struct body_reader *r)
{
	struct stat st;

	for (int i = 0; i < BODY_SEGMENTS_OPEN; i++)
		if (r->open[i].number && fstat(r->open[i].fd, &st) == 0 && st.st_nlink == 0) {
			close(r->open[i].fd);
			r->open[i].number = 0;
			r->open[i].used = 0;
		}
}

static int segment_fd(struct body_reader *r, uint32_t number)
{
	char name[SEGMENT_NAME_LEN];
	int oldest = 0, fd;

	r->clock++;
	for (int i = 0; i < BODY_SEGMENTS_OPEN; i++) {
		if (r->open[i].number == number) {
			r->open[i].used = r->clock;
			return r->open[i].fd;
		}
		if (r->open[i].used < r->open[oldest].used)
			oldest = i;
	}
	if (number == 0) {
		errno = ENOENT;
		return -1;
	}
	segment_name(number, name);
	if ((fd = openat(r->log_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return -1;
	if (r->open[oldest].number)
		close(r->open[oldest].fd);
	r->open[oldest].number = number;
	r->open[oldest].fd = fd;
	r->open[oldest].used = r->clock;
	return fd;
}

static int readv_all(int fd, struct iovec iov[2], uint64_t at)
{
	while (iov[0].iov_len + iov[1].iov_len > 0) {
		ssize_t n = preadv(fd, iov, 2, (off_t)at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return -1;
		at += (uint64_t)n;
		for (int i = 0; i < 2; i++) {
			size_t k = (size_t)n < iov[i].iov_len ? (size_t)n : iov[i].iov_len;
			if (k == 0) /* the base may be NULL */
				continue;
			iov[i].iov_base = (char *)iov[i].iov_base + k;
			iov[i].iov_len -= k;
			n -= (ssize_t)k;
		}
	}
	return 0;
}

static int chunk_check(const char *chunk, size_t len, const char *table)
{
	struct cursor c = cursor_of(table, 4);

	if (crc32c(0, chunk, len) == cursor_u32(&c))
		return 0;
	errno = EIO;
	return -1;
}

static int read_whole(int fd, uint64_t offset, uint64_t length, char *dst)
{
	size_t table_len = (size_t)(record_tail_len(length) - length);
	char small[256], *table = table_len > sizeof small ? xmalloc(table_len) : small;
	struct iovec iov[2] = { { dst, (size_t)length }, { table, table_len } };
	int rc = readv_all(fd, iov, offset);

	for (uint64_t at = 0; rc == 0 && at < length; at += CHUNK_LEN)
		rc = chunk_check(
		    dst + at, length - at < CHUNK_LEN ? (size_t)(length - at) : CHUNK_LEN, table + at / CHUNK_LEN * 4);
	if (table != small)
		free(table);
	return rc;
}

static int read_range(int fd, uint64_t offset, uint64_t length, uint64_t from, char *dst, size_t len)
{
	char *block = xmalloc(CHUNK_LEN), crc[4];
	int rc = 0;

	while (rc == 0 && len > 0) {
		uint64_t chunk = from / CHUNK_LEN, start = chunk * CHUNK_LEN;
		size_t size = length - start < CHUNK_LEN ? (size_t)(length - start) : CHUNK_LEN;
		size_t skip = (size_t)(from - start), n = size - skip < len ? size - skip : len;
		char *to = n == size ? dst : block;
		struct iovec body[2] = { { to, size }, { NULL, 0 } }, table[2] = { { crc, 4 }, { NULL, 0 } };
		if (readv_all(fd, body, offset + start) == -1 ||
		    readv_all(fd, table, offset + length + chunk * 4) == -1 || chunk_check(to, size, crc) == -1)
			rc = -1;
		else if (to == block)
			memcpy(dst, block + skip, n);
		dst += n;
		from += n;
		len -= n;
	}
	free(block);
	return rc;
}

int body_read(
    struct body_reader *r, uint32_t segment, uint64_t offset, uint64_t length, uint64_t from, void *dst, size_t len)
{
	int fd;

	if (from > length || len > length - from || length > STORE_BODY_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (len == 0)
		return 0;
	if ((fd = segment_fd(r, segment)) == -1)
		return -1;
	return from == 0 && len == length ? read_whole(fd, offset, length, dst)
	                                  : read_range(fd, offset, length, from, dst, len);
}
