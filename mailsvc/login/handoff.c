/* The message that hands a session to imap: fixed fields, then the rest of the input. */
#include "handoff.h"

int handoff_put(struct buf *out, const struct handoff *h)
{
	buf_put_u8(out, (uint8_t)h->protocol);
	buf_put_u8(out, h->tls);
	buf_add(out, h->ticket, sizeof(h->ticket));
	buf_put_str(out, h->tag);
	buf_put_str(out, h->session);
	buf_put_str(out, h->peer);
	buf_put_blob(out, h->rest);
	return out->full || h->rest.len > HANDOFF_REST_MAX ? -1 : 0;
}

int handoff_get(struct view data, struct handoff *h)
{
	struct cursor c = cursor_of(data.ptr, data.len);
	struct view ticket;
	uint8_t protocol, tls;

	*h = (struct handoff){ 0 };
	protocol = cursor_u8(&c);
	tls = cursor_u8(&c);
	ticket = cursor_bytes(&c, sizeof(h->ticket));
	cursor_str(&c, h->tag, sizeof(h->tag));
	cursor_str(&c, h->session, sizeof(h->session));
	cursor_str(&c, h->peer, sizeof(h->peer));
	h->rest = cursor_blob(&c, HANDOFF_REST_MAX);
	if (!cursor_done(&c) || (protocol != PROTOCOL_IMAP && protocol != PROTOCOL_POP3) || tls > 1)
		return -1;
	h->protocol = protocol;
	h->tls = tls == 1;
	for (size_t i = 0; i < sizeof(h->ticket); i++)
		h->ticket[i] = (uint8_t)ticket.ptr[i];
	return 0;
}
