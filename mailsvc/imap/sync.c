/*
 * Keeping what the client knows of its selected mailbox in step with the store.
 *
 * The client's sequence numbers live in mailbox->map, which changes only together with the untagged EXPUNGE and EXISTS
 * that tell the client.  Two marks say how far the mailbox's change log has been reported: `modseq` for messages and
 * flags, `expunge_modseq` for expunges, which RFC 3501 7.4.1 forbids during FETCH, STORE and SEARCH.  EXPUNGE goes
 * out from the highest UID down, so that each number is right without moving the others.
 *
 * A synchronisation goes in slices of about SYNC_ROWS changes in the order of the log: the marks move with each, so
 * that a slow reader costs a slice of memory and a long log does not hold the others up.  Store forgets the oldest
 * expunges; a session that is further behind finds them by comparing the map with the rows, in slices too.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "process.h"

#define SYNC_ROWS 2000    /* changes a slice reports; then it ends with the change (modseq) it is in */
#define SYNC_VISITS 20000 /* entries a slice looks at */
#define SYNC_GONE 20000   /* expunges of one change (a MOVE of a million is one) that go at once */

struct sync {
	struct imap_session *session;
	bool expunge;
	uint64_t until;  /* what is newer waits */
	bool more;       /* the slice ended before the log did */
	uint64_t modseq; /* of the entry before */
	size_t visits;
	struct uid_range *gone; /* single UIDs, unsorted */
	size_t gone_count, gone_cap;
	uint32_t *flags; /* UIDs whose flags changed */
	size_t flags_count, flags_cap;
};

static int by_modseq(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The log has one entry a message, the newest: a record of ours may have been overtaken, or overtake others'. */
static bool is_own(const struct imap_mailbox *m, uint64_t modseq, uint32_t uid)
{
	if (m->own.step_count > 0)
		return bsearch(&modseq, m->own.steps, m->own.step_count, sizeof(*m->own.steps), by_modseq) != NULL;
	/* What others changed between the steps was reported with them. */
	return modseq <= m->own.modseq && uid_ranges_have(m->own.at, m->own.count, uid);
}

/*
 * A silent change hides only itself.  The log keeps a message's newest change alone, so one by another session that
 * came just before ours is not in it any more; but its modseq then has no entry, or only entries that are not ours.
 * From there on our changes are told like others', which costs a line and cannot be wrong.
 */
static void watch_silence(struct imap_mailbox *m, uint64_t modseq, uint32_t uid, enum change_kind kind)
{
	if (m->own.step_count == 0 || modseq > m->own.modseq)
		return;
	if (modseq != m->own.seen) {
		if (!m->own.innocent || modseq != m->own.seen + 1)
			m->own.masked = true;
		m->own.seen = modseq;
		m->own.innocent = false;
	}
	/* A record of the log is of one kind: this one was an arrival, an expunge or ours. */
	if (kind != CHANGE_FLAGS || is_own(m, modseq, uid))
		m->own.innocent = true;
}

static void add_gone(struct sync *y, uint32_t uid)
{
	if (y->gone_count == y->gone_cap) {
		y->gone_cap = y->gone_cap * 2 + 16;
		y->gone = xreallocarray(y->gone, y->gone_cap, sizeof(*y->gone));
	}
	y->gone[y->gone_count++] = (struct uid_range){ uid, uid };
}

static bool collect(void *arg, uint64_t modseq, uint32_t uid, enum change_kind kind)
{
	struct sync *y = arg;
	struct imap_mailbox *m = y->session->mailbox;

	if (modseq > y->until) {
		y->more = true;
		y->modseq = y->until;
		return false;
	}
	if (modseq != y->modseq && (y->gone_count + y->flags_count >= SYNC_ROWS || y->visits >= SYNC_VISITS)) {
		y->more = true;
		return false;
	}
	if (y->gone_count >= SYNC_GONE) { /* in the middle of it: those that are told have left the map by next time */
		y->more = true;
		y->modseq = modseq - 1;
		return false;
	}
	y->modseq = modseq;
	y->visits++;
	if (modseq > m->modseq)
		watch_silence(m, modseq, uid, kind);
	if (kind == CHANGE_EXPUNGED) {
		if (y->expunge && uidmap_seq(&m->map, uid) != 0)
			add_gone(y, uid);
		return true;
	}
	if (modseq <= m->modseq)
		return true; /* an older entry, met on the way to the expunges */
	if (uidmap_seq(&m->map, uid) == 0 || (!m->own.masked && is_own(m, modseq, uid)))
		return true; /* new ones are told of at the end */
	if (y->flags_count == y->flags_cap) {
		y->flags_cap = y->flags_cap * 2 + 16;
		y->flags = xreallocarray(y->flags, y->flags_cap, sizeof(*y->flags));
	}
	y->flags[y->flags_count++] = uid;
	return true;
}

/* "* VANISHED 3:5,9"; gone is sorted, an entry for each. */
static void send_vanished(struct sync *y)
{
	struct buf line = BUF_INIT(SYNC_GONE * 16 + 64);
	const char *gap = "* VANISHED ";

	for (size_t i = 0, n; i < y->gone_count; i += n) {
		uint32_t first = y->gone[i].first;

		for (n = 1; i + n < y->gone_count && y->gone[i + n].first == first + n; n++)
			;
		buf_printf(&line, n == 1 ? "%s%u" : "%s%u:%zu", gap, first, first + n - 1);
		gap = ",";
	}
	buf_puts(&line, "\r\n");
	conn_writev(y->session->conn, buf_view(&line));
	buf_free(&line);
}

/* Tells the client of expunges, highest first, and takes them out of the map. */
static void report_expunges(struct sync *y)
{
	struct imap_mailbox *m = y->session->mailbox;

	qsort(y->gone, y->gone_count, sizeof(*y->gone), uid_range_order);
	if (y->session->enabled & ENABLED_QRESYNC)
		send_vanished(y);
	else
		for (size_t i = y->gone_count; i-- > 0;)
			conn_printf(y->session->conn, "* %u EXPUNGE\r\n", uidmap_seq(&m->map, y->gone[i].first));
	uidmap_remove(&m->map, y->gone, y->gone_count);
	uidmap_remove(&m->recent, y->gone, y->gone_count);
}

/* Collects what the map has below uid from where the comparison stands; false: the slice is full. */
static bool missing_below(struct sync *y, uint32_t uid)
{
	struct imap_mailbox *m = y->session->mailbox;
	uint32_t next;

	while ((next = uidmap_next(&m->map, m->compare.uid + 1)) != 0 && next < uid) {
		if (y->gone_count >= SYNC_GONE)
			return false;
		add_gone(y, next);
		m->compare.uid = next;
	}
	return true;
}

static bool compare_row(void *arg, const struct message_row *row)
{
	struct sync *y = arg;

	if (y->visits++ >= SYNC_VISITS || !missing_below(y, row->uid)) {
		y->more = true;
		return false;
	}
	y->session->mailbox->compare.uid = row->uid;
	return true;
}

/*
 * The log has lost expunges: a slice of the map is compared with the rows of row's snapshot.  Each slice has a snapshot
 * of its own, so the log is good again from the first one's modseq: what it has of the others has left the map.
 */
static int compare(struct sync *y, struct mailbox_row *row)
{
	struct imap_session *s = y->session;
	struct imap_mailbox *m = s->mailbox;
	uint32_t from;

	if (m->compare.modseq == 0) {
		m->compare.modseq = row->modseq;
		m->compare.uid = 0;
	}
	from = m->compare.uid;
	view_messages(imap_view(s), m->id, from + 1, uidmap_last(&m->map), compare_row, y);
	if (!y->more)
		y->more = !missing_below(y, UINT32_MAX);
	if (view_mailbox(imap_view(s), m->id, row) != 1) { /* an error on the way: what was not read is not gone */
		m->compare.uid = from;
		return -1;
	}
	if (y->gone_count > 0)
		report_expunges(y);
	if (!y->more) {
		m->expunge_modseq = m->compare.modseq;
		m->compare.modseq = 0;
	}
	return 1;
}

static bool take_new(void *arg, const struct message_row *row)
{
	struct imap_mailbox *m = ((struct sync *)arg)->session->mailbox;

	uidmap_append(&m->map, row->uid);
	if (m->read_only && (row->flags & FLAG_RECENT))
		uidmap_append(&m->recent, row->uid);
	return true;
}

void imap_take_recent(struct imap_mailbox *m, struct uid_range claimed)
{
	for (uint32_t i = 0; i < m->map.runs; i++) {
		uint32_t first = m->map.run[i].first, last = first + (m->map.run[i].count - 1);

		if (first < claimed.first)
			first = claimed.first;
		if (last > claimed.last)
			last = claimed.last;
		if (first <= last)
			uidmap_append_run(&m->recent, first, last - first + 1);
	}
}

static void on_claimed(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;
	struct imap_mailbox *m = s->mailbox;

	s->claiming = 0;
	m->claimed = (struct uid_range){ 1, 0 };
	if (result->status == STORE_OK && result->destination_count > 0)
		m->claimed = result->destination[0];
	m->claim_done = true;
	imap_kick(s);
}

/* New messages are told of once store has said which of them are this session's to show as \Recent. */
static bool must_claim(struct imap_session *s, const struct mailbox_row *row)
{
	struct imap_mailbox *m = s->mailbox;

	if (m->claim_done || m->read_only || m->foreign || row->recent == 0 ||
	    row->uid_next - 1 <= uidmap_last(&m->map))
		return false;
	s->claiming = store_claim_recent(imap_store(s), m->id, on_claimed, s);
	return true;
}

void imap_send_exists(struct imap_session *s)
{
	conn_printf(s->conn, "* %u EXISTS\r\n", s->mailbox->map.count);
	if (!(s->enabled & ENABLED_REV2))
		conn_printf(s->conn, "* %u RECENT\r\n", s->mailbox->recent.count);
}

static void report_new(struct sync *y, const struct mailbox_row *row)
{
	struct imap_session *s = y->session;
	struct imap_mailbox *m = s->mailbox;
	uint32_t messages = m->map.count, last = UINT32_MAX;

	/* What came after the claim waits for another: told now, it could not become \Recent any more. */
	if (m->claim_done && m->claimed.first <= m->claimed.last)
		last = m->claimed.last;
	view_messages(imap_view(s), m->id, uidmap_last(&m->map) + 1, last, take_new, y);
	if (m->claim_done)
		imap_take_recent(m, m->claimed);
	m->claim_done = false;
	y->more = last < row->uid_next - 1;
	if (m->map.count == messages)
		return;
	imap_send_exists(s);
}

static void note_nothing(struct imap_mailbox *m)
{
	free(m->own.at);
	free(m->own.steps);
	memset(&m->own, 0, sizeof(m->own));
}

/* A slice of the log after from. */
static void follow_log(struct sync *y, const struct mailbox_row *row, uint64_t from)
{
	struct imap_session *s = y->session;
	struct imap_mailbox *m = s->mailbox;
	struct message_row message;
	uint64_t to;

	view_changes(imap_view(s), m->id, from, collect, y);
	to = y->more ? y->modseq : row->modseq < y->until ? row->modseq : y->until;
	if (y->gone_count > 0)
		report_expunges(y);
	for (size_t i = 0; i < y->flags_count; i++)
		if (view_message(imap_view(s), m->id, y->flags[i], &message) == 1)
			imap_send_flags(s, &message, false);
	if (!y->more && y->until == UINT64_MAX && row->uid_next - 1 > uidmap_last(&m->map))
		report_new(y, row);
	if (to > m->modseq)
		m->modseq = to;
	if (y->expunge && to > m->expunge_modseq)
		m->expunge_modseq = to;
}

static int sync_until(struct imap_session *s, bool expunge, uint64_t until)
{
	struct imap_mailbox *m = s->mailbox;
	struct sync y = { .session = s, .expunge = expunge, .until = until };
	struct mailbox_row row;
	uint64_t from;
	int more = 0;

	if (s->claiming != 0)
		return 2;
	if (m == NULL || m->gone || imap_open_snapshot(s, &row) != 0)
		return -1;
	if (until == UINT64_MAX && must_claim(s, &row)) {
		view_end(imap_view(s));
		return 2;
	}
	from = expunge && m->expunge_modseq < m->modseq ? m->expunge_modseq : m->modseq;
	if (row.modseq > from || row.uid_next - 1 > uidmap_last(&m->map)) {
		if (expunge &&
		    (m->compare.modseq != 0 || !view_changes_whole(imap_view(s), m->id, m->expunge_modseq))) {
			more = compare(&y, &row);
		} else {
			follow_log(&y, &row, from);
			more = y.more && m->modseq < until;
		}
	}
	view_end(imap_view(s));
	free(y.gone);
	free(y.flags);
	if (more == 0)
		note_nothing(m);
	return more;
}

int imap_sync(struct imap_session *s, bool expunge)
{
	return sync_until(s, expunge, UINT64_MAX);
}

int imap_sync_until(struct imap_session *s, bool expunge, uint64_t modseq)
{
	return modseq > s->mailbox->modseq ? sync_until(s, expunge, modseq) : 0;
}

/* Forgets what was noted before; the mailbox that takes a new note, or NULL. */
static struct imap_mailbox *note_begin(struct imap_session *s, size_t count)
{
	if (s->mailbox == NULL)
		return NULL;
	note_nothing(s->mailbox);
	return count > 0 ? s->mailbox : NULL;
}

void imap_note_own(struct imap_session *s, uint64_t modseq, const struct uid_range *ranges, size_t count)
{
	struct imap_mailbox *m = note_begin(s, count);

	if (m == NULL)
		return;
	m->own.modseq = modseq;
	m->own.count = count;
	m->own.at = xreallocarray(NULL, count, sizeof(*ranges));
	memcpy(m->own.at, ranges, count * sizeof(*ranges));
	qsort(m->own.at, count, sizeof(*ranges), uid_range_order);
}

void imap_note_silent(struct imap_session *s, const uint64_t *steps, size_t count)
{
	struct imap_mailbox *m = note_begin(s, count);

	if (m == NULL)
		return;
	m->own.modseq = steps[count - 1];
	m->own.seen = m->modseq;
	m->own.innocent = true;
	m->own.step_count = count;
	m->own.steps = xreallocarray(NULL, count, sizeof(*steps));
	memcpy(m->own.steps, steps, count * sizeof(*steps));
}
