/*
 * spf.h: check_host() (RFC 7208 4), as a machine that asks one thing of DNS at a time.
 *
 * Includes are a stack of frames, at most as deep as there may be terms that look up; redirect= replaces the frame it
 * stands in.  The host names of an mx term and the names of the peer (for ptr and %{p}, asked for once a check) are
 * worked through one after another, so that the first that matches ends it.
 *
 * What the RFC leaves open: a target that no name can have does not match (4.8), a term with a non-ASCII local part in
 * it neither (RFC 8616 4).  A void look-up is one of the name a term names itself: that the hosts of an mx term have no
 * IPv6 address, or the peer no name, is not held against the domain.
 */
#include "mailsvc/policy/spf.h"

#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "lib/text.h"
#include "mailsvc/policy/spf_record.h"

#define VOIDS_MAX 2
#define LOCAL_MAX 256

enum state {
	STATE_RECORD, /* waiting for the record of the top frame */
	STATE_TERM,   /* not waiting: the next term of the top frame is to be looked at */
	STATE_A,      /* the addresses of a term's target */
	STATE_MX,
	STATE_MX_HOST,
	STATE_EXISTS,
	STATE_PTR,      /* the names of the peer */
	STATE_PTR_NAME, /* the addresses of one of them */
	STATE_EXP,      /* not waiting: the result is there, fail, and an explanation is to be found */
	STATE_EXP_TEXT,
	STATE_DONE,
};

struct frame {
	struct frame *below; /* the one that includes this */
	char domain[256];
	struct spf_record record;
	size_t at;       /* the term that is looked at */
	bool redirected; /* here by redirect=: no record is an error */
};

struct spf_check {
	struct policy_dns dns;
	spf_fn fn;
	void *arg;
	uint32_t query; /* what it waits for, 0 nothing */
	enum state state;
	struct frame *top;
	struct spf_facts facts;
	char local[LOCAL_MAX], domain[256], helo[256], host[256]; /* facts point to them */
	char *hosts[SPF_NAMES_MAX]; /* names of the mx term, or of the peer, that wait to be asked */
	size_t host_count, host_at;
	char *names[SPF_NAMES_MAX]; /* names of the peer that lead back to it */
	size_t name_count;
	bool names_known;
	unsigned lookups, voids;
	struct spf_verdict verdict;
};

static void proceed(struct spf_check *);
static void answered(void *arg, const struct dns_answer *);

const char *spf_result_name(enum spf_result r)
{
	static const char *const names[] = { "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror" };
	return names[r];
}

/* Frames, results --------------------------------------------------------------------------------------------- */

static void frame_pop(struct spf_check *c)
{
	struct frame *f = c->top;

	c->top = f->below;
	spf_record_free(&f->record);
	free(f);
}

static void drop_hosts(struct spf_check *c)
{
	for (size_t i = 0; i < c->host_count; i++)
		free(c->hosts[i]);
	c->host_count = c->host_at = 0;
}

static void check_free(struct spf_check *c)
{
	while (c->top != NULL)
		frame_pop(c);
	drop_hosts(c);
	for (size_t i = 0; i < c->name_count; i++)
		free(c->names[i]);
	free(c);
}

void spf_cancel(struct spf_check *c)
{
	if (c == NULL)
		return;
	c->dns.cancel(c->dns.ctx, c->query);
	check_free(c);
}

/* Asks, and goes to state; when no such name can be, what stands for NXDOMAIN happens from proceed. */
static bool ask(struct spf_check *c, enum state state, const char *name, enum dns_type type)
{
	c->state = state;
	c->query = policy_ask(&c->dns, name, type, answered, c);
	return c->query != 0;
}

/* The check has a result; problem is set already. */
static void conclude(struct spf_check *c, enum spf_result result)
{
	c->verdict.result = result;
	c->state = result == SPF_FAIL && c->top->record.exp.ptr != NULL ? STATE_EXP : STATE_DONE;
}

static void fault(struct spf_check *c, enum spf_result result, const char *name, const char *why)
{
	policy_say(c->verdict.problem, sizeof(c->verdict.problem), "%s: %s", name, why);
	while (c->top->below != NULL)
		frame_pop(c);
	conclude(c, result);
}

/* The frame at the top has a result, by its term or by none; an include below takes it (5.2). */
static void frame_done(struct spf_check *c, enum spf_result result, const struct spf_term *term)
{
	while (c->top->below != NULL) {
		frame_pop(c);
		struct frame *f = c->top;
		term = &f->record.terms[f->at];
		if (result != SPF_PASS) {
			f->at++;
			c->state = STATE_TERM;
			return;
		}
		result = term->qualifier;
	}
	if (term != NULL)
		policy_say(c->verdict.mechanism, sizeof(c->verdict.mechanism), "%.*s",
		    (int)(term->text.len < sizeof(c->verdict.mechanism) ? term->text.len
									: sizeof(c->verdict.mechanism)),
		    term->text.ptr);
	conclude(c, result);
}

static struct spf_term *current(struct spf_check *c)
{
	return &c->top->record.terms[c->top->at];
}

static void matched(struct spf_check *c, bool match)
{
	drop_hosts(c);
	c->state = STATE_TERM;
	if (match)
		frame_done(c, current(c)->qualifier, current(c));
	else
		c->top->at++;
}

/* Records ----------------------------------------------------------------------------------------------------- */

static void no_record(struct spf_check *c)
{
	struct frame *f = c->top;

	if (f->below != NULL)
		fault(c, SPF_PERMERROR, f->domain, "included, but has no SPF record");
	else if (f->redirected)
		fault(c, SPF_PERMERROR, f->domain, "redirected to, but has no SPF record");
	else
		conclude(c, SPF_NONE);
}

static void get_record(struct spf_check *c, const char *domain, bool redirected)
{
	struct frame *f = c->top;

	view_copy(view_of(domain), f->domain, sizeof(f->domain));
	spf_record_free(&f->record);
	f->at = 0;
	f->redirected = redirected;
	if (!ask(c, STATE_RECORD, f->domain, DNS_TXT))
		no_record(c);
}

static void on_record(struct spf_check *c, const struct dns_answer *a)
{
	struct frame *f = c->top;
	struct view text = VIEW_NONE;
	char problem[160];
	size_t found = 0;

	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++) {
		if (spf_record_is(a->records[i].data) && found++ == 0)
			text = a->records[i].data;
	}
	if (a->status == DNS_TEMPFAIL)
		fault(c, SPF_TEMPERROR, f->domain, "no answer from DNS");
	else if (found == 0)
		no_record(c);
	else if (found > 1)
		fault(c, SPF_PERMERROR, f->domain, "several SPF records");
	else if (spf_record_parse(text, &f->record, problem) == -1)
		fault(c, SPF_PERMERROR, f->domain, problem);
	else
		c->state = STATE_TERM;
}

/* Terms ------------------------------------------------------------------------------------------------------- */

static int by_name(const char *a, const char *b, const char *domain)
{
	int first = strcasecmp(a, domain) == 0 ? 2 : policy_below(a, domain);
	int second = strcasecmp(b, domain) == 0 ? 2 : policy_below(b, domain);

	return first - second;
}

/* %{p}: the domain itself, else a name below it, else any (7.3). */
static const char *validated_name(const struct spf_check *c)
{
	const char *best = NULL;

	for (size_t i = 0; i < c->name_count; i++)
		if (best == NULL || by_name(c->names[i], best, c->top->domain) > 0)
			best = c->names[i];
	return best;
}

/* The names of the peer are asked for; the state is the caller's afterwards again. */
static void find_names(struct spf_check *c)
{
	char name[256];

	c->names_known = true;
	policy_reverse(&c->facts.peer, NULL, name);
	ask(c, STATE_PTR, name, DNS_PTR);
}

static void expand_facts(struct spf_check *c)
{
	c->facts.domain = c->top->domain;
	c->facts.validated = validated_name(c);
}

static bool too_many(struct spf_check *c)
{
	if (++c->lookups <= SPF_LOOKUPS_MAX)
		return false;
	fault(c, SPF_PERMERROR, c->top->domain, "more than 10 terms look up");
	return true;
}

static void include(struct spf_check *c, const char *name)
{
	struct frame *f = xcalloc(1, sizeof(*f));

	f->below = c->top;
	c->top = f;
	get_record(c, name, false);
}

static void redirect(struct spf_check *c)
{
	char name[256];
	struct view target = c->top->record.redirect;

	if (target.ptr == NULL) {
		frame_done(c, SPF_NEUTRAL, NULL);
		return;
	}
	if (spf_macro_uses(target, 'p') && !c->names_known) {
		find_names(c);
		return;
	}
	if (too_many(c))
		return;
	expand_facts(c);
	if (spf_macro_name(target, &c->facts, name) == -1)
		fault(c, SPF_PERMERROR, c->top->domain, "redirect= leads to no domain");
	else
		get_record(c, name, true);
}

static bool name_matches(const struct spf_check *c, const char *target)
{
	for (size_t i = 0; i < c->name_count; i++)
		if (policy_below(c->names[i], target))
			return true;
	return false;
}

static void look_up(struct spf_check *c, const struct spf_term *t)
{
	char name[256];

	if ((t->kind == SPF_PTR || spf_macro_uses(t->domain, 'p')) && !c->names_known) {
		find_names(c);
		return;
	}
	if (too_many(c))
		return;
	expand_facts(c);
	if (t->domain.ptr == NULL)
		view_copy(view_of(c->top->domain), name, sizeof(name));
	else if (spf_macro_name(t->domain, &c->facts, name) == -1 && t->kind != SPF_INCLUDE) {
		matched(c, false);
		return;
	}
	if (t->kind == SPF_INCLUDE)
		include(c, name);
	else if (t->kind == SPF_PTR)
		matched(c, name_matches(c, name));
	else if (!ask(c,
		     t->kind == SPF_A    ? STATE_A
		     : t->kind == SPF_MX ? STATE_MX
					 : STATE_EXISTS,
		     name,
		     t->kind == SPF_A    ? policy_address_type(&c->facts.peer)
		     : t->kind == SPF_MX ? DNS_MX
					 : DNS_A))
		matched(c, false);
}

static unsigned prefix_of(const struct spf_check *c, const struct spf_term *t)
{
	return c->facts.peer.family == AF_INET ? t->bits4 : t->bits6;
}

static void next_term(struct spf_check *c)
{
	const struct spf_term *t;

	if (c->top->at == c->top->record.count) {
		redirect(c);
		return;
	}
	t = current(c);
	if (t->kind == SPF_ALL)
		matched(c, true);
	else if (t->kind == SPF_IP4 || t->kind == SPF_IP6)
		matched(c, t->network.family == c->facts.peer.family &&
			       policy_address_in(&c->facts.peer, t->network.bytes, prefix_of(c, t)));
	else
		look_up(c, t);
}

/* Answers ----------------------------------------------------------------------------------------------------- */

/* What ends a term early: trouble, or one void look-up too many. */
static bool ends_term(struct spf_check *c, const struct dns_answer *a, bool own)
{
	if (a->status == DNS_TEMPFAIL)
		fault(c, SPF_TEMPERROR, c->top->domain, "no answer from DNS for one of its terms");
	else if (own && a->status != DNS_OK && ++c->voids > VOIDS_MAX)
		fault(c, SPF_PERMERROR, c->top->domain, "more than 2 terms name what does not exist");
	else
		return false;
	return true;
}

/* Copies the names of an answer to hosts, those beyond the tenth left out. */
static void take_hosts(struct spf_check *c, const struct dns_answer *a)
{
	for (size_t i = 0; a->status == DNS_OK && i < a->count && c->host_count < SPF_NAMES_MAX; i++)
		c->hosts[c->host_count++] = view_dup(a->records[i].data);
}

/* Asks for the addresses of the next host; false when there is none left. */
static bool ask_host(struct spf_check *c, enum state state)
{
	c->state = state;
	for (; c->query == 0 && c->host_at < c->host_count; c->host_at += c->query == 0)
		c->query =
		    policy_ask_host(&c->dns, c->hosts[c->host_at], policy_address_type(&c->facts.peer), answered, c);
	return c->query != 0;
}

static void on_mx(struct spf_check *c, const struct dns_answer *a)
{
	if (ends_term(c, a, true))
		return;
	if (a->status == DNS_OK && a->count > SPF_NAMES_MAX) {
		fault(c, SPF_PERMERROR, c->top->domain, "an mx term with more than 10 hosts");
		return;
	}
	take_hosts(c, a);
	if (!ask_host(c, STATE_MX_HOST))
		matched(c, false);
}

static void on_mx_host(struct spf_check *c, const struct dns_answer *a)
{
	if (ends_term(c, a, false))
		return;
	c->host_at++;
	if (policy_address_among(&c->facts.peer, a, prefix_of(c, current(c))))
		matched(c, true);
	else if (!ask_host(c, STATE_MX_HOST))
		matched(c, false);
}

static void on_address(struct spf_check *c, const struct dns_answer *a)
{
	if (!ends_term(c, a, true))
		matched(c, policy_address_among(&c->facts.peer, a, prefix_of(c, current(c))));
}

static void on_exists(struct spf_check *c, const struct dns_answer *a)
{
	if (!ends_term(c, a, true))
		matched(c, a->status == DNS_OK);
}

/* Back to what the names were wanted for. */
static void names_found(struct spf_check *c)
{
	drop_hosts(c);
	c->state = c->verdict.result == SPF_FAIL ? STATE_EXP : STATE_TERM;
}

/* An error here is no name (5.5). */
static void on_ptr(struct spf_check *c, const struct dns_answer *a)
{
	take_hosts(c, a);
	if (!ask_host(c, STATE_PTR_NAME))
		names_found(c);
}

static void on_ptr_name(struct spf_check *c, const struct dns_answer *a)
{
	if (policy_address_among(&c->facts.peer, a, (unsigned)policy_address_size(&c->facts.peer) * 8)) {
		c->names[c->name_count++] = c->hosts[c->host_at];
		c->hosts[c->host_at] = NULL;
	}
	c->host_at++;
	if (!ask_host(c, STATE_PTR_NAME))
		names_found(c);
}

/* Explanations (6.2): whatever is wrong with one, there is none. */
static void get_explanation(struct spf_check *c)
{
	char name[256];
	struct view target = c->top->record.exp;

	if (spf_macro_uses(target, 'p') && !c->names_known) {
		find_names(c);
		return;
	}
	expand_facts(c);
	if (spf_macro_name(target, &c->facts, name) == -1 || !ask(c, STATE_EXP_TEXT, name, DNS_TXT))
		c->state = STATE_DONE;
}

static void on_explanation(struct spf_check *c, const struct dns_answer *a)
{
	struct buf text = BUF_INIT(sizeof(c->verdict.explanation) - 1);

	c->state = STATE_DONE;
	if (a->status != DNS_OK || a->count != 1 || !spf_macro_ok(a->records[0].data, true))
		return;
	if (spf_macro_uses(a->records[0].data, 'p') && !c->names_known) {
		find_names(c); /* and the text is asked for once more */
		return;
	}
	expand_facts(c);
	spf_macro_expand(a->records[0].data, &c->facts, &text);
	view_copy(buf_view(&text), c->verdict.explanation, sizeof(c->verdict.explanation));
	policy_clean(c->verdict.explanation);
	buf_free(&text);
}

static void answered(void *arg, const struct dns_answer *a)
{
	struct spf_check *c = arg;
	static void (*const on[])(struct spf_check *, const struct dns_answer *) = {
		[STATE_RECORD] = on_record,
		[STATE_A] = on_address,
		[STATE_MX] = on_mx,
		[STATE_MX_HOST] = on_mx_host,
		[STATE_EXISTS] = on_exists,
		[STATE_PTR] = on_ptr,
		[STATE_PTR_NAME] = on_ptr_name,
		[STATE_EXP_TEXT] = on_explanation,
		[STATE_DONE] = NULL,
	};

	c->query = 0;
	if (on[c->state] != NULL)
		on[c->state](c, a);
	proceed(c);
}

/* Goes on until it waits, or ends with the callback. */
static void proceed(struct spf_check *c)
{
	while (c->query == 0 && c->state != STATE_DONE) {
		if (c->state == STATE_EXP)
			get_explanation(c);
		else
			next_term(c);
	}
	if (c->query != 0)
		return;
	c->fn(c->arg, &c->verdict);
	check_free(c);
}

/* Beginning --------------------------------------------------------------------------------------------------- */

static void keep(const char *text, char *out, size_t size)
{
	struct view v = view_of(text);

	v.len = v.len < size ? v.len : size - 1;
	view_copy(v, out, size);
}

/* Sets local and domain; -1: there is nothing to check. */
static int identity(struct spf_check *c, const struct spf_query *q)
{
	const char *sender = q->sender != NULL ? q->sender : "", *at = strrchr(sender, '@');
	struct view domain;

	c->verdict.helo = sender[0] == '\0';
	keep("postmaster", c->local, sizeof(c->local));
	if (c->verdict.helo) {
		domain = view_of(q->helo);
	} else if (at != NULL) {
		struct view local = { sender, (size_t)(at - sender) };
		if (local.len > 0 && view_copy(local, c->local, sizeof(c->local)) == -1)
			return -1;
		domain = view_of(at + 1);
	} else {
		return -1;
	}
	if (policy_domain(domain, c->domain) == -1 || domain.ptr[0] == '[')
		return -1;
	return strchr(c->domain, '.') != NULL ? 0 : -1;
}

struct spf_check *spf_start(const struct policy_dns *dns, const struct spf_query *q, spf_fn fn, void *arg)
{
	struct spf_check *c = xcalloc(1, sizeof(*c));

	c->dns = *dns;
	c->fn = fn;
	c->arg = arg;
	keep(q->helo, c->helo, sizeof(c->helo));
	keep(q->host, c->host, sizeof(c->host));
	c->top = xcalloc(1, sizeof(*c->top));
	int rc = identity(c, q);
	view_copy(view_of(c->domain), c->verdict.domain, sizeof(c->verdict.domain));
	c->facts =
	    (struct spf_facts){ .local = c->local, .sender_domain = c->domain, .helo = c->helo, .host = c->host };
	c->facts.now = time(NULL);
	if (rc == -1 || policy_address(q->peer, &c->facts.peer) == -1) {
		policy_say(c->verdict.problem, sizeof(c->verdict.problem), "no domain to check");
		conclude(c, SPF_NONE);
	} else {
		get_record(c, c->domain, false);
	}
	if (c->query == 0)
		c->query = policy_later(&c->dns, answered, c);
	return c;
}
