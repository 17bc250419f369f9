/*
 * apply() for the outgoing queue.  T_QUEUE holds the entries; T_QUEUE_NEXT lists those that are not held by
 * destination, priority and due time; T_QUEUE_OF lists them all by destination and age.
 */
#include <string.h>

#include "apply.h"

/* Where an entry stands in the lists; a copy, since its strings may move with the next write. */
struct place {
	char destination[ADDRESS_MAX];
	size_t len;
	enum queue_priority lane;
	int64_t due;
	uint64_t id;
	bool held;
};

static struct place place_of(uint64_t id, const struct queue_entry *q)
{
	struct place p = { .lane = queue_lane(q), .due = q->fixed.due, .id = id, .held = q->fixed.state & QUEUE_HELD };
	struct view destination = queue_destination(q);

	p.len = destination.len < sizeof p.destination ? destination.len : sizeof p.destination;
	if (p.len)
		memcpy(p.destination, destination.ptr, p.len);
	return p;
}

static void list(struct tx *tx, const struct place *p, bool on)
{
	struct view destination = { p->destination, p->len };
	struct key next = queue_next_key(destination, p->lane, p->due, p->id), of = queue_of_key(destination, p->id);

	if (!on) {
		tx_del(tx, T_QUEUE_NEXT, &next);
		tx_del(tx, T_QUEUE_OF, &of);
		return;
	}
	tx_put(tx, T_QUEUE_OF, &of, VIEW_LIT(""));
	if (p->held)
		return;
	tx_put(tx, T_QUEUE_NEXT, &next, VIEW_LIT(""));
	queue_news_put(&tx->queued, destination, p->lane, p->due, p->id);
}

void queue_list(struct tx *tx, uint64_t id, const struct queue_entry *q)
{
	struct place p = place_of(id, q);

	list(tx, &p, true);
}

static bool anything_asked(const struct queue_entry *q)
{
	bool any = q->envid.len || q->route.len;

	for (uint32_t i = 0; i < q->fixed.recipients; i++)
		any |= q->recipients[i].notify || q->recipients[i].orcpt.len;
	return any;
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
	if (anything_asked(q)) {
		buf_put_blob(&b, q->envid);
		buf_put_blob(&b, q->route);
		for (uint32_t i = 0; i < q->fixed.recipients; i++) {
			buf_put_u8(&b, q->recipients[i].notify);
			buf_put_blob(&b, q->recipients[i].orcpt);
		}
	}
	tx_put(tx, T_QUEUE, &k, buf_view(&b));
	buf_free(&b);
}

/* What RECORD_QUEUE_ENTRY has beside RECORD_QUEUE_ADD. */
static bool asked_get(const struct record *r, struct queue_entry *q)
{
	struct cursor c = cursor_of(r->mime.ptr, r->mime.len);

	if (r->number > QUEUE_LAST || r->mode > DSN_RET_HDRS)
		return false;
	q->fixed.priority = (uint8_t)r->number;
	q->fixed.ret = (uint8_t)r->mode;
	q->envid = cursor_blob(&c, DSN_ENVID_MAX);
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		q->recipients[i].notify = cursor_u8(&c);
		q->recipients[i].orcpt = cursor_blob(&c, DSN_ORCPT_MAX);
	}
	return cursor_done(&c);
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
	if (r->type == RECORD_QUEUE_ENTRY && !asked_get(r, &q))
		return false;
	queue_put(tx, r->queue, &q);
	queue_list(tx, r->queue, &q);
	if (tx->meta.next_queue <= r->queue)
		tx->meta.next_queue = r->queue + 1;
	return true;
}

static void queue_remove(struct tx *tx, uint64_t id, const struct queue_entry *q)
{
	struct place p = place_of(id, q);
	struct key k = key_u64(id);
	uint64_t body = q->fixed.body;

	list(tx, &p, false);
	tx_del(tx, T_QUEUE, &k);
	body_release(tx, body);
}

/* The entry first: its strings point into the database, where any write may move them. */
static void queue_move(struct tx *tx, uint64_t id, const struct place *old, const struct queue_entry *q)
{
	struct place new = place_of(id, q);

	queue_put(tx, id, q);
	list(tx, old, false);
	list(tx, &new, true);
}

bool apply_queue_result(struct tx *tx, const struct record *r)
{
	struct cursor c = cursor_of(r->text.ptr, r->text.len);
	struct queue_entry q;
	struct place old;
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
		queue_remove(tx, r->queue, &q);
		return true;
	}
	old = place_of(r->queue, &q);
	q.fixed.attempts++;
	q.fixed.due = r->due;
	queue_move(tx, r->queue, &old, &q);
	return true;
}

bool apply_queue_due(struct tx *tx, const struct record *r)
{
	struct queue_entry q;
	struct place old;

	if (r->due < 0 || !get_queue(tx, r->queue, &q))
		return false;
	old = place_of(r->queue, &q);
	q.fixed.due = r->due;
	queue_move(tx, r->queue, &old, &q);
	return true;
}

bool apply_queue_state(struct tx *tx, const struct record *r)
{
	struct queue_entry q;
	struct place old;

	if (r->due < 0 || r->flags > (QUEUE_HELD | QUEUE_TOLD) || r->name.len >= ADDRESS_MAX ||
	    !get_queue(tx, r->queue, &q))
		return false;
	old = place_of(r->queue, &q);
	q.fixed.state = (uint8_t)r->flags;
	q.fixed.due = r->due;
	q.route = r->name;
	queue_move(tx, r->queue, &old, &q);
	return true;
}

bool apply_queue_drop(struct tx *tx, const struct record *r)
{
	struct queue_entry q;

	if (!get_queue(tx, r->queue, &q))
		return false;
	queue_remove(tx, r->queue, &q);
	return true;
}
