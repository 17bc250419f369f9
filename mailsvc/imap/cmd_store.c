/*
 * STORE and UID STORE.  Store makes the change; then, unless .SILENT, a job reports the flags of every message that was
 * named, changed or not, as it now is.  Changes of this command are noted as our own, so that they are not told twice.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "slices.h"

struct store_args {
	enum flags_mode mode;
	bool silent, uid;
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
	bool with_uid;
	struct imap_session *session;
};

static void report_free(void *state)
{
	struct report *r = state;

	free(r->ranges);
	free(r->changed);
	free(r);
}

static bool report_row(void *arg, const struct message_row *row)
{
	struct report *r = arg;

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
	imap_note_own(s, r->modseq, r->changed, r->changed_count);
	imap_finish(s, "OK STORE completed.");
	return true;
}

static uint32_t send_flags(
    struct imap_session *s, struct slices *x, const struct uid_range *ranges, size_t count, store_fn fn, void *arg)
{
	const struct store_args *a = x->arg;

	return store_flags(
	    imap_store(s), s->mailbox->id, a->mode, a->flags, a->keywords, a->keyword_count, ranges, count, fn, arg);
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
	if (a->silent) {
		imap_note_silent(s, x->modseqs, x->modseq_count);
		imap_finish(s, "OK STORE completed.");
		return;
	}
	job.state = r = xcalloc(1, sizeof(*r));
	r->session = s;
	r->with_uid = a->uid;
	r->modseq = x->modseq;
	r->ranges = x->ranges;
	r->count = x->count;
	r->changed = x->source;
	r->changed_count = x->source_count;
	x->ranges = x->source = NULL;
	imap_start_job(s, &job);
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
	bool silent;

	if (!imap_parse_sp(p) || !imap_parse_uids(s, p, uid, &ranges, &count))
		return IMAP_BAD;
	if (!imap_parse_sp(p) || !parse_item(p, &mode, &silent) || !imap_parse_sp(p) ||
	    !imap_parse_flags(p, true, &flags)) {
		free(ranges);
		return IMAP_BAD;
	}
	if (!imap_parse_end(p)) {
		imap_flags_free(&flags);
		free(ranges);
		return IMAP_BAD;
	}
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
	return slices_start(s, ranges, count, send_flags, on_stored, a);
}
