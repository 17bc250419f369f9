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
static int ask(int fd, uint32_t type, uint64_t id, struct buf *json, struct buf *message, struct error *e)
{
	struct buf data = BUF_INIT(16), storage = BUF_INIT(IMSG_MAX + 64);
	struct view payload, mapped = VIEW_NONE, text;
	struct imsg m = { .fd = -1 };
	struct cursor c;
	uint8_t found;
	int rc = -1;

	buf_put_u64(&data, id);
	if (imsg_send(fd, type, 1, buf_view(&data), -1) == -1 || imsg_recv(fd, ADMIN_TIMEOUT_MS, &m, &storage) != 1) {
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
	buf_free(&data);
	buf_free(&storage);
	return rc;
}

int store_admin_queue_list(int fd, struct buf *json, struct error *e)
{
	return ask(fd, STORE_ADMIN_QUEUE_LIST, 0, json, NULL, e);
}

int store_admin_queue_show(int fd, uint64_t id, struct buf *json, struct buf *message, struct error *e)
{
	return ask(fd, STORE_ADMIN_QUEUE_SHOW, id, json, message, e);
}

int store_admin_queue_retry(int fd, uint64_t id, struct error *e)
{
	return ask(fd, STORE_ADMIN_QUEUE_RETRY, id, NULL, NULL, e);
}

int store_admin_queue_drop(int fd, uint64_t id, struct error *e)
{
	return ask(fd, STORE_ADMIN_QUEUE_DROP, id, NULL, NULL, e);
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
