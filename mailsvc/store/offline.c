/*
 * offline.h: the engine without the role around it.  Each request is a commit of its own, visible before its answer;
 * what the role's threads do beside (room in the log and the index, checkpoints) is done between two requests.
 */
#include "offline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/imsg.h"
#include "service.h"

struct offline {
	struct engine engine;
	struct epoch_shared *shared;
	int shared_fd, channel;
	struct readers readers;
	bool has_pages;
};

static void run(struct offline *o, struct request *r)
{
	enum run how;

	do {
		how = engine_run(&o->engine, r);
		if (engine_commit(&o->engine) == -1) {
			r->reply = (struct proto_reply){ .status = no_room(errno) ? STORE_FULL : STORE_IO };
			how = RUN_DONE;
		}
		if (engine_unpublished(&o->engine) && engine_publish(&o->engine) == -1)
			r->reply.status = STORE_FULL;
	} while (how != RUN_DONE);
}

static void beside(struct offline *o)
{
	struct engine *e = &o->engine;

	if (engine_wants_log(e))
		engine_extend(e);
	if (engine_wants_index(e))
		engine_extend_index(e);
	pins_release(e);
	if (checkpoint_due(e)) {
		checkpoint_begin(e);
		if (checkpoint_write(e) == -1)
			fatal("event=store.checkpoint");
		checkpoint_end(e);
	}
}

static int send_pages(struct offline *o)
{
	int own = -1, rc = 0;

	if (o->has_pages || readers_add(&o->readers, &own) == -1)
		return 0;
	o->has_pages = true;
	rc |= imsg_send(o->channel, STORE_PAGE_SHARED, 0, VIEW_NONE, o->shared_fd);
	rc |= imsg_send(o->channel, STORE_PAGE_READER, 0, VIEW_NONE, own);
	close(own);
	return rc;
}

static int answer(struct offline *o, uint32_t id, const struct proto_reply *reply)
{
	struct buf payload = BUF_INIT(128u << 20), data = BUF_INIT(IMSG_MAX);
	int fd = -1, rc;

	proto_reply_put(&payload, reply);
	rc = proto_wrap(buf_view(&payload), &data, &fd) == -1
	         ? -1
	         : imsg_send(o->channel, STORE_REPLY, id, buf_view(&data), fd);
	if (fd != -1)
		close(fd);
	buf_free(&payload);
	buf_free(&data);
	return rc;
}

static int request(struct offline *o, struct imsg *m)
{
	struct request *r = xcalloc(1, sizeof *r);
	struct view payload;
	int rc = -1;

	if (proto_unwrap(m, PROTO_PAYLOAD_MAX, &payload, &r->mapped) == 0) {
		if (!r->mapped.ptr) {
			r->copy = xmalloc(payload.len + 1);
			if (payload.len)
				memcpy(r->copy, payload.ptr, payload.len);
			payload.ptr = r->copy;
		}
		if (proto_request_get(&r->p, m->type, payload) == 0) {
			r->weight = payload.len + sizeof *r;
			r->visible = true;
			run(o, r);
			rc = answer(o, m->id, &r->reply);
		}
	}
	request_free(r);
	return rc;
}

static void know_accounts(struct offline *o, const struct site *site)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = (uint32_t)ENGINE_RELOAD;
	r->undelete = site->limits.undelete;
	r->accounts = engine_accounts_of(site);
	run(o, r);
	request_free(r);
}

static void serve(struct offline *o)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m = { .fd = -1 };
	int rc = 0;

	while (rc == 0 && imsg_recv(o->channel, -1, &m, &storage) == 1) {
		if (m.type == STORE_ADMIN_READER)
			rc = send_pages(o);
		else if (m.type >= STORE_REQUESTS)
			rc = answer(o, m.id, &(struct proto_reply){ .status = STORE_UNAVAILABLE });
		else
			rc = request(o, &m);
		if (m.fd != -1)
			close(m.fd);
		m.fd = -1;
		beside(o);
	}
	buf_free(&storage);
}

int store_offline(int store_dir, const struct site *site, int channel, int ready, struct error *e)
{
	struct engine_options options = { .store_dir = store_dir, .undelete = site->limits.undelete };
	struct offline *o = xcalloc(1, sizeof *o);

	o->channel = channel;
	pthread_mutex_init(&o->readers.lock, NULL);
	boot_id_read(options.boot_id);
	if (!(o->shared = epoch_shared_new(&o->shared_fd)))
		return error_errno(e, "cannot make the readers' page");
	if (engine_open(&o->engine, &options, o->shared, &o->readers, e) == -1)
		return -1;
	know_accounts(o, site);
	if (write(ready, "", 1) != 1)
		return error_errno(e, "the command is gone");
	serve(o);
	engine_close(&o->engine);
	free(o);
	return 0;
}
