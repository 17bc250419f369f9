/*
 * Files of the log: a segment and a state file of arbitrary bytes, or (first byte odd) of arbitrary records in frames
 * whose checksums are right, are scanned, proved, and put into an index.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "mailsvc/store/downgrade.h"
#include "mailsvc/store/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct engine engine = { .log_dir = -1 };
static int top;

static char path[64];

static void finish(void)
{
	static const char *const files[] = { "log/0000000001.log", "log/0000000001.state", "index/data.mdb",
		"index/lock.mdb" };

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlinkat(top, files[i], 0);
	unlinkat(top, "log", AT_REMOVEDIR);
	unlinkat(top, "index", AT_REMOVEDIR);
	rmdir(path);
}

static void start(void)
{
	char index[80];
	struct error e;

	snprintf(path, sizeof path, "%s/fuzz-log-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(path) || (top = open(path, O_RDONLY | O_DIRECTORY)) == -1 || mkdirat(top, "log", 0700) == -1 ||
	    mkdirat(top, "index", 0700) == -1)
		abort();
	engine.log_dir = openat(top, "log", O_RDONLY | O_DIRECTORY);
	snprintf(index, sizeof index, "%s/index", path);
	if (index_open(&engine.index, index, false, &e) == -1)
		abort();
	log_init("fuzz", LOG_LEVEL_ERROR);
	atexit(finish);
}

static void put_crc(struct buf *b, size_t from)
{
	buf_put_u32(b, crc32c(0, b->data + from, b->len - from));
}

/* {type u8, length u8, bytes of the head}...; type 255 ends a frame. */
static void frames(struct cursor *c, uint64_t salt, struct buf *out)
{
	uint64_t sequence = 1;

	while (c->left > 0) {
		struct buf records = BUF_INIT(1u << 20), head = BUF_INIT(1u << 20);
		uint32_t count = 0;
		size_t at = out->len;
		for (; c->left > 1; count++) {
			uint8_t type = cursor_u8(c), len;
			struct view bytes;
			uint32_t crc;
			if (type == 255)
				break;
			len = cursor_u8(c);
			bytes = cursor_bytes(c, len < c->left ? len : c->left);
			buf_reset(&head);
			buf_put_u16(&head, type);
			buf_put_u16(&head, 0);
			buf_put_u32(&head, 0);
			buf_put_u32(&head, (uint32_t)bytes.len);
			buf_put_u64(&head, 0);
			crc = crc32c(0, head.data, head.len);
			buf_put_u32(&head, crc32c(crc, bytes.ptr, bytes.len));
			buf_addv(&records, buf_view(&head));
			buf_addv(&records, bytes);
		}
		if (c->left == 1)
			cursor_u8(c);
		buf_put_u32(out, FRAME_MAGIC);
		buf_put_u64(out, salt);
		buf_put_u64(out, sequence++);
		buf_put_u64(out, records.len);
		buf_put_u32(out, count);
		buf_put_u16(out, FRAME_VERSION);
		buf_put_u16(out, (uint16_t)(count & 1));
		put_crc(out, at);
		buf_addv(out, buf_view(&records));
		buf_free(&records);
		buf_free(&head);
	}
}

static void spill(const char *name, const char *header, struct view rest)
{
	int fd = openat(engine.log_dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd == -1 || write(fd, header, SEGMENT_HEADER_LEN) == -1 ||
	    (rest.len && write(fd, rest.ptr, rest.len) != (ssize_t)rest.len))
		abort();
	close(fd);
}

static int on_frame(void *arg, const struct frame *f)
{
	*(uint64_t *)arg += f->record_count;
	return 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	(void)arg;
	if (!what || segment != 1 || (length && offset + length < offset))
		abort();
}

static void on_prevents(void *arg, const char *file, uint64_t offset, uint64_t count, const char *what)
{
	(void)arg;
	(void)offset;
	if (!file || !what || !count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_header h = { .state = true,
		.version = SEGMENT_VERSION,
		.number = 1,
		.salt = 7,
		.index_version = INDEX_VERSION,
		.order = 0x01020304 };
	struct downgrade d = { .prevents = on_prevents };
	struct buf made = BUF_INIT(4u << 20);
	struct state_check check;
	char header[SEGMENT_HEADER_LEN];
	uint64_t records = 0;
	struct scan s = { .frame = on_frame, .damage = on_damage, .arg = &records, .bodies = true };
	struct error e;
	struct cursor c;
	struct tx tx;

	if (engine.log_dir == -1)
		start();
	if (size == 0 || size > 65536)
		return 0;
	c = cursor_of(data + 1, size - 1);
	if (data[0] & 1)
		frames(&c, h.salt, &made);
	else
		buf_add(&made, data + 1, size - 1);
	log_header_put(&h, header);
	spill("0000000001.state", header, buf_view(&made));
	h.state = false;
	log_header_put(&h, header);
	spill("0000000001.log", header, buf_view(&made));
	s.dir = engine.log_dir;
	scan_segment(&s, 1, 0);
	state_check(engine.log_dir, 1, &check, on_damage, NULL);
	if (tx_begin(&tx, &engine.index, true) == -1)
		abort();
	engine.damage_count = 0;
	if (state_load(&engine, &tx, &e) == 1 && !check.whole && !engine.damage_count)
		abort(); /* what is not whole is told */
	tx_abort(&tx);
	if (store_downgrade(top, &d, &e) == 0)
		abort(); /* there is a state file */
	buf_free(&made);
	return 0;
}
