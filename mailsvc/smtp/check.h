/*
 * The checks of mail from outside, by the rules of the site's `checks`: what the smtp role calls.
 *
 * A session from another host on port 25 has a struct smtp_checks; submission, the local socket, loopback,
 * submission.trusted and checks.trusted have none, and every call here then does nothing.  In the order of a session:
 *
 *   check_peer.c     rates; who speaks early; reverse DNS and lists of addresses, while the greeting waits
 *   check_sender.c   the name in EHLO and SPF, begun with EHLO and MAIL, awaited before the command behind MAIL; at RCPT
 *                    what is to be refused is refused, and the doubtful are greylisted
 *   check_content.c  DKIM, ARC and DMARC once the message is whole; Junk, or refused
 *   check_report.c   Authentication-Results, X-Mailadm-Checks, and the log line event=checked
 *   check.c          their life, time limits, and who waits
 *
 * A rule is off, mark or refuse.  Whatever DNS has not answered in time is no reason to refuse for
 * good: with refuse, mail whose SPF or known DMARC policy cannot be judged now is to come again (451).
 */
#ifndef MAILSVC_SMTP_CHECK_H
#define MAILSVC_SMTP_CHECK_H

#include "mailsvc/smtp/smtp.h"

enum smtp_rule { SMTP_RULE_OFF, SMTP_RULE_MARK, SMTP_RULE_REFUSE };
enum smtp_rule smtp_rule_of(const char *word);

/* check.c */
void smtp_check_begin(struct smtp_session *);    /* the peer is known: is this session one to check? */
void smtp_check_end(struct smtp_session *);      /* the session ends: nothing comes back any more */
void smtp_check_tx_reset(struct smtp_session *); /* the transaction ends */
/* Must the next command wait, for DNS or for a pause?  When it has waited, the session goes on by itself. */
bool smtp_check_waits(const struct smtp_session *);
void smtp_check_tick(struct smtp_session *, uint64_t now);
void smtp_check_pause(struct smtp_session *, uint64_t seconds); /* no command is read for so long */

/* check_peer.c */
/* NULL, or why this address may not connect now. */
const char *smtp_check_rate(struct smtp_session *);
/* Begins what the greeting waits for; smtp_check_waits says whether there is anything. */
void smtp_check_peer(struct smtp_session *);
void smtp_check_early(struct smtp_session *);   /* it spoke early, and that is only marked */
void smtp_check_command(struct smtp_session *); /* counts one: too many are answered slowly */

/* check_sender.c */
void smtp_check_helo(struct smtp_session *); /* s->helo is new */
void smtp_check_mail(struct smtp_session *); /* a transaction has begun */
/* NULL, or why mail for this recipient is not taken; valid until the next call. */
const struct smtp_refusal *smtp_check_rcpt(struct smtp_session *, struct view recipient);

/* check_content.c */
/* The message is whole: SMTP_WAIT, and smtp_checked is called; or SMTP_NEXT when there is nothing to check. */
enum smtp_step smtp_check_content(struct smtp_session *);
bool smtp_check_junk(const struct smtp_session *); /* the transaction's message belongs into Junk */
/* The sender may well be another than it says: nothing that answers the message may be sent to it (backscatter). */
bool smtp_check_forged(const struct smtp_session *);
/*
 * Asks keys for an ARC set over the message, which is what smtp_check_fields left: arc_seal's id, or 0 when the chain
 * was not checked.
 */
uint32_t smtp_check_seal(const struct smtp_session *, const struct site_domain *, dkim_fn, void *arg);

/* check_report.c */
/*
 * Takes out of the message what claims to be written by this host, and puts Authentication-Results and X-Mailadm-Checks
 * in front of our Received field.  For all mail, also of sessions that are not checked.
 */
void smtp_check_fields(struct smtp_session *);

/* deliver.c: the content was checked: NULL, or why it is refused. */
enum smtp_step smtp_checked(struct smtp_session *, const struct smtp_refusal *);

#endif
