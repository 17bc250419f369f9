/*
 * What a role may say to monitor: READY, RELOADED, STATUS_IS, ALERT, KILL_PEER, CREDENTIALS.  Anything else, or of
 * another shape, means that the role is no longer the program we started: the caller kills it.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/auth/credentials.h"
#include "mailsvc/monitor/internal.h"

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

struct learned {
	char address[ADDRESS_MAX], old_hash[CREDENTIALS_HASH_MAX], hash[CREDENTIALS_HASH_MAX];
};

static bool learned_get(struct cursor *in, struct learned *l, struct credentials_better *out)
{
	char keys[SCRAM_TEXT_MAX];

	cursor_str(in, l->address, sizeof(l->address));
	cursor_str(in, l->old_hash, sizeof(l->old_hash));
	cursor_str(in, l->hash, sizeof(l->hash));
	cursor_str(in, keys, sizeof(keys));
	out->address = l->address;
	out->old_hash = l->old_hash;
	out->hash = l->hash;
	return !in->bad && printable(l->address) && printable(l->hash) && strchr(l->hash, ':') == NULL &&
	       scram_keys_parse(view_of(keys), &out->keys) == 0;
}

/* auth learned better keys.  A file that cannot be written now stays as it is: the next login teaches them again. */
static int credentials(struct child *c, struct cursor *in)
{
	struct view secret = cursor_bytes(in, CREDENTIALS_SECRET_LEN);
	struct learned *learned = xcalloc(ROLE_LEARNED_MAX, sizeof(*learned));
	struct credentials_better *better = xcalloc(ROLE_LEARNED_MAX, sizeof(*better));
	size_t count = 0;
	struct error e;
	int r = -1;

	if (c->role != ROLE_AUTH || in->bad)
		goto out;
	while (!cursor_done(in) && count < ROLE_LEARNED_MAX && learned_get(in, &learned[count], &better[count]))
		count++;
	if (!cursor_done(in))
		goto out;
	char *path = site_state(c->monitor->site, "credentials");
	if (credentials_improve(path, better, count, (const uint8_t *)secret.ptr, &e) < 0)
		log_warnx("event=credentials reason=\"%s\"", e.text);
	free(path);
	r = 0;
out:
	explicit_bzero(learned, ROLE_LEARNED_MAX * sizeof(*learned));
	explicit_bzero(better, ROLE_LEARNED_MAX * sizeof(*better));
	free(learned);
	free(better);
	return r;
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
	case ROLE_MSG_CREDENTIALS:
		return credentials(c, &in);
	case ROLE_MSG_KILL_PEER:
		return kill_peer(c, &in, m->id);
	default:
		return -1;
	}
}
