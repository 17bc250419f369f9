/*
 * dmarc.h: policy discovery and identifier alignment (RFC 9989 4.10), one question after another (but for dmarc_hurry).
 *
 * The author's domain is asked first; where its record is there and what passed is that very domain, that is all.  Else
 * the tree above it is walked, and then that of each domain that passed and could share the organisational domain: one
 * that is not below it cannot, and is not asked about.  Answers are kept for the check, so common parts are asked for
 * once. A tree takes at most 8 questions, whatever the number of labels; domains that passed at most 11 trees.
 *
 * What the RFC leaves open: DNS trouble on the way to the policy is DMARC_TEMPERROR, with the policy of a domain above
 * when that has one and nothing is aligned to it: else a forger would write as an author below a dead delegation.
 * Trouble later is one only when nothing else is aligned.  A temperror of SPF or DKIM counts only where a pass would
 * have been aligned: else whoever forges an author could take the policy away by a domain of his own that gives no
 * answers.  An aligned one can be made too (the author's SPF asks for the peer's own names; a selector in a part of the
 * zone whose server is dead), so that the verdict then still has the policy, when that is known.
 */
#include "mailsvc/policy/dmarc.h"

#include <stdlib.h>

#include "mailsvc/policy/dmarc_record.h"
#include "mailsvc/policy/name.h"

#define WALK_MAX 8
#define LABELS_LEFT 7 /* of a longer name, behind its first question */

struct node { /* a name whose record was asked for */
	struct node *next;
	char name[256];
	bool there, trouble, exists;
	struct dmarc_record record;
};

struct candidate {
	char domain[256];
	bool spf, temporary;
};

struct walk {
	char start[256], name[256]; /* name: asked next, or being asked; "" at the end */
	char org[256];              /* of the start */
	char top[256];              /* the highest name with a record so far, "" none */
	char psd[256];              /* the name above the organisational domain, when it has a record with psd=y */
	bool trouble;
};

enum stage { STAGE_AUTHOR, STAGE_TREE, STAGE_CANDIDATES, STAGE_EXISTS, STAGE_DONE };

struct dmarc_check {
	struct policy_dns dns;
	dmarc_fn fn;
	void *arg;
	uint32_t query;
	enum stage stage;
	struct walk walk;
	char author[256];
	struct candidate candidates[DMARC_SIGNATURES_MAX + 1];
	size_t count, at;
	bool temporary;
	bool unsure;   /* there was trouble on the way to the policy: it may be another */
	struct ahead { /* by dmarc_hurry */
		struct dmarc_check *check;
		uint32_t query;
		char name[256];
	} ahead[WALK_MAX];
	size_t ahead_open;
	bool closed;               /* no more questions: by dmarc_expire */
	const struct node *policy; /* the record that applies */
	struct node *nodes;
	struct dmarc_verdict verdict;
};

static void proceed(struct dmarc_check *);

const char *dmarc_result_name(enum dmarc_result r)
{
	static const char *const names[] = { "none", "pass", "fail", "temperror", "permerror" };
	return names[r];
}

const char *dmarc_policy_name(enum dmarc_policy p)
{
	static const char *const names[] = { "none", "quarantine", "reject" };
	return names[p];
}

enum dmarc_policy dmarc_wish(const struct dmarc_verdict *v)
{
	return v->testing && v->policy > DMARC_P_NONE ? v->policy - 1 : v->policy;
}

enum dmarc_policy dmarc_disposition(const struct dmarc_verdict *v)
{
	return v->result == DMARC_FAIL || v->result == DMARC_TEMPERROR ? dmarc_wish(v) : DMARC_P_NONE;
}

/* Asking ---------------------------------------------------------------------------------------------------------- */

static struct node *find_node(struct dmarc_check *c, const char *name)
{
	for (struct node *n = c->nodes; n != NULL; n = n->next)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

static struct node *add_node(struct dmarc_check *c, const char *name)
{
	struct node *n = xcalloc(1, sizeof(*n));

	view_copy(view_of(name), n->name, sizeof(n->name));
	n->next = c->nodes;
	c->nodes = n;
	return n;
}

static void keep_record(struct dmarc_check *c, const char *name, const struct dns_answer *a)
{
	struct node *n = add_node(c, name);
	size_t found = 0;

	n->trouble = a->status == DNS_TEMPFAIL;
	n->exists = a->status == DNS_OK || a->status == DNS_NODATA;
	for (size_t i = 0; a->status == DNS_OK && i < a->count; i++) {
		if (!dmarc_record_is(a->records[i].data))
			continue;
		if (found++ == 0)
			n->record = dmarc_record_parse(a->records[i].data);
	}
	n->there = found == 1; /* several are none (4.10) */
}

static void on_record(void *arg, const struct dns_answer *a)
{
	struct dmarc_check *c = arg;

	c->query = 0;
	keep_record(c, c->walk.name, a);
	proceed(c);
}

static uint32_t ask_record(struct dmarc_check *c, const char *name, dns_fn fn, void *arg)
{
	char question[300];
	struct buf b = BUF_INIT(sizeof(question) - 1);

	buf_printf(&b, "_dmarc.%s", name);
	view_copy(buf_view(&b), question, sizeof(question));
	buf_free(&b);
	return policy_ask(&c->dns, question, DNS_TXT, fn, arg);
}

/* The node of a name; NULL: it is asked for, and proceed is called again. */
static struct node *get_node(struct dmarc_check *c, const char *name)
{
	struct node *n = find_node(c, name);

	if (n != NULL)
		return n;
	if (c->closed) {
		n = add_node(c, name);
		n->trouble = true;
		return n;
	}
	c->query = ask_record(c, name, on_record, c);
	return c->query != 0 ? NULL : add_node(c, name); /* too long to have one */
}

/* Walks -------------------------------------------------------------------------------------------------------------
 */

static size_t labels(const char *name)
{
	size_t n = 1;

	for (; *name != '\0'; name++)
		n += *name == '.';
	return n;
}

static const char *parent(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot != NULL ? dot + 1 : "";
}

/* The last count labels of name. */
static const char *last_labels(const char *name, size_t count)
{
	for (size_t n = labels(name); n > count; n--)
		name = parent(name);
	return name;
}

/* What is asked behind name (4.10 steps 4 and 7). */
static const char *next_name(const char *name)
{
	return labels(name) > WALK_MAX ? last_labels(name, LABELS_LEFT) : parent(name);
}

static void walk_start(struct walk *w, const char *domain)
{
	*w = (struct walk){ .start = "" };
	view_copy(view_of(domain), w->start, sizeof(w->start));
	view_copy(view_of(domain), w->name, sizeof(w->name));
	view_copy(view_of(domain), w->org, sizeof(w->org));
}

static void walk_end(struct walk *w, const char *org)
{
	view_copy(view_of(org), w->org, sizeof(w->org));
	w->name[0] = '\0';
}

/* What the record at w->name means for the walk, and the next name (4.10, 4.10.2). */
static void walk_step(struct walk *w, const struct node *n)
{
	char next[256];

	w->trouble = w->trouble || n->trouble;
	if (n->there && n->record.psd == DMARC_PSD_YES) {
		view_copy(view_of(w->name), w->psd, sizeof(w->psd));
		walk_end(w, last_labels(w->start, labels(w->name) + 1)); /* at the start there is none below: itself */
		return;
	}
	if (n->there) {
		view_copy(view_of(w->name), w->top, sizeof(w->top));
		if (n->record.psd != DMARC_PSD_UNKNOWN) {
			walk_end(w, w->name);
			return;
		}
	}
	view_copy(view_of(next_name(w->name)), next, sizeof(next));
	view_copy(view_of(next), w->name, sizeof(w->name));
	if (next[0] == '\0')
		walk_end(w, w->top[0] != '\0' ? w->top : w->start);
}

/* True at the end; else something is asked. */
static bool walk_on(struct dmarc_check *c)
{
	while (c->walk.name[0] != '\0') {
		const struct node *n = get_node(c, c->walk.name);
		if (n == NULL)
			return false;
		walk_step(&c->walk, n);
	}
	return true;
}

/* Stages ------------------------------------------------------------------------------------------------------------
 */

static void conclude(struct dmarc_check *c, enum dmarc_result result, const char *reason)
{
	c->verdict.result = result;
	policy_say(c->verdict.reason, sizeof(c->verdict.reason), "%s", reason);
	c->stage = STAGE_DONE;
}

static void use_policy(struct dmarc_check *c, const struct node *n)
{
	struct dmarc_verdict *v = &c->verdict;

	c->policy = n;
	view_copy(view_of(n->name), v->domain, sizeof(v->domain));
	v->policy = strcmp(n->name, c->author) == 0 ? n->record.p : n->record.sp;
	v->testing = n->record.testing;
}

static void aligned(struct dmarc_check *c, const struct candidate *d)
{
	if (d->temporary)
		c->temporary = true;
	else if (d->spf)
		c->verdict.spf_aligned = true;
	else
		c->verdict.dkim_aligned = true;
}

static bool is_strict(const struct dmarc_check *c, const struct candidate *d)
{
	return d->spf ? c->policy->record.strict_spf : c->policy->record.strict_dkim;
}

/* Candidates that are the author's domain itself; true when nothing is left to be found by walking. */
static bool align_equals(struct dmarc_check *c)
{
	bool left = false;

	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->candidates[i].domain, c->author) == 0)
			aligned(c, &c->candidates[i]);
		else if (policy_below(c->candidates[i].domain, last_labels(c->author, 1)))
			left = left || !is_strict(c, &c->candidates[i]);
	}
	return !left || (c->verdict.spf_aligned && c->verdict.dkim_aligned);
}

/* The record of the author's domain itself. */
static void on_author(struct dmarc_check *c)
{
	const struct node *n = get_node(c, c->walk.name);

	if (n == NULL)
		return;
	c->stage = STAGE_TREE;
	if (!n->there)
		return;
	use_policy(c, n);
	if (!n->record.usable)
		conclude(c, DMARC_NONE, "the record has no valid policy");
	else if (align_equals(c))
		c->stage = STAGE_EXISTS;
}

/* The tree above the author's domain: the organisational domain, and the policy when there is none yet. */
static void on_tree(struct dmarc_check *c)
{
	const struct node *n;

	if (!walk_on(c))
		return;
	view_copy(view_of(c->walk.org), c->verdict.organisational, sizeof(c->verdict.organisational));
	c->stage = STAGE_CANDIDATES;
	if (c->policy != NULL)
		c->temporary = c->temporary || c->walk.trouble;
	if (c->policy != NULL)
		return;
	n = find_node(c, c->walk.org);
	if ((n == NULL || !n->there) && c->walk.psd[0] != '\0')
		n = find_node(c, c->walk.psd);
	c->unsure = c->walk.trouble;
	if (n != NULL && n->there && n->record.usable)
		use_policy(c, n);
	else if (c->unsure)
		conclude(c, DMARC_TEMPERROR, "no answer from DNS on the way to the policy");
	else if (n == NULL || !n->there)
		conclude(c, DMARC_NONE, "no policy is published");
	else
		conclude(c, DMARC_NONE, "the record has no valid policy");
}

static bool same_domain(const struct dmarc_check *c, const struct candidate *d)
{
	return strcmp(d->domain, c->author) == 0;
}

/* One after another, those that may share the organisational domain. */
static void on_candidates(struct dmarc_check *c)
{
	for (; c->at < c->count; c->at++) {
		const struct candidate *d = &c->candidates[c->at];
		if (same_domain(c, d))
			aligned(c, d);
		if (same_domain(c, d) || is_strict(c, d) || !policy_below(d->domain, c->verdict.organisational))
			continue;
		if (strcmp(c->walk.start, d->domain) != 0)
			walk_start(&c->walk, d->domain);
		if (!walk_on(c))
			return;
		if (strcmp(c->walk.org, c->verdict.organisational) == 0)
			aligned(c, d);
		else
			c->temporary = c->temporary || c->walk.trouble;
	}
	c->stage = STAGE_EXISTS;
}

static void fail(struct dmarc_check *c)
{
	if (c->temporary || c->unsure)
		conclude(c, DMARC_TEMPERROR, "nothing is aligned so far, and not all could be checked");
	else
		conclude(c, DMARC_FAIL,
		    c->count > 0 ? "what passed SPF and DKIM is not of the author's domain"
				 : "neither SPF nor DKIM passed");
}

static void on_existence(void *arg, const struct dns_answer *a)
{
	struct dmarc_check *c = arg;

	c->query = 0;
	c->temporary = c->temporary || a->status == DNS_TEMPFAIL;
	if (a->status == DNS_NXDOMAIN)
		c->verdict.policy = c->policy->record.np;
	fail(c);
	proceed(c);
}

static bool pass(struct dmarc_check *c)
{
	struct dmarc_verdict *v = &c->verdict;

	if (!v->spf_aligned && !v->dkim_aligned)
		return false;
	if (c->unsure) { /* by a policy that may be another; but it is not to be held against the mail */
		v->spf_aligned = v->dkim_aligned = false;
		v->policy = DMARC_P_NONE;
		conclude(c, DMARC_TEMPERROR, "aligned, but no answer from DNS on the way to the policy");
		return true;
	}
	conclude(c, DMARC_PASS, v->dkim_aligned ? v->spf_aligned ? "SPF and DKIM" : "DKIM" : "SPF");
	return true;
}

/* Pass, or fail; np= may want to know whether the author's domain is there at all (RFC 8020). */
static void on_exists(struct dmarc_check *c)
{
	const struct node *author = find_node(c, c->author);

	if (pass(c))
		return;
	if (!c->closed && c->policy != author && c->policy->record.has_np && !author->exists && !author->trouble)
		c->query = policy_ask(&c->dns, c->author, DNS_A, on_existence, c);
	if (c->query == 0)
		fail(c);
}

static void check_free(struct dmarc_check *c)
{
	for (struct node *n = c->nodes, *next; n != NULL; n = next) {
		next = n->next;
		free(n);
	}
	free(c);
}

/* Goes on until it waits, or has a verdict. */
static void advance(struct dmarc_check *c)
{
	static void (*const on[])(struct dmarc_check *) = {
		[STAGE_AUTHOR] = on_author,
		[STAGE_TREE] = on_tree,
		[STAGE_CANDIDATES] = on_candidates,
		[STAGE_EXISTS] = on_exists,
	};

	while (c->query == 0 && c->ahead_open == 0 && c->stage != STAGE_DONE)
		on[c->stage](c);
}

/* And ends with the callback. */
static void proceed(struct dmarc_check *c)
{
	advance(c);
	if (c->query != 0 || c->ahead_open > 0)
		return;
	c->fn(c->arg, &c->verdict);
	check_free(c);
}

static void on_later(void *arg, const struct dns_answer *a)
{
	struct dmarc_check *c = arg;

	(void)a;
	c->query = 0;
	proceed(c);
}

static void add_candidate(struct dmarc_check *c, const char *domain, bool spf, bool temporary)
{
	struct candidate *d = &c->candidates[c->count];

	if (domain == NULL || policy_domain(view_of(domain), d->domain) == -1)
		return;
	d->spf = spf;
	d->temporary = temporary;
	c->count++;
}

struct dmarc_check *dmarc_start(const struct policy_dns *dns, const struct dmarc_input *in, dmarc_fn fn, void *arg)
{
	struct dmarc_check *c = xcalloc(1, sizeof(*c));

	c->dns = *dns;
	c->fn = fn;
	c->arg = arg;
	if (in->spf == SPF_PASS || in->spf == SPF_TEMPERROR)
		add_candidate(c, in->spf_domain, true, in->spf == SPF_TEMPERROR);
	for (size_t i = 0; i < in->dkim_count && i < DMARC_SIGNATURES_MAX; i++)
		add_candidate(c, in->dkim[i], false, false);
	for (size_t i = 0; i < in->dkim_temporary_count && in->dkim_count + i < DMARC_SIGNATURES_MAX; i++)
		add_candidate(c, in->dkim_temporary[i], false, true);
	if (in->from_domain == NULL || policy_domain(view_of(in->from_domain), c->author) == -1) {
		conclude(c, DMARC_PERMERROR, "the author has no domain");
		c->query = policy_later(dns, on_later, c);
		return c;
	}
	walk_start(&c->walk, c->author);
	view_copy(view_of(c->author), c->verdict.organisational, sizeof(c->verdict.organisational));
	on_author(c);
	if (c->query == 0)
		c->query = policy_later(dns, on_later, c);
	return c;
}

void dmarc_cancel(struct dmarc_check *c)
{
	if (c == NULL)
		return;
	c->dns.cancel(c->dns.ctx, c->query);
	for (size_t i = 0; i < WALK_MAX; i++)
		c->dns.cancel(c->dns.ctx, c->ahead[i].query);
	check_free(c);
}

static void on_ahead(void *arg, const struct dns_answer *a)
{
	struct ahead *ahead = arg;
	struct dmarc_check *c = ahead->check;

	ahead->query = 0;
	keep_record(c, ahead->name, a);
	if (--c->ahead_open == 0)
		proceed(c);
}

bool dmarc_hurry(struct dmarc_check *c)
{
	const char *name = c->walk.name;
	size_t count = 0;

	if (c->policy != NULL || c->query == 0 || c->ahead_open > 0 || c->stage > STAGE_TREE || name[0] == '\0')
		return false;
	for (name = next_name(name); name[0] != '\0' && count < WALK_MAX; name = next_name(name)) {
		struct ahead *ahead = &c->ahead[count];

		*ahead = (struct ahead){ .check = c };
		view_copy(view_of(name), ahead->name, sizeof(ahead->name));
		ahead->query = ask_record(c, name, on_ahead, ahead);
		count += ahead->query != 0;
	}
	c->ahead_open = count;
	if (count == 0)
		return false;
	c->dns.cancel(c->dns.ctx, c->query);
	c->query = 0;
	if (find_node(c, c->walk.name) == NULL)
		add_node(c, c->walk.name)->trouble = true;
	return true;
}

/* What has no answer now counts as trouble, and nothing more is asked. */
static void give_up(struct dmarc_check *c)
{
	c->dns.cancel(c->dns.ctx, c->query);
	c->query = 0;
	for (size_t i = 0; i < WALK_MAX; i++) {
		struct ahead *ahead = &c->ahead[i];
		if (ahead->query != 0)
			add_node(c, ahead->name)->trouble = true;
		c->dns.cancel(c->dns.ctx, ahead->query);
		ahead->query = 0;
	}
	c->ahead_open = 0;
	c->closed = c->temporary = true;
}

void dmarc_expire(struct dmarc_check *c, dmarc_fn fn, void *arg)
{
	if (c == NULL)
		return;
	give_up(c);
	advance(c);
	fn(arg, &c->verdict);
	dmarc_cancel(c);
}
