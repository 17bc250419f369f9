/*
 * proc.h: starting processes.  proc_spawn_self forks a single-threaded parent; the child touches nothing of it and
 * execs at once.  proc_run is posix_spawnp and poll: no shell, no descriptor beyond 2 inherited.  What it runs gets a
 * process group, so that a limit ends also what the program has started, and Ctrl-C does not cut it off half-way.
 */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"

#define LIMIT_ENV "MAILADM_TEST_TOOL_LIMIT" /* seconds */
#define LIMIT_MAX_S 3600
#define KILLED_MS 5000 /* for a killed program to go: one that the kernel holds is left behind */
#define ENV_MAX 16
#define CHUNK 65536
#define HIGH_FD 10 /* out of the way of 0 to PROC_CHANNEL_FD */

/* What a role may know of its parent's environment. */
static void minimal_environment(char *env[ENV_MAX])
{
	static const char *const kept[] = { "TZ", "LANG", "JOURNAL_STREAM", "ASAN_OPTIONS", "UBSAN_OPTIONS",
		"LSAN_OPTIONS" };
	size_t n = 0;

	env[n++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);
		if (value != NULL)
			env[n++] = xasprintf("%s=%s", kept[i], value);
	}
	env[n] = NULL;
}

static void default_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL); /* fails for SIGKILL, SIGSTOP and libc's own: as it should */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void become(char *const argv[], char *env[], int channel, int log_fd, pid_t parent)
{
	int ch, lg, null;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(1);
	default_signals();
	ch = fcntl(channel, F_DUPFD, HIGH_FD);
	lg = fcntl(log_fd, F_DUPFD, HIGH_FD);
	null = open("/dev/null", O_RDWR);
	if (ch == -1 || lg == -1 || null == -1)
		fatal("%s: descriptors", argv[0]);
	if (dup2(null, 0) == -1 || dup2(null, 1) == -1 || dup2(lg, 2) == -1 || dup2(ch, PROC_CHANNEL_FD) == -1)
		fatal("%s: dup2", argv[0]);
	if (close_range(PROC_CHANNEL_FD + 1, ~0U, 0) == -1)
		fatal("%s: close_range", argv[0]);
	execve("/proc/self/exe", argv, env);
	fatal("%s: exec /proc/self/exe", argv[0]);
}

pid_t proc_spawn_self(char *const argv[], int channel, int log_fd, struct error *e)
{
	char *env[ENV_MAX];
	sigset_t all, old;
	pid_t parent = getpid();

	minimal_environment(env);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old); /* the parent's handlers must not run in the child */
	pid_t pid = fork();
	if (pid == 0)
		become(argv, env, channel, log_fd, parent);
	int err = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	for (size_t i = 0; env[i] != NULL; i++)
		free(env[i]);
	errno = err;
	return pid == -1 ? error_errno(e, "%s: fork", argv[0]) : pid;
}

struct run {
	struct view input;
	struct buf *out[2]; /* what comes from its 1 and 2; NULL is discarded */
	int fd[3];          /* our ends; -1 when closed */
	bool limited;
	uint64_t end; /* by clock_mono_ms */
};

unsigned proc_limit(void)
{
	const char *text = getenv(LIMIT_ENV);
	unsigned long limit = text != NULL ? strtoul(text, NULL, 10) : 0;

	return limit > 0 && limit <= LIMIT_MAX_S ? (unsigned)limit : PROC_LIMIT_S;
}

/* For poll: -1 is for ever, 0 means that the time is over. */
static int time_left(const struct run *run)
{
	uint64_t now = clock_mono_ms();

	return !run->limited ? -1 : now >= run->end ? 0 : (int)(run->end - now);
}

static void close_end(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

static int spawn(char *const argv[], struct run *run, pid_t *pid, struct error *e)
{
	int theirs[3] = { -1, -1, -1 };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = 0;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr,
	    (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (run->limited ? POSIX_SPAWN_SETPGROUP : 0)));
	for (int i = 0; i < 3 && r == 0; i++) {
		int p[2];
		if (pipe2(p, O_CLOEXEC) == -1) {
			r = errno;
			break;
		}
		run->fd[i] = p[i == 0];
		theirs[i] = fcntl(p[i != 0], F_DUPFD_CLOEXEC, HIGH_FD);
		r = theirs[i] == -1 ? errno : posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
		close(p[i != 0]);
	}
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	if (r == 0)
		r = posix_spawnp(pid, argv[0], &actions, &attr, argv, environ);
	for (int i = 0; i < 3; i++)
		close_end(&theirs[i]);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (r != 0)
		error_set(e, "cannot run %s: %s", argv[0], strerror(r));
	errno = r;
	return r == 0 ? 0 : -1;
}

static void feed(struct run *run)
{
	ssize_t n = write(run->fd[0], run->input.ptr, run->input.len < CHUNK ? run->input.len : CHUNK);

	if (n == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* it does not want the rest */
		close_end(&run->fd[0]);
		return;
	}
	run->input.ptr += n;
	run->input.len -= (size_t)n;
	if (run->input.len == 0)
		close_end(&run->fd[0]);
}

static void drain(int *fd, struct buf *to)
{
	char chunk[CHUNK];
	ssize_t n = read(*fd, chunk, sizeof(chunk));

	if (n == -1 && errno == EINTR)
		return;
	if (n <= 0)
		close_end(fd);
	else if (to != NULL)
		buf_add(to, chunk, (size_t)n);
}

static void talk(struct run *run)
{
	if (run->input.len == 0)
		close_end(&run->fd[0]);
	else
		fcntl(run->fd[0], F_SETFL, O_NONBLOCK);
	while (run->fd[1] != -1 || run->fd[2] != -1) {
		struct pollfd p[3];
		for (int i = 0; i < 3; i++)
			p[i] = (struct pollfd){ .fd = run->fd[i], .events = i == 0 ? POLLOUT : POLLIN };
		int left = time_left(run), ready = left == 0 ? 0 : poll(p, 3, left);
		if (ready == 0) /* over, however much it still has to say */
			break;
		if (ready == -1)
			continue; /* EINTR */
		if (p[0].revents != 0)
			feed(run);
		for (int i = 1; i < 3; i++) {
			if (p[i].revents != 0)
				drain(&run->fd[i], run->out[i - 1]);
		}
		if (run->out[0] != NULL && run->out[0]->full) /* an error already: who writes without end is not read */
			close_end(&run->fd[1]);
	}
	close_end(&run->fd[0]);
}

/* A program that stops reading must not end us; a SIGPIPE that it caused is taken back. */
static void talk_without_sigpipe(struct run *run)
{
	static const struct timespec now = { 0, 0 };
	sigset_t pipe_only, old, pending;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	talk(run);
	if (!sigismember(&pending, SIGPIPE)) {
		while (sigtimedwait(&pipe_only, NULL, &now) == -1 && errno == EINTR)
			continue;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Waits for the end of the process, for ms at most (-1: for ever).  false: it goes on. */
static bool wait_end(pid_t pid, int ms, int *status)
{
	struct pollfd ended = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int ready = 1;
	pid_t got;

	if (ms >= 0 && ended.fd != -1)
		do
			ready = poll(&ended, 1, ms);
		while (ready == -1 && errno == EINTR);
	if (ended.fd != -1)
		close(ended.fd);
	do
		got = waitpid(pid, status, ready == 0 ? WNOHANG : 0);
	while (got == -1 && errno == EINTR);
	return got == pid;
}

static int finish(const char *name, struct run *run, pid_t pid, struct error *e)
{
	struct buf *out = run->out[0];
	int status = 0;
	bool ended = wait_end(pid, time_left(run), &status);

	for (int i = 1; i < 3; i++) /* not before: it would die of that, and not of its time */
		close_end(&run->fd[i]);
	if (!ended) {
		kill(-pid, SIGKILL);
		wait_end(pid, KILLED_MS, &status);
		errno = ETIMEDOUT;
		return error_set(e, "%s did not end within %u seconds and was killed", name, proc_limit());
	}
	if (run->limited && time_left(run) == 0) /* what it started may still hold its output */
		kill(-pid, SIGKILL);
	errno = 0;
	if (out != NULL && out->full)
		return error_set(e, "%s wrote more than %zu bytes", name, out->max);
	if (WIFSIGNALED(status))
		return error_set(
		    e, "%s was ended by signal %d (%s)", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	return WEXITSTATUS(status);
}

static int run_program(char *const argv[], struct view input, struct run *run, struct error *e)
{
	pid_t pid = -1;

	run->input = input;
	for (int i = 0; i < 3; i++)
		run->fd[i] = -1;
	run->end = clock_mono_ms() + 1000ull * proc_limit();
	if (spawn(argv, run, &pid, e) == -1) {
		int why = errno;
		for (int i = 0; i < 3; i++)
			close_end(&run->fd[i]);
		errno = why;
		return -1;
	}
	talk_without_sigpipe(run);
	return finish(argv[0], run, pid, e);
}

int proc_run(char *const argv[], struct view input, struct buf *out, struct buf *err, struct error *e)
{
	return run_program(argv, input, &(struct run){ .out = { out, err }, .limited = true }, e);
}

int proc_run_unlimited(char *const argv[], struct view input, struct buf *out, struct buf *err, struct error *e)
{
	return run_program(argv, input, &(struct run){ .out = { out, err } }, e);
}
