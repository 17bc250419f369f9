/*
 * Handing out the queue: entries that are due go to `send` in the order of queue_order.h, one for each credit, and are
 * in flight (in memory only) until their result, or the end of the channel, which gives them back.
 *
 * A destination that takes its time must not hold all of the credit: while it has much in flight it may have three
 * quarters of what the others leave, so a message to another one always finds room.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "service.h"

#define WANTED_MAX 10000
#define CLOCK_LOOK_S 3600

static void add(struct entries *s, uint64_t id, uint64_t bytes, struct destination *destination)
{
	if (s->count == s->size) {
		s->size = s->size ? s->size * 2 : 16;
		s->at = xreallocarray(s->at, s->size, sizeof *s->at);
	}
	s->at[s->count++] = (struct entry){ id, bytes, destination };
}

static struct entry drop(struct entries *s, uint64_t id)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->at[i].id == id) {
			struct entry e = s->at[i];
			s->at[i] = s->at[--s->count];
			return e;
		}
	return (struct entry){ 0 };
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
	struct entry e = drop(&ch->in_flight, id);

	ch->in_flight_bytes -= e.bytes;
	if (e.destination)
		queue_order_back(&ch->service->order, e.destination, false);
}

void queue_channel_closed(struct channel *ch)
{
	for (size_t i = 0; i < ch->in_flight.count; i++)
		queue_order_back(&ch->service->order, ch->in_flight.at[i].destination, true);
	free(ch->in_flight.at);
	ch->in_flight = (struct entries){ 0 };
}

void queue_result_begins(struct keeper *s, uint64_t id)
{
	add(&s->resulting, id, 0, NULL);
}

void queue_result_ends(struct keeper *s, uint64_t id, bool kept)
{
	drop(&s->resulting, id);
	if (!kept && !queue_in_flight(s, id)) /* its sender has died: it is passed by, where it stands */
		queue_order_rescan(&s->order);
}

char *queue_message(struct keeper *s, struct tx *tx, const struct queue_entry *q, struct view *message)
{
	struct body_value b;
	char *data;

	if (!get_body(tx, q->fixed.body, &b, NULL))
		return NULL;
	data = xmalloc((size_t)b.length + 1);
	*message = (struct view){ data, (size_t)b.length };
	if (body_read(&s->bodies, b.segment, b.offset, b.length, 0, data, message->len) == 0)
		return data;
	log_warn("event=store.damage segment=%u offset=%llu", b.segment, (unsigned long long)b.offset);
	free(data);
	return NULL;
}

enum hand { HANDED, SKIPPED, NO_ROOM }; /* no room: for now */

/*
 * Of more recipients than fit one message, some: the others are due when these have their result.  Returns the bytes
 * that are left for the mail itself.
 */
static size_t add_recipients(struct proto_item *item, const struct queue_entry *q)
{
	size_t room = IMSG_MAX - 4096;

	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		const struct queue_recipient *r = &q->recipients[i];
		size_t need = r->address.len + r->orcpt.len + 9;
		if (r->state != RECIPIENT_WAITING)
			continue;
		if (need > room)
			break;
		room -= need;
		item->dsn[item->recipient_count] = (struct proto_dsn){ r->notify, r->orcpt };
		item->recipients[item->recipient_count++] = r->address;
	}
	return room;
}

static enum hand send_item(
    struct channel *ch, uint64_t id, const struct queue_entry *q, struct view message, bool wanted)
{
	struct proto_item item = { .id = id,
		.created = q->fixed.created,
		.due = q->fixed.due,
		.attempts = q->fixed.attempts,
		.flags = q->fixed.flags,
		.sender = q->sender,
		.domain = q->domain,
		.envid = q->envid,
		.route = q->route,
		.priority = (uint8_t)queue_lane(q),
		.ret = q->fixed.ret,
		.told = (q->fixed.state & QUEUE_TOLD) != 0,
		.wanted = wanted };
	struct buf data = BUF_INIT(IMSG_MAX);
	int fd = -1, rc;

	if (message.len <= add_recipients(&item, q))
		item.message = message;
	else if ((fd = memfd_sealed("message", message)) == -1)
		return NO_ROOM;
	proto_item_put(&data, &item);
	rc = chan_send(ch->chan, STORE_QUEUE_ITEM, 0, buf_view(&data), fd);
	buf_free(&data);
	return rc == 0 ? HANDED : SKIPPED;
}

static enum hand hand_out(
    struct keeper *s, struct channel *ch, struct tx *tx, uint64_t id, const struct queue_entry *q, bool wanted)
{
	struct body_value body;
	struct destination *d;
	struct view message;
	enum hand hand;
	char *data;

	if (get_body(tx, q->fixed.body, &body, NULL) && ch->in_flight.count > 0 &&
	    ch->in_flight_bytes + body.length > s->in_flight_max)
		return NO_ROOM;
	if ((data = queue_message(s, tx, q, &message)) == NULL) {
		role_alert(s->ctx, "queue-damage", "queue entry %016llx cannot be read and is not sent",
		    (unsigned long long)id);
		add(&s->unreadable, id, 0, NULL);
		return SKIPPED;
	}
	d = queue_order_find(&s->order, queue_destination(q), true);
	hand = send_item(ch, id, q, message, wanted || d->wanted);
	free(data);
	if (hand == SKIPPED)
		queue_order_rescan(&s->order); /* the channel is about to end */
	if (hand != HANDED)
		return hand;
	d->wanted = false;
	d->in_flight++;
	add(&ch->in_flight, id, message.len, d);
	ch->in_flight_bytes += message.len;
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

static bool has_its_share(const struct channel *ch, const struct destination *d)
{
	size_t others = ch->in_flight.count > d->in_flight ? ch->in_flight.count - d->in_flight : 0;
	size_t share = (ch->credit + ch->in_flight.count - others) * 3 / 4;

	return d->in_flight > 0 && d->in_flight >= share;
}

/* What the administrator asked for goes first. */
static enum hand hand_wanted(struct keeper *s, struct tx *tx, int64_t now)
{
	struct queue_entry q;
	struct channel *ch;

	while (s->wanted.count && (ch = with_credit(s))) {
		uint64_t id = s->wanted.at[0].id;
		if (!queue_in_flight(s, id) && !have(&s->unreadable, id) && get_queue(tx, id, &q) &&
		    !(q.fixed.state & QUEUE_HELD) && q.fixed.due <= now && hand_out(s, ch, tx, id, &q, true) == NO_ROOM)
			return NO_ROOM;
		drop(&s->wanted, id);
	}
	return HANDED;
}

/* The list may be behind: the entry must stand where the offer found it. */
static bool still_so(struct tx *tx, const struct offer *f, struct queue_entry *q)
{
	struct view name = { f->destination->name, f->destination->len }, there;

	if (!get_queue(tx, f->place.id, q) || q->fixed.state & QUEUE_HELD)
		return false;
	there = queue_destination(q);
	return there.len == name.len && memcmp(there.ptr, name.ptr, name.len) == 0 &&
	       (f->lane == -1 || q->fixed.due == f->place.due);
}

static void pump(struct keeper *s, struct tx *tx, int64_t now)
{
	struct queue_entry q;
	struct channel *ch;
	struct offer f;

	if (hand_wanted(s, tx, now) == NO_ROOM)
		return;
	while ((ch = with_credit(s)) && queue_order_next(&s->order, now, &f)) {
		if (has_its_share(ch, f.destination)) {
			queue_order_blocked(&s->order, f.destination);
			continue;
		}
		if (!queue_in_flight(s, f.place.id) && still_so(tx, &f, &q) &&
		    hand_out(s, ch, tx, f.place.id, &q, false) == NO_ROOM)
			break;
		queue_order_done(&s->order, tx, now, &f);
	}
}

void queue_pump(struct keeper *s)
{
	struct timeval wait = { 0, 0 };
	struct tx tx;
	int64_t now = clock_wall(), later;

	if (!s->commit || !with_credit(s) || tx_begin(&tx, &s->engine.index, false) == -1)
		return;
	queue_order_update(&s->order, &tx, now);
	pump(s, &tx, now);
	tx_abort(&tx);
	later = queue_order_later(&s->order);
	if (!s->order.unfinished)
		wait.tv_sec = later > now && later - now < CLOCK_LOOK_S ? later - now : later <= now ? 1 : CLOCK_LOOK_S;
	evtimer_add(s->queue_timer, &wait);
}

/* Also what waits for a time that the clock has gone back from is found by walking all destinations now and then. */
void queue_timer(struct keeper *s)
{
	uint64_t now = clock_mono_ms();

	if (now - s->order_scanned >= CLOCK_LOOK_S * 1000) {
		s->order_scanned = now;
		queue_order_rescan(&s->order);
	}
	queue_pump(s);
}

void queue_news(struct keeper *s, const struct buf *queued)
{
	if (queued->len == 0 && !queued->full)
		return;
	queue_order_news(&s->order, queued);
	queue_pump(s);
}

uint64_t queue_length(struct keeper *s)
{
	struct tx tx;
	MDB_stat st = { 0 };

	if (tx_begin(&tx, &s->engine.index, false) == -1)
		return 0;
	mdb_stat(tx.txn, s->engine.index.dbi[T_QUEUE], &st);
	tx_abort(&tx);
	return st.ms_entries;
}

/* Away -------------------------------------------------------------------------------------------------------- */

void queue_defer(struct keeper *s, struct view destination, int64_t until, struct view reason)
{
	int64_t now = clock_wall();

	if (until > now + DUE_FAR)
		until = now + DUE_FAR;
	if (until <= now)
		until = 0;
	queue_order_away(&s->order, destination, until, reason);
	queue_pump(s);
}

int64_t queue_away(const struct keeper *s, struct view destination, const char **reason)
{
	const struct destination *d = queue_order_find((struct queue_order *)&s->order, destination, false);
	int64_t until = queue_order_away_until(&s->order, d, clock_wall());

	*reason = d && d->away_until == until ? d->reason : s->order.all_reason;
	return until;
}

/* Of these destinations, or (NULL) of all; wanted: by the administrator. */
static void none_away(struct keeper *s, const struct name_set *destinations, bool wanted)
{
	struct queue_order *o = &s->order;

	for (size_t i = 0; i < o->bucket_count; i++)
		for (struct destination *d = o->buckets[i]; d; d = d->bucket) {
			if (destinations && !name_set_has(destinations, (struct view){ d->name, d->len }))
				continue;
			d->wanted |= wanted;
			if (d->away_until)
				queue_order_away(o, (struct view){ d->name, d->len }, 0, VIEW_NONE);
		}
	queue_order_away(o, VIEW_LIT("*"), 0, VIEW_NONE);
}

void queue_reload(struct keeper *s)
{
	none_away(s, NULL, false);
	queue_pump(s);
}

void queue_wanted(struct keeper *s, uint64_t entry, const struct name_set *destinations)
{
	if (entry && s->wanted.count < WANTED_MAX) {
		if (!have(&s->wanted, entry))
			add(&s->wanted, entry, 0, NULL);
	} else if (destinations->count)
		none_away(s, destinations, true);
	queue_pump(s);
}

/* The queue's life --------------------------------------------------------------------------------------------- */

static const struct site *site_of(void *arg)
{
	const struct keeper *s = arg;

	return s->ctx->site;
}

static bool taken(void *arg, uint64_t id)
{
	const struct keeper *s = arg;

	return queue_in_flight(s, id) || have(&s->unreadable, id);
}

void queue_start(struct keeper *s)
{
	s->order = (struct queue_order){ .site = site_of, .taken = taken, .arg = s };
	queue_order_init(&s->order);
	s->order_scanned = clock_mono_ms();
}

void queue_end(struct keeper *s)
{
	queue_order_free(&s->order);
	free(s->wanted.at);
	free(s->resulting.at);
	free(s->unreadable.at);
	s->wanted = s->resulting = s->unreadable = (struct entries){ 0 };
}
