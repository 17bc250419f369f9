/*
 * Verification of the tables that stand beside messages and bodies: each that is another's other side agrees with it,
 * each sum is counted anew, and nothing belongs to a mailbox or account that is not there.  It shares no code with
 * apply().
 */
#include "verify_beside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct beside {
	struct tx *tx;
	void (*problem)(void *, const char *);
	void *arg;
};

static void tell(struct beside *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct beside *b, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	b->problem(b->arg, text);
}

static void each(struct beside *b, enum table t, const struct key *prefix,
    void (*fn)(struct beside *, struct view key, struct view value, void *), void *arg)
{
	MDB_cursor *c = NULL;
	struct view found, value;

	for (bool more = tx_seek(b->tx, t, &c, prefix, prefix->len, &found, &value); more;
	     more = tx_next(b->tx, c, prefix, prefix->len, &found, &value))
		fn(b, found, value, arg);
	if (c)
		mdb_cursor_close(c);
}

static size_t entries(struct beside *b, enum table t)
{
	MDB_stat st = { 0 };

	mdb_stat(b->tx->txn, b->tx->index->dbi[t], &st);
	return st.ms_entries;
}

static bool there(struct beside *b, enum table t, uint32_t id)
{
	struct key k = key_u32(id);
	struct view v;

	return tx_get(b->tx, t, &k, &v);
}

static void acl_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = key.len > 4 ? get_be32(key.ptr) : 0;
	struct key by = acl_by_key((struct view){ key.ptr + 4, key.len > 4 ? key.len - 4 : 0 }, mailbox);
	struct view other;

	(void)arg;
	if (!there(b, T_MAILBOX, mailbox))
		tell(b, "mailbox %u has an ACL, but is not there", mailbox);
	if (!tx_get(b->tx, T_ACL_BY, &by, &other) || other.len != value.len ||
	    memcmp(other.ptr, value.ptr, value.len) != 0)
		tell(b, "an ACL entry of mailbox %u is not found by who it names", mailbox);
}

struct sum {
	uint64_t bytes;
	uint32_t count;
};

static void metadata_sum(struct beside *b, struct view key, struct view value, void *arg)
{
	struct sum *s = arg;

	(void)b;
	s->bytes += value.len + key.len - 8;
	s->count++;
}

static void metadata_of(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t account = get_be32(key.ptr), mailbox = get_be32(key.ptr + 4);
	struct key prefix = pair_key(mailbox, account);
	struct metadata_value of;
	struct sum s = { 0 };
	uint64_t *rows = arg;

	if (value.len < sizeof of)
		return;
	memcpy(&of, value.ptr, sizeof of);
	each(b, T_METADATA, &prefix, metadata_sum, &s);
	*rows += s.count;
	if (of.count != s.count || of.bytes != s.bytes)
		tell(b, "annotations of account %u and mailbox %u count %u with %u bytes, but are %u with %" PRIu64,
		    account, mailbox, of.count, of.bytes, s.count, s.bytes);
	if ((mailbox && !there(b, T_MAILBOX, mailbox)) || (account && !there(b, T_ACCOUNT, account)))
		tell(b, "annotations of account %u and mailbox %u belong to nobody", account, mailbox);
}

/* What one account is charged with: its private annotations, and the shared ones of its mailboxes. */
static void charge_private(struct beside *b, struct view key, struct view value, void *arg)
{
	struct metadata_value of;

	(void)b;
	(void)key;
	if (value.len >= sizeof of) {
		memcpy(&of, value.ptr, sizeof of);
		*(uint64_t *)arg += of.bytes;
	}
}

static void charge_shared(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = 0;
	struct key k;
	struct metadata_value of;

	(void)key;
	if (value.len == sizeof mailbox)
		memcpy(&mailbox, value.ptr, sizeof mailbox);
	k = pair_key(0, mailbox);
	if (tx_get_fixed(b->tx, T_METADATA_OF, &k, &of, sizeof of, NULL))
		*(uint64_t *)arg += of.bytes;
}

/* What accounts that bear their address add to their domains, sorted by domain. */
struct domain_sums {
	struct domain_sum {
		struct view name; /* of the snapshot */
		uint64_t bytes, messages;
	} * at;
	size_t count, next;
};

static void domain_collect(struct beside *b, struct view key, struct view value, void *arg)
{
	struct domain_sums *sums = arg;
	struct account_value a;
	struct view domain;

	(void)b;
	(void)key;
	if (value.len < sizeof a)
		return;
	memcpy(&a, value.ptr, sizeof a);
	domain = domain_of_address((struct view){ value.ptr + sizeof a, value.len - sizeof a });
	if (a.orphaned || domain.len == 0)
		return;
	if (sums->count % 1024 == 0)
		sums->at = xreallocarray(sums->at, sums->count + 1024, sizeof *sums->at);
	sums->at[sums->count++] = (struct domain_sum){ domain, a.bytes, a.messages };
}

static int view_cmp(struct view a, struct view b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

	return c ? c : a.len < b.len ? -1 : a.len > b.len;
}

static int domain_cmp(const void *x, const void *y)
{
	const struct domain_sum *a = x, *b = y;

	return view_cmp(a->name, b->name);
}

static void domain_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	struct domain_sums *sums = arg;
	uint64_t bytes = 0, messages = 0, accounts = 0;
	struct domain_value d;

	if (value.len < sizeof d)
		return;
	memcpy(&d, value.ptr, sizeof d);
	for (; sums->next < sums->count && view_cmp(sums->at[sums->next].name, key) == 0; sums->next++) {
		bytes += sums->at[sums->next].bytes;
		messages += sums->at[sums->next].messages;
		accounts++;
	}
	if (d.bytes != bytes || d.messages != messages || d.accounts != accounts)
		tell(b,
		    "a domain counts accounts=%u messages=%" PRIu64 " bytes=%" PRIu64 ", but holds accounts=%" PRIu64
		    " messages=%" PRIu64 " bytes=%" PRIu64,
		    d.accounts, d.messages, d.bytes, accounts, messages, bytes);
}

/* Both in the same order: one walk. */
static void check_domains(struct beside *b)
{
	struct domain_sums sums = { 0 };
	struct key all = { 0 };

	each(b, T_ACCOUNT, &all, domain_collect, &sums);
	if (sums.count)
		qsort(sums.at, sums.count, sizeof *sums.at, domain_cmp);
	each(b, T_DOMAIN, &all, domain_entry, &sums);
	if (sums.next != sums.count)
		tell(b, "%zu accounts are in no domain that is counted", sums.count - sums.next);
	free(sums.at);
}

static void account_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t id = get_be32(key.ptr);
	struct key prefix = key_u32(id);
	struct account_value a;
	struct view address;
	uint64_t charged = 0;

	if (value.len < sizeof a)
		return;
	memcpy(&a, value.ptr, sizeof a);
	address = (struct view){ value.ptr + sizeof a, value.len - sizeof a };
	each(b, T_METADATA_OF, &prefix, charge_private, &charged);
	each(b, T_MAILBOX_NAME, &prefix, charge_shared, &charged);
	if (a.metadata != charged)
		tell(
		    b, "account %u is charged with %u bytes of annotations, but has %" PRIu64, id, a.metadata, charged);
	if (a.orphaned)
		return;
	++*(uint64_t *)arg;
	if (find_account(b->tx, address) != id)
		tell(b, "account %u is not found by its address", id);
}

static void import_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = get_be32(key.ptr);

	(void)value;
	(void)arg;
	if (!there(b, T_MAILBOX, mailbox) && !there(b, T_DEAD, mailbox))
		tell(b, "an import is remembered for mailbox %u, which is not there", mailbox);
}

static void due_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = key.len == 12 ? get_be32(key.ptr + 8) : 0;
	struct key k = expunged_key(mailbox, key.len == 12 ? (int64_t)get_be64(key.ptr) : 0, 0);
	struct sum s = { 0 };

	(void)value;
	k.len = 12;
	each(b, T_EXPUNGED, &k, metadata_sum, &s);
	*(uint64_t *)arg += s.count;
	if (s.count == 0)
		tell(b, "expunged rows of mailbox %u are to be purged, but there are none", mailbox);
	if (!there(b, T_MAILBOX, mailbox) && !there(b, T_GRAVE, mailbox))
		tell(b, "expunged rows belong to mailbox %u, of which nothing is known", mailbox);
}

static void grave_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = get_be32(key.ptr);
	struct key k = key_u32(mailbox);
	struct sum s = { 0 };

	(void)value;
	(void)arg;
	each(b, T_EXPUNGED, &k, metadata_sum, &s);
	if ((s.count == 0 && !there(b, T_DEAD, mailbox)) || there(b, T_MAILBOX, mailbox))
		tell(b, "mailbox %u is kept in mind without a reason", mailbox);
}

static void keyword_entry(struct beside *b, struct view key, struct view value, void *arg)
{
	uint32_t mailbox = get_be32(key.ptr);

	(void)value;
	(void)arg;
	if (!there(b, T_MAILBOX, mailbox) && !there(b, T_GRAVE, mailbox))
		tell(b, "a keyword belongs to mailbox %u, which is not there", mailbox);
}

void verify_beside(struct tx *tx, void (*problem)(void *, const char *), void *arg)
{
	struct beside b = { tx, problem, arg };
	struct key all = { 0 };
	uint64_t rows = 0, due = 0, named = 0;

	each(&b, T_ACL, &all, acl_entry, NULL);
	each(&b, T_METADATA_OF, &all, metadata_of, &rows);
	each(&b, T_ACCOUNT, &all, account_entry, &named);
	check_domains(&b);
	each(&b, T_IMPORT, &all, import_entry, NULL);
	each(&b, T_EXPUNGED_DUE, &all, due_entry, &due);
	each(&b, T_GRAVE, &all, grave_entry, NULL);
	each(&b, T_KEYWORD, &all, keyword_entry, NULL);
	if (entries(&b, T_ACL) != entries(&b, T_ACL_BY))
		tell(&b, "%zu ACL entries name somebody %zu times", entries(&b, T_ACL), entries(&b, T_ACL_BY));
	if (rows != entries(&b, T_METADATA))
		tell(&b, "%zu annotations are counted as %" PRIu64, entries(&b, T_METADATA), rows);
	if (due != entries(&b, T_EXPUNGED))
		tell(&b, "%zu expunged rows are to be purged as %" PRIu64, entries(&b, T_EXPUNGED), due);
	if (named != entries(&b, T_ACCOUNT_NAME))
		tell(&b, "%" PRIu64 " accounts have %zu names", named, entries(&b, T_ACCOUNT_NAME));
}
