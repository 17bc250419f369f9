/*
 * Mail of the host itself: what failed, to site->admin.  The null sender keeps a failing alert from making bounces, and
 * Auto-Submitted (RFC 3834) keeps vacation programs from answering it.
 */
#include "mailsvc/smtp/smtp.h"

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"

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
	buf_printf(out, "Received: by %s (mailadm) id %s;\r\n\t%s\r\n", site->host.name, id, date);
	buf_printf(out, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", date, id, site->host.name);
	buf_printf(out, "From: mailadm <postmaster@%s>\r\nTo: <%s>\r\n", site->host.name, site->admin.contact);
	buf_printf(out, "Subject: [%s] %s\r\nAuto-Submitted: auto-generated\r\n", site->host.name, key);
	buf_puts(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
	buf_puts(out, "Content-Transfer-Encoding: 8bit\r\n\r\n");
	put_text(out, text);
}

static void on_stored(void *arg, const struct store_result *result)
{
	(void)arg;
	if (result->status != STORE_OK)
		log_warnx("event=alert-not-mailed status=%d", (int)result->status);
}

void smtp_alert(struct role_ctx *ctx, const char *key, const char *text)
{
	struct smtp_server *server = ctx->state;
	struct buf message = BUF_INIT(65536), record = BUF_INIT(2 * MIME_RECORD_MAX);
	struct route route;
	const struct route *routes[] = { &route };
	struct smtp_plan plan;
	char id[16];

	route_resolve(ctx->site, view_of(ctx->site->admin.contact), &route);
	if (route.count == 0) {
		log_warnx("event=alert-not-mailed reason=\"admin leads nowhere\"");
		route_free(&route);
		return;
	}
	smtp_new_id(server, id);
	compose(ctx->site, id, key, text, &message);
	mime_parse(buf_view(&message), &record);
	smtp_plan_make(
	    &plan, &(struct smtp_envelope){ .sender = "", .routes = routes, .route_count = 1, .eight_bit = true });
	store_deliver(server->store,
	    &(struct store_delivery){
		.body = { buf_view(&message), buf_view(&record) },
		.local = plan.local,
		.local_count = plan.local_count,
		.remote = plan.remote,
		.remote_count = plan.remote_count,
		.internal_date = clock_wall(),
	    },
	    on_stored, NULL);
	smtp_plan_free(&plan);
	route_free(&route);
	buf_free(&message);
	buf_free(&record);
}
