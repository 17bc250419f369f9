/*
 * One mail transaction: envelope and content.  smtp_tx_reset is the only way one ends, whatever the reason, so nothing
 * of an earlier one can leak into the next.
 */
#include "mailsvc/smtp/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void charge(struct smtp_session *s, int64_t bytes)
{
	s->tx.charged += (uint64_t)bytes;
	s->server->in_flight += (uint64_t)bytes;
	if (s->counted && bytes != 0)
		*smtp_peers_bytes(s->server->peers, &s->peer.sa) += (uint64_t)bytes;
}

void smtp_tx_begin(struct smtp_session *s, struct view sender, const struct smtp_path *path)
{
	struct smtp_tx *tx = &s->tx;

	smtp_tx_reset(s);
	snprintf(tx->id, sizeof(tx->id), "%s-%u", s->id, ++s->transactions);
	tx->sender = view_dup(sender);
	tx->smtputf8 = path->smtputf8;
	tx->utf8_address = path->address.utf8;
	tx->ret = path->ret;
	tx->envid = path->envid.len > 0 ? view_dup(path->envid) : NULL;
	smtp_enter(s, SMTP_MAIL);
}

void smtp_tx_reset(struct smtp_session *s)
{
	struct smtp_tx *tx = &s->tx;

	for (size_t i = 0; i < tx->recipient_count; i++) {
		free(tx->recipients[i].address);
		free(tx->recipients[i].orcpt);
		route_free(&tx->recipients[i].route);
	}
	free(tx->recipients);
	free(tx->envid);
	buf_free(&tx->message);
	smtp_ask_free(s);
	smtp_check_tx_reset(s);
	if (tx->sender != NULL)
		smtp_sender_forget(s);
	charge(s, -(int64_t)tx->charged);
	free(tx->sender);
	*tx = (struct smtp_tx){ 0 };
}

void smtp_tx_add_recipient(
    struct smtp_session *s, struct view address, const struct smtp_path *path, struct route *route)
{
	struct smtp_tx *tx = &s->tx;

	/* Grows in powers of two: at 0, 1, 2, 4, 8 ... recipients. */
	if ((tx->recipient_count & (tx->recipient_count - 1)) == 0) {
		size_t n = tx->recipient_count == 0 ? 1 : tx->recipient_count * 2;

		tx->recipients = xreallocarray(tx->recipients, n, sizeof(*tx->recipients));
	}
	tx->recipients[tx->recipient_count++] = (struct smtp_recipient){
		.address = view_dup(address),
		.route = *route,
		.notify = path->notify,
		.orcpt = path->orcpt.len > 0 ? view_dup(path->orcpt) : NULL,
	};
	tx->target_count += route->count;
	tx->utf8_address |= path->address.utf8;
	*route = (struct route){ 0 };
	smtp_enter(s, SMTP_RCPT);
}

/*
 * Is there memory for so much more?  No stranger may hold more than a quarter, or a few slow connections would keep
 * everybody's mail out.  One message always fits, however many processes share.
 */
static bool fits(const struct smtp_session *s, size_t more)
{
	uint64_t share = smtp_share(s->server, SMTP_IN_FLIGHT_MAX), one = s->site->limits.message_size;

	if (s->server->in_flight + more > (share > one ? share : one))
		return false;
	return !s->counted || s->account != NULL ||
	       *smtp_peers_bytes(s->server->peers, &s->peer.sa) + more <= (share / 4 > one ? share / 4 : one);
}

/* Keeps a piece of content, or only counts it when the message cannot be taken any more. */
void smtp_tx_content(struct smtp_session *s, struct view piece)
{
	struct smtp_tx *tx = &s->tx;

	tx->size += piece.len;
	s->rate_bytes += piece.len;
	if (tx->size > s->site->limits.message_size)
		tx->too_big = true;
	else if (!fits(s, piece.len))
		tx->no_memory = true;
	if (tx->too_big || tx->no_memory) {
		buf_free(&tx->message);
		charge(s, -(int64_t)tx->charged);
		return;
	}
	buf_addv(&tx->message, piece);
	charge(s, (int64_t)piece.len);
}

void smtp_tx_splice(struct smtp_session *s, size_t at, size_t remove, struct view insert)
{
	struct buf *b = &s->tx.message;
	size_t behind = b->len - at - remove;

	if (insert.len > remove && buf_reserve(b, insert.len - remove) == NULL)
		return; /* b->full is set: the caller sees it at the end */
	memmove(b->data + at + insert.len, b->data + at + remove, behind);
	memcpy(b->data + at, insert.ptr, insert.len);
	b->len = at + insert.len + behind;
}

struct view smtp_tx_content_view(const struct smtp_session *s)
{
	const struct smtp_tx *tx = &s->tx;

	return (struct view){ tx->message.data + tx->received_len, tx->message.len - tx->received_len };
}
