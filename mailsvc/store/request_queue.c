/* Requests about the outgoing queue: what became of an attempt, and what the administrator wants. */
#include <string.h>

#include "engine.h"

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void put_outcomes(const struct proto_request *p, const struct queue_entry *q, struct buf *out)
{
	for (size_t i = 0; i < p->outcome_count; i++)
		for (uint32_t j = 0; j < q->fixed.recipients; j++) {
			const struct proto_outcome *o = &p->outcomes[i];
			if (q->recipients[j].state != RECIPIENT_WAITING || !same(q->recipients[j].address, o->address))
				continue;
			buf_put_u32(out, j);
			buf_put_u8(out, o->outcome == QUEUE_DELIVERED ? RECIPIENT_DELIVERED
					: o->outcome == QUEUE_FAILED  ? RECIPIENT_FAILED
								      : RECIPIENT_WAITING);
			buf_put_blob(out, o->reply);
		}
}

enum store_status run_queue_result(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	struct record r = { .type = RECORD_QUEUE_RESULT, .queue = p->queue, .due = p->date };
	struct buf outcomes = BUF_INIT(1u << 20);
	struct queue_entry q;
	enum store_status status = STORE_OK;

	if (!get_queue(&e->tx, p->queue, &q))
		return STORE_INVALID;
	if (r.due < e->now)
		r.due = e->now;
	if (r.due > e->now + DUE_FAR - 3600)
		r.due = e->now + DUE_FAR - 3600;
	put_outcomes(p, &q, &outcomes);
	r.text = buf_view(&outcomes);
	/* A bounce that has nowhere to go must not keep the entry for ever: it is dropped, with a word in the log. */
	if (p->bounce) {
		req->p.date = e->now;
		status = run_deliver(e, req);
	}
	if (status != STORE_OK)
		log_warnx("event=queue.bounce-dropped id=%016llx status=%d", (unsigned long long)p->queue, (int)status);
	engine_put(e, &r, VIEW_NONE);
	buf_free(&outcomes);
	return STORE_OK;
}

static void put_due(struct engine *e, uint64_t id)
{
	struct record r = { .type = RECORD_QUEUE_DUE, .queue = id, .due = e->now };

	engine_put(e, &r, VIEW_NONE);
}

/* p.queue 0: all that wait for later. */
enum run run_queue_retry(struct engine *e, struct request *req)
{
	uint64_t ids[SLICE_ROWS];
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	struct queue_entry q;
	size_t n = 0;

	req->reply.status = STORE_OK;
	if (req->p.queue) {
		if (get_queue(&e->tx, req->p.queue, &q))
			put_due(e, req->p.queue);
		else
			req->reply.status = STORE_INVALID;
		return RUN_DONE;
	}
	key_add_u64(&first, (uint64_t)e->now + 1);
	for (bool more = tx_seek(&e->tx, T_QUEUE_DUE, &c, &first, 0, &found, &value); more && n < SLICE_ROWS;
	     more = tx_next(&e->tx, c, &first, 0, &found, &value))
		ids[n++] = get_be64(found.ptr + 8);
	if (c)
		mdb_cursor_close(c);
	for (size_t i = 0; i < n; i++)
		put_due(e, ids[i]);
	return n == SLICE_ROWS ? RUN_MORE : RUN_DONE;
}

enum store_status run_queue_drop(struct engine *e, struct request *req)
{
	struct record r = { .type = RECORD_QUEUE_DROP, .queue = req->p.queue };
	struct queue_entry q;

	if (!get_queue(&e->tx, req->p.queue, &q))
		return STORE_INVALID;
	engine_put(e, &r, VIEW_NONE);
	return STORE_OK;
}
