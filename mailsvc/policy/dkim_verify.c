/*
 * Verifying DKIM signatures: all fields are read and hashed at once, one look-up a key name, and one callback when the
 * last answer is there.  A signature whose body does not match is not looked up.
 */
#include "dkim_verify.h"

#include <stdlib.h>

#include "dkim_verify_field.h"

struct dkim_verify {
	dkim_verify_fn fn;
	void *arg;
	struct dkim_lookups *lookups;
	struct dkim_field fields[DKIM_SIGNATURES_MAX];
	size_t count;
};

void dkim_verify_cancel(struct dkim_verify *v)
{
	if (v == NULL)
		return;
	dkim_lookups_free(v->lookups);
	for (size_t i = 0; i < v->count; i++)
		dkim_field_free(&v->fields[i]);
	free(v);
}

static void done(void *arg)
{
	struct dkim_verify *v = arg;
	struct dkim_result results[DKIM_SIGNATURES_MAX];

	for (size_t i = 0; i < v->count; i++) {
		if (dkim_field_open(&v->fields[i]))
			dkim_field_judge(&v->fields[i], dkim_lookups_get(v->lookups, v->fields[i].key));
		results[i] = v->fields[i].result;
	}
	v->fn(v->arg, results, v->count);
	dkim_verify_cancel(v);
}

void dkim_verify_expire(struct dkim_verify *v, dkim_verify_fn fn, void *arg)
{
	if (v == NULL)
		return;
	v->fn = fn;
	v->arg = arg;
	done(v);
}

static void read_fields(struct dkim_verify *v, const struct dkim_header *header, int64_t now)
{
	struct mime_header h;

	for (size_t i = 0; v->count < DKIM_SIGNATURES_MAX && dkim_header_at(header, i, &h); i++) {
		if (!view_caseeq(h.name, "DKIM-Signature"))
			continue;
		struct dkim_field *f = &v->fields[v->count++];
		dkim_field_read(f, DKIM_FIELD_SIGNATURE, &h, now);
		if (dkim_field_open(f) && dkim_header_problem(header) != NULL)
			dkim_field_fail(f, DKIM_PERMERROR, "%s", dkim_header_problem(header));
	}
}

struct dkim_verify *dkim_verify_start(
    const struct policy_dns *dns, struct view message, int64_t now, dkim_verify_fn fn, void *arg)
{
	struct dkim_verify *v = xcalloc(1, sizeof(*v));
	size_t header_len = mime_header_len(message);
	struct dkim_header *header = dkim_header_new((struct view){ message.ptr, header_len });
	struct dkim_field *fields[DKIM_SIGNATURES_MAX];

	v->fn = fn;
	v->arg = arg;
	v->lookups = dkim_lookups_new(dns, done, v);
	read_fields(v, header, now);
	for (size_t i = 0; i < v->count; i++) {
		fields[i] = &v->fields[i];
		if (dkim_field_open(fields[i]))
			dkim_header_hash(header, fields[i]);
	}
	dkim_fields_body(fields, v->count, dkim_body_of(message, header_len));
	for (size_t i = 0; i < v->count; i++)
		dkim_field_want(fields[i], v->lookups);
	dkim_header_free(header);
	dkim_lookups_start(v->lookups);
	return v;
}
