/*
 * From the routes of all recipients to what store is asked for.  Sorting does the work: equal targets stand beside each
 * other and fall together, then remote ones stand by envelope sender and domain and are cut into groups.
 */
#include "mailsvc/smtp/smtp.h"

#include <stdlib.h>
#include <string.h>

static const char *domain_of(const struct route_target *t)
{
	const char *at = strrchr(t->address, '@');

	return at != NULL ? at + 1 : "";
}

/* The sender as it was comes before one that a list put in, so that a direct recipient keeps it. */
static int compare_senders(const struct route_target *a, const struct route_target *b)
{
	return strcmp(a->sender != NULL ? a->sender : "", b->sender != NULL ? b->sender : "");
}

/* Accounts first, then remote addresses; equal destinations beside each other. */
static int by_destination(const void *pa, const void *pb)
{
	const struct route_target *a = *(const struct route_target *const *)pa;
	const struct route_target *b = *(const struct route_target *const *)pb;
	int c;

	if ((a->account != NULL) != (b->account != NULL))
		return a->account != NULL ? -1 : 1;
	c = a->account != NULL ? strcmp(a->account->address, b->account->address) : strcmp(a->address, b->address);
	return c != 0 ? c : compare_senders(a, b);
}

static int by_group(const void *pa, const void *pb)
{
	const struct route_target *a = *(const struct route_target *const *)pa;
	const struct route_target *b = *(const struct route_target *const *)pb;
	int c = strcmp(domain_of(a), domain_of(b));

	return c != 0 ? c : compare_senders(a, b);
}

static bool same_destination(const struct route_target *a, const struct route_target *b)
{
	if ((a->account != NULL) != (b->account != NULL))
		return false;
	return a->account != NULL ? a->account == b->account : strcmp(a->address, b->address) == 0;
}

/* All targets once, accounts first. */
static size_t collect(const struct smtp_envelope *e, const struct route_target **out)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < e->route_count; i++)
		for (size_t j = 0; j < e->routes[i]->count; j++)
			out[n++] = &e->routes[i]->targets[j];
	if (n > 0)
		qsort(out, n, sizeof(*out), by_destination);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || !same_destination(out[kept - 1], out[i]))
			out[kept++] = out[i];
	return kept;
}

static const char *sender_of(const struct smtp_envelope *e, const struct route_target *t)
{
	return t->sender != NULL ? t->sender : e->sender;
}

static void plan_local(struct smtp_plan *plan, const struct smtp_envelope *e, const struct route_target *t)
{
	struct buf *prefix = &plan->prefixes[plan->local_count];

	*prefix = BUF_INIT(4 * ADDRESS_MAX);
	buf_printf(prefix, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", sender_of(e, t), t->account->address);
	plan->local[plan->local_count++] =
	    (struct store_local){ .account = t->account->address, .prefix = buf_view(prefix) };
}

static void plan_remote(
    struct smtp_plan *plan, const struct smtp_envelope *e, const struct route_target *t, size_t index)
{
	struct store_remote *r = plan->remote_count > 0 ? &plan->remote[plan->remote_count - 1] : NULL;

	if (r == NULL || r->recipient_count == SMTP_REMOTE_MAX || strcmp(r->domain, domain_of(t)) != 0 ||
	    strcmp(r->sender, sender_of(e, t)) != 0) {
		r = &plan->remote[plan->remote_count++];
		*r = (struct store_remote){
			.sender = sender_of(e, t),
			.recipients = &plan->recipients[index],
			.domain = domain_of(t),
			.smtputf8 = e->smtputf8,
			.eight_bit = e->eight_bit,
			.bounce = sender_of(e, t)[0] == '\0',
		};
	}
	plan->recipients[index] = t->address;
	r->recipient_count++;
}

void smtp_plan_make(struct smtp_plan *plan, const struct smtp_envelope *e)
{
	size_t room = 1, count, locals = 0;
	const struct route_target **targets;

	for (size_t i = 0; i < e->route_count; i++)
		room += e->routes[i]->count;
	targets = xcalloc(room, sizeof(*targets));
	count = collect(e, targets);
	while (locals < count && targets[locals]->account != NULL)
		locals++;
	*plan = (struct smtp_plan){
		.local = xcalloc(locals + 1, sizeof(*plan->local)),
		.prefixes = xcalloc(locals + 1, sizeof(*plan->prefixes)),
		.remote = xcalloc(count - locals + 1, sizeof(*plan->remote)),
		.recipients = xcalloc(count - locals + 1, sizeof(*plan->recipients)),
	};
	for (size_t i = 0; i < locals; i++)
		plan_local(plan, e, targets[i]);
	if (count > locals)
		qsort(targets + locals, count - locals, sizeof(*targets), by_group);
	for (size_t i = locals; i < count; i++)
		plan_remote(plan, e, targets[i], i - locals);
	free(targets);
}

void smtp_plan_free(struct smtp_plan *plan)
{
	for (size_t i = 0; i < plan->local_count; i++)
		buf_free(&plan->prefixes[i]);
	free(plan->prefixes);
	free(plan->local);
	free(plan->remote);
	free(plan->recipients);
	*plan = (struct smtp_plan){ 0 };
}
