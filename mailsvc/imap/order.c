/*
 * Tables of sort keys: filling, ranking, and the process's cache of them.
 *
 * Ranking is a merge sort of (prefix, row) pairs that goes on from what was ranked before: only new rows are sorted,
 * and then merged.  It pauses between merges, the longest of which takes milliseconds for a million rows.  Whoever
 * needs a column works on the same sorting, so that several sessions do not sort one mailbox several times.
 */
#include "mailsvc/imap/order.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"

#define LOOK_ROWS 64         /* between two looks at the clock */
#define SLACK_ROWS 1000      /* rows of messages that are gone may be so many, beside as many as there are others */

struct pair {
	uint64_t prefix; /* orders as far as it reaches */
	uint32_t row;    /* or text */
};

struct order_sorting {
	struct pair *from, *to;
	uint32_t count, sorted; /* the first `sorted` are in order */
	uint32_t width, at;     /* runs of width behind them are; merged up to at */
};

static struct order_table *tables; /* the newest first */

/* The cache ----------------------------------------------------------------------------------------------------------
 */

static void sorting_free(struct order_column *c)
{
	if (c->sorting == NULL)
		return;
	free(c->sorting->from);
	free(c->sorting->to);
	free(c->sorting);
	c->sorting = NULL;
}

static void table_free(struct order_table *t)
{
	for (unsigned k = 0; k < ORDER_KINDS; k++) {
		struct order_column *c = &t->column[k];

		sorting_free(c);
		free(c->number);
		free(c->text);
		order_texts_free(&c->texts);
		free(c->rank);
	}
	for (unsigned k = 0; k < MIME_FOLDED; k++) {
		free(t->folded[k].text);
		order_texts_free(&t->folded[k].texts);
	}
	free(t->uid);
	free(t->links);
	free(t->ids);
	free(t);
}

static size_t table_bytes(const struct order_table *t)
{
	size_t n = sizeof(*t) + (size_t)t->cap * sizeof(*t->uid) + t->id_cap * sizeof(*t->ids);

	if (t->links != NULL)
		n += (size_t)t->cap * sizeof(*t->links);
	for (unsigned k = 0; k < MIME_FOLDED; k++)
		if (t->folded[k].text != NULL)
			n += (size_t)t->cap * sizeof(*t->folded[k].text) + order_texts_bytes(&t->folded[k].texts);
	for (unsigned k = 0; k < ORDER_KINDS; k++) {
		const struct order_column *c = &t->column[k];

		n += order_texts_bytes(&c->texts) + (size_t)c->ranked * sizeof(*c->rank);
		if (c->number != NULL)
			n += (size_t)t->cap * sizeof(*c->number);
		if (c->text != NULL)
			n += (size_t)t->cap * sizeof(*c->text);
	}
	return n;
}

static void drop(struct order_table *t)
{
	struct order_table **at = &tables;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->kept = false;
	if (t->users == 0)
		table_free(t);
}

/* The tables behind those that fit go, but for those in use. */
static void shrink_cache(void)
{
	size_t bytes = 0;

	for (struct order_table *t = tables, *next; t != NULL; t = next) {
		next = t->next;
		bytes += table_bytes(t);
		if (bytes > ORDER_CACHE_MAX && t->users == 0) {
			bytes -= table_bytes(t);
			drop(t);
		}
	}
}

/* The kept table of a mailbox, when it is worth its memory. */
static struct order_table *lookup(const struct imap_mailbox *m)
{
	struct order_table *t = tables;

	while (t != NULL && t->mailbox != m->id)
		t = t->next;
	if (t != NULL && (t->uid_validity != m->uid_validity || t->rows / 2 > m->map.count + SLACK_ROWS)) {
		drop(t);
		t = NULL;
	}
	return t;
}

struct order_table *order_find(const struct imap_session *s)
{
	return lookup(s->mailbox) != NULL ? order_take(s, true) : NULL;
}

struct order_table *order_take(const struct imap_session *s, bool keep)
{
	const struct imap_mailbox *m = s->mailbox;
	struct order_table *t = keep ? lookup(m) : NULL;

	if (t == NULL) {
		t = xcalloc(1, sizeof(*t));
		t->mailbox = m->id;
		t->uid_validity = m->uid_validity;
	} else { /* to the front */
		struct order_table **at = &tables;

		while (*at != t)
			at = &(*at)->next;
		*at = t->next;
	}
	t->kept = keep;
	t->users++;
	if (keep) {
		t->next = tables;
		tables = t;
	}
	return t;
}

void order_release(struct order_table *t)
{
	if (t == NULL)
		return;
	t->users--;
	if (t->kept)
		shrink_cache();
	else if (t->users == 0)
		table_free(t);
}

/* Filling
 * ---------------------------------------------------------------------------------------------------------------- */

void order_add_number(struct order_column *c, int64_t n)
{
	c->number[c->rows++] = (uint64_t)n ^ (uint64_t)1 << 63;
}

static unsigned char upper(char c)
{
	return (unsigned char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

/* Texts are folded to small letters; i;unicode-casemap (RFC 5051) orders by capitals, which lie before "[" and "_". */
void order_add_text(struct order_column *c, struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		text->data[i] = (char)upper(text->data[i]);
	c->text[c->rows++] = order_texts_add(&c->texts, buf_view(text));
}

static bool is_number(unsigned kind)
{
	return kind == ORDER_ARRIVAL || kind == ORDER_DATE || kind == ORDER_SIZE;
}

/* Room for the columns that are asked for. */
static void make_room(struct order_table *t, unsigned kinds, bool grow)
{
	if (grow) {
		t->cap = t->cap + t->cap / 4 + 256;
		t->uid = xreallocarray(t->uid, t->cap, sizeof(*t->uid));
	}
	for (unsigned k = 0; k < ORDER_KINDS; k++) {
		struct order_column *c = &t->column[k];

		if (t->cap == 0 || (c->number != NULL || c->text != NULL ? !grow : !(kinds >> k & 1)))
			continue;
		if (is_number(k))
			c->number = xreallocarray(c->number, t->cap, sizeof(*c->number));
		else
			c->text = xreallocarray(c->text, t->cap, sizeof(*c->text));
	}
	for (unsigned k = 0; k < MIME_FOLDED; k++)
		if (t->cap > 0 && (t->folded[k].text != NULL ? grow : kinds >> (ORDER_FOLDED + k) & 1))
			t->folded[k].text = xreallocarray(t->folded[k].text, t->cap, sizeof(*t->folded[k].text));
	if (t->cap > 0 && (t->links != NULL ? grow : kinds >> ORDER_LINKS & 1))
		t->links = xreallocarray(t->links, t->cap, sizeof(*t->links));
}

/* The first row that one of the kinds does not have. */
static uint32_t first_missing(const struct order_table *t, unsigned kinds)
{
	uint32_t row = t->rows;

	for (unsigned k = 0; k < ORDER_KINDS; k++)
		if ((kinds >> k & 1) && t->column[k].rows < row)
			row = t->column[k].rows;
	for (unsigned k = 0; k < MIME_FOLDED; k++)
		if ((kinds >> (ORDER_FOLDED + k) & 1) && t->folded[k].rows < row)
			row = t->folded[k].rows;
	if ((kinds >> ORDER_LINKS & 1) && t->link_rows < row)
		row = t->link_rows;
	return row;
}

struct fill {
	struct order_table *table;
	struct search_message *message;
	const struct uidmap *only;
	unsigned kinds, looked;
	uint32_t row; /* next */
	uint64_t slice_end;
	bool stopped;
};

static bool fill_row(void *arg, const struct message_row *row)
{
	struct fill *f = arg;
	struct order_table *t = f->table;

	if (f->only != NULL && uidmap_seq(f->only, row->uid) == 0)
		return true;
	while (f->row < t->rows && t->uid[f->row] < row->uid)
		order_add_row(t, f->kinds, f->row++, NULL);
	if (f->row == t->rows) {
		if (t->rows == t->cap)
			make_room(t, f->kinds, true);
		t->uid[t->rows++] = row->uid;
	} else if (t->uid[f->row] != row->uid) {
		return true; /* it was not there when the table was made: cannot be */
	}
	search_message_reset(f->message, row, false);
	order_add_row(t, f->kinds, f->row++, f->message);
	if (++f->looked % LOOK_ROWS == 0 && clock_mono_ms() >= f->slice_end) {
		f->stopped = true;
		return false;
	}
	return true;
}

bool order_fill(struct order_table *t, struct store_view *view, struct search_message *m, unsigned kinds, uint32_t last,
    const struct uidmap *only, uint64_t slice_end)
{
	struct fill f = { .table = t, .message = m, .only = only, .kinds = kinds, .slice_end = slice_end };
	uint32_t from;

	make_room(t, kinds, false);
	f.row = first_missing(t, kinds);
	from = f.row < t->rows ? t->uid[f.row] : t->rows > 0 ? t->uid[t->rows - 1] + 1 : 1;
	if (t->rows > 0 && t->uid[t->rows - 1] > last)
		last = t->uid[t->rows - 1];
	if (from == 0 || from > last)
		return true;
	view_messages(view, t->mailbox, from, last, fill_row, &f);
	search_message_pause(m);
	if (f.stopped)
		return false;
	while (f.row < t->rows)
		order_add_row(t, kinds, f.row++, NULL);
	return true;
}

uint32_t order_row(const struct order_table *t, uint32_t uid)
{
	uint32_t low = 0, high = t->rows;

	if (t->rows > 0 && uid >= t->uid[0] && uid - t->uid[0] < t->rows && t->uid[uid - t->uid[0]] == uid)
		return uid - t->uid[0]; /* no gap before it */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (t->uid[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->rows && t->uid[low] == uid ? low : ORDER_NONE;
}

struct view order_folded(const struct order_table *t, enum mime_folded field, uint32_t uid)
{
	const struct order_folded *f = &t->folded[field];
	uint32_t row = f->rows > 0 ? order_row(t, uid) : ORDER_NONE;

	if (row == ORDER_NONE || row >= f->rows || f->text[row] == ORDER_NONE)
		return VIEW_NONE;
	return order_texts_get(&f->texts, f->text[row]);
}

/* Ranking
 * ------------------------------------------------------------------------------------------------------------------ */

/* How many things there are to rank. */
static uint32_t things(const struct order_column *c)
{
	return c->text != NULL ? c->texts.count : c->rows;
}

static struct pair pair_of(const struct order_column *c, uint32_t thing)
{
	struct pair pair = { 0, thing };
	struct view v;

	if (c->text == NULL) {
		pair.prefix = c->number[thing];
		return pair;
	}
	v = order_texts_get(&c->texts, thing);
	memcpy(&pair.prefix, v.ptr, v.len < 8 ? v.len : 8);
	pair.prefix = be64toh(pair.prefix);
	return pair;
}

/* Beyond equal prefixes. */
static int compare_texts(const struct order_column *c, uint32_t a, uint32_t b)
{
	struct view x = order_texts_get(&c->texts, a), y = order_texts_get(&c->texts, b);
	int order = 0;

	if (x.len > 8 && y.len > 8)
		order = memcmp(x.ptr + 8, y.ptr + 8, (x.len < y.len ? x.len : y.len) - 8);
	return order != 0 ? order : x.len < y.len ? -1 : x.len > y.len;
}

static int compare(const struct order_column *c, const struct pair *a, const struct pair *b)
{
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return c->text != NULL ? compare_texts(c, a->row, b->row) : 0;
}

static void merge(const struct order_column *c, const struct pair *a, const struct pair *a_end, const struct pair *b,
    const struct pair *b_end, struct pair *out)
{
	while (a < a_end && b < b_end)
		*out++ = compare(c, a, b) <= 0 ? *a++ : *b++;
	if (a < a_end)
		memcpy(out, a, (size_t)(a_end - a) * sizeof(*a));
	else if (b < b_end)
		memcpy(out, b, (size_t)(b_end - b) * sizeof(*b));
}

/* What is ranked in its order, the others behind it. */
static void start_sorting(struct order_column *c)
{
	struct order_sorting *s = xcalloc(1, sizeof(*s));
	uint32_t *at = xcalloc((size_t)c->distinct + 1, sizeof(*at));

	s->count = things(c);
	s->from = xreallocarray(NULL, s->count, sizeof(*s->from));
	s->to = xreallocarray(NULL, s->count, sizeof(*s->to));
	s->sorted = s->at = c->ranked;
	s->width = 1;
	for (uint32_t i = 0; i < c->ranked; i++)
		at[c->rank[i] + 1]++;
	for (uint32_t i = 0; i < c->distinct; i++)
		at[i + 1] += at[i];
	for (uint32_t i = 0; i < c->ranked; i++)
		s->from[at[c->rank[i]]++] = pair_of(c, i);
	for (uint32_t i = c->ranked; i < s->count; i++)
		s->from[i] = pair_of(c, i);
	free(at);
	c->sorting = s;
}

/* One merge; true: all is in order. */
static bool sort_step(const struct order_column *c, struct order_sorting *s)
{
	struct pair *swap;
	uint32_t middle, end;

	if (s->width >= s->count - s->sorted) { /* the new rows are one run */
		merge(c, s->from, s->from + s->sorted, s->from + s->sorted, s->from + s->count, s->to);
		swap = s->from;
		s->from = s->to;
		s->to = swap;
		return true;
	}
	middle = s->count - s->at > s->width ? s->at + s->width : s->count;
	end = s->count - middle > s->width ? middle + s->width : s->count;
	merge(c, s->from + s->at, s->from + middle, s->from + middle, s->from + end, s->to + s->at);
	s->at = end;
	if (s->at == s->count) {
		memcpy(s->to, s->from, s->sorted * sizeof(*s->to));
		swap = s->from;
		s->from = s->to;
		s->to = swap;
		s->at = s->sorted;
		s->width *= 2;
	}
	return false;
}

static void give_ranks(struct order_column *c)
{
	const struct order_sorting *s = c->sorting;

	c->rank = xreallocarray(c->rank, s->count, sizeof(*c->rank));
	c->distinct = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		if (i > 0 && compare(c, &s->from[i - 1], &s->from[i]) != 0)
			c->distinct++;
		c->rank[s->from[i].row] = c->distinct;
	}
	c->distinct++;
	c->ranked = s->count;
	sorting_free(c);
}

static bool rank_column(struct order_column *c, uint64_t slice_end)
{
	unsigned steps = 0;

	while (c->ranked < things(c)) {
		if (c->sorting == NULL)
			start_sorting(c);
		while (!sort_step(c, c->sorting))
			if ((++steps % LOOK_ROWS == 0 || c->sorting->width > 1024) && clock_mono_ms() >= slice_end)
				return false;
		give_ranks(c);
	}
	return true;
}

bool order_rank(struct order_table *t, unsigned kinds, uint64_t slice_end)
{
	for (unsigned k = 0; k < ORDER_KINDS; k++)
		if ((kinds >> k & 1) && !rank_column(&t->column[k], slice_end))
			return false;
	return true;
}
