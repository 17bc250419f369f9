/*
 * Encoding and decoding of log records, by one table: a type is a list of fields, a field is a place in struct
 * record.  Decoding accepts nothing that encoding would not write: lengths are bounded, trailing bytes refused.
 */
#include "record.h"

#include <string.h>

#include "lib/crc32c.h"

enum field {
	F_END,
	F_ACCOUNT,
	F_MAILBOX,
	F_SOURCE,
	F_UID,
	F_UID_VALIDITY,
	F_SPECIAL,
	F_NUMBER,
	F_REFERENCES,
	F_FLAGS,
	F_MODE,
	F_BODY,
	F_SIZE,
	F_KEYWORDS,
	F_MODSEQ,
	F_QUEUE,
	F_DATE,
	F_WHEN,
	F_DUE,
	F_NAME,
	F_SENDER,
	F_MIME,
	F_TEXT,
	F_RANGES,
	F_ROWS,
	F_COUNT
};

enum kind { KIND_U32, KIND_U64, KIND_BLOB };

#define FIELD(f, kind, member, max) [f] = { kind, offsetof(struct record, member), max }
static const struct {
	enum kind kind;
	size_t offset;
	size_t max;
} fields[F_COUNT] = {
	FIELD(F_ACCOUNT, KIND_U32, account, 0),
	FIELD(F_MAILBOX, KIND_U32, mailbox, 0),
	FIELD(F_SOURCE, KIND_U32, source, 0),
	FIELD(F_UID, KIND_U32, uid, 0),
	FIELD(F_UID_VALIDITY, KIND_U32, uid_validity, 0),
	FIELD(F_SPECIAL, KIND_U32, special, 0),
	FIELD(F_NUMBER, KIND_U32, number, 0),
	FIELD(F_REFERENCES, KIND_U32, references, 0),
	FIELD(F_FLAGS, KIND_U32, flags, 0),
	FIELD(F_MODE, KIND_U32, mode, 0),
	FIELD(F_BODY, KIND_U64, body, 0),
	FIELD(F_SIZE, KIND_U64, size, 0),
	FIELD(F_KEYWORDS, KIND_U64, keywords, 0),
	FIELD(F_MODSEQ, KIND_U64, modseq, 0),
	FIELD(F_QUEUE, KIND_U64, queue, 0),
	FIELD(F_DATE, KIND_U64, date, 0),
	FIELD(F_WHEN, KIND_U64, when, 0),
	FIELD(F_DUE, KIND_U64, due, 0),
	FIELD(F_NAME, KIND_BLOB, name, MAILBOX_NAME_MAX),
	FIELD(F_SENDER, KIND_BLOB, sender, 1024),
	FIELD(F_MIME, KIND_BLOB, mime, 2u << 20),
	FIELD(F_TEXT, KIND_BLOB, text, 1u << 20),
	FIELD(F_RANGES, KIND_BLOB, ranges, RECORD_HEAD_MAX),
	FIELD(F_ROWS, KIND_BLOB, text, RECORD_HEAD_MAX - 1024),
};

static const struct {
	const char *name;
	uint8_t fields[12];
} layouts[RECORD_TYPES] = {
	[RECORD_ACCOUNT] = { "account", { F_ACCOUNT, F_NAME } },
	[RECORD_MAILBOX] = { "mailbox", { F_ACCOUNT, F_MAILBOX, F_UID_VALIDITY, F_SPECIAL, F_NAME } },
	[RECORD_DELETE] = { "delete", { F_MAILBOX, F_WHEN } },
	[RECORD_RENAME] = { "rename", { F_MAILBOX, F_NAME } },
	[RECORD_SUBSCRIBE] = { "subscribe", { F_ACCOUNT, F_FLAGS, F_NAME } },
	[RECORD_KEYWORD] = { "keyword", { F_MAILBOX, F_NUMBER, F_NAME } },
	[RECORD_BODY] = { "body", { F_BODY, F_REFERENCES, F_MIME } },
	[RECORD_MESSAGE] = { "message",
	    { F_MAILBOX, F_UID, F_FLAGS, F_KEYWORDS, F_MODSEQ, F_DATE, F_WHEN, F_BODY, F_SIZE, F_TEXT } },
	[RECORD_FLAGS] = { "flags", { F_MAILBOX, F_MODSEQ, F_MODE, F_FLAGS, F_KEYWORDS, F_RANGES } },
	[RECORD_COPY] = { "copy", { F_SOURCE, F_MAILBOX, F_UID, F_MODSEQ, F_WHEN, F_RANGES } },
	[RECORD_EXPUNGE] = { "expunge", { F_MAILBOX, F_MODSEQ, F_WHEN, F_MODE, F_RANGES } },
	[RECORD_RECENT] = { "recent", { F_MAILBOX, F_UID } },
	[RECORD_QUEUE_ADD] = { "queue-add", { F_QUEUE, F_BODY, F_WHEN, F_DUE, F_FLAGS, F_SENDER, F_NAME, F_TEXT } },
	[RECORD_QUEUE_RESULT] = { "queue-result", { F_QUEUE, F_DUE, F_TEXT } },
	[RECORD_QUEUE_DUE] = { "queue-due", { F_QUEUE, F_DUE } },
	[RECORD_QUEUE_DROP] = { "queue-drop", { F_QUEUE } },
	[RECORD_QUEUE_ENTRY] = { "queue-entry",
	    { F_QUEUE, F_BODY, F_WHEN, F_DUE, F_FLAGS, F_NUMBER, F_MODE, F_SENDER, F_NAME, F_TEXT, F_MIME } },
	[RECORD_QUEUE_STATE] = { "queue-state", { F_QUEUE, F_FLAGS, F_DUE, F_NAME } },
	[RECORD_PURGE] = { "purge", { F_WHEN, F_MAILBOX, F_UID } },
	[RECORD_SWEEP] = { "sweep", { F_MAILBOX, F_WHEN, F_UID } },
	[RECORD_ACL] = { "acl", { F_MAILBOX, F_FLAGS, F_NAME } },
	[RECORD_METADATA] = { "metadata", { F_ACCOUNT, F_MAILBOX, F_MODE, F_NAME, F_TEXT } },
	[RECORD_IMPORTED] = { "imported", { F_MAILBOX, F_UID, F_TEXT } },
	[RECORD_VALIDITY] = { "validity", { F_MAILBOX, F_UID_VALIDITY } },
	[RECORD_RESTORE] = { "restore", { F_SOURCE, F_MAILBOX, F_UID, F_MODSEQ, F_WHEN, F_DUE, F_RANGES } },
	[RECORD_OWNER] = { "owner", { F_ACCOUNT, F_MAILBOX, F_SPECIAL, F_NAME } },
	[RECORD_ADDRESS] = { "address", { F_ACCOUNT, F_NAME } },
	[RECORD_ERASE] = { "erase", { F_ACCOUNT } },
	[RECORD_WIPE] = { "wipe", { F_MAILBOX, F_MODE, F_WHEN, F_UID } },
	[RECORD_WARNED] = { "warned", { F_ACCOUNT, F_NUMBER } },
	[RECORD_ROWS] = { "rows", { F_NAME, F_ROWS } },
	[RECORD_END] = { "end", { F_SIZE } },
};

const char *record_type_name(unsigned type)
{
	return type > 0 && type < RECORD_TYPES ? layouts[type].name : "unknown";
}

uint64_t record_tail_len(uint64_t body_length)
{
	return body_length + 4 * ((body_length + CHUNK_LEN - 1) / CHUNK_LEN);
}

static void put_field(struct buf *b, const struct record *r, enum field f)
{
	const char *at = (const char *)r + fields[f].offset;
	uint32_t u32;
	uint64_t u64;
	struct view v;

	switch (fields[f].kind) {
	case KIND_U32:
		memcpy(&u32, at, sizeof u32);
		buf_put_u32(b, u32);
		break;
	case KIND_U64:
		memcpy(&u64, at, sizeof u64);
		buf_put_u64(b, u64);
		break;
	case KIND_BLOB:
		memcpy(&v, at, sizeof v);
		buf_put_blob(b, v);
		break;
	}
}

void record_put(struct buf *b, const struct record *r)
{
	size_t start = b->len;
	uint32_t head_len, crc;

	buf_put_u16(b, (uint16_t)r->type);
	buf_put_u8(b, 0);  /* codec: stored as it is */
	buf_put_u8(b, 0);  /* key algorithm: none */
	buf_put_u32(b, 0); /* key id */
	buf_put_u32(b, 0); /* head length, below */
	buf_put_u64(b, r->body_length);
	buf_put_u32(b, 0); /* CRC, below */
	for (const uint8_t *f = layouts[r->type].fields; *f != F_END; f++)
		put_field(b, r, (enum field) * f);
	if (b->full)
		return;
	head_len = (uint32_t)(b->len - start - RECORD_HEADER_LEN);
	for (int i = 0; i < 4; i++)
		b->data[start + 8 + (size_t)i] = (char)(head_len >> (8 * i));
	crc = crc32c(0, b->data + start, RECORD_HEADER_LEN - 4);
	crc = crc32c(crc, b->data + start + RECORD_HEADER_LEN, head_len);
	for (int i = 0; i < 4; i++)
		b->data[start + 20 + (size_t)i] = (char)(crc >> (8 * i));
}

int record_header_get(const void *at, struct record_header *h)
{
	struct cursor c = cursor_of(at, RECORD_HEADER_LEN);
	uint8_t codec, algorithm;
	uint32_t key;

	h->type = cursor_u16(&c);
	codec = cursor_u8(&c);
	algorithm = cursor_u8(&c);
	key = cursor_u32(&c);
	h->head_len = cursor_u32(&c);
	h->body_length = cursor_u64(&c);
	h->crc = cursor_u32(&c);
	if (h->type == 0 || h->type >= RECORD_TYPES || codec != 0 || algorithm != 0 || key != 0)
		return -1;
	if (h->head_len > RECORD_HEAD_MAX || h->body_length > STORE_BODY_MAX)
		return -1;
	return h->type == RECORD_BODY || h->body_length == 0 ? 0 : -1;
}

static void get_field(struct cursor *c, struct record *r, enum field f)
{
	char *at = (char *)r + fields[f].offset;
	uint32_t u32;
	uint64_t u64;
	struct view v;

	switch (fields[f].kind) {
	case KIND_U32:
		u32 = cursor_u32(c);
		memcpy(at, &u32, sizeof u32);
		break;
	case KIND_U64:
		u64 = cursor_u64(c);
		memcpy(at, &u64, sizeof u64);
		break;
	case KIND_BLOB:
		v = cursor_blob(c, fields[f].max);
		memcpy(at, &v, sizeof v);
		break;
	}
}

int record_get(const void *at, size_t len, struct record *r)
{
	struct record_header h;
	struct cursor c;
	uint32_t crc;

	memset(r, 0, sizeof *r);
	if (len < RECORD_HEADER_LEN || record_header_get(at, &h) == -1 || len - RECORD_HEADER_LEN != h.head_len)
		return -1;
	crc = crc32c(0, at, RECORD_HEADER_LEN - 4);
	if (crc32c(crc, (const char *)at + RECORD_HEADER_LEN, h.head_len) != h.crc)
		return -1;
	r->type = (enum record_type)h.type;
	r->body_length = h.body_length;
	c = cursor_of((const char *)at + RECORD_HEADER_LEN, h.head_len);
	for (const uint8_t *f = layouts[h.type].fields; *f != F_END; f++)
		get_field(&c, r, (enum field) * f);
	return cursor_done(&c) && ranges_ok(r->ranges) ? 0 : -1;
}

size_t ranges_count(struct view ranges)
{
	return ranges.len / 8;
}

struct uid_range ranges_at(struct view ranges, size_t i)
{
	struct cursor c = cursor_of(ranges.ptr + i * 8, 8);
	struct uid_range r;

	r.first = cursor_u32(&c);
	r.last = cursor_u32(&c);
	return r;
}

bool ranges_ok(struct view ranges)
{
	uint64_t floor = 0;

	if (ranges.len % 8 != 0)
		return false;
	for (size_t i = 0; i < ranges_count(ranges); i++) {
		struct uid_range r = ranges_at(ranges, i);
		if (r.first <= floor || r.last < r.first)
			return false;
		floor = r.last;
	}
	return true;
}

void ranges_put(struct buf *b, struct uid_range r)
{
	buf_put_u32(b, r.first);
	buf_put_u32(b, r.last);
}

void ranges_add(struct buf *b, uint32_t uid)
{
	if (b->len >= 8) {
		struct uid_range r = ranges_at(buf_view(b), b->len / 8 - 1);
		if (r.last + 1 == uid) {
			b->len -= 8;
			ranges_put(b, (struct uid_range){ r.first, uid });
			return;
		}
	}
	ranges_put(b, (struct uid_range){ uid, uid });
}
