/*
 * The store role: the event loop's side.  It decodes and bounds requests, queues them for the commit thread, answers,
 * tells imap what changed and which snapshots it may read, hands out the queue, watches the disk and the readers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/clock.h"
#include "service.h"

#define CHANGED_IDS_MAX 16000  /* in one message */
#define CHANGED_EACH_MS 5      /* between two such messages */
#define UNSENT_MAX (64u << 20) /* what a peer that does not read may leave waiting */
#define TROUBLE_MS 10000       /* between alerts of one kind */

#define MAY(type) (1u << (type))
static const uint32_t may[ROLE_COUNT] = {
	/* what each peer may ask */
	[ROLE_SMTP] = MAY(STORE_DELIVER) | MAY(STORE_REQUESTS),
	[ROLE_SEND] = MAY(STORE_QUEUE_RESULT) | MAY(STORE_QUEUE_CREDIT) | MAY(STORE_QUEUE_DEFER) | MAY(STORE_REQUESTS),
	[ROLE_IMAP] = MAY(STORE_APPEND) | MAY(STORE_FLAGS) | MAY(STORE_COPY) | MAY(STORE_EXPUNGE) |
	              MAY(STORE_CLAIM_RECENT) | MAY(STORE_CREATE) | MAY(STORE_DELETE) | MAY(STORE_RENAME) |
	              MAY(STORE_SUBSCRIBE) | MAY(STORE_OPEN_ACCOUNT) | MAY(STORE_REQUESTS) | MAY(STORE_APPEND_MANY) |
	              MAY(STORE_FLAGS_UNCHANGED) | MAY(STORE_SET_ACL) | MAY(STORE_SET_METADATA),
	[ROLE_FTS] = MAY(STORE_REQUESTS),
	[ROLE_MONITOR] = MAY(STORE_REQUESTS + 1) - 2, /* the command line: all requests, no credit */
};

/* Who gets a reader's pages with its channel, and is told what changed. */
static bool reads(enum role_id role)
{
	return role == ROLE_IMAP || role == ROLE_FTS;
}

/* Channels ------------------------------------------------------------------------------------------------- */

struct channel *channel_find(struct keeper *s, uint64_t serial)
{
	struct channel *ch;

	TAILQ_FOREACH(ch, &s->channels, link)
	if (ch->serial == serial)
		return ch;
	return NULL;
}

void channel_close(struct channel *ch)
{
	struct keeper *s = ch->service;
	bool gave_back = ch->in_flight.count > 0;

	queue_channel_closed(ch);
	TAILQ_REMOVE(&s->channels, ch, link);
	chan_free(ch->chan);
	if (ch->slot != -1)
		readers_remove(&s->readers, ch->slot);
	if (ch->holds)
		compact_unhold(&s->engine);
	if (ch->role == ROLE_MONITOR)
		s->admin_channels--;
	free(ch);
	if (gave_back)
		queue_pump(s);
}

void channel_kill(struct channel *ch, const char *why)
{
	if (ch->role != ROLE_MONITOR)
		role_kill_peer(ch->service->ctx, ch->role, ch->instance, why);
	channel_close(ch);
}

static void on_closed(struct chan *chan, void *arg)
{
	if (chan_broken(chan))
		channel_kill(arg, "malformed message");
	else
		channel_close(arg);
}

/* May close the channel. */
static void reply(struct channel *ch, uint32_t id, const struct proto_reply *r)
{
	struct buf payload = BUF_INIT(128u << 20), data = BUF_INIT(IMSG_MAX);
	int fd;

	if (chan_queued(ch->chan) > UNSENT_MAX) {
		log_warnx("event=store.slow-peer peer=%s.%u", role_name(ch->role), ch->instance);
		channel_kill(ch, "it does not read its answers");
		return;
	}
	proto_reply_put(&payload, r);
	if (proto_wrap(buf_view(&payload), &data, &fd) == -1)
		fatal("event=store.reply");
	chan_send(ch->chan, STORE_REPLY, id, buf_view(&data), fd);
	buf_free(&payload);
	buf_free(&data);
}

void service_submit(struct channel *ch, struct request *r)
{
	struct keeper *s = ch->service;

	/* One that is larger than all may be together waits until it is alone. */
	if (s->drain_until || s->pending >= PENDING_MAX ||
	    (s->pending > 0 && s->pending_bytes + r->weight > PENDING_BYTES_MAX)) {
		r->reply.status = STORE_UNAVAILABLE;
		if (r->p.type > STORE_REQUESTS)
			admin_done(ch, r);
		else
			reply(ch, r->id, &r->reply);
		request_free(r);
		return;
	}
	r->channel = ch->serial;
	s->pending++;
	s->pending_bytes += r->weight;
	if (r->p.type == STORE_QUEUE_RESULT)
		queue_result_begins(s, r->p.queue);
	commit_submit(s->commit, r);
}

static void on_request(struct channel *ch, struct imsg *m)
{
	struct request *r = xcalloc(1, sizeof *r);
	struct view payload;

	if (proto_unwrap(m, PROTO_PAYLOAD_MAX, &payload, &r->mapped) == -1)
		goto bad;
	if (!r->mapped.ptr) { /* the message's bytes last for this callback only */
		r->copy = xmalloc(payload.len + 1);
		if (payload.len)
			memcpy(r->copy, payload.ptr, payload.len);
		payload.ptr = r->copy;
	}
	if (proto_request_get(&r->p, m->type, payload) == -1)
		goto bad;
	r->id = m->id;
	r->weight = payload.len + sizeof *r;
	r->visible = ch->role != ROLE_SMTP;
	service_submit(ch, r);
	return;
bad:
	log_warnx("event=store.malformed peer=%s.%u type=%u", role_name(ch->role), ch->instance, m->type);
	request_free(r);
	channel_kill(ch, "malformed request");
}

static void on_credit(struct channel *ch, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint32_t n = cursor_u32(&c);

	if (!cursor_done(&c) || n > 100000 - ch->credit) {
		log_warnx("event=store.malformed peer=%s.%u type=%u", role_name(ch->role), ch->instance, m->type);
		channel_kill(ch, "malformed credit");
		return;
	}
	ch->credit += n;
	queue_pump(ch->service);
}

static void on_defer(struct channel *ch, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct view destination = cursor_blob(&c, ADDRESS_MAX - 1), reason;
	int64_t until = (int64_t)cursor_u64(&c);

	reason = cursor_blob(&c, PROTO_REPLY_TEXT_MAX);
	if (!cursor_done(&c) || destination.len == 0 || until < 0) {
		log_warnx("event=store.malformed peer=%s.%u type=%u", role_name(ch->role), ch->instance, m->type);
		channel_kill(ch, "malformed deferral");
		return;
	}
	queue_defer(ch->service, destination, until, reason);
}

/* Command lines with a page: imap must always find one. */
static size_t admin_readers(const struct keeper *s)
{
	const struct channel *ch;
	size_t n = 0;

	TAILQ_FOREACH(ch, &s->channels, link)
	n += ch->role == ROLE_MONITOR && ch->slot != -1;
	return n;
}

static void send_pages(struct channel *ch)
{
	struct keeper *s = ch->service;
	int own = -1, shared = fcntl(s->shared_fd, F_DUPFD_CLOEXEC, 3);

	if (shared != -1 && ch->role == ROLE_MONITOR && admin_readers(s) >= ADMIN_READERS_MAX) {
		log_warnx("event=store.admin error=\"too many read at once\"");
		close(shared);
		return;
	}
	if (shared == -1 || (ch->slot = readers_add(&s->readers, &own)) == -1) {
		log_warn("event=store.pages peer=%s.%u", role_name(ch->role), ch->instance);
		if (shared != -1)
			close(shared);
		return;
	}
	chan_send(ch->chan, STORE_PAGE_SHARED, 0, VIEW_NONE, shared);
	chan_send(ch->chan, STORE_PAGE_READER, 0, VIEW_NONE, own);
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct channel *ch = arg;

	(void)chan;
	if (ch->role == ROLE_MONITOR && m->type == STORE_ADMIN_READER) {
		if (ch->slot == -1) /* else it has them */
			send_pages(ch);
	} else if (ch->role == ROLE_MONITOR && m->type > STORE_REQUESTS)
		admin_message(ch, m);
	else if (m->type > STORE_QUEUE_DEFER || !(may[ch->role] & MAY(m->type))) {
		log_warnx("event=store.refused peer=%s.%u type=%u", role_name(ch->role), ch->instance, m->type);
		channel_kill(ch, "a request that is not its own");
	} else if (m->type == STORE_QUEUE_CREDIT)
		on_credit(ch, m);
	else if (m->type == STORE_QUEUE_DEFER)
		on_defer(ch, m);
	else if (m->type == STORE_REQUESTS)
		reply(ch, m->id, &(struct proto_reply){ .status = STORE_UNAVAILABLE });
	else
		on_request(ch, m);
}

static void channel_open(struct keeper *s, enum role_id role, unsigned instance, int fd)
{
	static const struct chan_ops ops = { on_message, on_closed };
	struct channel *ch, *next;

	for (ch = TAILQ_FIRST(&s->channels); ch; ch = next) {
		next = TAILQ_NEXT(ch, link);
		if (role != ROLE_MONITOR && ch->role == role && ch->instance == instance) {
			channel_close(ch); /* its process died */
			break;
		}
	}
	if (role == ROLE_MONITOR && s->admin_channels >= ADMIN_CHANNELS_MAX) {
		log_warnx("event=store.admin error=\"too many at once\"");
		close(fd);
		return;
	}
	ch = xcalloc(1, sizeof *ch);
	ch->service = s;
	ch->serial = ++s->last_serial;
	ch->role = role;
	ch->instance = instance;
	ch->slot = -1;
	ch->chan = chan_new(s->ctx->base, fd, &ops, ch);
	TAILQ_INSERT_TAIL(&s->channels, ch, link);
	if (role == ROLE_MONITOR)
		s->admin_channels++;
	if (reads(role))
		send_pages(ch);
}

/* From the commit thread, in the loop ------------------------------------------------------------------------ */

static void on_done(void *arg, struct request *r)
{
	struct keeper *s = arg;
	struct channel *ch = channel_find(s, r->channel);

	if (r->p.type != ENGINE_RELOAD) {
		s->pending--;
		s->pending_bytes -= r->weight;
	}
	if (ch && r->p.type > STORE_REQUESTS)
		admin_done(ch, r);
	else if (ch) {
		/* An entry whose result could not be kept stays in flight: handed out again it would be sent twice. */
		if (r->p.type == STORE_QUEUE_RESULT &&
		    (r->reply.status == STORE_OK || r->reply.status == STORE_INVALID))
			queue_taken_back(ch, r->p.queue);
		reply(ch, r->id, &r->reply);
	}
	if (r->p.type == STORE_QUEUE_RESULT) {
		queue_result_ends(s, r->p.queue, r->reply.status == STORE_OK || r->reply.status == STORE_INVALID);
		queue_pump(s);
	}
	request_free(r);
}

static void changed_send(struct keeper *s)
{
	size_t count = ids_unique(s->changed, s->changed_count);
	struct channel *ch, *next;

	s->changed_count = 0;
	s->changed_sent = clock_mono_ms();
	for (size_t at = 0; at < count; at += CHANGED_IDS_MAX) {
		struct buf b = BUF_INIT(IMSG_MAX);
		for (size_t i = at; i < count && i < at + CHANGED_IDS_MAX; i++)
			buf_put_u32(&b, s->changed[i]);
		for (ch = TAILQ_FIRST(&s->channels); ch; ch = next) {
			next = TAILQ_NEXT(ch, link);
			if (reads(ch->role) && chan_queued(ch->chan) > UNSENT_MAX) {
				log_warnx("event=store.slow-peer peer=%s.%u", role_name(ch->role), ch->instance);
				channel_kill(ch, "it does not read what changed");
			} else if (reads(ch->role))
				chan_send(ch->chan, STORE_CHANGED, 0, buf_view(&b), -1);
		}
		buf_free(&b);
	}
}

static void on_changed_timer(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	changed_send(arg);
}

/* The first of a burst is told at once, the rest together: each message wakes every imap process. */
static void on_published(void *arg, const uint32_t *mailboxes, size_t count, struct buf *queued)
{
	static const struct timeval pause = { 0, CHANGED_EACH_MS * 1000 };
	struct keeper *s = arg;

	if (s->changed_size - s->changed_count < count) {
		s->changed_size = s->changed_count + count + 64;
		s->changed = xreallocarray(s->changed, s->changed_size, sizeof *s->changed);
	}
	if (count)
		memcpy(s->changed + s->changed_count, mailboxes, count * sizeof *mailboxes);
	s->changed_count += count;
	if (s->changed_count && clock_mono_ms() - s->changed_sent >= CHANGED_EACH_MS)
		changed_send(s);
	else if (s->changed_count && !evtimer_pending(s->changed_timer, NULL))
		evtimer_add(s->changed_timer, &pause);
	queue_news(s, queued);
}

static void on_trouble(void *arg, int error)
{
	struct keeper *s = arg;
	uint64_t now = clock_mono_ms();

	if (s->troubled && now - s->troubled < TROUBLE_MS) /* each refused message is logged where it is refused */
		return;
	s->troubled = now;
	role_alert(s->ctx, "store-write", "the log cannot be written: %s; mail is refused for now", strerror(error));
}

/* Time ------------------------------------------------------------------------------------------------------ */

static void watch_disk(struct keeper *s)
{
	struct statvfs st;
	uint64_t left;
	bool full;

	if (fstatvfs(s->engine.dir, &st) == -1)
		return;
	left = (uint64_t)st.f_bavail * st.f_frsize;
	full = left < s->ctx->site->limits.disk_reserve;
	if (full && !atomic_load(&s->engine.full))
		role_alert(s->ctx, "disk-reserve",
		    "only %llu MiB are left on the disk: new mail is refused (452) until there is room",
		    (unsigned long long)(left >> 20));
	if (!full && atomic_load(&s->engine.full))
		log_info("event=store.disk-reserve state=over");
	atomic_store(&s->engine.full, full);
}

static void watch_readers(struct keeper *s)
{
	int slot = readers_laggard(&s->readers, atomic_load(&s->shared->epoch), clock_mono_ms(), VIEW_SNAPSHOT_MAX_MS);
	struct channel *ch;

	if (slot == -1)
		return;
	TAILQ_FOREACH(ch, &s->channels, link)
	if (ch->slot == slot) {
		role_alert(s->ctx, "reader-stuck",
		    "%s.%u has read one snapshot for more than %d s: it is started again", role_name(ch->role),
		    ch->instance, VIEW_SNAPSHOT_MAX_MS / 1000);
		channel_kill(ch, "stuck in a snapshot");
		return;
	}
}

static void on_tick(int fd, short what, void *arg)
{
	struct keeper *s = arg;

	(void)fd;
	(void)what;
	watch_disk(s);
	watch_readers(s);
	body_reader_trim(&s->bodies);
}

static void on_queue_timer(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	queue_timer(arg);
}

/* The role's life --------------------------------------------------------------------------------------------- */

static struct keeper *service_of(struct role_ctx *ctx)
{
	struct keeper *s = ctx->state;

	if (s)
		return s;
	s = ctx->state = xcalloc(1, sizeof *s);
	s->ctx = ctx;
	s->shared_fd = -1;
	s->in_flight_max = IN_FLIGHT_BYTES_MAX;
	TAILQ_INIT(&s->channels);
	pthread_mutex_init(&s->readers.lock, NULL);
	return s;
}

static int store_init(struct role_ctx *ctx, struct error *e)
{
	struct keeper *s = service_of(ctx);
	struct engine_options o = { .store_dir = ctx->fds[ROLE_FD_STORE_DIR], .undelete = ctx->site->limits.undelete };

	boot_id_read(o.boot_id);
	if (!(s->shared = epoch_shared_new(&s->shared_fd)))
		return error_errno(e, "cannot make the readers' page");
	if (engine_open(&s->engine, &o, s->shared, &s->readers, e) == -1)
		return -1;
	body_reader_init(&s->bodies, s->engine.log_dir);
	log_info("event=store.open segment=%u offset=%llu sequence=%llu replayed=%llu", s->engine.log.number,
	    (unsigned long long)s->engine.log.offset, (unsigned long long)s->engine.log.sequence,
	    (unsigned long long)s->engine.replayed);
	return 0;
}

static void store_sandbox(struct role_ctx *ctx, struct sandbox *box)
{
	static const char *paths[2];

	paths[0] = site_state(ctx->site, "store");
	box->may |= SANDBOX_OPEN_WRITE | SANDBOX_THREADS | SANDBOX_MEMFD;
	box->write_paths = paths;
}

static void submit_accounts(struct keeper *s)
{
	const struct site *site = s->ctx->site;
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = ENGINE_RELOAD;
	r->undelete = site->limits.undelete;
	r->accounts = engine_accounts_of(site);
	commit_submit(s->commit, r);
}

static void store_start(struct role_ctx *ctx)
{
	static const struct commit_ops ops = { on_done, on_published, on_trouble };
	static const struct timeval second = { 1, 0 };
	struct keeper *s = service_of(ctx);

	watch_disk(s);
	s->tick = event_new(ctx->base, -1, EV_PERSIST, on_tick, s);
	event_add(s->tick, &second);
	s->queue_timer = evtimer_new(ctx->base, on_queue_timer, s);
	s->changed_timer = evtimer_new(ctx->base, on_changed_timer, s);
	queue_start(s);
	s->commit = commit_start(ctx->base, &s->engine, &ops, s);
	submit_accounts(s);
	for (size_t i = 0; i < s->early_count; i++)
		channel_open(s, s->early[i].role, s->early[i].instance, s->early[i].fd);
	free(s->early);
	s->early = NULL;
	s->early_count = 0;
	if (s->engine.damage_count)
		role_alert(ctx, "store-damage", "%llu damaged places in the log: run mailadm store verify",
		    (unsigned long long)s->engine.damage_count);
}

static void store_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, int fd)
{
	struct keeper *s = service_of(ctx);

	if (s->commit) {
		channel_open(s, role, instance, fd);
		return;
	}
	s->early = xreallocarray(s->early, s->early_count + 1, sizeof *s->early);
	s->early[s->early_count++] = (struct early){ role, instance, fd };
}

static void store_reload(struct role_ctx *ctx)
{
	struct keeper *s = service_of(ctx);

	submit_accounts(s);
	watch_disk(s);
	queue_reload(s);
}

static size_t unsent(const struct keeper *s)
{
	const struct channel *ch;
	size_t n = 0;

	TAILQ_FOREACH(ch, &s->channels, link)
	n += chan_queued(ch->chan);
	return n;
}

static void on_drain(int fd, short what, void *arg)
{
	static const struct timeval soon = { 0, 10000 };
	struct keeper *s = arg;

	(void)fd;
	(void)what;
	if ((s->pending || unsent(s)) && clock_mono_ms() < s->drain_until) {
		evtimer_add(s->drain_timer, &soon);
		return;
	}
	commit_stop(s->commit);
	s->commit = NULL;
	log_info("event=store.closed");
	role_exit(s->ctx);
}

static void store_drain(struct role_ctx *ctx)
{
	static const struct timeval now = { 0, 0 };
	struct keeper *s = service_of(ctx);

	if (!s->commit) {
		role_exit(ctx);
		return;
	}
	if (s->drain_until)
		return;
	s->drain_until = clock_mono_ms() + 5000;
	s->drain_timer = evtimer_new(ctx->base, on_drain, s);
	event_del(s->tick);
	evtimer_add(s->drain_timer, &now);
}

static void store_status(struct role_ctx *ctx, struct buf *json)
{
	struct keeper *s = service_of(ctx);

	buf_printf(json, "\"pending\": %llu, \"damage\": %llu, \"full\": %s, \"queued\": %llu",
	    (unsigned long long)s->pending, (unsigned long long)s->engine.damage_count,
	    atomic_load(&s->engine.full) ? "true" : "false", (unsigned long long)queue_length(s));
}

const struct role role_store = {
	.id = ROLE_STORE,
	.name = "store",
	.user = "mailadm-store",
	.init = store_init,
	.sandbox = store_sandbox,
	.start = store_start,
	.reload = store_reload,
	.peer = store_peer,
	.drain = store_drain,
	.status = store_status,
};
