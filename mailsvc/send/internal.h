/* What the modules of the send role share: the role's state, destinations, workers. */
#ifndef MAILSVC_SEND_INTERNAL_H
#define MAILSVC_SEND_INTERNAL_H

#include "client.h"
#include "item.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/role.h"
#include "route.h"
#include "site/secrets.h"
#include "sts.h"
#include "tls_policy.h"

#define DESTINATION_WORKERS 4 /* connections that a new destination may have; hop.connections at most */
#define DESTINATIONS_MAX 10000 /* remembered; beyond, idle ones are forgotten early */
#define REUSE_MESSAGES 100     /* a connection carries at most */
#define REUSE_IDLE_S 5
#define REUSE_MS (10 * 60 * 1000)   /* and begins none when it is older */
#define ATTEMPT_MS (30 * 60 * 1000) /* an item goes on to no other address when it was carried around for so long */
#define DESTINATION_BUCKETS 1024
#define DESTINATION_TOLD_MAX 16
#define SEND_PORTS_MAX 128

struct route_ref { /* what a lookup found; workers keep the one they began with */
	unsigned references;
	struct mx_route route;
};

struct worker;
struct destination {
	LIST_ENTRY(destination) bucket;
	TAILQ_ENTRY(destination) entry; /* all */
	struct send *send;
	char *key;      /* hop_key */
	struct hop hop; /* where, how, how much at once */
	char *domain;   /* of the item that it was made for */
	bool no_chunking;        /* some host of it offers BDAT and does not know it */
	unsigned window, taken;  /* connections it may have now; messages taken since that changed */
	unsigned ceiling;        /* connections that it let stand when it refused another, */
	uint64_t ceiling_until;  /* monotonic ms: and for how long no more are tried */
	uint64_t next_at;        /* monotonic ms: with hop.rate, when the next message may begin */
	struct event *pace;      /* then */
	int64_t turn;            /* wall ms: of the last message that was put off for the rate's sake */
	char *told[DESTINATION_TOLD_MAX]; /* domains that store knows are away */
	size_t told_count;
	int64_t told_until; /* the dead_until that it was told */
	struct item_queue waiting;
	size_t waiting_count;
	LIST_HEAD(, worker) workers;
	unsigned worker_count;
	bool looking_up;
	uint64_t progress_at;          /* monotonic ms: an item ended, or the first one came */
	struct route_ref *route;       /* NULL: look it up first */
	uint64_t route_until;          /* monotonic ms */
	unsigned failures;             /* attempts in a row that reached nobody */
	int64_t failed_at, dead_until; /* wall seconds; 0: not known to be away */
	char reason[512];              /* why */
};

struct worker { /* one connection, and the item it carries */
	LIST_ENTRY(worker) entry;
	struct destination *destination;
	struct route_ref *route;
	size_t at; /* index of the address being tried */
	struct tls_lookup *asking;       /* for the policy of that address: no client yet */
	const struct tls_policy *policy; /* of the client, which owns it; NULL: none */
	struct smtp_client *client;
	struct item *item;
	bool ready;             /* between transactions */
	bool plain;             /* TLS failed with this address: without */
	bool insists;           /* plain is no alternative there */
	bool reached;           /* some host answered for this item */
	bool stale;             /* of before a reload: ends with its item */
	bool retrying;          /* the connection that was reused was dead: a new one to the same address */
	unsigned carried;       /* messages, on this connection */
	uint64_t item_since;    /* monotonic ms */
	const char **addresses; /* of the transaction */
	size_t *map;            /* its recipients -> the item's */
	struct queue_dsn *dsn;  /* and what was asked for them */
	struct event *idle;
	char relay_text[384]; /* host[address]:port */
};

struct send {
	struct role_ctx *ctx;
	struct event_base *base;
	struct store_client *store;
	struct dns_client *dns;
	struct keys_client *keys;
	SSL_CTX *tls, *tls_verify; /* any certificate or DANE; with the trust store, NULL when there is none */
	struct fetch_client *fetch;
	struct sts_cache *sts_cache;
	struct sts *sts;
	struct tls_policies tls_policies;
	struct tls_count *tls_count;
	struct tls_count_file *tls_count_file; /* NULL: they are not kept */
	struct event *tls_save;                /* they are written then */
	char *trust_file; /* that tls_verify was made from */
	struct secrets secrets; /* passwords of routes */

	uint16_t ports[SEND_PORTS_MAX]; /* that the sandbox was made for */
	size_t port_count;

	bool attached, draining;
	LIST_HEAD(, item) items;              /* in hand */
	unsigned in_hand, credit, credit_max; /* in_hand + credit, what store may still push, is credit_max */
	TAILQ_HEAD(, destination) destinations;
	LIST_HEAD(, destination) buckets[DESTINATION_BUCKETS];
	size_t destination_count;
	unsigned connections;
	struct event *kick, *sweep, *again;
	struct verify *verify; /* verify.h */
	uint64_t delivered, deferred, bounced;
};

/* send.c: reports what became of every recipient; the item is store's again, and freed once store has said so. */
void send_finish(struct send *, struct item *);
void send_work_ended(struct send *); /* a worker went: others may start, or a drain may be over */

/* destination.c */
void destination_submit(struct send *, struct item *);
void destination_run(struct destination *);
void destination_reached(struct destination *);                       /* somebody there answers */
void destination_unreached(struct destination *, const char *reason); /* nobody does */
struct item *destination_next(struct destination *);                  /* takes one that waits and may begin now, or NULL */
void destination_taken(struct destination *);                         /* a message was taken: more connections may pay */
void destination_troubled(struct destination *);                      /* a connection broke, or it says 421: fewer */
/*
 * The worker could not connect.  While others of the destination stand or still try, its item waits for one of them and
 * there will be no more of them for a while: true, and the item is no longer the worker's.
 */
bool destination_put_back(struct destination *, const struct worker *);
bool destination_crowded(const struct destination *);                 /* it has more connections than it may */
void destination_run_all(struct send *);
void destination_store_forgot(struct send *); /* which destinations are away */
void destination_relieve(struct send *); /* takes back the places that a stalled one holds */
void destination_sweep(struct send *);   /* forgets idle ones */
void destination_retire(struct send *);  /* a drain or a reload: idle connections end, the others with their item */
void route_unref(struct route_ref *);

/* send_tls.c */
int send_tls_init(struct send *, struct error *); /* after s->dns */
bool send_tls_reload(struct send *); /* false: it takes a new process */
/* How must that host of the hop be secured?  secure: DNSSEC proves which hosts those by MX are. */
struct tls_lookup *send_tls_lookup(struct send *, const struct hop *, const struct mx_address *to, bool secure,
    void (*fn)(void *arg, struct tls_policy *), void *arg);
/* A client for that host, as all settings say; policy as in the setup, to stays the caller's. */
struct smtp_client_setup send_setup(
    const struct send *, const struct hop *, const struct mx_address *to, struct tls_policy *policy);
/* A session, or one that was not even tried, is counted; tls is "TLSv1.3" or "none". */
void send_tls_count(struct send *, const struct tls_policy *, enum tls_result, const struct mx_address *, const char *tls,
    const char *reason);
void send_tls_save(struct send *); /* the counts, now */

/* worker.c */
void worker_start(struct destination *, struct item *);
bool worker_take(struct destination *, struct item *); /* an idle connection carries it; false: there is none */
void worker_free(struct worker *);

#endif
