/*
 * The store without processes: log, index, checkpoint, and what each request does.  One thread (the commit thread; in
 * tests the only one) calls engine_run for what is queued, engine_commit to make it durable, engine_publish to let
 * readers see it, engine_tick for what time asks for.  A helper thread may run the two functions that wait for the
 * disk without holding anyone up.
 */
#ifndef MAILSVC_STORE_ENGINE_H
#define MAILSVC_STORE_ENGINE_H

#include <pthread.h>

#include "compact.h"
#include "epoch.h"
#include "index.h"
#include "proto.h"
#include "quota.h"
#include "segment.h"

#define BOOT_ID_LEN 40
#define PINS_MAX 24
#define SLICE_ROWS 4000              /* changed by one slice of a long request */
#define SLICE_LOOKED 20000           /* and looked at */
#define FRAME_SOFT_MAX (8ull << 20)  /* a batch ends when it is longer */
#define CHECKPOINT_LOG (32ull << 20) /* bytes of log between checkpoints */
#define CHECKPOINT_MS 1000
#define CHECKPOINT_LEN 8192    /* of the file: two slots */
#define CHECKPOINT_PAGES 16384 /* by which the index may grow between checkpoints, while nothing is reused */
#define INDEX_AHEAD                                                                                                    \
	(16ull << 20)         /* room that data.mdb owns behind its end, so that a full disk does not stop the index */
#define COPY_ROWS_MAX 1000000 /* one commit */
#define MAILBOXES_MAX 10000   /* an account */
#define DUE_FAR (8 * 86400)   /* s: no retry is put off so long; what is due later was by a wrong clock */

#define ENGINE_WARNINGS_MAX 8

struct engine_account {
	char *address;
	struct quota_limits limits; /* domain: NULL */
	bool suspended;             /* its mail may be erased though the site has it */
};
struct engine_accounts { /* sorted by address */
	struct engine_account *at;
	size_t count;
	uint32_t warnings[ENGINE_WARNINGS_MAX]; /* rising percents at which an account is warned */
	size_t warning_count;
	char *host; /* who warns */
};
struct site;
struct engine_accounts engine_accounts_of(const struct site *);
void engine_accounts_free(struct engine_accounts *);

struct engine_options {
	int store_dir;             /* STATE/store; stays the caller's */
	char boot_id[BOOT_ID_LEN]; /* /proc/sys/kernel/random/boot_id, or anything that changes when the page cache is
	                              lost */
	uint64_t undelete;         /* seconds */
	uint64_t segment_max;      /* 0: SEGMENT_MAX */
	uint64_t compact_min;      /* 0: COMPACT_MIN */
};

enum internal_request {      /* beside proto.h's, on the same queue */
	ENGINE_RELOAD = 100, /* accounts, undelete */
	ENGINE_COMPACT,      /* the next step of a compaction */
};

struct name_set { /* of any number of names, caseless; kept as hashes: {0} is empty */
	uint64_t *at; /* 0: free */
	size_t count, size;
};
void name_set_add(struct name_set *, struct view name);
bool name_set_has(const struct name_set *, struct view name);

struct request {
	struct request *next;
	struct proto_request p;
	struct view mapped; /* what p points into: one of these */
	char *copy;
	size_t weight; /* bytes held */
	uint64_t channel;
	uint32_t id;
	bool visible;                    /* its caller reads the index: published before the answer */
	bool looks;                      /* and changes nothing: what it asks is looked up then */
	struct engine_accounts accounts; /* ENGINE_RELOAD; taken over */
	uint64_t undelete;

	uint64_t resume; /* of a request that runs in slices; of a snapshot: its state file's number, or 0 */
	int64_t until;   /* when it began */
	struct proto_reply reply;
	struct buf source, destination; /* ranges */
	struct buf modseqs;             /* u64 of each slice's record */
	struct name_set destinations;   /* of a queue change: of the entries that it changed */
};
void request_free(struct request *);

struct pin {
	MDB_txn *txn;
	uint64_t epoch;
};

struct checkpoint { /* one on its way to the disk */
	char metas[2][512];
	struct meta_value meta;
	uint64_t epoch;
};

struct engine {
	int dir, log_dir, index_dir, data_fd, checkpoint_fd;
	struct engine_options options;
	struct engine_accounts accounts;
	struct account_alias { /* by store_rename_account, until the next reload */
		char *from;
		uint32_t account;
	} * aliases;
	size_t alias_count;
	bool accounts_known; /* false: any address may have an account (tests) */
	_Atomic bool full;   /* the disk's reserve is reached */
	_Atomic uint64_t undelete;

	struct segments log;
	pthread_mutex_t extend_lock; /* who writes behind log.allocated, or rotates */
	struct index index;
	struct tx tx;
	bool tx_open;
	bool unpublished; /* frames were committed since it was begun */

	/* The frame being made. */
	struct buf heads;
	struct piece {
		const char *body; /* NULL: in heads, at */
		size_t at, len;
	} * pieces;
	size_t piece_count, piece_size;
	uint64_t frame_len;
	uint32_t record_count;
	bool sync_needed, refused;
	int64_t now;

	/* Pins and checkpoints. */
	struct epoch_shared *shared; /* never NULL */
	struct readers *readers;     /* NULL: there are none */
	struct pin pins[PINS_MAX];
	size_t pin_count;
	uint64_t durable_epoch; /* the pin that the durable checkpoint needs */
	uint64_t checkpoint_serial;
	uint32_t checkpoint_segment; /* found at start: where the log was known to be on the disk */
	uint64_t checkpoint_offset;
	uint64_t checkpoint_log;                           /* log bytes since it was taken */
	uint64_t index_pages, index_len, checkpoint_pages; /* len: in bytes */
	_Atomic uint64_t index_ahead;                      /* data.mdb owns its room up to here */
	bool no_room;                                      /* opening failed for want of room: the index is good */
	bool newer;                                        /* opening failed: a newer program made this */
	bool rewrite; /* at opening: what is read of the log may be in the page cache only */
	struct checkpoint checkpoint;
	bool checkpoint_pending;
	uint64_t dirty_since; /* clock_mono_ms of the first publish or write since the last checkpoint; 0: clean */

	/* What the last publish changed. */
	uint32_t *changed;
	size_t changed_count;
	struct buf queued; /* of the queue: queue_news_put; full: look at all of it */
	uint64_t durable_sequence; /* of the durable checkpoint */
	uint32_t durable_segment;  /* and where it stands in the log */
	struct compact *compact;   /* under way */
	pthread_mutex_t compact_lock;
	unsigned compact_holds; /* under compact_lock, as what follows */
	struct compact_status compact_told;

	/* What opening found. */
	uint64_t damage_count, replayed;
};

int engine_open(
    struct engine *, const struct engine_options *, struct epoch_shared *, struct readers *, struct error *);
void engine_close(struct engine *); /* publishes, takes a checkpoint */
/* Makes the index anew from the log. */
int engine_rebuild(const struct engine_options *, uint64_t *messages, uint64_t *damaged, struct error *);

enum run {
	RUN_DONE,  /* reply is set; it holds once committed */
	RUN_MORE,  /* a slice is done: call again, after a commit and others */
	RUN_AGAIN, /* does not fit this frame: commit, then call again */
};
enum run engine_run(struct engine *, struct request *);
bool engine_pending(const struct engine *); /* something waits for engine_commit */
/* One frame, one fdatasync where the batch asks for it.  -1 with errno: nothing of the batch happened. */
int engine_commit(struct engine *);
bool engine_unpublished(const struct engine *);
/*
 * Makes committed changes visible to readers; fills changed and queued.  -1: there is no room on the disk for
 * the index; nothing became visible, and everything is ready for the next try.
 */
int engine_publish(struct engine *);
/* Purges and sweeps, a slice. True: there is more at once. To be committed like a request. */
bool engine_housekeeping(struct engine *);

/* errno values that say that there is no room: to be tried again later, while others are not. */
bool no_room(int error);
/* Ends the process; the next start makes the index anew. */
_Noreturn void index_lost(struct engine *, const char *error);

/* Checkpoints (checkpoint.c): begin and end by the committing thread, write by any. */
bool checkpoint_due(const struct engine *);
void checkpoint_begin(struct engine *);
int checkpoint_write(struct engine *);
void checkpoint_end(struct engine *);
void pins_release(struct engine *); /* what no reader needs any more */
void pins_drop(struct engine *);
enum checkpoint_found { CHECKPOINT_NONE, CHECKPOINT_SAME_BOOT, CHECKPOINT_RESTORED };
enum checkpoint_found checkpoint_restore(struct engine *);
/* What checkpoint_restore would say, changing nothing. */
enum checkpoint_found checkpoint_peek(int checkpoint_fd, int data_fd, const char *boot_id);
/* The machine's, or "" (then every start is as after a power loss, which is right too). */
void boot_id_read(char out[BOOT_ID_LEN]);
/* Zero-fills ahead of the log, and takes room for the index, when they run short; by the helper. */
bool engine_wants_log(const struct engine *);
void engine_extend(struct engine *);
bool engine_wants_index(const struct engine *);
void engine_extend_index(struct engine *);

void engine_need_tx(struct engine *); /* begins the open transaction, when there is none */
/* For request_*.c: a record is logged and applied.  The BODY record's bytes are not copied: they stay until the commit.
 */
void engine_put(struct engine *, struct record *, struct view body);
/* The same with a body that does not stay. */
void engine_put_copy(struct engine *, struct record *, struct view body);
/* Fills in and puts a RECORD_MESSAGE under the mailbox's next uid (or r->uid, if that is not below it), which it
 * returns. */
uint32_t put_message(struct engine *, uint32_t mailbox, struct record *r, struct view prefix, uint64_t body_len);
enum store_status run_deliver(struct engine *, struct request *);
enum store_status run_append(struct engine *, struct request *);
enum store_status run_copy(struct engine *, struct request *);
enum run run_flags(struct engine *, struct request *);
enum run run_expunge(struct engine *, struct request *);
enum store_status run_recent(struct engine *, struct request *);
enum store_status run_create(struct engine *, struct request *);
enum store_status run_delete(struct engine *, struct request *);
enum store_status run_rename(struct engine *, struct request *);
enum store_status run_subscribe(struct engine *, struct request *);
enum store_status run_open_account(struct engine *, struct request *);
enum store_status run_append_many(struct engine *, struct request *);
enum store_status run_set_acl(struct engine *, struct request *);
enum store_status run_set_metadata(struct engine *, struct request *);
enum store_status run_import(struct engine *, struct request *);
enum run run_undelete(struct engine *, struct request *);
enum store_status run_rename_account(struct engine *, struct request *);
enum store_status run_hand_over(struct engine *, struct request *);
enum run run_erase_account(struct engine *, struct request *);
/* Rows of deleted mailboxes become expunged rows, a slice. True: there may be more. */
bool sweep_slice(struct engine *);
/*
 * Up to which uid a deleted mailbox's next slice of rows goes, and how many they are; UINT32_MAX: the last ones, with
 * which all else of it goes.
 */
uint32_t dead_slice(struct engine *, uint32_t mailbox, size_t *rows);
/* The names that messages with these keyword bits bear, made at the destination as far as there is room for them. */
void copy_keywords(struct engine *, uint32_t from, uint32_t to, uint64_t bits);
uint32_t put_mailbox(struct engine *, uint32_t account, struct view name, enum special_use, uint32_t uid_validity);
void put_acl(struct engine *, uint32_t mailbox, struct view identifier, uint32_t rights);
size_t acl_count(struct engine *, uint32_t mailbox);
/* May the account have so many more entries, in mailboxes of which each then has up to `each`? */
bool acl_fits(struct engine *, uint32_t account, size_t each, size_t more);
void put_subscription(struct engine *, uint32_t account, const char *name, bool on);
void put_parents(struct engine *, uint32_t account, const char *name); /* the levels above it that are missing */
bool mailboxes_fit(struct engine *, uint32_t account, size_t more);
void reply_mailbox(struct engine *, struct request *, uint32_t mailbox);
enum store_status run_queue_result(struct engine *, struct request *);
enum run run_queue_change(struct engine *, struct request *);
/* Is it among what the administrator means?  p: as proto_select_get fills it; its id is not asked. */
bool queue_selected(const struct proto_request *, const struct queue_entry *);
void run_reload(struct engine *, struct request *);
enum run compact_run(struct engine *, struct request *); /* compact.c */
int engine_rotate(struct engine *);
void aliases_free(struct engine *);
/* The account's number; made with its mailboxes when it is new and the site knows it. 0: STORE_NO_ACCOUNT. */
uint32_t open_account(struct engine *, struct view address);
bool account_known(const struct engine *, struct view address);
/* The mailbox's number; made with its parents. 0: not a name, or too many. */
uint32_t open_mailbox(struct engine *, uint32_t account, const char *name, enum special_use, bool subscribe);
/*
 * Where a delivery into the mailbox of this name goes: for one that each account begins with, into that of the same use,
 * whatever it is called now.  0: there is none, and a new one is to have this special use.
 */
uint32_t find_delivery(struct engine *, uint32_t account, const char *name, enum special_use *);
/* A new one, subscribed, with that UIDVALIDITY (0: its own). */
uint32_t open_mailbox_as(struct engine *, uint32_t account, const char *name, uint32_t uid_validity);
/* Would so much more be too much? */
struct quota_more {
	uint64_t bytes, messages, domain_bytes; /* domain_bytes: all that is new to accounts of its domain */
};
/* Are there still n uids for the mailbox? */
bool uids_left(struct engine *, uint32_t mailbox, uint64_t n);
bool over_quota(struct engine *, uint32_t account, const struct quota_more *);
bool over_quota_address(struct engine *, struct view address, const struct quota_more *);
/* After something new: a message that warns the account, when it passed a threshold that it was not warned of. */
void quota_warn(struct engine *, uint32_t account);
bool account_in_use(const struct engine *, struct view address); /* the site has it, and it is not suspended */
/* Makes the names keywords of the mailbox where they are not; false: too many. bits: their numbers. */
bool keywords_need(struct engine *, uint32_t mailbox, const struct view *names, size_t count, uint64_t *bits);

#endif
