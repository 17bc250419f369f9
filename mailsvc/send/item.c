/* Queue entries in hand.  Memory is the item's own: what store pushed is gone when its callback returns. */
#include "item.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct item *item_new(const struct queue_item *q)
{
	struct view message;
	int rc = memfd_map_sealed(q->message_fd, STORE_BODY_MAX, &message);

	close(q->message_fd);
	if (rc == -1)
		return NULL;
	struct item *it = xcalloc(1, sizeof(*it));
	it->id = q->id;
	it->created = q->created;
	it->attempts = q->attempts;
	it->sender = xstrdup(q->sender);
	it->domain = xstrdup(q->domain);
	it->smtputf8 = q->smtputf8;
	it->eight_bit = q->eight_bit;
	it->bounce = q->bounce;
	it->message = message;
	it->count = q->recipient_count;
	it->recipients = xcalloc(it->count + 1, sizeof(*it->recipients));
	for (size_t i = 0; i < it->count; i++)
		it->recipients[i].address = xstrdup(q->recipients[i]);
	return it;
}

static void forget(struct recipient *r)
{
	free(r->reply);
	free(r->remote);
	free(r->relay);
	r->reply = r->remote = r->relay = NULL;
	r->settled = false;
}

void item_free(struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		forget(&it->recipients[i]);
		free(it->recipients[i].address);
	}
	free(it->recipients);
	free(it->sender);
	free(it->domain);
	if (it->message.len > 0)
		munmap((void *)it->message.ptr, it->message.len);
	free(it);
}

void item_settle(struct item *it, size_t i, enum queue_outcome outcome, const char *reply, const char *remote,
    const char *relay, const char *tls)
{
	struct recipient *r = &it->recipients[i];

	forget(r);
	r->settled = true;
	r->outcome = outcome;
	r->reply = xstrdup(reply);
	r->remote = xstrdup(remote);
	r->relay = xstrdup(relay);
	snprintf(r->tls, sizeof(r->tls), "%s", tls);
}

void item_settle_rest(struct item *it, enum queue_outcome outcome, const char *reply)
{
	for (size_t i = 0; i < it->count; i++) {
		if (!it->recipients[i].settled)
			item_settle(it, i, outcome, reply, "", "none", "none");
	}
}

bool item_settled(const struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (!it->recipients[i].settled)
			return false;
	}
	return true;
}

size_t item_count(const struct item *it, enum queue_outcome outcome)
{
	size_t n = 0;

	for (size_t i = 0; i < it->count; i++)
		n += it->recipients[i].settled && it->recipients[i].outcome == outcome;
	return n;
}

void item_unsettle_retries(struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (it->recipients[i].settled && it->recipients[i].outcome == QUEUE_RETRY)
			forget(&it->recipients[i]);
	}
}
