/*
 * Random requests of every kind, several accounts, deleted and restored mailboxes, reloads of the site, purges: then
 * the log replayed and the index made anew are what the store had, and verify finds no fault.  STORE_WALK=N walks N
 * times.
 */
#include <time.h>

#include "store_prove.h"

static struct folder dir;
static struct engine e;
static unsigned seed;

static uint32_t pick(uint32_t n)
{
	return (uint32_t)rand_r(&seed) % n;
}

static const char *const addresses[] = { "a@x.org", "b@x.org", "c@y.org", "d@y.org" };
static const char *const names[] = { "INBOX", "Work", "Work/a", "Work/a/b", "Lists", "Sent", "Restored/Work" };
static const char *const words[] = { "$Junk", "todo", "done", "later" };
static const char *const identifiers[] = { "a@x.org", "b@x.org", "-b@x.org", "c@y.org", "anyone", "-anyone", "nobody" };
static const char *const entries[] = { "/private/comment", "/shared/comment", "/shared/vendor/x", "/bad/" };

static void step_reload(void)
{
	struct request *r = xcalloc(1, sizeof *r);

	r->p.type = ENGINE_RELOAD;
	r->undelete = pick(6) ? 3600 : 0;
	r->accounts = (struct engine_accounts){ .at = xcalloc(4, sizeof(struct engine_account)),
		.warnings = { 50, 90 },
		.warning_count = 2,
		.host = xstrdup("mail.x.org") };
	for (size_t i = 0; i < 4; i++)
		if (pick(10))
			r->accounts.at[r->accounts.count++] = (struct engine_account){ .address = xstrdup(addresses[i]),
				.limits = { pick(2) ? 60000 : 0, pick(2) ? 60 : 0, pick(2) ? 200000 : 0, NULL },
				.suspended = pick(3) == 0 };
	assert_int_equal(engine_run(&e, r), RUN_DONE);
	assert_int_equal(engine_commit(&e), 0);
	engine_publish(&e);
	request_free(r);
}

static void step_append_many(uint32_t mailbox, struct view big)
{
	struct view names_of[2] = { view_of(words[pick(4)]), view_of(words[pick(4)]) };
	struct proto_append items[3];
	struct proto_request p = {
		.type = STORE_APPEND_MANY, .mailbox = mailbox, .appends = items, .append_count = pick(4)
	};
	struct request *r;

	for (size_t i = 0; i < p.append_count; i++) {
		items[i] = (struct proto_append){ pick(32), 1, names_of, pick(3), 5, pick(900) };
		p.body.len += items[i].body_len;
	}
	p.body.ptr = big.ptr;
	p.mime = (struct view){ big.ptr, p.append_count };
	r = ask(&e, p);
	r->p.appends = NULL;
	request_free(r);
}

static void step_old(uint32_t kind, struct proto_request *p, struct view big)
{
	static const uint32_t types[] = { STORE_APPEND, STORE_FLAGS, STORE_FLAGS_UNCHANGED, STORE_COPY, STORE_EXPUNGE,
		STORE_CREATE, STORE_DELETE, STORE_RENAME, STORE_SUBSCRIBE, STORE_CLAIM_RECENT };

	p->type = types[kind];
	if (p->type == STORE_APPEND)
		p->body = (struct view){ big.ptr, pick(2000) };
	if (p->type == STORE_COPY || p->type == STORE_EXPUNGE || p->type == STORE_SUBSCRIBE)
		p->flags &= 1;
	if (p->type == STORE_CREATE)
		p->flags = 0;
	if (p->type == STORE_DELETE && pick(3))
		return;
	status_of(ask(&e, *p));
}

static void step_new(uint32_t kind, struct proto_request *p, struct view big)
{
	static char keys[20][IMPORT_KEY_LEN];

	switch (kind) {
	case 0:
	case 1:
		p->type = STORE_SET_ACL;
		p->name = view_of(identifiers[pick(7)]);
		break;
	case 2:
	case 3:
		p->type = STORE_SET_METADATA;
		p->account = pick(6);
		p->mailbox = pick(3) ? p->mailbox : 0;
		p->mode = pick(3) > 0;
		p->name = view_of(entries[pick(4)]);
		p->value = (struct view){ big.ptr, pick(5000) };
		break;
	case 4:
	case 5:
		p->type = STORE_IMPORT;
		p->name = view_of(addresses[pick(4)]);
		p->other = view_of(names[pick(7)]);
		p->uid = pick(200);
		p->uid_validity = pick(100);
		p->key = (struct view){ keys[pick(20)], IMPORT_KEY_LEN };
		memcpy((char *)(uintptr_t)p->key.ptr, &p->key.ptr, sizeof p->key.ptr);
		p->mode = pick(8) > 0;
		p->body = (struct view){ big.ptr, p->mode ? pick(900) : 0 };
		break;
	case 6:
		if (pick(3))
			return;
		p->type = STORE_UNDELETE;
		p->mailbox = pick(3) ? 0 : p->mailbox;
		p->date = 0;
		break;
	case 7:
		if (pick(4))
			return;
		p->type = pick(2) ? STORE_RENAME_ACCOUNT : STORE_HAND_OVER;
		p->name = view_of(addresses[pick(4)]);
		p->other = view_of(addresses[pick(4)]);
		p->value = view_of(names[1 + pick(6)]);
		break;
	default:
		if (pick(12))
			return;
		p->type = STORE_ERASE_ACCOUNT;
		p->name = view_of(addresses[pick(4)]);
	}
	status_of(ask(&e, *p));
}

static uint32_t mailboxes(void)
{
	struct tx tx;
	uint32_t n;

	assert_int_equal(tx_begin(&tx, &e.index, false), 0);
	n = tx.meta.next_mailbox;
	tx_abort(&tx);
	return n;
}

static void step(struct view big)
{
	struct proto_request p = { .mailbox = 1 + pick(mailboxes() + 2),
		.to = 1 + pick(mailboxes() + 2),
		.account = 1 + pick(5),
		.name = view_of(names[pick(7)]),
		.flags = pick(32),
		.mode = pick(3),
		.unchanged_since = pick(60),
		.keywords = { view_of(words[pick(4)]) },
		.date = pick(1000) };
	uint32_t first = 1 + pick(20), kind = pick(32);
	char range[8];

	p.keyword_count = pick(2);
	p.ranges = range_text(range, first, first + pick(12));
	if (kind < 8)
		status_of(
		    deliver_to(&e, addresses[pick(4)], names[pick(7)], "P\r\n", (struct view){ big.ptr, pick(2000) }));
	else if (kind < 18)
		step_old(kind - 8, &p, big);
	else if (kind < 28)
		step_new(kind - 18, &p, big);
	else if (kind == 28)
		step_append_many(p.mailbox, big);
	else if (kind == 29 && pick(4) == 0)
		step_reload();
	else if (kind == 30 && pick(4) == 0)
		housekeep(&e);
	else {
		p.type = STORE_EXPUNGE;
		p.flags &= 1;
		status_of(ask(&e, p));
	}
}

static void test_walk(void **state)
{
	const char *times = getenv("STORE_WALK");
	unsigned n = times ? (unsigned)strtoul(times, NULL, 10) : 4, start = (unsigned)time(NULL);
	char *big = xcalloc(1, 5000), boot[BOOT_ID_LEN];

	(void)state;
	boot_id_read(boot);
	if (getenv("STORE_SEED"))
		start = (unsigned)strtoul(getenv("STORE_SEED"), NULL, 10);
	for (unsigned i = 0; i < n; i++) {
		print_message("STORE_SEED=%u\n", start + i);
		seed = start + i;
		assert_int_equal(prove_open(&e, &dir), 0);
		for (size_t j = 0; j < 4; j++)
			inbox(&e, addresses[j]);
		for (int j = 0; j < 1000; j++) {
			step((struct view){ big, 2000 });
			if (j % 200 == 199) {
				checkpoint_begin(&e);
				assert_int_equal(checkpoint_write(&e), 0);
				checkpoint_end(&e);
			}
		}
		prove(&e, &dir);
		engine_close(&e);
		folder_remove(&dir);
	}
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
