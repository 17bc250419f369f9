/* Typed put and get for each message, side by side; see proto.h for limits. */
#include "proto.h"

#include <stdlib.h>
#include <string.h>

#include "record.h"

static void put_count(struct buf *b, size_t n)
{
	buf_put_u32(b, (uint32_t)n);
}

/* A count of things of at least `least` bytes each: never more than what is left can hold. */
static size_t get_count(struct cursor *c, size_t max, size_t least)
{
	size_t n = cursor_u32(c);

	if (n > max || n > c->left / least) {
		c->bad = true;
		return 0;
	}
	return n;
}

/* An address or a domain: what a C string of ADDRESS_MAX holds, and nothing that could end a line of SMTP. */
static struct view get_address(struct cursor *c)
{
	struct view v = cursor_blob(c, ADDRESS_MAX - 1);

	for (size_t i = 0; i < v.len; i++)
		c->bad |= (unsigned char)v.ptr[i] < 0x20 || v.ptr[i] == 0x7f;
	return v;
}

/* Of an SMTP parameter: no space, nothing that could end a line. */
static struct view get_parameter(struct cursor *c, size_t max)
{
	struct view v = cursor_blob(c, max);

	for (size_t i = 0; i < v.len; i++)
		c->bad |= (unsigned char)v.ptr[i] <= 0x20 || v.ptr[i] == 0x7f;
	return v;
}

/* Years 1 to 9999 (RFC 5322, RFC 3501): no caller has others, and not every formatter bears them. */
static int64_t get_date(struct cursor *c)
{
	const int64_t first = -62135596800, last = 253402300799;
	int64_t date = (int64_t)cursor_u64(c);

	return date < first ? first : date > last ? last : date;
}

static void put_dsn(struct buf *b, const struct proto_dsn *dsn)
{
	buf_put_u8(b, dsn ? (uint8_t)dsn->notify : 0);
	buf_put_blob(b, dsn ? dsn->orcpt : VIEW_NONE);
}

static void get_dsn(struct cursor *c, struct proto_dsn *dsn)
{
	dsn->notify = cursor_u8(c);
	dsn->orcpt = get_parameter(c, DSN_ORCPT_MAX);
	c->bad |= dsn->notify > (DSN_NEVER | DSN_SUCCESS | DSN_FAILURE | DSN_DELAY);
}

static void put_remote(struct buf *b, const struct proto_remote *remote)
{
	buf_put_blob(b, remote->sender);
	buf_put_blob(b, remote->domain);
	buf_put_u32(b, remote->flags);
	buf_put_u8(b, (uint8_t)remote->priority);
	buf_put_u8(b, (uint8_t)remote->ret);
	buf_put_blob(b, remote->envid);
	put_count(b, remote->recipient_count);
	for (size_t i = 0; i < remote->recipient_count; i++) {
		buf_put_blob(b, remote->recipients[i]);
		put_dsn(b, remote->dsn ? &remote->dsn[i] : NULL);
	}
}

static void put_delivery(struct buf *b, const struct proto_request *r)
{
	size_t total = 0;

	buf_put_u64(b, (uint64_t)r->date);
	put_count(b, r->local_count);
	for (size_t i = 0; i < r->local_count; i++) {
		buf_put_blob(b, r->locals[i].account);
		buf_put_blob(b, r->locals[i].mailbox);
		buf_put_blob(b, r->locals[i].prefix);
	}
	for (size_t i = 0; i < r->remote_count; i++)
		total += r->remotes[i].recipient_count;
	put_count(b, r->remote_count);
	put_count(b, total);
	for (size_t i = 0; i < r->remote_count; i++)
		put_remote(b, &r->remotes[i]);
}

static void get_remote(
    struct cursor *c, struct proto_remote *remote, struct view *recipients, struct proto_dsn *dsn, size_t room)
{
	remote->sender = get_address(c);
	remote->domain = get_address(c);
	remote->flags = cursor_u32(c);
	remote->priority = cursor_u8(c);
	remote->ret = cursor_u8(c);
	remote->envid = get_parameter(c, DSN_ENVID_MAX);
	remote->recipient_count = get_count(c, PROTO_QUEUE_RECIPIENTS, 9);
	remote->recipients = recipients;
	remote->dsn = dsn;
	c->bad |= remote->flags > 7 || remote->priority > QUEUE_LAST || remote->ret > DSN_RET_HDRS ||
	          remote->recipient_count == 0 || remote->recipient_count > room;
	for (size_t i = 0; i < remote->recipient_count && !c->bad; i++) {
		recipients[i] = get_address(c);
		get_dsn(c, &dsn[i]);
		c->bad |= recipients[i].len == 0;
	}
}

static void get_remotes(struct cursor *c, struct proto_request *r)
{
	size_t n = get_count(c, STORE_RECIPIENTS_MAX, 22), total = get_count(c, PROTO_RECIPIENTS_MAX, 9), used = 0;

	r->remotes = xcalloc(n + 1, sizeof *r->remotes);
	r->recipients = xcalloc(total + 1, sizeof *r->recipients);
	r->dsn = xcalloc(total + 1, sizeof *r->dsn);
	for (size_t i = 0; i < n && !c->bad; i++) {
		struct proto_remote *remote = &r->remotes[r->remote_count++];
		get_remote(c, remote, r->recipients + used, r->dsn + used, total - used);
		used += c->bad ? 0 : remote->recipient_count;
	}
}

static void get_delivery(struct cursor *c, struct proto_request *r)
{
	size_t n;

	r->date = get_date(c);
	n = get_count(c, STORE_RECIPIENTS_MAX, 12);
	r->locals = xcalloc(n + 1, sizeof *r->locals);
	for (size_t i = 0; i < n && !c->bad; i++) {
		struct proto_local *local = &r->locals[r->local_count++];
		local->account = get_address(c);
		local->mailbox = cursor_blob(c, MAILBOX_NAME_MAX);
		local->prefix = cursor_blob(c, PROTO_PREFIX_MAX);
	}
	get_remotes(c, r);
	if (r->local_count + r->remote_count == 0)
		c->bad = true;
}

static void put_keywords(struct buf *b, const struct proto_request *r)
{
	put_count(b, r->keyword_count);
	for (size_t i = 0; i < r->keyword_count; i++)
		buf_put_blob(b, r->keywords[i]);
}

static struct view get_keyword(struct cursor *c)
{
	struct view v = cursor_blob(c, KEYWORD_NAME_MAX);

	c->bad |= v.len == 0;
	return v;
}

static void get_keywords_list(struct cursor *c, struct proto_request *r)
{
	r->keyword_count = get_count(c, KEYWORDS_MAX, 4);
	for (size_t i = 0; i < r->keyword_count; i++)
		r->keywords[i] = get_keyword(c);
	if (c->bad)
		r->keyword_count = 0;
}

static void put_appends(struct buf *b, const struct proto_request *r)
{
	size_t total = 0;

	buf_put_u32(b, r->mailbox);
	for (size_t i = 0; i < r->append_count; i++)
		total += r->appends[i].keyword_count;
	put_count(b, r->append_count);
	put_count(b, total);
	for (size_t i = 0; i < r->append_count; i++) {
		const struct proto_append *a = &r->appends[i];
		buf_put_u32(b, a->flags);
		buf_put_u32(b, a->mime_len);
		buf_put_u64(b, a->body_len);
		buf_put_u64(b, (uint64_t)a->date);
		put_count(b, a->keyword_count);
		for (size_t j = 0; j < a->keyword_count; j++)
			buf_put_blob(b, a->keywords[j]);
	}
}

/* The lengths add up to what the payload holds. */
static void get_appends(struct cursor *c, struct proto_request *r)
{
	size_t n, total, used = 0;
	uint64_t body = 0, mime = 0;

	r->mailbox = cursor_u32(c);
	n = get_count(c, STORE_APPEND_MAX, 28);
	total = get_count(c, (size_t)STORE_APPEND_MAX * KEYWORDS_MAX, 4);
	r->appends = xcalloc(n + 1, sizeof *r->appends);
	r->append_keywords = xcalloc(total + 1, sizeof *r->append_keywords);
	for (size_t i = 0; i < n && !c->bad; i++) {
		struct proto_append *a = &r->appends[r->append_count++];
		a->flags = cursor_u32(c);
		a->mime_len = cursor_u32(c);
		a->body_len = cursor_u64(c);
		a->date = get_date(c);
		a->keyword_count = get_count(c, KEYWORDS_MAX, 4);
		a->keywords = r->append_keywords + used;
		if (a->keyword_count > total - used || a->body_len > r->body.len - body ||
		    a->mime_len > r->mime.len - mime || a->mime_len > PROTO_MIME_MAX) {
			c->bad = true;
			break;
		}
		body += a->body_len;
		mime += a->mime_len;
		for (size_t j = 0; j < a->keyword_count; j++)
			r->append_keywords[used++] = get_keyword(c);
	}
	c->bad |= body != r->body.len || mime != r->mime.len;
}

static void put_import(struct buf *b, const struct proto_request *r)
{
	buf_put_blob(b, r->name);  /* account */
	buf_put_blob(b, r->other); /* mailbox */
	buf_put_u32(b, r->uid_validity);
	buf_put_u32(b, r->uid);
	buf_put_blob(b, r->key);
	buf_put_u32(b, r->flags);
	put_keywords(b, r);
	buf_put_u64(b, (uint64_t)r->date);
	buf_put_u32(b, r->mode); /* 1: there is a message */
}

static void get_import(struct cursor *c, struct proto_request *r)
{
	r->name = get_address(c);
	r->other = cursor_blob(c, MAILBOX_NAME_MAX);
	r->uid_validity = cursor_u32(c);
	r->uid = cursor_u32(c);
	r->key = cursor_blob(c, IMPORT_KEY_LEN);
	r->flags = cursor_u32(c);
	get_keywords_list(c, r);
	r->date = get_date(c);
	r->mode = cursor_u32(c);
	c->bad |= r->key.len != IMPORT_KEY_LEN || r->mode > 1 || (r->mode == 0 && r->body.len != 0);
}

static struct view get_ranges(struct cursor *c)
{
	struct view v = cursor_blob(c, STORE_RANGES_MAX * 8);

	if (!ranges_ok(v)) {
		c->bad = true;
		return VIEW_NONE;
	}
	return v;
}

static void put_outcomes(struct buf *b, const struct proto_request *r)
{
	buf_put_u64(b, r->queue);
	buf_put_u64(b, (uint64_t)r->date);
	put_count(b, r->outcome_count);
	for (size_t i = 0; i < r->outcome_count; i++) {
		buf_put_blob(b, r->outcomes[i].address);
		buf_put_u32(b, r->outcomes[i].outcome);
		buf_put_blob(b, r->outcomes[i].reply);
	}
}

static void get_outcomes(struct cursor *c, struct proto_request *r)
{
	size_t n;

	r->queue = cursor_u64(c);
	r->date = (int64_t)cursor_u64(c);
	n = get_count(c, PROTO_QUEUE_RECIPIENTS, 12);
	r->outcomes = xcalloc(n + 1, sizeof *r->outcomes);
	for (size_t i = 0; i < n && !c->bad; i++) {
		r->outcomes[i].address = get_address(c);
		r->outcomes[i].outcome = cursor_u32(c);
		r->outcomes[i].reply = cursor_blob(c, PROTO_REPLY_TEXT_MAX);
		c->bad |= r->outcomes[i].outcome > QUEUE_FAILED;
		r->outcome_count++;
	}
}

/* Sharing, annotations, migration, account life. */
static void put_further(struct buf *b, const struct proto_request *r)
{
	switch ((enum store_message)r->type) {
	case STORE_APPEND_MANY:
		put_appends(b, r);
		break;
	case STORE_SET_ACL:
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->flags);
		buf_put_blob(b, r->name);
		break;
	case STORE_SET_METADATA:
		buf_put_u32(b, r->account);
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->mode); /* 1: set */
		buf_put_blob(b, r->name);
		buf_put_blob(b, r->value);
		break;
	case STORE_IMPORT:
		put_import(b, r);
		break;
	case STORE_UNDELETE:
		buf_put_u32(b, r->account);
		buf_put_u32(b, r->mailbox);
		buf_put_u64(b, (uint64_t)r->date);
		break;
	case STORE_RENAME_ACCOUNT:
	case STORE_HAND_OVER:
		buf_put_blob(b, r->name);
		buf_put_blob(b, r->other);
		if (r->type == STORE_HAND_OVER)
			buf_put_blob(b, r->value); /* the folder */
		break;
	case STORE_ERASE_ACCOUNT:
		buf_put_blob(b, r->name);
		break;
	default:
		break;
	}
}

void proto_request_put(struct buf *b, const struct proto_request *r)
{
	switch ((enum store_message)r->type) {
	case STORE_DELIVER:
		put_delivery(b, r);
		break;
	case STORE_APPEND:
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->flags);
		put_keywords(b, r);
		buf_put_u64(b, (uint64_t)r->date);
		break;
	case STORE_FLAGS:
	case STORE_FLAGS_UNCHANGED:
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->mode);
		buf_put_u32(b, r->flags);
		put_keywords(b, r);
		buf_put_blob(b, r->ranges);
		if (r->type == STORE_FLAGS_UNCHANGED)
			buf_put_u64(b, r->unchanged_since);
		break;
	case STORE_COPY:
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->to);
		buf_put_u32(b, r->flags); /* 1: move */
		buf_put_blob(b, r->ranges);
		break;
	case STORE_EXPUNGE:
		buf_put_u32(b, r->mailbox);
		buf_put_u32(b, r->flags); /* 1: only what is \Deleted */
		buf_put_blob(b, r->ranges);
		break;
	case STORE_CLAIM_RECENT:
	case STORE_DELETE:
		buf_put_u32(b, r->mailbox);
		break;
	case STORE_CREATE:
		buf_put_u32(b, r->account);
		buf_put_u32(b, r->flags); /* special use */
		buf_put_blob(b, r->name);
		break;
	case STORE_RENAME:
		buf_put_u32(b, r->mailbox);
		buf_put_blob(b, r->name);
		break;
	case STORE_SUBSCRIBE:
		buf_put_u32(b, r->account);
		buf_put_u32(b, r->flags); /* 1: on */
		buf_put_blob(b, r->name);
		break;
	case STORE_OPEN_ACCOUNT:
		buf_put_blob(b, r->name);
		break;
	case STORE_QUEUE_RESULT:
		put_outcomes(b, r);
		buf_put_u32(b, r->attempt);
		buf_put_u8(b, r->told);
		buf_put_u8(b, r->bounce);
		if (r->bounce)
			put_delivery(b, r);
		break;
	default:
		put_further(b, r);
		break;
	}
}

static void get_result(struct cursor *c, struct proto_request *r)
{
	int64_t due;
	uint8_t bounce, told;

	get_outcomes(c, r);
	due = r->date;
	r->attempt = cursor_u32(c);
	told = cursor_u8(c);
	bounce = cursor_u8(c);
	r->told = told == 1;
	r->bounce = bounce == 1;
	c->bad |= bounce > 1 || told > 1;
	if (r->bounce)
		get_delivery(c, r); /* sets date to the bounce's; a queue result keeps its own */
	r->date = due;
}

/* Requests that name a mailbox first. */
static void get_mailbox_head(struct cursor *c, struct proto_request *r)
{
	r->mailbox = cursor_u32(c);
	switch ((enum store_message)r->type) {
	case STORE_APPEND:
		r->flags = cursor_u32(c);
		get_keywords_list(c, r);
		r->date = get_date(c);
		break;
	case STORE_FLAGS:
	case STORE_FLAGS_UNCHANGED:
		r->mode = cursor_u32(c);
		r->flags = cursor_u32(c);
		get_keywords_list(c, r);
		r->ranges = get_ranges(c);
		if (r->type == STORE_FLAGS_UNCHANGED)
			r->unchanged_since = cursor_u64(c);
		c->bad |= r->mode > FLAGS_REMOVE;
		break;
	case STORE_COPY:
		r->to = cursor_u32(c);
		r->flags = cursor_u32(c);
		r->ranges = get_ranges(c);
		c->bad |= r->flags > 1;
		break;
	case STORE_EXPUNGE:
		r->flags = cursor_u32(c);
		r->ranges = get_ranges(c);
		c->bad |= r->flags > 1;
		break;
	case STORE_RENAME:
		r->name = cursor_blob(c, 4096);
		break;
	case STORE_SET_ACL:
		r->flags = cursor_u32(c);
		r->name = cursor_blob(c, ADDRESS_MAX);
		break;
	default: /* the number is all */
		break;
	}
}

static void get_further(struct cursor *c, struct proto_request *r)
{
	switch ((enum store_message)r->type) {
	case STORE_APPEND_MANY:
		get_appends(c, r);
		break;
	case STORE_SET_METADATA:
		r->account = cursor_u32(c);
		r->mailbox = cursor_u32(c);
		r->mode = cursor_u32(c);
		r->name = cursor_blob(c, 4096);
		r->value = cursor_blob(c, 1u << 20);
		c->bad |= r->mode > 1;
		break;
	case STORE_IMPORT:
		get_import(c, r);
		break;
	case STORE_UNDELETE:
		r->account = cursor_u32(c);
		r->mailbox = cursor_u32(c);
		r->date = get_date(c);
		break;
	case STORE_RENAME_ACCOUNT:
	case STORE_HAND_OVER:
		r->name = get_address(c);
		r->other = get_address(c);
		if (r->type == STORE_HAND_OVER)
			r->value = cursor_blob(c, MAILBOX_NAME_MAX);
		break;
	case STORE_ERASE_ACCOUNT:
		r->name = get_address(c);
		break;
	default:
		c->bad = true;
	}
}

static void get_head(struct cursor *c, struct proto_request *r)
{
	switch ((enum store_message)r->type) {
	case STORE_DELIVER:
		get_delivery(c, r);
		break;
	case STORE_APPEND:
	case STORE_FLAGS:
	case STORE_COPY:
	case STORE_EXPUNGE:
	case STORE_CLAIM_RECENT:
	case STORE_DELETE:
	case STORE_RENAME:
	case STORE_FLAGS_UNCHANGED:
	case STORE_SET_ACL:
		get_mailbox_head(c, r);
		break;
	case STORE_CREATE:
	case STORE_SUBSCRIBE:
		r->account = cursor_u32(c);
		r->flags = cursor_u32(c);
		r->name = cursor_blob(c, 4096);
		c->bad |= r->flags > (r->type == STORE_CREATE ? (uint32_t)SPECIAL_ARCHIVE : 1);
		break;
	case STORE_OPEN_ACCOUNT:
		r->name = get_address(c);
		break;
	case STORE_QUEUE_RESULT:
		get_result(c, r);
		break;
	default:
		get_further(c, r);
	}
}

void proto_payload_put(struct buf *b, struct view head, struct view mime, struct view body)
{
	buf_put_blob(b, head);
	buf_put_blob(b, mime);
	buf_addv(b, body);
}

int proto_request_get(struct proto_request *r, uint32_t type, struct view payload)
{
	struct cursor c = cursor_of(payload.ptr, payload.len), head;
	struct view v = cursor_blob(&c, 64u << 20);

	memset(r, 0, sizeof *r);
	r->type = type;
	r->mime = cursor_blob(&c, type == STORE_APPEND_MANY ? PROTO_MIMES_MAX : PROTO_MIME_MAX);
	r->body = cursor_bytes(&c, c.left);
	head = cursor_of(v.ptr, v.len);
	if (!c.bad && r->body.len <= STORE_BODY_MAX)
		get_head(&head, r);
	else
		head.bad = true;
	if (cursor_done(&head))
		return 0;
	proto_request_free(r);
	return -1;
}

void proto_request_free(struct proto_request *r)
{
	free(r->locals);
	free(r->remotes);
	free(r->recipients);
	free(r->dsn);
	free(r->outcomes);
	free(r->appends);
	free(r->append_keywords);
	memset(r, 0, sizeof *r);
}

void proto_reply_put(struct buf *b, const struct proto_reply *r)
{
	buf_put_u32(b, (uint32_t)r->status);
	buf_put_u32(b, r->mailbox);
	buf_put_u32(b, r->uid_validity);
	buf_put_u64(b, r->modseq);
	buf_put_u64(b, r->queue_id);
	buf_put_u64(b, r->count);
	buf_put_blob(b, r->source);
	buf_put_blob(b, r->destination);
	buf_put_blob(b, r->modseqs);
}

int proto_reply_get(struct proto_reply *r, struct view payload)
{
	struct cursor c = cursor_of(payload.ptr, payload.len);
	uint32_t status = cursor_u32(&c);

	*r = (struct proto_reply){ .status = (enum store_status)status };
	r->mailbox = cursor_u32(&c);
	r->uid_validity = cursor_u32(&c);
	r->modseq = cursor_u64(&c);
	r->queue_id = cursor_u64(&c);
	r->count = cursor_u64(&c);
	r->source = cursor_blob(&c, payload.len);
	r->destination = cursor_blob(&c, payload.len);
	r->modseqs = cursor_blob(&c, payload.len);
	return cursor_done(&c) && status <= STORE_IO && ranges_ok(r->source) && ranges_ok(r->destination) &&
	               r->modseqs.len % 8 == 0
	           ? 0
	           : -1;
}

void proto_item_put(struct buf *b, const struct proto_item *i)
{
	buf_put_u64(b, i->id);
	buf_put_u64(b, (uint64_t)i->created);
	buf_put_u64(b, (uint64_t)i->due);
	buf_put_u32(b, i->attempts);
	buf_put_u32(b, i->flags);
	buf_put_blob(b, i->sender);
	buf_put_blob(b, i->domain);
	buf_put_blob(b, i->envid);
	buf_put_blob(b, i->route);
	buf_put_u8(b, i->priority);
	buf_put_u8(b, i->ret);
	buf_put_u8(b, i->told);
	buf_put_u8(b, i->wanted);
	put_count(b, i->recipient_count);
	for (size_t n = 0; n < i->recipient_count; n++) {
		buf_put_blob(b, i->recipients[n]);
		put_dsn(b, &i->dsn[n]);
	}
	buf_put_blob(b, i->message);
}

int proto_item_get(struct proto_item *i, struct view data)
{
	struct cursor c = cursor_of(data.ptr, data.len);

	memset(i, 0, sizeof *i);
	i->id = cursor_u64(&c);
	i->created = (int64_t)cursor_u64(&c);
	i->due = (int64_t)cursor_u64(&c);
	i->attempts = cursor_u32(&c);
	i->flags = cursor_u32(&c);
	i->sender = cursor_blob(&c, ADDRESS_MAX);
	i->domain = cursor_blob(&c, ADDRESS_MAX);
	i->envid = get_parameter(&c, DSN_ENVID_MAX);
	i->route = get_parameter(&c, ADDRESS_MAX);
	i->priority = cursor_u8(&c);
	i->ret = cursor_u8(&c);
	i->told = cursor_u8(&c);
	i->wanted = cursor_u8(&c);
	i->recipient_count = get_count(&c, PROTO_QUEUE_RECIPIENTS, 9);
	for (size_t n = 0; n < i->recipient_count; n++) {
		i->recipients[n] = cursor_blob(&c, ADDRESS_MAX);
		get_dsn(&c, &i->dsn[n]);
	}
	i->message = cursor_blob(&c, IMSG_MAX);
	return cursor_done(&c) && i->priority <= QUEUE_LAST && i->ret <= DSN_RET_HDRS ? 0 : -1;
}

void proto_select_put(struct buf *b, const struct proto_request *r)
{
	buf_put_u32(b, r->mode);
	buf_put_u32(b, r->flags);
	buf_put_u64(b, r->queue);
	buf_put_u64(b, (uint64_t)r->date);
	buf_put_blob(b, r->name);
	buf_put_blob(b, r->other);
	buf_put_blob(b, r->value);
}

int proto_select_get(struct proto_request *r, struct view data)
{
	struct cursor c = cursor_of(data.ptr, data.len);

	r->mode = cursor_u32(&c);
	r->flags = cursor_u32(&c);
	r->queue = cursor_u64(&c);
	r->date = (int64_t)cursor_u64(&c);
	r->name = get_address(&c);
	r->other = get_address(&c);
	r->value = cursor_blob(&c, 511);
	return cursor_done(&c) && r->mode <= QUEUE_REROUTE && r->flags <= SELECT_HELD ? 0 : -1;
}
