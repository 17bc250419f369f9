/* Queue entries in hand.  Memory is the item's own: what store pushed is gone when its callback returns. */
#include "item.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "wash.h"

static void forget_message(struct item *it)
{
	if (it->mapped && it->message.len > 0)
		munmap((void *)it->message.ptr, it->message.len);
	else if (!it->mapped)
		free((void *)it->message.ptr);
}

/* In place of one that holds what must not leave (wash.h): a copy without it. */
static void wash(struct item *it)
{
	size_t strays = wash_count(it->message);
	char *copy;

	if (strays == 0)
		return;
	log_warnx("event=washed id=%016llx bytes=%zu reason=\"a CR, LF or NUL that ends no line became a space\"",
	    (unsigned long long)it->id, strays);
	copy = xmalloc(it->message.len);
	wash_copy(it->message, copy);
	forget_message(it);
	it->message.ptr = copy;
	it->mapped = false;
}

struct item *item_new(const struct queue_item *q)
{
	struct view message = VIEW_NONE;

	if (q->message_fd == -1) {
		message = (struct view){ view_dup(q->message), q->message.len };
	} else {
		int rc = memfd_map_sealed(q->message_fd, STORE_BODY_MAX, &message);

		close(q->message_fd);
		if (rc == -1)
			return NULL;
	}
	struct item *it = xcalloc(1, sizeof(*it));
	it->id = q->id;
	it->created = q->created;
	it->attempts = q->attempts;
	it->wanted = q->wanted;
	it->sender = xstrdup(q->sender);
	it->domain = xstrdup(q->domain);
	it->smtputf8 = q->smtputf8;
	it->eight_bit = q->eight_bit;
	it->bounce = q->bounce;
	it->message = message;
	it->mapped = q->message_fd != -1;
	wash(it);
	it->count = q->recipient_count;
	it->recipients = xcalloc(it->count + 1, sizeof(*it->recipients));
	it->delay_told = q->delay_told;
	it->priority = q->priority;
	it->envid = xstrdup(q->envid != NULL ? q->envid : "");
	it->ret = q->ret;
	it->route = xstrdup(q->route != NULL ? q->route : "");
	for (size_t i = 0; i < it->count; i++) {
		const struct queue_dsn *d = q->dsn != NULL ? &q->dsn[i] : NULL;
		it->recipients[i].address = xstrdup(q->recipients[i]);
		it->recipients[i].notify = d != NULL ? d->notify : 0;
		it->recipients[i].orcpt = xstrdup(d != NULL && d->orcpt != NULL ? d->orcpt : "");
	}
	return it;
}

static void forget(struct recipient *r)
{
	free(r->reply);
	free(r->remote);
	free(r->relay);
	r->reply = r->remote = r->relay = NULL;
	r->settled = false;
	r->silent = r->final = false;
}

void item_free(struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		forget(&it->recipients[i]);
		free(it->recipients[i].address);
		free(it->recipients[i].orcpt);
	}
	free(it->recipients);
	free(it->envid);
	free(it->route);
	free(it->sender);
	free(it->domain);
	forget_message(it);
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
		if (item_open(it, i))
			item_settle(it, i, outcome, reply, "", "none", "none");
	}
}

bool item_open(const struct item *it, size_t i)
{
	return !it->recipients[i].settled && !it->recipients[i].later;
}

bool item_has_later(const struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (it->recipients[i].later)
			return true;
	}
	return false;
}

bool item_settled(const struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (item_open(it, i))
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

void item_turn(struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		it->recipients[i].earlier = it->recipients[i].settled;
		it->recipients[i].later = false;
	}
}

static bool to_retry(const struct recipient *r)
{
	return r->settled && !r->earlier && r->outcome == QUEUE_RETRY;
}

bool item_has_retries(const struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (to_retry(&it->recipients[i]))
			return true;
	}
	return false;
}

void item_unsettle_retries(struct item *it)
{
	for (size_t i = 0; i < it->count; i++) {
		if (to_retry(&it->recipients[i]))
			forget(&it->recipients[i]);
	}
}
