/*
 * SEARCH, SORT and THREAD with their UID forms, as a job in steps.
 *
 * Ask: the full-text index names, for each BODY and TEXT, the messages that may hold it; only those are read, and
 * without an answer all are. Fill: where every message's From, Subject and the like are to be compared, they are
 * gathered in a table first that the process keeps (order.h). Scan: messages are looked at in UID order, for SLICE_MS
 * at a time, each slice in its own snapshot; a slice may end between two parts of a large message.  What was found is
 * kept as runs of UIDs.  Only what UIDs and numbers among the keys leave is looked at, and nothing where the keys are
 * ALL. Order (SORT, THREAD): the table of sort keys is filled and ranked, in slices too (order.h). Send: in one line at
 * the end, as the client takes it: a snapshot may send lines of its own, so the reply cannot be sent as it grows.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/fts/client.h"
#include "mailsvc/imap/process.h"
#include "mailsvc/imap/search.h"
#include "mailsvc/imap/search_reply.h"
#include "mailsvc/imap/sort.h"
#include "mailsvc/imap/thread.h"

#define SLICE_MS 20
#define CHEAP_ROWS 128  /* rows between two looks at the clock when only rows are compared */
#define TABLE_SHARE 8   /* fewer hits than this part of the mailbox are sorted by themselves */
#define ASK_MAX 16      /* keys that the index is asked for */
#define THREAD_BYTES 24 /* of the reply, a message: a number, parentheses */

enum step { STEP_ASK, STEP_FILL, STEP_SCAN, STEP_ORDER, STEP_SEND };

struct search {
	struct imap_session *session;
	struct search_program program;
	struct search_message message;
	struct body_ref ref;
	enum step step;
	const struct search_key *bounds; /* a UIDS key that all must satisfy, or NULL */
	uint32_t next;                   /* UID to go on at */
	uint32_t half;                   /* the slice ended in the middle of this one, or 0 */
	uint64_t half_body;
	struct uidmap hits;
	unsigned rows;
	uint64_t slice_end;
	/* Asking */
	enum step after;       /* STEP_FILL or STEP_SCAN */
	uint32_t account, ask; /* the mailbox's owner; a request to fts, or 0 */
	uint32_t asked, key;   /* how many keys; the one to look at next */
	/* SORT and THREAD */
	unsigned folded; /* kinds to be filled */
	struct sort_criteria criteria;
	enum thread_algorithm algorithm;
	struct order_table *table;
	uint32_t *order;
	struct search_reply reply;
	struct buf text; /* of THREAD's reply */
	size_t sent;     /* of it */
};

static void search_state_free(void *state)
{
	struct search *x = state;

	if (x->ask != 0)
		fts_cancel(x->session->process->fts, x->ask);
	search_message_free(&x->message);
	search_free(&x->program);
	uidmap_free(&x->hits);
	order_release(x->table);
	free(x->order);
	buf_free(&x->text);
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

/* Ask ---------------------------------------------------------------------------------------------------------------
 */

static void on_candidates(void *arg, const struct fts_answer *a)
{
	struct search *x = arg;
	struct search_key *k = &x->program.keys[x->key++];

	x->ask = 0;
	k->indexed = a->known;
	k->upto = a->uid_upto;
	if (a->known) {
		k->bodies = xreallocarray(NULL, a->count + 1, sizeof(*k->bodies));
		memcpy(k->bodies, a->bodies, a->count * sizeof(*k->bodies));
		k->body_count = a->count;
	} else {
		x->asked = ASK_MAX; /* nor would it know the others */
	}
	imap_resume_job(x->session);
}

/* -1: the command has been finished; 0: an answer is awaited; 1: nothing is left to ask. */
static int ask(struct search *x)
{
	struct imap_session *s = x->session;
	struct mailbox_row *row;
	struct view needle;

	while (x->key < x->program.count && !search_key_indexable(&x->program.keys[x->key]))
		x->key++;
	if (x->key == x->program.count || x->asked++ >= ASK_MAX || !fts_client_ready(s->process->fts))
		return 1;
	if (x->account == 0) {
		if (imap_snapshot(s) != 0)
			return -1;
		row = xmalloc(sizeof(*row));
		if (view_mailbox(imap_view(s), s->mailbox->id, row) == 1)
			x->account = row->account;
		free(row);
		view_end(imap_view(s));
	}
	needle = buf_view(&x->program.keys[x->key].text);
	s->pending = IMAP_WAITS_ELSEWHERE;
	x->ask = fts_query(s->process->fts, x->account, s->mailbox->id, &needle, 1, on_candidates, x);
	return 0;
}

/* Scan ------------------------------------------------------------------------------------------------------------- */

static void take_hit(struct search *x, const struct message_row *row)
{
	uidmap_append(&x->hits, row->uid);
	if (x->hits.count == 1)
		x->reply.first_modseq = row->modseq;
	x->reply.last_modseq = row->modseq;
	if (row->modseq > x->reply.max_modseq)
		x->reply.max_modseq = row->modseq;
}

static bool look_row(void *arg, const struct message_row *row)
{
	struct search *x = arg;
	struct search_message *m = &x->message;
	bool costly = x->program.keys[x->program.root].cost > 1, recent = imap_is_recent(x->session, row->uid);
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
		take_hit(x, row);
	x->next = row->uid + 1;
	return (++x->rows % CHEAP_ROWS != 0 && !costly) || clock_mono_ms() < x->slice_end;
}

/* The UIDs from next on that may be looked at, as one range; false: there are none left. */
static bool next_range(const struct search *x, struct uid_range *out)
{
	uint32_t last = uidmap_last(&x->session->mailbox->map);
	size_t low = 0, high;

	*out = (struct uid_range){ x->next, last };
	if (x->bounds != NULL) {
		for (high = x->bounds->range_count; low < high;) {
			size_t middle = low + (high - low) / 2;

			if (x->bounds->ranges[middle].last < x->next)
				low = middle + 1;
			else
				high = middle;
		}
		if (low == x->bounds->range_count)
			return false;
		if (x->bounds->ranges[low].first > out->first)
			out->first = x->bounds->ranges[low].first;
		if (x->bounds->ranges[low].last < last)
			out->last = x->bounds->ranges[low].last;
	}
	return x->next != 0 && out->first <= out->last && last != 0;
}

/* A slice of it. -1: the command has been finished; 0: there is more; 1: all has been seen. */
static int scan(struct search *x)
{
	struct imap_session *s = x->session;
	struct uid_range r;
	bool more = next_range(x, &r);

	if (!more)
		return 1;
	x->slice_end = clock_mono_ms() + SLICE_MS;
	if (imap_snapshot(s) != 0)
		return -1;
	search_bind(&x->program, s->mailbox);
	x->rows = 0;
	while (more) {
		x->next = r.first;
		view_messages(imap_view(s), s->mailbox->id, r.first, r.last, look_row, x);
		if (x->half == 0 && clock_mono_ms() < x->slice_end)
			x->next = r.last + 1; /* the walk came to its end, or might as well have */
		more = x->half == 0 && clock_mono_ms() < x->slice_end && next_range(x, &r);
	}
	search_message_pause(&x->message);
	view_end(imap_view(s));
	return next_range(x, &r) ? 0 : 1;
}

/* A slice of it, as scan. */
static int fill(struct search *x)
{
	struct imap_session *s = x->session;
	bool filled;

	if (x->table == NULL)
		x->table = order_take(s, true);
	if (imap_snapshot(s) != 0)
		return -1;
	filled = order_fill(x->table, imap_view(s), &x->message, x->folded, uidmap_last(&s->mailbox->map), NULL,
	    clock_mono_ms() + SLICE_MS);
	view_end(imap_view(s));
	return filled;
}

/* Folded fields among the keys, as kinds of columns. */
static unsigned folded_kinds(const struct search_program *g)
{
	unsigned kinds = 0;

	for (uint32_t i = 0; i < g->count; i++)
		if (g->keys[i].type == SEARCH_FOLDED)
			kinds |= 1u << (ORDER_FOLDED + g->keys[i].number);
	return kinds;
}

/* What the keys leave without looking: all, or what a set names. */
static void prepare_scan(struct search *x)
{
	const struct search_program *g = &x->program;
	bool all = true, cheap = false; /* a row alone may decide */

	x->next = 1;
	for (uint32_t c = g->keys[g->root].first; c != SEARCH_NONE; c = g->keys[c].next) {
		if (g->keys[c].type == SEARCH_UIDS && x->bounds == NULL)
			x->bounds = &g->keys[c];
		all = all && g->keys[c].type == SEARCH_ALL;
		cheap = cheap || (g->keys[c].cost == 0 && g->keys[c].type != SEARCH_ALL);
	}
	x->folded = folded_kinds(g);
	x->after = x->folded != 0 && !cheap ? STEP_FILL : STEP_SCAN;
	if (x->after == STEP_SCAN && x->folded != 0)
		x->table = order_find(x->session);
	if (!all)
		return;
	for (uint32_t i = 0; i < x->session->mailbox->map.runs; i++)
		uidmap_append_run(
		    &x->hits, x->session->mailbox->map.run[i].first, x->session->mailbox->map.run[i].count);
	x->step = STEP_ORDER;
}

/* Order ------------------------------------------------------------------------------------------------------------ */

/* The modseqs of the first and last in the order. */
static void edge_modseqs(struct search *x)
{
	struct imap_session *s = x->session;
	struct message_row row;

	if (view_message(imap_view(s), s->mailbox->id, x->order[0], &row) == 1)
		x->reply.first_modseq = row.modseq;
	if (view_message(imap_view(s), s->mailbox->id, x->order[x->reply.count - 1], &row) == 1)
		x->reply.last_modseq = row.modseq;
}

/* The reply of THREAD, whole: nothing of it comes before the end is known. */
static void put_threads(struct search *x)
{
	x->text.max = (size_t)THREAD_BYTES * x->hits.count + 64;
	buf_puts(&x->text, "* THREAD");
	if (x->hits.count > 0) {
		buf_addc(&x->text, ' ');
		thread_put(x->table, x->algorithm, &x->hits, x->reply.uid ? NULL : &x->session->mailbox->map, &x->text);
	}
	buf_puts(&x->text, "\r\n");
}

/* A slice of it, as scan. */
static int rank(struct search *x, unsigned kinds)
{
	struct imap_session *s = x->session;
	bool keep = x->hits.count >= s->mailbox->map.count / TABLE_SHARE, filled;
	uint64_t slice_end = clock_mono_ms() + SLICE_MS;

	if (x->table == NULL)
		x->table = order_take(s, keep);
	if (imap_snapshot(s) != 0)
		return -1;
	filled = order_fill(x->table, imap_view(s), &x->message, kinds, uidmap_last(&x->hits),
	    x->table->kept ? NULL : &x->hits, slice_end);
	view_end(imap_view(s));
	return filled && order_rank(x->table, kinds, slice_end);
}

static int order(struct search *x)
{
	struct imap_session *s = x->session;
	unsigned kinds = x->algorithm != THREAD_NONE ? thread_kinds(x->algorithm) : x->criteria.kinds;
	int status = kinds != 0 && x->hits.count > 0 ? rank(x, kinds) : 1;

	if (status != 1)
		return status;
	x->reply.count = x->hits.count;
	if (x->algorithm != THREAD_NONE)
		put_threads(x);
	if (x->criteria.count == 0 || x->hits.count == 0)
		return 1;
	x->reply.order = x->order = sort_uids(x->table, &x->criteria, &x->hits, &x->reply.count);
	if (!x->reply.modseq || x->reply.count == 0)
		return 1;
	if (imap_snapshot(s) != 0)
		return -1;
	edge_modseqs(x);
	view_end(imap_view(s));
	return 1;
}

/* The job ---------------------------------------------------------------------------------------------------------- */

static int send_text(struct search *x)
{
	struct imap_session *s = x->session;

	while (x->sent < x->text.len && !imap_output_full(s)) {
		size_t n = x->text.len - x->sent < 65536 ? x->text.len - x->sent : 65536;

		conn_writev(s->conn, (struct view){ x->text.data + x->sent, n });
		x->sent += n;
	}
	return x->sent == x->text.len;
}

/* A slice of the step that is under way. -1: the command has been finished; 0: there is more of it; 1: it is done. */
static int slice(struct search *x)
{
	switch (x->step) {
	case STEP_ASK:
		return ask(x);
	case STEP_FILL:
		return fill(x);
	case STEP_SCAN:
		x->message.table = x->table;
		return scan(x);
	case STEP_ORDER:
		return order(x);
	case STEP_SEND:
		break;
	}
	return x->algorithm != THREAD_NONE ? send_text(x) : search_reply_send(x->session, &x->reply);
}

static bool search_run(struct imap_session *s, void *state)
{
	struct search *x = state;
	int status = slice(x);

	if (status != 1)
		return status < 0;
	if (x->step != STEP_SEND) {
		x->step = x->step == STEP_ASK ? x->after : x->step + 1;
		return false;
	}
	if (x->reply.options & RETURN_SAVE)
		search_reply_save(s, &x->reply);
	imap_finish(s, "OK %s completed.", x->reply.name);
	return true;
}

/* A SAVE that says NO leaves an empty result (RFC 5182 2.1), one that says BAD the old one. */
static void forget_saved(struct imap_session *s)
{
	free(s->mailbox->saved);
	s->mailbox->saved = NULL;
	s->mailbox->saved_count = 0;
}

static int start(struct imap_session *s, struct search *x, bool parsed)
{
	struct imap_job job = { search_run, search_state_free, x };
	bool bad_charset = x->program.bad_charset;

	if ((parsed || bad_charset) && (x->reply.options & RETURN_SAVE))
		forget_saved(s);
	if (!parsed) {
		search_state_free(x);
		if (!bad_charset)
			return IMAP_BAD;
		imap_finish(s,
		    "NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252 ISO-2022-JP SHIFT_JIS GB18030 "
		    "BIG5 EUC-KR KOI8-R WINDOWS-1251)] Unknown charset.");
		return IMAP_DONE;
	}
	if (x->program.modseq)
		imap_enable_condstore(s);
	x->reply.modseq = x->program.modseq;
	prepare_scan(x);
	imap_start_job(s, &job);
	return IMAP_WAIT;
}

static struct search *search_new(struct imap_session *s, const char *name, bool uid)
{
	struct search *x = xcalloc(1, sizeof(*x));

	x->session = s;
	x->reply = (struct search_reply){ .name = name, .uid = uid, .hits = &x->hits };
	search_message_init(&x->message, open_message, x);
	return x;
}

int imap_cmd_search(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct search *x = search_new(s, "SEARCH", uid);

	bool parsed = search_return_parse(p, &x->reply.options) && search_parse(s, p, &x->program);

	if (x->reply.options == 0 && (s->enabled & ENABLED_REV2)) /* RFC 9051 6.4.4 */
		x->reply.options = RETURN_ALL;
	return start(s, x, parsed);
}

int imap_cmd_sort(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct search *x = search_new(s, "SORT", uid);

	return start(s, x,
	    search_return_parse(p, &x->reply.options) && sort_parse(p, &x->criteria) &&
		search_parse_in_charset(s, p, &x->program));
}

int imap_cmd_thread(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct search *x = search_new(s, "THREAD", uid);

	return start(s, x, thread_parse(p, &x->algorithm) && search_parse_in_charset(s, p, &x->program));
}
