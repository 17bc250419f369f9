/*
 * A hostile log: the input becomes frames with right checksums around wrong contents (so that the fuzzer gets past the
 * CRCs), is scanned, and every record applied.  Then the record decoder and the scanner get the bytes as they are.
 * Nothing may crash, and a scan must end.
 *
 * Input for the frames: {type u8, length u8, bytes}*; 0xff instead of a type begins a new frame.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "mailsvc/store/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct index index_;
static struct tx tx;
static int dir = -1;

static void setup(void)
{
	char path[] = "/dev/shm/fuzz-record-XXXXXX", other[] = "/tmp/fuzz-record-XXXXXX", cmd[100];
	char *at = mkdtemp(path);
	struct error e;

	if (!at)
		at = mkdtemp(other);
	if (!at || (dir = open(at, O_RDONLY | O_DIRECTORY)) == -1 || index_open(&index_, at, false, &e) == -1)
		abort();
	/* The map and the descriptor live on; the folder need not. */
	snprintf(cmd, sizeof cmd, "%s/data.mdb", at);
	unlink(cmd);
	snprintf(cmd, sizeof cmd, "%s/lock.mdb", at);
	unlink(cmd);
	log_init("fuzz", LOG_LEVEL_ERROR);
}

static int on_frame(void *arg, const struct frame *f)
{
	(void)arg;
	for (size_t i = 0; i < f->record_count; i++)
		apply(&tx, &f->records[i]);
	return 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	(void)arg;
	(void)segment;
	(void)offset;
	if (length == 0 || !what)
		abort();
}

/* A record whose checksums are right, of any type and head. */
static void put_record(struct buf *b, uint8_t type, struct view head)
{
	size_t start = b->len;
	uint32_t crc;

	buf_put_u16(b, type);
	buf_put_u16(b, 0);
	buf_put_u32(b, 0);
	buf_put_u32(b, (uint32_t)head.len);
	buf_put_u64(b, type == RECORD_BODY ? 1 : 0);
	crc = crc32c(0, b->data + start, 20);
	buf_put_u32(b, crc32c(crc, head.ptr, head.len));
	buf_addv(b, head);
	if (type == RECORD_BODY) {
		buf_addc(b, 'x');
		buf_put_u32(b, crc32c(0, "x", 1));
	}
}

static void put_frame(struct segments *log, struct buf *records, uint32_t count)
{
	char header[FRAME_HEADER_LEN];
	struct iovec iov[2] = { { header, sizeof header }, { records->data, records->len } };

	segments_frame_header(log, records->len, count, header);
	if (segments_write(log, iov, 2, sizeof header + records->len) == -1)
		abort();
	buf_reset(records);
}

static void put_frames(struct segments *log, const uint8_t *data, size_t size)
{
	struct buf records = BUF_INIT(1u << 24);
	uint32_t count = 0;

	while (size > 2) {
		size_t len = data[1];
		if (data[0] == 0xff) {
			put_frame(log, &records, count);
			count = 0;
			data++;
			size--;
			continue;
		}
		if (len > size - 2)
			len = size - 2;
		put_record(&records, data[0], (struct view){ (const char *)data + 2, len });
		count++;
		data += 2 + len;
		size -= 2 + len;
	}
	put_frame(log, &records, count);
	buf_free(&records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct segments log = { .dir = dir, .fd = -1 };
	struct scan s = { .bodies = true, .frame = on_frame, .damage = on_damage };
	struct record r;

	if (dir == -1)
		setup();
	log.dir = s.dir = dir;
	record_get(data, size, &r);
	unlinkat(dir, "0000000001.log", 0);
	if (size > 1 << 16 || segments_start(&log, 1) == -1)
		return 0;
	put_frames(&log, data, size);
	/* Then the same bytes as they are, and a whole frame behind them: a stretch of damage. */
	if (size && pwrite(log.fd, data, size, (off_t)log.offset) != (ssize_t)size)
		abort();
	log.offset += size;
	put_frames(&log, data, size < 40 ? size : 40);
	if (tx_begin(&tx, &index_, true) == -1)
		abort();
	if (scan_segment(&s, 1, 0) == SCAN_FAILED)
		abort();
	if (tx.error)
		abort();
	tx_abort(&tx);
	close(log.fd);
	return 0;
}
