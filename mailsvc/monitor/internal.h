/* What monitor's own files share. */
#ifndef MAILSVC_MONITOR_INTERNAL_H
#define MAILSVC_MONITOR_INTERNAL_H

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "lib/imsg.h"
#include "lib/log.h"
#include "mailsvc/role_proto.h"
#include "site/site.h"

/* Listeners (listeners.c) ---------------------------------------------------------------------------------- */
#define LISTENERS_MAX 64

struct bound {
	enum service service;
	struct sockaddr_storage address;
	socklen_t length;
	int fd;
};
struct listeners {
	struct bound at[LISTENERS_MAX];
	size_t count;
};
/*
 * Opens what the site wants.  A socket that old (may be NULL) has for the same service and address is taken over, its
 * fd then stands in both.  On failure nothing new stays open.
 */
int listeners_open(const struct site *, const struct listeners *old, struct listeners *out, struct error *);
/* Closes old's sockets that current has not; answers 1 << service of every service whose set differs. */
unsigned listeners_retire(struct listeners *old, const struct listeners *current);
int listeners_local(const struct site *, const char *name, int type, mode_t mode, struct error *); /* run_dir/name */
void listeners_describe(const struct bound *, char *address, size_t size, unsigned *port);

/* Folders, the lock, users (folders.c) ------------------------------------------------------------------------ */
int folders_make(const struct site *, struct error *);
int folders_store_owner(
    const struct site *, struct error *);              /* what root left in STATE/store and its log becomes store's */
int folders_lock(const struct site *, struct error *); /* the fd that holds STATE/lock */
int folders_users(struct error *);                     /* as root: every role's user exists */

/* What roles are given (handout.c) ----------------------------------------------------------------------------- */
struct handout {
	struct buf tls;    /* {blob certificate, blob key} */
	struct buf dkim;   /* {blob domain, blob selector, blob PEM}* */
	char *certificate; /* its path */
	int64_t not_after;
	bool self_signed;
};
int handout_load(const struct site *, struct handout *, struct error *);
void handout_free(struct handout *);
/* A fresh descriptor, or -1 when there is none to give (no secrets file). */
int handout_fd(const struct site *, const struct handout *, enum role_fd);

/* Children (children.c, spawn.c) ------------------------------------------------------------------------------- */
enum child_state { CHILD_DOWN, CHILD_STARTING, CHILD_UP };

struct child {
	enum role_id role;
	unsigned instance;
	enum child_state state;
	pid_t pid; /* 0: none */
	struct chan *chan;
	struct event *timer; /* DOWN: the restart; STARTING: the limit for READY */
	uint64_t started;    /* clock_mono_ms */
	unsigned restarts;   /* since monitor began */
	unsigned failures;   /* in a row, without a minute of life between */
	bool was_up;
	uint32_t reloading; /* the RELOAD it has not answered, or 0 */
	uint32_t asked;     /* the STATUS it has not answered, or 0 */
	struct buf status;  /* its JSON members */
	char sandbox[ROLE_SANDBOX_TEXT_MAX];
	struct monitor *monitor;
};
#define CHILDREN_MAX (ROLE_COUNT * ROLE_INSTANCES_MAX)

/* Requests that wait for children (control.c asks; reload.c and status.c answer). */
struct client {
	TAILQ_ENTRY(client) entry;
	struct chan *chan;
	enum client_wants { CLIENT_IDLE, CLIENT_RELOAD, CLIENT_STATUS } wants;
	uint32_t request; /* its message's id */
	uint32_t waiting; /* the id of the reload that answers it; 0: one that has not begun */
	struct monitor *monitor;
};
TAILQ_HEAD(clients, client);

/* What failed and who was told when (alerts.c). */
struct alert {
	char key[ROLE_ALERT_KEY_MAX];
	uint64_t mailed, commanded; /* clock_mono_ms; 0: not yet */
};
#define ALERT_KEYS_MAX 64
#define ALERT_COMMANDS_MAX 16 /* texts that wait for admin.command: one runs at a time */

struct alerts {
	struct alert at[ALERT_KEYS_MAX];
	size_t count;
	pid_t command; /* 0: none runs */
	struct event *limit;
	char *waiting[ALERT_COMMANDS_MAX];
	size_t waiting_count;
};

struct monitor {
	struct event_base *base;
	const char *path;
	struct site *site;
	char digest[65];        /* SHA-256 of the flattened site, hex: what `mailadm status` compares */
	struct buf flat;        /* the flattened site */
	struct buf view; /* the same with the active DKIM selectors: what roles get */
	struct buf given;       /* a site by control socket, which the next reload takes */
	bool held;              /* the last load was not of the site file: see serving.c */
	struct handout handout; /* tls, dkim */
	unsigned char ticket_keys[ROLE_COUNT]
				 [ROLE_TICKET_KEY_LEN]; /* one a role: login and smtp do not trust each other */
	struct listeners listeners;
	int submit_fd, control_fd, lock_fd;
	int original_stderr;
	struct event *control_event, *signals[5], *deadline, *status_timer, *reload_timer, *ticket_timer;
	unsigned counts[ROLE_COUNT];
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct clients clients;
	size_t client_count;
	bool ready, stopping, front_gone;
	int exit_status;
	uint64_t started; /* clock_mono_ms */
	uint32_t last_id;
	uint32_t reload_id; /* in progress, or 0 */
	bool reload_again;  /* asked for meanwhile */
	struct buf reload_text;
	uint32_t status_id; /* in progress, or 0 */
	struct alerts alerts;
};

/*
 * The site that counts now (serving.c): one given by control socket, else the one that STATE/apply/serving holds back (at
 * a start that text, at a reload the one that runs; m->held then, and text says why), else the site file's.
 */
struct site *serving_load(struct monitor *, struct findings *, struct buf *text);

void children_init(struct monitor *); /* fills the table; starts nothing */
void children_start(struct monitor *);
void children_reap(struct monitor *);
void children_stop(struct monitor *, bool front); /* DRAIN to the front roles, or to all */
void children_kill(struct monitor *, bool front);
size_t children_alive(const struct monitor *, bool front_only);
struct child *child_find(struct monitor *, enum role_id, unsigned instance);
void child_kill(struct child *, const char *reason);
/* spawn.c: process, channel and setup messages; then pairs with every live peer; then START. -1: not now. */
int child_spawn(struct child *);
void child_connect(struct child *, struct child *); /* a pair, if they may talk and both live */
void child_begin(struct child *);
void child_reload(struct child *, uint32_t id, unsigned changed_services);
void child_new_ticket_key(struct child *); /* with the certificate again: the role makes its TLS context anew */
void child_tell(
    struct child *, enum role_message, uint32_t id, struct view, int fd); /* takes fd; a dead child hears nothing */
void child_down(struct child *);                  /* it has no process, or lost it: plans the restart */
int child_message(struct child *, struct imsg *); /* messages.c; -1: malformed */

/* The rest ------------------------------------------------------------------------------------------------------ */
void monitor_child_up(struct child *);
void monitor_child_gone(struct child *);
void monitor_give_up(struct monitor *, const struct child *); /* a role cannot start */
void monitor_adopt_site(struct monitor *, struct site *);     /* takes the reference */
/*
 * Loads, makes keys that are missing and checks all that a start or reload needs; findings and errors are appended to
 * text, a line each.  The first time it makes the folders too and takes the lock.
 */
struct site *monitor_load(struct monitor *, struct handout *, struct buf *text);

void reload_begin(struct monitor *);    /* answers every client that waits for a reload when it is done */
void reload_progress(struct monitor *); /* a child answered or died */
void status_begin(struct monitor *);    /* the same for status */
void status_progress(struct monitor *);
int control_open(struct monitor *, struct error *);
/* Answers the clients that want it; waiting 0: whatever they wait for. */
void control_answer(struct monitor *, enum client_wants, uint32_t waiting, bool failed, struct view text);
int logfile_open(struct monitor *, struct error *);
void logfile_reopen(struct monitor *); /* and hands it to all */
void alert_receive(struct child *, const char *key, const char *text); /* mail, and admin.command; each key hourly */
void alert_reap(struct monitor *);                                     /* the command may have ended */
void alert_stop(struct monitor *);
void notify_systemd(const char *state);

#endif
