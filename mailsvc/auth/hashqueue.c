/* hashqueue.h: two rings of sources, each source with its own line of jobs. */
#include "mailsvc/auth/hashqueue.h"

#include <stdlib.h>
#include <string.h>

struct hashqueue_source {
	TAILQ_ENTRY(hashqueue_source) turn;
	TAILQ_HEAD(, hashqueue_job) jobs;
	size_t count;
	uint8_t key[SOURCE_KEY_MAX];
	size_t length;
};
TAILQ_HEAD(ring, hashqueue_source);

struct hashqueue {
	struct ring rings[2]; /* known, others */
	size_t count;
};

struct hashqueue *hashqueue_new(void)
{
	struct hashqueue *q = xcalloc(1, sizeof(*q));

	TAILQ_INIT(&q->rings[0]);
	TAILQ_INIT(&q->rings[1]);
	return q;
}

void hashqueue_free(struct hashqueue *q)
{
	if (q == NULL)
		return;
	while (hashqueue_pop(q) != NULL)
		continue;
	free(q);
}

static struct hashqueue_source *find(struct ring *ring, const struct source *source)
{
	struct hashqueue_source *s;

	TAILQ_FOREACH(s, ring, turn)
	{
		if (s->length == source->length && memcmp(s->key, source->key, source->length) == 0)
			return s;
	}
	return NULL;
}

int hashqueue_push(struct hashqueue *q, struct hashqueue_job *job, const struct source *source, bool known)
{
	struct ring *ring = &q->rings[known ? 0 : 1];
	struct hashqueue_source *s = find(ring, source);
	size_t max = known ? HASHQUEUE_MAX + HASHQUEUE_KNOWN : HASHQUEUE_MAX;

	if (q->count >= max || (s != NULL && s->count >= HASHQUEUE_SOURCE_MAX && !source->loopback))
		return -1;
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		TAILQ_INIT(&s->jobs);
		memcpy(s->key, source->key, sizeof(s->key));
		s->length = source->length;
		TAILQ_INSERT_TAIL(ring, s, turn);
	}
	TAILQ_INSERT_TAIL(&s->jobs, job, entry);
	job->source = s;
	s->count++;
	q->count++;
	return 0;
}

struct hashqueue_job *hashqueue_pop(struct hashqueue *q)
{
	struct ring *ring = !TAILQ_EMPTY(&q->rings[0]) ? &q->rings[0] : &q->rings[1];
	struct hashqueue_source *s = TAILQ_FIRST(ring);
	struct hashqueue_job *job;

	if (s == NULL)
		return NULL;
	job = TAILQ_FIRST(&s->jobs);
	TAILQ_REMOVE(&s->jobs, job, entry);
	job->source = NULL;
	q->count--;
	TAILQ_REMOVE(ring, s, turn);
	if (--s->count > 0)
		TAILQ_INSERT_TAIL(ring, s, turn); /* its next turn is behind all others */
	else
		free(s);
	return job;
}

size_t hashqueue_length(const struct hashqueue *q)
{
	return q->count;
}
