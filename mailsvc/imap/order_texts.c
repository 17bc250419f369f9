/* order_texts.h: the bytes one behind another, and a table of numbers that is at most half full. */
#include "mailsvc/imap/order_texts.h"

#include <stdlib.h>
#include <sys/random.h>

#define BYTES_MAX (1u << 30)
#define SLOTS_FIRST 64u

uint64_t order_hash(struct view v)
{
	static uint64_t seed[2];
	const char *p = v.ptr;
	uint64_t h, w;

	while (seed[0] == 0)
		if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
			seed[0] = 0;
	h = seed[0] ^ v.len;
	for (size_t len = v.len; len > 0; p += len < 8 ? len : 8, len -= len < 8 ? len : 8) {
		w = 0;
		memcpy(&w, p, len < 8 ? len : 8);
		h = (h ^ w) * (seed[1] | 1);
		h ^= h >> 29;
		h *= 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return h != 0 ? h : 1;
}

/* Where a text is, or would be. */
static uint32_t *slot_of(const struct order_texts *t, struct view v)
{
	uint32_t i = (uint32_t)order_hash(v) & t->mask;

	for (; t->slot[i] != 0; i = (i + 1) & t->mask) {
		struct view have = order_texts_get(t, t->slot[i]);

		if (have.len == v.len && memcmp(have.ptr, v.ptr, v.len) == 0)
			break;
	}
	return &t->slot[i];
}

static void more_slots(struct order_texts *t)
{
	uint32_t size = t->slot != NULL ? 2 * (t->mask + 1) : SLOTS_FIRST;

	free(t->slot);
	t->slot = xcalloc(size, sizeof(*t->slot));
	t->mask = size - 1;
	for (uint32_t i = 1; i < t->count; i++)
		*slot_of(t, order_texts_get(t, i)) = i;
}

static uint32_t add_text(struct order_texts *t, uint32_t at, size_t len)
{
	if (t->count == t->cap) {
		t->cap = t->cap + t->cap / 4 + 16;
		t->text = xreallocarray(t->text, t->cap, sizeof(*t->text));
	}
	t->text[t->count] = (struct order_text){ at, (uint32_t)len };
	return t->count++;
}

/* A quarter more: twice as much is a waste where there are millions. */
static bool add_bytes(struct buf *b, struct view v)
{
	size_t want = b->len + v.len;

	if (want > BYTES_MAX)
		return false;
	if (want > b->max) {
		b->max = want + want / 4 + 256;
		buf_reserve(b, b->max - b->len);
	}
	return buf_addv(b, v) == 0;
}

uint32_t order_texts_add(struct order_texts *t, struct view v)
{
	uint32_t *slot, at = (uint32_t)t->bytes.len;

	if (t->count == 0)
		add_text(t, 0, 0);
	if (v.len == 0)
		return 0;
	if (t->slot == NULL || t->count > t->mask / 2)
		more_slots(t);
	slot = slot_of(t, v);
	if (*slot == 0 && add_bytes(&t->bytes, v))
		*slot = add_text(t, at, v.len);
	return *slot;
}

size_t order_texts_bytes(const struct order_texts *t)
{
	return t->cap * sizeof(*t->text) + t->bytes.cap + (t->slot != NULL ? t->mask + (size_t)1 : 0) * sizeof(*t->slot);
}

void order_texts_free(struct order_texts *t)
{
	free(t->text);
	free(t->slot);
	buf_free(&t->bytes);
	memset(t, 0, sizeof(*t));
}
