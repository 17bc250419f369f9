/*
 * Quotas: what the site allows its accounts and their domains, what a request would take them over, and the message
 * that warns an account.  The warning is made in the commit of what made it due; how far an account was warned is in
 * the log too, so that it is told once, and again only when it was clearly below in between.
 */
#include "quota.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "site/route.h"
#include "site/site.h"

#define BELOW 5 /* percents that a usage must fall below a threshold to be warned of it again */

static struct quota_limits limits_of(const struct site *site, const struct site_account *a)
{
	struct quota_limits out = { .bytes = a->quota, .domain = "" };
	const struct site_domain *d = NULL;
	char domain[ADDRESS_MAX];

	out.messages = a->quota_messages > 0 ? (uint64_t)a->quota_messages : 0;
	if (site->domain_count && view_copy(domain_of_address(view_of(a->address)), domain, sizeof domain) == 0)
		d = site_find_domain(site, domain);
	if (d) {
		out.domain = d->name;
		out.domain_bytes = d->quota;
	}
	return out;
}

bool quota_limits_of(const struct site *site, const char *address, struct quota_limits *out)
{
	const struct site_account *a = site_find_account(site, address);

	*out = a ? limits_of(site, a) : (struct quota_limits){ .domain = "" };
	return a != NULL;
}

static int account_cmp(const void *a, const void *b)
{
	const struct engine_account *x = a, *y = b;

	return strcmp(x->address, y->address);
}

struct engine_accounts engine_accounts_of(const struct site *site)
{
	struct engine_accounts a = { .at = xcalloc(site->account_count + 1, sizeof *a.at),
		.count = site->account_count };
	const char *percents = site->limits.quota_warnings ? site->limits.quota_warnings : "";

	for (size_t i = 0; i < a.count; i++) {
		const struct site_account *from = &site->accounts[i];
		a.at[i] = (struct engine_account){ .address = xstrdup(from->address), .limits = limits_of(site, from) };
		a.at[i].limits.domain = NULL; /* the site's, which may go */
		a.at[i].suspended = from->state && strcmp(from->state, "active") != 0;
	}
	if (a.count)
		qsort(a.at, a.count, sizeof *a.at, account_cmp);
	while (*percents && a.warning_count < ENGINE_WARNINGS_MAX) {
		char *end;
		a.warnings[a.warning_count++] = (uint32_t)strtoul(percents, &end, 10);
		percents = end + strspn(end, " ");
		if (end == percents && *percents)
			break;
	}
	a.host = xstrdup(site->host.name ? site->host.name : "localhost");
	return a;
}

void engine_accounts_free(struct engine_accounts *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->at[i].address);
	free(a->at);
	free(a->host);
	*a = (struct engine_accounts){ 0 };
}

static const struct engine_account *find(const struct engine *e, struct view address)
{
	size_t lo = 0, hi = e->accounts.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const char *at = e->accounts.at[mid].address;
		size_t len = strlen(at);
		int c = memcmp(address.ptr, at, address.len < len ? address.len : len);
		if (c == 0 && address.len == len)
			return &e->accounts.at[mid];
		if (c < 0 || (c == 0 && address.len < len))
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

bool account_known(const struct engine *e, struct view address)
{
	if (address.len == 0 || address.len >= ADDRESS_MAX || memchr(address.ptr, 0, address.len))
		return false;
	return !e->accounts_known || find(e, address);
}

bool account_in_use(const struct engine *e, struct view address)
{
	const struct engine_account *a = address.len ? find(e, address) : NULL;

	return a && !a->suspended;
}

static bool above(uint64_t limit, uint64_t used, uint64_t more)
{
	return limit && more && (more > limit || used > limit - more);
}

bool over_quota_address(struct engine *e, struct view address, const struct quota_more *more)
{
	const struct engine_account *limits = find(e, address);
	struct account_value a = { 0 };
	struct domain_value d = { 0 };
	struct key domain = { 0 };
	uint32_t id;

	if (!limits)
		return false;
	if ((id = find_account(&e->tx, address)))
		get_account(&e->tx, id, &a, NULL);
	if (above(limits->limits.bytes, a.bytes, more->bytes) ||
	    above(limits->limits.messages, a.messages, more->messages))
		return true;
	if (!limits->limits.domain_bytes)
		return false;
	key_add(&domain, domain_of_address(address));
	tx_get_fixed(&e->tx, T_DOMAIN, &domain, &d, sizeof d, NULL);
	return above(limits->limits.domain_bytes, d.bytes, more->domain_bytes);
}

bool over_quota(struct engine *e, uint32_t account, const struct quota_more *more)
{
	struct account_value a;
	struct view address;

	return get_account(&e->tx, account, &a, &address) && !a.orphaned && over_quota_address(e, address, more);
}

/* Warnings -------------------------------------------------------------------------------------------------- */

static uint64_t percent(uint64_t limit, uint64_t used)
{
	return limit == 0 ? 0 : used >= limit ? 100 : used * 100 / limit;
}

static void warning_text(
    struct engine *e, const char *address, const struct account_value *a, const struct quota_limits *l, struct buf *out)
{
	uint64_t now = percent(l->bytes, a->bytes), messages = percent(l->messages, a->messages);
	char date[40], used[24], limit[24];

	text_rfc5322_date(e->now, date);
	text_format_size(a->bytes, used);
	text_format_size(l->bytes, limit);
	buf_printf(out,
	    "From: Mail System <MAILER-DAEMON@%s>\r\nTo: <%s>\r\nSubject: Your mailbox is %" PRIu64
	    " percent full\r\nDate: %s\r\nMessage-ID: <quota.%" PRIu64 ".%" PRId64
	    "@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; "
	    "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
	    e->accounts.host, address, now > messages ? now : messages, date, e->tx.meta.next_body, e->now,
	    e->accounts.host);
	if (l->bytes)
		buf_printf(out, "Your mail takes %s of the %s that it may take.\r\n", used, limit);
	if (l->messages)
		buf_printf(out, "You keep %" PRIu64 " messages of the %" PRIu64 " that you may keep.\r\n", a->messages,
		    l->messages);
	buf_puts(out,
	    "\r\nOnce the mailbox is full, no more mail can reach you. Please delete what you\r\nno longer need, "
	    "and empty the trash.\r\n");
}

static void warning_deliver(struct engine *e, uint32_t account, const char *address, const struct account_value *a,
    const struct quota_limits *l)
{
	struct buf body = BUF_INIT(16384), record = BUF_INIT(2 * MIME_RECORD_MAX);
	struct record put = { .type = RECORD_BODY, .body = e->tx.meta.next_body, .references = 1 };
	struct record r = { .body = put.body, .date = e->now };
	uint32_t inbox = open_mailbox(e, account, "INBOX", SPECIAL_NONE, false);

	warning_text(e, address, a, l, &body);
	if (inbox && !body.full && uids_left(e, inbox, 1)) {
		mime_parse(buf_view(&body), &record);
		put.mime = buf_view(&record);
		engine_put_copy(e, &put, buf_view(&body));
		put_message(e, inbox, &r, VIEW_NONE, body.len);
	}
	buf_free(&body);
	buf_free(&record);
}

static void put_warned(struct engine *e, uint32_t account, uint32_t level)
{
	struct record r = { .type = RECORD_WARNED, .account = account, .number = level };

	engine_put(e, &r, VIEW_NONE);
}

void quota_warn(struct engine *e, uint32_t account)
{
	const struct engine_accounts *site = &e->accounts;
	const struct engine_account *known;
	struct account_value a;
	struct view v;
	char address[ADDRESS_MAX];
	uint64_t now, messages;
	uint32_t level = 0;

	if (site->warning_count == 0 || !get_account(&e->tx, account, &a, &v) || a.orphaned || !(known = find(e, v)) ||
	    (known->limits.bytes == 0 && known->limits.messages == 0) || view_copy(v, address, sizeof address) == -1)
		return;
	now = percent(known->limits.bytes, a.bytes);
	messages = percent(known->limits.messages, a.messages);
	now = messages > now ? messages : now;
	for (size_t i = 0; i < site->warning_count; i++)
		if (site->warnings[i] <= now)
			level = site->warnings[i];
	if (level > a.warned) {
		put_warned(e, account, level);
		warning_deliver(e, account, address, &a, &known->limits);
	} else if (level < a.warned && now + BELOW < a.warned)
		put_warned(e, account, level);
}
