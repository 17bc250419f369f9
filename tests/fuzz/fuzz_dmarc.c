/*
 * DMARC over any header and any DNS.  Lines: the author's domain, that of SPF, that of a signature, then an answer
 * each: "T" no answer, "N" no such name, "" no such type, else a TXT record.  All of it is a header, and a record, too.
 */
#include <stdlib.h>
#include <strings.h>

#include "mailsvc/policy/dmarc_record.h"
#include "mailsvc/policy/name.h"

#define QUESTIONS_MAX 25 /* three trees, and whether the author's domain exists */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct view rest;
	dns_fn fn;
	void *arg;
	unsigned questions;
	bool done;
	char *from;
};

static struct view next_line(struct view *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	struct view line = { rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	size_t taken = line.len + (end != NULL);

	*rest = (struct view){ rest->ptr + taken, rest->len - taken };
	return line;
}

static uint32_t query(void *ctx, const char *name, enum dns_type type, dns_fn fn, void *arg)
{
	struct world *w = ctx;

	if (strlen(name) > 255 || w->fn != NULL || ++w->questions > QUESTIONS_MAX || (type != DNS_TXT && type != DNS_A))
		abort();
	w->fn = fn;
	w->arg = arg;
	return w->questions;
}

static void cancel(void *ctx, uint32_t id)
{
	struct world *w = ctx;

	if (id != w->questions)
		abort();
	w->fn = NULL;
}

static void answer(struct world *w)
{
	bool left = w->rest.len > 0;
	struct dns_record record = { .data = next_line(&w->rest) };
	struct dns_answer a = { .records = &record, .count = 1 };
	dns_fn fn = w->fn;

	w->fn = NULL;
	if (!left || view_eq(record.data, "N"))
		a = (struct dns_answer){ .status = DNS_NXDOMAIN };
	else if (record.data.len == 0 || view_eq(record.data, "T"))
		a = (struct dns_answer){ .status = record.data.len == 0 ? DNS_NODATA : DNS_TEMPFAIL };
	fn(w->arg, &a);
}

static void took(void *arg, const struct dmarc_verdict *v)
{
	struct world *w = arg;
	char from[256];

	if (w->done || v->reason[0] == '\0' || dmarc_disposition(v) > v->policy)
		abort();
	w->done = true;
	if (policy_domain(view_of(w->from), from) == -1) {
		if (v->result != DMARC_PERMERROR)
			abort();
		return;
	}
	/* The policy and the organisational domain are the author's domain, or above it. */
	if (!policy_below(from, v->organisational) || v->organisational[0] == '\0' || !policy_below(from, v->domain))
		abort();
	if ((v->result == DMARC_PASS) != (v->spf_aligned || v->dkim_aligned) && v->result != DMARC_NONE)
		abort();
	if ((v->result == DMARC_PASS || v->result == DMARC_FAIL) && v->domain[0] == '\0')
		abort();
}

static void run(struct view in)
{
	struct world w = { .rest = in };
	struct policy_dns dns = { query, cancel, &w };
	w.from = view_dup(next_line(&w.rest));
	char *spf = view_dup(next_line(&w.rest)), *signature = view_dup(next_line(&w.rest));
	struct dmarc_input q = { w.from, SPF_PASS, spf, (const char *const *)&signature, 1, NULL, 0 };
	struct dmarc_check *c = dmarc_start(&dns, &q, took, &w);

	while (w.fn != NULL) {
		if (w.rest.len % 97 == 96) { /* somewhere */
			dmarc_cancel(c);
			break;
		}
		answer(&w);
	}
	if (w.fn != NULL)
		abort();
	free(w.from);
	free(spf);
	free(signature);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };
	char domain[256], reason[160];

	if (dmarc_author(in, domain, reason) == 0 ? !policy_name_ok(domain) || reason[0] != '\0' : reason[0] == '\0')
		abort();
	if (dmarc_record_is(in)) {
		struct dmarc_record r = dmarc_record_parse(in);
		if (!r.has_np && r.np != r.sp)
			abort();
	}
	run(in);
	return 0;
}
