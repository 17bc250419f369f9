/*
 * Reading the store from another process: snapshots of the index (LMDB opened MDB_RDONLY | MDB_NOLOCK, protected by an
 * epoch page, see ARCHITECTURE.md) and bodies from the log by pread.  Never writes.  Snapshots are short: a laggard
 * is killed after VIEW_SNAPSHOT_MAX_MS.  Pointers from a snapshot are valid until view_end.
 */
#ifndef MAILSVC_STORE_VIEW_H
#define MAILSVC_STORE_VIEW_H

#include "client.h"
#include "lib/log.h"

#define VIEW_SNAPSHOT_MAX_MS 10000
#define VIEW_COMMAND_MAX_MS 9000 /* a command line is not killed: its view finds nothing any more from then on */

struct store_view;
/* store_dir: ROLE_FD_STORE_DIR. page_fd: this reader's epoch page, from the first message on the channel to store (store_client_view_fd). */
struct store_view *store_view_open(int store_dir, struct error *);
/* Gives the view its epoch pages; store sends them when the channel is attached, and again when store restarted. */
void store_view_follow(struct store_view *, struct store_client *);
bool store_view_ready(const struct store_view *);
void store_view_close(struct store_view *);

int view_begin(struct store_view *); /* one snapshot at a time; -1 when store is away */
/* -1: the snapshot could not be read to here (its store went away, or it was too old), so walks may have ended early. */
int view_end(struct store_view *);

struct account_row {
	uint32_t id;
	uint64_t bytes, messages; /* charged to the quota */
};
int view_account(struct store_view *, const char *address, struct account_row *); /* 1 found, 0 not */

/* The address that an account bears (or bore: orphaned may be NULL). 1, 0. */
int view_address(struct store_view *, uint32_t account, char address[ADDRESS_MAX], bool *orphaned);
/* What the accounts of a domain hold together (orphaned ones not counted). 1, 0: none has an account yet. */
int view_domain(struct store_view *, const char *domain, struct account_row *); /* id: how many accounts */

struct mailbox_row {
	uint32_t id, account;
	char name[MAILBOX_NAME_MAX + 1]; /* UTF-8; "INBOX" for the inbox */
	uint32_t uid_validity, uid_next;
	uint32_t messages, unseen, deleted, recent;
	uint64_t bytes, modseq;
	enum special_use special;
	struct view keywords[KEYWORDS_MAX]; /* by number; ptr NULL: unused */
	unsigned keyword_count;
};
/* Calls back for every mailbox of an account, in name order (INBOX first); stop by returning false. */
void view_mailboxes(struct store_view *, uint32_t account, bool (*fn)(void *, const struct mailbox_row *), void *arg);
int view_mailbox(struct store_view *, uint32_t mailbox, struct mailbox_row *);
int view_mailbox_by_name(struct store_view *, uint32_t account, const char *name, struct mailbox_row *);
void view_subscriptions(struct store_view *, uint32_t account, bool (*fn)(void *, const char *name), void *arg);

/* Entries of a mailbox's ACL in order of their identifiers (acl.h says what they mean together); false stops. */
void view_acl(struct store_view *, uint32_t mailbox, bool (*fn)(void *, const char *identifier, uint32_t rights), void *arg);
/*
 * Mailboxes of other accounts where address or "anyone" has an entry that grants something, by owner and name, each once.
 * Whether what is granted includes ACL_LOOKUP is acl_effective's to say.  Mailboxes of orphaned accounts are left out.
 */
void view_shared_with(struct store_view *, const char *address,
		      bool (*fn)(void *, const char *owner, const struct mailbox_row *), void *arg);
/* Annotations of exactly this account and mailbox (see store_set_metadata) in order of their names; false stops. */
void view_metadata(struct store_view *, uint32_t account, uint32_t mailbox,
		   bool (*fn)(void *, const char *entry, struct view value), void *arg);
/* One of them: 1, 0. entry in any case. */
int view_metadata_get(struct store_view *, uint32_t account, uint32_t mailbox, const char *entry, struct view *value);

struct message_row {
	uint32_t uid;
	uint32_t flags;	    /* message_flag bits */
	uint64_t keywords;  /* bit n: keyword n of the mailbox */
	uint64_t modseq;
	int64_t internal_date, save_date;
	uint64_t body;	    /* body number */
	uint64_t size;	    /* prefix and body: RFC822.SIZE */
	struct view prefix; /* headers before the shared body */
};
int view_message(struct store_view *, uint32_t mailbox, uint32_t uid, struct message_row *); /* 1, 0 */
/* Walks uids first..last in order; stop by returning false. Returns how many it gave. */
size_t view_messages(struct store_view *, uint32_t mailbox, uint32_t first, uint32_t last,
		     bool (*fn)(void *, const struct message_row *), void *arg);

/*
 * What was expunged since then (seconds, inclusive) and can be brought back, by mailbox, time and uid; false stops.
 * mailbox: its number, also of one that is gone (its name then is the last it had); when: of the expunge.  keywords are
 * numbers of that mailbox: view_keywords.
 */
void view_expunged(struct store_view *, uint32_t account, int64_t since,
		   bool (*fn)(void *, uint32_t mailbox, const char *name, int64_t when, const struct message_row *), void *arg);
/* Keyword names of a mailbox, also of a deleted one whose messages can be brought back. ptr NULL: unused. */
void view_keywords(struct store_view *, uint32_t mailbox, struct view names[KEYWORDS_MAX]);

/* What changed after modseq, in modseq order, one entry a message (its newest change). */
enum change_kind { CHANGE_NEW, CHANGE_FLAGS, CHANGE_EXPUNGED };
void view_changes(struct store_view *, uint32_t mailbox, uint64_t after,
		  bool (*fn)(void *, uint64_t modseq, uint32_t uid, enum change_kind), void *arg);

/* False: expunges after modseq may be missing there, since only the newest 100,000 are kept: compare with the rows. */
bool view_changes_whole(struct store_view *, uint32_t mailbox, uint64_t after);

struct body_ref {
	uint64_t segment, offset, length; /* where its bytes are in the log */
	struct view mime;		  /* the record; open it with mime_record_open against length */
};
int view_body(struct store_view *, uint64_t body, struct body_ref *); /* 1, 0 */
/*
 * A note that this process has checked the body's record (mime_record_open): a body's record never changes, so it need
 * not be checked again.  Bounded; a note may get lost, and all do when store is started again.
 */
bool view_body_checked(const struct store_view *, uint64_t body);
void view_body_set_checked(struct store_view *, uint64_t body);
/*
 * Reads length bytes from offset of a body (not the prefix) into dst, checking the CRC of every 64 KiB chunk it touches.
 * Works after view_end too (a segment stays while a body_ref younger than a minute can want it). -1: a bad sector or a bad CRC; errno says.
 */
int view_body_read(struct store_view *, const struct body_ref *, uint64_t offset, void *dst, size_t length);

#endif
