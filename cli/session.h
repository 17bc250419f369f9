/* A command's session with store: of the running host, or of one that stands still. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <event2/event.h>
#include <sys/types.h>

#include "cli.h"
#include "mailsvc/store/view.h"

struct cli_session {
	struct event_base *base;
	struct store_client *client;
	struct store_view *view; /* NULL unless asked for */
	pid_t keeper;            /* 0: the host runs */
	int lock;
	bool running;
	/* Of the last cli_session_wait. */
	struct store_result result; /* without its lists */
	uint32_t first_uid;
	bool done;
};
/*
 * While the host stands still its lock is held and a process of ours keeps the store.  -1: with a reason.
 */
int cli_session_open(struct cli *, bool view, struct cli_session *, struct error *);
void cli_session_close(struct cli_session *);
/*
 * The lock that a running host holds, taken as flock's `how` says: its descriptor; -1: the host runs; -2 with a reason,
 * and errno ENOENT when there is none yet.
 */
int cli_host_lock(struct cli *, int how, struct error *);
/* The callback to give to a request, with the session as its argument; then wait: its status. */
void cli_session_done(void *session, const struct store_result *);
enum store_status cli_session_wait(struct cli_session *);
/* What a status means for a person. */
const char *cli_store_text(enum store_status);
/* The account's number in the view's store: 1, 0 none yet, -1 the store is away (said). */
int cli_session_account(struct cli_session *, const char *address, struct account_row *);

#endif
