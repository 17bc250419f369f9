/*
 * Texts, each distinct one once and numbered as they came: of a million messages' subjects and addresses most have been
 * there before.  Number 0 is the empty text.
 */
#ifndef MAILSVC_IMAP_ORDER_TEXTS_H
#define MAILSVC_IMAP_ORDER_TEXTS_H

#include "lib/buf.h"

struct order_texts {
	struct order_text {
		uint32_t at, len;
	} *text;
	uint32_t count, cap;
	struct buf bytes;
	uint32_t *slot, mask; /* numbers by hash, open addressing; 0: free */
};

/* The number of a text that is there now.  Beyond a GiB of them they are all empty. */
uint32_t order_texts_add(struct order_texts *, struct view);
static inline struct view order_texts_get(const struct order_texts *t, uint32_t number)
{
	return (struct view){ t->bytes.data ? t->bytes.data + t->text[number].at : "", t->text[number].len };
}
size_t order_texts_bytes(const struct order_texts *); /* of memory */
void order_texts_free(struct order_texts *);

/* By a key of this process, so that nobody can prepare two texts that share it; never 0. */
uint64_t order_hash(struct view);

#endif
