/*
 * Verification in two passes.  The log: every frame with every body, and where each body is.  The index, when no
 * store is at work on it: counters are counted anew, references followed to the log and counted from all sides.
 * It shares no code with apply(), so that a mistake there does not prove itself right.
 */
#include "verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state.h"
#include "verify_beside.h"

struct body_seen {
	uint64_t body, offset, length;
	uint32_t segment, references;
	size_t order; /* in the log: compaction writes a body again, and the last place counts */
};

struct verify {
	const struct verify_ops *ops;
	struct verify_report *report;
	struct body_seen *bodies; /* ascending by number once the log is read */
	size_t count, size;
	uint32_t *segments; /* their numbers, ascending */
	size_t segment_count;
	uint64_t *live;    /* bytes of each, as the bodies' rows say */
	uint32_t behind;   /* the segment that the newest state file stands before; 0: there is none */
	bool bodies_only;  /* a segment before it */
	uint64_t sequence; /* of the frame before */
	uint64_t held;     /* entries of the queue that are */
	uint64_t floor;    /* that the state file stands behind */
	struct tx tx;
};

static void problem(struct verify *v, uint32_t segment, uint64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void problem(struct verify *v, uint32_t segment, uint64_t offset, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	v->report->problems++;
	v->ops->problem(v->ops->arg, segment, offset, text);
}

/* The log ---------------------------------------------------------------------------------------------------- */

static void body_seen(struct verify *v, const struct record *r)
{
	if (v->count == v->size) {
		v->size = v->size ? v->size * 2 : 1024;
		v->bodies = xreallocarray(v->bodies, v->size, sizeof *v->bodies);
	}
	v->bodies[v->count] =
	    (struct body_seen){ r->body, r->body_offset, r->body_length, r->body_segment, 0, v->count };
	v->count++;
	v->report->bodies++;
	v->report->bytes += r->body_length;
}

static int on_frame(void *arg, const struct frame *f)
{
	struct verify *v = arg;

	v->report->frames++;
	v->bodies_only |= f->sequence <= v->floor;
	if (v->sequence && f->sequence != v->sequence + 1 && !f->unsynced && !v->bodies_only)
		problem(v, f->segment, f->offset, "frame %" PRIu64 " follows frame %" PRIu64, f->sequence, v->sequence);
	if (!v->bodies_only)
		v->sequence = f->sequence;
	v->bodies_only = f->segment < v->behind;
	for (size_t i = 0; i < f->record_count; i++)
		if (f->records[i].type == RECORD_BODY)
			body_seen(v, &f->records[i]);
	return 0;
}

static void on_damage(void *arg, uint32_t segment, uint64_t offset, uint64_t length, const char *what)
{
	problem(arg, segment, offset, "%" PRIu64 " bytes are damaged: %s", length, what);
}

static int body_cmp(const void *a, const void *b)
{
	const struct body_seen *x = a, *y = b;

	if (x->body != y->body)
		return x->body < y->body ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* One entry a body: where it was written last. */
static void bodies_sort(struct verify *v)
{
	size_t n = 0;

	if (v->count)
		qsort(v->bodies, v->count, sizeof *v->bodies, body_cmp);
	for (size_t i = 0; i < v->count; i++) {
		if (n && v->bodies[n - 1].body == v->bodies[i].body)
			n--;
		v->bodies[n++] = v->bodies[i];
	}
	v->count = n;
}

static void on_state_damage(void *arg, uint32_t number, uint64_t offset, uint64_t length, const char *what)
{
	problem(
	    arg, 0, 0, "%010u.state: %" PRIu64 " bytes at %" PRIu64 " are damaged: %s", number, length, offset, what);
}

/* The newest is the one that counts; an older one is left from a compaction that was cut short. */
static int verify_states(struct verify *v, int log_dir, struct error *e)
{
	struct state_check check;
	uint32_t *numbers;
	size_t count;

	if (states_list(log_dir, &numbers, &count, e) == -1)
		return -1;
	if (count) {
		uint64_t before = v->report->problems;
		v->behind = numbers[count - 1];
		state_check(log_dir, v->behind, &check, on_state_damage, v);
		if (!check.whole && v->report->problems == before)
			problem(v, 0, 0, "%010u.state is not whole", v->behind);
		v->sequence = v->floor = check.sequence;
		v->report->state_rows = check.rows;
	}
	free(numbers);
	return 0;
}

/* The number that must come at this place of the list. */
static uint32_t number_due(const struct verify *v, size_t i)
{
	if (i && v->segments[i - 1] >= v->behind)
		return v->segments[i - 1] + 1;
	return v->behind ? v->behind : 1;
}

/* Did a compaction take the segment while verify was at others?  Its new state file says what was in there. */
static bool taken_meanwhile(struct verify *v, int log_dir, uint32_t number)
{
	uint32_t *states = NULL;
	struct error ignored;
	size_t count;
	bool taken = v->bodies_only;

	if (!taken && states_list(log_dir, &states, &count, &ignored) == 0 && count && states[count - 1] > number) {
		v->sequence = 0; /* of the frame that comes next nobody can say */
		taken = true;
	}
	free(states);
	return taken;
}

static void verify_segment(struct verify *v, struct scan *s, size_t i, bool running)
{
	uint32_t number = v->segments[i];
	bool last = i + 1 == v->segment_count;
	uint64_t salt;
	enum scan_end end;
	int fd;

	v->bodies_only = number < v->behind;
	end = scan_segment(s, number, 0);
	v->report->unsynced += s->unsynced;
	if (end == SCAN_FAILED && errno == ENOENT && running && taken_meanwhile(v, s->dir, number))
		return;
	fd = segment_open(s->dir, number, O_RDONLY, &salt);
	v->report->segments++;
	if (end == SCAN_FAILED)
		problem(v, number, 0, "the segment cannot be opened: its header is damaged");
	else if (end == SCAN_TORN && !last)
		on_damage(v, number, s->end, s->torn, s->what);
	else if (end == SCAN_TORN && !running)
		v->report->torn = s->torn;
	if (fd != -1 && !segment_header_ok(fd, number, &salt))
		problem(v, number, 0, "the segment's header has a wrong checksum");
	if (fd != -1)
		close(fd);
	if (!v->bodies_only && number != number_due(v, i))
		problem(v, number, 0, "segments before this one are missing");
}

static int verify_log(struct verify *v, int log_dir, bool running, struct error *e)
{
	struct scan s = { .dir = log_dir, .bodies = true, .frame = on_frame, .damage = on_damage, .arg = v };

	if (log_versions_check(log_dir, e) == -1 || verify_states(v, log_dir, e) == -1 ||
	    segments_list(log_dir, &v->segments, &v->segment_count, e) == -1)
		return -1;
	v->live = xcalloc(v->segment_count + 1, sizeof *v->live);
	for (size_t i = 0; i < v->segment_count; i++) {
		verify_segment(v, &s, i, running);
		v->ops->progress(v->ops->arg, i + 1, v->segment_count);
	}
	bodies_sort(v);
	return 0;
}

/* The index -------------------------------------------------------------------------------------------------- */

/* Calls fn for each entry of a table whose key starts with prefix. */
static void each(struct verify *v, enum table t, const struct key *prefix,
    void (*fn)(struct verify *, struct view key, struct view value, void *), void *arg)
{
	MDB_cursor *c = NULL;
	struct view found, value;

	for (bool more = tx_seek(&v->tx, t, &c, prefix, prefix->len, &found, &value); more;
	     more = tx_next(&v->tx, c, prefix, prefix->len, &found, &value))
		fn(v, found, value, arg);
	if (c)
		mdb_cursor_close(c);
}

static struct body_seen *find_body(struct verify *v, uint64_t body)
{
	size_t lo = 0, hi = v->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->bodies[mid].body == body)
			return &v->bodies[mid];
		if (v->bodies[mid].body < body)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static void refer(struct verify *v, uint64_t body, const char *from, uint64_t a, uint64_t b)
{
	struct body_seen *seen = find_body(v, body);
	struct body_value row;

	if (!get_body(&v->tx, body, &row, NULL))
		problem(v, 0, 0, "%s %" PRIu64 "/%" PRIu64 " refers to body %" PRIu64 ", which is not there", from, a,
		    b, body);
	else if (!seen && row.length != 0) /* compaction keeps no file for nothing */
		problem(v, row.segment, row.offset,
		    "%s %" PRIu64 "/%" PRIu64 " refers to body %" PRIu64 ", which the log does not hold whole", from, a,
		    b, body);
	else if (seen)
		seen->references++;
}

struct counted {
	struct mailbox_value sum;
	const struct mailbox_value *row;
	uint32_t mailbox;
};

static void count_message(struct verify *v, struct view key, struct view value, void *arg)
{
	struct counted *c = arg;
	struct message_value m;
	struct view change;
	struct key k;
	uint32_t uid = get_be32(key.ptr + 4);

	if (value.len < sizeof m) {
		problem(v, 0, 0, "the row of message %u/%u is too short", c->mailbox, uid);
		return;
	}
	memcpy(&m, value.ptr, sizeof m);
	v->report->messages++;
	c->sum.messages++;
	c->sum.bytes += m.size;
	c->sum.unseen += !(m.flags & FLAG_SEEN);
	c->sum.deleted += (m.flags & FLAG_DELETED) != 0;
	if (c->row) {
		c->sum.recent += uid >= c->row->recent_uid;
		if (uid >= c->row->uid_next || m.modseq > c->row->modseq)
			problem(v, 0, 0, "message %u/%u is beyond its mailbox's next uid or modseq", c->mailbox, uid);
	}
	k = change_key(c->mailbox, m.modseq, uid);
	if (!tx_get(&v->tx, T_CHANGE, &k, &change))
		problem(v, 0, 0, "message %u/%u has no entry among the changes", c->mailbox, uid);
	refer(v, m.body, "message", c->mailbox, uid);
}

static void count_one(struct verify *v, struct view key, struct view value, void *arg)
{
	(void)v;
	(void)key;
	(void)value;
	++*(uint64_t *)arg;
}

static void check_mailbox(struct verify *v, struct view key, struct view value, void *arg)
{
	struct mailbox_value m;
	struct account_value *account = arg;
	struct counted c = { 0 };
	struct key prefix;
	struct view name;
	uint64_t gone = 0;

	if (value.len == sizeof c.mailbox)
		memcpy(&c.mailbox, value.ptr, sizeof c.mailbox);
	if (!get_mailbox(&v->tx, c.mailbox, &m, &name) || m.account != get_be32(key.ptr)) {
		problem(v, 0, 0, "account %u names mailbox %u, which is not there", get_be32(key.ptr), c.mailbox);
		return;
	}
	prefix = key_u32(c.mailbox);
	c.row = &m;
	each(v, T_MESSAGE, &prefix, count_message, &c);
	each(v, T_GONE, &prefix, count_one, &gone);
	if (c.sum.messages != m.messages || c.sum.bytes != m.bytes || c.sum.unseen != m.unseen ||
	    c.sum.deleted != m.deleted || c.sum.recent != m.recent || gone != m.tombstones)
		problem(v, 0, 0,
		    "mailbox %u counts messages=%u bytes=%" PRIu64
		    " unseen=%u deleted=%u, but holds messages=%u bytes=%" PRIu64 " unseen=%u deleted=%u",
		    c.mailbox, m.messages, m.bytes, m.unseen, m.deleted, c.sum.messages, c.sum.bytes, c.sum.unseen,
		    c.sum.deleted);
	if (find_mailbox(&v->tx, m.account, name) != c.mailbox)
		problem(v, 0, 0, "mailbox %u is not found by its name", c.mailbox);
	account->bytes += m.bytes;
	account->messages += m.messages;
	account->mailboxes++;
}

static void check_account(struct verify *v, struct view key, struct view value, void *arg)
{
	struct account_value a, sum = { 0 };
	uint32_t account = get_be32(key.ptr);
	struct key prefix = key_u32(account);

	(void)arg;
	if (value.len < sizeof a)
		return;
	memcpy(&a, value.ptr, sizeof a);
	each(v, T_MAILBOX_NAME, &prefix, check_mailbox, &sum);
	if (a.bytes != sum.bytes || a.messages != sum.messages || a.mailboxes != sum.mailboxes)
		problem(v, 0, 0,
		    "account %u counts messages=%" PRIu64 " bytes=%" PRIu64 ", but holds messages=%" PRIu64
		    " bytes=%" PRIu64,
		    account, a.messages, a.bytes, sum.messages, sum.bytes);
}

static void check_dead(struct verify *v, struct view key, struct view value, void *arg)
{
	struct counted c = { .mailbox = get_be32(key.ptr) };
	struct key prefix = key_u32(c.mailbox);

	(void)value;
	(void)arg;
	each(v, T_MESSAGE, &prefix, count_message, &c);
}

static void check_expunged(struct verify *v, struct view key, struct view value, void *arg)
{
	struct message_value m;

	(void)arg;
	if (key.len != 16 || value.len < sizeof m)
		return;
	memcpy(&m, value.ptr, sizeof m);
	refer(v, m.body, "expunged message", get_be32(key.ptr), get_be32(key.ptr + 12));
}

static void check_queue(struct verify *v, struct view key, struct view value, void *arg)
{
	uint64_t id = get_be64(key.ptr);
	struct queue_entry q;
	struct view destination;
	struct key next, of;
	bool held;

	(void)arg;
	v->report->queue++;
	if (!queue_entry_get(value, &q)) {
		problem(v, 0, 0, "queue entry %016" PRIx64 " cannot be read", id);
		return;
	}
	destination = queue_destination(&q);
	next = queue_next_key(destination, queue_lane(&q), q.fixed.due, id);
	of = queue_of_key(destination, id);
	held = q.fixed.state & QUEUE_HELD;
	v->held += held;
	if (tx_get(&v->tx, T_QUEUE_NEXT, &next, &value) == held)
		problem(v, 0, 0,
		    held ? "queue entry %016" PRIx64 " is held and will be sent"
			 : "queue entry %016" PRIx64 " will never be due",
		    id);
	if (!tx_get(&v->tx, T_QUEUE_OF, &of, &value))
		problem(v, 0, 0, "queue entry %016" PRIx64 " is not listed with its destination", id);
	refer(v, q.fixed.body, "queue entry", id, 0);
}

/* The place of a segment in the list; NULL: it is not there. */
static uint64_t *live_of(struct verify *v, uint32_t segment)
{
	size_t lo = 0, hi = v->segment_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->segments[mid] == segment)
			return &v->live[mid];
		if (v->segments[mid] < segment)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static void check_body(struct verify *v, struct view key, struct view value, void *arg)
{
	uint64_t body = get_be64(key.ptr);
	struct body_seen *seen = find_body(v, body);
	struct body_value row;
	uint64_t *live;

	(void)arg;
	if (value.len < sizeof row)
		return;
	memcpy(&row, value.ptr, sizeof row);
	if (!seen)
		return; /* told with the message */
	if (seen->segment != row.segment || seen->offset != row.offset || seen->length != row.length)
		problem(v, row.segment, row.offset, "body %" PRIu64 " is not where the index says", body);
	if (seen->references != body_references(&v->tx, body))
		problem(v, row.segment, row.offset, "body %" PRIu64 " has %u references, but counts %u", body,
		    seen->references, body_references(&v->tx, body));
	if ((live = live_of(v, row.segment)))
		*live += row.length;
}

static void check_segment(struct verify *v, struct view key, struct view value, void *arg)
{
	struct segment_value s;
	uint32_t segment = get_be32(key.ptr);
	const uint64_t *live = live_of(v, segment);

	(void)arg;
	if (value.len < sizeof s)
		return;
	memcpy(&s, value.ptr, sizeof s);
	if (s.live != (live ? *live : 0) && v->report->problems == 0)
		problem(v, segment, 0, "the segment counts %" PRIu64 " live bytes, but holds %" PRIu64, s.live,
		    live ? *live : 0);
}

static void on_beside(void *arg, const char *text)
{
	problem(arg, 0, 0, "%s", text);
}

static void verify_tables(struct verify *v)
{
	struct key all = { 0 };
	uint64_t changes = 0;
	MDB_stat st, names, of;

	each(v, T_ACCOUNT, &all, check_account, NULL);
	each(v, T_DEAD, &all, check_dead, NULL);
	each(v, T_EXPUNGED, &all, check_expunged, NULL);
	each(v, T_QUEUE, &all, check_queue, NULL);
	each(v, T_BODY, &all, check_body, NULL);
	each(v, T_SEGMENT, &all, check_segment, NULL);
	each(v, T_CHANGE, &all, count_one, &changes);
	verify_beside(&v->tx, on_beside, v);
	if (changes != v->report->messages)
		problem(
		    v, 0, 0, "%" PRIu64 " changes are listed for %" PRIu64 " messages", changes, v->report->messages);
	mdb_stat(v->tx.txn, v->tx.index->dbi[T_MAILBOX], &st);
	mdb_stat(v->tx.txn, v->tx.index->dbi[T_MAILBOX_NAME], &names);
	if (st.ms_entries != names.ms_entries)
		problem(v, 0, 0, "%zu mailboxes have %zu names", st.ms_entries, names.ms_entries);
	mdb_stat(v->tx.txn, v->tx.index->dbi[T_QUEUE_NEXT], &st);
	mdb_stat(v->tx.txn, v->tx.index->dbi[T_QUEUE_OF], &of);
	if (st.ms_entries + v->held != v->report->queue || of.ms_entries != v->report->queue)
		problem(v, 0, 0,
		    "%zu due times and %zu places are listed for %" PRIu64 " queue entries, %" PRIu64 " held",
		    st.ms_entries, of.ms_entries, v->report->queue, v->held);
	if (v->tx.meta.sequence > v->sequence)
		problem(v, 0, 0, "the index stands at frame %" PRIu64 ", the log ends at %" PRIu64, v->tx.meta.sequence,
		    v->sequence);
	if (v->tx.error)
		problem(v, 0, 0, "the index cannot be read: %s", mdb_strerror(v->tx.error));
}

static int verify_index(struct verify *v, int store_dir, struct error *e)
{
	char boot[BOOT_ID_LEN], path[64];
	struct index index;
	int checkpoint = openat(store_dir, "index/checkpoint", O_RDONLY | O_CLOEXEC);
	int data = openat(store_dir, "index/data.mdb", O_RDONLY | O_CLOEXEC);
	int rc = 0;

	boot_id_read(boot);
	/* What a power loss left may be any mixture until the next start has put it right: LMDB must not walk it. */
	if (checkpoint_peek(checkpoint, data, boot) == CHECKPOINT_SAME_BOOT) {
		snprintf(path, sizeof path, "/proc/self/fd/%d/index", store_dir);
		if ((rc = index_open(&index, path, true, e)) == 0) {
			if (tx_begin(&v->tx, &index, false) == 0) {
				v->report->index_checked = true;
				verify_tables(v);
			}
			tx_abort(&v->tx);
			index_close(&index);
		}
	}
	if (checkpoint != -1)
		close(checkpoint);
	if (data != -1)
		close(data);
	return rc;
}

int verify_store(
    int store_dir, bool running, const struct verify_ops *ops, struct verify_report *report, struct error *e)
{
	struct verify v = { .ops = ops, .report = report };
	int log_dir = openat(store_dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), rc = -1;

	memset(report, 0, sizeof *report);
	if (log_dir == -1)
		return error_errno(e, "cannot open the log's folder");
	if (verify_log(&v, log_dir, running, e) == 0)
		rc = running ? 0 : verify_index(&v, store_dir, e);
	free(v.bodies);
	free(v.segments);
	free(v.live);
	close(log_dir);
	return rc;
}
