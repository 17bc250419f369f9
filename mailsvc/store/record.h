/*
 * Records of the log: what they hold and how they lie on disk.
 *
 * A record is a 24-byte header {type u16, codec u8, key algorithm u8, key id u32, head length u32, body length u64,
 * CRC32C u32 of the 20 bytes before it and of the head}, then the head, and for RECORD_BODY the message's bytes
 * followed by a table with the CRC32C of each 64 KiB of them, so that any range can be checked alone.  Integers are
 * little-endian.  Records name numbers, never names that could mean something else by the time of a replay, and hold
 * everything that apply (apply.c) needs, times included: applying the same records gives the same index.
 */
#ifndef MAILSVC_STORE_RECORD_H
#define MAILSVC_STORE_RECORD_H

#include "client.h"

#define RECORD_HEADER_LEN 24
#define RECORD_HEAD_MAX (8u << 20)
#define CHUNK_LEN 65536u   /* bytes of a body under one CRC */
#define NAME_MAX_BYTES 480 /* of a mailbox: it must fit a key of the index */

enum record_type {
	RECORD_ACCOUNT = 1,  /* account, name: a new account, or its name given back (name "": orphaned) */
	RECORD_MAILBOX,      /* account, mailbox, uid_validity, special, name */
	RECORD_DELETE,       /* mailbox, when */
	RECORD_RENAME,       /* mailbox, name */
	RECORD_SUBSCRIBE,    /* account, flags (1: on), name */
	RECORD_KEYWORD,      /* mailbox, number, name */
	RECORD_BODY,         /* body, references: how many records of the same frame refer to it, mime */
	RECORD_MESSAGE,      /* mailbox, uid, flags, keywords, modseq, date, when, body, size, text: the prefix */
	RECORD_FLAGS,        /* mailbox, modseq, mode, flags, keywords, ranges */
	RECORD_COPY,         /* source, mailbox, uid: the first at the destination, modseq, when, ranges */
	RECORD_EXPUNGE,      /* mailbox, modseq, when, mode (1: moved away, keeps nothing), ranges */
	RECORD_RECENT,       /* mailbox, uid: nothing below it is recent any more */
	RECORD_QUEUE_ADD,    /* queue, body, when, due, flags, sender, name: the domain, text: recipients */
	RECORD_QUEUE_RESULT, /* queue, due, text: {number u32, state u8, reply blob} each */
	RECORD_QUEUE_DUE,    /* queue, due */
	RECORD_QUEUE_DROP,   /* queue */
	RECORD_PURGE,        /* when, mailbox, uid: what was expunged up to this key is forgotten */
	RECORD_SWEEP,        /* mailbox (deleted), when, uid: its rows up to this one are expunged */
	/* New with issue 4: a log that holds one of these cannot be read by what came before. */
	RECORD_ACL,      /* mailbox, flags: rights (0: taken away), name: the identifier */
	RECORD_METADATA, /* account (0: shared), mailbox (0: the account's), mode (1: set, 0: gone), name, text: the
	                    value */
	RECORD_IMPORTED, /* mailbox, uid, text: the key of the message at its source */
	RECORD_VALIDITY, /* mailbox (that never held a message), uid_validity */
	RECORD_RESTORE,  /* source, mailbox, uid: the first at the destination, modseq, when, due: when it was expunged,
	                    ranges */
	RECORD_OWNER,    /* account, mailbox, special, name: the mailbox is now that account's, under that name */
	RECORD_ADDRESS,  /* account, name: the account bears this address from now on, also one that was orphaned */
	RECORD_ERASE,    /* account (without mailboxes): nothing of it is left */
	RECORD_WIPE, /* mailbox, mode, when, uid: forgotten are 0: rows of a deleted mailbox up to uid; 1: expunged rows
	                up to (when, uid) */
	RECORD_WARNED, /* account, number: the percents of its quota that it was last warned of, 0: none */
	RECORD_ROWS,   /* in state files only: name: a table, text: rows of it, {blob key, blob value} each */
	RECORD_END,    /* in state files only: size: how many rows there are */
	/* New with issue 5 (format 3). */
	RECORD_QUEUE_ENTRY, /* as RECORD_QUEUE_ADD, and number: priority, mode: enum dsn_ret, mime: {blob envid}, then
	                       {notify u8, blob orcpt} for each recipient */
	RECORD_QUEUE_STATE, /* queue, flags: QUEUE_HELD | QUEUE_TOLD, due, name: the route */
	RECORD_TYPES
};

enum { QUEUE_SMTPUTF8 = 1, QUEUE_EIGHT_BIT = 2, QUEUE_BOUNCE = 4 };
enum { QUEUE_HELD = 1, QUEUE_TOLD = 2 };
enum recipient_state { RECIPIENT_WAITING, RECIPIENT_DELIVERED, RECIPIENT_FAILED };

struct record {
	enum record_type type;
	uint32_t account, mailbox, source, uid, uid_validity, special, number, references, flags, mode;
	uint64_t body, size, keywords, modseq, queue;
	int64_t date, when, due;
	struct view name, sender, mime, text, ranges; /* ranges: u32 pairs, ascending, apart */
	uint64_t body_length;                         /* RECORD_BODY */
	uint32_t body_segment;                        /* where its bytes are; set by who reads or writes the log */
	uint64_t body_offset;
};

/* Header and head, appended; the caller adds the body and the chunk table of a RECORD_BODY. */
void record_put(struct buf *, const struct record *);
/* The bytes that follow a header's head: body and chunk table. */
uint64_t record_tail_len(uint64_t body_length);

struct record_header {
	uint16_t type;
	uint32_t head_len;
	uint64_t body_length;
	uint32_t crc;
};
/* -1: impossible lengths or type.  The CRC is checked by record_get. */
int record_header_get(const void *at, struct record_header *);
/* at: a whole header and its head.  -1: bad CRC, codec or fields.  Views point into at. */
int record_get(const void *at, size_t len, struct record *);
const char *record_type_name(unsigned type);

/* A list of ranges: ascending, first <= last, no overlap. */
bool ranges_ok(struct view ranges);
size_t ranges_count(struct view ranges);
struct uid_range ranges_at(struct view ranges, size_t);
/* Appends one uid, joined to the range before it where that ends just below. */
void ranges_add(struct buf *, uint32_t uid);
void ranges_put(struct buf *, struct uid_range);

#endif
