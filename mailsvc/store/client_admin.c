/* Administration over a channel of its own, blocking: for the command line. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client.h"
#include "proto.h"

#define ADMIN_TIMEOUT_MS 60000
#define ADMIN_ANSWER_MAX (STORE_BODY_MAX + (64ull << 20))

/* 0; 1: not there; -1. json and message may be NULL. */
static int ask_with(int fd, uint32_t type, struct view data, struct buf *json, struct buf *message, struct error *e)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct view payload, mapped = VIEW_NONE, text;
	struct imsg m = { .fd = -1 };
	struct cursor c;
	uint8_t found;
	int rc = -1;

	if (imsg_send(fd, type, 1, data, -1) == -1 || imsg_recv(fd, ADMIN_TIMEOUT_MS, &m, &storage) != 1) {
		error_set(e, "store does not answer");
		goto out;
	}
	if (m.type != STORE_ADMIN_REPLY || proto_unwrap(&m, ADMIN_ANSWER_MAX, &payload, &mapped) == -1) {
		error_set(e, "store answers what this program does not understand");
		goto out;
	}
	c = cursor_of(payload.ptr, payload.len);
	found = cursor_u8(&c);
	text = cursor_blob(&c, payload.len);
	if (c.bad) {
		error_set(e, "store answers what this program does not understand");
		goto out;
	}
	if (found > 1) {
		error_set(e, "%.*s", (int)(text.len < 400 ? text.len : 400), text.ptr ? text.ptr : "");
		goto out;
	}
	if (json)
		buf_addv(json, text);
	if (message)
		buf_addv(message, cursor_bytes(&c, c.left));
	rc = (json && json->full) || (message && message->full) ? error_set(e, "the answer is too long")
	     : found == 1                                       ? 0
	                                                        : 1;
out:
	if (mapped.ptr)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
	if (m.fd != -1)
		close(m.fd);
	buf_free(&storage);
	return rc;
}

static int ask(int fd, uint32_t type, uint64_t id, struct buf *json, struct buf *message, struct error *e)
{
	struct buf data = BUF_INIT(8);
	int rc;

	buf_put_u64(&data, id);
	rc = ask_with(fd, type, buf_view(&data), json, message, e);
	buf_free(&data);
	return rc;
}

static int ask_select(
    int fd, uint32_t type, const struct proto_request *p, struct buf *json, struct buf *message, struct error *e)
{
	struct buf data = BUF_INIT(8192);
	int rc = -1;

	if (p->name.len >= ADDRESS_MAX || p->other.len >= ADDRESS_MAX)
		error_set(e, "no address or domain is as long as that");
	else {
		proto_select_put(&data, p);
		rc = ask_with(fd, type, buf_view(&data), json, message, e);
	}
	buf_free(&data);
	return rc;
}

static struct proto_request select_of(const struct queue_select *q)
{
	return (struct proto_request){ .queue = q->id,
		.name = view_of(q->to),
		.other = view_of(q->from),
		.date = q->created_before,
		.flags = q->held ? SELECT_HELD : 0 };
}

int store_admin_queue_page(
    int fd, const struct queue_select *select, uint64_t *after, struct buf *json, struct error *e)
{
	struct proto_request p = select_of(select);
	struct buf place = BUF_INIT(16);
	struct cursor c;
	int rc;

	p.queue = *after;
	if ((rc = ask_select(fd, STORE_ADMIN_QUEUE_LIST, &p, json, &place, e)) != -1) {
		c = cursor_of(place.data, place.len);
		rc = place.len == 0;
		if (!rc)
			*after = cursor_u64(&c);
		if (!rc && !cursor_done(&c))
			rc = error_set(e, "store answers what this program does not understand");
	}
	buf_free(&place);
	return rc;
}

int store_admin_queue_list(int fd, struct buf *json, struct error *e)
{
	uint64_t after = 0;
	int rc;

	buf_addc(json, '[');
	do {
		struct buf page = BUF_INIT(json->max);
		if ((rc = store_admin_queue_page(fd, &(struct queue_select){ 0 }, &after, &page, e)) != -1 &&
		    page.len > 2) {
			if (json->len > 1)
				buf_addc(json, ',');
			buf_add(json, page.data + 1, page.len - 2);
		}
		buf_free(&page);
	} while (rc == 0 && !json->full);
	buf_addc(json, ']');
	if (rc == -1)
		return -1;
	return json->full ? error_set(e, "the answer is too long") : 0;
}

int store_admin_queue_summary(int fd, struct buf *place, struct buf *json, struct error *e)
{
	struct proto_request p = { .value = buf_view(place) };
	struct buf next = BUF_INIT(1024);
	int rc = ask_select(fd, STORE_ADMIN_QUEUE_SUMMARY, &p, json, &next, e);

	if (rc != -1) {
		buf_reset(place);
		buf_addv(place, buf_view(&next));
		rc = place->len == 0;
	}
	buf_free(&next);
	return rc;
}

int store_admin_queue_change(int fd, enum queue_action action, const struct queue_select *select, const char *route,
    uint64_t *count, struct error *e)
{
	struct proto_request p = select_of(select);
	struct buf answer = BUF_INIT(64);
	int rc;

	p.mode = action;
	p.value = view_of(route);
	*count = 0;
	rc = ask_select(fd, STORE_ADMIN_QUEUE_CHANGE, &p, &answer, NULL, e);
	if (rc == 0 && view_u64(buf_view(&answer), UINT64_MAX, count) == -1)
		rc = error_set(e, "store answers what this program does not understand");
	buf_free(&answer);
	return rc;
}

int store_admin_queue_show(int fd, uint64_t id, struct buf *json, struct buf *message, struct error *e)
{
	return ask(fd, STORE_ADMIN_QUEUE_SHOW, id, json, message, e);
}

int store_admin_accounts(int fd, struct buf *json, struct error *e)
{
	return ask(fd, STORE_ADMIN_ACCOUNTS, 0, json, NULL, e);
}

int store_admin_snapshot(int fd, struct buf *json, struct error *e)
{
	return ask(fd, STORE_ADMIN_SNAPSHOT, 0, json, NULL, e);
}

int store_admin_compact(int fd, enum store_compact how, struct buf *json, struct error *e)
{
	return ask(fd, STORE_ADMIN_COMPACT, how, json, NULL, e);
}
