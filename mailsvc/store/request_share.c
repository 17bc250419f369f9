/* Requests about what is kept beside a mailbox's messages: ACL entries (RFC 4314) and annotations (RFC 5464). */
#include <string.h>

#include "acl.h"
#include "engine.h"

void put_acl(struct engine *e, uint32_t mailbox, struct view identifier, uint32_t rights)
{
	struct record r = { .type = RECORD_ACL, .mailbox = mailbox, .flags = rights, .name = identifier };

	engine_put(e, &r, VIEW_NONE);
}

size_t acl_count(struct engine *e, uint32_t mailbox)
{
	struct key k = key_u32(mailbox);
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t n = 0;

	for (bool more = tx_seek(&e->tx, T_ACL, &c, &k, 4, &found, &value); more;
	     more = tx_next(&e->tx, c, &k, 4, &found, &value))
		n++;
	if (c)
		mdb_cursor_close(c);
	return n;
}

/* Counted only for who shares with many: the account's row has no room for a count. */
bool acl_fits(struct engine *e, uint32_t account, size_t each, size_t more)
{
	struct key k = key_u32(account);
	MDB_cursor *c = NULL;
	struct view found, value;
	size_t n = more;

	if (more == 0 || each <= ACL_ENTRIES_FREE)
		return true;
	for (bool row = tx_seek(&e->tx, T_MAILBOX_NAME, &c, &k, 4, &found, &value); row && n <= ACL_TOTAL_MAX;
	     row = tx_next(&e->tx, c, &k, 4, &found, &value)) {
		uint32_t mailbox = 0;
		if (value.len == sizeof mailbox)
			memcpy(&mailbox, value.ptr, sizeof mailbox);
		n += acl_count(e, mailbox);
	}
	if (c)
		mdb_cursor_close(c);
	return n <= ACL_TOTAL_MAX;
}

/* One more entry of a mailbox. */
static enum store_status acl_room(struct engine *e, uint32_t mailbox, uint32_t account)
{
	size_t n = acl_count(e, mailbox);

	if (atomic_load(&e->full))
		return STORE_FULL;
	return n < ACL_ENTRIES_MAX && acl_fits(e, account, n + 1, 1) ? STORE_OK : STORE_INVALID;
}

enum store_status run_set_acl(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	char identifier[ADDRESS_MAX + 1];
	struct mailbox_value m;
	struct key k;
	struct view old;
	enum store_status status = STORE_OK;
	bool is;

	if (acl_identifier(p->name, identifier) == -1 || (p->flags & ~ACL_ALL))
		return STORE_INVALID;
	if (!get_mailbox(&e->tx, p->mailbox, &m, NULL))
		return STORE_NO_MAILBOX;
	k = acl_key(p->mailbox, view_of(identifier));
	is = tx_get(&e->tx, T_ACL, &k, &old);
	if (!is && p->flags)
		status = acl_room(e, p->mailbox, m.account);
	if (status != STORE_OK)
		return status;
	if (is || p->flags)
		put_acl(e, p->mailbox, view_of(identifier), p->flags);
	reply_mailbox(e, req, p->mailbox);
	return STORE_OK;
}

/* In lower case. false: no name of an annotation. */
static bool entry_normalise(struct view entry, char out[METADATA_ENTRY_MAX + 1])
{
	if (entry.len < 2 || entry.len > METADATA_ENTRY_MAX || entry.ptr[0] != '/' || entry.ptr[entry.len - 1] == '/')
		return false;
	for (size_t i = 0; i < entry.len; i++) {
		char c = entry.ptr[i];
		if (c < 0x20 || c == 0x7f || c == '*' || c == '%' || (c == '/' && i && entry.ptr[i - 1] == '/'))
			return false;
		out[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	out[entry.len] = '\0';
	return true;
}

/* How much more an account may be charged with: only what grows is refused. */
static enum store_status metadata_room(
    struct engine *e, const struct proto_request *p, uint32_t charged, struct view entry)
{
	struct key k = pair_key(p->account, p->mailbox), row = metadata_key(p->mailbox, p->account, entry);
	struct metadata_value of = { 0 };
	struct account_value a = { 0 };
	struct view old;
	bool is = tx_get(&e->tx, T_METADATA, &row, &old);
	uint64_t before = is ? old.len : 0, after = p->value.len + (is ? 0 : entry.len);

	tx_get_fixed(&e->tx, T_METADATA_OF, &k, &of, sizeof of, NULL);
	if (!is && of.count >= METADATA_ENTRIES_MAX)
		return STORE_INVALID;
	if (charged)
		get_account(&e->tx, charged, &a, NULL);
	else
		a.metadata = of.bytes;
	return after > before && a.metadata + (after - before) > METADATA_TOTAL_MAX ? STORE_OVER_QUOTA : STORE_OK;
}

enum store_status run_set_metadata(struct engine *e, struct request *req)
{
	const struct proto_request *p = &req->p;
	struct record r = {
		.type = RECORD_METADATA, .account = p->account, .mailbox = p->mailbox, .mode = p->mode, .text = p->value
	};
	char entry[METADATA_ENTRY_MAX + 1];
	struct mailbox_value m = { 0 };
	struct account_value a;
	struct key k;
	struct view old;
	enum store_status status = STORE_OK;

	if (!entry_normalise(p->name, entry) || p->value.len > METADATA_VALUE_MAX)
		return STORE_INVALID;
	if (p->mailbox && !get_mailbox(&e->tx, p->mailbox, &m, NULL))
		return STORE_NO_MAILBOX;
	if (p->account && !get_account(&e->tx, p->account, &a, NULL))
		return STORE_NO_ACCOUNT;
	r.name = view_of(entry);
	k = metadata_key(p->mailbox, p->account, r.name);
	if (p->mode == 1 && atomic_load(&e->full))
		status = STORE_FULL;
	else if (p->mode == 1)
		status = metadata_room(e, p, p->account ? p->account : m.account, r.name);
	if (status == STORE_OK && (p->mode == 1 || tx_get(&e->tx, T_METADATA, &k, &old)))
		engine_put(e, &r, VIEW_NONE);
	if (p->mailbox)
		reply_mailbox(e, req, p->mailbox);
	return status;
}
