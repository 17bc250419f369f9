/*
 * What a submission agent does to a message (RFC 6409 8): Date, Message-ID and (on the local socket) From are added
 * when missing; Bcc and Return-Path are taken out.  Nothing else is touched; the body never is.
 */
#include "mailsvc/smtp/smtp.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/keys/client.h"
#include "mailsvc/mime/mime.h"

static const struct smtp_refusal no_from = { 550, "5.6.0", "Message has no From field" };
static const struct smtp_refusal two_from = { 550, "5.6.0", "Message has more than one From field" };
static const struct smtp_refusal not_yours = { 550, "5.7.1", "From holds an address of this host that you may not send as" };
static const struct smtp_refusal too_big = { 552, "5.3.4", "Message is larger than this host takes" };

struct found {
	unsigned from, date, message_id;
};

/* Copies the header section without the fields that must not travel, and notes which are there. */
static void copy_header(struct view header, struct buf *out, struct found *found)
{
	struct mime_header field;
	size_t pos = 0, done = 0;

	while (mime_header_next(header, &pos, &field)) {
		size_t start = (size_t)(field.field.ptr - header.ptr);

		found->from += view_caseeq(field.name, "From");
		found->date += view_caseeq(field.name, "Date");
		found->message_id += view_caseeq(field.name, "Message-ID");
		if (!view_caseeq(field.name, "Bcc") && !view_caseeq(field.name, "Return-Path"))
			continue;
		buf_add(out, header.ptr + done, start - done);
		done = start + field.field.len;
	}
	buf_add(out, header.ptr + done, header.len - done);
}

struct from_check {
	const struct smtp_session *session;
	bool own;
};

static void check_from(void *arg, const struct mime_mailbox *mailbox)
{
	struct from_check *check = arg;
	struct buf whole = BUF_INIT(ADDRESS_MAX);
	char domain[ADDRESS_MAX];

	if (mailbox->group_start || mailbox->group_end || mailbox->domain.len == 0 ||
	    domain_normalise(mailbox->domain, domain, sizeof(domain)) == -1 ||
	    !site_is_local_domain(check->session->site, domain))
		return;
	buf_addv(&whole, mailbox->local);
	buf_printf(&whole, "@%s", domain);
	check->own = check->own && !whole.full &&
		     site_may_send_as(check->session->site, check->session->account, buf_view(&whole));
	buf_free(&whole);
}

/* submission.from: nobody writes in the name of a colleague.  Addresses elsewhere are their domains' to judge. */
static bool from_is_own(const struct smtp_session *s, struct view header)
{
	struct from_check check = { s, true };
	struct view from = mime_header_find(header, "From");

	if (from.ptr != NULL && strcmp(s->site->submission.from, "off") != 0)
		mime_addresses(from, check_from, &check);
	return check.own;
}

const struct smtp_refusal *smtp_submit_fix(struct smtp_session *s)
{
	struct view content = smtp_tx_content_view(s);
	struct view header = { content.ptr, mime_header_len(content) };
	struct buf kept = BUF_INIT(SMTP_HEADER_MAX), out = BUF_INIT(SMTP_HEADER_MAX + 2048);
	struct found found = { 0 };
	const struct smtp_refusal *why = NULL;
	char date[40];

	copy_header(header, &kept, &found);
	if (found.from > 1)
		why = &two_from;
	else if (found.from == 0 && !s->local && !s->by_address)
		why = &no_from;
	else if (s->account != NULL && !from_is_own(s, header))
		why = &not_yours;
	if (why == NULL) {
		text_rfc5322_date(clock_wall(), date);
		if (found.from == 0)
			buf_printf(&out, "From: <%s%s>\r\n", s->tx.sender[0] != '\0' ? s->tx.sender : "postmaster@",
			    s->tx.sender[0] != '\0' ? "" : s->site->host.name);
		if (found.date == 0)
			buf_printf(&out, "Date: %s\r\n", date);
		if (found.message_id == 0)
			buf_printf(&out, "Message-ID: <%s@%s>\r\n", s->tx.id, s->site->host.name);
		buf_addv(&out, buf_view(&kept));
		smtp_tx_splice(s, s->tx.received_len, header.len, buf_view(&out));
		if (out.full || s->tx.message.full)
			why = &too_big;
	}
	buf_free(&kept);
	buf_free(&out);
	return why;
}

struct author {
	char address[ADDRESS_MAX], domain[ADDRESS_MAX]; /* the first mailbox of From that has a domain; "" none */
};

static void note_author(void *arg, const struct mime_mailbox *mailbox)
{
	struct author *author = arg;
	struct buf whole = BUF_INIT(ADDRESS_MAX);

	if (author->domain[0] != '\0' || mailbox->group_start || mailbox->group_end || mailbox->domain.len == 0)
		return;
	buf_printf(&whole, "%.*s@%.*s", (int)mailbox->local.len, mailbox->local.ptr, (int)mailbox->domain.len,
	    mailbox->domain.ptr);
	if (whole.full || view_copy(buf_view(&whole), author->address, sizeof(author->address)) == -1 ||
	    domain_normalise(mailbox->domain, author->domain, sizeof(author->domain)) == -1)
		author->domain[0] = '\0';
	buf_free(&whole);
}

const struct site_domain *smtp_submit_signer(
    const struct site *site, const struct site_account *account, struct view message)
{
	struct view header = { message.ptr, mime_header_len(message) };
	struct view from = mime_header_find(header, "From");
	struct author author = { "", "" };

	if (from.ptr == NULL)
		return NULL;
	mime_addresses(from, note_author, &author);
	if (author.domain[0] == '\0')
		return NULL;
	if (account != NULL && strcmp(strrchr(account->address, '@') + 1, author.domain) != 0 &&
	    !site_may_send_as(site, account, view_of(author.address)))
		return NULL;
	return dkim_domain(site, author.domain);
}
