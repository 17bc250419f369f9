/* What auth.c (the role: peers and messages), check.c (deciding), exchange.c (SCRAM) and learn.c (better keys) share.
 */
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
#define CHECKS_MAX 8192    /* unanswered, delayed ones included */
#define CHECKS_KNOWN 2048  /* more for who logged in before, which strangers cannot take */
#define EXCHANGES_MAX 8192 /* of SCRAM between its two messages; the oldest gives way */
#define EXCHANGE_LIFE_S 60
#define LEARNED_DELAY_MS 1000 /* so that many logins cost one change of the file */
#define FAILED_DELAY_MS 1000  /* from the request to the answer of a failed check */

/* Where an answer goes.  A peer that has a new channel meanwhile gets no answers of its former one. */
struct asker {
	enum role_id role;
	unsigned instance;
	unsigned generation;
	uint32_t id;
};

struct exchange;
struct job;
struct check {                    /* one CHECK until its answer */
	TAILQ_ENTRY(check) entry; /* of its job */
	struct auth *auth;
	struct asker asker;
	enum protocol protocol;
	struct source source;
	char account[ADDRESS_MAX];     /* normalised; "" when it is no address */
	char tried[ADDRESS_MAX];       /* as it came, for the log */
	struct digest wrong;           /* what a failure is remembered by */
	uint64_t asked;                /* clock_mono_ms */
	struct event *timer;           /* of the delayed answer */
	struct auth_answer answer;     /* that it will carry */
	char proof[SCRAM_MESSAGE_MAX]; /* SCRAM: server-final-message, for when it is admitted */
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
	TAILQ_HEAD(, job) jobs;                        /* queued or being hashed */
	TAILQ_HEAD(exchange_list, exchange) exchanges; /* newest first */
	size_t exchange_count;
	uint64_t last_exchange;
	uint8_t salt_secret[CREDENTIALS_SECRET_LEN]; /* where the credentials file has none */
	struct buf learned;                          /* of ROLE_MSG_CREDENTIALS, until the timer sends it */
	size_t learned_count;
	struct event *learned_timer;
	bool scram; /* as it was told in FEATURES */
	size_t check_count;
	struct worker workers[ROLE_INSTANCES_MAX];
	struct asking_peer peers[ROLE_COUNT][ROLE_INSTANCES_MAX];
	uint64_t logins, refusals;
};

/* auth.c */
void auth_send(struct auth *, const struct asker *, const struct auth_answer *);

void auth_tell_features(struct auth *); /* login and smtp hear when they have changed */
const uint8_t *auth_salt_secret(const struct auth *);

/* learn.c */
unsigned learn_wants(const struct auth *, const char *account); /* enum hash_wants */
/* What a hash process made of a right password: in force at once, and with monitor soon. */
void learn_take(struct auth *, const char *account, const char *hash, const char *keys);
void learn_keep_former(const struct credentials *old, struct credentials *new); /* at a reload */

/* exchange.c */
void exchange_begin(struct auth *, const struct asker *, enum protocol, struct view message, const struct scram_channel *,
    const struct source *);
void exchange_end(struct auth *, const struct asker *, uint64_t id, struct view message);

/* check.c */
/* A check that waits for its answer, counted; NULL: too many do, and the answer is given. */
struct check *check_new(struct auth *, const struct asker *, enum protocol, struct view user, const struct source *,
    enum throttle_answer *);
/* These end it. Stopped: by throttling. */
void check_admit(struct check *);
void check_deny(struct check *);
void check_stopped(struct check *);
void check_free(struct check *);
int64_t check_now(void); /* seconds, as tables count */
void check_begin(
    struct auth *, const struct asker *, enum protocol, struct view user, struct view password, const struct source *);
void check_redeem(struct auth *, const struct asker *, const uint8_t ticket[AUTH_TICKET_LEN]);
void check_kick(struct auth *); /* idle workers take what is queued */

#endif
