/*
 * The message is whole: checks its header, has what came from outside checked (check.h) and seals what of it is sent on,
 * completes and signs what was submitted, and asks store for all deliveries in one request.  250 is said only once store
 * answered that everything is durable; until then the client owns the message.
 */
#include "mailsvc/smtp/smtp.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/smtp/check.h"

static const struct smtp_refusal header_big = { 552, "5.3.4", "Header is larger than this host takes" };
static const struct smtp_refusal loop = { 554, "5.4.6", "Too many Received fields: a mail loop" };
static const struct smtp_refusal disk_full = { 452, "4.3.1", "No room for mail now, try again later" };
static const struct smtp_refusal over_quota = { 452, "4.2.2", "A mailbox is full" };
static const struct smtp_refusal over_quota_ever = { 552, "5.2.2", "The mailbox is full" };
static const struct smtp_refusal unsigned_now = { 451, "4.3.0", "Cannot sign mail now, try again later" };
static const struct smtp_refusal temporary = { 451, "4.3.0", "Cannot store mail now, try again later" };

static enum smtp_step transaction_refused(struct smtp_session *s, const struct smtp_refusal *why)
{
	enum smtp_step step = smtp_refuse(s, why, view_of(s->tx.sender));

	smtp_tx_reset(s);
	smtp_enter(s, SMTP_READY);
	return step;
}

static const struct smtp_refusal *header_refusal(struct view content)
{
	struct view header = { content.ptr, mime_header_len(content) };
	struct mime_header field;
	size_t pos = 0;
	unsigned hops = 0;

	if (header.len > SMTP_HEADER_MAX)
		return &header_big;
	while (mime_header_next(header, &pos, &field))
		hops += view_caseeq(field.name, "Received");
	return hops > SMTP_HOPS_MAX ? &loop : NULL;
}

/* Among several recipients nobody knows whose mailbox is full: the client is to come again one by one (full.c). */
static const struct smtp_refusal *full_refusal(const struct smtp_session *s)
{
	const char *policy = s->site->limits.over_quota;

	return s->tx.recipient_count == 1 && policy != NULL && strcmp(policy, "refuse") == 0 ? &over_quota_ever : &over_quota;
}

static const struct smtp_refusal *store_refusal(const struct smtp_session *s, enum store_status status)
{
	switch (status) {
	case STORE_OK:
		return NULL;
	case STORE_FULL:
		return &disk_full;
	case STORE_OVER_QUOTA:
		return full_refusal(s);
	default:
		return &temporary;
	}
}

/* One line for the message, and one for each recipient behind the first. */
static void log_accepted(const struct smtp_session *s, uint64_t queue_id)
{
	const struct smtp_tx *tx = &s->tx;
	struct view content = smtp_tx_content_view(s);
	struct buf line = BUF_INIT(8192), message_id = BUF_INIT(SMTP_HEADER_MAX);
	char peer[64];

	smtp_peer_name(s, peer);
	buf_printf(&line, "id=%s event=accepted peer=", tx->id);
	text_escape(&line, view_of(peer), sizeof(peer));
	buf_puts(&line, " from=");
	text_escape(&line, view_of(tx->sender[0] != '\0' ? tx->sender : "<>"), ADDRESS_MAX);
	buf_printf(&line, " to=%zu first=", tx->recipient_count);
	text_escape(&line, view_of(tx->recipients[0].address), ADDRESS_MAX);
	buf_printf(&line, " size=%llu tls=%s auth=%s queued=%016llx entries=%zu", (unsigned long long)tx->size,
	    conn_is_tls(s->conn) ? SSL_get_version(conn_ssl(s->conn)) : "no",
	    s->account != NULL ? s->account->address : "no", (unsigned long long)queue_id, tx->queue_entries);
	buf_puts(&line, " message-id=");
	mime_unfold(
	    mime_header_find((struct view){ content.ptr, mime_header_len(content) }, "Message-ID"), &message_id);
	text_escape(&line, buf_view(&message_id), 300);
	log_info("%s", buf_str(&line));
	for (size_t i = 1; i < tx->recipient_count; i++) {
		buf_reset(&line);
		text_escape(&line, view_of(tx->recipients[i].address), ADDRESS_MAX);
		log_info("id=%s event=accepted-for to=%s", tx->id, buf_str(&line));
	}
	buf_free(&message_id);
	buf_free(&line);
}

static void on_stored(void *arg, const struct store_result *result)
{
	struct smtp_session *s = arg;
	const struct smtp_refusal *why = store_refusal(s, result->status);
	enum smtp_step step;

	s->request = 0;
	if (result->status == STORE_OK || result->status == STORE_OVER_QUOTA)
		smtp_full_learn(s, result->status == STORE_OVER_QUOTA);
	if (why != NULL) {
		step = transaction_refused(s, why);
	} else {
		log_accepted(s, result->queue_id);
		if (!smtp_check_forged(s))
			smtp_auto_reply(s);
		smtp_report(s); /* asks for proof of its own */
		s->accepted++;
		s->server->accepted++;
		step = smtp_reply(s, 250, "2.0.0", "Ok queued as %s", s->tx.id);
		smtp_tx_reset(s);
		smtp_enter(s, SMTP_READY);
	}
	smtp_session_continue(s, step);
}

/* Does the next host need SMTPUTF8?  Asking for it and then not using it must not make mail undeliverable. */
static bool needs_utf8(const struct smtp_tx *tx, struct view content)
{
	size_t n = mime_header_len(content);

	if (!tx->smtputf8)
		return false;
	if (tx->utf8_address)
		return true;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)content.ptr[i] > 127)
			return true;
	return false;
}

/* Does it say of itself that it goes to many (RFC 2919, RFC 3834's Precedence)? */
static bool is_bulk(struct view content)
{
	struct view header = { content.ptr, mime_header_len(content) }, precedence = mime_header_find(header, "Precedence");

	while (precedence.len > 0 && (unsigned char)precedence.ptr[0] <= ' ')
		precedence = (struct view){ precedence.ptr + 1, precedence.len - 1 };
	while (precedence.len > 0 && (unsigned char)precedence.ptr[precedence.len - 1] <= ' ')
		precedence.len--;
	return view_caseeq(precedence, "bulk") || view_caseeq(precedence, "list") || view_caseeq(precedence, "junk") ||
	       mime_header_find(header, "List-Id").ptr != NULL;
}

static enum smtp_step store_message(struct smtp_session *s)
{
	struct smtp_tx *tx = &s->tx;
	struct buf record = BUF_INIT(2 * MIME_RECORD_MAX);
	const struct route **routes = xcalloc(tx->recipient_count, sizeof(struct route *));
	const char **addresses = xcalloc(tx->recipient_count, sizeof(char *));
	struct queue_dsn *dsn = xcalloc(tx->recipient_count, sizeof(*dsn));
	char forwarder[ADDRESS_MAX];
	struct smtp_plan plan;

	for (size_t i = 0; i < tx->recipient_count; i++) {
		const struct smtp_recipient *r = &tx->recipients[i];

		routes[i] = &r->route;
		addresses[i] = r->address;
		dsn[i] = (struct queue_dsn){ r->notify, r->orcpt };
	}
	smtp_plan_make(&plan, &(struct smtp_envelope){
				  .sender = tx->sender,
				  .routes = routes,
				  .route_count = tx->recipient_count,
				  .addresses = addresses,
				  .dsn = dsn,
				  .envid = tx->envid,
				  .ret = tx->ret,
				  .bulk = is_bulk(smtp_tx_content_view(s)),
				  .smtputf8 = needs_utf8(tx, smtp_tx_content_view(s)),
				  .eight_bit = tx->reader.eight_bit,
				  .mailbox = smtp_check_junk(s) ? "Junk" : NULL,
				  .local_only = smtp_check_junk(s),
				  .forwarder = smtp_forward_sender(s, forwarder),
			      });
	tx->queue_entries = plan.remote_count;
	if (plan.local_count > 0) /* what only waits to be sent has no use for it */
		mime_parse(buf_view(&tx->message), &record);
	smtp_enter(s, SMTP_STORING);
	s->request = store_deliver(s->server->store,
	    &(struct store_delivery){
		.body = { buf_view(&tx->message), buf_view(&record) },
		.local = plan.local,
		.local_count = plan.local_count,
		.remote = plan.remote,
		.remote_count = plan.remote_count,
		.internal_date = clock_wall(),
	    },
	    on_stored, s);
	smtp_plan_free(&plan);
	free(routes);
	free(addresses);
	free(dsn);
	buf_free(&record);
	return SMTP_WAIT;
}

/* A client asks again; what cron hands over by the local socket would be lost, so that goes as it is. */
static void on_signed(void *arg, enum dkim_status status, struct view field)
{
	struct smtp_session *s = arg;
	const struct smtp_refusal *why = NULL;

	s->request = 0;
	if (status == DKIM_SIGNED)
		smtp_tx_splice(s, s->tx.received_len, 0, field);
	else if (status == DKIM_AWAY && !s->local)
		why = &unsigned_now;
	else
		log_warnx("id=%s event=unsigned reason=\"%s\"", s->tx.id,
		    status == DKIM_AWAY ? "keys is away" : "no DKIM key");
	if (why == NULL && s->tx.message.full)
		why = &header_big;
	smtp_session_continue(s, why != NULL ? transaction_refused(s, why) : store_message(s));
}

/* ARC ------------------------------------------------------------------------------------------------------------ */

/* The domain of ours in whose name the message is sent on: of the first recipient that leads elsewhere; NULL: none does. */
static const struct site_domain *forwarder(const struct smtp_session *s)
{
	for (size_t i = 0; i < s->tx.recipient_count; i++) {
		const struct smtp_recipient *r = &s->tx.recipients[i];
		const char *at = strrchr(r->address, '@');
		char domain[ADDRESS_MAX];

		for (size_t j = 0; j < r->route.count; j++)
			if (r->route.targets[j].account == NULL)
				return at != NULL && domain_normalise(view_of(at + 1), domain, sizeof(domain)) == 0
					   ? dkim_domain(s->site, domain)
					   : NULL;
	}
	return NULL;
}

/* Without a seal it is sent on all the same: the next host decides by what it sees. */
static void on_sealed(void *arg, enum dkim_status status, struct view fields)
{
	struct smtp_session *s = arg;

	s->request = 0;
	if (status == DKIM_SIGNED) {
		smtp_tx_splice(s, 0, 0, fields);
		s->tx.received_len += s->tx.message.full ? 0 : fields.len;
	} else {
		log_info("id=%s event=unsealed reason=\"%s\"", s->tx.id,
		    status == DKIM_AWAY ? "keys is away" : "no DKIM key, or the chain is closed");
	}
	smtp_session_continue(s, s->tx.message.full ? transaction_refused(s, &header_big) : store_message(s));
}

/* What is sent on, forwarded or to a list, gets a seal that says what it was like when it came. */
static enum smtp_step seal(struct smtp_session *s)
{
	const struct site_domain *domain = forwarder(s);

	if (domain == NULL)
		return store_message(s);
	smtp_enter(s, SMTP_SIGNING);
	s->request = smtp_check_seal(s, domain, on_sealed, s);
	if (s->request != 0)
		return SMTP_WAIT;
	return store_message(s);
}

enum smtp_step smtp_checked(struct smtp_session *s, const struct smtp_refusal *why)
{
	if (why != NULL)
		return transaction_refused(s, why);
	smtp_check_fields(s);
	return s->tx.message.full ? transaction_refused(s, &header_big) : seal(s);
}

/* Mail from outside.  Who is not checked is taken as it is, but for what claims to be ours. */
static enum smtp_step receive(struct smtp_session *s)
{
	enum smtp_step step = smtp_check_content(s);

	return step == SMTP_WAIT ? step : smtp_checked(s, NULL);
}

enum smtp_step smtp_deliver(struct smtp_session *s)
{
	const struct smtp_refusal *why = header_refusal(smtp_tx_content_view(s));
	const struct site_domain *signer;

	if (why == NULL && (s->account != NULL || s->local))
		why = smtp_submit_fix(s);
	if (why != NULL)
		return transaction_refused(s, why);
	if (s->account == NULL && !s->local)
		return receive(s);
	smtp_check_fields(s);
	signer = smtp_submit_signer(s->site, s->account, smtp_tx_content_view(s));
	if (signer == NULL) {
		log_info("id=%s event=unsigned reason=\"From is in no domain that may sign for it\"", s->tx.id);
		return store_message(s);
	}
	smtp_enter(s, SMTP_SIGNING);
	s->request = dkim_sign(s->server->keys, signer, smtp_tx_content_view(s), on_signed, s);
	return SMTP_WAIT;
}
