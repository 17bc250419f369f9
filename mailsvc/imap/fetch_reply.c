/*
 * Rendering FETCH replies.  Short contents are read straight into the buffer; long ones become pieces, which are read
 * as the connection takes them, from a reference that is renewed when it gets old.  The size of a long part that must
 * be decoded has to be known before its first byte is sent: it is decoded twice, and the first time in slices too.
 */
#include "mailsvc/imap/fetch_reply.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/imap/objectid.h"

#define INLINE_MAX (32 * 1024) /* longer contents are streamed */
#define ROOM (FETCH_FLUSH + INLINE_MAX + 4096) /* for what gathers until it is flushed, as a rule */
#define GIVE (16 * 1024)       /* less is copied */
#define STREAM (128 * 1024)    /* bytes of a read; bodies have a checksum per CHUNK */
#define CHUNK (64 * 1024)
#define MEASURE (1024 * 1024) /* bytes that are decoded before others have their turn */
#define REPLY_MAX (16u << 20) /* what one message's reply may take in memory, beside streamed contents */
#define REF_MS 20000          /* then a body's place is looked up again */

enum { PUT_DONE = 0, PUT_AGAIN = 1, PUT_FAILED = -1, PUT_UNKNOWN = -2 };

/* Pieces of replies ---------------------------------------------------------------------------------------------- */

static void put_two(char *p, unsigned n)
{
	p[0] = (char)('0' + n / 10 % 10);
	p[1] = (char)('0' + n % 10);
}

/* "24-Nov-2026 06:45:48 +0000" in quotes. */
static void put_date(struct buf *out, int64_t when)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char text[] = "\"00-Mmm-0000 00:00:00 +0000\"";
	int64_t days = when / 86400 - (when % 86400 < 0), second = when - days * 86400;
	int64_t era, doe, yoe, doy, month, year;

	days += 719468; /* since 0000-03-01; the year begins in March */
	era = (days >= 0 ? days : days - 146096) / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	month = (5 * doy + 2) / 153;
	year = yoe + era * 400 + (month >= 10);
	put_two(text + 1, (unsigned)(doy - (153 * month + 2) / 5 + 1));
	if (text[1] == '0')
		text[1] = ' ';
	memcpy(text + 4, months + 3 * ((month + 2) % 12), 3);
	put_two(text + 8, (unsigned)(year / 100));
	put_two(text + 10, (unsigned)(year % 100));
	put_two(text + 13, (unsigned)(second / 3600));
	put_two(text + 16, (unsigned)(second / 60 % 60));
	put_two(text + 19, (unsigned)(second % 60));
	buf_add(out, text, sizeof(text) - 1);
}

static void put_flags(struct fetch_reply *r, const struct message_row *row)
{
	const struct imap_session *s = r->session;
	unsigned n = row->flags & FLAGS_SETTABLE;

	if (row->keywords != 0 || (s->mailbox->recent.count > 0 && imap_is_recent(s, row->uid)))
		imap_put_flags(s, row, &r->out);
	else
		buf_add(&r->out, r->flag_text[n].text, r->flag_text[n].len);
}

static void prepare_flag_text(struct fetch_reply *r)
{
	for (unsigned i = 0; i < 32; i++) {
		const struct message_row row = { .flags = i };

		buf_reset(&r->scratch);
		imap_put_flags(r->session, &row, &r->scratch);
		r->flag_text[i].len = (uint8_t)r->scratch.len;
		memcpy(r->flag_text[i].text, r->scratch.data, r->scratch.len);
	}
}

static void put_modseq(struct buf *out, uint64_t modseq)
{
	buf_add(out, "MODSEQ (", 8);
	buf_decimal(out, modseq);
	buf_addc(out, ')');
}

static void put_literal(struct buf *out, bool nul, uint64_t length)
{
	buf_puts(out, nul ? " ~{" : " {");
	buf_decimal(out, length);
	buf_add(out, "}\r\n", 3);
}

/* Contents -------------------------------------------------------------------------------------------------------- */

/* The item as it is stored, text and then bytes of the body; NIL when there is no such part. */
static int put_plain(struct fetch_reply *r, const struct fetch_item *item, const struct fetch_content *c)
{
	buf_add(&r->out, item->label, item->label_len);
	if (!c->exists) {
		buf_add(&r->out, " NIL", 4);
		return PUT_DONE;
	}
	put_literal(&r->out, false, c->text.len + c->length);
	buf_addv(&r->out, c->text);
	if (c->length <= INLINE_MAX)
		return fetch_source_read(&r->source, c->offset, c->length, &r->out);
	r->pieces[r->piece_count++] = (struct fetch_piece){ .at = r->out.len, .offset = c->offset, .left = c->length };
	return PUT_DONE;
}

static int put_content(struct fetch_reply *r, const struct fetch_item *item)
{
	struct fetch_content c;

	if (fetch_section_find(&r->source, &item->section, &r->scratch, &c) != 0)
		return PUT_FAILED;
	return put_plain(r, item, &c);
}

/* BINARY.SIZE */
static int put_size(struct fetch_reply *r, const struct fetch_item *item, uint64_t size)
{
	buf_add(&r->out, item->label, item->label_len);
	buf_addc(&r->out, ' ');
	buf_decimal(&r->out, size);
	return PUT_DONE;
}

/*
 * Reads up to STREAM bytes from *offset and decodes them into r->scratch; *offset and *left move on.
 */
static int decode_some(struct fetch_reply *r, struct mime_decoder *d, uint64_t *offset, uint64_t *left)
{
	uint64_t n = *left < STREAM ? *left : STREAM;
	size_t taken;

	buf_reset(&r->raw);
	buf_reset(&r->scratch);
	if (fetch_source_read(&r->source, *offset, n, &r->raw) != 0)
		return -1;
	taken = mime_decode_some(d, buf_view(&r->raw), n == *left, &r->scratch);
	*offset += taken;
	*left -= taken;
	return taken > 0 || n == 0 ? 0 : -1;
}

/* The decoded size of the part that item number i names: PUT_AGAIN when it takes more than a slice. */
static int measure(struct fetch_reply *r, const struct message_row *row, size_t i, const struct fetch_content *c)
{
	uint64_t offset, left, until;

	if (r->measured.uid != row->uid) {
		r->measured.uid = row->uid;
		r->measured.done = r->measured.at = 0;
	}
	r->measured.fresh = false;
	if (i < r->measured.done)
		return PUT_DONE;
	if (r->measured.at == 0) {
		r->measured.decoder = c->decoder;
		r->measured.size[i] = 0;
		r->measured.nul[i] = false;
	}
	offset = c->offset + r->measured.at;
	left = c->length - r->measured.at;
	until = left > MEASURE ? left - MEASURE : 0;
	while (left > until) {
		if (decode_some(r, &r->measured.decoder, &offset, &left) != 0)
			return PUT_FAILED;
		r->measured.size[i] += r->scratch.len;
		r->measured.nul[i] |= r->scratch.len > 0 && memchr(r->scratch.data, 0, r->scratch.len) != NULL;
	}
	r->measured.at = offset - c->offset;
	if (left > 0)
		return PUT_AGAIN;
	r->measured.fresh = r->measured.at <= STREAM;
	r->measured.done = i + 1;
	r->measured.at = 0;
	return PUT_DONE;
}

/* What of size bytes <origin.size> leaves. */
static void cut(const struct fetch_section *s, uint64_t size, uint64_t *skip, uint64_t *wanted)
{
	*skip = s->partial ? (s->origin < size ? s->origin : size) : 0;
	*wanted = s->partial && s->size < size - *skip ? s->size : size - *skip;
}

static int put_decoded(struct fetch_reply *r, const struct message_row *row, size_t i, const struct fetch_content *c)
{
	const struct fetch_item *item = &r->items->at[i];
	struct fetch_piece piece = { .offset = c->offset, .left = c->length, .decoder = c->decoder };
	int rc = measure(r, row, i, c);

	if (rc != PUT_DONE)
		return rc;
	if (item->kind == FETCH_BINARY_SIZE)
		return put_size(r, item, r->measured.size[i]);
	buf_add(&r->out, item->label, item->label_len);
	cut(&item->section, r->measured.size[i], &piece.skip, &piece.wanted);
	put_literal(&r->out, r->measured.nul[i], piece.wanted);
	piece.at = r->out.len;
	if (c->length > STREAM) {
		r->pieces[r->piece_count++] = piece;
		return PUT_DONE;
	}
	if (!r->measured.fresh && decode_some(r, &piece.decoder, &piece.offset, &piece.left) != 0)
		return PUT_FAILED;
	if (piece.skip + piece.wanted > r->scratch.len)
		return PUT_FAILED;
	buf_add(&r->out, r->scratch.data + piece.skip, (size_t)piece.wanted);
	return PUT_DONE;
}

static int put_binary(struct fetch_reply *r, const struct message_row *row, size_t i)
{
	const struct fetch_item *item = &r->items->at[i];
	struct fetch_content c;

	if (fetch_section_find(&r->source, &item->section, &r->scratch, &c) != 0)
		return PUT_FAILED;
	if (c.decoder.encoding == ENCODING_OTHER)
		return PUT_UNKNOWN;
	if (c.decoder.encoding != ENCODING_IDENTITY)
		return put_decoded(r, row, i, &c);
	if (item->kind == FETCH_BINARY_SIZE)
		return put_size(r, item, c.text.len + c.length);
	return put_plain(r, item, &c);
}

static int put_preview(struct fetch_reply *r)
{
	buf_reset(&r->scratch);
	if (fetch_preview(&r->source, &r->scratch) != 0)
		return PUT_FAILED;
	buf_puts(&r->out, "PREVIEW ");
	imap_put_string(&r->out, r->scratch.len > 0 ? buf_view(&r->scratch) : VIEW_LIT(""));
	return PUT_DONE;
}

/* Items ----------------------------------------------------------------------------------------------------------- */

static int put_structure(struct fetch_reply *r, enum fetch_kind kind)
{
	struct fetch_source *src = &r->source;

	if (fetch_source_record(src) != 0)
		return PUT_FAILED;
	if (kind == FETCH_ENVELOPE) {
		buf_add(&r->out, "ENVELOPE ", 9);
		buf_addv(&r->out, src->record.envelope);
	} else if (kind == FETCH_BODYSTRUCTURE) {
		buf_add(&r->out, "BODYSTRUCTURE ", 14);
		buf_addv(&r->out, src->record.bodystructure);
	} else {
		buf_add(&r->out, "BODY ", 5);
		mime_body_from_bodystructure(src->record.bodystructure, &r->out);
	}
	return PUT_DONE;
}

static int put_item(struct fetch_reply *r, const struct message_row *row, size_t i)
{
	struct buf *out = &r->out;

	switch (r->items->at[i].kind) {
	case FETCH_UID:
		buf_add(out, "UID ", 4);
		buf_decimal(out, row->uid);
		return PUT_DONE;
	case FETCH_FLAGS:
		buf_add(out, "FLAGS ", 6);
		put_flags(r, row);
		return PUT_DONE;
	case FETCH_INTERNALDATE:
		buf_add(out, "INTERNALDATE ", 13);
		put_date(out, row->internal_date);
		return PUT_DONE;
	case FETCH_SIZE:
		buf_add(out, "RFC822.SIZE ", 12);
		buf_decimal(out, row->size);
		return PUT_DONE;
	case FETCH_MODSEQ:
		put_modseq(out, row->modseq);
		return PUT_DONE;
	case FETCH_SAVEDATE:
		buf_add(out, "SAVEDATE ", 9);
		put_date(out, row->save_date);
		return PUT_DONE;
	case FETCH_EMAILID:
		buf_add(out, "EMAILID (", 9);
		objectid_put_email(out, row);
		buf_addc(out, ')');
		return PUT_DONE;
	case FETCH_THREADID:
		buf_add(out, "THREADID NIL", 12);
		return PUT_DONE;
	case FETCH_ENVELOPE:
	case FETCH_BODY:
	case FETCH_BODYSTRUCTURE:
		return put_structure(r, r->items->at[i].kind);
	case FETCH_PREVIEW:
		return put_preview(r);
	case FETCH_CONTENT:
		return put_content(r, &r->items->at[i]);
	case FETCH_BINARY:
	case FETCH_BINARY_SIZE:
		return put_binary(r, row, i);
	}
	return PUT_FAILED;
}

static int read_body(void *arg, uint64_t offset, void *dst, size_t length)
{
	struct fetch_reply *r = arg;

	return view_body_read(imap_view(r->session), &r->ref, offset, dst, length);
}

/* Messages -------------------------------------------------------------------------------------------------------- */

void fetch_reply_init(struct fetch_reply *r, struct imap_session *s, const struct fetch_items *items)
{
	memset(r, 0, sizeof(*r));
	r->session = s;
	r->items = items;
	r->source.read = read_body;
	r->source.arg = r;
	r->out.max = REPLY_MAX;
	r->raw.max = STREAM;
	r->scratch.max = FETCH_HEADER_MAX + STORE_INLINE_MAX;
}

void fetch_reply_free(struct fetch_reply *r)
{
	buf_free(&r->out);
	buf_free(&r->scratch);
	buf_free(&r->raw);
	fetch_source_free(&r->source);
}

static int open_body(struct fetch_reply *r, const struct message_row *row)
{
	struct fetch_source *src = &r->source;

	if (view_body(imap_view(r->session), row->body, &r->ref) != 1)
		return -1;
	r->body = row->body;
	fetch_source_free(src); /* of the message before */
	src->prefix = row->prefix;
	src->length = r->ref.length;
	src->mime = r->ref.mime;
	src->checked = view_body_checked(imap_view(r->session), row->body);
	return 0;
}

/* Remembers that the record which was opened has been checked. */
static void note_checked(struct fetch_reply *r, uint64_t body)
{
	if (r->source.opened && !r->source.checked && r->source.parsed.len == 0)
		view_body_set_checked(imap_view(r->session), body);
}

static int put_items(struct fetch_reply *r, const struct message_row *row, uint32_t seq)
{
	int rc = PUT_DONE;

	buf_add(&r->out, "* ", 2);
	buf_decimal(&r->out, seq);
	buf_add(&r->out, " FETCH (", 8);
	if (!r->items->flags && uid_ranges_have(r->marked, r->marked_count, row->uid)) {
		buf_add(&r->out, "FLAGS ", 6);
		put_flags(r, row);
		buf_addc(&r->out, ' ');
		if ((r->session->enabled & ENABLED_CONDSTORE) && !r->items->modseq) {
			put_modseq(&r->out, row->modseq);
			buf_addc(&r->out, ' ');
		}
	}
	for (size_t i = 0; i < r->items->count && rc == PUT_DONE; i++) {
		if (i > 0)
			buf_addc(&r->out, ' ');
		rc = put_item(r, row, i);
	}
	buf_add(&r->out, ")\r\n", 3);
	return r->out.full && rc == PUT_DONE ? PUT_FAILED : rc;
}

int fetch_reply_put(struct fetch_reply *r, const struct message_row *row, uint32_t seq)
{
	size_t start = r->out.len;
	int rc;

	if (r->flag_text[0].len == 0)
		prepare_flag_text(r);
	if (r->out.cap == 0)
		buf_reserve(&r->out, ROOM);
	if (r->items->body && open_body(r, row) != 0)
		return PUT_FAILED;
	rc = put_items(r, row, seq);
	if (r->items->body)
		note_checked(r, row->body);
	if (rc != PUT_DONE) {
		r->out.len = start;
		r->out.full = false;
		r->piece_count = 0;
	}
	if (r->piece_count > 0)
		r->ref_ms = clock_mono_ms();
	return rc;
}

/* Sending --------------------------------------------------------------------------------------------------------- */

void fetch_reply_flush(struct fetch_reply *r)
{
	if (r->out.len >= GIVE && r->out.len >= r->out.cap / 2) { /* else a slow client holds much more than it is sent */
		conn_give(r->session->conn, &r->out);
		return;
	}
	evbuffer_add(conn_output(r->session->conn), r->out.data, r->out.len);
	buf_reset(&r->out);
}

/* A body's place holds for a minute; a slow reader's is looked up again, so that compaction cannot take it away. */
static void renew_ref(struct fetch_reply *r)
{
	struct store_view *view = imap_view(r->session);
	struct body_ref ref;

	if (clock_mono_ms() - r->ref_ms < REF_MS || view_begin(view) != 0)
		return;
	if (view_body(view, r->body, &ref) == 1 && ref.length == r->ref.length) {
		r->ref = ref;
		r->ref_ms = clock_mono_ms();
	}
	view_end(view);
}

/* Some of a piece straight into the connection's memory. */
static int stream_plain(struct fetch_reply *r, struct fetch_piece *p)
{
	struct evbuffer *to = conn_output(r->session->conn);
	struct evbuffer_iovec vec;
	uint64_t n = STREAM - p->offset % CHUNK;

	if (n > p->left)
		n = p->left;
	if (evbuffer_reserve_space(to, (ev_ssize_t)n, &vec, 1) != 1)
		fatalx("out of memory");
	if (view_body_read(imap_view(r->session), &r->ref, p->offset, vec.iov_base, (size_t)n) != 0)
		return -1;
	vec.iov_len = (size_t)n;
	evbuffer_commit_space(to, &vec, 1);
	p->offset += n;
	p->left -= n;
	return 0;
}

static int stream_decoded(struct fetch_reply *r, struct fetch_piece *p)
{
	uint64_t skip, n;

	if (p->left == 0 || decode_some(r, &p->decoder, &p->offset, &p->left) != 0)
		return -1;
	skip = p->skip < r->scratch.len ? p->skip : r->scratch.len;
	n = r->scratch.len - skip < p->wanted ? r->scratch.len - skip : p->wanted;
	evbuffer_add(conn_output(r->session->conn), r->scratch.data + skip, (size_t)n);
	p->skip -= skip;
	p->wanted -= n;
	return 0;
}

static bool piece_left(const struct fetch_piece *p)
{
	return p->decoder.encoding == ENCODING_IDENTITY ? p->left > 0 : p->wanted > 0;
}

int fetch_reply_stream(struct fetch_reply *r)
{
	struct imap_session *s = r->session;

	renew_ref(r);
	for (; r->piece < r->piece_count; r->piece++) {
		struct fetch_piece *p = &r->pieces[r->piece];

		evbuffer_add(conn_output(s->conn), r->out.data + r->sent, p->at - r->sent);
		r->sent = p->at;
		while (piece_left(p)) {
			if (imap_output_full(s))
				return 0;
			if ((p->decoder.encoding == ENCODING_IDENTITY ? stream_plain(r, p) : stream_decoded(r, p)) != 0)
				return -1;
		}
	}
	evbuffer_add(conn_output(s->conn), r->out.data + r->sent, r->out.len - r->sent);
	buf_reset(&r->out);
	r->piece_count = r->piece = r->sent = 0;
	return 1;
}
