/*
 * LIST and LSUB (RFC 3501 6.3.8, 6.3.9), the attributes of CHILDREN and SPECIAL-USE, and of LIST-EXTENDED (RFC 5258)
 * what clients send unasked: the selection options SUBSCRIBED, SPECIAL-USE and REMOTE, and RETURN (SUBSCRIBED CHILDREN
 * SPECIAL-USE).  That is not all of it, so it is not advertised.
 *
 * All names of the account are gathered and sorted; a level that has children and is no mailbox itself is listed as
 * \Noselect when the pattern asks level by level ("%").  The answer is a job: names may be many and patterns costly.
 */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "lib/clock.h"
#include "utf7.h"

#define SLICE_MS 20
#define LOOK_NAMES 16 /* names between two looks at the clock */

enum { WANT_SUBSCRIBED = 1, WANT_SPECIAL = 2 };

struct name {
	char *name;
	enum special_use special;
	bool exists, subscribed;
};

struct names {
	struct name *at;
	size_t count, cap, sorted; /* the first `sorted` are in order */
};

struct list_args {
	struct view reference, pattern;
	unsigned select;
	bool return_subscribed;
};

/* Gathering ---------------------------------------------------------------------------------------------------- */

static struct name *add(struct names *n, const char *name, size_t len)
{
	struct name *e;

	if (n->count == n->cap) {
		n->cap = n->cap * 2 + 16;
		n->at = xreallocarray(n->at, n->cap, sizeof(*n->at));
	}
	e = &n->at[n->count++];
	*e = (struct name){ .name = view_dup((struct view){ name, len }) };
	return e;
}

static bool add_mailbox(void *arg, const struct mailbox_row *row)
{
	struct name *e = add(arg, row->name, strlen(row->name));

	e->special = row->special;
	e->exists = true;
	return true;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->name, ((const struct name *)b)->name);
}

static void sort(struct names *n)
{
	if (n->count > 0)
		qsort(n->at, n->count, sizeof(*n->at), compare);
	n->sorted = n->count;
}

static struct name *find(const struct names *n, const char *name)
{
	const struct name key = { .name = (char *)(uintptr_t)name };

	return n->sorted > 0 ? bsearch(&key, n->at, n->sorted, sizeof(*n->at), compare) : NULL;
}

struct subscriptions {
	struct names *names;
	bool only; /* LSUB: names that are subscribed, whether they exist or not */
};

static bool add_subscription(void *arg, const char *name)
{
	struct subscriptions *s = arg;
	struct name *e = s->only ? NULL : find(s->names, name);

	if (e == NULL)
		e = add(s->names, name, strlen(name));
	e->subscribed = true;
	return true;
}

/* Is there a name one level or more below? */
static bool has_children(const struct names *n, const char *name)
{
	size_t len = strlen(name), low = 0, high = n->count;

	/* The first name that is not below name + "/" in order. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strncmp(n->at[mid].name, name, len);

		if (order == 0)
			order = (unsigned char)n->at[mid].name[len] < '/' ? -1 : 1;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n->count && strncmp(n->at[low].name, name, len) == 0 && n->at[low].name[len] == '/';
}

/* Adds the levels that are no names themselves. */
static void add_parents(struct names *n)
{
	size_t count = n->count;

	for (size_t i = 0; i < count; i++) {
		for (const char *slash = strchr(n->at[i].name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
			size_t len = (size_t)(slash - n->at[i].name);
			char parent[MAILBOX_NAME_MAX + 1];

			if (view_copy((struct view){ n->at[i].name, len }, parent, sizeof(parent)) < 0 || len == 0)
				break;
			/* Names in order: the last one added is the only one that can be the same. */
			if (find(n, parent) == NULL &&
			    (n->count == count || strcmp(n->at[n->count - 1].name, parent) != 0))
				add(n, parent, len);
		}
	}
	if (n->count == count)
		return;
	sort(n);
	for (size_t i = 1, to = 1; i <= n->count; i++) {
		if (i == n->count) {
			n->count = n->sorted = to;
			break;
		}
		if (strcmp(n->at[i].name, n->at[to - 1].name) == 0)
			free(n->at[i].name);
		else
			n->at[to++] = n->at[i];
	}
}

/* Arguments -------------------------------------------------------------------------------------------------------- */

static bool parse_options(struct imap_parser *p, bool select, struct list_args *a)
{
	struct view word;

	if (!imap_parse_char(p, '('))
		return false;
	if (imap_accept(p, ')'))
		return true;
	do {
		if (!imap_parse_word(p, &word))
			return false;
		if (view_caseeq(word, "SUBSCRIBED")) {
			if (select)
				a->select |= WANT_SUBSCRIBED;
			a->return_subscribed = true;
		} else if (view_caseeq(word, "SPECIAL-USE")) {
			if (select)
				a->select |= WANT_SPECIAL;
		} else if (!view_caseeq(word, select ? "REMOTE" : "CHILDREN")) {
			return imap_fail(p, "Unknown LIST option.");
		}
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

static bool parse_args(struct imap_parser *p, bool lsub, struct list_args *a)
{
	struct view word;

	*a = (struct list_args){ 0 };
	if (!imap_parse_sp(p))
		return false;
	if (!lsub && imap_peek(p) == '(' && (!parse_options(p, true, a) || !imap_parse_sp(p)))
		return false;
	if (!imap_parse_astring(p, &a->reference) && imap_peek(p) != ' ')
		return false;
	if (!imap_parse_sp(p) || !imap_parse_list_mailbox(p, &a->pattern))
		return false;
	if (!lsub && imap_accept(p, ' ')) {
		if (!imap_parse_word(p, &word))
			return false;
		if (!view_caseeq(word, "RETURN"))
			return imap_fail(p, "Unknown LIST argument.");
		if (!imap_parse_sp(p) || !parse_options(p, false, a))
			return false;
	}
	return imap_parse_end(p);
}

/* Answering ----------------------------------------------------------------------------------------------------------
 */

static void put_attributes(
    struct buf *out, const struct names *n, const struct name *e, bool lsub, const struct list_args *a)
{
	static const char *const uses[] = { "", " \\Drafts", " \\Sent", " \\Trash", " \\Junk", " \\Archive" };

	if (lsub) {
		if (!e->subscribed)
			buf_puts(out, "\\Noselect");
		return;
	}
	buf_puts(out, has_children(n, e->name) ? "\\HasChildren" : "\\HasNoChildren");
	if (!e->exists)
		buf_puts(out, " \\Noselect");
	if (a->return_subscribed && e->subscribed)
		buf_puts(out, " \\Subscribed");
	buf_puts(out, uses[e->special]);
}

static bool wanted(const struct name *e, bool lsub, bool levels, const struct list_args *a)
{
	if ((a->select & WANT_SUBSCRIBED) && !e->subscribed)
		return false;
	if ((a->select & WANT_SPECIAL) && e->special == SPECIAL_NONE)
		return false;
	return lsub ? e->subscribed || levels : e->exists || levels || (a->select & WANT_SUBSCRIBED);
}

struct listing { /* the job */
	struct names names;
	struct list_args args;
	struct buf pattern;
	bool lsub;
	size_t at;
};

static void listing_free(void *state)
{
	struct listing *l = state;

	for (size_t i = 0; i < l->names.count; i++)
		free(l->names.at[i].name);
	free(l->names.at);
	buf_free(&l->pattern);
	free(l);
}

static void put_name(struct imap_session *s, const struct listing *l, const struct name *e)
{
	struct buf utf7 = BUF_INIT(MAILBOX_NAME_MAX * 4), line = BUF_INIT(8192);

	utf7_encode(view_of(e->name), &utf7);
	if (list_match(buf_view(&l->pattern), buf_view(&utf7))) {
		buf_printf(&line, "* %s (", l->lsub ? "LSUB" : "LIST");
		put_attributes(&line, &l->names, e, l->lsub, &l->args);
		buf_puts(&line, ") \"/\" ");
		imap_put_string(&line, buf_view(&utf7));
		buf_puts(&line, "\r\n");
		conn_writev(s->conn, buf_view(&line));
	}
	buf_free(&utf7);
	buf_free(&line);
}

static bool list_run(struct imap_session *s, void *state)
{
	struct listing *l = state;
	struct view pattern = buf_view(&l->pattern);
	bool levels = pattern.len > 0 && pattern.ptr[pattern.len - 1] == '%';
	uint64_t end = clock_mono_ms() + SLICE_MS;

	while (l->at < l->names.count) {
		const struct name *e = &l->names.at[l->at++];

		if (wanted(e, l->lsub, levels, &l->args))
			put_name(s, l, e);
		if (imap_output_full(s) || (l->at % LOOK_NAMES == 0 && clock_mono_ms() >= end))
			return false;
	}
	imap_finish(s, "OK %s completed.", l->lsub ? "LSUB" : "LIST");
	return true;
}

/* The reference in front of the pattern; INBOX at its start in capitals, as the name is. */
static bool full_pattern(const struct list_args *a, struct buf *out)
{
	static const struct view inbox = { "INBOX", 5 };

	buf_addv(out, a->reference);
	buf_addv(out, a->pattern);
	if (out->full)
		return false;
	if (out->len >= inbox.len && view_caseeq((struct view){ out->data, inbox.len }, "INBOX") &&
	    (out->len == inbox.len || strchr("/%*", out->data[inbox.len]) != NULL))
		memcpy(out->data, inbox.ptr, inbox.len);
	return true;
}

/* Takes all names of the account from the store; -1: it is away. */
static int gather(struct imap_session *s, struct listing *l)
{
	struct subscriptions subscriptions = { &l->names, l->lsub };

	if (view_begin(imap_view(s)) < 0)
		return -1;
	if (!l->lsub)
		view_mailboxes(imap_view(s), s->account, add_mailbox, &l->names);
	sort(&l->names);
	if (l->lsub || l->args.return_subscribed)
		view_subscriptions(imap_view(s), s->account, add_subscription, &subscriptions);
	view_end(imap_view(s));
	sort(&l->names);
	add_parents(&l->names);
	return 0;
}

int imap_cmd_list(struct imap_session *s, struct imap_parser *p, bool lsub)
{
	struct imap_job job = { list_run, listing_free, NULL };
	struct listing *l;
	struct list_args a;

	if (!parse_args(p, lsub, &a))
		return IMAP_BAD;
	if (a.pattern.len == 0 && !lsub) { /* asks for the separator */
		conn_printf(s->conn, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return IMAP_DONE;
	}
	job.state = l = xcalloc(1, sizeof(*l));
	l->args = a;
	l->lsub = lsub;
	l->pattern.max = LIST_PATTERN_MAX;
	if (!full_pattern(&a, &l->pattern)) {
		listing_free(l);
		return imap_bad(p, "The pattern is too long.");
	}
	if (gather(s, l) < 0) {
		listing_free(l);
		imap_finish_store(s, STORE_UNAVAILABLE);
		return IMAP_DONE;
	}
	imap_start_job(s, &job);
	return IMAP_WAIT;
}
