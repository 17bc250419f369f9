/* What the modules of the send role share: the role's state, destinations, workers. */
#ifndef MAILSVC_SEND_INTERNAL_H
#define MAILSVC_SEND_INTERNAL_H

#include "client.h"
#include "item.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/role.h"

#define DESTINATION_WORKERS 4
#define DESTINATIONS_MAX 10000 /* remembered; beyond, idle ones are forgotten early */
#define REUSE_MESSAGES 100     /* a connection carries at most */
#define REUSE_IDLE_S 5
#define DESTINATION_BUCKETS 1024

struct route_ref { /* what a lookup found; workers keep the one they began with */
	unsigned references;
	struct mx_route route;
};

struct worker;
struct destination {
	LIST_ENTRY(destination) bucket;
	TAILQ_ENTRY(destination) entry; /* all */
	struct send *send;
	char *key;  /* the domain, or "relay HOST PORT" */
	char *name; /* what is looked up */
	bool relay; /* a smarthost: no MX lookup */
	uint16_t port;
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
	struct smtp_client *client;
	struct item *item;
	bool ready;             /* between transactions */
	bool plain;             /* TLS failed with this address: without */
	bool reached;           /* some host answered for this item */
	bool stale;             /* of before a reload: ends with its item */
	bool retrying;          /* the connection that was reused was dead: a new one to the same address */
	unsigned carried;       /* messages, on this connection */
	const char **addresses; /* of the transaction */
	size_t *map;            /* its recipients -> the item's */
	struct event *idle;
	char relay_text[384]; /* host[address]:port */
};

struct send {
	struct role_ctx *ctx;
	struct event_base *base;
	struct store_client *store;
	struct dns_client *dns;
	struct keys_client *keys;
	SSL_CTX *tls, *tls_verify;
	char *password;                  /* of the smarthost, "" none */
	struct sockaddr_storage from[2]; /* IPv4, IPv6 */
	socklen_t from_len[2];           /* 0: let the kernel choose */

	int port, port_out; /* that the sandbox was made for */

	bool attached, draining;
	LIST_HEAD(, item) items;              /* in hand */
	unsigned in_hand, credit, credit_max; /* in_hand + credit, what store may still push, is credit_max */
	TAILQ_HEAD(, destination) destinations;
	LIST_HEAD(, destination) buckets[DESTINATION_BUCKETS];
	size_t destination_count;
	unsigned connections;
	struct event *kick, *sweep, *again;
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
struct item *destination_next(struct destination *);                  /* takes one that waits, or NULL */
void destination_run_all(struct send *);
void destination_relieve(struct send *); /* takes back the places that a stalled one holds */
void destination_sweep(struct send *);   /* forgets idle ones */
void destination_retire(struct send *);  /* a drain or a reload: idle connections end, the others with their item */
void route_unref(struct route_ref *);

/* worker.c */
void worker_start(struct destination *, struct item *);
bool worker_take(struct destination *, struct item *); /* an idle connection carries it; false: there is none */
void worker_free(struct worker *);

#endif
