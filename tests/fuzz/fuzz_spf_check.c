/*
 * A whole SPF check against a hostile DNS.  Lines: sender, HELO, then an answer each: "T" no answer, "N" no such name,
 * "" no such type, else the record: for TXT the line, for addresses "=" is the peer's and all else another, for names a
 * list with commas.  All of it is a record of its own, and a macro string, too.
 */
#include <netinet/in.h>

#include "mailsvc/policy/spf_record.h"
#include "tests/fuzz/dns_lines.h"

#define QUESTIONS_MAX                                                                                                  \
	150 /* record, 10 terms of 1 + 10 names, the peer's 1 + 10 names, records of includes, explanations */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct dns_lines dns;
	bool done;
};

static void put_names(struct dns_answer *a, struct view line)
{
	while (line.len > 0 && a->count < DNS_RECORDS_MAX) {
		const char *comma = memchr(line.ptr, ',', line.len);
		size_t n = comma != NULL ? (size_t)(comma - line.ptr) : line.len;
		a->records[a->count++].data = (struct view){ line.ptr, n };
		n += comma != NULL;
		line = (struct view){ line.ptr + n, line.len - n };
	}
}

static void answer(struct dns_lines *d)
{
	static const char four[] = { (char)192, 0, 2, 1 }, six[16] = { 0x20, 1, 0xd, (char)0xb8, [15] = 1 }, zero[16];
	struct dns_record records[DNS_RECORDS_MAX] = { { 0 } };
	struct dns_answer a = { .records = records };
	struct view line;
	struct dns_lines_asked asked;

	a.status = dns_lines_next(d, &line, &asked);
	if (a.status == DNS_OK && (asked.type == DNS_A || asked.type == DNS_AAAA))
		records[a.count++].data = (struct view){ line.ptr[0] != '=' ? zero
							 : asked.type == DNS_A ? four
									    : six,
			asked.type == DNS_A ? 4 : 16 };
	else if (a.status == DNS_OK && asked.type == DNS_TXT)
		records[a.count++].data = line;
	else if (a.status == DNS_OK)
		put_names(&a, line);
	asked.fn(asked.arg, &a);
}

static void printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text >= 0x7f)
			abort();
}

static void took(void *arg, const struct spf_verdict *v)
{
	struct world *w = arg;

	if (w->done || strlen(v->domain) > POLICY_NAME_MAX)
		abort();
	w->done = true;
	printable(v->domain);
	printable(v->mechanism);
	printable(v->explanation);
	printable(v->problem);
	if (v->result == SPF_TEMPERROR || v->result == SPF_PERMERROR ? v->problem[0] == '\0'
								     : spf_result_name(v->result) == NULL)
		abort();
}

static void run(struct view in, bool v6)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr = { htonl(0xc0000201) } };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr.s6_addr = { 0x20, 1, 0xd, 0xb8, [15] = 1 } };
	struct world w = { .dns = { .rest = in, .most = QUESTIONS_MAX } };
	struct policy_dns dns = { dns_lines_query, dns_lines_cancel, &w.dns };
	char *sender = view_dup(next_line(&w.dns.rest)), *helo = view_dup(next_line(&w.dns.rest));
	struct spf_query q = { v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four, helo, sender, "mx.example" };
	struct spf_check *c = spf_start(&dns, &q, took, &w);

	while (w.dns.waiting > 0) {
		if (w.dns.rest.len % 97 == 96) { /* somewhere */
			spf_cancel(c);
			break;
		}
		answer(&w.dns);
	}
	if (w.dns.waiting > 0)
		abort();
	free(sender);
	free(helo);
}

static void check_record(struct view in)
{
	struct spf_record r;
	char problem[160], name[256];
	const struct spf_facts facts = { .local = "a.b-c",
		.sender_domain = "example.org",
		.domain = "example.org",
		.peer = { AF_INET6, { 0x20, 1 } } };
	struct buf out = BUF_INIT(1 << 16);

	if (spf_record_is(in)) {
		int rc = spf_record_parse(in, &r, problem);
		if ((rc == -1) != (problem[0] != '\0'))
			abort();
		printable(problem);
		for (size_t i = 0; rc == 0 && i < r.count; i++)
			if (r.terms[i].bits4 > 32 || r.terms[i].bits6 > 128 || r.terms[i].text.len == 0)
				abort();
		spf_record_free(&r);
	}
	if (spf_macro_domain_ok(in) && !spf_macro_ok(in, false))
		abort();
	if (spf_macro_ok(in, false) && !spf_macro_ok(in, true))
		abort();
	spf_macro_expand(in, &facts, &out);
	if (spf_macro_name(in, &facts, name) == 0 && !policy_name_ok(name))
		abort();
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = { (const char *)data, size };

	check_record(in);
	run(in, false);
	run(in, true);
	return 0;
}
