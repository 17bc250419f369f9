/*
 * Content: pulls what has arrived through the data reader into the transaction.  A message that cannot be taken is
 * still read to its true end, or the bytes behind would be taken for commands.
 */
#include "mailsvc/smtp/smtp.h"

#include <event2/buffer.h>

static const struct smtp_refusal bare_cr = { 550, "5.6.0", "Message has a CR that no LF follows; see RFC 5321 2.3.8" };
static const struct smtp_refusal bare_lf = { 550, "5.6.0", "Message has an LF that follows no CR; see RFC 5321 2.3.8" };
static const struct smtp_refusal nul_byte = { 554, "5.6.0", "Message has a NUL byte; see RFC 5321 2.3.8" };
static const struct smtp_refusal too_big = { 552, "5.3.4", "Message is larger than this host takes" };
static const struct smtp_refusal no_memory = { 452, "4.3.1", "Too much mail at once; try again later" };

void smtp_receive_begin(struct smtp_session *s, bool dots)
{
	struct smtp_tx *tx = &s->tx;

	tx->begun = true;
	smtp_data_init(&tx->reader, dots);
	tx->message = BUF_INIT(s->site->limits.message_size + SMTP_HEADER_MAX + SMTP_FIXED_HEADERS);
	smtp_trace_received(s, &tx->message);
	tx->received_len = tx->message.len;
}

/* What is wrong with the content as such, or NULL. */
static const struct smtp_refusal *content_fault(const struct smtp_tx *tx)
{
	switch (tx->reader.fault) {
	case SMTP_DATA_BARE_CR:
		return &bare_cr;
	case SMTP_DATA_BARE_LF:
		return &bare_lf;
	case SMTP_DATA_NUL:
		return &nul_byte;
	case SMTP_DATA_CLEAN:
		break;
	}
	if (tx->too_big)
		return &too_big;
	return tx->no_memory ? &no_memory : NULL;
}

static enum smtp_step refuse_content(struct smtp_session *s, const struct smtp_refusal *why)
{
	enum smtp_step step = smtp_refuse(s, why, view_of(s->tx.sender));

	smtp_tx_reset(s);
	smtp_enter(s, smtp_idle_state(s));
	return step;
}

/* The content is complete. */
static enum smtp_step content_end(struct smtp_session *s)
{
	const struct smtp_refusal *why = content_fault(&s->tx);

	return why != NULL ? refuse_content(s, why) : smtp_deliver(s);
}

/* What is too big is read to its end, so that the client hears why; but not for ever. */
static bool endless(const struct smtp_session *s)
{
	return s->tx.size / SMTP_ENDLESS > s->site->limits.message_size;
}

/* The first contiguous stretch of input: no copy. */
static struct view input_front(struct evbuffer *in)
{
	size_t n = evbuffer_get_contiguous_space(in);

	return (struct view){ n == 0 ? NULL : (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n };
}

enum smtp_step smtp_receive_data(struct smtp_session *s)
{
	struct evbuffer *in = conn_input(s->conn);
	struct view front, left, piece;

	while ((front = input_front(in)).len > 0) {
		enum smtp_data_status status;

		left = front;
		while ((status = smtp_data_read(&s->tx.reader, &left, &piece)) == SMTP_DATA_PIECE)
			smtp_tx_content(s, piece);
		evbuffer_drain(in, front.len - left.len);
		if (status == SMTP_DATA_END)
			return content_end(s);
		if (endless(s)) {
			smtp_refuse(s, &too_big, view_of(s->tx.sender));
			return SMTP_CLOSE;
		}
	}
	return SMTP_MORE;
}

/* All octets of a chunk are in: an answer for it, and after the last one for the message. */
static enum smtp_step chunk_end(struct smtp_session *s)
{
	struct smtp_tx *tx = &s->tx;
	uint64_t size = tx->size;

	if (tx->chunk_refused != NULL)
		return refuse_content(s, tx->chunk_refused);
	if (tx->chunk_last) {
		if (!smtp_data_finish(&tx->reader) && tx->reader.fault == SMTP_DATA_CLEAN)
			smtp_tx_content(s, VIEW_LIT("\r\n"));
		return content_end(s);
	}
	if (content_fault(tx) != NULL)
		return refuse_content(s, content_fault(tx));
	smtp_enter(s, SMTP_BDAT);
	return smtp_reply(s, 250, "2.0.0", "%llu octets so far", (unsigned long long)size);
}

enum smtp_step smtp_receive_chunk(struct smtp_session *s)
{
	struct evbuffer *in = conn_input(s->conn);
	struct smtp_tx *tx = &s->tx;
	struct view front, piece;

	while (tx->chunk_left > 0 && (front = input_front(in)).len > 0) {
		size_t n = front.len < tx->chunk_left ? front.len : (size_t)tx->chunk_left;
		struct view left = { front.ptr, n };

		if (tx->chunk_refused != NULL)
			s->rate_bytes += n;
		else
			while (smtp_data_read(&tx->reader, &left, &piece) == SMTP_DATA_PIECE)
				smtp_tx_content(s, piece);
		evbuffer_drain(in, n);
		tx->chunk_left -= n;
	}
	return tx->chunk_left == 0 ? chunk_end(s) : SMTP_MORE;
}
