/*
 * The selected mailbox: which session has which, flags and keywords, snapshots, message sets.  Keeping what the client
 * knows in step with the store is sync.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "namespace.h"
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
	store_cancel(s->process->store, s->claiming);
	s->claiming = 0;
	uidmap_free(&m->map);
	uidmap_free(&m->recent);
	for (unsigned i = 0; i < KEYWORDS_MAX; i++)
		free(m->keywords[i]);
	free(m->own.at);
	free(m->own.steps);
	free(m->known);
	free(m->saved);
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
	return s->mailbox != NULL && !(s->enabled & ENABLED_REV2) && uidmap_seq(&s->mailbox->recent, uid) != 0;
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

/* Those that these rights allow to change (RFC 4314 5.2). */
static void put_flag_names(struct buf *out, const struct imap_mailbox *m, uint32_t rights)
{
	static const struct {
		uint32_t right;
		const char *name;
	} system[] = { { ACL_WRITE, "\\Answered" }, { ACL_WRITE, "\\Flagged" }, { ACL_DELETE_MESSAGES, "\\Deleted" },
		{ ACL_SEEN, "\\Seen" }, { ACL_WRITE, "\\Draft" } };
	bool first = true;

	for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++)
		if (rights & system[i].right)
			put_name(out, &first, system[i].name);
	for (unsigned i = 0; (rights & ACL_WRITE) && i < m->keyword_count; i++)
		if (m->keywords[i] != NULL)
			put_name(out, &first, m->keywords[i]);
}

void imap_send_flags_lists(struct imap_session *s, bool permanent)
{
	const struct imap_mailbox *m = s->mailbox;
	struct buf names = BUF_INIT(KEYWORDS_MAX * (KEYWORD_NAME_MAX + 1) + 256);

	put_flag_names(&names, m, ACL_ALL);
	conn_printf(s->conn, "* FLAGS (%s)\r\n", buf_str(&names));
	buf_reset(&names);
	if (!m->read_only)
		put_flag_names(&names, m, m->rights);
	if (permanent && m->read_only)
		conn_printf(s->conn, "* OK [PERMANENTFLAGS ()] Read-only mailbox.\r\n");
	else if (permanent)
		conn_printf(s->conn, "* OK [PERMANENTFLAGS (%s%s)] Flags are kept.\r\n", buf_str(&names),
		    !(m->rights & ACL_WRITE) ? "" : names.len > 0 ? " \\*" : "\\*");
	buf_free(&names);
}

/* Snapshots ----------------------------------------------------------------------------------------------------- */

int imap_open_snapshot(struct imap_session *s, struct mailbox_row *row)
{
	struct store_view *view = imap_view(s);

	if (view_begin(view) < 0)
		return -1;
	if (!view_mailbox(view, s->mailbox->id, row) || row->uid_validity != s->mailbox->uid_validity) {
		view_end(view);
		s->mailbox->gone = true;
		return 1;
	}
	if (!namespace_refresh(s, row)) {
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
	int status = imap_open_snapshot(s, &row);

	if (status < 0)
		imap_finish_store(s, STORE_UNAVAILABLE);
	else if (status > 0)
		imap_finish(s, "NO [NONEXISTENT] The mailbox has been deleted, or may not be read any more.");
	return status == 0 ? 0 : -1;
}

/* Message sets ------------------------------------------------------------------------------------------------------
 */

/* Sorts, merges what overlaps or has no message between it; returns the new count. */
static size_t merge(const struct uidmap *map, struct uid_range *at, size_t count)
{
	size_t n = 0;

	qsort(at, count, sizeof(*at), uid_range_order);
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
	/* What was saved is UIDs, whatever the command counts in; those that were expunged since fall away here. */
	const struct uid_range *in = set->saved ? s->mailbox->saved : set->at;
	size_t in_count = set->saved ? s->mailbox->saved_count : set->count, n = 0;
	struct uid_range *at = xreallocarray(NULL, in_count > 0 ? in_count : 1, sizeof(*at));

	*out = NULL;
	*count = 0;
	for (size_t i = 0; i < in_count; i++) {
		int status = resolve_one(map, in[i], uid || set->saved, &at[n]);

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
