/*
 * DMARC over any header and any DNS.  Lines: the author's domain, that of SPF, that of a signature, then an answer
 * each: "T" no answer, "N" no such name, "" no such type, else a TXT record.  All of it is a header, and a record, too.
 */
#include <strings.h>

#include "mailsvc/policy/dmarc_record.h"
#include "mailsvc/policy/name.h"
#include "tests/fuzz/dns_lines.h"

#define QUESTIONS_MAX 25 /* three trees, and whether the author's domain exists */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct dns_lines dns;
	bool done;
	char *from;
};

static void answer(struct dns_lines *d)
{
	struct dns_record record = { 0 };
	struct dns_answer a = { .records = &record };
	struct dns_lines_asked asked;

	a.status = dns_lines_next(d, &record.data, &asked);
	a.count = a.status == DNS_OK;
	if (asked.type != DNS_TXT && asked.type != DNS_A)
		abort();
	asked.fn(asked.arg, &a);
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
	struct world w = { .dns = { .rest = in, .most = QUESTIONS_MAX, .at_once = 8 } };
	struct policy_dns dns = { dns_lines_query, dns_lines_cancel, &w.dns };
	w.from = view_dup(next_line(&w.dns.rest));
	char *spf = view_dup(next_line(&w.dns.rest)), *signature = view_dup(next_line(&w.dns.rest));
	struct dmarc_input q = { w.from, SPF_PASS, spf, (const char *const *)&signature, 1, NULL, 0 };
	struct dmarc_check *c = dmarc_start(&dns, &q, took, &w);
	bool hurried = false;

	while (w.dns.waiting > 0) {
		size_t when = w.dns.rest.len % 97; /* somewhere */
		if (when == 96)
			dmarc_cancel(c);
		else if (when == 95)
			dmarc_expire(c, took, &w);
		if (when >= 95)
			break;
		if (when >= 80 && !hurried) /* at most once, as smtp does */
			hurried = dmarc_hurry(c);
		answer(&w.dns);
	}
	if (w.dns.waiting > 0)
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
