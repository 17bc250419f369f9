/*
 * Automatic replies (RFC 3834): once a message is stored, accounts that ask for it answer its sender, once in seven
 * days (replied.c).  Never answered are the null sender, mail of lists and of programs, mail in bulk, and mail that
 * does not name the account among its recipients.  The reply has the null sender and says what it is, so that nothing
 * answers it; it is signed like what its account sends.  It is made when the message is durable already: a crash in
 * between loses a reply, never mail.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"
#include "mailsvc/smtp/smtp.h"

#define LINE_MAX_BYTES 2000
#define WORD_BYTES 45 /* of text in one encoded word */

/* Who is answered ------------------------------------------------------------------------------------------------ */

static bool starts(struct view v, const char *with)
{
	size_t n = strlen(with);

	return v.len >= n && strncasecmp(v.ptr, with, n) == 0;
}

static bool ends(struct view v, const char *with)
{
	size_t n = strlen(with);

	return v.len >= n && strncasecmp(v.ptr + v.len - n, with, n) == 0;
}

/* By its name it is a program's, or a list's (RFC 3834 2). */
static bool is_program(const char *sender)
{
	static const char *const names[] = { "mailer-daemon", "postmaster", "listserv", "majordomo", "noreply",
		"no-reply", "donotreply", "do-not-reply", "bounce", "bounces", NULL };
	struct view local = { sender, strcspn(sender, "@") };

	for (size_t i = 0; names[i] != NULL; i++)
		if (starts(local, names[i]) &&
		    (local.len == strlen(names[i]) || !isalnum((unsigned char)local.ptr[strlen(names[i])])))
			return true;
	return starts(local, "owner-") || ends(local, "-owner") || ends(local, "-request") || ends(local, "-bounces");
}

static bool is_word(struct view raw, const char *const *words)
{
	struct buf b = BUF_INIT(1024);
	bool found = false;

	mime_unfold(raw, &b);
	struct view v = buf_view(&b);
	for (size_t i = 0; words[i] != NULL; i++) {
		size_t n = strlen(words[i]);
		found |= starts(v, words[i]) && (v.len == n || !isalnum((unsigned char)v.ptr[n]));
	}
	buf_free(&b);
	return found;
}

static bool is_automatic(struct view header)
{
	static const char *const no[] = { "no", NULL }, *const none[] = { "none", NULL },
				 *const bulk[] = { "bulk", "list", "junk", NULL };
	struct mime_header h;
	size_t pos = 0;

	while (mime_header_next(header, &pos, &h))
		if ((view_caseeq(h.name, "Auto-Submitted") && !is_word(h.value, no)) ||
		    (view_caseeq(h.name, "Precedence") && is_word(h.value, bulk)) ||
		    (view_caseeq(h.name, "X-Auto-Response-Suppress") && !is_word(h.value, none)) ||
		    starts(h.name, "List-") || view_caseeq(h.name, "Mailing-List"))
			return true;
	return false;
}

struct naming {
	const struct site *site;
	const struct site_account *account;
	bool named;
};

static void on_mailbox(void *arg, const struct mime_mailbox *m)
{
	struct naming *n = arg;
	struct buf address = BUF_INIT(ADDRESS_MAX);

	buf_addv(&address, m->local);
	buf_addc(&address, '@');
	buf_addv(&address, m->domain);
	if (!n->named && !address.full && m->local.len > 0 && m->domain.len > 0)
		n->named = site_may_send_as(n->site, n->account, buf_view(&address));
	buf_free(&address);
}

/* Is the account among the recipients that the message names? */
static bool is_named(const struct site *site, const struct site_account *account, struct view header)
{
	static const char *const fields[] = { "To", "Cc", "Resent-To", "Resent-Cc" };
	struct naming n = { .site = site, .account = account };
	struct mime_header h;
	size_t pos = 0;

	while (!n.named && mime_header_next(header, &pos, &h))
		for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
			if (view_caseeq(h.name, fields[i]))
				mime_addresses(h.value, on_mailbox, &n);
	return n.named;
}

static bool is_on(const struct site_account *a)
{
	time_t now = (time_t)clock_wall();
	char today[16] = "";
	struct tm tm;

	if (a->auto_reply.text.count == 0)
		return false;
	if (localtime_r(&now, &tm) != NULL)
		strftime(today, sizeof(today), "%Y-%m-%d", &tm);
	return (a->auto_reply.from[0] == '\0' || strcmp(today, a->auto_reply.from) >= 0) &&
	       (a->auto_reply.until[0] == '\0' || strcmp(today, a->auto_reply.until) <= 0);
}

static bool is_ascii(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] > 126 || (unsigned char)v.ptr[i] < ' ')
			return false;
	return true;
}

/* What is answered
 * ----------------------------------------------------------------------------------------------------- */

/* Text of a header as it is, or as encoded words (RFC 2047), folded. */
static void put_words(struct buf *out, struct view text)
{
	if (is_ascii(text)) {
		buf_add(out, text.ptr, text.len < 200 ? text.len : 200);
		return;
	}
	for (size_t at = 0; at < text.len && at < 20 * WORD_BYTES;) {
		size_t n = text.len - at < WORD_BYTES ? text.len - at : WORD_BYTES;
		while (n > 1 && at + n < text.len && ((unsigned char)text.ptr[at + n] & 0xc0) == 0x80)
			n--; /* not within a character */
		buf_puts(out, at ? "\r\n =?utf-8?b?" : "=?utf-8?b?");
		text_base64_encode(out, (struct view){ text.ptr + at, n });
		buf_puts(out, "?=");
		at += n;
	}
}

static void put_from(struct buf *out, const struct site_account *a)
{
	buf_puts(out, "From: ");
	if (a->name[0] != '\0' && is_ascii(view_of(a->name))) {
		buf_addc(out, '"');
		for (const char *p = a->name; *p; p++)
			buf_printf(out, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
		buf_puts(out, "\" ");
	} else if (a->name[0] != '\0') {
		put_words(out, view_of(a->name));
		buf_addc(out, ' ');
	}
	buf_printf(out, "<%s>\r\n", a->address);
}

/* Message ids of another header, each on a line of its own; only what one looks like. */
static void put_ids(struct buf *out, struct view raw)
{
	struct buf plain = BUF_INIT(SMTP_HEADER_MAX);
	const char *open, *end;
	size_t total = 0;

	mime_unfold(raw, &plain);
	const char *p = buf_str(&plain);
	while ((open = strchr(p, '<')) != NULL && (end = strchr(open, '>')) != NULL) {
		struct view id = { open, (size_t)(end - open) + 1 };
		if (id.len <= 250 && total + id.len < LINE_MAX_BYTES && is_ascii(id) &&
		    memchr(id.ptr, ' ', id.len) == NULL) {
			buf_puts(out, total ? "\r\n " : " ");
			buf_addv(out, id);
			total += id.len;
		}
		p = end + 1;
	}
	buf_free(&plain);
}

static void put_thread(struct buf *out, struct view header)
{
	struct view id = mime_header_find(header, "Message-ID"), references = mime_header_find(header, "References");
	struct buf ids = BUF_INIT(8192), all = BUF_INIT(8192);

	put_ids(&ids, id);
	if (ids.len > 0) {
		put_ids(&all, references.ptr ? references : mime_header_find(header, "In-Reply-To"));
		buf_printf(out, "In-Reply-To:%s\r\nReferences:", buf_str(&ids));
		buf_printf(out, "%s%s%s\r\n", buf_str(&all), all.len ? "\r\n" : "", buf_str(&ids));
	}
	buf_free(&ids);
	buf_free(&all);
}

static void put_subject(struct buf *out, const struct site_account *a, struct view header)
{
	struct buf subject = BUF_INIT(SMTP_HEADER_MAX);
	struct view theirs = mime_header_find(header, "Subject");

	buf_puts(out, "Subject: ");
	if (a->auto_reply.subject[0] != '\0') {
		buf_puts(&subject, a->auto_reply.subject);
	} else {
		buf_puts(&subject, "Auto: ");
		if (theirs.ptr != NULL)
			mime_decode_header(theirs, &subject);
	}
	for (size_t i = 0; i < subject.len; i++)
		if ((unsigned char)subject.data[i] < ' ' || subject.data[i] == 127)
			subject.data[i] = ' ';
	put_words(out, buf_view(&subject));
	buf_puts(out, "\r\n");
	buf_free(&subject);
}

static void put_text(struct buf *out, const struct strings *lines)
{
	struct buf text = BUF_INIT(1u << 20), encoded = BUF_INIT(2u << 20);
	bool ascii = true;

	for (size_t i = 0; i < lines->count; i++) {
		ascii &= is_ascii(view_of(lines->at[i]));
		buf_printf(&text, "%s\r\n", lines->at[i]);
	}
	buf_printf(out,
	    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    ascii ? "us-ascii" : "utf-8", ascii ? "7bit" : "base64");
	if (ascii)
		buf_addv(out, buf_view(&text));
	else
		text_base64_encode(&encoded, buf_view(&text));
	for (size_t at = 0; at < encoded.len; at += 76) {
		buf_add(out, encoded.data + at, encoded.len - at < 76 ? encoded.len - at : 76);
		buf_puts(out, "\r\n");
	}
	buf_free(&text);
	buf_free(&encoded);
}

static void compose(const struct site *site, const struct site_account *a, const char *id, const char *sender,
    struct view header, struct buf *out)
{
	char date[40];

	text_rfc5322_date(clock_wall(), date);
	buf_printf(out, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", date, id, site->host.name);
	put_from(out, a);
	buf_printf(out, "To: <%s>\r\n", sender);
	put_subject(out, a, header);
	put_thread(out, header);
	buf_puts(out, "Auto-Submitted: auto-replied\r\n");
	put_text(out, &a->auto_reply.text);
}

static void answer(struct smtp_session *s, const struct site_account *a, struct view header)
{
	struct smtp_own own = {
		.to = s->tx.sender, .signer = dkim_domain(s->site, strrchr(a->address, '@') + 1)
	};
	struct buf message = BUF_INIT(2u << 20);

	smtp_new_id(s->server, own.id);
	compose(s->site, a, own.id, s->tx.sender, header, &message);
	log_info("id=%s event=auto-reply account=%s reply=%s", s->tx.id, a->address, own.id);
	smtp_own_send(s->server, &own, &message);
}

static void consider(struct smtp_session *s, const struct site_account *a, struct view header)
{
	char sender[ADDRESS_MAX];

	if (!is_on(a) || address_normalise(view_of(s->tx.sender), sender, sizeof(sender)) < 0 ||
	    site_may_send_as(s->site, a, view_of(sender)) || !is_named(s->site, a, header) ||
	    !smtp_own_reachable(s->site, sender) || !replied_take(s->server->replied, a->address, sender, clock_wall()))
		return;
	answer(s, a, header);
}

void smtp_auto_reply(struct smtp_session *s)
{
	const struct smtp_tx *tx = &s->tx;
	struct view content = smtp_tx_content_view(s), header = { content.ptr, mime_header_len(content) };
	bool asked = false;

	for (size_t i = 0; i < tx->recipient_count && !asked; i++)
		for (size_t j = 0; j < tx->recipients[i].route.count && !asked; j++) {
			const struct site_account *a = tx->recipients[i].route.targets[j].account;
			asked = a != NULL && a->auto_reply.text.count > 0;
		}
	if (!asked || tx->sender[0] == '\0' || !is_ascii(view_of(tx->sender)) || is_program(tx->sender) ||
	    is_automatic(header))
		return;
	/* An account that is there twice is answered for once: replied_take sees to that. */
	for (size_t i = 0; i < tx->recipient_count; i++)
		for (size_t j = 0; j < tx->recipients[i].route.count; j++)
			if (tx->recipients[i].route.targets[j].account != NULL)
				consider(s, tx->recipients[i].route.targets[j].account, header);
}
