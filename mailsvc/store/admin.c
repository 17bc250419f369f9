/* What the command line asks: the queue, the accounts, a snapshot. Answers are JSON, made by hand from the index. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service.h"

#define JSON_MAX (256u << 20)

/* A JSON string: what is not well-formed UTF-8 is replaced, byte by byte. */
static void json_string(struct buf *b, struct view v)
{
	buf_addc(b, '"');
	for (size_t i = 0; i < v.len;) {
		unsigned char c = (unsigned char)v.ptr[i];
		size_t n = c < 0x80                ? 1
		           : c >= 0xc2 && c < 0xe0 ? 2
		           : c >= 0xe0 && c < 0xf0 ? 3
		           : c >= 0xf0 && c < 0xf5 ? 4
		                                   : 0;
		bool ok = n > 0 && n <= v.len - i;
		for (size_t j = 1; ok && j < n; j++)
			ok = ((unsigned char)v.ptr[i + j] & 0xc0) == 0x80;
		if (ok && n == 3)
			ok = !(c == 0xe0 && (unsigned char)v.ptr[i + 1] < 0xa0) &&
			     !(c == 0xed && (unsigned char)v.ptr[i + 1] > 0x9f);
		if (ok && n == 4)
			ok = !(c == 0xf0 && (unsigned char)v.ptr[i + 1] < 0x90) &&
			     !(c == 0xf4 && (unsigned char)v.ptr[i + 1] > 0x8f);
		if (!ok) {
			buf_puts(b, "\\ufffd");
			i++;
			continue;
		}
		if (c < 0x20 || c == 0x7f)
			buf_printf(b, "\\u%04x", c);
		else {
			if (c == '"' || c == '\\')
				buf_addc(b, '\\');
			buf_add(b, v.ptr + i, n);
		}
		i += n;
	}
	buf_addc(b, '"');
}

static void json_entry(struct keeper *s, struct tx *tx, uint64_t id, const struct queue_entry *q, struct buf *b)
{
	static const char *const states[] = { "waiting", "delivered", "failed" };
	struct body_value body = { 0 };

	get_body(tx, q->fixed.body, &body, NULL);
	buf_printf(b, "{\"id\":\"%016" PRIx64 "\",\"sender\":", id);
	json_string(b, q->sender);
	buf_puts(b, ",\"domain\":");
	json_string(b, q->domain);
	buf_puts(b, ",\"recipients\":[");
	for (uint32_t i = 0; i < q->fixed.recipients; i++) {
		const struct queue_recipient *r = &q->recipients[i];
		buf_puts(b, i ? ",{\"address\":" : "{\"address\":");
		json_string(b, r->address);
		buf_printf(b, ",\"state\":\"%s\",\"reply\":", states[r->state <= RECIPIENT_FAILED ? r->state : 0]);
		json_string(b, r->reply);
		buf_addc(b, '}');
	}
	buf_printf(b,
	    "],\"created\":%" PRId64 ",\"due\":%" PRId64 ",\"attempts\":%u,\"size\":%" PRIu64
	    ",\"bounce\":%s,\"in_flight\":%s}",
	    q->fixed.created, q->fixed.due, q->fixed.attempts, body.length,
	    q->fixed.flags & QUEUE_BOUNCE ? "true" : "false", queue_in_flight(s, id) ? "true" : "false");
}

static void answer(struct channel *ch, uint32_t id, uint8_t found, struct view json, struct view message)
{
	struct buf payload = BUF_INIT(STORE_BODY_MAX + JSON_MAX), data = BUF_INIT(IMSG_MAX);
	int fd = -1;

	buf_put_u8(&payload, found);
	buf_put_blob(&payload, json);
	buf_addv(&payload, message);
	if (!payload.full && proto_wrap(buf_view(&payload), &data, &fd) == 0)
		chan_send(ch->chan, STORE_ADMIN_REPLY, id, buf_view(&data), fd);
	else
		log_warn("event=store.admin error=\"the answer cannot be sent\"");
	buf_free(&payload);
	buf_free(&data);
}

/* A table as a JSON array; put adds one row, or nothing of what is none. */
static void list(struct channel *ch, struct tx *tx, uint32_t id, enum table table,
    void (*put)(struct keeper *, struct tx *, struct view key, struct view value, struct buf *))
{
	struct buf b = BUF_INIT(JSON_MAX);
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;

	buf_addc(&b, '[');
	for (bool more = tx_seek(tx, table, &c, &first, 0, &found, &value); more;
	     more = tx_next(tx, c, &first, 0, &found, &value))
		put(ch->service, tx, found, value, &b);
	if (c)
		mdb_cursor_close(c);
	buf_addc(&b, ']');
	answer(ch, id, b.full ? 2 : 1, b.full ? view_of("the list is too long") : buf_view(&b), VIEW_NONE);
	buf_free(&b);
}

static void put_queued(struct keeper *s, struct tx *tx, struct view key, struct view value, struct buf *b)
{
	struct queue_entry q;

	if (!queue_entry_get(value, &q))
		return;
	if (b->len > 1)
		buf_addc(b, ',');
	json_entry(s, tx, get_be64(key.ptr), &q, b);
}

static void put_account(struct keeper *s, struct tx *tx, struct view key, struct view value, struct buf *b)
{
	struct account_value a;

	(void)s;
	(void)tx;
	if (value.len < sizeof a)
		return;
	memcpy(&a, value.ptr, sizeof a);
	buf_puts(b, b->len > 1 ? ",{\"address\":" : "{\"address\":");
	json_string(b, (struct view){ value.ptr + sizeof a, value.len - sizeof a });
	buf_printf(b, ",\"id\":%u,\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"orphaned\":%s}",
	    get_be32(key.ptr), a.messages, a.bytes, a.orphaned ? "true" : "false");
}

static void queue_show(struct channel *ch, struct tx *tx, uint32_t id, uint64_t entry)
{
	struct buf b = BUF_INIT(JSON_MAX);
	struct queue_entry q;
	struct view message = VIEW_NONE;
	uint64_t size;
	int fd = -1;

	if (!get_queue(tx, entry, &q)) {
		answer(ch, id, 0, VIEW_NONE, VIEW_NONE);
		return;
	}
	json_entry(ch->service, tx, entry, &q, &b);
	if ((fd = queue_message(ch->service, tx, &q, &size)) == -1 ||
	    (size && memfd_map_sealed(fd, STORE_BODY_MAX, &message) == -1))
		answer(ch, id, 2, view_of("the message cannot be read; see mailadm store verify"), VIEW_NONE);
	else
		answer(ch, id, 1, buf_view(&b), message);
	if (message.ptr)
		munmap((void *)(uintptr_t)message.ptr, message.len);
	if (fd != -1)
		close(fd);
	buf_free(&b);
}

static void submit(struct channel *ch, uint32_t type, uint32_t id, uint64_t entry)
{
	struct request *r = xcalloc(1, sizeof *r);

	/* From before the list is made until the channel closes compaction removes no file. */
	if (type == STORE_ADMIN_SNAPSHOT && !ch->holds) {
		compact_hold(&ch->service->engine);
		ch->holds = true;
	}
	r->p.type = type;
	r->p.queue = entry;
	r->id = id;
	r->visible = true;
	service_submit(ch, r);
}

static void compaction(struct channel *ch, uint32_t id, uint64_t how)
{
	struct buf b = BUF_INIT(1024);
	struct compact_status s;

	compact_status(&ch->service->engine, &s);
	if (how)
		commit_compact(ch->service->commit, how == 2 ? COMPACT_ALL : COMPACT_NOW);
	compact_json(&s, &b);
	answer(ch, id, 1, buf_view(&b), VIEW_NONE);
	buf_free(&b);
}

void admin_message(struct channel *ch, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint64_t entry = cursor_u64(&c);
	struct tx tx;

	if (!cursor_done(&c) || m->fd != -1 || m->type < STORE_ADMIN_QUEUE_LIST || m->type >= STORE_ADMIN_END) {
		channel_close(ch);
		return;
	}
	if (m->type == STORE_ADMIN_QUEUE_RETRY || m->type == STORE_ADMIN_QUEUE_DROP ||
	    m->type == STORE_ADMIN_SNAPSHOT) {
		submit(ch, m->type, m->id, entry);
		return;
	}
	if (m->type == STORE_ADMIN_COMPACT) {
		compaction(ch, m->id, entry);
		return;
	}
	if (tx_begin(&tx, &ch->service->engine.index, false) == -1) {
		answer(ch, m->id, 2, view_of("the index cannot be read now"), VIEW_NONE);
		return;
	}
	if (m->type == STORE_ADMIN_QUEUE_LIST)
		list(ch, &tx, m->id, T_QUEUE, put_queued);
	else if (m->type == STORE_ADMIN_QUEUE_SHOW)
		queue_show(ch, &tx, m->id, entry);
	else
		list(ch, &tx, m->id, T_ACCOUNT, put_account);
	tx_abort(&tx);
}

/* The segments before the active one hold everything that was committed when it was started. */
static void snapshot(struct channel *ch, const struct request *r)
{
	struct buf b = BUF_INIT(JSON_MAX);
	struct error e;
	uint32_t *numbers;
	size_t count;

	if (segments_list(ch->service->engine.log_dir, &numbers, &count, &e) == -1) {
		answer(ch, r->id, 2, view_of(e.text), VIEW_NONE);
		return;
	}
	buf_puts(&b, "{\"segments\":[");
	if (r->resume) { /* the state file: with what comes behind it, it is the whole index */
		char name[STATE_NAME_LEN];
		state_name((uint32_t)r->resume, name);
		buf_printf(&b, "\"%s\"%s", name, count && numbers[0] < r->reply.mailbox ? "," : "");
	}
	for (size_t i = 0; i < count && numbers[i] < r->reply.mailbox; i++) {
		char name[SEGMENT_NAME_LEN];
		segment_name(numbers[i], name);
		buf_printf(&b, "%s\"%s\"", i ? "," : "", name);
	}
	buf_printf(&b, "],\"position\":%" PRIu64 "}", r->reply.modseq);
	answer(ch, r->id, 1, buf_view(&b), VIEW_NONE);
	buf_free(&b);
	free(numbers);
}

void admin_done(struct channel *ch, struct request *r)
{
	switch (r->reply.status) {
	case STORE_OK:
		if (r->p.type == STORE_ADMIN_SNAPSHOT)
			snapshot(ch, r);
		else
			answer(ch, r->id, 1, VIEW_NONE, VIEW_NONE);
		break;
	case STORE_INVALID:
		answer(ch, r->id, 0, VIEW_NONE, VIEW_NONE);
		break;
	default:
		answer(ch, r->id, 2,
		    view_of(r->reply.status == STORE_FULL ? "the disk is full" : "the disk refuses; see the log"),
		    VIEW_NONE);
	}
}
