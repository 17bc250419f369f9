/*
 * Handing out the queue: entries that are due go to `send` in order of their due time, one for each credit, and are in
 * flight (in memory only) until their result, or the end of the channel, which gives them back.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "service.h"

static void add(struct entries *s, uint64_t id, uint64_t bytes)
{
	if (s->count == s->size) {
		s->size = s->size ? s->size * 2 : 16;
		s->at = xreallocarray(s->at, s->size, sizeof *s->at);
	}
	s->at[s->count++] = (struct entry){ id, bytes };
}

/* Returns its bytes. */
static uint64_t drop(struct entries *s, uint64_t id)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].id == id) {
			uint64_t bytes = s->at[i].bytes;
			s->at[i] = s->at[--s->count];
			return bytes;
		}
	return 0;
}

static bool have(const struct entries *s, uint64_t id)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].id == id)
			return true;
	return false;
}

bool queue_in_flight(const struct keeper *s, uint64_t id)
{
	const struct channel *ch;

	if (have(&s->resulting, id))
		return true;
	TAILQ_FOREACH(ch, &s->channels, link)
	if (have(&ch->in_flight, id))
		return true;
	return false;
}

void queue_taken_back(struct channel *ch, uint64_t id)
{
	ch->in_flight_bytes -= drop(&ch->in_flight, id);
}

void queue_result_begins(struct keeper *s, uint64_t id)
{
	add(&s->resulting, id, 0);
}

void queue_result_ends(struct keeper *s, uint64_t id)
{
	drop(&s->resulting, id);
}

int queue_message(struct keeper *s, struct tx *tx, const struct queue_entry *q, uint64_t *size)
{
	struct body_value b;
	char *data;
	int fd = -1;

	if (!get_body(tx, q->fixed.body, &b, NULL))
		return -1;
	*size = b.length;
	data = xmalloc((size_t)b.length + 1);
	if (body_read(&s->bodies, b.segment, b.offset, b.length, 0, data, (size_t)b.length) == 0)
		fd = memfd_sealed("message", (struct view){ data, (size_t)b.length });
	else
		log_warn("event=store.damage segment=%u offset=%llu", b.segment, (unsigned long long)b.offset);
	free(data);
	return fd;
}

enum hand { HANDED, SKIPPED, NO_ROOM };

static enum hand hand_out(struct keeper *s, struct channel *ch, struct tx *tx, uint64_t id)
{
	struct queue_entry q;
	struct body_value body;
	struct proto_item item = { .id = id };
	struct buf data = BUF_INIT(IMSG_MAX);
	uint64_t size;
	int fd, rc = -1;

	if (!get_queue(tx, id, &q))
		return SKIPPED;
	if (get_body(tx, q.fixed.body, &body, NULL) && ch->in_flight.count > 0 &&
	    ch->in_flight_bytes + body.length > s->in_flight_max)
		return NO_ROOM;
	if ((fd = queue_message(s, tx, &q, &size)) == -1) {
		role_alert(s->ctx, "queue-damage", "queue entry %016llx cannot be read and is not sent",
		    (unsigned long long)id);
		add(&s->unreadable, id, 0);
		return SKIPPED;
	}
	item.created = q.fixed.created;
	item.due = q.fixed.due;
	item.attempts = q.fixed.attempts;
	item.flags = q.fixed.flags;
	item.sender = q.sender;
	item.domain = q.domain;
	for (uint32_t i = 0; i < q.fixed.recipients; i++)
		if (q.recipients[i].state == RECIPIENT_WAITING)
			item.recipients[item.recipient_count++] = q.recipients[i].address;
	proto_item_put(&data, &item);
	if (data.full)
		close(fd);
	else
		rc = chan_send(ch->chan, STORE_QUEUE_ITEM, 0, buf_view(&data), fd);
	buf_free(&data);
	if (rc == -1)
		return SKIPPED;
	add(&ch->in_flight, id, size);
	ch->in_flight_bytes += size;
	ch->credit--;
	return HANDED;
}

static struct channel *with_credit(struct keeper *s)
{
	struct channel *ch;

	TAILQ_FOREACH(ch, &s->channels, link)
	if (ch->role == ROLE_SEND && ch->credit > 0)
		return ch;
	return NULL;
}

/* Hands out what is listed from `from` on and due until `until`; *later: the next due time, 0: there is none. */
static void pump(struct keeper *s, struct tx *tx, int64_t from, int64_t until, int64_t *later)
{
	struct key first = key_u64((uint64_t)from);
	struct channel *ch;
	MDB_cursor *c = NULL;
	struct view found, value;
	bool more = tx_seek(tx, T_QUEUE_DUE, &c, &first, 0, &found, &value);

	for (; more && (ch = with_credit(s)); more = tx_next(tx, c, &first, 0, &found, &value)) {
		int64_t due = (int64_t)get_be64(found.ptr);
		uint64_t id = get_be64(found.ptr + 8);
		if (due > until) {
			*later = due;
			break;
		}
		if (!queue_in_flight(s, id) && !have(&s->unreadable, id) && hand_out(s, ch, tx, id) == NO_ROOM)
			break;
	}
	if (c)
		mdb_cursor_close(c);
}

void queue_pump(struct keeper *s)
{
	struct timeval wait = { 0, 0 };
	struct tx tx;
	int64_t now = clock_wall(), later = 0, ignored;

	if (!s->commit || !with_credit(s) || tx_begin(&tx, &s->engine.index, false) == -1)
		return;
	pump(s, &tx, 0, now, &later);
	/* What was put off while the clock was far ahead would wait as long. */
	pump(s, &tx, now + DUE_FAR, INT64_MAX, &ignored);
	tx_abort(&tx);
	if (later) {
		wait.tv_sec = later - now < 3600 ? later - now : 3600;
		evtimer_add(s->queue_timer, &wait);
	}
}
