/*
 * Account life: another address, another owner for all mailboxes, and no trace at all.  An address finds the account
 * that bears it, else the newest orphaned one that bore it.  Each request may be asked again after a failure.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "site/address.h"

#define ERASED_MAILBOXES 100 /* in one slice */

static bool same(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Orphaned accounts that bore an address, oldest first; free. */
static uint32_t *orphans_of(struct engine *e, struct view address, size_t *count)
{
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	uint32_t *ids = NULL;

	*count = 0;
	for (bool more = tx_seek(&e->tx, T_ACCOUNT, &c, &first, 0, &found, &value); more;
	     more = tx_next(&e->tx, c, &first, 0, &found, &value)) {
		struct account_value a;
		if (value.len < sizeof a)
			continue;
		memcpy(&a, value.ptr, sizeof a);
		if (!a.orphaned || !same((struct view){ value.ptr + sizeof a, value.len - sizeof a }, address))
			continue;
		ids = xreallocarray(ids, *count + 1, sizeof *ids);
		ids[(*count)++] = get_be32(found.ptr);
	}
	if (c)
		mdb_cursor_close(c);
	return ids;
}

/* The one that bears it, else the newest orphaned one; 0. */
static uint32_t account_of(struct engine *e, struct view address)
{
	uint32_t account = find_account(&e->tx, address), *ids;
	size_t count;

	if (account)
		return account;
	ids = orphans_of(e, address, &count);
	if (count)
		account = ids[count - 1];
	free(ids);
	return account;
}

/* Only what is in the normal form is ever looked for. */
static bool address_ok(struct view address)
{
	char plain[ADDRESS_MAX];

	return address_normalise(address, plain, sizeof plain) == 0 && view_eq(address, plain);
}

/* Until the site is loaded anew mail to the old address goes to the account that bore it. */
static void alias_add(struct engine *e, struct view from, uint32_t account)
{
	for (size_t i = 0; i < e->alias_count; i++)
		if (view_eq(from, e->aliases[i].from)) {
			e->aliases[i].account = account;
			return;
		}
	e->aliases = xreallocarray(e->aliases, e->alias_count + 1, sizeof *e->aliases);
	e->aliases[e->alias_count++] = (struct account_alias){ view_dup(from), account };
}

enum store_status run_rename_account(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	uint32_t from = account_of(e, p->name), to;
	struct record r = { .type = RECORD_ADDRESS, .name = p->other };
	struct account_value a;

	if ((!from && !address_ok(p->name)) || !address_ok(p->other))
		return STORE_INVALID;
	if (!from) /* done before, and perhaps orphaned by a reload of the old site since */
		from = account_of(e, p->other);
	if (!from || !get_account(&e->tx, from, &a, NULL))
		return STORE_NO_ACCOUNT;
	to = find_account(&e->tx, p->other);
	if (to && to != from) {
		struct record away = { .type = RECORD_ACCOUNT, .account = to };
		struct account_value taken;
		if (get_account(&e->tx, to, &taken, NULL) && taken.messages)
			return STORE_EXISTS;
		engine_put(e, &away, VIEW_NONE);
	}
	r.account = from;
	if (to != from)
		engine_put(e, &r, VIEW_NONE);
	if (!same(p->name, p->other))
		alias_add(e, p->name, from);
	reply_mailbox(e, req, open_mailbox(e, from, "INBOX", SPECIAL_NONE, true));
	return STORE_OK;
}

struct owned {
	uint32_t id;
	char *name;
};

static struct owned *mailboxes_of(struct engine *e, uint32_t account, size_t most, size_t *count)
{
	struct key k = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;
	struct owned *all = NULL;

	*count = 0;
	for (bool more = tx_seek(&e->tx, T_MAILBOX_NAME, &c, &k, 4, &found, &value); more && *count < most;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value)) {
		struct owned o = { 0 };
		if (value.len != sizeof o.id || found.len < 5)
			continue;
		memcpy(&o.id, value.ptr, sizeof o.id);
		o.name = view_dup((struct view){ found.ptr + 5, found.len - 5 });
		all = xreallocarray(all, *count + 1, sizeof *all);
		all[(*count)++] = o;
	}
	if (c)
		mdb_cursor_close(c);
	return all;
}

static void owned_free(struct owned *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(all[i].name);
	free(all);
}

static bool subscribed(struct engine *e, uint32_t account, const char *name)
{
	struct key k = key_u32(account);
	struct view v;

	key_add(&k, view_of(name));
	return tx_get(&e->tx, T_SUBSCRIPTION, &k, &v);
}

/* Are all the new names free and short enough? */
static enum store_status names_fit(
    struct engine *e, uint32_t to, const char *folder, const struct owned *all, size_t count)
{
	char plain[MAILBOX_NAME_MAX + 1];
	enum store_status status = STORE_OK;

	for (size_t i = 0; i < count && status == STORE_OK; i++) {
		char *name = xasprintf("%s/%s", folder, all[i].name);
		if (!mailbox_name_normalise(view_of(name), plain))
			status = STORE_INVALID;
		else if (find_mailbox(&e->tx, to, view_of(plain)))
			status = STORE_EXISTS;
		free(name);
	}
	return status;
}

/* Levels above the mailboxes (in order of their names) that are none themselves: there they will be. */
static size_t levels_missing(struct engine *e, uint32_t account, const struct owned *all, size_t count)
{
	size_t missing = 0;

	for (size_t i = 0; i < count; i++)
		for (const char *end = strchr(all[i].name, '/'); end; end = strchr(end + 1, '/')) {
			struct view level = { all[i].name, (size_t)(end - all[i].name) };
			bool again = i && strncmp(all[i - 1].name, level.ptr, level.len + 1) == 0;
			missing += !again && !find_mailbox(&e->tx, account, level);
		}
	return missing;
}

static void hand_over(
    struct engine *e, struct request *req, uint32_t from, uint32_t to, const char *folder, const struct owned *o)
{
	char *name = xasprintf("%s/%s", folder, o->name);
	struct record r = {
		.type = RECORD_OWNER, .account = to, .mailbox = o->id, .special = SPECIAL_NONE, .name = view_of(name)
	};
	struct mailbox_value m;

	if (get_mailbox(&e->tx, o->id, &m, NULL))
		req->reply.count += m.messages;
	if (subscribed(e, from, o->name)) {
		put_subscription(e, from, o->name, false);
		put_subscription(e, to, name, true);
	}
	put_parents(e, to, name); /* a level that from did not have either */
	if (!find_mailbox(&e->tx, to, r.name))
		engine_put(e, &r, VIEW_NONE);
	free(name);
}

enum store_status run_hand_over(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	uint32_t from = account_of(e, p->name), to;
	char folder[MAILBOX_NAME_MAX + 1];
	struct owned *all;
	size_t count, levels = 0;
	enum store_status status;

	if (!mailbox_name_normalise(p->value, folder) || same(p->name, p->other))
		return STORE_INVALID;
	if (!from || !(to = open_account(e, p->other)))
		return STORE_NO_ACCOUNT;
	all = mailboxes_of(e, from, MAILBOXES_MAX + 1, &count);
	for (const char *c = folder; *c; c++)
		levels += *c == '/';
	status = from == to ? STORE_INVALID : names_fit(e, to, folder, all, count);
	if (status == STORE_OK && !mailboxes_fit(e, to, count + levels + 1 + levels_missing(e, from, all, count)))
		status = STORE_INVALID;
	for (size_t i = 0; i < count && status == STORE_OK; i++)
		hand_over(e, req, from, to, folder, &all[i]);
	owned_free(all, count);
	if (status == STORE_OK)
		reply_mailbox(e, req, find_mailbox(&e->tx, to, view_of(folder)));
	return status;
}

/* Erasing ---------------------------------------------------------------------------------------------------- */

static void put_wipe(
    struct engine *e, struct request *req, uint32_t mailbox, uint32_t mode, int64_t when, uint32_t uid, size_t count)
{
	struct record r = { .type = RECORD_WIPE, .mailbox = mailbox, .mode = mode, .when = when, .uid = uid };

	engine_put(e, &r, VIEW_NONE);
	req->reply.count += count;
}

/* A deleted mailbox of the account whose rows wait to be swept, or (graves) were expunged. */
static uint32_t leftover(struct engine *e, uint32_t account, bool graves)
{
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	uint32_t mailbox = 0, owner;

	for (bool more = tx_seek(&e->tx, graves ? T_GRAVE : T_DEAD, &c, &first, 0, &found, &value); more && !mailbox;
	     more = tx_next(&e->tx, c, &first, 0, &found, &value)) {
		size_t at = graves ? offsetof(struct grave_value, account) : 0;
		if (value.len < at + sizeof owner)
			continue;
		memcpy(&owner, value.ptr + at, sizeof owner);
		if (owner == account)
			mailbox = get_be32(found.ptr);
	}
	if (c)
		mdb_cursor_close(c);
	return mailbox;
}

static void wipe_dead(struct engine *e, struct request *req, uint32_t mailbox)
{
	size_t count;
	uint32_t last = dead_slice(e, mailbox, &count);

	put_wipe(e, req, mailbox, 0, e->now, last, count);
}

static void wipe_grave(struct engine *e, struct request *req, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	int64_t when = INT64_MAX;
	uint32_t uid = UINT32_MAX;
	size_t n = 0;

	for (bool more = tx_seek(&e->tx, T_EXPUNGED, &c, &k, 4, &found, &value); more && n < SLICE_ROWS;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value)) {
		if (found.len != 16)
			continue;
		when = (int64_t)get_be64(found.ptr + 4);
		uid = get_be32(found.ptr + 12);
		n++;
	}
	if (c)
		mdb_cursor_close(c);
	put_wipe(e, req, mailbox, 1, when, uid, n);
}

/* A slice. False: nothing was left of it but its row, which is gone now too. */
static bool erase_slice(struct engine *e, struct request *req, uint32_t account)
{
	struct record r = { .type = RECORD_ERASE, .account = account };
	size_t count;
	struct owned *all = mailboxes_of(e, account, ERASED_MAILBOXES, &count);
	uint32_t mailbox;

	for (size_t i = 0; i < count; i++) {
		struct record gone = { .type = RECORD_DELETE, .mailbox = all[i].id, .when = e->now };
		engine_put(e, &gone, VIEW_NONE);
	}
	owned_free(all, count);
	if (count)
		return true;
	if ((mailbox = leftover(e, account, false))) {
		wipe_dead(e, req, mailbox);
		return true;
	}
	if ((mailbox = leftover(e, account, true))) {
		wipe_grave(e, req, mailbox);
		return true;
	}
	engine_put(e, &r, VIEW_NONE);
	return false;
}

enum run run_erase_account(struct engine *e, struct request *req)
{
	struct view address = req->p.name;
	size_t count;
	uint32_t *orphans = orphans_of(e, address, &count), named = find_account(&e->tx, address);
	bool in_use = account_in_use(e, address);

	req->reply.status = req->resume                   ? STORE_OK
	                    : count || (named && !in_use) ? STORE_OK
	                    : named                       ? STORE_INVALID
	                                                  : STORE_NO_ACCOUNT;
	if (count)
		erase_slice(e, req, orphans[0]);
	else if (named && !in_use)
		erase_slice(e, req, named);
	free(orphans);
	if (!count && (!named || in_use))
		return RUN_DONE;
	req->resume = 1;
	return RUN_MORE;
}
