/*
 * What has changed in the selected mailbox since a modseq (RFC 7162): for FETCH (CHANGEDSINCE n VANISHED) and SELECT
 * (QRESYNC ...).  Both come from the change log, so the cost is that of the changes.  Store forgets the oldest
 * expunges; then everything that was asked about and is not there is named, which RFC 7162 3.2.5.1 allows.
 */
#include <stdlib.h>

#include "imap.h"
#include "slices.h"

struct changes {
	const struct imap_mailbox *mailbox;
	const struct uid_range *within; /* sorted, disjoint */
	size_t within_count;
	bool gone; /* expunges, else the others */
	struct uid_range *at;
	size_t count, cap;
};

static void add(struct changes *c, struct uid_range r)
{
	if (c->count > 0 && c->at[c->count - 1].last + 1 == r.first) {
		c->at[c->count - 1].last = r.last;
		return;
	}
	if (c->count == c->cap) {
		c->cap = c->cap * 2 + 16;
		c->at = xreallocarray(c->at, c->cap, sizeof(*c->at));
	}
	c->at[c->count++] = r;
}

static bool collect(void *arg, uint64_t modseq, uint32_t uid, enum change_kind kind)
{
	struct changes *c = arg;
	bool known = uidmap_seq(&c->mailbox->map, uid) != 0;

	(void)modseq;
	/* An expunge of what the client still has a number for is told by the synchronisation. */
	if ((kind == CHANGE_EXPUNGED) == c->gone && known != c->gone &&
	    uid_ranges_have(c->within, c->within_count, uid))
		add(c, (struct uid_range){ uid, uid });
	return true;
}

/* Sorts and joins: one UID is there once, but for one that came and went. */
static void tidy(struct changes *c)
{
	struct uid_range *at = c->at;
	size_t count = c->count;

	if (count == 0)
		return;
	qsort(at, count, sizeof(*at), uid_range_order);
	c->count = 1;
	for (size_t i = 1; i < count; i++) {
		struct uid_range *last = &at[c->count - 1];

		if (at[i].first > last->last && at[i].first - last->last > 1)
			at[c->count++] = at[i];
		else if (at[i].last > last->last)
			last->last = at[i].last;
	}
}

/* What is asked about, lies below uid_next and is not in the map. */
static void collect_gaps(struct changes *c, uint32_t uid_next)
{
	const struct uidmap *map = &c->mailbox->map;
	uint32_t run = 0;

	for (size_t i = 0; i < c->within_count; i++) {
		uint32_t from = c->within[i].first, last = c->within[i].last;

		if (last >= uid_next)
			last = uid_next - 1;
		while (run < map->runs && map->run[run].first + map->run[run].count <= from)
			run++;
		for (uint32_t at = run; from <= last; at++) {
			uint32_t next = at < map->runs ? map->run[at].first : uid_next;

			if (next > from)
				add(c, (struct uid_range){ from, next - 1 < last ? next - 1 : last });
			if (at == map->runs)
				break;
			from = next + map->run[at].count;
		}
	}
}

void imap_changed_since(const struct imap_session *s, uint64_t since, const struct uid_range *within,
    size_t within_count, struct uid_range **out, size_t *count)
{
	struct changes c = { .mailbox = s->mailbox, .within = within, .within_count = within_count };

	view_changes(imap_view(s), s->mailbox->id, since, collect, &c);
	tidy(&c);
	*out = c.at;
	*count = c.count;
}

void imap_send_vanished(
    struct imap_session *s, uint64_t since, const struct uid_range *within, size_t within_count)
{
	struct changes c = { .mailbox = s->mailbox, .within = within, .within_count = within_count, .gone = true };
	struct buf line = BUF_INIT(64u << 20);
	struct mailbox_row row;

	if (view_mailbox(imap_view(s), s->mailbox->id, &row) != 1)
		return;
	if (view_changes_whole(imap_view(s), s->mailbox->id, since)) {
		view_changes(imap_view(s), s->mailbox->id, since, collect, &c);
		tidy(&c);
	} else {
		collect_gaps(&c, row.uid_next);
	}
	if (c.count > 0) {
		buf_puts(&line, "* VANISHED (EARLIER) ");
		slices_put_set(&line, c.at, c.count);
		buf_puts(&line, "\r\n");
		conn_writev(s->conn, buf_view(&line));
	}
	buf_free(&line);
	free(c.at);
}

void imap_set_to_uids(const struct imap_set *set, struct uid_range **out, size_t *count)
{
	struct changes c = { .at = xreallocarray(NULL, set->count + 1, sizeof(*c.at)) };

	for (size_t i = 0; i < set->count; i++) {
		uint32_t a = set->at[i].first != 0 ? set->at[i].first : UINT32_MAX;
		uint32_t b = set->at[i].last != 0 ? set->at[i].last : UINT32_MAX;

		c.at[c.count++] = a < b ? (struct uid_range){ a, b } : (struct uid_range){ b, a };
	}
	tidy(&c);
	*out = c.at;
	*count = c.count;
}

void imap_enable_condstore(struct imap_session *s)
{
	const struct imap_mailbox *m = s->mailbox;

	if (!(s->enabled & ENABLED_CONDSTORE) && m != NULL) {
		/* Not beyond an expunge that has not been told: a client would resynchronise from behind it. */
		uint64_t told = m->expunge_modseq < m->modseq ? m->expunge_modseq : m->modseq;

		conn_printf(s->conn, "* OK [HIGHESTMODSEQ %llu] Highest.\r\n", (unsigned long long)(told > 0 ? told : 1));
	}
	s->enabled |= ENABLED_CONDSTORE;
}
