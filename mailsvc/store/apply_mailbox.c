/* apply() for accounts, mailboxes, subscriptions and keyword names. */
#include <string.h>

#include "apply.h"

bool apply_account(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->account), name = { 0 };
	struct account_value a = { 0 };
	struct view address;

	if (r->name.len == 0) { /* its name is given back, its mail stays */
		char copy[ADDRESS_MAX];
		if (!get_account(tx, r->account, &a, &address) || a.orphaned || address.len > sizeof copy)
			return false;
		memcpy(copy, address.ptr, address.len);
		key_add(&name, address);
		tx_del(tx, T_ACCOUNT_NAME, &name);
		a.orphaned = 1;
		tx_put2(tx, T_ACCOUNT, &k, &a, sizeof a, (struct view){ copy, address.len });
		return true;
	}
	if (r->account == 0 || r->name.len >= ADDRESS_MAX || get_account(tx, r->account, &a, &address) ||
	    find_account(tx, r->name))
		return false;
	key_add(&name, r->name);
	tx_put(tx, T_ACCOUNT_NAME, &name, (struct view){ (const char *)&r->account, sizeof r->account });
	tx_put2(tx, T_ACCOUNT, &k, &a, sizeof a, r->name);
	if (tx->meta.next_account <= r->account)
		tx->meta.next_account = r->account + 1;
	return true;
}

bool apply_mailbox(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct account_value a;
	struct key k = mailbox_name_key(r->account, r->name);

	if (r->mailbox == 0 || r->name.len == 0 || r->name.len > NAME_MAX_BYTES ||
	    !get_account(tx, r->account, &a, NULL) || mailbox_load(tx, r->mailbox, &m) ||
	    find_mailbox(tx, r->account, r->name))
		return false;
	memset(&m, 0, sizeof m);
	m.row = (struct mailbox_value){ .account = r->account,
		.uid_validity = r->uid_validity,
		.special = r->special,
		.uid_next = 1,
		.recent_uid = 1,
		.modseq = 1 };
	memcpy(m.name, r->name.ptr, r->name.len);
	m.name_len = r->name.len;
	tx_put(tx, T_MAILBOX_NAME, &k, (struct view){ (const char *)&r->mailbox, sizeof r->mailbox });
	mailbox_save(tx, r->mailbox, &m);
	account_add(tx, r->account, 0, 0, 1);
	if (tx->meta.next_mailbox <= r->mailbox)
		tx->meta.next_mailbox = r->mailbox + 1;
	if (tx->meta.uid_validity < r->uid_validity)
		tx->meta.uid_validity = r->uid_validity;
	return true;
}

static void keywords_drop(struct tx *tx, uint32_t mailbox)
{
	for (uint8_t i = 0; i < KEYWORDS_MAX; i++) {
		struct key k = key_u32(mailbox);
		k.bytes[k.len++] = i;
		tx_del(tx, T_KEYWORD, &k);
	}
}

bool apply_delete(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key id = key_u32(r->mailbox), name;

	if (!mailbox_load(tx, r->mailbox, &m))
		return false;
	name = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &name);
	tx_del(tx, T_MAILBOX, &id);
	keywords_drop(tx, r->mailbox);
	tx_put(tx, T_DEAD, &id, (struct view){ (const char *)&m.row.account, sizeof m.row.account });
	account_add(tx, m.row.account, (uint64_t)0 - m.row.bytes, (uint64_t)0 - m.row.messages, UINT32_MAX);
	apply_changed(tx, r->mailbox);
	return true;
}

bool apply_rename(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key k;

	if (r->name.len == 0 || r->name.len > NAME_MAX_BYTES || !mailbox_load(tx, r->mailbox, &m) ||
	    find_mailbox(tx, m.row.account, r->name))
		return false;
	k = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &k);
	k = mailbox_name_key(m.row.account, r->name);
	tx_put(tx, T_MAILBOX_NAME, &k, (struct view){ (const char *)&r->mailbox, sizeof r->mailbox });
	memcpy(m.name, r->name.ptr, r->name.len);
	m.name_len = r->name.len;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}

bool apply_subscribe(struct tx *tx, const struct record *r)
{
	struct key k = key_u32(r->account);

	if (r->name.len == 0 || r->name.len > NAME_MAX_BYTES)
		return false;
	key_add(&k, r->name);
	if (r->flags & 1)
		tx_put(tx, T_SUBSCRIPTION, &k, VIEW_LIT(""));
	else
		tx_del(tx, T_SUBSCRIPTION, &k);
	return true;
}

bool apply_keyword(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key k = key_u32(r->mailbox);
	struct view old;

	if (r->number >= KEYWORDS_MAX || r->name.len == 0 || r->name.len > KEYWORD_NAME_MAX ||
	    !mailbox_load(tx, r->mailbox, &m))
		return false;
	k.bytes[k.len++] = (uint8_t)r->number;
	if (tx_get(tx, T_KEYWORD, &k, &old))
		return false;
	tx_put(tx, T_KEYWORD, &k, r->name);
	m.row.keywords++;
	mailbox_save(tx, r->mailbox, &m);
	return true;
}
