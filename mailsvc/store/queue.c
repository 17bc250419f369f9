/*
 * Handing out the queue: entries that are due go to `send` in order of their due time, one for each credit, and are in
 * flight (in memory only) until their result, or the end of the channel, which gives them back.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "service.h"

struct ids { /* a small set of queue numbers */
	uint64_t **at;
	size_t *count, *size;
};

static void ids_add(struct ids s, uint64_t id)
{
	if (*s.count == *s.size) {
		*s.size = *s.size ? *s.size * 2 : 16;
		*s.at = xreallocarray(*s.at, *s.size, sizeof **s.at);
	}
	(*s.at)[(*s.count)++] = id;
}

static void ids_remove(struct ids s, uint64_t id)
{
	for (size_t i = 0; i < *s.count; i++)
		if ((*s.at)[i] == id) {
			(*s.at)[i] = (*s.at)[--*s.count];
			return;
		}
}

static bool ids_have(const uint64_t *at, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (at[i] == id)
			return true;
	return false;
}

static struct ids in_flight(struct channel *ch)
{
	return (struct ids){ &ch->in_flight, &ch->in_flight_count, &ch->in_flight_size };
}

static struct ids resulting(struct keeper *s)
{
	return (struct ids){ &s->resulting, &s->resulting_count, &s->resulting_size };
}

bool queue_in_flight(const struct keeper *s, uint64_t id)
{
	const struct channel *ch;

	if (ids_have(s->resulting, s->resulting_count, id))
		return true;
	TAILQ_FOREACH(ch, &s->channels, link)
	if (ids_have(ch->in_flight, ch->in_flight_count, id))
		return true;
	return false;
}

void queue_taken_back(struct channel *ch, uint64_t id)
{
	ids_remove(in_flight(ch), id);
}

void queue_result_begins(struct keeper *s, uint64_t id)
{
	ids_add(resulting(s), id);
}

void queue_result_ends(struct keeper *s, uint64_t id)
{
	ids_remove(resulting(s), id);
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

static bool hand_out(struct keeper *s, struct channel *ch, struct tx *tx, uint64_t id)
{
	struct queue_entry q;
	struct proto_item item = { .id = id };
	struct buf data = BUF_INIT(IMSG_MAX);
	uint64_t size;
	int fd, rc = -1;

	if (!get_queue(tx, id, &q))
		return false;
	if ((fd = queue_message(s, tx, &q, &size)) == -1) {
		role_alert(s->ctx, "queue-damage", "queue entry %016llx cannot be read and is not sent",
		    (unsigned long long)id);
		return false;
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
		return false;
	ids_add(in_flight(ch), id);
	ch->credit--;
	return true;
}

static struct channel *with_credit(struct keeper *s)
{
	struct channel *ch;

	TAILQ_FOREACH(ch, &s->channels, link)
	if (ch->role == ROLE_SEND && ch->credit > 0)
		return ch;
	return NULL;
}

void queue_pump(struct keeper *s)
{
	struct timeval wait = { 0, 0 };
	struct channel *ch;
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	struct tx tx;
	int64_t now = clock_wall(), later = 0;
	bool more;

	if (!s->commit || !with_credit(s) || tx_begin(&tx, &s->engine.index, false) == -1)
		return;
	for (more = tx_seek(&tx, T_QUEUE_DUE, &c, &first, 0, &found, &value); more && (ch = with_credit(s));
	     more = tx_next(&tx, c, &first, 0, &found, &value)) {
		int64_t due = (int64_t)get_be64(found.ptr);
		uint64_t id = get_be64(found.ptr + 8);
		if (due > now) {
			later = due;
			break;
		}
		if (!queue_in_flight(s, id))
			hand_out(s, ch, &tx, id);
	}
	if (c)
		mdb_cursor_close(c);
	tx_abort(&tx);
	if (later) {
		wait.tv_sec = later - now < 3600 ? later - now : 3600;
		evtimer_add(s->queue_timer, &wait);
	}
}
