/* verify.h, what is asked of the host itself: its name's addresses, the addresses' names, and block lists. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dnsgen/verify_internal.h"

#define MANY 8 /* PTR records that are shown */

/* Does name resolve to the address?  *unknown when that cannot be asked. */
static bool leads_to(struct verify *v, const char *name, const char *address, bool *unknown)
{
	ldns_rr_type type = strchr(address, ':') ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A;
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	const struct lookup_answer *a = lookup(v->lookup, NULL, name, type);
	ldns_rr_list *records = lookup_records(a, name, type, NULL);
	*unknown = !lookup_answered(a);
	unsigned char want[16];
	bool found = false;
	for (size_t i = 0; inet_pton(family, address, want) == 1 && i < ldns_rr_list_rr_count(records); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(ldns_rr_list_rr(records, i), 0);
		size_t size = family == AF_INET6 ? 16 : 4;
		found = found || (ldns_rdf_size(rdf) == size && memcmp(ldns_rdf_data(rdf), want, size) == 0);
	}
	ldns_rr_list_free(records);
	return found;
}

/* A or AAAA of the host: exactly our public address. */
static void check_address(struct verify *v, const char *wanted, ldns_rr_type type)
{
	const char *name = v->site->host.name;
	const struct lookup_answer *a = lookup(v->lookup, NULL, name, type);
	bool cname, right = false;
	ldns_rr_list *records = lookup_records(a, name, type, &cname);
	size_t count = ldns_rr_list_rr_count(records);
	struct buf seen = BUF_INIT(4096);
	for (size_t i = 0; i < count && i < MANY; i++) {
		char *address = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 0));
		right = right || verify_is_ours(v->site, address);
		buf_printf(&seen, "%s%s", i ? ", " : "", address);
		free(address);
	}
	char *remedy = wanted[0] ? xasprintf("make it %s %s", type == LDNS_RR_TYPE_A ? "A" : "AAAA", wanted)
	                         : xstrdup("take the record away, or set host.ipv6 or host.ipv4 in the site");
	if (!lookup_answered(a))
		check_results_add(
		    v->out, CHECK_UNKNOWN, "address", name, "ask again; check the resolver", "%s", a->why);
	else if (cname)
		check_results_add(v->out, CHECK_WRONG, "address", name, remedy,
		    "it is an alias (CNAME), which a name in an MX record must not be (RFC 2181 10.3)");
	else if (count == 0 && wanted[0])
		check_results_add(v->out, CHECK_WRONG, "address", name, remedy, "it has no %s record",
		    type == LDNS_RR_TYPE_A ? "A" : "AAAA");
	else if (count > 0 && (!right || count > 1 || !wanted[0]))
		check_results_add(v->out, CHECK_WRONG, "address", name, remedy, "it is %s", buf_str(&seen));
	else if (count > 0)
		check_results_add(v->out, CHECK_OK, "address", name, "", "%s", buf_str(&seen));
	ldns_rr_list_free(records);
	buf_free(&seen);
	free(remedy);
}

static void check_ptr(struct verify *v, const char *address, const char *reverse)
{
	const struct lookup_answer *a = lookup(v->lookup, NULL, reverse, LDNS_RR_TYPE_PTR);
	ldns_rr_list *records = lookup_records(a, reverse, LDNS_RR_TYPE_PTR, NULL);
	size_t count = ldns_rr_list_rr_count(records);
	struct buf seen = BUF_INIT(4096);
	bool ours = false, unknown;
	for (size_t i = 0; i < count && i < MANY; i++) {
		char *name = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 0));
		ours = ours || strcmp(name, v->site->host.name) == 0;
		buf_printf(&seen, "%s%s", i ? ", " : "", name);
		free(name);
	}
	char *remedy = xasprintf("ask whoever gave you the address to set its reverse name to %s", v->site->host.name);
	if (!lookup_answered(a))
		check_results_add(v->out, CHECK_UNKNOWN, "ptr", address, "ask again; check the resolver", "%s", a->why);
	else if (count == 0)
		check_results_add(v->out, CHECK_WRONG, "ptr", address, remedy, "it has no reverse name");
	else if (!ours)
		check_results_add(
		    v->out, CHECK_WRONG, "ptr", address, remedy, "its reverse name is %s", buf_str(&seen));
	else if (!leads_to(v, v->site->host.name, address, &unknown))
		check_results_add(v->out, unknown ? CHECK_UNKNOWN : CHECK_WRONG, "ptr", address,
		    "publish the host's address: see the row address",
		    "its reverse name is %s, which does not lead back to it", buf_str(&seen));
	else if (count > 1)
		check_results_add(
		    v->out, CHECK_WARNING, "ptr", address, remedy, "it has several reverse names: %s", buf_str(&seen));
	else
		check_results_add(v->out, CHECK_OK, "ptr", address, "", "%s, and back", buf_str(&seen));
	ldns_rr_list_free(records);
	buf_free(&seen);
	free(remedy);
}

void verify_host(struct verify *v)
{
	const char *addresses[VERIFY_ADDRESSES];
	verify_addresses(v->site, addresses);
	check_address(v, addresses[0], LDNS_RR_TYPE_A);
	check_address(v, addresses[1], LDNS_RR_TYPE_AAAA);
	for (int i = 0; i < VERIFY_ADDRESSES; i++) {
		char *reverse = verify_reverse(addresses[i], i ? "ip6.arpa" : "in-addr.arpa");
		if (reverse)
			check_ptr(v, addresses[i], reverse);
		free(reverse);
	}
}

/* Why a list has the address: its TXT record, or the code. */
static void listed(struct verify *v, const char *address, const char *list, const char *name, const char *code)
{
	ldns_rr_list *txt =
	    lookup_records(lookup(v->lookup, NULL, name, LDNS_RR_TYPE_TXT), name, LDNS_RR_TYPE_TXT, NULL);
	struct buf reason = BUF_INIT(65536);
	if (ldns_rr_list_rr_count(txt) > 0)
		lookup_txt(ldns_rr_list_rr(txt, 0), &reason);
	char *remedy =
	    xasprintf("find out why mail of yours was reported, end that, then ask %s to take the address off", list);
	check_results_add(v->out, CHECK_WRONG, "block-list", address, remedy, "%s lists it (%s)%s%s", list, code,
	    reason.len ? ": " : "", reason.len ? buf_str(&reason) : "");
	free(remedy);
	buf_free(&reason);
	ldns_rr_list_free(txt);
}

/* The code that a list has for the address, or NULL: not listed, or *answer says why it is not known.  malloc'd. */
static char *code_of(struct verify *v, const char *address, const char *list, const struct lookup_answer **answer)
{
	char *name = verify_reverse(address, list);
	*answer = lookup(v->lookup, NULL, name, LDNS_RR_TYPE_A);
	ldns_rr_list *records = lookup_records(*answer, name, LDNS_RR_TYPE_A, NULL);
	char *code = ldns_rr_list_rr_count(records) ? lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, 0), 0)) : NULL;
	ldns_rr_list_free(records);
	free(name);
	return code;
}

/* RFC 5782 5: a list that works has 127.0.0.2 on it, and not 127.0.0.1.  True when this one works; else there is a row. */
static bool check_list_works(struct verify *v, const char *address, const char *list)
{
	const struct lookup_answer *have, *have_not;
	char *listed_one = code_of(v, VERIFY_LISTED, list, &have), *other = code_of(v, VERIFY_CLEAN, list, &have_not);
	bool all = other != NULL, none = listed_one == NULL || strncmp(listed_one, "127.", 4) != 0;
	if (all)
		check_results_add(v->out, CHECK_UNKNOWN, "block-list", address,
		    "take it out of dns.block_lists: lists that are shut down do so",
		    "%s has every address on it, " VERIFY_CLEAN " too (RFC 5782 5)", list);
	else if (none)
		check_results_add(v->out, CHECK_UNKNOWN, "block-list", address,
		    "ask through your own resolver (dns.local_resolver); take it out of dns.block_lists if it is gone",
		    "%s does not answer: its test point " VERIFY_LISTED " is not on it (RFC 5782 5)%s%s", list,
		    have->why[0] ? ": " : "", have->why);
	free(listed_one);
	free(other);
	return !all && !none;
}

/* True: not listed. Everything else is a row. */
static bool check_list(struct verify *v, const char *address, const char *list)
{
	const struct lookup_answer *a;
	char *name = verify_reverse(address, list), *code = code_of(v, address, list, &a);
	bool clean = false;
	if (!lookup_answered(a))
		check_results_add(v->out, CHECK_UNKNOWN, "block-list", address,
		    "ask again; take the list out of dns.block_lists if it is gone", "%s: %s", list, a->why);
	else if (code && strncmp(code, "127.255.255.", 12) == 0)
		check_results_add(v->out, CHECK_UNKNOWN, "block-list", address,
		    "the list does not answer public or busy resolvers: ask through your own (dns.local_resolver)",
		    "%s answers with an error (%s)", list, code);
	else if (code && strncmp(code, "127.", 4) != 0)
		check_results_add(v->out, CHECK_UNKNOWN, "block-list", address,
		    "take it out of dns.block_lists: it answers like a parked domain", "%s answers with %s", list,
		    code);
	else if (check_list_works(v, address, list)) {
		clean = code == NULL;
		if (code)
			listed(v, address, list, name, code);
	}
	free(code);
	free(name);
	return clean;
}

void verify_block_lists(struct verify *v)
{
	const struct strings *lists = &v->site->dns.block_lists;
	const char *addresses[VERIFY_ADDRESSES];
	verify_addresses(v->site, addresses);
	for (int i = 0; i < VERIFY_ADDRESSES; i++) {
		size_t clean = 0;
		for (size_t k = 0; addresses[i][0] && k < lists->count; k++)
			clean += check_list(v, addresses[i], lists->at[k]);
		if (clean > 0 && clean == lists->count)
			check_results_add(v->out, CHECK_OK, "block-list", addresses[i], "", "on none of %zu", clean);
	}
}
