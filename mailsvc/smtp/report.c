/*
 * What a sender who asked for it is told of success (RFC 3461, NOTIFY=SUCCESS): delivered into a mailbox here, taken by
 * a list, or expanded into several addresses.  An address that leads to one other elsewhere is send's to report.
 *
 * A stranger's sender address may be forged, and then a notification would be spam from us to somebody who asked for
 * nothing: it goes only to a sender that SPF found to be genuine, or of a session that is not checked (check.h).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/send/dsn.h"
#include "mailsvc/smtp/check_impl.h"

static bool is_genuine(const struct smtp_session *s)
{
	return s->checks == NULL || (s->checks->spf != NULL && s->checks->spf->result == SPF_PASS);
}

/* What became of one recipient; false: that is not known here, or nobody asked. */
static bool outcome_of(const struct smtp_recipient *r, struct dsn_recipient *out)
{
	bool list = false;

	if ((r->notify & DSN_SUCCESS) == 0 || r->route.count == 0)
		return false;
	for (size_t i = 0; i < r->route.count; i++)
		list |= r->route.targets[i].sender != NULL;
	if (r->route.count == 1 && r->route.targets[0].account == NULL && !list)
		return false;
	*out = (struct dsn_recipient){
		.address = r->address,
		.status = "2.1.5",
		.remote = "",
		.reply = "",
		.action = r->route.count == 1 || list ? DSN_DELIVERED : DSN_EXPANDED,
		.orcpt = r->orcpt,
	};
	return true;
}

static void tell(struct smtp_session *s, const struct dsn_recipient *recipients, size_t count)
{
	const struct site *site = s->site;
	struct buf message = BUF_INIT(DSN_MAX);
	struct dsn_needs needs = { false, false };
	struct dsn dsn = {
		.host = site->host.name,
		.to = s->tx.sender,
		.sender = s->tx.sender,
		.envid = s->tx.envid,
		.arrived = clock_wall(),
		.now = clock_wall(),
		.recipients = recipients,
		.count = count,
		.message = buf_view(&s->tx.message),
	};
	struct smtp_own own = { .to = s->tx.sender, .signer = dkim_domain(site, site->host.name) };

	smtp_new_id(s->server, own.id);
	dsn.unique = own.id;
	dsn_build(&dsn, &message, &needs);
	own.eight_bit = needs.eight_bit;
	own.smtputf8 = needs.smtputf8;
	log_info("id=%s event=dsn result=sent recipients=%zu notification=%s", s->tx.id, count, own.id);
	smtp_own_send(s->server, &own, &message);
}

void smtp_report(struct smtp_session *s)
{
	const struct smtp_tx *tx = &s->tx;
	struct dsn_recipient *told = xcalloc(tx->recipient_count + 1, sizeof(*told));
	size_t n = 0;

	for (size_t i = 0; i < tx->recipient_count; i++)
		n += outcome_of(&tx->recipients[i], &told[n]);
	if (n > 0 && tx->sender[0] != '\0') {
		if (!is_genuine(s) || !smtp_own_reachable(s->site, tx->sender))
			log_info("id=%s event=dsn result=withheld reason=\"the sender may be forged, or is nobody\"",
			    tx->id);
		else
			tell(s, told, n);
	}
	free(told);
}
