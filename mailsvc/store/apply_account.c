/*
 * apply() for accounts: numbers and the addresses that they bear, what they hold, and what their domains hold.  An
 * orphaned account keeps its address as text only: it is not found by it, and its domain does not count it.
 */
#include <string.h>

#include "apply.h"

/* Adds (modulo 2^64 and 2^32) to what a domain's accounts hold; the row goes with the last account. */
static void domain_add(struct tx *tx, struct view address, uint64_t bytes, uint64_t messages, uint32_t accounts)
{
	struct key k = { 0 };
	struct domain_value d = { 0 };

	key_add(&k, domain_of_address(address));
	if (k.len == 0)
		return;
	tx_get_fixed(tx, T_DOMAIN, &k, &d, sizeof d, NULL);
	d.bytes += bytes;
	d.messages += messages;
	d.accounts += accounts;
	if (d.accounts)
		tx_put(tx, T_DOMAIN, &k, (struct view){ (const char *)&d, sizeof d });
	else
		tx_del(tx, T_DOMAIN, &k);
}

/* An account's row with a copy of its address, which the next write could move. */
struct open_account {
	struct account_value row;
	struct view address;
	char text[ADDRESS_MAX];
};

static bool account_load(struct tx *tx, uint32_t id, struct open_account *a)
{
	if (!get_account(tx, id, &a->row, &a->address) || a->address.len > sizeof a->text)
		return false;
	if (a->address.len)
		memcpy(a->text, a->address.ptr, a->address.len);
	a->address.ptr = a->text;
	return true;
}

static void account_save(struct tx *tx, uint32_t id, const struct open_account *a)
{
	struct key k = key_u32(id);

	tx_put2(tx, T_ACCOUNT, &k, &a->row, sizeof a->row, a->address);
}

void account_add(struct tx *tx, uint32_t account, uint64_t bytes, uint64_t messages, uint32_t mailboxes)
{
	struct open_account a;

	if (!account_load(tx, account, &a))
		return;
	a.row.bytes += bytes;
	a.row.messages += messages;
	a.row.mailboxes += mailboxes;
	account_save(tx, account, &a);
	if (!a.row.orphaned && (bytes || messages))
		domain_add(tx, a.address, bytes, messages, 0);
}

void account_charge(struct tx *tx, uint32_t account, uint32_t metadata)
{
	struct open_account a;

	if (metadata == 0 || !account_load(tx, account, &a))
		return;
	a.row.metadata += metadata;
	account_save(tx, account, &a);
}

/* The account bears its address from now on, or (on false) no more. */
static void name_set(struct tx *tx, uint32_t id, const struct open_account *a, bool on)
{
	struct key k = { 0 };

	key_add(&k, a->address);
	if (on) {
		tx_put(tx, T_ACCOUNT_NAME, &k, (struct view){ (const char *)&id, sizeof id });
		domain_add(tx, a->address, a->row.bytes, a->row.messages, 1);
	} else {
		tx_del(tx, T_ACCOUNT_NAME, &k);
		domain_add(tx, a->address, (uint64_t)0 - a->row.bytes, (uint64_t)0 - a->row.messages, UINT32_MAX);
	}
}

/* Its name is given back, its mail stays; who gets the name next gets none of its rights. */
static bool orphan(struct tx *tx, uint32_t id)
{
	struct open_account a;

	if (!account_load(tx, id, &a) || a.row.orphaned)
		return false;
	name_set(tx, id, &a, false);
	a.row.orphaned = 1;
	account_save(tx, id, &a);
	acl_forget(tx, a.address);
	return true;
}

bool apply_account(struct tx *tx, const struct record *r)
{
	struct open_account a = { .address = r->name };
	struct account_value old;

	if (r->name.len == 0)
		return orphan(tx, r->account);
	if (r->account == 0 || r->name.len >= ADDRESS_MAX || get_account(tx, r->account, &old, NULL) ||
	    find_account(tx, r->name))
		return false;
	name_set(tx, r->account, &a, true);
	account_save(tx, r->account, &a);
	if (tx->meta.next_account <= r->account)
		tx->meta.next_account = r->account + 1;
	return true;
}

bool apply_address(struct tx *tx, const struct record *r)
{
	struct open_account a, old;

	if (r->name.len == 0 || r->name.len >= ADDRESS_MAX || find_account(tx, r->name) ||
	    !account_load(tx, r->account, &a))
		return false;
	if (!a.row.orphaned) {
		name_set(tx, r->account, &a, false);
		old = a;
		old.address.ptr = old.text;
		acl_follow(tx, old.address, r->name);
	}
	a.address = r->name;
	a.row.orphaned = 0;
	name_set(tx, r->account, &a, true);
	account_save(tx, r->account, &a);
	return true;
}

static void subscriptions_drop(struct tx *tx, uint32_t account)
{
	struct key prefix = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (tx_seek(tx, T_SUBSCRIPTION, &c, &prefix, 4, &found, &value)) {
		struct key k = { 0 };
		key_add(&k, found);
		tx_del(tx, T_SUBSCRIPTION, &k);
	}
	if (c)
		mdb_cursor_close(c);
}

bool apply_erase(struct tx *tx, const struct record *r)
{
	struct open_account a;
	struct key k = key_u32(r->account);

	if (!account_load(tx, r->account, &a) || a.row.mailboxes != 0)
		return false;
	if (!a.row.orphaned)
		orphan(tx, r->account);
	else if (!find_account(tx, a.address)) /* granted since it was orphaned */
		acl_forget(tx, a.address);
	metadata_forget(tx, r->account);
	subscriptions_drop(tx, r->account);
	tx_del(tx, T_ACCOUNT, &k);
	return true;
}

bool apply_warned(struct tx *tx, const struct record *r)
{
	struct open_account a;

	if (!account_load(tx, r->account, &a))
		return false;
	a.row.warned = r->number;
	account_save(tx, r->account, &a);
	return true;
}
