/*
 * Requests about messages.  Each first checks against the index as the open transaction has it, writing nothing, and
 * then makes its records; a refused request leaves no trace.
 */
#include <string.h>

#include "engine.h"

bool keywords_need(struct engine *e, uint32_t mailbox, const struct view *names, size_t count, uint64_t *bits)
{
	struct view have[KEYWORDS_MAX];

	*bits = 0;
	for (size_t i = 0; i < count; i++) {
		struct record r = { .type = RECORD_KEYWORD, .mailbox = mailbox, .name = names[i] };
		int n;
		get_keywords(&e->tx, mailbox, have);
		n = find_keyword(have, names[i]);
		for (int j = 0; n == -1 && j < KEYWORDS_MAX; j++)
			if (!have[j].ptr) {
				n = j;
				r.number = (uint32_t)j;
				engine_put(e, &r, VIEW_NONE);
			}
		if (n == -1)
			return false;
		*bits |= 1ull << n;
	}
	return true;
}

/* Do so many new names fit?  Names may repeat: then this is too careful, by as many. */
static bool keywords_fit(struct engine *e, uint32_t mailbox, const struct view *names, size_t count)
{
	struct view have[KEYWORDS_MAX];
	size_t used = 0, fresh = 0;

	get_keywords(&e->tx, mailbox, have);
	for (int i = 0; i < KEYWORDS_MAX; i++)
		used += have[i].ptr != NULL;
	for (size_t i = 0; i < count; i++)
		fresh += find_keyword(have, names[i]) == -1;
	return used + fresh <= KEYWORDS_MAX;
}

static uint64_t put_body(struct engine *e, struct view body, struct view mime, size_t references)
{
	struct record r = {
		.type = RECORD_BODY, .body = e->tx.meta.next_body, .references = (uint32_t)references, .mime = mime
	};

	engine_put(e, &r, body);
	return r.body;
}

uint32_t put_message(struct engine *e, uint32_t mailbox, struct record *r, struct view prefix, uint64_t body_len)
{
	struct mailbox_value m;

	if (!get_mailbox(&e->tx, mailbox, &m, NULL)) {
		e->refused = true;
		return 0;
	}
	r->type = RECORD_MESSAGE;
	r->mailbox = mailbox;
	if (r->uid < m.uid_next)
		r->uid = m.uid_next;
	r->modseq = m.modseq + 1;
	r->when = e->now;
	r->text = prefix;
	r->size = prefix.len + body_len;
	engine_put(e, r, VIEW_NONE);
	return r->uid;
}

bool uids_left(struct engine *e, uint32_t mailbox, uint64_t n)
{
	struct mailbox_value m;

	return get_mailbox(&e->tx, mailbox, &m, NULL) && m.uid_next < UINT32_MAX - 1 && n < UINT32_MAX - 1 - m.uid_next;
}

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static enum store_status check_local(struct engine *e, const struct proto_request *p, size_t i)
{
	const struct proto_local *local = &p->locals[i];
	char name[MAILBOX_NAME_MAX + 1] = "INBOX";
	struct view domain = domain_of_address(local->account);
	struct quota_more more = { 0 };
	enum special_use special;
	uint32_t account, mailbox;

	if (!account_known(e, local->account))
		return STORE_NO_ACCOUNT;
	if (local->mailbox.len && !mailbox_name_normalise(local->mailbox, name))
		return STORE_INVALID;
	/* Refused here, it harms nobody; refused by apply it would take the whole batch along. */
	account = find_account(&e->tx, local->account);
	mailbox = account ? find_delivery(e, account, name, &special) : 0;
	if (mailbox && !uids_left(e, mailbox, p->local_count))
		return STORE_INVALID;
	for (size_t j = 0; j <= i; j++) {
		uint64_t size = p->locals[j].prefix.len + p->body.len;
		if (!same(domain_of_address(p->locals[j].account), domain))
			continue;
		more.domain_bytes += size;
		if (!same(p->locals[j].account, local->account))
			continue;
		more.bytes += size;
		more.messages++;
	}
	/* A bounce is the only word that a sender with a full mailbox gets of what did not arrive. */
	return p->type == STORE_DELIVER && over_quota_address(e, local->account, &more) ? STORE_OVER_QUOTA : STORE_OK;
}

static enum store_status deliver_local(struct engine *e, struct request *req, size_t i, uint64_t body)
{
	const struct proto_local *local = &req->p.locals[i];
	struct record r = { .date = req->p.date, .body = body };
	char name[MAILBOX_NAME_MAX + 1] = "INBOX";
	uint32_t account = open_account(e, local->account), mailbox = 0, uid;
	enum special_use special;

	if (local->mailbox.len)
		mailbox_name_normalise(local->mailbox, name);
	if (account && !(mailbox = find_delivery(e, account, name, &special)))
		mailbox = open_mailbox(e, account, name, special, true);
	if (account && !mailbox) /* too many mailboxes: the mail is worth more than its place */
		mailbox = open_mailbox(e, account, "INBOX", SPECIAL_NONE, false);
	if (!mailbox)
		return STORE_IO;
	uid = put_message(e, mailbox, &r, local->prefix, req->p.body.len);
	if (i == 0) {
		req->reply.mailbox = mailbox;
		req->reply.modseq = r.modseq;
		ranges_add(&req->destination, uid);
	}
	return STORE_OK;
}

/* What RECORD_QUEUE_ADD has no place for; false: nothing. An older mailadm reads a log without such entries. */
static bool put_asked(struct buf *b, const struct proto_remote *remote)
{
	bool any = remote->priority || remote->ret || remote->envid.len;

	buf_put_blob(b, remote->envid);
	for (size_t i = 0; i < remote->recipient_count; i++) {
		struct proto_dsn dsn = remote->dsn ? remote->dsn[i] : (struct proto_dsn){ 0, VIEW_NONE };
		any |= dsn.notify || dsn.orcpt.len;
		buf_put_u8(b, (uint8_t)dsn.notify);
		buf_put_blob(b, dsn.orcpt);
	}
	return any;
}

static void deliver_remote(struct engine *e, struct request *req, const struct proto_remote *remote, uint64_t body)
{
	struct record r = { .type = RECORD_QUEUE_ADD,
		.queue = e->tx.meta.next_queue,
		.body = body,
		.when = e->now,
		.due = e->now,
		.flags = remote->flags,
		.sender = remote->sender,
		.name = remote->domain,
		.number = remote->priority,
		.mode = remote->ret };
	struct buf asked = BUF_INIT(PROTO_QUEUE_RECIPIENTS * (DSN_ORCPT_MAX + 8) + DSN_ENVID_MAX + 8),
		   recipients = BUF_INIT(PROTO_QUEUE_RECIPIENTS * (ADDRESS_MAX + 4));
	uint64_t first = (uint64_t)e->now << 24; /* numbers that do not repeat, and are short to say */

	if (r.queue < first)
		r.queue = first;
	for (size_t i = 0; i < remote->recipient_count; i++)
		buf_put_blob(&recipients, remote->recipients[i]);
	r.text = buf_view(&recipients);
	if (put_asked(&asked, remote)) {
		r.type = RECORD_QUEUE_ENTRY;
		r.mime = buf_view(&asked);
	}
	engine_put(e, &r, VIEW_NONE);
	buf_free(&asked);
	if (!req->reply.queue_id)
		req->reply.queue_id = r.queue;
	buf_free(&recipients);
}

enum store_status run_deliver(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	enum store_status status;
	uint64_t body;

	if (p->type == STORE_DELIVER && atomic_load(&e->full))
		return STORE_FULL;
	for (size_t i = 0; i < p->local_count; i++)
		if ((status = check_local(e, p, i)) != STORE_OK)
			return status;
	/* Nobody lists or searches what is only on its way out. */
	body = put_body(e, p->body, p->local_count ? p->mime : VIEW_NONE, p->local_count + p->remote_count);
	for (size_t i = 0; i < p->local_count; i++)
		if ((status = deliver_local(e, req, i, body)) != STORE_OK) {
			e->refused = true;
			return status;
		}
	for (size_t i = 0; i < p->remote_count; i++)
		deliver_remote(e, req, &p->remotes[i], body);
	for (size_t i = 0; i < p->local_count; i++)
		quota_warn(e, find_account(&e->tx, p->locals[i].account));
	return STORE_OK;
}

/* The destination of what is appended; OVER_QUOTA, FULL and the like. */
static enum store_status check_append(
    struct engine *e, uint32_t mailbox, uint64_t bytes, uint64_t messages, struct mailbox_value *m)
{
	if (atomic_load(&e->full))
		return STORE_FULL;
	if (!get_mailbox(&e->tx, mailbox, m, NULL))
		return STORE_NO_MAILBOX;
	if (over_quota(e, m->account, &(struct quota_more){ bytes, messages, bytes }))
		return STORE_OVER_QUOTA;
	return uids_left(e, mailbox, messages) ? STORE_OK : STORE_INVALID;
}

static void append_one(
    struct engine *e, struct request *req, const struct proto_append *a, struct view body, struct view mime)
{
	struct record r = { .flags = a->flags & FLAGS_SETTABLE, .date = a->date };

	r.body = put_body(e, body, mime, 1);
	if (!keywords_need(e, req->p.mailbox, a->keywords, a->keyword_count, &r.keywords))
		e->refused = true;
	ranges_add(&req->destination, put_message(e, req->p.mailbox, &r, VIEW_NONE, body.len));
	req->reply.modseq = r.modseq;
}

enum store_status run_append(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	const struct proto_append a = { p->flags, 0, p->keywords, p->keyword_count, p->date, 0 };
	struct mailbox_value m;
	enum store_status status = check_append(e, p->mailbox, p->body.len, 1, &m);

	if (status != STORE_OK)
		return status;
	if (!keywords_fit(e, p->mailbox, p->keywords, p->keyword_count))
		return STORE_INVALID;
	req->reply.mailbox = p->mailbox;
	req->reply.uid_validity = m.uid_validity;
	append_one(e, req, &a, p->body, p->mime);
	quota_warn(e, m.account);
	return STORE_OK;
}

/* Do the names of them all fit?  Few messages bear any, and those mostly the same: each name is looked for once. */
static bool append_keywords_fit(struct engine *e, const struct proto_request *p)
{
	struct view fresh[KEYWORDS_MAX], have[KEYWORDS_MAX];
	size_t used = 0, count = 0;

	memset(fresh, 0, sizeof fresh);
	get_keywords(&e->tx, p->mailbox, have);
	for (int i = 0; i < KEYWORDS_MAX; i++)
		used += have[i].ptr != NULL;
	for (size_t i = 0; i < p->append_count; i++)
		for (size_t j = 0; j < p->appends[i].keyword_count; j++) {
			struct view name = p->appends[i].keywords[j];
			if (find_keyword(have, name) != -1 || find_keyword(fresh, name) != -1)
				continue;
			if (used + count == KEYWORDS_MAX)
				return false;
			fresh[count++] = name;
		}
	return true;
}

enum store_status run_append_many(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	struct mailbox_value m;
	enum store_status status = check_append(e, p->mailbox, p->body.len, p->append_count, &m);
	size_t body = 0, mime = 0;

	if (status != STORE_OK)
		return status;
	if (p->append_count == 0 || !append_keywords_fit(e, p))
		return STORE_INVALID;
	req->reply.mailbox = p->mailbox;
	req->reply.uid_validity = m.uid_validity;
	for (size_t i = 0; i < p->append_count; i++) {
		const struct proto_append *a = &p->appends[i];
		append_one(e, req, a, (struct view){ p->body.ptr + body, (size_t)a->body_len },
		    (struct view){ p->mime.ptr + mime, a->mime_len });
		body += (size_t)a->body_len;
		mime += a->mime_len;
	}
	quota_warn(e, m.account);
	return STORE_OK;
}

static bool flags_change(const struct proto_request *p, uint64_t bits, const struct message_value *row)
{
	uint32_t flags = p->flags & FLAGS_SETTABLE;

	switch (p->mode) {
	case FLAGS_ADD:
		return (flags & ~row->flags) || (bits & ~row->keywords);
	case FLAGS_REMOVE:
		return (flags & row->flags) || (bits & row->keywords);
	default:
		return flags != row->flags || bits != row->keywords;
	}
}

/* The numbers of the names: made where they are new, except to remove them. */
static bool flags_keywords(struct engine *e, const struct proto_request *p, uint64_t *bits)
{
	struct view have[KEYWORDS_MAX];

	if (p->mode != FLAGS_REMOVE)
		return keywords_fit(e, p->mailbox, p->keywords, p->keyword_count) &&
		       keywords_need(e, p->mailbox, p->keywords, p->keyword_count, bits);
	*bits = 0;
	get_keywords(&e->tx, p->mailbox, have);
	for (size_t i = 0; i < p->keyword_count; i++) {
		int n = find_keyword(have, p->keywords[i]);
		if (n >= 0)
			*bits |= 1ull << n;
	}
	return true;
}

/*
 * The next slice of a long request: uids of the rows that it wants, into ranges and the answer.  false: it was the last
 * one.
 */
static bool next_slice(struct engine *e, struct request *req,
    bool (*wants)(struct request *, uint32_t uid, const struct message_value *, uint64_t keywords), uint64_t keywords,
    struct buf *ranges)
{
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid;
	size_t n = 0, looked = 0;

	rows_start(&rows, &e->tx, req->p.mailbox, req->p.ranges);
	rows.next = req->resume;
	while (n < SLICE_ROWS && looked < SLICE_LOOKED && rows_next(&rows, &uid, &row, &prefix)) {
		looked++;
		req->resume = (uint64_t)uid + 1;
		if (!wants(req, uid, &row, keywords))
			continue;
		ranges_add(ranges, uid);
		ranges_add(&req->source, uid);
		n++;
	}
	rows_end(&rows);
	return n == SLICE_ROWS || looked == SLICE_LOOKED;
}

static bool flags_wants(struct request *req, uint32_t uid, const struct message_value *row, uint64_t keywords)
{
	if (req->p.type == STORE_FLAGS_UNCHANGED && row->modseq > req->p.unchanged_since) {
		ranges_add(&req->destination, uid);
		return false;
	}
	return flags_change(&req->p, keywords, row);
}

enum run run_flags(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	struct record r = {
		.type = RECORD_FLAGS, .mailbox = p->mailbox, .mode = p->mode, .flags = p->flags & FLAGS_SETTABLE
	};
	struct buf ranges = BUF_INIT(SLICE_ROWS * 8);
	struct mailbox_value m;
	bool more;

	req->reply.status = STORE_NO_MAILBOX;
	if (!get_mailbox(&e->tx, p->mailbox, &m, NULL))
		return RUN_DONE;
	req->reply.status = STORE_INVALID;
	if (!flags_keywords(e, p, &r.keywords))
		return RUN_DONE;
	req->reply.status = STORE_OK;
	more = next_slice(e, req, flags_wants, r.keywords, &ranges);
	r.modseq = m.modseq + 1;
	r.ranges = buf_view(&ranges);
	if (ranges.len) {
		engine_put(e, &r, VIEW_NONE);
		buf_put_u64(&req->modseqs, r.modseq);
		req->reply.modseq = r.modseq;
	} else if (m.modseq > req->reply.modseq)
		req->reply.modseq = m.modseq;
	req->reply.mailbox = p->mailbox;
	req->reply.uid_validity = m.uid_validity;
	buf_free(&ranges);
	return more ? RUN_MORE : RUN_DONE;
}

struct selection {
	struct buf ranges;
	size_t count;
	uint64_t bytes, keywords;
};

static void select_rows(struct engine *e, uint32_t mailbox, struct view ranges, uint32_t below, struct selection *s)
{
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid;

	*s = (struct selection){ .ranges = BUF_INIT(RECORD_HEAD_MAX - 4096) };
	rows_start(&rows, &e->tx, mailbox, ranges);
	while (s->count <= COPY_ROWS_MAX && rows_next(&rows, &uid, &row, &prefix) && uid < below) {
		ranges_add(&s->ranges, uid);
		s->count++;
		s->bytes += row.size;
		s->keywords |= row.keywords;
	}
	rows_end(&rows);
}

/* The names that the copied messages bear, as far as the destination has room for them. */
void copy_keywords(struct engine *e, uint32_t from, uint32_t to, uint64_t bits)
{
	struct view names[KEYWORDS_MAX];
	char text[KEYWORD_NAME_MAX];
	uint64_t ignored;

	for (int i = 0; i < KEYWORDS_MAX; i++) {
		if (!(bits >> i & 1))
			continue;
		get_keywords(&e->tx, from, names);
		if (!names[i].ptr || names[i].len > sizeof text)
			continue;
		memcpy(text, names[i].ptr, names[i].len);
		keywords_need(e, to, &(struct view){ text, names[i].len }, 1, &ignored);
	}
}

static void put_expunge(struct engine *e, uint32_t mailbox, uint32_t mode, struct view ranges, uint64_t *modseq)
{
	struct record r = {
		.type = RECORD_EXPUNGE, .mailbox = mailbox, .mode = mode, .when = e->now, .ranges = ranges
	};
	struct mailbox_value m;

	if (!get_mailbox(&e->tx, mailbox, &m, NULL))
		return;
	*modseq = r.modseq = m.modseq + 1;
	engine_put(e, &r, VIEW_NONE);
}

/* A move between two accounts of a domain brings the domain nothing. */
static uint64_t domain_new(
    struct engine *e, const struct mailbox_value *from, const struct mailbox_value *to, bool move, uint64_t bytes)
{
	struct account_value a, b;
	struct view x, y;

	if (move && get_account(&e->tx, from->account, &a, &x) && get_account(&e->tx, to->account, &b, &y) &&
	    same(domain_of_address(x), domain_of_address(y)) && !a.orphaned)
		return 0;
	return bytes;
}

enum store_status run_copy(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	bool move = p->flags & 1;
	struct mailbox_value from, to;
	struct selection s;
	struct record r = { .type = RECORD_COPY, .source = p->mailbox, .mailbox = p->to, .when = e->now };
	enum store_status status = STORE_OK;
	uint64_t ignored;

	if (!get_mailbox(&e->tx, p->mailbox, &from, NULL) || !get_mailbox(&e->tx, p->to, &to, NULL))
		return STORE_NO_MAILBOX;
	select_rows(e, p->mailbox, p->ranges, from.uid_next, &s);
	req->reply.mailbox = p->to;
	req->reply.uid_validity = to.uid_validity;
	req->reply.modseq = to.modseq;
	if (s.ranges.full || s.count > COPY_ROWS_MAX || !uids_left(e, p->to, s.count))
		status = STORE_INVALID;
	else if (!move && atomic_load(&e->full))
		status = STORE_FULL;
	else if ((!move || from.account != to.account) &&
		 over_quota(
		     e, to.account, &(struct quota_more){ s.bytes, s.count, domain_new(e, &from, &to, move, s.bytes) }))
		status = STORE_OVER_QUOTA;
	if (status == STORE_OK && s.count) {
		copy_keywords(e, p->mailbox, p->to, s.keywords);
		get_mailbox(&e->tx, p->to, &to, NULL);
		r.uid = to.uid_next;
		r.modseq = to.modseq + 1;
		r.ranges = buf_view(&s.ranges);
		engine_put(e, &r, VIEW_NONE);
		if (move)
			put_expunge(e, p->mailbox, 1, buf_view(&s.ranges), &ignored);
		req->reply.modseq = r.modseq;
		buf_addv(&req->source, buf_view(&s.ranges));
		ranges_put(&req->destination, (struct uid_range){ r.uid, r.uid + (uint32_t)s.count - 1 });
		if (!move || from.account != to.account)
			quota_warn(e, to.account);
	}
	buf_free(&s.ranges);
	return status;
}

static bool expunge_wants(struct request *req, uint32_t uid, const struct message_value *row, uint64_t keywords)
{
	(void)uid;
	(void)keywords;
	return !(req->p.flags & 1) || (row->flags & FLAG_DELETED);
}

enum run run_expunge(struct engine *e, struct request *req)
{
	struct buf ranges = BUF_INIT(SLICE_ROWS * 8);
	struct mailbox_value m;
	bool more;

	req->reply.status = STORE_NO_MAILBOX;
	if (!get_mailbox(&e->tx, req->p.mailbox, &m, NULL))
		return RUN_DONE;
	req->reply.status = STORE_OK;
	req->reply.mailbox = req->p.mailbox;
	req->reply.uid_validity = m.uid_validity;
	req->reply.modseq = m.modseq;
	more = next_slice(e, req, expunge_wants, 0, &ranges);
	if (ranges.len)
		put_expunge(e, req->p.mailbox, 0, buf_view(&ranges), &req->reply.modseq);
	buf_free(&ranges);
	return more ? RUN_MORE : RUN_DONE;
}

enum store_status run_recent(struct engine *e, struct request *req)
{
	struct record r = { .type = RECORD_RECENT, .mailbox = req->p.mailbox };
	struct mailbox_value m;

	if (!get_mailbox(&e->tx, req->p.mailbox, &m, NULL))
		return STORE_NO_MAILBOX;
	r.uid = m.uid_next;
	if (m.uid_next > m.recent_uid) {
		struct uid_range claimed = { m.recent_uid > 0 ? m.recent_uid : 1, m.uid_next - 1 };

		engine_put(e, &r, VIEW_NONE);
		if (claimed.first <= claimed.last)
			ranges_put(&req->destination, claimed);
	}
	req->reply.mailbox = req->p.mailbox;
	req->reply.uid_validity = m.uid_validity;
	req->reply.modseq = m.modseq;
	return STORE_OK;
}
