/*
 * verify.h, record by record: every set of records that the site publishes is compared with what the resolver answers,
 * and when that differs with what the zone's own servers answer, which tells an old cache from a wrong zone.  Other
 * people's TXT records beside ours do not count; two of what must be one do.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsgen/txttags.h"
#include "dnsgen/verify_internal.h"
#include "mailsvc/policy/dmarc_record.h"

#define TXT_MAX 65536

/* One set: the owner, the type, and for TXT how the text begins ("v=spf1"), since several kinds share an owner. */
struct set {
	const char *check;
	char *owner;
	ldns_rr_type type;
	char family[16];
	ldns_rr_list *wanted;
};

/* How a TXT record says what it is, "" when it does not; DKIM records need not (RFC 6376 3.6.1). */
static void family_of(const ldns_rr *rr, const char *owner, char out[16])
{
	static const char *const families[] = { "v=spf1", "v=DMARC1", "v=STSv1", "v=TLSRPTv1" };
	struct buf text = BUF_INIT(TXT_MAX);
	out[0] = '\0';
	lookup_txt(rr, &text);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		size_t len = strlen(families[i]);
		if (text.len >= len && strncasecmp(text.data, families[i], len) == 0 &&
		    (text.len == len || strchr(" \t;", text.data[len]) != NULL))
			memcpy(out, families[i], len + 1);
	}
	if (strstr(owner, "._domainkey."))
		memcpy(out, "dkim", 5);
	buf_free(&text);
}

static const char *check_name(const struct set *s)
{
	static const struct {
		ldns_rr_type type;
		const char *check;
	} types[] = { { LDNS_RR_TYPE_MX, "mx" }, { LDNS_RR_TYPE_SRV, "srv" }, { LDNS_RR_TYPE_CAA, "caa" },
		{ LDNS_RR_TYPE_TLSA, "tlsa" } };
	static const struct {
		const char *family, *check;
	} families[] = { { "v=spf1", "spf" }, { "v=DMARC1", "dmarc" }, { "v=STSv1", "mta-sts" },
		{ "v=TLSRPTv1", "tls-rpt" }, { "dkim", "dkim" } };
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (s->type == types[i].type)
			return types[i].check;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		if (strcmp(s->family, families[i].family) == 0)
			return families[i].check;
	return "records";
}

static bool in_set(const struct set *s, const ldns_rr *rr)
{
	char family[16] = "";
	if (ldns_rr_get_type(rr) != s->type)
		return false;
	if (s->type == LDNS_RR_TYPE_TXT)
		family_of(rr, s->owner, family);
	return strcmp(family, s->family) == 0;
}

static bool same_record(const struct set *s, const ldns_rr *a, const ldns_rr *b)
{
	struct buf x = BUF_INIT(TXT_MAX), y = BUF_INIT(TXT_MAX);
	bool same;
	if (s->type != LDNS_RR_TYPE_TXT)
		return verify_same(a, b);
	lookup_txt(a, &x);
	lookup_txt(b, &y);
	if (strcmp(s->family, "dkim") == 0)
		same = txt_same_key(buf_view(&x), buf_view(&y));
	else
		same = x.len == y.len && (x.len == 0 || memcmp(x.data, y.data, x.len) == 0);
	buf_free(&x);
	buf_free(&y);
	return same;
}

/* How many of `of` are not in `from`; they are written down. */
static size_t lacking(const struct set *s, const ldns_rr_list *of, const ldns_rr_list *from, struct buf *out)
{
	size_t count = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(of); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(of, i);
		bool found = !in_set(s, rr);
		for (size_t k = 0; k < ldns_rr_list_rr_count(from) && !found; k++)
			found = in_set(s, ldns_rr_list_rr(from, k)) && same_record(s, rr, ldns_rr_list_rr(from, k));
		if (found)
			continue;
		char *text = verify_text(rr);
		buf_printf(out, "%s%s", count++ ? ", " : "", text);
		free(text);
	}
	return count;
}

/* May others' records stand beside ours? */
static bool others_may_be(const struct set *s)
{
	return s->type == LDNS_RR_TYPE_TXT && s->family[0] == '\0';
}

static bool is_as_wanted(const struct set *s, const struct lookup_answer *a, struct buf *missing, struct buf *extra)
{
	ldns_rr_list *live = lookup_records(a, s->owner, s->type, NULL);
	size_t absent = lacking(s, s->wanted, live, missing), more = lacking(s, live, s->wanted, extra);
	ldns_rr_list_free(live);
	return absent == 0 && (more == 0 || others_may_be(s));
}

/* Do all of the zone's own servers that answer have it as it should be? */
static bool servers_are_right(struct verify *v, const struct verify_domain *vd, const struct set *s)
{
	size_t right = 0;
	for (size_t i = 0; i < vd->delegation.count; i++) {
		for (size_t k = 0; k < vd->delegation.at[i].addresses.count; k++) {
			struct buf missing = BUF_INIT(TXT_MAX * 4), extra = BUF_INIT(TXT_MAX * 4);
			const struct lookup_answer *a =
			    lookup(v->lookup, vd->delegation.at[i].addresses.at[k], s->owner, s->type);
			bool same = is_as_wanted(s, a, &missing, &extra);
			buf_free(&missing);
			buf_free(&extra);
			if (lookup_answered(a) && !same)
				return false;
			right += lookup_answered(a);
		}
	}
	return right > 0;
}

static void add_wrong(
    struct verify *v, const struct verify_domain *vd, const struct set *s, struct buf *missing, struct buf *extra)
{
	struct buf wanted = BUF_INIT(TXT_MAX * 4);
	for (size_t i = 0; i < ldns_rr_list_rr_count(s->wanted); i++) {
		char *text = verify_text(ldns_rr_list_rr(s->wanted, i));
		buf_printf(&wanted, "%s%s", i ? ", " : "", text);
		free(text);
	}
	char *remedy = verify_remedy(vd, buf_str(&wanted));
	bool old_cache = servers_are_right(v, vd, s);
	const char *what = missing->len == 0 ? "there is more than the site wants" : "there is";
	if (old_cache)
		check_results_add(v->out, CHECK_WARNING, s->check, vd->d->name,
		    "wait until the old answer's TTL is over; the zone's own servers are right",
		    "the resolver still has %s", extra->len ? buf_str(extra) : "no such record");
	else if (extra->len == 0)
		check_results_add(v->out, CHECK_WRONG, s->check, vd->d->name, remedy, "missing: %s", buf_str(missing));
	else
		check_results_add(v->out,
		    s->type == LDNS_RR_TYPE_CAA && missing->len == 0 ? CHECK_WARNING : CHECK_WRONG, s->check,
		    vd->d->name, remedy, "%s: %s", what, buf_str(extra));
	free(remedy);
	buf_free(&wanted);
}

/* The one live record of a family; false when there is none or more than one, which is then a row. */
static bool the_one(struct verify *v, const struct verify_domain *vd, const struct set *s,
    const struct lookup_answer *a, struct buf *text)
{
	ldns_rr_list *live = lookup_records(a, s->owner, s->type, NULL);
	size_t count = 0;
	for (size_t i = 0; i < ldns_rr_list_rr_count(live); i++) {
		if (!in_set(s, ldns_rr_list_rr(live, i)))
			continue;
		buf_reset(text);
		lookup_txt(ldns_rr_list_rr(live, i), text);
		count++;
	}
	ldns_rr_list_free(live);
	if (count > 1)
		check_results_add(v->out, CHECK_WRONG, s->check, vd->d->name,
		    "take all but one away: more than one count as none", "%s has %zu %s records", s->owner, count,
		    s->family);
	return count == 1;
}

/* A DMARC record that is not ours: the policy decides. */
static void other_dmarc(struct verify *v, const struct verify_domain *vd, struct view live, struct view wanted)
{
	struct dmarc_record theirs = dmarc_record_parse(live), ours = dmarc_record_parse(wanted);
	char *remedy =
	    xasprintf("make it \"%.*s\", or put the record into domains[].records", (int)wanted.len, wanted.ptr);
	if (!theirs.usable)
		check_results_add(v->out, CHECK_WRONG, "dmarc", vd->d->name, remedy, "it has no valid policy (p=): %.*s",
		    (int)live.len, live.ptr);
	else if (theirs.p != ours.p)
		check_results_add(v->out, CHECK_WRONG, "dmarc", vd->d->name, remedy, "its policy is %s: %.*s",
		    dmarc_policy_name(theirs.p), (int)live.len, live.ptr);
	else
		check_results_add(v->out, CHECK_WARNING, "dmarc", vd->d->name, remedy,
		    "not what the site publishes: %.*s", (int)live.len, live.ptr);
	free(remedy);
}

/*
 * SPF and DMARC: exactly one record; a text that differs may still do.  True when it is right; else there is a row, or
 * *missing is set.
 */
static bool check_policy(struct verify *v, const struct verify_domain *vd, const struct set *s,
    const struct lookup_answer *a, bool same, bool *missing)
{
	struct buf live = BUF_INIT(TXT_MAX), wanted = BUF_INIT(TXT_MAX);
	size_t rows = v->out->count;
	bool right = false;
	lookup_txt(ldns_rr_list_rr(s->wanted, 0), &wanted);
	if (!the_one(v, vd, s, a, &live)) {
		*missing = v->out->count == rows;
	} else if (strcmp(s->check, "spf") == 0) {
		right = verify_spf(v, s->owner, buf_view(&live), same);
	} else if (same) {
		right = true;
	} else {
		other_dmarc(v, vd, buf_view(&live), buf_view(&wanted));
	}
	buf_free(&live);
	buf_free(&wanted);
	return right;
}

/* What an MX names is no alias and leads to us. */
static bool check_exchanger(struct verify *v, const struct verify_domain *vd, const ldns_rr *mx)
{
	static const ldns_rr_type types[] = { LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA };
	char *name = lookup_name(ldns_rr_rdf(mx, 1));
	bool alias = false, ours = false, asked = true;
	for (int t = 0; t < 2 && strcmp(name, ".") != 0; t++) {
		bool cname;
		const struct lookup_answer *a = lookup(v->lookup, NULL, name, types[t]);
		ldns_rr_list *records = lookup_records(a, name, types[t], &cname);
		alias = alias || cname;
		asked = asked && lookup_answered(a);
		for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
			char *address = lookup_name(ldns_rr_rdf(ldns_rr_list_rr(records, i), 0));
			ours = ours || verify_is_ours(v->site, address);
			free(address);
		}
		ldns_rr_list_free(records);
	}
	bool right = strcmp(name, ".") == 0 || (ours && !alias);
	if (!right && !asked)
		check_results_add(v->out, CHECK_UNKNOWN, "mx", vd->d->name, "ask again; check the resolver",
		    "the addresses of %s cannot be asked", name);
	else if (!right)
		check_results_add(v->out, CHECK_WRONG, "mx", vd->d->name,
		    "give the host's name its addresses: see the row address",
		    alias ? "%s is an alias (CNAME), which a mail exchanger must not be (RFC 2181 10.3)"
			  : "%s does not lead to this host",
		    name);
	free(name);
	return right;
}

/* A set whose answer is there. */
static bool check_set(
    struct verify *v, const struct verify_domain *vd, const struct set *s, const struct lookup_answer *a)
{
	struct buf missing = BUF_INIT(TXT_MAX * 4), extra = BUF_INIT(TXT_MAX * 4);
	bool policy = strcmp(s->check, "spf") == 0 || strcmp(s->check, "dmarc") == 0;
	bool right = is_as_wanted(s, a, &missing, &extra), absent = !right;
	if (policy && (right || !servers_are_right(v, vd, s))) {
		absent = false;
		right = check_policy(v, vd, s, a, right, &absent);
	} else if (right && s->type == LDNS_RR_TYPE_MX) {
		for (size_t i = 0; i < ldns_rr_list_rr_count(s->wanted); i++)
			right = check_exchanger(v, vd, ldns_rr_list_rr(s->wanted, i)) && right;
	}
	if (!right && absent)
		add_wrong(v, vd, s, &missing, &extra);
	buf_free(&missing);
	buf_free(&extra);
	return right;
}

#define TALLIES_MAX 16

static struct tally *tally_of(struct tally tallies[TALLIES_MAX], const char *check)
{
	size_t i = 0;
	while (i < TALLIES_MAX - 1 && tallies[i].check && strcmp(tallies[i].check, check) != 0)
		i++;
	tallies[i].check = check;
	return &tallies[i];
}

static void count_set(
    struct verify *v, const struct verify_domain *vd, struct set *s, struct tally tallies[TALLIES_MAX])
{
	s->check = check_name(s);
	struct tally *t = tally_of(tallies, s->check);
	const struct lookup_answer *a = lookup(v->lookup, NULL, s->owner, s->type);
	if (!lookup_answered(a)) {
		if (t->unknown++ == 0)
			t->silent = xasprintf("%s: %s", s->owner, a->why);
	} else if (!check_set(v, vd, s, a)) {
		t->bad = true;
	} else if (t->right++ == 0) {
		t->seen = verify_text(ldns_rr_list_rr(s->wanted, 0));
	}
}

/* What rows of their own look at: SOA and NS at the zone's name, and the addresses of the host. */
static bool is_elsewhere(const struct verify *v, const struct verify_domain *vd, const ldns_rr *rr, const char *owner)
{
	ldns_rr_type type = ldns_rr_get_type(rr);
	bool address = type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA;
	bool apex = ldns_dname_compare(ldns_rr_owner(rr), vd->wanted->origin) == 0;
	if (type == LDNS_RR_TYPE_SOA || (type == LDNS_RR_TYPE_NS && (apex || !vd->d->dns)))
		return true;
	/* A zone that is kept elsewhere has other name servers. */
	return address && (strcmp(owner, v->site->host.name) == 0 || (!vd->d->dns && strncmp(owner, "ns1.", 4) == 0));
}

/* One row for all that is right, one for all that could not be asked. */
static void add_tally(struct verify *v, const struct verify_domain *vd, struct tally *t)
{
	if (t->unknown > 0)
		check_results_add(v->out, CHECK_UNKNOWN, t->check, vd->d->name,
		    "see the row dnssec; else check the resolver", "%zu set%s of records cannot be asked: %s",
		    t->unknown, t->unknown == 1 ? "" : "s", t->silent);
	else if (!t->bad && t->right == 1)
		check_results_add(v->out, CHECK_OK, t->check, vd->d->name, "", "%s", t->seen);
	else if (!t->bad && t->right > 1)
		check_results_add(
		    v->out, CHECK_OK, t->check, vd->d->name, "", "%zu sets of records, as the site has them", t->right);
	free(t->seen);
	free(t->silent);
}

void verify_records(struct verify *v, struct verify_domain *vd)
{
	struct tally tallies[TALLIES_MAX] = { 0 };
	const ldns_rr_list *all = vd->wanted->records;
	size_t count = ldns_rr_list_rr_count(all);
	bool *seen = xcalloc(count + 1, sizeof(*seen));
	for (size_t i = 0; i < count; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(all, i);
		struct set s = { .owner = lookup_name(ldns_rr_owner(rr)),
			.type = ldns_rr_get_type(rr),
			.wanted = ldns_rr_list_new() };
		if (s.type == LDNS_RR_TYPE_TXT)
			family_of(rr, s.owner, s.family);
		if (!seen[i] && !is_elsewhere(v, vd, rr, s.owner)) {
			for (size_t k = i; k < count; k++) {
				ldns_rr *other = ldns_rr_list_rr(all, k);
				if (ldns_dname_compare(ldns_rr_owner(other), ldns_rr_owner(rr)) != 0)
					break; /* the zone is sorted */
				if (in_set(&s, other)) {
					ldns_rr_list_push_rr(s.wanted, other);
					seen[k] = true;
				}
			}
			count_set(v, vd, &s, tallies);
		}
		ldns_rr_list_free(s.wanted);
		free(s.owner);
	}
	for (size_t i = 0; i < TALLIES_MAX && tallies[i].check; i++)
		add_tally(v, vd, &tallies[i]);
	free(seen);
}
