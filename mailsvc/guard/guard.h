/* The guard role: what its files share. */
#ifndef MAILSVC_GUARD_GUARD_H
#define MAILSVC_GUARD_GUARD_H

#include "fwgen/bans.h"
#include "mailsvc/guard/jail.h"
#include "mailsvc/guard/never.h"
#include "mailsvc/guard/proto.h"
#include "mailsvc/guard/state.h"
#include "mailsvc/role.h"

#define GUARD_ADMINS_MAX 16

struct guard_peer {
	struct guard *guard;
	struct chan *chan;
	enum role_id role;
	unsigned instance;
};

struct guard {
	struct role_ctx *ctx;
	struct jail *jail;
	struct never never;
	int machine; /* for never_add_machine */
	struct event *tick;
	/* The kernel's side (sync.c). */
	struct bans *kernel;  /* NULL: no netlink */
	bool aside;           /* the machine's firewall is left alone */
	char kernel_why[256]; /* why bans have no effect; "" : they have */
	bool compared;        /* kernel and jail agreed once: from then on a ban that is over here is over there */
	bool generation_known;
	uint32_t generation;
	uint64_t look_again;  /* clock_mono_ms: not before */
	int64_t clocks_apart; /* wall minus monotonic, seconds */
	/* The file's side. */
	bool unsaved, save_failed;
	uint64_t save_again;  /* clock_mono_ms: not before */
	uint64_t never_again; /* clock_mono_ms: the machine's addresses are asked for anew */
	uint64_t cap_logged;
	uint64_t offences, banned, spared, never_count, capped;
	struct guard_peer peers[ROLE_COUNT][ROLE_INSTANCES_MAX];
	struct guard_peer admins[GUARD_ADMINS_MAX];
};

/* sync.c */
/*
 * Makes kernel and jail agree when somebody else has changed the firewall since, or forced: what is missing there is
 * put back with the time it has left, what is there alone (we were killed before we wrote it down) is taken over.
 */
void guard_sync(struct guard *, bool forced);
/* One ban begins or ends now.  0, or -1 with why it has no effect yet. */
int guard_kernel_add(struct guard *, const struct jail_ban *, struct error *);
int guard_kernel_remove(struct guard *, const struct guard_source *, struct error *);
void guard_ban_of(const struct jail_ban *, int64_t now_ms, struct ban *out);

/* guard.c */
void guard_changed(struct guard *);                 /* writes soon */
int guard_save_now(struct guard *, struct error *); /* -1: it could not be written */

/* admin.c */
void guard_admin(struct guard *, int fd); /* a command line */

#endif
