/* What auth.c (the role: peers and messages) and check.c (deciding) share. */
#ifndef MAILSVC_AUTH_INTERNAL_H
#define MAILSVC_AUTH_INTERNAL_H

#include "mailsvc/auth/auth_proto.h"
#include "mailsvc/auth/hashqueue.h"
#include "mailsvc/auth/table.h"
#include "mailsvc/auth/throttle.h"
#include "mailsvc/auth/ticket.h"
#include "mailsvc/guard/client.h"
#include "mailsvc/role.h"

#define CACHE_MAX 10000
#define CACHE_LIFE_S 600
#define CHECKS_MAX 8192      /* unanswered, delayed ones included */
#define CHECKS_KNOWN 2048    /* more for who logged in before, which strangers cannot take */
#define FAILED_DELAY_MS 1000 /* from the request to the answer of a failed check */

/* Where an answer goes.  A peer that has a new channel meanwhile gets no answers of its former one. */
struct asker {
	enum role_id role;
	unsigned instance;
	unsigned generation;
	uint32_t id;
};

struct job;
struct check {                    /* one CHECK until its answer */
	TAILQ_ENTRY(check) entry; /* of its job */
	struct auth *auth;
	struct asker asker;
	enum protocol protocol;
	struct source source;
	char account[ADDRESS_MAX]; /* normalised; "" when it is no address */
	char tried[ADDRESS_MAX];   /* as it came, for the log */
	struct digest wrong;       /* what a failure is remembered by */
	uint64_t asked;            /* clock_mono_ms */
	struct event *timer;       /* of the delayed answer */
	struct auth_answer answer; /* that it will carry */
};

struct job { /* one password being hashed, for all checks that wait for the same */
	struct hashqueue_job queued;
	TAILQ_ENTRY(job) entry;
	TAILQ_HEAD(, check) checks;
	struct digest right; /* of account, password and hash: the cache's key */
	bool real;           /* the account exists; else a hash was made for the time's sake */
	bool retried;        /* its first worker died */
	struct view password;
	char hash[CREDENTIALS_HASH_MAX];
	char account[ADDRESS_MAX];
	struct source source;
};

struct worker {
	struct auth *auth;
	struct rpc *rpc;
	struct job *job; /* NULL: idle */
};

struct asking_peer {
	struct auth *auth;
	struct chan *chan;
	enum role_id role;
	unsigned instance, generation;
};

struct auth {
	struct role_ctx *ctx;
	uint8_t key[DIGEST_LEN]; /* random at each start */
	struct credentials credentials;
	struct throttle *throttle;
	struct table *cache;
	struct hashqueue *queue;
	struct tickets *tickets;
	struct guard_client *guard;
	TAILQ_HEAD(, job) jobs; /* queued or being hashed */
	size_t check_count;
	struct worker workers[ROLE_INSTANCES_MAX];
	struct asking_peer peers[ROLE_COUNT][ROLE_INSTANCES_MAX];
	uint64_t logins, refusals;
};

/* auth.c */
void auth_send(struct auth *, const struct asker *, const struct auth_answer *);

/* check.c */
void check_begin(
    struct auth *, const struct asker *, enum protocol, struct view user, struct view password, const struct source *);
void check_redeem(struct auth *, const struct asker *, const uint8_t ticket[AUTH_TICKET_LEN]);
void check_kick(struct auth *); /* idle workers take what is queued */

#endif
