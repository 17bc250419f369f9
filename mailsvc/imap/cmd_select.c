/*
 * SELECT, EXAMINE, CLOSE, UNSELECT.
 *
 * The UID map of a mailbox without gaps follows from three numbers (first UID, UIDNEXT, messages) and costs one look-up
 * whatever the size; otherwise it is one walk of the index.  A session that may write claims what is \Recent before it
 * opens the mailbox: store gives each message to one session alone.  One that may not sees what nobody has claimed;
 * those are nearly always the newest messages, so they are looked for at the end first.
 *
 * (QRESYNC (uidvalidity modseq [known-uids [(seqs uids)]])) of RFC 7162: with the UIDVALIDITY of today, what changed since
 * modseq is told before the reply.  The last pair only lets a server without a change log guess better; it is not used.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "namespace.h"
#include "objectid.h"
#include "process.h"

#define UNSEEN_SCAN_MAX 2000 /* messages looked at for the optional UNSEEN; more would slow a large mailbox down */

struct walk {
	struct imap_mailbox *mailbox;
	uint32_t messages, unseen; /* unseen: the first one's sequence number */
	bool map, recent;          /* build the map; look for \Recent */
};

static bool take_row(void *arg, const struct message_row *row)
{
	struct walk *w = arg;

	w->messages++;
	if (w->map)
		uidmap_append(&w->mailbox->map, row->uid);
	if (w->recent && (row->flags & FLAG_RECENT))
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
	struct walk walk = { .mailbox = m, .map = true, .recent = m->read_only };
	uint32_t first = 0;

	if (row->messages == 0)
		return;
	view_messages(imap_view(s), m->id, 1, UINT32_MAX, take_first, &first);
	if (first != 0 && row->uid_next - first == row->messages) {
		uidmap_append_run(&m->map, first, row->messages);
		walk.map = false;
		if (row->recent == 0 || !m->read_only)
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
	struct buf id = BUF_INIT(OBJECTID_MAX);

	imap_send_flags_lists(s, true);
	imap_send_exists(s);
	if (row->unseen > 0 && !(s->enabled & ENABLED_REV2)) {
		view_messages(imap_view(s), m->id, 1, UINT32_MAX, find_unseen, &walk);
		if (walk.unseen > 0)
			conn_printf(s->conn, "* OK [UNSEEN %u] First unseen.\r\n", walk.unseen);
	}
	conn_printf(s->conn,
	    "* OK [UIDVALIDITY %u] UIDs valid.\r\n* OK [UIDNEXT %u] Predicted next UID.\r\n"
	    "* OK [HIGHESTMODSEQ %llu] Highest.\r\n",
	    row->uid_validity, row->uid_next, (unsigned long long)(row->modseq > 0 ? row->modseq : 1));
	objectid_put_mailbox(&id, row->id);
	conn_printf(s->conn, "* OK [MAILBOXID (%s)] Stays through a rename.\r\n", buf_str(&id));
	buf_free(&id);
}

/* Takes the parameters' known UIDs. */
static void finish_select(struct imap_session *s)
{
	struct imap_mailbox *m = s->mailbox;
	const char *text = m->read_only ? "OK [READ-ONLY] EXAMINE completed." : "OK [READ-WRITE] SELECT completed.";
	struct uid_range *known = m->known;

	m->known = NULL;
	if (known != NULL)
		imap_start_resync(s, m->known_modseq, known, m->known_count, text);
	else
		imap_finish(s, "%s", text);
}

struct select_params {
	bool condstore, qresync;
	uint32_t uid_validity;
	uint64_t modseq;
	struct uid_range *known;
	size_t known_count;
};

static bool parse_uids(struct imap_parser *p, struct uid_range **out, size_t *count)
{
	struct imap_set set;

	if (!imap_parse_set(p, &set))
		return false;
	if (set.saved)
		return imap_fail(p, "Expected UIDs.");
	imap_set_to_uids(&set, out, count);
	imap_set_free(&set);
	return true;
}

/* " (1:3,5 7:9,11)": checked, and of no further use. */
static bool skip_match_data(struct imap_parser *p)
{
	struct imap_set set;

	for (int i = 0; i < 2; i++) {
		if (!(i == 0 ? imap_parse_char(p, '(') : imap_parse_sp(p)) || !imap_parse_set(p, &set))
			return false;
		imap_set_free(&set);
	}
	return imap_parse_char(p, ')');
}

/* " (uidvalidity modseq [known-uids] [(seqs uids)])" */
static bool parse_qresync(struct imap_parser *p, struct select_params *params)
{
	bool known = false;

	if (!imap_parse_sp(p) || !imap_parse_char(p, '(') || !imap_parse_nz_number(p, &params->uid_validity) ||
	    !imap_parse_since(p, false, &params->modseq))
		return false;
	while (imap_accept(p, ' ')) {
		if (imap_peek(p) == '(')
			return skip_match_data(p) && imap_parse_char(p, ')');
		if (known || !parse_uids(p, &params->known, &params->known_count))
			return imap_fail(p, "Expected known UIDs.");
		known = true;
	}
	return imap_parse_char(p, ')');
}

static bool parse_params(struct imap_session *s, struct imap_parser *p, struct select_params *params)
{
	struct view word;

	if (!imap_accept(p, ' '))
		return true;
	if (!imap_parse_char(p, '('))
		return false;
	if (imap_accept(p, ')'))
		return true;
	do {
		if (!imap_parse_word(p, &word))
			return false;
		if (view_caseeq(word, "CONDSTORE")) {
			params->condstore = true;
		} else if (view_caseeq(word, "QRESYNC") && !params->qresync) {
			if (!(s->enabled & ENABLED_QRESYNC))
				return imap_fail(p, "QRESYNC has not been enabled.");
			params->qresync = true;
			if (!parse_qresync(p, params))
				return false;
		} else {
			return imap_fail(p, "Unknown SELECT parameter.");
		}
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

/* Any of these makes SELECT read-write (RFC 4314 5.2). */
#define WRITE_RIGHTS (ACL_INSERT | ACL_EXPUNGE | ACL_SEEN | ACL_WRITE | ACL_DELETE_MESSAGES)

/* RFC 9051 6.3.2: the name as the server has it. */
static void send_list(struct imap_session *s, const struct place *place)
{
	struct buf name = BUF_INIT(IMAP_NAME_MAX), line = BUF_INIT(4 * IMAP_NAME_MAX);

	if (place->row.account == s->account)
		buf_puts(&name, place->row.name);
	else
		namespace_put(&name, place->space == NAMESPACE_SHARED, place->owner, place->row.name);
	buf_puts(&line, "* LIST () \"/\" ");
	imap_put_mailbox(s, &line, buf_str(&name));
	buf_puts(&line, "\r\n");
	conn_writev(s->conn, buf_view(&line));
	buf_free(&name);
	buf_free(&line);
}

/* Opens it, claimed being \Recent; params.known is taken over. */
static int open_mailbox(struct imap_session *s, const struct place *place, bool read_only,
    struct select_params *params, struct uid_range claimed)
{
	const struct mailbox_row *row = &place->row;
	struct imap_mailbox *m = xcalloc(1, sizeof(*m));

	m->id = row->id;
	m->uid_validity = row->uid_validity;
	m->foreign = row->account != s->account;
	m->rights = place->rights;
	m->read_only = read_only || !(place->rights & WRITE_RIGHTS);
	m->modseq = m->expunge_modseq = row->modseq;
	if (params->qresync && params->uid_validity == row->uid_validity) {
		m->known_modseq = params->modseq;
		m->known = params->known;
		m->known_count = params->known_count;
		params->known = NULL;
		if (m->known == NULL) {
			m->known = xmalloc(sizeof(*m->known));
			*m->known = (struct uid_range){ 1, UINT32_MAX };
			m->known_count = 1;
		}
	}
	imap_take_keywords(m, row);
	load_map(s, m, row);
	imap_select_mailbox(s, m);
	imap_take_recent(m, claimed);
	announce(s, row);
	if (s->enabled & ENABLED_REV2)
		send_list(s, place);
	view_end(imap_view(s));
	finish_select(s);
	return s->job.run != NULL ? IMAP_WAIT : IMAP_DONE;
}

/* The earlier mailbox is closed whatever comes of it (RFC 3501 6.3.1), and the client told where its data ends. */
static void leave(struct imap_session *s)
{
	if (s->mailbox == NULL)
		return;
	imap_deselect(s);
	conn_printf(s->conn, "* OK [CLOSED] The mailbox before is closed.\r\n");
}

/* Waiting for the claim. */
struct selecting {
	struct place place;
	struct select_params params;
};

static void selecting_free(void *state)
{
	struct selecting *w = state;

	free(w->params.known);
	free(w);
}

static void on_claimed(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;
	struct selecting *w = s->job.state;
	struct uid_range claimed = { 1, 0 };

	s->pending = 0;
	if (result->status == STORE_OK && result->destination_count > 0) /* else it is opened all the same */
		claimed = result->destination[0];
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
	} else if (view_mailbox(imap_view(s), w->place.row.id, &w->place.row) != 1) {
		view_end(imap_view(s));
		imap_finish(s, "NO [NONEXISTENT] The mailbox has been deleted.");
	} else {
		(void)open_mailbox(s, &w->place, false, &w->params, claimed);
	}
}

/* Takes params over. */
static int claim(struct imap_session *s, const struct place *place, struct select_params *params)
{
	struct selecting *w = xcalloc(1, sizeof(*w));
	struct imap_job job = { .free = selecting_free, .state = w };

	w->place = *place;
	w->params = *params;
	params->known = NULL;
	imap_start_job(s, &job);
	s->pending = store_claim_recent(imap_store(s), place->row.id, on_claimed, s);
	return IMAP_WAIT;
}

int imap_cmd_select(struct imap_session *s, struct imap_parser *p, bool read_only)
{
	char name[IMAP_NAME_MAX + 1];
	struct select_params params = { 0 };
	struct place place;
	const char *refusal;
	int status = IMAP_BAD;

	if (!imap_parse_sp(p) || !imap_parse_mailbox(p, name) || !parse_params(s, p, &params) || !imap_parse_end(p))
		goto out;
	if (params.condstore)
		s->enabled |= ENABLED_CONDSTORE;
	leave(s);
	status = IMAP_DONE;
	if (view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		goto out;
	}
	namespace_resolve(s, name, &place);
	refusal = namespace_refusal(&place, ACL_READ);
	if (refusal == NULL && !read_only && place.row.recent > 0 && place.row.account == s->account) {
		view_end(imap_view(s));
		status = claim(s, &place, &params);
	} else if (refusal == NULL) {
		status = open_mailbox(s, &place, read_only, &params, (struct uid_range){ 1, 0 });
	} else {
		view_end(imap_view(s));
		imap_finish(s, "%s", refusal);
	}
out:
	free(params.known);
	return status;
}

/*
 * HIGHESTMODSEQ (RFC 7162 3.2.8) would have the client believe that it knows of everything up to there, and CLOSE tells
 * nothing: so only when nobody else has changed anything since the last report.
 */
static void on_closed(void *arg, const struct store_result *result)
{
	struct imap_session *s = arg;
	const struct imap_mailbox *m = s->mailbox;
	bool whole = m->expunge_modseq == m->modseq && result->modseq == m->modseq + 1;

	s->pending = 0;
	imap_deselect(s);
	if (result->status == STORE_OK && whole && (s->enabled & ENABLED_QRESYNC))
		imap_finish(s, "OK [HIGHESTMODSEQ %llu] CLOSE completed.", (unsigned long long)result->modseq);
	else if (result->status == STORE_OK || result->status == STORE_NO_MAILBOX)
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
		wanted = view_mailbox(imap_view(s), s->mailbox->id, &row) == 1 && row.deleted > 0 &&
			 namespace_refresh(s, &row) && (s->mailbox->rights & ACL_EXPUNGE);
		view_end(imap_view(s));
	}
	if (!wanted) {
		imap_deselect(s);
		return IMAP_DONE;
	}
	s->pending = store_expunge(imap_store(s), s->mailbox->id, true, &all, 1, on_closed, s);
	return IMAP_WAIT;
}
