/* table.h: chained hash table of a fixed number of buckets, and a list in the order of touch. */
#include "mailsvc/auth/table.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/log.h"

struct node {
	struct table_entry entry; /* first: an entry is its node */
	TAILQ_ENTRY(node) touched;
	struct node *next;
};

struct table {
	struct node **buckets;
	size_t mask, count, max;
	TAILQ_HEAD(, node) order; /* first: touched longest ago */
};

struct digest digest_of(const uint8_t key[DIGEST_LEN], const char *label, const struct view *parts, size_t count)
{
	struct buf text = BUF_INIT(1u << 20);
	struct digest out;
	unsigned len = 0;

	buf_put_str(&text, label);
	for (size_t i = 0; i < count; i++)
		buf_put_blob(&text, parts[i]);
	if (text.full ||
	    HMAC(EVP_sha256(), key, DIGEST_LEN, (unsigned char *)text.data, text.len, out.bytes, &len) == NULL ||
	    len != DIGEST_LEN)
		fatalx("event=digest reason=\"no HMAC\"");
	explicit_bzero(text.data, text.cap);
	buf_free(&text);
	return out;
}

struct table *table_new(size_t max)
{
	struct table *t = xcalloc(1, sizeof(*t));
	size_t buckets = 16;

	while (buckets < max)
		buckets *= 2;
	t->buckets = xcalloc(buckets, sizeof(*t->buckets));
	t->mask = buckets - 1;
	t->max = max;
	TAILQ_INIT(&t->order);
	return t;
}

/* The digest is keyed: its bytes are as good as random. */
static struct node **slot(struct table *t, const struct digest *key)
{
	size_t h;
	struct node **p;

	memcpy(&h, key->bytes, sizeof(h));
	for (p = &t->buckets[h & t->mask]; *p != NULL; p = &(*p)->next) {
		if (memcmp((*p)->entry.key.bytes, key->bytes, DIGEST_LEN) == 0)
			break;
	}
	return p;
}

static void drop(struct table *t, struct node *n)
{
	struct node **p = slot(t, &n->entry.key);

	*p = n->next;
	TAILQ_REMOVE(&t->order, n, touched);
	t->count--;
	free(n);
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	while (!TAILQ_EMPTY(&t->order))
		drop(t, TAILQ_FIRST(&t->order));
	free(t->buckets);
	free(t);
}

struct table_entry *table_get(struct table *t, const struct digest *key, int64_t now)
{
	struct node *n = *slot(t, key);

	if (n == NULL)
		return NULL;
	if (n->entry.expires <= now) {
		drop(t, n);
		return NULL;
	}
	return &n->entry;
}

struct table_entry *table_put(struct table *t, const struct digest *key, int64_t now, int64_t expires)
{
	struct table_entry *live = table_get(t, key, now);
	struct node *n = (struct node *)live, *oldest;

	if (n != NULL) {
		TAILQ_REMOVE(&t->order, n, touched);
		TAILQ_INSERT_TAIL(&t->order, n, touched);
		return live;
	}
	oldest = TAILQ_FIRST(&t->order);
	if (oldest != NULL && (t->count >= t->max || oldest->entry.expires <= now))
		drop(t, oldest);
	n = xcalloc(1, sizeof(*n));
	n->entry.key = *key;
	n->entry.expires = expires;
	*slot(t, key) = n;
	TAILQ_INSERT_TAIL(&t->order, n, touched);
	t->count++;
	return &n->entry;
}

size_t table_count(const struct table *t)
{
	return t->count;
}
