/* Requests about accounts and mailboxes: numbers, names, the tree, subscriptions, and the site's accounts. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

static const struct {
	const char *name;
	enum special_use special;
} defaults[] = { { "INBOX", SPECIAL_NONE }, { "Drafts", SPECIAL_DRAFTS }, { "Sent", SPECIAL_SENT },
	{ "Junk", SPECIAL_JUNK }, { "Trash", SPECIAL_TRASH } };

void put_subscription(struct engine *e, uint32_t account, const char *name, bool on)
{
	struct record r = { .type = RECORD_SUBSCRIBE, .account = account, .flags = on, .name = view_of(name) };

	engine_put(e, &r, VIEW_NONE);
}

/* Begins with the ACL of the mailbox above it. */
static void inherit_acl(struct engine *e, uint32_t account, uint32_t mailbox, struct view name)
{
	struct key k;
	MDB_cursor *c = NULL;
	struct view found, value;
	struct entry {
		uint32_t rights;
		size_t len;
		char identifier[ADDRESS_MAX];
	} *entries = NULL;
	size_t count = 0;
	uint32_t parent;

	while (name.len > 0 && name.ptr[name.len - 1] != '/')
		name.len--;
	if (name.len < 2 || !(parent = find_mailbox(&e->tx, account, (struct view){ name.ptr, name.len - 1 })))
		return;
	k = key_u32(parent);
	for (bool more = tx_seek(&e->tx, T_ACL, &c, &k, 4, &found, &value); more && count < ACL_ENTRIES_MAX;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value)) {
		struct entry entry = { .len = found.len - 4 };
		if (value.len != sizeof entry.rights || entry.len > sizeof entry.identifier)
			continue;
		memcpy(&entry.rights, value.ptr, sizeof entry.rights);
		memcpy(entry.identifier, found.ptr + 4, entry.len);
		entries = xreallocarray(entries, count + 1, sizeof *entries);
		entries[count++] = entry;
	}
	if (c)
		mdb_cursor_close(c);
	for (size_t i = 0; i < count; i++)
		put_acl(e, mailbox, (struct view){ entries[i].identifier, entries[i].len }, entries[i].rights);
	free(entries);
}

/* uid_validity 0: one that was never given before, even when a clock goes back (RFC 9051 2.3.1.1). */
uint32_t put_mailbox(
    struct engine *e, uint32_t account, struct view name, enum special_use special, uint32_t uid_validity)
{
	struct record r = { .type = RECORD_MAILBOX,
		.account = account,
		.mailbox = e->tx.meta.next_mailbox,
		.special = (uint32_t)special,
		.name = name };

	r.uid_validity = uid_validity                                 ? uid_validity
	                 : (uint32_t)e->now > e->tx.meta.uid_validity ? (uint32_t)e->now
	                                                              : e->tx.meta.uid_validity + 1;
	engine_put(e, &r, VIEW_NONE);
	inherit_acl(e, account, r.mailbox, name);
	return r.mailbox;
}

uint32_t open_account(struct engine *e, struct view address)
{
	uint32_t account = find_account(&e->tx, address);
	struct record r = { .type = RECORD_ACCOUNT, .name = address };
	struct account_value a;

	for (size_t i = 0; !account && i < e->alias_count; i++)
		if (view_eq(address, e->aliases[i].from) && get_account(&e->tx, e->aliases[i].account, &a, NULL) &&
		    !a.orphaned)
			account = e->aliases[i].account;
	if (account || !account_known(e, address))
		return account;
	r.account = account = e->tx.meta.next_account;
	engine_put(e, &r, VIEW_NONE);
	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
		put_mailbox(e, account, view_of(defaults[i].name), defaults[i].special, 0);
		put_subscription(e, account, defaults[i].name, true);
	}
	return account;
}

bool mailboxes_fit(struct engine *e, uint32_t account, size_t more)
{
	struct account_value a;

	return get_account(&e->tx, account, &a, NULL) && a.mailboxes + more <= MAILBOXES_MAX;
}

/* Is there room for the levels of name that are not there yet, the last one only if it is new, and for what they inherit? */
static bool levels_fit(struct engine *e, uint32_t account, const char *name, bool last_new)
{
	size_t missing = 0, above = 0, inherited = 0, each = 0;

	for (size_t i = 1; name[i - 1]; i++) {
		uint32_t mailbox;
		if (name[i] != '/' && (name[i] || !last_new))
			continue;
		if ((mailbox = find_mailbox(&e->tx, account, (struct view){ name, i }))) {
			above = acl_count(e, mailbox);
			continue;
		}
		missing++;
		inherited += above;
		each = above > each ? above : each;
	}
	return mailboxes_fit(e, account, missing) && acl_fits(e, account, each, inherited);
}

void put_parents(struct engine *e, uint32_t account, const char *name)
{
	for (size_t i = 1; name[i]; i++)
		if (name[i] == '/' && !find_mailbox(&e->tx, account, (struct view){ name, i }))
			put_mailbox(e, account, (struct view){ name, i }, SPECIAL_NONE, 0);
}

static uint32_t make_mailbox(struct engine *e, uint32_t account, const char *name, enum special_use special,
    bool subscribe, uint32_t uid_validity)
{
	uint32_t mailbox;

	if (!levels_fit(e, account, name, true))
		return 0;
	put_parents(e, account, name);
	mailbox = put_mailbox(e, account, view_of(name), special, uid_validity);
	if (subscribe)
		put_subscription(e, account, name, true);
	return mailbox;
}

uint32_t open_mailbox(struct engine *e, uint32_t account, const char *name, enum special_use special, bool subscribe)
{
	uint32_t mailbox = find_mailbox(&e->tx, account, view_of(name));

	return mailbox ? mailbox : make_mailbox(e, account, name, special, subscribe, 0);
}

static uint32_t find_special(struct engine *e, uint32_t account, enum special_use special)
{
	struct key k = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;
	uint32_t mailbox = 0, id;
	struct mailbox_value m;

	for (bool more = tx_seek(&e->tx, T_MAILBOX_NAME, &c, &k, k.len, &found, &value); more && !mailbox;
	     more = tx_next(&e->tx, c, &k, k.len, &found, &value)) {
		if (value.len != sizeof id)
			continue;
		memcpy(&id, value.ptr, sizeof id);
		if (get_mailbox(&e->tx, id, &m, NULL) && m.special == special)
			mailbox = id;
	}
	if (c)
		mdb_cursor_close(c);
	return mailbox;
}

uint32_t find_delivery(struct engine *e, uint32_t account, const char *name, enum special_use *special)
{
	uint32_t mailbox = find_mailbox(&e->tx, account, view_of(name)), other;
	struct mailbox_value m;

	*special = SPECIAL_NONE;
	for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
		if (strcmp(defaults[i].name, name) == 0)
			*special = defaults[i].special;
	if (*special == SPECIAL_NONE || (mailbox && get_mailbox(&e->tx, mailbox, &m, NULL) && m.special == *special))
		return mailbox;
	other = find_special(e, account, *special);
	return other ? other : mailbox;
}

uint32_t open_mailbox_as(struct engine *e, uint32_t account, const char *name, uint32_t uid_validity)
{
	return make_mailbox(e, account, name, SPECIAL_NONE, true, uid_validity);
}

void reply_mailbox(struct engine *e, struct request *req, uint32_t mailbox)
{
	struct mailbox_value m;

	if (!get_mailbox(&e->tx, mailbox, &m, NULL))
		return;
	req->reply.mailbox = mailbox;
	req->reply.uid_validity = m.uid_validity;
	req->reply.modseq = m.modseq;
}

enum store_status run_open_account(struct engine *e, struct request *req)
{
	uint32_t account = open_account(e, req->p.name);

	if (!account)
		return STORE_NO_ACCOUNT;
	/* What it had may have been handed over. */
	reply_mailbox(e, req, open_mailbox(e, account, "INBOX", SPECIAL_NONE, true));
	return STORE_OK;
}

enum store_status run_create(struct engine *e, struct request *req)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct account_value a;
	uint32_t mailbox;

	if (!mailbox_name_normalise(req->p.name, name))
		return STORE_INVALID;
	if (!get_account(&e->tx, req->p.account, &a, NULL))
		return STORE_NO_ACCOUNT;
	if (find_mailbox(&e->tx, req->p.account, view_of(name)))
		return STORE_EXISTS;
	if (atomic_load(&e->full))
		return STORE_FULL;
	mailbox = open_mailbox(e, req->p.account, name, (enum special_use)req->p.flags, false);
	if (!mailbox)
		return STORE_INVALID;
	reply_mailbox(e, req, mailbox);
	return STORE_OK;
}

/* Its children stay: names are flat, a parent need not be there. */
enum store_status run_delete(struct engine *e, struct request *req)
{
	struct record r = { .type = RECORD_DELETE, .mailbox = req->p.mailbox, .when = e->now };
	struct mailbox_value m;
	struct view name;

	if (!get_mailbox(&e->tx, req->p.mailbox, &m, &name))
		return STORE_NO_MAILBOX;
	if (view_eq(name, "INBOX"))
		return STORE_INVALID;
	engine_put(e, &r, VIEW_NONE);
	return STORE_OK;
}

/* RFC 9051 6.3.6: INBOX stays, empty; its messages go to the new mailbox. */
static enum store_status rename_inbox(struct engine *e, struct request *req, uint32_t account, const char *name)
{
	static const char all[8] = { 1, 0, 0, 0, -1, -1, -1, -1 };
	uint32_t to = open_mailbox(e, account, name, SPECIAL_NONE, false);
	struct request move = { .p = { .type = STORE_COPY,
				    .mailbox = req->p.mailbox,
				    .to = to,
				    .flags = 1,
				    .ranges = { all, sizeof all } },
		.source = BUF_INIT(64u << 20),
		.destination = BUF_INIT(64u << 20) };
	enum store_status status;

	if (!to)
		return STORE_INVALID;
	status = run_copy(e, &move);
	buf_free(&move.source);
	buf_free(&move.destination);
	if (status != STORE_OK)
		e->refused = true;
	reply_mailbox(e, req, to);
	return status;
}

struct child {
	uint32_t id;
	char *suffix; /* "/..." */
};

/* All mailboxes below name, with what follows it. -1: a new name would be too long or is taken. */
static int children_of(
    struct engine *e, uint32_t account, struct view name, const char *to, struct child **children, size_t *count)
{
	struct key k = mailbox_name_key(account, name);
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t prefix;
	int rc = 0;

	key_add(&k, VIEW_LIT("/"));
	prefix = k.len;
	*children = NULL;
	*count = 0;
	for (bool more = tx_seek(&e->tx, T_MAILBOX_NAME, &c, &k, prefix, &found, &value); more;
	     more = tx_next(&e->tx, c, &k, prefix, &found, &value)) {
		struct child child = { 0, view_dup((struct view){ found.ptr + prefix - 1, found.len - prefix + 1 }) };
		char *new_name = xasprintf("%s%s", to, child.suffix);
		if (value.len == sizeof child.id)
			memcpy(&child.id, value.ptr, sizeof child.id);
		if (strlen(new_name) > NAME_MAX_BYTES || find_mailbox(&e->tx, account, view_of(new_name)))
			rc = -1;
		free(new_name);
		*children = xreallocarray(*children, *count + 1, sizeof **children);
		(*children)[(*count)++] = child;
	}
	if (c)
		mdb_cursor_close(c);
	return rc;
}

static void put_rename(struct engine *e, uint32_t mailbox, const char *name)
{
	struct record r = { .type = RECORD_RENAME, .mailbox = mailbox, .name = view_of(name) };

	engine_put(e, &r, VIEW_NONE);
}

static enum store_status rename_tree(
    struct engine *e, struct request *req, uint32_t account, struct view old, const char *name)
{
	struct child *children;
	size_t count;
	enum store_status status = STORE_INVALID;

	/* Into itself: "a" to "a/b". */
	if (strncmp(name, old.ptr, old.len) == 0 && name[old.len] == '/')
		return STORE_INVALID;
	if (children_of(e, account, old, name, &children, &count) == 0 &&
	    levels_fit(e, account, name, false)) {
		put_parents(e, account, name);
		put_rename(e, req->p.mailbox, name);
		for (size_t i = 0; i < count; i++) {
			char *child = xasprintf("%s%s", name, children[i].suffix);
			put_rename(e, children[i].id, child);
			free(child);
		}
		reply_mailbox(e, req, req->p.mailbox);
		status = STORE_OK;
	}
	for (size_t i = 0; i < count; i++)
		free(children[i].suffix);
	free(children);
	return status;
}

enum store_status run_rename(struct engine *e, struct request *req)
{
	char name[MAILBOX_NAME_MAX + 1], old[NAME_MAX_BYTES + 1];
	struct mailbox_value m;
	struct view v;

	if (!mailbox_name_normalise(req->p.name, name))
		return STORE_INVALID;
	if (!get_mailbox(&e->tx, req->p.mailbox, &m, &v) || view_copy(v, old, sizeof old) == -1)
		return STORE_NO_MAILBOX;
	if (find_mailbox(&e->tx, m.account, view_of(name)))
		return STORE_EXISTS;
	if (strcmp(old, "INBOX") == 0 && m.messages > COPY_ROWS_MAX)
		return STORE_INVALID;
	if (strcmp(old, "INBOX") == 0)
		return rename_inbox(e, req, m.account, name);
	return rename_tree(e, req, m.account, view_of(old), name);
}

enum store_status run_subscribe(struct engine *e, struct request *req)
{
	char name[MAILBOX_NAME_MAX + 1];
	struct account_value a;

	if (!mailbox_name_normalise(req->p.name, name))
		return STORE_INVALID;
	if (!get_account(&e->tx, req->p.account, &a, NULL))
		return STORE_NO_ACCOUNT;
	put_subscription(e, req->p.account, name, req->p.flags & 1);
	return STORE_OK;
}

/* The site's accounts, anew: who is no longer among them gives the name back and keeps the mail. */
void run_reload(struct engine *e, struct request *req)
{
	struct key first = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;
	uint32_t *gone = NULL;
	size_t count = 0;

	engine_accounts_free(&e->accounts);
	e->accounts = req->accounts;
	e->accounts_known = true;
	req->accounts = (struct engine_accounts){ 0 };
	aliases_free(e);
	atomic_store(&e->undelete, req->undelete);
	for (bool more = tx_seek(&e->tx, T_ACCOUNT_NAME, &c, &first, 0, &found, &value); more;
	     more = tx_next(&e->tx, c, &first, 0, &found, &value))
		if (!account_known(e, found) && value.len == sizeof *gone) {
			gone = xreallocarray(gone, count + 1, sizeof *gone);
			memcpy(&gone[count++], value.ptr, sizeof *gone);
		}
	if (c)
		mdb_cursor_close(c);
	for (size_t i = 0; i < count; i++) {
		struct record r = { .type = RECORD_ACCOUNT, .account = gone[i] };
		log_info("event=store.account-orphaned id=%u", gone[i]);
		engine_put(e, &r, VIEW_NONE);
	}
	free(gone);
	req->reply.status = STORE_OK;
}
