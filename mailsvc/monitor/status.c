/*
 * `mailadm status`: every role is asked for its own numbers; who has not answered within two seconds is shown without.
 * The text is one JSON object, see mailsvc(8).
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/monitor/internal.h"

#define STATUS_LIMIT_S 2

static const char *const states[] = { "down", "starting", "up" };

static json_t *role_json(struct child *c)
{
	json_t *o = json_pack("{s:s, s:i, s:i, s:s, s:I, s:i, s:s}", "role", role_name(c->role), "instance",
	    (int)c->instance, "pid", (int)c->pid, "state", states[c->state], "uptime",
	    c->pid > 0 ? (json_int_t)((clock_mono_ms() - c->started) / 1000) : (json_int_t)0, "restarts",
	    (int)c->restarts, "sandbox", c->sandbox);
	struct buf text = BUF_INIT(ROLE_STATUS_MAX + 16);
	json_t *own;

	buf_addc(&text, '{');
	buf_addv(&text, buf_view(&c->status));
	buf_addc(&text, '}');
	own = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	if (own != NULL)
		json_object_update_missing(o, own);
	else if (c->pid > 0)
		child_kill(c, "malformed status");
	json_decref(own);
	buf_free(&text);
	return o;
}

static json_t *listeners_json(const struct monitor *m)
{
	json_t *list = json_array();
	char address[64];
	unsigned port;

	for (size_t i = 0; i < m->listeners.count; i++) {
		listeners_describe(&m->listeners.at[i], address, sizeof(address), &port);
		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:i}", "service", services[m->listeners.at[i].service].name, "address",
			      address, "port", (int)port));
	}
	return list;
}

static void finish(struct monitor *m)
{
	json_t *roles = json_array(), *top;
	bool up = true;
	char *text;

	m->status_id = 0;
	event_del(m->status_timer);
	for (size_t i = 0; i < m->child_count; i++) {
		up = up && m->children[i].state == CHILD_UP;
		json_array_append_new(roles, role_json(&m->children[i]));
	}
	top = json_pack("{s:s, s:i, s:I, s:b, s:s, s:s, s:o, s:o, s:{s:s, s:I, s:b}}", "version", MAILADM_VERSION,
	    "pid", (int)getpid(), "uptime", (json_int_t)((clock_mono_ms() - m->started) / 1000), "ready", up, "site",
	    m->path, "digest", m->digest, "roles", roles, "listeners", listeners_json(m), "certificate", "file",
	    m->handout.certificate, "expires", (json_int_t)m->handout.not_after, "self_signed", m->handout.self_signed);
	text = top != NULL ? json_dumps(top, JSON_COMPACT) : NULL;
	if (text != NULL)
		control_answer(m, CLIENT_STATUS, 0, false, view_of(text));
	else
		control_answer(m, CLIENT_STATUS, 0, true, view_of("a path in the site is not UTF-8"));
	free(text);
	json_decref(top);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

/* A child that still owes an earlier answer is not asked twice: its queue must not grow. */
void status_begin(struct monitor *m)
{
	struct timeval limit = { .tv_sec = STATUS_LIMIT_S };

	if (m->status_id != 0)
		return;
	if (m->status_timer == NULL)
		m->status_timer = evtimer_new(m->base, on_limit, m);
	m->status_id = ++m->last_id;
	for (size_t i = 0; i < m->child_count; i++) {
		struct child *c = &m->children[i];

		buf_reset(&c->status);
		if (c->state == CHILD_UP && c->chan != NULL && c->asked == 0) {
			c->asked = m->status_id;
			child_tell(c, ROLE_MSG_STATUS, c->asked, VIEW_NONE, -1);
		}
	}
	event_add(m->status_timer, &limit);
	status_progress(m);
}

void status_progress(struct monitor *m)
{
	if (m->status_id == 0)
		return;
	for (size_t i = 0; i < m->child_count; i++) {
		if (m->children[i].asked == m->status_id)
			return;
	}
	finish(m);
}
