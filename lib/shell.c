/*
 * shell.h.  The text is a sealed memfd, so that nobody has to feed a command that does not read.  When root starts it,
 * it runs as SHELL_USER: what it reads on stdin may come from a process that strangers talk to, and a root shell is
 * more than a pager needs.
 */
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imsg.h"

#define FILES_MAX 1024
#define HIGH_FD 10

static char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
	"LANG=C.UTF-8", NULL };

static int drop(const struct passwd *pw)
{
	if (pw != NULL && (setgroups(0, NULL) == -1 || setgid(pw->pw_gid) == -1 || setuid(pw->pw_uid) == -1))
		return -1;
	/* Both after the ids: changing them clears the first. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? -1 : 0;
}

_Noreturn static void become(const char *line, const struct passwd *pw, int in, int out, pid_t parent)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct rlimit files = { FILES_MAX, FILES_MAX }, core = { 0, 0 };
	char *argv[] = { "sh", "-c", (char *)(uintptr_t)line, NULL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setrlimit(RLIMIT_NOFILE, &files); /* lowering is never refused */
	setrlimit(RLIMIT_CORE, &core);
	if (setsid() == -1 || chdir("/") == -1 || drop(pw) == -1 || getppid() != parent)
		_exit(126);
	if (dup2(in, 0) == -1 || dup2(out, 1) == -1 || dup2(out, 2) == -1 || close_range(3, ~0U, 0) == -1)
		_exit(126);
	execve("/bin/sh", argv, environment);
	_exit(127);
}

pid_t shell_start(const char *line, struct view input, int err_fd, struct error *e)
{
	const struct passwd *pw = NULL;
	pid_t parent = getpid(), pid = -1;
	sigset_t all, old;
	enum { TEXT, IN, OUT };
	int fd[3] = { -1, -1, -1 };

	errno = 0;
	if (geteuid() == 0 && (pw = getpwnam(SHELL_USER)) == NULL)
		return error_set(e, "there is no user " SHELL_USER " to run it; make it with share/create-users");
	fd[TEXT] = memfd_sealed("text", input);
	if (fd[TEXT] != -1)
		fd[IN] = fcntl(fd[TEXT], F_DUPFD_CLOEXEC, HIGH_FD);
	fd[OUT] = err_fd != -1 ? fcntl(err_fd, F_DUPFD_CLOEXEC, HIGH_FD) : open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd[IN] != -1 && fd[OUT] != -1) {
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, &old); /* the parent's handlers must not run in the child */
		pid = fork();
		if (pid == 0)
			become(line, pw, fd[IN], fd[OUT], parent);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	if (pid == -1)
		error_errno(e, "cannot start it");
	for (size_t i = 0; i < 3; i++) {
		if (fd[i] != -1)
			close(fd[i]);
	}
	return pid;
}

void shell_kill(pid_t pid)
{
	kill(-pid, SIGKILL); /* its group: setsid made it, unless it did not come so far */
	kill(pid, SIGKILL);
}

int shell_run_for(const char *line, struct view input, int err_fd, unsigned limit_s, struct error *e)
{
	pid_t pid = shell_start(line, input, err_fd, e);
	struct pollfd ended = { .fd = -1, .events = POLLIN };
	int status = 0, result = 0, ready;

	if (pid == -1)
		return -1;
	ended.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	do
		ready = ended.fd == -1 ? 0 : poll(&ended, 1, (int)limit_s * 1000);
	while (ready == -1 && errno == EINTR);
	if (ready <= 0)
		result = error_set(e, "it did not end within %u seconds", limit_s);
	shell_kill(pid); /* also what it left behind */
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		continue;
	if (ended.fd != -1)
		close(ended.fd);
	if (result == 0 && WIFSIGNALED(status))
		result = error_set(e, "it was ended by signal %d", WTERMSIG(status));
	else if (result == 0 && WEXITSTATUS(status) != 0)
		result = error_set(e, "it ended with status %d", WEXITSTATUS(status));
	return result;
}

int shell_run(const char *line, struct view input, int err_fd, struct error *e)
{
	return shell_run_for(line, input, err_fd, SHELL_LIMIT_S, e);
}
