/* What the parts of apply() share: apply.c (messages, bodies), apply_mailbox.c, apply_queue.c. */
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

bool apply_account(struct tx *, const struct record *);
bool apply_mailbox(struct tx *, const struct record *);
bool apply_delete(struct tx *, const struct record *);
bool apply_rename(struct tx *, const struct record *);
bool apply_subscribe(struct tx *, const struct record *);
bool apply_keyword(struct tx *, const struct record *);
bool apply_queue_add(struct tx *, const struct record *);
bool apply_queue_result(struct tx *, const struct record *);
bool apply_queue_due(struct tx *, const struct record *);
bool apply_queue_drop(struct tx *, const struct record *);

#endif
