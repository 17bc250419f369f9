/*
 * The message is whole: its DKIM signatures and its ARC chain are verified at once, then DMARC judges by them and by
 * SPF.  What the author's domain asks of receivers is done when checks.dmarc is refuse: rejected in the session, or put
 * into Junk; told to come again while DNS does not say whether it is the author's.  A forwarder or list of
 * checks.arc_sealers that vouches by ARC is believed instead.
 */
#include "mailsvc/smtp/check_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "mailsvc/mime/mime.h"

bool smtp_check_content_pending(const struct smtp_checks *c)
{
	const struct smtp_content_checks *m = c->content;

	return m != NULL && (m->dkim_running != NULL || m->arc_running != NULL || m->dmarc_running != NULL);
}

void smtp_check_content_cancel(struct smtp_checks *c)
{
	struct smtp_content_checks *m = c->content;

	dkim_verify_cancel(m->dkim_running);
	arc_verify_cancel(m->arc_running);
	dmarc_cancel(m->dmarc_running);
	m->dkim_running = NULL;
	m->arc_running = NULL;
	m->dmarc_running = NULL;
}

/* DKIM and ARC --------------------------------------------------------------------------------------------------- */

static void keep_dkim(void *arg, const struct dkim_result *results, size_t count)
{
	struct smtp_content_checks *m = arg;

	m->dkim_running = NULL;
	m->dkim_count = count;
	m->dkim = xcalloc(count + 1, sizeof(*m->dkim));
	if (count > 0)
		memcpy(m->dkim, results, count * sizeof(*results));
}

static void on_dkim(void *arg, const struct dkim_result *results, size_t count)
{
	struct smtp_checks *c = arg;

	keep_dkim(c->content, results, count);
	smtp_check_done(c);
}

static void keep_dmarc(void *arg, const struct dmarc_verdict *verdict)
{
	struct smtp_content_checks *m = arg;

	m->dmarc_running = NULL;
	m->dmarc_done = true;
	m->dmarc = *verdict;
}

/* What other signatures say stays: a stranger could add one whose key is never answered.  So does a known policy. */
void smtp_check_content_expire(struct smtp_checks *c)
{
	struct smtp_content_checks *m = c->content;

	if (m->dmarc_running != NULL && !m->dmarc_hurried && dmarc_hurry(m->dmarc_running)) {
		m->dmarc_hurried = true;
		smtp_check_wait(c);
		return;
	}
	dkim_verify_expire(m->dkim_running, keep_dkim, m);
	dmarc_expire(m->dmarc_running, keep_dmarc, m);
	smtp_check_content_cancel(c);
}

static void on_arc(void *arg, const struct arc_verdict *verdict)
{
	struct smtp_checks *c = arg;

	c->content->arc_running = NULL;
	c->content->arc_done = true;
	c->content->arc = *verdict;
	c->content->arc.authres = VIEW_NONE; /* it lasts no longer than this call */
	smtp_check_done(c);
}

static size_t count_dkim(const struct smtp_content_checks *m, enum dkim_verdict verdict)
{
	size_t n = 0;

	for (size_t i = 0; i < m->dkim_count; i++)
		n += m->dkim[i].verdict == verdict;
	return n;
}

static const struct smtp_refusal *judge_dkim(const struct smtp_checks *c)
{
	static const struct smtp_refusal none_passes = { 550, "5.7.20", "No DKIM signature of the message is right" };
	const struct smtp_content_checks *m = c->content;

	if (smtp_rule_of(c->session->site->checks.dkim) != SMTP_RULE_REFUSE || m->dkim_count == 0 ||
	    count_dkim(m, DKIM_PASS) > 0 || count_dkim(m, DKIM_TEMPERROR) > 0)
		return NULL;
	return &none_passes;
}

/* DMARC ---------------------------------------------------------------------------------------------------------- */

static void on_dmarc(void *arg, const struct dmarc_verdict *verdict)
{
	struct smtp_checks *c = arg;

	keep_dmarc(c->content, verdict);
	smtp_check_done(c);
}

static void start_dmarc(struct smtp_checks *c)
{
	struct smtp_content_checks *m = c->content;
	const char *passed[DKIM_SIGNATURES_MAX], *unknown[DKIM_SIGNATURES_MAX];
	struct dmarc_input in = {
		.from_domain = m->author, .spf = SPF_NONE, .dkim = passed, .dkim_temporary = unknown
	};

	for (size_t i = 0; i < m->dkim_count && i < DKIM_SIGNATURES_MAX; i++)
		if (m->dkim[i].verdict == DKIM_PASS)
			passed[in.dkim_count++] = m->dkim[i].domain;
		else if (m->dkim[i].verdict == DKIM_TEMPERROR)
			unknown[in.dkim_temporary_count++] = m->dkim[i].domain;
	if (c->spf != NULL) {
		in.spf = c->spf->result;
		in.spf_domain = c->spf->domain;
	}
	m->dmarc_running = dmarc_start(&c->session->server->policy, &in, on_dmarc, c);
	smtp_check_wait(c);
}

static bool is_trusted_sealer(void *arg, struct view sealer)
{
	const struct strings *sealers = arg;

	for (size_t i = 0; i < sealers->count; i++)
		if (view_eq(sealer, sealers->at[i]))
			return true;
	return false;
}

static bool is_believed(const struct smtp_checks *c)
{
	const struct strings *sealers = &c->session->site->checks.arc_sealers;

	return c->content->arc_done && arc_vouches(&c->content->arc, is_trusted_sealer, (void *)(uintptr_t)sealers);
}

/* DNS did not say whether a sealer that is trusted stands by it: a list's mail must not be lost by that. */
static bool may_be_believed(const struct smtp_checks *c)
{
	const struct strings *sealers = &c->session->site->checks.arc_sealers;
	const struct arc_verdict *arc = &c->content->arc;

	if (!c->content->arc_done)
		return sealers->count > 0;
	return arc->temporary && is_trusted_sealer((void *)(uintptr_t)sealers, view_of(arc->sealer));
}

/* Junk can hold what comes to accounts only: a recipient that is only forwarded must be refused instead. */
static bool all_have_junk(const struct smtp_session *s)
{
	for (size_t i = 0; i < s->tx.recipient_count; i++) {
		const struct route *r = &s->tx.recipients[i].route;
		bool local = false;

		for (size_t j = 0; j < r->count; j++)
			local |= r->targets[j].account != NULL;
		if (!local)
			return false;
	}
	return true;
}

/* What may yet prove to be the author's comes again; what a forger made unprovable stays so. */
static const struct smtp_refusal *refuse_dmarc(struct smtp_checks *c)
{
	struct smtp_content_checks *m = c->content;

	if (m->dmarc.result == DMARC_TEMPERROR) {
		snprintf(c->refusal_text, sizeof(c->refusal_text),
		    "DNS does not say now whether %s stands by it, as its DMARC policy demands, try again later",
		    m->author);
		c->refusal = (struct smtp_refusal){ 451, "4.7.26", c->refusal_text };
		return &c->refusal;
	}
	snprintf(c->refusal_text, sizeof(c->refusal_text), "Not taken by the DMARC policy of %s: %s", m->dmarc.domain,
	    m->dmarc.reason);
	c->refusal = (struct smtp_refusal){ 550, "5.7.26", c->refusal_text };
	return &c->refusal;
}

/* Nobody can say whose policy would count. */
static const struct smtp_refusal *judge_no_author(struct smtp_checks *c)
{
	c->content->junk = all_have_junk(c->session);
	if (c->content->junk)
		return NULL;
	snprintf(c->refusal_text, sizeof(c->refusal_text), "From does not name one author: %s", c->content->fault);
	c->refusal = (struct smtp_refusal){ 550, "5.6.0", c->refusal_text };
	return &c->refusal;
}

static const struct smtp_refusal *judge_dmarc(struct smtp_checks *c)
{
	static const struct smtp_refusal later = { 451, "4.4.3",
		"The keys of the ARC seal cannot be looked up now, try again later" };
	struct smtp_content_checks *m = c->content;
	enum dmarc_policy policy;

	if (smtp_rule_of(c->session->site->checks.dmarc) != SMTP_RULE_REFUSE)
		return NULL;
	if (m->author[0] == '\0')
		return judge_no_author(c);
	if (!m->dmarc_done || (m->dmarc.result != DMARC_FAIL && m->dmarc.result != DMARC_TEMPERROR))
		return NULL;
	m->believed = is_believed(c);
	policy = m->believed ? DMARC_P_NONE : dmarc_disposition(&m->dmarc);
	if (policy != DMARC_P_NONE && may_be_believed(c))
		return &later;
	if (policy == DMARC_P_QUARANTINE && all_have_junk(c->session))
		m->junk = true;
	else if (policy != DMARC_P_NONE)
		return refuse_dmarc(c);
	return NULL;
}

/* In order ------------------------------------------------------------------------------------------------------- */

static enum smtp_step nothing(const struct smtp_checks *c)
{
	if (c != NULL)
		smtp_check_log(c, SMTP_CHECK_TAKEN, "", NULL);
	return SMTP_NEXT;
}

enum smtp_step smtp_check_content(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;
	struct view content = smtp_tx_content_view(s), header = { content.ptr, mime_header_len(content) };
	struct smtp_content_checks *m;

	if (c == NULL || (smtp_rule_of(s->site->checks.dkim) == SMTP_RULE_OFF &&
			     smtp_rule_of(s->site->checks.dmarc) == SMTP_RULE_OFF))
		return nothing(c);
	m = c->content = xcalloc(1, sizeof(*m));
	if (dmarc_author(header, m->author, m->fault) == -1)
		m->author[0] = '\0';
	smtp_enter(s, SMTP_VERIFYING);
	m->dkim_running = dkim_verify_start(&s->server->policy, content, clock_wall(), on_dkim, c);
	m->arc_running = arc_verify_start(&s->server->policy, content, clock_wall(), on_arc, c);
	smtp_check_wait(c);
	return SMTP_WAIT;
}

void smtp_check_content_continue(struct smtp_checks *c)
{
	struct smtp_session *s = c->session;
	struct smtp_content_checks *m = c->content;
	const struct smtp_refusal *why;

	if (!m->dmarc_begun && m->author[0] != '\0' && smtp_rule_of(s->site->checks.dmarc) != SMTP_RULE_OFF) {
		m->dmarc_begun = true;
		start_dmarc(c);
		return;
	}
	why = judge_dkim(c);
	if (why == NULL)
		why = judge_dmarc(c);
	smtp_check_log(c,
	    why != NULL ? SMTP_CHECK_REFUSED
	    : m->junk   ? SMTP_CHECK_JUNK
			: SMTP_CHECK_TAKEN,
	    why != NULL ? why->text : "", NULL);
	smtp_session_continue(s, smtp_checked(s, why));
}

bool smtp_check_junk(const struct smtp_session *s)
{
	const struct smtp_checks *c = s->checks;

	return c != NULL && c->content != NULL && c->content->junk;
}

bool smtp_check_forged(const struct smtp_session *s)
{
	const struct smtp_checks *c = s->checks;

	if (c == NULL)
		return false;
	return smtp_check_junk(s) ||
	       (c->content != NULL && c->content->dmarc_done &&
		   (c->content->dmarc.result == DMARC_FAIL || dmarc_disposition(&c->content->dmarc) != DMARC_P_NONE)) ||
	       (c->spf != NULL && (c->spf->result == SPF_FAIL || c->spf->result == SPF_SOFTFAIL));
}

uint32_t smtp_check_seal(const struct smtp_session *s, const struct site_domain *domain, dkim_fn fn, void *arg)
{
	const struct smtp_checks *c = s->checks;
	struct buf text = BUF_INIT(AUTHRES_MAX);
	struct authres results;
	uint32_t id;

	if (c == NULL || c->content == NULL || !c->content->arc_done || c->content->junk)
		return 0;
	smtp_check_authres(c, &results);
	authres_put_results(&text, &results);
	id = arc_seal(s->server->keys, domain, smtp_tx_content_view(s), &c->content->arc, s->site->host.name,
	    buf_view(&text), fn, arg);
	buf_free(&text);
	return id;
}
