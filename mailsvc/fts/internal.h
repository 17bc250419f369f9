/* Between the files of the fts role: the worker that indexes, and the accounts' open files. */
#ifndef MAILSVC_FTS_INTERNAL_H
#define MAILSVC_FTS_INTERNAL_H

#include <event2/event.h>
#include <sys/queue.h>

#include "mailsvc/fts/index.h"
#include "mailsvc/imap/search.h"
#include "mailsvc/role.h"

#define FTS_OPEN_MAX 32
#define FTS_SWEEPS 4 /* after a reload */

struct fts_open {
	LIST_ENTRY(fts_open) entry;
	uint32_t account;
	struct fts_index *index;
	uint64_t used_ms;
	unsigned added; /* in the open transaction */
};

struct numbers { /* in the order in which they came, each once */
	uint32_t *at;
	size_t count, cap;
};

struct asker;

struct fts {
	struct role_ctx *ctx;
	struct store_client *store;
	struct store_view *view;
	char *dir;
	struct event *work; /* a slice of it is due */
	uint64_t removed_ms;
	unsigned sweeps; /* that follow soon: after a reload store may not have orphaned accounts yet */
	uint64_t indexed, asked, answered; /* for status */
	LIST_HEAD(, asker) askers;
	LIST_HEAD(, fts_open) open;
	unsigned open_count;
	struct numbers changed;  /* mailboxes that store told of */
	struct numbers accounts; /* to be looked at */
	bool all;                /* every account of the site is */
	/* The account that is being looked at: accounts.at[0]. */
	struct fts_mailbox {
		uint32_t id, uid_validity, upto, last; /* UIDs */
	} * mailboxes;
	size_t mailbox_count, mailbox;
	uint64_t messages; /* of the account */
	bool looking;
	bool again;    /* more has come into it since */
	uint32_t half; /* the slice ended inside this message, or 0 */
	uint64_t half_body;
	struct search_message message;
	struct body_ref ref;
	struct fts_grams grams;
	uint64_t slice_end;
	int error; /* the index failed */
};

void numbers_add(struct numbers *, uint32_t);
void numbers_drop_first(struct numbers *);

/* The index of an account, opened when needed; NULL: it cannot be (now). create: also when it is not there. */
struct fts_open *fts_files_get(struct fts *, uint32_t account, bool create);
void fts_files_close(struct fts *, struct fts_open *);
void fts_files_broken(struct fts *, struct fts_open *); /* removed; to be made anew */
void fts_files_close_all(struct fts *);
/* Removes files of accounts that are no more. Inside a snapshot. */
void fts_files_sweep(struct fts *);

void fts_work_init(struct fts *);
void fts_work_soon(struct fts *, unsigned ms); /* unless it is due already */

#endif
