/*
 * The selected mailbox: message sets, flags, and keeping what the client knows in step with the store.
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

/* Sessions by mailbox ------------------------------------------------------------------------------------------ */

static struct imap_session **bucket(struct process *p, uint32_t mailbox)
{
	return &p->by_mailbox[(mailbox * 2654435761u) >> 16 & (MAILBOX_BUCKETS - 1)];
}

void imap_deselect(struct imap_session *s)
{
	struct imap_mailbox *m = s->mailbox;
	struct imap_session **at;

	if (m == NULL)
		return;
	at = bucket(s->process, m->id);
	while (*at != s)
		at = &(*at)->mailbox->hash_next;
	*at = m->hash_next;
	s->mailbox = NULL;
	uidmap_free(&m->map);
	uidmap_free(&m->recent);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		free(m->keywords[i]);
	free(m->own.at);
	free(m->own.steps);
	free(m->known);
	free(m);
}

void imap_select_mailbox(struct imap_session *s, struct imap_mailbox *m)
{
	struct imap_session **at = bucket(s->process, m->id);

	imap_deselect(s);
	m->hash_next = *at;
	*at = s;
	s->mailbox = m;
}

void imap_changed(struct process *p, const uint32_t *mailboxes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (struct imap_session *s = *bucket(p, mailboxes[i]); s != NULL; s = s->mailbox->hash_next) {
			if (s->mailbox->id == mailboxes[i] && s->phase == IMAP_PHASE_IDLE)
				imap_kick(s);
		}
	}
}

/* Flags ------------------------------------------------------------------------------------------------------- */

bool imap_is_recent(const struct imap_session *s, uint32_t uid)
{
	return s->mailbox != NULL && uidmap_seq(&s->mailbox->recent, uid) != 0;
}

static void put_name(struct buf *out, bool *first, const char *name)
{
	if (!*first)
		buf_addc(out, ' ');
	*first = false;
	buf_puts(out, name);
}

void imap_put_flags(const struct imap_session *s, const struct message_row *row, struct buf *out)
{
	static const char *const names[] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft" };
	const struct imap_mailbox *m = s->mailbox;
	bool first = true;

	buf_addc(out, '(');
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (row->flags & 1u << i)
			put_name(out, &first, names[i]);
	if (m->recent.count > 0 && imap_is_recent(s, row->uid))
		put_name(out, &first, "\\Recent");
	for (unsigned i = 0; row->keywords >> i != 0; i++) {
		if ((row->keywords >> i & 1) && i < m->keyword_count && m->keywords[i] != NULL)
			put_name(out, &first, m->keywords[i]);
		if (i == KEYWORDS_MAX - 1)
			break;
	}
	buf_addc(out, ')');
}

void imap_send_flags(struct imap_session *s, const struct message_row *row, bool uid)
{
	struct buf line = BUF_INIT(KEYWORDS_MAX * (KEYWORD_NAME_MAX + 1) + 256);
	uint32_t seq = uidmap_seq(&s->mailbox->map, row->uid);

	if (seq == 0)
		return;
	buf_printf(&line, "* %u FETCH (", seq);
	if (uid || (s->enabled & ENABLED_QRESYNC))
		buf_printf(&line, "UID %u ", row->uid);
	if (s->enabled & ENABLED_CONDSTORE)
		buf_printf(&line, "MODSEQ (%llu) ", (unsigned long long)row->modseq);
	buf_puts(&line, "FLAGS ");
	imap_put_flags(s, row, &line);
	buf_puts(&line, ")\r\n");
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
}

void imap_take_keywords(struct imap_mailbox *m, const struct mailbox_row *row)
{
	for (unsigned i = 0; i < KEYWORDS_MAX; i++) {
		bool there = i < row->keyword_count && row->keywords[i].ptr != NULL;

		if (there && m->keywords[i] != NULL && view_eq(row->keywords[i], m->keywords[i]))
			continue;
		free(m->keywords[i]);
		m->keywords[i] = there ? view_dup(row->keywords[i]) : NULL;
	}
	m->keyword_count = row->keyword_count;
}

bool imap_keywords_differ(const struct imap_mailbox *m, const struct mailbox_row *row)
{
	if (m->keyword_count != row->keyword_count)
		return true;
	for (unsigned i = 0; i < row->keyword_count && i < KEYWORDS_MAX; i++) {
		if ((row->keywords[i].ptr == NULL) != (m->keywords[i] == NULL) ||
		    (m->keywords[i] != NULL && !view_eq(row->keywords[i], m->keywords[i])))
			return true;
	}
	return false;
}

void imap_send_flags_lists(struct imap_session *s, bool permanent)
{
	const struct imap_mailbox *m = s->mailbox;
	struct buf names = BUF_INIT(KEYWORDS_MAX * (KEYWORD_NAME_MAX + 1) + 256);

	buf_puts(&names, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
	for (unsigned i = 0; i < m->keyword_count; i++)
		if (m->keywords[i] != NULL)
			buf_printf(&names, " %s", m->keywords[i]);
	conn_printf(s->conn, "* FLAGS (%s)\r\n", buf_str(&names));
	if (permanent && m->read_only)
		conn_printf(s->conn, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n");
	else if (permanent)
		conn_printf(s->conn, "* OK [PERMANENTFLAGS (%s \\*)] Flags are kept.\r\n", buf_str(&names));
	buf_free(&names);
}

/* Snapshots ----------------------------------------------------------------------------------------------------- */

/* 0: a snapshot is open and row is the mailbox; -1: store is away; 1: the mailbox is gone. */
static int open_snapshot(struct imap_session *s, struct mailbox_row *row)
{
	struct store_view *view = imap_view(s);

	if (view_begin(view) < 0)
		return -1;
	if (!view_mailbox(view, s->mailbox->id, row) || row->uid_validity != s->mailbox->uid_validity) {
		view_end(view);
		s->mailbox->gone = true;
		return 1;
	}
	if (imap_keywords_differ(s->mailbox, row)) {
		imap_take_keywords(s->mailbox, row);
		imap_send_flags_lists(s, true);
	}
	return 0;
}

int imap_snapshot(struct imap_session *s)
{
	struct mailbox_row row;
	int status = open_snapshot(s, &row);

	if (status < 0)
		imap_finish_store(s, STORE_UNAVAILABLE);
	else if (status > 0)
		imap_finish(s, "NO [NONEXISTENT] The mailbox has been deleted.");
	return status == 0 ? 0 : -1;
}

/* Synchronising ---------------------------------------------------------------------------------------------------- */

#define SYNC_ROWS 2000    /* changes a slice reports; then it ends with the change (modseq) it is in */
#define SYNC_VISITS 20000 /* entries a slice looks at */
#define SYNC_GONE 20000   /* expunges of one change (a MOVE of a million is one) that go at once */

struct sync {
	struct imap_session *session;
	bool expunge;
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

static int by_uid(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
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

	qsort(y->gone, y->gone_count, sizeof(*y->gone), by_uid);
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
	if (row->flags & FLAG_RECENT)
		uidmap_append(&m->recent, row->uid);
	return true;
}

static void ignore_result(void *arg, const struct store_result *result)
{
	(void)arg;
	(void)result;
}

static void report_new(struct sync *y)
{
	struct imap_session *s = y->session;
	struct imap_mailbox *m = s->mailbox;
	uint32_t messages = m->map.count, recent = m->recent.count;

	view_messages(imap_view(s), m->id, uidmap_last(&m->map) + 1, UINT32_MAX, take_new, y);
	if (m->map.count == messages)
		return;
	conn_printf(s->conn, "* %u EXISTS\r\n", m->map.count);
	conn_printf(s->conn, "* %u RECENT\r\n", m->recent.count);
	/* This session has shown them as recent: no other shall. Whatever comes of it, nobody waits for it. */
	if (m->recent.count > recent && !m->read_only)
		store_claim_recent(imap_store(s), m->id, ignore_result, NULL);
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
	to = y->more ? y->modseq : row->modseq;
	if (y->gone_count > 0)
		report_expunges(y);
	for (size_t i = 0; i < y->flags_count; i++)
		if (view_message(imap_view(s), m->id, y->flags[i], &message) == 1)
			imap_send_flags(s, &message, false);
	if (!y->more && row->uid_next - 1 > uidmap_last(&m->map))
		report_new(y);
	if (to > m->modseq)
		m->modseq = to;
	if (y->expunge && to > m->expunge_modseq)
		m->expunge_modseq = to;
}

int imap_sync(struct imap_session *s, bool expunge)
{
	struct imap_mailbox *m = s->mailbox;
	struct sync y = { .session = s, .expunge = expunge };
	struct mailbox_row row;
	uint64_t from;
	int more = 0;

	if (m == NULL || m->gone || open_snapshot(s, &row) != 0)
		return -1;
	from = expunge && m->expunge_modseq < m->modseq ? m->expunge_modseq : m->modseq;
	if (row.modseq > from) {
		if (expunge &&
		    (m->compare.modseq != 0 || !view_changes_whole(imap_view(s), m->id, m->expunge_modseq))) {
			more = compare(&y, &row);
		} else {
			follow_log(&y, &row, from);
			more = y.more;
		}
	}
	view_end(imap_view(s));
	free(y.gone);
	free(y.flags);
	if (more == 0)
		note_nothing(m);
	return more;
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
	qsort(m->own.at, count, sizeof(*ranges), by_uid);
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

/* Message sets ------------------------------------------------------------------------------------------------------
 */

/* Sorts, merges what overlaps or has no message between it; returns the new count. */
static size_t merge(const struct uidmap *map, struct uid_range *at, size_t count)
{
	size_t n = 0;

	qsort(at, count, sizeof(*at), by_uid);
	for (size_t i = 0; i < count; i++) {
		if (n > 0 && (at[i].first <= at[n - 1].last || uidmap_next(map, at[n - 1].last + 1) >= at[i].first)) {
			if (at[i].last > at[n - 1].last)
				at[n - 1].last = at[i].last;
		} else {
			at[n++] = at[i];
		}
	}
	return n;
}

/* One element of a set as UIDs of the map; 1: there are, 0: none, -1: a sequence number that does not exist. */
static int resolve_one(const struct uidmap *map, struct uid_range in, bool uid, struct uid_range *out)
{
	uint32_t top = uid ? uidmap_last(map) : map->count;
	uint32_t first = in.first == 0 ? top : in.first, last = in.last == 0 ? top : in.last, below;

	if (first > last) {
		uint32_t swap = first;

		first = last;
		last = swap;
	}
	if (!uid) {
		if (first == 0 || last > map->count)
			return -1;
		out->first = uidmap_uid(map, first);
		out->last = uidmap_uid(map, last);
		return 1;
	}
	out->first = uidmap_next(map, first);
	below = last == UINT32_MAX ? map->count : uidmap_below(map, last + 1);
	out->last = uidmap_uid(map, below);
	return out->first != 0 && out->last != 0 && out->first <= out->last;
}

bool imap_resolve_set(const struct imap_session *s, struct imap_parser *p, const struct imap_set *set, bool uid,
    struct uid_range **out, size_t *count)
{
	const struct uidmap *map = &s->mailbox->map;
	struct uid_range *at = xreallocarray(NULL, set->count > 0 ? set->count : 1, sizeof(*at));
	size_t n = 0;

	*out = NULL;
	*count = 0;
	for (size_t i = 0; i < set->count; i++) {
		int status = resolve_one(map, set->at[i], uid, &at[n]);

		if (status < 0) {
			free(at);
			return imap_fail(p, "No such message.");
		}
		n += (size_t)status;
	}
	n = merge(map, at, n);
	if (n == 0) {
		free(at);
		return true;
	}
	*out = at;
	*count = n;
	return true;
}

bool imap_parse_uids(
    const struct imap_session *s, struct imap_parser *p, bool uid, struct uid_range **out, size_t *count)
{
	struct imap_set set;
	bool fine;

	if (!imap_parse_set(p, &set))
		return false;
	fine = imap_resolve_set(s, p, &set, uid, out, count);
	imap_set_free(&set);
	return fine;
}
