/*
 * Mail that the host itself writes: automatic replies, notifications of success, alerts.  Signed where the caller names
 * who signs and there is a key, and with the null sender, so that it is never answered.
 */
#include "mailsvc/smtp/smtp.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/text.h"
#include "mailsvc/mime/mime.h"

#define OWN_MAX (16u << 20)

struct own_mail { /* until it is signed */
	struct smtp_server *server;
	struct buf message;
	char *to;
	bool eight_bit, smtputf8;
	char id[16];
};

static void on_stored(void *arg, const struct store_result *result)
{
	(void)arg;
	if (result->status != STORE_OK)
		log_warnx("event=own-mail result=lost status=%d", (int)result->status);
}

static void deliver(struct own_mail *m, struct view signature)
{
	struct buf whole = BUF_INIT(OWN_MAX), record = BUF_INIT(2 * MIME_RECORD_MAX);
	const struct site *site = m->server->ctx->site;
	struct route route;
	const struct route *routes[] = { &route };
	struct smtp_plan plan;
	char date[40];

	route_resolve(site, view_of(m->to), &route); /* now: the site may be another one since */
	text_rfc5322_date(clock_wall(), date);
	buf_printf(&whole, "Received: by %s (mailadm) id %s;\r\n\t%s\r\n", site->host.name, m->id, date);
	buf_addv(&whole, signature);
	buf_addv(&whole, buf_view(&m->message));
	smtp_plan_make(&plan,
	    &(struct smtp_envelope){
		.sender = "", .routes = routes, .route_count = 1, .eight_bit = m->eight_bit, .smtputf8 = m->smtputf8 });
	if (plan.local_count > 0)
		mime_parse(buf_view(&whole), &record);
	store_deliver(m->server->store,
	    &(struct store_delivery){ .body = { buf_view(&whole), buf_view(&record) },
		.local = plan.local,
		.local_count = plan.local_count,
		.remote = plan.remote,
		.remote_count = plan.remote_count,
		.internal_date = clock_wall() },
	    on_stored, NULL);
	smtp_plan_free(&plan);
	route_free(&route);
	buf_free(&whole);
	buf_free(&record);
}

static void on_signed(void *arg, enum dkim_status status, struct view fields)
{
	struct own_mail *m = arg;

	deliver(m, status == DKIM_SIGNED ? fields : VIEW_NONE);
	free(m->to);
	buf_free(&m->message);
	free(m);
}

void smtp_own_send(struct smtp_server *server, const struct smtp_own *own, struct buf *message)
{
	struct own_mail *m = xcalloc(1, sizeof(*m));

	*m = (struct own_mail){ .server = server,
		.message = *message,
		.to = xstrdup(own->to),
		.eight_bit = own->eight_bit,
		.smtputf8 = own->smtputf8 };
	view_copy(view_of(own->id), m->id, sizeof(m->id));
	*message = BUF_INIT(0);
	if (own->signer != NULL)
		dkim_sign(server->keys, own->signer, buf_view(&m->message), on_signed, m);
	else
		on_signed(m, DKIM_NO_KEY, VIEW_NONE);
}

bool smtp_own_reachable(const struct site *site, const char *to)
{
	struct route route;
	bool yes;

	route_resolve(site, view_of(to), &route);
	yes = route.count > 0 && (route.status == ROUTE_OK || route.status == ROUTE_FOREIGN);
	route_free(&route);
	return yes;
}
