/*
 * Mail of the host itself: what failed, to site->admin.  The null sender keeps a failing alert from making bounces, and
 * Auto-Submitted (RFC 3834) keeps vacation programs from answering it.
 */
#include "mailsvc/smtp/smtp.h"

#include "lib/clock.h"
#include "lib/text.h"

static void put_text(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			buf_puts(out, "\r\n");
		else if (*text != '\r')
			buf_addc(out, *text);
	}
	buf_puts(out, "\r\n");
}

static void compose(const struct site *site, const char *id, const char *key, const char *text, struct buf *out)
{
	char date[40];

	text_rfc5322_date(clock_wall(), date);
	buf_printf(out, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", date, id, site->host.name);
	buf_printf(out, "From: mailadm <postmaster@%s>\r\nTo: <%s>\r\n", site->host.name, site->admin.contact);
	buf_printf(out, "Subject: [%s] %s\r\nAuto-Submitted: auto-generated\r\n", site->host.name, key);
	buf_puts(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
	buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n\r\n");
	put_text(out, text);
}

void smtp_alert(struct role_ctx *ctx, const char *key, const char *text)
{
	struct smtp_server *server = ctx->state;
	struct smtp_own own = { .to = ctx->site->admin.contact, .eight_bit = true };
	struct buf message = BUF_INIT(65536);

	if (!smtp_own_reachable(ctx->site, own.to)) {
		log_warnx("event=alert-not-mailed reason=\"admin leads nowhere\"");
		return;
	}
	smtp_new_id(server, own.id);
	compose(ctx->site, own.id, key, text, &message);
	smtp_own_send(server, &own, &message);
}
