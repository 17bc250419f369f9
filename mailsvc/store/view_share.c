/* The readers' side of what is kept beside messages: ACL entries, annotations, and what can be brought back. */
#include <stdlib.h>
#include <string.h>

#include "acl.h"
#include "view_impl.h"

void view_acl(struct store_view *v, uint32_t mailbox, bool (*fn)(void *, const char *, uint32_t), void *arg)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	char identifier[ADDRESS_MAX + 1];
	uint32_t rights;
	bool more = view_usable(v) && tx_seek(&v->tx, T_ACL, &c, &k, 4, &found, &value);

	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, 4, &found, &value)) {
		if (value.len != sizeof rights ||
		    view_copy((struct view){ found.ptr + 4, found.len - 4 }, identifier, sizeof identifier) == -1)
			continue;
		memcpy(&rights, value.ptr, sizeof rights);
		if (!fn(arg, identifier, rights))
			break;
	}
	if (c)
		mdb_cursor_close(c);
}

struct shared_with {
	struct share {
		uint32_t mailbox;
		struct view owner, name; /* of the snapshot */
	} * at;
	size_t count;
};

static void shared_collect(struct store_view *v, const char *identifier, const char *address, struct shared_with *s)
{
	struct key k = acl_by_key(view_of(identifier), 0);
	MDB_cursor *c = NULL;
	struct view found, value;
	bool more;

	k.len -= 4;
	more = view_usable(v) && tx_seek(&v->tx, T_ACL_BY, &c, &k, k.len, &found, &value);
	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, k.len, &found, &value)) {
		struct share share = { 0 };
		struct mailbox_value m;
		struct account_value a;
		if (found.len != k.len + 4)
			continue;
		share.mailbox = get_be32(found.ptr + k.len);
		if (!get_mailbox(&v->tx, share.mailbox, &m, &share.name) ||
		    !get_account(&v->tx, m.account, &a, &share.owner) || a.orphaned || view_eq(share.owner, address))
			continue;
		s->at = xreallocarray(s->at, s->count + 1, sizeof *s->at);
		s->at[s->count++] = share;
	}
	if (c)
		mdb_cursor_close(c);
}

static int view_cmp(struct view a, struct view b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

	return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

/* By owner; INBOX first, then by name. */
static int share_cmp(const void *x, const void *y)
{
	const struct share *a = x, *b = y;
	int c = view_cmp(a->owner, b->owner);
	bool inbox = view_eq(a->name, "INBOX"), other = view_eq(b->name, "INBOX");

	if (c)
		return c;
	return inbox != other ? other - inbox : view_cmp(a->name, b->name);
}

void view_shared_with(
    struct store_view *v, const char *address, bool (*fn)(void *, const char *, const struct mailbox_row *), void *arg)
{
	struct shared_with s = { 0 };
	struct mailbox_row *row = xmalloc(sizeof *row);
	char owner[ADDRESS_MAX];

	shared_collect(v, address, address, &s);
	shared_collect(v, ACL_ANYONE, address, &s);
	if (s.count)
		qsort(s.at, s.count, sizeof *s.at, share_cmp);
	for (size_t i = 0; i < s.count; i++) {
		if (i && s.at[i].mailbox == s.at[i - 1].mailbox)
			continue;
		if (view_copy(s.at[i].owner, owner, sizeof owner) == 0 && view_mailbox(v, s.at[i].mailbox, row) &&
		    !fn(arg, owner, row))
			break;
	}
	free(s.at);
	free(row);
}

void view_metadata(
    struct store_view *v, uint32_t account, uint32_t mailbox, bool (*fn)(void *, const char *, struct view), void *arg)
{
	struct key k = pair_key(mailbox, account);
	MDB_cursor *c = NULL;
	struct view found, value;
	char entry[METADATA_ENTRY_MAX + 1];
	bool more = view_usable(v) && tx_seek(&v->tx, T_METADATA, &c, &k, 8, &found, &value);

	for (; more; more = view_usable(v) && tx_next(&v->tx, c, &k, 8, &found, &value))
		if (view_copy((struct view){ found.ptr + 8, found.len - 8 }, entry, sizeof entry) == 0 &&
		    !fn(arg, entry, value))
			break;
	if (c)
		mdb_cursor_close(c);
}

int view_metadata_get(struct store_view *v, uint32_t account, uint32_t mailbox, const char *entry, struct view *value)
{
	char lower[METADATA_ENTRY_MAX + 1];
	struct key k;
	size_t n = strlen(entry);

	*value = VIEW_NONE;
	if (n > METADATA_ENTRY_MAX)
		return 0;
	for (size_t i = 0; i <= n; i++)
		lower[i] = entry[i] >= 'A' && entry[i] <= 'Z' ? (char)(entry[i] + 32) : entry[i];
	k = metadata_key(mailbox, account, (struct view){ lower, n });
	return view_usable(v) && tx_get(&v->tx, T_METADATA, &k, value);
}

void view_keywords(struct store_view *v, uint32_t mailbox, struct view names[KEYWORDS_MAX])
{
	memset(names, 0, KEYWORDS_MAX * sizeof *names);
	if (view_usable(v))
		get_keywords(&v->tx, mailbox, names);
}

struct expunged_walk {
	struct store_view *v;
	int64_t since;
	bool (*fn)(void *, uint32_t, const char *, int64_t, const struct message_row *);
	void *arg;
	bool stopped;
};

static void expunged_of(struct expunged_walk *w, uint32_t mailbox, const char *name)
{
	struct key k = expunged_key(mailbox, w->since < 0 ? 0 : w->since, 0);
	MDB_cursor *c = NULL;
	struct view found, value;
	struct message_row row;
	bool more = view_usable(w->v) && tx_seek(&w->v->tx, T_EXPUNGED, &c, &k, 4, &found, &value);

	for (; more && !w->stopped; more = view_usable(w->v) && tx_next(&w->v->tx, c, &k, 4, &found, &value))
		if (found.len == 16 && view_fill(&row, get_be32(found.ptr + 12), value, UINT32_MAX))
			w->stopped = !w->fn(w->arg, mailbox, name, (int64_t)get_be64(found.ptr + 4), &row);
	if (c)
		mdb_cursor_close(c);
}

/* Rows of a deleted mailbox that are not yet swept to where expunged ones are. */
static void unswept_of(struct expunged_walk *w, uint32_t mailbox, const char *name, int64_t when)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	struct message_row row;
	bool more = when >= w->since && view_usable(w->v) && tx_seek(&w->v->tx, T_MESSAGE, &c, &k, 4, &found, &value);

	for (; more && !w->stopped; more = view_usable(w->v) && tx_next(&w->v->tx, c, &k, 4, &found, &value))
		if (found.len == 8 && view_fill(&row, get_be32(found.ptr + 4), value, UINT32_MAX))
			w->stopped = !w->fn(w->arg, mailbox, name, when, &row);
	if (c)
		mdb_cursor_close(c);
}

static bool expunged_live(void *arg, const struct mailbox_row *m)
{
	struct expunged_walk *w = arg;

	expunged_of(w, m->id, m->name);
	return !w->stopped;
}

void view_expunged(struct store_view *v, uint32_t account, int64_t since,
    bool (*fn)(void *, uint32_t, const char *, int64_t, const struct message_row *), void *arg)
{
	struct expunged_walk w = { v, since, fn, arg, false };
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	char name[MAILBOX_NAME_MAX + 1];
	bool more;

	view_mailboxes(v, account, expunged_live, &w);
	more = !w.stopped && view_usable(v) && tx_seek(&v->tx, T_GRAVE, &c, &first, 0, &found, &value);
	for (; more && !w.stopped; more = view_usable(v) && tx_next(&v->tx, c, &first, 0, &found, &value)) {
		uint32_t mailbox = get_be32(found.ptr);
		struct grave_value g;
		struct view v_name;
		if (!get_grave(&v->tx, mailbox, &g, &v_name) || g.account != account ||
		    view_copy(v_name, name, sizeof name) == -1)
			continue;
		expunged_of(&w, mailbox, name);
		unswept_of(&w, mailbox, name, g.when);
	}
	if (c)
		mdb_cursor_close(c);
}
