/*
 * What every role process of mailsvc shares.  A role is a row here and a module that fills `struct role`.  Its life:
 *   1. started by monitor as a re-exec with a channel on fd 3;
 *   2. receives its view of the site, its descriptors, its peers and listeners, then START;
 *   3. `init` opens what libraries would open late; the sandbox closes; `start` begins work; it reports READY;
 *   4. later messages replace the site (reload), certificates, the log, and the channel of a peer that died.
 * Only monitor speaks on fd 3, with fixed-size or sealed-memfd payloads (role_proto.h).
 */
#ifndef MAILSVC_ROLE_H
#define MAILSVC_ROLE_H

#include <event2/event.h>

#include "lib/imsg.h"
#include "lib/sandbox.h"
#include "site/site.h"

enum role_id {
	ROLE_MONITOR,
	ROLE_AUTH,
	ROLE_HASH, /* password hashing workers of auth */
	ROLE_STORE,
	ROLE_LOGIN,
	ROLE_IMAP, /* imap and pop3 after authentication */
	ROLE_SMTP,
	ROLE_RESOLVER,
	ROLE_KEYS,
	ROLE_SEND,
	ROLE_COUNT
};
#define ROLE_INSTANCES_MAX 16

enum role_fd { /* descriptors that monitor opens for a role before it drops its rights */
	ROLE_FD_CREDENTIALS, /* auth: the credentials file, read-only; sent anew on reload */
	ROLE_FD_SECRETS,     /* send: the secrets file; sent anew on reload */
	ROLE_FD_DKIM_KEYS,   /* keys: sealed memfd {blob domain, blob selector, blob PEM}*; sent anew on reload */
	ROLE_FD_TLS,	     /* login, smtp: sealed memfd {blob certificate PEM, blob key PEM}; sent anew on reload */
	ROLE_FD_STORE_DIR,   /* store, imap: STATE/store, O_PATH-free directory descriptor */
	ROLE_FD_COUNT
};

struct role_ctx {
	struct event_base *base;
	const struct role *role;
	unsigned instance;     /* 0.. */
	unsigned instances;    /* of this role */
	unsigned peers[ROLE_COUNT]; /* how many instances each peer role has */
	struct site *site;     /* current; replaced before `reload` is called */
	int fds[ROLE_FD_COUNT]; /* -1 where not given; the role owns them */
	void *state;	       /* the role's own */
};

struct listener {
	int fd;
	enum service service;
	bool local;	/* the submission socket of `mailadm sendmail` (AF_UNIX; SO_PEERCRED says who) */
};

struct role {
	enum role_id id;
	const char *name; /* "smtp" */
	const char *user; /* "mailadm-smtp" */
	/* Before the sandbox: allocate state, open what must be open.  All fds, listeners and peers have arrived. */
	int (*init)(struct role_ctx *, struct error *);
	void (*sandbox)(struct role_ctx *, struct sandbox *); /* adds to the defaults (user, no rights) */
	void (*start)(struct role_ctx *);		      /* after the sandbox */
	void (*reload)(struct role_ctx *);		      /* ctx->site or ctx->fds changed; sessions keep what they had referenced */
	void (*peer)(struct role_ctx *, enum role_id, unsigned instance, int fd); /* a channel (first or again); before init's call too */
	void (*listener)(struct role_ctx *, const struct listener *);	     /* during setup */
	void (*drain)(struct role_ctx *); /* SIGTERM: stop accepting, finish what is acknowledged, then role_exit; NULL: exit at once */
	void (*status)(struct role_ctx *, struct buf *json_members); /* adds `"sessions": 3, ...` for `mailadm status`; may be NULL */
};

extern const struct role role_auth, role_hash, role_store, role_login, role_imap, role_smtp, role_resolver, role_keys,
	role_send;
const struct role *role_by_id(enum role_id);
const char *role_name(enum role_id);
/* The peer matrix: who may talk to whom.  Symmetric; ARCHITECTURE.md prints it from here. */
bool role_may_talk(enum role_id, enum role_id);

int role_main(const struct role *); /* the whole life; returns the exit status */
void role_exit(struct role_ctx *);  /* leaves the event loop */
/* Something the administrator must hear (disk full, cannot send ...): logged, and mailed to `admin` at most once an hour a key. */
void role_alert(struct role_ctx *, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
