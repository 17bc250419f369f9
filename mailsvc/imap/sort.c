/* SORT: counting passes over ranks, from the last key to the first, each of which keeps the order of the one before. */
#include "mailsvc/imap/sort.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	enum order_kind kind;
} names[] = {
	{ "ARRIVAL", ORDER_ARRIVAL },
	{ "CC", ORDER_CC },
	{ "DATE", ORDER_DATE },
	{ "DISPLAYFROM", ORDER_DISPLAYFROM },
	{ "DISPLAYTO", ORDER_DISPLAYTO },
	{ "FROM", ORDER_FROM },
	{ "SIZE", ORDER_SIZE },
	{ "SUBJECT", ORDER_SUBJECT },
	{ "TO", ORDER_TO },
};

static bool parse_key(struct imap_parser *p, struct sort_criteria *c)
{
	bool reverse;
	struct view word;

	if (!imap_parse_word(p, &word))
		return false;
	reverse = view_caseeq(word, "REVERSE");
	if (reverse && (!imap_parse_sp(p) || !imap_parse_word(p, &word)))
		return false;
	if (c->count == SORT_KEYS_MAX)
		return imap_fail(p, "Too many sort keys.");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (view_caseeq(word, names[i].name)) {
			c->key[c->count].kind = names[i].kind;
			c->key[c->count++].reverse = reverse;
			c->kinds |= 1u << names[i].kind;
			return true;
		}
	}
	return imap_fail(p, "Unknown sort key.");
}

bool sort_parse(struct imap_parser *p, struct sort_criteria *c)
{
	memset(c, 0, sizeof(*c));
	if (!imap_parse_sp(p) || !imap_parse_char(p, '('))
		return false;
	do {
		if (!parse_key(p, c))
			return false;
	} while (imap_accept(p, ' '));
	return imap_parse_char(p, ')');
}

/* rows of hits, in the order of UIDs. */
static uint32_t *rows_of(const struct order_table *t, const struct uidmap *hits, size_t *count)
{
	uint32_t *rows = xreallocarray(NULL, (size_t)hits->count + 1, sizeof(*rows)), row = 0;

	*count = 0;
	for (uint32_t r = 0; r < hits->runs; r++) {
		for (uint32_t i = 0; i < hits->run[r].count; i++) {
			uint32_t uid = hits->run[r].first + i;

			if (row >= t->rows || t->uid[row] != uid)
				row = order_row(t, uid);
			if (row == ORDER_NONE) {
				row = 0;
				continue;
			}
			rows[(*count)++] = row++;
		}
	}
	return rows;
}

static void pass(
    const struct order_column *c, bool reverse, const uint32_t *in, uint32_t *out, size_t count, uint32_t *at)
{
	uint32_t top = c->distinct - 1, sum = 0;

	memset(at, 0, (size_t)c->distinct * sizeof(*at));
	for (size_t i = 0; i < count; i++)
		at[reverse ? top - order_rank_of(c, in[i]) : order_rank_of(c, in[i])]++;
	for (uint32_t i = 0; i < c->distinct; i++) {
		uint32_t n = at[i];

		at[i] = sum;
		sum += n;
	}
	for (size_t i = 0; i < count; i++)
		out[at[reverse ? top - order_rank_of(c, in[i]) : order_rank_of(c, in[i])]++] = in[i];
}

uint32_t *sort_rows(
    const struct order_table *t, const struct sort_criteria *criteria, const struct uidmap *hits, size_t *count)
{
	uint32_t *rows = rows_of(t, hits, count), *other = xreallocarray(NULL, *count + 1, sizeof(*other)), *swap;
	uint32_t *at = xreallocarray(NULL, (size_t)t->rows + 1, sizeof(*at));

	for (size_t k = criteria->count; *count > 0 && k-- > 0;) {
		pass(&t->column[criteria->key[k].kind], criteria->key[k].reverse, rows, other, *count, at);
		swap = rows;
		rows = other;
		other = swap;
	}
	free(other);
	free(at);
	return rows;
}

uint32_t *sort_uids(
    const struct order_table *t, const struct sort_criteria *criteria, const struct uidmap *hits, size_t *count)
{
	uint32_t *rows = sort_rows(t, criteria, hits, count);

	for (size_t i = 0; i < *count; i++)
		rows[i] = t->uid[rows[i]];
	return rows;
}
