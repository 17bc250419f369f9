/*
 * Reading a segment frame by frame, for replay, rebuild and verify.
 *
 * A frame counts only when it is whole: header, every record, and with `bodies` every chunk of every body.  Where one
 * is not, the scan looks for the next whole frame; if there is one, the stretch is damage, else it is the torn tail of
 * a write that nobody was told had succeeded.  Zeros are the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc32c.h"
#include "segment.h"

#define WINDOW (1u << 20)

struct reader {
	int fd;
	uint64_t file_len;
	char *data;
	size_t size;
	uint64_t start;
	size_t len;
	bool failed; /* a read error, as against the end of the file */
};

/* len bytes at offset, or NULL; valid until the next call. */
static const char *reader_at(struct reader *r, uint64_t offset, size_t len)
{
	size_t want = len > WINDOW ? len : WINDOW;

	if (offset > r->file_len || len > r->file_len - offset)
		return NULL;
	if (offset >= r->start && offset - r->start <= r->len && len <= r->len - (offset - r->start))
		return r->data + (offset - r->start);
	if (want > r->size) {
		free(r->data);
		r->data = xmalloc(want);
		r->size = want;
	}
	r->start = offset;
	r->len = 0;
	while (r->len < want) {
		ssize_t n = pread(r->fd, r->data + r->len, want - r->len, (off_t)(offset + r->len));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && r->len < len)
			r->failed = true;
		if (n <= 0)
			break;
		r->len += (size_t)n;
	}
	return r->len >= len ? r->data : NULL;
}

struct frame_header {
	uint64_t sequence, payload;
	uint32_t records;
	bool unsynced;
};

static int header_get(const char *at, uint64_t salt, struct frame_header *h)
{
	struct cursor c = cursor_of(at, FRAME_HEADER_LEN);
	uint16_t version, flags;

	if (cursor_u32(&c) != FRAME_MAGIC || cursor_u64(&c) != salt)
		return -1;
	h->sequence = cursor_u64(&c);
	h->payload = cursor_u64(&c);
	h->records = cursor_u32(&c);
	version = cursor_u16(&c);
	flags = cursor_u16(&c);
	h->unsynced = flags == FRAME_UNSYNCED;
	if (cursor_u32(&c) != crc32c(0, at, FRAME_HEADER_LEN - 4))
		return -1;
	return (version == 1 && flags == 0) || (version == FRAME_VERSION && flags <= FRAME_UNSYNCED) ? 0 : -1;
}

static const char *body_check(struct reader *r, uint64_t offset, uint64_t length)
{
	uint64_t table = offset + length;

	for (uint64_t at = 0; at < length; at += CHUNK_LEN) {
		size_t n = length - at < CHUNK_LEN ? (size_t)(length - at) : CHUNK_LEN;
		const char *p = reader_at(r, offset + at, n);
		uint32_t crc;
		if (!p)
			return "body cut short";
		crc = crc32c(0, p, n);
		if (!(p = reader_at(r, table + at / CHUNK_LEN * 4, 4)))
			return "body cut short";
		struct cursor c = cursor_of(p, 4);
		if (cursor_u32(&c) != crc)
			return "body has a wrong checksum";
	}
	return NULL;
}

struct parsed {
	struct buf heads; /* header and head of each record */
	size_t *at;       /* where each starts in heads */
	uint64_t *body;   /* offset of each body */
	struct record *records;
	size_t count, size;
	struct frame_header header;
	uint64_t end;
};

static void parsed_grow(struct parsed *p)
{
	if (p->count < p->size)
		return;
	p->size = p->size ? p->size * 2 : 64;
	p->at = xreallocarray(p->at, p->size, sizeof *p->at);
	p->body = xreallocarray(p->body, p->size, sizeof *p->body);
	p->records = xreallocarray(p->records, p->size, sizeof *p->records);
}

/* One record at *pos, before end. NULL or what is wrong. */
static const char *record_parse(struct scan *s, struct reader *r, struct parsed *p, uint64_t *pos, uint64_t end)
{
	struct record_header h;
	const char *at, *what;
	uint64_t tail;

	if (end - *pos < RECORD_HEADER_LEN || !(at = reader_at(r, *pos, RECORD_HEADER_LEN)))
		return "record cut short";
	if (record_header_get(at, &h) == -1)
		return "record header is impossible";
	tail = record_tail_len(h.body_length);
	if (end - *pos - RECORD_HEADER_LEN < h.head_len || end - *pos - RECORD_HEADER_LEN - h.head_len < tail ||
	    !(at = reader_at(r, *pos, RECORD_HEADER_LEN + h.head_len)))
		return "record cut short";
	parsed_grow(p);
	p->at[p->count] = p->heads.len;
	buf_add(&p->heads, at, RECORD_HEADER_LEN + h.head_len);
	*pos += RECORD_HEADER_LEN + h.head_len;
	p->body[p->count] = *pos;
	p->count++;
	if (s->bodies && h.body_length && (what = body_check(r, *pos, h.body_length)))
		return what;
	*pos += tail;
	return NULL;
}

/* A whole frame at offset: NULL, or what is wrong with it. */
static const char *frame_parse(struct scan *s, struct reader *r, uint64_t salt, uint64_t offset, struct parsed *p)
{
	const char *at = reader_at(r, offset, FRAME_HEADER_LEN), *what;
	uint64_t pos = offset + FRAME_HEADER_LEN;

	p->count = 0;
	buf_reset(&p->heads);
	if (!at)
		return r->failed ? "cannot be read" : "frame cut short";
	if (header_get(at, salt, &p->header) == -1)
		return "frame header has a wrong checksum";
	if (p->header.payload > r->file_len - pos)
		return "frame cut short";
	p->end = pos + p->header.payload;
	while (pos < p->end)
		if ((what = record_parse(s, r, p, &pos, p->end)))
			return r->failed ? "cannot be read" : what;
	if (p->count != p->header.records)
		return "frame has another number of records";
	for (size_t i = 0; i < p->count; i++) {
		size_t end = i + 1 < p->count ? p->at[i + 1] : p->heads.len;
		if (record_get(p->heads.data + p->at[i], end - p->at[i], &p->records[i]) == -1)
			return "record has a wrong checksum";
		p->records[i].body_offset = p->body[i];
	}
	return NULL;
}

/* The next whole frame behind offset; 0 when there is none. */
static uint64_t resync(struct scan *s, struct reader *r, uint64_t salt, uint64_t offset, struct parsed *p)
{
	struct buf needle = BUF_INIT(12);
	uint64_t found = 0, at = offset + 1;

	buf_put_u32(&needle, FRAME_MAGIC);
	buf_put_u64(&needle, salt);
	while (!found && at < r->file_len && r->file_len - at >= FRAME_HEADER_LEN) {
		size_t n = r->file_len - at < WINDOW ? (size_t)(r->file_len - at) : WINDOW;
		const char *p0 = reader_at(r, at, n);
		const char *hit = p0 ? memmem(p0, n, needle.data, needle.len) : NULL;
		if (!p0)
			at += 4096; /* a bad sector: step over it */
		else if (!hit)
			at += n > 11 ? n - 11 : n;
		else {
			at += (uint64_t)(hit - p0);
			if (!frame_parse(s, r, salt, at, p))
				found = at;
			else
				at++;
		}
	}
	buf_free(&needle);
	return found;
}

/* Bytes from offset up to the last that is not zero. */
static uint64_t tail_len(struct reader *r, uint64_t offset)
{
	uint64_t last = 0;

	for (uint64_t at = offset; at < r->file_len;) {
		size_t n = r->file_len - at < WINDOW ? (size_t)(r->file_len - at) : WINDOW;
		const char *p = reader_at(r, at, n);
		if (!p)
			return r->file_len - offset;
		for (size_t i = n; i > 0; i--)
			if (p[i - 1] != 0) {
				last = at + i - offset;
				break;
			}
		at += n;
	}
	return last;
}

static enum scan_end scan_frames(struct scan *s, struct reader *r, uint32_t number, uint64_t salt, struct parsed *p)
{
	for (;;) {
		uint64_t left = r->file_len > s->end ? r->file_len - s->end : 0, next;
		const char *what;
		struct frame f;

		if (left == 0)
			return SCAN_CLEAN;
		if ((what = frame_parse(s, r, salt, s->end, p))) {
			if ((s->torn = tail_len(r, s->end)) == 0)
				return SCAN_CLEAN;
			next = resync(s, r, salt, s->end, p);
			s->what = what;
			if (!next)
				return SCAN_TORN;
			/* A store that runs may have written this frame meanwhile, and the one behind it. */
			r->len = 0;
			if (frame_parse(s, r, salt, s->end, p)) {
				uint64_t bad = s->end;
				s->end = next;
				if ((s->what = frame_parse(s, r, salt, next, p)))
					return SCAN_TORN;
				if (p->header.unsynced)
					s->unsynced += next - bad;
				else
					s->damage(s->arg, number, bad, next - bad, what);
			}
			s->torn = 0;
		}
		for (size_t i = 0; i < p->count; i++)
			p->records[i].body_segment = number;
		f = (struct frame){ number, s->end, p->end, p->header.sequence, p->header.unsynced, p->records,
			p->count };
		s->end = p->end;
		if (s->frame(s->arg, &f) == -1)
			return SCAN_STOPPED;
	}
}

static enum scan_end scan_file(struct scan *s, bool state, uint32_t number, uint64_t from)
{
	struct reader r = { 0 };
	struct parsed p = { .heads = BUF_INIT(1ull << 31) };
	enum scan_end end = SCAN_FAILED;
	char name[STATE_NAME_LEN];
	uint64_t salt;
	struct stat st;

	s->end = from > SEGMENT_HEADER_LEN ? from : SEGMENT_HEADER_LEN;
	s->torn = s->unsynced = 0;
	s->what = "";
	s->header_bad = false;
	state_name(number, name);
	r.fd = state ? state_open(s->dir, s->name ? s->name : name, number, O_RDONLY, &salt)
	             : segment_open(s->dir, number, O_RDONLY, &salt);
	if (r.fd == -1) {
		s->header_bad = errno == EIO;
		return SCAN_FAILED;
	}
	if (fstat(r.fd, &st) == 0) {
		r.file_len = s->file_len = (uint64_t)st.st_size;
		end = scan_frames(s, &r, number, salt, &p);
	}
	close(r.fd);
	free(r.data);
	free(p.at);
	free(p.body);
	free(p.records);
	buf_free(&p.heads);
	return end;
}

enum scan_end scan_segment(struct scan *s, uint32_t number, uint64_t from)
{
	return scan_file(s, false, number, from);
}

enum scan_end scan_state(struct scan *s, uint32_t number, uint64_t from)
{
	return scan_file(s, true, number, from);
}
