/* diff.h: both texts' lines are sorted and merged, so that 10,000 accounts cost no more than the sorting. */
#include "apply/diff.h"

#include <stdlib.h>

struct line {
	struct view text;
	size_t number;
	bool shared;
};
struct lines {
	struct line *at;
	size_t count;
};

static struct lines split(struct view v)
{
	struct lines l = { NULL, 0 };
	size_t room = 0;

	while (v.len > 0) {
		const char *end = memchr(v.ptr, '\n', v.len);
		size_t len = end != NULL ? (size_t)(end - v.ptr) : v.len;

		if (l.count == room) {
			room = room > 0 ? 2 * room : 64;
			l.at = xreallocarray(l.at, room, sizeof(*l.at));
		}
		l.at[l.count] = (struct line){ { v.ptr, len }, l.count, false };
		l.count++;
		v.ptr += len + (end != NULL);
		v.len -= len + (end != NULL);
	}
	return l;
}

static int compare_text(const struct line *a, const struct line *b)
{
	size_t least = a->text.len < b->text.len ? a->text.len : b->text.len;
	int r = least > 0 ? memcmp(a->text.ptr, b->text.ptr, least) : 0;

	return r != 0 ? r : (a->text.len > b->text.len) - (a->text.len < b->text.len);
}

static int by_text(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int r = compare_text(x, y);

	return r != 0 ? r : (x->number > y->number) - (x->number < y->number);
}

static int by_number(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void sort(struct lines *l, int (*compare)(const void *, const void *))
{
	if (l->count > 1)
		qsort(l->at, l->count, sizeof(*l->at), compare);
}

static void print(struct lines *l, char sign, size_t most, struct buf *out)
{
	size_t printed = 0, more = 0;

	sort(l, by_number);
	for (size_t i = 0; i < l->count; i++) {
		if (l->at[i].shared)
			continue;
		if (printed == most) {
			more++;
			continue;
		}
		buf_addc(out, sign);
		buf_addc(out, ' ');
		buf_addv(out, l->at[i].text);
		buf_addc(out, '\n');
		printed++;
	}
	if (more > 0)
		buf_printf(out, "%c ... and %zu lines more\n", sign, more);
}

void diff_lines(struct view old, struct view new_text, size_t most, struct buf *out)
{
	struct lines a = split(old), b = split(new_text);

	sort(&a, by_text);
	sort(&b, by_text);
	for (size_t i = 0, j = 0; i < a.count && j < b.count;) {
		int r = compare_text(&a.at[i], &b.at[j]);

		if (r == 0)
			a.at[i].shared = b.at[j].shared = true;
		i += r <= 0;
		j += r >= 0;
	}
	print(&a, '-', most, out);
	print(&b, '+', most, out);
	free(a.at);
	free(b.at);
}
