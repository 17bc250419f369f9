/*
 * apply.h: the watchdogs.  Two processes, in sessions (with systemd: units) of their own and with nothing in common but
 * the folder, so that neither a closed terminal, an ssh session that ends, nor kill -9 of mailadm or of one of them
 * leaves a change for ever.  They look ten times a second: whether the process that applies still lives, and whether
 * the time is over (CLOCK_BOOTTIME, which no change of the wall clock moves).  They take the lock only to act.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply/apply.h"
#include "lib/proc.h"

#define LOOK_MS 100
#define ARM_MS 10000
#define LOCK_MS 60000
#define TRIES_MAX 20 /* then the administrator is told, and tries are */
#define TRY_MS 3000
#define SLOW_MS 300000 /* as far apart: a disk that was full may have room again */

static const char *const names[] = { "a", "b" };

/* ---- starting */

_Noreturn static void become(char *const argv[], const char *log_path)
{
	static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		NULL };
	int null = open("/dev/null", O_RDWR), log = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	signal(SIGHUP, SIG_IGN);
	if (setsid() < 0 || fork() != 0) /* the child of a process that is gone belongs to nobody's session */
		_exit(0);
	if (chdir("/") < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(log >= 0 ? log : null, 2) < 0 || close_range(3, ~0U, 0) < 0)
		_exit(1);
	execve("/proc/self/exe", argv, environment);
	_exit(1);
}

static int start_detached(const struct apply_dir *d, char *const argv[], struct error *e)
{
	char *log_path = apply_file(d, "log");
	pid_t pid = fork();
	int status;

	if (pid == 0)
		become(argv, log_path);
	free(log_path);
	if (pid < 0)
		return error_errno(e, "no process for the watchdog");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* systemd starts a unit in its own namespaces: in others the way back would be that of another network. */
static bool is_systemds(const char *name)
{
	char *ours = xasprintf("/proc/self/ns/%s", name), *its = xasprintf("/proc/1/ns/%s", name);
	struct stat a, b;
	bool same = stat(ours, &a) == 0 && stat(its, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;

	free(ours);
	free(its);
	return same;
}

static bool has_units(void)
{
	return geteuid() == 0 && access("/run/systemd/system", F_OK) == 0 && is_systemds("net") && is_systemds("mnt");
}

/* An ssh session's cgroup may be killed as a whole when it ends: systemd gives the watchdog one of its own, and starts
 * it again when it is killed. */
static int start_unit(const struct generation *g, char *const argv[], struct error *e)
{
	char self[4096], *unit = xasprintf("--unit=mailadm-watchdog-%u-%s", g->number, argv[5]);
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *run[] = { "systemd-run", "--collect", "--quiet", "--property=Restart=on-abnormal",
		"--property=RestartSec=3", unit, self, argv[1], argv[2], argv[3], argv[4], argv[5],
		NULL };
	struct buf err = BUF_INIT(4096);
	int r;

	self[n > 0 ? n : 0] = '\0';
	r = proc_run(run, VIEW_NONE, NULL, &err, e);
	if (r > 0)
		r = error_set(e, "systemd-run: %.300s", buf_str(&err));
	buf_free(&err);
	free(unit);
	return r;
}

/* A watchdog holds its file locked for as long as it lives: no byte on a full disk is needed for that. */
static int wait_armed(const struct apply_dir *d, const struct generation *g, const char *name, struct error *e)
{
	char *path = generation_file(d, g->number, name);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), r = -1;

	for (unsigned waited = 0; fd >= 0 && r < 0 && waited < ARM_MS; waited += 10) {
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			r = 0;
		else if (flock(fd, LOCK_UN) == 0)
			poll(NULL, 0, 10);
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return r == 0 ? 0 : error_set(e, "the watchdog did not start within %d s; see %s/log", ARM_MS / 1000, d->path);
}

int watchdog_arm(const struct apply_dir *d, const struct generation *g, struct error *e)
{
	bool units = has_units();
	char number[16], file[16];
	int r = 0;

	snprintf(number, sizeof(number), "%u", g->number);
	for (size_t i = 0; i < 2 && r == 0; i++) {
		char *argv[] = { "mailadm", "apply", "--watchdog", d->state_dir, number, (char *)(uintptr_t)names[i],
			NULL };

		r = units ? start_unit(g, argv, e) : start_detached(d, argv, e);
	}
	for (size_t i = 0; i < 2 && r == 0; i++) {
		snprintf(file, sizeof(file), "watchdog-%s", names[i]);
		r = wait_armed(d, g, file, e);
	}
	return r;
}

/* ---- watching */

/* The lock says it; the number is for people. */
static int say_armed(const struct apply_dir *d, unsigned number, const char *name, struct error *e)
{
	char file[32], *path;
	int fd, r = 0;

	snprintf(file, sizeof(file), "watchdog-%.8s", name);
	path = generation_file(d, number, file);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	for (unsigned waited = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
	     waited += 1) { /* who waits looks through it */
		if (waited == ARM_MS) {
			r = error_set(e, "%s: another one watches", path);
			break;
		}
		poll(NULL, 0, 1);
	}
	if (fd < 0)
		r = error_errno(e, "%s", path);
	else if (r == 0 && dprintf(fd, "%d\n", (int)getpid()) < 0)
		log_debug("event=watchdog reason=\"no room for its number\"");
	free(path);
	return r;
}

static bool alive(const struct generation *g)
{
	return g->pid > 0 && process_start("/proc", g->pid) == g->pid_start && g->pid_start != 0;
}

/* An apply that hangs past its limit, or is stopped, is ended: its way back is on the disk. */
static void end_hung(const struct generation *g)
{
	int fd = (int)syscall(SYS_pidfd_open, g->pid, 0);

	if (fd >= 0 && alive(g)) {
		log_warnx("event=watchdog generation=%u reason=\"the apply hangs: ended\"", g->number);
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	}
	if (fd >= 0)
		close(fd);
}

static bool is_due(const struct generation *g)
{
	bool over = g->deadline != 0 && clock_boot_ms() >= g->deadline;

	if (over && alive(g)) /* a pending one, too: who applied it may be stopped and hold the lock */
		end_hung(g);
	return g->state == GEN_PENDING ? over : !alive(g);
}

/* Still ours to watch?  *due when there is something to do. */
static bool look(const struct apply_dir *d, unsigned number, bool *due)
{
	struct generation g;
	struct error e = { "" };
	unsigned pending;
	int r = pending_read(d, &pending, &e);

	*due = false;
	if (r == 0 || (r == 1 && pending != number))
		return false;
	if (r < 0 || generation_load(d, number, &g, &e) < 0) {
		*due = true; /* settle says what is wrong */
		return true;
	}
	*due = is_due(&g);
	generation_free(&g);
	return true;
}

/* True when it is over. */
static bool act(struct apply_dir *d, struct error *e)
{
	struct generation g = { .number = 0 };
	enum settle s = SETTLE_WAITS;

	if (apply_dir_lock(d, LOCK_MS, e) != 0)
		return false;
	s = apply_settle(d, false, "", &g, e);
	apply_dir_unlock(d);
	if (s == SETTLE_TAKEN_BACK || s == SETTLE_FAILED)
		log_warnx("event=watchdog generation=%u reason=\"%s\"", g.number, e->text);
	if (s == SETTLE_TAKEN_BACK)
		apply_tell(d, &g, e->text);
	if (s == SETTLE_FINISHED)
		log_info("event=watchdog generation=%u reason=\"finished its confirmation\"", g.number);
	generation_free(&g);
	return s != SETTLE_FAILED && s != SETTLE_WAITS;
}

/* Out of memory, others go first. */
static void protect(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "-1000", 5) < 0) /* not root: only a wish */
			log_debug("event=watchdog reason=\"oom_score_adj\"");
		close(fd);
	}
}

static void tell_failure(const struct apply_dir *d, unsigned number, const char *text)
{
	struct generation g;

	if (generation_load(d, number, &g, &(struct error){ "" }) < 0)
		return;
	apply_tell(d, &g, text);
	generation_free(&g);
}

int watchdog_main(const char *state_dir, unsigned number, const char *name)
{
	struct apply_dir d;
	struct error e = { "" };
	unsigned tries = 0;
	bool due;

	log_init("watchdog", LOG_LEVEL_INFO);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	protect();
	if (apply_dir_open(state_dir, false, &d, &e) < 0 || say_armed(&d, number, name, &e) < 0) {
		log_warnx("event=watchdog generation=%u reason=\"%s\"", number, e.text);
		return 1;
	}
	while (look(&d, number, &due)) {
		if (due && act(&d, &e))
			break;
		if (due && ++tries == TRIES_MAX)
			tell_failure(&d, number, e.text);
		poll(NULL, 0, !due ? LOOK_MS : tries < TRIES_MAX ? TRY_MS : SLOW_MS);
	}
	apply_dir_close(&d);
	return 0;
}
