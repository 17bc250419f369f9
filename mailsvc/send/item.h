/* A queue entry in hand: what store gave, and what has become of each recipient so far. */
#ifndef MAILSVC_SEND_ITEM_H
#define MAILSVC_SEND_ITEM_H

#include <sys/queue.h>

#include "mailsvc/store/client.h"

struct recipient {
	char *address;
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
	char *sender, *domain;
	bool smtputf8, eight_bit, bounce;
	struct view message; /* mapped */
	struct recipient *recipients;
	size_t count;

	int64_t not_before; /* the next try is not earlier; 0: as its age says */
	bool postponed;     /* not tried at all, for want of room: its time does not run out by that */
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
bool item_settled(const struct item *);                     /* all recipients */
size_t item_count(const struct item *, enum queue_outcome); /* settled so */
/* Forgets the temporary failures, so that another host can be asked. */
void item_unsettle_retries(struct item *);

#endif
