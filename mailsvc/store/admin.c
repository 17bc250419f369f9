/* What the command line asks: accounts, a snapshot, and the queue (admin_queue.c). JSON, made by hand from the index.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service.h"

void admin_json_string(struct buf *b, struct view v)
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

void admin_answer(struct channel *ch, uint32_t id, uint8_t found, struct view json, struct view message)
{
	struct buf payload = BUF_INIT(STORE_BODY_MAX + ADMIN_JSON_MAX), data = BUF_INIT(IMSG_MAX);
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
	struct buf b = BUF_INIT(ADMIN_JSON_MAX);
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
	admin_answer(ch, id, b.full ? 2 : 1, b.full ? view_of("the list is too long") : buf_view(&b), VIEW_NONE);
	buf_free(&b);
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
	admin_json_string(b, (struct view){ value.ptr + sizeof a, value.len - sizeof a });
	buf_printf(b, ",\"id\":%u,\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"orphaned\":%s}", get_be32(key.ptr),
	    a.messages, a.bytes, a.orphaned ? "true" : "false");
}

static void compaction(struct channel *ch, uint32_t id, uint64_t how)
{
	struct buf b = BUF_INIT(1024);
	struct compact_status s;

	compact_status(&ch->service->engine, &s);
	if (how)
		commit_compact(ch->service->commit, how == 2 ? COMPACT_ALL : COMPACT_NOW);
	compact_json(&s, &b);
	admin_answer(ch, id, 1, buf_view(&b), VIEW_NONE);
	buf_free(&b);
}

static int question_get(struct request *r, const struct imsg *m)
{
	struct cursor c;

	r->copy = xmalloc(m->data.len + 1); /* the message's bytes last for this callback only */
	if (m->data.len)
		memcpy(r->copy, m->data.ptr, m->data.len);
	if (m->type == STORE_ADMIN_QUEUE_LIST || m->type == STORE_ADMIN_QUEUE_SUMMARY ||
	    m->type == STORE_ADMIN_QUEUE_CHANGE)
		return proto_select_get(&r->p, (struct view){ r->copy, m->data.len });
	c = cursor_of(r->copy, m->data.len);
	r->p.queue = cursor_u64(&c);
	return cursor_done(&c) ? 0 : -1;
}

void admin_message(struct channel *ch, struct imsg *m)
{
	struct request *r = xcalloc(1, sizeof *r);

	if (m->fd != -1 || m->type < STORE_ADMIN_QUEUE_LIST || m->type >= STORE_ADMIN_END || question_get(r, m) == -1) {
		request_free(r);
		channel_close(ch);
		return;
	}
	if (m->type == STORE_ADMIN_COMPACT) {
		compaction(ch, m->id, r->p.queue);
		request_free(r);
		return;
	}
	/* From before the list is made until the channel closes compaction removes no file. */
	if (m->type == STORE_ADMIN_SNAPSHOT && !ch->holds) {
		compact_hold(&ch->service->engine);
		ch->holds = true;
	}
	r->p.type = m->type;
	r->id = m->id;
	r->visible = true;
	r->looks = m->type != STORE_ADMIN_SNAPSHOT && m->type != STORE_ADMIN_QUEUE_CHANGE;
	service_submit(ch, r);
}

/* What had its answer before the question came is in the index; when the disk is full, as far as there was room. */
static void look(struct channel *ch, const struct request *r)
{
	struct tx tx;

	if (tx_begin(&tx, &ch->service->engine.index, false) == -1) {
		admin_answer(ch, r->id, 2, view_of("the index cannot be read now"), VIEW_NONE);
		return;
	}
	if (r->p.type == STORE_ADMIN_QUEUE_LIST)
		admin_queue_list(ch, &tx, r->id, &r->p);
	else if (r->p.type == STORE_ADMIN_QUEUE_SUMMARY)
		admin_queue_summary(ch, &tx, r->id, r->p.value);
	else if (r->p.type == STORE_ADMIN_QUEUE_SHOW)
		admin_queue_show(ch, &tx, r->id, r->p.queue);
	else
		list(ch, &tx, r->id, T_ACCOUNT, put_account);
	tx_abort(&tx);
}

/* The segments before the active one hold everything that was committed when it was started. */
static void snapshot(struct channel *ch, const struct request *r)
{
	struct buf b = BUF_INIT(ADMIN_JSON_MAX);
	struct error e;
	uint32_t *numbers;
	size_t count;

	if (segments_list(ch->service->engine.log_dir, &numbers, &count, &e) == -1) {
		admin_answer(ch, r->id, 2, view_of(e.text), VIEW_NONE);
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
	admin_answer(ch, r->id, 1, buf_view(&b), VIEW_NONE);
	buf_free(&b);
	free(numbers);
}

void admin_done(struct channel *ch, struct request *r)
{
	if (r->looks) {
		look(ch, r);
		return;
	}
	switch (r->reply.status) {
	case STORE_OK:
		if (r->p.type == STORE_ADMIN_SNAPSHOT)
			snapshot(ch, r);
		else if (r->p.type == STORE_ADMIN_QUEUE_CHANGE)
			admin_queue_changed(ch, r);
		else
			admin_answer(ch, r->id, 1, VIEW_NONE, VIEW_NONE);
		break;
	case STORE_INVALID:
		admin_answer(ch, r->id, 0, VIEW_NONE, VIEW_NONE);
		break;
	default:
		admin_answer(ch, r->id, 2,
		    view_of(r->reply.status == STORE_FULL ? "the disk is full" : "the disk refuses; see the log"),
		    VIEW_NONE);
	}
}
