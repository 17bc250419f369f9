/*
 * FETCH and UID FETCH, as a job in steps: keep of the ranges what changed (CHANGEDSINCE, RFC 7162), look for unread
 * messages where reading marks them (without PEEK, in a mailbox open for writing), have store mark them, send.
 *
 * Replies (fetch_reply.h) gather and go to the connection in pieces of about FETCH_FLUSH bytes.  A slice ends when the output
 * is at its mark, or after SLICE_MS; a snapshot lives within a slice.  Messages that went meanwhile are passed over; one
 * that cannot be read is left out, and the command ends with NO; one that fails in the middle of its literal ends the
 * session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/imap/fetch_reply.h"
#include "mailsvc/imap/imap.h"
#include "mailsvc/imap/namespace.h"
#include "mailsvc/imap/process.h"

#define SLICE_MS 20
#define LOOK_ROWS 128 /* rows between two looks at the clock */

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

	struct fetch_reply reply;
	bool failed, unknown_encoding; /* a message could not be read, a part of one not be decoded */
	unsigned rows;
	uint64_t slice_end; /* clock_mono_ms */
};

static void fetch_free(void *state)
{
	struct fetch *f = state;

	fetch_items_free(&f->items);
	free(f->known);
	free(f->ranges);
	free(f->unread);
	free(f->marked);
	fetch_reply_free(&f->reply);
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

/* Sending -------------------------------------------------------------------------------------------------------- */

static bool send_row(void *arg, const struct message_row *row)
{
	struct fetch *f = arg;
	struct fetch_reply *r = &f->reply;
	uint32_t seq = uidmap_seq(&f->session->mailbox->map, row->uid);
	bool full = false;
	int rc;

	if (seq == 0)
		return true;
	rc = fetch_reply_put(r, row, seq);
	if (rc > 0) {
		f->uid = row->uid;
		return false;
	}
	f->unknown_encoding |= rc == -2;
	if (rc == -1) {
		log_warnx("imap: cannot read a message: mailbox=%u uid=%u", f->session->mailbox->id, row->uid);
		f->failed = true;
	}
	if (r->piece_count == 0 && r->out.len >= FETCH_FLUSH) {
		fetch_reply_flush(r);
		full = imap_output_full(f->session);
	}
	if (r->piece_count == 0 && !full && !slice_over(f))
		return true;
	f->uid = row->uid + 1;
	return false;
}

/* Finishes the message that is on its way: 1 there is none left, 0 come again, -1 the session is closed. */
static int stream_rest(struct fetch *f)
{
	int status = f->reply.piece_count > 0 ? fetch_reply_stream(&f->reply) : 1;

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
	f->reply.marked = f->marked;
	f->reply.marked_count = f->marked_count;
	all = walk(f, send_row);
	view_end(imap_view(s));
	if (f->reply.piece_count == 0)
		fetch_reply_flush(&f->reply);
	status = stream_rest(f);
	if (status <= 0 || !all)
		return status < 0;
	if (f->marked_count > 0)
		imap_note_own(s, f->modseq, f->marked, f->marked_count);
	if (f->unknown_encoding)
		imap_finish(s, "NO [UNKNOWN-CTE] A part has an encoding that is not known.");
	else if (f->failed)
		imap_finish(s, "NO [SERVERBUG] Some messages could not be read.");
	else
		imap_finish(s, "%s", f->finish);
	return true;
}

static bool sets_seen(const struct fetch *f)
{
	const struct imap_mailbox *m = f->session->mailbox;

	return f->items.sets_seen && !m->read_only && (m->rights & ACL_SEEN);
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
	f->step = sets_seen(f) ? STEP_LOOK : STEP_SEND;
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
	fetch_reply_init(&f->reply, s, &f->items);
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
		imap_enable_condstore(s);
	if (f->items.since_given)
		f->step = STEP_CHANGES;
	else
		f->step = sets_seen(f) ? STEP_LOOK : STEP_SEND;
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
