/* apply() for mailboxes, their owners and names, subscriptions and keyword names. */
#include <string.h>

#include "apply.h"

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

bool apply_delete(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct key id = key_u32(r->mailbox), name;

	if (!mailbox_load(tx, r->mailbox, &m))
		return false;
	metadata_drop(tx, r->mailbox);
	acl_drop(tx, r->mailbox);
	name = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &name);
	tx_del(tx, T_MAILBOX, &id);
	grave_dig(tx, r->mailbox, &m, r->when);
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

/* Its counts go from one account to another, with what its shared annotations are charged. */
bool apply_owner(struct tx *tx, const struct record *r)
{
	struct open_mailbox m;
	struct account_value to;
	struct key k;
	uint32_t charge;

	if (r->name.len == 0 || r->name.len > NAME_MAX_BYTES || !mailbox_load(tx, r->mailbox, &m) ||
	    !get_account(tx, r->account, &to, NULL) || find_mailbox(tx, r->account, r->name))
		return false;
	k = mailbox_name_key(m.row.account, (struct view){ m.name, m.name_len });
	tx_del(tx, T_MAILBOX_NAME, &k);
	k = mailbox_name_key(r->account, r->name);
	tx_put(tx, T_MAILBOX_NAME, &k, (struct view){ (const char *)&r->mailbox, sizeof r->mailbox });
	charge = metadata_shared(tx, r->mailbox);
	account_charge(tx, m.row.account, 0u - charge);
	account_charge(tx, r->account, charge);
	account_add(tx, m.row.account, (uint64_t)0 - m.row.bytes, (uint64_t)0 - m.row.messages, UINT32_MAX);
	account_add(tx, r->account, m.row.bytes, m.row.messages, 1);
	memcpy(m.name, r->name.ptr, r->name.len);
	m.name_len = r->name.len;
	m.row.account = r->account;
	m.row.special = r->special;
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
