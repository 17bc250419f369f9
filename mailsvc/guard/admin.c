/* Requests of a command line: mailadm fw ban, unban, bans. */
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/imsg.h"
#include "mailsvc/guard/guard.h"

static void reply(struct chan *chan, uint32_t id, enum guard_message type, int64_t until, const char *text)
{
	struct buf out = BUF_INIT(IMSG_MAX);

	if (type == GUARD_MSG_DONE)
		buf_put_u64(&out, (uint64_t)until);
	buf_put_str(&out, text);
	chan_send(chan, type, id, buf_view(&out), -1);
	buf_free(&out);
}

static int receive_ban(struct guard *g, struct chan *chan, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct guard_source who;
	int malformed = guard_source_get(&c, &who);
	uint64_t seconds = cursor_u64(&c);
	char why[JAIL_WHY_MAX], text[512];
	const struct never_prefix *never;
	struct jail_ban b;
	struct error e = { "" };

	cursor_str(&c, why, sizeof(why));
	if (malformed < 0 || !cursor_done(&c) || !jail_why_good(why))
		return -1;
	never = never_find(&g->never, &who);
	if (never != NULL || who.family == 0) {
		never_explain(never, &who, text, sizeof(text));
		reply(chan, m->id, GUARD_MSG_REFUSED, 0, text);
		return 0;
	}
	if (jail_ban(g->jail, &who, seconds, why, clock_wall(), &b, &e) < 0) {
		reply(chan, m->id, GUARD_MSG_REFUSED, 0, e.text);
		return 0;
	}
	guard_kernel_add(g, &b, &e); /* e says why it has no effect yet */
	guard_save_now(g, &e);
	guard_source_text(&who, text);
	log_info("event=ban ip=%s seconds=%lld times=%u by=hand", text, (long long)(b.until - b.since), b.times);
	reply(chan, m->id, GUARD_MSG_DONE, b.until, e.text);
	return 0;
}

static int receive_unban(struct guard *g, struct chan *chan, struct imsg *m)
{
	struct cursor c = cursor_of(m->data.ptr, m->data.len);
	struct guard_source who;
	int malformed = guard_source_get(&c, &who);
	char text[GUARD_SOURCE_TEXT];
	struct error e = { "" };
	struct jail_ban b;

	if (malformed < 0 || !cursor_done(&c))
		return -1;
	guard_source_text(&who, text);
	/* The firewall first: what stays in it would be taken for a ban again. */
	if (jail_find(g->jail, &who, clock_wall(), &b) && guard_kernel_remove(g, &who, &e) < 0) {
		reply(chan, m->id, GUARD_MSG_REFUSED, 0, e.text);
		return 0;
	}
	if (!jail_unban(g->jail, &who, clock_wall())) {
		error_set(&e, "%s is not banned", text);
		reply(chan, m->id, GUARD_MSG_REFUSED, 0, e.text);
		return 0;
	}
	guard_save_now(g, &e);
	log_info("event=unban ip=%s by=hand", text);
	reply(chan, m->id, GUARD_MSG_DONE, 0, e.text);
	return 0;
}

static int receive_list(struct guard *g, struct chan *chan, struct imsg *m)
{
	struct buf text = BUF_INIT(STATE_TEXT_MAX);
	int fd;

	if (m->data.len != 0)
		return -1;
	state_print(g->jail, false, clock_wall(), &text);
	fd = text.full ? -1 : memfd_sealed("bans", buf_view(&text));
	if (fd < 0)
		reply(chan, m->id, GUARD_MSG_REFUSED, 0, "the list is too long");
	else
		chan_send(chan, GUARD_MSG_BANS, m->id, VIEW_NONE, fd);
	buf_free(&text);
	return 0;
}

static void on_closed(struct chan *chan, void *arg)
{
	struct guard_peer *p = arg;

	chan_free(chan);
	p->chan = NULL;
}

static void on_message(struct chan *chan, struct imsg *m, void *arg)
{
	struct guard *g = ((struct guard_peer *)arg)->guard;
	int r = -1;

	if (m->fd < 0 && m->type == GUARD_MSG_BAN)
		r = receive_ban(g, chan, m);
	else if (m->fd < 0 && m->type == GUARD_MSG_UNBAN)
		r = receive_unban(g, chan, m);
	else if (m->fd < 0 && m->type == GUARD_MSG_LIST)
		r = receive_list(g, chan, m);
	if (r < 0)
		on_closed(chan, arg);
}

void guard_admin(struct guard *g, int fd)
{
	static const struct chan_ops ops = { .message = on_message, .closed = on_closed };

	for (size_t i = 0; i < GUARD_ADMINS_MAX; i++) {
		struct guard_peer *p = &g->admins[i];

		if (p->chan != NULL)
			continue;
		*p = (struct guard_peer){ .guard = g, .role = ROLE_MONITOR };
		p->chan = chan_new(g->ctx->base, fd, &ops, p);
		return;
	}
	close(fd);
}
