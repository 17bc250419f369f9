/*
 * Recipients that only another host knows (site_verifies): whether they are taken is asked there, through the send
 * role, before RCPT is answered, so that nothing has to be bounced later.  The session waits in SMTP_ASKING, for at
 * most SMTP_ASK_SECONDS.
 *
 * When nobody can say it, a recipient that was taken before is taken, and so is everybody of a sender who is known to
 * be genuine: who logged in or came by the local socket is told by a notification, if need be.  A stranger comes again.
 *
 * An address that leads to several is not asked for: it stands in the site, and what becomes of one of them is no
 * reason to refuse the others' mail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/smtp/smtp.h"
#include "mailsvc/smtp/verified.h"

static const struct smtp_refusal come_again = { 450, "4.4.1", "This recipient cannot be verified now; come again" };

struct smtp_ask {
	struct smtp_path path; /* orcpt is ours, other views are empty */
	struct next_hop hop;   /* of the session's site */
	char *address, *args, *orcpt;
	struct route route;
	enum smtp_state before;
	bool once; /* it was taken some time ago */
	uint64_t until;
};

/* Valid until the next call. */
static const struct smtp_refusal *refusal(const char *enhanced, const char *words)
{
	static char status[VERIFY_ENHANCED_MAX + 1], text[VERIFY_TEXT_MAX + 64];
	static struct smtp_refusal r;

	snprintf(status, sizeof(status), "%s", enhanced);
	snprintf(text, sizeof(text), "The host of this address refuses it%s%s", words[0] != '\0' ? ": " : "", words);
	r = (struct smtp_refusal){ 550, status, text };
	return &r;
}

static const struct smtp_refusal *unknown(const struct smtp_session *s, bool once)
{
	return once || s->account != NULL || s->local ? NULL : &come_again;
}

void smtp_ask_free(struct smtp_session *s)
{
	struct smtp_ask *a = s->tx.ask;

	if (a == NULL)
		return;
	free(a->address);
	free(a->args);
	free(a->orcpt);
	route_free(&a->route);
	free(a);
	s->tx.ask = NULL;
}

static void log_answer(const struct smtp_session *s, const struct smtp_ask *a, const struct verify_answer *answer)
{
	static const char *const words[] = {
		[VERIFY_TAKEN] = "taken", [VERIFY_REFUSED] = "refused", [VERIFY_UNKNOWN] = "unknown"
	};
	struct buf line = BUF_INIT(4096);

	buf_printf(&line, "id=%s event=verified to=", smtp_log_id(s));
	text_escape(&line, view_of(a->route.targets[0].address), ADDRESS_MAX);
	buf_printf(&line, " answer=%s relay=", words[answer->status]);
	text_escape(&line, view_of(answer->relay[0] != '\0' ? answer->relay : "none"), VERIFY_RELAY_MAX);
	buf_puts(&line, " reply=");
	text_escape(&line, view_of(answer->text), VERIFY_TEXT_MAX);
	log_info("%s", buf_str(&line));
	buf_free(&line);
}

/* The RCPT goes on where it waited. */
static void on_answer(void *arg, const struct verify_answer *answer)
{
	struct smtp_session *s = arg;
	struct smtp_ask *a = s->tx.ask;
	const struct smtp_refusal *why = NULL;
	enum smtp_step step;

	s->request = 0;
	log_answer(s, a, answer);
	if (answer->relay[0] != '\0' || answer->status != VERIFY_UNKNOWN) /* else the host itself has said nothing */
		verified_put(s->server->verified, &a->hop, a->route.targets[0].address, answer, clock_wall());
	if (answer->status == VERIFY_REFUSED) /* where an alias leads is nobody's business, and the words may say it */
		why = refusal(
		    answer->enhanced, strcasecmp(a->address, a->route.targets[0].address) == 0 ? answer->text : "");
	else if (answer->status == VERIFY_UNKNOWN)
		why = unknown(s, a->once);
	smtp_enter(s, a->before);
	step = smtp_recipient_end(s, why, view_of(a->address), &a->path, &a->route, view_of(a->args));
	smtp_ask_free(s);
	smtp_session_continue(s, step);
}

bool smtp_ask_tick(struct smtp_session *s, uint64_t now)
{
	struct verify_answer late = { .status = VERIFY_UNKNOWN };

	if (s->state != SMTP_ASKING || now < s->tx.ask->until)
		return false;
	verify_cancel(s->server->verify, s->request);
	snprintf(late.text, sizeof(late.text), "no answer within %d s", SMTP_ASK_SECONDS);
	on_answer(s, &late);
	return true;
}

static void begin(struct smtp_session *s, struct smtp_ask *a, const char *sender)
{
	s->tx.ask = a;
	a->before = s->state;
	a->until = clock_mono_ms() + SMTP_ASK_SECONDS * 1000;
	smtp_enter(s, SMTP_ASKING);
	s->request = verify_ask(s->server->verify, sender, a->route.targets[0].address, on_answer, s);
}

bool smtp_ask(struct smtp_session *s, struct view address, const struct smtp_path *path, struct route *route,
    struct view args, const struct smtp_refusal **why)
{
	const struct route_target *t = route->targets;
	struct verified known;
	struct next_hop hop;

	if (route->status != ROUTE_OK || route->count != 1 || t->account != NULL)
		return false;
	const char *sender = t->sender != NULL ? t->sender : s->tx.sender;
	if (!site_verifies(s->site, sender, t->address, &hop))
		return false;
	known = verified_get(s->server->verified, &hop, t->address, clock_wall());
	if (known.state == VERIFIED_REFUSED)
		*why = refusal(known.enhanced, "it said so a moment ago");
	else if (known.state == VERIFIED_UNKNOWN)
		*why = unknown(s, false);
	if (known.state != VERIFIED_NOT && known.state != VERIFIED_ONCE)
		return false;
	struct smtp_ask *a = xcalloc(1, sizeof(*a));
	a->hop = hop;
	a->once = known.state == VERIFIED_ONCE;
	a->address = view_dup(address);
	a->args = view_dup(args);
	a->orcpt = view_dup(path->orcpt);
	a->path.notify = path->notify;
	a->path.address.utf8 = path->address.utf8;
	a->path.orcpt = view_of(a->orcpt);
	a->route = *route;
	*route = (struct route){ 0 };
	begin(s, a, sender);
	return true;
}
