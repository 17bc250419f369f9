/*
 * Signature fields: the tags, one table of what each kind must have, and the verdict.  A field is read completely
 * before anything is looked up for it.
 */
#include "dkim_verify_field.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "mailsvc/policy/name.h"

#define RSA_BITS_MIN 1024 /* RFC 8301 3.2 */
#define RSA_BITS_MAX 8192
#define SIGNATURE_MAX 2048    /* bytes: RSA-16384 */
#define TIME_MAX 999999999999 /* 12 digits (RFC 6376 3.5) */

static const char *const required[][8] = {
	[DKIM_FIELD_SIGNATURE] = { "v", "a", "b", "bh", "d", "h", "s" },
	[DKIM_FIELD_ARC_MESSAGE] = { "i", "a", "b", "bh", "d", "h", "s" },
	[DKIM_FIELD_ARC_SEAL] = { "i", "a", "b", "cv", "d", "s" },
};

const char *dkim_verdict_name(enum dkim_verdict v)
{
	static const char *const names[] = { "none", "pass", "fail", "policy", "neutral", "temperror", "permerror" };

	return names[v];
}

bool dkim_field_open(const struct dkim_field *f)
{
	return f->result.verdict == DKIM_NONE;
}

void dkim_field_fail(struct dkim_field *f, enum dkim_verdict verdict, const char *fmt, ...)
{
	char text[sizeof(f->result.reason)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	policy_say(f->result.reason, sizeof(f->result.reason), "%s", text);
	f->result.verdict = verdict;
}

static bool is_permerror(struct dkim_field *f, const char *why)
{
	dkim_field_fail(f, DKIM_PERMERROR, "%s", why);
	return false;
}

/* d= and s=: names that can be looked up; an underscore is no letter of host names, but of some selectors. */
static int read_name(struct view value, char out[256])
{
	if (policy_domain(value, out) == -1)
		return -1;
	for (const char *p = out; *p != '\0'; p++) {
		if ((*p < 'a' || *p > 'z') && (*p < '0' || *p > '9') && *p != '-' && *p != '.' && *p != '_') {
			out[0] = '\0';
			return -1;
		}
	}
	return 0;
}

static bool read_algorithm(struct dkim_field *f, struct view a)
{
	sigtags_text(a, f->result.algorithm, sizeof(f->result.algorithm));
	if (view_eq(a, "rsa-sha256"))
		f->algorithm = DKIM_RSA;
	else if (view_eq(a, "ed25519-sha256"))
		f->algorithm = DKIM_ED25519;
	else if (view_eq(a, "rsa-sha1"))
		dkim_field_fail(f, DKIM_POLICY, "rsa-sha1 proves nothing any more (RFC 8301)");
	else
		dkim_field_fail(f, DKIM_PERMERROR, "a= is no algorithm that is known");
	return dkim_field_open(f);
}

static bool read_canon(struct view word, enum dkim_canon *out)
{
	*out = view_eq(word, "relaxed") ? DKIM_RELAXED : DKIM_SIMPLE;
	return *out == DKIM_RELAXED || view_eq(word, "simple");
}

static bool read_canons(struct dkim_field *f, struct view c)
{
	const char *slash = c.len > 0 ? memchr(c.ptr, '/', c.len) : NULL;
	size_t head = slash != NULL ? (size_t)(slash - c.ptr) : c.len;

	f->header_canon = f->body_canon = f->kind == DKIM_FIELD_SIGNATURE ? DKIM_SIMPLE : DKIM_RELAXED;
	if (c.ptr == NULL || f->kind == DKIM_FIELD_ARC_SEAL) /* which is always relaxed (RFC 8617 4.1.3) */
		return true;
	f->body_canon = DKIM_SIMPLE;
	if (!read_canon((struct view){ c.ptr, head }, &f->header_canon) ||
	    (slash != NULL && !read_canon((struct view){ slash + 1, c.len - head - 1 }, &f->body_canon)))
		return is_permerror(f, "c= is no canonicalisation that is known");
	return true;
}

static bool read_times(struct dkim_field *f, const struct sigtags *tags)
{
	struct view t = sigtags_value(tags, "t"), x = sigtags_value(tags, "x"), l = sigtags_value(tags, "l");
	uint64_t from = 0, until = 0;

	f->limit = DKIM_BODY_ALL;
	if (f->kind == DKIM_FIELD_ARC_SEAL)
		x = l = VIEW_NONE;
	if ((t.ptr != NULL && view_u64(t, TIME_MAX, &from) == -1) ||
	    (x.ptr != NULL && view_u64(x, TIME_MAX, &until) == -1))
		return is_permerror(f, "t= or x= is no time");
	if (l.ptr != NULL && view_u64(l, INT64_MAX, &f->limit) == -1)
		return is_permerror(f, "l= is no length");
	if (t.ptr != NULL && x.ptr != NULL && until < from)
		return is_permerror(f, "x= is before t=");
	f->expired = x.ptr != NULL && (int64_t)until < f->now;
	return true;
}

/* i= of DKIM: d= or a name below it. */
static bool read_identity(struct dkim_field *f, struct view i)
{
	char domain[256];
	const char *at = i.len > 0 ? memrchr(i.ptr, '@', i.len) : NULL;

	f->own_identity = true;
	snprintf(f->result.identity, sizeof(f->result.identity), "@%s", f->result.domain);
	if (i.ptr == NULL)
		return true;
	sigtags_text(i, f->result.identity, sizeof(f->result.identity));
	if (at == NULL || read_name((struct view){ at + 1, (size_t)(i.ptr + i.len - at - 1) }, domain) == -1 ||
	    !policy_below(domain, f->result.domain))
		return is_permerror(f, "i= is not within d=");
	f->own_identity = strcmp(domain, f->result.domain) == 0;
	return true;
}

static bool read_hashes(struct dkim_field *f, const struct sigtags *tags)
{
	const struct sigtag *b = sigtags_find(tags, "b");
	struct buf bh = BUF_INIT(DKIM_HASH_LEN);
	bool ok = f->kind == DKIM_FIELD_ARC_SEAL ||
	          (sigtags_base64(sigtags_value(tags, "bh"), &bh) == 0 && bh.len == DKIM_HASH_LEN);

	f->hole = b->raw;
	if (bh.len == DKIM_HASH_LEN)
		memcpy(f->body_hash, bh.data, DKIM_HASH_LEN);
	buf_free(&bh);
	if (!ok)
		return is_permerror(f, "bh= is no hash");
	if (sigtags_base64(b->value, &f->signature) == -1)
		return is_permerror(f, "b= is no base64");
	return true;
}

static bool read_names(struct dkim_field *f, struct view h)
{
	f->names = h;
	if (!sigtags_has(h, "from"))
		return is_permerror(f, "From is not signed");
	if (f->kind == DKIM_FIELD_ARC_MESSAGE && sigtags_has(h, "arc-seal"))
		return is_permerror(f, "it signs ARC-Seal (RFC 8617 4.1.2)");
	return true;
}

static bool read_kind(struct dkim_field *f, const struct sigtags *tags)
{
	struct view q = sigtags_value(tags, "q");

	if (f->kind == DKIM_FIELD_ARC_SEAL)
		return sigtags_find(tags, "h") == NULL || is_permerror(f, "a seal with h= (RFC 8617 4.1.3)");
	if (f->kind == DKIM_FIELD_SIGNATURE && !view_eq(sigtags_value(tags, "v"), "1"))
		return is_permerror(f, "v= is not 1");
	if (q.ptr != NULL && !sigtags_has(q, "dns/txt"))
		return is_permerror(f, "q= is no way to a key that is known");
	return read_names(f, sigtags_value(tags, "h")) &&
	       (f->kind != DKIM_FIELD_SIGNATURE || read_identity(f, sigtags_value(tags, "i")));
}

static bool has_required(struct dkim_field *f, const struct sigtags *tags)
{
	for (const char *const *name = required[f->kind]; *name != NULL; name++) {
		if (sigtags_value(tags, *name).len == 0) {
			dkim_field_fail(f, DKIM_PERMERROR, "%s= is missing", *name);
			return false;
		}
	}
	return true;
}

void dkim_field_read(struct dkim_field *f, enum dkim_field_kind kind, const struct mime_header *header, int64_t now)
{
	struct sigtags tags;
	const char *problem;

	*f = (struct dkim_field){
		.kind = kind, .field = header->field, .now = now, .signature = BUF_INIT(SIGNATURE_MAX)
	};
	if (sigtags_parse(&tags, header->value, &problem) == -1) {
		dkim_field_fail(f, DKIM_NEUTRAL, "%s", problem);
		return;
	}
	sigtags_text(sigtags_value(&tags, "b"), f->result.b, sizeof(f->result.b));
	/* Names first: a result without them tells nobody anything. */
	bool named = read_name(sigtags_value(&tags, "d"), f->result.domain) == 0;
	named = read_name(sigtags_value(&tags, "s"), f->result.selector) == 0 && named;
	if (!has_required(f, &tags))
		return;
	if (!named)
		is_permerror(f, "d= or s= is no name");
	else if (read_kind(f, &tags) && read_canons(f, sigtags_value(&tags, "c")) && read_times(f, &tags) &&
		 read_algorithm(f, sigtags_value(&tags, "a")))
		read_hashes(f, &tags);
}

void dkim_field_free(struct dkim_field *f)
{
	buf_free(&f->signature);
}

void dkim_field_want(struct dkim_field *f, struct dkim_lookups *lookups)
{
	char name[DKIM_KEY_NAME_MAX];

	if (!dkim_field_open(f))
		return;
	if (snprintf(name, sizeof(name), "%s._domainkey.%s", f->result.selector, f->result.domain) >=
		(int)sizeof(name) ||
	    !policy_name_ok(name))
		is_permerror(f, "d= and s= are too long");
	else
		f->key = dkim_lookups_want(lookups, name);
}

void dkim_field_put(const struct dkim_field *f, struct buf *canonical)
{
	struct buf text = BUF_INIT(f->field.len);
	const char *end = f->hole.ptr + f->hole.len;

	buf_add(&text, f->field.ptr, (size_t)(f->hole.ptr - f->field.ptr));
	buf_add(&text, end, (size_t)(f->field.ptr + f->field.len - end));
	dkim_header(f->header_canon, buf_view(&text), canonical);
	canonical->len -= canonical->full ? 0 : 2;
	buf_free(&text);
}

/* With one of the keys there. */
static void judge_key(struct dkim_field *f, const struct dkim_key *key)
{
	f->result.testing = key->testing;
	f->result.key_bits = key->bits;
	if (key->problem != NULL)
		dkim_field_fail(f, DKIM_PERMERROR, "%s", key->problem);
	else if (key->algorithm != f->algorithm)
		dkim_field_fail(f, DKIM_PERMERROR, "the key is not for the algorithm of the signature");
	else if (key->strict && !f->own_identity && f->kind == DKIM_FIELD_SIGNATURE)
		dkim_field_fail(f, DKIM_PERMERROR, "the key does not allow an i= below d=");
	else if (key->algorithm == DKIM_RSA && (key->bits < RSA_BITS_MIN || key->bits > RSA_BITS_MAX))
		dkim_field_fail(f, DKIM_POLICY, "an RSA key of %u bits proves nothing (RFC 8301)", key->bits);
	else if (!dkim_key_verify(key, f->hash, buf_view(&f->signature)))
		dkim_field_fail(f, DKIM_FAIL, "the signature does not match");
	else if (f->unsigned_bytes > 0)
		dkim_field_fail(
		    f, DKIM_POLICY, "l= leaves %llu bytes of the body unsigned", (unsigned long long)f->unsigned_bytes);
	else if (f->expired)
		dkim_field_fail(f, DKIM_POLICY, "the signature has expired");
	else
		dkim_field_fail(f, DKIM_PASS, "ok");
}

void dkim_field_judge(struct dkim_field *f, const struct dkim_answer *answer)
{
	if (answer->status == DNS_TEMPFAIL)
		dkim_field_fail(f, DKIM_TEMPERROR, "DNS gave no answer for the key");
	else if (answer->count == 0)
		dkim_field_fail(f, DKIM_PERMERROR, "there is no such key");
	/* Several records should not be; the first that matches counts (6.1.2). */
	for (size_t i = 0; i < answer->count && f->result.verdict != DKIM_PASS && f->result.verdict != DKIM_POLICY; i++)
		judge_key(f, &answer->keys[i]);
}
