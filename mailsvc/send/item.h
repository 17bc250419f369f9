/* A queue entry in hand: what store gave, and what has become of each recipient so far. */
#ifndef MAILSVC_SEND_ITEM_H
#define MAILSVC_SEND_ITEM_H

#include <sys/queue.h>

#include "mailsvc/store/client.h"

struct recipient {
	char *address;
	unsigned notify; /* dsn_notify, 0: not said */
	char *orcpt;     /* as it travels, "" none */
	bool later;      /* goes another way: not in hand until the others are settled */
	bool earlier;    /* went another way, and its result stands while the others go theirs */
	bool silent;     /* settled by a host that tells nobody about it (no DSN) */
	bool final;      /* by LMTP: delivered, not handed on */
	bool settled;
	enum queue_outcome outcome;
	char *reply;  /* the remote's words, or ours */
	char *remote; /* the host that said so, "" when the words are ours */
	char *relay;  /* for the log: host[address]:port, "none" */
	char tls[16];
};

struct item {
	LIST_ENTRY(item) entry;    /* all in hand */
	TAILQ_ENTRY(item) waiting; /* of its destination, until a worker takes it */
	uint64_t id;
	int64_t created;
	uint32_t attempts;
	bool wanted; /* by the administrator, now */
	char *sender, *domain;
	bool smtputf8, eight_bit, bounce;
	bool delay_told; /* the sender knows that it takes long */
	enum queue_priority priority;
	char *envid; /* as it travels, "" none */
	enum dsn_ret ret;
	char *route; /* "host:port" by `queue reroute`, "" none */
	struct view message;
	bool mapped; /* the message is a mapping, else of malloc */
	struct recipient *recipients;
	size_t count;

	int64_t not_before; /* the next try is not earlier; 0: as its age says */
	bool postponed;     /* not tried at all, for want of room: its time does not run out by that */
	unsigned put_back;  /* times that no connection was to be had for it while others worked */
	bool tell_delay;    /* the result comes with a word about the delay */
	bool soon;          /* the rest is to be handed out again at once */
	bool expired;       /* some recipients failed because their time ran out */
	bool finished;      /* every recipient has its result */
	bool resulted;      /* and store was told: waiting for its word */
	void *arg;          /* of whoever holds it */
};
TAILQ_HEAD(item_queue, item);

/* Takes over q->message_fd. NULL: the message cannot be mapped. */
struct item *item_new(const struct queue_item *q);
void item_free(struct item *);
void item_settle(struct item *, size_t recipient, enum queue_outcome, const char *reply, const char *remote,
    const char *relay, const char *tls);
/* Everybody without a result gets this one, in our own words. */
void item_settle_rest(struct item *, enum queue_outcome, const char *reply);
bool item_open(const struct item *, size_t recipient);      /* in hand, without a result */
bool item_settled(const struct item *);                     /* no recipient is open */
bool item_has_later(const struct item *);
size_t item_count(const struct item *, enum queue_outcome); /* settled so */
/* Those that go another way are in hand now, and no others. */
void item_turn(struct item *);
bool item_has_retries(const struct item *); /* among those in hand */
/* Forgets the temporary failures of those in hand, so that another host can be asked. */
void item_unsettle_retries(struct item *);

#endif
