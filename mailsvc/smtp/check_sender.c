/*
 * What a peer says of itself and of the sender: the name in EHLO, and SPF.  Both are begun as soon as they can be, and
 * awaited before the command behind MAIL is read.  Recipients are where mail is refused for what the peer is: the log
 * then says whose mail it was, and postmaster can be reached whatever a list says (RFC 5321 4.5.1).
 */
#include "mailsvc/smtp/check_impl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "site/address.h"
#include "site/prefix.h"

/* EHLO ----------------------------------------------------------------------------------------------------------- */

static void helo_cancel(struct smtp_checks *c)
{
	const struct policy_dns *dns = &c->session->server->policy;

	for (int i = 0; i < 2; i++) {
		dns->cancel(dns->ctx, c->helo_query[i]);
		c->helo_query[i] = 0;
	}
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": is it the peer's own? */
static bool literal_matches(const struct smtp_session *s, const char *helo)
{
	struct prefix said, own;
	char peer[64], text[64];
	const char *start = strncasecmp(helo, "[IPv6:", 6) == 0 ? helo + 6 : helo + 1;

	smtp_peer_name(s, peer);
	return view_copy((struct view){ start, strcspn(start, "]") }, text, sizeof(text)) == 0 &&
	       prefix_parse(text, &said) == 0 && prefix_parse(peer, &own) == 0 && prefix_holds(&said, &own);
}

/* What the name is by itself; SMTP_HELO_UNKNOWN: DNS must say. */
static enum smtp_helo_state helo_state(const struct smtp_session *s, char name[ADDRESS_MAX])
{
	if (s->helo[0] == '[')
		return literal_matches(s, s->helo) ? SMTP_HELO_OK : SMTP_HELO_LITERAL;
	if (domain_normalise(view_of(s->helo), name, ADDRESS_MAX) == -1 || strchr(name, '.') == NULL)
		return SMTP_HELO_NO_DOT;
	return site_is_local_domain(s->site, name) ? SMTP_HELO_OURS : SMTP_HELO_UNKNOWN;
}

static void on_helo(struct smtp_checks *c, int which, const struct dns_answer *answer)
{
	c->helo_query[which] = 0;
	c->helo_trouble |= answer->status == DNS_TEMPFAIL;
	if (answer->status == DNS_OK)
		c->helo = SMTP_HELO_OK;
	if (c->helo_query[0] == 0 && c->helo_query[1] == 0 && c->helo == SMTP_HELO_UNKNOWN && !c->helo_trouble)
		c->helo = SMTP_HELO_NO_DNS;
	smtp_check_done(c);
}

static void on_helo_a(void *arg, const struct dns_answer *answer)
{
	on_helo(arg, 0, answer);
}

static void on_helo_aaaa(void *arg, const struct dns_answer *answer)
{
	on_helo(arg, 1, answer);
}

void smtp_check_helo(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;
	const struct policy_dns *dns = &s->server->policy;
	char name[ADDRESS_MAX];

	if (c == NULL || smtp_rule_of(s->site->checks.helo) == SMTP_RULE_OFF)
		return;
	helo_cancel(c);
	c->helo_trouble = false;
	c->helo = helo_state(s, name);
	if (c->helo != SMTP_HELO_UNKNOWN)
		return;
	c->helo_query[0] = dns->query(dns->ctx, name, DNS_A, on_helo_a, c);
	c->helo_query[1] = dns->query(dns->ctx, name, DNS_AAAA, on_helo_aaaa, c);
	smtp_check_wait(c);
}

/* SPF ------------------------------------------------------------------------------------------------------------ */

static void on_spf(void *arg, const struct spf_verdict *verdict)
{
	struct smtp_checks *c = arg;

	c->spf_running = NULL;
	c->spf = xcalloc(1, sizeof(*c->spf));
	*c->spf = *verdict;
	smtp_check_done(c);
}

void smtp_check_mail(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;
	const struct spf_query query = {
		.peer = &s->peer.sa, .helo = s->helo, .sender = s->tx.sender, .host = s->site->host.name
	};

	if (c == NULL || (smtp_rule_of(s->site->checks.spf) == SMTP_RULE_OFF &&
			     smtp_rule_of(s->site->checks.dmarc) == SMTP_RULE_OFF))
		return;
	c->spf_running = spf_start(&s->server->policy, &query, on_spf, c);
	smtp_check_wait(c);
}

bool smtp_check_sender_pending(const struct smtp_checks *c)
{
	return c->spf_running != NULL || c->helo_query[0] != 0 || c->helo_query[1] != 0;
}

void smtp_check_sender_cancel(struct smtp_checks *c, bool timeout)
{
	const char *at;

	helo_cancel(c);
	if (c->spf_running == NULL)
		return;
	spf_cancel(c->spf_running);
	c->spf_running = NULL;
	if (!timeout)
		return;
	c->spf = xcalloc(1, sizeof(*c->spf));
	c->spf->result = SPF_TEMPERROR;
	at = strrchr(c->session->tx.sender, '@');
	snprintf(c->spf->domain, sizeof(c->spf->domain), "%s", at != NULL ? at + 1 : c->session->helo);
	snprintf(c->spf->problem, sizeof(c->spf->problem), "no answer within checks.dns_wait");
}

/* RCPT ----------------------------------------------------------------------------------------------------------- */

static const struct smtp_refusal *refuse(struct smtp_checks *c, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static const struct smtp_refusal *refuse(struct smtp_checks *c, int code, const char *enhanced, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->refusal_text, sizeof(c->refusal_text), fmt, ap);
	va_end(ap);
	c->refusal = (struct smtp_refusal){ code, enhanced, c->refusal_text };
	return &c->refusal;
}

static const struct smtp_refusal *refuse_helo(struct smtp_checks *c)
{
	static const char *const why[] = {
		[SMTP_HELO_OURS] = "is this host's",
		[SMTP_HELO_NO_DOT] = "is no full host name",
		[SMTP_HELO_LITERAL] = "is not your address",
		[SMTP_HELO_NO_DNS] = "is not in DNS",
	};

	if (c->helo <= SMTP_HELO_OK || smtp_rule_of(c->session->site->checks.helo) != SMTP_RULE_REFUSE)
		return NULL;
	return refuse(c, 550, "5.7.1", "The name in your EHLO %s: %.200s", why[c->helo], c->session->helo);
}

static const struct smtp_refusal *refuse_peer(struct smtp_checks *c)
{
	const struct smtp_list_check *l = smtp_check_listed(c, true);
	char peer[64];

	smtp_peer_name(c->session, peer);
	if (l != NULL && !smtp_check_allowed(c))
		return refuse(c, 550, "5.7.1", "%s is listed by %s%s%s", peer, l->list->name,
		    l->text[0] != '\0' ? ": " : "", l->text);
	if (c->iprev_done && (c->iprev.result == IPREV_FAIL || c->iprev.result == IPREV_PERMERROR) &&
	    smtp_rule_of(c->session->site->checks.reverse_dns) == SMTP_RULE_REFUSE)
		return refuse(c, 550, "5.7.25", "%s has no name that leads back to it (reverse DNS)", peer);
	return NULL;
}

static const struct smtp_refusal *refuse_spf(struct smtp_checks *c)
{
	const struct spf_verdict *v = c->spf;

	if (v == NULL || smtp_rule_of(c->session->site->checks.spf) != SMTP_RULE_REFUSE)
		return NULL;
	if (v->result == SPF_FAIL)
		return refuse(c, 550, "5.7.23", "SPF of %s does not allow your address%s%s", v->domain,
		    v->explanation[0] != '\0' ? "; it says: " : "", v->explanation);
	if (v->result == SPF_TEMPERROR)
		return refuse(c, 451, "4.7.24", "SPF of %s cannot be looked up now, try again later", v->domain);
	return NULL;
}

static void spf_doubt(const struct smtp_checks *c, struct buf *doubts)
{
	if (c->spf == NULL || c->spf->result == SPF_PASS || c->spf->result == SPF_TEMPERROR || smtp_check_allowed(c) ||
	    smtp_rule_of(c->session->site->checks.spf) == SMTP_RULE_OFF)
		return;
	buf_printf(doubts, "%sspf-%s", doubts->len > 0 ? "," : "", spf_result_name(c->spf->result));
}

static const struct smtp_refusal *greylist(struct smtp_checks *c, const char *recipient)
{
	struct smtp_session *s = c->session;
	enum smtp_rule rule = smtp_rule_of(s->site->checks.greylist);
	struct buf doubts = BUF_INIT(512);
	unsigned wait = 0;
	bool later;

	if (rule == SMTP_RULE_OFF)
		return NULL;
	smtp_check_doubts(c, &doubts);
	spf_doubt(c, &doubts);
	later = doubts.len > 0 && !greylist_known(s->server->greylist, &s->peer.sa, clock_wall()) &&
	        !greylist_pass(s->server->greylist, &s->peer.sa, s->tx.sender, recipient,
		    (unsigned)s->site->checks.greylist_delay, clock_wall(), &wait);
	if (later && rule == SMTP_RULE_REFUSE) {
		smtp_check_log(c, SMTP_CHECK_GREYLISTED, buf_str(&doubts), recipient);
		refuse(c, 451, "4.7.1", "Greylisted, please come again in %u seconds", wait);
	}
	c->greylisted |= later;
	buf_free(&doubts);
	return later && rule == SMTP_RULE_REFUSE ? &c->refusal : NULL;
}

/* Whoever has trouble with us must be able to say so. */
static bool is_postmaster(struct view recipient)
{
	struct view local = { recipient.ptr, 0 };

	while (local.len < recipient.len && recipient.ptr[local.len] != '@')
		local.len++;
	return view_caseeq(local, "postmaster") || view_caseeq(local, "abuse");
}

const struct smtp_refusal *smtp_check_rcpt(struct smtp_session *s, struct view recipient)
{
	struct smtp_checks *c = s->checks;
	const struct smtp_refusal *why;
	char *to;

	if (c == NULL || is_postmaster(recipient))
		return NULL;
	to = view_dup(recipient);
	why = refuse_peer(c);
	if (why == NULL)
		why = refuse_helo(c);
	if (why == NULL)
		why = refuse_spf(c);
	if (why != NULL)
		smtp_check_log(c, SMTP_CHECK_REFUSED, why->text, to);
	else
		why = greylist(c, to);
	free(to);
	return why;
}
