/* The store role's own state: channels, the commit thread, the queue's hand-outs, administration. Event loop only. */
#ifndef MAILSVC_STORE_SERVICE_H
#define MAILSVC_STORE_SERVICE_H

#include <sys/queue.h>

#include "body.h"
#include "commit.h"
#include "mailsvc/role.h"
#include "queue_order.h"

#define PENDING_BYTES_MAX (256ull << 20) /* of requests not yet answered */
#define PENDING_MAX 65536
#define ADMIN_CHANNELS_MAX 64
#define ADMIN_READERS_MAX 16               /* of them with a reader's page */
#define IN_FLIGHT_BYTES_MAX (512ull << 20) /* of messages handed out to a peer: they are memory until it is done */

struct keeper; /* the role's whole state */

struct entries { /* a small set of queue entries */
	struct entry {
		uint64_t id, bytes;
		struct destination *destination; /* of what is in flight */
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
	int slot;   /* of its epoch page, or -1 */
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
	struct queue_order order;
	uint64_t order_scanned; /* ms: when the index was last walked for destinations */
	struct entries wanted;  /* by the administrator, at once */
	uint64_t in_flight_max; /* IN_FLIGHT_BYTES_MAX; less in tests */
	uint64_t troubled;      /* ms: when it was last told that the log cannot be written; 0: never */
	struct event *tick, *queue_timer, *changed_timer, *drain_timer;
	uint32_t *changed; /* mailboxes that imap is still to be told of */
	size_t changed_count, changed_size;
	uint64_t changed_sent; /* ms */
	uint64_t drain_until;  /* ms; 0: not draining */
};

struct channel *channel_find(struct keeper *, uint64_t serial);
void channel_close(struct channel *);
/* The same of a peer that may live: monitor starts it again.  A command line's channel is just closed. */
void channel_kill(struct channel *, const char *why);
/* Takes r over; answers STORE_UNAVAILABLE when too much is pending. */
void service_submit(struct channel *, struct request *);

/* queue.c */
void queue_pump(struct keeper *);  /* hands out what is due while there is credit, and sets the timer */
void queue_timer(struct keeper *); /* something is due, or a while has passed */
void queue_start(struct keeper *);
void queue_end(struct keeper *);
uint64_t queue_length(struct keeper *);                     /* entries, held ones too */
void queue_news(struct keeper *, const struct buf *queued); /* from the commit thread */
void queue_reload(struct keeper *);                         /* ways may have changed: nothing is known to be away */
void queue_channel_closed(struct channel *);                /* what it had goes out again */
/* That destination's entries wait until then; 0: no longer. */
void queue_defer(struct keeper *, struct view destination, int64_t until, struct view reason);
/* Until when they do; 0: they do not. */
int64_t queue_away(const struct keeper *, struct view destination, const char **reason);
/*
 * The administrator wants that entry tried, or (0) those that the changed ones stand with, also where their destination is
 * away.
 */
void queue_wanted(struct keeper *, uint64_t entry, const struct name_set *destinations);
bool queue_in_flight(const struct keeper *, uint64_t id);
void queue_taken_back(struct channel *, uint64_t id); /* resulted: no longer in flight */
/* Between a result's arrival and its commit, also when its sender died meanwhile: not to be handed out again. */
void queue_result_begins(struct keeper *, uint64_t id);
void queue_result_ends(struct keeper *, uint64_t id, bool kept); /* kept: the entry is as it says now */
/* The memory of an entry's message, the caller's to free; NULL when it cannot be read. */
char *queue_message(struct keeper *, struct tx *, const struct queue_entry *, struct view *message);

/* admin.c */
void admin_message(struct channel *, struct imsg *);
void admin_done(struct channel *, struct request *);
#define ADMIN_JSON_MAX (256u << 20)
/* A JSON string: what is not well-formed UTF-8 is replaced, byte by byte. */
void admin_json_string(struct buf *, struct view);
/* found: 0 not there, 1 yes, 2 json is an error's text */
void admin_answer(struct channel *, uint32_t id, uint8_t found, struct view json, struct view message);

/* admin_queue.c */
void admin_queue_list(struct channel *, struct tx *, uint32_t id, const struct proto_request *);
/* place: the key of T_QUEUE_OF that the page before ended with, or nothing */
void admin_queue_summary(struct channel *, struct tx *, uint32_t id, struct view place);
void admin_queue_show(struct channel *, struct tx *, uint32_t id, uint64_t entry);
void admin_queue_changed(struct channel *, struct request *);

extern const struct role role_store;

#endif
