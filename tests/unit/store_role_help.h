/* The store role in a test's own event loop, with clients over real channels. One program includes it once. */
#ifndef TESTS_UNIT_STORE_ROLE_HELP_H
#define TESTS_UNIT_STORE_ROLE_HELP_H

#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "mailsvc/store/service.h"
#include "store_help.h"

static struct folder dir;
static struct event_base *base;
static struct role_ctx ctx;
static struct site site;
static bool exited;
static unsigned alerts;
static unsigned kills[ROLE_COUNT][ROLE_INSTANCES_MAX];

void role_exit(struct role_ctx *c)
{
	(void)c;
	exited = true;
}

void role_alert(struct role_ctx *c, const char *key, const char *fmt, ...)
{
	(void)c;
	(void)key;
	(void)fmt;
	alerts++;
}

void role_kill_peer(struct role_ctx *c, enum role_id id, unsigned instance, const char *why)
{
	(void)c;
	if (id == ROLE_MONITOR || strlen(why) >= ROLE_WHY_MAX)
		fail_msg("kills %u: %s", id, why);
	kills[id][instance]++;
}

const char *role_name(enum role_id id)
{
	static const char *const names[ROLE_COUNT] = { "monitor", "auth", "hash", "store", "login", "imap", "smtp",
		"resolver", "keys", "send" };

	return names[id];
}

static struct site_account accounts[] = { { .address = (char *)(uintptr_t) "a@x" },
	{ .address = (char *)(uintptr_t) "b@x" } };

static inline void store_up(void)
{
	struct error err;

	memset(&ctx, 0, sizeof ctx);
	ctx.base = base;
	ctx.role = &role_store;
	ctx.site = &site;
	for (int i = 0; i < ROLE_FD_COUNT; i++)
		ctx.fds[i] = -1;
	ctx.fds[ROLE_FD_STORE_DIR] = dir.fd;
	if (role_store.init(&ctx, &err) == -1)
		fail_msg("init: %s", err.text);
	role_store.start(&ctx);
}

static inline void spin_while(const bool *waiting, const char *what)
{
	uint64_t until = clock_mono_ms() + 20000;
	struct timeval step = { 0, 200000 };

	while (*waiting) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
		if (clock_mono_ms() > until)
			fail_msg("waited too long for %s", what);
	}
}

static inline void turn(unsigned ms)
{
	uint64_t until = clock_mono_ms() + ms;
	struct timeval step = { 0, 2000 };

	while (clock_mono_ms() < until) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

/*
 * The command line on a channel of its own: in another process, since it waits for its answers.  fn returns what was
 * wrong, 0 nothing; what it saw it can leave in memory that is shared.
 */
static inline void in_command(int (*fn)(int fd))
{
	int fds[2], status;
	pid_t pid;

	assert_int_equal(imsg_pair(fds), 0);
	if ((pid = fork()) == 0)
		_exit(fn(fds[1]));
	close(fds[1]);
	role_store.peer(&ctx, ROLE_MONITOR, 0, fds[0]);
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(2);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static inline void store_down(void)
{
	struct keeper *s = ctx.state;
	bool waiting = true;
	struct channel *ch;

	exited = false;
	role_store.drain(&ctx);
	while (!exited)
		event_base_loop(base, EVLOOP_ONCE);
	(void)waiting;
	while ((ch = TAILQ_FIRST(&s->channels)))
		channel_close(ch);
	body_reader_close(&s->bodies);
	event_free(s->tick);
	event_free(s->queue_timer);
	event_free(s->changed_timer);
	free(s->changed);
	event_free(s->drain_timer);
	munmap(s->shared, EPOCH_PAGE);
	close(s->shared_fd);
	queue_end(s);
	free(s);
}

static inline int setup(void **state)
{
	(void)state;
	folder_make(&dir);
	base = event_base_new();
	site.accounts = accounts;
	site.account_count = 2;
	site.limits.undelete = 3600;
	store_up();
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	store_down();
	event_base_free(base);
	folder_remove(&dir);
	return 0;
}

static inline struct store_client *client(enum role_id role, unsigned instance)
{
	struct store_client *c = store_client_new(base);
	int fds[2];

	assert_int_equal(imsg_pair(fds), 0);
	role_store.peer(&ctx, role, instance, fds[0]);
	store_client_attach(c, fds[1]);
	return c;
}

/* Clients live as long as a process does: there is no free. For the leak checker their parts are kept reachable. */
static struct store_client *kept[32];
static size_t kept_count;

static inline struct store_client *keep(struct store_client *c)
{
	kept[kept_count++ % 32] = c;
	return c;
}

struct answer {
	bool waiting;
	struct store_result result;
	struct uid_range source, destination;
};

static inline void on_answer(void *arg, const struct store_result *r)
{
	struct answer *a = arg;

	a->waiting = false;
	a->result = *r;
	if (r->source_count)
		a->source = r->source[0];
	if (r->destination_count)
		a->destination = r->destination[0];
}

static inline struct answer answered(void)
{
	return (struct answer){ .waiting = true };
}

static uint32_t seen_changed;

static inline void on_change(void *arg, const uint32_t *mailboxes, size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++)
		seen_changed |= 1u << (mailboxes[i] & 31);
}

static inline enum store_status deliver(struct store_client *c, const char *account, struct view body)
{
	struct store_local local = { account, NULL, VIEW_LIT("Return-Path: <>\r\n") };
	struct store_delivery d = {
		.body = { body, VIEW_LIT("record") }, .local = &local, .local_count = 1, .internal_date = 5
	};
	struct answer a = answered();

	store_deliver(c, &d, on_answer, &a);
	spin_while(&a.waiting, "a delivery");
	return a.result.status;
}

static inline void view_wait(struct store_view *v)
{
	for (int i = 0; i < 200 && !store_view_ready(v); i++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(store_view_ready(v));
}

static inline bool count_row(void *arg, const struct message_row *row)
{
	size_t *n = arg;

	assert_true(view_eq(row->prefix, "Return-Path: <>\r\n") || row->prefix.len == 0);
	(*n)++;
	return true;
}

/* Waits until the account's INBOX has so many messages (a delivery is visible a few ms after its answer). */
static inline void wait_messages(struct store_view *v, const char *account, uint32_t want)
{
	struct mailbox_row *m = xmalloc(sizeof *m);
	struct account_row a;
	uint32_t have = 0;
	struct timeval step = { 0, 1000 };

	for (int i = 0; i < 2000 && have != want; i++) {
		event_base_loopexit(base, &step);
		event_base_loop(base, EVLOOP_ONCE);
		assert_int_equal(view_begin(v), 0);
		if (view_account(v, account, &a) && view_mailbox_by_name(v, a.id, "inbox", m))
			have = m->messages;
		view_end(v);
	}
	assert_int_equal(have, want);
	free(m);
}

#endif
