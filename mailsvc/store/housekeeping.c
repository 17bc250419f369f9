/* What time asks for, in slices: rows of deleted mailboxes are swept, and what was expunged long ago is purged. */
#include "engine.h"
#include "lib/clock.h"

/* The oldest expunged rows whose time is over. */
static bool purge_slice(struct engine *e)
{
	uint64_t keep = atomic_load(&e->undelete);
	MDB_cursor *dues = NULL, *rows = NULL;
	struct record r = { .type = RECORD_PURGE };
	struct key first = { 0 };
	struct view found, value;
	size_t n = 0;

	for (bool due = tx_seek(&e->tx, T_EXPUNGED_DUE, &dues, &first, 0, &found, &value); due && n < SLICE_ROWS;
	     due = tx_next(&e->tx, dues, &first, 0, &found, &value)) {
		uint64_t when = get_be64(found.ptr);
		uint32_t mailbox = get_be32(found.ptr + 8);
		struct key k = expunged_key(mailbox, (int64_t)when, 0);
		if (when > (uint64_t)e->now || (uint64_t)e->now - when < keep)
			break;
		for (bool row = tx_seek(&e->tx, T_EXPUNGED, &rows, &k, 12, &found, &value); row && n < SLICE_ROWS;
		     row = tx_next(&e->tx, rows, &k, 12, &found, &value)) {
			r.when = (int64_t)when;
			r.mailbox = mailbox;
			r.uid = get_be32(found.ptr + 12);
			n++;
		}
	}
	if (rows)
		mdb_cursor_close(rows);
	if (dues)
		mdb_cursor_close(dues);
	if (n)
		engine_put(e, &r, VIEW_NONE);
	return n == SLICE_ROWS;
}

static bool many_imports(struct engine *e, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t n = 0;

	for (bool more = tx_seek(&e->tx, T_IMPORT, &c, &k, 4, &found, &value); more && n <= SWEPT_IMPORTS;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value))
		n++;
	if (c)
		mdb_cursor_close(c);
	return n > SWEPT_IMPORTS;
}

uint32_t dead_slice(struct engine *e, uint32_t mailbox, size_t *count)
{
	static const char all[8] = { 1, 0, 0, 0, -1, -1, -1, -1 };
	struct message_value row;
	struct rows rows;
	struct view prefix;
	uint32_t uid = 0;

	*count = 0;
	rows_start(&rows, &e->tx, mailbox, (struct view){ all, sizeof all });
	while (*count < SLICE_ROWS && rows_next(&rows, &uid, &row, &prefix))
		++*count;
	rows_end(&rows);
	if (*count == SLICE_ROWS)
		return uid;
	/* Every slice takes SWEPT_IMPORTS keys, but the last one all that are left. */
	return many_imports(e, mailbox) ? UINT32_MAX - 1 : UINT32_MAX;
}

bool sweep_slice(struct engine *e)
{
	MDB_cursor *c = NULL;
	struct record r = { .type = RECORD_SWEEP, .when = e->now };
	struct key first = { 0 };
	struct view found, value;
	size_t count;
	struct grave_value grave;
	bool dead = tx_seek(&e->tx, T_DEAD, &c, &first, 0, &found, &value);

	if (dead)
		r.mailbox = get_be32(found.ptr);
	if (c)
		mdb_cursor_close(c);
	if (!dead)
		return false;
	/* They were expunged when their mailbox was deleted: undelete asks for that time. */
	if (get_grave(&e->tx, r.mailbox, &grave, NULL))
		r.when = grave.when;
	r.uid = dead_slice(e, r.mailbox, &count);
	engine_put(e, &r, VIEW_NONE);
	return true;
}

bool engine_housekeeping(struct engine *e)
{
	bool more;

	if (e->record_count)
		return true;
	engine_need_tx(e);
	e->now = clock_wall();
	more = sweep_slice(e);
	return purge_slice(e) || more;
}
