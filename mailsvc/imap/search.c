/*
 * SEARCH and UID SEARCH, as a job: messages are looked at in UID order, for SLICE_MS at a time, each slice in its own
 * snapshot; a slice may end between two parts of a large message.  What was found is kept as runs of UIDs and sent at
 * the end, in one line: a snapshot may send lines of its own, so the reply cannot be sent as it grows.
 */
#include <stdlib.h>

#include "lib/clock.h"
#include "mailsvc/imap/search.h"

#define SLICE_MS 20
#define CHEAP_ROWS 128 /* rows between two looks at the clock when only rows are compared */
#define REPLY_PIECE (64 * 1024)

struct search {
	struct imap_session *session;
	struct search_program program;
	struct search_message message;
	struct body_ref ref;
	bool uid, sending;
	uint32_t next; /* UID to go on at */
	uint32_t half; /* the slice ended in the middle of this one, or 0 */
	uint64_t half_body;
	uint32_t hit_run, hit_at; /* what of hits has been sent */
	struct uidmap hits;
	unsigned rows;
	uint64_t slice_end;
};

static void search_state_free(void *state)
{
	struct search *x = state;

	search_message_free(&x->message);
	search_free(&x->program);
	uidmap_free(&x->hits);
	free(x);
}

static int read_body(void *arg, uint64_t offset, void *dst, size_t length)
{
	struct search *x = arg;

	return view_body_read(imap_view(x->session), &x->ref, offset, dst, length);
}

static int open_message(struct search_message *m)
{
	struct search *x = m->arg;

	if (view_body(imap_view(x->session), m->row->body, &x->ref) != 1)
		return -1;
	m->source = (struct fetch_source){
		.prefix = m->row->prefix, .length = x->ref.length, .read = read_body, .arg = x, .mime = x->ref.mime
	};
	return 0;
}

static bool look_row(void *arg, const struct message_row *row)
{
	struct search *x = arg;
	struct search_message *m = &x->message;
	bool costly = x->program.keys[x->program.root].cost > 0, recent = imap_is_recent(x->session, row->uid);
	enum search_answer answer;

	x->next = row->uid;
	if (x->half == row->uid && x->half_body == row->body)
		search_message_resume(m, row, recent);
	else
		search_message_reset(m, row, recent);
	x->half = 0;
	answer = uidmap_seq(&x->session->mailbox->map, row->uid) != 0 ? search_match(&x->program, m) : SEARCH_NO;
	if (answer == SEARCH_LATER) {
		do
			search_look(&x->program, m);
		while (!m->text_done && clock_mono_ms() < x->slice_end);
		if (!m->text_done) {
			x->half = row->uid;
			x->half_body = row->body;
			return false;
		}
		answer = search_match(&x->program, m);
	}
	if (answer == SEARCH_YES)
		uidmap_append(&x->hits, row->uid);
	x->next = row->uid + 1;
	return (++x->rows % CHEAP_ROWS != 0 && !costly) || clock_mono_ms() < x->slice_end;
}

/* The next of the hits' UIDs, or 0. */
static uint32_t next_hit(struct search *x)
{
	const struct uid_run *run;

	if (x->hit_run == x->hits.runs)
		return 0;
	run = &x->hits.run[x->hit_run];
	if (x->hit_at == run->count) {
		x->hit_run++;
		x->hit_at = 0;
		return next_hit(x);
	}
	return run->first + x->hit_at++;
}

static void put_hit(struct buf *out, uint32_t n)
{
	char digits[11];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	digits[--i] = ' ';
	buf_add(out, digits + i, sizeof(digits) - i);
}

/* Sends until the output is at its mark; true when the line is complete. */
static bool send_hits(struct search *x)
{
	struct imap_session *s = x->session;
	struct buf out = BUF_INIT(REPLY_PIECE + 64);
	uint32_t uid = 0;

	if (!x->sending)
		buf_puts(&out, "* SEARCH");
	x->sending = true;
	while (!imap_output_full(s) && (uid = next_hit(x)) != 0) {
		put_hit(&out, x->uid ? uid : uidmap_seq(&s->mailbox->map, uid));
		if (out.len >= REPLY_PIECE) {
			conn_writev(s->conn, buf_view(&out));
			buf_reset(&out);
		}
	}
	if (uid == 0 && x->hit_run == x->hits.runs)
		buf_puts(&out, "\r\n");
	conn_writev(s->conn, buf_view(&out));
	buf_free(&out);
	return uid == 0 && x->hit_run == x->hits.runs;
}

static bool search_run(struct imap_session *s, void *state)
{
	struct search *x = state;
	uint32_t last = uidmap_last(&s->mailbox->map);

	if (!x->sending && x->next <= last && last != 0) {
		x->slice_end = clock_mono_ms() + SLICE_MS;
		if (imap_snapshot(s) != 0)
			return true;
		search_bind(&x->program, s->mailbox);
		x->rows = 0;
		if (view_messages(imap_view(s), s->mailbox->id, x->next, last, look_row, x) == 0)
			x->next = last + 1;
		search_message_pause(&x->message);
		view_end(imap_view(s));
		if (x->next <= last && x->next != 0)
			return false;
	}
	if (!send_hits(x))
		return false;
	imap_finish(s, "OK SEARCH completed.");
	return true;
}

int imap_cmd_search(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct search *x = xcalloc(1, sizeof(*x));
	struct imap_job job = { search_run, search_state_free, x };
	bool bad_charset;

	x->session = s;
	x->uid = uid;
	x->next = 1;
	search_message_init(&x->message, open_message, x);
	if (!search_parse(s, p, &x->program)) {
		bad_charset = x->program.bad_charset;
		search_state_free(x);
		if (!bad_charset)
			return IMAP_BAD;
		imap_finish(s,
		    "NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252 ISO-2022-JP SHIFT_JIS GB18030 "
		    "BIG5 EUC-KR KOI8-R WINDOWS-1251)] Unknown charset.");
		return IMAP_DONE;
	}
	imap_start_job(s, &job);
	return IMAP_WAIT;
}
