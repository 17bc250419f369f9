/*
 * Finding ARC sets: one walk over the header.  Two fields of one kind and instance, a field whose instance cannot be
 * read, a set that is not whole, and a cv= out of place are problems of the whole chain (RFC 8617 5.2).
 */
#include "arc_sets.h"

#include "mailsvc/keys/dkim.h"
#include "mailsvc/policy/sigtags.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct view *v)
{
	while (v->len > 0 && is_space(v->ptr[0])) {
		v->ptr++;
		v->len--;
	}
}

static bool skip(struct view *v, char c)
{
	skip_space(v);
	if (v->len == 0 || v->ptr[0] != c)
		return false;
	v->ptr++;
	v->len--;
	return true;
}

/* "i=N;" in front of the results: N, or 0; rest is what follows. */
static unsigned results_instance(struct view value, struct view *rest)
{
	unsigned n = 0, digits = 0;

	if ((!skip(&value, 'i') && !skip(&value, 'I')) || !skip(&value, '='))
		return 0;
	for (skip_space(&value); value.len > 0 && digits < 3 && value.ptr[0] >= '0' && value.ptr[0] <= '9'; digits++) {
		n = n * 10 + (unsigned)(value.ptr[0] - '0');
		value.ptr++;
		value.len--;
	}
	if (!skip(&value, ';'))
		return 0;
	skip_space(&value);
	*rest = value;
	return n;
}

static unsigned signature_instance(struct view value, struct view *cv)
{
	struct sigtags tags;
	const char *problem;
	uint64_t n;

	if (sigtags_parse(&tags, value, &problem) == -1 ||
	    view_u64(sigtags_value(&tags, "i"), 3 * ARC_INSTANCES_MAX, &n) == -1)
		return 0;
	*cv = sigtags_value(&tags, "cv");
	return (unsigned)n;
}

static void add(struct arc_sets *s, const struct mime_header *h, bool is_seal, bool is_results)
{
	struct view cv = VIEW_NONE, authres = VIEW_NONE;
	unsigned i = is_results ? results_instance(h->value, &authres) : signature_instance(h->value, &cv);
	struct mime_header *to;
	struct arc_set *set;

	s->any = true;
	if (i == 0 || i > ARC_INSTANCES_MAX) {
		s->problem = i == 0 ? "a field has no instance" : "there are too many sets";
		s->count = i > 0 ? ARC_INSTANCES_MAX : s->count;
		return;
	}
	set = &s->sets[i - 1];
	to = is_results ? &set->results : is_seal ? &set->seal : &set->message_signature;
	if (to->field.ptr != NULL)
		s->problem = "a field is there twice";
	*to = *h;
	if (is_seal)
		set->cv = cv;
	if (is_results)
		set->authres = authres;
	s->count = i > s->count ? i : s->count;
}

static const char *check(const struct arc_sets *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		const struct arc_set *set = &s->sets[i];
		if (set->results.field.ptr == NULL || set->message_signature.field.ptr == NULL ||
		    set->seal.field.ptr == NULL)
			return "a set is not whole";
		if (!view_eq(set->cv, i == 0 ? "none" : "pass") && (i + 1 < s->count || !view_eq(set->cv, "fail")))
			return "a seal has the wrong cv=";
	}
	return NULL;
}

void arc_sets_read(struct arc_sets *s, struct view header)
{
	struct mime_header h;

	*s = (struct arc_sets){ 0 };
	for (size_t pos = 0; mime_header_next(header, &pos, &h);) {
		bool is_seal = view_caseeq(h.name, "ARC-Seal"),
		     is_results = view_caseeq(h.name, "ARC-Authentication-Results");
		if (is_seal || is_results || view_caseeq(h.name, "ARC-Message-Signature"))
			add(s, &h, is_seal, is_results);
	}
	if (s->problem == NULL)
		s->problem = check(s);
}

void arc_set_hash(const struct arc_set *set, EVP_MD_CTX *ctx, struct buf *canonical)
{
	buf_reset(canonical);
	dkim_header(DKIM_RELAXED, set->results.field, canonical);
	dkim_header(DKIM_RELAXED, set->message_signature.field, canonical);
	dkim_hash_add(ctx, buf_view(canonical));
}
