/*
 * The record: what receipt computes once and every reader uses.
 *
 * Layout, little-endian: u32 version, u64 message length, u32 parts, i64 date, i16 zone; for each part u32 parent, u16
 * number, u8 kind, u64 header, u64 body, u64 end, u32 lines; then blobs: envelope, bodystructure, subject, base
 * subject, message-id, in-reply-to, references; then (version 2) u8 whether the header ends with a blank line, and u8
 * there, blob: of the kept fields and of each folded one.  It comes from a process that strangers talk to:
 * mime_record_open takes nothing on trust but that the words are those of the message.
 */
#include <string.h>

#include "internal.h"

#define HEAD_SIZE 26
#define PART_SIZE 35
#define SUBJECT_MAX (16 * 1024)
#define REFERENCES_MAX (32 * 1024)

enum { KIND_LEAF, KIND_MULTIPART, KIND_MESSAGE };

static void put_parts(struct buf *out, const struct scan *scan)
{
	for (uint32_t i = 0; i < scan->count; i++) {
		const struct mime_part *p = &scan->parts[i].part;

		buf_put_u32(out, p->parent);
		buf_put_u16(out, p->number);
		buf_put_u8(out, p->multipart ? KIND_MULTIPART : p->rfc822 ? KIND_MESSAGE : KIND_LEAF);
		buf_put_u64(out, p->header);
		buf_put_u64(out, p->body);
		buf_put_u64(out, p->end);
		buf_put_u32(out, p->lines);
	}
}

static void put_unfolded(struct buf *out, struct view raw)
{
	struct buf flat = BUF_INIT(REFERENCES_MAX);

	if (raw.len > REFERENCES_MAX)
		raw.len = REFERENCES_MAX;
	mime_unfold(raw, &flat);
	buf_put_blob(out, buf_view(&flat));
	buf_free(&flat);
}

static void put_subject(struct buf *out, struct view raw)
{
	struct buf text = BUF_INIT(SUBJECT_MAX), base = BUF_INIT(SUBJECT_MAX);

	if (raw.len > SUBJECT_MAX)
		raw.len = SUBJECT_MAX;
	mime_decode_header(raw, &text);
	mime_base_subject(buf_view(&text), &base);
	buf_put_blob(out, buf_view(&text));
	buf_put_blob(out, buf_view(&base));
	buf_free(&text);
	buf_free(&base);
}

/* Of one text part, whatever its header says: always short. */
static void bare_bodystructure(struct buf *out, const struct mime_part *p)
{
	buf_printf(out, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" %llu %u NIL NIL NIL NIL)",
	    (unsigned long long)(p->end - p->body), p->lines);
}

/* As a blob whose length is filled in behind it. fields: the envelope; else the structure. */
static void put_rendered(
    struct buf *out, const struct mime_fields *fields, struct view message, const struct scan *scan, bool bare)
{
	size_t at = out->len;
	uint32_t len;

	buf_put_u32(out, 0);
	if (fields)
		mime_envelope(out, fields);
	else if (bare)
		bare_bodystructure(out, &scan->parts[0].part);
	else
		mime_bodystructure(out, message, scan);
	if (out->full)
		return;
	len = (uint32_t)(out->len - at - 4);
	for (int i = 0; i < 4; i++)
		out->data[at + i] = (char)(len >> 8 * i & 0xff);
}

static void encode(struct buf *out, struct view message, const struct scan *scan, bool bare)
{
	const struct mime_part *root = &scan->parts[0].part;
	struct mime_fields fields;
	int64_t date = INT64_MIN;
	int16_t zone = 0;

	mime_fields_read((struct view){ message.ptr, (size_t)root->body }, &fields);
	if (mime_parse_date(fields.value[FIELD_DATE], &date, &zone) != 0)
		date = INT64_MIN;
	buf_put_u32(out, MIME_RECORD_VERSION);
	buf_put_u64(out, message.len);
	buf_put_u32(out, scan->count);
	buf_put_u64(out, (uint64_t)date);
	buf_put_u16(out, (uint16_t)zone);
	put_parts(out, scan);
	put_rendered(out, &fields, message, scan, bare);
	put_rendered(out, NULL, message, scan, bare);
	put_subject(out, fields.value[FIELD_SUBJECT]);
	put_unfolded(out, fields.value[FIELD_MESSAGE_ID]);
	put_unfolded(out, fields.value[FIELD_IN_REPLY_TO]);
	put_unfolded(out, fields.value[FIELD_REFERENCES]);
	mime_kept_put(out, (struct view){ message.ptr, (size_t)root->body });
}

void mime_parse(struct view message, struct buf *record)
{
	struct buf out = BUF_INIT(MIME_RECORD_MAX);
	struct scan scan;

	if (message.len == 0)
		message = VIEW_LIT("");
	mime_scan(message, &scan);
	encode(&out, message, &scan, false);
	for (int bare = 0; bare < 2 && out.full;
	     bare++) { /* the limits of all that is left fit together: imap_text.c */
		mime_scan_free(&scan);
		mime_scan_opaque(message, &scan);
		buf_reset(&out);
		encode(&out, message, &scan, bare);
	}
	buf_addv(record, buf_view(&out));
	mime_scan_free(&scan);
	buf_free(&out);
}

/* Reading -------------------------------------------------------------------------------------------------- */
static void read_part(struct cursor *c, struct mime_part *p)
{
	uint8_t kind;

	p->parent = cursor_u32(c);
	p->number = cursor_u16(c);
	kind = cursor_u8(c);
	p->multipart = kind == KIND_MULTIPART;
	p->rfc822 = kind == KIND_MESSAGE;
	p->header = cursor_u64(c);
	p->body = cursor_u64(c);
	p->end = cursor_u64(c);
	p->lines = cursor_u32(c);
	if (kind > KIND_MESSAGE)
		c->bad = true;
}

static bool parts_ok(const struct mime_record *r)
{
	uint16_t children[MIME_PARTS_MAX] = { 0 };

	for (uint32_t i = 0; i < r->part_count; i++) {
		struct cursor c = cursor_of(r->blob.ptr + HEAD_SIZE + (size_t)i * PART_SIZE, PART_SIZE);
		struct mime_part p, up;

		read_part(&c, &p);
		if (c.bad || p.header > p.body || p.body > p.end || p.end > r->message_len)
			return false;
		if (i == 0) {
			if (p.parent != MIME_NONE || p.number != 1 || p.header != 0 || p.end != r->message_len)
				return false;
			continue;
		}
		if (p.parent >= i)
			return false;
		mime_record_part(r, p.parent, &up);
		if (!(up.multipart || up.rfc822) || p.header < up.body || p.end > up.end ||
		    p.number != ++children[p.parent] || (up.rfc822 && p.number != 1))
			return false;
	}
	return true;
}

/* Absent and empty are not the same here. */
static struct view read_optional(struct cursor *c)
{
	uint8_t there = cursor_u8(c);
	struct view v = cursor_blob(c, MIME_KEPT_MAX);

	if (there > 1 || (!there && v.len > 0))
		c->bad = true;
	return there ? (struct view){ v.ptr ? v.ptr : "", v.len } : VIEW_NONE;
}

static void read_kept(struct cursor *c, struct mime_record *r)
{
	uint8_t ends = cursor_u8(c);

	r->header_ends = ends == 1;
	if (ends > 1)
		c->bad = true;
	r->kept = read_optional(c);
}

/* The beginning, to behind the parts. */
static bool read_head(struct cursor *c, struct mime_record *r, uint64_t message_len, uint32_t *version)
{
	size_t size = c->left;

	*version = cursor_u32(c);
	r->message_len = cursor_u64(c);
	r->part_count = cursor_u32(c);
	r->date = (int64_t)cursor_u64(c);
	r->date_zone = (int16_t)cursor_u16(c);
	if (c->bad || size > MIME_RECORD_MAX || *version == 0 || *version > MIME_RECORD_VERSION ||
	    r->message_len != message_len || r->part_count == 0 || r->part_count > MIME_PARTS_MAX)
		return false;
	(void)cursor_bytes(c, (size_t)r->part_count * PART_SIZE);
	return true;
}

static void read_texts(struct cursor *c, struct mime_record *r)
{
	r->envelope = cursor_blob(c, MIME_RECORD_MAX);
	r->bodystructure = cursor_blob(c, MIME_RECORD_MAX);
	r->subject = cursor_blob(c, SUBJECT_MAX);
	r->base_subject = cursor_blob(c, SUBJECT_MAX);
	r->message_id = cursor_blob(c, REFERENCES_MAX);
	r->in_reply_to = cursor_blob(c, REFERENCES_MAX);
	r->references = cursor_blob(c, REFERENCES_MAX);
}

int mime_record_peek(struct mime_record *r, struct view blob, uint64_t message_len)
{
	struct cursor c = cursor_of(blob.ptr, blob.len);
	uint32_t version;

	memset(r, 0, sizeof(*r));
	r->blob = blob;
	if (!read_head(&c, r, message_len, &version))
		return -1;
	read_texts(&c, r);
	if (version > 1) {
		read_kept(&c, r);
		for (unsigned i = 0; i < MIME_FOLDED; i++)
			r->folded[i] = read_optional(&c);
	}
	return cursor_done(&c) ? 0 : -1;
}

bool mime_record_kept(struct view blob, uint64_t message_len, struct view *kept, bool *header_ends)
{
	struct cursor c = cursor_of(blob.ptr, blob.len);
	struct mime_record r;
	uint32_t version;

	if (!read_head(&c, &r, message_len, &version) || version == 1)
		return false;
	read_texts(&c, &r);
	read_kept(&c, &r);
	*kept = r.kept;
	*header_ends = r.header_ends;
	return !c.bad && r.kept.ptr != NULL;
}

int mime_record_open(struct mime_record *r, struct view blob, uint64_t message_len)
{
	if (mime_record_peek(r, blob, message_len) != 0 || !parts_ok(r) || !mime_imap_text_ok(r->envelope) ||
	    !mime_imap_text_ok(r->bodystructure) || !mime_utf8_valid(r->subject) || !mime_utf8_valid(r->base_subject))
		return -1;
	return 0;
}

void mime_record_part(const struct mime_record *r, uint32_t index, struct mime_part *out)
{
	struct cursor c = cursor_of(r->blob.ptr + HEAD_SIZE + (size_t)index * PART_SIZE, PART_SIZE);

	read_part(&c, out);
}

static int64_t child(const struct mime_record *r, uint32_t parent, uint32_t number)
{
	struct mime_part p;

	for (uint32_t i = parent + 1; i < r->part_count; i++) {
		mime_record_part(r, i, &p);
		if (p.parent == parent && p.number == number)
			return i;
	}
	return -1;
}

/*
 * Numbers count the parts of a multipart; a message that is none has one part, 1, its own body.  So each step is taken
 * from a message (the root, or the one inside a message/rfc822 part) or from a multipart that is itself a part.
 */
int64_t mime_record_find(const struct mime_record *r, const uint32_t *path, size_t path_len)
{
	int64_t at = 0;
	bool message = true;
	struct mime_part p;

	for (size_t i = 0; i < path_len; i++) {
		mime_record_part(r, (uint32_t)at, &p);
		if (i > 0 && p.rfc822) {
			at = child(r, (uint32_t)at, 1);
			if (at < 0)
				return -1;
			mime_record_part(r, (uint32_t)at, &p);
			message = true;
		}
		if (p.multipart)
			at = child(r, (uint32_t)at, path[i]);
		else if (!message || path[i] != 1)
			return -1;
		message = false;
		if (at < 0)
			return -1;
	}
	return at;
}
