/*
 * The life of the checks of a session (check.h): when they begin and end, how long they may take, and who waits for
 * them.  Each stage has one deadline, which the server's tick looks at; what is still running then is cancelled.
 */
#include "mailsvc/smtp/check_impl.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "site/prefix.h"

enum smtp_rule smtp_rule_of(const char *word)
{
	return strcmp(word, "refuse") == 0 ? SMTP_RULE_REFUSE
	       : strcmp(word, "mark") == 0 ? SMTP_RULE_MARK
	                                   : SMTP_RULE_OFF;
}

void smtp_check_begin(struct smtp_session *s)
{
	char peer[64];

	if (s->local || s->loopback || s->service != SERVICE_SMTP)
		return;
	smtp_peer_name(s, peer);
	if (prefix_in(&s->site->checks.trusted, peer) || smtp_trusted_account(s) != NULL)
		return;
	s->checks = xcalloc(1, sizeof(*s->checks));
	s->checks->session = s;
}

void smtp_check_end(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;

	if (c == NULL)
		return;
	smtp_check_peer_cancel(c);
	smtp_check_sender_cancel(c, false);
	smtp_check_tx_reset(s);
	for (size_t i = 0; i < c->list_count; i++)
		free(c->lists[i].text);
	free(c->lists);
	free(c);
	s->checks = NULL;
}

void smtp_check_tx_reset(struct smtp_session *s)
{
	struct smtp_checks *c = s->checks;

	if (c == NULL)
		return;
	spf_cancel(c->spf_running);
	c->spf_running = NULL;
	free(c->spf);
	c->spf = NULL;
	c->greylisted = false;
	if (c->content != NULL) {
		smtp_check_content_cancel(c);
		free(c->content->dkim);
		free(c->content);
		c->content = NULL;
	}
}

static bool pending(const struct smtp_checks *c)
{
	switch (c->session->state) {
	case SMTP_GREETING:
		return smtp_check_peer_pending(c);
	case SMTP_MAIL:
	case SMTP_RCPT:
		return smtp_check_sender_pending(c);
	case SMTP_VERIFYING:
		return smtp_check_content_pending(c);
	default:
		return false;
	}
}

bool smtp_check_waits(const struct smtp_session *s)
{
	return s->paused_until != 0 || (s->checks != NULL && pending(s->checks));
}

void smtp_check_wait(struct smtp_checks *c)
{
	c->deadline = clock_mono_ms() + c->session->site->checks.dns_wait * 1000;
}

void smtp_check_done(struct smtp_checks *c)
{
	struct smtp_session *s = c->session;

	if (pending(c))
		return;
	if (!smtp_check_sender_pending(c)) /* behind EHLO nobody waits yet, but for what is left somebody will */
		c->deadline = 0;
	if (s->state == SMTP_VERIFYING)
		smtp_check_content_continue(c);
	else if (s->waiting && s->paused_until == 0)
		smtp_session_continue(s, SMTP_NEXT);
}

void smtp_check_pause(struct smtp_session *s, uint64_t seconds)
{
	if (seconds > 0)
		s->paused_until = clock_mono_ms() + seconds * 1000;
}

static void out_of_time(struct smtp_checks *c)
{
	c->deadline = 0;
	switch (c->session->state) {
	case SMTP_GREETING:
		smtp_check_peer_cancel(c);
		break;
	case SMTP_VERIFYING:
		smtp_check_content_expire(c);
		break;
	default:
		smtp_check_sender_cancel(c, true);
	}
}

void smtp_check_tick(struct smtp_session *s, uint64_t now)
{
	struct smtp_checks *c = s->checks;

	if (s->paused_until != 0 && now >= s->paused_until) {
		s->paused_until = 0;
		if (s->waiting && (c == NULL || !pending(c))) {
			smtp_session_continue(s, SMTP_NEXT);
			return;
		}
	}
	if (c == NULL)
		return;
	if (c->deadline != 0 && now >= c->deadline)
		out_of_time(c);
	else if (s->state != SMTP_GREETING || now < c->greet_at)
		return;
	smtp_check_done(c);
}
