/*
 * The imap role.  A connection comes from login with a ticket; auth says whose it is, store opens the account, and only
 * then does a protocol module see its first byte.  login's word alone opens nothing.
 *
 * All sessions share one store client, one view and one run queue.  What is queued runs from run_event, at the end of
 * the loop, where dead sessions are freed too.
 */
#include "process.h"
#include "site/route.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/text.h"
#include "mailsvc/fts/client.h"
#include "mailsvc/mime/mime.h"

#define DRAIN_MS 300 /* for the last words to leave */
#define SWEEP_SECONDS 10

struct opening { /* a connection between login and its protocol */
	struct process *process;
	struct handoff handoff;
	struct buf rest;
	int fd;
	uint32_t auth_request, store_request; /* pending, or 0 */
	char address[ADDRESS_MAX];
	struct opening *next, **prev_next;
};

/* Refusing what cannot be opened ------------------------------------------------------------------------------- */

static void opening_free(struct opening *o)
{
	*o->prev_next = o->next;
	if (o->next != NULL)
		o->next->prev_next = o->prev_next;
	auth_cancel(o->process->auth, o->auth_request);
	store_cancel(o->process->store, o->store_request);
	if (o->fd != -1)
		close(o->fd);
	buf_free(&o->rest);
	free(o);
}

/* One line, as far as the socket takes it, and the end. */
static void refuse(struct opening *o, const char *code, const char *text)
{
	struct buf line = BUF_INIT(512);

	if (o->handoff.protocol == PROTOCOL_POP3)
		buf_printf(&line, "-ERR [%s] %s\r\n", strcmp(code, "UNAVAILABLE") == 0 ? "SYS/TEMP" : "AUTH", text);
	else
		buf_printf(&line, "%s NO [%s] %s\r\n* BYE %s\r\n", o->handoff.tag, code, text, text);
	send(o->fd, line.data, line.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(o->fd, SHUT_WR);
	buf_free(&line);
	log_info("id=%s event=refused ip=%s reason=\"%s\"", o->handoff.session, o->handoff.peer, text);
	o->process->session_count--;
	opening_free(o);
}

/* Opening -----------------------------------------------------------------------------------------------------------
 */

static char *place(char **at, const char *s)
{
	size_t size = strlen(s) + 1;
	char *to = memcpy(*at, s, size);

	*at += size;
	return to;
}

static struct opened *make_opened(const struct opening *o, uint32_t account, uint32_t inbox)
{
	size_t text = strlen(o->address) + strlen(o->handoff.peer) + strlen(o->handoff.session) + 3;
	struct opened *opened = xmalloc(sizeof(*opened) + text);
	char *at = opened->address;

	opened->account = account;
	opened->inbox = inbox;
	opened->tls = o->handoff.tls;
	place(&at, o->address);
	opened->peer = place(&at, o->handoff.peer);
	opened->id = place(&at, o->handoff.session);
	return opened;
}

static void on_account(void *arg, const struct store_result *result)
{
	struct opening *o = arg;
	struct process *p = o->process;
	struct account_row row;
	struct opened *opened;
	int found, fd;

	o->store_request = 0;
	if (result->status != STORE_OK || view_begin(p->view) < 0) {
		refuse(o, "UNAVAILABLE", "The mail store is not available; try again.");
		return;
	}
	found = view_account(p->view, o->address, &row);
	view_end(p->view);
	if (found != 1) {
		refuse(o, "UNAVAILABLE", "The account cannot be opened; try again.");
		return;
	}
	opened = make_opened(o, row.id, result->mailbox);
	fd = o->fd;
	o->fd = -1;
	if (o->handoff.protocol == PROTOCOL_POP3)
		pop3_session_start(p, fd, opened, buf_view(&o->rest));
	else
		imap_session_start(p, fd, opened, o->handoff.tag, buf_view(&o->rest));
	opening_free(o);
}

static void on_ticket(void *arg, const struct auth_answer *answer)
{
	struct opening *o = arg;

	o->auth_request = 0;
	if (answer->status == AUTH_UNAVAILABLE) {
		refuse(o, "UNAVAILABLE", "Authentication is not available; try again.");
	} else if (answer->status != AUTH_OK || !(answer->protocols & o->handoff.protocol)) {
		log_warnx("id=%s event=bad-ticket", o->handoff.session);
		refuse(o, "AUTHENTICATIONFAILED", "Not authenticated.");
	} else {
		memcpy(o->address, answer->address, sizeof(o->address));
		o->store_request = store_open_account(o->process->store, o->address, on_account, o);
	}
}

/* From login ---------------------------------------------------------------------------------------------------------
 */

static void on_handoff(struct chan *c, struct imsg *m, void *arg)
{
	struct process *p = arg;
	struct opening *o;
	struct handoff h;

	(void)c;
	if (m->type != HANDOFF_SESSION || m->fd == -1 || handoff_get(m->data, &h) < 0) {
		log_warnx("event=bad-handoff type=%u", m->type);
		return;
	}
	o = xcalloc(1, sizeof(*o));
	o->process = p;
	o->handoff = h;
	o->handoff.rest = VIEW_NONE;
	o->rest = BUF_INIT(HANDOFF_REST_MAX);
	buf_addv(&o->rest, h.rest);
	o->fd = m->fd;
	m->fd = -1;
	o->next = p->openings;
	o->prev_next = &p->openings;
	if (o->next != NULL)
		o->next->prev_next = &o->next;
	p->openings = o;
	if (++p->session_count > (unsigned)p->ctx->site->limits.connections) {
		refuse(o, "UNAVAILABLE", "Too many sessions; try again later.");
		return;
	}
	o->auth_request = auth_redeem(p->auth, o->handoff.ticket, on_ticket, o);
}

static void on_login_closed(struct chan *c, void *arg)
{
	struct process *p = arg;

	if (c == p->login) { /* else another login took its place already */
		if (chan_broken(c))
			role_kill_peer(p->ctx, ROLE_LOGIN, 0, "malformed message");
		p->login = NULL;
	}
	chan_free(c); /* monitor sends a new one; sessions do not need it */
}

static const struct chan_ops login_ops = { .message = on_handoff, .closed = on_login_closed };

/* What sessions share
 * -------------------------------------------------------------------------------------------------- */

static void on_run(evutil_socket_t fd, short what, void *arg)
{
	struct process *p = arg;

	(void)fd;
	(void)what;
	imap_run_queue(p);
	imap_free_dead(p);
	pop3_free_dead(p);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	imap_sweep(arg);
}

void process_kick(struct process *p)
{
	static const struct timeval now = { 0, 0 };

	if (!event_pending(p->run_event, EV_TIMEOUT, NULL))
		event_add(p->run_event, &now);
}

void process_log_open(const struct opened *o, const char *protocol)
{
	log_info("id=%s event=open user=%s ip=%s proto=%s tls=%s", o->id, o->address, o->peer, protocol,
	    o->tls ? "yes" : "no");
}

void process_log_close(const struct opened *o, const char *protocol, const char *reason, uint64_t in, uint64_t out)
{
	log_info("id=%s event=close proto=%s reason=%s in=%llu out=%llu", o->id, protocol, reason,
	    (unsigned long long)in, (unsigned long long)out);
}

static void on_changed(void *arg, const uint32_t *mailboxes, size_t count)
{
	imap_changed(arg, mailboxes, count);
}

/* The role
 * --------------------------------------------------------------------------------------------------------------- */

/* Channels of peers may come before init. */
static struct process *state(struct role_ctx *ctx)
{
	struct process *p = ctx->state;

	if (p != NULL)
		return p;
	p = xcalloc(1, sizeof(*p));
	p->ctx = ctx;
	p->base = ctx->base;
	p->run_last = &p->run_first;
	p->auth = auth_client_new(ctx->base);
	p->store = store_client_new(ctx->base);
	p->fts = fts_client_new(ctx->base);
	p->run_event = event_new(ctx->base, -1, 0, on_run, p);
	p->sweep = event_new(ctx->base, -1, EV_PERSIST, on_sweep, p);
	if (p->run_event == NULL || p->sweep == NULL)
		fatalx("event_new failed");
	store_on_change(p->store, on_changed, p);
	ctx->state = p;
	return p;
}

/* What a store that died had committed but not announced: idle sessions look for themselves, once it can be read. */
static void on_store_back(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval again = { 1, 0 };
	struct process *p = arg;

	(void)fd;
	(void)what;
	if (p->view == NULL || !store_view_ready(p->view)) {
		event_base_once(p->base, -1, EV_TIMEOUT, on_store_back, p, &again);
		return;
	}
	for (struct imap_session *s = p->sessions; s != NULL; s = s->next)
		if (s->phase == IMAP_PHASE_IDLE)
			imap_kick(s);
}

static void role_peer(struct role_ctx *ctx, enum role_id peer, unsigned instance, int fd)
{
	static const struct timeval settled = { 1, 0 };
	struct process *p = state(ctx);

	(void)instance;
	if (peer == ROLE_AUTH) {
		auth_client_attach(p->auth, fd);
	} else if (peer == ROLE_STORE) {
		store_client_attach(p->store, fd);
		event_base_once(ctx->base, -1, EV_TIMEOUT, on_store_back, p, &settled);
	} else if (peer == ROLE_FTS) {
		fts_client_attach(p->fts, fd);
	} else if (peer == ROLE_LOGIN) {
		p->login = chan_new(ctx->base, fd, &login_ops, p);
	} else {
		close(fd);
	}
}

static int role_init(struct role_ctx *ctx, struct error *e)
{
	struct process *p = state(ctx);

	mime_charsets_preload();
	mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
	mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024); /* else output gives its pages back and takes them again all the time */
	p->view = store_view_open(ctx->fds[ROLE_FD_STORE_DIR], e);
	if (p->view == NULL)
		return -1;
	store_view_follow(p->view, p->store);
	return 0;
}

static void role_sandbox(struct role_ctx *ctx, struct sandbox *sb)
{
	static const char *paths[2];

	paths[0] = site_state(ctx->site, "store");
	sb->group = "mailadm-store";
	sb->may |= SANDBOX_MEMFD | SANDBOX_OPEN_READ;
	sb->read_paths = paths;
}

static void role_start(struct role_ctx *ctx)
{
	static const struct timeval interval = { SWEEP_SECONDS, 0 };

	event_add(state(ctx)->sweep, &interval); /* handoffs come by themselves */
}

bool process_may(const struct process *p, const char *address, unsigned protocol)
{
	const struct site_account *a = site_find_account(p->ctx->site, address);

	return a != NULL && (a->protocols & protocol);
}

static void role_reload(struct role_ctx *ctx)
{
	imap_shutdown_lost(state(ctx));
	pop3_shutdown_lost(state(ctx));
}

static void role_drain(struct role_ctx *ctx)
{
	static const struct timeval tv = { 0, DRAIN_MS * 1000 };
	struct process *p = state(ctx);

	while (p->openings != NULL)
		refuse(p->openings, "UNAVAILABLE", "The server is shutting down.");
	imap_shutdown_all(p);
	pop3_shutdown_all(p);
	event_base_loopexit(ctx->base, &tv);
}

static void role_status(struct role_ctx *ctx, struct buf *json)
{
	buf_printf(json, "\"sessions\": %u", state(ctx)->session_count);
}

const struct role role_imap = {
	.id = ROLE_IMAP,
	.name = "imap",
	.user = "mailadm-imap",
	.init = role_init,
	.sandbox = role_sandbox,
	.start = role_start,
	.peer = role_peer,
	.reload = role_reload,
	.drain = role_drain,
	.status = role_status,
};
