/*
 * Who a session sends as: who logged in, or whom the site trusts by address (submission.trusted); which senders that
 * allows, and how many recipients.  A session keeps the site that it began with, but an account that was suspended or
 * stopped since sends no more.
 */
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/smtp/rate.h"
#include "mailsvc/smtp/smtp.h"
#include "site/prefix.h"

static const struct smtp_refusal not_yours = { 553, "5.7.1", "You may not send as this address" };
static const struct smtp_refusal stopped = { 550, "5.7.13",
	"This account may not send for now; ask the administrator" };
static const struct smtp_refusal too_fast = { 450, "4.7.1",
	"Too many recipients in too short a time; try again later" };

const struct site_account *smtp_trusted_account(const struct smtp_session *s)
{
	for (size_t i = 0; i < s->site->submission.trusted_count; i++)
		if (prefix_in_peer(&s->site->submission.trusted[i].from, &s->peer.sa))
			return site_find_account(s->site, s->site->submission.trusted[i].account);
	return NULL;
}

void smtp_sender_assume(struct smtp_session *s, struct view sender)
{
	const struct site_account *account;

	if (s->account != NULL && !s->by_address)
		return;
	account = smtp_trusted_account(s);
	/* On port 25 such a machine may also bring mail of others to addresses of ours, as anybody may. */
	if (account != NULL && s->service == SERVICE_SMTP && !site_may_send_as(s->site, account, sender))
		account = NULL;
	s->account = account;
	s->by_address = account != NULL;
}

void smtp_sender_forget(struct smtp_session *s)
{
	if (s->by_address)
		s->account = NULL;
	s->by_address = false;
}

const struct smtp_refusal *smtp_sender_account_refusal(const struct smtp_session *s, struct view sender)
{
	const struct site_account *now;

	if (s->account == NULL)
		return NULL;
	now = site_find_account(s->server->ctx->site, s->account->address);
	if (now == NULL || !((now->protocols & PROTOCOL_SUBMISSION) != 0 || (s->by_address && now->shared)))
		return &not_yours;
	if (rate_stopped(s->server->rates, s->account->address))
		return &stopped;
	return sender.len == 0 || site_may_send_as(s->site, s->account, sender) ? NULL : &not_yours;
}

static void tell(const struct smtp_session *s)
{
	const char *account = s->account->address;
	char key[ROLE_ALERT_KEY_MAX], peer[64];

	smtp_peer_name(s, peer);
	snprintf(key, sizeof(key), "stopped %.50s", account);
	log_warnx("id=%s event=account-stopped account=%s peer=\"%s\"", smtp_log_id(s), account, peer);
	role_alert(s->server->ctx, key,
	    "%s tried to send to more than %d recipients in a day (limits.send_stop), last from %s. Somebody else may "
	    "have "
	    "its password. It may not send now; it can still read its mail. Set a new password with\n"
	    "  mailadm account passwd %s\nand let it send again with\n  mailadm account resume %s",
	    account, s->site->limits.send_stop, peer, account, account);
}

const struct smtp_refusal *smtp_sender_take(struct smtp_session *s)
{
	const struct rate_limits limits = {
		.account = (unsigned)s->site->limits.send_rate,
		.domain = (unsigned)s->site->limits.send_rate_domain,
		.stop = (unsigned)s->site->limits.send_stop,
	};
	unsigned seconds = 0;

	if (s->account == NULL)
		return NULL;
	switch (rate_take(s->server->rates, s->account->address, &limits, clock_wall_us() / 1000, &seconds)) {
	case RATE_OK:
		break;
	case RATE_LATER:
		return &too_fast;
	case RATE_STOPS:
		tell(s);
		return &stopped;
	case RATE_STOPPED:
		return &stopped;
	}
	return NULL;
}
