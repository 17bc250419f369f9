/*
 * The range-coded map of UIDs.  Runs are sorted and separated by at least one missing UID; `before` is kept exact, so
 * that both directions are one binary search.
 */
#include "uidmap.h"

#include <stdlib.h>
#include <string.h>

void uidmap_free(struct uidmap *m)
{
	free(m->run);
	*m = (struct uidmap){ 0 };
}

static void grow(struct uidmap *m)
{
	if (m->runs < m->cap)
		return;
	m->cap = m->cap == 0 ? 1 : m->cap + m->cap / 2 + 1;
	m->run = xreallocarray(m->run, m->cap, sizeof(*m->run));
}

bool uidmap_append(struct uidmap *m, uint32_t uid)
{
	struct uid_run *last = m->runs > 0 ? &m->run[m->runs - 1] : NULL;

	if (uid == 0 || uid <= uidmap_last(m))
		return false;
	if (last != NULL && uid == last->first + last->count) {
		last->count++;
	} else {
		grow(m);
		m->run[m->runs++] = (struct uid_run){ uid, 1, m->count };
	}
	m->count++;
	return true;
}

void uidmap_append_run(struct uidmap *m, uint32_t first, uint32_t count)
{
	if (count == 0 || !uidmap_append(m, first))
		return;
	m->run[m->runs - 1].count += count - 1;
	m->count += count - 1;
}

void uidmap_shrink(struct uidmap *m)
{
	if (m->runs == 0) {
		uidmap_free(m);
	} else if (m->cap > m->runs) {
		m->cap = m->runs;
		m->run = xreallocarray(m->run, m->cap, sizeof(*m->run));
	}
}

/* The first run that ends at uid or above; m->runs when there is none. */
static uint32_t find_run(const struct uidmap *m, uint32_t uid)
{
	uint32_t low = 0, high = m->runs;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->run[mid].first + (m->run[mid].count - 1) < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t uidmap_seq(const struct uidmap *m, uint32_t uid)
{
	uint32_t i = find_run(m, uid);

	if (uid == 0 || i == m->runs || m->run[i].first > uid)
		return 0;
	return m->run[i].before + (uid - m->run[i].first) + 1;
}

uint32_t uidmap_uid(const struct uidmap *m, uint32_t seq)
{
	uint32_t low = 0, high = m->runs;

	if (seq == 0 || seq > m->count)
		return 0;
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (m->run[mid].before < seq)
			low = mid;
		else
			high = mid;
	}
	return m->run[low].first + (seq - m->run[low].before - 1);
}

uint32_t uidmap_last(const struct uidmap *m)
{
	const struct uid_run *last = m->runs > 0 ? &m->run[m->runs - 1] : NULL;

	return last != NULL ? last->first + (last->count - 1) : 0;
}

uint32_t uidmap_below(const struct uidmap *m, uint32_t uid)
{
	uint32_t i = find_run(m, uid);

	if (i == m->runs)
		return m->count;
	return m->run[i].before + (uid > m->run[i].first ? uid - m->run[i].first : 0);
}

uint32_t uidmap_next(const struct uidmap *m, uint32_t uid)
{
	uint32_t i = find_run(m, uid);

	if (i == m->runs)
		return 0;
	return uid > m->run[i].first ? uid : m->run[i].first;
}

/* Adds first..last behind what out holds; the caller keeps the order. */
static void push(struct uidmap *out, uint32_t first, uint32_t last)
{
	grow(out);
	out->run[out->runs++] = (struct uid_run){ first, last - first + 1, out->count };
	out->count += last - first + 1;
}

uint32_t uidmap_remove(struct uidmap *m, const struct uid_range *range, size_t count)
{
	struct uidmap out = { 0 };
	uint32_t before = m->count;
	size_t r = 0;

	for (uint32_t i = 0; i < m->runs; i++) {
		uint32_t first = m->run[i].first, last = first + (m->run[i].count - 1);
		bool rest = true;

		while (r < count && range[r].last < first)
			r++;
		for (size_t k = r; rest && k < count && range[k].first <= last; k++) {
			if (range[k].first > first)
				push(&out, first, range[k].first - 1);
			if (range[k].last >= last)
				rest = false;
			else if (range[k].last >= first)
				first = range[k].last + 1;
		}
		if (rest)
			push(&out, first, last);
	}
	uidmap_free(m);
	*m = out;
	uidmap_shrink(m);
	return before - m->count;
}

int uid_range_order(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

bool uid_ranges_have(const struct uid_range *range, size_t count, uint32_t uid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (range[mid].last < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < count && range[low].first <= uid;
}
