/*
 * The guard role: hears of offences and logins, decides (jail.h), and puts bans into the firewall.  It has
 * CAP_NET_ADMIN and the folder STATE/bans, and no other right.  Whoever is taken over among smtp, login and auth can
 * have strangers banned, a bounded number of them, and never those of never.h.
 *
 * The file is written when a ban begins or ends, but at most once a second, and less often when it is long: whoever is
 * banned between the last writing and kill -9 is found in the kernel again.  What the administrator asks is written
 * before the answer.
 */
#include "mailsvc/guard/guard.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/imsg.h"

#define TICK_S 1
#define SAVE_MS 1000
#define SAVE_REST 20 /* after writing, times as long without */
#define SAVE_FAILED_MS 30000
#define MACHINE_MS 60000
#define CAP_LOG_MS 60000
#define CLOCK_JUMP_S 5

static int save(struct guard *g, bool at_once, struct error *e)
{
	uint64_t begun = clock_mono_ms(), took;
	int dir = g->ctx->fds[ROLE_FD_BANS_DIR];

	if (!g->unsaved || (!at_once && begun < g->save_again))
		return 0;
	if (dir < 0) {
		return error_set(e, "there is no folder " STATE_FOLDER);
	} else if (guard_state_save(dir, g->jail, clock_wall(), e) < 0) {
		if (!g->save_failed)
			role_alert(g->ctx, "bans", "bans cannot be written down: %s", e->text);
		g->save_failed = true;
		g->save_again = begun + SAVE_FAILED_MS;
		return -1;
	}
	took = SAVE_REST * (clock_mono_ms() - begun);
	g->save_again = begun + (took > SAVE_MS ? took : SAVE_MS);
	g->unsaved = g->save_failed = false;
	return 0;
}

void guard_changed(struct guard *g)
{
	struct error e;

	g->unsaved = true;
	save(g, false, &e);
}

int guard_save_now(struct guard *g, struct error *e)
{
	g->unsaved = true;
	return save(g, true, e);
}

/* What peers say --------------------------------------------------------------------------------------------------- */

static void capped(struct guard *g)
{
	uint64_t now = clock_mono_ms();

	g->capped++;
	if (g->cap_logged != 0 && now - g->cap_logged < CAP_LOG_MS)
		return;
	g->cap_logged = now;
	role_alert(g->ctx, "bans-cap", "more sources offend than are banned in a minute (%d) or at once (%d)",
	    JAIL_RATE, JAIL_AUTOMATIC);
}

static void offence(struct guard *g, const struct guard_source *who, enum offence what)
{
	struct jail_ban b;
	struct error e;
	char text[GUARD_SOURCE_TEXT];

	g->offences++;
	if (!g->ctx->site->firewall.ban)
		return;
	if (never_find(&g->never, who) != NULL) {
		g->never_count++;
		return;
	}
	switch (jail_offence(g->jail, who, what, clock_wall(), &b)) {
	case JAIL_BANNED:
		break;
	case JAIL_SPARED:
		g->spared++;
		return;
	case JAIL_CAPPED:
		capped(g);
		return;
	case JAIL_COUNTED:
	case JAIL_ALREADY:
		return;
	}
	g->banned++;
	guard_source_text(who, text);
	if (guard_kernel_add(g, &b, &e) < 0)
		log_warnx("event=ban ip=%s result=waits reason=\"%s\"", text, e.text);
	log_info(
	    "event=ban ip=%s seconds=%lld times=%u why=\"%s\"", text, (long long)(b.until - b.since), b.times, b.why);
	guard_changed(g);
}

static int receive_offence(struct guard_peer *p, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	unsigned what = cursor_u8(&c);
	struct guard_source who;

	if (guard_source_get(&c, &who) < 0 || !cursor_done(&c) || what >= OFFENCE_COUNT ||
	    (what == OFFENCE_LOGIN) != (p->role == ROLE_AUTH))
		return -1;
	offence(p->guard, &who, (enum offence)what);
	return 0;
}

static int receive_login(struct guard_peer *p, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct guard_source who;

	if (guard_source_get(&c, &who) < 0 || !cursor_done(&c) || p->role != ROLE_AUTH)
		return -1;
	jail_login(p->guard->jail, &who, clock_wall());
	return 0;
}

static void drop_peer(struct guard_peer *p, const char *why)
{
	if (why != NULL)
		role_kill_peer(p->guard->ctx, p->role, p->instance, why);
	chan_free(p->chan);
	p->chan = NULL;
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct guard_peer *p = arg;
	int r = -1;

	(void)chan;
	if (m->fd < 0 && m->id == 0 && m->type == GUARD_MSG_OFFENCE)
		r = receive_offence(p, m);
	else if (m->fd < 0 && m->id == 0 && m->type == GUARD_MSG_LOGIN)
		r = receive_login(p, m);
	if (r == 0)
		return;
	log_warnx("event=protocol peer=%s type=%u result=closed", role_name(p->role), m->type);
	drop_peer(p, "malformed message");
}

static void on_closed(struct chan *chan, void *arg)
{
	drop_peer(arg, chan_broken(chan) ? "malformed message" : NULL);
}

static void peer(struct role_ctx *ctx, enum role_id id, unsigned instance, int fd)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };
	struct guard *g = ctx->state;
	struct guard_peer *p = &g->peers[id][instance];

	if (id == ROLE_MONITOR) {
		guard_admin(g, fd);
		return;
	}
	chan_free(p->chan);
	*p = (struct guard_peer){ .guard = g, .role = id, .instance = instance };
	p->chan = chan_new(ctx->base, fd, &ops, p);
}

/* Life
 * ----------------------------------------------------------------------------------------------------------------- */

static void learn_never(struct guard *g)
{
	never_free(&g->never);
	never_of_site(&g->never, g->ctx->site);
	never_add_machine(&g->never, g->machine);
	g->never_again = clock_mono_ms() + MACHINE_MS;
}

static void use_rules(struct guard *g)
{
	const struct site *s = g->ctx->site;

	learn_never(g);
	g->aside = s->port_offset != 0;
	jail_rules(g->jail, (unsigned)s->firewall.ban_after, s->firewall.ban_time, s->firewall.ban_max);
}

struct lifting {
	struct guard *guard;
	struct buf sources;
};

static void find_lifted(const struct jail_ban *b, void *arg)
{
	struct lifting *l = arg;

	if (never_find(&l->guard->never, &b->who) != NULL)
		guard_source_put(&l->sources, &b->who);
}

/* Bans of those who have become never-banned. */
static void lift(struct guard *g)
{
	struct lifting l = { g, BUF_INIT(STATE_TEXT_MAX) };
	struct guard_source who;
	struct cursor c;
	struct error e;
	char text[GUARD_SOURCE_TEXT];

	jail_each(g->jail, true, clock_wall(), find_lifted, &l);
	c = cursor_of(l.sources.data, l.sources.len);
	while (c.left > 0 && guard_source_get(&c, &who) == 0) {
		jail_unban(g->jail, &who, clock_wall());
		guard_kernel_remove(g, &who, &e);
		guard_changed(g);
		guard_source_text(&who, text);
		log_info("event=unban ip=%s by=site", text);
	}
	buf_free(&l.sources);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct guard *g = arg;
	int64_t apart = clock_wall() - (int64_t)(clock_mono_ms() / 1000);
	struct error e;
	bool jumped = llabs(apart - g->clocks_apart) > CLOCK_JUMP_S;

	(void)fd;
	(void)what;
	g->clocks_apart = apart;
	if (clock_mono_ms() >= g->never_again)
		learn_never(g);
	if (jail_expire(g->jail, clock_wall()) > 0)
		g->unsaved = true;
	guard_sync(g, jumped);
	save(g, false, &e);
}

static int init(struct role_ctx *ctx, struct error *e)
{
	struct guard *g = xcalloc(1, sizeof(*g));

	ctx->state = g;
	g->ctx = ctx;
	g->jail = jail_new();
	g->machine = never_machine_open();
	g->kernel = bans_open(e);
	if (g->kernel == NULL)
		view_copy(view_of(e->text), g->kernel_why, sizeof(g->kernel_why));
	g->clocks_apart = clock_wall() - (int64_t)(clock_mono_ms() / 1000);
	g->tick = event_new(ctx->base, -1, EV_PERSIST, on_tick, g);
	return g->tick != NULL ? 0 : error_set(e, "no timer");
}

static void sandbox(struct role_ctx *ctx, struct sandbox *box)
{
	static const char *paths[2];

	paths[0] = site_state(ctx->site, STATE_FOLDER);
	box->may |= SANDBOX_OPEN_WRITE | SANDBOX_MEMFD | SANDBOX_NET_ADMIN;
	box->write_paths = paths;
}

/* The file is read only now: it may hold anything. */
static void start(struct role_ctx *ctx)
{
	static const struct timeval interval = { .tv_sec = TICK_S };
	struct guard *g = ctx->state;
	struct error e;
	int r;

	use_rules(g);
	r = ctx->fds[ROLE_FD_BANS_DIR] < 0 ? 0
	                                   : guard_state_load(ctx->fds[ROLE_FD_BANS_DIR], g->jail, clock_wall(), &e);
	if (r != 0)
		role_alert(ctx, "bans-file", "%s", e.text);
	guard_sync(g, true);
	lift(g);
	event_add(g->tick, &interval);
}

static void reload(struct role_ctx *ctx)
{
	struct guard *g = ctx->state;

	use_rules(g);
	lift(g);
	guard_sync(g, true);
}

static void drain(struct role_ctx *ctx)
{
	struct error e;

	save(ctx->state, true, &e);
	role_exit(ctx);
}

static void status(struct role_ctx *ctx, struct buf *out)
{
	const struct guard *g = ctx->state;

	buf_printf(out,
	    "\"banning\": %s, \"firewall\": \"%s\", \"bans\": %zu, \"watched\": %zu, \"offences\": %llu, \"banned\": "
	    "%llu, "
	    "\"spared\": %llu, \"never\": %llu, \"capped\": %llu",
	    ctx->site->firewall.ban ? "true" : "false", g->kernel_why[0] == '\0' ? "ok" : g->kernel_why,
	    jail_count(g->jail), jail_watched(g->jail), (unsigned long long)g->offences, (unsigned long long)g->banned,
	    (unsigned long long)g->spared, (unsigned long long)g->never_count, (unsigned long long)g->capped);
}

const struct role role_guard = {
	.id = ROLE_GUARD,
	.name = "guard",
	.user = "mailadm-guard",
	.init = init,
	.sandbox = sandbox,
	.start = start,
	.reload = reload,
	.peer = peer,
	.drain = drain,
	.status = status,
};
