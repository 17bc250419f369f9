/*
 * buf.h: growing bytes.  Capacity doubles up to the maximum (plus one byte for a NUL), so appending is linear
 * overall.  Out of memory ends the process: nobody above needs to handle it.
 */
#include "buf.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define BUF_FIRST 64 /* bytes of the first allocation */

struct view view_of(const char *s)
{
	return s == NULL ? VIEW_NONE : (struct view){ s, strlen(s) };
}

bool view_eq(struct view a, const char *s)
{
	size_t len = strlen(s);

	return a.len == len && (len == 0 || memcmp(a.ptr, s, len) == 0);
}

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

bool view_caseeq(struct view a, const char *s)
{
	if (a.len != strlen(s))
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower((unsigned char)a.ptr[i]) != lower((unsigned char)s[i]))
			return false;
	}
	return true;
}

char *view_dup(struct view v)
{
	char *s = xmalloc(v.len + 1);

	if (v.len > 0)
		memcpy(s, v.ptr, v.len);
	s[v.len] = '\0';
	return s;
}

int view_copy(struct view v, char *dst, size_t size)
{
	if (size == 0)
		return -1;
	dst[0] = '\0';
	if (v.len >= size || (v.len > 0 && memchr(v.ptr, '\0', v.len) != NULL))
		return -1;
	if (v.len > 0)
		memcpy(dst, v.ptr, v.len);
	dst[v.len] = '\0';
	return 0;
}

int view_u64(struct view v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (v.len == 0)
		return -1;
	for (size_t i = 0; i < v.len; i++) {
		if (v.ptr[i] < '0' || v.ptr[i] > '9')
			return -1;
		uint64_t digit = (uint64_t)(v.ptr[i] - '0');
		if (digit > max || n > (max - digit) / 10)
			return -1;
		n = n * 10 + digit;
	}
	*out = n;
	return 0;
}

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
	b->full = false;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->full = false;
}

/* Room for `want` bytes in all (want is at most max + 1, the one being for a NUL). */
static void buf_grow(struct buf *b, size_t want)
{
	size_t cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap;

	if (want <= b->cap)
		return;
	while (cap < want)
		cap = cap > SIZE_MAX / 2 ? want : cap * 2;
	if (b->max < SIZE_MAX && cap > b->max + 1)
		cap = b->max + 1;
	b->data = xreallocarray(b->data, cap, 1);
	b->cap = cap;
}

char *buf_reserve(struct buf *b, size_t len)
{
	if (b->full || b->len > b->max || len > b->max - b->len) {
		b->full = true;
		return NULL;
	}
	buf_grow(b, b->len + len > 0 ? b->len + len : 1);
	return b->data + b->len;
}

int buf_add_slow(struct buf *b, const void *data, size_t len)
{
	char *p = buf_reserve(b, len);

	if (p == NULL)
		return -1;
	if (len > 0)
		memcpy(p, data, len);
	b->len += len;
	return 0;
}

int buf_addv(struct buf *b, struct view v)
{
	return buf_add(b, v.ptr, v.len);
}

int buf_addc(struct buf *b, char c)
{
	if (!b->full && b->len < b->cap && b->len < b->max) {
		b->data[b->len++] = c;
		return 0;
	}
	return buf_add(b, &c, 1);
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

/* Digits go straight to their places: copied from elsewhere, the copy would wait until they have reached memory. */
int buf_decimal(struct buf *b, uint64_t n)
{
	size_t len = 1;
	char *at;

	for (uint64_t power = 10; n >= power; power *= 10)
		if (++len == 20) /* a further power would not fit */
			break;
	if ((at = buf_reserve(b, len)) == NULL)
		return -1;
	b->len += len;
	for (at += len; n >= 10; n /= 100) {
		unsigned two = (unsigned)(n % 100);

		*--at = (char)('0' + two % 10);
		*--at = (char)('0' + two / 10);
		len -= 2;
	}
	if (len > 0)
		*--at = (char)('0' + n);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;

	if (b->full)
		return -1;
	size_t room = b->cap - b->len;
	va_copy(again, ap);
	int n = vsnprintf(room > 0 ? b->data + b->len : NULL, room, fmt, ap);
	if (n < 0)
		fatalx("vsnprintf: cannot format '%s'", fmt);
	if ((size_t)n > b->max - b->len || b->len > b->max) {
		b->full = true;
		n = -1;
	} else if ((size_t)n >= room) {
		buf_grow(b, b->len + (size_t)n + 1);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
	}
	va_end(again);
	if (n < 0)
		return -1;
	b->len += (size_t)n;
	return 0;
}

void buf_drop(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

const char *buf_str(struct buf *b)
{
	buf_grow(b, b->len + 1);
	b->data[b->len] = '\0';
	return b->data;
}

struct view buf_view(const struct buf *b)
{
	return (struct view){ b->data, b->len };
}

static int put_le(struct buf *b, uint64_t v, size_t bytes)
{
	unsigned char raw[8];

	for (size_t i = 0; i < bytes; i++)
		raw[i] = (unsigned char)(v >> (8 * i));
	return buf_add(b, raw, bytes);
}

int buf_put_u8(struct buf *b, uint8_t v)
{
	return put_le(b, v, 1);
}

int buf_put_u16(struct buf *b, uint16_t v)
{
	return put_le(b, v, 2);
}

int buf_put_u32(struct buf *b, uint32_t v)
{
	return put_le(b, v, 4);
}

int buf_put_u64(struct buf *b, uint64_t v)
{
	return put_le(b, v, 8);
}

int buf_put_blob(struct buf *b, struct view v)
{
	if (v.len > UINT32_MAX) {
		b->full = true;
		return -1;
	}
	if (buf_put_u32(b, (uint32_t)v.len) == -1)
		return -1;
	return buf_addv(b, v);
}

int buf_put_str(struct buf *b, const char *s)
{
	return buf_put_blob(b, view_of(s));
}

struct cursor cursor_of(const void *data, size_t len)
{
	return (struct cursor){ data, len, false };
}

void cursor_str(struct cursor *c, char *dst, size_t size)
{
	struct view v = cursor_blob(c, size > 0 ? size - 1 : 0);

	if (view_copy(v, dst, size) == -1)
		c->bad = true;
}

bool cursor_done(const struct cursor *c)
{
	return !c->bad && c->left == 0;
}

void *xmalloc(size_t n)
{
	void *p = malloc(n > 0 ? n : 1);

	if (p == NULL)
		fatalx("out of memory: %zu bytes", n);
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = n > 0 && size > 0 ? calloc(n, size) : calloc(1, 1);

	if (p == NULL)
		fatalx("out of memory: %zu times %zu bytes", n, size);
	return p;
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	void *q = n > 0 && size > 0 ? reallocarray(p, n, size) : realloc(p, 1);

	if (q == NULL)
		fatalx("out of memory: %zu times %zu bytes", n, size);
	return q;
}

char *xstrdup(const char *s)
{
	return view_dup(view_of(s));
}

char *xasprintf(const char *fmt, ...)
{
	char *s;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		fatalx("out of memory in '%s'", fmt);
	return s;
}

bool secret_eq(const void *a, size_t alen, const void *b, size_t blen)
{
	return alen == blen && (alen == 0 || CRYPTO_memcmp(a, b, alen) == 0);
}
