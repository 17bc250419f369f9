/*
 * monitor: the parent of all roles.  It loads the site, makes folders and keys, binds, starts the roles and keeps them
 * running; it reads nothing from the network.  What it cannot do at the start it says on stderr and exits 2.
 */
#include "mailsvc/monitor/monitor.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "mailsvc/control.h"
#include "mailsvc/monitor/dkimkeys.h"
#include "mailsvc/monitor/internal.h"
#include "mailsvc/monitor/selfsigned.h"

#define FLAT_MAX ROLE_SITE_MAX
#define TEXT_MAX (1024u * 1024)
#define FILES_WANTED 65536
#define STOP_FRONT_S 8 /* then 2 more for the rest */
#define STOP_REST_S 2
#define TICKET_KEY_S (12 * 3600)

static struct monitor monitor;

/* Once: the users, the folders, and the lock before anything in them is touched. */
static int claim_state(struct monitor *m, const struct site *site, struct error *e)
{
	if (m->lock_fd >= 0)
		return 0;
	if (folders_users(e) < 0 || folders_make(site, e) < 0)
		return -1;
	m->lock_fd = folders_lock(site, e);
	return m->lock_fd < 0 ? -1 : 0;
}

/* Keys and certificate. */
static int load_rest(struct site *site, struct handout *handout, struct error *e)
{
	if (site->tls.certificate[0] == '\0') {
		int made = selfsigned_ensure(site, e);

		if (made < 0)
			return -1;
		if (made > 0)
			log_info("event=certificate reason=\"made a self-signed one\"");
	}
	if (dkim_keys_ensure(site, false, e) < 0)
		return -1;
	return handout_load(site, handout, e);
}

struct site *monitor_load(struct monitor *m, struct handout *handout, struct buf *text)
{
	struct findings findings = { 0 };
	struct site *site = serving_load(m, &findings, text);
	struct error e;

	for (size_t i = 0; i < findings.count; i++)
		buf_printf(text, "%s\n", findings.at[i].text);
	if (site == NULL && findings.count == 0)
		buf_printf(text, "%s: cannot be loaded\n", m->path);
	findings_free(&findings);
	if (site != NULL && (claim_state(m, site, &e) < 0 || load_rest(site, handout, &e) < 0)) {
		buf_printf(text, "%s: %s\n", m->path, e.text);
		site_unref(site);
		site = NULL;
	}
	return site;
}

/* What roles get: they sign with the selectors that a rollover made active. flat and digest stay the file's. */
static void make_view(struct monitor *m, struct site *site)
{
	struct error e;

	if (dkim_active_adopt(site, &e) < 0) /* dkim_keys_pack has read the same file a moment ago */
		log_warnx("event=dkim reason=\"%s\"", e.text);
	buf_reset(&m->view);
	if (site_flatten(site, &m->view) < 0 || m->view.full)
		fatalx("event=site reason=\"it is too large\"");
}

void monitor_adopt_site(struct monitor *m, struct site *site)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	site_unref(m->site);
	m->site = site;
	role_log_level(site);
	buf_reset(&m->flat);
	if (site_flatten(site, &m->flat) < 0 || m->flat.full)
		fatalx("event=site reason=\"it is too large\"");
	if (EVP_Digest(m->flat.data, m->flat.len, digest, &len, EVP_sha256(), NULL) != 1)
		fatalx("event=site reason=\"no SHA-256\"");
	make_view(m, site);
	for (unsigned i = 0; i < len; i++)
		snprintf(m->digest + 2 * i, 3, "%02x", digest[i]);
}

void monitor_child_up(struct child *c)
{
	struct monitor *m = c->monitor;

	log_debug("event=up role=%s instance=%u pid=%d", role_name(c->role), c->instance, (int)c->pid);
	if (c->was_up)
		log_info("event=restarted role=%s instance=%u pid=%d restarts=%u", role_name(c->role), c->instance,
		    (int)c->pid, c->restarts);
	c->was_up = true;
	for (size_t i = 0; i < m->child_count; i++) {
		if (m->children[i].state != CHILD_UP)
			return;
	}
	if (m->ready || m->stopping)
		return;
	m->ready = true;
	log_info("event=ready roles=%zu listeners=%zu", m->child_count, m->listeners.count);
	puts("ready");
	fflush(stdout);
	notify_systemd("READY=1");
}

static void stop_step(struct monitor *m)
{
	struct timeval limit = { .tv_sec = STOP_REST_S };

	if (!m->front_gone && children_alive(m, true) == 0) {
		m->front_gone = true;
		event_add(m->deadline, &limit);
		children_stop(m, false);
	}
	if (children_alive(m, false) == 0)
		event_base_loopexit(m->base, NULL);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;

	(void)fd;
	(void)what;
	children_kill(m, !m->front_gone);
}

static void stop(struct monitor *m)
{
	struct timeval limit = { .tv_sec = STOP_FRONT_S };
	struct listeners none = { .count = 0 };

	if (m->stopping) {
		children_kill(m, false); /* asked twice */
		return;
	}
	m->stopping = true;
	log_info("event=stop");
	notify_systemd("STOPPING=1");
	listeners_retire(&m->listeners, &none);
	event_add(m->deadline, &limit);
	children_stop(m, true);
	stop_step(m);
}

void monitor_child_gone(struct child *c)
{
	reload_progress(c->monitor);
	status_progress(c->monitor);
	if (c->monitor->stopping)
		stop_step(c->monitor);
}

void monitor_give_up(struct monitor *m, const struct child *c)
{
	if (m->stopping)
		return;
	log_warnx("event=exit role=%s reason=\"it cannot start; see its lines above\"", role_name(c->role));
	m->exit_status = 1;
	stop(m);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct monitor *m = arg;

	(void)what;
	switch (sig) {
	case SIGCHLD:
		children_reap(m);
		break;
	case SIGHUP:
		reload_begin(m);
		break;
	case SIGUSR1:
		logfile_reopen(m);
		break;
	default:
		stop(m);
	}
}

static int watch_signals(struct monitor *m)
{
	static const int signals[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT };

	signal(SIGPIPE, SIG_IGN);
	m->deadline = evtimer_new(m->base, on_deadline, m);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		m->signals[i] = evsignal_new(m->base, signals[i], on_signal, m);
		if (m->signals[i] == NULL || event_add(m->signals[i], NULL) < 0)
			return -1;
	}
	return m->deadline != NULL ? 0 : -1;
}

static void make_ticket_keys(struct monitor *m)
{
	if (RAND_bytes(&m->ticket_keys[0][0], sizeof(m->ticket_keys)) != 1)
		fatalx("event=tickets reason=\"no random bytes\"");
}

static void on_ticket_timer(evutil_socket_t fd, short what, void *arg)
{
	struct monitor *m = arg;

	(void)fd;
	(void)what;
	make_ticket_keys(m);
	for (size_t i = 0; i < m->child_count; i++)
		child_new_ticket_key(&m->children[i]);
}

static int rotate_tickets(struct monitor *m)
{
	static const struct timeval interval = { .tv_sec = TICKET_KEY_S };

	make_ticket_keys(m);
	m->ticket_timer = event_new(m->base, -1, EV_PERSIST, on_ticket_timer, m);
	return m->ticket_timer != NULL && event_add(m->ticket_timer, &interval) == 0 ? 0 : -1;
}

/* Thousands of connections need thousands of descriptors: roles inherit what monitor may have. */
static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	if (files.rlim_max < FILES_WANTED) {
		struct rlimit more = { FILES_WANTED, FILES_WANTED };

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return; /* refused without CAP_SYS_RESOURCE */
	}
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		log_warn("event=limit");
}

static void unlink_socket(const struct site *site, const char *name)
{
	char *path = xasprintf("%s/%s", site->run_dir, name);

	unlink(path);
	free(path);
}

/* Everything up to the event loop. */
static int prepare(struct monitor *m, struct error *e)
{
	if (listeners_open(m->site, NULL, &m->listeners, e) < 0)
		return -1;
	m->submit_fd = listeners_local(m->site, "submit.sock", SOCK_STREAM, 0666, e);
	if (m->submit_fd < 0)
		return -1;
	m->base = event_base_new();
	if (m->base == NULL || watch_signals(m) < 0 || rotate_tickets(m) < 0)
		return error_set(e, "no event loop");
	if (control_open(m, e) < 0)
		return -1;
	children_init(m);
	return logfile_open(m, e);
}

int monitor_main(const char *site_path)
{
	struct monitor *m = &monitor;
	struct buf text = BUF_INIT(TEXT_MAX);
	struct error e;
	struct site *site;

	log_init("monitor", LOG_LEVEL_INFO);
	umask(022);
	m->path = realpath(site_path, NULL);
	if (m->path == NULL)
		m->path = site_path;
	m->flat = m->view = BUF_INIT(FLAT_MAX);
	m->given = BUF_INIT(FLAT_MAX);
	m->reload_text = BUF_INIT(TEXT_MAX);
	m->original_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	m->started = clock_mono_ms();
	m->lock_fd = m->submit_fd = m->control_fd = -1;
	TAILQ_INIT(&m->clients);
	site = monitor_load(m, &m->handout, &text);
	fputs(buf_str(&text), stderr);
	buf_free(&text);
	if (site == NULL)
		return 2;
	monitor_adopt_site(m, site);
	raise_limits();
	if (prepare(m, &e) < 0) {
		fprintf(stderr, "mailsvc: %s\n", e.text);
		return 2;
	}
	children_start(m);
	event_base_dispatch(m->base);
	alert_stop(m);
	unlink_socket(m->site, "submit.sock");
	unlink_socket(m->site, CONTROL_SOCKET);
	log_info("event=stopped");
	return m->exit_status;
}
