/*
 * What a role may say to monitor: READY, RELOADED, STATUS_IS, ALERT, KILL_PEER.  Anything else, or of another shape,
 * means that the role is no longer the program we started: the caller kills it.
 */
#include <string.h>

#include "lib/clock.h"
#include "mailsvc/monitor/internal.h"

#define ALERT_INTERVAL_MS (3600u * 1000)

/* One line of printable text, so that it can go to a log, a mail and a terminal. */
static bool printable(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	}
	return true;
}

static int ready(struct child *c, struct cursor *in)
{
	cursor_str(in, c->sandbox, sizeof(c->sandbox));
	if (!cursor_done(in) || c->state != CHILD_STARTING || !printable(c->sandbox)) {
		c->sandbox[0] = '\0';
		return -1;
	}
	event_del(c->timer);
	c->state = CHILD_UP;
	monitor_child_up(c);
	return 0;
}

static int reloaded(struct child *c, struct cursor *in, uint32_t id)
{
	if (!cursor_done(in) || id == 0 || c->reloading == 0 || id > c->reloading)
		return -1;
	if (c->reloading == id)
		c->reloading = 0;
	reload_progress(c->monitor);
	return 0;
}

static int status_is(struct child *c, struct cursor *in, uint32_t id)
{
	struct view text = cursor_blob(in, ROLE_STATUS_MAX);

	if (!cursor_done(in) || c->asked == 0 || id != c->asked)
		return -1;
	c->asked = 0;
	buf_reset(&c->status);
	buf_addv(&c->status, text);
	status_progress(c->monitor);
	return 0;
}

static int alert(struct child *c, struct cursor *in)
{
	char key[ROLE_ALERT_KEY_MAX], text[ROLE_ALERT_TEXT_MAX];

	cursor_str(in, key, sizeof(key));
	cursor_str(in, text, sizeof(text));
	if (!cursor_done(in) || !printable(key) || !printable(text))
		return -1;
	alert_receive(c, key, text);
	return 0;
}

/* life says which process is meant: one that took the place of a peer that died is left alone. */
static int kill_peer(struct child *c, struct cursor *in, uint32_t life)
{
	enum role_id role = (enum role_id)cursor_u32(in);
	unsigned instance = cursor_u32(in);
	char why[ROLE_WHY_MAX];
	struct child *peer = child_find(c->monitor, role, instance);

	cursor_str(in, why, sizeof(why));
	if (!cursor_done(in) || !printable(why) || peer == NULL || !role_may_kill(c->role, role))
		return -1;
	if (peer->chan == NULL || peer->restarts != life)
		return 0;
	log_warnx("event=peer-killed role=%s instance=%u pid=%d by=%s reason=\"%s\"", role_name(role), instance,
	    (int)peer->pid, role_name(c->role), why);
	child_kill(peer, NULL);
	return 0;
}

int child_message(struct child *c, struct imsg *m)
{
	struct cursor in = cursor_of(m->data.ptr, m->data.len);

	if (m->fd >= 0)
		return -1;
	switch (m->type) {
	case ROLE_MSG_READY:
		return ready(c, &in);
	case ROLE_MSG_RELOADED:
		return reloaded(c, &in, m->id);
	case ROLE_MSG_STATUS_IS:
		return status_is(c, &in, m->id);
	case ROLE_MSG_ALERT:
		return alert(c, &in);
	case ROLE_MSG_KILL_PEER:
		return kill_peer(c, &in, m->id);
	default:
		return -1;
	}
}

/* The place for key: its own, a free one, or the oldest if that may speak again; NULL: not now. */
static struct alert *alert_slot(struct monitor *m, const char *key, uint64_t now)
{
	struct alert *oldest = NULL;

	for (size_t i = 0; i < m->alert_count; i++) {
		struct alert *a = &m->alerts[i];

		if (strcmp(a->key, key) == 0)
			return now - a->mailed >= ALERT_INTERVAL_MS ? a : NULL;
		if (oldest == NULL || a->mailed < oldest->mailed)
			oldest = a;
	}
	if (m->alert_count < ALERT_KEYS_MAX)
		return &m->alerts[m->alert_count++];
	return now - oldest->mailed >= ALERT_INTERVAL_MS ? oldest : NULL;
}

void alert_receive(struct child *c, const char *key, const char *text)
{
	struct monitor *m = c->monitor;
	struct child *smtp = child_find(m, ROLE_SMTP, 0);
	struct buf out = BUF_INIT(IMSG_MAX);
	struct alert *slot;

	if (smtp == NULL || smtp->state != CHILD_UP)
		return; /* the role logged it, and its next alert of this key comes through */
	slot = alert_slot(m, key, clock_mono_ms());
	if (slot == NULL)
		return;
	view_copy(view_of(key), slot->key, sizeof(slot->key));
	slot->mailed = clock_mono_ms();
	log_warnx("event=alert role=%s key=\"%s\" mailed=yes", role_name(c->role), key);
	buf_put_str(&out, key);
	buf_put_str(&out, text);
	child_tell(smtp, ROLE_MSG_ALERT_MAIL, 0, buf_view(&out), -1);
	buf_free(&out);
}
