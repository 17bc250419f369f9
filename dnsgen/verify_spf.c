/*
 * verify.h, SPF (RFC 7208): does the live record let our addresses send, and does it stay within ten lookups, counted
 * through its includes as they are now?  Macros are not expanded (they depend on the message): a term with one counts
 * as a lookup and matches nothing.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/verify_internal.h"
#include "mailsvc/policy/spf_record.h"

#define LOOKUPS_STOP 40 /* where counting ends */
#define DEPTH_MAX 12
#define TXT_MAX 65536

struct spf {
	struct verify *v;
	struct policy_address address; /* that sends; family 0: only count */
	unsigned lookups;
	bool macro, unknown; /* a term that was not evaluated; one that could not be asked */
	char *wrong;         /* a permanent error, in words */
};

static enum spf_result evaluate(struct spf *, const char *domain, struct view record, int depth);

static void set_wrong(struct spf *s, char *why)
{
	if (s->wrong)
		free(why);
	else
		s->wrong = why;
}

static unsigned prefix_of(const struct spf *s, const struct spf_term *t)
{
	return s->address.family == AF_INET ? t->bits4 : t->bits6;
}

/* The addresses of a name, within the prefix length of the term. */
static bool match_name(struct spf *s, const char *name, const struct spf_term *t)
{
	ldns_rr_type type = s->address.family == AF_INET6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A;
	bool match = false;
	if (s->address.family == 0)
		return false;
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, type);
	ldns_rr_list *records = lookup_records(a, name, type, NULL);
	s->unknown = s->unknown || !lookup_answered(a);
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(ldns_rr_list_rr(records, i), 0);
		match = match || (ldns_rdf_size(rdf) == policy_address_size(&s->address) &&
				     policy_address_in(&s->address, ldns_rdf_data(rdf), prefix_of(s, t)));
	}
	ldns_rr_list_free(records);
	return match;
}

static bool match_mx(struct spf *s, const char *name, const struct spf_term *t)
{
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_MX);
	ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_MX, NULL);
	bool match = false;
	if (ldns_rr_list_rr_count(records) > SPF_NAMES_MAX)
		set_wrong(s, xasprintf("%s has %zu MX records, ten are allowed", name, ldns_rr_list_rr_count(records)));
	s->unknown = s->unknown || !lookup_answered(a);
	for (size_t i = 0; i < ldns_rr_list_rr_count(records) && i < SPF_NAMES_MAX && !match; i++) {
		char *host = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 1));
		match = match_name(s, host, t);
		free(host);
	}
	ldns_rr_list_free(records);
	return match;
}

/* The SPF record of an included domain, evaluated. */
static enum spf_result follow(struct spf *s, const char *name, int depth)
{
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_TXT);
	ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_TXT, NULL);
	struct buf text = BUF_INIT(TXT_MAX);
	size_t found = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		struct buf one = BUF_INIT(TXT_MAX);
		lookup_txt(ldns_rr_list_rr(records, i), &one);
		if (spf_record_is(buf_view(&one)) && found++ == 0)
			buf_addv(&text, buf_view(&one));
		buf_free(&one);
	}
	ldns_rr_list_free(records);
	enum spf_result result = SPF_PERMERROR;
	if (!lookup_answered(a))
		s->unknown = true;
	else if (found != 1)
		set_wrong(s, xasprintf("it includes %s, which has %zu SPF records", name, found));
	else
		result = evaluate(s, name, buf_view(&text), depth + 1);
	buf_free(&text);
	return result;
}

/* A term that costs a lookup. True when it matches. */
static bool match_lookup(struct spf *s, const struct spf_term *t, const char *domain, int depth)
{
	static const struct spf_facts nothing;
	char name[256];
	if (++s->lookups > LOOKUPS_STOP || t->kind == SPF_PTR)
		return false;
	if (t->domain.len > 0 && memchr(t->domain.ptr, '%', t->domain.len)) {
		s->macro = true;
		return false;
	}
	if (t->domain.len > 0 ? spf_macro_name(t->domain, &nothing, name)
			      : view_copy(view_of(domain), name, sizeof(name)))
		return false;
	if (t->kind == SPF_INCLUDE)
		return follow(s, name, depth) == SPF_PASS;
	if (t->kind == SPF_A)
		return match_name(s, name, t);
	if (t->kind == SPF_MX)
		return match_mx(s, name, t);
	return s->address.family != 0 && lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_A)->status == LOOKUP_OK;
}

static bool match_term(struct spf *s, const struct spf_term *t, const char *domain, int depth)
{
	if (spf_term_looks_up(t))
		return match_lookup(s, t, domain, depth);
	return t->kind == SPF_ALL || (t->network.family == s->address.family &&
					 policy_address_in(&s->address, t->network.bytes, prefix_of(s, t)));
}

static enum spf_result redirect(struct spf *s, const struct spf_record *r, int depth)
{
	static const struct spf_facts nothing;
	char name[256];
	if (r->redirect.ptr == NULL || s->lookups++ > LOOKUPS_STOP)
		return SPF_NONE;
	if (memchr(r->redirect.ptr, '%', r->redirect.len)) {
		s->macro = true;
		return SPF_NONE;
	}
	return spf_macro_name(r->redirect, &nothing, name) == 0 ? follow(s, name, depth) : SPF_PERMERROR;
}

/*
 * Without an address all terms are walked, so that everything is counted; else up to the first that matches.  Nothing
 * behind "all" is looked at (5.1), nor is redirect then (6.1).
 */
static enum spf_result walk(struct spf *s, const struct spf_record *r, const char *domain, int depth)
{
	for (size_t i = 0; i < r->count && s->lookups <= LOOKUPS_STOP; i++) {
		bool match = match_term(s, &r->terms[i], domain, depth);
		if (r->terms[i].kind == SPF_ALL || (match && s->address.family != 0))
			return r->terms[i].qualifier;
	}
	return redirect(s, r, depth);
}

static enum spf_result evaluate(struct spf *s, const char *domain, struct view record, int depth)
{
	struct spf_record r;
	char problem[160];
	enum spf_result result = SPF_PERMERROR;
	if (depth > DEPTH_MAX) {
		set_wrong(s, xasprintf("its includes go round in a circle, at %s", domain));
		return SPF_PERMERROR;
	}
	if (spf_record_parse(record, &r, problem) == -1)
		set_wrong(s, depth > 0 ? xasprintf("it includes %s, and that has a fault: %s", domain, problem)
				       : xstrdup(problem));
	else
		result = walk(s, &r, domain, depth);
	spf_record_free(&r);
	return result;
}

/* Does it let the address send? */
static bool covers(struct verify *v, const char *domain, struct view record, const char *address, bool *unknown)
{
	struct spf s = { .v = v, .address.family = strchr(address, ':') ? AF_INET6 : AF_INET };
	bool pass =
	    inet_pton(s.address.family, address, s.address.bytes) == 1 && evaluate(&s, domain, record, 0) == SPF_PASS;
	*unknown = *unknown || s.unknown || s.macro;
	free(s.wrong);
	return pass;
}

static bool count_lookups(struct verify *v, const char *domain, struct view record)
{
	struct spf s = { .v = v };
	bool right = false;
	evaluate(&s, domain, record, 0);
	if (s.wrong)
		check_results_add(v->out, CHECK_WRONG, "spf", domain,
		    "correct it, or drop the include from domains[].records", "it counts as an error: %s", s.wrong);
	else if (s.lookups > SPF_LOOKUPS_MAX)
		check_results_add(v->out, CHECK_WRONG, "spf", domain,
		    "replace includes by ip4: and ip6:; receivers take more than ten for an error",
		    "it takes %s%u lookups, ten are allowed", s.lookups > LOOKUPS_STOP ? "more than " : "",
		    s.lookups > LOOKUPS_STOP ? LOOKUPS_STOP : s.lookups);
	else if (s.unknown)
		check_results_add(v->out, CHECK_UNKNOWN, "spf", domain, "ask again", "an include could not be asked");
	else
		right = true;
	free(s.wrong);
	return right;
}

bool verify_spf(struct verify *v, const char *domain, struct view record, bool same)
{
	const char *addresses[VERIFY_ADDRESSES];
	const struct site *s = v->site;
	bool unknown = false;
	verify_addresses(s, addresses);
	if (!count_lookups(v, domain, record))
		return false;
	/* What the site wants may be that nobody sends, or that a smart host does. */
	for (int i = 0; i < VERIFY_ADDRESSES && !same && !s->relay.smarthost[0]; i++) {
		if (!addresses[i][0] || covers(v, domain, record, addresses[i], &unknown))
			continue;
		char *remedy = xasprintf("add ip%d:%s", i ? 6 : 4, addresses[i]);
		check_results_add(v->out, unknown ? CHECK_UNKNOWN : CHECK_WRONG, "spf", domain, remedy,
		    "it does not let %s send: %.*s", addresses[i], (int)record.len, record.ptr);
		free(remedy);
		return false;
	}
	if (!same)
		check_results_add(v->out, CHECK_WARNING, "spf", domain,
		    "publish the site's, or put this one into domains[].records", "not what the site publishes: %.*s",
		    (int)record.len, record.ptr);
	return same;
}
