/*
 * Asking store to change something.  Every call answers through its callback once the change is durable (flags:
 * logged), or with a status; a lost store answers STORE_UNAVAILABLE, and then the change may or may not have been made.
 *
 * Mailboxes and accounts are named by number; the numbers come from the view (view.h) and are never reused.
 */
#ifndef MAILSVC_STORE_CLIENT_H
#define MAILSVC_STORE_CLIENT_H

#include "lib/log.h"
#include "lib/rpc.h"
#include "site/address.h"

enum store_status {
	STORE_OK,
	STORE_UNAVAILABLE,  /* no store, or it went away: temporary */
	STORE_FULL,	    /* disk reserve reached: 452 4.3.1 */
	STORE_OVER_QUOTA,   /* 452 4.2.2; IMAP [OVERQUOTA] */
	STORE_NO_MAILBOX,   /* gone or never there: IMAP [TRYCREATE] where it fits */
	STORE_EXISTS,	    /* create or rename onto an existing name: [ALREADYEXISTS] */
	STORE_INVALID,	    /* name, limit or argument refused */
	STORE_NO_ACCOUNT,
	STORE_IO,	    /* the disk refused: temporary, administrator told */
};

#define STORE_INLINE_MAX (48 * 1024)	     /* larger bodies travel as a sealed memfd */
#define STORE_BODY_MAX (1024ull * 1024 * 1024)
#define STORE_RECIPIENTS_MAX 1000
#define STORE_RANGES_MAX 4000 /* uid ranges in one request: callers slice */

/* System flags, as bits of a row. Keywords are names, numbered per mailbox (view.h). */
enum message_flag {
	FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16, FLAG_RECENT = 32
};
#define FLAGS_SETTABLE 31
#define KEYWORDS_MAX 64	    /* per mailbox */
#define KEYWORD_NAME_MAX 64 /* bytes */
#define MAILBOX_NAME_MAX 512 /* bytes, UTF-8, "/" separates levels */
#define STORE_APPEND_MAX 4000	     /* messages in one store_append_many */
#define ACL_ENTRIES_MAX 1000	     /* of one mailbox */
#define ACL_ENTRIES_FREE 10	     /* of one mailbox: beyond these all mailboxes of its owner have together at most */
#define ACL_TOTAL_MAX 100000
#define METADATA_ENTRY_MAX 255	     /* bytes of an entry's name */
#define METADATA_VALUE_MAX (64 * 1024)
#define METADATA_ENTRIES_MAX 500     /* of one mailbox and account */
#define METADATA_TOTAL_MAX (16u << 20) /* bytes of names and values that one account is charged with */
#define IMPORT_KEY_LEN 16

enum special_use { SPECIAL_NONE, SPECIAL_DRAFTS, SPECIAL_SENT, SPECIAL_TRASH, SPECIAL_JUNK, SPECIAL_ARCHIVE };

struct uid_range { uint32_t first, last; }; /* inclusive */

struct store_result {
	enum store_status status;
	uint32_t mailbox;	/* created, or destination */
	uint32_t uid_validity;	/* of the destination */
	uint64_t modseq;	/* of the mailbox after the change */
	/*
	 * append: destination, one uid a message in the order given. copy, move: source and destination uids pairwise in
	 * order. expunge: source. flags: source is what changed, destination what store_flags_unchanged refused.
	 */
	const struct uid_range *source, *destination;
	size_t source_count, destination_count;
	/* flags: a long change is made in several steps, between which others change: the modseq of each, rising */
	const uint64_t *modseqs;
	size_t modseq_count;
	uint64_t queue_id;	/* first queue entry made, for "queued as" */
	uint64_t count;		/* messages changed: store_undelete, store_hand_over, store_erase_account */
};
typedef void (*store_fn)(void *arg, const struct store_result *);

struct store_client;
struct store_client *store_client_new(struct event_base *);
void store_client_free(struct store_client *); /* callbacks that are due do not come; after the store_view that follows it */
void store_client_attach(struct store_client *, int fd);
void store_cancel(struct store_client *, uint32_t id); /* forgets the callback; the change still happens */

/* What travels with any new message.  body is copied (inline or into a memfd) before the call returns. */
struct store_body {
	struct view body;   /* the shared message, CRLF, without prefix */
	struct view mime;   /* its record (mime.h) */
};

struct store_local {	    /* one delivery into an account */
	const char *account;	/* normalised address */
	const char *mailbox;	/* "" or NULL: INBOX; created if missing; "Junk" is that with this special use, if another has it */
	struct view prefix;	/* "Return-Path: ...\r\nDelivered-To: ...\r\n" */
};
/* What is due goes out in this order; what waited long enough overtakes. */
enum queue_priority { QUEUE_NORMAL, QUEUE_BULK, QUEUE_LAST }; /* people; lists and bulk; notifications */
enum dsn_notify { DSN_NEVER = 1, DSN_SUCCESS = 2, DSN_FAILURE = 4, DSN_DELAY = 8 }; /* RFC 3461 4.1; 0: not said */
enum dsn_ret { DSN_RET_UNSAID, DSN_RET_FULL, DSN_RET_HDRS };			    /* RFC 3461 4.3 */
#define DSN_ENVID_MAX 100 /* RFC 3461 4.4, bytes as they travel (xtext) */
#define DSN_ORCPT_MAX 500 /* RFC 3461 4.2, "type;xtext" */
struct queue_dsn {	    /* what the sender asked for one recipient */
	unsigned notify;
	const char *orcpt;  /* as it travels, "" or NULL: not said */
};
struct store_remote {	    /* one queue entry: recipients of one destination domain */
	const char *sender;	/* envelope sender, "" for <> */
	const char *const *recipients;
	size_t recipient_count; /* at most 100 */
	const char *domain;	/* destination (A-labels) */
	bool smtputf8, eight_bit; /* what the message needs of the next host */
	bool bounce;		/* a DSN of ours: never bounced again */
	enum queue_priority priority;
	const char *envid;	/* as it travels, "" or NULL: none */
	enum dsn_ret ret;
	const struct queue_dsn *dsn; /* recipient_count, or NULL: nothing was said */
};
struct store_delivery {
	struct store_body body;
	const struct store_local *local;
	size_t local_count;
	const struct store_remote *remote;
	size_t remote_count;
	int64_t internal_date;	/* seconds */
};
/* All of it or none of it, in one commit. */
uint32_t store_deliver(struct store_client *, const struct store_delivery *, store_fn, void *arg);

uint32_t store_append(struct store_client *, uint32_t mailbox, const struct store_body *, uint32_t flags,
		      const char *const *keywords, size_t keyword_count, int64_t internal_date, store_fn, void *arg);

struct store_append_item {
	struct store_body body;
	uint32_t flags;
	const char *const *keywords;
	size_t keyword_count;
	int64_t internal_date;
};
/*
 * All of them in order or none, in one commit (MULTIAPPEND, RFC 3502): at least 1, at most STORE_APPEND_MAX and
 * STORE_BODY_MAX bytes of bodies together, else STORE_INVALID.  result.destination: their uids.
 */
uint32_t store_append_many(struct store_client *, uint32_t mailbox, const struct store_append_item *, size_t count, store_fn, void *arg);

enum flags_mode { FLAGS_SET, FLAGS_ADD, FLAGS_REMOVE };
uint32_t store_flags(struct store_client *, uint32_t mailbox, enum flags_mode, uint32_t flags, const char *const *keywords,
		     size_t keyword_count, const struct uid_range *, size_t range_count, store_fn, void *arg);
/*
 * The same (UNCHANGEDSINCE, RFC 7162 3.1.3), but a message whose modseq is above unchanged_since at that moment is left
 * alone and among result.destination.  Each message is judged and changed in one step; a long list of them in several.
 */
uint32_t store_flags_unchanged(struct store_client *, uint32_t mailbox, enum flags_mode, uint32_t flags,
			       const char *const *keywords, size_t keyword_count, const struct uid_range *,
			       size_t range_count, uint64_t unchanged_since, store_fn, void *arg);
/*
 * Between mailboxes of one account or of two (whether the user may is the caller's to see: acl.h).  Quota: a copy, and a
 * move to another account, is charged to the destination's owner; bodies are shared, never copied.
 */
uint32_t store_copy(struct store_client *, uint32_t from, uint32_t to, bool move, const struct uid_range *, size_t, store_fn, void *arg);
uint32_t store_expunge(struct store_client *, uint32_t mailbox, bool only_deleted, const struct uid_range *, size_t, store_fn, void *arg);
/*
 * Clears FLAG_RECENT on everything below the mailbox's uid_next, for a session that opened it read-write.  result.destination:
 * the range that had it until now, which is this session's alone; none when another session was first.
 */
uint32_t store_claim_recent(struct store_client *, uint32_t mailbox, store_fn, void *arg);

uint32_t store_create(struct store_client *, uint32_t account, const char *name, enum special_use, store_fn, void *arg); /* makes missing parents */
uint32_t store_delete(struct store_client *, uint32_t mailbox, store_fn, void *arg);
uint32_t store_rename(struct store_client *, uint32_t mailbox, const char *name, store_fn, void *arg); /* with its children; INBOX: moves its messages out (RFC 9051 6.3.6) */
uint32_t store_subscribe(struct store_client *, uint32_t account, const char *name, bool on, store_fn, void *arg);
/* The account with its default mailboxes (INBOX; Drafts Sent Junk Trash, subscribed, with their special use), if it has none yet. result.mailbox: INBOX. */
uint32_t store_open_account(struct store_client *, const char *address, store_fn, void *arg);

/*
 * Rights of one identifier on a mailbox (acl.h): ACL_* bits, 0 takes the entry away.  identifier: a normalised address or
 * "anyone", each with "-" before it for rights taken away (RFC 4314 2).  The owner needs no entry: an entry that names
 * the owner is kept and means nothing.  A new mailbox begins with its parent's entries.  Entries that name an address go
 * when the account of that address is orphaned or erased, and follow it when it is renamed.  STORE_INVALID: no such
 * identifier, unknown bits, or more than ACL_ENTRIES_MAX or ACL_TOTAL_MAX.
 */
uint32_t store_set_acl(struct store_client *, uint32_t mailbox, const char *identifier, uint32_t rights, store_fn, void *arg);

/*
 * One annotation (RFC 5464).  account 0: the shared one, else the private one of that account; mailbox 0: of the account
 * itself (of the server, when account is 0 too).  entry: the whole name, such as "/private/comment", printable ASCII
 * without * and %; kept in lower case.  value.ptr NULL takes it away; a value may be empty and hold any byte.
 * STORE_INVALID: entry or value too long, or METADATA_ENTRIES_MAX reached (RFC 5464 TOOMANY); STORE_OVER_QUOTA: more than
 * METADATA_TOTAL_MAX for the account that is charged (of shared entries: the mailbox's owner).
 */
uint32_t store_set_metadata(struct store_client *, uint32_t account, uint32_t mailbox, const char *entry, struct view value, store_fn, void *arg);

struct store_import {
	const char *account;	/* normalised address; made when it is missing and the site has it, else STORE_NO_ACCOUNT */
	const char *mailbox;	/* made (with parents, subscribed) when missing */
	uint32_t uid_validity;	/* kept when the mailbox is new, or is empty and never held a message; 0: own */
	uint32_t uid;		/* kept when it is not below the mailbox's next uid; 0: the next */
	uint8_t key[IMPORT_KEY_LEN]; /* who this message is at its source; all zero: none, imported without asking */
	uint32_t flags;
	const char *const *keywords; /* what the mailbox has no room for is left out */
	size_t keyword_count;
	int64_t internal_date;
	struct store_body body;
};
/*
 * One message of a migration, however often it is tried: the key is remembered with the mailbox, in the same commit, and
 * a second import of it there answers STORE_EXISTS and changes nothing, also when the message was expunged meanwhile.
 * The quota is not asked.  body.body.ptr NULL and no key: makes the mailbox and no message.  result: mailbox, its
 * uid_validity, destination: the uid.  uid_validity is not kept (own) when it lies so far in the future that later
 * mailboxes could have no greater one.
 */
uint32_t store_import(struct store_client *, const struct store_import *, store_fn, void *arg);

/*
 * Brings back what was expunged since then (seconds; inclusive), as far as `undelete` still keeps it: into its mailbox,
 * or where that is gone into "Restored/NAME", under new uids, flags kept without \Deleted.  account: number; mailbox: a
 * number that view_expunged gave, 0: all.  The quota is not asked.  In steps; result.count: messages.  Idempotent.
 */
uint32_t store_undelete(struct store_client *, uint32_t account, uint32_t mailbox, int64_t since, store_fn, void *arg);

/*
 * Account life.  An address finds the account that bears it, else the newest orphaned one that bore it.  All durable,
 * and all may be asked again after a failure: what is done already is STORE_OK.
 */
/*
 * from's account bears the address to, with all it has (ACL entries that name from name to).  Until the next reload of the
 * site mail to from is delivered there.  When to has an account without any message, its name is taken from it, else
 * STORE_EXISTS.  Also un-orphans: from may be equal to to.  result.mailbox: INBOX.
 */
uint32_t store_rename_account(struct store_client *, const char *from, const char *to, store_fn, void *arg);
/*
 * All mailboxes of from become folder/NAME of to (made when missing), with messages, UIDs, ACL and shared annotations; the
 * quota moves along and is not asked.  Subscriptions move; special uses end.  STORE_EXISTS: a name is taken.
 */
uint32_t store_hand_over(struct store_client *, const char *from, const char *to, const char *folder, store_fn, void *arg);
/*
 * Every account of this address that is orphaned, and also the one that bears it unless the site has it in use, is
 * forgotten: rows, expunged rows, ACL entries (its own and those that name it), annotations, subscriptions; bodies lose
 * their references, and their bytes leave the disk with the next compaction.  In steps.  STORE_NO_ACCOUNT: there is none
 * (any more); STORE_INVALID: it is in use (suspend it, or take it out of the site first).
 */
uint32_t store_erase_account(struct store_client *, const char *address, store_fn, void *arg);

/* Pushed to every imap process after each commit: mailboxes that changed (any account). */
typedef void (*store_changed_fn)(void *arg, const uint32_t *mailboxes, size_t count);
void store_on_change(struct store_client *, store_changed_fn, void *arg);

/* The queue, for send ------------------------------------------------------------------------------------- */
struct queue_item {	    /* pushed by store when due, one at a time for each credit */
	uint64_t id;
	int64_t created, due;
	uint32_t attempts;	/* made before this one */
	const char *sender, *domain;
	const char *const *recipients; /* still to be delivered */
	size_t recipient_count;
	bool smtputf8, eight_bit, bounce;
	bool delay_told;	/* the sender was told that it takes long */
	bool wanted;		/* the administrator wants this destination tried now, whatever is known of it */
	enum queue_priority priority;
	const char *envid;	/* "" or NULL: none */
	enum dsn_ret ret;
	const struct queue_dsn *dsn; /* recipient_count, or NULL: nothing was said */
	const char *route;	/* "host:port" by `queue reroute`; "" or NULL: as the site says */
	struct view message;	/* exactly what is to be sent; or it is in */
	int message_fd;		/* a sealed memfd, owned by the callee, else -1 */
};
typedef void (*queue_item_fn)(void *arg, const struct queue_item *);
void store_on_queue_item(struct store_client *, queue_item_fn, void *arg);
/* "I can take n more." Credits end with the connection: what was handed out and not resulted is handed out again. */
void store_queue_credit(struct store_client *, uint32_t n);
/*
 * "This destination is away until then" (wall seconds; 0: no longer): what is queued for it is passed over, not handed
 * out one by one, except what has become too old for waiting (relay.expire, relay.delay_warning) and what the
 * administrator wants tried.  domain: the item's route if it has one, else its domain; "*": every destination, for a
 * host that sends all by one smarthost.  reason: for `queue list`.  Kept in memory: forgotten by a restart of store and
 * by a reload of the site.
 */
void store_queue_defer(struct store_client *, const char *domain, int64_t until, const char *reason);

enum queue_outcome { QUEUE_DELIVERED, QUEUE_RETRY, QUEUE_FAILED };
struct queue_recipient_result {
	const char *address;
	enum queue_outcome outcome;
	const char *reply; /* the remote's words, or ours; kept for `queue show` */
};
struct queue_result {
	uint64_t id;
	uint32_t attempt; /* which one it is of, item.attempts + 1: told again, it changes nothing; 0: not said */
	const struct queue_recipient_result *recipients;
	size_t count;
	int64_t next_due; /* for what is QUEUE_RETRY */
	bool delay_told; /* with this result, or before */
	const struct store_delivery *bounce; /* a DSN to deliver or queue in the same commit, or NULL */
};
/* Durable before the callback: a delivered recipient is never tried again. */
uint32_t store_queue_result(struct store_client *, const struct queue_result *, store_fn, void *arg);

/*
 * Administration (monitor hands the command line a channel to store).  Such a channel also speaks all of the above:
 * store_client_attach(client, fd), and after store_client_read_too(client) it gets a reader's pages, so that a
 * store_view (view.h) can follow it.  It is not told what changed, and takes no queue entries.
 */
void store_client_read_too(struct store_client *);
/*
 * Blocking, on that channel's descriptor (not beside a store_client on the same).  The
 * answers are JSON texts made by store (queue list, stat) so that the command line prints or passes them on.
 */
struct queue_select { /* entries for which all of this is so */
	uint64_t id;		/* 0: any */
	const char *to;		/* a domain, a route, or an address that still waits; "" or NULL: any */
	const char *from;	/* a sender, "<>", or a domain of senders; "" or NULL: any */
	int64_t created_before; /* seconds; 0: any */
	bool held;		/* held ones only */
};
/*
 * A page of the entries behind *after (begin with 0), by age, as
 * [{"id","sender","domain","destination","recipients":[{"address","state","reply"[,"notify"][,"orcpt"]}],"created","due",
 * "attempts","size","priority":"normal|bulk|last","bounce","in_flight","held","delay_told"[,"envid"][,"ret"][,"route"]
 * [,"away_until","away"]}]; away: why its destination is passed over.  A page may be empty.  1: it was the last; 0: ask
 * again; -1.
 */
int store_admin_queue_page(int fd, const struct queue_select *, uint64_t *after, struct buf *json, struct error *);
/* All pages as one array. */
int store_admin_queue_list(int fd, struct buf *json, struct error *);
/*
 * A page of [{"destination","entries","held","bytes","oldest","next","in_flight"[,"away_until","away"]}], by destination;
 * one with many entries comes in parts, to be added up.  place: empty to begin with, then as the last call left it.
 */
int store_admin_queue_summary(int fd, struct buf *place, struct buf *json, struct error *);
int store_admin_queue_show(int fd, uint64_t id, struct buf *json, struct buf *message, struct error *);
enum queue_action {
	QUEUE_TRY,     /* due at once, also where the destination is known to be away; what is held stays so */
	QUEUE_HOLD,    /* not tried until released */
	QUEUE_RELEASE, /* due at once */
	QUEUE_DROP,    /* forgotten; nobody is told */
	QUEUE_REROUTE, /* by route ("host:port", "" as the site says) from now on, and due at once */
};
/* In steps; *count: how many were changed.  1: select->id is no entry. */
int store_admin_queue_change(int fd, enum queue_action, const struct queue_select *, const char *route, uint64_t *count, struct error *);
int store_admin_accounts(int fd, struct buf *json, struct error *); /* [{"address","id","messages","bytes","orphaned"}] */
/* Ends the active segment, syncs, and lists the immutable segment files that hold everything committed so far. Kept until the channel closes. */
int store_admin_snapshot(int fd, struct buf *json, struct error *); /* {"segments":["0000000001.log", ...],"position":N} */
/*
 * Begins a compaction, or only asks, and says how it, or the one before, stands: {"running","phase","runs","log_bytes",
 * "dead_bytes","bodies_moved","bytes_moved","state_bytes","segments_freed","bytes_freed","segments_pending","bytes_pending",
 * "unreadable","error"}; runs: how many have ended since the store was opened.
 */
enum store_compact { STORE_COMPACT_ASK, STORE_COMPACT_NOW, STORE_COMPACT_ALL }; /* all: nothing of a dead message stays */
int store_admin_compact(int fd, enum store_compact, struct buf *json, struct error *);

#endif
