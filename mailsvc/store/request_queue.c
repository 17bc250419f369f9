/* Requests about the outgoing queue: what became of an attempt, and what the administrator wants. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* How many that still wait it has no outcome for. */
static uint32_t put_outcomes(const struct proto_request *p, const struct queue_entry *q, struct buf *out)
{
	uint32_t silent = 0;

	for (uint32_t j = 0; j < q->fixed.recipients; j++)
		silent += q->recipients[j].state == RECIPIENT_WAITING;
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
			silent -= silent > 0;
		}
	return silent;
}

static struct record state_of(uint64_t id, const struct queue_entry *q)
{
	return (struct record){
		.type = RECORD_QUEUE_STATE, .queue = id, .flags = q->fixed.state, .due = q->fixed.due, .name = q->route
	};
}

/* The sender was told that it takes long; what is left of the entry remembers it. */
static void put_told(struct engine *e, uint64_t id)
{
	struct queue_entry q;
	struct record r;

	if (!get_queue(&e->tx, id, &q) || q.fixed.state & QUEUE_TOLD)
		return;
	r = state_of(id, &q);
	r.flags |= QUEUE_TOLD;
	engine_put(e, &r, VIEW_NONE);
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
	/* The one before us died between commit and answer: send tells it again, but it, and its bounce, are there. */
	if (p->attempt != 0 && p->attempt != q.fixed.attempts + 1)
		return STORE_OK;
	if (r.due < e->now)
		r.due = e->now;
	if (r.due > e->now + DUE_FAR - 3600)
		r.due = e->now + DUE_FAR - 3600;
	if (put_outcomes(p, &q, &outcomes)) /* not all of them fitted what was handed out: the others are next */
		r.due = e->now;
	r.text = buf_view(&outcomes);
	/* A bounce that has nowhere to go must not keep the entry for ever: it is dropped, with a word in the log. */
	if (p->bounce) {
		req->p.date = e->now;
		status = run_deliver(e, req);
	}
	if (status != STORE_OK)
		log_warnx("event=queue.bounce-dropped id=%016llx status=%d", (unsigned long long)p->queue, (int)status);
	engine_put(e, &r, VIEW_NONE);
	if (p->told)
		put_told(e, p->queue);
	buf_free(&outcomes);
	return STORE_OK;
}

static bool caseless(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static bool selected_to(struct view to, const struct queue_entry *q)
{
	if (caseless(to, q->domain) || caseless(to, queue_destination(q)))
		return true;
	for (uint32_t i = 0; i < q->fixed.recipients; i++)
		if (q->recipients[i].state == RECIPIENT_WAITING && caseless(to, q->recipients[i].address))
			return true;
	return false;
}

static bool selected_from(struct view from, const struct queue_entry *q)
{
	if (view_eq(from, "<>"))
		return q->sender.len == 0;
	return caseless(from, q->sender) || (q->sender.len && caseless(from, domain_of_address(q->sender)));
}

bool queue_selected(const struct proto_request *p, const struct queue_entry *q)
{
	return (p->name.len == 0 || selected_to(p->name, q)) && (p->other.len == 0 || selected_from(p->other, q)) &&
	       (p->date == 0 || q->fixed.created < p->date) &&
	       (!(p->flags & SELECT_HELD) || q->fixed.state & QUEUE_HELD);
}

/* False: it is as it shall be. */
static bool change(struct engine *e, const struct proto_request *p, uint64_t id, const struct queue_entry *q)
{
	struct record state = state_of(id, q), other = { .queue = id, .due = e->now };
	bool held = q->fixed.state & QUEUE_HELD;

	switch ((enum queue_action)p->mode) {
	case QUEUE_TRY:
		other.type = RECORD_QUEUE_DUE;
		if (!held && q->fixed.due > e->now)
			engine_put(e, &other, VIEW_NONE);
		return !held;
	case QUEUE_HOLD:
		state.flags |= QUEUE_HELD;
		if (!held)
			engine_put(e, &state, VIEW_NONE);
		return !held;
	case QUEUE_RELEASE:
		state.flags &= ~(uint32_t)QUEUE_HELD;
		state.due = e->now;
		if (held)
			engine_put(e, &state, VIEW_NONE);
		return held;
	case QUEUE_DROP:
		other.type = RECORD_QUEUE_DROP;
		engine_put(e, &other, VIEW_NONE);
		return true;
	case QUEUE_REROUTE:
		state.name = p->value;
		state.due = e->now;
		if (!same(p->value, q->route))
			engine_put(e, &state, VIEW_NONE);
		return !same(p->value, q->route);
	}
	return false;
}

static uint64_t name_hash(struct view name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = (uint8_t)name.ptr[i];
		h = (h ^ (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c)) * UINT64_C(0x100000001b3);
	}
	return h != 0 ? h : 1;
}

/* Where it stands, or would. */
static size_t name_place(const struct name_set *set, uint64_t hash)
{
	size_t i = (size_t)(hash ^ hash >> 32) & (set->size - 1);

	while (set->at[i] != 0 && set->at[i] != hash)
		i = (i + 1) & (set->size - 1);
	return i;
}

void name_set_add(struct name_set *set, struct view name)
{
	struct name_set larger = { .size = set->size ? set->size * 2 : 64 };

	if (set->count * 2 >= set->size) {
		larger.at = xcalloc(larger.size, sizeof *larger.at);
		larger.count = set->count;
		for (size_t i = 0; i < set->size; i++)
			if (set->at[i] != 0)
				larger.at[name_place(&larger, set->at[i])] = set->at[i];
		free(set->at);
		*set = larger;
	}
	uint64_t hash = name_hash(name);
	size_t i = name_place(set, hash);
	set->count += set->at[i] == 0;
	set->at[i] = hash;
}

bool name_set_has(const struct name_set *set, struct view name)
{
	return set->size > 0 && set->at[name_place(set, name_hash(name))] != 0;
}

static void change_all(struct engine *e, struct request *req, const uint64_t *ids, size_t n)
{
	const struct proto_request *p = &req->p;
	char name[ADDRESS_MAX];
	struct queue_entry q;

	for (size_t i = 0; i < n; i++) {
		if (!get_queue(&e->tx, ids[i], &q))
			continue;
		struct view to = p->mode != QUEUE_REROUTE ? queue_destination(&q) : p->value.len ? p->value : q.domain;
		view_copy(to, name, sizeof name); /* what it points to may move */
		if (!change(e, p, ids[i], &q))
			continue;
		name_set_add(&req->destinations, view_of(name));
		req->reply.count++;
	}
}

enum run run_queue_change(struct engine *e, struct request *req)
{
	uint64_t ids[SLICE_ROWS];
	struct key first = key_u64(req->resume);
	MDB_cursor *c = NULL;
	struct view found, value;
	struct queue_entry q;
	size_t n = 0, looked = 0;
	bool more;

	req->reply.status = STORE_OK;
	if (req->p.queue) {
		if (!get_queue(&e->tx, req->p.queue, &q) || !queue_selected(&req->p, &q))
			req->reply.status = STORE_INVALID;
		else
			change_all(e, req, &req->p.queue, 1);
		return RUN_DONE;
	}
	for (more = tx_seek(&e->tx, T_QUEUE, &c, &first, 0, &found, &value);
	     more && n < SLICE_ROWS && looked < SLICE_LOOKED; more = tx_next(&e->tx, c, &first, 0, &found, &value)) {
		looked++;
		req->resume = get_be64(found.ptr) + 1;
		if (queue_entry_get(value, &q) && queue_selected(&req->p, &q))
			ids[n++] = req->resume - 1;
	}
	if (c)
		mdb_cursor_close(c);
	change_all(e, req, ids, n);
	return more ? RUN_MORE : RUN_DONE;
}
