/*
 * From the routes of all recipients to what store is asked for.  Sorting does the work: equal targets stand beside each
 * other and fall together, then remote ones stand by envelope sender and domain and are cut into groups.
 *
 * What a sender asked to be told (RFC 3461) goes along with each target: unchanged where an address leads to one other;
 * where it leads to several, they are not to report success (5.2.7.3: "expanded" is what the sender is told, report.c);
 * and members of a list are asked nothing, since the list answers for itself.
 */
#include "mailsvc/smtp/smtp.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/xtext.h"

struct planned {
	const struct route_target *target;
	size_t route; /* which of the envelope's it comes of */
};

static const char *domain_of(const struct route_target *t)
{
	const char *at = strrchr(t->address, '@');

	return at != NULL ? at + 1 : "";
}

/* The sender as it was comes before one that a list or SRS puts in, so that a direct recipient keeps it. */
static int compare_senders(const struct route_target *a, const struct route_target *b)
{
	int c = strcmp(a->sender != NULL ? a->sender : "", b->sender != NULL ? b->sender : "");

	return c != 0 ? c : (int)a->forwarded - (int)b->forwarded;
}

/* Accounts first, then remote addresses; equal destinations beside each other. */
static int by_destination(const void *pa, const void *pb)
{
	const struct route_target *a = ((const struct planned *)pa)->target;
	const struct route_target *b = ((const struct planned *)pb)->target;
	int c;

	if ((a->account != NULL) != (b->account != NULL))
		return a->account != NULL ? -1 : 1;
	c = a->account != NULL ? strcmp(a->account->address, b->account->address) : strcmp(a->address, b->address);
	return c != 0 ? c : compare_senders(a, b);
}

static int by_group(const void *pa, const void *pb)
{
	const struct route_target *a = ((const struct planned *)pa)->target;
	const struct route_target *b = ((const struct planned *)pb)->target;
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
static size_t collect(const struct smtp_envelope *e, struct planned *out)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < e->route_count; i++)
		for (size_t j = 0; j < e->routes[i]->count; j++)
			if (e->routes[i]->targets[j].account != NULL || !e->local_only)
				out[n++] = (struct planned){ &e->routes[i]->targets[j], i };
	if (n > 0)
		qsort(out, n, sizeof(*out), by_destination);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || !same_destination(out[kept - 1].target, out[i].target))
			out[kept++] = out[i];
	return kept;
}

static const char *sender_of(const struct smtp_envelope *e, const struct route_target *t)
{
	if (t->sender != NULL)
		return t->sender;
	return t->forwarded && e->forwarder != NULL ? e->forwarder : e->sender;
}

static void plan_local(struct smtp_plan *plan, const struct smtp_envelope *e, const struct route_target *t)
{
	struct buf *prefix = &plan->prefixes[plan->local_count];

	*prefix = BUF_INIT(4 * ADDRESS_MAX);
	buf_printf(prefix, "Return-Path: <%s>\r\nDelivered-To: %s\r\n", sender_of(e, t), t->account->address);
	plan->local[plan->local_count++] =
	    (struct store_local){ .account = t->account->address, .mailbox = e->mailbox, .prefix = buf_view(prefix) };
}

/* The address that the sender knows, when it is another: what a notification from elsewhere names. */
static char *original(const struct smtp_envelope *e, const struct planned *p)
{
	const char *address = e->addresses != NULL ? e->addresses[p->route] : NULL;
	struct buf out = BUF_INIT(DSN_ORCPT_MAX);
	char *text = NULL;

	if (address == NULL || strcasecmp(address, p->target->address) == 0)
		return NULL;
	buf_puts(&out, "rfc822;");
	for (const char *c = address; *c != '\0'; c++)
		if ((unsigned char)*c > 127 || (unsigned char)*c < ' ') /* RFC 6533 3 has a type of its own for them */
			goto out;
	xtext_encode(&out, view_of(address));
	text = out.full ? NULL : view_dup(buf_view(&out));
out:
	buf_free(&out);
	return text;
}

/* What is asked for this target.  own: where what we write ourselves is kept. */
static struct queue_dsn asked(const struct smtp_envelope *e, const struct planned *p, char **own)
{
	struct queue_dsn dsn = { 0, NULL };

	if (e->dsn == NULL || p->target->sender != NULL)
		return dsn;
	dsn = e->dsn[p->route];
	if (e->routes[p->route]->count > 1 && (dsn.notify & DSN_SUCCESS) != 0)
		dsn.notify = dsn.notify == DSN_SUCCESS ? DSN_NEVER : dsn.notify & ~(unsigned)DSN_SUCCESS;
	if (dsn.orcpt == NULL)
		dsn.orcpt = *own = original(e, p);
	return dsn;
}

/* Notifications go last, and what goes to many goes behind what one wrote to another. */
static enum queue_priority priority_of(const struct smtp_envelope *e, const struct route_target *t)
{
	if (sender_of(e, t)[0] == '\0')
		return QUEUE_LAST;
	return t->sender != NULL || e->bulk ? QUEUE_BULK : QUEUE_NORMAL;
}

static void plan_remote(struct smtp_plan *plan, const struct smtp_envelope *e, const struct planned *p, size_t index)
{
	const struct route_target *t = p->target;
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
			.priority = priority_of(e, t),
			.envid = t->sender == NULL ? e->envid : NULL,
			.ret = t->sender == NULL ? e->ret : DSN_RET_UNSAID,
			.dsn = e->dsn != NULL ? &plan->dsn[index] : NULL,
		};
	}
	plan->recipients[index] = t->address;
	plan->dsn[index] = asked(e, p, &plan->orcpts[index]);
	r->recipient_count++;
}

void smtp_plan_make(struct smtp_plan *plan, const struct smtp_envelope *e)
{
	size_t room = 1, count, locals = 0;
	struct planned *targets;

	for (size_t i = 0; i < e->route_count; i++)
		room += e->routes[i]->count;
	targets = xcalloc(room, sizeof(*targets));
	count = collect(e, targets);
	while (locals < count && targets[locals].target->account != NULL)
		locals++;
	*plan = (struct smtp_plan){
		.local = xcalloc(locals + 1, sizeof(*plan->local)),
		.prefixes = xcalloc(locals + 1, sizeof(*plan->prefixes)),
		.remote = xcalloc(count - locals + 1, sizeof(*plan->remote)),
		.recipients = xcalloc(count - locals + 1, sizeof(*plan->recipients)),
		.dsn = xcalloc(count - locals + 1, sizeof(*plan->dsn)),
		.orcpts = xcalloc(count - locals + 1, sizeof(*plan->orcpts)),
		.remote_recipients = count - locals,
	};
	for (size_t i = 0; i < locals; i++)
		plan_local(plan, e, targets[i].target);
	if (count > locals)
		qsort(targets + locals, count - locals, sizeof(*targets), by_group);
	for (size_t i = locals; i < count; i++)
		plan_remote(plan, e, &targets[i], i - locals);
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
	free(plan->dsn);
	for (size_t i = 0; i < plan->remote_recipients; i++)
		free(plan->orcpts[i]);
	free(plan->orcpts);
	*plan = (struct smtp_plan){ 0 };
}
