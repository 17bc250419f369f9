/* After a test: the log replayed and the index made anew from it are what the store had, and verify is silent. */
#ifndef TESTS_UNIT_STORE_PROVE_H
#define TESTS_UNIT_STORE_PROVE_H

#include "mailsvc/store/verify.h"
#include "store_help.h"

static inline void prove_problem(void *arg, uint32_t segment, uint64_t offset, const char *text)
{
	print_message("verify: segment %u offset %llu: %s\n", segment, (unsigned long long)offset, text);
	++*(unsigned *)arg;
}

static inline void prove_progress(void *arg, size_t done, size_t segments)
{
	(void)arg;
	(void)done;
	(void)segments;
}

static inline void prove_verified(const struct folder *dir)
{
	unsigned problems = 0;
	struct verify_ops ops = { prove_problem, prove_progress, &problems };
	struct verify_report r;
	struct error err;

	assert_int_equal(verify_store(dir->fd, false, &ops, &r, &err), 0);
	assert_true(r.index_checked);
	if (problems)
		fail_msg("verify found %u problems", problems);
}

/* The store is killed, opened, closed, verified and made anew; it is open again behind it. */
static inline void prove(struct engine *e, const struct folder *dir)
{
	struct engine_options o = { .store_dir = dir->fd, .undelete = 3600 };
	struct buf live, again;
	uint64_t messages, damaged;
	struct error err;

	boot_id_read(o.boot_id);
	dump(e, &live);
	store_kill(e);
	assert_int_equal(store_open_as(e, dir, o.boot_id, 1 << 20), 0);
	dump(e, &again);
	assert_same_index(&live, &again, "opened again");
	buf_free(&again);
	engine_close(e);
	prove_verified(dir);
	assert_int_equal(engine_rebuild(&o, &messages, &damaged, &err), 0);
	assert_int_equal(damaged, 0);
	prove_verified(dir);
	assert_int_equal(store_open_as(e, dir, o.boot_id, 1 << 20), 0);
	dump(e, &again);
	assert_same_index(&live, &again, "made anew");
	buf_free(&again);
	buf_free(&live);
}

static inline int prove_open(struct engine *e, struct folder *dir)
{
	char boot[BOOT_ID_LEN];

	folder_make(dir);
	boot_id_read(boot);
	return store_open_as(e, dir, boot, 1 << 20);
}

/* Rows of a table that begin with a prefix. */
static inline size_t rows_of(struct engine *e, enum table t, struct key prefix)
{
	struct tx tx;
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t n = 0;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	for (bool more = tx_seek(&tx, t, &c, &prefix, prefix.len, &found, &value); more;
	     more = tx_next(&tx, c, &prefix, prefix.len, &found, &value))
		n++;
	if (c)
		mdb_cursor_close(c);
	tx_abort(&tx);
	return n;
}

static inline size_t all_rows(struct engine *e, enum table t)
{
	return rows_of(e, t, (struct key){ 0 });
}

static inline struct account_value account_row_of(struct engine *e, uint32_t id)
{
	struct account_value a = { 0 };
	struct tx tx;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	get_account(&tx, id, &a, NULL);
	tx_abort(&tx);
	return a;
}

static inline uint32_t mailbox_named(struct engine *e, uint32_t account, const char *name)
{
	struct tx tx;
	uint32_t id;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	id = find_mailbox(&tx, account, view_of(name));
	tx_abort(&tx);
	return id;
}

static inline struct message_value message_row_of(struct engine *e, uint32_t mailbox, uint32_t uid)
{
	struct message_value m = { 0 };
	struct key k = message_key(mailbox, uid);
	struct tx tx;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	tx_get_fixed(&tx, T_MESSAGE, &k, &m, sizeof m, NULL);
	tx_abort(&tx);
	return m;
}

static inline struct domain_value domain_row_of(struct engine *e, const char *name)
{
	struct domain_value d = { 0 };
	struct key k = { 0 };
	struct tx tx;

	key_add(&k, view_of(name));
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	tx_get_fixed(&tx, T_DOMAIN, &k, &d, sizeof d, NULL);
	tx_abort(&tx);
	return d;
}

static inline enum store_status expunge(struct engine *e, uint32_t mailbox, uint32_t first, uint32_t last)
{
	char range[8];

	return status_of(
	    ask(e, (struct proto_request){
			.type = STORE_EXPUNGE, .mailbox = mailbox, .ranges = range_text(range, first, last) }));
}

static inline enum store_status create(struct engine *e, uint32_t account, const char *name)
{
	return status_of(
	    ask(e, (struct proto_request){ .type = STORE_CREATE, .account = account, .name = view_of(name) }));
}

/* What time asks for, until there is nothing more. */
static inline void housekeep(struct engine *e)
{
	bool more = true;

	while (more) {
		more = engine_housekeeping(e);
		assert_int_equal(engine_commit(e), 0);
		engine_publish(e);
	}
}

static inline int prove_close(struct engine *e, struct folder *dir)
{
	prove(e, dir);
	engine_close(e);
	folder_remove(dir);
	return 0;
}

#endif
