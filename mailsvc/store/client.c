/* The callers' side of store: requests packed, replies unpacked, each with its own callback. */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "follow.h"
#include "proto.h"
#include "record.h"

TAILQ_HEAD(pending_list, pending);

struct store_client {
	struct rpc *rpc;
	struct pending_list pending;
	store_changed_fn changed;
	void *changed_arg;
	queue_item_fn item;
	void *item_arg;
	const struct follow_ops *follow;
	void *follow_arg;
	bool reads_too;
};

struct pending {
	TAILQ_ENTRY(pending) link;
	struct store_client *client;
	uint32_t id;
	store_fn fn;
	void *arg;
};

/* What is too long is sent as what is refused, not as what would close the channel. */
static struct view at_most(struct view v, size_t max)
{
	if (v.len > max)
		v.len = max;
	return v;
}

static void on_changed(struct store_client *c, struct view data)
{
	struct cursor in = cursor_of(data.ptr, data.len);
	size_t n = data.len / 4;
	uint32_t *ids = xreallocarray(NULL, n + 1, sizeof *ids);

	for (size_t i = 0; i < n; i++)
		ids[i] = cursor_u32(&in);
	if (c->changed && n)
		c->changed(c->changed_arg, ids, n);
	free(ids);
}

static void on_item(struct store_client *c, struct imsg *m)
{
	struct proto_item in;
	struct queue_item item = { 0 };
	char sender[ADDRESS_MAX], domain[ADDRESS_MAX], route[ADDRESS_MAX], envid[DSN_ENVID_MAX + 1];
	char *recipients[PROTO_QUEUE_RECIPIENTS], *orcpt[PROTO_QUEUE_RECIPIENTS];
	struct queue_dsn dsn[PROTO_QUEUE_RECIPIENTS];

	if (!c->item || proto_item_get(&in, m->data) == -1 || (m->fd != -1 && in.message.len > 0) ||
	    view_copy(in.sender, sender, sizeof sender) == -1 || view_copy(in.domain, domain, sizeof domain) == -1 ||
	    view_copy(in.route, route, sizeof route) == -1 || view_copy(in.envid, envid, sizeof envid) == -1) {
		log_warnx("event=store.queue-item error=malformed");
		return;
	}
	for (size_t i = 0; i < in.recipient_count; i++) {
		recipients[i] = view_dup(in.recipients[i]);
		orcpt[i] = view_dup(in.dsn[i].orcpt);
		dsn[i] = (struct queue_dsn){ in.dsn[i].notify, orcpt[i] };
	}
	item = (struct queue_item){ .id = in.id,
		.created = in.created,
		.due = in.due,
		.attempts = in.attempts,
		.sender = sender,
		.domain = domain,
		.recipients = (const char *const *)recipients,
		.recipient_count = in.recipient_count,
		.smtputf8 = in.flags & QUEUE_SMTPUTF8,
		.eight_bit = in.flags & QUEUE_EIGHT_BIT,
		.bounce = in.flags & QUEUE_BOUNCE,
		.delay_told = in.told,
		.wanted = in.wanted,
		.priority = (enum queue_priority)in.priority,
		.envid = envid,
		.ret = (enum dsn_ret)in.ret,
		.dsn = dsn,
		.route = route,
		.message = in.message,
		.message_fd = m->fd };
	m->fd = -1;
	c->item(c->item_arg, &item);
	for (size_t i = 0; i < in.recipient_count; i++) {
		free(recipients[i]);
		free(orcpt[i]);
	}
}

static void on_unsolicited(struct imsg *m, void *arg)
{
	struct store_client *c = arg;

	switch (m->type) {
	case STORE_CHANGED:
		on_changed(c, m->data);
		break;
	case STORE_QUEUE_ITEM:
		on_item(c, m);
		break;
	case STORE_PAGE_SHARED:
	case STORE_PAGE_READER:
		if (c->follow && m->fd != -1) {
			int fd = m->fd;
			m->fd = -1;
			c->follow->page(c->follow_arg, m->type == STORE_PAGE_SHARED, fd);
		}
		break;
	}
}

struct store_client *store_client_new(struct event_base *base)
{
	struct store_client *c = xcalloc(1, sizeof *c);

	TAILQ_INIT(&c->pending);
	c->rpc = rpc_new(base, on_unsolicited, c);
	return c;
}

void store_client_free(struct store_client *c)
{
	struct pending *p;

	rpc_free(c->rpc);
	while ((p = TAILQ_FIRST(&c->pending))) {
		TAILQ_REMOVE(&c->pending, p, link);
		free(p);
	}
	free(c);
}

void store_client_attach(struct store_client *c, int fd)
{
	if (c->follow)
		c->follow->reset(c->follow_arg);
	rpc_attach(c->rpc, fd);
}

void store_client_follow(struct store_client *c, const struct follow_ops *ops, void *arg)
{
	c->follow = ops;
	c->follow_arg = arg;
}

bool store_client_attached(const struct store_client *c)
{
	return rpc_attached(c->rpc);
}

void store_on_change(struct store_client *c, store_changed_fn fn, void *arg)
{
	c->changed = fn;
	c->changed_arg = arg;
}

void store_on_queue_item(struct store_client *c, queue_item_fn fn, void *arg)
{
	c->item = fn;
	c->item_arg = arg;
}

void store_queue_credit(struct store_client *c, uint32_t n)
{
	struct buf b = BUF_INIT(4);

	buf_put_u32(&b, n);
	rpc_notify(c->rpc, STORE_QUEUE_CREDIT, buf_view(&b), -1);
	buf_free(&b);
}

void store_queue_defer(struct store_client *c, const char *domain, int64_t until, const char *reason)
{
	struct buf b = BUF_INIT(ADDRESS_MAX + PROTO_REPLY_TEXT_MAX + 64);

	buf_put_blob(&b, at_most(view_of(domain), ADDRESS_MAX - 1));
	buf_put_u64(&b, (uint64_t)until);
	buf_put_blob(&b, at_most(view_of(reason), PROTO_REPLY_TEXT_MAX));
	rpc_notify(c->rpc, STORE_QUEUE_DEFER, buf_view(&b), -1);
	buf_free(&b);
}

void store_cancel(struct store_client *c, uint32_t id)
{
	struct pending *p;

	TAILQ_FOREACH(p, &c->pending, link)
	if (p->id == id) {
		rpc_cancel(c->rpc, id);
		TAILQ_REMOVE(&c->pending, p, link);
		free(p);
		return;
	}
}

static struct uid_range *ranges_array(struct view packed, size_t *count)
{
	struct uid_range *r;

	*count = ranges_count(packed);
	r = xreallocarray(NULL, *count + 1, sizeof *r);
	for (size_t i = 0; i < *count; i++)
		r[i] = ranges_at(packed, i);
	return r;
}

static uint64_t *modseqs_array(struct view packed, size_t *count)
{
	struct cursor c = cursor_of(packed.ptr, packed.len);
	uint64_t *at;

	*count = packed.len / 8;
	at = xreallocarray(NULL, *count + 1, sizeof(*at));
	for (size_t i = 0; i < *count; i++)
		at[i] = cursor_u64(&c);
	return at;
}

static void on_reply(void *arg, enum rpc_status status, struct imsg *m)
{
	struct pending *p = arg;
	struct store_result result = { .status = STORE_UNAVAILABLE };
	struct proto_reply in;
	struct view payload, mapped = VIEW_NONE;
	struct uid_range *source = NULL, *destination = NULL;
	uint64_t *modseqs = NULL;

	TAILQ_REMOVE(&p->client->pending, p, link);
	if (status == RPC_OK && m->type == STORE_REPLY && proto_unwrap(m, 128u << 20, &payload, &mapped) == 0 &&
	    proto_reply_get(&in, payload) == 0) {
		source = ranges_array(in.source, &result.source_count);
		destination = ranges_array(in.destination, &result.destination_count);
		result.status = in.status;
		result.mailbox = in.mailbox;
		result.uid_validity = in.uid_validity;
		result.modseq = in.modseq;
		result.queue_id = in.queue_id;
		result.count = in.count;
		modseqs = modseqs_array(in.modseqs, &result.modseq_count);
		result.source = source;
		result.destination = destination;
		result.modseqs = modseqs;
	}
	if (mapped.ptr)
		munmap((void *)(uintptr_t)mapped.ptr, mapped.len);
	if (p->fn)
		p->fn(p->arg, &result);
	free(source);
	free(destination);
	free(modseqs);
	free(p);
}

static uint32_t call(struct store_client *c, const struct proto_request *r, store_fn fn, void *arg)
{
	struct buf head = BUF_INIT(64u << 20), payload = BUF_INIT(PROTO_PAYLOAD_MAX), data = BUF_INIT(IMSG_MAX);
	struct pending *p = xcalloc(1, sizeof *p);
	int fd = -1;
	uint32_t type = r->type;

	proto_request_put(&head, r);
	proto_payload_put(&payload, buf_view(&head), r->mime, r->body);
	if (head.full || payload.full || proto_wrap(buf_view(&payload), &data, &fd) == -1) {
		log_warn("event=store.request type=%u", r->type);
		buf_reset(&data);
		type = STORE_REQUESTS; /* refused over there, so that the callback comes from the loop as ever */
	}
	p->client = c;
	p->fn = fn;
	p->arg = arg;
	TAILQ_INSERT_TAIL(&c->pending, p, link);
	p->id = rpc_call(c->rpc, type, buf_view(&data), fd, on_reply, p);
	buf_free(&head);
	buf_free(&payload);
	buf_free(&data);
	return p->id;
}

/* Of a parameter that is too long, nothing: cut, it would say something else. */
static struct view parameter_of(const char *s, size_t max)
{
	struct view v = view_of(s);

	return v.len <= max ? v : VIEW_NONE;
}

/* A delivery's parts as views; free with proto_request_free. */
static void delivery_set(struct proto_request *r, const struct store_delivery *d)
{
	size_t total = 0, used = 0;

	r->date = d->internal_date;
	r->body = d->body.body;
	r->mime = d->body.mime;
	r->local_count = d->local_count;
	r->locals = xcalloc(d->local_count + 1, sizeof *r->locals);
	for (size_t i = 0; i < d->local_count; i++)
		r->locals[i] = (struct proto_local){ view_of(d->local[i].account), view_of(d->local[i].mailbox),
			d->local[i].prefix };
	for (size_t i = 0; i < d->remote_count; i++)
		total += d->remote[i].recipient_count;
	r->remote_count = d->remote_count;
	r->remotes = xcalloc(d->remote_count + 1, sizeof *r->remotes);
	r->recipients = xcalloc(total + 1, sizeof *r->recipients);
	r->dsn = xcalloc(total + 1, sizeof *r->dsn);
	for (size_t i = 0; i < d->remote_count; i++) {
		const struct store_remote *from = &d->remote[i];
		r->remotes[i] = (struct proto_remote){ .sender = view_of(from->sender),
			.domain = view_of(from->domain),
			.flags = (from->smtputf8 ? QUEUE_SMTPUTF8 : 0u) | (from->eight_bit ? QUEUE_EIGHT_BIT : 0u) |
			         (from->bounce ? QUEUE_BOUNCE : 0u),
			.recipients = r->recipients + used,
			.recipient_count = from->recipient_count,
			.dsn = r->dsn + used,
			.envid = parameter_of(from->envid, DSN_ENVID_MAX),
			.priority = from->priority,
			.ret = from->ret };
		for (size_t j = 0; j < from->recipient_count; j++, used++) {
			r->recipients[used] = view_of(from->recipients[j]);
			if (from->dsn)
				r->dsn[used] = (struct proto_dsn){ from->dsn[j].notify,
					parameter_of(from->dsn[j].orcpt, DSN_ORCPT_MAX) };
		}
	}
}

uint32_t store_deliver(struct store_client *c, const struct store_delivery *d, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_DELIVER };
	uint32_t id;

	delivery_set(&r, d);
	id = call(c, &r, fn, arg);
	proto_request_free(&r);
	return id;
}

static void keywords_set(struct proto_request *r, const char *const *keywords, size_t count)
{
	r->keyword_count = count < KEYWORDS_MAX ? count : KEYWORDS_MAX;
	for (size_t i = 0; i < r->keyword_count; i++)
		r->keywords[i] = view_of(keywords[i]);
}

uint32_t store_append(struct store_client *c, uint32_t mailbox, const struct store_body *body, uint32_t flags,
    const char *const *keywords, size_t keyword_count, int64_t internal_date, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_APPEND,
		.mailbox = mailbox,
		.flags = flags,
		.date = internal_date,
		.body = body->body,
		.mime = body->mime };

	keywords_set(&r, keywords, keyword_count);
	return call(c, &r, fn, arg);
}

/* Bodies and records of all, one behind the other; free with proto_request_free and the two buffers. */
static void appends_set(
    struct proto_request *r, const struct store_append_item *items, size_t count, struct buf *bodies, struct buf *mimes)
{
	size_t total = 0, used = 0;

	for (size_t i = 0; i < count; i++)
		total += items[i].keyword_count;
	r->appends = xcalloc(count + 1, sizeof *r->appends);
	r->append_keywords = xcalloc(total + 1, sizeof *r->append_keywords);
	for (size_t i = 0; i < count; i++) {
		const struct store_append_item *in = &items[i];
		struct proto_append *a = &r->appends[r->append_count++];
		a->flags = in->flags;
		a->date = in->internal_date;
		a->body_len = in->body.body.len;
		a->mime_len = (uint32_t)in->body.mime.len;
		a->keywords = r->append_keywords + used;
		a->keyword_count = in->keyword_count < KEYWORDS_MAX ? in->keyword_count : KEYWORDS_MAX;
		for (size_t j = 0; j < a->keyword_count; j++)
			r->append_keywords[used++] = view_of(in->keywords[j]);
		buf_addv(bodies, in->body.body);
		buf_addv(mimes, in->body.mime);
	}
	r->body = buf_view(bodies);
	r->mime = buf_view(mimes);
}

uint32_t store_append_many(struct store_client *c, uint32_t mailbox, const struct store_append_item *items,
    size_t count, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_APPEND_MANY, .mailbox = mailbox };
	struct buf bodies = BUF_INIT(STORE_BODY_MAX), mimes = BUF_INIT(PROTO_MIMES_MAX);
	uint32_t id;

	/* Too many or too much is sent as none, which is refused. */
	if (count <= STORE_APPEND_MAX)
		appends_set(&r, items, count, &bodies, &mimes);
	if (bodies.full || mimes.full) {
		proto_request_free(&r);
		r = (struct proto_request){ .type = STORE_APPEND_MANY, .mailbox = mailbox };
	}
	id = call(c, &r, fn, arg);
	proto_request_free(&r);
	buf_free(&bodies);
	buf_free(&mimes);
	return id;
}

static int range_cmp(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sorted and joined, as the wire wants them; backward ranges (RFC 9051: 4:2 is 2:4) are turned. */
static void ranges_set(struct buf *out, const struct uid_range *in, size_t count)
{
	struct uid_range *r = xreallocarray(NULL, count + 1, sizeof *r), joined = { 0, 0 };

	for (size_t i = 0; i < count; i++) {
		r[i] = in[i].first <= in[i].last ? in[i] : (struct uid_range){ in[i].last, in[i].first };
		if (r[i].first == 0)
			r[i].first = 1;
		if (r[i].last == 0)
			r[i].last = 1;
	}
	if (count)
		qsort(r, count, sizeof *r, range_cmp);
	for (size_t i = 0; i < count; i++) {
		if (joined.first && r[i].first <= (uint64_t)joined.last + 1) {
			if (r[i].last > joined.last)
				joined.last = r[i].last;
			continue;
		}
		if (joined.first)
			ranges_put(out, joined);
		joined = r[i];
	}
	if (joined.first)
		ranges_put(out, joined);
	free(r);
}

static uint32_t call_ranges(struct store_client *c, struct proto_request *r, const struct uid_range *ranges,
    size_t count, store_fn fn, void *arg)
{
	struct buf b = BUF_INIT(64u << 20);
	uint32_t id;

	ranges_set(&b, ranges, count);
	r->ranges = buf_view(&b);
	id = call(c, r, fn, arg);
	buf_free(&b);
	return id;
}

uint32_t store_flags(struct store_client *c, uint32_t mailbox, enum flags_mode mode, uint32_t flags,
    const char *const *keywords, size_t keyword_count, const struct uid_range *ranges, size_t count, store_fn fn,
    void *arg)
{
	struct proto_request r = { .type = STORE_FLAGS, .mailbox = mailbox, .mode = mode, .flags = flags };

	keywords_set(&r, keywords, keyword_count);
	return call_ranges(c, &r, ranges, count, fn, arg);
}

uint32_t store_flags_unchanged(struct store_client *c, uint32_t mailbox, enum flags_mode mode, uint32_t flags,
    const char *const *keywords, size_t keyword_count, const struct uid_range *ranges, size_t count,
    uint64_t unchanged_since, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_FLAGS_UNCHANGED,
		.mailbox = mailbox,
		.mode = mode,
		.flags = flags,
		.unchanged_since = unchanged_since };

	keywords_set(&r, keywords, keyword_count);
	return call_ranges(c, &r, ranges, count, fn, arg);
}

uint32_t store_copy(struct store_client *c, uint32_t from, uint32_t to, bool move, const struct uid_range *ranges,
    size_t count, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_COPY, .mailbox = from, .to = to, .flags = move };

	return call_ranges(c, &r, ranges, count, fn, arg);
}

uint32_t store_expunge(struct store_client *c, uint32_t mailbox, bool only_deleted, const struct uid_range *ranges,
    size_t count, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_EXPUNGE, .mailbox = mailbox, .flags = only_deleted };

	return call_ranges(c, &r, ranges, count, fn, arg);
}

uint32_t store_claim_recent(struct store_client *c, uint32_t mailbox, store_fn fn, void *arg)
{
	return call(c, &(struct proto_request){ .type = STORE_CLAIM_RECENT, .mailbox = mailbox }, fn, arg);
}

uint32_t store_create(
    struct store_client *c, uint32_t account, const char *name, enum special_use special, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){
		.type = STORE_CREATE, .account = account, .flags = special, .name = view_of(name) },
	    fn, arg);
}

uint32_t store_delete(struct store_client *c, uint32_t mailbox, store_fn fn, void *arg)
{
	return call(c, &(struct proto_request){ .type = STORE_DELETE, .mailbox = mailbox }, fn, arg);
}

uint32_t store_rename(struct store_client *c, uint32_t mailbox, const char *name, store_fn fn, void *arg)
{
	return call(
	    c, &(struct proto_request){ .type = STORE_RENAME, .mailbox = mailbox, .name = view_of(name) }, fn, arg);
}

uint32_t store_subscribe(struct store_client *c, uint32_t account, const char *name, bool on, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_SUBSCRIBE, .account = account, .flags = on, .name = view_of(name) },
	    fn, arg);
}

uint32_t store_open_account(struct store_client *c, const char *address, store_fn fn, void *arg)
{
	return call(c, &(struct proto_request){ .type = STORE_OPEN_ACCOUNT, .name = view_of(address) }, fn, arg);
}

static struct view address_of(const char *s)
{
	return s && strlen(s) < ADDRESS_MAX ? view_of(s) : VIEW_LIT("");
}

uint32_t store_set_acl(
    struct store_client *c, uint32_t mailbox, const char *identifier, uint32_t rights, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_SET_ACL,
		.mailbox = mailbox,
		.flags = rights,
		.name = at_most(view_of(identifier), ADDRESS_MAX) },
	    fn, arg);
}

uint32_t store_set_metadata(struct store_client *c, uint32_t account, uint32_t mailbox, const char *entry,
    struct view value, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_SET_METADATA,
		.account = account,
		.mailbox = mailbox,
		.mode = value.ptr != NULL,
		.name = at_most(view_of(entry), METADATA_ENTRY_MAX + 1),
		.value = at_most(value, METADATA_VALUE_MAX + 1) },
	    fn, arg);
}

uint32_t store_import(struct store_client *c, const struct store_import *i, store_fn fn, void *arg)
{
	struct proto_request r = { .type = STORE_IMPORT,
		.name = address_of(i->account),
		.other = at_most(view_of(i->mailbox), MAILBOX_NAME_MAX),
		.uid_validity = i->uid_validity,
		.uid = i->uid,
		.key = { (const char *)i->key, sizeof i->key },
		.flags = i->flags,
		.mode = i->body.body.ptr != NULL,
		.date = i->internal_date,
		.body = i->body.body,
		.mime = i->body.mime };

	keywords_set(&r, i->keywords, i->keyword_count);
	return call(c, &r, fn, arg);
}

uint32_t store_undelete(
    struct store_client *c, uint32_t account, uint32_t mailbox, int64_t since, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_UNDELETE, .account = account, .mailbox = mailbox, .date = since },
	    fn, arg);
}

uint32_t store_rename_account(struct store_client *c, const char *from, const char *to, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_RENAME_ACCOUNT, .name = address_of(from), .other = address_of(to) },
	    fn, arg);
}

uint32_t store_hand_over(
    struct store_client *c, const char *from, const char *to, const char *folder, store_fn fn, void *arg)
{
	return call(c,
	    &(struct proto_request){ .type = STORE_HAND_OVER,
		.name = address_of(from),
		.other = address_of(to),
		.value = at_most(view_of(folder), MAILBOX_NAME_MAX) },
	    fn, arg);
}

uint32_t store_erase_account(struct store_client *c, const char *address, store_fn fn, void *arg)
{
	return call(c, &(struct proto_request){ .type = STORE_ERASE_ACCOUNT, .name = address_of(address) }, fn, arg);
}

void store_client_read_too(struct store_client *c)
{
	c->reads_too = true;
	rpc_notify(c->rpc, STORE_ADMIN_READER, VIEW_NONE, -1);
}

bool store_client_reads_too(const struct store_client *c)
{
	return c->reads_too;
}

uint32_t store_queue_result(struct store_client *c, const struct queue_result *q, store_fn fn, void *arg)
{
	struct proto_request r = {
		.type = STORE_QUEUE_RESULT, .queue = q->id, .attempt = q->attempt, .bounce = q->bounce != NULL,
		.told = q->delay_told
	};
	uint32_t id;

	if (q->bounce)
		delivery_set(&r, q->bounce);
	r.date = q->next_due;
	r.outcome_count = q->count;
	r.outcomes = xcalloc(q->count + 1, sizeof *r.outcomes);
	for (size_t i = 0; i < q->count; i++) {
		struct view reply = view_of(q->recipients[i].reply);
		if (reply.len > PROTO_REPLY_TEXT_MAX)
			reply.len = PROTO_REPLY_TEXT_MAX;
		r.outcomes[i] = (struct proto_outcome){ view_of(q->recipients[i].address), reply,
			(uint32_t)q->recipients[i].outcome };
	}
	id = call(c, &r, fn, arg);
	proto_request_free(&r);
	return id;
}
