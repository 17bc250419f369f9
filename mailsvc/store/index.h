/*
 * The index: LMDB tables that apply() derives from the log, and nothing else writes.
 *
 * Keys are big-endian, so that byte order is number order; values are fixed structs in the machine's order (the index
 * never leaves the machine: it can be made anew from the log) followed by a name, prefix or record.  The same functions
 * read it in store and in the readers.
 */
#ifndef MAILSVC_STORE_INDEX_H
#define MAILSVC_STORE_INDEX_H

#include <lmdb.h>

#include "record.h"
#include "view.h"

#define TOMBSTONES_MAX 100000 /* a mailbox */
#define INDEX_VERSION 3       /* in meta_value: an index of another one is made anew from the log */
#define INDEX_LOADABLE 2      /* the oldest one whose state files are read (state.c) */
#define SWEPT_IMPORTS 2000    /* import keys that go with one slice of a deleted mailbox's rows */

enum table {
	T_META,         /* "meta" -> meta_value */
	T_ACCOUNT,      /* account -> account_value, address */
	T_ACCOUNT_NAME, /* address -> account */
	T_MAILBOX,      /* mailbox -> mailbox_value, name */
	T_MAILBOX_NAME, /* account, sort byte, name -> mailbox */
	T_KEYWORD,      /* mailbox, number u8 -> name */
	T_MESSAGE,      /* mailbox, uid -> message_value, prefix */
	T_CHANGE,       /* mailbox, modseq, uid -> change_kind u8: each live message once */
	T_GONE,         /* mailbox, modseq, uid: expunged, the newest TOMBSTONES_MAX */
	T_BODY,         /* body -> body_value, mime record */
	T_SHARED,       /* body -> references u32, where there is more than one */
	T_SUBSCRIPTION, /* account, name */
	T_QUEUE,        /* queue -> queue_value, strings */
	T_QUEUE_NEXT,   /* queue_next_key: what is not held, in the order in which a destination's entries go out */
	T_QUEUE_OF,     /* destination, 0 u8, queue: all of a destination, the oldest first */
	T_EXPUNGED,     /* mailbox, when, uid -> message_value, prefix: kept until undelete is over */
	T_DEAD,         /* deleted mailboxes whose rows still wait to be swept */
	T_SEGMENT,      /* segment -> segment_value */
	T_EXPUNGED_DUE, /* when, mailbox: there are rows of T_EXPUNGED: those to purge first */
	T_GRAVE,    /* deleted mailbox -> grave_value, name: while rows of it can be brought back; its T_KEYWORD stay */
	T_ACL,      /* mailbox, identifier -> rights u32 */
	T_ACL_BY,   /* identifier, 0 u8, mailbox -> rights u32: the same from the other side */
	T_METADATA, /* mailbox, account, entry -> value */
	T_METADATA_OF, /* account, mailbox -> metadata_value: how many and how much of it */
	T_IMPORT,      /* mailbox, key at the source -> uid u32 */
	T_DOMAIN,      /* domain -> domain_value: what its accounts hold, orphaned ones not counted */
	TABLES
};
const char *table_name(enum table); /* as it is called on the disk */

struct meta_value {
	uint32_t version, next_account, next_mailbox, uid_validity;
	uint64_t next_body, next_queue;
	uint64_t sequence, offset; /* the frame that the index stands behind */
	uint64_t salt;             /* of that segment: another log is noticed */
	uint32_t segment, reserved;
};
struct account_value {
	uint64_t bytes, messages;
	uint32_t mailboxes, orphaned;
	uint32_t metadata; /* bytes that it is charged for */
	uint32_t warned;   /* percents of the quota that it was last warned of */
};
struct domain_value {
	uint64_t bytes, messages;
	uint32_t accounts, reserved;
};
struct grave_value {
	int64_t when;
	uint32_t account, reserved;
};
struct metadata_value {
	uint32_t count, bytes;
};
struct mailbox_value {
	uint64_t bytes, modseq;
	uint32_t account, uid_validity, uid_next, recent_uid; /* recent: from recent_uid on */
	uint32_t messages, unseen, deleted, recent;
	uint32_t special, keywords, tombstones, reserved;
};
struct message_value {
	uint64_t keywords, modseq, body, size;
	int64_t date, saved;
	uint32_t flags, reserved;
};
struct body_value {
	uint64_t offset, length;
	uint32_t segment, reserved;
};
struct segment_value {
	uint64_t live, bytes; /* of bodies */
};
struct queue_value {
	uint64_t body;
	int64_t created, due;
	uint32_t attempts, flags, recipients;
	uint8_t priority, ret, state, reserved; /* state: QUEUE_HELD | QUEUE_TOLD */
};
/*
 * Then: blob sender, blob domain, and for each recipient blob address, u8 state, blob reply.  Then, where any of it was
 * said: blob envid, blob route, and for each recipient u8 notify, blob orcpt.
 */

struct index {
	MDB_env *env;
	MDB_dbi dbi[TABLES];
};

/* path: of the folder. read_only: a reader's (MDB_RDONLY | MDB_NOLOCK). */
int index_open(struct index *, const char *path, bool read_only, struct error *);
void index_close(struct index *);

/*
 * One transaction.  Errors stick: after the first, reads find nothing, and tx_commit fails.  A writer keeps the meta
 * row and the list of mailboxes that changed in memory until tx_commit.
 */
struct tx {
	struct index *index;
	MDB_txn *txn;
	int error; /* of LMDB */
	bool writes;
	MDB_cursor *at[TABLES]; /* a writer's: what is near the last entry is found without a search from the root */
	struct meta_value meta;
	uint32_t *changed; /* mailboxes, may repeat */
	size_t changed_count, changed_size;
	struct buf queued;  /* what became due, or will: queue_news_put; full: too much to tell */
};
int tx_begin(struct tx *, struct index *, bool write);
int tx_commit(struct tx *);
void tx_abort(struct tx *);

struct key {
	size_t len;
	uint8_t bytes[504];
};
struct key key_u32(uint32_t);
struct key key_u64(uint64_t);
void key_add_u32(struct key *, uint32_t);
void key_add_u64(struct key *, uint64_t);
void key_add(struct key *, struct view);
uint32_t get_be32(const void *);
uint64_t get_be64(const void *);

bool tx_get(struct tx *, enum table, const struct key *, struct view *);
void tx_put(struct tx *, enum table, const struct key *, struct view);
/* A fixed value and what follows it. */
void tx_put2(struct tx *, enum table, const struct key *, const void *fixed, size_t len, struct view rest);
bool tx_del(struct tx *, enum table, const struct key *); /* false: was not there */
/* Copies the fixed part; false when absent or too short. rest may be NULL. */
bool tx_get_fixed(struct tx *, enum table, const struct key *, void *fixed, size_t len, struct view *rest);
/* First entry at or behind key whose key starts with the first `prefix` bytes of it. */
bool tx_seek(
    struct tx *, enum table, MDB_cursor **, const struct key *, size_t prefix, struct view *found, struct view *value);
bool tx_next(struct tx *, MDB_cursor *, const struct key *, size_t prefix, struct view *found, struct view *value);

/* Lookups that several need. */
uint32_t find_account(struct tx *, struct view address); /* 0: none */
struct key mailbox_name_key(uint32_t account, struct view name);
uint32_t find_mailbox(struct tx *, uint32_t account, struct view name); /* 0: none */
bool get_mailbox(struct tx *, uint32_t mailbox, struct mailbox_value *, struct view *name);
bool get_account(struct tx *, uint32_t account, struct account_value *, struct view *address);
bool get_body(struct tx *, uint64_t body, struct body_value *, struct view *mime);
uint32_t body_references(struct tx *, uint64_t body);
struct key message_key(uint32_t mailbox, uint32_t uid);
struct key change_key(uint32_t mailbox, uint64_t modseq, uint32_t uid);
/* Keyword names by number; ptr NULL where none. */
void get_keywords(struct tx *, uint32_t mailbox, struct view names[KEYWORDS_MAX]);
int find_keyword(const struct view names[KEYWORDS_MAX], struct view name); /* any case; -1 */

/* Walks the rows of a mailbox in a list of ranges, in order, while rows come and go. */
struct rows {
	struct tx *tx;
	MDB_cursor *cursor;
	uint32_t mailbox;
	struct view ranges;
	size_t at;
	uint64_t next;
};
void rows_start(struct rows *, struct tx *, uint32_t mailbox, struct view ranges);
bool rows_next(struct rows *, uint32_t *uid, struct message_value *, struct view *prefix);
void rows_end(struct rows *);

/* The rows of T_EXPUNGED of one mailbox and time start with key_u32(mailbox) and key_add_u64(when). */
struct key expunged_key(uint32_t mailbox, int64_t when, uint32_t uid);
struct key acl_key(uint32_t mailbox, struct view identifier);
struct key acl_by_key(struct view identifier, uint32_t mailbox);
struct key metadata_key(uint32_t mailbox, uint32_t account, struct view entry);
struct key pair_key(uint32_t, uint32_t);
struct view domain_of_address(struct view address);
bool get_grave(struct tx *, uint32_t mailbox, struct grave_value *, struct view *name);
uint32_t find_import(struct tx *, uint32_t mailbox, struct view key); /* its uid; 0: never imported */

/* A queue entry, unpacked; views into value. */
struct queue_entry {
	struct queue_value fixed;
	struct view sender, domain, envid, route;
	struct queue_recipient {
		struct view address, reply, orcpt;
		uint8_t state, notify;
	} recipients[100];
};
/* Where it goes: its route, else its domain. */
struct view queue_destination(const struct queue_entry *);
/* What is due goes out in this order. A bounce is last whatever it says. */
enum queue_priority queue_lane(const struct queue_entry *);
#define QUEUE_LANES 3
/* destination, 0 u8, lane u8, due, queue. */
struct key queue_next_key(struct view destination, enum queue_priority lane, int64_t due, uint64_t id);
struct key queue_of_key(struct view destination, uint64_t id);
#define QUEUE_NEXT_TAIL 18 /* bytes of such a key behind the destination */
#define QUEUE_OF_TAIL 9
#define QUEUE_NEWS_MAX (4u << 20)
void queue_news_put(struct buf *, struct view destination, enum queue_priority lane, int64_t due, uint64_t id);
bool queue_entry_get(struct view value, struct queue_entry *);
bool get_queue(struct tx *, uint64_t id, struct queue_entry *);

/* apply.c: the one way the index changes. A record that refers to what is not there changes nothing and returns false.
 */
bool apply(struct tx *, const struct record *);

#endif
