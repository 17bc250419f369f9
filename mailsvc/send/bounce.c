/*
 * Bounces.  The sender is told, from <>.  A message without a sender, or that is such a notification itself, is told to
 * the postmaster (site.admin) instead; and if it was the postmaster who could not be reached, to nobody: it is only
 * logged. So a chain of notifications ends after two.
 */
#include "bounce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsn.h"
#include "lib/clock.h"
#include "mailsvc/mime/mime.h"
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

static void write_message(const struct site *site, const struct item *it, const char *to, bool undeliverable,
    bool expired, int64_t now, struct bounce *b, struct dsn_needs *needs)
{
	struct dsn_recipient *failed = xcalloc(it->count + 1, sizeof(*failed));
	char(*status)[16] = xcalloc(it->count + 1, sizeof(*status));
	char unique[64];
	struct dsn dsn = { .host = site->host.name,
		.unique = unique,
		.to = to,
		.sender = it->sender,
		.undeliverable_bounce = undeliverable,
		.expired = expired,
		.arrived = it->created,
		.now = now,
		.recipients = failed,
		.message = it->message };

	snprintf(unique, sizeof(unique), "%016llx.%lld", (unsigned long long)it->id, (long long)clock_wall_us());
	for (size_t i = 0; i < it->count; i++) {
		const struct recipient *r = &it->recipients[i];
		if (r->outcome != QUEUE_FAILED)
			continue;
		reply_enhanced(r->reply, '5', status[i]);
		/* A temporary answer that lasted too long: RFC 3463's 4.4.7. */
		failed[dsn.count++] =
		    (struct dsn_recipient){ r->address, r->reply[0] == '4' ? "4.4.7" : status[i], r->remote, r->reply };
	}
	b->message = BUF_INIT(DSN_MAX);
	b->mime = BUF_INIT(MIME_RECORD_MAX);
	dsn_build(&dsn, &b->message, needs);
	mime_parse(buf_view(&b->message), &b->mime);
	free(failed);
	free(status);
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
		.bounce = true };
}

int bounce_make(const struct site *site, const struct item *it, bool expired, int64_t now, struct bounce *b)
{
	bool undeliverable = it->bounce || it->sender[0] == '\0';
	const char *to = undeliverable ? site->admin.contact : it->sender;
	struct dsn_needs needs;

	memset(b, 0, sizeof(*b));
	if (item_count(it, QUEUE_FAILED) == 0 || to[0] == '\0' || (undeliverable && reached_for(it, to)))
		return 1;
	route_resolve(site, view_of(to), &b->route);
	if ((b->route.status != ROUTE_OK && b->route.status != ROUTE_FOREIGN) || b->route.count == 0) {
		route_free(&b->route);
		return 1;
	}
	write_message(site, it, to, undeliverable, expired, now, b, &needs);
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
			add_remote(b, (const char *const *)&t->address, &needs);
	}
	if (b->delivery.local_count + b->delivery.remote_count > 0)
		return 0;
	bounce_free(b);
	return 1;
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
