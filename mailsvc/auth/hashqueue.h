/*
 * The order in which passwords are hashed: sources take turns, those known to be good before all others; a source has a
 * bounded number in the queue, and so has the queue.
 */
#ifndef MAILSVC_AUTH_HASHQUEUE_H
#define MAILSVC_AUTH_HASHQUEUE_H

#include <sys/queue.h>

#include "mailsvc/auth/source.h"

#define HASHQUEUE_MAX 512
#define HASHQUEUE_KNOWN 128 /* places beyond it, which strangers cannot take */
#define HASHQUEUE_SOURCE_MAX 16

struct hashqueue_source;
struct hashqueue_job { /* embed it first in the caller's */
	TAILQ_ENTRY(hashqueue_job) entry;
	struct hashqueue_source *source; /* NULL: not queued */
};

struct hashqueue;
struct hashqueue *hashqueue_new(void);
void hashqueue_free(struct hashqueue *); /* jobs are the caller's */
/* -1: the queue, or this source's share of it, is full (loopback has no share of its own). */
int hashqueue_push(struct hashqueue *, struct hashqueue_job *, const struct source *, bool known);
struct hashqueue_job *hashqueue_pop(struct hashqueue *);
size_t hashqueue_length(const struct hashqueue *);

#endif
