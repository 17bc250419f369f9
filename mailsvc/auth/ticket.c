/* ticket.h: a list in order of issue, newest first, since a ticket is redeemed within milliseconds. */
#include "mailsvc/auth/ticket.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct ticket {
	TAILQ_ENTRY(ticket) entry;
	uint8_t id[AUTH_TICKET_LEN];
	int64_t expires;
	enum protocol protocol;
	char address[ADDRESS_MAX];
};

struct tickets {
	TAILQ_HEAD(ticket_list, ticket) list;
	size_t count;
};

struct tickets *tickets_new(void)
{
	struct tickets *t = xcalloc(1, sizeof(*t));

	TAILQ_INIT(&t->list);
	return t;
}

static void drop(struct tickets *t, struct ticket *one)
{
	TAILQ_REMOVE(&t->list, one, entry);
	t->count--;
	free(one);
}

static void expire(struct tickets *t, int64_t now)
{
	struct ticket *oldest;

	while (
	    (oldest = TAILQ_LAST(&t->list, ticket_list)) != NULL && (oldest->expires <= now || t->count >= TICKETS_MAX))
		drop(t, oldest);
}

void tickets_free(struct tickets *t)
{
	if (t == NULL)
		return;
	while (!TAILQ_EMPTY(&t->list))
		drop(t, TAILQ_FIRST(&t->list));
	free(t);
}

int ticket_issue(
    struct tickets *t, const char *address, enum protocol protocol, int64_t now, uint8_t out[AUTH_TICKET_LEN])
{
	struct ticket *one;

	expire(t, now);
	one = xcalloc(1, sizeof(*one));
	if (RAND_bytes(one->id, sizeof(one->id)) != 1 ||
	    view_copy(view_of(address), one->address, sizeof(one->address)) < 0) {
		free(one);
		return -1;
	}
	one->expires = now + TICKET_LIFE_S;
	one->protocol = protocol;
	TAILQ_INSERT_HEAD(&t->list, one, entry);
	t->count++;
	memcpy(out, one->id, sizeof(one->id));
	return 0;
}

int ticket_redeem(struct tickets *t, const uint8_t id[AUTH_TICKET_LEN], int64_t now, char address[ADDRESS_MAX],
    enum protocol *protocol)
{
	struct ticket *one;
	int r;

	TAILQ_FOREACH(one, &t->list, entry)
	{
		if (secret_eq(one->id, sizeof(one->id), id, AUTH_TICKET_LEN))
			break;
	}
	if (one == NULL)
		return -1;
	r = one->expires > now ? 0 : -1;
	memcpy(address, one->address, ADDRESS_MAX);
	*protocol = one->protocol;
	drop(t, one);
	return r;
}
