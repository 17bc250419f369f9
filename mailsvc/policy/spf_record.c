/*
 * spf_record.h, records.  The grammar is taken strictly: whoever publishes "a:192.0.2.1" or "ip4:192.0.2.1/033" is told
 * by receivers, not guessed at.  Names of known modifiers never fall back to unknown ones (RFC 7208 6).
 */
#include "mailsvc/policy/spf_record.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define VERSION "v=spf1"
#define VERSION_LEN (sizeof(VERSION) - 1)
#define TERMS_FIRST 16

bool spf_record_is(struct view txt)
{
	return txt.len >= VERSION_LEN && strncasecmp(txt.ptr, VERSION, VERSION_LEN) == 0 &&
	       (txt.len == VERSION_LEN || txt.ptr[VERSION_LEN] == ' ');
}

bool spf_term_looks_up(const struct spf_term *t)
{
	return t->kind != SPF_ALL && t->kind != SPF_IP4 && t->kind != SPF_IP6;
}

static int wrong(char problem[160], struct view term, const char *why)
{
	policy_say(problem, 160, "%s: %.*s", why, (int)(term.len < 100 ? term.len : 100), term.ptr);
	return -1;
}

/*
 * Takes "/BITS" from the end of v; slashes: how many stand before the digits.  0: none is there, 1: taken, -1: one is
 * there and wrong.
 */
static int take_prefix(struct view *v, size_t slashes, uint64_t most, unsigned *bits)
{
	size_t digits = 0;
	uint64_t n;

	while (digits < v->len && isdigit((unsigned char)v->ptr[v->len - digits - 1]))
		digits++;
	if (digits == 0 || v->len < digits + slashes)
		return 0;
	struct view number = policy_behind(*v, v->len - digits);
	for (size_t i = 1; i <= slashes; i++)
		if (v->ptr[v->len - digits - i] != '/')
			return 0;
	if ((digits > 1 && number.ptr[0] == '0') || view_u64(number, most, &n) == -1)
		return -1;
	*bits = (unsigned)n;
	v->len -= digits + slashes;
	return 1;
}

/* A domain-spec and what stands behind it, of a mechanism that takes [":" domain-spec] [dual-cidr-length]. */
static int parse_target(struct spf_term *t, struct view rest, bool prefixes, char problem[160])
{
	if (prefixes && (take_prefix(&rest, 2, 128, &t->bits6) == -1 || take_prefix(&rest, 1, 32, &t->bits4) == -1))
		return wrong(problem, t->text, "bad prefix length");
	if (rest.len == 0)
		return 0;
	if (rest.ptr[0] != ':')
		return wrong(problem, t->text, "unexpected text in the term");
	t->domain = policy_behind(rest, 1);
	if (!spf_macro_domain_ok(t->domain))
		return wrong(problem, t->text, "bad domain");
	return 0;
}

static int parse_network(struct spf_term *t, struct view rest, char problem[160])
{
	bool four = t->kind == SPF_IP4;
	char text[INET6_ADDRSTRLEN];

	t->network.family = four ? AF_INET : AF_INET6;
	if (take_prefix(&rest, 1, four ? 32 : 128, four ? &t->bits4 : &t->bits6) == -1)
		return wrong(problem, t->text, "bad prefix length");
	if (rest.len == 0 || rest.ptr[0] != ':' || view_copy(policy_behind(rest, 1), text, sizeof(text)) == -1 ||
	    inet_pton(t->network.family, text, t->network.bytes) != 1)
		return wrong(problem, t->text, "bad address");
	return 0;
}

static const struct {
	const char *name;
	enum spf_kind kind;
} mechanisms[] = {
	{ "all", SPF_ALL },
	{ "include", SPF_INCLUDE },
	{ "a", SPF_A },
	{ "mx", SPF_MX },
	{ "ptr", SPF_PTR },
	{ "ip4", SPF_IP4 },
	{ "ip6", SPF_IP6 },
	{ "exists", SPF_EXISTS },
};

/* The mechanism that v begins with, and how long its name is; false when it is none. */
static bool find_mechanism(struct view v, enum spf_kind *kind, size_t *len)
{
	for (*len = 0; *len < v.len && isalnum((unsigned char)v.ptr[*len]);)
		++*len;
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (view_caseeq((struct view){ v.ptr, *len }, mechanisms[i].name)) {
			*kind = mechanisms[i].kind;
			return true;
		}
	}
	return false;
}

static int parse_mechanism(struct view v, struct spf_term *t, char problem[160])
{
	size_t len;

	*t = (struct spf_term){ .qualifier = SPF_PASS, .text = v, .bits4 = 32, .bits6 = 128 };
	if (strchr("+-~?", v.ptr[0]) != NULL) {
		t->qualifier = v.ptr[0] == '-'   ? SPF_FAIL
		               : v.ptr[0] == '~' ? SPF_SOFTFAIL
		               : v.ptr[0] == '?' ? SPF_NEUTRAL
		                                 : SPF_PASS;
		v = policy_behind(v, 1);
	}
	if (!find_mechanism(v, &t->kind, &len))
		return wrong(problem, t->text, "unknown mechanism");
	struct view rest = policy_behind(v, len);
	switch (t->kind) {
	case SPF_ALL:
		return rest.len == 0 ? 0 : wrong(problem, t->text, "unexpected text in the term");
	case SPF_IP4:
	case SPF_IP6:
		return parse_network(t, rest, problem);
	case SPF_A:
	case SPF_MX:
		return parse_target(t, rest, true, problem);
	case SPF_PTR:
		return parse_target(t, rest, false, problem);
	case SPF_INCLUDE:
	case SPF_EXISTS:
		break;
	}
	return rest.len == 0 ? wrong(problem, t->text, "domain missing") : parse_target(t, rest, false, problem);
}

/* How long the name of a modifier is that v begins with; 0: v is none. */
static size_t modifier_name(struct view v)
{
	size_t n = 0;

	if (v.len == 0 || !isalpha((unsigned char)v.ptr[0]))
		return 0;
	while (n < v.len && (isalnum((unsigned char)v.ptr[n]) || memchr("-_.", v.ptr[n], 3) != NULL))
		n++;
	return n < v.len && v.ptr[n] == '=' ? n : 0;
}

static int parse_modifier(struct spf_record *r, struct view v, size_t name_len, char problem[160])
{
	struct view name = { v.ptr, name_len }, value = policy_behind(v, name_len + 1);
	struct view *known = view_caseeq(name, "redirect") ? &r->redirect : view_caseeq(name, "exp") ? &r->exp : NULL;

	if (known == NULL)
		return spf_macro_ok(value, true) ? 0 : wrong(problem, v, "bad macro");
	if (known->ptr != NULL)
		return wrong(problem, v, "modifier given twice");
	if (!spf_macro_domain_ok(value))
		return wrong(problem, v, "bad domain");
	*known = value;
	return 0;
}

int spf_record_parse(struct view txt, struct spf_record *r, char problem[160])
{
	size_t room = 0;

	*r = (struct spf_record){ 0 };
	problem[0] = '\0';
	if (!spf_record_is(txt) || txt.len > SPF_RECORD_MAX)
		return wrong(problem, txt, "too long for an SPF record");
	r->text = view_dup(txt);
	for (struct view left = policy_behind((struct view){ r->text, txt.len }, VERSION_LEN); left.len > 0;) {
		const char *space = memchr(left.ptr, ' ', left.len);
		struct view term = { left.ptr, space != NULL ? (size_t)(space - left.ptr) : left.len };
		left = policy_behind(left, term.len + (space != NULL));
		size_t name = modifier_name(term);
		if (term.len == 0)
			continue;
		if (name > 0 && parse_modifier(r, term, name, problem) == -1)
			return -1;
		if (name > 0)
			continue;
		if (r->count == room)
			r->terms = xreallocarray(r->terms, room = room ? room * 2 : TERMS_FIRST, sizeof(*r->terms));
		if (parse_mechanism(term, &r->terms[r->count], problem) == -1)
			return -1;
		r->count++;
	}
	return 0;
}

void spf_record_free(struct spf_record *r)
{
	free(r->text);
	free(r->terms);
	*r = (struct spf_record){ 0 };
}
