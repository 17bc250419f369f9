/*
 * STORE and UID STORE.  Store makes the change; then, unless .SILENT, a job reports the flags of every message that was
 * named, changed or not, as it now is.  Changes of this command are noted as our own, so that they are not told twice.
 * With CONDSTORE (RFC 7162) what .SILENT changed is reported too, by its MODSEQ alone.
 *
 * In another's mailbox only those flags change that its rights name (RFC 4314 4); when none of those that are given does,
 * the answer is NO.  To set flags with a part of the rights is two changes: the given ones are added, then the others that
 * may be changed are taken away.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "namespace.h"
#include "slices.h"

struct change {
	enum flags_mode mode;
	uint32_t flags;
	size_t keyword_count;
	const char *keywords[KEYWORDS_MAX]; /* in store_args they point into its text */
};

struct store_args {
	bool silent, uid;
	bool conditional; /* UNCHANGEDSINCE */
	uint64_t unchanged_since;
	struct change changes[2];
	unsigned left; /* changes after the one that is on its way */
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
	const struct change *c = &a->changes[0];

	if (a->conditional)
		return store_flags_unchanged(imap_store(s), s->mailbox->id, c->mode, c->flags, c->keywords,
		    c->keyword_count, ranges, count, a->unchanged_since, fn, arg);
	return store_flags(
	    imap_store(s), s->mailbox->id, c->mode, c->flags, c->keywords, c->keyword_count, ranges, count, fn, arg);
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

static void on_stored(struct imap_session *s, struct slices *x);

/* What is in the ranges and not in the others, both sorted and disjoint; malloc'd. */
static struct uid_range *without(const struct uid_range *at, size_t count, const struct uid_range *others,
    size_t other_count, size_t *left)
{
	struct uid_range *out = xreallocarray(NULL, count + other_count + 1, sizeof(*out));
	size_t o = 0;

	*left = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t first = at[i].first;

		while (o < other_count && others[o].last < at[i].first)
			o++;
		for (size_t k = o; k < other_count && others[k].first <= at[i].last; k++) {
			if (others[k].first > first)
				out[(*left)++] = (struct uid_range){ (uint32_t)first, others[k].first - 1 };
			first = (uint64_t)others[k].last + 1;
		}
		if (first <= at[i].last)
			out[(*left)++] = (struct uid_range){ (uint32_t)first, at[i].last };
	}
	return out;
}

/* The second change, of all messages that the first was not refused for. */
static void store_rest(struct imap_session *s, struct slices *x)
{
	struct store_args *a = x->arg;
	struct uid_range *refused = x->destination, *ranges;
	size_t refused_count = x->destination_count, modseq_count = x->modseq_count, count;
	uint64_t *modseqs = x->modseqs;
	struct slices *next;

	ranges = without(x->ranges, x->count, refused, refused_count, &count);
	x->arg = NULL;
	x->destination = NULL;
	x->modseqs = NULL;
	a->changes[0] = a->changes[1];
	a->left = 0;
	a->conditional = false;
	slices_start(s, ranges, count, send_flags, on_stored, a);
	next = s->job.state;
	next->destination = refused;
	next->destination_count = refused_count;
	next->modseqs = modseqs;
	next->modseq_count = modseq_count;
}

static void on_stored(struct imap_session *s, struct slices *x)
{
	const struct store_args *a = x->arg;
	struct imap_job job = { report_run, report_free, NULL };
	struct report *r;

	s->landing_modseq = x->modseq;
	if (x->status == STORE_OK && a->left > 0) {
		store_rest(s, x);
		return;
	}
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

/* The part of a change that the rights allow; false: something was named, and none of it may be done. */
static bool allowed(uint32_t rights, struct change *c)
{
	bool named = c->flags != 0 || c->keyword_count > 0;

	c->flags = namespace_flags(rights, c->flags);
	if (!(rights & ACL_WRITE))
		c->keyword_count = 0;
	return !named || c->flags != 0 || c->keyword_count > 0;
}

static bool names(const struct change *c, const char *keyword)
{
	for (size_t i = 0; i < c->keyword_count; i++)
		if (view_caseeq(view_of(keyword), c->keywords[i]))
			return true;
	return false;
}

/*
 * What is to be done: one change or two, 0 when nothing may be.  Keywords are borrowed: of f and of the mailbox.
 */
static unsigned plan_changes(
    const struct imap_mailbox *m, enum flags_mode mode, const struct imap_flags *f, struct change changes[2])
{
	const uint32_t every = ACL_SEEN | ACL_WRITE | ACL_DELETE_MESSAGES;
	struct change *c = &changes[0], *rest = &changes[1];

	*c = (struct change){ .mode = mode, .flags = f->flags, .keyword_count = f->keyword_count };
	memcpy(c->keywords, f->keywords, sizeof(c->keywords));
	if ((m->rights & every) == every)
		return 1;
	if ((m->rights & every) == 0 || (!allowed(m->rights, c) && mode != FLAGS_SET))
		return 0;
	if (mode != FLAGS_SET)
		return 1;
	c->mode = FLAGS_ADD;
	*rest = (struct change){ .mode = FLAGS_REMOVE, .flags = namespace_flags(m->rights, FLAGS_SETTABLE & ~c->flags) };
	for (unsigned i = 0; (m->rights & ACL_WRITE) && i < m->keyword_count; i++)
		if (m->keywords[i] != NULL && !names(c, m->keywords[i]))
			rest->keywords[rest->keyword_count++] = m->keywords[i];
	return 2;
}

/* Arguments that outlive the parser and the mailbox's keywords. */
static struct store_args *keep(const struct change changes[2], unsigned count)
{
	struct store_args *a;
	size_t size = 0, at = 0;

	for (unsigned n = 0; n < count; n++)
		for (size_t i = 0; i < changes[n].keyword_count; i++)
			size += strlen(changes[n].keywords[i]) + 1;
	a = xcalloc(1, sizeof(*a) + size);
	a->left = count - 1;
	for (unsigned n = 0; n < count; n++) {
		a->changes[n] = changes[n];
		for (size_t i = 0; i < changes[n].keyword_count; i++) {
			size_t len = strlen(changes[n].keywords[i]) + 1;

			a->changes[n].keywords[i] = memcpy(a->text + at, changes[n].keywords[i], len);
			at += len;
		}
	}
	return a;
}

int imap_cmd_store(struct imap_session *s, struct imap_parser *p, bool uid)
{
	struct uid_range *ranges = NULL;
	size_t count;
	struct imap_flags flags;
	struct change changes[2];
	struct store_args *a;
	enum flags_mode mode;
	bool silent, conditional;
	uint64_t since = 0;
	unsigned steps;

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
		imap_enable_condstore(s);
	steps = plan_changes(s->mailbox, mode, &flags, changes);
	a = steps > 0 && count > 0 ? keep(changes, steps) : NULL;
	imap_flags_free(&flags);
	if (a == NULL) {
		free(ranges);
		if (steps == 0)
			imap_finish(s, "NO [NOPERM] You have no right to change these flags.");
		else
			imap_finish(s, "OK No messages.");
		return IMAP_DONE;
	}
	a->silent = silent;
	a->uid = uid;
	a->conditional = conditional;
	a->unchanged_since = since;
	slices_start(s, ranges, count, send_flags, on_stored, a);
	if (a->left > 0)
		imap_may_park(s, NULL); /* a later command must not come between its two changes */
	return IMAP_WAIT;
}
