/*
 * FETCH and UID FETCH, as a job in steps: keep of the ranges what changed (CHANGEDSINCE, RFC 7162), look for unread
 * messages where reading marks them (without PEEK, in a mailbox open for writing), have store mark them, send.
 *
 * Replies gather in one buffer that goes to the connection in pieces of about FLUSH bytes.  A slice ends when the
 * output is at its mark, or after SLICE_MS; a snapshot lives within a slice.  Short contents are read straight into the
 * buffer; long ones are noted as pieces and streamed into the connection's own memory, over as many slices as it takes,
 * from a reference that is renewed when it gets old.  Messages that went meanwhile are passed over; one that cannot be
 * read is left out, and the command ends with NO; one that fails in the middle of its literal ends the session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/imap/fetch.h"
#include "mailsvc/imap/imap.h"
#include "mailsvc/imap/process.h"

#define FLUSH (64 * 1024)
#define INLINE_MAX (32 * 1024) /* longer contents are streamed */
#define STREAM (128 * 1024)    /* bytes of a read; bodies have a checksum per CHUNK */
#define CHUNK (64 * 1024)
#define REPLY_MAX (16u << 20) /* what one message's reply may take in memory, beside streamed contents */
#define SLICE_MS 20
#define LOOK_ROWS 128 /* rows between two looks at the clock */
#define REF_MS 20000  /* then a body's place is looked up again */

struct piece { /* body bytes that go between out[..at] and out[at..] */
	size_t at;
	uint64_t offset, left;
};

enum step { STEP_CHANGES, STEP_LOOK, STEP_MARK, STEP_SEND };

struct fetch {
	struct imap_session *session;
	struct fetch_items items;
	enum step step;
	const char *finish;       /* the tagged line of success */
	struct uid_range *known; /* VANISHED: as asked for, whether they exist or not */
	size_t known_count;
	struct uid_range *ranges; /* what is asked for */
	size_t count, at;
	uint32_t uid; /* next to look at in ranges[at]; 0: its first */
	/* Unread messages, then those that were marked by us. */
	struct uid_range *unread;
	size_t unread_count, unread_cap, unread_sent;
	struct uid_range *marked;
	size_t marked_count;
	uint64_t modseq;

	struct buf out, scratch;
	struct fetch_source source; /* the message that is being rendered */
	struct piece pieces[FETCH_ITEMS_MAX];
	size_t piece_count, piece, sent; /* sent: of out, while streaming */
	uint64_t body, ref_ms;
	struct body_ref ref; /* of the message that is being streamed or rendered */
	bool failed;         /* a message could not be read */
	unsigned rows;
	uint64_t slice_end; /* clock_mono_ms */
	struct {            /* what FLAGS is without keywords and \Recent */
		uint8_t len;
		char text[63];
	} flag_text[32];
};

static void fetch_free(void *state)
{
	struct fetch *f = state;

	fetch_items_free(&f->items);
	free(f->known);
	free(f->ranges);
	free(f->unread);
	free(f->marked);
	buf_free(&f->out);
	buf_free(&f->scratch);
	fetch_source_free(&f->source);
	free(f);
}

/* Walking ------------------------------------------------------------------------------------------------------- */

static bool slice_over(struct fetch *f)
{
	return ++f->rows % LOOK_ROWS == 0 && clock_mono_ms() >= f->slice_end;
}

/* Goes on through the ranges; fn sets f->uid and returns false to stop. True: all have been seen. */
static bool walk(struct fetch *f, bool (*fn)(void *, const struct message_row *))
{
	struct imap_session *s = f->session;

	while (f->at < f->count) {
		uint32_t first = f->uid != 0 ? f->uid : f->ranges[f->at].first, last = f->ranges[f->at].last;
		bool stopped = false;

		if (first <= last) {
			f->uid = 0;
			view_messages(imap_view(s), s->mailbox->id, first, last, fn, f);
			stopped = f->uid != 0;
		}
		if (stopped && f->uid <= last)
			return false;
		f->at++;
		f->uid = 0;
		if (stopped)
			return f->at == f->count;
	}
	return true;
}

/* What is to be marked as seen ---------------------------------------------------------------------------------- */

static bool look_row(void *arg, const struct message_row *row)
{
	struct fetch *f = arg;

	if (!(row->flags & FLAG_SEEN)) {
		struct uid_range *last = f->unread_count > 0 ? &f->unread[f->unread_count - 1] : NULL;

		if (last && last->last + 1 == row->uid) {
			last->last++;
		} else {
			if (f->unread_count == f->unread_cap) {
				f->unread_cap = f->unread_cap * 2 + 16;
				f->unread = xreallocarray(f->unread, f->unread_cap, sizeof(*f->unread));
			}
			f->unread[f->unread_count++] = (struct uid_range){ row->uid, row->uid };
		}
	}
	if (!slice_over(f))
		return true;
	f->uid = row->uid + 1;
	return false;
}

static void on_marked(void *arg, const struct store_result *r)
{
	struct imap_session *s = arg;
	struct fetch *f = s->job.state;

	if (r->status == STORE_OK && r->source_count > 0) {
		f->marked = xreallocarray(f->marked, f->marked_count + r->source_count, sizeof(*f->marked));
		memcpy(f->marked + f->marked_count, r->source, r->source_count * sizeof(*f->marked));
		f->marked_count += r->source_count;
		f->modseq = r->modseq;
	}
	imap_resume_job(s);
}

static void mark_slice(struct fetch *f)
{
	struct imap_session *s = f->session;
	size_t n = f->unread_count - f->unread_sent;

	if (n > STORE_RANGES_MAX)
		n = STORE_RANGES_MAX;
	f->unread_sent += n;
	s->pending = store_flags(imap_store(s), s->mailbox->id, FLAGS_ADD, FLAG_SEEN, NULL, 0,
	    f->unread + f->unread_sent - n, n, on_marked, s);
}

/* Rendering ------------------------------------------------------------------------------------------------------ */

static void put_number(struct buf *out, uint64_t n)
{
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	buf_add(out, digits + i, sizeof(digits) - i);
}

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

static void put_flags(struct fetch *f, const struct message_row *row)
{
	const struct imap_session *s = f->session;
	unsigned n = row->flags & FLAGS_SETTABLE;

	if (row->keywords != 0 || (s->mailbox->recent.count > 0 && imap_is_recent(s, row->uid)))
		imap_put_flags(s, row, &f->out);
	else
		buf_add(&f->out, f->flag_text[n].text, f->flag_text[n].len);
}

static void prepare_flag_text(struct fetch *f)
{
	for (unsigned i = 0; i < 32; i++) {
		const struct message_row row = { .flags = i };

		buf_reset(&f->scratch);
		imap_put_flags(f->session, &row, &f->scratch);
		f->flag_text[i].len = (uint8_t)f->scratch.len;
		memcpy(f->flag_text[i].text, f->scratch.data, f->scratch.len);
	}
}

static void put_modseq(struct buf *out, uint64_t modseq)
{
	buf_add(out, "MODSEQ (", 8);
	put_number(out, modseq);
	buf_addc(out, ')');
}

static int put_content(struct fetch *f, struct fetch_source *src, const struct fetch_item *item)
{
	struct fetch_content c;

	if (fetch_section_find(src, &item->section, &f->scratch, &c) != 0)
		return -1;
	buf_add(&f->out, item->label, item->label_len);
	if (!c.exists) {
		buf_add(&f->out, " NIL", 4);
		return 0;
	}
	buf_add(&f->out, " {", 2);
	put_number(&f->out, c.text.len + c.length);
	buf_add(&f->out, "}\r\n", 3);
	buf_addv(&f->out, c.text);
	if (c.length <= INLINE_MAX)
		return fetch_source_read(src, c.offset, c.length, &f->out);
	f->pieces[f->piece_count++] = (struct piece){ f->out.len, c.offset, c.length };
	return 0;
}

static int put_item(
    struct fetch *f, struct fetch_source *src, const struct message_row *row, const struct fetch_item *item)
{
	struct buf *out = &f->out;

	switch (item->kind) {
	case FETCH_UID:
		buf_add(out, "UID ", 4);
		put_number(out, row->uid);
		return 0;
	case FETCH_FLAGS:
		buf_add(out, "FLAGS ", 6);
		put_flags(f, row);
		return 0;
	case FETCH_INTERNALDATE:
		buf_add(out, "INTERNALDATE ", 13);
		put_date(out, row->internal_date);
		return 0;
	case FETCH_SIZE:
		buf_add(out, "RFC822.SIZE ", 12);
		put_number(out, row->size);
		return 0;
	case FETCH_MODSEQ:
		put_modseq(out, row->modseq);
		return 0;
	case FETCH_CONTENT:
		return put_content(f, src, item);
	case FETCH_ENVELOPE:
	case FETCH_BODY:
	case FETCH_BODYSTRUCTURE:
		break;
	}
	if (fetch_source_record(src) != 0)
		return -1;
	if (item->kind == FETCH_ENVELOPE) {
		buf_add(out, "ENVELOPE ", 9);
		buf_addv(out, src->record.envelope);
	} else if (item->kind == FETCH_BODYSTRUCTURE) {
		buf_add(out, "BODYSTRUCTURE ", 14);
		buf_addv(out, src->record.bodystructure);
	} else {
		buf_add(out, "BODY ", 5);
		mime_body_from_bodystructure(src->record.bodystructure, out);
	}
	return 0;
}

static int read_body(void *arg, uint64_t offset, void *dst, size_t length)
{
	struct fetch *f = arg;

	return view_body_read(imap_view(f->session), &f->ref, offset, dst, length);
}

static int put_message(struct fetch *f, const struct message_row *row, uint32_t seq)
{
	struct fetch_source *src = &f->source;
	int rc = 0;

	if (f->items.body) {
		if (view_body(imap_view(f->session), row->body, &f->ref) != 1)
			return -1;
		f->body = row->body;
		f->ref_ms = clock_mono_ms();
		fetch_source_free(src); /* of the message before */
		src->prefix = row->prefix;
		src->length = f->ref.length;
		src->mime = f->ref.mime;
	}
	buf_add(&f->out, "* ", 2);
	put_number(&f->out, seq);
	buf_add(&f->out, " FETCH (", 8);
	if (!f->items.flags && uid_ranges_have(f->marked, f->marked_count, row->uid)) {
		buf_add(&f->out, "FLAGS ", 6);
		put_flags(f, row);
		buf_addc(&f->out, ' ');
		if ((f->session->enabled & ENABLED_CONDSTORE) && !f->items.modseq) {
			put_modseq(&f->out, row->modseq);
			buf_addc(&f->out, ' ');
		}
	}
	for (size_t i = 0; i < f->items.count && rc == 0; i++) {
		if (i > 0)
			buf_addc(&f->out, ' ');
		rc = put_item(f, src, row, &f->items.at[i]);
	}
	buf_add(&f->out, ")\r\n", 3);
	return f->out.full ? -1 : rc;
}

/* Sending -------------------------------------------------------------------------------------------------------- */

static void flush(struct fetch *f)
{
	if (f->out.len > 0)
		evbuffer_add(conn_output(f->session->conn), f->out.data, f->out.len);
	buf_reset(&f->out);
}

static bool send_row(void *arg, const struct message_row *row)
{
	struct fetch *f = arg;
	size_t start = f->out.len;
	uint32_t seq = uidmap_seq(&f->session->mailbox->map, row->uid);

	if (seq == 0)
		return true;
	if (put_message(f, row, seq) != 0) {
		log_warnx("imap: cannot read a message: mailbox=%u uid=%u", f->session->mailbox->id, row->uid);
		f->out.len = start;
		f->out.full = false;
		f->piece_count = 0;
		f->failed = true;
	}
	bool full = false;
	if (f->piece_count == 0 && f->out.len >= FLUSH) {
		flush(f);
		full = imap_output_full(f->session);
	}
	if (f->piece_count == 0 && !full && !slice_over(f))
		return true;
	f->uid = row->uid + 1;
	return false;
}

/* A body's place holds for a minute; a slow reader's is looked up again, so that compaction cannot take it away. */
static void renew_ref(struct fetch *f)
{
	struct store_view *view = imap_view(f->session);
	struct body_ref ref;

	if (clock_mono_ms() - f->ref_ms < REF_MS || view_begin(view) != 0)
		return;
	if (view_body(view, f->body, &ref) == 1 && ref.length == f->ref.length) {
		f->ref = ref;
		f->ref_ms = clock_mono_ms();
	}
	view_end(view);
}

/* Some of a piece straight into the connection's memory. */
static int stream_some(struct fetch *f, struct piece *p)
{
	struct evbuffer *to = conn_output(f->session->conn);
	struct evbuffer_iovec vec;
	uint64_t n = STREAM - p->offset % CHUNK;

	if (n > p->left)
		n = p->left;
	if (evbuffer_reserve_space(to, (ev_ssize_t)n, &vec, 1) != 1)
		fatalx("out of memory");
	if (view_body_read(imap_view(f->session), &f->ref, p->offset, vec.iov_base, (size_t)n) != 0)
		return -1;
	vec.iov_len = (size_t)n;
	evbuffer_commit_space(to, &vec, 1);
	p->offset += n;
	p->left -= n;
	return 0;
}

/* 1: the message is out; 0: the output is full; -1: its bytes cannot be read. */
static int stream(struct fetch *f)
{
	struct imap_session *s = f->session;

	renew_ref(f);
	for (; f->piece < f->piece_count; f->piece++) {
		struct piece *p = &f->pieces[f->piece];

		evbuffer_add(conn_output(s->conn), f->out.data + f->sent, p->at - f->sent);
		f->sent = p->at;
		while (p->left > 0) {
			if (imap_output_full(s))
				return 0;
			if (stream_some(f, p) != 0)
				return -1;
		}
	}
	evbuffer_add(conn_output(s->conn), f->out.data + f->sent, f->out.len - f->sent);
	buf_reset(&f->out);
	f->piece_count = f->piece = f->sent = 0;
	return 1;
}

/* Finishes the message that is on its way: 1 there is none left, 0 come again, -1 the session is closed. */
static int stream_rest(struct fetch *f)
{
	int status = f->piece_count > 0 ? stream(f) : 1;

	if (status < 0) {
		log_warn(
		    "imap: cannot read a message in the middle of its literal: mailbox=%u", f->session->mailbox->id);
		imap_close(f->session, NULL, "read error");
	}
	return status;
}

static bool send_slice(struct fetch *f)
{
	struct imap_session *s = f->session;
	bool all;
	int status = stream_rest(f);

	if (status <= 0)
		return status < 0;
	if (imap_snapshot(s) != 0)
		return true;
	if (f->flag_text[0].len == 0)
		prepare_flag_text(f);
	all = walk(f, send_row);
	view_end(imap_view(s));
	if (f->piece_count == 0)
		flush(f);
	status = stream_rest(f);
	if (status <= 0 || !all)
		return status < 0;
	if (f->marked_count > 0)
		imap_note_own(s, f->modseq, f->marked, f->marked_count);
	if (f->failed)
		imap_finish(s, "NO [SERVERBUG] Some messages could not be read.");
	else
		imap_finish(s, "%s", f->finish);
	return true;
}

static bool changes_slice(struct fetch *f)
{
	struct imap_session *s = f->session;
	struct uid_range *changed;
	size_t count;

	if (imap_snapshot(s) != 0)
		return true;
	if (f->items.vanished)
		imap_send_vanished(s, f->items.since, f->known, f->known_count);
	imap_changed_since(s, f->items.since, f->ranges, f->count, &changed, &count);
	view_end(imap_view(s));
	free(f->ranges);
	f->ranges = changed;
	f->count = count;
	f->step = f->items.sets_seen && !s->mailbox->read_only ? STEP_LOOK : STEP_SEND;
	return false;
}

static bool look_slice(struct fetch *f)
{
	struct imap_session *s = f->session;

	if (imap_snapshot(s) != 0)
		return true;
	if (walk(f, look_row)) {
		f->step = STEP_MARK;
		f->at = 0;
		f->uid = 0;
	}
	view_end(imap_view(s));
	return false;
}

static bool fetch_run(struct imap_session *s, void *state)
{
	struct fetch *f = state;

	(void)s;
	f->slice_end = clock_mono_ms() + SLICE_MS;
	if (f->step == STEP_CHANGES)
		return changes_slice(f);
	if (f->step == STEP_LOOK)
		return look_slice(f);
	if (f->step == STEP_MARK && f->unread_sent < f->unread_count) {
		mark_slice(f);
		return false;
	}
	f->step = STEP_SEND;
	return send_slice(f);
}

static struct fetch *fetch_new(struct imap_session *s)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->session = s;
	f->source.read = read_body;
	f->source.arg = f;
	f->out.max = REPLY_MAX;
	f->scratch.max = FETCH_HEADER_MAX + STORE_INLINE_MAX;
	f->finish = "OK FETCH completed.";
	return f;
}

/* The set as messages, and as it stands. */
static bool parse_set(struct fetch *f, struct imap_parser *p, bool uid)
{
	struct imap_set set;
	bool fine;

	if (!imap_parse_sp(p) || !imap_parse_set(p, &set))
		return false;
	fine = imap_resolve_set(f->session, p, &set, uid, &f->ranges, &f->count);
	if (fine && uid)
		imap_set_to_uids(&set, &f->known, &f->known_count);
	imap_set_free(&set);
	return fine && imap_parse_sp(p);
}

int imap_cmd_fetch(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct fetch *f = fetch_new(s);
	struct imap_job job = { fetch_run, fetch_free, f };

	if (!parse_set(f, p, uid) || !fetch_items_parse(p, uid, &f->items) || !imap_parse_end(p) ||
	    (f->items.vanished && !(s->enabled & ENABLED_QRESYNC) && !imap_fail(p, "QRESYNC has not been enabled."))) {
		fetch_free(f);
		return IMAP_BAD;
	}
	if (f->items.modseq)
		s->enabled |= ENABLED_CONDSTORE;
	if (f->items.since_given)
		f->step = STEP_CHANGES;
	else
		f->step = f->items.sets_seen && !s->mailbox->read_only ? STEP_LOOK : STEP_SEND;
	imap_start_job(s, &job);
	return IMAP_WAIT;
}

void imap_start_resync(
    struct imap_session *s, uint64_t since, struct uid_range *known, size_t known_count, const char *finish)
{
	struct fetch *f = fetch_new(s);
	struct imap_job job = { fetch_run, fetch_free, f };

	f->items = fetch_items_resync(since);
	f->finish = finish;
	f->known = known;
	f->known_count = known_count;
	f->count = 1;
	f->ranges = xmalloc(sizeof(*f->ranges));
	*f->ranges = (struct uid_range){ 1, UINT32_MAX };
	f->step = STEP_CHANGES;
	imap_start_job(s, &job);
}
