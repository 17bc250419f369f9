/*
 * verify.h, SPF (RFC 7208): does the live record let our addresses send, and does it stay within ten lookups, counted
 * through its includes as they are now?  Macros are not expanded (they depend on the message): a term with one counts
 * as a lookup and matches nothing.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsgen/verify_internal.h"

#define LOOKUPS_MAX 10  /* RFC 7208 4.6.4 */
#define LOOKUPS_STOP 40 /* where counting ends */
#define DEPTH_MAX 12
#define TXT_MAX 65536

struct spf {
	struct verify *v;
	int family; /* of the address that sends; 0: only count */
	unsigned char address[16];
	unsigned lookups;
	bool macro, unknown; /* a term that was not evaluated; one that could not be asked */
	char *wrong;         /* a permanent error, in words */
};

enum outcome { SPF_NONE, SPF_PASS, SPF_FAIL, SPF_ERROR };

static enum outcome evaluate(struct spf *, const char *domain, struct view record, int depth);

static void set_wrong(struct spf *s, char *why)
{
	if (s->wrong)
		free(why);
	else
		s->wrong = why;
}

static bool in_prefix(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

/* "ADDRESS" or "ADDRESS/BITS" of the family. */
static bool match_literal(struct spf *s, struct view v, int family)
{
	const char *slash = v.len ? memchr(v.ptr, '/', v.len) : NULL;
	char text[64];
	unsigned char raw[16];
	uint64_t most = family == AF_INET ? 32 : 128, bits = most;
	struct view host = { v.ptr, slash ? (size_t)(slash - v.ptr) : v.len };
	if (view_copy(host, text, sizeof(text)) == -1 || inet_pton(family, text, raw) != 1 ||
	    (slash && view_u64((struct view){ slash + 1, v.len - host.len - 1 }, most, &bits) == -1)) {
		set_wrong(s, xasprintf("it has a bad address: %.*s", (int)v.len, v.ptr));
		return false;
	}
	return s->family == family && in_prefix(s->address, raw, (unsigned)bits);
}

/* The addresses of a name, within the prefix length that stands behind it ("/24//64"). */
static bool match_name(struct spf *s, const char *name, struct view cidr)
{
	ldns_rr_type type = s->family == AF_INET6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A;
	uint64_t bits = s->family == AF_INET6 ? 128 : 32;
	const char *six = cidr.len ? memmem(cidr.ptr, cidr.len, "//", 2) : NULL;
	struct view four = { cidr.ptr, six ? (size_t)(six - cidr.ptr) : cidr.len };
	bool match = false;
	if (s->family == 0)
		return false;
	if (s->family == AF_INET6 && six)
		view_u64((struct view){ six + 2, (size_t)(cidr.ptr + cidr.len - six - 2) }, 128, &bits);
	else if (s->family == AF_INET && four.len > 1)
		view_u64((struct view){ four.ptr + 1, four.len - 1 }, 32, &bits);
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, type);
	ldns_rr_list *records = lookup_records(a, name, type, NULL);
	s->unknown = s->unknown || !lookup_answered(a);
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(ldns_rr_list_rr(records, i), 0);
		match = match || (ldns_rdf_size(rdf) == (s->family == AF_INET6 ? 16 : 4) &&
				     in_prefix(s->address, ldns_rdf_data(rdf), (unsigned)bits));
	}
	ldns_rr_list_free(records);
	return match;
}

static bool match_mx(struct spf *s, const char *name, struct view cidr)
{
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_MX);
	ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_MX, NULL);
	bool match = false;
	if (ldns_rr_list_rr_count(records) > LOOKUPS_MAX)
		set_wrong(s, xasprintf("%s has %zu MX records, ten are allowed", name, ldns_rr_list_rr_count(records)));
	s->unknown = s->unknown || !lookup_answered(a);
	for (size_t i = 0; i < ldns_rr_list_rr_count(records) && i < LOOKUPS_MAX && !match; i++) {
		char *host = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 1));
		match = match_name(s, host, cidr);
		free(host);
	}
	ldns_rr_list_free(records);
	return match;
}

/* The SPF record of an included domain, evaluated. */
static enum outcome follow(struct spf *s, const char *name, int depth)
{
	const struct lookup_answer *a = lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_TXT);
	ldns_rr_list *records = lookup_records(a, name, LDNS_RR_TYPE_TXT, NULL);
	struct buf text = BUF_INIT(TXT_MAX);
	size_t found = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
		struct buf one = BUF_INIT(TXT_MAX);
		lookup_txt(ldns_rr_list_rr(records, i), &one);
		if (one.len >= 6 && strncasecmp(one.data, "v=spf1", 6) == 0 && (one.len == 6 || one.data[6] == ' ') &&
		    found++ == 0)
			buf_addv(&text, buf_view(&one));
		buf_free(&one);
	}
	ldns_rr_list_free(records);
	enum outcome result = SPF_ERROR;
	if (!lookup_answered(a))
		s->unknown = true;
	else if (found != 1)
		set_wrong(s, xasprintf("it includes %s, which has %zu SPF records", name, found));
	else
		result = evaluate(s, name, buf_view(&text), depth + 1);
	buf_free(&text);
	return result;
}

struct term {
	enum outcome qualifier;
	struct view name, value, cidr; /* cidr begins with '/' */
	bool modifier;
};

static struct term split_term(struct view v)
{
	struct term t = { .qualifier = SPF_PASS };
	size_t len = 0;
	if (v.len > 0 && strchr("+-~?", v.ptr[0])) {
		t.qualifier = v.ptr[0] == '+' ? SPF_PASS : SPF_FAIL;
		v.ptr++;
		v.len--;
	}
	while (len < v.len && v.ptr[len] != ':' && v.ptr[len] != '=' && v.ptr[len] != '/')
		len++;
	t.name = (struct view){ v.ptr, len };
	t.modifier = len < v.len && v.ptr[len] == '=';
	if (len < v.len && v.ptr[len] != '/')
		t.value = (struct view){ v.ptr + len + 1, v.len - len - 1 };
	else
		t.cidr = (struct view){ v.ptr + len, v.len - len };
	const char *slash = t.value.len ? memchr(t.value.ptr, '/', t.value.len) : NULL;
	if (slash && (view_caseeq(t.name, "a") || view_caseeq(t.name, "mx"))) {
		t.cidr = (struct view){ slash, (size_t)(t.value.ptr + t.value.len - slash) };
		t.value.len = (size_t)(slash - t.value.ptr);
	}
	return t;
}

/* A term that costs a lookup. True when it matches. */
static bool match_lookup(struct spf *s, const struct term *t, const char *domain, int depth)
{
	char name[256];
	if (++s->lookups > LOOKUPS_STOP)
		return false;
	if (t->value.len > 0 && memchr(t->value.ptr, '%', t->value.len)) {
		s->macro = true;
		return false;
	}
	if (view_copy(t->value.len ? t->value : view_of(domain), name, sizeof(name)) == -1)
		return false;
	if (view_caseeq(t->name, "include"))
		return follow(s, name, depth) == SPF_PASS;
	if (view_caseeq(t->name, "a"))
		return match_name(s, name, t->cidr);
	if (view_caseeq(t->name, "mx"))
		return match_mx(s, name, t->cidr);
	return view_caseeq(t->name, "exists") && s->family != 0 &&
	       lookup(s->v->lookup, NULL, name, LDNS_RR_TYPE_A)->status == LOOKUP_OK;
}

static bool is_one_of(struct view name, const char *const *names)
{
	for (; *names; names++)
		if (view_caseeq(name, *names))
			return true;
	return false;
}

static bool match_term(struct spf *s, const struct term *t, const char *domain, int depth)
{
	static const char *const looking[] = { "include", "a", "mx", "ptr", "exists", NULL };
	if (view_caseeq(t->name, "all"))
		return true;
	if (view_caseeq(t->name, "ip4"))
		return match_literal(s, t->value, AF_INET);
	if (view_caseeq(t->name, "ip6"))
		return match_literal(s, t->value, AF_INET6);
	if (is_one_of(t->name, looking))
		return match_lookup(s, t, domain, depth);
	set_wrong(s, xasprintf("it has an unknown term: %.*s", (int)t->name.len, t->name.ptr));
	return false;
}

/* Without an address all terms are walked, so that everything is counted; else up to the first that matches. */
static enum outcome evaluate(struct spf *s, const char *domain, struct view record, int depth)
{
	char redirect[256] = "";
	bool all = false;
	if (depth > DEPTH_MAX) {
		set_wrong(s, xasprintf("its includes go round in a circle, at %s", domain));
		return SPF_ERROR;
	}
	record.ptr += 6; /* v=spf1 */
	record.len -= 6;
	while (record.len > 0 && s->lookups <= LOOKUPS_STOP) {
		const char *space = memchr(record.ptr, ' ', record.len);
		struct view word = { record.ptr, space ? (size_t)(space - record.ptr) : record.len };
		record.ptr += word.len + (space != NULL);
		record.len -= word.len + (space != NULL);
		struct term t = split_term(word);
		if (word.len == 0)
			continue;
		if (t.modifier && view_caseeq(t.name, "redirect"))
			view_copy(t.value, redirect, sizeof(redirect));
		if (t.modifier || all)
			continue; /* no mechanism behind "all" is looked at (5.1) */
		all = view_caseeq(t.name, "all");
		if (match_term(s, &t, domain, depth) && s->family != 0)
			return t.qualifier;
	}
	if (all)
		return SPF_NONE; /* nor is redirect (6.1) */
	if (redirect[0] == '\0' || s->lookups++ > LOOKUPS_STOP)
		return SPF_NONE;
	if (strchr(redirect, '%')) {
		s->macro = true;
		return SPF_NONE;
	}
	return follow(s, redirect, depth);
}

/* Does it let the address send? */
static bool covers(struct verify *v, const char *domain, struct view record, const char *address, bool *unknown)
{
	struct spf s = { .v = v, .family = strchr(address, ':') ? AF_INET6 : AF_INET };
	enum outcome o = inet_pton(s.family, address, s.address) == 1 ? evaluate(&s, domain, record, 0) : SPF_ERROR;
	*unknown = *unknown || s.unknown || s.macro;
	free(s.wrong);
	return o == SPF_PASS;
}

static bool count_lookups(struct verify *v, const char *domain, struct view record)
{
	struct spf s = { .v = v };
	bool right = false;
	evaluate(&s, domain, record, 0);
	if (s.wrong)
		check_results_add(v->out, CHECK_WRONG, "spf", domain,
		    "correct it, or drop the include from domains[].records", "it counts as an error: %s", s.wrong);
	else if (s.lookups > LOOKUPS_MAX)
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
