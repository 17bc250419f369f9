/*
 * Nodes are numbered: messages 0 .. count - 1 in the order of date and UID, then the identifiers that only References
 * name, then dummies that join threads of one subject.  A forest is one array, parent[]; everything else is made from
 * it by walks over the messages in order, so that siblings come out sorted and no depth needs a stack.
 */
#include "mailsvc/imap/thread.h"

#include <stdlib.h>
#include <string.h>

#include "mailsvc/imap/search_reply.h"
#include "mailsvc/imap/sort.h"

#define NONE UINT32_MAX

struct forest {
	const struct order_table *table;
	uint32_t *row;  /* of messages */
	uint32_t count; /* messages */
	uint32_t nodes; /* with what is no message */
	uint32_t cap;
	uint32_t *parent; /* NONE: a root */
	uint32_t *root;   /* while linking: towards the root, shortened on the way (union-find) */
	/* Identifiers: open addressing. */
	uint64_t *id;
	uint32_t *node_of;
	size_t mask;
	struct place *places; /* for the reply */
};

/* All that the reply says of a node together: those of a thread lie far apart in memory. */
struct place {
	uint32_t parent, first, next; /* first: child, next: sibling */
	uint32_t number;              /* of a message: UID or sequence number */
	bool listed;                  /* it has siblings, and so is a list of its own */
};

bool thread_parse(struct imap_parser *p, enum thread_algorithm *out)
{
	struct view word;

	if (!imap_parse_sp(p) || !imap_parse_word(p, &word))
		return false;
	*out = view_caseeq(word, "REFERENCES")       ? THREAD_REFERENCES
	       : view_caseeq(word, "ORDEREDSUBJECT") ? THREAD_ORDEREDSUBJECT
	                                             : THREAD_NONE;
	return *out != THREAD_NONE || imap_fail(p, "Unknown threading algorithm.");
}

unsigned thread_kinds(enum thread_algorithm algorithm)
{
	return 1u << ORDER_SUBJECT | 1u << ORDER_DATE | (algorithm == THREAD_REFERENCES ? 1u << ORDER_LINKS : 0);
}

/* Nodes -------------------------------------------------------------------------------------------------------------
 */

static uint32_t add_node(struct forest *f)
{
	if (f->nodes == f->cap) {
		f->cap = f->cap + f->cap / 2 + 64;
		f->parent = xreallocarray(f->parent, f->cap, sizeof(*f->parent));
		f->root = xreallocarray(f->root, f->cap, sizeof(*f->root));
	}
	f->parent[f->nodes] = NONE;
	f->root[f->nodes] = f->nodes;
	return f->nodes++;
}

static const struct order_links *links_of(const struct forest *f, uint32_t message)
{
	return &f->table->links[f->row[message]];
}

/* The slot of an identifier; it is empty (node_of NONE) when it is new. */
static size_t slot_of(const struct forest *f, uint64_t id)
{
	size_t i = (size_t)(id * 0x9e3779b97f4a7c15u >> 20) & f->mask;

	while (f->node_of[i] != NONE && f->id[i] != id)
		i = (i + 1) & f->mask;
	return i;
}

static uint32_t node_of_id(struct forest *f, uint64_t id)
{
	size_t i = slot_of(f, id);

	if (f->node_of[i] == NONE) {
		f->id[i] = id;
		f->node_of[i] = add_node(f);
	}
	return f->node_of[i];
}

static uint32_t root_of(struct forest *f, uint32_t node)
{
	while (f->root[node] != node) {
		f->root[node] = f->root[f->root[node]];
		node = f->root[node];
	}
	return node;
}

/* Puts child, which has no parent, below parent, unless that would close a loop. */
static void link_nodes(struct forest *f, uint32_t parent, uint32_t child)
{
	if (f->parent[child] != NONE || root_of(f, parent) == child)
		return;
	f->parent[child] = parent;
	f->root[child] = parent;
}

/* REFERENCES --------------------------------------------------------------------------------------------------------
 */

static void name_messages(struct forest *f)
{
	size_t ids = f->count, size = 64;

	for (uint32_t i = 0; i < f->count; i++)
		ids += links_of(f, i)->count;
	while (size < 2 * ids)
		size *= 2;
	f->mask = size - 1;
	f->id = xreallocarray(NULL, size, sizeof(*f->id));
	f->node_of = xreallocarray(NULL, size, sizeof(*f->node_of));
	memset(f->node_of, 0xff, size * sizeof(*f->node_of));
	for (uint32_t i = 0; i < f->count; i++) {
		uint64_t id = links_of(f, i)->id;
		size_t slot;

		if (id == 0)
			continue;
		slot = slot_of(f, id);
		if (f->node_of[slot] != NONE)
			continue; /* a second message of that name has none (RFC 5256, step 1 A) */
		f->id[slot] = id;
		f->node_of[slot] = i;
	}
}

static void link_all(struct forest *f)
{
	for (uint32_t i = 0; i < f->count; i++) {
		const struct order_links *l = links_of(f, i);

		if (l->count > 0)
			link_nodes(f, node_of_id(f, f->table->ids[l->at + l->count - 1]), i);
	}
	for (uint32_t i = 0; i < f->count; i++) {
		const struct order_links *l = links_of(f, i);

		for (uint32_t r = 1; r < l->count; r++) {
			uint32_t parent = node_of_id(f, f->table->ids[l->at + r - 1]);
			uint32_t child = node_of_id(f, f->table->ids[l->at + r]);

			/* A message that has said itself where it belongs stays there, also where that was a loop. */
			if (child >= f->count || links_of(f, child)->count == 0)
				link_nodes(f, parent, child);
		}
	}
}

/*
 * What is no message goes: its children come to its place, but for a root with several, which stays.  root[] is used
 * anew: for a node that is no message the message above it, or the topmost one above it.
 */
static uint32_t real_parent(struct forest *f, uint32_t node)
{
	uint32_t at = node, end, next;

	while (at >= f->count && f->root[at] == NONE && f->parent[at] != NONE)
		at = f->parent[at];
	end = at >= f->count && f->root[at] != NONE ? f->root[at] : at;
	for (at = node; at >= f->count && f->root[at] == NONE; at = next) {
		next = f->parent[at];
		f->root[at] = end;
		if (next == NONE)
			break;
	}
	return end;
}

static void prune(struct forest *f)
{
	uint32_t *children = xcalloc(f->nodes, sizeof(*children));

	memset(f->root, 0xff, f->nodes * sizeof(*f->root));
	for (uint32_t i = 0; i < f->count; i++) {
		if (f->parent[i] != NONE)
			f->parent[i] = real_parent(f, f->parent[i]);
		if (f->parent[i] != NONE)
			children[f->parent[i]]++;
	}
	for (uint32_t i = 0; i < f->count; i++)
		if (f->parent[i] != NONE && f->parent[i] >= f->count && children[f->parent[i]] < 2)
			f->parent[i] = NONE;
	for (uint32_t i = f->count; i < f->nodes; i++)
		f->parent[i] = NONE;
	free(children);
}

/* The threads, in order: messages without a parent, and dummies where their first child stands. */
static uint32_t *roots_of(const struct forest *f, uint32_t *count)
{
	uint32_t *roots = xreallocarray(NULL, (size_t)f->count + 1, sizeof(*roots));
	bool *seen = xcalloc((size_t)f->nodes + 1, sizeof(*seen));

	*count = 0;
	for (uint32_t i = 0; i < f->count; i++) {
		uint32_t node = f->parent[i] == NONE ? i : f->parent[i];

		if ((node != i && node < f->count) || seen[node])
			continue;
		seen[node] = true;
		roots[(*count)++] = node;
	}
	free(seen);
	return roots;
}

/* The message whose subject a thread has. */
static void first_children(const struct forest *f, uint32_t *first)
{
	memset(first, 0xff, f->nodes * sizeof(*first));
	for (uint32_t i = f->count; i-- > 0;)
		if (f->parent[i] != NONE)
			first[f->parent[i]] = i;
}

static uint32_t subject_of(const struct forest *f, uint32_t message)
{
	const struct order_column *c = &f->table->column[ORDER_SUBJECT];

	return c->text[f->row[message]] != 0 ? order_rank_of(c, f->row[message]) : NONE;
}

struct subjects {
	struct forest *forest;
	uint32_t *first;  /* children */
	uint32_t *thread; /* by subject: the root that stands for it */
};

static uint32_t spokesman(const struct subjects *x, uint32_t root)
{
	return root < x->forest->count ? root : x->first[root];
}

static bool is_reply(const struct subjects *x, uint32_t root)
{
	return root < x->forest->count && links_of(x->forest, root)->reply;
}

/* Step 5 B: which thread stands for a subject. */
static void choose(struct subjects *x, uint32_t root)
{
	uint32_t count = x->forest->count, subject = subject_of(x->forest, spokesman(x, root)), old;

	if (subject == NONE)
		return;
	old = x->thread[subject];
	if (old == NONE || (old < count && (root >= count || (is_reply(x, old) && !is_reply(x, root)))))
		x->thread[subject] = root;
}

/* Step 5 C: joins a thread with the one that stands for its subject; moved: where a dummy's children have gone. */
static void join(struct subjects *x, uint32_t root, uint32_t *moved)
{
	struct forest *f = x->forest;
	uint32_t subject = subject_of(f, spokesman(x, root)), into, dummy;

	if (subject == NONE || (into = x->thread[subject]) == root)
		return;
	if (into >= f->count) {
		if (root >= f->count)
			moved[root] = into;
		else
			f->parent[root] = into;
	} else if (is_reply(x, root) && !is_reply(x, into)) {
		f->parent[root] = into;
	} else {
		dummy = add_node(f);
		f->parent[root] = f->parent[into] = dummy;
		x->thread[subject] = dummy;
	}
}

static void join_subjects(struct forest *f)
{
	uint32_t count, *roots = roots_of(f, &count), old_nodes = f->nodes;
	size_t subjects = f->table->column[ORDER_SUBJECT].distinct;
	struct subjects x = { .forest = f,
		.first = xreallocarray(NULL, (size_t)f->nodes + 1, sizeof(*x.first)),
		.thread = xreallocarray(NULL, subjects + 1, sizeof(*x.thread)) };
	uint32_t *moved = xreallocarray(NULL, (size_t)f->nodes + 1, sizeof(*moved));

	first_children(f, x.first);
	memset(x.thread, 0xff, (subjects + 1) * sizeof(*x.thread));
	memset(moved, 0xff, ((size_t)f->nodes + 1) * sizeof(*moved));
	for (uint32_t i = 0; i < count; i++)
		choose(&x, roots[i]);
	for (uint32_t i = 0; i < count; i++)
		join(&x, roots[i], moved);
	for (uint32_t i = 0; i < f->count; i++)
		if (f->parent[i] != NONE && f->parent[i] < old_nodes && moved[f->parent[i]] != NONE)
			f->parent[i] = moved[f->parent[i]];
	free(moved);
	free(x.first);
	free(x.thread);
	free(roots);
}

/* ORDEREDSUBJECT: the first of a subject, and the others below it. */
static void order_subjects(struct forest *f)
{
	const struct order_column *c = &f->table->column[ORDER_SUBJECT];
	uint32_t *first = xreallocarray(NULL, (size_t)c->distinct + 1, sizeof(*first));

	memset(first, 0xff, ((size_t)c->distinct + 1) * sizeof(*first));
	for (uint32_t i = 0; i < f->count; i++) {
		uint32_t subject = order_rank_of(c, f->row[i]);

		if (first[subject] == NONE)
			first[subject] = i;
		else
			f->parent[i] = first[subject];
	}
	free(first);
}

/* The reply ---------------------------------------------------------------------------------------------------------
 */

static void make_places(struct forest *f, const struct uidmap *map)
{
	uint32_t *last = xreallocarray(NULL, (size_t)f->nodes + 1, sizeof(*last)); /* child */

	f->places = xreallocarray(NULL, (size_t)f->nodes + 1, sizeof(*f->places));
	for (uint32_t i = 0; i < f->nodes; i++)
		f->places[i] = (struct place){ f->parent[i], NONE, NONE, 0, false };
	for (uint32_t i = 0; i < f->count; i++) {
		uint32_t uid = f->table->uid[f->row[i]], up = f->parent[i];

		f->places[i].number = map != NULL ? uidmap_seq(map, uid) : uid;
		if (up == NONE)
			continue;
		if (f->places[up].first == NONE) {
			f->places[up].first = i;
		} else {
			f->places[last[up]].next = i;
			f->places[last[up]].listed = f->places[i].listed = true;
		}
		last[up] = i;
	}
	free(last);
}

/*
 * One thread: an only child follows its parent behind a space, several are lists of their own.  On the way up a ")"
 * closes what was a list.
 */
static void put_thread(const struct forest *f, uint32_t root, struct buf *out)
{
	uint32_t node = root;
	bool up = false;

	buf_addc(out, '(');
	for (;;) {
		const struct place *at = &f->places[node];
		if (!up) {
			if (at->listed)
				buf_addc(out, '(');
			if (node < f->count)
				buf_decimal(out, at->number);
			if (at->first != NONE) {
				if (node < f->count)
					buf_addc(out, ' ');
				node = at->first;
				continue;
			}
		}
		if (at->listed || node == root)
			buf_addc(out, ')');
		if (node == root)
			return;
		up = at->next == NONE;
		node = up ? at->parent : at->next;
	}
}

static void put_all(struct forest *f, const struct uidmap *map, struct buf *out)
{
	uint32_t count, *roots = roots_of(f, &count);

	make_places(f, map);
	for (uint32_t i = 0; i < count; i++)
		put_thread(f, roots[i], out);
	free(roots);
}

/* Messages in the order of their dates, equal ones in that of their UIDs. */
static void take_messages(struct forest *f, const struct uidmap *hits)
{
	const struct sort_criteria date = { .key = { { ORDER_DATE, false } }, .count = 1, .kinds = 1u << ORDER_DATE };
	size_t count;

	f->row = sort_rows(f->table, &date, hits, &count);
	f->count = (uint32_t)count;
	for (size_t i = 0; i < count; i++)
		add_node(f);
}

void thread_put(const struct order_table *t, enum thread_algorithm algorithm, const struct uidmap *hits,
    const struct uidmap *map, struct buf *out)
{
	struct forest f = { .table = t };

	take_messages(&f, hits);
	if (f.count > 0) {
		if (algorithm == THREAD_REFERENCES) {
			name_messages(&f);
			link_all(&f);
			prune(&f);
			join_subjects(&f);
		} else {
			order_subjects(&f);
		}
		put_all(&f, map, out);
	}
	free(f.row);
	free(f.parent);
	free(f.root);
	free(f.id);
	free(f.node_of);
	free(f.places);
}
