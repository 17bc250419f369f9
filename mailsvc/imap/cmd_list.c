/*
 * LIST and LSUB (RFC 9051 6.3.9, RFC 3501 6.3.9), with LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819) and the
 * attributes of CHILDREN and SPECIAL-USE.
 *
 * The names of this account's mailboxes, of those of others that it may look up, and where they matter of its
 * subscriptions, are gathered in one snapshot.  The rest is a job: names may be many and patterns costly.  First each
 * name is matched, then what is listed is decided (list.h), then it is sent, a STATUS behind each LIST where asked for.
 * Special uses of others' mailboxes are not told: another's \Sent is no place for this account's mail.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "list.h"
#include "namespace.h"
#include "status.h"
#include "utf7.h"

#define SLICE_MS 20

struct listing { /* the job */
	struct list_names names;
	struct list_args args; /* its views end with the command's arguments: patterns are copies */
	struct buf patterns[LIST_PATTERNS_MAX];
	bool lsub;
	size_t matched, sent; /* names that have been */
	struct imap_session *session;
};

/* Gathering ---------------------------------------------------------------------------------------------------- */

static bool add_own(void *arg, const struct mailbox_row *row)
{
	struct listing *l = arg;
	struct list_name *e = list_add(&l->names, view_of(row->name));

	e->mailbox = row->id;
	e->special = row->special;
	e->readable = true;
	return true;
}

static bool add_shared(void *arg, const char *owner, const struct mailbox_row *row)
{
	struct listing *l = arg;
	struct buf name = BUF_INIT(IMAP_NAME_MAX);
	uint32_t rights = namespace_rights(l->session, row);

	if (!(rights & ACL_LOOKUP))
		return true;
	namespace_put(&name, namespace_is_shared(l->session, owner), owner, row->name);
	if (!name.full) {
		struct list_name *e = list_add(&l->names, buf_view(&name));

		e->mailbox = row->id;
		e->readable = (rights & ACL_READ) != 0;
	}
	buf_free(&name);
	return true;
}

static bool add_subscription(void *arg, const char *name)
{
	struct listing *l = arg;

	list_add(&l->names, view_of(name))->subscribed = true;
	return true;
}

/* -1: the store is away. */
static int gather(struct imap_session *s, struct listing *l)
{
	if (view_begin(imap_view(s)) < 0)
		return -1;
	if (!l->lsub) {
		view_mailboxes(imap_view(s), s->account, add_own, l);
		view_shared_with(imap_view(s), imap_address(s), add_shared, l);
	}
	if (l->lsub || ((l->args.select | l->args.returns) & LIST_SUBSCRIBED))
		view_subscriptions(imap_view(s), s->account, add_subscription, l);
	view_end(imap_view(s));
	list_link(&l->names);
	return 0;
}

/* Answering -------------------------------------------------------------------------------------------------------- */

static void listing_free(void *state)
{
	struct listing *l = state;

	list_names_free(&l->names);
	for (size_t i = 0; i < LIST_PATTERNS_MAX; i++)
		buf_free(&l->patterns[i]);
	free(l);
}

static void put_attributes(struct buf *out, const struct listing *l, const struct list_name *e)
{
	const struct list_args *a = &l->args;

	if (l->lsub) {
		buf_puts(out, e->subscribed ? "" : "\\Noselect");
		return;
	}
	buf_puts(out, e->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if (e->mailbox == 0)
		buf_puts(out, a->extended ? " \\NonExistent" : " \\Noselect");
	else if (!e->readable)
		buf_puts(out, " \\Noselect");
	if (((a->select | a->returns) & LIST_SUBSCRIBED) && e->subscribed)
		buf_puts(out, " \\Subscribed");
	if (e->special != SPECIAL_NONE)
		buf_printf(out, " %s", special_uses[e->special]);
}

static void put_child_info(struct buf *out, unsigned select)
{
	buf_printf(out, " (\"CHILDINFO\" (%s%s%s))", select & LIST_SUBSCRIBED ? "\"SUBSCRIBED\"" : "",
	    (select & LIST_SUBSCRIBED) && (select & LIST_SPECIAL_USE) ? " " : "",
	    select & LIST_SPECIAL_USE ? "\"SPECIAL-USE\"" : "");
}

/* Within a snapshot: as it now is, or not at all. */
static void put_status(struct imap_session *s, struct buf *out, const struct listing *l, const struct list_name *e)
{
	struct mailbox_row row;

	if (e->mailbox != 0 && e->readable && view_mailbox(imap_view(s), e->mailbox, &row) == 1 &&
	    (namespace_rights(s, &row) & ACL_READ))
		status_put(s, out, e->name, &row, l->args.status);
}

static void send_name(struct imap_session *s, const struct listing *l, const struct list_name *e)
{
	struct buf line = BUF_INIT(64 * 1024);

	buf_printf(&line, "* %s (", l->lsub ? "LSUB" : "LIST");
	put_attributes(&line, l, e);
	buf_puts(&line, ") \"/\" ");
	imap_put_mailbox(s, &line, e->name);
	if ((l->args.select & LIST_RECURSIVEMATCH) && e->children_chosen)
		put_child_info(&line, l->args.select);
	buf_puts(&line, "\r\n");
	if (l->args.returns & LIST_STATUS)
		put_status(s, &line, l, e);
	conn_writev(s->conn, buf_view(&line));
	buf_free(&line);
}

static void match(const struct listing *l, struct list_name *e)
{
	struct buf wire = BUF_INIT(IMAP_NAME_MAX * 4);

	if (imap_names_utf8(l->session))
		buf_puts(&wire, e->name);
	else
		utf7_encode(view_of(e->name), &wire);
	for (size_t i = 0; i < l->args.pattern_count && !e->matched; i++)
		e->matched = list_match(buf_view(&l->patterns[i]), buf_view(&wire));
	buf_free(&wire);
}

/* Sends until the slice is over: true when all has been sent. */
static bool send_slice(struct imap_session *s, struct listing *l, uint64_t end)
{
	while (l->sent < l->names.count) {
		const struct list_name *e = &l->names.at[l->sent++];

		if (e->listed)
			send_name(s, l, e);
		if (imap_output_full(s) || clock_mono_ms() >= end)
			break;
	}
	return l->sent == l->names.count;
}

static bool list_run(struct imap_session *s, void *state)
{
	struct listing *l = state;
	bool status = (l->args.returns & LIST_STATUS) != 0, all;
	uint64_t end = clock_mono_ms() + SLICE_MS;

	while (l->matched < l->names.count) {
		match(l, &l->names.at[l->matched++]);
		if (l->matched == l->names.count)
			list_choose(&l->names, l->lsub, l->args.select);
		if (clock_mono_ms() >= end)
			return false;
	}
	if (status && view_begin(imap_view(s)) < 0) {
		imap_finish_store(s, STORE_UNAVAILABLE);
		return true;
	}
	all = send_slice(s, l, end);
	if (status)
		view_end(imap_view(s));
	if (all)
		imap_finish(s, "OK %s completed.", l->lsub ? "LSUB" : "LIST");
	return all;
}

/* The reference in front of the pattern; INBOX at its start in capitals, as the name is. */
static bool full_pattern(struct view reference, struct view pattern, struct buf *out)
{
	static const struct view inbox = { "INBOX", 5 };

	out->max = LIST_PATTERN_MAX;
	buf_addv(out, reference);
	buf_addv(out, pattern);
	if (out->full)
		return false;
	if (out->len >= inbox.len && view_caseeq((struct view){ out->data, inbox.len }, "INBOX") &&
	    (out->len == inbox.len || strchr("/%*", out->data[inbox.len]) != NULL))
		memcpy(out->data, inbox.ptr, inbox.len);
	return true;
}

static struct listing *listing_new(struct imap_session *s, const struct list_args *a, bool lsub)
{
	struct listing *l = xcalloc(1, sizeof(*l));

	l->session = s;
	l->args = *a;
	l->lsub = lsub;
	for (size_t i = 0; i < a->pattern_count; i++) {
		if (!full_pattern(a->reference, a->patterns[i], &l->patterns[i])) {
			listing_free(l);
			return NULL;
		}
	}
	return l;
}

int imap_cmd_list(struct imap_session *s, struct imap_parser *p, bool lsub)
{
	struct imap_job job = { list_run, listing_free, NULL };
	struct list_args a;
	struct listing *l;

	if (!list_parse(p, lsub, &a))
		return IMAP_BAD;
	if (!a.extended && a.patterns[0].len == 0 && !lsub) { /* asks for the separator */
		conn_printf(s->conn, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return IMAP_DONE;
	}
	l = listing_new(s, &a, lsub);
	if (l == NULL)
		return imap_bad(p, "The pattern is too long.");
	if (gather(s, l) < 0) {
		listing_free(l);
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	if ((a.returns & LIST_STATUS) && (a.status & STATUS_HIGHESTMODSEQ))
		imap_enable_condstore(s);
	job.state = l;
	imap_start_job(s, &job);
	return IMAP_WAIT;
}
