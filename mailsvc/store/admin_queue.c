/*
 * The queue for the command line.  Lists and sums come in pages, so that a queue of a million entries holds up nobody:
 * a page looks at LOOKED_MAX entries, gives PAGE_MAX of them, and says where the next one begins.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service.h"

#define LOOKED_MAX 4000
#define PAGE_MAX 1000

static void json_member(struct buf *b, const char *name, struct view value)
{
	if (value.len == 0)
		return;
	buf_printf(b, ",\"%s\":", name);
	admin_json_string(b, value);
}

static void json_notify(struct buf *b, unsigned notify)
{
	static const char *const words[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" };
	const char *comma = "";

	if (!notify)
		return;
	buf_puts(b, ",\"notify\":\"");
	for (unsigned i = 0; i < 4; i++)
		if (notify & (1u << i)) {
			buf_printf(b, "%s%s", comma, words[i]);
			comma = ",";
		}
	buf_addc(b, '"');
}

static void json_away(struct keeper *s, struct view destination, struct buf *b)
{
	const char *reason;
	int64_t until = queue_away(s, destination, &reason);

	if (!until)
		return;
	buf_printf(b, ",\"away_until\":%" PRId64, until);
	json_member(b, "away", view_of(reason));
}

static void json_recipients(const struct queue_entry *q, struct buf *b)
{
	static const char *const states[] = { "waiting", "delivered", "failed" };

	buf_puts(b, ",\"recipients\":[");
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		const struct queue_recipient *r = &q->recipients[i];
		buf_puts(b, i ? ",{\"address\":" : "{\"address\":");
		admin_json_string(b, r->address);
		buf_printf(b, ",\"state\":\"%s\",\"reply\":", states[r->state <= RECIPIENT_FAILED ? r->state : 0]);
		admin_json_string(b, r->reply);
		json_notify(b, r->notify);
		json_member(b, "orcpt", r->orcpt);
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}

static void json_entry(struct keeper *s, struct tx *tx, uint64_t id, const struct queue_entry *q, struct buf *b)
{
	static const char *const priorities[] = { "normal", "bulk", "last" };
	static const char *const rets[] = { "", "FULL", "HDRS" };
	struct body_value body = { 0 };
	bool held = q->fixed.state & QUEUE_HELD;

	get_body(tx, q->fixed.body, &body, NULL);
	buf_printf(b, "{\"id\":\"%016" PRIx64 "\",\"sender\":", id);
	admin_json_string(b, q->sender);
	buf_puts(b, ",\"domain\":");
	admin_json_string(b, q->domain);
	buf_puts(b, ",\"destination\":");
	admin_json_string(b, queue_destination(q));
	json_recipients(q, b);
	buf_printf(b,
	    ",\"created\":%" PRId64 ",\"due\":%" PRId64 ",\"attempts\":%u,\"size\":%" PRIu64
	    ",\"priority\":\"%s\",\"bounce\":%s,\"in_flight\":%s,\"held\":%s,\"delay_told\":%s",
	    q->fixed.created, q->fixed.due, q->fixed.attempts, body.length, priorities[queue_lane(q)],
	    q->fixed.flags & QUEUE_BOUNCE ? "true" : "false", queue_in_flight(s, id) ? "true" : "false",
	    held ? "true" : "false", q->fixed.state & QUEUE_TOLD ? "true" : "false");
	json_member(b, "envid", q->envid);
	json_member(b, "ret", view_of(rets[q->fixed.ret <= DSN_RET_HDRS ? q->fixed.ret : 0]));
	json_member(b, "route", q->route);
	if (!held)
		json_away(s, queue_destination(q), b);
	buf_addc(b, '}');
}

void admin_queue_list(struct channel *ch, struct tx *tx, uint32_t id, const struct proto_request *p)
{
	struct buf b = BUF_INIT(ADMIN_JSON_MAX), place = BUF_INIT(8);
	struct key first = key_u64(p->queue + 1);
	struct view found, value;
	struct queue_entry q;
	MDB_cursor *c = NULL;
	size_t looked = 0, listed = 0;
	uint64_t last = p->queue;
	bool more;

	buf_addc(&b, '[');
	for (more = tx_seek(tx, T_QUEUE, &c, &first, 0, &found, &value);
	     more && looked < LOOKED_MAX && listed < PAGE_MAX; more = tx_next(tx, c, &first, 0, &found, &value)) {
		looked++;
		last = get_be64(found.ptr);
		if (!queue_entry_get(value, &q) || !queue_selected(p, &q))
			continue;
		if (listed++)
			buf_addc(&b, ',');
		json_entry(ch->service, tx, last, &q, &b);
	}
	if (c)
		mdb_cursor_close(c);
	buf_addc(&b, ']');
	if (more)
		buf_put_u64(&place, last);
	admin_answer(ch, id, b.full ? 2 : 1, b.full ? view_of("the list is too long") : buf_view(&b), buf_view(&place));
	buf_free(&b);
	buf_free(&place);
}

struct sum { /* of the entries of one destination that a page has seen */
	char destination[ADDRESS_MAX];
	size_t len;
	uint64_t entries, held, bytes, in_flight;
	int64_t oldest, next;
};

static void sum_end(struct keeper *s, const struct sum *sum, struct buf *b)
{
	struct view destination = { sum->destination, sum->len };

	if (!sum->entries)
		return;
	buf_puts(b, b->len > 1 ? ",{\"destination\":" : "{\"destination\":");
	admin_json_string(b, destination);
	buf_printf(b,
	    ",\"entries\":%" PRIu64 ",\"held\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"in_flight\":%" PRIu64
	    ",\"oldest\":%" PRId64 ",\"next\":%" PRId64,
	    sum->entries, sum->held, sum->bytes, sum->in_flight, sum->oldest, sum->next);
	json_away(s, destination, b);
	buf_addc(b, '}');
}

static void sum_add(struct keeper *s, struct tx *tx, struct sum *sum, uint64_t id)
{
	struct body_value body = { 0 };
	struct queue_value q;
	struct key k = key_u64(id);

	if (!tx_get_fixed(tx, T_QUEUE, &k, &q, sizeof q, NULL))
		return;
	get_body(tx, q.body, &body, NULL);
	sum->entries++;
	sum->bytes += body.length;
	sum->in_flight += queue_in_flight(s, id);
	if (q.state & QUEUE_HELD)
		sum->held++;
	else if (!sum->next || q.due < sum->next)
		sum->next = q.due;
	if (!sum->oldest || q.created < sum->oldest)
		sum->oldest = q.created;
}

void admin_queue_summary(struct channel *ch, struct tx *tx, uint32_t id, struct view place)
{
	struct buf b = BUF_INIT(ADMIN_JSON_MAX), last = BUF_INIT(512);
	struct key first = { 0 };
	struct view found, value;
	struct sum sum = { 0 };
	MDB_cursor *c = NULL;
	size_t looked = 0;
	bool more;

	buf_addc(&b, '[');
	key_add(&first, place);
	more = tx_seek(tx, T_QUEUE_OF, &c, &first, 0, &found, &value);
	if (more && place.len && found.len == place.len && memcmp(found.ptr, place.ptr, place.len) == 0)
		more = tx_next(tx, c, &first, 0, &found, &value);
	for (; more && looked < LOOKED_MAX; more = tx_next(tx, c, &first, 0, &found, &value)) {
		size_t len = found.len > QUEUE_OF_TAIL ? found.len - QUEUE_OF_TAIL : 0;
		looked++;
		buf_reset(&last);
		buf_addv(&last, found);
		if (len == 0 || len >= sizeof sum.destination)
			continue;
		if (len != sum.len || memcmp(sum.destination, found.ptr, len) != 0) {
			sum_end(ch->service, &sum, &b);
			sum = (struct sum){ .len = len };
			memcpy(sum.destination, found.ptr, len);
		}
		sum_add(ch->service, tx, &sum, get_be64(found.ptr + len + 1));
	}
	if (c)
		mdb_cursor_close(c);
	sum_end(ch->service, &sum, &b);
	buf_addc(&b, ']');
	admin_answer(ch, id, b.full ? 2 : 1, b.full ? view_of("the list is too long") : buf_view(&b),
	    more ? buf_view(&last) : VIEW_NONE);
	buf_free(&b);
	buf_free(&last);
}

void admin_queue_show(struct channel *ch, struct tx *tx, uint32_t id, uint64_t entry)
{
	struct buf b = BUF_INIT(ADMIN_JSON_MAX);
	struct queue_entry q;
	struct view message;
	char *data;

	if (!get_queue(tx, entry, &q)) {
		admin_answer(ch, id, 0, VIEW_NONE, VIEW_NONE);
		return;
	}
	json_entry(ch->service, tx, entry, &q, &b);
	data = queue_message(ch->service, tx, &q, &message);
	if (data == NULL)
		admin_answer(ch, id, 2, view_of("the message cannot be read; see mailadm store verify"), VIEW_NONE);
	else
		admin_answer(ch, id, 1, buf_view(&b), message);
	free(data);
	buf_free(&b);
}

void admin_queue_changed(struct channel *ch, struct request *r)
{
	struct buf b = BUF_INIT(32);

	buf_printf(&b, "%" PRIu64, r->reply.count);
	if (r->p.mode == QUEUE_TRY || r->p.mode == QUEUE_RELEASE || r->p.mode == QUEUE_REROUTE)
		queue_wanted(ch->service, r->p.queue, &r->destinations);
	admin_answer(ch, r->id, 1, buf_view(&b), VIEW_NONE);
	buf_free(&b);
}
