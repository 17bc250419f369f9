/*
 * What was found, told: to the recipient's software in Authentication-Results (RFC 8601) and X-Mailadm-Checks, both in
 * front of our Received field, and to the administrator in one log line that has every verdict with its reason.
 */
#include "mailsvc/smtp/check_impl.h"

#include <stdlib.h>

#include "lib/text.h"
#include "mailsvc/mime/mime.h"

#define MARKS "X-Mailadm-Checks"

const char *smtp_helo_word(enum smtp_helo_state state)
{
	static const char *const words[] = { "unknown", "ok", "ours", "no-dot", "not-yours", "not-in-dns" };

	return words[state];
}

/* X-Mailadm-Checks ----------------------------------------------------------------------------------------------- */

static void mark(struct buf *out, const char *rule, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void mark(struct buf *out, const char *rule, const char *fmt, ...)
{
	va_list ap;

	buf_printf(out, "%s%s=", out->len > 0 ? ";\r\n\t" : "", rule);
	va_start(ap, fmt);
	buf_vprintf(out, fmt, ap);
	va_end(ap);
}

static void mark_lists(const struct smtp_checks *c, struct buf *out)
{
	for (size_t i = 0; i < c->list_count; i++) {
		const struct smtp_list_check *l = &c->lists[i];

		if (l->listed)
			mark(out, l->allow ? "allow_list" : "block_list", "%s (127.%u.%u.%u)", l->list->name,
			    l->code >> 16 & 255, l->code >> 8 & 255, l->code & 255);
	}
}

static void mark_dkim(const struct smtp_content_checks *m, struct buf *out)
{
	for (size_t i = 0; i < m->dkim_count; i++)
		if (m->dkim[i].verdict == DKIM_PASS)
			return;
	if (m->dkim_count > 0)
		mark(out, "dkim", "%s", dkim_verdict_name(m->dkim[0].verdict));
}

static void mark_dmarc(const struct smtp_content_checks *m, struct buf *out)
{
	if (m->author[0] == '\0')
		mark(out, "dmarc", "permerror");
	else if (m->dmarc_done && m->dmarc.result == DMARC_FAIL)
		mark(out, "dmarc", "fail (%s)", m->believed ? "arc" : dmarc_policy_name(dmarc_disposition(&m->dmarc)));
	else if (m->dmarc_done && (m->dmarc.result == DMARC_TEMPERROR || m->dmarc.result == DMARC_PERMERROR))
		mark(out, "dmarc", "%s", dmarc_result_name(m->dmarc.result));
}

static bool is_on(const char *word)
{
	return smtp_rule_of(word) != SMTP_RULE_OFF;
}

/* What is wrong by a rule that is not off. */
static void put_marks(const struct smtp_checks *c, struct buf *out)
{
	const struct site *site = c->session->site;

	if (c->early)
		mark(out, "early_talker", "yes");
	if (is_on(site->checks.helo) && c->helo > SMTP_HELO_OK)
		mark(out, "helo", "%s", smtp_helo_word(c->helo));
	if (is_on(site->checks.reverse_dns) && c->iprev_done && c->iprev.result != IPREV_PASS)
		mark(out, "reverse_dns", "%s", iprev_result_name(c->iprev.result));
	mark_lists(c, out);
	if (is_on(site->checks.spf) && c->spf != NULL && c->spf->result != SPF_PASS && c->spf->result != SPF_NONE &&
	    c->spf->result != SPF_NEUTRAL)
		mark(out, "spf", "%s", spf_result_name(c->spf->result));
	if (is_on(site->checks.dkim) && c->content != NULL)
		mark_dkim(c->content, out);
	if (is_on(site->checks.dmarc) && c->content != NULL)
		mark_dmarc(c->content, out);
	if (c->greylisted)
		mark(out, "greylist", "would wait");
	if (c->content != NULL && c->content->junk)
		mark(out, "result", "junk");
}

/* The header ----------------------------------------------------------------------------------------------------- */

void smtp_check_authres(const struct smtp_checks *c, struct authres *out)
{
	const struct smtp_content_checks *m = c->content;

	*out = (struct authres){
		.peer = &c->session->peer.sa,
		.iprev = c->iprev_done ? &c->iprev : NULL,
		.spf = c->spf,
		.mail_from = c->session->tx.sender,
	};
	if (m == NULL)
		return;
	out->dkim = m->dkim;
	out->dkim_count = m->dkim_count;
	out->dkim_done = true;
	out->arc = m->arc_done ? &m->arc : NULL;
	out->dmarc = m->dmarc_done ? &m->dmarc : NULL;
	out->header_from = m->author;
}

struct ranges { /* within the header, in order */
	struct range {
		size_t start, len;
	} * at;
	size_t count, room;
};

static void add_range(void *arg, size_t start, size_t len)
{
	struct ranges *r = arg;

	if (r->count == r->room) {
		r->room = r->room == 0 ? 8 : r->room * 2;
		r->at = xreallocarray(r->at, r->room, sizeof(*r->at));
	}
	r->at[r->count++] = (struct range){ start, len };
}

static void find_marks(struct view header, struct ranges *r)
{
	struct mime_header field;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &field))
		if (view_caseeq(field.name, MARKS))
			add_range(r, (size_t)(field.field.ptr - header.ptr), field.field.len);
}

/* In one pass, however many there are. */
static void cut(struct smtp_session *s, const struct ranges *r)
{
	struct buf *b = &s->tx.message;
	size_t base = s->tx.received_len, to = base + r->at[0].start;

	for (size_t i = 0; i < r->count; i++) {
		size_t from = base + r->at[i].start + r->at[i].len;
		size_t end = i + 1 < r->count ? base + r->at[i + 1].start : b->len;

		memmove(b->data + to, b->data + from, end - from);
		to += end - from;
	}
	b->len = to;
}

static void strip(struct smtp_session *s, bool marks)
{
	struct view content = smtp_tx_content_view(s), header = { content.ptr, mime_header_len(content) };
	struct ranges r = { 0 };

	if (marks)
		find_marks(header, &r);
	else
		authres_strip(header, s->site->host.name, add_range, &r);
	if (r.count > 0)
		cut(s, &r);
	free(r.at);
}

void smtp_check_fields(struct smtp_session *s)
{
	const struct smtp_checks *c = s->checks;
	struct buf fields = BUF_INIT(SMTP_FIXED_HEADERS), marks = BUF_INIT(4096);
	struct authres results;

	strip(s, false);
	strip(s, true);
	if (c != NULL) {
		smtp_check_authres(c, &results);
		authres_put(&fields, s->site->host.name, &results);
		put_marks(c, &marks);
		if (marks.len > 0)
			buf_printf(&fields, MARKS ": %s\r\n", buf_str(&marks));
		smtp_tx_splice(s, 0, 0, buf_view(&fields));
		if (!s->tx.message.full)
			s->tx.received_len += fields.len;
	}
	buf_free(&fields);
	buf_free(&marks);
}

/* The log -------------------------------------------------------------------------------------------------------- */

static void put_value(struct buf *out, const char *key, const char *value)
{
	if (value[0] == '\0')
		return;
	buf_printf(out, " %s=", key);
	text_escape(out, view_of(value), 300);
}

static void log_lists(const struct smtp_checks *c, struct buf *line)
{
	struct buf words = BUF_INIT(2048);

	for (size_t i = 0; i < c->list_count; i++) {
		const struct smtp_list_check *l = &c->lists[i];

		if (l->listed || l->failed)
			buf_printf(&words, "%s%s:%s%s", words.len > 0 ? "," : "", l->list->name,
			    l->failed  ? "failed"
			    : l->allow ? "allowed"
				       : "listed:",
			    l->listed && !l->allow ? l->list->action : "");
	}
	put_value(line, "lists", buf_str(&words));
	buf_free(&words);
}

static void log_content(const struct smtp_content_checks *m, struct buf *line)
{
	struct buf words = BUF_INIT(8192);

	for (size_t i = 0; i < m->dkim_count; i++) {
		const struct dkim_result *r = &m->dkim[i];

		buf_printf(&words, "%s%s %s/%s %s %u: %s", i > 0 ? "; " : "", dkim_verdict_name(r->verdict), r->domain,
		    r->selector, r->algorithm, r->key_bits, r->reason);
	}
	buf_puts(line, " dkim=");
	text_escape(line, m->dkim_count > 0 ? buf_view(&words) : VIEW_LIT("none"), 2000);
	buf_free(&words);
	put_value(line, "arc", m->arc_done ? arc_result_name(m->arc.result) : "temperror");
	if (m->arc_done && m->arc.result != ARC_NONE) {
		put_value(line, "arc-sealer", m->arc.sealer);
		put_value(line, "arc-reason", m->arc.reason);
	}
	put_value(line, "author", m->author[0] != '\0' ? m->author : "none");
	put_value(line, "author-fault", m->fault);
	if (!m->dmarc_begun)
		return;
	put_value(line, "dmarc", m->dmarc_done ? dmarc_result_name(m->dmarc.result) : "temperror");
	if (!m->dmarc_done)
		return;
	put_value(line, "dmarc-record", m->dmarc.domain);
	put_value(line, "dmarc-policy", dmarc_policy_name(m->dmarc.policy));
	put_value(line, "dmarc-testing", m->dmarc.testing ? "yes" : "");
	put_value(line, "dmarc-reason", m->dmarc.reason);
	put_value(line, "believed", m->believed ? "arc" : "");
}

/* Each message is counted once that it was checked, each recipient that was refused or greylisted by itself. */
static void count(struct smtp_server *server, enum smtp_check_result result)
{
	uint64_t *const counters[] = { NULL, &server->junked, &server->check_refused, &server->greylisted };

	if (counters[result] != NULL)
		++*counters[result];
	server->checked += result == SMTP_CHECK_TAKEN || result == SMTP_CHECK_JUNK;
}

void smtp_check_log(const struct smtp_checks *c, enum smtp_check_result result, const char *reason, const char *to)
{
	static const char *const words[] = { "taken", "junk", "refused", "greylisted" };
	const struct smtp_session *s = c->session;
	struct buf line = BUF_INIT(16384);
	char peer[64];

	smtp_peer_name(s, peer);
	buf_printf(&line, "id=%s event=checked result=%s", smtp_log_id(s), words[result]);
	count(s->server, result);
	put_value(&line, "reason", reason);
	put_value(&line, "peer", peer);
	put_value(&line, "from", s->tx.sender[0] != '\0' ? s->tx.sender : "<>");
	put_value(&line, "to", to != NULL ? to : "");
	put_value(&line, "early", c->early ? "yes" : "");
	put_value(&line, "helo", s->helo);
	put_value(&line, "helo-check", smtp_helo_word(c->helo));
	put_value(&line, "iprev",
	    c->iprev_done    ? iprev_result_name(c->iprev.result)
	    : c->iprev_begun ? "temperror"
			     : "off");
	put_value(&line, "name", c->iprev.name);
	log_lists(c, &line);
	put_value(&line, "spf", c->spf != NULL ? spf_result_name(c->spf->result) : "off");
	if (c->spf != NULL) {
		put_value(&line, "spf-domain", c->spf->domain);
		put_value(&line, "spf-mechanism", c->spf->mechanism);
		put_value(&line, "spf-problem", c->spf->problem);
	}
	put_value(&line, "greylist", c->greylisted ? "would-wait" : "");
	if (c->content != NULL)
		log_content(c->content, &line);
	log_info("%s", buf_str(&line));
	buf_free(&line);
}
