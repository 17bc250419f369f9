/* What the store's tests share: a store in a temporary folder, requests in one line, and dumps of the index. */
#ifndef TESTS_UNIT_STORE_HELP_H
#define TESTS_UNIT_STORE_HELP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailsvc/store/engine.h"

struct folder {
	char path[64];
	int fd;
};

static inline void folder_make(struct folder *f)
{
	/* In memory where there is such a place: these tests sync thousands of times. */
	const char *top = getenv("MAILADM_STORES"); /* for those that are large */

	snprintf(f->path, sizeof f->path, "%.40s/store-XXXXXX",
	    top ? top : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_not_equal(f->fd, -1);
}

static inline void folder_remove(struct folder *f)
{
	static const char *const below[] = { "log", "index" };

	for (int i = 0; i < 2; i++) {
		int fd = openat(f->fd, below[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = fd == -1 ? NULL : fdopendir(fd);
		const struct dirent *entry;
		while (d && (entry = readdir(d)))
			if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
				unlinkat(fd, entry->d_name, 0);
		if (d)
			closedir(d);
		unlinkat(f->fd, below[i], AT_REMOVEDIR);
	}
	close(f->fd);
	rmdir(f->path);
}

/* The log lines of damage that a test makes are its purpose, not news. */
static inline int run_quietly(const struct CMUnitTest *tests, size_t count, const char *name)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (!freopen("/dev/null", "w", stderr))
		return 1;
	log_init("test", LOG_LEVEL_ERROR);
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

static struct epoch_shared test_shared;
static bool store_open_quietly; /* for tests in which it often fails */

static inline int store_open_as(struct engine *e, const struct folder *f, const char *boot, uint64_t segment_max)
{
	struct engine_options o = { .store_dir = f->fd, .undelete = 3600, .segment_max = segment_max };
	struct error err;

	snprintf(o.boot_id, sizeof o.boot_id, "%s", boot);
	atomic_store(&test_shared.epoch, 1);
	if (engine_open(e, &o, &test_shared, NULL, &err) == 0)
		return 0;
	if (!store_open_quietly)
		print_message("engine_open: %s\n", err.text);
	return -1;
}

static inline void store_must_open(struct engine *e, const struct folder *f)
{
	assert_int_equal(store_open_as(e, f, "boot-1", 0), 0);
}

/* As if the process had been killed: descriptors go, nothing is written. */
static inline void store_kill(struct engine *e)
{
	int fds[] = { e->log_dir, e->index_dir, e->checkpoint_fd, e->log.fd, e->data_fd };

	tx_abort(&e->tx);
	pins_drop(e);
	index_close(&e->index);
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
		close(fds[i]);
	buf_free(&e->heads);
	free(e->pieces);
	free(e->changed);
	buf_free(&e->queued);
	engine_accounts_free(&e->accounts);
	aliases_free(e);
}

/* Runs to its end, commits, publishes. The answer is to be freed with request_free. */
static inline struct request *ask(struct engine *e, struct proto_request p)
{
	struct request *r = xcalloc(1, sizeof *r);
	enum run run;

	r->p = p;
	r->weight = p.body.len + 4096;
	do {
		run = engine_run(e, r);
		if (engine_commit(e) == -1) {
			r->reply =
			    (struct proto_reply){ .status = errno == ENOSPC || errno == EFBIG ? STORE_FULL : STORE_IO };
			run = RUN_DONE;
		}
		engine_publish(e);
	} while (run != RUN_DONE);
	/* What p points to is the test's. */
	r->p.locals = NULL;
	r->p.remotes = NULL;
	r->p.recipients = NULL;
	r->p.outcomes = NULL;
	return r;
}

static inline enum store_status status_of(struct request *r)
{
	enum store_status s = r->reply.status;

	request_free(r);
	return s;
}

static inline uint32_t mailbox_of(struct request *r)
{
	uint32_t m = r->reply.mailbox;

	assert_int_equal(r->reply.status, STORE_OK);
	request_free(r);
	return m;
}

static inline struct request *deliver_to(
    struct engine *e, const char *account, const char *mailbox, const char *prefix, struct view body)
{
	struct proto_local local = { view_of(account), view_of(mailbox), view_of(prefix) };

	return ask(e, (struct proto_request){ .type = STORE_DELIVER,
			  .date = 1000,
			  .body = body,
			  .mime = VIEW_LIT("mime"),
			  .locals = &local,
			  .local_count = 1 });
}

static inline uint32_t inbox(struct engine *e, const char *account)
{
	return mailbox_of(ask(e, (struct proto_request){ .type = STORE_OPEN_ACCOUNT, .name = view_of(account) }));
}

static inline struct mailbox_value mailbox_row_of(struct engine *e, uint32_t id)
{
	struct mailbox_value m = { 0 };
	struct tx tx;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	get_mailbox(&tx, id, &m, NULL);
	tx_abort(&tx);
	return m;
}

static inline uint32_t account_of(struct engine *e, const char *address)
{
	struct tx tx;
	uint32_t id;

	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	id = find_account(&tx, view_of(address));
	tx_abort(&tx);
	return id;
}

/* Every table, whole. */
static inline void dump(struct engine *e, struct buf *out)
{
	struct tx tx;

	*out = BUF_INIT(1u << 30);
	assert_int_equal(tx_begin(&tx, &e->index, false), 0);
	for (int t = 0; t < TABLES; t++) {
		MDB_cursor *c = NULL;
		struct key first = { 0 };
		struct view found, value;
		for (bool more = tx_seek(&tx, (enum table)t, &c, &first, 0, &found, &value); more;
		     more = tx_next(&tx, c, &first, 0, &found, &value)) {
			buf_put_u8(out, (uint8_t)t);
			buf_put_blob(out, found);
			buf_put_blob(out, value);
		}
		if (c)
			mdb_cursor_close(c);
	}
	assert_int_equal(tx.error, 0);
	tx_abort(&tx);
}

static inline void assert_same_index(struct buf *a, struct buf *b, const char *what)
{
	struct cursor x = cursor_of(a->data, a->len), y = cursor_of(b->data, b->len);

	if (a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0))
		return;
	while (!x.bad && !y.bad) {
		unsigned t = cursor_u8(&x), u = cursor_u8(&y);
		struct view k = cursor_blob(&x, 1u << 30), v = cursor_blob(&x, 1u << 30);
		struct view l = cursor_blob(&y, 1u << 30), w = cursor_blob(&y, 1u << 30);
		if (t != u || k.len != l.len || v.len != w.len || memcmp(k.ptr, l.ptr, k.len) != 0 ||
		    memcmp(v.ptr, w.ptr, v.len) != 0)
			fail_msg("%s: tables differ, first in table %u against %u (key lengths %zu, %zu)", what, t, u,
			    k.len, l.len);
	}
	fail_msg("%s: one index has more entries (%zu against %zu bytes)", what, a->len, b->len);
}

static inline struct view range_text(char out[8], uint32_t first, uint32_t last)
{
	for (int i = 0; i < 4; i++) {
		out[i] = (char)(first >> (8 * i));
		out[4 + i] = (char)(last >> (8 * i));
	}
	return (struct view){ out, 8 };
}

#endif
