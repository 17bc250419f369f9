/*
 * The imap role: connections that login handed over, IMAP and POP3 alike, and what they share.  "opened" is a
 * connection whose ticket auth has redeemed and whose account store has opened; the protocol modules start there.
 */
#ifndef MAILSVC_IMAP_PROCESS_H
#define MAILSVC_IMAP_PROCESS_H

#include "imap.h"
#include "mailsvc/login/handoff.h"
#include "mailsvc/role.h"

#define APPEND_BUDGET (512ull * 1024 * 1024) /* bytes of messages on their way in, all sessions */
#define COMPRESSED_MAX 1000 /* sessions of a process: 100 KiB each */
#define MAILBOX_BUCKETS 4096                 /* hash of sessions by mailbox id; a power of two */

struct pop3_session;

struct process {
	struct role_ctx *ctx;
	struct event_base *base;
	struct auth_client *auth;
	struct store_client *store;
	struct fts_client *fts;
	struct chan *login; /* the newest */
	struct store_view *view;
	struct event *run_event; /* runs what is queued, at the end of the loop */
	struct event *sweep;     /* of silent sessions */
	struct imap_session *run_first, **run_last;
	struct imap_session *sessions; /* all of them */
	struct imap_session *dead;     /* to be freed at the end of the loop */
	struct pop3_session *pop3;
	struct pop3_session *pop3_dead;
	struct opening *openings;
	unsigned session_count; /* both protocols, and what is being opened */
	unsigned compressed;    /* sessions with COMPRESS=DEFLATE */
	uint64_t append_bytes;  /* of APPEND_BUDGET in use */
	struct imap_session *by_mailbox[MAILBOX_BUCKETS];
};

struct opened {
	uint32_t account, inbox;
	bool tls;
	char *peer; /* these point behind the struct: one allocation */
	char *id;
	char address[];
};

/* Take over the fd and the opened account (freed with free). rest is what the client sent already. */
void imap_session_start(struct process *, int fd, struct opened *, const char *tag, struct view rest);
void pop3_session_start(struct process *, int fd, struct opened *, struct view rest);

void process_kick(struct process *); /* the run event, soon */
void process_log_open(const struct opened *, const char *protocol);
void process_log_close(const struct opened *, const char *protocol, const char *reason, uint64_t in, uint64_t out);

/* session.c */
void imap_run_queue(struct process *); /* from the run event */
void imap_free_dead(struct process *);
void imap_shutdown_all(struct process *); /* BYE to everyone */
void imap_sweep(struct process *);        /* BYE to the silent: every few seconds */
void imap_kick(struct imap_session *);
/* Sends "* BYE text" unless text is NULL, closes, and frees at the end of the loop. */
void imap_close(struct imap_session *, const char *bye, const char *reason);
void imap_error(struct imap_session *, const char *text); /* counts towards limits.errors; BYE when it is reached */

/* Ends the sessions of accounts that may not use this protocol any more (a reload). */
void imap_shutdown_lost(struct process *);
bool process_may(const struct process *, const char *address, unsigned protocol);

/* mailbox.c, sync.c */
void imap_changed(struct process *, const uint32_t *mailboxes, size_t count); /* a push from store */
void imap_select_mailbox(struct imap_session *, struct imap_mailbox *);       /* takes it over; the old one is freed */
void imap_deselect(struct imap_session *);
/*
 * Reports what changed since last time, a slice of it; expunge: expunges too.  0: all is told; 1: call again; 2: it waits
 * for store, and the session will be kicked; -1: store is away or the mailbox gone (nothing was sent).
 */
int imap_sync(struct imap_session *, bool expunge);
/* The same for what is not newer than modseq; new messages are not told of. */
int imap_sync_until(struct imap_session *, bool expunge, uint64_t modseq);
void imap_send_exists(struct imap_session *); /* EXISTS, and RECENT where there is such a thing */
/* Those of the map that lie in claimed, all above what is \Recent already, are \Recent in this session. */
void imap_take_recent(struct imap_mailbox *, struct uid_range claimed);
/* 0: a snapshot is open and row is the mailbox; -1: store is away; 1: the mailbox is gone. */
int imap_open_snapshot(struct imap_session *, struct mailbox_row *row);
void imap_take_keywords(struct imap_mailbox *, const struct mailbox_row *);
bool imap_keywords_differ(const struct imap_mailbox *, const struct mailbox_row *);
void imap_send_flags_lists(struct imap_session *, bool permanent);

/* cmd_append.c */
/* A literal was announced in an APPEND: true when it is the message (and what to do about it has been done). */
bool append_literal(struct imap_session *);
bool append_input(struct imap_session *); /* IMAP_PHASE_APPEND: takes bytes; false when it needs more */
void append_free(struct imap_session *);

/* cmd_idle.c */
void idle_line(struct imap_session *, struct view line); /* the line that ends IDLE */

/* parked.c */
bool parked_add(struct imap_session *);                                      /* the command that waits, if it may be */
void parked_add_text(struct imap_session *, const char *text, bool bad);     /* one that is over already */
bool parked_may_join(const struct imap_session *, enum reader_status);       /* what the reader has, those that are parked */
bool parked_land(struct imap_session *);                                     /* the first one, if it is answered */
void parked_landed(struct imap_session *);                                   /* it has replied: reading goes on */
void parked_cancel(struct imap_session *);
void parked_free(struct imap_session *);

/* command.c: finds the command behind the tag and runs it. */
const struct imap_command *imap_command_find(struct imap_parser *); /* behind the tag and its space; NULL */
int imap_command_run(struct imap_session *, struct imap_parser *);

/* pop3 */
void pop3_free_dead(struct process *);
void pop3_shutdown_all(struct process *);
void pop3_shutdown_lost(struct process *);

#endif
