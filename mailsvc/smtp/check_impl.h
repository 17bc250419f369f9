/* What the files check*.c share. */
#ifndef MAILSVC_SMTP_CHECK_IMPL_H
#define MAILSVC_SMTP_CHECK_IMPL_H

#include "mailsvc/policy/arc.h"
#include "mailsvc/policy/authres.h"
#include "mailsvc/policy/dkim_verify.h"
#include "mailsvc/policy/dmarc.h"
#include "mailsvc/policy/dnsbl.h"
#include "mailsvc/policy/iprev.h"
#include "mailsvc/policy/spf.h"
#include "mailsvc/smtp/check.h"

struct smtp_list_check { /* one list of addresses */
	struct smtp_checks *checks;
	const struct site_dnslist *list; /* of the session's site */
	bool allow;
	struct dnsbl_check *running;
	bool listed, failed; /* listed: with a code that counts */
	uint32_t code;
	char *text; /* the list's words */
};

enum smtp_helo_state {
	SMTP_HELO_UNKNOWN,
	SMTP_HELO_OK,
	SMTP_HELO_OURS,
	SMTP_HELO_NO_DOT,
	SMTP_HELO_LITERAL,
	SMTP_HELO_NO_DNS
};

struct smtp_content_checks { /* of one message */
	struct dkim_verify *dkim_running;
	struct arc_verify *arc_running;
	struct dmarc_check *dmarc_running;
	struct dkim_result *dkim;
	size_t dkim_count;
	struct arc_verdict arc;
	bool arc_done;
	struct dmarc_verdict dmarc;
	bool dmarc_begun, dmarc_hurried, dmarc_done;
	bool believed;    /* a good ARC seal of checks.arc_sealers stands instead of DMARC */
	char author[256]; /* domain of From; "" when there is no single one, and fault says why */
	char fault[160];
	bool junk;
};

struct smtp_checks {
	struct smtp_session *session;
	uint64_t deadline; /* monotonic ms: of what is pending; 0: nothing is */
	uint64_t greet_at; /* monotonic ms: the doubtful are greeted late */
	bool early; /* it spoke before the greeting */
	struct iprev_check *iprev_running;
	struct iprev_verdict iprev;
	bool iprev_begun, iprev_done;
	struct smtp_list_check *lists;
	size_t list_count, lists_running;
	/* EHLO */
	uint32_t helo_query[2]; /* A, AAAA */
	bool helo_trouble;      /* one of them had no answer */
	enum smtp_helo_state helo;
	/* the transaction */
	struct spf_check *spf_running;
	struct spf_verdict *spf; /* NULL: not done */
	bool greylisted;         /* by the rule mark: it would have been */
	struct smtp_content_checks *content;
	/* smtp_check_rcpt and smtp_check_content answer with it */
	struct smtp_refusal refusal;
	char refusal_text[480]; /* a reply line has 512 (RFC 5321 4.5.3.1.5) */
};

/* check.c */
void smtp_check_wait(struct smtp_checks *); /* something has begun: it has checks.dns_wait from now on */
/* Something is done: the session goes on if it waited and no more is pending. */
void smtp_check_done(struct smtp_checks *);
/* A check that ended by itself is NULL; what is still running is cancelled, and counts as DNS trouble. */
void smtp_check_peer_cancel(struct smtp_checks *);
void smtp_check_sender_cancel(struct smtp_checks *, bool timeout);
void smtp_check_content_cancel(struct smtp_checks *);
void smtp_check_content_expire(struct smtp_checks *); /* the same, but what is known counts; DMARC may have more time */
void smtp_check_content_continue(struct smtp_checks *); /* all that was begun has ended, or had its time */
bool smtp_check_peer_pending(const struct smtp_checks *);
bool smtp_check_sender_pending(const struct smtp_checks *);
bool smtp_check_content_pending(const struct smtp_checks *);

/* check_peer.c */
const struct smtp_list_check *smtp_check_listed(
    const struct smtp_checks *, bool refuse); /* by a list with this action */
bool smtp_check_allowed(const struct smtp_checks *);
bool smtp_name_dynamic(const char *name, const struct sockaddr *); /* looks like that of a dial-in address */
/* Why the peer is doubtful, words with ',' between; "" when it is not. */
void smtp_check_doubts(const struct smtp_checks *, struct buf *out);

/* check_report.c */
void smtp_check_authres(const struct smtp_checks *, struct authres *); /* points into the checks and the session */
const char *smtp_helo_word(enum smtp_helo_state);
enum smtp_check_result { SMTP_CHECK_TAKEN, SMTP_CHECK_JUNK, SMTP_CHECK_REFUSED, SMTP_CHECK_GREYLISTED };
/* Counts it, and logs event=checked with all that is known now; to may be NULL. */
void smtp_check_log(const struct smtp_checks *, enum smtp_check_result, const char *reason, const char *to);

#endif
