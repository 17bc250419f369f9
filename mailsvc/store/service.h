/* The store role's own state: channels, the commit thread, the queue's hand-outs, administration. Event loop only. */
#ifndef MAILSVC_STORE_SERVICE_H
#define MAILSVC_STORE_SERVICE_H

#include <sys/queue.h>

#include "body.h"
#include "commit.h"
#include "mailsvc/role.h"

#define PENDING_BYTES_MAX (256ull << 20) /* of requests not yet answered */
#define PENDING_MAX 65536
#define ADMIN_CHANNELS_MAX 64
#define ADMIN_READERS_MAX 16 /* of them with a reader's page */
#define IN_FLIGHT_BYTES_MAX (512ull << 20) /* of messages handed out to a peer: they are memory until it is done */

struct keeper; /* the role's whole state */

struct entries { /* a small set of queue entries */
	struct entry {
		uint64_t id, bytes;
	} * at;
	size_t count, size;
};

struct channel {
	TAILQ_ENTRY(channel) link;
	struct keeper *service;
	struct chan *chan;
	uint64_t serial; /* of the channel: requests find it again, or not */
	enum role_id role;
	unsigned instance;
	int slot; /* of its epoch page, or -1 */
	bool holds; /* the log's files (compact.h): a snapshot was listed */
	/* send: */
	uint32_t credit;
	struct entries in_flight; /* handed out and not resulted */
	uint64_t in_flight_bytes;
};
TAILQ_HEAD(channels, channel);

struct early { /* a channel that came before start */
	enum role_id role;
	unsigned instance;
	int fd;
};

struct keeper {
	struct role_ctx *ctx;
	struct engine engine;
	struct epoch_shared *shared;
	int shared_fd;
	struct readers readers;
	struct commit *commit; /* NULL before start */
	struct body_reader bodies;
	struct channels channels;
	uint64_t last_serial;
	unsigned admin_channels;
	struct early *early;
	size_t early_count;
	uint64_t pending_bytes, pending;
	struct entries resulting;  /* those whose result is with the commit thread */
	struct entries unreadable; /* those whose message is damaged: told once, and left alone until the next start */
	uint64_t in_flight_max;    /* IN_FLIGHT_BYTES_MAX; less in tests */
	uint64_t troubled;         /* ms: when it was last told that the log cannot be written; 0: never */
	struct event *tick, *queue_timer, *changed_timer, *drain_timer;
	uint32_t *changed; /* mailboxes that imap is still to be told of */
	size_t changed_count, changed_size;
	uint64_t changed_sent; /* ms */
	uint64_t drain_until; /* ms; 0: not draining */
};

struct channel *channel_find(struct keeper *, uint64_t serial);
void channel_close(struct channel *);
/* The same of a peer that may live: monitor starts it again.  A command line's channel is just closed. */
void channel_kill(struct channel *, const char *why);
/* Takes r over; answers STORE_UNAVAILABLE when too much is pending. */
void service_submit(struct channel *, struct request *);

/* queue.c */
void queue_pump(struct keeper *); /* hands out what is due while there is credit, and sets the timer */
bool queue_in_flight(const struct keeper *, uint64_t id);
void queue_taken_back(struct channel *, uint64_t id); /* resulted: no longer in flight */
/* Between a result's arrival and its commit, also when its sender died meanwhile: not to be handed out again. */
void queue_result_begins(struct keeper *, uint64_t id);
void queue_result_ends(struct keeper *, uint64_t id);
/* The message of an entry as a sealed memfd; -1. */
int queue_message(struct keeper *, struct tx *, const struct queue_entry *, uint64_t *size);

/* admin.c */
void admin_message(struct channel *, struct imsg *);
void admin_done(struct channel *, struct request *);

extern const struct role role_store;

#endif
