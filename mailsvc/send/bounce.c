/*
 * Bounces and other notifications: of what failed, of delays, and of success where the next host tells nobody of it;
 * one message for all recipients of a result.  The sender is told, from <>, what it asked for (RFC 3461).  A message
 * without a sender, or that is such a notification itself, is told to the postmaster (site.admin) instead; and if it
 * was the postmaster who could not be reached, to nobody: it is only logged. So a chain of notifications ends after
 * two.
 */
#include "bounce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dsn.h"
#include "lib/clock.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/smtp/srs.h"
#include "reply.h"

static bool reached_for(const struct item *it, const char *address)
{
	char wanted[ADDRESS_MAX], got[ADDRESS_MAX];

	if (address_normalise(view_of(address), wanted, sizeof(wanted)) == -1)
		return true;
	for (size_t i = 0; i < it->count; i++) {
		if (it->recipients[i].outcome == QUEUE_FAILED &&
		    address_normalise(view_of(it->recipients[i].address), got, sizeof(got)) == 0 &&
		    strcmp(wanted, got) == 0)
			return true;
	}
	return false;
}

/* Does the sender want to hear this of that recipient?  RFC 3461 4.1; what was not said means failures and delays. */
static bool wanted(
    const struct item *it, const struct recipient *r, bool undeliverable, bool delay, enum dsn_action *action)
{
	bool said = r->notify != 0 && !undeliverable;

	switch (r->outcome) {
	case QUEUE_FAILED:
		*action = DSN_FAILED;
		return !said || (r->notify & DSN_FAILURE) != 0;
	case QUEUE_RETRY: /* nobody hears of the delays of what went to a whole list */
		*action = DSN_DELAYED;
		return delay && !undeliverable && (said ? (r->notify & DSN_DELAY) != 0 : it->priority != QUEUE_BULK);
	case QUEUE_DELIVERED:
		*action = r->final ? DSN_DELIVERED : DSN_RELAYED;
		return said && r->silent && (r->notify & DSN_SUCCESS) != 0;
	}
	return false;
}

static size_t collect(const struct item *it, const struct bounce_ask *ask, bool undeliverable,
    struct dsn_recipient *out, char (*status)[16])
{
	static const char classes[] = {
		[DSN_FAILED] = '5', [DSN_DELAYED] = '4', [DSN_RELAYED] = '2', [DSN_DELIVERED] = '2'
	};
	size_t n = 0;

	for (size_t i = 0; i < it->count; i++) {
		const struct recipient *r = &it->recipients[i];
		enum dsn_action action;
		if (!r->settled || !wanted(it, r, undeliverable, ask->delay, &action))
			continue;
		reply_enhanced(r->reply, classes[action], status[n]);
		/* A temporary answer that lasted too long: RFC 3463's 4.4.7. */
		out[n] = (struct dsn_recipient){
			.address = r->address,
			.status = action == DSN_FAILED && r->reply[0] == '4' ? "4.4.7" : status[n],
			.remote = r->remote,
			.reply = r->reply,
			.action = action,
			.orcpt = r->orcpt,
		};
		n++;
	}
	return n;
}

static void write_message(const struct site *site, const struct item *it, const struct bounce_ask *ask, struct dsn *dsn,
    struct bounce *b, struct dsn_needs *needs)
{
	char unique[64];

	snprintf(unique, sizeof(unique), "%016llx.%lld", (unsigned long long)it->id, (long long)clock_wall_us());
	dsn->host = site->host.name;
	dsn->unique = unique;
	dsn->sender = it->sender;
	dsn->expired = ask->expired;
	dsn->envid = it->envid;
	dsn->full = it->ret == DSN_RET_FULL;
	dsn->arrived = it->created;
	dsn->now = ask->now;
	dsn->until = it->created + (int64_t)site->relay.expire;
	dsn->message = it->message;
	b->message = BUF_INIT(DSN_MAX);
	b->mime = BUF_INIT(MIME_RECORD_MAX);
	dsn_build(dsn, &b->message, needs);
	mime_parse(buf_view(&b->message), &b->mime);
}

static void add_local(struct bounce *b, const char *account)
{
	char *prefix = xasprintf("Return-Path: <>\r\nDelivered-To: %s\r\n", account);

	b->prefixes[b->prefix_count++] = prefix;
	b->local[b->delivery.local_count++] = (struct store_local){ .account = account, .prefix = view_of(prefix) };
}

static void add_remote(struct bounce *b, const char *const *address, const struct dsn_needs *needs)
{
	char domain[ADDRESS_MAX];
	const char *at = strrchr(*address, '@');

	if (at == NULL || (at[1] == '[' ? view_copy(view_of(at + 1), domain, sizeof(domain))
					: domain_normalise(view_of(at + 1), domain, sizeof(domain))) == -1)
		return;
	b->domains[b->domain_count] = xstrdup(domain);
	b->remote[b->delivery.remote_count++] = (struct store_remote){ .sender = "",
		.recipients = address,
		.recipient_count = 1,
		.domain = b->domains[b->domain_count++],
		.smtputf8 = needs->smtputf8,
		.eight_bit = needs->eight_bit,
		.bounce = true,
		.priority = QUEUE_LAST };
}

/* Where it goes; false: nowhere. */
static bool address_it(struct bounce *b, int64_t now, const struct dsn_needs *needs)
{
	b->local = xcalloc(b->route.count, sizeof(*b->local));
	b->remote = xcalloc(b->route.count, sizeof(*b->remote));
	b->prefixes = xcalloc(b->route.count, sizeof(*b->prefixes));
	b->domains = xcalloc(b->route.count, sizeof(*b->domains));
	b->delivery.local = b->local;
	b->delivery.remote = b->remote;
	b->delivery.internal_date = now;
	b->delivery.body = (struct store_body){ buf_view(&b->message), buf_view(&b->mime) };
	for (size_t i = 0; i < b->route.count; i++) {
		const struct route_target *t = &b->route.targets[i];
		if (t->account != NULL)
			add_local(b, t->account->address);
		else
			add_remote(b, (const char *const *)&t->address, needs);
	}
	return b->delivery.local_count + b->delivery.remote_count > 0;
}

/* Whom the envelope sender stands for: one that forwarding made (SRS) for who wrote to the address that forwards. */
static const char *sender_of(const struct site *site, const struct item *it, char origin[ADDRESS_MAX])
{
	const char *at = strrchr(it->sender, '@');

	return srs_looks_like(view_of(it->sender)) && at != NULL && strcasecmp(at + 1, site->host.name) == 0 &&
	               srs_origin(view_of(it->sender), origin) == 0
	           ? origin
	           : it->sender;
}

int bounce_make(const struct site *site, const struct item *it, const struct bounce_ask *ask, struct bounce *b)
{
	bool undeliverable = it->bounce || it->sender[0] == '\0';
	char origin[ADDRESS_MAX];
	const char *to = undeliverable ? site->admin.contact : sender_of(site, it, origin);
	struct dsn_recipient *recipients = xcalloc(it->count + 1, sizeof(*recipients));
	char(*status)[16] = xcalloc(it->count + 1, sizeof(*status));
	struct dsn dsn = { .to = to, .undeliverable_bounce = undeliverable, .recipients = recipients };
	struct dsn_needs needs;
	bool made = false;

	memset(b, 0, sizeof(*b));
	dsn.count = collect(it, ask, undeliverable, recipients, status);
	if (dsn.count > 0 && to[0] != '\0' && !(undeliverable && reached_for(it, to))) {
		route_resolve(site, view_of(to), &b->route);
		made = (b->route.status == ROUTE_OK || b->route.status == ROUTE_FOREIGN) && b->route.count > 0;
	}
	if (made)
		write_message(site, it, ask, &dsn, b, &needs);
	free(recipients);
	free(status);
	if (made)
		made = address_it(b, ask->now, &needs);
	if (!made)
		bounce_free(b);
	return made ? 0 : 1;
}

void bounce_sign(struct bounce *b, struct view field)
{
	struct buf whole = BUF_INIT(b->message.max + field.len);

	buf_addv(&whole, field);
	buf_addv(&whole, buf_view(&b->message));
	buf_free(&b->message);
	b->message = whole;
	buf_reset(&b->mime);
	mime_parse(buf_view(&b->message), &b->mime);
	b->delivery.body = (struct store_body){ buf_view(&b->message), buf_view(&b->mime) };
}

void bounce_free(struct bounce *b)
{
	for (size_t i = 0; i < b->prefix_count; i++)
		free(b->prefixes[i]);
	for (size_t i = 0; i < b->domain_count; i++)
		free(b->domains[i]);
	free(b->prefixes);
	free(b->domains);
	free(b->local);
	free(b->remote);
	buf_free(&b->message);
	buf_free(&b->mime);
	route_free(&b->route);
	memset(b, 0, sizeof(*b));
}
