/* apply() for what is kept beside a mailbox's messages: ACL entries, annotations, and what was imported there. */
#include <stdlib.h>
#include <string.h>

#include "apply.h"

static struct view u32_view(const uint32_t *v)
{
	return (struct view){ (const char *)v, sizeof *v };
}

static void acl_put(struct tx *tx, uint32_t mailbox, struct view identifier, uint32_t rights)
{
	struct key k = acl_key(mailbox, identifier), by = acl_by_key(identifier, mailbox);

	if (rights) {
		tx_put(tx, T_ACL, &k, u32_view(&rights));
		tx_put(tx, T_ACL_BY, &by, u32_view(&rights));
	} else {
		tx_del(tx, T_ACL, &k);
		tx_del(tx, T_ACL_BY, &by);
	}
}

bool apply_acl(struct tx *tx, const struct record *r)
{
	struct mailbox_value m;

	if (r->name.len == 0 || r->name.len > ADDRESS_MAX || memchr(r->name.ptr, 0, r->name.len) ||
	    !get_mailbox(tx, r->mailbox, &m, NULL))
		return false;
	acl_put(tx, r->mailbox, r->name, r->flags);
	apply_changed(tx, r->mailbox);
	return true;
}

/* Takes what one identifier has away, or gives it to another, beside what that has. */
static void acl_move(struct tx *tx, struct view from, struct view to)
{
	struct key k = { 0 };
	MDB_cursor *c = NULL;
	struct view found, value;

	key_add(&k, from);
	k.bytes[k.len++] = 0;
	while (tx_seek(tx, T_ACL_BY, &c, &k, k.len, &found, &value)) {
		uint32_t mailbox = found.len == k.len + 4 ? get_be32(found.ptr + k.len) : 0, rights = 0, more = 0;
		struct key there = acl_key(mailbox, to);
		if (value.len == sizeof rights)
			memcpy(&rights, value.ptr, sizeof rights);
		if (to.len) {
			tx_get_fixed(tx, T_ACL, &there, &more, sizeof more, NULL);
			acl_put(tx, mailbox, to, rights | more);
		}
		acl_put(tx, mailbox, from, 0);
		apply_changed(tx, mailbox);
	}
	if (c)
		mdb_cursor_close(c);
}

static void acl_both(struct tx *tx, struct view from, struct view to)
{
	char less_from[ADDRESS_MAX + 1] = "-", less_to[ADDRESS_MAX + 1] = "-";

	if (from.len >= ADDRESS_MAX || to.len >= ADDRESS_MAX)
		return;
	memcpy(less_from + 1, from.ptr, from.len);
	if (to.len)
		memcpy(less_to + 1, to.ptr, to.len);
	acl_move(tx, from, to);
	acl_move(
	    tx, (struct view){ less_from, from.len + 1 }, to.len ? (struct view){ less_to, to.len + 1 } : VIEW_NONE);
}

void acl_forget(struct tx *tx, struct view address)
{
	acl_both(tx, address, VIEW_NONE);
}

void acl_follow(struct tx *tx, struct view from, struct view to)
{
	acl_both(tx, from, to);
}

void acl_drop(struct tx *tx, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	char identifier[ADDRESS_MAX + 1];

	while (tx_seek(tx, T_ACL, &c, &k, 4, &found, &value)) {
		size_t len = found.len - 4 <= sizeof identifier ? found.len - 4 : 0;
		memcpy(identifier, found.ptr + 4, len);
		acl_put(tx, mailbox, (struct view){ identifier, len }, 0);
	}
	if (c)
		mdb_cursor_close(c);
}

/* Who is charged: the account whose private annotation it is, else the mailbox's owner; 0: nobody (the server's). */
static uint32_t charged(struct tx *tx, uint32_t account, uint32_t mailbox)
{
	struct mailbox_value m;

	return account ? account : mailbox && get_mailbox(tx, mailbox, &m, NULL) ? m.account : 0;
}

/* Adds (modulo 2^32) to what is counted of an account's annotations of a mailbox. */
static void metadata_count(struct tx *tx, uint32_t account, uint32_t mailbox, uint32_t count, uint32_t bytes)
{
	struct key k = pair_key(account, mailbox);
	struct metadata_value v = { 0 };

	tx_get_fixed(tx, T_METADATA_OF, &k, &v, sizeof v, NULL);
	v.count += count;
	v.bytes += bytes;
	if (v.count)
		tx_put(tx, T_METADATA_OF, &k, (struct view){ (const char *)&v, sizeof v });
	else
		tx_del(tx, T_METADATA_OF, &k);
	account_charge(tx, charged(tx, account, mailbox), bytes);
}

static void metadata_del(struct tx *tx, uint32_t mailbox, uint32_t account, const struct key *k)
{
	struct view old;

	if (tx_get(tx, T_METADATA, k, &old)) {
		uint32_t bytes = (uint32_t)(old.len + k->len - 8);
		tx_del(tx, T_METADATA, k);
		metadata_count(tx, account, mailbox, UINT32_MAX, 0u - bytes);
	}
}

bool apply_metadata(struct tx *tx, const struct record *r)
{
	struct key k = metadata_key(r->mailbox, r->account, r->name);
	struct mailbox_value m;
	struct account_value a;

	if (r->name.len == 0 || r->name.len > METADATA_ENTRY_MAX || r->text.len > METADATA_VALUE_MAX ||
	    (r->mailbox && !get_mailbox(tx, r->mailbox, &m, NULL)) ||
	    (r->account && !get_account(tx, r->account, &a, NULL)))
		return false;
	metadata_del(tx, r->mailbox, r->account, &k);
	if (r->mode == 1) {
		tx_put(tx, T_METADATA, &k, r->text);
		metadata_count(tx, r->account, r->mailbox, 1, (uint32_t)(r->text.len + r->name.len));
	}
	if (r->mailbox)
		apply_changed(tx, r->mailbox);
	return true;
}

static void metadata_drop_prefix(struct tx *tx, const struct key *prefix)
{
	MDB_cursor *c = NULL;
	struct view found, value;

	while (tx_seek(tx, T_METADATA, &c, prefix, prefix->len, &found, &value) && found.len >= 8) {
		struct key k = { 0 };
		key_add(&k, found);
		metadata_del(tx, get_be32(found.ptr), get_be32(found.ptr + 4), &k);
	}
	if (c)
		mdb_cursor_close(c);
}

void metadata_drop(struct tx *tx, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);

	metadata_drop_prefix(tx, &k);
}

void metadata_forget(struct tx *tx, uint32_t account)
{
	struct key k = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;

	while (tx_seek(tx, T_METADATA_OF, &c, &k, 4, &found, &value) && found.len == 8) {
		struct key prefix = pair_key(get_be32(found.ptr + 4), account);
		metadata_drop_prefix(tx, &prefix);
	}
	if (c)
		mdb_cursor_close(c);
}

uint32_t metadata_shared(struct tx *tx, uint32_t mailbox)
{
	struct key k = pair_key(0, mailbox);
	struct metadata_value v = { 0 };

	tx_get_fixed(tx, T_METADATA_OF, &k, &v, sizeof v, NULL);
	return v.bytes;
}

bool apply_imported(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->mailbox);
	struct mailbox_value m;

	if (r->text.len != IMPORT_KEY_LEN || r->uid == 0 || !get_mailbox(tx, r->mailbox, &m, NULL) ||
	    find_import(tx, r->mailbox, r->text))
		return false;
	key_add(&k, r->text);
	tx_put(tx, T_IMPORT, &k, u32_view(&r->uid));
	return true;
}

bool apply_validity(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;

	if (r->uid_validity == 0 || !mailbox_load(tx, r->mailbox, &m) || m.row.uid_next != 1)
		return false;
	m.row.uid_validity = r->uid_validity;
	mailbox_save(tx, r->mailbox, &m);
	if (tx->meta.uid_validity < r->uid_validity)
		tx->meta.uid_validity = r->uid_validity;
	return true;
}
