/*
 * The life of a role process: a blocking setup phase on fd 3 until START, the role's own init, the sandbox, then the
 * event loop in which monitor's later messages arrive.  Any message from monitor that is not as role_proto.h says ends
 * the process: monitor is the only trusted peer, so a wrong message means that the two are not of one build.
 */
#include "mailsvc/role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/proc.h"
#include "mailsvc/role_proto.h"

#define SETUP_LISTENERS_MAX 64
#define SETUP_PEERS_MAX (ROLE_COUNT * ROLE_INSTANCES_MAX)

struct setup_peer {
	enum role_id id;
	unsigned instance;
	int fd;
};

static struct life {
	struct role_ctx ctx;
	struct chan *monitor;
	struct event *sigterm;
	bool started, draining;
	struct site *next_site; /* received, valid with RELOAD */
	int next_fds[ROLE_FD_COUNT];
	struct listener listeners[SETUP_LISTENERS_MAX]; /* buffered during the setup */
	size_t listener_count;
	struct setup_peer peers[SETUP_PEERS_MAX];
	size_t peer_count;
	uint32_t lives[ROLE_COUNT][ROLE_INSTANCES_MAX]; /* the id of each peer's last PEER */
} life;

static int take_fd(struct imsg *m)
{
	int fd = m->fd;

	if (fd < 0)
		fatalx("event=protocol type=%u reason=\"no descriptor\"", m->type);
	m->fd = -1;
	return fd;
}

static void need(bool ok, const struct imsg *m)
{
	if (!ok)
		fatalx("event=protocol type=%u length=%zu", m->type, m->data.len);
}

static void receive_site(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct view path = cursor_blob(&c, 4096), text;
	struct findings findings = { 0 };
	int fd = take_fd(m);
	char *name;

	need(cursor_done(&c), m);
	if (memfd_map_sealed(fd, ROLE_SITE_MAX, &text) < 0)
		fatal("event=site reason=\"cannot map\"");
	name = view_dup(path);
	site_unref(life.next_site);
	life.next_site = site_load_memory(text, name, &findings);
	if (life.next_site == NULL)
		fatalx("event=site reason=\"%s\"", findings.count > 0 ? findings.at[0].text : "unreadable");
	findings_free(&findings);
	free(name);
	munmap((void *)(uintptr_t)text.ptr, text.len);
	close(fd);
}

static void receive_fd(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint32_t which = cursor_u32(&c);

	need(cursor_done(&c) && which < ROLE_FD_COUNT, m);
	if (life.next_fds[which] >= 0)
		close(life.next_fds[which]);
	life.next_fds[which] = take_fd(m);
}

static void receive_ticket_key(struct imsg *m)
{
	need(m->data.len == ROLE_TICKET_KEY_LEN, m);
	memcpy(life.ctx.ticket_key, m->data.ptr, ROLE_TICKET_KEY_LEN);
}

static void receive_listener(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct listener l = { .service = (enum service)cursor_u32(&c) };

	l.local = cursor_u32(&c) != 0;
	need(cursor_done(&c) && (unsigned)l.service < SERVICE_COUNT, m);
	l.fd = take_fd(m);
	if (life.ctx.role->listener == NULL) {
		close(l.fd);
	} else if (life.started) {
		life.ctx.role->listener(&life.ctx, &l);
	} else {
		need(life.listener_count < SETUP_LISTENERS_MAX, m);
		life.listeners[life.listener_count++] = l;
	}
}

static void receive_unlisten(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	uint32_t service = cursor_u32(&c);

	need(cursor_done(&c) && service < SERVICE_COUNT, m);
	if (life.ctx.role->unlisten != NULL) {
		life.ctx.role->unlisten(&life.ctx, (enum service)service);
	} else {
		log_info("event=unlisten service=%s result=restart", services[service].name);
		role_exit(&life.ctx);
	}
}

static void receive_peer(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct setup_peer p = { .id = (enum role_id)cursor_u32(&c) };

	p.instance = cursor_u32(&c);
	need(cursor_done(&c) && p.instance < ROLE_INSTANCES_MAX && role_may_talk(life.ctx.role->id, p.id), m);
	p.fd = take_fd(m);
	life.lives[p.id][p.instance] = m->id;
	if (life.ctx.role->peer == NULL) {
		close(p.fd);
	} else if (life.started) {
		life.ctx.role->peer(&life.ctx, p.id, p.instance, p.fd);
	} else {
		need(life.peer_count < SETUP_PEERS_MAX, m);
		life.peers[life.peer_count++] = p;
	}
}

static void receive_instance(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);

	life.ctx.instance = cursor_u32(&c);
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		life.ctx.peers[i] = cursor_u32(&c);
		need(life.ctx.peers[i] <= ROLE_INSTANCES_MAX, m);
	}
	life.ctx.instances = life.ctx.peers[life.ctx.role->id];
	need(cursor_done(&c) && life.ctx.instance < life.ctx.instances, m);
}

/* What SITE and FD messages brought becomes current. */
static void adopt(void)
{
	if (life.next_site != NULL) {
		site_unref(life.ctx.site);
		life.ctx.site = life.next_site;
		life.next_site = NULL;
		role_log_level(life.ctx.site);
	}
	for (size_t i = 0; i < ROLE_FD_COUNT; i++) {
		if (life.next_fds[i] < 0)
			continue;
		if (life.ctx.fds[i] >= 0)
			close(life.ctx.fds[i]);
		life.ctx.fds[i] = life.next_fds[i];
		life.next_fds[i] = -1;
	}
}

static void receive_log(struct imsg *m)
{
	int fd = take_fd(m);

	if (dup2(fd, STDERR_FILENO) < 0)
		fatal("event=log");
	close(fd);
	log_init(log_ident(), LOG_LEVEL_INFO); /* it looks at what 2 is now */
	role_log_level(life.ctx.site);
}

static void send_status(uint32_t id)
{
	struct buf text = BUF_INIT(ROLE_STATUS_MAX), out = BUF_INIT(IMSG_MAX);

	if (life.ctx.role->status != NULL)
		life.ctx.role->status(&life.ctx, &text);
	if (text.full)
		buf_reset(&text);
	buf_put_blob(&out, buf_view(&text));
	chan_send(life.monitor, ROLE_MSG_STATUS_IS, id, buf_view(&out), -1);
	buf_free(&text);
	buf_free(&out);
}

static void drain(void)
{
	if (life.draining)
		return;
	life.draining = true;
	log_debug("event=drain");
	if (life.ctx.role->drain != NULL)
		life.ctx.role->drain(&life.ctx);
	else
		role_exit(&life.ctx);
}

static void receive_alert_mail(struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	char key[ROLE_ALERT_KEY_MAX], text[ROLE_ALERT_TEXT_MAX];

	cursor_str(&c, key, sizeof(key));
	cursor_str(&c, text, sizeof(text));
	need(cursor_done(&c), m);
	if (life.ctx.role->alert != NULL)
		life.ctx.role->alert(&life.ctx, key, text);
}

/* The messages that may come both before START and after it; false when it is none of them. */
static bool receive_setup(struct imsg *m)
{
	switch (m->type) {
	case ROLE_MSG_SITE:
		receive_site(m);
		return true;
	case ROLE_MSG_FD:
		receive_fd(m);
		return true;
	case ROLE_MSG_TICKET_KEY:
		receive_ticket_key(m);
		return true;
	case ROLE_MSG_LISTENER:
		receive_listener(m);
		return true;
	case ROLE_MSG_PEER:
		receive_peer(m);
		return true;
	default:
		return false;
	}
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	(void)arg;
	if (receive_setup(m))
		return;
	switch (m->type) {
	case ROLE_MSG_UNLISTEN:
		receive_unlisten(m);
		break;
	case ROLE_MSG_RELOAD:
		adopt();
		if (life.ctx.role->reload != NULL)
			life.ctx.role->reload(&life.ctx);
		if (m->id != 0)
			chan_send(chan, ROLE_MSG_RELOADED, m->id, VIEW_NONE, -1);
		break;
	case ROLE_MSG_LOG:
		receive_log(m);
		break;
	case ROLE_MSG_STATUS:
		send_status(m->id);
		break;
	case ROLE_MSG_DRAIN:
		drain();
		break;
	case ROLE_MSG_ALERT_MAIL:
		receive_alert_mail(m);
		break;
	default:
		need(false, m);
	}
}

static void on_closed(struct chan *chan, void *arg)
{
	(void)chan;
	(void)arg;
	log_warnx("event=exit reason=\"monitor is gone\"");
	_exit(1);
}

static void on_sigterm(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	(void)arg;
	drain();
}

/* Blocks until START; listeners and peers are kept for after init. */
static void setup(void)
{
	struct buf storage = BUF_INIT(IMSG_MAX + 64);
	struct imsg m;
	bool first = true;

	for (;;) {
		if (imsg_recv(PROC_CHANNEL_FD, -1, &m, &storage) != 1)
			fatalx("event=exit reason=\"monitor is gone\"");
		if (first != (m.type == ROLE_MSG_INSTANCE))
			need(false, &m);
		first = false;
		if (m.type == ROLE_MSG_START)
			break;
		if (m.type == ROLE_MSG_INSTANCE)
			receive_instance(&m);
		else
			need(receive_setup(&m), &m);
		if (m.fd >= 0)
			close(m.fd);
	}
	buf_free(&storage);
	adopt();
	if (life.ctx.site == NULL)
		fatalx("event=protocol reason=\"START without a site\"");
}

static void hand_over_setup(void)
{
	for (size_t i = 0; i < life.peer_count; i++)
		life.ctx.role->peer(&life.ctx, life.peers[i].id, life.peers[i].instance, life.peers[i].fd);
	for (size_t i = 0; i < life.listener_count; i++)
		life.ctx.role->listener(&life.ctx, &life.listeners[i]);
}

static void enter_sandbox(void)
{
	struct sandbox box = { .user = life.ctx.role->user };
	struct error e;

	if (life.ctx.role->sandbox != NULL)
		life.ctx.role->sandbox(&life.ctx, &box);
	if (sandbox_enter(&box, &e) < 0)
		fatalx("event=sandbox reason=\"%s\"", e.text);
}

static void report_ready(void)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	char text[ROLE_SANDBOX_TEXT_MAX];

	snprintf(text, sizeof(text), "%s", sandbox_describe());
	buf_put_str(&out, text);
	chan_send(life.monitor, ROLE_MSG_READY, 0, buf_view(&out), -1);
	buf_free(&out);
}

int role_main(const struct role *role)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct error e = { "" };
	static char ident[32]; /* log.h keeps the pointer */

	/* A terminal's ^C reaches the whole group: only monitor acts on it, and drains us. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	log_init(role->name, LOG_LEVEL_INFO);
	life.ctx.role = role;
	for (size_t i = 0; i < ROLE_FD_COUNT; i++)
		life.ctx.fds[i] = life.next_fds[i] = -1;
	setup();
	if (life.ctx.instances > 1) {
		snprintf(ident, sizeof(ident), "%s.%u", role->name, life.ctx.instance);
		log_init(ident, LOG_LEVEL_INFO);
		role_log_level(life.ctx.site);
	}
	life.ctx.base = event_base_new();
	if (life.ctx.base == NULL)
		fatalx("event=start reason=\"no event base\"");
	life.sigterm = evsignal_new(life.ctx.base, SIGTERM, on_sigterm, NULL);
	if (life.sigterm == NULL || event_add(life.sigterm, NULL) < 0)
		fatalx("event=start reason=\"no signal event\"");
	if (role->init != NULL && role->init(&life.ctx, &e) < 0)
		fatalx("event=start reason=\"%s\"", e.text);
	hand_over_setup();
	enter_sandbox();
	life.started = true;
	life.monitor = chan_new(life.ctx.base, PROC_CHANNEL_FD, &ops, NULL);
	if (role->start != NULL)
		role->start(&life.ctx);
	report_ready();
	event_base_dispatch(life.ctx.base);
	return 0;
}

void role_exit(struct role_ctx *ctx)
{
	event_base_loopexit(ctx->base, NULL);
}

void role_alert(struct role_ctx *ctx, const char *key, const char *fmt, ...)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	char text[ROLE_ALERT_TEXT_MAX], name[ROLE_ALERT_KEY_MAX];
	va_list ap;

	(void)ctx;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(name, sizeof(name), "%s", key);
	for (char *p = text; *p != '\0'; p++) { /* monitor takes one line of printable text */
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	}
	log_warnx("event=alert key=%s text=\"%s\"", name, text);
	if (life.monitor == NULL)
		return;
	buf_put_str(&out, name);
	buf_put_str(&out, text);
	chan_send(life.monitor, ROLE_MSG_ALERT, 0, buf_view(&out), -1);
	buf_free(&out);
}

void role_credentials(struct role_ctx *ctx, struct view learned)
{
	(void)ctx;
	if (life.monitor != NULL)
		chan_send(life.monitor, ROLE_MSG_CREDENTIALS, 0, learned, -1);
}

void role_kill_peer(struct role_ctx *ctx, enum role_id role, unsigned instance, const char *why)
{
	struct buf out = BUF_INIT(IMSG_MAX);
	char text[ROLE_WHY_MAX];

	(void)ctx;
	if (life.monitor == NULL || role == ROLE_MONITOR || instance >= ROLE_INSTANCES_MAX)
		return;
	snprintf(text, sizeof(text), "%s", why);
	buf_put_u32(&out, role);
	buf_put_u32(&out, instance);
	buf_put_str(&out, text);
	chan_send(life.monitor, ROLE_MSG_KILL_PEER, life.lives[role][instance], buf_view(&out), -1);
	buf_free(&out);
}
