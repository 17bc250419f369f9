/*
 * Canonicalisation and hashing for DKIM (RFC 6376 3.4, 3.7) and ARC: what signer and verifier must do alike.
 *
 * A body is taken whole.  Its empty end is cut off first; the rest goes through as stretches of the input that are
 * canonical as they stand, so that ordinary text costs one look at each byte.  Short stretches are gathered before they
 * are hashed.
 */
#include <openssl/evp.h>

#include "dkim.h"
#include "lib/log.h"

#define GATHERED 4096
#define SHORT 256

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Body -------------------------------------------------------------------------------------------------------- */

static bool ends_line(const char *start, const char *end)
{
	return end - start >= 2 && end[-2] == '\r' && end[-1] == '\n';
}

static const char *back_over_wsp(const char *start, const char *end)
{
	while (end > start && is_wsp(end[-1]))
		end--;
	return end;
}

/* Where the last line that holds something ends, without its line end (and, relaxed, the white space before it). */
static const char *last_text(enum dkim_canon canon, const char *start, const char *end)
{
	for (;;) {
		const char *line_end = ends_line(start, end) ? end - 2 : end;
		const char *text = canon == DKIM_RELAXED ? back_over_wsp(start, line_end) : line_end;

		if (text == start || !ends_line(start, text))
			return text;
		end = text;
	}
}

static void relaxed_lines(const char *p, const char *end, dkim_emit_fn emit, void *arg)
{
	const char *from = p, *run;

	while (p < end) {
		if (!is_wsp(*p)) {
			p++;
			continue;
		}
		for (run = p; p < end && is_wsp(*p);)
			p++;
		bool at_end = end - p >= 2 && p[0] == '\r' && p[1] == '\n';
		if (!at_end && p - run == 1 && *run == ' ')
			continue;
		if (run > from)
			emit(arg, from, (size_t)(run - from));
		if (!at_end)
			emit(arg, " ", 1);
		from = p;
	}
	if (end > from)
		emit(arg, from, (size_t)(end - from));
}

void dkim_body(enum dkim_canon canon, struct view body, dkim_emit_fn emit, void *arg)
{
	const char *start = body.len > 0 ? body.ptr : "", *end = last_text(canon, start, start + body.len);

	if (end > start && canon == DKIM_RELAXED)
		relaxed_lines(start, end, emit, arg);
	else if (end > start)
		emit(arg, start, (size_t)(end - start));
	if (end > start || canon == DKIM_SIMPLE)
		emit(arg, "\r\n", 2);
}

/* Hashing ----------------------------------------------------------------------------------------------------- */

static const EVP_MD *sha256(void)
{
	static EVP_MD *md; /* fetched once: a lookup by name costs more than a short hash */

	if (md == NULL && (md = EVP_MD_fetch(NULL, "SHA256", NULL)) == NULL)
		fatalx("SHA-256 is not available");
	return md;
}

EVP_MD_CTX *dkim_hash_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, sha256(), NULL) != 1)
		fatalx("SHA-256 failed");
	return ctx;
}

void dkim_hash_add(EVP_MD_CTX *ctx, struct view v)
{
	if (EVP_DigestUpdate(ctx, v.ptr, v.len) != 1)
		fatalx("SHA-256 failed");
}

void dkim_hash_so_far(const EVP_MD_CTX *ctx, struct view last, uint8_t hash[DKIM_HASH_LEN])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	if (copy == NULL || EVP_MD_CTX_copy_ex(copy, ctx) != 1)
		fatalx("SHA-256 failed");
	dkim_hash_add(copy, last);
	if (EVP_DigestFinal_ex(copy, hash, NULL) != 1)
		fatalx("SHA-256 failed");
	EVP_MD_CTX_free(copy);
}

void dkim_hash(struct view v, uint8_t hash[DKIM_HASH_LEN])
{
	EVP_MD_CTX *ctx = dkim_hash_new();

	dkim_hash_add(ctx, v);
	if (EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
		fatalx("SHA-256 failed");
	EVP_MD_CTX_free(ctx);
}

struct hasher {
	EVP_MD_CTX *ctx;
	struct dkim_body_hash *wanted;
	size_t count, next;
	uint64_t total; /* bytes there have been */
	char gathered[GATHERED];
	size_t len;
};

static void flush(struct hasher *h)
{
	dkim_hash_add(h->ctx, (struct view){ h->gathered, h->len });
	h->len = 0;
}

static void feed(struct hasher *h, const char *data, size_t len)
{
	h->total += len;
	if (len >= SHORT) {
		flush(h);
		dkim_hash_add(h->ctx, (struct view){ data, len });
		return;
	}
	if (len > sizeof(h->gathered) - h->len)
		flush(h);
	memcpy(h->gathered + h->len, data, len);
	h->len += len;
}

static void take(struct hasher *h)
{
	flush(h);
	dkim_hash_so_far(h->ctx, VIEW_NONE, h->wanted[h->next++].hash);
}

static void on_body(void *arg, const char *data, size_t len)
{
	struct hasher *h = arg;

	while (h->next < h->count && h->wanted[h->next].limit - h->total <= len) {
		size_t part = (size_t)(h->wanted[h->next].limit - h->total);
		feed(h, data, part);
		data += part;
		len -= part;
		take(h);
	}
	if (len > 0)
		feed(h, data, len);
}

uint64_t dkim_body_hashes(enum dkim_canon canon, struct view body, struct dkim_body_hash *wanted, size_t count)
{
	struct hasher h = { .ctx = dkim_hash_new(), .wanted = wanted, .count = count };

	dkim_body(canon, body, on_body, &h);
	while (h.next < count)
		take(&h);
	EVP_MD_CTX_free(h.ctx);
	return h.total;
}

/* Header ------------------------------------------------------------------------------------------------------ */

static char *relaxed_value(const char *p, const char *end, char *to)
{
	char *start = to;
	bool space = false;

	while (p < end) {
		if (is_wsp(*p)) {
			space = true;
			p++;
		} else if (*p == '\r' && end - p >= 2 && p[1] == '\n') {
			p += 2;
		} else {
			if (space && to > start)
				*to++ = ' ';
			space = false;
			*to++ = *p++;
		}
	}
	return to;
}

void dkim_header(enum dkim_canon canon, struct view field, struct buf *out)
{
	const char *end = field.ptr + field.len, *colon = memchr(field.ptr, ':', field.len);
	char *to = buf_reserve(out, field.len + 3);

	if (to == NULL)
		return;
	if (canon == DKIM_SIMPLE || colon == NULL) {
		bool whole = ends_line(field.ptr, end);
		buf_add(out, field.ptr, field.len);
		buf_add(out, "\r\n", whole ? 0 : 2);
		return;
	}
	const char *name_end = back_over_wsp(field.ptr, colon);
	for (const char *p = field.ptr; p < name_end; p++)
		*to++ = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
	*to++ = ':';
	to = relaxed_value(colon + 1, end, to);
	*to++ = '\r';
	*to++ = '\n';
	out->len = (size_t)(to - out->data);
}
