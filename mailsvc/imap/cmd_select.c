/*
 * SELECT, EXAMINE, CLOSE, UNSELECT.
 *
 * The UID map of a mailbox without gaps follows from three numbers (first UID, UIDNEXT, messages) and costs one look-up
 * whatever the size; otherwise it is one walk of the index.  \Recent messages are nearly always the newest: they are
 * looked for at the end first.  A session that may write claims them, so that no other session sees them as recent.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "process.h"

#define UNSEEN_SCAN_MAX 2000 /* messages looked at for the optional UNSEEN; more would slow a large mailbox down */

struct walk {
	struct imap_mailbox *mailbox;
	uint32_t messages, unseen; /* unseen: the first one's sequence number */
	bool map;                  /* build the map, not only look for flags */
};

static bool take_row(void *arg, const struct message_row *row)
{
	struct walk *w = arg;

	w->messages++;
	if (w->map)
		uidmap_append(&w->mailbox->map, row->uid);
	if (row->flags & FLAG_RECENT)
		uidmap_append(&w->mailbox->recent, row->uid);
	return true;
}

static bool take_first(void *arg, const struct message_row *row)
{
	*(uint32_t *)arg = row->uid;
	return false;
}

static bool find_unseen(void *arg, const struct message_row *row)
{
	struct walk *w = arg;

	w->messages++;
	if (!(row->flags & FLAG_SEEN)) {
		w->unseen = w->messages;
		return false;
	}
	return w->messages < UNSEEN_SCAN_MAX;
}

/* Fills map and recent from an open snapshot. */
static void load_map(struct imap_session *s, struct imap_mailbox *m, const struct mailbox_row *row)
{
	struct walk walk = { .mailbox = m, .map = true };
	uint32_t first = 0;

	if (row->messages == 0)
		return;
	view_messages(imap_view(s), m->id, 1, UINT32_MAX, take_first, &first);
	if (first != 0 && row->uid_next - first == row->messages) {
		uidmap_append_run(&m->map, first, row->messages);
		walk.map = false;
		if (row->recent == 0)
			return;
		/* The newest, as many as there are recent ones: most often exactly those. */
		view_messages(imap_view(s), m->id, row->uid_next - row->recent, UINT32_MAX, take_row, &walk);
		if (m->recent.count == row->recent)
			return;
		uidmap_free(&m->recent);
	}
	view_messages(imap_view(s), m->id, 1, UINT32_MAX, take_row, &walk);
	uidmap_shrink(&m->map);
	uidmap_shrink(&m->recent);
}

static void announce(struct imap_session *s, const struct mailbox_row *row)
{
	struct imap_mailbox *m = s->mailbox;
	struct walk walk = { .mailbox = m };

	imap_send_flags_lists(s, true);
	conn_printf(s->conn, "* %u EXISTS\r\n* %u RECENT\r\n", m->map.count, m->recent.count);
	if (row->unseen > 0) {
		view_messages(imap_view(s), m->id, 1, UINT32_MAX, find_unseen, &walk);
		if (walk.unseen > 0)
			conn_printf(s->conn, "* OK [UNSEEN %u] First unseen.\r\n", walk.unseen);
	}
	conn_printf(s->conn, "* OK [UIDVALIDITY %u] UIDs valid.\r\n* OK [UIDNEXT %u] Predicted next UID.\r\n",
	    row->uid_validity, row->uid_next);
}

static void finish_select(struct imap_session *s)
{
	if (s->mailbox->read_only)
		imap_finish(s, "OK [READ-ONLY] EXAMINE completed.");
	else
		imap_finish(s, "OK [READ-WRITE] SELECT completed.");
}

static void on_claimed(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	(void)result; /* a mailbox whose claim failed is open all the same */
	s->pending = 0;
	finish_select(s);
}

int imap_cmd_select(struct imap_session *s, struct imap_parser *p, bool read_only)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct mailbox_row row;
	struct imap_mailbox *m;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name))
		return IMAP_BAD;
	if (imap_accept(p, ' ') && (!imap_parse_char(p, '(') || !imap_parse_char(p, ')')))
		return imap_bad(p, "Unknown SELECT parameter.");
	if (!imap_parse_end(p))
		return IMAP_BAD;
	imap_deselect(s);
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	if (view_mailbox_by_name(imap_view(s), s->account, name, &row) != 1) {
		view_end(imap_view(s));
		imap_finish(s, "NO [NONEXISTENT] No such mailbox.");
		return IMAP_DONE;
	}
	m = xcalloc(1, sizeof(*m));
	m->id = row.id;
	m->uid_validity = row.uid_validity;
	m->read_only = read_only;
	m->modseq = m->expunge_modseq = row.modseq;
	imap_take_keywords(m, &row);
	load_map(s, m, &row);
	imap_select_mailbox(s, m);
	announce(s, &row);
	view_end(imap_view(s));
	if (read_only || m->recent.count == 0) {
		finish_select(s);
		return IMAP_DONE;
	}
	s->pending = store_claim_recent(imap_store(s), m->id, on_claimed, s);
	return IMAP_WAIT;
}

static void on_closed(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;

	s->pending = 0;
	imap_deselect(s);
	if (result->status == STORE_OK || result->status == STORE_NO_MAILBOX)
		imap_finish(s, "OK CLOSE completed.");
	else
		imap_finish_store(s, result->status);
}

int imap_cmd_close(struct imap_session *s, struct imap_parser *p, bool expunge)
{
	struct uid_range all = { 1, uidmap_last(&s->mailbox->map) };
	struct mailbox_row row;
	bool wanted = false;

	if (!imap_parse_end(p))
		return IMAP_BAD;
	if (expunge && !s->mailbox->read_only && all.last > 0 && view_begin(imap_view(s)) == 0) {
		wanted = view_mailbox(imap_view(s), s->mailbox->id, &row) == 1 && row.deleted > 0;
		view_end(imap_view(s));
	}
	if (!wanted) {
		imap_deselect(s);
		return IMAP_DONE;
	}
	s->pending = store_expunge(imap_store(s), s->mailbox->id, true, &all, 1, on_closed, s);
	return IMAP_WAIT;
}
