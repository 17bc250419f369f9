/*
 * A request to store for more UID ranges than one message takes, as several requests one after another.  What the
 * replies say is gathered, so that the command sees one result.
 */
#ifndef MAILSVC_IMAP_SLICES_H
#define MAILSVC_IMAP_SLICES_H

#include "imap.h"

struct slices;
/* Sends one request for ranges; returns its id. */
typedef uint32_t (*slices_send_fn)(
    struct imap_session *, struct slices *, const struct uid_range *, size_t, store_fn, void *arg);
typedef void (*slices_done_fn)(struct imap_session *, struct slices *);

struct slices {
	struct imap_session *session;
	struct uid_range *ranges; /* owned */
	size_t count, next;
	slices_send_fn send;
	slices_done_fn done; /* all are answered, or one failed: status says; must call imap_finish or start a job */
	void *arg;           /* the command's own; freed with free */
	enum store_status status;
	uint32_t uid_validity;
	uint64_t modseq;
	struct uid_range *source, *destination; /* gathered */
	size_t source_count, destination_count;
	uint64_t *modseqs; /* gathered: of every step of a change of flags */
	size_t modseq_count;
};

/*
 * Takes over ranges and arg, and starts; returns IMAP_WAIT.  The slices are the session's job and freed with it: when
 * done starts a job of its own, it takes (and sets to NULL) what that needs before, and looks at them no more.
 */
int slices_start(
    struct imap_session *, struct uid_range *ranges, size_t count, slices_send_fn, slices_done_fn, void *arg);
/* "1:5,9" */
void slices_put_set(struct buf *, const struct uid_range *, size_t count);

#endif
