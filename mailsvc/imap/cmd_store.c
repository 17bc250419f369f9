/*
 * STORE and UID STORE.  Store makes the change; then, unless .SILENT, a job reports the flags of every message that was
 * named, changed or not, as it now is.  Changes of this command are noted as our own, so that they are not told twice.
 * With CONDSTORE (RFC 7162) what .SILENT changed is reported too, by its MODSEQ alone.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "slices.h"

struct store_args {
	enum flags_mode mode;
	bool silent, uid;
	bool conditional; /* UNCHANGEDSINCE */
	uint64_t unchanged_since;
	uint32_t flags;
	size_t keyword_count;
	const char *keywords[KEYWORDS_MAX]; /* point into text */
	char text[];
};

struct report {
	struct uid_range *ranges;
	size_t count, at;
	uint32_t uid; /* next to look at in ranges[at]; 0: its first */
	uint64_t modseq;
	struct uid_range *changed;
	size_t changed_count;
	uint64_t *steps; /* silent: of the change */
	size_t step_count;
	bool with_uid, silent;
	char *finish;
	struct imap_session *session;
};

static void report_free(void *state)
{
	struct report *r = state;

	free(r->ranges);
	free(r->changed);
	free(r->steps);
	free(r->finish);
	free(r);
}

/* "* 5 FETCH (UID 7 MODSEQ (12))" */
static void send_modseq(struct imap_session *s, const struct message_row *row)
{
	uint32_t seq = uidmap_seq(&s->mailbox->map, row->uid);

	if (seq != 0)
		conn_printf(s->conn, "* %u FETCH (UID %u MODSEQ (%llu))\r\n", seq, row->uid,
		    (unsigned long long)row->modseq);
}

static bool report_row(void *arg, const struct message_row *row)
{
	struct report *r = arg;

	if (r->silent)
		send_modseq(r->session, row);
	else
		imap_send_flags(r->session, row, r->with_uid);
	r->uid = row->uid + 1;
	return !imap_output_full(r->session);
}

static bool report_run(struct imap_session *s, void *state)
{
	struct report *r = state;

	if (imap_snapshot(s) < 0)
		return true;
	while (r->at < r->count && !imap_output_full(s)) {
		uint32_t first = r->uid != 0 ? r->uid : r->ranges[r->at].first;

		if (first <= r->ranges[r->at].last)
			view_messages(imap_view(s), s->mailbox->id, first, r->ranges[r->at].last, report_row, r);
		if (imap_output_full(s) && r->uid != 0 && r->uid <= r->ranges[r->at].last)
			break;
		r->at++;
		r->uid = 0;
	}
	view_end(imap_view(s));
	if (r->at < r->count)
		return false;
	if (r->silent)
		imap_note_silent(s, r->steps, r->step_count);
	else
		imap_note_own(s, r->modseq, r->changed, r->changed_count);
	imap_finish(s, "%s", r->finish);
	return true;
}

static uint32_t send_flags(
    struct imap_session *s, struct slices *x, const struct uid_range *ranges, size_t count, store_fn fn, void *arg)
{
	const struct store_args *a = x->arg;

	if (a->conditional)
		return store_flags_unchanged(imap_store(s), s->mailbox->id, a->mode, a->flags, a->keywords,
		    a->keyword_count, ranges, count, a->unchanged_since, fn, arg);
	return store_flags(
	    imap_store(s), s->mailbox->id, a->mode, a->flags, a->keywords, a->keyword_count, ranges, count, fn, arg);
}

/* The tagged line; [MODIFIED] names what was left alone, by the numbers that the command used. */
static char *finish_text(const struct imap_session *s, const struct slices *x)
{
	const struct store_args *a = x->arg;
	struct buf text = BUF_INIT(1u << 20);
	const char *gap = "";
	char *copy;

	if (x->destination_count == 0)
		return xstrdup("OK STORE completed.");
	buf_puts(&text, "OK [MODIFIED ");
	for (size_t i = 0; i < x->destination_count; i++) {
		uint32_t first = x->destination[i].first, last = x->destination[i].last;

		if (!a->uid) {
			first = uidmap_seq(&s->mailbox->map, first);
			last = uidmap_seq(&s->mailbox->map, last);
		}
		if (first == 0 || last == 0) /* between two of them in the map, but not in it itself */
			continue;
		buf_printf(&text, first == last ? "%s%u" : "%s%u:%u", gap, first, last);
		gap = ",";
	}
	buf_puts(&text, "] Some had been changed.");
	copy = xstrdup(buf_str(&text));
	buf_free(&text);
	return copy;
}

static void on_stored(struct imap_session *s, struct slices *x)
{
	const struct store_args *a = x->arg;
	struct imap_job job = { report_run, report_free, NULL };
	struct report *r;

	if (x->status != STORE_OK) {
		if (x->status == STORE_INVALID)
			imap_finish(s, "NO [LIMIT] The mailbox has no room for another keyword.");
		else
			imap_finish_store(s, x->status);
		return;
	}
	job.state = r = xcalloc(1, sizeof(*r));
	r->session = s;
	r->with_uid = a->uid;
	r->silent = a->silent;
	r->finish = finish_text(s, x);
	r->modseq = x->modseq;
	r->steps = x->modseqs;
	r->step_count = x->modseq_count;
	x->modseqs = NULL;
	if (!a->silent) {
		r->ranges = x->ranges;
		r->count = x->count;
		r->changed = x->source;
		r->changed_count = x->source_count;
		x->ranges = x->source = NULL;
	} else if (s->enabled & ENABLED_CONDSTORE) {
		r->ranges = x->source;
		r->count = x->source_count;
		x->source = NULL;
	}
	imap_start_job(s, &job);
}

/* "(UNCHANGEDSINCE 12) ", if it is there. */
static bool parse_modifier(struct imap_parser *p, bool *conditional, uint64_t *since)
{
	struct view word;

	*conditional = imap_accept(p, '(');
	if (!*conditional)
		return true;
	if (!imap_parse_word(p, &word) || !view_caseeq(word, "UNCHANGEDSINCE"))
		return imap_fail(p, "Unknown STORE modifier.");
	return imap_parse_since(p, true, since) && imap_parse_char(p, ')') && imap_parse_sp(p);
}

/* "+FLAGS.SILENT" */
static bool parse_item(struct imap_parser *p, enum flags_mode *mode, bool *silent)
{
	struct view word;

	*mode = imap_accept(p, '+') ? FLAGS_ADD : imap_accept(p, '-') ? FLAGS_REMOVE : FLAGS_SET;
	if (!imap_parse_word(p, &word))
		return false;
	*silent = view_caseeq(word, "FLAGS.SILENT");
	return *silent || view_caseeq(word, "FLAGS") || imap_fail(p, "Unknown STORE item.");
}

/* Arguments that outlive the parser. */
static struct store_args *keep(const struct imap_flags *f)
{
	struct store_args *a;
	size_t size = 0, at = 0;

	for (size_t i = 0; i < f->keyword_count; i++)
		size += strlen(f->keywords[i]) + 1;
	a = xmalloc(sizeof(*a) + size);
	a->flags = f->flags;
	a->keyword_count = f->keyword_count;
	for (size_t i = 0; i < f->keyword_count; i++) {
		size_t len = strlen(f->keywords[i]) + 1;

		a->keywords[i] = memcpy(a->text + at, f->keywords[i], len);
		at += len;
	}
	return a;
}

int imap_cmd_store(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct uid_range *ranges = NULL;
	size_t count;
	struct imap_flags flags;
	struct store_args *a;
	enum flags_mode mode;
	bool silent, conditional;
	uint64_t since = 0;

	if (!imap_parse_sp(p) || !imap_parse_uids(s, p, uid, &ranges, &count))
		return IMAP_BAD;
	if (!imap_parse_sp(p) || !parse_modifier(p, &conditional, &since) || !parse_item(p, &mode, &silent) || !imap_parse_sp(p) ||
	    !imap_parse_flags(p, true, &flags)) {
		free(ranges);
		return IMAP_BAD;
	}
	if (!imap_parse_end(p)) {
		imap_flags_free(&flags);
		free(ranges);
		return IMAP_BAD;
	}
	if (conditional)
		s->enabled |= ENABLED_CONDSTORE;
	if (count == 0) {
		imap_flags_free(&flags);
		imap_finish(s, "OK No messages.");
		return IMAP_DONE;
	}
	a = keep(&flags);
	imap_flags_free(&flags);
	a->mode = mode;
	a->silent = silent;
	a->uid = uid;
	a->conditional = conditional;
	a->unchanged_since = since;
	return slices_start(s, ranges, count, send_flags, on_stored, a);
}
