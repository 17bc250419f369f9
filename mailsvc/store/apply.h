/*
 * What the parts of apply() share: apply.c (messages, bodies), apply_expunged.c, apply_mailbox.c, apply_account.c,
 * apply_share.c (ACL, annotations, imports), apply_queue.c.
 */
#ifndef MAILSVC_STORE_APPLY_H
#define MAILSVC_STORE_APPLY_H

#include "index.h"

/* A mailbox row while a record changes it. */
struct open_mailbox {
	struct mailbox_value row;
	char name[NAME_MAX_BYTES];
	size_t name_len;
	uint64_t bytes; /* before, for the account */
	uint32_t messages;
};

bool mailbox_load(struct tx *, uint32_t id, struct open_mailbox *);
void mailbox_save(struct tx *, uint32_t id, struct open_mailbox *);
/* Adds (modulo 2^64, so that differences work) to what an account holds. */
void account_add(struct tx *, uint32_t account, uint64_t bytes, uint64_t messages, uint32_t mailboxes);
void apply_changed(struct tx *, uint32_t mailbox);
void body_release(struct tx *, uint64_t body);
/* A new row, with its change and counts; the caller sets uid_next and modseq. */
void message_new(struct tx *, uint32_t mailbox, struct mailbox_value *, uint32_t uid, const struct message_value *,
    struct view prefix);
void change_del(struct tx *, uint32_t mailbox, uint64_t modseq, uint32_t uid);

/* Names copied out of the database, where the next write may move them. */
struct keyword_names {
	struct view at[KEYWORDS_MAX];
	char text[KEYWORDS_MAX][KEYWORD_NAME_MAX];
};
void keyword_names_load(struct tx *, uint32_t mailbox, struct keyword_names *);
/* The keyword bits of one mailbox in the numbers of another; names that are not there are left out. */
uint64_t keywords_map(const struct view from[KEYWORDS_MAX], const struct view to[KEYWORDS_MAX], uint64_t bits);
void keywords_drop(struct tx *, uint32_t mailbox);

/* A row of T_EXPUNGED; expunged_due once for all rows of that mailbox and time. */
void expunged_put(
    struct tx *, int64_t when, uint32_t mailbox, uint32_t uid, const struct message_value *, struct view prefix);
void expunged_due(struct tx *, int64_t when, uint32_t mailbox);
void grave_dig(struct tx *, uint32_t mailbox, const struct open_mailbox *, int64_t when);
/* Entries that name an address: gone, or naming another one; those of a mailbox: gone. */
void acl_forget(struct tx *, struct view address);
void acl_follow(struct tx *, struct view from, struct view to);
void acl_drop(struct tx *, uint32_t mailbox);
/* Annotations of a mailbox, of everybody: gone. Before the mailbox's row goes. */
void metadata_drop(struct tx *, uint32_t mailbox);
void metadata_forget(struct tx *, uint32_t account); /* of one account, everywhere */
/* What the mailbox's shared annotations are charged with: they move with it. */
uint32_t metadata_shared(struct tx *, uint32_t mailbox);
void account_charge(struct tx *, uint32_t account, uint32_t metadata); /* modulo 2^32 */

bool apply_account(struct tx *, const struct record *);
bool apply_mailbox(struct tx *, const struct record *);
bool apply_purge(struct tx *, const struct record *);
bool apply_sweep(struct tx *, const struct record *);
bool apply_restore(struct tx *, const struct record *);
bool apply_wipe(struct tx *, const struct record *);
bool apply_address(struct tx *, const struct record *);
bool apply_erase(struct tx *, const struct record *);
bool apply_warned(struct tx *, const struct record *);
bool apply_owner(struct tx *, const struct record *);
bool apply_validity(struct tx *, const struct record *);
bool apply_acl(struct tx *, const struct record *);
bool apply_metadata(struct tx *, const struct record *);
bool apply_imported(struct tx *, const struct record *);
bool apply_delete(struct tx *, const struct record *);
bool apply_rename(struct tx *, const struct record *);
bool apply_subscribe(struct tx *, const struct record *);
bool apply_keyword(struct tx *, const struct record *);
bool apply_queue_add(struct tx *, const struct record *);
bool apply_queue_state(struct tx *, const struct record *);
bool apply_queue_result(struct tx *, const struct record *);
bool apply_queue_due(struct tx *, const struct record *);
bool apply_queue_drop(struct tx *, const struct record *);

/* The rows of T_QUEUE_NEXT and T_QUEUE_OF that belong to an entry, for a state file that has none. */
void queue_list(struct tx *, uint64_t id, const struct queue_entry *);

#endif
