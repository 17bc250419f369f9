/*
 * The tree of names for LIST.  The order puts "/" before every other byte, so that what is below a name follows it
 * without a gap, and parents come from one walk along the chain of the entry before.
 */
#include <stdlib.h>
#include <string.h>

#include "list.h"

struct list_name *list_add(struct list_names *n, struct view name)
{
	struct list_name *e;

	if (n->count == n->cap) {
		n->cap = n->cap * 2 + 16;
		n->at = xreallocarray(n->at, n->cap, sizeof(*n->at));
	}
	e = &n->at[n->count++];
	*e = (struct list_name){ .name = view_dup(name), .parent = LIST_NO_PARENT };
	return e;
}

static unsigned rank(char c)
{
	return c == '\0' ? 0 : c == '/' ? 1 : (unsigned char)c + 1u;
}

static int compare(const void *a, const void *b)
{
	const char *x = ((const struct list_name *)a)->name, *y = ((const struct list_name *)b)->name;

	while (*x != '\0' && *x == *y) {
		x++;
		y++;
	}
	return (int)rank(*x) - (int)rank(*y);
}

/* Sorts, and makes one of those that have the same name. */
static void sort(struct list_names *n)
{
	size_t to = 0;

	if (n->count > 0)
		qsort(n->at, n->count, sizeof(*n->at), compare);
	for (size_t i = 0; i < n->count; i++) {
		struct list_name *e = &n->at[i], *last = to > 0 ? &n->at[to - 1] : NULL;

		if (last == NULL || strcmp(last->name, e->name) != 0) {
			n->at[to++] = *e;
			continue;
		}
		if (last->mailbox == 0) {
			last->mailbox = e->mailbox;
			last->special = e->special;
			last->readable = e->readable;
		}
		last->subscribed |= e->subscribed;
		free(e->name);
	}
	n->count = to;
}

static bool is_below(const char *name, const char *above)
{
	size_t len = strlen(above);

	return strncmp(name, above, len) == 0 && name[len] == '/';
}

/* Adds the levels that are no names themselves. */
static void add_levels(struct list_names *n)
{
	size_t count = n->count;

	for (size_t i = 0; i < count; i++) {
		const char *name = n->at[i].name, *before = i > 0 ? n->at[i - 1].name : "";

		for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
			size_t len = (size_t)(slash - name);

			/* What the name before begins with too has been added with it, or is that name. */
			if (len == 0 ||
			    (strncmp(before, name, len) == 0 && (before[len] == '/' || before[len] == '\0')))
				continue;
			list_add(n, (struct view){ name, len });
		}
	}
	if (n->count > count)
		sort(n);
}

void list_link(struct list_names *n)
{
	sort(n);
	add_levels(n);
	for (size_t i = 1; i < n->count; i++) {
		size_t p = i - 1;

		while (p != LIST_NO_PARENT && !is_below(n->at[i].name, n->at[p].name))
			p = n->at[p].parent;
		n->at[i].parent = p;
	}
	for (size_t i = n->count; i-- > 0;) {
		struct list_name *e = &n->at[i];

		if (e->parent != LIST_NO_PARENT)
			n->at[e->parent].has_children |= e->mailbox != 0 || e->has_children;
	}
}

static bool chosen(const struct list_name *e, bool lsub, unsigned select)
{
	if (lsub)
		return e->subscribed;
	if ((select & LIST_SUBSCRIBED) && !e->subscribed)
		return false;
	if ((select & LIST_SPECIAL_USE) && e->special == SPECIAL_NONE)
		return false;
	return (select & (LIST_SUBSCRIBED | LIST_SPECIAL_USE)) || e->mailbox != 0;
}

void list_choose(struct list_names *n, bool lsub, unsigned select)
{
	bool levels = !(select & (LIST_SUBSCRIBED | LIST_SPECIAL_USE)) || (select & LIST_RECURSIVEMATCH);

	for (size_t i = 0; i < n->count; i++)
		n->at[i].listed = n->at[i].children_chosen = false;
	/* From the end: what is below an entry has been seen before it.  listed: a chosen one below does not match. */
	for (size_t i = n->count; i-- > 0;) {
		struct list_name *e = &n->at[i], *up = e->parent != LIST_NO_PARENT ? &n->at[e->parent] : NULL;
		bool is = chosen(e, lsub, select);

		if (up != NULL) {
			up->children_chosen |= is || e->children_chosen;
			up->listed |= (is && !e->matched) || e->listed;
		}
	}
	for (size_t i = 0; i < n->count; i++) {
		struct list_name *e = &n->at[i];

		e->listed = e->matched && (chosen(e, lsub, select) || (levels && e->listed));
	}
}

void list_names_free(struct list_names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->at[i].name);
	free(n->at);
	*n = (struct list_names){ 0 };
}
