/*
 * IMAP4rev1 after authentication (RFC 3501): the session, its selected mailbox, and what commands build on.
 *
 * A command is a row of imap_commands (command.c).  Its function reads its arguments, acts, and returns
 *   IMAP_DONE  imap_finish was called; without it "OK <NAME> completed." is sent;
 *   IMAP_WAIT  imap_finish will be called later, from a reply of store or by a job; input stays queued until then;
 *   IMAP_BAD   the arguments are wrong: parser->error is the text; nothing has been sent.
 * Nothing else may be kept in static state: a process serves thousands of sessions from one event loop.
 *
 * A snapshot (imap_snapshot .. view_end) never spans a return to the event loop, and none may be open in imap_finish.
 */
#ifndef MAILSVC_IMAP_IMAP_H
#define MAILSVC_IMAP_IMAP_H

#include "lib/conn.h"
#include "mailsvc/imap/parse.h"
#include "mailsvc/imap/reader.h"
#include "mailsvc/imap/uidmap.h"
#include "mailsvc/store/client.h"
#include "mailsvc/store/view.h"

#define IMAP_OUTPUT_SLICE (256 * 1024) /* a job returns to the loop when it has added about this much */
#define IMAP_OUTPUT_MAX (1024 * 1024)  /* above it neither input is read nor jobs run */

enum imap_status { IMAP_DONE, IMAP_WAIT, IMAP_BAD };

#define IMAP_WAITS_ELSEWHERE UINT32_MAX /* session->pending: a job waits for somebody who is not store */

struct imap_session;
struct process; /* what the sessions of a process share: process.h */
struct opened;

/*
 * Long work in slices.  run is called from the event loop while output is below the mark; it adds at most about a
 * slice and returns false to be called again, or calls imap_finish and returns true.  It may also stop to wait for
 * store: set session->pending, return false, and call imap_resume_job from the reply.  free is called exactly once,
 * after run returned true or when the session dies.
 */
struct imap_job {
	bool (*run)(struct imap_session *, void *state);
	void (*free)(void *state);
	void *state;
};

struct imap_mailbox {
	uint32_t id;
	uint32_t uid_validity;
	bool read_only;               /* EXAMINE, or no right to change anything */
	bool foreign;                 /* of another account (namespace.h) */
	uint32_t rights;              /* ACL_ bits of this session, as of the last snapshot */
	bool gone;                    /* deleted by another session */
	uint64_t modseq;              /* messages and flags are reported up to here */
	uint64_t expunge_modseq;      /* expunges are reported up to here; behind modseq after FETCH, STORE, SEARCH */
	struct uidmap map;            /* what the client knows: sequence numbers come from here and nowhere else */
	struct uidmap recent;         /* \Recent in this session */
	bool claim_done;              /* claimed is store's answer for messages that the client has not been told of */
	struct uid_range claimed;
	char *keywords[KEYWORDS_MAX]; /* names by number, NULL: unused */
	unsigned keyword_count;       /* slots to look at */
	/* A change that its command has reported itself, or keeps silent: the next synchronisation skips it. */
	struct {
		uint64_t modseq;      /* of the last step */
		struct uid_range *at; /* reported as they then were */
		size_t count;
		uint64_t *steps; /* silent: the modseq of each step, rising */
		size_t step_count;
		bool innocent, masked; /* see watch_silence in sync.c */
		uint64_t seen;
	} own;
	/* A comparison of the map with the rows has come to uid; modseq of its first snapshot, 0: none is under way. */
	struct {
		uint64_t modseq;
		uint32_t uid;
	} compare;
	struct uid_range *known; /* SELECT (QRESYNC ...), until its reply: what the client has, as of known_modseq */
	size_t known_count;
	uint64_t known_modseq;
	struct uid_range *saved; /* SEARCH RETURN (SAVE): what "$" names, sorted; may name what was expunged since */
	size_t saved_count;
	struct imap_session *hash_next; /* sessions by mailbox id, for pushes */
};

enum imap_phase {
	IMAP_PHASE_READY,   /* reading a command */
	IMAP_PHASE_APPEND,  /* taking or draining the bytes of a message (cmd_append.c) */
	IMAP_PHASE_RUNNING, /* a command waits */
	IMAP_PHASE_ENDING,  /* its reply waits for the rest of a synchronisation */
	IMAP_PHASE_IDLE,    /* IDLE: waiting for DONE */
	IMAP_PHASE_CLOSED,  /* output is being written, input no longer read */
};

/* What ENABLE (RFC 5161), or a command that implies it, has switched on. */
enum imap_enabled {
	ENABLED_CONDSTORE = 1, /* untagged FETCH has MODSEQ */
	ENABLED_QRESYNC = 2,   /* and UID; expunges are VANISHED */
	ENABLED_UTF8 = 4,      /* UTF8=ACCEPT (RFC 6855): names are UTF-8 */
	ENABLED_REV2 = 8,      /* IMAP4rev2 (RFC 9051): so they are, nothing is \Recent, SEARCH answers ESEARCH */
};

struct imap_session {
	struct process *process;
	struct conn *conn;
	uint32_t account; /* id in the view */
	enum imap_phase phase;
	unsigned errors;
	unsigned enabled; /* imap_enabled */
	uint32_t pending; /* a request to store whose callback has this session: cancelled when the session dies */
	uint32_t claiming; /* likewise, of a claim of \Recent during a synchronisation */
	struct imap_mailbox *mailbox; /* selected, or NULL */
	struct imap_reader reader;
	const struct imap_command *command; /* that runs */
	char tag[65];
	char *ending;          /* IMAP_PHASE_ENDING: the tagged line without its tag */
	uint64_t heard_ms;     /* clock_mono_ms when input last came or a command ended */
	bool waiting_drain;    /* a job stopped because output is above the mark */
	bool runnable;         /* in the process's run queue */
	bool in_command;       /* inside a command's or job's function */
	bool compressed;       /* COMPRESS=DEFLATE is on */
	bool finished;         /* imap_finish was called: the reader still holds the command */
	struct imap_job job;   /* run NULL: nothing to run */
	/* Commands whose requests are on their way together, in order: see "Commands on their way together" below. */
	struct imap_parked *parked, **parked_last;
	unsigned parked_count;
	struct uid_range parked_hull; /* of what they name, as they name it */
	void (*land)(struct imap_session *, void *state); /* of the command that runs; NULL: it cannot be parked */
	bool landing;                                     /* the command that runs was parked: stash is what is read meanwhile */
	uint64_t landing_modseq;                          /* what it has to report of the mailbox ends here */
	struct imap_reader stash;
	enum imap_phase stash_phase;
	char stash_tag[65]; /* its tag, if it has been read: APPEND refuses in the middle */
	enum reader_status held; /* what the reader has brought waits for those that are parked */
	void *append;          /* cmd_append.c, while a message is on its way */
	struct opened *opened; /* who this is: process.h */
	uint64_t bytes_in, bytes_out;
	const char *reason;                /* why it is being closed, for the log */
	struct evbuffer_cb_entry *counter; /* of bytes_out */
	struct imap_session *next, **prev_next, *run_next;
};

enum imap_command_flags {
	IMAP_NEEDS_MAILBOX = 1, /* selected state only */
	IMAP_NEEDS_WRITE = 2,   /* not after EXAMINE */
	IMAP_NO_EXPUNGE = 4,    /* sequence numbers must stand still: FETCH, STORE, SEARCH (RFC 3501 5.5) */
	IMAP_NO_SYNC = 8,       /* nothing untagged before the reply (LOGOUT, SELECT) */
	IMAP_PIPES = 16,        /* may be on its way with others of its kind; its set, if any, is its first argument */
	IMAP_PIPES_UIDS = 32,   /* that set is of UIDs */
	IMAP_PIPES_NUMBERS = 64,
};
struct imap_command {
	const char *name; /* "FETCH", "UID FETCH" */
	unsigned flags;
	int (*run)(struct imap_session *, struct imap_parser *);
};
extern const struct imap_command imap_commands[]; /* name NULL ends it */

#define IMAP_CAPABILITY /* after authentication; only what fully works */                                              \
	"IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE IDLE NAMESPACE UIDPLUS UNSELECT MOVE UTF8=ACCEPT COMPRESS=DEFLATE "    \
	"CHILDREN SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE "                               \
	"CONDSTORE QRESYNC OBJECTID SAVEDATE PREVIEW BINARY MULTIAPPEND APPENDLIMIT "                                  \
	"ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT "                    \
	"ACL RIGHTS=kxte QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE METADATA"

/* The process ------------------------------------------------------------------------------------------- */
struct store_client *imap_store(const struct imap_session *);
struct store_view *imap_view(const struct imap_session *);
const char *imap_address(const struct imap_session *); /* of the account */
uint64_t imap_message_size_max(const struct imap_session *);

/* Replies ----------------------------------------------------------------------------------------------- */
/*
 * Ends the command: reports what changed in the mailbox (as far as the command's flags allow), then sends
 * "TAG text", later when there is more to report than the output takes.  Text starts with OK, NO or BAD.
 */
void imap_finish(struct imap_session *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "NO [CODE] ..." for a status of store that is not STORE_OK. */
void imap_finish_store(struct imap_session *, enum store_status);
/* Starts a job, in place of an earlier one; the command returns IMAP_WAIT. */
void imap_start_job(struct imap_session *, const struct imap_job *);
void imap_resume_job(struct imap_session *);           /* after a job waited for store */
bool imap_output_full(const struct imap_session *);    /* a slice has been written: come back later */
int imap_bad(struct imap_parser *, const char *error); /* returns IMAP_BAD */

/*
 * Commands on their way together.  A client that sends many changes at once would wait for the disk once for each; so a
 * command that has sent its one request to store may be parked, while the next of the same kind is read and sent: one
 * commit serves them all.  Replies come in order, and each reports what it would have reported alone.
 *
 * A command's function that has put its state in its job and sets s->pending calls imap_may_park before it returns
 * IMAP_WAIT.  The callback of that request keeps the result in the state and calls imap_landed: false, go on now; true,
 * land(s, state) will be called when the commands before have been answered.
 */
void imap_may_park(struct imap_session *, void (*land)(struct imap_session *, void *state));
bool imap_landed(struct imap_session *, void *state);

/* "(\Seen $Forwarded)" with \Recent as this session has it. */
void imap_put_flags(const struct imap_session *, const struct message_row *, struct buf *out);
/* "* SEQ FETCH (FLAGS (...))", with UID and MODSEQ where the session wants them; nothing when the row is not in the map. */
void imap_send_flags(struct imap_session *, const struct message_row *, bool uid);
/* A string as quoted or literal; NULL view: NIL. */
void imap_put_string(struct buf *out, struct view);

/* A mailbox's name as this session has it: modified UTF-7 or UTF-8, quoted or a literal. (cmd_status.c) */
void imap_put_mailbox(const struct imap_session *, struct buf *out, const char *name);
bool imap_names_utf8(const struct imap_session *);

/* The selected mailbox ----------------------------------------------------------------------------------- */
/*
 * Begins a snapshot for the selected mailbox, after telling the client of keywords that are new in it.  0: go on, and
 * call view_end(imap_view(s)).  -1: no snapshot is open, and imap_finish has been called with a NO (the store
 * is away, or the mailbox has been deleted).
 */
int imap_snapshot(struct imap_session *);
/*
 * What a set means in this mailbox: UID ranges, sorted, disjoint, merged, each with at least one message of the map at
 * its first and last UID (gaps inside hold no message); malloc'd, NULL when nothing is named.  false: a sequence
 * number that does not exist (error is set).  UIDs that do not exist are left out.
 */
bool imap_resolve_set(const struct imap_session *, struct imap_parser *, const struct imap_set *, bool uid,
    struct uid_range **out, size_t *count);
/* Parses a set and resolves it. */
bool imap_parse_uids(
    const struct imap_session *, struct imap_parser *, bool uid, struct uid_range **out, size_t *count);
/*
 * The command has reported this change itself, as the messages now are (modseq: of its last step); or the client wants
 * no report of it (steps: the modseq of each, rising), and gets one only where it could hide somebody else's change.
 * Copies what it is given; replaces an earlier note.
 */
void imap_note_own(struct imap_session *, uint64_t modseq, const struct uid_range *, size_t count);
void imap_note_silent(struct imap_session *, const uint64_t *steps, size_t count);
bool imap_is_recent(const struct imap_session *, uint32_t uid);

/* A command that implies CONDSTORE (RFC 7162 3.1): tells HIGHESTMODSEQ of the selected mailbox the first time. */
void imap_enable_condstore(struct imap_session *);

/* What changed since a modseq (resync.c), inside a snapshot -------------------------------------------------- */
/* UIDs of the map, among those within (sorted, disjoint), that came or changed flags after since. malloc'd, sorted, merged. */
void imap_changed_since(const struct imap_session *, uint64_t since, const struct uid_range *within, size_t within_count,
    struct uid_range **out, size_t *count);
/* "* VANISHED (EARLIER) uids" of those within that were expunged after since. */
void imap_send_vanished(struct imap_session *, uint64_t since, const struct uid_range *within, size_t within_count);
/* A set of UIDs as it stands, whether they exist or not, "*" as the highest possible. malloc'd, sorted, merged. */
void imap_set_to_uids(const struct imap_set *, struct uid_range **out, size_t *count);
/*
 * Starts a job that tells what changed after since, as VANISHED (EARLIER) among the UIDs known and FETCH (UID FLAGS
 * MODSEQ), and then calls imap_finish with finish (a constant).  Takes known over.
 */
void imap_start_resync(
    struct imap_session *, uint64_t since, struct uid_range *known, size_t known_count, const char *finish);

/* Commands in files of their own -------------------------------------------------------------------------- */
int imap_cmd_fetch(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_search(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_sort(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_thread(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_store(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_copy(struct imap_session *, struct imap_parser *, bool uid, bool move);
int imap_cmd_expunge(struct imap_session *, struct imap_parser *, bool uid);
int imap_cmd_select(struct imap_session *, struct imap_parser *, bool read_only);
int imap_cmd_close(struct imap_session *, struct imap_parser *, bool expunge);
int imap_cmd_list(struct imap_session *, struct imap_parser *, bool subscribed);
int imap_cmd_status(struct imap_session *, struct imap_parser *);
int imap_cmd_append(struct imap_session *, struct imap_parser *);
int imap_cmd_create(struct imap_session *, struct imap_parser *);
int imap_cmd_delete(struct imap_session *, struct imap_parser *);
int imap_cmd_rename(struct imap_session *, struct imap_parser *);
int imap_cmd_subscribe(struct imap_session *, struct imap_parser *, bool on);
int imap_cmd_myrights(struct imap_session *, struct imap_parser *);
int imap_cmd_getacl(struct imap_session *, struct imap_parser *);
int imap_cmd_setacl(struct imap_session *, struct imap_parser *);
int imap_cmd_deleteacl(struct imap_session *, struct imap_parser *);
int imap_cmd_listrights(struct imap_session *, struct imap_parser *);
int imap_cmd_getquota(struct imap_session *, struct imap_parser *);
int imap_cmd_getquotaroot(struct imap_session *, struct imap_parser *);
int imap_cmd_setquota(struct imap_session *, struct imap_parser *);
int imap_cmd_getmetadata(struct imap_session *, struct imap_parser *);
int imap_cmd_setmetadata(struct imap_session *, struct imap_parser *);
int imap_cmd_idle(struct imap_session *, struct imap_parser *);

#endif
