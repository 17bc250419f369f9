/*
 * What is signed: the fields that h= picks, from the bottom up (RFC 6376 5.4.2), and the body.
 *
 * The fields are sorted by name once, so that any number of names in any number of signatures is found in
 * O(names * log fields), and each signature counts down how many of a name are left.
 */
#include <stdlib.h>
#include <strings.h>

#include "dkim_verify_field.h"

#define HEADER_MAX (1 << 20)
#define FIELDS_MAX 10000 /* sorting more would cost more than the rest of a verification */
#define NAMES_MAX 10000  /* in one h= */

struct sorted {
	struct view name;
	size_t at; /* in fields */
};

struct group { /* fields of one name: sorted[first] and the next ones, in order */
	size_t first, count, left;
};

struct dkim_header {
	const char *problem;
	struct mime_header *fields;
	size_t count, room;
	struct sorted *sorted;
	struct group *groups;
	size_t group_count;
};

static int compare_names(struct view a, struct view b)
{
	int c = strncasecmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return c != 0 || a.len == b.len ? c : a.len < b.len ? -1 : 1;
}

static int compare_sorted(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	int c = compare_names(x->name, y->name);

	return c != 0 ? c : x->at < y->at ? -1 : 1;
}

/* A CR or LF alone is taken for a line end by some and not by others: what they see differs from what is signed. */
static bool has_bare(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] == '\n')
			return true;
		if (v.ptr[i] == '\r' && (++i == v.len || v.ptr[i] != '\n'))
			return true;
	}
	return false;
}

static void sort(struct dkim_header *h)
{
	h->sorted = xreallocarray(NULL, h->count, sizeof(*h->sorted));
	h->groups = xreallocarray(NULL, h->count, sizeof(*h->groups));
	for (size_t i = 0; i < h->count; i++)
		h->sorted[i] = (struct sorted){ h->fields[i].name, i };
	qsort(h->sorted, h->count, sizeof(*h->sorted), compare_sorted);
	for (size_t i = 0; i < h->count; i++) {
		if (i == 0 || compare_names(h->sorted[i - 1].name, h->sorted[i].name) != 0)
			h->groups[h->group_count++] = (struct group){ .first = i };
		h->groups[h->group_count - 1].count++;
	}
}

struct dkim_header *dkim_header_new(struct view header)
{
	struct dkim_header *h = xcalloc(1, sizeof(*h));
	struct mime_header field;
	size_t covered = 0;

	if (header.len > HEADER_MAX) {
		h->problem = "the header is too large";
		header.len = HEADER_MAX;
	}
	for (size_t pos = 0; mime_header_next(header, &pos, &field);) {
		if (h->count == h->room) {
			h->room = h->room > 0 ? h->room * 2 : 64;
			h->fields = xreallocarray(h->fields, h->room, sizeof(*h->fields));
		}
		h->fields[h->count++] = field;
		covered += field.field.len;
	}
	if (h->problem == NULL && h->count > FIELDS_MAX)
		h->problem = "the header has too many fields";
	if (h->problem == NULL && has_bare(header))
		h->problem = "the header has a CR or LF alone";
	/* The blank line is left over, or the message ends without one.  Some take other lines for the end of the
	 * header. */
	if (h->problem == NULL && covered != header.len && covered + 2 != header.len)
		h->problem = "the header has a line that is no field";
	return h;
}

void dkim_header_free(struct dkim_header *h)
{
	free(h->fields);
	free(h->sorted);
	free(h->groups);
	free(h);
}

const char *dkim_header_problem(const struct dkim_header *h)
{
	return h->problem;
}

bool dkim_header_at(const struct dkim_header *h, size_t n, struct mime_header *out)
{
	if (n >= h->count)
		return false;
	*out = h->fields[n];
	return true;
}

static struct group *find_group(struct dkim_header *h, struct view name)
{
	size_t low = 0, high = h->group_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = compare_names(name, h->sorted[h->groups[middle].first].name);
		if (c == 0)
			return &h->groups[middle];
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The next field up of this name, but for the signature itself; NULL: none is left, which is signed too (5.4.2). */
static const struct mime_header *take(struct dkim_header *h, struct view name, struct view self)
{
	struct group *g = find_group(h, name);

	while (g != NULL && g->left > 0) {
		const struct mime_header *field = &h->fields[h->sorted[g->first + --g->left].at];
		if (field->field.ptr != self.ptr)
			return field;
	}
	return NULL;
}

void dkim_header_hash(struct dkim_header *h, struct dkim_field *f)
{
	struct buf canonical = BUF_INIT(4 * HEADER_MAX);
	struct view names = f->names, name;
	const struct mime_header *field;
	size_t count = 0;

	if (h->sorted == NULL)
		sort(h);
	for (size_t i = 0; i < h->group_count; i++)
		h->groups[i].left = h->groups[i].count;
	while (count++ < NAMES_MAX && sigtags_word(&names, &name))
		if ((field = take(h, name, f->field)) != NULL)
			dkim_header(f->header_canon, field->field, &canonical);
	dkim_field_put(f, &canonical);
	dkim_hash(buf_view(&canonical), f->hash);
	buf_free(&canonical);

	const struct group *from = find_group(h, VIEW_LIT("From"));
	if (from == NULL)
		dkim_field_fail(f, DKIM_PERMERROR, "there is no From");
	else if (from->left > 0)
		dkim_field_fail(f, DKIM_PERMERROR, "there is a From that is not signed");
	else if (count > NAMES_MAX)
		dkim_field_fail(f, DKIM_PERMERROR, "h= is too long");
}

/* Body -------------------------------------------------------------------------------------------------------- */

static int compare_limits(const void *a, const void *b)
{
	const struct dkim_field *const *x = a, *const *y = b;

	return (*x)->limit < (*y)->limit ? -1 : (*x)->limit > (*y)->limit;
}

static void compare_body(struct dkim_field *f, const struct dkim_body_hash *body, uint64_t len)
{
	if (f->limit != DKIM_BODY_ALL && f->limit > len)
		dkim_field_fail(f, DKIM_FAIL, "the body is shorter than l=");
	else if (memcmp(f->body_hash, body->hash, DKIM_HASH_LEN) != 0)
		dkim_field_fail(f, DKIM_FAIL, "the body does not match");
	else if (f->limit != DKIM_BODY_ALL)
		f->unsigned_bytes = len - f->limit;
}

void dkim_fields_body(struct dkim_field *const *fields, size_t count, struct view body)
{
	struct dkim_field **open = xcalloc(count + 1, sizeof(struct dkim_field *));
	struct dkim_body_hash *wanted = xcalloc(count + 1, sizeof(*wanted));

	for (enum dkim_canon canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
		size_t n = 0;
		for (size_t i = 0; i < count; i++)
			if (dkim_field_open(fields[i]) && fields[i]->body_canon == canon)
				open[n++] = fields[i];
		if (n == 0)
			continue;
		qsort(open, n, sizeof(struct dkim_field *), compare_limits);
		for (size_t i = 0; i < n; i++)
			wanted[i].limit = open[i]->limit;
		uint64_t len = dkim_body_hashes(canon, body, wanted, n);
		for (size_t i = 0; i < n; i++)
			compare_body(open[i], &wanted[i], len);
	}
	free(open);
	free(wanted);
}
