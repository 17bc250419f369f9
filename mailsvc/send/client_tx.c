/*
 * One mail transaction: MAIL, RCPT and DATA (pipelined where offered, RFC 2920), the message in slices as the socket
 * takes them, and the answer.  A host that refused every recipient and still says 354 gets an empty message for nobody.
 * Where CHUNKING is offered (RFC 3030) the message goes as one BDAT: no word to wait for before it, no dots to stuff.
 * What the sender asked of notifications (RFC 3461) is passed on where the host knows it.
 *
 * What a host cannot take is not offered to it: a recipient who is not ASCII, where it has no SMTPUTF8 (RFC 6531), fails
 * alone; the sender, the message's header and its size concern all.
 *
 * LMTP (RFC 2033) answers the message once for each recipient that was accepted, in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_internal.h"
#include "mailsvc/mime/mime.h"

#define SLICE 65536
#define UNSAFE "5.1.3 an address holds control characters"

/* Of a word that cannot be a yes: what is not a refusal for good is one for now. */
static enum queue_outcome refusal_of(int code)
{
	return code / 100 == 5 ? QUEUE_FAILED : QUEUE_RETRY;
}

static enum queue_outcome outcome_of(int code)
{
	return code / 100 == 2 ? QUEUE_DELIVERED : refusal_of(code);
}

static void settle(struct smtp_client *c, size_t i, enum queue_outcome outcome, const char *reply)
{
	if (c->results[i] == RESULT_SETTLED)
		return;
	c->results[i] = RESULT_SETTLED;
	c->ops->result(c->arg, i, outcome, reply);
}

static void settle_all(struct smtp_client *c, enum queue_outcome outcome, const char *reply)
{
	for (size_t i = 0; i < c->tx.count; i++)
		settle(c, i, outcome, reply);
}

static void finish(struct smtp_client *c)
{
	if (client_out_of_step(c))
		return;
	client_enter(c, CLIENT_READY);
	c->ops->done(c->arg);
}

static void reset(struct smtp_client *c)
{
	conn_printf(c->conn, "RSET\r\n");
	client_enter(c, CLIENT_RSET);
}

/* Nothing of an address may end the command line: store checked it when it came, and a mistake there must stay one
 * there. */
static bool address_safe(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static bool ascii(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s >= 0x80)
			return false;
	}
	return true;
}

static void say_mail(struct smtp_client *c)
{
	static const char *const ret[] = {
		[DSN_RET_UNSAID] = "", [DSN_RET_FULL] = " RET=FULL", [DSN_RET_HDRS] = " RET=HDRS"
	};
	const struct ehlo *e = &c->ehlo;
	char size[32] = "";

	if (e->size)
		snprintf(size, sizeof(size), " SIZE=%zu", c->tx.message.len);
	conn_printf(c->conn, "MAIL FROM:<%s>%s%s%s", c->tx.sender, size,
	    c->tx.eight_bit && e->eight_bit ? " BODY=8BITMIME" : "", c->tx.smtputf8 ? " SMTPUTF8" : "");
	if (e->dsn)
		conn_printf(c->conn, "%s", ret[c->tx.ret]);
	if (e->dsn && c->tx.envid != NULL && c->tx.envid[0] != '\0')
		conn_printf(c->conn, " ENVID=%s", c->tx.envid);
	conn_printf(c->conn, "\r\n");
}

static void say_notify(struct smtp_client *c, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = { { DSN_NEVER, "NEVER" }, { DSN_SUCCESS, "SUCCESS" }, { DSN_FAILURE, "FAILURE" },
		{ DSN_DELAY, "DELAY" } };
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!(notify & words[i].bit))
			continue;
		conn_printf(c->conn, "%s%s", before, words[i].word);
		before = ",";
	}
}

static void say_rcpt(struct smtp_client *c, size_t i)
{
	const struct queue_dsn *d = c->ehlo.dsn && c->tx.dsn != NULL ? &c->tx.dsn[i] : NULL;

	conn_printf(c->conn, "RCPT TO:<%s>", c->tx.recipients[i]);
	if (d != NULL)
		say_notify(c, d->notify);
	if (d != NULL && d->orcpt != NULL && d->orcpt[0] != '\0' && (c->tx.smtputf8 || ascii(d->orcpt)))
		conn_printf(c->conn, " ORCPT=%s", d->orcpt);
	conn_printf(c->conn, "\r\n");
}

static void say_next(struct smtp_client *c)
{
	do {
		if (c->sent == 0)
			say_mail(c);
		else
			say_rcpt(c, c->asked[c->sent - 1]);
		c->sent++;
	} while (c->ehlo.pipelining && c->sent <= c->asked_count);
	c->data_said = c->ehlo.pipelining && !c->chunked && !c->tx.probe;
	if (c->data_said)
		conn_printf(c->conn, "DATA\r\n");
}

static bool header_ascii(struct view message)
{
	size_t n = mime_header_len(message);

	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)message.ptr[i] >= 0x80)
			return false;
	}
	return true;
}

/* Why none of it can go to this host, or NULL. */
static const char *objection_to_all(const struct smtp_client *c)
{
	const struct smtp_tx *tx = &c->tx;

	if (!address_safe(tx->sender) || (tx->envid != NULL && !address_safe(tx->envid)))
		return UNSAFE;
	if (!c->ehlo.smtputf8 && !ascii(tx->sender))
		return "5.6.7 the host cannot take this internationalised sender (no SMTPUTF8)";
	if (!c->ehlo.smtputf8 && tx->smtputf8 && !header_ascii(tx->message))
		return "5.6.9 the host cannot take an internationalised header (no SMTPUTF8)";
	if (c->ehlo.size_max > 0 && tx->message.len > c->ehlo.size_max)
		return "5.3.4 the message is larger than the host takes";
	return NULL;
}

/* Why it cannot go to this recipient, or NULL. */
static const char *objection_to(const struct smtp_client *c, size_t i)
{
	const char *orcpt = c->tx.dsn != NULL ? c->tx.dsn[i].orcpt : NULL;

	if (!address_safe(c->tx.recipients[i]) || (orcpt != NULL && !address_safe(orcpt)))
		return UNSAFE;
	if (!c->ehlo.smtputf8 && !ascii(c->tx.recipients[i]))
		return "5.6.7 the host cannot take internationalised addresses (no SMTPUTF8)";
	return NULL;
}

static void settle_not_asked(struct smtp_client *c)
{
	for (size_t i = 0; c->asked_count < c->tx.count && i < c->tx.count; i++) {
		const char *objection = objection_to(c, i);
		if (objection != NULL)
			settle(c, i, QUEUE_FAILED, objection);
	}
}

static uint64_t transaction_s(const struct smtp_client *c)
{
	return client_limits.transaction_s + (uint64_t)(c->asked_count - 1) * client_limits.recipient_s +
	       c->tx.message.len / client_limits.bytes_per_s;
}

void smtp_client_send(struct smtp_client *c, const struct smtp_tx *tx)
{
	c->tx = *tx;
	free(c->results);
	c->results = xcalloc(tx->count + 1, sizeof(*c->results));
	c->asked = xreallocarray(c->asked, tx->count + 1, sizeof(*c->asked));
	c->sent = c->answered = c->accepted = c->asked_count = 0;
	c->mail_code = 0;
	const char *objection = objection_to_all(c);
	snprintf(c->mail_reply, sizeof(c->mail_reply), "%s", objection != NULL ? objection : "");
	c->tx.smtputf8 |= !ascii(tx->sender);
	for (size_t i = 0; i < tx->count; i++) {
		c->tx.smtputf8 |= !ascii(tx->recipients[i]);
		if (objection == NULL && objection_to(c, i) == NULL)
			c->asked[c->asked_count++] = i;
	}
	c->tx.smtputf8 &= c->ehlo.smtputf8;
	c->chunked = c->ehlo.chunking && !c->no_chunking && tx->message.len > 0;
	if (c->asked_count == 0) {
		client_enter(c, CLIENT_REFUSED);
		return;
	}
	client_limit(c, transaction_s(c));
	client_enter(c, CLIENT_ENVELOPE);
	say_next(c);
}

void client_refuse_all(struct smtp_client *c)
{
	settle_not_asked(c);
	settle_all(c, QUEUE_FAILED, c->mail_reply);
	finish(c);
}

static void begin_body(struct smtp_client *c)
{
	c->left = c->tx.message;
	c->fed = false;
	dotstuff_init(&c->dots, c->tx.message);
	conn_set_low_water(c->conn, SLICE);
	c->slice.max = 4 * SLICE;
	client_enter(c, CLIENT_BODY);
	client_feed(c);
}

static void envelope_end(struct smtp_client *c)
{
	if (c->data_said) {
		client_enter(c, CLIENT_DATA);
		return;
	}
	if (client_out_of_step(c))
		return;
	if (c->tx.probe)
		settle_all(c, QUEUE_DELIVERED, "it would be taken");
	if (c->accepted == 0 || c->tx.probe) {
		reset(c);
		return;
	}
	if (c->chunked) {
		conn_printf(c->conn, "BDAT %zu LAST\r\n", c->tx.message.len);
		begin_body(c);
		return;
	}
	conn_printf(c->conn, "DATA\r\n");
	client_enter(c, CLIENT_DATA);
}

void client_on_envelope(struct smtp_client *c)
{
	char text[REPLY_TEXT_MAX + 1];
	size_t i = c->answered++;

	if (c->reply.code / 100 == 3) { /* it waits for the message: words are missing before */
		client_fail_step(c);
		return;
	}
	reply_text(&c->reply, text);
	if (i == 0)
		settle_not_asked(c);
	if (i == 0 && c->reply.code / 100 != 2) {
		c->mail_code = c->reply.code;
		memcpy(c->mail_reply, text, sizeof(text));
		for (size_t r = 0; r < c->tx.count; r++)
			settle(c, r, refusal_of(c->mail_code), c->mail_reply);
	} else if (i > 0 && c->mail_code == 0) {
		if (c->reply.code / 100 == 2) {
			c->results[c->asked[i - 1]] = RESULT_ACCEPTED;
			c->accepted++;
		} else {
			settle(c, c->asked[i - 1], outcome_of(c->reply.code), text);
		}
	}
	if (c->answered == c->asked_count + 1 || (c->mail_code != 0 && c->answered == c->sent)) {
		envelope_end(c);
		return;
	}
	client_enter(c, CLIENT_ENVELOPE); /* the time begins again */
	if (c->sent == c->answered)
		say_next(c);
}

void client_on_data(struct smtp_client *c)
{
	char text[REPLY_TEXT_MAX + 1];

	if (c->reply.code == 354) {
		if (client_out_of_step(c)) /* it may have said already that it has the message */
			return;
		if (c->accepted > 0) {
			begin_body(c);
			return;
		}
		if (c->mail_code != 0) { /* after a MAIL that it refused it may well have recipients */
			client_fail_step(c);
			return;
		}
		conn_printf(c->conn, ".\r\n");
		client_enter(c, CLIENT_EMPTY);
		return;
	}
	if (c->reply.code / 100 < 4) { /* one word too many came before: this is not the answer to DATA */
		client_fail_step(c);
		return;
	}
	reply_text(&c->reply, text);
	settle_all(c, refusal_of(c->reply.code), text);
	reset(c);
}

/* Of a message for nobody: whatever it says, the transaction is over. */
void client_on_empty(struct smtp_client *c)
{
	if (c->reply.code == 421)
		client_fail_reply(c, SMTP_FAILURE_CONNECT);
	else if (c->reply.code / 100 == 3) /* its last word is still to come, and would be taken for another's */
		client_fail_step(c);
	else
		finish(c);
}

/* The next slice; false: that was the last one. */
static bool feed_slice(struct smtp_client *c)
{
	if (c->chunked) {
		size_t n = c->left.len < SLICE ? c->left.len : SLICE;
		conn_write(c->conn, c->left.ptr, n);
		c->left = (struct view){ c->left.ptr + n, c->left.len - n };
		return c->left.len > 0;
	}
	buf_reset(&c->slice);
	dotstuff_next(&c->dots, SLICE, &c->slice);
	conn_writev(c->conn, buf_view(&c->slice));
	return !c->dots.finished;
}

/* From now on the host may have the message: its answer has its own time, whatever came before. */
static void body_left(struct smtp_client *c)
{
	client_limit(c, c->lmtp ? FINAL_S + (uint64_t)(c->accepted - 1) * client_limits.lmtp_s : 0);
	client_enter(c, CLIENT_FINAL);
}

void client_feed(struct smtp_client *c)
{
	if (c->state != CLIENT_BODY || c->conn == NULL)
		return;
	if (c->fed) {
		if (conn_output_len(c->conn) == 0)
			body_left(c);
		return;
	}
	while (!c->fed && conn_output_len(c->conn) <= SLICE)
		c->fed = !feed_slice(c);
	if (c->fed) {
		buf_free(&c->slice);
		conn_set_low_water(c->conn, 0);
	}
}

/* A command that it does not know, though it offers it (a proxy may have let that through): no word on the message. */
static bool bdat_unknown(const struct smtp_client *c)
{
	return c->chunked && c->reply.code >= 500 && c->reply.code <= 504;
}

/* The host has seen enough: its refusal counts, and the connection is of no use any more. */
void client_on_early(struct smtp_client *c)
{
	char text[REPLY_TEXT_MAX + 1];

	if (c->fed && conn_output_len(c->conn) == 0) { /* only we have not heard yet that all has left */
		body_left(c);
		client_on_final(c);
		return;
	}
	if (bdat_unknown(c)) {
		client_fail_reply(c, SMTP_FAILURE_CHUNKING);
		return;
	}
	reply_text(&c->reply, text);
	settle_all(c, refusal_of(c->reply.code), text);
	client_fail(c, SMTP_FAILURE_CONNECT, text);
}

/* LMTP: this answer is the first accepted recipient's that has none; true when others still wait for theirs. */
static bool settle_one(struct smtp_client *c, enum queue_outcome outcome, const char *text)
{
	size_t i = 0;

	while (i < c->tx.count && c->results[i] != RESULT_ACCEPTED)
		i++;
	if (i < c->tx.count)
		settle(c, i, outcome, text);
	while (i < c->tx.count && c->results[i] != RESULT_ACCEPTED)
		i++;
	return i < c->tx.count;
}

void client_on_final(struct smtp_client *c)
{
	char text[REPLY_TEXT_MAX + 1];
	int code = c->reply.code;

	if (bdat_unknown(c)) {
		client_fail_reply(c, SMTP_FAILURE_CHUNKING);
		return;
	}
	reply_text(&c->reply, text);
	bool over = code == 421 || code / 100 == 3; /* or what follows is out of step */
	if (c->lmtp && !over) {
		if (settle_one(c, outcome_of(code), text))
			client_enter(c, CLIENT_FINAL);
		else
			finish(c);
		return;
	}
	settle_all(c, outcome_of(code), text);
	if (over)
		client_fail(c, SMTP_FAILURE_CONNECT, text);
	else
		finish(c);
}

void client_on_rset(struct smtp_client *c)
{
	if (c->reply.code / 100 == 2)
		finish(c);
	else
		client_fail_reply(c, SMTP_FAILURE_CONNECT);
}
