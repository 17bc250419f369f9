/*
 * Reload: everything that can be wrong is found out first (site, certificate, keys, new listeners); then all roles get
 * the new state together.  With an error nobody gets anything.  A second request meanwhile runs after the first.
 */
#include <stdlib.h>
#include <string.h>

#include "mailsvc/monitor/internal.h"

#define RELOAD_LIMIT_S 30

static void finish(struct monitor *m, bool failed)
{
	uint32_t id = m->reload_id;
	bool again = m->reload_again;

	m->reload_id = 0;
	m->reload_again = false;
	event_del(m->reload_timer);
	log_info("event=reload result=%s", failed ? "refused" : m->held ? "held" : "ok");
	control_answer(m, CLIENT_RELOAD, id, failed || m->held, buf_view(&m->reload_text));
	if (again)
		reload_begin(m);
}

static void log_lines(struct view text)
{
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;

		log_warnx("event=reload reason=\"%.*s\"", (int)len, text.ptr);
		text.ptr += len + (end != NULL);
		text.len -= len + (end != NULL);
	}
}

/* What a running host cannot change. */
static int check_fixed(const struct monitor *m, const struct site *next, struct buf *text)
{
	if (strcmp(m->site->state_dir, next->state_dir) == 0 && strcmp(m->site->run_dir, next->run_dir) == 0)
		return 0;
	buf_printf(
	    text, "%s: state_dir and run_dir cannot change while the host runs; stop it and start it anew\n", m->path);
	return -1;
}

/* Replaces everything at once; answers which services listen differently. -1: nothing changed. */
static int apply(struct monitor *m, unsigned *changed)
{
	struct listeners listeners, old;
	struct handout handout;
	struct error e;
	struct site *next = monitor_load(m, &handout, &m->reload_text);

	if (next == NULL)
		return -1;
	if (check_fixed(m, next, &m->reload_text) < 0)
		goto refuse;
	if (listeners_open(next, &m->listeners, &listeners, &e) < 0) {
		buf_printf(&m->reload_text, "%s: %s\n", m->path, e.text);
		goto refuse;
	}
	old = m->listeners;
	m->listeners = listeners;
	*changed = listeners_retire(&old, &m->listeners);
	handout_free(&m->handout);
	m->handout = handout;
	monitor_adopt_site(m, next);
	return 0;
refuse:
	handout_free(&handout);
	site_unref(next);
	return -1;
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < m->child_count; i++) {
		struct child *c = &m->children[i];

		if (c->reloading == m->reload_id)
			buf_printf(&m->reload_text, "role %s (instance %u) has not answered within %d s\n",
			    role_name(c->role), c->instance, RELOAD_LIMIT_S);
	}
	log_lines(buf_view(&m->reload_text));
	finish(m, true);
}

static void claim_clients(struct monitor *m)
{
	struct client *client;

	TAILQ_FOREACH(client, &m->clients, entry)
	{
		if (client->wants == CLIENT_RELOAD && client->waiting == 0)
			client->waiting = m->reload_id;
	}
}

void reload_begin(struct monitor *m)
{
	struct timeval limit = { .tv_sec = RELOAD_LIMIT_S };
	unsigned changed = 0;
	bool failed;

	if (m->stopping)
		return;
	if (m->reload_id != 0) {
		m->reload_again = true;
		return;
	}
	if (m->reload_timer == NULL)
		m->reload_timer = evtimer_new(m->base, on_limit, m);
	m->reload_id = ++m->last_id;
	claim_clients(m);
	buf_reset(&m->reload_text);
	failed = apply(m, &changed) < 0;
	log_lines(buf_view(&m->reload_text));
	if (failed) {
		finish(m, true);
		return;
	}
	logfile_reopen(m);
	for (size_t i = 0; i < m->child_count; i++)
		child_reload(&m->children[i], m->reload_id, changed);
	event_add(m->reload_timer, &limit);
	reload_progress(m);
}

void reload_progress(struct monitor *m)
{
	if (m->reload_id == 0)
		return;
	for (size_t i = 0; i < m->child_count; i++) {
		if (m->children[i].reloading == m->reload_id)
			return;
	}
	finish(m, false);
}
