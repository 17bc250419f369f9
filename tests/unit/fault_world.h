/*
 * A workload over the engine whose every operation follows from a seed, and the model of what it leaves: mailboxes,
 * messages with their flags and bytes, queue entries.  The model knows nothing of the engine.
 */
#ifndef TESTS_UNIT_FAULT_WORLD_H
#define TESTS_UNIT_FAULT_WORLD_H

#include "mailsvc/store/body.h"
#include "store_help.h"

#define BOXES 10
#define MESSAGES 160
#define ENTRIES 40

struct world {
	struct world_box {
		char name[24]; /* "": not there */
		uint32_t uid_next, count;
		struct {
			uint32_t uid, content, flags;
		} at[MESSAGES];
	} boxes[BOXES];
	struct {
		uint32_t content; /* 0: not there */
		uint8_t state[2];
		bool held, told, routed;
	} queue[ENTRIES];
	uint32_t contents;
	int64_t clock; /* s, of the whole workload */
};

enum op_kind {
	OP_DELIVER,
	OP_APPEND,
	OP_FLAGS,
	OP_COPY,
	OP_MOVE,
	OP_EXPUNGE,
	OP_CREATE,
	OP_RENAME,
	OP_DELETE,
	OP_QUEUE_ADD,
	OP_QUEUE_RESULT,
	OP_QUEUE_CHANGE,
	OP_HOUSEKEEPING,
	OP_CHECKPOINT,
	OP_EXTEND,
	OP_COMPACT,
	OP_KINDS
};
static const char *const op_names[OP_KINDS] = { "deliver", "append", "flags", "copy", "move", "expunge", "create",
	"rename", "delete", "queue add", "queue result", "queue change", "housekeeping", "checkpoint", "extend", "compact" };

struct op {
	enum op_kind kind;
	uint32_t box, to, first, last, flags, content, entry;
	enum flags_mode mode;
	char name[24];
};

static inline void world_start(struct world *w)
{
	static const char *const names[] = { "INBOX", "Drafts", "Sent", "Junk", "Trash" };

	memset(w, 0, sizeof *w);
	w->clock = 1600000000;
	for (size_t i = 0; i < 5; i++) {
		snprintf(w->boxes[i].name, sizeof w->boxes[i].name, "%s", names[i]);
		w->boxes[i].uid_next = 1;
	}
}

static inline uint32_t world_box_pick(const struct world *w, unsigned *seed)
{
	uint32_t i;

	do
		i = (uint32_t)rand_r(seed) % BOXES;
	while (!w->boxes[i].name[0]);
	return rand_r(seed) % 2 ? 0 : i;
}

static inline uint32_t world_box_free(const struct world *w)
{
	for (uint32_t i = 0; i < BOXES; i++)
		if (!w->boxes[i].name[0])
			return i;
	return BOXES;
}

/* The n-th operation, as far as the world allows it; else a delivery. */
static inline struct op op_make(const struct world *w, unsigned workload, uint32_t n, bool compact)
{
	unsigned seed = workload * 1000 + n;
	struct op op = { .kind = (enum op_kind)(rand_r(&seed) % OP_KINDS) };
	uint32_t fresh = world_box_free(w);

	if (rand_r(&seed) % 3 == 0)
		op.kind = OP_DELIVER;
	op.box = world_box_pick(w, &seed);
	op.to = world_box_pick(w, &seed);
	op.first = 1 + (uint32_t)rand_r(&seed) % (w->boxes[op.box].uid_next + 1);
	op.last = op.first + (uint32_t)rand_r(&seed) % 6;
	op.flags = 1u << rand_r(&seed) % 5;
	op.mode = (enum flags_mode)(rand_r(&seed) % 3);
	op.content = w->contents + 1;
	op.entry = (uint32_t)rand_r(&seed) % ENTRIES;
	if (n % 20 >= 12) { /* several that are not synced, one behind the other */
		op.kind = OP_FLAGS;
		op.box = 0;
		op.first = 1;
		op.last = 1000;
		op.mode = FLAGS_SET;
		op.flags = 1u << n % 5;
	}
	if (compact && n % 9 == 7) { /* something dies before each compaction, and something stays */
		op.kind = OP_EXPUNGE;
		op.box = 0;
		op.first = 1 + w->boxes[0].uid_next / 4;
		op.last = w->boxes[0].uid_next * 7 / 8;
	}
	if (compact && n % 9 == 8)
		op.kind = OP_COMPACT;
	snprintf(op.name, sizeof op.name, "box%u", n);
	if ((op.kind == OP_CREATE && fresh == BOXES) ||
	    ((op.kind == OP_RENAME || op.kind == OP_DELETE) && op.box < 5) ||
	    (op.kind == OP_QUEUE_ADD && w->queue[op.entry].content) || (op.kind == OP_COMPACT && !compact) ||
	    ((op.kind == OP_COPY || op.kind == OP_MOVE) && op.box == op.to))
		op.kind = OP_DELIVER;
	if (op.kind == OP_CREATE)
		op.box = fresh;
	if ((op.kind == OP_QUEUE_RESULT || op.kind == OP_QUEUE_CHANGE) && !w->queue[op.entry].content) {
		for (op.entry = 0; op.entry < ENTRIES && !w->queue[op.entry].content; op.entry++)
			;
		if (op.entry == ENTRIES)
			op.kind = OP_DELIVER;
	}
	return op;
}

static inline void world_add(struct world_box *b, uint32_t content, uint32_t flags)
{
	assert_true(b->count < MESSAGES);
	b->at[b->count].uid = b->uid_next++;
	b->at[b->count].content = content;
	b->at[b->count++].flags = flags;
}

static inline void world_take(struct world_box *b, uint32_t first, uint32_t last)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->count; i++)
		if (b->at[i].uid < first || b->at[i].uid > last)
			b->at[n++] = b->at[i];
	b->count = n;
}

static inline enum queue_action op_action(const struct op *op)
{
	return (enum queue_action)(op->last % (QUEUE_REROUTE + 1));
}

/* What an operation that was acknowledged does. */
static inline void world_apply(struct world *w, const struct op *op)
{
	struct world_box *b = &w->boxes[op->box], *to = &w->boxes[op->to];
	uint32_t count = b->count;

	switch (op->kind) {
	case OP_DELIVER:
	case OP_APPEND:
		world_add(b, op->content, op->kind == OP_APPEND ? op->flags : 0);
		break;
	case OP_FLAGS:
		for (uint32_t i = 0; i < b->count; i++)
			if (b->at[i].uid >= op->first && b->at[i].uid <= op->last)
				b->at[i].flags = op->mode == FLAGS_SET   ? op->flags
				                 : op->mode == FLAGS_ADD ? b->at[i].flags | op->flags
				                                         : b->at[i].flags & ~op->flags;
		break;
	case OP_COPY:
	case OP_MOVE:
		for (uint32_t i = 0; i < count; i++)
			if (b->at[i].uid >= op->first && b->at[i].uid <= op->last)
				world_add(to, b->at[i].content, b->at[i].flags);
		if (op->kind == OP_MOVE)
			world_take(b, op->first, op->last);
		break;
	case OP_EXPUNGE:
		world_take(b, op->first, op->last);
		break;
	case OP_CREATE:
		*b = (struct world_box){ .uid_next = 1 };
		snprintf(b->name, sizeof b->name, "%s", op->name);
		break;
	case OP_RENAME:
		snprintf(b->name, sizeof b->name, "%s", op->name);
		break;
	case OP_DELETE:
		b->name[0] = '\0';
		break;
	case OP_QUEUE_ADD:
		w->queue[op->entry].content = op->content;
		w->queue[op->entry].state[0] = w->queue[op->entry].state[1] = RECIPIENT_WAITING;
		w->queue[op->entry].held = w->queue[op->entry].told = w->queue[op->entry].routed = false;
		break;
	case OP_QUEUE_RESULT:
		if (w->queue[op->entry].state[0] == RECIPIENT_WAITING)
			w->queue[op->entry].state[0] = RECIPIENT_DELIVERED;
		else
			w->queue[op->entry].content = 0;
		w->queue[op->entry].told |= op->flags & 1;
		break;
	case OP_QUEUE_CHANGE:
		switch (op_action(op)) {
		case QUEUE_HOLD:
			w->queue[op->entry].held = true;
			break;
		case QUEUE_RELEASE:
			w->queue[op->entry].held = false;
			break;
		case QUEUE_REROUTE:
			w->queue[op->entry].routed = op->first % 3 != 0;
			break;
		case QUEUE_DROP:
			w->queue[op->entry].content = 0;
			break;
		case QUEUE_TRY:
			break;
		}
		break;
	default:
		break;
	}
	if (op->kind == OP_DELIVER || op->kind == OP_APPEND || op->kind == OP_QUEUE_ADD)
		w->contents++;
}

/* The bytes of a message. */
static inline void content_make(uint32_t content, struct buf *out)
{
	unsigned seed = content * 7919;
	size_t len = content % 11 == 0 ? 70000 : (size_t)rand_r(&seed) % 6000;

	*out = BUF_INIT(1u << 20);
	buf_printf(out, "Subject: %u\r\n\r\n", content);
	for (size_t i = 0; i < len; i++)
		buf_addc(out, (char)(i % 97 ? 'a' + (int)((content + i) % 26) : rand_r(&seed)));
}

/* Running them ------------------------------------------------------------------------------------------------ */

static inline uint32_t engine_box(struct engine *e, const char *name)
{
	struct tx tx;
	uint32_t id = 0;

	if (tx_begin(&tx, &e->index, false) == 0)
		id = find_mailbox(&tx, find_account(&tx, VIEW_LIT("a@x")), view_of(name));
	tx_abort(&tx);
	return id;
}

/* The entry whose sender names this content; 0. */
static inline uint64_t engine_entry(struct engine *e, uint32_t content, struct queue_entry *out)
{
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	char sender[24];
	uint64_t id = 0;
	struct tx tx;

	snprintf(sender, sizeof sender, "%u@x", content);
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	for (bool more = tx_seek(&tx, T_QUEUE, &c, &first, 0, &found, &value); more && !id;
	     more = tx_next(&tx, c, &first, 0, &found, &value))
		if (queue_entry_get(value, out) && view_eq(out->sender, sender))
			id = get_be64(found.ptr);
	if (c)
		mdb_cursor_close(c);
	tx_abort(&tx);
	return id;
}

static inline enum store_status op_queue_add(struct engine *e, const struct op *op, struct view body)
{
	struct view to[2] = { VIEW_LIT("one@y"), VIEW_LIT("two@y") };
	char sender[24];
	struct proto_dsn dsn[2] = { { DSN_DELAY, VIEW_LIT("rfc822;one@y") }, { DSN_NEVER, VIEW_LIT("") } };
	struct proto_remote remote = { .domain = VIEW_LIT("y"), .recipients = to, .recipient_count = 2 };

	snprintf(sender, sizeof sender, "%u@x", op->content);
	remote.sender = view_of(sender);
	remote.priority = op->content % 3;
	if (op->content % 2) {
		remote.dsn = dsn;
		remote.envid = VIEW_LIT("envelope");
		remote.ret = DSN_RET_HDRS;
	}
	return status_of(ask(e, (struct proto_request){ .type = STORE_DELIVER,
				    .date = 1000,
				    .body = body,
				    .mime = VIEW_LIT("mime"),
				    .remotes = &remote,
				    .remote_count = 1 }));
}

static inline enum store_status op_queue_result(struct engine *e, const struct world *w, const struct op *op)
{
	bool second = w->queue[op->entry].state[0] != RECIPIENT_WAITING;
	struct proto_outcome outcome = { second ? VIEW_LIT("two@y") : VIEW_LIT("one@y"), VIEW_LIT("250"),
		QUEUE_DELIVERED };
	struct queue_entry q;
	uint64_t id = engine_entry(e, w->queue[op->entry].content, &q);

	return status_of(
	    ask(e, (struct proto_request){
		       .type = STORE_QUEUE_RESULT,
		       .queue = id,
		       .outcomes = &outcome,
		       .outcome_count = 1,
		       .told = op->flags & 1 }));
}

static inline enum store_status op_queue_change(struct engine *e, const struct world *w, const struct op *op)
{
	struct queue_entry q;
	uint64_t id = engine_entry(e, w->queue[op->entry].content, &q);

	return status_of(ask(e, (struct proto_request){ .type = STORE_ADMIN_QUEUE_CHANGE,
				    .mode = op_action(op),
				    .queue = id,
				    .value = op->first % 3 ? VIEW_LIT("h.y:25") : VIEW_LIT("") }));
}

/* What the world says of an entry, the index says too, in all of its tables. */
static inline bool entry_differs(struct engine *e, const struct world *w, size_t i)
{
	uint32_t content = w->queue[i].content;
	struct queue_entry q;
	uint64_t id = engine_entry(e, content, &q);
	bool held = q.fixed.state & QUEUE_HELD, asked = content % 2;
	struct key next, of;
	struct view none;
	struct tx tx;
	bool differs;

	if (!id || q.recipients[0].state != w->queue[i].state[0] || q.recipients[1].state != w->queue[i].state[1] ||
	    held != w->queue[i].held || ((q.fixed.state & QUEUE_TOLD) != 0) != w->queue[i].told ||
	    !view_eq(q.route, w->queue[i].routed ? "h.y:25" : "") || q.fixed.priority != content % 3 ||
	    !view_eq(q.envid, asked ? "envelope" : "") || q.recipients[0].notify != (asked ? DSN_DELAY : 0) ||
	    !view_eq(q.recipients[0].orcpt, asked ? "rfc822;one@y" : ""))
		return true;
	next = queue_next_key(queue_destination(&q), queue_lane(&q), q.fixed.due, id);
	of = queue_of_key(queue_destination(&q), id);
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	differs = tx_get(&tx, T_QUEUE_NEXT, &next, &none) == held || !tx_get(&tx, T_QUEUE_OF, &of, &none);
	tx_abort(&tx);
	return differs;
}

static inline bool op_checkpoint(struct engine *e)
{
	if (e->checkpoint_pending || e->pin_count == PINS_MAX)
		return true;
	checkpoint_begin(e);
	if (checkpoint_write(e) == -1)
		return false;
	checkpoint_end(e);
	return true;
}

static inline enum store_status op_request(struct engine *e, const struct op *op, struct proto_request p)
{
	char range[8];

	p.ranges = range_text(range, op->first, op->last);
	return status_of(ask(e, p));
}

/* What fault_compact is: set by who tests it. */
static bool (*op_compact)(struct engine *);

static inline enum store_status op_run(struct engine *e, const struct world *w, const struct op *op)
{
	uint32_t box = engine_box(e, w->boxes[op->box].name), to = engine_box(e, w->boxes[op->to].name);
	enum store_status s = STORE_OK;
	struct buf body;

	content_make(op->content, &body);
	switch (op->kind) {
	case OP_DELIVER:
		s = status_of(deliver_to(e, "a@x", w->boxes[op->box].name, "P: 1\r\n", buf_view(&body)));
		break;
	case OP_APPEND:
		s = status_of(ask(e, (struct proto_request){ .type = STORE_APPEND,
					 .mailbox = box,
					 .flags = op->flags,
					 .body = buf_view(&body),
					 .mime = VIEW_LIT("mime") }));
		break;
	case OP_FLAGS:
		s = op_request(e, op,
		    (struct proto_request){
			.type = STORE_FLAGS, .mailbox = box, .mode = op->mode, .flags = op->flags });
		break;
	case OP_COPY:
	case OP_MOVE:
		s = op_request(e, op,
		    (struct proto_request){
			.type = STORE_COPY, .mailbox = box, .to = to, .flags = op->kind == OP_MOVE });
		break;
	case OP_EXPUNGE:
		s = op_request(e, op, (struct proto_request){ .type = STORE_EXPUNGE, .mailbox = box });
		break;
	case OP_CREATE:
		s = status_of(
		    ask(e, (struct proto_request){
			       .type = STORE_CREATE, .account = account_of(e, "a@x"), .name = view_of(op->name) }));
		break;
	case OP_RENAME:
		s = status_of(
		    ask(e, (struct proto_request){ .type = STORE_RENAME, .mailbox = box, .name = view_of(op->name) }));
		break;
	case OP_DELETE:
		s = status_of(ask(e, (struct proto_request){ .type = STORE_DELETE, .mailbox = box }));
		break;
	case OP_QUEUE_ADD:
		s = op_queue_add(e, op, buf_view(&body));
		break;
	case OP_QUEUE_RESULT:
		s = op_queue_result(e, w, op);
		break;
	case OP_QUEUE_CHANGE:
		s = op_queue_change(e, w, op);
		break;
	case OP_HOUSEKEEPING:
		engine_housekeeping(e);
		if (engine_commit(e) == -1)
			s = STORE_IO;
		engine_publish(e);
		break;
	case OP_CHECKPOINT:
		if (!op_checkpoint(e))
			_exit(1); /* as commit.c ends the process */
		break;
	case OP_EXTEND:
		engine_extend(e);
		engine_extend_index(e);
		break;
	case OP_COMPACT:
		if (op_compact && !op_compact(e))
			s = STORE_IO;
		break;
	default:
		break;
	}
	buf_free(&body);
	return s;
}

/* Comparing ---------------------------------------------------------------------------------------------------- */

static inline bool same_bytes(struct engine *e, struct tx *tx, uint64_t body, uint32_t content)
{
	struct body_reader reader;
	struct body_value b;
	struct buf want;
	bool same = false;
	char *got;

	content_make(content, &want);
	if (get_body(tx, body, &b, NULL) && b.length == want.len) {
		got = xmalloc(want.len + 1);
		body_reader_init(&reader, e->log_dir);
		same = body_read(&reader, b.segment, b.offset, b.length, 0, got, want.len) == 0 &&
		       memcmp(got, want.data, want.len) == 0;
		body_reader_close(&reader);
		free(got);
	}
	buf_free(&want);
	return same;
}

/* Changes of flags that the power may have taken, one row of one as well as another. */
static const struct op *lost_flags;
static size_t lost_count;

static inline bool flags_possible(
    const struct world *w, const struct world_box *b, uint32_t uid, uint32_t was, uint32_t is)
{
	uint64_t reached = 1ull << was; /* sets of the five flags */

	for (size_t i = 0; i < lost_count; i++) {
		const struct op *op = &lost_flags[i];
		uint64_t next = reached;
		if ((op->kind == OP_COPY || op->kind == OP_MOVE) && &w->boxes[op->to] == b)
			return true;
		if (op->kind != OP_FLAGS || &w->boxes[op->box] != b || uid < op->first || uid > op->last)
			continue;
		for (uint32_t f = 0; f < 32; f++)
			if (reached >> f & 1)
				next |= 1ull << (op->mode == FLAGS_SET   ? op->flags
						 : op->mode == FLAGS_ADD ? f | op->flags
									 : f & ~op->flags);
		reached = next;
	}
	return reached >> is & 1;
}

static inline bool box_differs(
    struct engine *e, struct tx *tx, uint32_t account, const struct world *w, const struct world_box *b, char why[200])
{
	static const char all[8] = { 1, 0, 0, 0, -1, -1, -1, -1 };
	uint32_t id = find_mailbox(tx, account, view_of(b->name)), uid, n = 0;
	struct mailbox_value m;
	struct message_value row;
	struct rows rows;
	struct view prefix;
	bool differs = true;

	if (!id || !get_mailbox(tx, id, &m, NULL)) {
		snprintf(why, 200, "mailbox %s is missing", b->name);
		return b->uid_next > 1 || account; /* before the first delivery there is no account */
	}
	rows_start(&rows, tx, id, (struct view){ all, sizeof all });
	while (rows_next(&rows, &uid, &row, &prefix)) {
		if (n >= b->count || b->at[n].uid != uid || !flags_possible(w, b, uid, b->at[n].flags, row.flags)) {
			snprintf(why, 200, "%s: row %u is uid %u flags %u, wanted uid %u flags %u (%u rows)", b->name,
			    n, uid, row.flags, n < b->count ? b->at[n].uid : 0, n < b->count ? b->at[n].flags : 0,
			    b->count);
			goto out;
		}
		if (!same_bytes(e, tx, row.body, b->at[n].content)) {
			snprintf(why, 200, "%s: uid %u does not hold message %u", b->name, uid, b->at[n].content);
			goto out;
		}
		n++;
	}
	differs = n != b->count;
	if (differs)
		snprintf(why, 200, "%s: %u rows, wanted %u", b->name, n, b->count);
out:
	rows_end(&rows);
	return differs;
}

/* "" or what differs. */
static inline bool world_differs(struct engine *e, const struct world *w, char why[200])
{
	size_t boxes = 0, entries = 0;
	struct account_value a = { 0 };
	uint32_t account;
	struct tx tx;
	MDB_stat st;
	bool differs = false;

	why[0] = '\0';
	for (size_t i = 0; i < ENTRIES; i++) {
		if (!w->queue[i].content)
			continue;
		entries++;
		if (entry_differs(e, w, i)) {
			snprintf(
			    why, 200, "queue entry of message %u is missing or in another state", w->queue[i].content);
			return true;
		}
	}
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	mdb_stat(tx.txn, e->index.dbi[T_QUEUE], &st);
	if (st.ms_entries != entries) {
		snprintf(why, 200, "%zu queue entries, wanted %zu", st.ms_entries, entries);
		differs = true;
	}
	account = find_account(&tx, VIEW_LIT("a@x"));
	for (size_t i = 0; i < BOXES && !differs; i++)
		if (w->boxes[i].name[0]) {
			boxes++;
			differs = box_differs(e, &tx, account, w, &w->boxes[i], why);
		}
	get_account(&tx, account, &a, NULL);
	if (!differs && account && a.mailboxes != boxes) {
		snprintf(why, 200, "%u mailboxes, wanted %zu", a.mailboxes, boxes);
		differs = true;
	}
	tx_abort(&tx);
	return differs;
}

#endif
