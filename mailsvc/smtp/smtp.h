/*
 * What the files of the smtp role share: the server (one a process), sessions, transactions.
 *
 * role.c has listeners, reload and drain; session.c the loop and the states; dialog.c the commands; auth.c SASL;
 * sender.c who may send as whom, and how much; rate.c counts it;
 * ask.c asks other hosts about recipients, and verified.c remembers what they said; receive.c the content of DATA and BDAT; tx.c one transaction; submit.c what submission adds; trace.c Received;
 * check*.c are the checks of mail from outside; deliver.c signs, seals and stores; plan.c turns routes into deliveries; forward.c and srs.c see to the sender of what is forwarded;
 * full.c sees to full mailboxes; peers.c counts connections an address; own.c sends mail of the host itself: alert.c tells
 * the administrator, report.c who asked for success, autoreply.c and replied.c answer for who is away; kept.c reads what a
 * stored message says of its envelope; greylist.c and shared_table.c remember beyond a session; command.c, path.c and data.c are pure parsers.
 */
#ifndef MAILSVC_SMTP_SMTP_H
#define MAILSVC_SMTP_SMTP_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "lib/conn.h"
#include "mailsvc/auth/client.h"
#include "mailsvc/guard/client.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/policy/dns.h"
#include "mailsvc/role.h"
#include "mailsvc/send/verify_client.h"
#include "mailsvc/smtp/command.h"
#include "mailsvc/smtp/data.h"
#include "mailsvc/smtp/greylist.h"
#include "mailsvc/smtp/path.h"
#include "mailsvc/smtp/peers.h"
#include "mailsvc/smtp/replied.h"
#include "mailsvc/smtp/shared_table.h"
#include "mailsvc/smtp/srs.h"
#include "mailsvc/store/client.h"
#include "site/route.h"

#define SMTP_LINE_MAX 2048                /* a command without CRLF: RFC 5321 asks for 512, extensions add to it */
#define SMTP_AUTH_LINE_MAX 12288          /* RFC 4954 4 */
#define SMTP_HEADER_MAX (1 << 20)         /* the header section of a message */
#define SMTP_HOPS_MAX 50                  /* Received fields: more is a loop */
#define SMTP_OUTPUT_HIGH 65536            /* replies nobody reads: stop reading commands */
#define SMTP_IN_FLIGHT_MAX (512ull << 20) /* bytes of unfinished messages in all smtp processes together */
#define SMTP_ENDLESS 10                   /* times the largest message: whoever sends more means no mail */
#define SMTP_CHUNK_MAX (4ull << 30)       /* a BDAT larger than this is not even skipped */
#define SMTP_TLS_SECONDS 30
#define SMTP_WRITE_SECONDS 60
#define SMTP_RATE_SECONDS 60 /* while content comes: at least SMTP_RATE_BYTES in each such stretch */
#define SMTP_RATE_BYTES 30000
#define SMTP_AUTH_FAILURES 3
#define SMTP_LISTENERS_MAX 32
#define SMTP_DRAIN_SECONDS 20
#define SMTP_ASK_SECONDS 12 /* that RCPT waits for another host's word on the recipient */
#define SMTP_FIXED_HEADERS 16384 /* room for what we add to a message */

enum smtp_state {
	SMTP_CONNECT,  /* before the greeting: TLS from the start is being set up */
	SMTP_GREETING, /* before the greeting: what is looked up about the peer */
	SMTP_HELLO,    /* greeted; EHLO is awaited */
	SMTP_READY,    /* no transaction */
	SMTP_MAIL,     /* a sender, no recipient yet */
	SMTP_RCPT,     /* at least one recipient */
	SMTP_BDAT,     /* between two chunks of a message */
	SMTP_DATA,     /* content up to CRLF.CRLF */
	SMTP_CHUNK,    /* the octets of one BDAT, also those of a refused one */
	SMTP_SASL,     /* the next line answers a challenge */
	SMTP_CHECKING, /* waits for auth */
	SMTP_ASKING,   /* waits for send: another host's word on the recipient */
	SMTP_VERIFYING, /* waits for the checks of the content */
	SMTP_SIGNING,  /* waits for keys */
	SMTP_STORING,  /* waits for store */
	SMTP_TLS,      /* STARTTLS in progress */
	SMTP_STATES
};

enum smtp_step { SMTP_NEXT, SMTP_MORE, SMTP_WAIT, SMTP_CLOSE }; /* go on, more input, a callback will go on, end */

struct smtp_recipient {
	char *address; /* as written, completed */
	struct route route;
	unsigned notify; /* enum dsn_notify bits, 0: not said */
	char *orcpt;     /* as it travels, or NULL */
};

struct smtp_tx {
	char id[32];
	char *sender; /* as written; "" is <>; NULL: no transaction */
	bool smtputf8;
	bool utf8_address; /* a sender or recipient that is not ASCII */
	enum dsn_ret ret;
	char *envid; /* as it travels, or NULL */
	struct smtp_recipient *recipients;
	size_t recipient_count, target_count;
	size_t queue_entries; /* that the stored message made */
	struct smtp_ask *ask; /* ask.c; NULL but in SMTP_ASKING */
	struct smtp_data_reader reader;
	struct buf message;  /* our Received field, then the content */
	size_t received_len; /* of that field */
	uint64_t size;       /* octets of content so far */
	uint64_t charged;    /* counted in server->in_flight */
	bool begun;          /* content has begun */
	bool too_big, no_memory;
	uint64_t chunk_left; /* BDAT: octets still to come */
	bool chunk_last;
	const struct smtp_refusal *chunk_refused; /* the reply once they are consumed */
};

struct smtp_sasl {
	enum smtp_sasl_step {
		SMTP_SASL_PLAIN,
		SMTP_SASL_LOGIN_USER,
		SMTP_SASL_LOGIN_PASSWORD,
		SMTP_SASL_SCRAM_FIRST,
		SMTP_SASL_SCRAM_FINAL,
		SMTP_SASL_SCRAM_PROVED,
	} step;
	char *user;        /* LOGIN's first answer; SCRAM: the account, once it is right */
	uint64_t exchange; /* of SCRAM */
	bool bound;        /* the mechanism is SCRAM-SHA-256-PLUS */
};

struct smtp_session {
	TAILQ_ENTRY(smtp_session) link;
	struct smtp_server *server;
	struct site *site; /* a reference */
	struct conn *conn;
	enum smtp_state state;
	enum service service;
	bool local;     /* came by the submission socket */
	bool loopback;  /* the peer is on this machine */
	bool counted;   /* in server->peers */
	bool auth_seen; /* an AUTH came: what is no command may be a part of a password */
	bool esmtp;
	bool blocked;     /* not reading until the peer has read our replies */
	bool trusted_uid; /* local: root or ourselves */
	uid_t uid;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} peer;
	char id[16];
	char *helo;
	const struct site_account *account; /* who authenticated */
	bool by_address;                    /* it did not: submission.trusted names its address; until the transaction ends */
	unsigned transactions, errors, auth_failures, accepted;
	uint64_t deadline;   /* monotonic ms; 0: none */
	uint64_t rate_bytes; /* content since the deadline was set */
	uint32_t request;    /* outstanding with auth, send, keys or store, as the state says */
	struct smtp_sasl sasl;
	struct smtp_checks *checks; /* check.h; NULL: a session that is not checked */
	uint64_t paused_until;      /* monotonic ms: no command is read before; 0: no pause */
	bool waiting;               /* for checks or a pause: smtp_session_continue goes on */
	unsigned commands;          /* read from a peer that is checked */
	struct smtp_tx tx;
};

struct smtp_listener {
	struct smtp_server *server;
	struct event *event;
	int fd;
	enum service service;
	bool local;
};

#define SMTP_FULL_MAX 256
struct smtp_full { /* an account that had no room */
	char *account;
	uint64_t until; /* monotonic ms */
};

struct smtp_server {
	struct role_ctx *ctx;
	SSL_CTX *tls; /* NULL: no STARTTLS, no 465 */
	struct auth_client *auth;
	struct store_client *store;
	struct keys_client *keys;
	struct guard_client *guard;
	struct dns_client *dns;
	struct policy_dns policy; /* over dns */
	struct shared_table *replied;  /* replied.h */
	struct shared_table *greylist; /* greylist.h */
	struct shared_table *rates;    /* of accounts and domains that send: shared_table_rate */
	struct shared_table *sources;  /* rates of peers, by address */
	struct shared_table *verified; /* verified.h */
	struct verify_client *verify;
	struct srs srs;
	bool srs_ready; /* the key is there */
	struct smtp_listener listeners[SMTP_LISTENERS_MAX];
	size_t listener_count;
	TAILQ_HEAD(, smtp_session) sessions;
	unsigned session_count;
	struct smtp_peers *peers;
	struct smtp_full full[SMTP_FULL_MAX];
	struct event *tick;
	uint64_t in_flight, accepted;
	uint64_t checked, junked, check_refused, greylisted; /* by check.h */
	bool started, accept_paused; /* paused: out of descriptors, until the next tick */
	uint64_t drain_deadline;
	uid_t own_uid; /* whoever started the daemon */
	unsigned counter;
	unsigned quiet_ticks; /* while draining: since the last session ended */
	bool draining;
};

/* A refusal: the reply, and whether it is told to the log. */
struct smtp_refusal {
	int code;
	const char *enhanced, *text;
};

/* session.c */
void smtp_session_new(struct smtp_server *, const struct smtp_listener *, int fd, const struct sockaddr_storage *);
void smtp_enter(struct smtp_session *, enum smtp_state);
const char *smtp_state_name(enum smtp_state);
enum smtp_state smtp_idle_state(const struct smtp_session *); /* SMTP_READY, or SMTP_HELLO before the first EHLO */
/* Goes on after a callback: with SMTP_CLOSE the session ends, else reading resumes. */
void smtp_session_continue(struct smtp_session *, enum smtp_step);
void smtp_session_tick(struct smtp_session *, uint64_t now); /* deadlines */
void smtp_session_drain(struct smtp_session *, bool hard);   /* an idle one is told 421; hard: any */
/* Writes "code enhanced text"; enhanced may be NULL. Always SMTP_NEXT. */
enum smtp_step smtp_reply(struct smtp_session *, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What guard bans for; nothing when it is this machine, or who logged in. */
void smtp_offence(const struct smtp_session *, enum offence);
/* Replies, logs with what it was about, and counts it as an error when permanent: SMTP_CLOSE once there were too many.
 */
enum smtp_step smtp_refuse(struct smtp_session *, const struct smtp_refusal *, struct view about);
const char *smtp_log_id(const struct smtp_session *); /* the transaction's id within one, else the session's */
void smtp_peer_name(const struct smtp_session *, char out[64]); /* "192.0.2.1", "2001:db8::1", "uid 0" */
/* This process's part of what the site allows the host: rounded up. */
uint64_t smtp_share(const struct smtp_server *, uint64_t of_host);

/* dialog.c */
enum smtp_step smtp_command_run(struct smtp_session *, struct view line);

/*
 * A RCPT with its recipient ends: refused for this reason, or (NULL) by the rates of the account, or taken; path and
 * route as in smtp_tx_add_recipient, args are the command's.
 */
enum smtp_step smtp_recipient_end(struct smtp_session *, const struct smtp_refusal *, struct view address,
    const struct smtp_path *, struct route *, struct view args);

/* ask.c */
/*
 * Is another host to be asked about the recipient?  True: the session is in SMTP_ASKING, route is taken over, and
 * smtp_recipient_end comes.  False: nobody is, and *why is set if its word is known and no yes.
 */
bool smtp_ask(struct smtp_session *, struct view address, const struct smtp_path *, struct route *, struct view args,
    const struct smtp_refusal **why);
bool smtp_ask_tick(struct smtp_session *, uint64_t now); /* true: the time is over, the session has gone on or ended */
void smtp_ask_free(struct smtp_session *);               /* the transaction ends; the request is cancelled already */

/* sender.c */
/* The account that the peer acts for without a login (submission.trusted), or NULL. */
const struct site_account *smtp_trusted_account(const struct smtp_session *);
void smtp_sender_assume(struct smtp_session *, struct view sender); /* such a peer begins a transaction */
void smtp_sender_forget(struct smtp_session *);                     /* and ends it */
/* NULL, or why the session's account may not send, or not as this address. */
const struct smtp_refusal *smtp_sender_account_refusal(const struct smtp_session *, struct view sender);
/* Counts one recipient of the session's account: NULL, or why not now. */
const struct smtp_refusal *smtp_sender_take(struct smtp_session *);

/* auth.c */
bool smtp_auth_offered(const struct smtp_session *);
bool smtp_auth_can_bind(const struct smtp_session *); /* SCRAM-SHA-256-PLUS is possible here */
enum smtp_step smtp_auth_start(struct smtp_session *, struct view args);
enum smtp_step smtp_auth_line(struct smtp_session *, struct view line);
void smtp_auth_reset(struct smtp_session *);

/* receive.c: content */
void smtp_receive_begin(struct smtp_session *, bool dots);
enum smtp_step smtp_receive_data(struct smtp_session *);
enum smtp_step smtp_receive_chunk(struct smtp_session *);

/* tx.c */
void smtp_tx_begin(struct smtp_session *, struct view sender, const struct smtp_path *);
void smtp_tx_reset(struct smtp_session *);
/* path: with its parameters; takes route over. */
void smtp_tx_add_recipient(
    struct smtp_session *, struct view address, const struct smtp_path *path, struct route *route);
void smtp_tx_content(struct smtp_session *, struct view piece);
/* Replaces `remove` bytes at `at` of the message by `insert`. */
void smtp_tx_splice(struct smtp_session *, size_t at, size_t remove, struct view insert);
struct view smtp_tx_content_view(const struct smtp_session *); /* the message without our Received field */

/* submit.c: completes the header of a submitted message; NULL, or why it cannot be taken. */
const struct smtp_refusal *smtp_submit_fix(struct smtp_session *);
/*
 * The domain of ours that signs the message because of its From, or NULL.  An account (NULL: the local socket) has only
 * its own domain's signature, and that of addresses that it may send as: a domain is not to vouch for another's users.
 */
const struct site_domain *smtp_submit_signer(const struct site *, const struct site_account *, struct view message);

/* trace.c */
void smtp_trace_received(const struct smtp_session *, struct buf *out);

/* deliver.c */
enum smtp_step smtp_deliver(struct smtp_session *); /* the whole message is here: checks, signs, stores */

/* autoreply.c: answers for those who asked for it, now that the transaction's message is stored. */
void smtp_auto_reply(struct smtp_session *);

/* forward.c: what is sent on in our name (SRS), and back */
void smtp_forward_init(struct smtp_server *, int fd); /* closes it */
/* The sender that forwarded copies of the transaction's message leave with (out, or NULL: as it is). */
const char *smtp_forward_sender(const struct smtp_session *, char out[ADDRESS_MAX]);
bool smtp_forward_is_return(const struct smtp_session *, struct view address); /* claims to be one of these addresses */
const struct smtp_refusal *smtp_forward_return(const struct smtp_session *, struct view address, struct route *);

/* own.c: mail of the host itself. */
struct smtp_own {
	const char *to;
	const struct site_domain *signer; /* or NULL */
	bool eight_bit, smtputf8;         /* what it needs of the next host */
	char id[16];                      /* smtp_new_id */
};
void smtp_own_send(struct smtp_server *, const struct smtp_own *, struct buf *message); /* takes message over */
bool smtp_own_reachable(const struct site *, const char *to);

/* report.c: tells the sender what NOTIFY=SUCCESS asks of the transaction's message, now that it is stored. */
void smtp_report(struct smtp_session *);

/* full.c */
void smtp_full_learn(struct smtp_session *, bool full); /* what store said about the transaction's accounts */
/* With this recipient the transaction would hold one that may be full, and another: it must come by itself. */
bool smtp_full_must_wait(struct smtp_session *, const struct route *);

/* plan.c */
/* What one message asks of accounts and queue: every account and every remote address once. */
struct smtp_plan {
	struct store_local *local;
	struct buf *prefixes; /* one a local delivery */
	size_t local_count;
	struct store_remote *remote; /* one a destination domain, envelope sender and SMTP_REMOTE_MAX recipients */
	const char **recipients;     /* what they point into */
	struct queue_dsn *dsn;       /* one a remote recipient */
	char **orcpts;               /* those that are ours, one a remote recipient, or NULL */
	size_t remote_count, remote_recipients;
};
struct smtp_envelope {
	const char *sender;
	const struct route *const *routes; /* must outlive the plan */
	size_t route_count;
	const char *const *addresses; /* one a route: the recipient as the client gave it */
	const struct queue_dsn *dsn;  /* one a route: what is asked for it; NULL: nothing for anybody */
	const char *envid;            /* or NULL */
	enum dsn_ret ret;
	bool bulk; /* it goes to many: behind what one wrote to another */
	bool smtputf8, eight_bit;
	const char *mailbox; /* of local deliveries; NULL: INBOX */
	bool local_only;     /* what leads elsewhere is left out: junk is not sent on */
	const char *forwarder; /* the sender of what is forwarded to other hosts, or NULL: as it was */
};
#define SMTP_REMOTE_MAX 100
void smtp_plan_make(struct smtp_plan *, const struct smtp_envelope *);
void smtp_plan_free(struct smtp_plan *);

/* alert.c: mail from the host itself to its administrator. */
void smtp_alert(struct role_ctx *, const char *key, const char *text);

/* role.c */
void smtp_new_id(struct smtp_server *, char out[16]);

#endif
