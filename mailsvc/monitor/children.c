/*
 * Supervision.  A child that dies is started again: at once the first time, then after 1, 2, 4 ... 60 seconds, and at
 * once again after it has lived a minute.  Its peers get new channels; connections it held are lost, no others.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/monitor/internal.h"

#define BACKOFF_MAX_S 60
#define LIFE_MS 60000 /* of a child that is well */
#define FAILURES_AT_START 4
#define EXIT_SIGSYS 159 /* how a shell, or a sandbox that reports it, says 128 + SIGSYS */

static void log_death(const struct child *c, int status)
{
	const char *name = role_name(c->role);

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_warnx(
		    "event=died role=%s instance=%u pid=%d signal=SIGSYS reason=\"its sandbox refused a system call\"",
		    name, c->instance, (int)c->pid);
	else if (WIFSIGNALED(status))
		log_warnx("event=died role=%s instance=%u pid=%d signal=%s", name, c->instance, (int)c->pid,
		    sigabbrev_np(WTERMSIG(status)) != NULL ? sigabbrev_np(WTERMSIG(status)) : "?");
	else if (WEXITSTATUS(status) == EXIT_SIGSYS)
		log_warnx(
		    "event=died role=%s instance=%u pid=%d status=159 reason=\"its sandbox refused a system call\"",
		    name, c->instance, (int)c->pid);
	else if (WEXITSTATUS(status) != 0 || !c->monitor->stopping)
		log_warnx("event=died role=%s instance=%u pid=%d status=%d", name, c->instance, (int)c->pid,
		    WEXITSTATUS(status));
}

/* DOWN: time to start again.  STARTING: READY did not come. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;

	(void)fd;
	(void)what;
	if (c->monitor->stopping)
		return;
	if (c->state == CHILD_STARTING) {
		child_kill(c, "it did not become ready in time");
	} else if (c->state == CHILD_DOWN) {
		if (child_spawn(c) == 0)
			child_begin(c);
		else
			child_down(c);
	}
}

void child_down(struct child *c)
{
	struct timeval delay = { 0, 0 };

	if (clock_mono_ms() - c->started >= LIFE_MS)
		c->failures = 0;
	if (c->failures > 0)
		delay.tv_sec = c->failures > 6 ? BACKOFF_MAX_S : 1 << (c->failures - 1);
	c->failures++;
	c->restarts++;
	c->state = CHILD_DOWN;
	c->reloading = c->asked = 0;
	if (c->monitor->stopping)
		event_del(c->timer);
	else
		event_add(c->timer, &delay);
	if (!c->monitor->ready && c->failures >= FAILURES_AT_START)
		monitor_give_up(c->monitor, c);
	monitor_child_gone(c);
}

void child_kill(struct child *c, const char *reason)
{
	if (reason != NULL)
		log_warnx("event=kill role=%s instance=%u pid=%d reason=\"%s\"", role_name(c->role), c->instance,
		    (int)c->pid, reason);
	chan_free(c->chan);
	c->chan = NULL;
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

void children_reap(struct monitor *m)
{
	for (size_t i = 0; i < m->child_count; i++) {
		struct child *c = &m->children[i];
		int status;

		if (c->pid <= 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
			continue;
		log_death(c, status);
		chan_free(c->chan);
		c->chan = NULL;
		c->pid = 0;
		child_down(c);
	}
	alert_reap(m);
}

static unsigned instances_of(enum role_id id)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (id == ROLE_MONITOR)
		return 1;
	if (role_by_id(id) == NULL)
		return 0;
	if (!role_policy(id)->per_core || cores < 1)
		return 1;
	return cores > ROLE_INSTANCES_MAX ? ROLE_INSTANCES_MAX : (unsigned)cores;
}

void children_init(struct monitor *m)
{
	for (int id = 0; id < ROLE_COUNT; id++) {
		m->counts[id] = instances_of((enum role_id)id);
		for (unsigned i = 0; id != ROLE_MONITOR && i < m->counts[id]; i++) {
			struct child *c = &m->children[m->child_count++];

			*c = (struct child){ .role = (enum role_id)id,
				.instance = i,
				.monitor = m,
				.status = BUF_INIT(ROLE_STATUS_MAX) };
			c->timer = evtimer_new(m->base, on_timer, c);
		}
	}
}

void children_start(struct monitor *m)
{
	for (size_t i = 0; i < m->child_count; i++) {
		if (child_spawn(&m->children[i]) < 0)
			child_down(&m->children[i]);
	}
	for (size_t i = 0; i < m->child_count; i++) {
		if (m->children[i].state == CHILD_STARTING)
			child_begin(&m->children[i]);
	}
}

static bool is_front(const struct child *c)
{
	return role_policy(c->role)->front;
}

void children_stop(struct monitor *m, bool front)
{
	for (size_t i = 0; i < m->child_count; i++) {
		struct child *c = &m->children[i];

		if (c->pid > 0 && is_front(c) == front)
			child_tell(c, ROLE_MSG_DRAIN, 0, VIEW_NONE, -1);
	}
}

void children_kill(struct monitor *m, bool front)
{
	for (size_t i = 0; i < m->child_count; i++) {
		struct child *c = &m->children[i];

		if (c->pid > 0 && (!front || is_front(c)))
			child_kill(c, "it did not stop in time");
	}
}

size_t children_alive(const struct monitor *m, bool front_only)
{
	size_t n = 0;

	for (size_t i = 0; i < m->child_count; i++)
		n += m->children[i].pid > 0 && (!front_only || is_front(&m->children[i]));
	return n;
}

struct child *child_find(struct monitor *m, enum role_id role, unsigned instance)
{
	for (size_t i = 0; i < m->child_count; i++) {
		if (m->children[i].role == role && m->children[i].instance == instance)
			return &m->children[i];
	}
	return NULL;
}
