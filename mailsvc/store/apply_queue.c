/* apply() for the outgoing queue. */
#include <string.h>

#include "apply.h"

static void queue_due(struct tx *tx, int64_t due, uint64_t queue, bool on)
{
	struct key k = key_u64((uint64_t)due);

	key_add_u64(&k, queue);
	if (on)
		tx_put(tx, T_QUEUE_DUE, &k, VIEW_LIT(""));
	else
		tx_del(tx, T_QUEUE_DUE, &k);
	tx->queue_changed = true;
}

static void queue_put(struct tx *tx, uint64_t id, const struct queue_entry *q)
{
	struct key k = key_u64(id);
	struct buf b = BUF_INIT(1u << 20);

	buf_add(&b, &q->fixed, sizeof q->fixed);
	buf_put_blob(&b, q->sender);
	buf_put_blob(&b, q->domain);
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		buf_put_blob(&b, q->recipients[i].address);
		buf_put_u8(&b, q->recipients[i].state);
		buf_put_blob(&b, q->recipients[i].reply);
	}
	tx_put(tx, T_QUEUE, &k, buf_view(&b));
	buf_free(&b);
}

bool apply_queue_add(struct tx *tx, const struct record *r)
{
	struct queue_entry q = { .fixed = { .body = r->body, .created = r->when, .due = r->due, .flags = r->flags },
		.sender = r->sender,
		.domain = r->name };
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	struct key k = key_u64(r->queue);
	struct view old;

	if (tx_get(tx, T_QUEUE, &k, &old) || r->due < 0)
		return false;
	while (c.left > 0 && !c.bad && q.fixed.recipients < 100)
		q.recipients[q.fixed.recipients++].address = cursor_blob(&c, ADDRESS_MAX);
	if (!cursor_done(&c) || q.fixed.recipients == 0)
		return false;
	queue_put(tx, r->queue, &q);
	queue_due(tx, r->due, r->queue, true);
	if (tx->meta.next_queue <= r->queue)
		tx->meta.next_queue = r->queue + 1;
	return true;
}

static void queue_remove(struct tx *tx, uint64_t id, const struct queue_value *q)
{
	struct key k = key_u64(id);
	uint64_t body = q->body;

	queue_due(tx, q->due, id, false);
	tx_del(tx, T_QUEUE, &k);
	body_release(tx, body);
}

/* The entry first: its strings point into the database, where any write may move them. */
static void queue_move(struct tx *tx, uint64_t id, struct queue_entry *q, int64_t due)
{
	int64_t old = q->fixed.due;

	q->fixed.due = due;
	queue_put(tx, id, q);
	queue_due(tx, old, id, false);
	queue_due(tx, due, id, true);
}

bool apply_queue_result(struct tx *tx, const struct record *r)
{
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	struct queue_entry q;
	uint32_t waiting = 0;

	if (r->due < 0 || !get_queue(tx, r->queue, &q))
		return false;
	while (c.left > 0 && !c.bad) {
		uint32_t i = cursor_u32(&c);
		uint8_t state = cursor_u8(&c);
		struct view reply = cursor_blob(&c, 4096);
		if (c.bad || i >= q.fixed.recipients)
			return false;
		q.recipients[i].state = state;
		q.recipients[i].reply = reply;
	}
	for (uint32_t i = 0; i < q.fixed.recipients; i++)
		waiting += q.recipients[i].state == RECIPIENT_WAITING;
	if (waiting == 0) {
		queue_remove(tx, r->queue, &q.fixed);
		return true;
	}
	q.fixed.attempts++;
	queue_move(tx, r->queue, &q, r->due);
	return true;
}

bool apply_queue_due(struct tx *tx, const struct record *r)
{
	struct queue_entry q;

	if (r->due < 0 || !get_queue(tx, r->queue, &q))
		return false;
	queue_move(tx, r->queue, &q, r->due);
	return true;
}

bool apply_queue_drop(struct tx *tx, const struct record *r)
{
	struct queue_entry q;

	if (!get_queue(tx, r->queue, &q))
		return false;
	queue_remove(tx, r->queue, &q.fixed);
	return true;
}
