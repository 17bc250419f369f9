/*
 * Bytes: one growing buffer with a hard maximum, one view for tokens, one cursor for reading what a
 * buffer packed.  Out of memory ends the process; exceeding a maximum is an error the caller sees.
 */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <endian.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A view borrows bytes that something else owns; it is not NUL-terminated. */
struct view {
	const char *ptr;
	size_t len;
};

#define VIEW_NONE ((struct view){ NULL, 0 })
#define VIEW_LIT(s) ((struct view){ (s), sizeof(s) - 1 })

struct view view_of(const char *s); /* s may be NULL: an empty view */
bool view_eq(struct view a, const char *s);
bool view_caseeq(struct view a, const char *s); /* ASCII case only, whatever the locale */
char *view_dup(struct view v);                  /* malloc'd and NUL-terminated */
/* Copies v and a NUL into dst; -1 when it does not fit or v holds a NUL (dst is then ""). */
int view_copy(struct view v, char *dst, size_t size);
/* An unsigned decimal that is all of v, at most max: 0, or -1. */
int view_u64(struct view v, uint64_t max, uint64_t *out);

/*
 * A growing buffer.  Every add either succeeds, or sets `full` and returns -1 because the length would
 * pass `max`; once full, later adds fail too (a sticky error), so a builder is checked once, at its end.
 * data is NULL while cap is 0.  buf_printf and buf_puts keep no NUL; buf_str terminates for C callers.
 */
struct buf {
	char *data;
	size_t len, cap, max;
	bool full;
};

#define BUF_INIT(maximum) ((struct buf){ NULL, 0, 0, (maximum), false })

void buf_free(struct buf *b);  /* releases memory; the buffer is empty and usable afterwards */
void buf_reset(struct buf *b); /* length 0 and not full; keeps the memory */
int buf_add_slow(struct buf *b, const void *data, size_t len); /* buf_add where it may have to grow */
int buf_addv(struct buf *b, struct view v);
int buf_addc(struct buf *b, char c);
int buf_puts(struct buf *b, const char *s);
int buf_decimal(struct buf *b, uint64_t n);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
char *buf_reserve(struct buf *b, size_t len); /* room for len bytes at the end, or NULL; then add to b->len */
void buf_drop(struct buf *b, size_t len);     /* removes len bytes from the front */
const char *buf_str(struct buf *b);           /* NUL-terminated, valid until the next change */
struct view buf_view(const struct buf *b);

/* In the header, so that short constant pieces cost a store and not a call: replies are made of little else. */
static inline int buf_add(struct buf *b, const void *data, size_t len)
{
	if (b->full || b->len > b->cap || len >= b->cap - b->len || b->cap > b->max)
		return buf_add_slow(b, data, len);
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

/* Packing for messages and records: little-endian integers; a blob is a u32 length and its bytes. */
int buf_put_u8(struct buf *b, uint8_t v);
int buf_put_u16(struct buf *b, uint16_t v);
int buf_put_u32(struct buf *b, uint32_t v);
int buf_put_u64(struct buf *b, uint64_t v);
int buf_put_blob(struct buf *b, struct view v);
int buf_put_str(struct buf *b, const char *s); /* a blob; NULL is written as "" */

/*
 * Reading what was packed, with a sticky error: after the first short read everything returns 0 or an
 * empty view and `bad` is set.  cursor_done is true only if nothing failed and nothing is left over.
 */
struct cursor {
	const char *p;
	size_t left;
	bool bad;
};

struct cursor cursor_of(const void *data, size_t len);
void cursor_str(struct cursor *c, char *dst, size_t size); /* a blob without NUL that fits size-1 */
bool cursor_done(const struct cursor *c);

static inline struct view cursor_bytes(struct cursor *c, size_t len) /* borrows */
{
	if (c->bad || len > c->left) {
		c->bad = true;
		return VIEW_NONE;
	}
	struct view v = { c->p, len };
	if (len > 0)
		c->p += len;
	c->left -= len;
	return v;
}

static inline uint64_t cursor_le(struct cursor *c, size_t bytes)
{
	struct view v = cursor_bytes(c, bytes);
	uint64_t n = 0;

	if (v.len == bytes)
		memcpy(&n, v.ptr, bytes);
	return le64toh(n);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	return (uint8_t)cursor_le(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
	return (uint16_t)cursor_le(c, 2);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
	return (uint32_t)cursor_le(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
	return cursor_le(c, 8);
}

/* Borrows; longer than max is bad. */
static inline struct view cursor_blob(struct cursor *c, size_t max)
{
	size_t len = cursor_u32(c);

	if (len > max)
		c->bad = true;
	return cursor_bytes(c, len);
}

/* Memory that is there or ends the process. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Compares secrets in time that depends on the lengths alone. */
bool secret_eq(const void *a, size_t alen, const void *b, size_t blen);

#endif
