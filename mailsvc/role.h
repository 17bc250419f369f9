/*
 * What every role process of mailsvc shares.  A role is a row here and a module that fills `struct role`.  Its life:
 *   1. started by monitor as a re-exec with a channel on fd 3;
 *   2. receives its view of the site, its descriptors, its peers and listeners, then START;
 *   3. `init` allocates state and opens what libraries would open late; then `peer` and `listener` for each one that
 *      arrived; the sandbox closes; `start` begins work; it reports READY;
 *   4. later messages replace the site (reload), certificates, the log, and the channel of a peer that died: then
 * `peer` comes again, for a peer that starts later than we do for the first time. Only monitor speaks on fd 3, with
 * fixed-size or sealed-memfd payloads (role_proto.h).
 */
#ifndef MAILSVC_ROLE_H
#define MAILSVC_ROLE_H

#include <event2/event.h>

#include "lib/conn.h"
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
	ROLE_GUARD, /* bans */
	ROLE_FTS,   /* full-text index */
	ROLE_FETCH, /* HTTPS out */
	ROLE_COUNT
};
#define ROLE_INSTANCES_MAX 16
#define ROLE_STATUS_MAX 2048
#define ROLE_TICKET_KEY_LEN 80 /* TLS_TICKET_KEY_BYTES of lib/conn.h */
#define ROLE_ALERT_KEY_MAX 64  /* bytes with NUL */
#define ROLE_ALERT_TEXT_MAX 1024
#define ROLE_WHY_MAX 64

enum role_fd {               /* descriptors that monitor opens for a role before it drops its rights */
	ROLE_FD_CREDENTIALS, /* auth: the credentials file, read-only; sent anew on reload */
	ROLE_FD_SECRETS,     /* send: the secrets file STATE/secrets (none: -1); sent anew on reload */
	ROLE_FD_DKIM_KEYS,   /* keys: sealed memfd {blob domain, blob selector, blob PEM}*; sent anew on reload */
	ROLE_FD_TLS,         /* login, smtp: sealed memfd {blob certificate PEM, blob key PEM}; sent anew on reload */
	ROLE_FD_STORE_DIR,   /* store, imap, fts: STATE/store, O_PATH-free directory descriptor */
	ROLE_FD_BANS_DIR,    /* guard: STATE/bans, likewise */
	ROLE_FD_FTS_DIR,     /* fts: STATE/fts, likewise */
	ROLE_FD_REPLIED,     /* smtp: the file STATE/auto-replied: a table of smtp/shared_table.h, as are */
	ROLE_FD_GREYLIST,    /* STATE/greylist, */
	ROLE_FD_RATES,       /* STATE/send-rates, */
	ROLE_FD_SOURCES,     /* STATE/source-rates */
	ROLE_FD_VERIFIED,    /* and STATE/verified */
	ROLE_FD_SRS,         /* smtp: the file STATE/srs-key, of 32 bytes */
	ROLE_FD_MTA_STS,     /* send: the file STATE/mta-sts of send/sts.h, */
	ROLE_FD_TLS_COUNTS,  /* and STATE/tls-counts of send/tls_count.h */
	ROLE_FD_COUNT
};

struct role_ctx {
	struct event_base *base;
	const struct role *role;
	unsigned instance;          /* 0.. */
	unsigned instances;         /* of this role */
	unsigned peers[ROLE_COUNT]; /* how many instances each peer role has */
	struct site *site;          /* current; replaced before `reload` is called */
	int fds[ROLE_FD_COUNT]; /* -1 where not given; a role that closes or takes one sets it to -1. Replaced before
	                           `reload` (the old one is closed). */
	/* login, smtp: for tls_server_set_ticket_key; the same in all instances of a role, new every 12 h (then
	 * `reload` is called). */
	unsigned char ticket_key[ROLE_TICKET_KEY_LEN];
	void *state; /* the role's own */
};

struct listener {
	int fd;
	enum service service;
	bool local; /* the submission socket of `mailadm sendmail` (AF_UNIX; SO_PEERCRED says who) */
};

struct role {
	enum role_id id;
	const char *name; /* "smtp" */
	const char *user; /* "mailadm-smtp" */
	/* First of all callbacks, before the sandbox: allocate state, open what must be open.  site and fds are there. */
	int (*init)(struct role_ctx *, struct error *);
	void (*sandbox)(struct role_ctx *, struct sandbox *); /* adds to the defaults (user, no rights) */
	void (*start)(struct role_ctx *);                     /* after the sandbox */
	/* ctx->site, ctx->fds or ctx->ticket_key changed; sessions keep what they had referenced. */
	void (*reload)(struct role_ctx *);
	/*
	 * A channel (first or again); the callee owns fd.  Store and guard also get ROLE_MONITOR here: each is one
	 * command line's administration channel (store_admin_*, guard/proto.h), many may live at once.
	 */
	void (*peer)(struct role_ctx *, enum role_id, unsigned instance, int fd);
	/* During setup, and when a reload opens one: the callee owns fd. */
	void (*listener)(struct role_ctx *, const struct listener *);
	/*
	 * A reload changed this service: close all its listeners (not `local` ones).  Those that stay come again by
	 * `listener`.  NULL: the role is restarted.
	 */
	void (*unlisten)(struct role_ctx *, enum service);
	/* SIGTERM: stop accepting, finish what is acknowledged, then role_exit.  NULL: exit at once. */
	void (*drain)(struct role_ctx *);
	/*
	 * Adds `"sessions": 3, "queued": 1` (no comma at either end, at most ROLE_STATUS_MAX) for `mailadm status`; may
	 * be NULL.
	 */
	void (*status)(struct role_ctx *, struct buf *json_members);
	/* smtp 0: mail this to site->admin.contact; else NULL. */
	void (*alert)(struct role_ctx *, const char *key, const char *text);
};

extern const struct role role_auth, role_hash, role_store, role_login, role_imap, role_smtp, role_resolver, role_keys,
    role_send, role_guard, role_fts, role_fetch;
const struct role *role_by_id(enum role_id); /* NULL for monitor */
const char *role_name(enum role_id);
/* The peer matrix: who may talk to whom.  Symmetric; ARCHITECTURE.md prints it from here. */
bool role_may_talk(enum role_id, enum role_id);
/* Of two that may talk, only the one that serves may have the other ended: never an exposed role the one it asks. */
bool role_may_kill(enum role_id by, enum role_id peer);

int role_main(const struct role *); /* the whole life; returns the exit status */
/*
 * login, smtp: a TLS context from the ROLE_FD_TLS that monitor sent (closed and cleared) and the ticket key. NULL with
 * *e filled, also when none was sent.
 */
SSL_CTX *role_take_tls(struct role_ctx *, struct view alpn, struct error *e);
void role_exit(struct role_ctx *);  /* leaves the event loop */
/* Something the administrator must hear (disk full, cannot send ...): logged, and mailed to `admin` at most once an
 * hour a key. */
void role_alert(struct role_ctx *, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* auth: logins taught it better keys than the credentials file has (role_proto.h); monitor writes them there. */
void role_credentials(struct role_ctx *, struct view learned);
/*
 * Whoever closes the channel of a peer that may still live, because it broke the protocol or does not keep up, says so
 * here: monitor kills that process and starts it again with new channels to all.  Else it would stay without this
 * service for ever.  why is a constant.  Only for peers of role_may_kill; nothing happens when it died meanwhile.
 */
void role_kill_peer(struct role_ctx *, enum role_id, unsigned instance, const char *why);

#endif
